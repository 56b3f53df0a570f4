//! The binary as a user meets it: exit codes, what goes to which stream, what is written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn simlet(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simlet"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("what an earlier test wrote can be removed");
    }
    folder
}

fn write(name: &str, content: &str) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).expect("cargo's folder for tests can be made");
    std::fs::write(&file, content).expect("a file can be written");
    file.to_string_lossy().into_owned()
}

const POD: &str =
    "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: \"a/b:1\"}]}\n";

#[test]
fn a_scenario_that_holds_exits_0_and_writes_all_its_reports() {
    let out = folder("holds");
    let ran = simlet(&["run", "scenarios/rollout.yaml", "--out", &out.to_string_lossy()]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    assert!(text(&ran.stdout).contains("4 of 4 pods ready"), "{}", text(&ran.stdout));
    for file in [
        "report.html",
        "trace.jsonl",
        "trace.perfetto.json",
        "metrics.prom",
        "events.txt",
        "latency.svg",
        "nodes.svg",
        "final/leases.yaml",
        "final/pods.yaml",
    ] {
        assert!(out.join(file).is_file(), "{file} is missing");
    }
    let why = simlet(&["why", "deployment/web", &out.to_string_lossy()]);
    assert_eq!(why.status.code(), Some(0), "{}", text(&why.stderr));
    assert!(text(&why.stdout).contains("rollout.yaml"), "{}", text(&why.stdout));
}

#[test]
fn every_line_of_a_story_fits_80_columns() {
    let ran = simlet(&["run", "scenarios/zone-outage.yaml"]);
    for line in text(&ran.stdout).lines() {
        // A name that is longer than its column stands whole.
        let one_word = !line.trim().contains(' ');
        assert!(line.chars().count() <= 80 || one_word, "{line}");
    }
}

#[test]
fn an_expectation_that_fails_exits_1_and_says_what_was_measured() {
    let expectation = "  - that: pods.size() == 2\n";
    let scenario = format!(
        "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: two}}\nuntil: 1m\nexpect:\n{expectation}{POD}"
    );
    let file = write("fails.yaml", &scenario);
    let ran = simlet(&["test", &file]);
    assert_eq!(ran.status.code(), Some(1), "{}", text(&ran.stdout));
    let said = text(&ran.stdout);
    assert!(said.contains("FAIL") && said.contains("measured 1"), "{said}");
    assert_eq!(simlet(&["run", &file]).status.code(), Some(1));
}

#[test]
fn wrong_input_exits_2_shows_every_mistake_at_its_line_and_writes_nothing() {
    let out = folder("nothing");
    let ran = simlet(&["run", "tests/bad-input/many-mistakes.yaml", "--out", &out.to_string_lossy()]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(ran.stdout.is_empty());
    assert!(!out.exists(), "something was written");
    let said = text(&ran.stderr);
    for (line, words) in [
        (4, "did you mean `seed`?"),
        (5, "`30 minutes` is not a duration"),
        (7, "did you mean `containerd`?"),
        (8, "no such file or folder"),
        (11, "did you mean `scale`?"),
        (13, "did you mean `power`?"),
        (14, "not a bandwidth"),
        (16, "did you mean `endpoints`?"),
        (17, "did you mean `pods`?"),
        (18, "not a CEL expression"),
        (24, "did you mean `replicas`?"),
        (27, "`selector` does not match template `labels`"),
        (29, "supported values: \"Always\", \"IfNotPresent\", \"Never\""),
        (29, "`2000x` is not a quantity"),
    ] {
        assert!(said.contains(words), "{words}: {said}");
        assert!(said.contains(&format!("many-mistakes.yaml:{line}:")), "line {line}: {said}");
    }
    assert!(said.ends_with("nothing was run\n"), "{said}");
}

#[test]
fn what_is_not_there_or_not_understood_exits_2() {
    for arguments in [
        &["run", "no-such-file.yaml"][..],
        &["run"],
        &["frobnicate"],
        &["test", "src"],
        &["why", "pod/x", "no-such-run"],
        &["why", "pod/no-such-pod", "scenarios/crash-loop.yaml"],
        &["plot", "scenarios/crash-loop.yaml", "-o", "picture.gif"],
        &["run", "scenarios/rollout.yaml", "--until", "soon"],
        &["test", "scenarios", "--seeds", "9..1"],
    ] {
        let ran = simlet(arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {}", text(&ran.stdout));
        assert!(!ran.stderr.is_empty(), "{arguments:?} says nothing");
    }
}

#[test]
fn manifests_run_without_a_scenario_from_standard_input_and_folders() {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = Command::new(env!("CARGO_BIN_EXE_simlet"))
        .args(["run", "-", "--nodes", "5", "--seed", "9"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary can be started");
    child.stdin.take().expect("it has a standard input").write_all(POD.as_bytes()).expect("it reads");
    let ran = child.wait_with_output().expect("it ends");
    let said = text(&ran.stdout);
    assert_eq!(ran.status.code(), Some(0));
    assert!(said.contains("5 nodes") && said.contains("seed 9") && said.contains("1 of 1 pod ready"), "{said}");
    let shop = simlet(&["run", "scenarios/shop"]);
    assert_eq!(shop.status.code(), Some(0), "{}", text(&shop.stderr));
    assert!(text(&shop.stdout).contains("workloads applied"), "{}", text(&shop.stdout));
}

#[test]
fn results_go_to_junit_and_github() {
    let file = folder("junit").join("out.xml");
    let ran = simlet(&["test", "scenarios", "--junit", &file.to_string_lossy(), "--github", "--threads", "2"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stdout));
    let junit = std::fs::read_to_string(&file).expect("the JUnit file is there");
    assert!(junit.contains("<testsuite name=\"drain\"") && junit.contains("name=\"digest\""), "{junit}");
    assert!(junit.matches("<testcase").count() >= 30, "{junit}");
}

#[test]
fn runs_side_by_side_are_one_picture() {
    let file = folder("plots").join("both.svg");
    let ran = simlet(&["plot", "scenarios/rollout.yaml", "scenarios/drain.yaml", "-o", &file.to_string_lossy()]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let picture = std::fs::read_to_string(&file).expect("the picture is there");
    assert!(picture.starts_with("<svg") && picture.contains("rollout") && picture.contains("drain"));
}

#[test]
fn a_recording_by_simkube_becomes_a_scenario_that_runs() {
    let out = folder("simkube");
    let trace = "../shared/data/traces/simkube/trace.json";
    assert_eq!(simlet(&["import", trace]).status.code(), Some(2), "it must be said where to");
    let imported = simlet(&["import", trace, "--out", &out.to_string_lossy()]);
    assert_eq!(imported.status.code(), Some(0), "{}", text(&imported.stderr));
    let ran = simlet(&["run", &out.join("scenario.yaml").to_string_lossy()]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
}

#[test]
fn public_bug_reports_and_incidents_end_as_they_did() {
    let ran = simlet(&["test", "scenarios/cases"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stdout));
    // What is a fraction of the seeds, and what holds in all of them.
    for case in ["s01-match-label-keys", "s01-rollout-skews-a-spread"] {
        let ran = simlet(&["test", &format!("scenarios/cases/{case}.yaml"), "--seeds", "1..30"]);
        assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stdout));
    }
}

/// Runs a pod that tolerates a taint by `Gt`, on a node with it, under these gates.
fn gated(name: &str, gates: &str) -> Output {
    let scenario = format!(
        "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: gated}}\nuntil: 1m\ncluster:\n  nodes:\n  \
         - {{count: 1, name: node-1, taints: [\"tier=5:NoSchedule\"]}}\n  featureGates: {gates}\n\
         expect:\n  - that: pods.all(p, p.node == \"node-1\")\n{}",
        POD.replace(
            "spec: {containers",
            "spec: {tolerations: [{key: tier, operator: Gt, value: \"3\", effect: NoSchedule}], containers"
        )
    );
    simlet(&["run", &write(name, &scenario)])
}

#[test]
fn feature_gates_take_effect_and_wrong_ones_are_refused_at_their_line() {
    let on = gated("gate-on.yaml", "{TaintTolerationComparisonOperators: true, OpportunisticBatching: false}");
    assert_eq!(on.status.code(), Some(0), "{}{}", text(&on.stdout), text(&on.stderr));
    let off = gated("gate-off.yaml", "{TaintTolerationComparisonOperators: false}");
    assert_eq!(off.status.code(), Some(2), "the API server refuses the toleration");
    assert!(text(&off.stderr).contains("Unsupported value: \"Gt\""), "{}", text(&off.stderr));
    for (gates, words) in [
        ("{TaintTolerationComparisonOperator: true}", "did you mean `TaintTolerationComparisonOperators`?"),
        ("{TaintTolerationComparisonOperators: maybe}", "where true or false is expected"),
        ("{SchedulerQueueingHints: false}", "cannot set feature gate SchedulerQueueingHints to false"),
    ] {
        let ran = gated("gate-wrong.yaml", gates);
        let said = text(&ran.stderr);
        assert!(ran.status.code() == Some(2) && said.contains(words) && said.contains("gate-wrong.yaml:8"), "{said}");
    }
}

#[test]
fn a_share_of_the_seeds_is_held_against_all_of_them() {
    let scenario = |share: &str| {
        format!(
            "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: share}}\nuntil: 1m\nexpect:\n  \
             - that: pods.all(p, p.node == \"worker-1\")\n    share: {share}\n{POD}"
        )
    };
    // One of three equal nodes: about a third of the seeds.
    for (share, code) in [("{atLeast: 5%, atMost: 80%}", 0), ("{atLeast: 95%}", 1), ("{atMost: 2%}", 1)] {
        let file = write("share.yaml", &scenario(share));
        let ran = simlet(&["test", &file, "--seeds", "1..30"]);
        let said = text(&ran.stdout);
        assert_eq!(ran.status.code(), Some(code), "{share}: {said}");
        assert!(code == 0 || said.contains("of 30 seeds; expected in"), "{said}");
        assert_eq!(simlet(&["test", &file]).status.code(), Some(0), "one seed alone says nothing");
    }
    for wrong in ["{atLeast: 5}", "{}", "{atLeast: 60%, atMost: 40%}", "{atleast: 5%}"] {
        assert_eq!(simlet(&["test", &write("share-wrong.yaml", &scenario(wrong))]).status.code(), Some(2), "{wrong}");
    }
}
