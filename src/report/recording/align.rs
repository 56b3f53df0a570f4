//! Which fact of a recording is which fact of a simulated run.
//!
//! Pods are matched by name, or within a workload by what they have in common, then in the order of their creation. States are in order, so the longest common
//! subsequence of two lists is what both have; Events come by another watch, and the n-th of a kind is the n-th. Of several
//! simulated runs all moments of a fact count: what is jittered in a real cluster is a range here.

use indexmap::IndexMap;

use crate::kernel::Duration;

use super::{Fact, History, ObjectHistory, Objects};

/// How a fact is on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Agrees,
    /// It is at another time, and so is its distance from the fact before.
    Time,
    /// Its text is another.
    Message,
    /// It stands at another place in the order.
    Order,
    /// No simulated run has it.
    OnlyReal,
    /// Every simulated run has it, the recording has not.
    OnlySimulated,
}

/// A fact on both sides. Times are seconds since the pod's creation, in nanoseconds; simulated ones from the earliest to the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub what: String,
    pub real: Option<i64>,
    pub simulated: Option<(i64, i64)>,
    pub outcome: Outcome,
    /// Where the text is another: the real one and a simulated one, without names and numbers.
    pub texts: Option<(String, String)>,
}

impl Line {
    /// How much later it is in the simulation: from the nearest moment of its range.
    pub fn late(&self) -> Option<i64> {
        let (real, (low, high)) = (self.real?, self.simulated?);
        Some(if real < low {
            low - real
        } else if real > high {
            high - real
        } else {
            0
        })
    }
}

/// A pod or another object on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodBeside {
    /// Its name in the recording, or in the simulation if it is only there; `Deployment/web` of what is no pod.
    pub name: String,
    pub lines: Vec<Line>,
    /// It is on one side only.
    pub alone: Option<Outcome>,
    /// What could not be found on the other side: its namespace, what made it.
    pub sought: String,
}

/// A recording beside simulated runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingBeside {
    pub pods: Vec<PodBeside>,
    /// How many simulated runs there were.
    pub runs: usize,
    /// Times may be so far apart, or a tenth of the time since the creation.
    pub within: Duration,
    /// Times are those of receipt, not the whole seconds that objects tell.
    pub received: bool,
    /// There were Events on both sides.
    pub events: bool,
}

impl RecordingBeside {
    /// Compares.
    pub fn of(real: &History, simulated: &[History], within: Duration) -> RecordingBeside {
        let received = real.received;
        let groups: [fn(&History) -> &Objects; 3] = [|all| &all.pods, |all| &all.nodes, |all| &all.workloads];
        let has_events = |all: &Objects| all.values().any(|one| !one.events.is_empty());
        let events = groups.iter().any(|group| has_events(group(real)));
        let mut pods = Vec::new();
        // A cluster's namespace may have another name in the scenario, as long as each has but one.
        let same = match (&*namespaces(std::slice::from_ref(real)), &*namespaces(simulated)) {
            ([real], [simulated]) => Some((simulated.clone(), real.clone())),
            _ => None,
        };
        for group in groups {
            let simulated: Vec<&Objects> = simulated.iter().map(group).collect();
            let simulated = Runs { of: &simulated, same: same.as_ref() };
            pods.extend(RecordingBeside::objects(group(real), &simulated, received, events, within));
        }
        RecordingBeside { pods, runs: simulated.len(), within, received, events }
    }

    /// The objects of one group: pods, nodes or workloads.
    fn objects(real: &Objects, simulated: &Runs<'_>, received: bool, events: bool, within: Duration) -> Vec<PodBeside> {
        let families: Vec<Families<'_>> = simulated.of.iter().map(|all| families_of(all, simulated.same)).collect();
        let mut pods = Vec::new();
        let real_families = families_of(real, None);
        for (family, members) in &real_families {
            let twins: Vec<Vec<Option<&ObjectHistory>>> = families
                .iter()
                .map(|families| twins(members, families.get(family).map_or(&[], Vec::as_slice), received))
                .collect();
            for (at, real) in members.iter().enumerate() {
                let matched: Vec<&ObjectHistory> = twins.iter().filter_map(|twins| twins[at]).collect();
                let name = real.last.title();
                if matched.is_empty() {
                    let (alone, sought) = (Some(Outcome::OnlyReal), real.last.sought());
                    pods.push(PodBeside { name, lines: Vec::new(), alone, sought });
                    continue;
                }
                let mut lines = beside(real, &matched, received, |pod| &pod.facts, true, within);
                if events {
                    lines.extend(beside(real, &matched, received, |pod| &pod.events, false, within));
                }
                pods.push(PodBeside { name, lines, alone: None, sought: String::new() });
            }
        }
        // What every run has and the recording has not.
        // The recording may be of one namespace, and of some kinds.
        let holds = |one: &ObjectHistory| {
            let namespace = renamed(&one.last.namespace, simulated.same);
            real.values().any(|other| other.last.namespace == namespace && other.last.kind == one.last.kind)
        };
        let mut seen: Vec<(&Family, usize)> = Vec::new();
        for (family, members) in families.iter().flatten() {
            let known = real_families.get(family).map_or(0, Vec::len);
            for (at, pod) in members.iter().enumerate().skip(known) {
                let runs = families.iter().filter(|other| other.get(family).is_some_and(|all| all.len() > at));
                if runs.count() == families.len() && !seen.contains(&(family, at)) && holds(pod) {
                    seen.push((family, at));
                    let name = pod.last.title();
                    let (alone, sought) = (Some(Outcome::OnlySimulated), pod.last.sought());
                    pods.push(PodBeside { name, lines: Vec::new(), alone, sought });
                }
            }
        }
        pods
    }

    /// All facts that are not the same on both sides.
    pub fn apart(&self) -> impl Iterator<Item = &Line> {
        self.pods.iter().flat_map(|pod| &pod.lines).filter(|line| line.outcome != Outcome::Agrees)
    }

    /// True if every fact is the same on both sides.
    pub fn agrees(&self) -> bool {
        !self.pods.is_empty() && self.apart().next().is_none() && self.pods.iter().all(|pod| pod.alone.is_none())
    }
}

/// Which pod of a run is which of a workload's: those of one name (pods that a workload adopted have their own); else pods of one
/// template are told apart by random names, so that those are one which have most in common, then those to which it happened at the same times (which of equal ones goes first is chance),
/// then those at the same place in the order of creation.
fn twins<'h>(
    real: &[&'h ObjectHistory],
    simulated: &[&'h ObjectHistory],
    received: bool,
) -> Vec<Option<&'h ObjectHistory>> {
    if real.len() == 1 && simulated.len() == 1 {
        return vec![Some(simulated[0])];
    }
    let mut pairs: Vec<(bool, usize, u64, usize, usize, usize)> = Vec::new();
    let firsts = |all: &[&'h ObjectHistory]| all.iter().map(|one| first_moments(one, received)).collect::<Vec<_>>();
    let (real_firsts, simulated_firsts) = (firsts(real), firsts(simulated));
    for (a, one) in real.iter().enumerate() {
        for (b, other) in simulated.iter().enumerate() {
            let seconds = seconds_apart(&real_firsts[a], &simulated_firsts[b]);
            let renamed = one.last.name != other.last.name;
            pairs.push((renamed, apart(one, other), seconds, a.abs_diff(b), a, b));
        }
    }
    pairs.sort_unstable();
    let mut twins: Vec<Option<&ObjectHistory>> = vec![None; real.len()];
    let mut taken = vec![false; simulated.len()];
    for (.., a, b) in pairs {
        if twins[a].is_none() && !taken[b] {
            twins[a] = Some(simulated[b]);
            taken[b] = true;
        }
    }
    twins
}

/// When each state was first so, since the creation.
fn first_moments(one: &ObjectHistory, received: bool) -> IndexMap<&str, i64> {
    let mut firsts = IndexMap::new();
    for (fact, moment) in one.facts.iter().zip(list(one, &one.facts, received).moments) {
        firsts.entry(fact.what.as_str()).or_insert(moment);
    }
    firsts
}

/// By how much the same states were so at other times, summed up, in half seconds.
fn seconds_apart(one: &IndexMap<&str, i64>, other: &IndexMap<&str, i64>) -> u64 {
    let apart = one.iter().filter_map(|(what, moment)| Some(moment.abs_diff(*other.get(what)?)));
    apart.map(|nanos| nanos / 500_000_000).sum()
}

/// How many states only one of the two has.
fn apart(one: &ObjectHistory, other: &ObjectHistory) -> usize {
    let mut balance: IndexMap<&str, i32> = IndexMap::new();
    for fact in &one.facts {
        *balance.entry(&fact.what).or_default() += 1;
    }
    for fact in &other.facts {
        *balance.entry(&fact.what).or_default() -= 1;
    }
    let elsewhere = usize::from(one.last.node != other.last.node);
    balance.values().map(|count| count.unsigned_abs() as usize).sum::<usize>() * 2 + elsewhere
}

type Family = (String, String, String);
type Families<'h> = IndexMap<Family, Vec<&'h ObjectHistory>>;

/// The objects of simulated runs, and how a namespace is called there and in the recording.
struct Runs<'r> {
    of: &'r [&'r Objects],
    same: Option<&'r (String, String)>,
}

/// A simulated namespace as the recording calls it.
fn renamed<'n>(namespace: &'n str, same: Option<&'n (String, String)>) -> &'n str {
    same.filter(|(simulated, _)| simulated == namespace).map_or(namespace, |(_, real)| real.as_str())
}

/// The namespaces in which there is something.
fn namespaces(histories: &[History]) -> Vec<String> {
    let all = histories.iter().flat_map(|history| history.pods.values().chain(history.workloads.values()));
    let names: std::collections::BTreeSet<&String> = all.map(|one| &one.last.namespace).collect();
    names.into_iter().cloned().collect()
}

fn families_of<'h>(all: &'h Objects, same: Option<&(String, String)>) -> Families<'h> {
    let mut families: Families<'_> = IndexMap::new();
    for pod in all.values() {
        let (namespace, kind, name) = pod.last.family();
        let family = (renamed(&namespace, same).to_owned(), kind, name);
        families.entry(family).or_default().push(pod);
    }
    families
}

/// One list of facts, with the moment of each since the pod's creation.
struct List<'h> {
    pod: &'h ObjectHistory,
    facts: &'h [Fact],
    moments: Vec<i64>,
}

fn list<'h>(pod: &'h ObjectHistory, facts: &'h [Fact], received: bool) -> List<'h> {
    let created = pod.created(received);
    let mut last = 0;
    let moments = facts.iter().map(|fact| {
        let moment = if received { fact.received } else { fact.own };
        // What tells no moment of its own came with what did.
        last = moment.map_or(last, |moment| moment - created);
        last
    });
    List { pod, moments: moments.collect(), facts }
}

fn beside(
    real: &ObjectHistory,
    simulated: &[&ObjectHistory],
    received: bool,
    of: fn(&ObjectHistory) -> &Vec<Fact>,
    ordered: bool,
    within: Duration,
) -> Vec<Line> {
    let real = list(real, of(real), received);
    let simulated: Vec<List<'_>> = simulated.iter().map(|pod| list(pod, of(pod), received)).collect();
    let pairs: Vec<Pairs> = simulated.iter().map(|other| pair(real.facts, other.facts, ordered)).collect();
    let mut lines = Vec::new();
    for (at, fact) in real.facts.iter().enumerate() {
        let moment = real.moments[at];
        let found: Vec<(usize, usize)> =
            pairs.iter().enumerate().filter_map(|(run, pairs)| Some((run, pairs.of[at]?))).collect();
        let moments = found.iter().map(|(run, other)| simulated[*run].moments[*other]);
        let range = moments.fold(None, |range: Option<(i64, i64)>, moment| {
            Some(range.map_or((moment, moment), |(low, high)| (low.min(moment), high.max(moment))))
        });
        let mut line = Line {
            what: fact.what.clone(),
            real: Some(moment),
            simulated: range,
            outcome: Outcome::Agrees,
            texts: None,
        };
        let allowed = i64::try_from(within.as_nanos()).unwrap_or(i64::MAX).max(moment / 10);
        let drift = |run: usize, other: usize| {
            let before = (0..at).rev().find_map(|before| Some((before, pairs[run].of[before]?)));
            let (real_before, other_before) =
                before.map_or((0, 0), |(before, matched)| (real.moments[before], simulated[run].moments[matched]));
            (simulated[run].moments[other] - other_before) - (moment - real_before)
        };
        // Late after a fact that was as late is not late again.
        let drifts = || found.iter().map(|(run, other)| drift(*run, *other));
        let steps_agree = drifts().any(|late| late <= allowed) && drifts().any(|late| late >= -allowed);
        let in_order = found.iter().any(|(run, _)| !pairs[*run].moved.contains(&at));
        let text = real.pod.last.plain(&fact.message);
        let texts = found.iter().map(|(run, other)| {
            let theirs = &simulated[*run];
            theirs.pod.last.plain(&theirs.facts[*other].message)
        });
        let texts: Vec<String> = texts.collect();
        let said = texts.contains(&text);
        line.outcome = match line.late() {
            None => Outcome::OnlyReal,
            Some(_) if !in_order => Outcome::Order,
            Some(late) if late.abs() > allowed && !steps_agree => Outcome::Time,
            Some(_) if !said => {
                line.texts = texts.into_iter().next().map(|theirs| (text, theirs));
                Outcome::Message
            }
            Some(_) => Outcome::Agrees,
        };
        lines.push(line);
    }
    lines.extend(only_simulated(&simulated, &pairs));
    // A count that one side passed over within one write is no difference.
    let passes = |list: &List<'_>, what: &str| passes_over(list.facts, what);
    for line in &mut lines {
        let passed = match line.outcome {
            Outcome::OnlyReal => simulated.iter().any(|run| passes(run, &line.what)),
            Outcome::OnlySimulated => passes(&real, &line.what),
            _ => false,
        };
        if passed {
            line.outcome = Outcome::Agrees;
        }
    }
    lines
}

/// True if a number of the field that a fact names went past this one in one step: from 0 to 3 past `status replicas 2`.
fn passes_over(facts: &[Fact], what: &str) -> bool {
    let number = |what: &str| {
        let (field, number) = what.rsplit_once(' ')?;
        Some((field.to_owned(), number.parse::<i64>().ok()?)).filter(|(field, _)| field.starts_with("status "))
    };
    let Some((field, wanted)) = number(what) else { return false };
    let mut before = 0;
    facts.iter().filter_map(|fact| number(&fact.what)).filter(|(of, _)| *of == field).any(|(_, now)| {
        let passes = (before.min(now) + 1..before.max(now)).contains(&wanted);
        before = now;
        passes
    })
}

/// What every run has, and the recording has not: the n-th left over of each kind.
fn only_simulated(simulated: &[List<'_>], pairs: &[Pairs]) -> Vec<Line> {
    let mut all: IndexMap<(&str, usize), Vec<i64>> = IndexMap::new();
    for (list, pairs) in simulated.iter().zip(pairs) {
        let mut counts: IndexMap<&str, usize> = IndexMap::new();
        for (at, fact) in list.facts.iter().enumerate() {
            if !pairs.of.contains(&Some(at)) {
                let count = counts.entry(&fact.what).or_insert(0);
                all.entry((&fact.what, *count)).or_default().push(list.moments[at]);
                *count += 1;
            }
        }
    }
    let every = all.into_iter().filter(|(_, moments)| moments.len() == simulated.len());
    let line = |((what, _), moments): ((&str, usize), Vec<i64>)| Line {
        what: what.to_owned(),
        real: None,
        simulated: moments.iter().min().copied().zip(moments.iter().max().copied()),
        outcome: Outcome::OnlySimulated,
        texts: None,
    };
    every.map(line).collect()
}

/// By each fact of the recording, the fact of the run that it is; and those that stand at another place.
struct Pairs {
    of: Vec<Option<usize>>,
    moved: Vec<usize>,
}

/// Longer lists are not put in order, as that would take their lengths' product.
const LONGEST: usize = 4000;

fn pair(real: &[Fact], simulated: &[Fact], ordered: bool) -> Pairs {
    let mut pairs = Pairs { of: vec![None; real.len()], moved: Vec::new() };
    if ordered && real.len().max(simulated.len()) <= LONGEST {
        for (at, other) in common(real, simulated) {
            pairs.of[at] = Some(other);
        }
    }
    // The rest by their kinds, the n-th with the n-th.
    let mut free: IndexMap<&str, Vec<usize>> = IndexMap::new();
    for (at, fact) in simulated.iter().enumerate().rev() {
        if !pairs.of.contains(&Some(at)) {
            free.entry(&fact.what).or_default().push(at);
        }
    }
    for (at, fact) in real.iter().enumerate() {
        if pairs.of[at].is_none()
            && let Some(other) = free.get_mut(fact.what.as_str()).and_then(Vec::pop)
        {
            pairs.of[at] = Some(other);
            if ordered {
                pairs.moved.push(at);
            }
        }
    }
    pairs
}

/// The longest common subsequence, as pairs of places.
fn common(a: &[Fact], b: &[Fact]) -> Vec<(usize, usize)> {
    let width = b.len() + 1;
    let mut longest = vec![0u16; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = if a[i].what == b[j].what {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < a.len() && j < b.len() {
        if a[i].what == b[j].what {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}
