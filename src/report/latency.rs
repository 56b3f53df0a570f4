//! Where the time of a pod's start goes, from its creation until it is Ready: stages, exact percentiles, the slowest.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;

use crate::kernel::{Duration, Time};
use crate::model::{Kind, Name, Uid};
use crate::trace::{Stage, StageEdge};

use super::journal::{Happening, Journal, PodLife};
use super::style::{length, table};

/// What a pod waits for on its way to Ready. Every instant of a start belongs to exactly one step, so that the steps of a pod
/// add up to its whole start. Where several are under way (one container's image is pulled while another starts), the
/// instant belongs to the one that usually decides: sandbox, volumes, pull, hook, start, create, watch, ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// From its creation until the end of its first scheduling attempt.
    Queue,
    /// From there until the attempt that placed it: waiting for room, and back-off.
    Schedule,
    /// Until the API server has stored its node.
    Bind,
    /// Until the kubelet has heard of it.
    Watch,
    Volumes,
    Sandbox,
    Pull,
    Create,
    Start,
    /// postStart.
    Hook,
    /// From the start of the last container until the pod is Ready: start-up and readiness probes.
    Ready,
    /// The kubelet's own work between the others, init containers that run, and back-off after failures.
    Other,
}

impl Step {
    /// In the order of a start.
    pub const ALL: [Step; 12] = [
        Step::Queue,
        Step::Schedule,
        Step::Bind,
        Step::Watch,
        Step::Volumes,
        Step::Sandbox,
        Step::Pull,
        Step::Create,
        Step::Start,
        Step::Hook,
        Step::Ready,
        Step::Other,
    ];

    /// As tables, plots and the CSV write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Queue => "queue",
            Step::Schedule => "schedule",
            Step::Bind => "bind",
            Step::Watch => "watch",
            Step::Volumes => "volumes",
            Step::Sandbox => "sandbox",
            Step::Pull => "pull",
            Step::Create => "create",
            Step::Start => "start",
            Step::Hook => "hook",
            Step::Ready => "ready",
            Step::Other => "other",
        }
    }
}

/// One pod's start.
#[derive(Clone, Debug, PartialEq)]
pub struct PodStart {
    pub pod: Uid,
    pub created: Time,
    pub ready: Time,
    /// By [`Step::ALL`].
    pub steps: [Duration; 12],
}

impl PodStart {
    /// From its creation until it was Ready.
    pub fn total(&self) -> Duration {
        self.ready.since(self.created)
    }

    /// The step that took longest; of equal ones the first.
    pub fn dominant(&self) -> (Step, Duration) {
        let mut longest = (Step::Queue, self.steps[0]);
        for (step, length) in Step::ALL.into_iter().zip(self.steps) {
            if length > longest.1 {
                longest = (step, length);
            }
        }
        longest
    }
}

/// The start of one pod; None if it was never Ready, or was running when the run began.
pub fn pod_start(life: &PodLife) -> Option<PodStart> {
    let ready = life.first_ready()?;
    let created = life.created;
    let bound = life.bound?;
    if ready == created {
        return None;
    }
    let mut steps = [Duration::ZERO; 12];
    let mut add = |step: Step, length: Duration| steps[step as usize] += length;
    let placed = life.placed.unwrap_or(bound).min(bound);
    let first = life.first_attempt.unwrap_or(placed).min(placed);
    add(Step::Queue, first.since(created));
    add(Step::Schedule, placed.since(first));
    add(Step::Bind, bound.since(placed));
    let spans = spans(life, bound, ready);
    let mut edges: Vec<Time> = spans.iter().flat_map(|span| [span.begin, span.end]).chain([bound, ready]).collect();
    edges.sort();
    edges.dedup();
    for pair in edges.windows(2) {
        let (from, until) = (pair[0], pair[1]);
        let active = spans.iter().filter(|span| span.begin <= from && until <= span.end);
        let step = active.map(|span| span.step).min_by_key(|step| precedence(*step)).unwrap_or(Step::Other);
        add(step, until.since(from));
    }
    Some(PodStart { pod: life.last.meta.uid, created, ready, steps })
}

fn precedence(step: Step) -> u8 {
    match step {
        Step::Sandbox => 0,
        Step::Volumes => 1,
        Step::Pull => 2,
        Step::Hook => 3,
        Step::Start => 4,
        Step::Create => 5,
        Step::Watch => 6,
        _ => 7,
    }
}

/// A stage of a container, or of the pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub step: Step,
    pub container: Name,
    pub begin: Time,
    pub end: Time,
    pub failed: bool,
}

/// The stages of a pod between two moments, cut to them.
pub fn spans(life: &PodLife, from: Time, until: Time) -> Vec<Span> {
    let mut open: Vec<(Stage, Name, Time)> = Vec::new();
    let mut spans: Vec<Span> = Vec::new();
    let mut last_start: Option<Time> = None;
    let mut close = |stage: Stage, container: Name, begin: Time, end: Time, failed: bool| {
        let (begin, end) = (begin.max(from), end.min(until));
        if begin < end {
            spans.push(Span { step: step_of(stage), container, begin, end, failed });
        }
    };
    for moment in &life.moments {
        let Happening::Stage { container, stage, edge } = &moment.what else { continue };
        let at = open.iter().position(|(other, name, _)| other == stage && name == container);
        match (edge, at) {
            (StageEdge::Begin, Some(at)) => open[at].2 = moment.time,
            (StageEdge::Begin, None) => open.push((*stage, *container, moment.time)),
            (edge, at) => {
                // The kubelet hears of a pod without knowing when it was bound; we do.
                let begin = match at {
                    Some(at) => open.remove(at).2,
                    None if *stage == Stage::Watch => from,
                    None => moment.time,
                };
                let begin = if *stage == Stage::Watch { begin.min(from) } else { begin };
                close(*stage, *container, begin, moment.time, *edge != StageEdge::End);
                if *stage == Stage::Start && moment.time <= until {
                    last_start = Some(moment.time);
                }
            }
        }
    }
    for (stage, container, begin) in open {
        close(stage, container, begin, until, false);
    }
    if let Some(start) = last_start {
        close(Stage::Ready, Name::default(), start, until, false);
    }
    spans
}

fn step_of(stage: Stage) -> Step {
    match stage {
        Stage::Watch => Step::Watch,
        Stage::Volumes => Step::Volumes,
        Stage::Sandbox => Step::Sandbox,
        Stage::Pull => Step::Pull,
        Stage::Create => Step::Create,
        Stage::Start => Step::Start,
        Stage::PostStart => Step::Hook,
        Stage::Ready => Step::Ready,
    }
}

/// The starts of a run.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// In the order of the pods' creation. Pods of Jobs are not among them: they are there to end, not to be ready.
    pub starts: Vec<PodStart>,
}

impl Latency {
    /// The starts of all pods of the run.
    pub fn of(journal: &Journal) -> Latency {
        Latency::of_pods(journal.pods.values().filter(|life| !is_of_job(life)))
    }

    /// The starts of these pods.
    pub fn of_pods<'a>(pods: impl Iterator<Item = &'a PodLife>) -> Latency {
        Latency { starts: pods.filter_map(pod_start).collect() }
    }

    /// Whole starts, sorted.
    pub fn totals(&self) -> Vec<Duration> {
        let mut totals: Vec<Duration> = self.starts.iter().map(PodStart::total).collect();
        totals.sort();
        totals
    }

    /// One step of all starts, sorted.
    pub fn step(&self, step: Step) -> Vec<Duration> {
        let mut lengths: Vec<Duration> = self.starts.iter().map(|start| start.steps[step as usize]).collect();
        lengths.sort();
        lengths
    }

    /// The steps that took any time.
    pub fn steps(&self) -> Vec<Step> {
        let took = |step: &Step| self.starts.iter().any(|start| !start.steps[*step as usize].is_zero());
        Step::ALL.into_iter().filter(took).collect()
    }

    /// The slowest starts, slowest first; of equal ones the pod that was created first.
    pub fn slowest(&self, limit: usize) -> Vec<&PodStart> {
        let mut starts: Vec<&PodStart> = self.starts.iter().collect();
        starts.sort_by_key(|start| (std::cmp::Reverse(start.total()), start.pod));
        starts.truncate(limit);
        starts
    }
}

pub(super) fn is_of_job(life: &PodLife) -> bool {
    life.last.meta.owner.is_some_and(|owner| owner.kind == Kind::Job)
}

/// The value of which `percent` % are not greater, by nearest rank: one of the values, exactly. Zero if there are none.
pub fn percentile(sorted: &[Duration], percent: u64) -> Duration {
    let rank = (sorted.len() as u64 * percent).div_ceil(100).max(1) as usize;
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Why a start was slow: `pull 31s`, with what is known about it.
pub fn reason(journal: &Journal, start: &PodStart) -> String {
    let (step, took) = start.dominant();
    let mut text = format!("{} {}", step.as_str(), length(took));
    let Some(life) = journal.pods.get(&start.pod) else { return text };
    let mut detail = String::new();
    match step {
        Step::Pull => {
            let spans = spans(life, start.created, start.ready);
            let longest = spans
                .iter()
                .filter(|span| span.step == Step::Pull)
                .max_by_key(|span| (span.end.since(span.begin), std::cmp::Reverse(span.begin)));
            let spec = &life.last.spec;
            let container = longest.and_then(|span| {
                let mut all = spec.init_containers.iter().chain(spec.containers.iter());
                all.find(|container| container.name == span.container)
            });
            if let Some(container) = container {
                detail = format!("of {}", container.image);
            }
        }
        Step::Schedule if life.attempts > 1 => detail = format!("in {} attempts", life.attempts),
        Step::Other if life.exits > 0 => detail = "with restarts".to_owned(),
        Step::Ready => {
            let failures = life
                .moments
                .iter()
                .filter(|moment| moment.time <= start.ready && matches!(moment.what, Happening::ProbeFailed { .. }));
            let failures = failures.count();
            if failures > 0 {
                detail = super::style::count(failures, "failed probe");
            }
        }
        _ => {}
    }
    if !detail.is_empty() {
        let _ = write!(text, " {detail}");
    }
    text
}

/// The table of steps, and the slowest ten, for the terminal.
pub fn text(journal: &Journal, latency: &Latency) -> String {
    if latency.starts.is_empty() {
        return "no pod became Ready\n".to_owned();
    }
    let mut rows = vec![["step", "p50", "p90", "p99", "max"].map(str::to_owned).to_vec()];
    let mut row = |name: &str, sorted: &[Duration]| {
        let mut cells = vec![name.to_owned()];
        cells.extend([50, 90, 99, 100].map(|percent| length(percentile(sorted, percent))));
        rows.push(cells);
    };
    for step in latency.steps() {
        row(step.as_str(), &latency.step(step));
    }
    row("start", &latency.totals());
    let mut text = format!("{} became Ready\n\n", super::style::count(latency.starts.len(), "pod"));
    text.push_str(&table(&rows, 3, &[1, 2, 3, 4]));
    let slowest = latency.slowest(10).into_iter().map(|start| {
        let life = &journal.pods[&start.pod];
        let node = life.last.node.unwrap_or_default();
        vec![length(start.total()), journal.name_of(life), node.to_string(), reason(journal, start)]
    });
    let _ = write!(text, "\nslowest\n{}", table(&slowest.collect::<Vec<_>>(), 2, &[0]));
    text
}

/// One line a pod, lengths in nanoseconds.
pub fn csv(journal: &Journal, latency: &Latency) -> String {
    let mut text = "namespace,pod,uid,workload,node,zone,created_ns,ready_ns,start_ns".to_owned();
    for step in Step::ALL {
        let _ = write!(text, ",{}_ns", step.as_str());
    }
    text.push('\n');
    let mut zones: FxHashMap<Name, Name> = FxHashMap::default();
    for start in &latency.starts {
        let Some(life) = journal.pods.get(&start.pod) else { continue };
        let meta = &life.last.meta;
        let node = life.last.node.unwrap_or_default();
        let zone = *zones.entry(node).or_insert_with(|| journal.zone(node));
        let _ = write!(
            text,
            "{},{},{},{},{node},{zone},{},{},{}",
            meta.namespace,
            meta.name,
            meta.uid,
            journal.family(life),
            start.created.as_nanos(),
            start.ready.as_nanos(),
            start.total().as_nanos(),
        );
        for length in start.steps {
            let _ = write!(text, ",{}", length.as_nanos());
        }
        text.push('\n');
    }
    text
}
