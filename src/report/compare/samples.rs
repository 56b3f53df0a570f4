//! How long the stages of pods took, as samples.

use std::collections::BTreeMap;

use crate::kernel::{Duration, Time};
use crate::model::{Kind, Name};
use crate::trace::{self, StageEdge};

use super::super::journal::{Happening, Journal, PodLife};
use super::super::latency;

/// A stage of a pod's life. `sandbox`, `pull`, `create`, `start` and `hook` have a sample for each time that they succeeded,
/// also at restarts; the others have at most one for each pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// From its creation until the end of its first scheduling attempt.
    Queue,
    /// From there until the attempt that placed it, for pods that needed several.
    Schedule,
    /// Until the API server has stored its node.
    Bind,
    /// Until the kubelet has heard of it. Not, as [`Stage::Whole`], where the kubelet was only starting.
    Watch,
    Volumes,
    /// RunPodSandbox.
    Sandbox,
    /// From wanting an image that is not there until it is, queueing included.
    Pull,
    /// CreateContainer.
    Create,
    /// StartContainer.
    Start,
    /// postStart.
    Hook,
    /// From the start of the last container until the pod is Ready.
    Ready,
    /// From its creation until it is Ready. Not for pods of Jobs.
    Whole,
    /// From its deletion until it is gone.
    End,
}

impl Stage {
    /// In the order of a pod's life.
    pub const ALL: [Stage; 13] = [
        Stage::Queue,
        Stage::Schedule,
        Stage::Bind,
        Stage::Watch,
        Stage::Volumes,
        Stage::Sandbox,
        Stage::Pull,
        Stage::Create,
        Stage::Start,
        Stage::Hook,
        Stage::Ready,
        Stage::Whole,
        Stage::End,
    ];

    /// As tables, plots and JSON write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Queue => "queue",
            Stage::Schedule => "schedule",
            Stage::Bind => "bind",
            Stage::Watch => "watch",
            Stage::Volumes => "volumes",
            Stage::Sandbox => "sandbox",
            Stage::Pull => "pull",
            Stage::Create => "create",
            Stage::Start => "start",
            Stage::Hook => "hook",
            Stage::Ready => "ready",
            Stage::Whole => "whole start",
            Stage::End => "deletion",
        }
    }

    fn of(stage: trace::Stage) -> Option<Stage> {
        match stage {
            trace::Stage::Volumes => Some(Stage::Volumes),
            trace::Stage::Sandbox => Some(Stage::Sandbox),
            trace::Stage::Pull => Some(Stage::Pull),
            trace::Stage::Create => Some(Stage::Create),
            trace::Stage::Start => Some(Stage::Start),
            trace::Stage::PostStart => Some(Stage::Hook),
            // Reckoned from other records.
            trace::Stage::Watch | trace::Stage::Ready => None,
        }
    }
}

/// A kubelet looks each second whether its informers have synced, and hears of its pods only then.
const UNTIL_IT_LISTENS: Duration = Duration::from_millis(1500);

/// Samples by stage.
#[derive(Clone, Debug, Default)]
pub struct Samples(BTreeMap<Stage, Vec<Duration>>);

impl Samples {
    /// Takes those of a run.
    pub fn take(&mut self, journal: &Journal) {
        let pulls = pulls(journal);
        let starts = kubelet_starts(journal);
        for life in journal.pods.values() {
            let starts = life.last.node.and_then(|node| starts.get(&node)).map_or(&[][..], Vec::as_slice);
            self.pod(life, &pulls, starts);
        }
    }

    /// Those of a stage, shortest first.
    pub fn sorted(&self, stage: Stage) -> Vec<Duration> {
        let mut sorted = self.0.get(&stage).cloned().unwrap_or_default();
        sorted.sort();
        sorted
    }

    fn add(&mut self, stage: Stage, from: Time, until: Time) {
        self.0.entry(stage).or_default().push(until.since(from));
    }

    /// `starts` is when the kubelet of its node started.
    fn pod(&mut self, life: &PodLife, pulls: &BTreeMap<(u64, Name), u32>, starts: &[Time]) {
        // What was there when the run began has no beginning.
        if let (Some(bound), Some(placed)) = (life.bound, life.placed) {
            let first = life.first_attempt.unwrap_or(placed).min(placed);
            self.add(Stage::Queue, life.created, first);
            if first < placed {
                self.add(Stage::Schedule, first, placed);
            }
            self.add(Stage::Bind, placed, bound);
        }
        if let (Some(deleting), Some(gone)) = (life.deleting, life.gone) {
            self.add(Stage::End, deleting, gone);
        }
        let ready = life.first_ready().filter(|ready| life.bound.is_some() && *ready > life.created);
        let mut open: Vec<(trace::Stage, Name, Time)> = Vec::new();
        let mut pulled: Vec<(Name, u32)> = Vec::new();
        let mut last_start = None;
        let (mut has_heard, mut met_a_start) = (false, false);
        for moment in &life.moments {
            let Happening::Stage { container, stage, edge } = &moment.what else { continue };
            let at = open.iter().position(|(other, name, _)| other == stage && name == container);
            let begun = at.map(|at| open.remove(at).2);
            match edge {
                StageEdge::Begin => open.push((*stage, *container, moment.time)),
                StageEdge::Failed(_) => {}
                // A kubelet that starts again hears again of what it has.
                StageEdge::End if *stage == trace::Stage::Watch => {
                    let Some(bound) = life.bound.filter(|bound| *bound <= moment.time && !has_heard) else { continue };
                    has_heard = true;
                    // Who starts hears at once of all that waited for it, however long that was.
                    let met = |start: &Time| *start <= moment.time && moment.time.since(*start) < UNTIL_IT_LISTENS;
                    met_a_start = starts.iter().any(met);
                    if !met_a_start {
                        self.add(Stage::Watch, bound, moment.time);
                    }
                }
                StageEdge::End => {
                    if *stage == trace::Stage::Start && ready.is_some_and(|ready| moment.time <= ready) {
                        last_start = Some(moment.time);
                    }
                    let (Some(begun), Some(ours)) = (begun, Stage::of(*stage)) else { continue };
                    // An image that was there was only looked at.
                    if ours == Stage::Pull {
                        let allowed = pulls.get(&(life.last.meta.uid.0, *container)).copied().unwrap_or(0);
                        match pulled.iter_mut().find(|(name, _)| name == container) {
                            Some((_, count)) if *count >= allowed => continue,
                            Some((_, count)) => *count += 1,
                            None if allowed == 0 => continue,
                            None => pulled.push((*container, 1)),
                        }
                    }
                    self.add(ours, begun, moment.time);
                }
            }
        }
        if let Some(ready) = ready {
            if let Some(start) = last_start {
                self.add(Stage::Ready, start, ready);
            }
            if !latency::is_of_job(life) && !met_a_start {
                self.add(Stage::Whole, life.created, ready);
            }
        }
    }
}

/// When kubelets started during the run, by node, from their Events.
fn kubelet_starts(journal: &Journal) -> BTreeMap<Name, Vec<Time>> {
    let mut starts: BTreeMap<Name, Vec<Time>> = BTreeMap::new();
    for event in journal.events.values().filter(|event| event.reason == "Starting" && event.involved.kind == Kind::Node)
    {
        starts.entry(event.involved.name).or_default().push(event.first);
    }
    starts
}

/// How often each container's image was really pulled, by pod and container, from the kubelet's Events.
fn pulls(journal: &Journal) -> BTreeMap<(u64, Name), u32> {
    let mut pulls = BTreeMap::new();
    for event in journal.events.values() {
        if event.reason == "Pulled" && event.message.starts_with("Successfully pulled") {
            let path = event.involved.field_path.as_str();
            let container = path.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}')).unwrap_or_default();
            *pulls.entry((event.involved.uid.0, Name::new(container))).or_insert(0) += event.count;
        }
    }
    pulls
}
