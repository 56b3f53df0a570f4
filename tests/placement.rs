//! Placements as a user guards them: baselines with `--bless`, `simlet diff` between all that can be compared, and `simlet why`
//! for scheduling decisions.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of this test's own, with files in it.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("placement").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("what an earlier test wrote can be removed");
    }
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    for (file, text) in files {
        std::fs::write(folder.join(file), text).expect("a file can be written");
    }
    folder
}

fn simlet(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simlet"));
    command.args(arguments).current_dir(folder).output().expect("the binary can be started")
}

/// Exit code, and what went to standard output and standard error.
fn ran(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = simlet(folder, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

/// Six replicas over three zones of one node each.
const SHOP: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "a/web:1", resources: {requests: {cpu: "1", memory: 1Gi}}}
"#;

const SCENARIO: &str = "apiVersion: simlet.dev/v1
kind: Scenario
metadata: {name: place}
until: 2m
manifests: [shop.yaml]
expect:
- placement: base.json
";

fn too_large() -> String {
    SHOP.replace("cpu: \"1\"", "cpu: \"5\"")
}

fn selecting() -> String {
    SHOP.replace("      containers:", "      nodeSelector: {topology.kubernetes.io/zone: zone-a}\n      containers:")
}

#[test]
fn a_baseline_is_blessed_then_guards_and_says_what_moved() {
    let folder = folder("bless", &[("shop.yaml", SHOP), ("s.yaml", SCENARIO)]);
    let (code, said) = ran(&folder, &["test", "s.yaml"]);
    assert!(code == 1 && said.contains("no such baseline yet"), "{said}");
    let (code, said) = ran(&folder, &["test", "--bless", "s.yaml"]);
    assert!(code == 0 && said.contains("blessed base.json"), "{said}");
    let blessed = std::fs::read_to_string(folder.join("base.json")).expect("the baseline is there");
    assert!(blessed.contains("\"Deployment default/web\": {\"nodes\":{"), "{blessed}");
    assert_eq!(ran(&folder, &["test", "s.yaml"]).0, 0);
    // Blessing again changes nothing.
    assert!(!ran(&folder, &["test", "--bless", "s.yaml"]).1.contains("blessed"));

    std::fs::write(folder.join("shop.yaml"), too_large()).expect("a file can be written");
    let (code, said) = ran(&folder, &["test", "s.yaml", "--github", "--junit", "j.xml"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("3 new pending") && said.contains("Insufficient cpu"), "{said}");
    assert!(said.contains("::error file=s.yaml,line=7"), "{said}");
    assert!(said.contains("Deployment default/web is at shop.yaml:1"), "{said}");
    assert!(std::fs::read_to_string(folder.join("j.xml")).is_ok_and(|text| text.contains("3 new pending")));
    std::fs::write(folder.join("s.yaml"), format!("{SCENARIO}  tolerance: {{changed: 0, pending: 3}}\n"))
        .expect("a file can be written");
    assert_eq!(ran(&folder, &["test", "s.yaml"]).0, 0);
}

#[test]
fn a_broken_baseline_and_wrong_fields_are_bad_input() {
    let scenario = SCENARIO.to_owned() + "  by: rack\n  tolerance: many\n";
    let folder = folder("broken", &[("shop.yaml", SHOP), ("s.yaml", &scenario), ("base.json", "{\"kind\": 3}")]);
    let (code, said) = ran(&folder, &["test", "s.yaml"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("`node` or `zone` is expected") && said.contains("a share such as 10%"), "{said}");
}

#[test]
fn two_manifests_differ_by_moves_and_the_line_that_did_it() {
    let folder = folder("manifests", &[("old.yaml", SHOP), ("new.yaml", &selecting())]);
    let (code, said) =
        ran(&folder, &["diff", "old.yaml", "new.yaml", "--github", "--markdown", "d.md", "--junit", "d.xml"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("spread   zone-a 2 → 6, zone-b 2 → 0, zone-c 2 → 0"), "{said}");
    assert!(said.contains("cause    new.yaml:10 nodeSelector: {topology.kubernetes.io/zone: zone-a}"), "{said}");
    assert!(said.contains("Plan: 4 moved."), "{said}");
    assert!(said.contains("::error file=new.yaml,line=10,title=placement of Deployment web"), "{said}");
    let markdown = std::fs::read_to_string(folder.join("d.md")).expect("Markdown was written");
    assert!(markdown.starts_with("### ❌ Placement: 4 moved"), "{markdown}");
    let junit = std::fs::read_to_string(folder.join("d.xml")).expect("JUnit was written");
    assert!(junit.contains("failures=\"2\"") && junit.contains("file=\"new.yaml\" line=\"10\""), "{junit}");
    // All of it tolerated, and nothing but pods of other zones counted.
    assert_eq!(ran(&folder, &["diff", "old.yaml", "new.yaml", "--tolerance", "70%"]).0, 0);
    assert_eq!(ran(&folder, &["diff", "old.yaml", "new.yaml", "--by", "zone", "--tolerance", "3"]).0, 1);
    let (code, said) = ran(&folder, &["diff", "old.yaml", "old.yaml"]);
    assert!(code == 0 && said.contains("Plan: nothing moved."), "{said}");
}

#[test]
fn runs_that_were_kept_baselines_and_scenarios_are_compared_with_one_another() {
    let files = [("shop.yaml", SHOP), ("big.yaml", &too_large()), ("s.yaml", SCENARIO)];
    let folder = folder("kinds", &files);
    assert_eq!(ran(&folder, &["run", "big.yaml", "--out", "out"]).0, 0);
    ran(&folder, &["test", "--bless", "s.yaml"]);
    for (before, after) in [("shop.yaml", "out"), ("base.json", "out"), ("s.yaml", "big.yaml")] {
        let (code, said) = ran(&folder, &["diff", before, after]);
        assert!(code == 1 && said.contains("Plan: 3 new pending."), "{before} and {after}: {said}");
        // A baseline does not say which Events there were.
        assert_eq!(said.contains("events       FailedScheduling 0 →"), before != "base.json", "{said}");
    }
    let (code, said) = ran(&folder, &["diff", "base.json", "shop.yaml"]);
    assert!(code == 0, "{said}");
}

const PACKING: &str = "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
  plugins: {score: {disabled: [{name: PodTopologySpread}, {name: NodeResourcesBalancedAllocation}]}}
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}
";

#[test]
fn two_scheduler_configurations_place_the_same_pods_otherwise() {
    let plain = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";
    let folder = folder("configs", &[("shop.yaml", SHOP), ("plain.yaml", plain), ("packing.yaml", PACKING)]);
    let (code, said) = ran(&folder, &["diff", "plain.yaml", "packing.yaml", "--with", "shop.yaml"]);
    assert!(code == 1 && said.contains("moved") && said.contains("cause    packing.yaml:"), "{said}");
}

#[test]
fn pods_that_preempt_others_are_told_with_their_victims() {
    let class = "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: high}\nvalue: 1000\n---\n";
    let urgent = SHOP.replace("name: web", "name: urgent").replace("app: web", "app: urgent");
    let urgent =
        urgent.replace("cpu: \"1\"", "cpu: \"4\"").replace("    spec:\n", "    spec:\n      priorityClassName: high\n");
    let full = SHOP.replace("replicas: 6", "replicas: 18");
    let after = format!("{class}{full}---\n{urgent}");
    let folder = folder("preempted", &[("old.yaml", &full), ("new.yaml", &after)]);
    let (code, said) = ran(&folder, &["diff", "old.yaml", "new.yaml"]);
    assert!(code == 1 && said.contains("of Deployment web by Deployment urgent"), "{said}");
    assert!(said.contains("more preempted"), "{said}");
}

/// A repository with `SHOP` in its first commit and the selector in its second.
#[test]
fn two_git_revisions_are_compared() {
    let folder =
        folder("git", &[("shop.yaml", SHOP), ("s.yaml", &SCENARIO.replace("expect:\n- placement: base.json\n", ""))]);
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main"]);
        let done = command.args(arguments).current_dir(&folder).output().expect("git can be started");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "one"]);
    std::fs::write(folder.join("shop.yaml"), selecting()).expect("a file can be written");
    let (code, said) = ran(&folder, &["diff", "HEAD..", "s.yaml"]);
    assert!(code == 1 && said.contains("HEAD s.yaml → (work tree) s.yaml") && said.contains("4 moved"), "{said}");
    git(&["commit", "-qam", "two"]);
    for file in ["s.yaml", "shop.yaml"] {
        let (code, said) = ran(&folder, &["diff", "HEAD~1..HEAD", file]);
        assert!(code == 1 && said.contains("4 moved") && said.contains("shop.yaml:10 nodeSelector"), "{said}");
    }
    let (code, said) = ran(&folder, &["diff", "HEAD~1..nowhere", "s.yaml"]);
    assert!(code == 2 && said.contains("git knows no revision `nowhere`"), "{said}");
    let (code, said) = ran(&folder, &["diff", "HEAD~1..HEAD", "missing.yaml"]);
    assert!(code == 2 && said.contains("missing.yaml: no such file or folder"), "{said}");
}

const TIGHT: &str = r#"apiVersion: simlet.dev/v1
kind: Scenario
metadata: {name: tight}
until: 8m
cluster:
  nodes:
  - {count: 2, name: "worker-{index}", capacity: {cpu: "4", memory: 8Gi}}
  - {count: 1, name: "gpu-{index}", taints: ["pool=gpu:NoSchedule"], capacity: {cpu: "16", memory: 64Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: big}
spec: {containers: [{name: c, image: "a/b:1", resources: {requests: {cpu: "4500m"}}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: fine}
spec: {containers: [{name: c, image: "a/b:1", resources: {requests: {cpu: "500m"}}}]}
"#;

#[test]
fn why_shows_every_node_of_any_attempt_and_what_would_let_the_pod_in() {
    let folder = folder("why", &[("t.yaml", TIGHT)]);
    let (code, said) = ran(&folder, &["why", "pod/big", "t.yaml"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 NodeResourcesFit: Insufficient cpu   (worker-0, worker-1)"), "{said}");
    assert!(said.contains("would fit  with a toleration of pool=gpu:NoSchedule (on gpu-0)"), "{said}");
    assert!(said.contains("or         with 500m less cpu (on worker-1)"), "{said}");
    let (code, said) = ran(&folder, &["why", "pending", "t.yaml"]);
    assert!(code == 0 && said.contains("1 pod waits for a node") && said.contains("would fit"), "{said}");
    let (_, said) = ran(&folder, &["why", "slow", "t.yaml"]);
    assert!(said.contains("1 pod became Ready") && said.contains("slowest"), "{said}");
    // Before the other pod came there was more room.
    let (_, said) = ran(&folder, &["why", "pod/big", "t.yaml", "--attempt", "1"]);
    assert!(said.contains("tried      1 time") && said.contains("with 500m less cpu"), "{said}");
    let (code, said) = ran(&folder, &["why", "pod/big", "t.yaml", "--attempt", "99"]);
    assert!(code == 2 && said.contains("pod/big has no attempt 99"), "{said}");
    let (_, said) = ran(&folder, &["why", "pod/fine", "t.yaml", "--attempt", "1"]);
    assert!(said.contains("TaintToleration ×3"), "{said}");
    assert!(said.contains("TaintToleration: node(s) had untolerated taint(s)   (gpu-0)"), "{said}");
    // The remedy is true: with it the pod is placed.
    let tolerating = TIGHT.replace("cpu: \"4500m\"", "cpu: \"4000m\"");
    std::fs::write(folder.join("t.yaml"), tolerating).expect("a file can be written");
    let (_, said) = ran(&folder, &["why", "pod/big", "t.yaml"]);
    assert!(said.contains("pod/big  Ready"), "{said}");
}

#[test]
fn a_report_of_an_explained_run_has_its_decisions() {
    let folder = folder("report", &[("t.yaml", TIGHT)]);
    assert_eq!(ran(&folder, &["run", "t.yaml", "--explain", "--out", "out"]).0, 0);
    let report = std::fs::read_to_string(folder.join("out/report.html")).expect("the report is there");
    for part in ["would fit with a toleration of pool=gpu:NoSchedule", "TaintToleration ×3", "<h3>Decisions</h3>"] {
        assert!(report.contains(part), "{part} is missing");
    }
    let (_, said) = ran(&folder, &["why", "pod/big", "out"]);
    assert!(said.contains("would fit  with a toleration"), "{said}");
}

/// The cases of people who asked why their pods went where they went.
#[test]
fn why_prints_the_scores_that_compete() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = "scenarios/cases/s12-image-locality-against-spread.yaml";
    let (code, said) = ran(root, &["test", "scenarios/cases/s10-image-locality-rounds-to-nothing.yaml", file]);
    assert_eq!(code, 0, "{said}");
    let out = folder("s12", &[]).join("out");
    ran(root, &["run", file, "--explain", "--out", &out.to_string_lossy()]);
    let events = std::fs::read_to_string(out.join("events.txt")).expect("the events are there");
    let second = events
        .split_whitespace()
        .find_map(|word| word.strip_prefix("pod/").filter(|name| name.starts_with("web-")))
        .expect("a replica");
    let (_, said) = ran(root, &["why", &format!("pod/{second}"), &out.to_string_lossy()]);
    let row = |plugin: &str| said.lines().any(|line| line.trim_start().starts_with(plugin) && line.contains('/'));
    assert!(row("PodTopologySpread ×2") && row("ImageLocality"), "{said}");
    let (_, said) = ran(root, &["why", "pod/small", "scenarios/cases/s10-image-locality-rounds-to-nothing.yaml"]);
    assert!(said.lines().any(|line| line.contains("ImageLocality") && line.contains("0/0/0")), "{said}");
}
