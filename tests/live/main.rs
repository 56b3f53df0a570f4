//! Live mode with a real containerd, as a user meets it. Needs root and, of Debian, containerd, runc,
//! containernetworking-plugins, busybox-static, docker-registry, skopeo and openssl; a test says what is missing.
//!
//! Every run here is replayed from its recording, and must write the same bytes.
#![cfg(feature = "cri")]

mod faults;
mod grpc;
mod machine;
mod measured;
mod probes;

use std::fs;
use std::io::Write as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use grpc::Proxy;
use machine::{Lacks, Machine, Registry, Said, calendar_seconds, pass, signal, wait_until};

/// A pod on each node.
const AGENT: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "localhost/busybox:1", command: [sleep, "1000"]}]
"#;

/// A scenario with these pods, and what is below `timeline`, `expect` and so on.
fn write_scenario(machine: &Machine, name: &str, pods: &str, rest: &str) {
    machine.write(&format!("{name}.yaml"), pods);
    let scenario = format!(
        "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: {name}}}\nmanifests: [{name}.yaml]\n{rest}"
    );
    machine.write(&format!("{name}.scenario.yaml"), &scenario);
}

/// What most containers do.
const SLEEPS: &str = r#"command: [sleep, "1000"]"#;

/// A pod with one container, `main`, of busybox; with more fields of the container and of the pod's spec.
fn pod(name: &str, container: &str, spec: &str) -> String {
    let container = format!(r#"{{name: main, image: "localhost/busybox:1", {container}}}"#);
    let spec = if spec.is_empty() { String::new() } else { format!(", {spec}") };
    format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{container}]{spec}}}\n")
}

/// All ids of containers are a runtime's own, whole, and their images are named by digest.
fn check_whole_ids(objects: &str) {
    let values = |key: &'static str| {
        objects.lines().filter_map(move |line| line.trim().trim_start_matches("- ").strip_prefix(key)).map(str::trim)
    };
    let is_whole = |id: &str| id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) && !id.starts_with("0000");
    let containers: Vec<&str> = values("containerID:").collect();
    assert!(!containers.is_empty(), "there is no container");
    assert!(containers.iter().all(|id| id.strip_prefix("containerd://").is_some_and(is_whole)), "{containers:?}");
    let images: Vec<&str> = values("imageID:").collect();
    assert!(images.iter().all(|id| id.rsplit_once("sha256:").is_some_and(|(_, id)| is_whole(id))), "{images:?}");
}

/// Starts `simlet live` of a scenario.
fn start(machine: &Machine, name: &str) -> Child {
    let (scenario, address) = (format!("{name}.scenario.yaml"), machine.address());
    let mut command = machine.simlet(&["live", &scenario, "--runtime", &address, "--out", name]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("simlet starts")
}

/// Waits for its end: all expectations hold, and a replay of the recording writes the same.
fn end(machine: &Machine, name: &str, child: Child) -> Said {
    let said = Said::from(child.wait_with_output().expect("simlet ends"));
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    check_folder_and_cgroups(machine, name);
    check_replay(machine, name);
    said
}

/// Nothing is left of the pods' volumes, and no cgroup of a pod that was there at the end.
fn check_folder_and_cgroups(machine: &Machine, name: &str) {
    assert!(!machine.folder.join(name).join("pods").exists(), "volumes of {name} are left");
    // There is no file where there is no pod.
    let pods = fs::read_to_string(machine.folder.join(name).join("final/pods.yaml")).unwrap_or_default();
    let uids: Vec<&str> = pods.lines().filter_map(|line| line.trim().strip_prefix("uid: ")).collect();
    for parent in ["kubepods", "kubepods/burstable", "kubepods/besteffort"] {
        for hierarchy in ["", "cpu", "memory", "pids", "systemd", "unified"] {
            for uid in &uids {
                let path = Path::new("/sys/fs/cgroup").join(hierarchy).join(parent).join(format!("pod{uid}"));
                assert!(!path.exists(), "{} is left", path.display());
            }
        }
    }
}

fn check_replay(machine: &Machine, name: &str) {
    let again = format!("{name}-again");
    let replayed = Said::from(machine.simlet(&["replay", name, "--out", &again]).output().expect("simlet runs"));
    assert_eq!(replayed.code, Some(0), "{}{}", replayed.out, replayed.err);
    let mut compared = 0;
    for entry in fs::read_dir(machine.folder.join(&again)).expect("the replay's files").flatten() {
        if entry.path().is_file() {
            let live = fs::read(machine.folder.join(name).join(entry.file_name())).expect("the live run's file");
            let same = fs::read(entry.path()).expect("the replay's file") == live;
            assert!(same, "{:?} differs from the live run's", entry.file_name());
            compared += 1;
        }
    }
    assert!(compared > 5, "only {compared} files were compared");
}

/// Runs a scenario to its end.
fn check(machine: &Machine, name: &str, pods: &str, rest: &str) -> Said {
    write_scenario(machine, name, pods, rest);
    let child = start(machine, name);
    let said = end(machine, name, child);
    machine.check_nothing_is_left();
    said
}

fn read(machine: &Machine, path: &str) -> String {
    let path = machine.folder.join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The log of a container's run: the texts without times.
fn log(machine: &Machine, run: &str, pod: &str, container: &str, attempt: u32) -> String {
    let logs = machine.folder.join(run).join("logs");
    let of_pod =
        |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(&format!("_{pod}_")));
    let folders = fs::read_dir(&logs).expect("logs").flatten().map(|entry| entry.path());
    let folder = folders.into_iter().find(|path| of_pod(path)).expect("the pod's logs");
    let text = fs::read_to_string(folder.join(container).join(format!("{attempt}.log"))).expect("the container's log");
    text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_pod_with_three_containers_an_init_container_and_a_sidecar_starts_in_order_and_is_probed() {
    let machine = Machine::start(1);
    let pods = r#"
apiVersion: v1
kind: Pod
metadata: {name: whole, labels: {app: whole}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: "localhost/busybox:1", command: [sh, -c, "echo first > /shared/order"], volumeMounts: &m [{name: shared, mountPath: /shared}]}
  - name: side
    image: localhost/busybox:1
    restartPolicy: Always
    command: [sh, -c, "echo side >> /shared/order; touch /ok; sleep 1000"]
    volumeMounts: *m
    startupProbe: {exec: {command: [cat, /ok]}, periodSeconds: 1}
  containers:
  - name: web
    image: localhost/busybox:1
    command: [sh, -c, "cat /shared/order; echo ok > /www/health; httpd -f -p 8080 -h /www"]
    volumeMounts: *m
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1}
    livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
  - {name: two, image: "localhost/busybox:1", command: [sleep, "1000"]}
  - {name: three, image: "localhost/busybox:1", command: [sh, -c, "id; sleep 1000"], securityContext: {runAsUser: 1000, runAsGroup: 2000}}
  volumes: [{name: shared, emptyDir: {}}]
"#;
    let rest = r#"
until: 12s
expect:
- {within: 10s, that: 'pods("app=whole").exists(p, p.ready)'}
- {that: 'pods("app=whole").all(p, p.ready && p.restarts == 0 && p.status.podIP.startsWith("10.201.1."))'}
- {that: 'pods.all(p, p.status.containerStatuses.size() == 3 && p.status.initContainerStatuses[0].state.terminated.exitCode == 0)'}
"#;
    check(&machine, "whole", pods, rest);
    assert_eq!(log(&machine, "whole", "whole", "web", 0), "first\nside");
    assert_eq!(log(&machine, "whole", "whole", "three", 0), "uid=1000 gid=2000 groups=2000");
}

#[test]
fn exit_codes_last_words_and_crash_loops_are_the_real_ones() {
    let machine = Machine::start(2);
    let pods = [
        pod("crash", "command: [sh, -c, 'echo no such database > /dev/termination-log; exit 3']", ""),
        pod(
            "logged",
            "command: [sh, -c, 'echo out of luck; exit 5'], terminationMessagePolicy: FallbackToLogsOnError",
            "restartPolicy: Never",
        ),
        pod("done", "command: [sh, -c, 'sleep 1']", "restartPolicy: OnFailure"),
        pod("lost", "command: [/no/such/program]", ""),
    ]
    .concat();
    let rest = r#"
until: 24s
expect:
- {that: 'pods.exists(p, p.name == "crash" && p.restarts >= 2 && p.status.containerStatuses[0].lastState.terminated.exitCode == 3)'}
- {that: 'pods.exists(p, p.name == "crash" && p.status.containerStatuses[0].lastState.terminated.message == "no such database\n")'}
- {that: 'events.exists(e, e.object == "Pod/crash" && e.reason == "BackOff")'}
- {that: 'pods.exists(p, p.name == "logged" && p.phase == "Failed" && p.status.containerStatuses[0].state.terminated.message == "out of luck\n")'}
- {that: 'pods.exists(p, p.name == "done" && p.phase == "Succeeded")'}
- {that: 'events.exists(e, e.object == "Pod/lost" && e.reason == "Failed" && e.message.contains("no such file"))'}
"#;
    check(&machine, "crash", &pods, rest);
}

#[test]
fn the_kernels_oom_killer_and_a_failing_liveness_probe_are_told_apart() {
    let machine = Machine::start(3);
    let pods = [
        pod("fat", "command: [tail, /dev/zero], resources: {limits: {memory: 20Mi}}", "restartPolicy: Never"),
        pod(
            "sick",
            "command: [sleep, '1000'],
                livenessProbe: {exec: {command: [cat, /nothing]}, periodSeconds: 1, failureThreshold: 2}",
            "terminationGracePeriodSeconds: 1",
        ),
        pod("deaf", "command: [sleep, '1000'], readinessProbe: {httpGet: {port: 80}, periodSeconds: 1}", ""),
    ]
    .concat();
    let rest = r#"
until: 12s
expect:
- {that: 'pods.exists(p, p.name == "fat" && p.status.containerStatuses[0].state.terminated.reason == "OOMKilled" && p.status.containerStatuses[0].state.terminated.exitCode == 137)'}
- {that: 'pods.exists(p, p.name == "sick" && p.restarts >= 1)'}
- {that: 'events.exists(e, e.object == "Pod/sick" && e.reason == "Unhealthy" && e.message.startsWith("Liveness probe failed: cat: can"))'}
- {that: 'events.exists(e, e.object == "Pod/deaf" && e.reason == "Unhealthy" && e.message.endsWith("connect: connection refused"))'}
- {that: 'pods.exists(p, p.name == "deaf" && p.phase == "Running" && !p.ready)'}
"#;
    check(&machine, "killed", &pods, rest);
}

#[test]
fn images_are_pulled_and_a_missing_tag_and_a_registry_that_is_away_are_retried() {
    let machine = Machine::start(4);
    let mut registry = Registry::start(&machine);
    let pods = r#"
apiVersion: v1
kind: Pod
metadata: {name: pulled}
spec:
  containers: [{name: main, image: "localhost:PORT/app:1", command: [sleep, "1000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: mistyped}
spec:
  containers: [{name: main, image: "localhost:PORT/app:2", command: [sleep, "1000"]}]
"#;
    let pods = pods.replace("PORT", &registry.port.to_string());
    let rest = r#"
until: 'pods.exists(p, p.name == "pulled" && p.ready) && events.exists(e, e.object == "Pod/mistyped" && e.message.contains("not found"))'
expect:
- {that: 'events.exists(e, e.object == "Pod/pulled" && e.reason == "Failed" && e.message.contains("connection refused"))'}
- {that: 'pods.exists(p, p.name == "pulled" && p.ready)'}
- {that: 'events.exists(e, e.object == "Pod/pulled" && e.reason == "Pulled" && e.message.startsWith("Successfully pulled image"))'}
- {that: 'events.exists(e, e.object == "Pod/mistyped" && e.reason == "Failed" && e.message.contains("not found"))'}
"#;
    registry.end();
    write_scenario(&machine, "pull", &pods, rest);
    let child = start(&machine, "pull");
    pass(5000);
    registry.begin();
    end(&machine, "pull", child);
    machine.check_nothing_is_left();
}

#[test]
fn a_pod_is_asked_to_stop_and_killed_only_after_its_grace_period() {
    let machine = Machine::start(5);
    let pods = [
        pod(
            "polite",
            r#"command: [sh, -c, "trap 'echo goodbye; exit 0' TERM; while true; do sleep 0.1; done"],
                lifecycle: {preStop: {exec: {command: [sh, -c, "echo asked > /proc/1/fd/1"]}}}"#,
            "terminationGracePeriodSeconds: 20",
        ),
        pod(
            "stubborn",
            r#"command: [sh, -c, "trap '' TERM; while true; do sleep 1; done"]"#,
            "terminationGracePeriodSeconds: 4",
        ),
    ]
    .concat();
    let rest = r#"
until: 16s
timeline:
- {at: 6s, kubectl: "delete pod polite stubborn"}
expect:
- {at: 5s, that: 'pods.all(p, p.ready)'}
- {at: 9500ms, that: 'object("pod/polite") == null'}
- {at: 9500ms, that: 'object("pod/stubborn") != null'}
- {that: 'pods.size() == 0'}
"#;
    check(&machine, "stop", &pods, rest);
    assert_eq!(log(&machine, "stop", "polite", "main", 0), "asked\ngoodbye");
}

#[test]
fn a_run_that_was_killed_is_taken_over_by_the_next_and_cleanup_removes_what_is_left() {
    let machine = Machine::start(6);
    let pods = pod("kept", "command: [sh, -c, 'while true; do sleep 1; done']", "terminationGracePeriodSeconds: 1");
    let rest = r#"
until: 8s
expect:
- {that: 'pods.all(p, p.ready && p.restarts == 0)'}
- {never: 'events.exists(e, e.object == "Pod/kept" && (e.reason == "Created" || e.reason == "Killing"))', name: it is not made again}
"#;
    let kill = |machine: &Machine| {
        let mut child = start(machine, "kept");
        let running = || machine.ctr(&["tasks", "list"]).lines().filter(|line| line.contains("RUNNING")).count();
        wait_until("the pod runs", || running() == 2);
        child.kill().expect("it can be killed");
        let _ended = child.wait();
    };
    write_scenario(&machine, "kept", &pods, rest);
    kill(&machine);
    let before = machine.ctr(&["containers", "list", "-q"]);
    assert_eq!(before.lines().count(), 2, "{before}");
    let child = start(&machine, "kept");
    pass(4000);
    assert_eq!(machine.ctr(&["containers", "list", "-q"]), before, "the containers are the same");
    end(&machine, "kept", child);
    machine.check_nothing_is_left();

    kill(&machine);
    assert_eq!(machine.containers(), 2);
    let cleaned = machine.simlet(&["live", "--cleanup", "--runtime", &machine.address()]).output();
    let cleaned = Said::from(cleaned.expect("simlet runs"));
    assert_eq!((cleaned.code, cleaned.out.as_str()), (Some(0), "removed default/kept\n"), "{}", cleaned.err);
    machine.check_nothing_is_left();
    assert!(!machine.folder.join("kept/pods").exists(), "volumes are left");
}

#[test]
fn a_run_taken_over_goes_on_with_ids_counts_and_logs_and_sees_what_ended_while_nobody_watched() {
    let machine = Machine::start(14);
    let pods = r#"
apiVersion: v1
kind: Pod
metadata: {name: again}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/busybox:1
    command: [sh, -c, "echo begins; [ -f /kept/seen ] || { touch /kept/seen; exit 9; }; while true; do sleep 0.2; done"]
    volumeMounts: MOUNTS
  volumes: VOLUMES
---
apiVersion: v1
kind: Pod
metadata: {name: prepared}
spec:
  terminationGracePeriodSeconds: 1
  initContainers: [{name: first, image: "localhost/busybox:1", command: [sh, -c, "echo prepared >> /kept/log"], volumeMounts: MOUNTS}]
  containers: [{name: main, image: "localhost/busybox:1", command: [sh, -c, "cat /kept/log; while true; do sleep 0.2; done"], volumeMounts: MOUNTS}]
  volumes: VOLUMES
---
apiVersion: v1
kind: Pod
metadata: {name: failed}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: OnFailure
  containers: [{name: main, image: "localhost/busybox:1", command: SIGNALLED}]
---
apiVersion: v1
kind: Pod
metadata: {name: done}
spec:
  restartPolicy: OnFailure
  containers: [{name: main, image: "localhost/busybox:1", command: SIGNALLED}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "localhost/busybox:1", command: SIGNALLED}]
"#;
    let rest = r#"
until: 12s
expect:
- {that: 'pods.exists(p, p.name == "again" && p.ready && p.restarts == 1 && p.status.containerStatuses[0].lastState.terminated.exitCode == 9)'}
- {that: 'pods.exists(p, p.name == "prepared" && p.ready && p.restarts == 0 && p.status.initContainerStatuses[0].state.terminated.exitCode == 0)'}
- {that: 'pods.exists(p, p.name == "failed" && p.ready && p.restarts == 1 && p.status.containerStatuses[0].lastState.terminated.exitCode == 4)'}
- {that: 'pods.exists(p, p.name == "done" && p.phase == "Succeeded" && p.restarts == 0)'}
- {that: 'pods("app=web").size() == 2 && pods("app=web").all(p, p.ready && p.restarts == 0)'}
- {never: 'events.exists(e, e.object != "Pod/failed" && (e.reason == "Created" || e.reason == "Killing"))', name: only what failed is made again}
"#;
    let signalled =
        r#"[sh, -c, "echo begins; trap 'exit 4' USR1; trap 'exit 0' USR2; while true; do sleep 0.2; done"]"#;
    let pods = pods.replace("SIGNALLED", signalled).replace("MOUNTS", "[{name: kept, mountPath: /kept}]");
    let pods = pods.replace("VOLUMES", "[{name: kept, emptyDir: {}}]");
    write_scenario(&machine, "over", &pods, rest);
    let mut first = start(&machine, "over");
    let has_run_again = || machine.ids("again", "main").len() == 2;
    wait_until("all pods run", || machine.running() == 12 && has_run_again());
    pass(1500);
    first.kill().expect("it can be killed");
    let _ended = first.wait();
    let of_web = || machine.ctr(&["containers", "list", "-q", r#"labels."io.kubernetes.pod.namespace"==default"#]);
    let before = of_web();
    let ended_at = calendar_seconds();
    for (pod, with) in [("failed", "SIGUSR1"), ("done", "SIGUSR2")] {
        let ids = machine.ids(pod, "main");
        machine.ctr(&["tasks", "kill", "-s", with, &ids[0]]);
    }
    wait_until("two have ended", || machine.running() == 10);
    pass(2500);
    let failed = machine.ids("failed", "main");
    let again = machine.ids("again", "main");
    let second = start(&machine, "over");
    wait_until("what failed runs again", || machine.ids("failed", "main").len() == 2);
    pass(3000);
    assert_eq!(machine.ids("again", "main"), again, "its containers are the same");
    assert!(machine.ids("failed", "main").contains(&failed[0]), "the old one is kept");
    let added: Vec<String> =
        of_web().lines().filter(|id| !before.lines().any(|old| old == *id)).map(str::to_owned).collect();
    assert_eq!(added.len(), 1, "only what failed was made again: {added:?}");
    end(&machine, "over", second);
    machine.check_nothing_is_left();

    assert_eq!(log(&machine, "over", "again", "main", 0), "begins");
    assert_eq!(log(&machine, "over", "again", "main", 1), "begins");
    assert_eq!(log(&machine, "over", "failed", "main", 0), "begins");
    assert_eq!(log(&machine, "over", "failed", "main", 1), "begins");
    assert_eq!(log(&machine, "over", "prepared", "main", 0), "prepared");
    let status = read(&machine, "over/final/pods.yaml");
    let of_failed = status.split("name: failed").nth(1).expect("the pod");
    let finished = of_failed.split("finishedAt: ").nth(1).and_then(|text| text.lines().next()).expect("an end");
    let moment: jiff::Timestamp = finished.trim_matches(['"', '\'']).parse().expect("a moment");
    assert!((moment.as_second() - ended_at).abs() <= 1, "it ended at {ended_at}, not {}", moment.as_second());
}

#[test]
fn ctrl_c_ends_a_run_and_removes_its_pods_and_no_others() {
    let machine = Machine::start(7);
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers: [{{name: main, image: \"localhost/busybox:1\", command: [sleep, \"1000\"]}}]\n"
        )
    };
    machine.write("ours.yaml", &pod("ours"));
    machine.write("theirs.yaml", &pod("theirs"));
    let address = machine.address();
    let begin = |name: &str| {
        let file = format!("{name}.yaml");
        let mut command = machine.simlet(&["live", &file, "--runtime", &address, "--out", name]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("simlet starts")
    };
    let (ours, theirs) = (begin("ours"), begin("theirs"));
    wait_until("both pods run", || {
        machine.ctr(&["tasks", "list"]).lines().filter(|l| l.contains("RUNNING")).count() == 4
    });
    signal(&ours, "INT");
    let said = end(&machine, "ours", ours);
    assert!(said.out.contains("1 of 1 pod ready"), "{}", said.out);
    assert_eq!(machine.containers(), 2, "the other run's pod is still there");
    signal(&theirs, "TERM");
    end(&machine, "theirs", theirs);
    machine.check_nothing_is_left();
}

#[test]
fn a_real_node_works_among_a_hundred_simulated_ones() {
    let machine = Machine::start(8);
    let rest = r#"
until: 20s
cluster:
  nodes:
  - {name: real}
  - {count: 100, name: "sim-{index}"}
timeline:
- {at: 13s, fault: {pods: {selector: app=agent, count: 101}, exit: 137}}
expect:
- {at: 12s, that: 'pods("app=agent").size() == 101 && pods.all(p, p.ready)'}
- {that: 'pods.all(p, p.ready && p.restarts == 1)'}
- {that: 'pods.exists(p, p.node == "real" && p.status.containerStatuses[0].lastState.terminated.exitCode == 137)'}
"#;
    check(&machine, "mixed", AGENT, rest);
}

#[test]
fn configuration_reaches_containers_and_host_paths_only_where_they_are_allowed() {
    let machine = Machine::start(9);
    let pods = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {greeting: hello, "app.ini": "[app]\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {token: s3cret}
---
apiVersion: v1
kind: Pod
metadata: {name: configured, labels: {tier: front}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: localhost/busybox:1
    workingDir: /tmp
    command: [sh, -c, "cat /etc/conf/app.ini /etc/key/token /etc/pod/labels; echo; echo $(GREETING) $(TOKEN) $(NODE)"]
    env:
    - {name: GREETING, valueFrom: {configMapKeyRef: {name: conf, key: greeting}}}
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: key, key: token}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    volumeMounts: [{name: conf, mountPath: /etc/conf}, {name: key, mountPath: /etc/key}, {name: pod, mountPath: /etc/pod}]
  volumes:
  - {name: conf, configMap: {name: conf}}
  - {name: key, secret: {secretName: key}}
  - {name: pod, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: filed}
spec:
  restartPolicy: Never
  initContainers: [{name: first, image: "localhost/busybox:1", command: [sh, -c, "echo \"DB='from a file'\" > /env/app.env"], volumeMounts: [{name: env, mountPath: /env}]}]
  containers:
  - name: main
    image: localhost/busybox:1
    command: [sh, -c, "echo $(DB) ${NONE-nothing}"]
    env:
    - {name: DB, valueFrom: {fileKeyRef: {volumeName: env, path: app.env, key: DB}}}
    - {name: NONE, valueFrom: {fileKeyRef: {volumeName: env, path: app.env, key: NONE, optional: true}}}
  volumes: [{name: env, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: curious}
spec:
  containers: [{name: main, image: "localhost/busybox:1", command: [sleep, "1000"], volumeMounts: [{name: host, mountPath: /host}]}]
  volumes: [{name: host, hostPath: {path: /etc}}]
"#;
    let rest = r#"
until: 10s
expect:
- {that: 'pods.filter(p, p.phase == "Succeeded").map(p, p.name) == ["configured", "filed"]'}
- {that: 'events.exists(e, e.object == "Pod/curious" && e.reason == "FailedMount" && e.message.contains("--allow-host-path /etc"))'}
"#;
    check(&machine, "conf", pods, rest);
    let said = log(&machine, "conf", "configured", "main", 0);
    assert_eq!(said, "[app]\ns3crettier=\"front\"\ntopology.kubernetes.io/zone=\"zone-a\"\nhello s3cret worker-1");
    assert_eq!(log(&machine, "conf", "filed", "main", 0), "from a file nothing");
    assert!(!machine.folder.join("conf/pods").exists(), "volumes are left");
}

#[test]
fn a_runtime_that_dies_makes_its_node_not_ready_and_nothing_is_lost_when_it_returns() {
    let mut machine = Machine::start(10);
    let pods = pod("steady", SLEEPS, "terminationGracePeriodSeconds: 1");
    let rest = r#"
until: 75s
expect:
- {at: 5s, that: 'pods.all(p, p.ready)'}
- {that: 'events.exists(e, e.object == "Node/worker-1" && e.reason == "NodeNotReady")'}
- {that: 'nodes.all(n, n.ready) && pods.all(p, p.ready && p.restarts == 0)'}
"#;
    write_scenario(&machine, "dies", &pods, rest);
    let child = start(&machine, "dies");
    pass(6000);
    machine.kill_containerd();
    pass(45_000);
    machine.start_containerd();
    end(&machine, "dies", child);
    machine.check_nothing_is_left();
}

#[test]
fn a_runtime_that_hangs_makes_its_node_not_ready_until_it_goes_on() {
    let machine = Machine::start(15);
    let pods = pod(
        "calm",
        "command: [sleep, '1000'], readinessProbe: {exec: {command: ['true']}, periodSeconds: 1, failureThreshold: 100}",
        "terminationGracePeriodSeconds: 1",
    );
    let rest = r#"
until: 72s
expect:
- {at: 5s, that: 'pods.all(p, p.ready)'}
- {at: 48s, that: 'nodes.all(n, !n.ready && n.status.conditions.exists(c, c.type == "Ready" && c.message.contains("container runtime is down")))'}
- {that: 'events.exists(e, e.object == "Node/worker-1" && e.reason == "NodeNotReady")'}
- {that: 'nodes.all(n, n.ready) && pods.all(p, p.ready && p.restarts == 0)'}
"#;
    write_scenario(&machine, "hangs", &pods, rest);
    let child = start(&machine, "hangs");
    pass(6000);
    machine.signal_containerd("STOP");
    pass(45_000);
    machine.signal_containerd("CONT");
    end(&machine, "hangs", child);
    machine.check_nothing_is_left();
}

#[test]
fn changed_configuration_reaches_mounted_files_but_neither_the_environment_nor_sub_paths() {
    let machine = Machine::start(16);
    let pods = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {mode: slow}
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/busybox:1
    command: [sh, -c, "while true; do echo $(cat /etc/conf/mode /etc/one) $MODE; sleep 0.5; done"]
    env: [{name: MODE, valueFrom: {configMapKeyRef: {name: conf, key: mode}}}]
    volumeMounts: [{name: conf, mountPath: /etc/conf}, {name: conf, mountPath: /etc/one, subPath: mode}]
    readinessProbe: {exec: {command: [grep, -q, fast, /etc/conf/mode]}, periodSeconds: 1}
  volumes: [{name: conf, configMap: {name: conf}}]
"#;
    machine.write("changed.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {mode: fast}\n");
    let rest = r#"
until: 112s
timeline:
- {at: 15s, apply: changed.yaml}
expect:
- {at: 50s, that: 'pods.all(p, !p.ready)'}
- {that: 'pods.all(p, p.ready && p.restarts == 0)'}
"#;
    write_scenario(&machine, "reads", pods, rest);
    let simulated = Said::from(machine.simlet(&["run", "reads.scenario.yaml"]).output().expect("simlet runs"));
    assert_eq!(simulated.code, Some(0), "simulated: {}{}", simulated.out, simulated.err);
    let child = start(&machine, "reads");
    end(&machine, "reads", child);
    let said = log(&machine, "reads", "reader", "main", 0);
    let (first, last) = (said.lines().next(), said.lines().next_back());
    assert_eq!((first, last), (Some("slowslow slow"), Some("fastslow slow")));
    machine.check_nothing_is_left();
}

/// A socket on which something is said to whoever connects; its address.
#[expect(clippy::disallowed_methods, reason = "what is real lives on another thread")]
fn unix_listener(machine: &Machine, name: &str, says: fn(UnixStream)) -> String {
    let socket = machine.folder.join(name);
    let listener = UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || listener.incoming().flatten().for_each(says));
    format!("unix://{}", socket.display())
}

#[test]
fn what_is_wrong_with_a_runtime_is_said_before_anything_is_made() {
    let machine = Machine::start_with(11, Lacks::Network);
    let bare = Machine::start_with(12, Lacks::CriPlugin);
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers: [{name: main, image: \"localhost/busybox:1\"}]\n";
    machine.write("p.yaml", pod);
    machine.write("plain", "");
    let docker = unix_listener(&machine, "docker.sock", |mut connection| {
        let _broken = connection.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let older = Proxy::start(machine.folder.join("older.sock"), bare.socket());
    older.fails("Version", "", 1, tonic::Code::Unimplemented, "unknown service runtime.v1.RuntimeService");
    let broken = "apiVersion: simlet.dev/v1\nkind: Scenario\nmanifests: [p.yaml]\ntimeline:\n- {at: 1s, fault: {node: worker-1, runtime: stopped}}\n";
    machine.write("broken.yaml", broken);
    let folder = machine.folder.display();
    let cases = [
        ("p.yaml", format!("unix://{folder}/none.sock"), "there is no socket"),
        ("p.yaml", format!("unix://{folder}/plain"), "is not the socket of a container runtime"),
        ("p.yaml", "tcp://127.0.0.1:1".to_owned(), "is not the address of a unix socket"),
        ("p.yaml", docker, "Docker Engine has CRI only behind cri-dockerd"),
        ("p.yaml", bare.address(), "has no CRI v1"),
        ("p.yaml", older.address.clone(), "take a newer runtime"),
        ("p.yaml", machine.address(), "has no network for pods"),
        ("p.yaml", format!("nobody={}", machine.address()), "there is no node `nobody`; the nodes are worker-1"),
        ("broken.yaml", machine.address(), "broken.yaml:5: a real runtime is stopped by who started it"),
    ];
    for (file, address, expected) in cases {
        let said = Said::from(machine.simlet(&["live", file, "--runtime", &address]).output().expect("simlet runs"));
        assert_eq!(said.code, Some(2), "{address}: {}", said.err);
        assert!(said.err.contains(expected), "{address}: {}", said.err);
    }
    // Who is not root may not open a socket of root's.
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        env!("CARGO_BIN_EXE_simlet"),
        "live",
        "-",
        "--runtime",
        &bare.address(),
    ]);
    let said = Said::from(
        command
            .stdin(fs::File::open(machine.folder.join("p.yaml")).expect("a manifest"))
            .output()
            .expect("setpriv runs"),
    );
    // Where the test's folder can't be entered by others, the program itself can't be started.
    let refused = said.err.contains("no permission to open") || said.code == Some(127) || said.code == Some(126);
    assert!(refused, "{:?} {}", said.code, said.err);
    // Nothing is half written.
    let said = machine.simlet(&["live", "p.yaml", "--runtime", &bare.address(), "--out", "half"]).output();
    assert_eq!(Said::from(said.expect("simlet runs")).code, Some(2));
    assert!(!machine.folder.join("half").exists(), "a folder was made for a run that could not begin");
}

#[test]
fn over_simlets_own_cri_server_a_pods_life_is_the_same_as_without_both() {
    use std::io::{BufRead as _, BufReader};
    let machine = Machine::start_with(13, Lacks::Network);
    let pods = r#"
apiVersion: v1
kind: Pod
metadata: {name: worker}
spec:
  restartPolicy: OnFailure
  containers: [{name: main, image: "example.com/worker:1"}]
---
apiVersion: v1
kind: Pod
metadata: {name: server}
spec:
  initContainers: [{name: init, image: "example.com/init:1"}]
  containers:
  - {name: main, image: "example.com/server:1"}
  - {name: crash, image: "example.com/crash:1"}
---
apiVersion: v1
kind: Pod
metadata: {name: gone}
spec:
  containers: [{name: main, image: "example.com/server:1"}]
"#;
    let rest = r#"
until: 32s
images: [{match: "example.com/*", size: 1Mi}]
behaviors:
- {match: {image: "example.com/worker:*"}, starts: [{exit: {after: 1s, code: 7}}, {exit: {after: 1s, code: 0}}]}
- {match: {image: "example.com/init:*"}, exit: {after: 1s, code: 0}}
- {match: {image: "example.com/crash:*"}, exit: {after: 1s, code: 9}}
timeline: [{at: 10s, kubectl: "delete pod gone"}]
cluster: {nodes: [{name: node}]}
"#;
    write_scenario(&machine, "same", pods, rest);
    let socket = format!("unix://{}/cri.sock", machine.folder.display());
    let mut serve = machine.simlet(&["serve", "--cri", &socket, "same.scenario.yaml"]);
    let mut server = serve.stderr(Stdio::piped()).spawn().expect("simlet starts");
    let mut line = String::new();
    let mut stderr = BufReader::new(server.stderr.take().expect("standard error"));
    stderr.read_line(&mut line).expect("the server is ready");
    let simulated = machine.simlet(&["run", "same.scenario.yaml", "--out", "simulated"]).output().expect("simlet runs");
    let simulated = Said::from(simulated);
    let through = ["live", "same.scenario.yaml", "--runtime", &socket, "--out", "live"];
    let live = Said::from(machine.simlet(&through).output().expect("simlet runs"));
    let heard = read(&machine, "live/recording.jsonl").matches("\"event\":").count();
    assert!(heard > 10, "only {heard} events of the runtime were heard");
    // The server goes away while a run goes on.
    let short = ["live", "same.scenario.yaml", "--runtime", &socket, "--until", "9s", "--out", "broken"];
    let mut broken = machine.simlet(&short);
    let broken = broken.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("simlet starts");
    pass(4000);
    let _ended = server.kill();
    let _ended = server.wait();
    let broken = Said::from(broken.wait_with_output().expect("simlet ends"));
    assert_eq!(broken.code, Some(0), "{}{}", broken.out, broken.err);
    assert!(read(&machine, "broken/recording.jsonl").contains("\"stream\":false"), "the stream's end was not heard");
    check_replay(&machine, "broken");
    assert_eq!((simulated.code, live.code), (Some(0), Some(0)), "{}{}{}", simulated.err, live.out, live.err);
    check_replay(&machine, "live");
    let states = |run: &str| {
        let kept = ["phase:", "reason:", "exitCode:", "restartCount:", "ready:", "name:", "message:", "status:"];
        let text = read(&machine, &format!("{run}/final/pods.yaml"));
        let (_, status) = text.split_once("kind: ").unwrap_or(("", &text));
        let lines = status.lines().map(str::trim).filter(|line| kept.iter().any(|key| line.starts_with(key)));
        lines.map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(states("live"), states("simulated"));
}
