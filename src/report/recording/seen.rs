//! An object as facts care for it, whether it comes from a recording or from a trace, and the facts between two states.

/// A pod's state, a node's, whose taints are conditions here, or a workload's, whose numbers are fields. Times are nanoseconds
/// of Unix time, cut to the second as Kubernetes writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Kind and name of what made it.
    pub owner: Option<(String, String)>,
    pub created: i64,
    pub node: String,
    pub phase: String,
    pub reason: String,
    pub message: String,
    pub conditions: Vec<Condition>,
    /// Init containers first, each kind in the order of their names.
    pub containers: Vec<Container>,
    /// When the deletion was asked for, and the grace period in seconds.
    pub deletion: Option<(i64, i64)>,
    /// What is counted or named in spec and status of a workload, endpoints of a slice.
    pub fields: Vec<Field>,
}

/// A field that has not its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// `status readyReplicas`; of an endpoint its pod's name, too.
    pub name: String,
    /// Two values are the same if this is.
    pub value: String,
    /// What the fact says, without what is random: `status readyReplicas 2`.
    pub words: String,
    /// What it says when the field has its default again: `status readyReplicas 0`.
    pub gone: String,
    /// The moment that it tells.
    pub own: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Condition {
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub since: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    pub name: String,
    pub state: State,
    pub restarts: u64,
    pub ready: bool,
    pub started: bool,
    /// The run before this one: reason, exit code and end.
    pub last: Option<(String, i64, i64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting { reason: String, message: String },
    Running { since: i64 },
    Terminated { reason: String, message: String, exit_code: i64, finished: i64 },
}

/// What a fact is, its message, and when it says that it became so.
pub(super) type New = (String, String, Option<i64>);

/// What became so with this state, in the order in which the timelines of real clusters give it.
pub(super) fn facts(before: Option<&Seen>, now: &Seen, gone: bool) -> Vec<New> {
    let mut facts: Vec<New> = Vec::new();
    let none = Seen::default();
    let old = before.unwrap_or(&none);
    let scheduled = now.conditions.iter().find(|condition| condition.kind == "PodScheduled").map(|one| one.since);
    if before.is_none() {
        facts.push(("added".to_owned(), String::new(), Some(now.created)));
    }
    if now.node != old.node && !now.node.is_empty() {
        facts.push(("bound".to_owned(), String::new(), scheduled));
    }
    if (&now.phase, &now.reason) != (&old.phase, &old.reason) {
        let reason = if now.reason.is_empty() { String::new() } else { format!(" {}", now.reason) };
        facts.push((format!("phase {}{reason}", now.phase), now.message.clone(), now.latest()));
    }
    for container in &now.containers {
        let known = old.containers.iter().find(|other| other.name == container.name);
        let same = known.is_some_and(|known| (known.restarts, &known.state) == (container.restarts, &container.state));
        if !same {
            let message = match &container.state {
                State::Waiting { message, .. } | State::Terminated { message, .. } => message.clone(),
                State::Running { .. } => String::new(),
            };
            facts.push((container.what(), message, container.since()));
        }
        if known.map(|known| (known.ready, known.started)) != Some((container.ready, container.started)) {
            let is = match (container.ready, container.started) {
                (true, true) => "ready and started",
                (true, false) => "ready",
                (false, true) => "started",
                (false, false) => "neither ready nor started",
            };
            facts.push((format!("{} is {is}", container.name), String::new(), container.since()));
        }
        if let Some((reason, exit_code, _)) =
            container.last.as_ref().filter(|last| known.and_then(|known| known.last.as_ref()) != Some(last))
        {
            let what = format!("{} was terminated {reason} {exit_code}", container.name);
            facts.push((what, String::new(), container.since()));
        }
    }
    for condition in &now.conditions {
        let known = old.conditions.iter().find(|other| other.kind == condition.kind);
        let key = |one: &Condition| (one.status.clone(), one.reason.clone(), one.message.clone());
        let same = |known: &Condition| key(known) == key(condition);
        if !known.is_some_and(same) {
            let reason = if condition.reason.is_empty() { String::new() } else { format!(" {}", condition.reason) };
            let what = format!("{} {}{reason}", condition.kind, condition.status);
            facts.push((what, condition.message.clone(), Some(condition.since)));
        }
    }
    for condition in &old.conditions {
        if now.conditions.iter().all(|other| other.kind != condition.kind) {
            facts.push((format!("{} removed", condition.kind), String::new(), None));
        }
    }
    for field in &now.fields {
        let known = old.fields.iter().find(|other| other.name == field.name);
        if known.is_none_or(|known| known.value != field.value) {
            facts.push((field.words.clone(), String::new(), field.own));
        }
    }
    for field in &old.fields {
        if now.fields.iter().all(|other| other.name != field.name) {
            facts.push((field.gone.clone(), String::new(), None));
        }
    }
    // A new deletionTimestamp is a new request; a shorter grace period alone is the last step of the same one.
    let due = |deletion: (i64, i64)| deletion.0 + deletion.1 * 1_000_000_000;
    if let Some((asked, grace)) = now.deletion.filter(|new| Some(due(*new)) != old.deletion.map(due)) {
        facts.push((format!("deletion asked, grace {grace}s"), String::new(), Some(asked)));
    }
    if gone {
        facts.push(("deleted".to_owned(), String::new(), None));
    }
    facts
}

impl Container {
    /// `main #3 running`: the third restart.
    fn what(&self) -> String {
        let name = match self.restarts {
            0 => self.name.clone(),
            restarts => format!("{} #{restarts}", self.name),
        };
        match &self.state {
            State::Waiting { reason, .. } => format!("{name} waiting {reason}"),
            State::Running { .. } => format!("{name} running"),
            State::Terminated { reason, exit_code, .. } => format!("{name} terminated {reason} {exit_code}"),
        }
    }

    fn since(&self) -> Option<i64> {
        match self.state {
            State::Waiting { .. } => None,
            State::Running { since } => Some(since),
            State::Terminated { finished, .. } => Some(finished),
        }
    }
}

impl Field {
    /// A field of a pod.
    pub fn of_pod(name: &str, value: &str) -> Field {
        let words = if name == "podIP" { name.to_owned() } else { format!("{name} {value}") };
        Field { name: name.to_owned(), value: value.to_owned(), words, gone: format!("{name} gone"), own: None }
    }
}

impl Seen {
    /// The latest moment that the state tells of.
    fn latest(&self) -> Option<i64> {
        let containers = self.containers.iter().filter_map(Container::since);
        containers.chain(self.conditions.iter().map(|condition| condition.since)).max()
    }

    /// A message without what is another in each run: the pod's own names, times and numbers, addresses, identifiers.
    pub fn plain(&self, message: &str) -> String {
        plain(message, self)
    }

    /// What made it, without what is random in names: pods of one template in one workload are one family. The name of a
    /// StatefulSet's pod, and of a pod of its own, is its own.
    pub fn family(&self) -> (String, String, String) {
        let of = |kind: &str, name: &str| (self.namespace.clone(), kind.to_owned(), name.to_owned());
        match &self.owner {
            Some((kind, name)) if self.kind == "Pod" => match kind.as_str() {
                "ReplicaSet" => of(kind, without_last(name)),
                // A CronJob's Job is named after its minute.
                "Job" if name.rsplit_once('-').is_some_and(|(_, last)| is_minute(last)) => of(kind, without_last(name)),
                "StatefulSet" | "Node" => of(kind, &self.name),
                _ => of(kind, name),
            },
            Some((owner, name)) => of(&format!("{} of {owner}", self.kind), name),
            None => of(&self.kind, &self.name),
        }
    }

    /// What to look for on the other side: `a pod of ReplicaSet shop/web`.
    pub fn sought(&self) -> String {
        let place = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        match (&self.owner, self.kind.as_str()) {
            (Some((kind, name)), "Pod") => format!("pod of {kind} {place}{}", without_random(name)),
            (_, "Pod") => format!("pod {place}{}", self.name),
            (_, kind) => format!("{kind} {place}{}", without_random(&self.name)),
        }
    }

    /// The name under which it is shown: a pod's own, else `Deployment/web`.
    pub fn title(&self) -> String {
        match self.kind.as_str() {
            "Pod" => self.name.clone(),
            kind => format!("{kind}/{}", self.name),
        }
    }
}

fn without_last(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(base, _)| base)
}

fn is_minute(text: &str) -> bool {
    text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name with `*` for each ending that a controller made up: hashes of templates, random letters, a CronJob's minutes.
pub(super) fn without_random(name: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut kept = name;
    let mut ends = 0;
    while let Some((before, last)) = kept.rsplit_once('-') {
        let is_random = matches!(last.len(), 5 | 8..=10) && last.bytes().all(|byte| LETTERS.contains(&byte));
        if before.is_empty() || !is_random && !is_minute(last) {
            break;
        }
        (kept, ends) = (before, ends + 1);
    }
    format!("{kept}{}", "-*".repeat(ends))
}

/// Puts a mark in the place of a name, where that stands for itself: `j` in `job j-x7`, not in `job`.
fn replaced(text: &str, name: &str, mark: &str) -> String {
    if name.is_empty() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, found) = rest.split_at(at);
        let after = &found[name.len()..];
        let is_part = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        let alone = !is_part(before.chars().next_back().or(out.chars().next_back())) && !is_part(after.chars().next());
        out.push_str(before);
        out.push_str(if alone { mark } else { name });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn plain(message: &str, pod: &Seen) -> String {
    let mut text = message.to_owned();
    for (name, mark) in [(&pod.uid, "UID"), (&pod.name, "POD"), (&pod.namespace, "NAMESPACE"), (&pod.node, "NODE")] {
        text = replaced(&text, name, mark);
    }
    // Where a runtime's socket is depends on the machine.
    if let Some((before, rest)) = text.split_once("dial unix ")
        && let Some((_, after)) = rest.split_once(": connect")
    {
        text = format!("{before}dial unix SOCKET: connect{after}");
    }
    // Runs of digits, and hexadecimal words that hold one, are numbers of this run; but those of a workload are what counts.
    let counts = !matches!(pod.kind.as_str(), "Pod" | "Node");
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let is_identifier = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_identifier && word.bytes().any(|byte| byte.is_ascii_digit()) {
            out.push('#');
        } else if counts {
            out.push_str(&without_random(word));
        } else {
            let mut digits = false;
            for char in without_random(word).chars() {
                if char.is_ascii_digit() {
                    if !digits {
                        out.push('#');
                    }
                    digits = true;
                } else {
                    out.push(char);
                    digits = false;
                }
            }
        }
        word.clear();
    };
    for char in text.chars() {
        if char.is_ascii_alphanumeric() || char == '-' {
            word.push(char);
        } else {
            flush(&mut word, &mut out);
            out.push(char);
        }
    }
    flush(&mut word, &mut out);
    // `1m2.5s` and `62s` are the same kind of thing.
    let mut short = out.replace("#.#", "#");
    for unit in ["h", "m"] {
        short = short.replace(&format!("#{unit}#"), "#");
    }
    short = short.replace("#ms", "#s").replace("#µs", "#s");
    // What was measured is so exact that its unit is chance.
    for measured in ["available: #", "was using #"] {
        for unit in ["Ki", "Mi", "Gi"] {
            short = short.replace(&format!("{measured}{unit}"), measured);
        }
    }
    short
}
