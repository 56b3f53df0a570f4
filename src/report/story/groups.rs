//! From facts to lines: which facts belong together, and how they are told.

use std::collections::BTreeMap;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::kernel::{Cause, Duration, Time};
use crate::model::{ConditionStatus, Kind, Name, Source, Uid};
use crate::trace::{Footer, Header};

use super::super::journal::{Done, Fact, Happened, Happening, Journal, Loss, PodLife};
use super::super::latency::{self, Latency, is_of_job, percentile};
use super::super::style::{count, length, moment};
use super::Line;

/// Facts that are told together.
struct Group<'a> {
    facts: Vec<&'a Fact>,
    last: Time,
}

impl Group<'_> {
    fn first(&self) -> &Fact {
        self.facts[0]
    }

    fn span(&self) -> Duration {
        self.last.since(self.first().time)
    }
}

/// The lines of the story, by time.
pub fn lines(_header: &Header, journal: &Journal, _footer: &Footer) -> Vec<Line> {
    let teller = Teller::new(journal);
    let mut lines: Vec<Line> = teller.groups().iter().filter_map(|group| teller.tell(group)).collect();
    lines.extend(teller.ready_batches());
    lines.sort_by_key(|line| line.time);
    lines
}

struct Teller<'a> {
    journal: &'a Journal,
    /// What each action led to: `3 → 20 replicas`.
    effects: BTreeMap<usize, Vec<String>>,
    /// Nodes hit by each fault, by the fault's record.
    hit: FxHashMap<u32, Vec<Name>>,
    pods_of_node: FxHashMap<Name, Vec<Uid>>,
}

impl<'a> Teller<'a> {
    fn new(journal: &'a Journal) -> Teller<'a> {
        let mut hit: FxHashMap<u32, Vec<Name>> = FxHashMap::default();
        for node in journal.nodes.values() {
            for fault in &node.faults {
                hit.entry(journal.cause_of(fault.id).raw()).or_default().push(node.name);
            }
        }
        let mut pods_of_node: FxHashMap<Name, Vec<Uid>> = FxHashMap::default();
        for (uid, pod) in &journal.pods {
            if let Some(node) = pod.last.node {
                pods_of_node.entry(node).or_default().push(*uid);
            }
        }
        let mut effects: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for fact in &journal.facts {
            let text = match &fact.what {
                Happened::Scaled { from, to, .. } => format!("{from} → {to} replicas"),
                Happened::RolloutBegun { .. } => "a roll-out begins".to_owned(),
                _ => continue,
            };
            if let Some(index) = action_behind(journal, fact) {
                let effects = effects.entry(index).or_default();
                if !effects.contains(&text) {
                    effects.push(text);
                }
            }
        }
        Teller { journal, effects, hit, pods_of_node }
    }

    /// The facts in groups, in the order of their first facts.
    fn groups(&self) -> Vec<Group<'a>> {
        let mut closed: Vec<Group<'a>> = Vec::new();
        let mut open: IndexMap<String, usize, FxBuildHasher> = IndexMap::default();
        for fact in &self.journal.facts {
            let Some((key, window)) = self.kind_of(fact) else { continue };
            if let Some(&at) = open.get(&key) {
                let group = &mut closed[at];
                if fact.time.since(group.last) <= window {
                    group.facts.push(fact);
                    group.last = fact.time;
                    continue;
                }
            }
            open.insert(key, closed.len());
            closed.push(Group { facts: vec![fact], last: fact.time });
        }
        closed
    }

    /// With which facts a fact is told, and within which time of the one before. None: it is told elsewhere.
    fn kind_of(&self, fact: &Fact) -> Option<(String, Duration)> {
        let seconds = Duration::from_secs;
        let journal = self.journal;
        let family = |pod: &Uid| journal.pods.get(pod).map(|life| journal.family(life)).unwrap_or_default();
        Some(match &fact.what {
            Happened::Applied { .. } => ("applied".to_owned(), seconds(2)),
            Happened::Action { index } => {
                // What was applied is told by the objects.
                let text = journal.actions.get(*index)?.text.as_str();
                if text.trim_start_matches("kubectl ").starts_with("apply") {
                    return None;
                }
                (format!("action {index}"), Duration::ZERO)
            }
            Happened::Fault { index } => (format!("fault {index}"), Duration::ZERO),
            Happened::NodeReady { ready, .. } => (format!("node {}", *ready == ConditionStatus::True), seconds(60)),
            Happened::Tainted { on, key, .. } => (format!("taint {on} {key}"), seconds(60)),
            Happened::Cordoned { on, .. } => {
                // The action says so.
                if action_behind(journal, fact).is_some() {
                    return None;
                }
                (format!("cordon {on}"), seconds(60))
            }
            Happened::Lost { loss, .. } => {
                let kind = match loss {
                    Loss::Taint { .. } => "taint".to_owned(),
                    Loss::Evicted => "evicted".to_owned(),
                    Loss::Preempted { .. } => "preempted".to_owned(),
                    Loss::Collected => "collected".to_owned(),
                    Loss::Kubelet { reason, .. } => reason.to_string(),
                    Loss::User => "user".to_owned(),
                };
                (format!("lost {kind}"), seconds(60))
            }
            Happened::Replacement { .. } => ("replacement".to_owned(), seconds(60)),
            Happened::Crashed { pod, container, exit_code, reason } => {
                (format!("crash {} {container} {exit_code} {reason}", family(pod)), seconds(900))
            }
            Happened::ProbeKilled { pod, container, .. } => {
                (format!("probe {} {container}", family(pod)), seconds(600))
            }
            Happened::ImageFailed { image, .. } => (format!("image {image}"), seconds(900)),
            Happened::Unschedulable { message, .. } => {
                (format!("unschedulable {}", reasons_only(message)), seconds(30))
            }
            Happened::RolloutBegun { .. } => {
                if action_behind(journal, fact).is_some() {
                    return None;
                }
                ("roll-out".to_owned(), seconds(2))
            }
            Happened::RolloutDone { workload } => (format!("rolled out {}", workload.0), seconds(2)),
            Happened::RolloutStuck { workload, .. } => (format!("stuck {}", workload.0), seconds(2)),
            Happened::Scaled { workload, .. } => {
                if action_behind(journal, fact).is_some() {
                    return None;
                }
                (format!("scaled {}", workload.0), seconds(10))
            }
            Happened::JobEnded { workload, complete, .. } => {
                let job = journal.workloads.get(workload)?;
                let above = job.owner.and_then(|owner| journal.workloads.get(&owner)).unwrap_or(job);
                // Jobs of one CronJob, however far apart; other Jobs if they end together.
                match job.owner {
                    Some(_) => (format!("job {complete} {}", above.key), seconds(86_400)),
                    None => (format!("job {complete}"), seconds(10)),
                }
            }
            Happened::Endpoints { namespace, service, from, to } => {
                if !self.endpoints_are_news(*namespace, *service, fact.id, *from, *to) {
                    return None;
                }
                // They go together and come back one by one.
                if to < from {
                    ("endpoints fall".to_owned(), seconds(10))
                } else {
                    ("endpoints rise".to_owned(), seconds(60))
                }
            }
            Happened::Warning { reason, about, .. } => {
                (format!("warning {reason} {}", about.kind.as_str()), seconds(300))
            }
            Happened::Invariant { .. } => ("invariant".to_owned(), Duration::MAX),
        })
    }

    /// Endpoints that come for the first time, or by a scale-up, are not news; those that go, and come back, are.
    fn endpoints_are_news(&self, namespace: Name, service: Name, id: Cause, from: i32, to: i32) -> bool {
        let Some(life) = self.journal.services.get(&(namespace, service)) else { return false };
        let before = life.ready.iter().take_while(|(.., written)| *written < id);
        to < from || from < before.map(|(_, ready, _)| *ready).max().unwrap_or(0)
    }

    fn tell(&self, group: &Group<'_>) -> Option<Line> {
        let journal = self.journal;
        let first = group.first();
        let mut line = Line { time: first.time, until: group.last, id: first.id, ..Line::default() };
        let root = journal.root(first.id);
        match &first.what {
            Happened::Applied { .. } => self.tell_applied(group, &mut line),
            Happened::Action { index } => {
                let done = journal.actions.get(*index)?;
                line.what = done.text.to_string();
                line.source = done.source;
                line.why = self.effects.get(index).map(|effects| effects.join(", ")).unwrap_or_default();
            }
            Happened::Fault { index } => self.tell_fault(journal.faults.get(*index)?, &mut line),
            Happened::NodeReady { ready, message, .. } => {
                let nodes = nodes(group);
                line.objects = nodes.iter().map(|node| format!("node/{node}")).collect();
                let word = if *ready == ConditionStatus::True { "Ready again" } else { "NotReady" };
                line.what = format!("{} {word}", name_or_count(&nodes, "node"));
                line.alarm = *ready != ConditionStatus::True;
                let mut parts = vec![message.trim_end_matches('.').to_owned()];
                parts.retain(|part| !part.is_empty() && *ready != ConditionStatus::True);
                if let Some(done) = root {
                    let verb = if done.undone { "the end of " } else { "" };
                    parts.push(format!("{} after {verb}{}", length(first.time.since(done.time)), done.text));
                }
                line.why = parts.join("; ");
            }
            Happened::Tainted { key, on, .. } => {
                let nodes = nodes(group);
                line.objects = nodes.iter().map(|node| format!("node/{node}")).collect();
                let short = key.as_str().trim_start_matches("node.kubernetes.io/");
                line.what = if *on {
                    format!("{} tainted NoExecute", name_or_count(&nodes, "node"))
                } else {
                    format!("{} free of NoExecute", name_or_count(&nodes, "node"))
                };
                line.why = format!("{short}{}", until(group, nodes.len(), "a node"));
            }
            Happened::Cordoned { on, .. } => {
                let nodes = nodes(group);
                line.objects = nodes.iter().map(|node| format!("node/{node}")).collect();
                line.what =
                    format!("{} {}", name_or_count(&nodes, "node"), if *on { "cordoned" } else { "uncordoned" });
                line.why = because(root);
            }
            Happened::Lost { .. } => self.tell_lost(group, &mut line),
            Happened::Replacement { .. } => self.tell_replacements(group, &mut line),
            Happened::Crashed { container, exit_code, reason, .. } => {
                let pods = self.pods(group);
                self.about_pods(&pods, &mut line);
                let how = if *reason == "OOMKilled" {
                    "ran out of memory (OOMKilled)".to_owned()
                } else {
                    format!("exits with {exit_code}")
                };
                line.alarm = true;
                line.what = format!("{} {how}", self.container_of_family(&pods, *container));
                line.why = self.crash_why(group, &pods, *container);
            }
            Happened::ProbeKilled { container, message, .. } => {
                let pods = self.pods(group);
                self.about_pods(&pods, &mut line);
                line.alarm = true;
                line.what = format!("{} killed by its probe", self.container_of_family(&pods, *container));
                line.why = format!("{}{}", message, times(group));
            }
            Happened::ImageFailed { image, .. } => {
                let pods = self.pods(group);
                self.about_pods(&pods, &mut line);
                line.alarm = true;
                line.what = format!("image {image} can't be pulled");
                let messages = group.facts.iter().filter_map(|fact| match &fact.what {
                    Happened::ImageFailed { message, .. } => Some(message.as_str()),
                    _ => None,
                });
                let best = messages.filter(|text| !text.starts_with("Back-off")).max_by_key(|text| text.len());
                line.why = count(pods.len(), "pod");
                if let Some(best) = best.and_then(|text| text.rsplit(": ").next()).filter(|text| !text.is_empty()) {
                    line.why = format!("{}: {best}", line.why);
                }
            }
            Happened::Unschedulable { message, .. } => {
                let pods = self.pods(group);
                self.about_pods(&pods, &mut line);
                line.alarm = true;
                line.what = format!("{} unschedulable", self.pods_or_family(&pods));
                line.why = reasons_of(message);
                line.source = pods.first().and_then(|pod| self.source_of(pod));
            }
            Happened::RolloutBegun { .. } => {
                let names = self.workload_names(group);
                line.what = if names.len() == 1 {
                    format!("{} rolls out", names[0])
                } else {
                    format!("{} begin", count(names.len(), "roll-out"))
                };
                line.objects = names;
                line.why = because(root);
            }
            Happened::RolloutDone { workload } => {
                let life = journal.workloads.get(workload)?;
                line.objects = vec![life.display()];
                line.what = format!("{} rolled out", life.display());
                let begun = life.rollouts.iter().rev().find(|rollout| rollout.begun <= first.time)?;
                line.why = format!("in {}", length(first.time.since(begun.begun)));
            }
            Happened::RolloutStuck { workload, message } => {
                let life = journal.workloads.get(workload)?;
                line.alarm = true;
                line.objects = vec![life.display()];
                line.what = format!("{} exceeded its progress deadline", life.display());
                line.why = message.to_string();
                line.source = life.source;
            }
            Happened::Scaled { workload, from, .. } => {
                let life = journal.workloads.get(workload)?;
                let to = group.facts.iter().rev().find_map(|fact| match fact.what {
                    Happened::Scaled { to, .. } => Some(to),
                    _ => None,
                })?;
                line.objects = vec![life.display()];
                line.what = format!("{} scaled {from} → {to}", life.display());
                line.why = because(root);
            }
            Happened::JobEnded { .. } => self.tell_jobs(group, &mut line),
            Happened::Endpoints { .. } => self.tell_endpoints(group, &mut line),
            Happened::Warning { reason, about, message } => {
                let objects: IndexSet<String, FxBuildHasher> = group
                    .facts
                    .iter()
                    .filter_map(|fact| match &fact.what {
                        Happened::Warning { about, .. } => Some(word(about.kind, about.name)),
                        _ => None,
                    })
                    .collect();
                line.alarm = true;
                line.what = match objects.len() {
                    1 => format!("{reason} {}", word(about.kind, about.name)),
                    many => format!("{reason} {}", count(many, &about.kind.as_str().to_ascii_lowercase())),
                };
                line.objects = objects.into_iter().collect();
                line.why = message.to_string();
            }
            Happened::Invariant { text } => {
                line.alarm = true;
                line.what = format!("simlet broke {}", count(group.facts.len(), "invariant"));
                line.why = text.to_string();
            }
        }
        line.root = line.source.or(root.and_then(|done| done.source));
        Some(line)
    }

    fn tell_applied(&self, group: &Group<'_>, line: &mut Line) {
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        for fact in &group.facts {
            if let Happened::Applied { key } = &fact.what {
                *kinds.entry(key.kind).or_default() += 1;
                line.objects.push(word(key.kind, key.name));
            }
        }
        line.what = match line.objects.as_slice() {
            [one] => format!("{one} applied"),
            many if kinds.len() == 1 && kinds.contains_key(&Kind::Pod) => {
                format!("{} applied", count(many.len(), "pod"))
            }
            many => format!("{} applied", count(many.len(), "workload")),
        };
        if kinds.len() > 1 || (kinds.len() == 1 && group.facts.len() > 1 && !kinds.contains_key(&Kind::Pod)) {
            let each = kinds.iter().map(|(kind, number)| count(*number, kind.as_str()));
            line.why = each.collect::<Vec<_>>().join(", ");
        }
    }

    fn tell_fault(&self, done: &Done, line: &mut Line) {
        line.what = if done.undone { format!("{} ends", done.text) } else { done.text.to_string() };
        line.alarm = !done.undone;
        line.source = done.source;
        let Some(nodes) = self.hit.get(&done.id.raw()) else { return };
        let there = |uid: &&Uid| {
            let life = &self.journal.pods[*uid];
            life.bound.is_some_and(|bound| bound <= done.time)
                && life.gone.is_none_or(|gone| gone > done.time)
                && phase_at(life, done.time).is_none_or(|phase| !phase.is_terminal())
        };
        let pods: usize = nodes
            .iter()
            .map(|node| self.pods_of_node.get(node).map_or(0, |pods| pods.iter().filter(there).count()))
            .sum();
        line.objects = nodes.iter().map(|node| format!("node/{node}")).collect();
        line.why = if nodes.len() == 1 {
            count(pods, "pod")
        } else {
            format!("{}, {}", count(nodes.len(), "node"), count(pods, "pod"))
        };
    }

    fn tell_lost(&self, group: &Group<'_>, line: &mut Line) {
        let pods = self.pods(group);
        self.about_pods(&pods, line);
        let who = self.pods_or_family(&pods);
        let first = group.first();
        let Happened::Lost { loss, .. } = &first.what else { return };
        line.alarm = !matches!(loss, Loss::User | Loss::Evicted);
        let each = until(group, 1, "");
        match loss {
            Loss::Taint { .. } => {
                line.what = format!("{who} evicted");
                let mut waited: Vec<u64> = group
                    .facts
                    .iter()
                    .filter_map(|fact| match &fact.what {
                        Happened::Lost { loss: Loss::Taint { since: Some(since) }, .. } => {
                            Some((fact.time.since(*since) + Duration::from_millis(500)).as_secs())
                        }
                        _ => None,
                    })
                    .collect();
                waited.sort_unstable();
                let toleration = match (waited.first(), waited.last()) {
                    (Some(0), Some(0)) => "their nodes' taint is not tolerated".to_owned(),
                    (Some(least), Some(most)) if most - least <= 1 => {
                        format!(
                            "tolerationSeconds {least} after {} taint",
                            if pods.len() == 1 { "the" } else { "each" }
                        )
                    }
                    (Some(least), Some(most)) => format!("tolerationSeconds {least} to {most} after each taint"),
                    _ => "NoExecute taint".to_owned(),
                };
                line.why = format!("{}{toleration}", lead(&each));
            }
            Loss::Evicted => {
                line.what = format!("{who} evicted");
                line.why = format!("{}{}", lead(&each), because(self.journal.root(first.id)));
            }
            Loss::Preempted { message } => {
                line.what = format!("{who} preempted");
                line.why = format!("{}{message}", lead(&each));
            }
            Loss::Collected => {
                line.what = format!("{who} removed");
                line.why = format!("{}pod garbage collection: its node is gone", lead(&each));
            }
            Loss::Kubelet { reason, message } => {
                line.what = format!(
                    "{who} {}",
                    if *reason == "Evicted" { "evicted".to_owned() } else { format!("failed: {reason}") }
                );
                line.why = format!("{}{message}", lead(&each));
            }
            Loss::User => {
                line.what = format!("{who} deleted");
                line.why = because(self.journal.root(first.id));
            }
        }
    }

    fn tell_replacements(&self, group: &Group<'_>, line: &mut Line) {
        let pods = self.pods(group);
        self.about_pods(&pods, line);
        line.what = format!("{} created", count(pods.len(), "replacement"));
        let bound = pods.iter().filter(|pod| pod.bound.is_some()).count();
        let pending: Vec<&&PodLife> = pods.iter().filter(|pod| pod.bound.is_none() && pod.gone.is_none()).collect();
        let mut parts = Vec::new();
        if pods.len() > 1 || pending.is_empty() {
            parts.push(format!(
                "{} scheduled",
                if bound == pods.len() && bound > 1 { "all".to_owned() } else { bound.to_string() }
            ));
        }
        if !pending.is_empty() {
            let mut reasons: Vec<String> = Vec::new();
            for pod in &pending {
                let message = last_message(pod);
                let all = reasons_only(&message);
                // The line about unschedulable pods has them all.
                let short = all.split(", ").next().unwrap_or_default().to_owned();
                if !short.is_empty() && !reasons.contains(&short) {
                    reasons.push(short);
                }
            }
            let more = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) };
            parts.push(format!("{} pending{more}", pending.len()));
        }
        line.alarm = !pending.is_empty();
        line.why = format!("{}{}", lead(&until(group, 1, "")), parts.join(", "));
    }

    fn tell_endpoints(&self, group: &Group<'_>, line: &mut Line) {
        let mut services: IndexMap<(Name, Name), (i32, i32), FxBuildHasher> = IndexMap::default();
        for fact in &group.facts {
            if let Happened::Endpoints { namespace, service, from, to } = fact.what {
                services.entry((namespace, service)).or_insert((from, to)).1 = to;
            }
        }
        line.objects = services.keys().map(|(_, service)| format!("service/{service}")).collect();
        line.alarm = services.values().any(|(from, to)| *to == 0 && *from > 0);
        let each = services.iter().map(|((_, service), (from, to))| format!("{service} {from} → {to}"));
        let fell = services.values().any(|(from, to)| to < from);
        let mut parts = Vec::new();
        if services.len() == 1 {
            line.what = format!("endpoints {}", each.collect::<String>());
        } else {
            let verb = if fell { "lose" } else { "regain" };
            line.what = format!("{} {verb} endpoints", count(services.len(), "service"));
            let mut each: Vec<String> = each.collect();
            if each.len() > 4 {
                let more = each.len() - 3;
                each.truncate(3);
                each.push(format!("and {more} more"));
            }
            parts.push(each.join(", "));
        }
        if group.span() >= Duration::from_secs(1) {
            parts.push(format!("until {}", moment(group.last)));
        }
        let cause = because(self.journal.root(group.first().id));
        if fell && !cause.is_empty() {
            parts.push(cause);
        }
        line.why = parts.join("; ");
    }

    fn tell_jobs(&self, group: &Group<'_>, line: &mut Line) {
        let jobs: Vec<_> = group
            .facts
            .iter()
            .filter_map(|fact| match &fact.what {
                Happened::JobEnded { workload, complete, message } => {
                    Some((self.journal.workloads.get(workload)?, *complete, message, fact.time))
                }
                _ => None,
            })
            .collect();
        let Some((job, complete, message, time)) = jobs.first() else { return };
        line.objects = jobs.iter().map(|(job, ..)| job.display()).collect();
        let word = if *complete { "complete" } else { "failed" };
        let above = job.owner.and_then(|owner| self.journal.workloads.get(&owner));
        line.what = match (jobs.len(), above) {
            (1, _) => format!("{} {word}", job.display()),
            (many, Some(above)) => format!("{} of {} {word}", count(many, "job"), above.display()),
            (many, None) => format!("{} {word}", count(many, "job")),
        };
        line.alarm = !complete;
        let mut took: Vec<Duration> = jobs.iter().map(|(job, _, _, time)| time.since(job.created)).collect();
        took.sort();
        line.why = match (complete, took.as_slice()) {
            (false, _) => message.to_string(),
            (true, [_]) => {
                format!(
                    "in {}, {} succeeded",
                    length(time.since(job.created)),
                    count(job.now().available.max(0) as usize, "pod")
                )
            }
            (true, _) => format!("p50 {}, max {}", length(percentile(&took, 50)), length(percentile(&took, 100))),
        };
        if group.span() >= Duration::from_secs(1) {
            line.why = format!("until {}: {}", moment(group.last), line.why);
        }
        line.source = job.source.or(above.and_then(|above| above.source));
    }

    fn crash_why(&self, group: &Group<'_>, pods: &[&PodLife], container: Name) -> String {
        let mut after: Vec<Duration> = Vec::new();
        for pod in pods {
            after.extend(pod.moments.iter().filter_map(|moment| match &moment.what {
                Happening::Exited { container: name, after, .. }
                    if *name == container && moment.time >= group.first().time && moment.time <= group.last =>
                {
                    Some(*after)
                }
                _ => None,
            }));
        }
        after.sort();
        let mut parts = Vec::new();
        if pods.len() > 1 {
            parts.push(count(pods.len(), "pod"));
        }
        if group.facts.len() > pods.len() {
            parts.push(format!("{} until {}", count(group.facts.len(), "time"), moment(group.last)));
        }
        match (after.first(), after.last()) {
            (Some(least), Some(most)) if length(*least) == length(*most) => {
                parts.push(format!("after {}", length(*least)));
            }
            (Some(least), Some(most)) => parts.push(format!("after {} to {}", length(*least), length(*most))),
            _ => {}
        }
        let backing_off = pods.iter().filter(|pod| pod.status_word() == "CrashLoopBackOff").count();
        if backing_off > 0 {
            parts.push("CrashLoopBackOff at the end".to_owned());
        }
        parts.join(", ")
    }

    /// When the pods of each wave of creations were ready.
    fn ready_batches(&self) -> Vec<Line> {
        const GAP: Duration = Duration::from_secs(10);
        let mut lines = Vec::new();
        let mut batch: Vec<&PodLife> = Vec::new();
        let mut last = Time::ZERO;
        for life in self.journal.pods.values().filter(|life| !is_of_job(life)) {
            if !batch.is_empty() && life.created.since(last) > GAP {
                lines.extend(self.tell_batch(&batch));
                batch.clear();
            }
            last = last.max(life.created);
            batch.push(life);
        }
        lines.extend(self.tell_batch(&batch));
        lines
    }

    fn tell_batch(&self, batch: &[&PodLife]) -> Option<Line> {
        // What went before it was ready, by a scale-down or with its node, is nobody's wait.
        let waited: Vec<&PodLife> =
            batch.iter().copied().filter(|pod| pod.first_ready().is_some() || pod.deleting.is_none()).collect();
        let ready = waited.iter().filter_map(|pod| pod.first_ready()).max()?;
        let number = waited.iter().filter(|pod| pod.first_ready().is_some()).count();
        let starts = Latency::of_pods(waited.iter().copied());
        let id = waited.iter().find(|pod| pod.first_ready() == Some(ready))?.created_by;
        let who = if waited.len() == 1 {
            format!("pod {} ready", self.journal.name_of(waited[0]))
        } else {
            format!("{number} of {} ready", count(waited.len(), "pod"))
        };
        let mut line = Line { time: ready, until: ready, id, what: who, ..Line::default() };
        line.objects = waited.iter().take(200).map(|pod| format!("pod/{}", pod.last.meta.name)).collect();
        let totals = starts.totals();
        let slowest = starts.slowest(1).first().copied();
        line.why = match (slowest, waited.len()) {
            (None, _) => "running from the start".to_owned(),
            (Some(start), 1) => {
                format!("after {}: {}", length(start.total()), latency::reason(self.journal, start))
            }
            (Some(start), _) => format!(
                "p50 {}  p99 {}  slowest: {} ({})",
                length(percentile(&totals, 50)),
                length(percentile(&totals, 99)),
                self.journal.name_of(&self.journal.pods[&start.pod]),
                {
                    let (step, took) = start.dominant();
                    format!("{} {}", step.as_str(), length(took))
                },
            ),
        };
        Some(line)
    }

    fn pods(&self, group: &Group<'_>) -> Vec<&'a PodLife> {
        let mut uids: IndexSet<Uid, FxBuildHasher> = IndexSet::default();
        for fact in &group.facts {
            if let Happened::Lost { pod, .. }
            | Happened::Replacement { pod }
            | Happened::Crashed { pod, .. }
            | Happened::ProbeKilled { pod, .. }
            | Happened::ImageFailed { pod, .. }
            | Happened::Unschedulable { pod, .. } = &fact.what
            {
                uids.insert(*pod);
            }
        }
        uids.iter().filter_map(|uid| self.journal.pods.get(uid)).collect()
    }

    fn about_pods(&self, pods: &[&PodLife], line: &mut Line) {
        line.objects = pods.iter().take(200).map(|pod| format!("pod/{}", pod.last.meta.name)).collect();
    }

    /// `pod web-1`, `3 pods of web`, `71 pods`.
    fn pods_or_family(&self, pods: &[&PodLife]) -> String {
        if let [pod] = pods {
            return format!("pod {}", self.journal.name_of(pod));
        }
        let mut families: Vec<Name> = pods.iter().map(|pod| self.journal.family(pod)).collect();
        families.dedup();
        match families.as_slice() {
            [family] if pods.len() > 1 => format!("{} of {family}", count(pods.len(), "pod")),
            _ => count(pods.len(), "pod"),
        }
    }

    fn container_of_family(&self, pods: &[&PodLife], container: Name) -> String {
        match pods {
            [] => container.to_string(),
            [pod, ..] if pods.len() == 1 => {
                let name = pod.last.meta.name;
                if pod.last.spec.containers.len() > 1 { format!("{container} of {name}") } else { name.to_string() }
            }
            [pod, ..] => {
                let family = self.journal.family(pod);
                if pod.last.spec.containers.len() > 1 { format!("{container} of {family}") } else { family.to_string() }
            }
        }
    }

    fn workload_names(&self, group: &Group<'_>) -> Vec<String> {
        let names = group.facts.iter().filter_map(|fact| match &fact.what {
            Happened::RolloutBegun { workload } => Some(self.journal.workloads.get(workload)?.display()),
            _ => None,
        });
        names.collect()
    }

    /// The line of the template, or of the pod.
    fn source_of(&self, pod: &PodLife) -> Option<Source> {
        let spec = &pod.last.spec;
        spec.source.or(pod.last.meta.source).or(self.journal.top(pod).and_then(|workload| workload.source))
    }
}

/// The action at the beginning of a fact's causes, by its place in the journal.
fn action_behind(journal: &Journal, fact: &Fact) -> Option<usize> {
    let done = journal.root(fact.id)?;
    let at = journal.actions.binary_search_by_key(&done.id, |action| action.id).ok()?;
    Some(at)
}

fn phase_at(life: &PodLife, at: Time) -> Option<crate::model::Phase> {
    life.phases().take_while(|(time, _)| *time <= at).last().map(|(_, phase)| phase)
}

/// The last reason for which a pod found no node.
pub(in crate::report) fn last_message(life: &PodLife) -> String {
    use crate::trace::Outcome;
    let found = life.moments.iter().rev().find_map(|moment| match &moment.what {
        Happening::Attempt { outcome: Outcome::Unschedulable { message } | Outcome::Error { message }, .. } => {
            Some(message.to_string())
        }
        _ => None,
    });
    found.unwrap_or_default()
}

/// `18 Insufficient cpu, 9 …` of `0/30 nodes are available: 18 Insufficient cpu, 9 …. preemption: …`.
pub(in crate::report) fn reasons_of(message: &str) -> String {
    let text = message.split(" preemption: ").next().unwrap_or(message);
    // What other PostFilter plug-ins said ends with a comma.
    text.trim().trim_end_matches(['.', ',']).to_owned()
}

/// The reasons without their numbers: `Insufficient cpu, node(s) had untolerated taint {…}`.
pub(in crate::report) fn reasons_only(message: &str) -> String {
    let text = reasons_of(message);
    let text = text.split_once(" available: ").map_or(text.as_str(), |(_, reasons)| reasons);
    let strip = |part: &str| part.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().to_owned();
    text.split(", ").map(strip).collect::<Vec<_>>().join(", ")
}

fn nodes(group: &Group<'_>) -> Vec<Name> {
    let mut names: IndexSet<Name, FxBuildHasher> = IndexSet::default();
    for fact in &group.facts {
        if let Happened::NodeReady { node, .. } | Happened::Tainted { node, .. } | Happened::Cordoned { node, .. } =
            &fact.what
        {
            names.insert(*node);
        }
    }
    names.into_iter().collect()
}

fn name_or_count(names: &[Name], noun: &str) -> String {
    match names {
        [name] => format!("{noun} {name}"),
        many => count(many.len(), noun),
    }
}

fn word(kind: Kind, name: Name) -> String {
    format!("{}/{name}", kind.as_str().to_ascii_lowercase())
}

/// `, until +8:22: a node in 10s`, for what took longer than a second.
fn until(group: &Group<'_>, number: usize, each: &str) -> String {
    if group.span() < Duration::from_secs(1) {
        return String::new();
    }
    let mut text = format!(", until {}", moment(group.last));
    if number > 2 {
        let every = Duration::from_nanos(group.span().as_nanos() / (number as u64 - 1));
        text.push_str(&format!(": {each} in {}", length(every)));
    }
    text
}

/// `until +8:22: ` of [`until`]'s text.
fn lead(until: &str) -> String {
    match until.strip_prefix(", ") {
        Some(text) => format!("{text}: "),
        None => String::new(),
    }
}

fn times(group: &Group<'_>) -> String {
    if group.facts.len() > 1 {
        format!("; {} until {}", count(group.facts.len(), "time"), moment(group.last))
    } else {
        String::new()
    }
}

fn because(done: Option<&Done>) -> String {
    match done {
        Some(done) if done.undone => format!("{} ended at {}", done.text, moment(done.time)),
        // That something was applied explains nothing.
        Some(done) if done.text.trim_start_matches("kubectl ").starts_with("apply") => String::new(),
        Some(done) => format!("{} at {}", done.text, moment(done.time)),
        None => String::new(),
    }
}
