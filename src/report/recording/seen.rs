//! A pod as facts care for it, whether it comes from a recording or from a trace, and the facts between two states.

/// A pod's state, or a node's, whose taints are conditions here. Times are nanoseconds of Unix time, cut to the second as Kubernetes writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub is_node: bool,
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
            Some((kind, name)) => match kind.as_str() {
                "ReplicaSet" => of(kind, without_last(name)),
                // A CronJob's Job is named after its minute.
                "Job" if name.rsplit_once('-').is_some_and(|(_, last)| is_minute(last)) => of(kind, without_last(name)),
                "StatefulSet" | "Node" => of(kind, &self.name),
                _ => of(kind, name),
            },
            None => of("Pod", &self.name),
        }
    }
}

fn without_last(name: &str) -> &str {
    name.rsplit_once('-').map_or(name, |(base, _)| base)
}

fn is_minute(text: &str) -> bool {
    text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn plain(message: &str, pod: &Seen) -> String {
    let mut text = message.to_owned();
    for (name, mark) in [(&pod.uid, "UID"), (&pod.name, "POD"), (&pod.namespace, "NAMESPACE"), (&pod.node, "NODE")] {
        if !name.is_empty() {
            text = text.replace(name.as_str(), mark);
        }
    }
    // Runs of digits, and hexadecimal words that hold one, are numbers of this run.
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let is_identifier = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_identifier && word.bytes().any(|byte| byte.is_ascii_digit()) {
            out.push('#');
        } else {
            let mut digits = false;
            for char in word.chars() {
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
    short.replace("#ms", "#s").replace("#µs", "#s")
}
