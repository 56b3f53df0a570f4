//! What is taken from runs, and the profile that follows.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use crate::kernel::{Distribution, Duration, Time};
use crate::model::Name;
use crate::runtime::simulated::{Latencies, Profile};
use crate::trace::{Stage, StageEdge};

use super::super::journal::{Happening, Journal};
use super::contention::{self, Operation};
use super::{FEW, distribution, quantile, rounded};

/// CRI's calls with the names that profiles have for their latencies. An operation of the first three contends with others.
const CALLS: [(&str, &str); 17] = [
    ("RunPodSandbox", "sandbox"),
    ("CreateContainer", "create"),
    ("StartContainer", "start"),
    ("StopContainer", "stop"),
    ("StopPodSandbox", "stopSandbox"),
    ("RemoveContainer", "remove"),
    ("RemovePodSandbox", "remove"),
    ("RemoveImage", "remove"),
    ("ExecSync", "exec"),
    ("Status", "status"),
    ("Version", "status"),
    ("ListPodSandbox", "list"),
    ("ListContainers", "list"),
    ("ListImages", "list"),
    ("PodSandboxStatus", "inspect"),
    ("ContainerStatus", "inspect"),
    ("ImageStatus", "imageStatus"),
];
const CONTENDING: [&str; 3] = ["sandbox", "create", "start"];
/// Calls that only ask. Beside others that work they take longer, which is not modelled: those count that were alone.
const ASKING: [&str; 4] = ["status", "list", "inspect", "imageStatus"];
/// A program that took longer to end than this decided that, not the runtime.
const LONGEST_STOP: Duration = Duration::from_secs(1);
/// A pull of an image that is smaller says nothing of the bandwidth.
const LEAST_IMAGE: u64 = 1 << 16;

/// Collects what runs say.
#[derive(Debug, Default)]
pub struct Measure {
    /// By the profile's name: where, from, until.
    calls: IndexMap<&'static str, Vec<(usize, Time, Time)>>,
    /// What pulls took without their waiting, with their images' sizes in bytes.
    pulls: Vec<(Duration, u64)>,
    /// What pulls took of images that were there.
    repeated: Vec<Duration>,
    /// Nodes of runs.
    places: usize,
}

/// Lengths of one kind, sorted.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// As profiles call it.
    pub name: &'static str,
    pub sorted: Vec<Duration>,
}

/// What pulls take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pulls {
    pub count: usize,
    pub bytes: u64,
    pub took: Duration,
    /// Before the first byte; sorted.
    pub resolve: Vec<Duration>,
    /// For each MiB; sorted.
    pub per_mebibyte: Vec<Duration>,
}

/// What runs say of a runtime.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub profile: Profile,
    /// What each kind of call takes alone. Only those that were seen.
    pub samples: Vec<Samples>,
    pub pulls: Pulls,
}

impl Measure {
    /// Nothing yet.
    pub fn new() -> Measure {
        Measure::default()
    }

    /// Takes what a run says of these nodes, of all if none is named. `way` is what a call takes from the kubelet to a simulated
    /// runtime, which is no part of its latency.
    pub fn take(&mut self, journal: &Journal, nodes: &[Name], way: Duration) {
        // Of a cluster with real and simulated nodes only the real ones have calls, and only they count.
        let recorded = !journal.calls.is_empty();
        let with_calls: BTreeSet<Name> = journal.calls.iter().map(|call| call.node).collect();
        let counts =
            |node: Name| (nodes.is_empty() || nodes.contains(&node)) && (!recorded || with_calls.contains(&node));
        let places = journal.nodes.keys().copied().filter(|node| counts(*node));
        let places: BTreeMap<Name, usize> = places.enumerate().map(|(place, node)| (node, place)).collect();
        let first = self.places;
        self.places += places.len();
        let mut add = |name: &'static str, node: Name, begin: Time, end: Time| {
            if let Some(place) = places.get(&node) {
                self.calls.entry(name).or_default().push((first + place, begin, end));
            }
        };
        for call in journal.calls.iter().filter(|call| !call.failed) {
            let Some((_, name)) = CALLS.iter().find(|(method, _)| call.method == *method) else { continue };
            let took = call.end.since(call.begin);
            let way = if *name == "list" { Duration::ZERO } else { way.min(took) };
            if *name != "stop" || took <= LONGEST_STOP {
                add(name, call.node, call.begin + way, call.end);
            }
        }
        for life in journal.pods.values() {
            let Some(node) = life.last.node.filter(|_| !recorded) else { continue };
            let mut open: Vec<(Stage, Name, Time)> = Vec::new();
            for moment in &life.moments {
                let Happening::Stage { container, stage, edge } = &moment.what else { continue };
                let name = match stage {
                    Stage::Sandbox => "sandbox",
                    Stage::Create => "create",
                    Stage::Start => "start",
                    _ => continue,
                };
                open.retain(|(other, of, begin)| {
                    let is_it = other == stage && of == container;
                    if is_it && *edge == StageEdge::End {
                        add(name, node, *begin + way.min(moment.time.since(*begin)), moment.time);
                    }
                    !is_it
                });
                if *edge == StageEdge::Begin {
                    open.push((*stage, *container, moment.time));
                }
            }
        }
        // By node and image, until when its first pull went on.
        let mut there: BTreeMap<(Name, &str), Time> = BTreeMap::new();
        for event in journal.events.values() {
            let pulled = if event.reason == "Pulled" { pulled(&event.message) } else { None };
            let node = journal.pods.get(&event.involved.uid).and_then(|life| life.last.node);
            let (Some((image, took, bytes)), Some(node)) = (pulled, node.filter(|node| counts(*node))) else {
                continue;
            };
            match there.get(&(node, image)) {
                None => {
                    there.insert((node, image), event.first);
                    self.pulls.push((took, bytes));
                }
                Some(until) if *until + took <= event.first => self.repeated.push(took),
                Some(_) => {}
            }
        }
    }

    /// The profile of what was taken; what was not seen is as `like` has it.
    pub fn profile(&self, like: &Profile) -> Measured {
        let mut profile = like.clone();
        let mut alone: IndexMap<&'static str, Vec<Duration>> = IndexMap::new();
        let mut operations = Vec::new();
        for (kind, name) in CONTENDING.iter().enumerate() {
            let calls = self.calls.get(name).into_iter().flatten();
            operations.extend(calls.map(|&(place, begin, end)| Operation { kind, place, begin, end }));
        }
        if !operations.is_empty() {
            let cap = like.contention_cap;
            let (per_thousand, works) = contention::alone(&operations, like.contention_per_thousand, cap);
            profile.contention_per_thousand = per_thousand;
            for (operation, work) in operations.iter().zip(works) {
                alone.entry(CONTENDING[operation.kind]).or_default().push(work);
            }
        }
        let working = self.calls.iter().filter(|(name, _)| !ASKING.contains(name));
        let working = Working::of(working.flat_map(|(_, calls)| calls.iter().copied()));
        for (name, calls) in self.calls.iter().filter(|(name, _)| !CONTENDING.contains(name)) {
            let took = |&(_, begin, end): &(usize, Time, Time)| end.since(begin);
            let undisturbed = || calls.iter().filter(|(place, begin, end)| !working.meets(*place, *begin, *end));
            let asks_alone = ASKING.contains(name) && undisturbed().count() >= FEW;
            let lengths = if asks_alone { undisturbed().map(took).collect() } else { calls.iter().map(took).collect() };
            alone.insert(name, lengths);
        }
        let mut samples = Vec::new();
        for (name, field) in Latencies::NAMED {
            let Some(mut sorted) = alone.get_mut(name).map(std::mem::take) else { continue };
            sorted.sort();
            if let Some(measured) = distribution(&sorted, field(&mut profile.latency)) {
                *field(&mut profile.latency) = measured;
            }
            if name == "sandbox" {
                profile.latency.cni_add = Distribution::Constant(Duration::ZERO);
            }
            samples.push(Samples { name, sorted });
        }
        let pulls = pulls(&self.pulls, &self.repeated);
        if pulls.count > 0 {
            let like = Distribution::LogNormal { p50: Duration::from_nanos(2), p99: Duration::from_nanos(3) };
            profile.latency.resolve = distribution(&pulls.resolve, &like).unwrap_or(profile.latency.resolve);
            let each = match pulls.per_mebibyte.as_slice() {
                // A line's slope is one for all.
                [slope] if pulls.count > 1 => Some(Distribution::Constant(rounded(*slope))),
                lengths => distribution(lengths, &like),
            };
            profile.pull_per_mebibyte = each;
        }
        Measured { profile, samples, pulls }
    }
}

/// When nodes worked, by place: spans in their order that do not touch.
struct Working(BTreeMap<usize, Vec<(Time, Time)>>);

impl Working {
    fn of(calls: impl Iterator<Item = (usize, Time, Time)>) -> Working {
        let mut spans: BTreeMap<usize, Vec<(Time, Time)>> = BTreeMap::new();
        for (place, begin, end) in calls {
            spans.entry(place).or_default().push((begin, end));
        }
        for spans in spans.values_mut() {
            spans.sort();
            let mut merged: Vec<(Time, Time)> = Vec::new();
            for &(begin, end) in &*spans {
                match merged.last_mut().filter(|last| begin <= last.1) {
                    Some(last) => last.1 = last.1.max(end),
                    None => merged.push((begin, end)),
                }
            }
            *spans = merged;
        }
        Working(spans)
    }

    /// True if something was under way in this place within this span.
    fn meets(&self, place: usize, begin: Time, end: Time) -> bool {
        let spans = self.0.get(&place).map_or(&[][..], Vec::as_slice);
        spans.get(spans.partition_point(|(_, until)| *until <= begin)).is_some_and(|(from, _)| *from < end)
    }
}

/// The image, what its pull took alone, and its size, from the kubelet's words.
fn pulled(message: &str) -> Option<(&str, Duration, u64)> {
    let rest = message.strip_prefix("Successfully pulled image \"")?;
    let (image, rest) = rest.split_once("\" in ")?;
    let (alone, rest) = rest.split_once(" (")?;
    let (_, size) = rest.split_once("Image size: ")?;
    Some((image, Duration::parse_go(alone)?, size.strip_suffix(" bytes.")?.parse().ok()?))
}

/// Parts what pulls took into what each takes and what each MiB takes: by a line through the middles of the sizes, else
/// by what pulls of images took that were there.
fn pulls(all: &[(Duration, u64)], repeated: &[Duration]) -> Pulls {
    let large: Vec<(f64, f64)> = all
        .iter()
        .filter(|(_, bytes)| *bytes >= LEAST_IMAGE)
        .map(|(took, bytes)| (*bytes as f64 / (1u64 << 20) as f64, took.as_nanos() as f64))
        .collect();
    if large.is_empty() {
        return Pulls::default();
    }
    let mut by_size: Vec<(f64, Vec<f64>)> = Vec::new();
    for (size, took) in &large {
        match by_size.iter_mut().find(|(known, _)| known == size) {
            Some((_, lengths)) => lengths.push(*took),
            None => by_size.push((*size, vec![*took])),
        }
    }
    by_size.sort_by(|a, b| a.0.total_cmp(&b.0));
    let points: Vec<(f64, f64)> = by_size.iter().map(|(size, lengths)| (*size, middle(lengths.clone()))).collect();
    // Theil and Sen's line: a pull that waited for something else does not bend it.
    let mut slopes = Vec::new();
    for (at, (size, took)) in points.iter().enumerate() {
        slopes.extend(points[at + 1..].iter().map(|(other, took_other)| (took_other - took) / (other - size)));
    }
    let spans = points.last().map_or(0.0, |last| last.0) >= points.first().map_or(0.0, |first| first.0) * 1.5;
    let (mut resolve, mut per_mebibyte) = (Vec::new(), Vec::new());
    if spans && !slopes.is_empty() {
        // How pulls differ is no matter of their sizes: in what each MiB takes it would grow with them.
        let slope = middle(slopes).max(0.0);
        resolve.extend(large.iter().map(|(size, took)| (took - slope * size).max(0.0)));
        per_mebibyte.push(slope);
    } else if !repeated.is_empty() {
        resolve.extend(repeated.iter().map(|took| took.as_nanos() as f64));
        let base = middle(resolve.clone());
        per_mebibyte.extend(large.iter().map(|(size, took)| ((took - base) / size).max(0.0)));
    } else {
        // All of one size: what each takes and what each MiB takes can't be told apart.
        per_mebibyte.extend(large.iter().map(|(size, took)| took / size));
    }
    let lengths = |values: Vec<f64>| {
        let mut sorted: Vec<Duration> = values.into_iter().map(|nanos| Duration::from_nanos(nanos as u64)).collect();
        sorted.sort();
        sorted
    };
    let mut resolve = lengths(resolve);
    if resolve.is_empty() {
        resolve.push(Duration::ZERO);
    }
    Pulls {
        count: large.len(),
        bytes: all.iter().map(|(_, bytes)| bytes).sum(),
        took: all.iter().fold(Duration::ZERO, |sum, (took, _)| sum + *took),
        resolve,
        per_mebibyte: lengths(per_mebibyte),
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

impl Samples {
    /// The length below which so many percent lie.
    pub fn percent(&self, percent: u64) -> Duration {
        rounded(quantile(&self.sorted, percent, 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_is_read_from_the_kubelets_words() {
        let said = "Successfully pulled image \"a/b:1\" in 1.5s (2.25s including waiting). Image size: 1048576 bytes.";
        assert_eq!(pulled(said), Some(("a/b:1", Duration::from_millis(1500), 1 << 20)));
        assert_eq!(pulled("Container image \"a\" already present on machine"), None);
    }

    #[test]
    fn a_call_that_asks_is_beside_one_that_works_only_in_the_same_place_and_span() {
        let at = Time::from_secs;
        let working = Working::of([(0, at(1), at(3)), (0, at(2), at(5)), (0, at(8), at(9))].into_iter());
        for (place, begin, end, meets) in
            [(0, 4, 6, true), (0, 5, 8, false), (0, 0, 1, false), (0, 7, 10, true), (1, 1, 9, false), (0, 9, 9, false)]
        {
            assert_eq!(working.meets(place, at(begin), at(end)), meets, "{begin} to {end}");
        }
    }

    #[test]
    fn pulls_of_several_sizes_tell_what_each_takes_and_what_each_mebibyte_takes() {
        let pull = |mebibytes: u64| (Duration::from_millis(200 + 10 * mebibytes), mebibytes << 20);
        let found = pulls(&[pull(10), pull(20), pull(40), pull(80), (Duration::from_secs(30), 40 << 20)], &[]);
        assert_eq!(quantile(&found.resolve, 1, 2), Duration::from_millis(200));
        assert_eq!(quantile(&found.per_mebibyte, 0, 2), Duration::from_millis(10));
        let one_size = pulls(&[pull(10), pull(10)], &[]);
        assert_eq!((one_size.resolve, one_size.per_mebibyte[0]), (vec![Duration::ZERO], Duration::from_millis(30)));
        let again = pulls(&[pull(10)], &[Duration::from_millis(100)]);
        assert_eq!(again.resolve, [Duration::from_millis(100)]);
        assert_eq!(again.per_mebibyte, [Duration::from_millis(20)]);
        assert_eq!(pulls(&[], &[]), Pulls::default());
    }
}
