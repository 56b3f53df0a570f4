//! Why an object is as it is at a moment: its state, and the chain of causes back to the line that somebody wrote.

use std::fmt::Write as _;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::kernel::{Cause, Time};
use crate::model::{Key, Kind, Name, Object, Phase};
use crate::trace::{Diagnosis, Footer, Header, Outcome, Verdict};

use super::journal::{Happening, Journal, Moment, NodeLife, Note, PodLife, WorkloadLife, describe_happening};
use super::latency;
use super::story::reasons_of;
use super::style::{Style, clock, columns, count, length, moment, nearest, table, wrap};

/// Explains the object that a user names as `pod/x`, `x` or `deployment/x`, in `namespace` (empty: wherever there is one), at
/// a moment (None: the end). An object that there never was is an error that names the nearest ones.
pub fn why(
    header: &Header,
    journal: &Journal,
    footer: &Footer,
    object: &str,
    namespace: &str,
    at: Option<Time>,
    style: &Style,
) -> Result<String, String> {
    why_with(header, journal, footer, object, namespace, &Detail { at, ..Detail::default() }, style)
}

/// Which moment is meant, and how much of a scheduling decision is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// None: the end.
    pub at: Option<Time>,
    /// The moment at which this scheduling attempt of a pod ended, from 1.
    pub attempt: Option<u32>,
    /// Every node with its verdict or its scores, however many there are.
    pub all_nodes: bool,
}

/// As [`why`], with more to be said about what is asked.
pub fn why_with(
    header: &Header,
    journal: &Journal,
    footer: &Footer,
    object: &str,
    namespace: &str,
    detail: &Detail,
    style: &Style,
) -> Result<String, String> {
    let (kind, name) = match object.split_once('/') {
        Some((kind, name)) => {
            let found = Kind::parse(kind).ok_or_else(|| format!("`{kind}` is not a kind that simlet knows"))?;
            (Some(found), name)
        }
        None => (None, object),
    };
    let at = detail.at.unwrap_or(footer.end);
    let mut teller = Why { header, journal, at, style, all_nodes: detail.all_nodes };
    match object {
        "pending" => return Ok(teller.all_pending(namespace)),
        "slow" => return Ok(latency::text(journal, &latency::Latency::of(journal))),
        _ => {}
    }
    let fits = |own: Name| namespace.is_empty() || own == *namespace;
    if kind.is_none_or(|kind| kind == Kind::Pod) {
        // Of several that had this name, the one that was there, else the last one before.
        let mut named =
            journal.pods.values().filter(|pod| pod.last.meta.name == *name && fits(pod.last.meta.namespace));
        let there = named.clone().find(|pod| pod.existed(at));
        if let Some(pod) = there.or_else(|| named.clone().rev().find(|pod| pod.created <= at)).or_else(|| named.next())
        {
            if let Some(wanted) = detail.attempt {
                teller.at = attempt_of(pod, wanted).ok_or_else(|| {
                    let name = journal.name_of(pod);
                    format!(
                        "pod/{name} has no attempt {wanted} in this run; it had {}",
                        count(pod.attempts as usize, "attempt")
                    )
                })?;
            }
            return Ok(teller.pod(pod));
        }
    }
    if kind.is_none_or(|kind| kind == Kind::Node)
        && let Some(node) = journal.nodes.get(&Name::new(name))
    {
        return Ok(teller.node(node));
    }
    let workload = journal.workloads.values().rev().find(|workload| {
        kind.is_none_or(|kind| workload.key.kind == kind) && workload.key.name == *name && fits(workload.key.namespace)
    });
    if let Some(workload) = workload {
        return Ok(teller.workload(workload));
    }
    if kind.is_none_or(|kind| matches!(kind, Kind::Service | Kind::EndpointSlice)) {
        let service = journal.services.iter().find(|((own, service), _)| *service == *name && fits(*own));
        if let Some(((_, service), life)) = service {
            let notes: Vec<Note> = life
                .ready
                .iter()
                .map(|(time, ready, id)| Note { time: *time, id: *id, text: format!("{ready} ready endpoints").into() })
                .collect();
            return Ok(teller.notes(&format!("service/{service}"), "", &notes));
        }
    }
    Err(teller.unknown(kind, name))
}

/// By plug-in: raw and final score.
type Scores = Vec<(Name, i64, i64)>;

/// How many columns of scores fit beside the names of the plug-ins.
const COLUMNS: usize = 4;

/// How many nodes are told of one by one where not all are asked for.
const FEW_NODES: usize = 20;

/// When the pod's attempt with this number ended.
fn attempt_of(pod: &PodLife, wanted: u32) -> Option<Time> {
    pod.moments.iter().find_map(|moment| match moment.what {
        Happening::Attempt { attempt, .. } if attempt == wanted => Some(moment.time),
        _ => None,
    })
}

struct Why<'a> {
    header: &'a Header,
    journal: &'a Journal,
    at: Time,
    style: &'a Style,
    all_nodes: bool,
}

impl Why<'_> {
    fn unknown(&self, kind: Option<Kind>, name: &str) -> String {
        let mut names: Vec<String> = Vec::new();
        if kind.is_none_or(|kind| kind == Kind::Pod) {
            names.extend(self.journal.pods.values().map(|pod| format!("pod/{}", pod.last.meta.name)));
        }
        if kind.is_none_or(|kind| kind == Kind::Node) {
            names.extend(self.journal.nodes.keys().map(|node| format!("node/{node}")));
        }
        let workloads = self.journal.workloads.values();
        let of_kind = workloads.filter(|workload| kind.is_none_or(|kind| workload.key.kind == kind));
        names.extend(of_kind.map(WorkloadLife::display));
        let full = kind.map_or(name.to_owned(), |kind| format!("{}/{name}", kind.as_str().to_ascii_lowercase()));
        // Without a kind, names are compared as such.
        let bare = |text: &str| text.split_once('/').map_or(text.to_owned(), |(_, name)| name.to_owned());
        let bares: Vec<String> = names.iter().map(|each| bare(each)).collect();
        let mut found: Vec<String> = Vec::new();
        for near in nearest(name, bares.iter().map(String::as_str), 3) {
            found.extend(names.iter().find(|each| bare(each) == near).cloned());
        }
        let mut text = format!("there is no {full} in this run");
        if !found.is_empty() {
            let _ = write!(text, "; did you mean {}?", found.join(", "));
        }
        text
    }

    /// Every pod without a node, those of one workload that wait for the same reason like one.
    fn all_pending(&self, namespace: &str) -> String {
        let mut groups: IndexMap<(Name, Name, String), Vec<&PodLife>, FxBuildHasher> = IndexMap::default();
        for pod in self.journal.pods.values().filter(|pod| pod.existed(self.at)) {
            let own = pod.last.meta.namespace;
            if !namespace.is_empty() && own != *namespace || pod.bound.is_some_and(|bound| bound <= self.at) {
                continue;
            }
            let past: Vec<&Moment> = pod.moments.iter().take_while(|moment| moment.time <= self.at).collect();
            let state = State::of(&past);
            if state.node.is_none() && state.word == "Pending" {
                groups.entry((own, self.journal.family(pod), state.why(&past))).or_default().push(pod);
            }
        }
        if groups.is_empty() {
            return format!("no pod waits for a node at {}\n", clock(self.at));
        }
        let pods: usize = groups.values().map(Vec::len).sum();
        let verb = if pods == 1 { "waits" } else { "wait" };
        let mut text = format!("{} {verb} for a node at {}\n", count(pods, "pod"), clock(self.at));
        for pods in groups.values() {
            let name = self.journal.name_of(pods[0]);
            let more = if pods.len() > 1 { format!(" and {} like it", pods.len() - 1) } else { String::new() };
            let _ = writeln!(text, "\npod/{name}{more}");
            let past: Vec<&Moment> = pods[0].moments.iter().take_while(|moment| moment.time <= self.at).collect();
            self.pending(&mut text, &past);
        }
        text
    }

    fn pod(&self, pod: &PodLife) -> String {
        let name = self.journal.name_of(pod);
        if pod.created > self.at {
            return format!("pod/{name} is created at {}, after {}\n", moment(pod.created), moment(self.at));
        }
        let past: Vec<&Moment> = pod.moments.iter().take_while(|moment| moment.time <= self.at).collect();
        let state = State::of(&past);
        let mut text = format!("pod/{name}  {}\n", self.headline(&state));
        if let Some(workload) = self.journal.top(pod) {
            let place = workload.source.map(|source| format!("   {}", self.header.place(source))).unwrap_or_default();
            let _ = writeln!(text, "  of {}{place}", workload.display());
        }
        text.push('\n');
        self.details(&mut text, pod, &state, &past);
        let telling = state.telling(&past);
        self.chain(&mut text, telling);
        text
    }

    fn headline(&self, state: &State<'_>) -> String {
        let since = format!("since {} ({})", moment(state.since), length(self.at.since(state.since)));
        format!("{} {since}, at {}", state.word, clock(self.at))
    }

    /// What explains the state beyond the chain: attempts and verdicts, exits and back-off, slow stages.
    fn details(&self, text: &mut String, pod: &PodLife, state: &State<'_>, past: &[&Moment]) {
        if state.node.is_none() && state.gone.is_none() {
            self.pending(text, past);
        }
        if let Some((_, reason, message)) = &state.waiting
            && !message.is_empty()
            && *reason != "ContainerCreating"
        {
            self.line(text, "waits", &format!("{reason}: {message}"));
        }
        let exits: Vec<String> = past
            .iter()
            .filter_map(|moment| match &moment.what {
                Happening::Exited { container, exit_code, reason, after } => {
                    let reason =
                        if reason.is_empty() || *reason == "Error" { String::new() } else { format!(" {reason}") };
                    let when = super::style::moment(moment.time);
                    Some(format!("{when} {container} exited with {exit_code}{reason} after {}", length(*after)))
                }
                _ => None,
            })
            .collect();
        let skipped = exits.len().saturating_sub(5);
        for (at, exit) in exits.iter().skip(skipped).enumerate() {
            self.line(text, if at == 0 { "exits" } else { "" }, exit);
        }
        if skipped > 0 {
            self.line(text, "", &format!("and {} before", count(skipped, "exit")));
        }
        if let Some(start) = latency::pod_start(pod).filter(|start| start.ready <= self.at) {
            let mut steps: Vec<(latency::Step, crate::kernel::Duration)> =
                latency::Step::ALL.into_iter().zip(start.steps).filter(|(_, took)| !took.is_zero()).collect();
            steps.sort_by_key(|(step, took)| (std::cmp::Reverse(*took), *step));
            let steps = steps.iter().map(|(step, took)| format!("{} {}", step.as_str(), length(*took)));
            let steps = steps.collect::<Vec<_>>().join(", ");
            self.line(text, "start", &format!("took {}: {steps}", length(start.total())));
        }
        self.devices(text, past);
        self.runtime_ids(text, pod);
        if let Some((node, diagnosis)) = placed_with(past) {
            self.scores(text, node, diagnosis);
        }
    }

    /// The devices that the pod's claims got when its node was chosen.
    fn devices(&self, text: &mut String, past: &[&Moment]) {
        let is_attempt = |moment: &&&Moment| matches!(moment.what, Happening::Attempt { .. });
        let last = past.iter().rev().find(is_attempt).map(|moment| moment.time);
        let decided = past.iter().filter(|moment| Some(moment.time) == last).filter_map(|moment| match &moment.what {
            Happening::Decided { by, text } if *by == "DynamicResources" => Some(text),
            _ => None,
        });
        for (number, device) in decided.enumerate() {
            self.line(text, if number == 0 { "devices" } else { "" }, device);
        }
    }

    /// The ids by which a real runtime, its logs and `crictl inspect` know the containers: the last run of each.
    fn runtime_ids(&self, text: &mut String, pod: &PodLife) {
        let status = &pod.last.status;
        let all = status.init_containers.iter().chain(&status.containers);
        for (at, one) in all.filter(|one| !one.runtime_id.is_empty()).enumerate() {
            // Not wrapped: it is to be copied.
            let _ = writeln!(text, "  {:<10} {} {}", if at == 0 { "ids" } else { "" }, one.name, one.runtime_id);
        }
    }

    fn pending(&self, text: &mut String, past: &[&Moment]) {
        let last = past.iter().rev().find_map(|moment| match &moment.what {
            Happening::Attempt { attempt, outcome, diagnosis } => Some((moment.time, *attempt, outcome, diagnosis)),
            _ => None,
        });
        let Some((time, attempt, outcome, diagnosis)) = last else {
            self.line(text, "pending", "the scheduler has not tried it yet");
            return;
        };
        let message = match outcome {
            Outcome::Unschedulable { message } | Outcome::Error { message } => message,
            Outcome::Scheduled { node } => {
                self.line(text, "pending", &format!("placed on {node} at {}, not yet bound", moment(time)));
                return;
            }
        };
        self.line(text, "tried", &format!("{}, last at {}", count(attempt as usize, "time"), moment(time)));
        self.line(text, "verdict", &reasons_of(message));
        let Some(diagnosis) = diagnosis else {
            self.line(
                text,
                "nodes",
                "their verdicts were not recorded: `simlet run --explain`, or ask for the scenario itself",
            );
            return;
        };
        self.verdicts(text, diagnosis);
        for (at, remedy) in diagnosis.remedies.iter().enumerate() {
            self.line(text, if at == 0 { "would fit" } else { "or" }, &format!("with {remedy}"));
        }
    }

    /// The nodes by the reason for which they were rejected.
    fn verdicts(&self, text: &mut String, diagnosis: &Diagnosis) {
        let mut groups: IndexMap<String, Vec<Name>, FxBuildHasher> = IndexMap::default();
        for verdict in &diagnosis.nodes {
            let reason = match &verdict.verdict {
                Verdict::Rejected { plugin, reasons } => {
                    let reasons: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
                    format!("{plugin}: {}", reasons.join(", "))
                }
                Verdict::Scored { total, .. } => format!("fits, score {total}"),
                Verdict::NotTried => "not tried".to_owned(),
            };
            groups.entry(reason).or_default().push(verdict.node);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
        for (at, (reason, nodes)) in groups.iter().enumerate() {
            let all = self.all_nodes || diagnosis.nodes.len() <= FEW_NODES;
            let shown = if all { nodes.len() } else { 3 };
            let mut names: Vec<&str> = nodes.iter().take(shown).map(|node| node.as_str()).collect();
            if nodes.len() > shown {
                names.push("…");
            }
            let line = format!("{} {reason}   ({})", nodes.len(), names.join(", "));
            self.line(text, if at == 0 { "nodes" } else { "" }, &line);
        }
    }

    /// The scores of the node that was chosen and of the others, by plug-in: raw, normalised and weighted. Nodes with equal
    /// scores share a column.
    fn scores(&self, text: &mut String, chosen: Name, diagnosis: &Diagnosis) {
        let mut groups: IndexMap<(bool, i64, &Scores), Vec<Name>, FxBuildHasher> = IndexMap::default();
        let mut scored = 0;
        for verdict in &diagnosis.nodes {
            if let Verdict::Scored { total, scores } = &verdict.verdict {
                groups.entry((verdict.node != chosen, *total, scores)).or_default().push(verdict.node);
                scored += 1;
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|((other, total, _), nodes)| (*other, std::cmp::Reverse(*total), nodes[0]));
        let Some(((_, _, plugins), _)) = groups.first() else { return };
        let shown = if self.all_nodes { groups.len() } else { groups.len().min(COLUMNS) };
        let weight = |plugin: Name| diagnosis.weights.iter().find(|(name, _)| *name == plugin).map_or(1, |(_, w)| *w);
        let _ = writeln!(text, "\n  scores: raw/normalised/weighted");
        for (block, columns) in groups[..shown].chunks(COLUMNS).enumerate() {
            if block > 0 {
                text.push('\n');
            }
            let name = |((other, ..), nodes): &((bool, i64, &Scores), Vec<Name>)| {
                let mark = if *other { "" } else { "→ " };
                let more = if nodes.len() > 1 { format!(" +{}", nodes.len() - 1) } else { String::new() };
                format!("{mark}{}{more}", nodes[0])
            };
            let mut rows = vec![[String::new()].into_iter().chain(columns.iter().map(name)).collect::<Vec<_>>()];
            for (at, (plugin, ..)) in plugins.iter().enumerate() {
                let weight = weight(*plugin);
                let times = if weight == 1 { String::new() } else { format!(" ×{weight}") };
                let cell = |((_, _, scores), _): &((bool, i64, &Scores), Vec<Name>)| {
                    let (_, raw, last) = scores[at];
                    format!("{raw}/{}/{last}", if weight == 0 { 0 } else { last / weight })
                };
                let first = format!("{plugin}{times}");
                rows.push([first].into_iter().chain(columns.iter().map(cell)).collect());
            }
            let totals = columns.iter().map(|((_, total, _), _)| total.to_string());
            rows.push(["total".to_owned()].into_iter().chain(totals).collect());
            for line in table(&rows, 2, &[]).lines() {
                let _ = writeln!(text, "  {}", line.trim_end());
            }
            // Who stands behind `+n`.
            for (_, nodes) in columns.iter().filter(|(_, nodes)| nodes.len() > 1) {
                if self.all_nodes || diagnosis.nodes.len() <= FEW_NODES {
                    let names: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
                    self.line(text, "equal", &names.join(", "));
                }
            }
        }
        let hidden: usize = groups[shown..].iter().map(|(_, nodes)| nodes.len()).sum();
        let rejected = diagnosis.nodes.len() - scored;
        if hidden > 0 || rejected > 0 {
            let more = if hidden > 0 { "; --all-nodes shows every one" } else { "" };
            let _ = writeln!(text, "  {hidden} more scored, {rejected} rejected or not tried{more}");
        }
        if rejected > 0 && (self.all_nodes || diagnosis.nodes.len() <= FEW_NODES) {
            let nodes = diagnosis.nodes.iter().filter(|node| !matches!(node.verdict, Verdict::Scored { .. }));
            self.verdicts(text, &Diagnosis { nodes: nodes.cloned().collect(), ..Diagnosis::default() });
        }
    }

    fn node(&self, node: &NodeLife) -> String {
        let word = match node.ready_at(self.at) {
            _ if node.gone.is_some_and(|gone| gone <= self.at) => "gone",
            Some(crate::model::ConditionStatus::True) => "Ready",
            Some(_) => "NotReady",
            None => "not registered",
        };
        self.notes(&format!("node/{}", node.name), word, &node.notes)
    }

    fn workload(&self, workload: &WorkloadLife) -> String {
        let at = workload.replicas.iter().rev().find(|(time, _)| *time <= self.at);
        let state = match (at, &workload.last) {
            (Some((_, replicas)), Object::Job(_)) => {
                format!("{} of {} completed", replicas.available, replicas.wanted)
            }
            (Some((_, replicas)), _) => format!("{} of {} ready", replicas.ready, replicas.wanted),
            (None, _) => "not there yet".to_owned(),
        };
        let mut text = self.notes(&workload.display(), &state, &workload.notes);
        // Its pods that are not well say the rest.
        let mut groups: IndexMap<(String, String), Vec<&PodLife>, FxBuildHasher> = IndexMap::default();
        for pod in self.journal.pods.values().filter(|pod| pod.existed(self.at) && !pod.was_ready(self.at)) {
            if self.journal.top(pod).is_some_and(|top| top.uid == workload.uid) {
                let past: Vec<&Moment> = pod.moments.iter().take_while(|moment| moment.time <= self.at).collect();
                let state = State::of(&past);
                if state.word != "Succeeded" {
                    let why = state.why(&past);
                    groups.entry((state.word.clone(), why)).or_default().push(pod);
                }
            }
        }
        if !groups.is_empty() {
            text.push_str("\nnot ready\n");
            for ((word, why), pods) in &groups {
                let _ = writeln!(text, "  {} {word}: {}", pods.len(), self.journal.name_of(pods[0]));
                for line in wrap(why, self.style.width.saturating_sub(6)).iter().filter(|line| !line.is_empty()) {
                    let _ = writeln!(text, "      {line}");
                }
            }
            if let Some(pods) = groups.values().next() {
                let _ = writeln!(text, "\nnext: simlet why pod/{}", pods[0].last.meta.name);
            }
        }
        text
    }

    /// An object by what was noted about it, and the chain behind the last of it.
    fn notes(&self, name: &str, word: &str, notes: &[Note]) -> String {
        let past: Vec<&Note> = notes.iter().take_while(|note| note.time <= self.at).collect();
        let mut text = format!("{name}  {word}{}at {}\n\n", if word.is_empty() { "" } else { ", " }, clock(self.at));
        let skipped = past.len().saturating_sub(8);
        if skipped > 0 {
            let _ = writeln!(text, "  {:>9}  {} before", "", count(skipped, "change"));
        }
        for note in past.iter().skip(skipped) {
            let _ = writeln!(text, "  {:>9}  {}", moment(note.time), note.text);
        }
        if let Some(last) = past.last() {
            self.chain(&mut text, Some(last.id));
        }
        text
    }

    /// The causes, first one last, down to the line that a user wrote.
    fn chain(&self, text: &mut String, id: Option<Cause>) {
        let Some(id) = id else { return };
        let steps = self.journal.chain(id);
        if steps.is_empty() {
            return;
        }
        text.push_str("\nbecause\n");
        // A long chain is told by its ends: what happened last, and where it began.
        const LAST: usize = 8;
        const FIRST: usize = 4;
        let cut = steps.len() > LAST + FIRST + 1;
        for (at, step) in steps.iter().enumerate() {
            if cut && at >= LAST && at < steps.len() - FIRST {
                if at == LAST {
                    let _ = writeln!(text, "             … {}", count(steps.len() - LAST - FIRST, "step"));
                }
                continue;
            }
            let mut line = match &step.subject {
                Some(subject) => format!("{} {}", short(subject), step.text),
                None => step.text.clone(),
            };
            if let Some(source) = step.source {
                let _ = write!(line, "   {}", self.header.place(source));
            }
            let parts = wrap(&line, self.style.width.saturating_sub(13).max(24));
            let _ = writeln!(text, "  {:>9}  {}", moment(step.time), parts[0]);
            for part in &parts[1..] {
                let _ = writeln!(text, "{:15}{part}", "");
            }
            if let Some(line) = step.source.and_then(|source| self.quoted(source)) {
                let _ = writeln!(text, "{:13}{line}", "");
            }
        }
    }

    /// The line of the input, as it is written there.
    fn quoted(&self, source: crate::model::Source) -> Option<String> {
        let file = self.header.sources.get(source.file as usize)?;
        let line = file.text.lines().nth((source.line as usize).checked_sub(1)?)?;
        let line = line.trim_end();
        (!line.is_empty()).then(|| super::style::cut(&format!("{} │ {line}", source.line), self.style.width - 13))
    }

    fn line(&self, text: &mut String, label: &str, words: &str) {
        let parts = wrap(words, self.style.width.saturating_sub(13).max(24));
        for (at, part) in parts.iter().enumerate() {
            let _ = writeln!(text, "  {:<10} {part}", if at == 0 { label } else { "" });
        }
        debug_assert!(columns(label) <= 10);
    }
}

/// A pod's state at a moment.
struct State<'a> {
    word: String,
    since: Time,
    node: Option<Name>,
    gone: Option<Time>,
    waiting: Option<(Name, Name, &'a crate::model::Text)>,
    /// The record that best explains the state.
    cause: Option<Cause>,
}

impl<'a> State<'a> {
    fn of(past: &[&'a Moment]) -> State<'a> {
        let mut state =
            State { word: "Pending".to_owned(), since: Time::ZERO, node: None, gone: None, waiting: None, cause: None };
        let mut terminal = false;
        for moment in past {
            match &moment.what {
                Happening::Created => {
                    state.becomes("Pending", moment.time, moment.id);
                    state.since = moment.time;
                }
                Happening::Bound { node } => {
                    state.becomes("ContainerCreating", moment.time, moment.id);
                    state.node = Some(*node);
                }
                Happening::Phase(phase) => {
                    terminal = phase.is_terminal();
                    if *phase != Phase::Pending {
                        state.becomes(
                            if *phase == Phase::Running { "Running, not Ready" } else { phase.as_str() },
                            moment.time,
                            moment.id,
                        );
                    }
                }
                Happening::Ready(true) => state.becomes("Ready", moment.time, moment.id),
                Happening::Ready(false) if !terminal && state.word == "Ready" => {
                    state.becomes("not Ready", moment.time, moment.id);
                }
                Happening::Waiting { container, reason, message } => {
                    state.waiting = Some((*container, *reason, message));
                    if !terminal && !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing" | "") {
                        if state.word != reason.as_str() {
                            state.since = moment.time;
                        }
                        state.word = reason.to_string();
                        state.cause = Some(moment.id);
                    }
                }
                Happening::Running { .. } => {
                    state.waiting = None;
                    if !terminal && state.word != "Ready" {
                        state.becomes("Running, not Ready", moment.time, moment.id);
                    }
                }
                Happening::Status { reason, .. } => state.becomes(reason.as_str(), moment.time, moment.id),
                Happening::Deleting { .. } => state.becomes("Terminating", moment.time, moment.id),
                Happening::Gone => {
                    // What led to the deletion explains more than its last step, if there was a first one.
                    let cause = if state.word == "Terminating" { state.cause } else { Some(moment.id) };
                    state.becomes("gone", moment.time, moment.id);
                    state.cause = cause;
                    state.gone = Some(moment.time);
                }
                Happening::Attempt { outcome: Outcome::Unschedulable { .. }, .. } => state.cause = Some(moment.id),
                _ => {}
            }
        }
        state
    }

    fn becomes(&mut self, word: &str, since: Time, cause: Cause) {
        if self.word != word {
            self.since = since;
        }
        self.word = word.to_owned();
        self.cause = Some(cause);
    }

    /// The record whose causes explain the state.
    fn telling(&self, past: &[&Moment]) -> Option<Cause> {
        self.cause.or_else(|| past.last().map(|moment| moment.id))
    }

    fn why(&self, past: &[&Moment]) -> String {
        if let Some((_, _, message)) = &self.waiting
            && !message.is_empty()
        {
            return message.split(" pod=").next().unwrap_or_default().to_owned();
        }
        let last = past.iter().rev().find_map(|moment| match &moment.what {
            Happening::Attempt { outcome: Outcome::Unschedulable { message }, .. } if self.node.is_none() => {
                Some(reasons_of(message))
            }
            Happening::Disrupted { .. } | Happening::ProbeFailed { .. } => Some(describe_happening(&moment.what)),
            _ => None,
        });
        last.unwrap_or_default()
    }
}

fn placed_with<'a>(past: &[&'a Moment]) -> Option<(Name, &'a Diagnosis)> {
    past.iter().rev().find_map(|moment| match &moment.what {
        Happening::Attempt { outcome: Outcome::Scheduled { node }, diagnosis: Some(diagnosis), .. } => {
            Some((*node, &**diagnosis))
        }
        _ => None,
    })
}

fn short(key: &Key) -> String {
    format!("{}/{}", key.kind.as_str().to_ascii_lowercase(), key.name)
}

#[cfg(test)]
mod tests;
