//! Every recording of a real cluster in `../shared/timelines`, replayed: the same manifests, actions and programs, and the
//! facts of each pod, node and workload beside those of several simulated runs: the same facts in the same order, with the same reasons,
//! messages, exit codes and counts, at the same times but for what the recordings' README calls noise.
//!
//! For each recording the scenario and a table are written to the target folder (fact, real, simulated, how much later). What differs and is
//! known to stands in docs/differences.md with the reason; a row there that differs no longer fails the test, as does a
//! difference that has no row.
#![expect(clippy::disallowed_macros, reason = "tables for people")]

mod timelines;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use simlet::kernel::Duration;
use simlet::model::glob::matches as fits;
use simlet::report::recording::{self, History, Line, Outcome, PodBeside, RecordingBeside, Simulated};
use simlet::scenario::{self, Options, Scenario};
use simlet::trace::{Entry, Sink};
use timelines::Timeline;

/// What is jittered in a real kubelet is a range over so many runs.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=12;

/// A pod's start on a busy machine of two cores takes so much longer or shorter than on ours; see the recordings' README.
const WITHIN: Duration = Duration::from_millis(1500);

/// A sink that a test can read afterwards.
#[derive(Clone, Default)]
struct Collected(std::sync::Arc<std::sync::Mutex<Simulated>>);

impl Sink for Collected {
    fn take(&mut self, entry: &Entry) {
        self.0.lock().expect("nobody else").take(entry);
    }
}

fn simulated(scenario: &Scenario, seed: u64) -> History {
    let collected = Collected::default();
    let options = Options { seed: Some(seed), ..Options::default() };
    scenario::run(scenario, &options, Box::new(collected.clone()));
    collected.0.lock().expect("nobody else").clone().history()
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    timeline: String,
    object: String,
    fact: String,
    outcome: &'static str,
}

struct Replayed {
    name: String,
    beside: RecordingBeside,
    untranslated: Vec<String>,
    is_fake: bool,
}

/// What of a pod on a fake node, and of that node, was real: what the control plane said and did.
fn is_control_plane(fact: &str) -> bool {
    const REASONS: [&str; 5] = ["Scheduled", "FailedScheduling", "TaintManagerEviction", "Preempted", "NodeNotReady"];
    let starts = [
        "added",
        "bound",
        "PodScheduled",
        "DisruptionTarget",
        "deletion asked",
        "deleted",
        "phase Failed",
        "taint",
        "Ready Unknown",
    ];
    starts.iter().any(|start| fact.starts_with(start))
        || fact
            .strip_prefix("event ")
            .is_some_and(|event| event.split(' ').nth(1).is_some_and(|reason| REASONS.contains(&reason)))
}

impl Replayed {
    fn of(name: &str) -> Replayed {
        let timeline = Timeline::read(name);
        let (path, watch) = timelines::watch(name);
        let real = recording::read(&watch, &path).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        timeline.write(&tables().join(name));
        let scenario = timeline.scenario();
        let runs: Vec<History> = SEEDS.map(|seed| simulated(&scenario, seed)).collect();
        let mut beside = RecordingBeside::of(&real, &runs, WITHIN);
        // Recordings hold nodes only where they matter.
        let is_other = |one: &PodBeside| one.alone == Some(Outcome::OnlySimulated) && one.name.starts_with("Node/");
        beside.pods.retain(|one| !is_other(one));
        Replayed { name: name.to_owned(), beside, untranslated: timeline.untranslated, is_fake: timeline.is_fake }
    }

    /// The facts that are compared.
    fn lines<'p>(&self, pod: &'p PodBeside) -> impl Iterator<Item = &'p Line> {
        let all = !self.is_fake || pod.name.contains('/') && !pod.name.starts_with("Node/");
        pod.lines.iter().filter(move |line| all || is_control_plane(&line.what))
    }

    fn differences(&self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut add = |object: &str, fact: &str, outcome: Outcome| {
            let (timeline, object) = (self.name.clone(), object.to_owned());
            found.push(Difference { timeline, object, fact: fact.to_owned(), outcome: outcome.as_str() });
        };
        for pod in &self.beside.pods {
            if let Some(outcome) = pod.alone {
                add(&pod.name, "pod", outcome);
            }
            for line in self.lines(pod).filter(|line| line.outcome != Outcome::Agrees) {
                add(&pod.name, &line.what, line.outcome);
            }
        }
        found
    }
}

/// A row of the table in docs/differences.md; `*` stands for anything.
#[derive(Clone, Debug)]
struct Known {
    timeline: String,
    object: String,
    fact: String,
    outcome: String,
    why: String,
}

impl Known {
    /// It may also be the same: a race that another change may decide otherwise.
    fn is_race(&self) -> bool {
        self.outcome.split(", ").any(|outcome| outcome == "sometimes")
    }

    fn covers(&self, difference: &Difference) -> bool {
        let outcomes = self.outcome.split(", ");
        fits(&self.timeline, &difference.timeline)
            && fits(&self.object, &difference.object)
            && fits(&self.fact, &difference.fact)
            && outcomes.into_iter().any(|outcome| fits(outcome, difference.outcome))
    }
}

/// The rows under the heading `## Recordings` of docs/differences.md.
fn known() -> Vec<Known> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/differences.md");
    let text = fs::read_to_string(&path).expect("docs/differences.md is there");
    let section = text.split("\n## Recordings\n").nth(1).expect("docs/differences.md has a section Recordings");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<String> = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let [timeline, object, fact, outcome, why] = <[String; 5]>::try_from(cells).expect("a row has five cells");
        assert!(!why.is_empty(), "this row gives no reason: {row}");
        Known { timeline, object, fact, outcome, why }
    })
    .collect()
}

fn tables() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("timelines");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

#[test]
fn every_recording_is_replayed_fact_by_fact() {
    let names = timelines::names("scenario.yaml");
    assert!(!names.is_empty(), "there are no recordings");
    let known = known();
    let replayed: Vec<Replayed> = names.par_iter().map(|name| Replayed::of(name)).collect();
    let mut used = vec![false; known.len()];
    let mut unknown: BTreeMap<Difference, usize> = BTreeMap::new();
    let tables = tables();
    println!("{:<40} {:>6} {:>6} {:>6}  not translated", "recording", "facts", "agree", "known");
    for one in &replayed {
        let text = recording::markdown(&one.beside);
        fs::write(tables.join(format!("{}.md", one.name)), text).expect("the target folder can be written");
        let mut accepted = 0;
        let facts: usize = one.beside.pods.iter().map(|pod| one.lines(pod).count()).sum();
        let differences = one.differences();
        for difference in &differences {
            let covering: Vec<usize> = (0..known.len()).filter(|&row| known[row].covers(difference)).collect();
            covering.iter().for_each(|&row| used[row] = true);
            match covering.is_empty() {
                true => *unknown.entry(difference.clone()).or_default() += 1,
                false => accepted += 1,
            }
        }
        println!(
            "{:<40} {facts:>6} {:>6} {accepted:>6}  {}",
            one.name,
            facts.saturating_sub(differences.len()),
            one.untranslated.join("; ")
        );
    }
    println!("tables: {}", tables.display());
    for (difference, count) in &unknown {
        let Difference { timeline, object, fact, outcome } = difference;
        println!("| {timeline} | {object} | {fact} | {outcome} | ({count}) |");
    }
    // A row about recordings that aren't here says nothing.
    let stale: Vec<&Known> = known
        .iter()
        .zip(&used)
        .filter(|(row, used)| !**used && !row.is_race() && names.iter().any(|name| fits(&row.timeline, name)))
        .map(|(row, _)| row)
        .collect();
    let rows = stale.iter().map(|row| format!("{} | {} | {} ({})", row.timeline, row.object, row.fact, row.why));
    let rows: Vec<String> = rows.collect();
    rows.iter().for_each(|row| println!("no longer: {row}"));
    assert!(unknown.is_empty(), "{} differences are not in docs/differences.md", unknown.len());
    assert!(rows.is_empty(), "these rows of docs/differences.md no longer differ:\n{}", rows.join("\n"));
}

#[test]
fn a_pattern_fits_what_it_names() {
    for (pattern, text, expected) in [
        ("*", "anything", true),
        ("pod-start-*", "pod-start-burst", true),
        ("* terminated *", "main #3 terminated Error 1", true),
        ("event * BackOff", "event Warning BackOff main", false),
        ("time", "text", false),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} for {text}");
    }
}
