//! `simlet compare` and `simlet calibrate`: runs beside runs, profiles of runtimes, recordings of real clusters.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use simlet::report::recording;

fn simlet(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simlet"));
    command.args(arguments).current_dir(folder).output().expect("the binary can be started")
}

/// What a command prints that must end well.
fn fine(folder: &Path, arguments: &[&str]) -> String {
    let ran = simlet(folder, arguments);
    assert_eq!(ran.status.code(), Some(0), "{arguments:?}: {}{}", text(&ran.stdout), text(&ran.stderr));
    text(&ran.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An empty folder of this test's own, with these files.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compare").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("what an earlier test wrote can be removed");
    }
    fs::create_dir_all(&folder).expect("a folder can be made");
    for (name, content) in files {
        fs::write(folder.join(name), content).expect("a file can be written");
    }
    folder
}

/// A roll-out, two scalings up and one down on three nodes of a runtime that is like no built-in one.
fn scenario(runtime: &str) -> String {
    format!(
        r#"apiVersion: simlet.dev/v1
kind: Scenario
metadata: {{name: rolling}}
until: 6m
cluster:
  nodes:
    - {{count: 3, name: "n-{{index}}", capacity: {{cpu: "64", memory: 256Gi, pods: "500"}}, runtime: {runtime}}}
timeline:
  - {{at: 1m, kubectl: scale deployment/web --replicas=80}}
  - {{at: 2m, kubectl: scale deployment/web --replicas=10}}
  - {{at: 3m, kubectl: scale deployment/api --replicas=120}}
  - {{at: 4m, kubectl: scale deployment/web --replicas=70}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 12
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: "a.example/web:1"}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: api}}
spec:
  replicas: 5
  selector: {{matchLabels: {{app: api}}}}
  template:
    metadata: {{labels: {{app: api}}}}
    spec: {{containers: [{{name: api, image: "a.example/api:1"}}, {{name: side, image: "b.example/side:2"}}]}}
"#
    )
}

const SLOW: &str = "{like: docker, latency: {sandbox: {p50: 140ms, p99: 600ms}, create: {p50: 25ms, p99: 180ms}, start: {p50: 60ms, p99: 500ms}, stop: {uniform: [40ms, 300ms]}, remove: 30ms}, contention: {perOperation: 0.3, cap: 16}}";

#[test]
fn a_scenario_with_a_calibrated_profile_agrees_with_the_run_that_was_measured() {
    let at = folder("calibrated", &[("live.yaml", &scenario(SLOW)), ("sim.yaml", &scenario("profile.yaml"))]);
    // As many runs as make the comparison one of distributions, not of luck.
    for seed in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"] {
        fine(&at, &["run", "live.yaml", "--calls", "--seed", seed, "--out", &format!("live/{seed}")]);
    }
    let said = fine(&at, &["calibrate", "live/1", "live/2", "live/3", "-o", "profile.yaml", "--like", "docker"]);
    for stage in ["sandbox", "create", "start", "stop", "stopSandbox", "remove", "inspect", "imageStatus", "pulls"] {
        assert!(said.contains(stage), "{stage} is not measured:\n{said}");
    }
    let arguments = ["compare", "sim.yaml", "live", "--seed", "101", "--seeds", "10", "--check"];
    let compared = simlet(&at, &arguments);
    assert_eq!(compared.status.code(), Some(0), "{}{}", text(&compared.stdout), text(&compared.stderr));
    // Had it not been measured, it would not agree: the test can fail.
    fs::write(at.join("sim.yaml"), scenario("docker")).expect("a file can be written");
    let otherwise = simlet(&at, &arguments);
    assert_eq!(otherwise.status.code(), Some(1), "{}", text(&otherwise.stdout));
    for stage in ["sandbox", "create", "start"] {
        let said = text(&otherwise.stdout);
        let (_, apart) = said.split_once("apart:").expect("something is apart");
        assert!(apart.contains(stage), "{stage} is not apart: {apart}");
    }
}

#[test]
fn a_run_without_recorded_calls_is_measured_by_its_stages() {
    let at = folder("stages", &[("live.yaml", &scenario(SLOW))]);
    fine(&at, &["run", "live.yaml", "--out", "live"]);
    let said = fine(&at, &["calibrate", "live"]);
    assert!(said.contains("sandbox") && said.contains("create") && said.contains("start"), "{said}");
    assert!(!said.contains("inspect"), "{said}");
    let profile = fs::read_to_string(at.join("profile.yaml")).expect("the profile is written");
    assert!(profile.contains("# not seen, as containerd"), "{profile}");
    assert!(profile.lines().all(|line| line.chars().count() <= 100), "{profile}");
}

#[test]
fn calibrating_says_what_is_wrong() {
    let empty = "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {name: empty}\nuntil: 1m\n";
    let at = folder("nothing-to-measure", &[("empty.yaml", empty), ("live.yaml", &scenario(SLOW))]);
    for (arguments, expected) in [
        (vec!["calibrate", "empty.yaml"], "nothing to measure"),
        (vec!["calibrate", "live.yaml", "--node", "n-9"], "no node `n-9`; there are n-0, n-1, n-2"),
        (vec!["calibrate", "nowhere"], "no such file or folder"),
    ] {
        let ran = simlet(&at, &arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}");
        assert!(text(&ran.stderr).contains(expected), "{}", text(&ran.stderr));
        assert!(!at.join("profile.yaml").exists(), "something was written");
    }
}

#[test]
fn mistakes_in_a_profile_are_shown_in_its_own_file() {
    let head = "apiVersion: simlet.dev/v1\nkind: RuntimeProfile\n";
    for (name, profile, expected) in [
        ("field", "latency: {sandbx: 1ms}", vec!["profile.yaml:3:11", "did you mean `sandbox`?"]),
        ("unknown", "lik: docker", vec!["profile.yaml:3:1", "did you mean `like`?"]),
        ("runtime", "like: dockr", vec!["profile.yaml:3:7", "did you mean `docker`?"]),
        ("order", "latency: {start: {quantiles: [2ms, 1ms]}}", vec!["profile.yaml:3:36", "2ms is more than 1ms"]),
        ("empty", "latency: {start: {quantiles: []}}", vec!["profile.yaml:3:30", "shortest first"]),
        ("cap", "contention: {cap: 0}", vec!["profile.yaml:3", "0 is not from 1 to 10000"]),
        ("rate", "pull: {unpack: fast}", vec!["profile.yaml:3:16", "not a bandwidth"]),
    ] {
        let files = [("sim.yaml", scenario("profile.yaml")), ("profile.yaml", format!("{head}{profile}\n"))];
        let at = folder(&format!("bad-profile-{name}"), &files.each_ref().map(|(name, text)| (*name, text.as_str())));
        let ran = simlet(&at, &["run", "sim.yaml"]);
        assert_eq!(ran.status.code(), Some(2), "{profile}");
        for expected in expected {
            assert!(text(&ran.stderr).contains(expected), "{expected} is not in\n{}", text(&ran.stderr));
        }
    }
    for (runtime, expected) in [
        ("missing.yaml", "missing.yaml: no such file or folder"),
        ("sim.yaml", "holds no RuntimeProfile"),
        ("contanerd", "did you mean `containerd`?"),
        ("podman", "one of containerd, cri-o, docker, or a profile's file"),
        ("{like: docker, latncy: {}}", "did you mean `latency`?"),
    ] {
        let at = folder("bad-runtime", &[("sim.yaml", &scenario(runtime))]);
        let ran = simlet(&at, &["run", "sim.yaml"]);
        assert_eq!(ran.status.code(), Some(2), "{runtime}");
        assert!(text(&ran.stderr).contains(expected), "{expected} is not in\n{}", text(&ran.stderr));
        assert!(text(&ran.stderr).contains("sim.yaml:7:"), "{}", text(&ran.stderr));
    }
}

#[test]
fn runs_that_are_alike_agree_and_print_the_same_each_time_in_80_columns() {
    let at = folder("alike", &[("a.yaml", &scenario("containerd"))]);
    fine(&at, &["run", "a.yaml", "--out", "a"]);
    let said = fine(&at, &["compare", "a.yaml", "a", "--check"]);
    assert!(said.contains("agree within p50 10 %, p90 25 % or 5ms; no fact differs"), "{said}");
    assert_eq!(said, fine(&at, &["compare", "a", "a.yaml"]));
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let json: Value = serde_json::from_str(&fine(&at, &["compare", "a", "a", "--format", "json"])).expect("JSON");
    assert_eq!(json["agrees"], true);
    let stages: Vec<&str> =
        json["stages"].as_array().unwrap().iter().map(|row| row["stage"].as_str().unwrap()).collect();
    for stage in ["queue", "bind", "watch", "sandbox", "pull", "create", "start", "ready", "whole start", "deletion"] {
        assert!(stages.contains(&stage), "{stage} is not in {stages:?}");
    }
    let sandbox = &json["stages"][stages.iter().position(|stage| *stage == "sandbox").unwrap()]["percentiles"][0];
    assert_eq!((&sandbox["verdict"], &sandbox["difference_percent"]), (&Value::from("agrees"), &Value::from(0.0)));
    let (low, high) = (&sandbox["a_interval_ns"][0], &sandbox["a_interval_ns"][1]);
    assert!(low.as_u64() < sandbox["a_ns"].as_u64() && sandbox["a_ns"].as_u64() < high.as_u64(), "{sandbox}");
    let markdown = fine(&at, &["compare", "a", "a", "--format", "markdown"]);
    assert!(markdown.contains("| sandbox |") && markdown.contains(" to "), "{markdown}");
    for (file, magic) in [("plot.svg", "<svg"), ("plot.png", "\u{89}PNG")] {
        fine(&at, &["compare", "a", "a", "-o", file]);
        let first: Vec<u8> = fs::read(at.join(file)).expect("the plot is written");
        let begins: Vec<u8> = magic.chars().map(|char| char as u8).collect();
        assert!(first.starts_with(&begins), "{file}");
        fine(&at, &["compare", "a", "a", "-o", file]);
        assert!(fs::read(at.join(file)).expect("again") == first, "{file} is another each time");
    }
}

#[test]
fn what_differs_in_stages_and_facts_is_told_and_exits_1_only_when_asked() {
    let pod = |exit: &str| {
        format!(
            "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: p}}\nuntil: 3m\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: c, image: \"a/b:1\", command: [sh, -c, \"sleep 20{exit}\"]}}]}}\n"
        )
    };
    let at = folder("differs", &[("a.yaml", &pod("; exit 3")), ("b.yaml", &pod("00"))]);
    let said = fine(&at, &["compare", "a.yaml", "b.yaml"]);
    for expected in ["pod/p", "restarts", "container ended: Error 3", "event Warning BackOff"] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    assert_eq!(simlet(&at, &["compare", "a.yaml", "b.yaml", "--check"]).status.code(), Some(1));
    let wrong = simlet(&at, &["compare", "a.yaml", "b.yaml", "--tolerance", "p95=3%"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("such as p50=10%"), "{}", text(&wrong.stderr));
}

/// The timelines of real clusters.
fn timelines() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/timelines");
    let entries = fs::read_dir(&folder).unwrap_or_else(|problem| panic!("{}: {problem}", folder.display()));
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.join("summary.json").is_file());
    found.sort();
    assert!(!found.is_empty(), "there is no timeline in {}", folder.display());
    found
}

fn recorded(folder: &Path) -> (PathBuf, String) {
    let plain = folder.join("watch.jsonl");
    if let Ok(text) = fs::read_to_string(&plain) {
        return (plain, text);
    }
    let packed = folder.join("watch.jsonl.gz");
    let mut text = String::new();
    let file = fs::File::open(&packed).unwrap_or_else(|problem| panic!("{}: {problem}", packed.display()));
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("it can be unpacked");
    (packed, text)
}

/// A fact of a summary in the words of a comparison; None for those that a comparison leaves out.
fn in_our_words(fact: &Value) -> Option<String> {
    let field = |name: &str| fact[name].as_str().unwrap_or_default();
    let with_reason = |words: String| {
        if field("reason").is_empty() { words } else { format!("{words} {}", field("reason")) }
    };
    Some(match field("what") {
        "added" | "initial" => "added".to_owned(),
        "deleted" => "deleted".to_owned(),
        "bound" => "bound".to_owned(),
        "phase" => with_reason(format!("phase {}", field("phase"))),
        "condition" => with_reason(format!("{} {}", field("type"), field("status"))),
        "condition-removed" => format!("{} removed", field("type")),
        "deletion-requested" => format!("deletion asked, grace {}s", fact["gracePeriodSeconds"]),
        "container" => {
            let name = match fact["restartCount"].as_u64() {
                None | Some(0) => field("container").to_owned(),
                Some(restarts) => format!("{} #{restarts}", field("container")),
            };
            match field("state") {
                "waiting" => format!("{name} waiting {}", field("reason")),
                "running" => format!("{name} running"),
                _ => format!("{name} terminated {} {}", field("reason"), fact["exitCode"]),
            }
        }
        "container-flags" => {
            let is = |name: &str| fact[name].as_bool() == Some(true);
            let is = match (is("ready"), is("started")) {
                (true, true) => "ready and started",
                (true, false) => "ready",
                (false, true) => "started",
                (false, false) => "neither ready nor started",
            };
            format!("{} is {is}", field("container"))
        }
        "container-lastState" => {
            format!("{} was terminated {} {}", field("container"), field("reason"), fact["exitCode"])
        }
        "nominated" if field("node").is_empty() => "nominated gone".to_owned(),
        "nominated" => format!("nominated {}", field("node")),
        "podIP" => "podIP".to_owned(),
        "schedulingGates" => {
            let gates: Vec<&str> = fact["gates"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if gates.is_empty() { "gates gone".to_owned() } else { format!("gates {}", gates.join(",")) }
        }
        _ => return None,
    })
}

#[test]
fn the_facts_of_a_recording_are_those_of_the_timelines_summaries() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for folder in timelines() {
        let (file, watch) = recorded(&folder);
        let history = match recording::read(&watch, &file.to_string_lossy()) {
            Ok(history) => history,
            Err(problem) => panic!("{problem}"),
        };
        let summary: Value =
            serde_json::from_str(&fs::read_to_string(folder.join("summary.json")).unwrap()).expect("JSON");
        let mut ours: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
        for (pod, what, received) in history.facts().filter(|(_, what, _)| !what.starts_with("event ")) {
            let millis = (received.expect("the recorder says when") + 500_000) / 1_000_000;
            ours.entry((pod.to_owned(), what.to_owned())).or_default().push(millis);
        }
        let mut theirs: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
        for fact in summary["facts"].as_array().unwrap() {
            let Some(pod) = fact["object"].as_str().unwrap().strip_prefix("Pod/") else { continue };
            if let Some(what) = in_our_words(fact) {
                let millis = (fact["t"].as_f64().unwrap() * 1000.0).round() as i64;
                theirs.entry((pod.to_owned(), what)).or_default().push(millis);
            }
        }
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        compared += theirs.len();
        for (key, times) in &theirs {
            if ours.get(key) != Some(times) {
                wrong.push(format!("{name}: {key:?} at {times:?}, ours {:?}", ours.get(key)));
            }
        }
        for key in ours.keys().filter(|key| !theirs.contains_key(key)) {
            wrong.push(format!("{name}: {key:?} is ours only"));
        }
    }
    assert!(compared > 1000, "only {compared} facts");
    assert!(wrong.is_empty(), "{} facts of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A crash loop on a cluster that has the image at hand.
const CRASH_LOOP: &str = r#"apiVersion: simlet.dev/v1
kind: Scenario
metadata: {name: crash}
until: 12m
cluster:
  nodes: [{count: 1, name: n1}]
  registries: [{host: localhost, latency: 1ms}]
images: [{match: "localhost/*", size: 1Ki}]
---
apiVersion: v1
kind: Namespace
metadata: {name: crash-loop-exit-1}
---
apiVersion: v1
kind: Pod
metadata: {name: crash, namespace: crash-loop-exit-1}
spec: {containers: [{name: main, image: "localhost/app:1", command: [sh, -c, "sleep 3; exit 1"]}]}
"#;

#[test]
fn a_recorded_crash_loop_is_told_fact_by_fact_and_lies_in_the_range_of_ten_simulated_ones() {
    let timeline = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/timelines/crash-loop-exit-1");
    let (recording, watch) = recorded(&timeline);
    let at = folder("recording", &[("crash.yaml", CRASH_LOOP)]);
    let compare = |more: &[&str]| {
        let mut arguments = vec!["compare", "crash.yaml", recording.to_str().unwrap(), "--seeds", "10"];
        arguments.extend(more);
        fine(&at, &arguments)
    };
    let json: Value = serde_json::from_str(&compare(&["--format", "json"])).expect("JSON");
    let facts = json["pods"][0]["facts"].as_array().expect("facts");
    let states: Vec<&Value> =
        facts.iter().filter(|fact| !fact["fact"].as_str().unwrap().starts_with("event ")).collect();
    assert!(states.len() > 50, "only {} states", states.len());
    for fact in states {
        assert_eq!(fact["outcome"], "agrees", "{fact}");
    }
    let said = compare(&["--all"]);
    assert!(said.contains("main #1 waiting CrashLoopBackOff") && said.contains("only sim"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let markdown = compare(&["--format", "markdown"]);
    assert!(markdown.contains("| main #3 running |"), "{markdown}");

    // The same as kubectl prints it: no times of receipt, documents over several lines, the last one cut off.
    let mut kubectl = String::new();
    for line in watch.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        if event["resource"] == "pods" {
            let bare = serde_json::json!({"type": event["type"], "object": event["object"]});
            kubectl.push_str(&format!("{bare:#}\n"));
        }
    }
    kubectl.push_str("{\n    \"type\": \"MODIF");
    fs::write(at.join("watch.json"), kubectl).expect("a file can be written");
    let arguments = ["compare", "crash.yaml", "watch.json", "--seeds", "10", "--within", "2s", "--check"];
    let said = fine(&at, &arguments);
    assert!(said.contains("1 pod,") && said.contains("all agree"), "{said}");

    // Another exit code is another story.
    fs::write(at.join("crash.yaml"), CRASH_LOOP.replace("exit 1\"", "exit 2\"")).expect("a file can be written");
    let otherwise = simlet(&at, &arguments);
    assert_eq!(otherwise.status.code(), Some(1));
    let said = text(&otherwise.stdout);
    assert!(said.contains("main terminated Error 1") && said.contains("only real"), "{said}");
}

#[test]
fn a_recording_that_is_none_is_refused_with_what_to_do() {
    let at = folder(
        "bad-recording",
        &[("crash.yaml", CRASH_LOOP), ("watch.json", "{\"type\":\"ADDED\",\"object\":{}}\n{]")],
    );
    let ran = simlet(&at, &["compare", "crash.yaml", "watch.json"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("watch.json:2:2: "), "{}", text(&ran.stderr));
    fs::write(at.join("watch.json"), "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Lease\"}}")
        .expect("a file can be written");
    let ran = simlet(&at, &["compare", "crash.yaml", "watch.json"]);
    assert!(text(&ran.stderr).contains("kubectl get pods -w --output-watch-events -o json"), "{}", text(&ran.stderr));
}

#[test]
fn pods_that_wait_for_a_kubelet_that_starts_say_nothing_of_how_long_one_takes_to_hear() {
    let scenario = |timeline: &str| {
        format!(
            "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: starts}}\nuntil: 4m\ncluster: {{nodes: [{{count: 1, \
             name: n-0}}]}}\ntimeline:\n{timeline}  - {{at: 1m1s, kubectl: scale deployment/web --replicas=5}}\n---\napiVersion: \
             apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: \
             web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: \
             \"a.example/web:1\"}}]}}\n"
        )
    };
    let stopped = scenario("  - {at: 1m, fault: {node: n-0, kubelet: stopped}, for: 20s}\n");
    let folder = folder("starts", &[("a.yaml", &scenario("")), ("b.yaml", &stopped)]);
    let ran = simlet(&folder, &["compare", "a.yaml", "b.yaml", "--seeds", "2"]);
    let said = text(&ran.stdout);
    let samples = |stage: &str| -> Vec<String> {
        let line = said.lines().find(|line| line.starts_with(stage)).unwrap_or_else(|| panic!("no {stage}: {said}"));
        line[stage.len()..].split_whitespace().take(2).map(str::to_owned).collect()
    };
    assert_eq!(samples("watch"), ["10", "2"], "{said}");
    assert_eq!(samples("whole start"), ["10", "2"], "{said}");
    assert_eq!(samples("start "), ["10", "10"], "{said}");
}
