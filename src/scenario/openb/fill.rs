//! The paper's experiment: pods of the trace one by one, none leaves, until the GPUs that they ask for are so many percent of
//! those that there are. How many of these are allocated at each load?
//!
//! Pods are drawn as the whole trace in random order, again and again. (The paper's own draws are those of another program:
//! distributions can be compared, placements can't.)

use rustc_hash::FxHashMap;

use crate::apiserver;
use crate::cluster::{ControlPlane, Heard};
use crate::kernel::{Duration, Stream, Streams, Time};
use crate::model::{Name, Object};
use crate::protocol::api::{Call, Tag};
use crate::scheduler::Config;
use crate::trace::{Change, Record};

use super::cards::Cards;
use super::objects::{self, Gpus};
use super::trace::{Trace, TracePod};

/// The loads at which the paper's results are summed up, in percent of all GPUs.
pub const LOAD_POINTS: [u32; 12] = [50, 60, 70, 80, 85, 90, 95, 100, 105, 110, 120, 130];

/// What to fill.
#[derive(Clone, Debug)]
pub struct Fill<'t> {
    pub trace: &'t Trace,
    pub gpus: Gpus,
    pub scheduler: Config,
    pub seed: u64,
    /// Until so many percent of the GPUs were asked for.
    pub percent: u32,
}

/// How full it became.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filled {
    /// For each load point up to the last: GPUs allocated, in percent of all, as Kubernetes counts them; and those of pods that also fit on
    /// the cards of their nodes.
    pub allocated: Vec<(u32, f64, f64)>,
    /// How many pods arrived, and how many of them were placed.
    pub pods: usize,
    pub placed: usize,
    /// CPU allocated at the end, in percent of all.
    pub cpu_percent: f64,
    /// Events of the simulation.
    pub events: u64,
    pub digest: u64,
}

/// Between two arrivals: more than a cycle takes, so that each is decided before the next comes, and so little that nobody
/// is tried again (which happens after five minutes).
const GAP: Duration = Duration::from_millis(15);
/// From the start until everything is listed.
const BEGIN: Time = Time::from_secs(1);

/// Runs the experiment.
pub fn fill(what: &Fill<'_>) -> Filled {
    let all_milli: i64 = what.trace.nodes.iter().map(|node| node.gpus * 1000).sum();
    let wanted = all_milli * i64::from(what.percent) / 100;
    let nodes = what.trace.nodes.iter().map(|node| objects::node(node, what.gpus)).collect();
    let mut plane = ControlPlane::new(what.seed, apiserver::Config::default(), what.scheduler.clone(), nodes);
    let node_numbers: FxHashMap<Name, usize> =
        what.trace.nodes.iter().enumerate().map(|(number, node)| (Name::new(&node.name), number)).collect();
    let specs = objects::specs(&what.trace.pods, what.gpus);
    let mut draws = Draws::new(&what.trace.pods, what.seed);
    let mut arrived: Vec<&TracePod> = Vec::new();
    let mut numbers: FxHashMap<Name, usize> = FxHashMap::default();
    let mut placed: Vec<Option<usize>> = Vec::new();
    let (mut now, mut asked) = (BEGIN, 0);
    while asked < wanted {
        let Some((drawn, round)) = draws.next() else { break };
        let (Some(pod), Some(spec)) = (what.trace.pods.get(drawn), specs.get(drawn)) else { break };
        let name = if round == 0 { Name::new(&pod.name) } else { Name::from(format!("{}-{}", pod.name, round + 1)) };
        numbers.insert(name, arrived.len());
        arrived.push(pod);
        placed.push(None);
        asked += pod.milli();
        plane.request(now, Tag::NONE, Call::Create(objects::pod(spec, name)));
        now += GAP;
        plane.run_until(now, &mut |heard| note(heard, &numbers, &node_numbers, &mut placed));
    }
    // The last ones may still be on their way.
    plane.run_until(now + Duration::from_secs(5), &mut |heard| note(heard, &numbers, &node_numbers, &mut placed));
    let mut filled =
        Filled { pods: arrived.len(), events: plane.events(), digest: plane.digest(), ..Filled::default() };
    let mut cards: Vec<Cards> = what.trace.nodes.iter().map(|node| Cards::new(node.gpus)).collect();
    let percent = |milli: i64| if all_milli == 0 { 0.0 } else { milli as f64 * 100.0 / all_milli as f64 };
    let (mut asked, mut allocated, mut fitting, mut cpu) = (0, 0, 0, 0);
    let mut points = LOAD_POINTS.iter().copied().filter(|point| *point <= what.percent).peekable();
    for (pod, node) in arrived.iter().zip(&placed) {
        asked += pod.milli();
        if let Some(node) = node {
            filled.placed += 1;
            allocated += pod.milli();
            cpu += pod.cpu_milli;
            if cards.get_mut(*node).is_some_and(|cards| cards.put(pod.gpus, pod.gpu_milli)) {
                fitting += pod.milli();
            }
        }
        while points.peek().is_some_and(|point| asked * 100 >= all_milli * i64::from(*point)) {
            filled.allocated.extend(points.next().map(|point| (point, percent(allocated), percent(fitting))));
        }
    }
    let all_cpu: i64 = what.trace.nodes.iter().map(|node| node.cpu_milli).sum();
    filled.cpu_percent = cpu as f64 * 100.0 / (all_cpu.max(1)) as f64;
    filled
}

/// Notes on which node a pod was bound.
fn note(heard: Heard<'_>, pods: &FxHashMap<Name, usize>, nodes: &FxHashMap<Name, usize>, placed: &mut [Option<usize>]) {
    let Heard::Record(entry) = heard else { return };
    let Record::Written(Change::Modified, Object::Pod(pod)) = &entry.what else { return };
    let (Some(number), Some(node)) = (pods.get(&pod.meta.name), pod.node) else { return };
    if let Some(placed) = placed.get_mut(*number) {
        *placed = nodes.get(&node).copied();
    }
}

/// The pods of the trace in random order, then in another one, and so on.
struct Draws<'t> {
    pods: &'t [TracePod],
    order: Vec<usize>,
    round: usize,
    stream: Stream,
}

impl<'t> Draws<'t> {
    fn new(pods: &'t [TracePod], seed: u64) -> Draws<'t> {
        let stream = Streams::new(seed).stream("openb", "draws");
        let mut draws = Draws { pods, order: Vec::new(), round: 0, stream };
        draws.shuffle();
        draws
    }

    /// Fisher and Yates'.
    fn shuffle(&mut self) {
        self.order = (0..self.pods.len()).collect();
        for last in (1..self.order.len()).rev() {
            let other = usize::try_from(self.stream.below(last as u64 + 1)).unwrap_or(0);
            self.order.swap(last, other);
        }
    }

    /// The next pod, and in which round. None if the trace asks for no GPU, for then there is no end.
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.order.is_empty() {
            if self.pods.iter().all(|pod| pod.milli() == 0) {
                return None;
            }
            self.shuffle();
            self.round += 1;
        }
        Some((self.order.pop()?, self.round))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::openb::TraceNode;

    fn cluster(cards: &[i64]) -> Trace {
        let node = |(number, &gpus): (usize, &i64)| TraceNode {
            name: format!("n{number}"),
            cpu_milli: 64_000,
            memory_mib: 65_536,
            gpus,
            model: "T4".to_owned(),
        };
        Trace { nodes: cards.iter().enumerate().map(node).collect(), pods: Vec::new() }
    }

    fn asking(gpus: i64, gpu_milli: i64, models: &[&str]) -> TracePod {
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        TracePod {
            name: format!("p{gpus}-{gpu_milli}"),
            cpu_milli: 1000,
            memory_mib: 1024,
            gpus,
            gpu_milli,
            models,
            ..TracePod::default()
        }
    }

    /// What is allocated at the last point, as Kubernetes counts and on cards; pods, and those of them that were placed.
    #[track_caller]
    fn check(cards: &[i64], pods: &[TracePod], gpus: Gpus, wanted: (f64, f64, usize, usize)) {
        let trace = Trace { pods: pods.to_vec(), ..cluster(cards) };
        let scheduler = Config { client_qps: 0, ..Config::default() };
        let filled = fill(&Fill { trace: &trace, gpus, scheduler, seed: 1, percent: 130 });
        let (_, allocated, fitting) = filled.allocated.last().copied().unwrap_or_default();
        assert_eq!((allocated, fitting, filled.pods, filled.placed), wanted);
        assert_eq!(filled.allocated.len(), LOAD_POINTS.len());
    }

    #[test]
    fn pods_arrive_until_enough_was_asked_for_and_what_does_not_fit_stays_pending() {
        check(&[2, 2], &[asking(1, 1000, &[])], Gpus::Milli, (100.0, 100.0, 6, 4));
        check(&[2, 2], &[asking(1, 1000, &["P100"])], Gpus::Milli, (0.0, 0.0, 6, 0));
        check(&[2, 2], &[asking(1, 1000, &["P100", "T4"])], Gpus::Whole, (100.0, 100.0, 6, 4));
    }

    #[test]
    fn a_share_that_fits_the_sum_but_no_card_is_told_apart() {
        check(&[2], &[asking(1, 600, &[])], Gpus::Milli, (90.0, 60.0, 5, 3));
        check(&[2], &[asking(1, 600, &[])], Gpus::Whole, (60.0, 60.0, 5, 2));
    }

    #[test]
    fn pods_without_gpus_alone_end_the_experiment() {
        let trace = Trace { pods: vec![asking(0, 0, &[])], ..cluster(&[1]) };
        let filled =
            fill(&Fill { trace: &trace, gpus: Gpus::Milli, scheduler: Config::default(), seed: 1, percent: 130 });
        assert_eq!((filled.pods, filled.placed), (1, 1));
    }
}
