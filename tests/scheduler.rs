//! The scheduler as an actor: what it does, and when, in a small cluster.

mod support;

use std::sync::Arc;

use simlet::kernel::{Distribution, Duration, Time};
use simlet::model::pod::{ContainerResize, ResourceRequirements};
use simlet::model::{Kind, MilliCpu, Name, Taint, TaintEffect};
use simlet::protocol::api::{Call, Patch};
use simlet::scheduler::framework::{Permit, Permitted, Plugin, PreBind, Profile, Status};
use simlet::scheduler::listers::World;
use simlet::scheduler::node_table::NodeInfo;
use simlet::scheduler::pod_info::PodInfo;
use simlet::scheduler::{Config, FeatureGates, plugins};
use support::cluster::{Cluster, node, spec};

/// With one worker, so that the first of equal nodes is taken.
fn config() -> Config {
    Config { cycle_time: Distribution::Constant(Duration::from_millis(1)), parallelism: 1, ..Config::default() }
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

/// The moments at which `pod` was tried.
fn attempts(cluster: &Cluster, pod: &str) -> Vec<String> {
    let wanted = format!(" attempt {pod} ");
    cluster.log.iter().filter(|line| line.contains(&wanted)).cloned().collect()
}

#[test]
fn equal_nodes_take_turns_by_seed_and_name_with_many_workers_and_the_first_wins_with_one() {
    let chosen = |parallelism: usize| -> Vec<&'static str> {
        let mut cluster = Cluster::new(Config { parallelism, ..config() });
        ["n1", "n2", "n3"].iter().for_each(|name| cluster.add_node(node(name, 1000)));
        cluster.run_until(millis(10));
        let none = Arc::new(simlet::model::PodSpec { containers: spec(0).containers, ..Default::default() });
        (0..30u64)
            .filter_map(|number| {
                let name = format!("p{number}");
                cluster.add_pod(&name, &none);
                cluster.run_until(millis(100 * (number + 1)));
                let node = cluster.node_of(&name);
                cluster.delete_pod(&name);
                cluster.run_until(millis(100 * (number + 1) + 50));
                node
            })
            .collect()
    };
    assert_eq!(chosen(1), ["n1"; 30]);
    let raced = chosen(16);
    assert_eq!(raced, chosen(16), "the same seed has the same luck");
    for name in ["n1", "n2", "n3"] {
        assert!(raced.iter().filter(|node| **node == name).count() >= 3, "{raced:?}");
    }
}

#[test]
fn a_pod_that_preempts_is_kept_out_until_the_last_victim_goes_which_is_deleted_after_all_others() {
    let tries = |asynchronous: bool| {
        let gates = FeatureGates { async_preemption: asynchronous, ..FeatureGates::default() };
        let with_gates = Config::with_gates(gates);
        let mut cluster = Cluster::new(Config { cycle_time: config().cycle_time, parallelism: 1, ..with_gates });
        cluster.add_node(node("n1", 900));
        ["a", "b", "c"].iter().for_each(|name| cluster.add_pod(name, &Arc::new(spec(300))));
        cluster.run_until(millis(100));
        let mut important = spec(800);
        important.priority = 1000;
        cluster.add_pod("high", &Arc::new(important));
        cluster.run_until(millis(300));
        assert_eq!(cluster.node_of("high"), Some("n1"), "{:#?}", cluster.log);
        let deleted = cluster.log.iter().filter(|line| line.contains(" delete "));
        let mut times: Vec<&str> = deleted.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(times.len(), 3, "{:#?}", cluster.log);
        times.dedup();
        // Two at once and then the last, or all at once.
        let spread = times.len() == 2;
        (attempts(&cluster, "high").len(), spread)
    };
    assert_eq!(tries(true), (2, true), "one attempt that fails, and one after the last victim");
    assert!(!tries(false).1, "without the gate all go at once");
}

/// A plug-in that is put together for a test.
#[derive(Clone, Copy, Default)]
struct Stubborn {
    refuses: bool,
    /// Its PreBind writes something, and then waits for what never comes.
    writes: bool,
    waits: bool,
}

impl Plugin for Stubborn {
    fn name(&self) -> &'static str {
        "Stubborn"
    }
    fn as_permit(&self) -> Option<&dyn Permit> {
        Some(self)
    }
    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        Some(self)
    }
}

impl Permit for Stubborn {
    fn permit(&self, _: &PodInfo, _: &NodeInfo, _: &World) -> Result<Permitted, Status> {
        if self.refuses { Err(Status::unschedulable("not on my watch")) } else { Ok(Permitted::Now) }
    }
}

impl PreBind for Stubborn {
    fn pre_bind(&self, pod: &PodInfo, _: &NodeInfo, _: &World) -> Result<Vec<Call>, Status> {
        let key = pod.pod.meta.key(Kind::Pod);
        Ok(if self.writes { vec![Call::Patch(key, Patch::Annotations(Vec::new()))] } else { Vec::new() })
    }

    fn is_done(&self, _: &PodInfo, _: Name, _: &World) -> Result<bool, Status> {
        Ok(!self.waits)
    }
}

fn stubborn(plugin: Stubborn, gates: FeatureGates) -> Config {
    let mut plugins = plugins::defaults(plugins::Args { gates, ..Default::default() });
    plugins.push((Arc::new(plugin), 1));
    let profiles = vec![Profile::new("default-scheduler", plugins)];
    Config { profiles, feature_gates: gates, ..config() }
}

#[test]
fn a_refusal_at_permit_reads_as_one_of_one_node() {
    let plugin = Stubborn { refuses: true, ..Stubborn::default() };
    let mut cluster = Cluster::new(stubborn(plugin, FeatureGates::default()));
    ["n1", "n2"].iter().for_each(|name| cluster.add_node(node(name, 1000)));
    cluster.add_pod("a", &Arc::new(spec(100)));
    cluster.run_until(Time::from_secs(20));
    let said = cluster.log.iter().find(|line| line.contains("a PodScheduled=False")).map(String::as_str);
    let said = said.and_then(|line| line.split_once(' ')).map(|(_, said)| said);
    assert_eq!(said, Some("a PodScheduled=False Unschedulable: 0/1 nodes are available: 1 not on my watch."));
}

#[test]
fn a_binding_that_takes_a_while_is_told_of_before_it_by_the_nominated_node() {
    let plugin = Stubborn { writes: true, ..Stubborn::default() };
    let play = |gates: FeatureGates| {
        let mut cluster = Cluster::new(stubborn(plugin, gates));
        cluster.add_node(node("n1", 1000));
        cluster.add_pod("a", &Arc::new(spec(100)));
        cluster.run_until(millis(100));
        let told = |what: &str| cluster.log.iter().position(|line| line.ends_with(what));
        (told("a nominated n1"), told("bind a n1"))
    };
    let (nominated, bound) = play(FeatureGates::default());
    assert!(nominated.is_some() && nominated < bound, "{nominated:?} {bound:?}");
    let (nominated, bound) = play(FeatureGates { nominated_node_name_for_expectation: false, ..Default::default() });
    assert!(nominated.is_none() && bound.is_some());
}

#[test]
fn a_victim_that_is_still_at_pre_bind_is_not_deleted_but_tried_again() {
    let plugin = Stubborn { waits: true, ..Stubborn::default() };
    let mut cluster = Cluster::new(stubborn(plugin, FeatureGates::default()));
    cluster.add_node(node("n1", 1000));
    cluster.add_pod("low", &Arc::new(spec(800)));
    cluster.run_until(millis(300));
    let mut important = spec(800);
    important.priority = 1000;
    cluster.add_pod("high", &Arc::new(important));
    cluster.run_until(millis(900));
    let has = |what: &str| cluster.log.iter().any(|line| line.contains(what));
    assert!(has("on node n1 (in kube-scheduler memory).") && !has("delete low"), "{:#?}", cluster.log);
    assert_eq!(attempts(&cluster, "high").len(), 2);
    assert!(attempts(&cluster, "high")[1].ends_with("on n1"), "{:#?}", cluster.log);
}

#[test]
fn the_end_of_a_nomination_is_room_for_pods_of_its_priority_and_below() {
    let mut cluster = Cluster::new(config());
    cluster.add_node(node("n1", 1000));
    cluster.run_until(millis(10));
    let with_priority = |priority: i32| {
        let mut spec = spec(800);
        spec.priority = priority;
        spec.preempts_never = true;
        spec.scheduling_gates = Arc::new([]);
        spec
    };
    // Gated, so that it is nominated without ever being tried.
    let mut nominated = with_priority(10);
    nominated.scheduling_gates = Arc::new([Name::new("example.com/wait")]);
    cluster.add_pod("nominated", &Arc::new(nominated));
    cluster.change_pod("nominated", |pod| pod.status.nominated_node = Some(Name::new("n1")));
    cluster.run_until(millis(100));
    cluster.add_pod("less", &Arc::new(with_priority(5)));
    cluster.run_until(millis(200));
    assert_eq!(attempts(&cluster, "less"), ["0.101 attempt less unschedulable"]);
    cluster.change_pod("nominated", |pod| pod.status.nominated_node = None);
    cluster.run_until(millis(300));
    assert_eq!(cluster.node_of("less"), Some("n1"), "{:#?}", cluster.log);
}

#[test]
fn without_the_gate_a_pod_that_backs_off_waits_although_the_scheduler_is_idle() {
    let play = |pop: bool| {
        let gates = FeatureGates { pop_from_backoff_q: pop, ..FeatureGates::default() };
        let with_gates = Config::with_gates(gates);
        let mut cluster = Cluster::new(Config { cycle_time: config().cycle_time, parallelism: 1, ..with_gates });
        cluster.add_node(node("n1", 1000));
        cluster.add_pod("a", &Arc::new(spec(800)));
        cluster.run_until(millis(100));
        cluster.add_pod("b", &Arc::new(spec(800)));
        cluster.run_until(millis(200));
        cluster.delete_pod("a");
        cluster.run_until(Time::from_secs(5));
        attempts(&cluster, "b").last().cloned()
    };
    assert_eq!(play(true).as_deref(), Some("0.201 attempt b on n1"));
    // It failed at 0.101, so its second is over at 1.101; the queue is looked through each full second.
    assert_eq!(play(false).as_deref(), Some("2.001 attempt b on n1"));
}

#[test]
fn a_pod_that_is_resized_counts_for_the_greatest_of_what_it_wants_was_given_and_has() {
    let mut cluster = Cluster::new(config());
    cluster.add_node(node("n1", 1000));
    cluster.add_pod("a", &Arc::new(spec(200)));
    cluster.run_until(millis(100));
    let resized = |milli_cpu: Option<i64>| {
        let requests = |cpu: i64| {
            let mut requirements = ResourceRequirements::default();
            requirements.requests.cpu = Some(MilliCpu(cpu));
            requirements
        };
        milli_cpu.map(|cpu| {
            let app = Name::new("app");
            Arc::from([ContainerResize { name: app, allocated: requests(cpu), actual: requests(200) }])
        })
    };
    cluster.change_pod("a", |pod| pod.status.resizing = resized(Some(700)));
    cluster.run_until(millis(200));
    cluster.add_pod("b", &Arc::new(spec(500)));
    cluster.run_until(millis(300));
    assert_eq!(attempts(&cluster, "b"), ["0.201 attempt b unschedulable"]);
    // It was made smaller: that wakes the other.
    cluster.change_pod("a", |pod| pod.status.resizing = resized(None));
    cluster.run_until(millis(400));
    assert_eq!(cluster.node_of("b"), Some("n1"), "{:#?}", cluster.log);
}
