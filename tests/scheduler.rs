//! The scheduler as an actor: what it does, and when, in a small cluster.

mod support;

use std::sync::Arc;

use simlet::kernel::{Distribution, Duration, Time};
use simlet::model::{Name, Taint, TaintEffect};
use simlet::scheduler::Config;
use support::cluster::{Cluster, node, spec};

fn config() -> Config {
    Config { cycle_time: Distribution::Constant(Duration::from_millis(1)), ..Config::default() }
}

/// Lets `play` act on a cluster and compares what happened.
fn check(play: impl FnOnce(&mut Cluster), expected: &str) {
    let mut cluster = Cluster::new(config());
    play(&mut cluster);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(cluster.log, expected, "\n{}", cluster.log.join("\n"));
}

fn millis(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

#[test]
fn pods_are_placed_one_after_the_other_and_bound_at_the_same_time() {
    check(
        |cluster| {
            cluster.add_node(node("n1", 1000));
            cluster.add_node(node("n2", 1000));
            let small = Arc::new(spec(300));
            cluster.run_until(millis(10));
            cluster.add_pod("a", &small);
            cluster.add_pod("b", &small);
            cluster.run_until(millis(100));
            assert_eq!(cluster.pending(), 0, "an idle scheduler has no timers");
        },
        "0.011 attempt a on n1
         0.012 bind a n1
         0.012 attempt b on n2
         0.013 bind b n2
         0.014 event Scheduled x1 Successfully assigned default/a to n1
         0.015 event Scheduled x1 Successfully assigned default/b to n2",
    );
}

#[test]
fn a_pod_without_room_waits_until_a_pod_goes_and_is_then_tried_at_once() {
    check(
        |cluster| {
            cluster.add_node(node("n1", 1000));
            let large = Arc::new(spec(800));
            cluster.add_pod("a", &large);
            cluster.run_until(millis(100));
            cluster.add_pod("b", &large);
            cluster.run_until(millis(200));
            // The same node again is no reason to try again.
            cluster.add_node(node("n1", 1000));
            cluster.delete_pod("a");
            cluster.run_until(millis(300));
        },
        "0.003 attempt a on n1
         0.004 bind a n1
         0.006 event Scheduled x1 Successfully assigned default/a to n1
         0.101 attempt b unschedulable
         0.102 event FailedScheduling x1 0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.
         0.102 b PodScheduled=False Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.
         0.201 attempt b on n1
         0.202 bind b n1
         0.204 event Scheduled x1 Successfully assigned default/b to n1",
    );
}

#[test]
fn a_pod_that_nothing_helps_is_tried_again_at_the_first_30_second_tick_after_5_minutes() {
    let mut cluster = Cluster::new(config());
    cluster.add_node(node("n1", 1000));
    cluster.run_until(Time::from_secs(5));
    cluster.add_pod("huge", &Arc::new(spec(5000)));
    cluster.run_until(Time::from_secs(400));
    let attempts: Vec<&String> = cluster.log.iter().filter(|line| line.contains("attempt")).collect();
    assert_eq!(attempts, ["5.001 attempt huge unschedulable", "330.001 attempt huge unschedulable"]);
    let patches = cluster.log.iter().filter(|line| line.contains("PodScheduled")).count();
    assert_eq!(patches, 1, "the same condition is not written again");
    assert_eq!(cluster.pending(), 1, "one timer for the next tick that matters");
}

#[test]
fn an_error_backs_off_1_then_2_seconds_to_the_full_second() {
    let mut cluster = Cluster::new(config());
    cluster.add_node(node("n1", 1000));
    cluster.refuse_bindings = 2;
    cluster.run_until(millis(300));
    cluster.add_pod("a", &Arc::new(spec(100)));
    cluster.run_until(Time::from_secs(20));
    let attempts: Vec<&str> = cluster
        .log
        .iter()
        .filter(|line| line.contains("attempt"))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    // Fails at 0.3, over at 1.x: released at 2; fails again at 2, over at 4.x: released at 5.
    assert_eq!(attempts, ["0.301", "0.303", "2.001", "2.003", "5.001"]);
    assert_eq!(cluster.node_of("a"), Some("n1"));
}

#[test]
fn a_gated_pod_is_not_tried_until_its_last_gate_is_gone() {
    check(
        |cluster| {
            cluster.add_node(node("n1", 1000));
            let mut gated = spec(100);
            gated.scheduling_gates = Arc::new([Name::new("example.com/wait")]);
            cluster.add_pod("a", &Arc::new(gated));
            cluster.run_until(Time::from_secs(700));
            cluster.change_pod("a", |pod| Arc::make_mut(&mut pod.spec).scheduling_gates = Arc::new([]));
            cluster.run_until(Time::from_secs(701));
        },
        "700.001 attempt a on n1
         700.002 bind a n1
         700.004 event Scheduled x1 Successfully assigned default/a to n1",
    );
}

#[test]
fn a_new_node_with_a_taint_is_tried_when_it_comes_and_again_when_the_taint_goes() {
    let mut cluster = Cluster::new(config());
    cluster.add_node(node("full", 10));
    cluster.add_pod("a", &Arc::new(spec(100)));
    cluster.run_until(millis(100));
    let mut tainted = node("new", 1000);
    tainted.spec.taints = vec![Taint::new("node.kubernetes.io/not-ready", TaintEffect::NoSchedule)];
    cluster.add_node(tainted);
    cluster.run_until(millis(200));
    cluster.add_node(node("new", 1000));
    cluster.run_until(millis(300));
    let attempts: Vec<&String> = cluster.log.iter().filter(|line| line.contains("attempt")).collect();
    assert_eq!(attempts, ["0.003 attempt a unschedulable", "0.101 attempt a unschedulable", "0.201 attempt a on new"]);
}

#[test]
fn a_pod_of_higher_priority_takes_the_room_of_the_least_important() {
    let mut cluster = Cluster::new(config());
    cluster.add_node(node("n1", 1000));
    cluster.add_pod("low", &Arc::new(spec(800)));
    cluster.run_until(millis(100));
    let mut important = spec(800);
    important.priority = 1000;
    cluster.add_pod("high", &Arc::new(important));
    cluster.run_until(millis(300));
    assert_eq!(cluster.node_of("high"), Some("n1"));
    assert!(cluster.log.iter().any(|line| line.ends_with("delete low")), "{:?}", cluster.log);
    assert!(cluster.log.iter().any(|line| line.contains("low DisruptionTarget=True PreemptionByScheduler")));
    assert!(cluster.log.iter().any(|line| line.ends_with("high nominated n1")));
}

#[test]
fn bindings_beyond_the_burst_go_at_the_rate_of_the_client() {
    let mut cluster = Cluster::new(Config { client_qps: 50, client_burst: 10, ..config() });
    cluster.add_node(node("n1", 100_000));
    let small = Arc::new(spec(10));
    cluster.run_until(Time::from_secs(1));
    (0..60).for_each(|number| cluster.add_pod(&format!("p{number}"), &small));
    cluster.run_until(millis(2000));
    // 10 at once, then 50 a second.
    assert!((57..=61).contains(&cluster.bound), "{}", cluster.bound);
}

#[test]
fn a_restarted_scheduler_lists_anew_and_goes_on() {
    let mut cluster = Cluster::new(config());
    cluster.add_node(node("n1", 1000));
    cluster.add_pod("a", &Arc::new(spec(800)));
    cluster.run_until(millis(100));
    cluster.add_pod("b", &Arc::new(spec(800)));
    cluster.run_until(millis(200));
    cluster.restart();
    cluster.run_until(millis(300));
    let attempts = cluster.log.iter().filter(|line| line.contains("attempt b unschedulable")).count();
    assert_eq!(attempts, 2, "before and after the restart");
    cluster.delete_pod("a");
    cluster.run_until(millis(400));
    assert_eq!(cluster.node_of("b"), Some("n1"));
}
