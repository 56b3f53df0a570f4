//! Faults and what a cluster makes of them, as scenarios with expectations. The times are Kubernetes' own: a lease is
//! renewed each 10 s and missed after 50 s, looked at each 5 s; taints are tolerated for 300 s.

mod runs;

use simlet::scenario::{self, Options};

use runs::{Keep, scenario};

/// A Deployment and a StatefulSet of three pods each, of which each node gets one.
const WEB_AND_DB: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 5, containers: [{name: c, image: \"registry.example.com/web:1\"}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  serviceName: db
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {terminationGracePeriodSeconds: 5, containers: [{name: c, image: \"registry.example.com/db:1\"}]}
";

/// A pod that runs one container for ever.
fn pod(name: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec: {{containers: [{{name: c, \
         image: \"registry.example.com/{name}:1\"}}]{rest}}}\n"
    )
}

/// A Deployment of no pods, to be scaled up later.
fn none_yet(name: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{replicas: 0, selector: {{matchLabels: \
         {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: c, image: \
         \"registry.example.com/{name}:1\"}}]}}}}}}\n"
    )
}

/// Runs a scenario of this many seconds on nodes as given; each expectation must hold, and no invariant may break.
fn check(nodes: &str, seconds: u32, timeline_and_expect: &str, objects: &str) {
    let text = format!(
        "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: fault}}\nuntil: {seconds}s\ncluster: {{nodes: \
         [{nodes}]}}\n{timeline_and_expect}\n{objects}"
    );
    let scenario = scenario(&text);
    for seed in [1, 2, 3] {
        let options = Options { seed: Some(seed), ..Options::default() };
        let keep = Keep::default();
        let end = scenario::run(&scenario, &options, Box::new(keep));
        assert_eq!(end.footer.invariants, Vec::<String>::new(), "seed {seed}");
        let failed: Vec<_> = end.footer.expectations.iter().filter(|one| !one.held).collect();
        let described: Vec<String> =
            failed.iter().map(|one| format!("{} {}: {} {:?}", one.when, one.text, one.measured, one.broken)).collect();
        assert!(failed.is_empty(), "seed {seed}\n{}", described.join("\n"));
        assert!(!end.footer.expectations.is_empty());
    }
}

const THREE: &str = "{count: 3, name: \"n-{index}\"}";
const ONE: &str = "{count: 1, name: \"n-{index}\"}";

#[test]
fn a_node_without_power_is_unknown_after_its_grace_and_its_pods_go_after_their_toleration() {
    check(
        THREE,
        900,
        r#"
timeline:
  - {at: 60s, fault: {node: n-0, power: off}, for: 640s}
expect:
  - {at: 59s, that: 'pods("app=web").exists(p, p.node == "n-0" && p.ready) && pods("app=db").exists(p, p.node == "n-0" && p.ready)'}
  - {always: 'nodes.all(n, n.ready)', after: 10s, until: 99s}
  - {that: 'nodes.exists(n, n.name == "n-0" && n.status.conditions.exists(c, c.type == "Ready" && c.status == "Unknown" && c.reason == "NodeStatusUnknown" && c.message == "Kubelet stopped posting node status."))', within: 17s, after: 99s}
  - {at: 117s, that: 'pods.filter(p, p.node == "n-0").all(p, !p.ready)'}
  - {at: 122s, that: 'nodes.exists(n, n.name == "n-0" && n.spec.taints.exists(t, t.key == "node.kubernetes.io/unreachable" && t.effect == "NoExecute"))'}
  - {at: 117s, that: 'endpoints("web").ready == 2'}
  - {never: 'pods.exists(p, p.terminating)', until: 398s}
  - {at: 422s, that: 'pods("app=web").exists(p, p.node == "n-0" && p.terminating) && pods("app=db").exists(p, p.node == "n-0" && p.terminating)'}
  - {at: 430s, that: 'pods("app=web").filter(p, p.ready).size() == 3 && pods("app=web").size() == 4'}
  - {at: 690s, that: 'pods("app=db").size() == 3 && pods("app=db").filter(p, p.ready).size() == 2'}
  - {that: 'nodes.all(n, n.ready && !has(n.spec.taints)) && pods.all(p, p.ready) && pods("app=db").size() == 3 && pods("app=web").size() == 3'}
"#,
        WEB_AND_DB,
    );
}

#[test]
fn a_node_that_is_back_within_the_toleration_keeps_its_pods() {
    check(
        THREE,
        600,
        r#"
timeline:
  - {at: 60s, fault: {node: n-0, network: cut}, for: 200s}
expect:
  - {at: 200s, that: 'nodes.exists(n, n.name == "n-0" && !n.ready) && pods.filter(p, p.node == "n-0").all(p, !p.ready)'}
  - {never: 'pods.exists(p, p.terminating || p.restarts > 0)'}
  - {at: 300s, that: 'events.exists(e, e.reason == "TaintManagerEviction" && e.message.startsWith("Cancelling deletion of Pod default/"))'}
  - {at: 300s, that: 'pods.size() == 6 && pods.all(p, p.ready) && nodes.all(n, n.ready && !has(n.spec.taints))'}
"#,
        WEB_AND_DB,
    );
}

#[test]
fn the_nodes_of_a_zone_that_fails_are_tainted_one_in_ten_seconds() {
    check(
        "{count: 30, name: \"n-{zone}-{index}\", zones: [a, b, c]}",
        520,
        r#"
timeline:
  - {at: 60s, fault: {zone: a, power: off}}
expect:
  - {at: 117s, that: 'nodes.filter(n, !n.ready).size() == 10 && nodes.all(n, n.ready == (n.zone != "a"))'}
  - {at: 119s, that: 'nodes.filter(n, has(n.spec.taints) && n.spec.taints.exists(t, t.effect == "NoExecute")).size() <= 3'}
  - {at: 160s, that: 'nodes.filter(n, has(n.spec.taints) && n.spec.taints.exists(t, t.effect == "NoExecute")).size() <= 7'}
  - {at: 185s, that: 'nodes.filter(n, has(n.spec.taints) && n.spec.taints.exists(t, t.effect == "NoExecute")).size() < 10'}
  - {at: 215s, that: 'nodes.filter(n, has(n.spec.taints) && n.spec.taints.exists(t, t.effect == "NoExecute")).size() == 10'}
  - {never: 'pods.exists(p, p.terminating)', until: 398s}
  - {at: 450s, that: 'pods.exists(p, p.zone == "a" && p.terminating) && pods.exists(p, p.zone == "a" && !p.terminating)'}
  - {at: 519s, that: 'pods.all(p, p.zone != "a" || p.terminating)'}
"#,
        &WEB_AND_DB.replace("replicas: 3", "replicas: 30"),
    );
}

#[test]
fn when_all_nodes_are_cut_off_nothing_is_evicted_and_all_returns() {
    check(
        THREE,
        900,
        r#"
timeline:
  - {at: 60s, fault: {nodes: {mode: all}, network: cut}, for: 500s}
expect:
  - {at: 130s, that: 'nodes.all(n, !n.ready) && pods.all(p, !p.ready) && endpoints("web").ready == 0'}
  - {never: 'pods.exists(p, p.terminating || p.restarts > 0)'}
  - {at: 620s, that: 'nodes.all(n, n.ready && !has(n.spec.taints)) && pods.all(p, p.ready) && endpoints("web").ready == 3'}
"#,
        WEB_AND_DB,
    );
}

#[test]
fn a_kubelet_that_is_started_again_finds_its_containers_and_their_restarts() {
    check(
        ONE,
        300,
        r#"
behaviors:
  - {match: {labels: {app: flaky}}, exit: {after: 15s, code: 1, probability: 1}}
timeline:
  - {at: 60s, fault: {node: n-0, kubelet: stopped}, for: 20s}
expect:
  - {at: 59s, that: 'pods("app=flaky").all(p, p.restarts >= 2)'}
  - {always: 'nodes.all(n, n.ready)', after: 10s}
  - {always: 'pods("app=still").all(p, p.ready && p.restarts == 0)', after: 10s}
  - {always: 'pods("app=flaky").all(p, p.restarts >= 2)', after: 60s}
  - {that: 'pods("app=flaky").all(p, p.restarts >= 4)'}
"#,
        &(pod("still", "") + &pod("flaky", "")),
    );
}

#[test]
fn a_runtime_that_stops_makes_its_node_not_ready_and_loses_no_container() {
    check(
        ONE,
        240,
        r#"
timeline:
  - {at: 60s, fault: {node: n-0, runtime: stopped}, for: 60s}
  - {at: 100s, kubectl: delete pod goes}
expect:
  - {always: 'nodes.all(n, n.ready)', after: 10s, until: 84s}
  - {at: 103s, that: 'nodes.exists(n, n.status.conditions.exists(c, c.type == "Ready" && c.status == "False" && c.reason == "KubeletNotReady" && c.message == "container runtime is down"))'}
  - {at: 119s, that: 'pods("app=goes").size() == 1'}
  - {that: 'nodes.all(n, n.ready)', within: 17s, after: 120s}
  - {that: 'pods("app=goes").size() == 0 && pods("app=still").all(p, p.ready && p.restarts == 0)'}
"#,
        &(pod("still", "") + &pod("goes", ", terminationGracePeriodSeconds: 1")),
    );
}

#[test]
fn a_runtime_that_hangs_makes_its_node_not_ready_and_recovers() {
    check(
        ONE,
        300,
        r#"
timeline:
  - {at: 60s, fault: {node: n-0, runtime: hung}, for: 60s}
  - {at: 70s, kubectl: scale deployment/late --replicas=1}
expect:
  - {always: 'nodes.all(n, n.ready)', after: 10s, until: 84s}
  - {at: 103s, that: 'nodes.all(n, !n.ready)'}
  - {at: 119s, that: 'pods("app=late").all(p, p.phase == "Pending") && pods("app=late").size() == 1'}
  - {that: 'nodes.all(n, n.ready)', within: 17s, after: 120s}
  - {that: 'pods.size() == 2 && pods.all(p, p.ready && p.restarts == 0)'}
"#,
        &(pod("still", "") + &none_yet("late")),
    );
}

#[test]
fn a_kubelet_that_is_cut_off_goes_on_and_tells_all_when_it_is_back() {
    check(
        THREE,
        300,
        r#"
behaviors:
  - {match: {labels: {app: flaky}}, exit: {after: 20s, code: 3, probability: 1}}
timeline:
  - {at: 60s, fault: {nodes: {mode: all}, network: cut}, for: 120s}
expect:
  - {at: 59s, that: 'pods("app=flaky").all(p, p.restarts == 2)'}
  - {always: 'pods("app=flaky").all(p, p.restarts == 2)', after: 59s, until: 180s}
  - {that: 'pods("app=flaky").all(p, p.restarts >= 4)', within: 20s, after: 180s}
  - {that: 'nodes.all(n, n.ready)', within: 20s, after: 180s}
"#,
        &pod("flaky", ""),
    );
}

#[test]
fn after_an_outage_of_the_api_server_everything_catches_up() {
    check(
        THREE,
        240,
        r#"
behaviors:
  - {match: {labels: {app: job}}, exit: {after: 40s, code: 0, probability: 1}}
timeline:
  - {at: 20s, fault: {apiserver: down}, for: 36s}
  - {at: 70s, kubectl: scale deployment/web --replicas=5}
expect:
  - {never: 'pods.exists(p, p.name == "job" && p.phase == "Succeeded")', until: 56s}
  - {that: 'pods.exists(p, p.name == "job" && p.phase == "Succeeded")', within: 30s, after: 56s}
  - {that: 'nodes.all(n, n.ready && !has(n.spec.taints))'}
  - {at: 130s, that: 'pods("app=web").filter(p, p.ready).size() == 5'}
  - {that: 'pods.all(p, (p.ready && p.restarts == 0) || p.name == "job") && endpoints("web").ready == 5'}
"#,
        &(WEB_AND_DB.to_owned() + &pod("job", ", restartPolicy: Never")),
    );
}

#[test]
fn without_controllers_nothing_is_made_and_without_the_scheduler_nothing_is_bound() {
    check(
        THREE,
        200,
        r#"
timeline:
  - {at: 30s, fault: {controller-manager: down}, for: 30s}
  - {at: 35s, kubectl: scale deployment/web --replicas=5}
  - {at: 100s, fault: {scheduler: down}, for: 30s}
  - {at: 105s, kubectl: scale deployment/web --replicas=7}
expect:
  - {at: 59s, that: 'pods("app=web").size() == 3'}
  - {that: 'pods("app=web").size() == 5', within: 20s, after: 60s}
  - {at: 129s, that: 'pods("app=web").size() == 7 && pods("app=web").filter(p, p.node == "").size() == 2'}
  - {at: 129s, that: 'pods("app=web").filter(p, p.node == "").all(p, p.phase == "Pending" && !has(p.status.conditions))'}
  - {that: 'pods("app=web").filter(p, p.ready).size() == 7', within: 25s, after: 130s}
"#,
        WEB_AND_DB,
    );
}

#[test]
fn pulls_from_a_registry_that_is_down_back_off_and_succeed_later() {
    check(
        ONE,
        200,
        r#"
timeline:
  - {at: 0s, fault: {registry: registry.example.com, down: true}, for: 75s}
expect:
  - {at: 5s, that: 'pods.all(p, p.phase == "Pending") && events.exists(e, e.reason == "Failed" && e.message.contains("registry.example.com"))'}
  - {at: 70s, that: 'pods.all(p, p.status.containerStatuses.all(c, c.state.waiting.reason in ["ImagePullBackOff", "ErrImagePull"]))'}
  - {that: 'pods.all(p, p.ready)', within: 22s, after: 76s}
  - {that: 'events.exists(e, e.reason == "Pulling" && e.count == 4)'}
"#,
        &pod("late", ""),
    );
}

#[test]
fn a_missing_image_and_a_rate_limit_say_so() {
    check(
        ONE,
        120,
        r#"
images:
  - {match: "*/typo:*", missing: true}
timeline:
  - {at: 30s, fault: {registry: registry.example.com, rateLimit: {requests: 0, per: 1h}}}
  - {at: 31s, kubectl: scale deployment/limited --replicas=1}
expect:
  - {at: 29s, that: 'events.exists(e, e.object == "Pod/typo" && e.reason == "Failed" && e.message.contains("not found"))'}
  - {at: 60s, that: 'events.exists(e, e.object.startsWith("Pod/limited-") && e.reason == "Failed" && e.message.contains("toomanyrequests"))'}
  - {that: 'pods.filter(p, p.name != "fine").all(p, p.phase == "Pending")'}
  - {that: 'pods.filter(p, p.name == "fine").all(p, p.ready)'}
"#,
        &(pod("typo", "") + &pod("fine", "") + &none_yet("limited")),
    );
}

#[test]
fn containers_exit_hang_and_run_out_of_memory_by_a_fault() {
    let probed = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: probed, labels: {app: probed}}\nspec: {containers: [{name: c, \
                  image: \"registry.example.com/p:1\", livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 5, \
                  failureThreshold: 2}, readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 2, failureThreshold: 1}}], \
                  terminationGracePeriodSeconds: 1}\n";
    check(
        ONE,
        120,
        r#"
timeline:
  - {at: 30s, fault: {pod: exits, exit: 7}}
  - {at: 30s, fault: {pods: {selector: app=grows}, oom: true}}
  - {at: 30s, fault: {pod: probed, hang: true}, for: 4s}
  - {at: 60s, fault: {pod: probed, hang: true}}
expect:
  - {at: 29s, that: 'pods.all(p, p.ready && p.restarts == 0)'}
  - {at: 34s, that: 'pods.filter(p, p.name == "probed").all(p, !p.ready)'}
  - {at: 40s, that: 'pods.filter(p, p.name == "exits").all(p, p.restarts == 1 && p.status.containerStatuses[0].lastState.terminated.exitCode == 7)'}
  - {at: 40s, that: 'pods.filter(p, p.name == "grows").all(p, p.restarts == 1 && p.status.containerStatuses[0].lastState.terminated.reason == "OOMKilled")'}
  - {at: 40s, that: 'pods.filter(p, p.name == "probed").all(p, p.ready && p.restarts == 0)'}
  - {at: 80s, that: 'pods.filter(p, p.name == "probed").all(p, p.ready && p.restarts == 1)'}
"#,
        &(pod("exits", "") + &pod("grows", "") + probed),
    );
}

#[test]
fn the_timeline_waits_for_conditions_and_repeats() {
    check(
        THREE,
        300,
        r#"
timeline:
  - {when: 'pods("app=web").filter(p, p.ready).size() == 3', kubectl: scale deployment/web --replicas=4}
  - {every: 30s, from: 60s, until: 130s, fault: {pods: {selector: app=db, mode: one}, exit: 1}}
expect:
  - {at: 30s, that: 'pods("app=web").size() == 4'}
  - {at: 59s, that: 'pods.all(p, p.restarts == 0)'}
  - {that: 'pods("app=db").filter(p, p.restarts > 0).size() > 0 && pods("app=db").all(p, p.ready)'}
  - {that: 'events.filter(e, e.reason == "BackOff" && e.object.startsWith("Pod/web")).size() == 0'}
"#,
        WEB_AND_DB,
    );
}

/// A Deployment of three whose pods are ready when they say so, and a budget of two.
fn budget(policy: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: api}}\nspec: {{replicas: 3, selector: {{matchLabels: {{app: \
         api}}}}, template: {{metadata: {{labels: {{app: api}}}}, spec: {{topologySpreadConstraints: [{{maxSkew: 1, topologyKey: \
         kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: api}}}}}}], containers: \
         [{{name: c, image: \"registry.example.com/api:1\", readinessProbe: {{httpGet: {{path: /, port: 80}}, periodSeconds: 2, \
         failureThreshold: 1}}}}]}}}}}}\n---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: api}}\nspec: \
         {{minAvailable: 2, selector: {{matchLabels: {{app: api}}}}{policy}}}\n"
    )
}

#[test]
fn an_unready_pod_is_drained_if_enough_are_ready_or_its_budget_lets_it() {
    // Two ready, one not: the unready one may go.
    let first = "
timeline:
  - {at: 30s, fault: {pods: {selector: app=api, count: 1}, hang: true}}
  - {when: 'pods(\"app=api\").exists(p, !p.ready)', from: 20s, kubectl: drain n-0 n-1 n-2 --timeout=20s}
expect:
  - {at: 45s, that: 'pods(\"app=api\").filter(p, p.ready).size() >= 2'}
  - {at: 90s, that: 'pods(\"app=api\").filter(p, p.node == \"\").size() == 1'}
";
    check(THREE, 100, first, &budget(""));
    // One ready: nobody may go, whoever is ready or not; unless the budget says that the unready may.
    let all = |expected: &str| {
        format!(
            "
timeline:
  - {{at: 30s, fault: {{pods: {{selector: app=api, count: 2}}, hang: true}}}}
  - {{at: 40s, kubectl: drain n-0 n-1 n-2 --timeout=30s}}
expect:
  - {{at: 39s, that: 'pods(\"app=api\").filter(p, p.ready).size() == 1'}}
  - {{at: 90s, that: 'pods(\"app=api\").filter(p, p.node == \"\").size() == {expected}'}}
  - {{always: 'pods(\"app=api\").filter(p, p.ready).size() >= 1', after: 20s}}
"
        )
    };
    check(THREE, 100, &all("0"), &budget(""));
    check(THREE, 100, &all("2"), &budget(", unhealthyPodEvictionPolicy: AlwaysAllow"));
}

/// A Deployment that changes its image at 30 s; its pods need as long for SIGTERM as given.
fn rollout(replicas: u32, on_term: &str, expect: &str) {
    let scenario = format!(
        "
behaviors:
  - {{match: {{labels: {{app: web}}}}, startup: 3s, onTerm: {{exitAfter: {on_term}}}}}
timeline:
  - {{at: 30s, kubectl: set image deployment/web c=registry.example.com/web:2}}
expect:
{expect}
  - {{that: 'pods(\"app=web\").filter(p, p.ready).size() == {replicas} && pods(\"app=web\").size() == {replicas}'}}
"
    );
    let objects = WEB_AND_DB.replace("replicas: 3", &format!("replicas: {replicas}"));
    let web = objects.split("---\napiVersion: apps/v1\nkind: StatefulSet").next().expect("the first part");
    let web = web.replace("terminationGracePeriodSeconds: 5", "terminationGracePeriodSeconds: 90");
    check("{count: 3, name: \"n-{index}\", capacity: {cpu: \"16\", memory: 64Gi}}", 400, &scenario, &web);
}

#[test]
fn a_rolling_update_rounds_surge_up_and_unavailable_down() {
    for (replicas, floor) in [(1, 1), (5, 4), (6, 5), (10, 8)] {
        let expect = format!("  - {{always: 'pods(\"app=web\").filter(p, p.ready).size() >= {floor}', after: 29s}}");
        rollout(replicas, "1s", &expect);
    }
}

#[test]
fn terminating_pods_do_not_count_against_the_surge() {
    let expect = "  - {that: 'pods(\"app=web\").size() == 22 && pods(\"app=web\").filter(p, p.terminating).size() == 3', within: 3s, after: 30s}";
    rollout(15, "60s", expect);
}
