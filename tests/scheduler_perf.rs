//! The scheduler's own performance tests run from their files: all of them at their smallest sizes, to the end.

use std::path::PathBuf;

use simlet::cli::Disk;
use simlet::kernel::Duration;
use simlet::manifest::Source;
use simlet::scenario::scheduler_perf::{Measured, Outcome, TestCase, load, run};

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/scheduler_perf");
    assert!(folder.is_dir(), "{} is missing", folder.display());
    folder
}

/// The test cases of a topic, with the file's name.
fn open(topic: &str) -> (String, Vec<TestCase>) {
    let file = folder().join(topic).join("performance-config.yaml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let name = file.to_string_lossy().into_owned();
    let cases = load(&Source::new(name.clone(), text), false).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(!cases.is_empty(), "{name} has no test case");
    (name, cases)
}

/// Runs a topic's workloads that have a label; each with its name.
fn play(topic: &str, label: &str) -> Vec<(String, Outcome)> {
    let (name, cases) = open(topic);
    let mut ended = Vec::new();
    for case in &cases {
        for workload in case.workloads.iter().filter(|workload| workload.labels.iter().any(|own| own == label)) {
            ended.push((workload.name.clone(), run(case, workload, &name, &Disk, 1, &mut || Duration::ZERO)));
        }
    }
    assert!(!ended.is_empty(), "{topic} has no workload with the label {label}");
    ended
}

/// Every workload of a topic is measured, but for those that are named with what they need.
fn check(topic: &str, not_simulated: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (name, outcome) in play(topic, "integration-test") {
        let known = not_simulated.iter().find(|(case, _)| name.starts_with(&format!("{case}/")));
        match (&outcome, known) {
            (Outcome::Measured(Measured { pods: 1.., .. }), None) => {}
            (Outcome::NotSimulated(what), Some((_, reason))) if what.iter().any(|what| what.contains(reason)) => {}
            _ => wrong.push(format!("{name}: {outcome:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tests_of_affinity_run() {
    check("affinity", &[]);
}

#[test]
fn the_tests_of_event_handling_run() {
    check("event_handling", &[]);
}

#[test]
fn the_miscellaneous_tests_run() {
    check("misc", &[]);
}

#[test]
fn the_tests_of_declared_features_run() {
    check("nodedeclaredfeatures", &[]);
}

#[test]
fn the_tests_of_topology_spreading_run() {
    check("topology_spreading", &[]);
}

#[test]
fn the_tests_of_volumes_run() {
    check("volumes", &[]);
}

#[test]
fn the_tests_of_resource_claims_run() {
    check("dra", &[]);
    check("dra/devicetaints", &[]);
    check("dra/prioritizedlist", &[]);
}

#[test]
fn the_tests_of_partitioned_and_shared_devices_run() {
    check("dra/partitionabledevices", &[]);
    check("dra/consumablecapacity", &[]);
}

#[test]
fn the_tests_of_extended_resources_by_devices_run() {
    for topic in ["dra/extendedresource", "dra/extendedresource/scoring"] {
        let mut wrong = Vec::new();
        for (name, outcome) in play(topic, "short") {
            if !matches!(outcome, Outcome::Measured(Measured { pods: 1.., .. })) {
                wrong.push(format!("{name}: {outcome:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn a_workload_has_the_same_digest_each_time() {
    let (one, other) = (play("misc", "integration-test"), play("misc", "integration-test"));
    assert_eq!(one, other);
}

fn simlet(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_simlet")).args(arguments).output();
    let output = output.expect("the binary can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A file with one workload that takes a while, and this threshold.
fn file_with(name: &str, threshold: &str) -> String {
    let text = format!(
        "- name: Case\n  workloadTemplate:\n  - {{opcode: createNodes, countParam: $nodes}}\n  \
         - {{opcode: createPods, countParam: $pods, collectMetrics: true}}\n  workloads:\n  \
         - {{name: Big, labels: [performance], threshold: {threshold}, params: {{nodes: 200, pods: 3000}}}}\n"
    );
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).expect("cargo's folder for tests can be made");
    std::fs::write(&file, text).expect("a file can be written");
    file.to_string_lossy().into_owned()
}

#[test]
fn a_threshold_that_is_missed_fails_only_if_it_is_checked() {
    let far = file_with("far.yaml", "1e12");
    let (code, out, _) = simlet(&["bench-scheduler", &far]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Case/Big") && out.contains("1 below it"), "{out}");
    assert_eq!(simlet(&["bench-scheduler", &far, "--check"]).0, Some(1));
    assert_eq!(simlet(&["bench-scheduler", &file_with("near.yaml", "1"), "--check"]).0, Some(0));
}

#[test]
fn workloads_are_listed_and_picked_and_results_are_json() {
    let near = file_with("listed.yaml", "1");
    let (code, out, _) = simlet(&["bench-scheduler", &near, "--list"]);
    assert_eq!((code, out.as_str()), (Some(0), "     1  Case/Big  performance\n"));
    let (code, _, said) = simlet(&["bench-scheduler", &near, "--workload", "Case/Small"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("no workload is named `Case/Small`"), "{said}");
    assert_eq!(simlet(&["bench-scheduler", &near, "--labels", "-performance", "--list"]).0, Some(2));
    let (code, out, _) = simlet(&["bench-scheduler", &near, "-o", "json"]);
    let results: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!((code, &results[0]["pods"], &results[0]["result"]), (Some(0), &3000.into(), &"measured".into()));
    assert!(results[0]["podsPerCpuSecond"].as_f64().is_some_and(|rate| rate > 100.0), "{out}");
}

#[test]
fn a_file_that_is_wrong_exits_2_with_its_line() {
    let wrong = file_with("wrong.yaml", "1, parms: {}");
    let (code, _, said) = simlet(&["bench-scheduler", &wrong]);
    assert_eq!(code, Some(2));
    assert!(said.contains("wrong.yaml:6") && said.contains("unknown field `parms`"), "{said}");
}
