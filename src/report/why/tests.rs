//! Answers to `why` on made-up runs.

use super::super::Style;
use super::super::sample::{World, ms, zone_outage};
use super::why;
use crate::model::{Name, Text};
use crate::trace::{Diagnosis, NodeVerdict, Verdict};

fn ask(sample: &super::super::sample::Sample, object: &str, at: Option<u64>) -> String {
    let at = at.map(|seconds| ms(seconds * 1000));
    let answer = why(&sample.header, &sample.journal(), &sample.footer, object, "", at, &Style::PLAIN);
    answer.unwrap_or_else(|error| format!("error: {error}"))
}

#[test]
fn an_evicted_pod_goes_back_to_the_fault_and_its_line() {
    insta::assert_snapshot!(ask(&zone_outage(1), "pod/checkout-7f9c-000", Some(720)), @r"
    pod/checkout-7f9c-000  Terminating since +11:52 (8s), at 12:00
      of deployment/checkout   zone-outage.yaml:12

      start      took 9.2s: pull 6.2s, ready 2.5s, sandbox 338ms, start 90ms, create
                 60ms, queue 31ms, bind 6ms, watch 4ms

    because
         +11:52  pod/checkout-7f9c-000 deletion was asked for, grace 30s
          +6:52  node/worker-eu-a-0 tainted node.kubernetes.io/unreachable:NoExecute
          +6:52  node/worker-eu-a-0 Ready is Unknown: Kubelet stopped posting node
                   status.
          +6:00  node/worker-eu-a-0 lost power
          +6:00  zone eu-a lost power   zone-outage.yaml:45
                 45 │     fault: {zone: eu-a, power: off}
    ");
}

#[test]
fn a_pending_pod_names_its_attempts_and_every_nodes_verdict() {
    let mut world = World::new("full");
    for node in ["a", "b", "c"] {
        world.node(node, "z");
    }
    let action = world.action(0, "apply -f full.yaml", 3);
    let id = world.deployment(10, action, "web", 1, "web:v1", 5);
    let id = world.pod(20, id, "web-x", "web");
    let nodes = ["a", "b", "c"].map(|node| NodeVerdict {
        node: Name::new(node),
        verdict: Verdict::Rejected {
            plugin: Name::new("NodeResourcesFit"),
            reasons: vec![Text::new("Insufficient cpu")],
        },
    });
    let message = "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.";
    let diagnosis = Diagnosis {
        nodes: nodes.to_vec(),
        remedies: vec![Text::new("800m less cpu"), Text::new("one more node like a")],
        ..Diagnosis::default()
    };
    world.unschedulable_with(30, id, "web-x", 1, message, Some(diagnosis));
    insta::assert_snapshot!(ask(&world.finish(60_000), "web-x", None), @r"
    pod/web-x  Pending since +0:00 (1m), at 1:00
      of deployment/web   full.yaml:5

      tried      1 time, last at +0:00
      verdict    0/3 nodes are available: 3 Insufficient cpu
      nodes      3 NodeResourcesFit: Insufficient cpu   (a, b, c)
      would fit  with 800m less cpu
      or         with one more node like a

    because
          +0:00  pod/web-x attempt 1 found no node: 0/3 nodes are available: 3
                   Insufficient cpu. preemption: 0/3 nodes are available: 3 No
                   preemption victims found for incoming pod.
          +0:00  pod/web-x created
          +0:00  replicaset/web-7f9c created
          +0:00  deployment/web created
          +0:00  apply -f full.yaml   full.yaml:3
    ");
}

#[test]
fn a_crashing_pod_lists_its_exits() {
    insta::assert_snapshot!(ask(&zone_outage(1), "pod/search-7f9c-001", Some(125)), @r"
    pod/search-7f9c-001  CrashLoopBackOff since +1:30 (35s), at 2:05
      of deployment/search   zone-outage.yaml:50

      waits      CrashLoopBackOff: back-off 10s restarting failed container=server
                 pod=search-7f9c-001_shop(1)
      exits      +1:30 server exited with 1 after 4.2s
                 +1:46 server exited with 1 after 4.2s
      start      took 11.5s: pull 6.8s, ready 4.1s, sandbox 331ms, queue 150ms,
                 start 90ms, create 60ms, bind 6ms, watch 4ms

    because
          +1:30  pod/search-7f9c-001 server waits: CrashLoopBackOff; is no longer
                   Ready
          +1:30  pod/search-7f9c-001 server exited with 1 after 4.2s
          +0:00  apply -f zone-outage.yaml   zone-outage.yaml:0
    ");
}

#[test]
fn a_workload_shows_which_of_its_pods_are_not_ready() {
    insta::assert_snapshot!(ask(&zone_outage(1), "deploy/catalog", None), @r#"
    deployment/catalog  2 of 2 ready, at 35:00

          +0:00  created
          +0:02  1 of 2 ready
          +0:10  2 of 2 ready
          +6:52  1 of 2 ready
         +12:32  2 of 2 ready
         +23:20  its template changed
         +33:20  exceeded its progress deadline

    because
         +33:20  deployment/catalog exceeded its progress deadline
         +23:20  deployment/catalog its template changed
         +23:20  kubectl set image deployment/catalog server=catalog:v3-typo
                   zone-outage.yaml:50
                 50 │ # line 50: "quoted" & <tagged>

    not ready
      1 ImagePullBackOff: catalog-7f9c-new
          Back-off pulling image "catalog:v3-typo"

    next: simlet why pod/catalog-7f9c-new
    "#);
}

#[test]
fn a_node_shows_what_was_done_to_it() {
    insta::assert_snapshot!(ask(&zone_outage(1), "node/worker-eu-a-0", None), @r"
    node/worker-eu-a-0  Ready, at 35:00

          +0:00  registered; Ready
          +6:00  lost power
          +6:52  Ready is Unknown: Kubelet stopped posting node status.
          +6:52  tainted node.kubernetes.io/unreachable:NoExecute
         +21:00  has power again
         +21:30  Ready
         +21:30  taint node.kubernetes.io/unreachable:NoExecute taken away

    because
         +21:30  node/worker-eu-a-0 taint node.kubernetes.io/unreachable:NoExecute
                   taken away
         +21:30  node/worker-eu-a-0 Ready
         +21:00  node/worker-eu-a-0 has power again
         +21:00  zone eu-a lost power ends   zone-outage.yaml:45
                 45 │     fault: {zone: eu-a, power: off}
    ");
}

#[test]
fn an_unknown_object_names_the_nearest() {
    insta::assert_snapshot!(ask(&zone_outage(1), "pod/checkout-7f9c-00", None), @r"error: there is no pod/checkout-7f9c-00 in this run; did you mean pod/checkout-7f9c-000, pod/checkout-7f9c-000r, pod/checkout-7f9c-001?");
    insta::assert_snapshot!(ask(&zone_outage(1), "gadget/x", None), @r"error: `gadget` is not a kind that simlet knows");
}
