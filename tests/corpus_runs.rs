//! `simlet run` on unchanged Kubernetes files: manifests of the shared corpora come up, dumps of clusters stay quiet,
//! broken files are refused at the right place.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_types,
    reason = "tables for people, with the seconds that runs took"
)]

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rayon::prelude::*;
use serde_json::Value;
use simlet::cli::Disk;
use simlet::kernel::{Duration, Time};
use simlet::manifest::Source;
use simlet::model::pod::{ContainerState, Phase};
use simlet::model::{EventType, Kind, Object, Pod, condition};
use simlet::scenario::{self, LoadOptions, Loaded, Options};
use simlet::trace::{Change, Entry, Record, Sink};

fn shared(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    assert!(path.exists(), "the shared corpora are missing: {}", path.display());
    path
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty(), "{} is empty", path.display());
    lines
}

/// The Kubernetes files of a folder (or the file itself), named relative to the corpora.
fn sources(paths: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for path in paths {
        let whole = shared(path);
        if whole.is_file() {
            found.push(Source::from_bytes(*path, fs::read(whole).unwrap()));
            continue;
        }
        let mut folders = vec![whole];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.retain(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json"));
        files.sort();
        assert!(!files.is_empty(), "{path} has no Kubernetes file");
        found.extend(files.into_iter().map(|file| {
            let name = file.to_string_lossy().into_owned();
            Source::from_bytes(name, fs::read(file).unwrap()).found_in_folder()
        }));
    }
    found
}

fn load(sources: Vec<Source>) -> Result<Loaded, String> {
    catch_unwind(AssertUnwindSafe(|| scenario::load(sources, &Disk, &LoadOptions::default())))
        .unwrap_or_else(|_| Err("PANIC while loading".to_owned()))
}

/// What a run left behind.
struct Ran {
    pods: Vec<Arc<Pod>>,
    objects: Vec<Object>,
    warnings: BTreeMap<String, Vec<String>>,
    written: Vec<(Time, Change, Object)>,
    events: Vec<(Time, String)>,
    /// What kubectl said, but for "created".
    said: Vec<String>,
    invariants: Vec<String>,
    count: u64,
    seconds: f64,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Keeping>>);

#[derive(Default)]
struct Keeping {
    all: bool,
    warnings: BTreeMap<String, Vec<String>>,
    written: Vec<(Time, Change, Object)>,
    events: Vec<(Time, String)>,
    said: Vec<String>,
}

impl Sink for Kept {
    fn take(&mut self, entry: &Entry) {
        let mut kept = self.0.lock().unwrap();
        match &entry.what {
            Record::Event(event) => {
                let object = format!("{:?}/{}/{}", event.involved.kind, event.involved.namespace, event.involved.name);
                let text = format!("{}: {}", event.reason, event.message);
                if event.kind == EventType::Warning {
                    let warnings = kept.warnings.entry(object.clone()).or_default();
                    if !warnings.contains(&text) {
                        warnings.push(text.clone());
                    }
                }
                if kept.all {
                    kept.events.push((entry.time, format!("{object} {text}")));
                }
            }
            Record::Decided { object, by, text } if *by == *"kubectl" && !text.as_str().contains("created") => {
                kept.said.push(format!("{object}: {text}"));
            }
            Record::Written(change, object) if kept.all => kept.written.push((entry.time, *change, object.clone())),
            _ => {}
        }
    }
}

fn run(loaded: &Loaded, length: Duration, keep_all: bool) -> Result<Ran, String> {
    let began = Instant::now();
    let kept = Kept::default();
    kept.0.lock().unwrap().all = keep_all;
    let options = Options { until: Some(length), ..Options::default() };
    let sink = Box::new(kept.clone());
    let end = catch_unwind(AssertUnwindSafe(|| scenario::run(&loaded.scenario, &options, sink)))
        .map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned()))?;
    let store = end.cluster.store();
    let objects: Vec<Object> = Kind::ALL.iter().flat_map(|kind| store.sorted(*kind)).cloned().collect();
    let pods = objects.iter().filter_map(|o| if let Object::Pod(pod) = o { Some(Arc::clone(pod)) } else { None });
    let mut kept = kept.0.lock().unwrap();
    Ok(Ran {
        pods: pods.collect(),
        objects,
        warnings: std::mem::take(&mut kept.warnings),
        written: std::mem::take(&mut kept.written),
        events: std::mem::take(&mut kept.events),
        said: std::mem::take(&mut kept.said),
        invariants: end.footer.invariants.clone(),
        count: end.footer.events,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// How a pod is, in a word, with the reason if it neither runs nor is done. `None` as the reason of what is not done: nobody said why.
fn state(pod: &Pod, ran: &Ran) -> (&'static str, Option<String>) {
    let warning = ran.warnings.get(&format!("Pod/{}/{}", pod.meta.namespace, pod.meta.name)).map(|all| all.join(" / "));
    if pod.is_terminating() {
        return ("terminating", warning);
    }
    match pod.status.phase {
        Phase::Succeeded => return ("completed", Some(String::new())),
        Phase::Failed => {
            let ended = |state: &ContainerState| match state {
                ContainerState::Terminated(t) => Some(format!("exit {} {}", t.exit_code, t.reason)),
                _ => None,
            };
            let reason = pod.status.containers.iter().chain(&pod.status.init_containers).find_map(|s| ended(&s.state));
            let own =
                Some(format!("{} {}", pod.status.reason, pod.status.message)).filter(|_| !pod.status.reason.is_empty());
            return ("failed", own.or(reason));
        }
        _ if pod.is_ready() => return ("ready", Some(String::new())),
        _ => {}
    }
    if pod.node.is_none() && *pod.spec.scheduler_name != *"default-scheduler" {
        return ("pending", Some(format!("no scheduler {}", pod.spec.scheduler_name)));
    }
    if let (None, Some(scheduled)) = (&pod.node, condition::find(&pod.status.conditions, "PodScheduled")) {
        return ("pending", Some(format!("{}: {}", scheduled.reason, scheduled.message)));
    }
    for status in pod.status.init_containers.iter().chain(&pod.status.containers) {
        match &status.state {
            ContainerState::Waiting { reason, message }
                if *reason != *"PodInitializing" && *reason != *"ContainerCreating" =>
            {
                return ("waiting", Some(format!("{reason}: {message}")));
            }
            ContainerState::Terminated(ended) if ended.exit_code != 0 => {
                return ("waiting", Some(format!("exit {}", ended.exit_code)));
            }
            _ => {}
        }
    }
    ("not ready", warning)
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// Why Kubernetes refused a file, by its words; None if the cluster's state or a kind it does not have was the reason.
fn class_of(errors: &str) -> Option<&'static str> {
    if errors.contains("no matches for kind") || errors.contains("NotFound") || errors.contains("no objects passed") {
        return None;
    }
    if errors.contains("strict decoding error") || errors.contains("cannot unmarshal") {
        return Some("unknown field or wrong type");
    }
    if errors.contains("not set") {
        return Some("no kind");
    }
    if !errors.contains("is invalid") {
        return Some("else");
    }
    for class in [
        "Required value",
        "Unsupported value",
        "Not found",
        "Duplicate value",
        "Forbidden",
        "Too long",
        "Invalid value",
    ] {
        if errors.contains(class) {
            return Some(class);
        }
    }
    Some("else")
}

#[test]
fn files_that_kubernetes_accepts_load_and_run() {
    let verdicts = lines(&shared("manifests/kubernetes-verdicts.jsonl"));
    let accepted: Vec<&Value> =
        verdicts.iter().filter(|line| line["verdict"].as_str().unwrap().starts_with("accepted")).collect();
    assert!(accepted.len() > 900, "{}", accepted.len());
    /// Pods, events and seconds of a run, or what went wrong.
    type Outcome = Result<(usize, u64, f64), String>;
    let outcomes: Vec<(String, Outcome)> = accepted
        .par_iter()
        .map(|line| {
            let file = line["file"].as_str().unwrap();
            let outcome = load(sources(&[&format!("manifests/{file}")])).and_then(|loaded| {
                let ran = run(&loaded, TEN_MINUTES, false)?;
                if !ran.said.is_empty() {
                    Err(format!("kubectl said {:?}", ran.said))
                } else if ran.invariants.is_empty() {
                    Ok((ran.pods.len(), ran.count, ran.seconds))
                } else {
                    Err(format!("broken: {:?}", ran.invariants))
                }
            });
            (file.to_owned(), outcome)
        })
        .collect();
    let mut slow: Vec<(f64, &str, usize, u64)> =
        outcomes.iter().filter_map(|(file, o)| o.as_ref().ok().map(|(p, n, s)| (*s, file.as_str(), *p, *n))).collect();
    slow.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("{} files, {:.1} s of runs; slowest:", outcomes.len(), slow.iter().map(|s| s.0).sum::<f64>());
    for (seconds, file, pods, events) in slow.iter().take(8) {
        println!("  {seconds:6.2} s  {pods:4} pods  {events:8} events  {file}");
    }
    let wrong: Vec<String> =
        outcomes.iter().filter_map(|(file, o)| o.as_ref().err().map(|error| format!("{file}: {error}"))).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn files_that_kubernetes_refuses_are_refused_at_a_place() {
    let verdicts = lines(&shared("manifests/kubernetes-verdicts.jsonl"));
    let mut table: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
    for line in &verdicts {
        let errors = line["errors"].as_str().unwrap();
        let refused = matches!(line["verdict"].as_str().unwrap(), "rejected" | "partly accepted");
        let Some(class) = class_of(errors).filter(|_| refused) else { continue };
        let file = line["file"].as_str().unwrap();
        let entry = table.entry(class).or_default();
        entry.0 += 1;
        match load(sources(&[&format!("manifests/{file}")])) {
            Err(rendered) => assert!(rendered.contains(&format!("{file}:")), "{file}: no place in {rendered}"),
            Ok(_) => {
                entry.1.push(format!("{file}: {}", errors.replace('\n', " ").chars().take(300).collect::<String>()))
            }
        }
    }
    for (class, (all, taken)) in &table {
        println!("{:3} of {all:3} refused  {class}", all - taken.len());
        for text in taken {
            println!("        taken: {text}");
        }
    }
    // What is missing are kinds that are not simulated, and what depends on the cluster (addresses, IPv6).
    for (class, floor) in [
        ("Invalid value", 5),
        ("Not found", 1),
        ("Required value", 7),
        ("Unsupported value", 8),
        ("no kind", 19),
        ("unknown field or wrong type", 13),
    ] {
        let (all, taken) = &table[class];
        assert!(all - taken.len() >= floor, "{class}: only {} of {all} are refused", all - taken.len());
    }
}

/// Runs files together and tells of each pod that isn't ready or completed what it is.
fn come_up(paths: &[&str]) -> (String, Vec<String>, Ran) {
    let loaded = load(sources(paths)).unwrap_or_else(|problems| panic!("{paths:?}: {problems}"));
    let ran = run(&loaded, TEN_MINUTES, false).unwrap_or_else(|problem| panic!("{paths:?}: {problem}"));
    assert_eq!(ran.invariants, Vec::<String>::new(), "{paths:?}");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unready = Vec::new();
    for pod in &ran.pods {
        let (word, reason) = state(pod, &ran);
        *counts.entry(word).or_default() += 1;
        if word != "ready" && word != "completed" {
            unready.push(format!("{} {word}: {}", pod.full_name(), reason.unwrap_or_else(|| "UNSAID".to_owned())));
        }
    }
    (format!("{counts:?}"), unready, ran)
}

#[test]
fn applications_come_up_whole() {
    for (paths, pods) in [
        (&["manifests/online-boutique/kubernetes-manifests.yaml"] as &[&str], 12),
        (&["manifests/istio-bookinfo"], 8),
        (&["manifests/istio-bookinfo/bookinfo.yaml", "manifests/istio-bookinfo/bookinfo-gateway.yaml"], 6),
        (&["manifests/kubernetes-examples/web/guestbook/all-in-one/guestbook-all-in-one.yaml"], 6),
        (&["manifests/kubernetes-examples/web/guestbook"], 10),
        (&["manifests/kubernetes-examples/web/guestbook-go"], 6),
        (&["manifests/kubernetes-examples/databases/cassandra"], 3),
        (&["manifests/kubernetes-e2e-statefulsets/cassandra"], 8),
        (&["manifests/kubernetes-e2e-statefulsets/mysql-galera"], 3),
        (&["manifests/kubernetes-e2e-statefulsets/zookeeper"], 3),
        (&["manifests/calico/calico.yaml"], 4),
    ] {
        let (counts, unready, ran) = come_up(paths);
        println!("{paths:?} {counts}");
        assert_eq!(unready, Vec::<String>::new(), "{paths:?}");
        assert!(ran.pods.len() >= pods, "{paths:?} has only {} pods", ran.pods.len());
    }
}

/// Reasons that a file gives by itself: what it refers to is not in it, its nodes are not these, its command fails.
const REASONS: &[&str] = &[
    "not found",
    "Unschedulable: 0/3 nodes are available",
    "SchedulingGated",
    "failed to parse image reference",
    "CrashLoopBackOff",
    "Back-off restarting failed container",
    "CreateContainerConfigError",
    "exit 42",
    "no scheduler",
];

#[test]
fn every_pod_says_what_it_waits_for() {
    let verdicts = lines(&shared("manifests/kubernetes-verdicts.jsonl"));
    let files: Vec<String> = verdicts
        .iter()
        .filter(|line| line["verdict"].as_str().unwrap().starts_with("accepted"))
        .map(|line| line["file"].as_str().unwrap().to_owned())
        .collect();
    assert!(files.len() > 900);
    let results: Vec<(String, String, Vec<String>)> = files
        .par_iter()
        .map(|file| {
            let (counts, unready, _) = come_up(&[&format!("manifests/{file}")]);
            (file.clone(), counts, unready)
        })
        .collect();
    let mut unsaid = Vec::new();
    for (file, counts, unready) in results.iter().filter(|(_, counts, _)| counts != "{}") {
        println!("{file} {counts}");
        for line in unready {
            println!("    {line}");
            if !REASONS.iter().any(|reason| line.contains(reason)) {
                unsaid.push(format!("{file}: {line}"));
            }
        }
    }
    assert_eq!(unsaid, Vec::<String>::new());
}

/// The answer to a broken file and the place of its worst problem: line, column.
fn answer(file: &str) -> (&'static str, Option<(u64, u64)>, String) {
    let (word, text) = match load(sources(&[&format!("broken/{file}")])) {
        Err(rendered) => ("error", rendered),
        Ok(loaded) if !loaded.warnings.is_empty() => ("warning", loaded.warnings),
        Ok(loaded) if !loaded.scenario.header.passed_over.is_empty() => ("warning", String::new()),
        Ok(_) => ("ok", String::new()),
    };
    let worst = text.split_once(if word == "error" { "error[" } else { "warning[" }).map_or("", |(_, rest)| rest);
    let place = worst.split_once("--> ").and_then(|(_, rest)| {
        let mut parts = rest.lines().next()?.rsplit(':');
        let column = parts.next()?.parse().ok()?;
        Some((parts.next()?.parse().ok()?, column))
    });
    (word, place, text)
}

#[test]
fn broken_files_get_the_right_answer_through_the_front_door() {
    let folder = shared("broken");
    let mut wrong = Vec::new();
    let mut judged = 0;
    for line in lines(&folder.join("expected.jsonl")) {
        let file = line["file"].as_str().unwrap();
        let before = Instant::now();
        let (word, place, text) = answer(file);
        assert!(before.elapsed().as_secs_f64() < 1.0, "{file}: slow");
        judged += 1;
        let accepted = line["accept"].as_array().unwrap().iter().any(|accepted| accepted == word);
        let wanted = line["where"]["line"].as_u64();
        // A place is wanted only of what is said.
        let placed = wanted.is_none() || word == "ok" || place.is_some_and(|(line, _)| Some(line) == wanted);
        if !accepted || !placed {
            let said = text.lines().next().unwrap_or_default();
            wrong.push(format!(
                "{file}: {word} at {place:?} {said}; wanted {} at {}: {}",
                line["accept"], line["where"], line["kubernetes"]["message"]
            ));
        }
    }
    assert!(judged > 100, "{judged}");
    assert!(wrong.is_empty(), "{} of {judged} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_dumped_cluster_goes_on_as_it_was_and_is_quiet() {
    let loaded =
        load(sources(&["dumps/kurl-three-nodes/cluster.json"])).unwrap_or_else(|problems| panic!("{problems}"));
    let before: Vec<Arc<Pod>> = loaded.scenario.config.initial.iter().filter_map(as_pod).collect();
    assert!(before.len() > 50, "{} pods in the dump", before.len());
    let ran = run(&loaded, TEN_MINUTES, true).unwrap();
    assert_eq!(ran.invariants, Vec::<String>::new());
    let mut wrong = Vec::new();
    // Where a pod runs and is not ready yet, a rollout is under way and goes on.
    let rolls_out = |namespace| {
        let mut there = before.iter().filter(|old| old.meta.namespace == namespace);
        there.any(|old| old.status.phase == Phase::Running && !old.is_ready())
    };
    for old in before.iter().filter(|old| !rolls_out(old.meta.namespace)) {
        let Some(new) =
            ran.pods.iter().find(|new| new.meta.name == old.meta.name && new.meta.namespace == old.meta.namespace)
        else {
            wrong.push(format!("{} is gone", old.full_name()));
            continue;
        };
        if (new.node, new.meta.uid, new.restarts()) != (old.node, old.meta.uid, old.restarts()) {
            wrong.push(format!(
                "{}: {:?} {:?}, {} restarts after {}",
                old.full_name(),
                old.node,
                new.node,
                new.restarts(),
                old.restarts()
            ));
        }
        if old.is_ready() != new.is_ready() || old.status.phase != new.status.phase {
            wrong.push(format!(
                "{}: {:?} ready {} became {:?} ready {}",
                old.full_name(),
                old.status.phase,
                old.is_ready(),
                new.status.phase,
                new.is_ready()
            ));
        }
    }
    for new in &ran.pods {
        if !before.iter().any(|old| old.meta.name == new.meta.name && old.meta.namespace == new.meta.namespace) {
            wrong.push(format!("{} is new", new.full_name()));
        }
    }
    for object in &ran.objects {
        if let Object::Node(node) = object
            && !condition::is_true(&node.status.conditions, "Ready")
        {
            wrong.push(format!("node {} is not ready", node.meta.name));
        }
    }
    let minute = Time::ZERO + Duration::from_secs(60);
    let at_first = ran.written.iter().filter(|(at, ..)| *at > Time::ZERO && *at <= minute).count();
    println!("{} events in all; {at_first} writes in the first minute", ran.count);
    for (at, change, object) in ran.written.iter().filter(|(at, ..)| *at > Time::ZERO) {
        println!("  {at:?} {change:?} {}", object.key());
    }
    for (at, text) in &ran.events {
        println!("  {at:?} {text}");
    }
    let later: Vec<String> = ran
        .written
        .iter()
        .filter(|(at, ..)| *at > minute)
        .map(|(at, change, object)| format!("{at:?} {change:?} {}", object.key()))
        .collect();
    // Only a CronJob may still do something.
    let storm = later.iter().filter(|line| !line.contains("Node/")).count();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(storm < 20, "{storm} writes after the first minute:\n{}", later.join("\n"));
}

fn as_pod(object: &Object) -> Option<Arc<Pod>> {
    if let Object::Pod(pod) = object { Some(Arc::clone(pod)) } else { None }
}

#[test]
fn all_dumps_load_and_run() {
    let single = |folder: &str| {
        let found = sources(&[folder]);
        found.into_iter().map(|source| (source.name.clone(), vec![source])).collect::<Vec<_>>()
    };
    let mut all: Vec<(String, Vec<Source>)> = Vec::new();
    all.push((
        "kurl-three-nodes/pods".to_owned(),
        sources(&["dumps/kurl-three-nodes/nodes.json", "dumps/kurl-three-nodes/pods"]),
    ));
    all.push(("openshift".to_owned(), sources(&["dumps/openshift-insights/nodes-pods.yaml"])));
    all.push(("open-simulator".to_owned(), sources(&["dumps/open-simulator-cluster"])));
    for folder in ["argo-cd-health", "popeye-lists", "troubleshoot-fixtures", "openshift-insights"] {
        all.extend(single(&format!("dumps/{folder}")));
    }
    assert!(all.len() > 80, "{}", all.len());
    let wrong: Vec<String> = all
        .into_par_iter()
        .filter_map(|(name, sources)| {
            let loaded = match load(sources.into_iter().map(Source::as_dump).collect()) {
                Ok(loaded) => loaded,
                // Written by hand for another tool's tests: pods without containers, which no API server has stored.
                Err(problems) if name.contains("popeye-lists") && problems.contains("error[E0201]") => return None,
                Err(problems) => return Some(format!("{name}: {problems}")),
            };
            match run(&loaded, TEN_MINUTES, false) {
                Ok(ran) if ran.invariants.is_empty() && ran.count < 50_000 => None,
                Ok(ran) => Some(format!("{name}: {} events, {:?}", ran.count, ran.invariants)),
                Err(problem) => Some(format!("{name}: {problem}")),
            }
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn kinds_that_are_not_simulated_are_named_once() {
    let loaded = load(sources(&["manifests/argo-cd/install.yaml", "manifests/istio-bookinfo"])).unwrap();
    let named: Vec<&str> = loaded.scenario.header.passed_over.iter().map(|(kind, _)| kind.as_str()).collect();
    for kind in ["v1 ServiceAccount", "rbac.authorization.k8s.io/v1 Role", "networking.istio.io/v1 VirtualService"] {
        assert_eq!(named.iter().filter(|name| **name == kind).count(), 1, "{kind} in {named:?}");
    }
}
