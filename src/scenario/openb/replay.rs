//! The trace by its own times: pods come at their creation and go at their deletion, placed or not. How long do they wait?

use std::collections::BTreeMap;

use crate::apiserver;
use crate::cluster::{ControlPlane, Heard};
use crate::kernel::{Duration, Time};
use crate::model::{Key, Kind, Name, Object};
use crate::protocol::api::{Call, DeleteOptions, Tag};
use crate::scheduler::Config;
use crate::trace::{Change, Record};

use super::objects::{self, Gpus};
use super::trace::Trace;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replayed {
    pub pods: usize,
    /// How long each pod waited that was placed, shortest first.
    pub waits: Vec<Duration>,
    /// The same in the trace.
    pub trace_waits: Vec<Duration>,
    /// The most GPUs that were allocated at once, in percent of all.
    pub peak_percent: f64,
    pub events: u64,
    pub digest: u64,
}

/// From the start until everything is listed: the trace begins then.
const BEGIN: Time = Time::from_secs(1);

enum Step {
    Come(usize),
    Go(usize),
}

/// Replays a trace.
///
/// # Errors
/// The trace has no times.
pub fn replay(trace: &Trace, gpus: Gpus, scheduler: Config, seed: u64) -> Result<Replayed, String> {
    // What goes at a moment makes room for what comes then.
    let mut steps: BTreeMap<(u64, bool, usize), Step> = BTreeMap::new();
    let mut replayed = Replayed { pods: trace.pods.len(), ..Replayed::default() };
    for (number, pod) in trace.pods.iter().enumerate() {
        let Some(created) = pod.created else {
            return Err("the list of pods has no times: it can't be replayed".to_owned());
        };
        steps.insert((created, true, number), Step::Come(number));
        if let Some(deleted) = pod.deleted {
            steps.insert((deleted, deleted == created, number), Step::Go(number));
        }
        if let Some(scheduled) = pod.scheduled {
            replayed.trace_waits.push(Duration::from_secs(scheduled.saturating_sub(created)));
        }
    }
    let nodes = trace.nodes.iter().map(|node| objects::node(node, gpus)).collect();
    let mut plane = ControlPlane::new(seed, apiserver::Config::default(), scheduler, nodes);
    let specs = objects::specs(&trace.pods, gpus);
    let mut seen = Seen::new(trace);
    for ((second, ..), step) in steps {
        let at = BEGIN + Duration::from_secs(second);
        plane.run_until(at, &mut |heard| seen.hear(heard));
        match step {
            Step::Come(number) => {
                let (Some(pod), Some(spec)) = (trace.pods.get(number), specs.get(number)) else { continue };
                let name = Name::new(&pod.name);
                seen.came.insert(name, (at, pod.milli()));
                plane.request(at, Tag::NONE, Call::Create(objects::pod(spec, name)));
            }
            Step::Go(number) => {
                let Some(pod) = trace.pods.get(number) else { continue };
                let at_once = DeleteOptions { grace: Some(Duration::ZERO), ..DeleteOptions::default() };
                let key = Key::new(Kind::Pod, "default", pod.name.as_str());
                plane.request(at, Tag::NONE, Call::Delete(key, at_once));
            }
        }
    }
    let end = plane.now() + Duration::from_secs(60);
    plane.run_until(end, &mut |heard| seen.hear(heard));
    let all: i64 = trace.nodes.iter().map(|node| node.gpus * 1000).sum();
    replayed.waits = seen.waits;
    replayed.waits.sort_unstable();
    replayed.trace_waits.sort_unstable();
    replayed.peak_percent = seen.peak as f64 * 100.0 / all.max(1) as f64;
    (replayed.events, replayed.digest) = (plane.events(), plane.digest());
    Ok(replayed)
}

/// What was seen of the pods.
struct Seen {
    /// When those came that wait, and what they ask for.
    came: rustc_hash::FxHashMap<Name, (Time, i64)>,
    placed: rustc_hash::FxHashMap<Name, i64>,
    waits: Vec<Duration>,
    allocated: i64,
    peak: i64,
}

impl Seen {
    fn new(trace: &Trace) -> Seen {
        Seen {
            came: Default::default(),
            placed: Default::default(),
            waits: Vec::with_capacity(trace.pods.len()),
            allocated: 0,
            peak: 0,
        }
    }

    fn hear(&mut self, heard: Heard<'_>) {
        let Heard::Record(entry) = heard else { return };
        match &entry.what {
            Record::Written(Change::Modified, Object::Pod(pod)) if pod.node.is_some() => {
                if let Some((came, milli)) = self.came.remove(&pod.meta.name) {
                    self.waits.push(entry.time.since(came));
                    self.placed.insert(pod.meta.name, milli);
                    self.allocated += milli;
                    self.peak = self.peak.max(self.allocated);
                }
            }
            Record::Written(Change::Deleted, Object::Pod(pod)) => {
                self.came.remove(&pod.meta.name);
                self.allocated -= self.placed.remove(&pod.meta.name).unwrap_or(0);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::openb::{TraceNode, TracePod};

    /// Pods that ask for a card each, as creation and deletion, on one node with so many; how many whole seconds each waited.
    #[track_caller]
    fn check(cards: i64, pods: &[(u64, u64)], waits: &[u64], peak_percent: f64) {
        let node =
            TraceNode { name: "n".to_owned(), cpu_milli: 9000, memory_mib: 9000, gpus: cards, ..Default::default() };
        let pod = |(number, &(created, deleted)): (usize, &(u64, u64))| TracePod {
            name: format!("p{number}"),
            gpus: 1,
            gpu_milli: 1000,
            created: Some(created),
            deleted: Some(deleted),
            ..TracePod::default()
        };
        let trace = Trace { nodes: vec![node], pods: pods.iter().enumerate().map(pod).collect() };
        let config = Config { client_qps: 0, ..Config::default() };
        let replayed = replay(&trace, Gpus::Milli, config, 1).unwrap_or_default();
        let got: Vec<u64> = replayed.waits.iter().map(|wait| wait.as_secs()).collect();
        assert_eq!((got.as_slice(), replayed.peak_percent), (waits, peak_percent));
    }

    #[test]
    fn a_pod_waits_until_another_leaves() {
        check(1, &[(0, 100), (10, 200)], &[0, 90], 100.0);
        check(2, &[(0, 100), (10, 200)], &[0, 0], 100.0);
    }

    #[test]
    fn a_pod_that_leaves_before_it_was_placed_has_no_wait() {
        check(1, &[(0, 100), (10, 50), (20, 300)], &[0, 80], 100.0);
    }
}
