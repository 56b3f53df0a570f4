//! The calls of a pod's life equal those that a real kubelet made of a real containerd (`../shared/timelines/*/cri.jsonl`).
//!
//! Compared for each pod: what changes something, in its order, with container, attempt, grace time and outcome; and
//! what the status calls saw of it, each thing once. Timers have random phases, in a real kubelet too: what was recorded
//! must be what one of several seeds does. Left out, because they depend on a timer's phase or carry no pod in the recording:
//! lists, repeated status calls, the moment between creation and start; and exec probes and hooks, which are not CRI
//! calls in a simulation (docs/differences.md).
#![expect(clippy::disallowed_macros, reason = "a table for people")]

mod timelines;

use std::collections::{BTreeMap, BTreeSet};

use simlet::cluster::{CriEntry, CriSaid};
use simlet::manifest::Source;
use simlet::protocol::cri::{Answer, Call, CallId, ContainerState, SandboxState};
use simlet::scenario::{self, LoadOptions, Options};
use simlet::trace::{Entry, Sink};
use timelines::Timeline;

struct Nowhere;

impl Sink for Nowhere {
    fn take(&mut self, _: &Entry) {}
}

/// A pod's calls: what acts, in order; what was seen.
#[derive(Debug, Default, PartialEq)]
struct Life {
    acts: Vec<String>,
    seen: BTreeSet<String>,
}

type Lives = BTreeMap<String, Life>;

const ACTS: &[&str] = &[
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "StopPodSandbox",
    "RemoveContainer",
    "RemovePodSandbox",
    "UpdateContainerResources",
];

/// One call as a line: `StopContainer main 0 timeout=30`.
#[derive(Default)]
struct Line {
    pod: String,
    method: String,
    container: String,
    attempt: Option<u64>,
    rest: Vec<(&'static str, String)>,
}

impl Line {
    fn put(self, lives: &mut Lives) {
        let life = lives.entry(self.pod).or_default();
        let mut text = self.method.clone();
        if !self.container.is_empty() {
            text = format!("{text} {}", self.container);
        }
        if let Some(attempt) = self.attempt {
            text = format!("{text} #{attempt}");
        }
        for (key, value) in &self.rest {
            text = format!("{text} {key}={value}");
        }
        if ACTS.contains(&self.method.as_str()) {
            life.acts.push(text);
        } else if !text.ends_with("state=CONTAINER_CREATED") {
            life.seen.insert(text);
        }
    }
}

fn recorded(name: &str) -> Lives {
    let mut lives = Lives::new();
    for call in timelines::lines(name, "cri.jsonl") {
        let text = |field: &str| call[field].as_str().unwrap_or_default().to_owned();
        let method = text("method");
        if text("pod").is_empty() || method == "ExecSync" || method == "PullImage" {
            continue;
        }
        let mut line =
            Line { pod: text("pod"), method: method.clone(), container: text("container"), ..Line::default() };
        if !line.container.is_empty() || method == "RunPodSandbox" {
            line.attempt = call["attempt"].as_u64();
        }
        let mut more = |key: &'static str| {
            if let Some(value) = call.get(key) {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                line.rest.push((key, text));
            }
        };
        more("timeout");
        more("state");
        more("exitCode");
        more("reason");
        if ACTS.contains(&method.as_str()) {
            more("code");
        } else if call.get("code").is_some() {
            // Looked at after it was removed, or not, as the timers fall.
            continue;
        }
        if method == "RemoveContainer" && line.rest.iter().any(|(key, _)| *key == "code") {
            // Two of the kubelet's collectors wanted the same container: the second is refused.
            let again = format!("RemoveContainer {} #{}", line.container, line.attempt.unwrap_or_default());
            if lives.get(&line.pod).is_some_and(|life| life.acts.contains(&again)) {
                continue;
            }
        }
        line.put(&mut lives);
    }
    lives
}

/// The names behind the ids of a run.
#[derive(Default)]
struct Names {
    pods: BTreeMap<u64, String>,
    containers: BTreeMap<u64, (String, String, u64)>,
    sandboxes: BTreeMap<u64, String>,
}

fn simulated(entries: &[CriEntry]) -> Lives {
    let mut lives = Lives::new();
    let mut names = Names::default();
    let mut calls: BTreeMap<(String, CallId), Call> = BTreeMap::new();
    // A call stands where it was made; its outcome comes later.
    let mut outcomes: BTreeMap<(String, CallId), &CriEntry> = BTreeMap::new();
    for entry in entries {
        if let CriSaid::Response(response) = &entry.said {
            outcomes.insert((entry.node.to_string(), response.id), entry);
        }
    }
    for entry in entries {
        let CriSaid::Request(request) = &entry.said else { continue };
        let key = (entry.node.to_string(), request.id);
        let result = match outcomes.get(&key).map(|entry| &entry.said) {
            Some(CriSaid::Response(response)) => Some(&response.result),
            _ => None,
        };
        calls.insert(key, request.call.clone());
        let mut line = Line { method: request.call.name().to_owned(), ..Line::default() };
        let container = |line: &mut Line, id: u64| {
            if let Some((pod, container, attempt)) = names.containers.get(&id) {
                (line.pod, line.container, line.attempt) = (pod.clone(), container.clone(), Some(*attempt));
            }
        };
        match &request.call {
            Call::RunPodSandbox(config) => {
                line.pod = config.name.to_string();
                line.attempt = Some(config.attempt.into());
                names.pods.insert(config.uid.0, config.name.to_string());
                if let Some(Ok(Answer::Sandbox(id))) = result {
                    names.sandboxes.insert(id.0, config.name.to_string());
                }
            }
            Call::CreateContainer { sandbox, config } => {
                line.pod = names.sandboxes.get(&sandbox.0).cloned().unwrap_or_default();
                line.container = config.name.to_string();
                line.attempt = Some(config.attempt.into());
                if let Some(Ok(Answer::Container(id))) = result {
                    names.containers.insert(id.0, (line.pod.clone(), line.container.clone(), config.attempt.into()));
                }
            }
            Call::StopPodSandbox(id)
            | Call::RemovePodSandbox(id)
            | Call::PodSandboxStatus(id)
            | Call::UpdatePodSandboxResources { sandbox: id, .. } => {
                line.pod = names.sandboxes.get(&id.0).cloned().unwrap_or_default();
            }
            Call::StopContainer { container: id, timeout } => {
                container(&mut line, id.0);
                line.rest.push(("timeout", timeout.as_secs().to_string()));
            }
            Call::StartContainer(id) | Call::RemoveContainer(id) | Call::ContainerStatus(id) => {
                container(&mut line, id.0);
            }
            Call::UpdateContainerResources { container: id, .. } => container(&mut line, id.0),
            _ => continue,
        }
        match result {
            Some(Ok(Answer::ContainerStatus(status))) => {
                let state = match status.summary.state {
                    ContainerState::Created => "CONTAINER_CREATED",
                    ContainerState::Running => "CONTAINER_RUNNING",
                    ContainerState::Exited => "CONTAINER_EXITED",
                    ContainerState::Unknown => "CONTAINER_UNKNOWN",
                };
                line.rest.push(("state", state.to_owned()));
                if status.summary.state == ContainerState::Exited {
                    line.rest.push(("exitCode", status.exit_code.to_string()));
                    line.rest.push(("reason", status.reason.to_string()));
                }
            }
            Some(Ok(Answer::SandboxStatus(status))) => {
                let ready = status.summary.state == SandboxState::Ready;
                line.rest.push(("state", if ready { "SANDBOX_READY" } else { "SANDBOX_NOTREADY" }.to_owned()));
            }
            Some(Err(error)) if ACTS.contains(&line.method.as_str()) => {
                line.rest.push(("code", format!("{:?}", error.code)));
            }
            Some(Err(_)) | None if !ACTS.contains(&line.method.as_str()) => continue,
            _ => {}
        }
        if !line.pod.is_empty() {
            line.put(&mut lives);
        }
    }
    lives
}

/// The pods whose recorded life none of the simulated runs shows, with the first run's for comparison.
fn differences(real: &Lives, runs: &[Lives]) -> Vec<String> {
    let mut found = Vec::new();
    let none = Life::default();
    let pods: BTreeSet<&String> = real.keys().chain(runs.iter().flat_map(Lives::keys)).collect();
    for pod in pods {
        let real = real.get(pod).unwrap_or(&none);
        let lives: Vec<&Life> = runs.iter().map(|run| run.get(pod).unwrap_or(&none)).collect();
        if !lives.iter().any(|life| life.acts == real.acts) {
            let mut others: Vec<String> = lives.iter().map(|life| life.acts.join(", ")).collect();
            others.sort();
            others.dedup();
            found.push(format!(
                "{pod}:\n  real      {}\n  simulated {}",
                real.acts.join(", "),
                others.join("\n         or ")
            ));
        }
        if !lives.iter().any(|life| life.seen == real.seen) {
            let life = lives.first().copied().unwrap_or(&none);
            let (only_real, only_simulated) = (
                real.seen.difference(&life.seen).collect::<Vec<_>>(),
                life.seen.difference(&real.seen).collect::<Vec<_>>(),
            );
            found
                .push(format!("{pod}: only the real kubelet saw {only_real:?}, only the simulated {only_simulated:?}"));
        }
    }
    found
}

/// Enough for a timer of a minute to fall into any eight seconds of it.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=150;

fn check(name: &str) -> Vec<String> {
    let timeline = Timeline::read(name);
    let scenario = timeline.scenario();
    let run = |seed| {
        let options = Options { seed: Some(seed), keep_cri: true, polling: true, ..Options::default() };
        let end = scenario::run(&scenario, &options, Box::new(Nowhere));
        simulated(end.cluster.cri())
    };
    let mut found = differences(&recorded(name), &SEEDS.map(run).collect::<Vec<_>>());
    found.extend(timeline.untranslated.iter().map(|what| format!("not translated: {what}")));
    found
}

#[test]
fn the_calls_of_a_pods_life_are_those_of_a_real_kubelet() {
    let mut all = Vec::new();
    for name in timelines::names("cri.jsonl") {
        let found = check(&name);
        all.extend(found.into_iter().map(|line| format!("{name}: {line}")));
    }
    assert!(all.is_empty(), "{} differences:\n{}", all.len(), all.join("\n"));
}

#[test]
fn every_timeline_is_translated_and_loads() {
    let mut count = 0;
    let mut all = Vec::new();
    for name in timelines::names("scenario.yaml") {
        let timeline = Timeline::read(&name);
        let source = Source::new("scenario.yaml", timeline.text.as_str());
        if let Err(problems) = scenario::load(vec![source], &timeline, &LoadOptions::default()) {
            all.push(format!("{name}: {problems}"));
        }
        count += 1;
        for what in &timeline.untranslated {
            println!("{name}: {what}");
        }
    }
    assert!(count > 0, "there are no timelines");
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_difference_is_found() {
    let life = |acts: &[&str]| {
        let mut lives = Lives::new();
        let acts = acts.iter().map(|act| (*act).to_owned()).collect();
        lives.insert("p".to_owned(), Life { acts, ..Life::default() });
        lives
    };
    let (one, other) = (life(&["StopContainer main #0 timeout=30"]), life(&["StopContainer main #0 timeout=29"]));
    assert_eq!(differences(&one, std::slice::from_ref(&one)), Vec::<String>::new());
    assert_eq!(differences(&one, std::slice::from_ref(&other)).len(), 1);
    assert_eq!(differences(&one, &[other, life(&["StopContainer main #0 timeout=30"])]), Vec::<String>::new());
}
