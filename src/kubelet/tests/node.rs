//! What the node does by itself: static pods, resizes, evictions, preemption, a graceful shutdown.

use std::sync::Arc;

use super::super::config::{Amount, Signal, Threshold};
use super::super::{Config, In, StartKind};
use super::Observe;
use super::world::{Program, World, check, container, pod};
use crate::kernel::Duration;
use crate::model::pod::{PodSpec, ResourceRequirements};
use crate::model::resources::ResourceList;
use crate::model::{Bytes, Container, Meta, MilliCpu, Name, Node, Pod, Resources, Uid};
use crate::protocol::stats::{ContainerUsage, FileSystem, Line, Summary};

fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut node = Node { meta: Meta::named("", "n1"), ..Node::default() };
    node.meta.uid = Uid(77);
    node.status.capacity = Resources { cpu: MilliCpu(4000), memory: Bytes(8 << 30), pods: 110, ..Resources::default() };
    let mut config = Config::new(node);
    (config.observe, config.start) = (Observe::Sleeping, StartKind::WasRunning);
    change(&mut config);
    World::with_config(config, 1)
}

fn requests(name: &'static str, cpu: i64) -> Container {
    let mut container = container(name);
    container.resources.requests.cpu = Some(MilliCpu(cpu));
    container
}

fn folder(names: &[&str]) -> In {
    let of = |name: &&str| {
        let mut pod = pod(name, vec![container("main")], |_| {});
        (pod.node, pod.meta.uid) = (None, Uid::NONE);
        Arc::new(pod)
    };
    In::StaticPods(names.iter().map(of).collect())
}

#[test]
fn a_static_pod_runs_and_has_a_mirror_that_comes_back_until_its_file_is_gone() {
    let mut world = world(|_| {});
    world.tell(Duration::from_secs(5), folder(&["s"]));
    world.at(15_000, |world| world.delete("s-n1", 30));
    world.at(40_000, |world| world.tell(Duration::ZERO, folder(&[])));
    world.run(60_000);
    check(
        world.said(&["created", "deleted", "Start", "Stop", "event s-n1 Normal Killing"]),
        "created s-n1
         StartContainer s-n1/main#0
         deleted s-n1
         created s-n1
         event s-n1 Normal Killing: Stopping container main x1
         StopContainer s-n1/main#0 30
         StopPodSandbox s-n1
         deleted s-n1",
    );
    assert!(world.said(&["status s-n1"]).last().is_some_and(|last| last.contains("Running PIR")));
}

#[test]
fn a_static_pod_needs_no_api_server() {
    let mut world = world(|config| config.start = StartKind::Registers);
    world.api_down = true;
    world.tell(Duration::from_millis(1), folder(&["s"]));
    world.run(30_000);
    check(world.said(&["created", "StartC"]), "StartContainer s-n1/main#0");
}

#[test]
fn a_critical_pod_pushes_out_what_it_needs() {
    let mut world = world(|_| {});
    world.programs.insert("main", Program { on_sigterm: Some((1000, 1)), ..Program::default() });
    for (name, cpu) in [("a", 1500), ("b", 1000), ("c", 1000)] {
        world.create(pod(name, vec![requests("main", cpu)], |_| {}));
    }
    world.at(10_000, |world| {
        world.create(pod("d", vec![requests("main", 900)], |_| {}));
        world.create(pod("critical", vec![requests("main", 1200)], |spec| spec.priority = 2_000_000_000));
    });
    world.run(20_000);
    check(
        world.said(&[
            "event a Warning",
            "event b Warning",
            "event c Warning",
            "event d Warning",
            "status a Failed",
            "StartContainer critical",
        ]),
        "event d Warning OutOfcpu: Node didn't have enough resource: cpu, requested: 900, used: 3500, capacity: 4000 x1
         event b Warning Preempting: Preempted in order to admit critical pod x1
         StartContainer critical/main#0",
    );
    assert!(world.said(&["status b"]).iter().any(|said| said.starts_with("status b Failed/Preempting")));
}

fn resize(pod: &mut Pod, cpu: i64, memory_mi: i64) {
    let mut spec = PodSpec::clone(&pod.spec);
    let resized = spec.containers.iter().map(|container| {
        let mut container = container.clone();
        for list in [&mut container.resources.requests, &mut container.resources.limits] {
            (list.cpu, list.memory) = (Some(MilliCpu(cpu)), Some(Bytes(memory_mi << 20)));
        }
        container
    });
    spec.containers = resized.collect();
    pod.spec = Arc::new(spec);
    pod.meta.generation += 1;
}

#[test]
fn a_resize_changes_a_running_container_or_restarts_it_as_its_policy_says() {
    let mut world = world(|_| {});
    for (name, restarts) in [("p", false), ("q", true)] {
        let main = Container { resize_policy: vec![(Name::new("memory"), restarts)], ..container("main") };
        let mut pod = pod(name, vec![main], |_| {});
        resize(&mut pod, 100, 64);
        world.create(pod);
    }
    world.at(8000, |world| world.change("p", |pod| resize(pod, 200, 96)));
    world.at(9000, |world| world.change("q", |pod| resize(pod, 100, 96)));
    world.run(20_000);
    check(
        world.said(&["Update", "event p Normal Resize", "event q Normal Resize", "event q Normal Killing"]),
        "event p Normal ResizeStarted: Pod resize started: {\"containers\":[{\"name\":\"main\",\"resources\":{\"limits\":{\"cpu\":\"200m\",\"memory\":\"96Mi\"},\"requests\":{\"cpu\":\"200m\",\"memory\":\"96Mi\"}}}],\"generation\":2} x1
         Update p/main#0 20000 96Mi
         event p Normal ResizeCompleted: Pod resize completed: {\"containers\":[{\"name\":\"main\",\"resources\":{\"limits\":{\"cpu\":\"200m\",\"memory\":\"96Mi\"},\"requests\":{\"cpu\":\"200m\",\"memory\":\"96Mi\"}}}],\"generation\":2} x1
         event q Normal ResizeStarted: Pod resize started: {\"containers\":[{\"name\":\"main\",\"resources\":{\"limits\":{\"cpu\":\"100m\",\"memory\":\"96Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":\"96Mi\"}}}],\"generation\":2} x1
         event q Normal Killing: Container main resize requires restart x1
         event q Normal ResizeCompleted: Pod resize completed: {\"containers\":[{\"name\":\"main\",\"resources\":{\"limits\":{\"cpu\":\"100m\",\"memory\":\"96Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":\"96Mi\"}}}],\"generation\":2} x1",
    );
    assert!(world.said(&["status q"]).last().is_some_and(|last| last.ends_with("main=running!#1")));
}

#[test]
fn a_resize_that_does_not_fit_waits_for_another_pod_to_go() {
    let mut world = world(|_| {});
    let mut small = pod("p", vec![container("main")], |_| {});
    resize(&mut small, 100, 64);
    world.create(small);
    world.create(pod("big", vec![requests("main", 3000)], |_| {}));
    world.at(8000, |world| world.change("p", |pod| resize(pod, 2000, 64)));
    world.at(12_000, |world| world.delete("big", 30));
    world.run(30_000);
    let told = world.said(&["event p Warning Resize", "event p Normal ResizeStarted"]);
    let reason = "\"error\":\"Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000\"} x1";
    assert!(told[0].starts_with("event p Warning ResizeDeferred: Pod resize Deferred: ") && told[0].ends_with(reason));
    assert!(told[1].starts_with("event p Normal ResizeStarted"));
    assert_eq!(world.said(&["Update"]), ["Update p/main#0 200000 64Mi"]);
}

/// Memory: 8 GiB, of which each container `hog` uses six and each other half a gibibyte.
fn measure(world: &World) -> Summary {
    let mut summary = Summary { at: world.now, memory_capacity: 8 << 30, ..Summary::default() };
    let disk = FileSystem { capacity: 100 << 30, inodes: 1 << 20, ..FileSystem::default() };
    (summary.nodefs, summary.pid_limit) = (disk, 1 << 20);
    for (name, each) in [("hog", 7 << 30), ("main", 1 << 29)] {
        for (pod, container) in world.running(name) {
            let memory = Line::constant(each);
            summary.memory = summary.memory.plus(memory);
            let none = Line::default();
            let name = Name::new(name);
            let (rootfs, logs, inodes, processes) = (none, none, none, none);
            summary.containers.push(ContainerUsage { pod, container, name, memory, rootfs, logs, inodes, processes });
        }
    }
    summary
}

#[test]
fn under_memory_pressure_the_worst_pod_goes_and_the_node_says_so_for_a_while() {
    let mut world = world(|config| {
        config.kubelet.eviction.thresholds = vec![Threshold {
            signal: Signal::MemoryAvailable,
            amount: Amount::Quantity(1 << 30),
            format: crate::model::quantity::Format::BinarySI,
            grace: None,
            minimum_reclaim: None,
        }];
        config.kubelet.eviction.pressure_transition_period = Duration::from_secs(60);
    });
    world.measures = Some(measure);
    world.programs.insert("hog", Program { on_sigterm: None, ..Program::default() });
    world.create(pod("a", vec![container("main")], |_| {}));
    world.create(pod("hog", vec![container("hog")], |_| {}));
    world.at(5000, |world| world.tell(Duration::ZERO, In::UsageChanged));
    world.at(40_000, |world| world.create(pod("late", vec![container("main")], |_| {})));
    world.run(200_000);
    check(
        world.said(&["event hog Warning", "StopContainer", "status hog F", "event n1", "event late", "status late"]),
        "event n1 Warning EvictionThresholdMet: Attempting to reclaim memory x1
         event hog Warning Evicted: The node was low on resource: memory. Threshold quantity: 1Gi, available: 512Mi. Container hog was using 7Gi, request is 0, has larger consumption of memory.  x1
         StopContainer hog/hog#0 2
         status hog Failed/Evicted I hog=exit-137
         event n1 Normal NodeHasInsufficientMemory: Node n1 status is now: NodeHasInsufficientMemory x1
         event late Warning Evicted: The node had condition: [MemoryPressure].  x1
         status late Failed/Evicted 
         event n1 Normal NodeHasSufficientMemory: Node n1 status is now: NodeHasSufficientMemory x1",
    );
    let (met, over) = (world.times("EvictionThresholdMet")[0], world.times("NodeHasSufficientMemory")[0]);
    assert!((60_000..85_000).contains(&(over - met)), "{met} to {over}");
    assert_eq!(world.pending(), 0, "and then nothing is looked at any more");
}

#[test]
fn at_a_shutdown_critical_pods_end_last() {
    let mut world = world(|config| {
        let seconds = Duration::from_secs;
        config.kubelet.shutdown_grace_periods = vec![(0, seconds(20)), (2_000_000_000, seconds(10))];
    });
    world.programs.insert("stubborn", Program { on_sigterm: None, ..Program::default() });
    world.create(pod("p", vec![container("stubborn")], |_| {}));
    world.create(pod("critical", vec![container("main")], |spec| spec.priority = 2_000_000_000));
    world.at(10_000, |world| world.tell(Duration::ZERO, In::Shutdown));
    world.run(60_000);
    check(
        world.said(&["StopContainer", "shut down", "status p F", "event n1 Normal Shutdown"]),
        "event n1 Normal Shutdown: Shutdown manager detected shutdown event x1
         StopContainer p/stubborn#0 20
         StopContainer critical/main#0 10
         status p Failed/Terminated I stubborn=exit-137
         shut down",
    );
    assert_eq!(world.times("StopContainer critical").len(), 1);
    assert!(world.said(&["node False"]).iter().any(|said| said == "node False node is shutting down"));
}

#[test]
fn a_memory_limit_is_not_lowered_below_what_is_used() {
    let mut world = world(|_| {});
    world.memory.insert("main", 80 << 20);
    let mut pod = pod("p", vec![container("main")], |_| {});
    resize(&mut pod, 100, 128);
    world.create(pod);
    world.at(8000, |world| {
        world.log.clear();
        world.change("p", |pod| resize(pod, 100, 64));
    });
    world.at(15_000, |world| {
        world.memory.insert("main", 10 << 20);
    });
    world.run(60_000);
    let told = world.said(&["event p", "Update"]);
    let error = "attempting to set container \\\"main\\\" memory limit (67108864) below current usage (83886080)";
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].starts_with("event p Normal ResizeStarted: "), "{told:?}");
    assert!(told[1].starts_with("event p Warning ResizeError: ") && told[1].contains(error), "{}", told[1]);
    assert_eq!(told[2], "Update p/main#0 10000 64Mi");
    assert!(told[3].starts_with("event p Normal ResizeCompleted: "), "{told:?}");
}

#[test]
fn a_guaranteed_pod_is_not_resized_under_the_static_cpu_manager() {
    let mut world = world(|config| config.kubelet.static_cpu_manager = true);
    let mut pod = pod("p", vec![container("main")], |_| {});
    resize(&mut pod, 1000, 64);
    world.create(pod);
    world.at(8000, |world| {
        world.log.clear();
        world.change("p", |pod| resize(pod, 2000, 64));
    });
    world.run(400_000);
    let told = world.said(&["event p", "Update"]);
    assert_eq!(told.len(), 1, "{told:?}");
    let why = "Resize is infeasible for Guaranteed Pods alongside CPU Manager policy \\\"static\\\"";
    assert!(told[0].starts_with("event p Warning ResizeInfeasible: Pod resize Infeasible: ") && told[0].contains(why));
}

#[test]
fn the_resources_of_a_pod_as_a_whole_are_resized_in_its_sandbox() {
    let whole = |pod: &mut Pod, memory_mi: i64| {
        let limits = ResourceList { memory: Some(Bytes(memory_mi << 20)), ..ResourceList::default() };
        let resources = Some(Box::new(ResourceRequirements { requests: limits.clone(), limits }));
        pod.spec = Arc::new(PodSpec { resources, ..PodSpec::clone(&pod.spec) });
        pod.meta.generation += 1;
    };
    let mut world = world(|_| {});
    let mut pod = pod("p", vec![container("main")], |_| {});
    whole(&mut pod, 128);
    world.create(pod);
    world.at(8000, move |world| {
        world.log.clear();
        world.change("p", |pod| whole(pod, 256));
    });
    world.at(12_000, move |world| world.change("p", |pod| whole(pod, 192)));
    world.run(60_000);
    check(
        world.said(&["Update"]),
        "UpdateSandbox p 0 256Mi
         Update p/main#0 0 256Mi
         Update p/main#0 0 192Mi
         UpdateSandbox p 0 192Mi",
    );
    assert_eq!(world.said(&["event p Normal ResizeCompleted"]).len(), 2);
}

#[test]
fn sysctls_that_are_not_safe_must_be_allowed() {
    for (name, allowed, host_network, said) in [
        ("net.ipv4.tcp_keepalive_time", None, false, None),
        ("net.core.somaxconn", None, false, Some("forbidden sysctl: \"net.core.somaxconn\" not allowlisted")),
        ("net.core.somaxconn", Some("net.core.*"), false, None),
        (
            "net.core.somaxconn",
            Some("net.core.somaxconn"),
            true,
            Some("forbidden sysctl: \"net.core.somaxconn\" not allowed with host net enabled"),
        ),
    ] {
        let mut world = world(|config| {
            config.kubelet.allowed_unsafe_sysctls = allowed.into_iter().map(Name::new).collect();
        });
        world.create(pod("p", vec![container("main")], |spec| {
            spec.host_network = host_network;
            spec.security.sysctls = vec![(Name::new(name), Name::new("1"))];
        }));
        world.run(3000);
        let told = world.said(&["event p Warning"]);
        let expected = said.map(|said| format!("event p Warning SysctlForbidden: {said} x1"));
        assert_eq!(told, Vec::from_iter(expected), "{name}");
    }
}

#[test]
fn a_collector_tells_each_minute_that_the_runtime_is_away() {
    let mut world = world(|_| {});
    world.create(pod("p", vec![container("main")], |_| {}));
    world.at(8000, |world| {
        world.runtime_down = true;
        world.tell(Duration::ZERO, In::CriStream { up: false });
    });
    world.at(900_000, |world| {
        world.runtime_down = false;
        world.tell(Duration::ZERO, In::CriStream { up: true });
    });
    world.run(3_000_000);
    let (containers, images) = (world.times("ContainerGCFailed"), world.times("ImageGCFailed"));
    assert!((14..=15).contains(&containers.len()), "{containers:?}");
    assert!((1..=2).contains(&images.len()), "from the second failure on: {images:?}");
    assert!(containers.iter().chain(&images).all(|at| *at <= 901_000), "{containers:?} {images:?}");
}

#[test]
fn what_the_kernel_kills_for_lack_of_memory_is_told_of_the_node() {
    let mut world = world(|_| {});
    world.tell(Duration::from_secs(5), In::SystemOom { process: Name::new("java"), pid: 4711 });
    world.run(6000);
    let told = world.said(&["event n1 Warning"]);
    assert_eq!(told, ["event n1 Warning SystemOOM: System OOM encountered, victim process: java, pid: 4711 x1"]);
}

#[test]
fn whole_cpus_of_guaranteed_pods_are_theirs_alone_under_the_static_cpu_manager() {
    let mut world = world(|config| {
        config.kubelet.static_cpu_manager = true;
        config.kubelet.kube_reserved.cpu = MilliCpu(500);
        config.kubelet.eviction.thresholds.clear();
    });
    for (name, cpu) in [("a", 2000), ("b", 1500), ("c", 2000)] {
        let mut pod = pod(name, vec![container("main")], |_| {});
        resize(&mut pod, cpu, 64);
        if name == "b" {
            // No whole CPUs: it shares what is left.
            resize(&mut pod, 100, 64);
        }
        world.create(pod);
    }
    world.run(10_000);
    let why = "Allocate failed due to not enough cpus available to satisfy request: requested=2, available=1, which is \
               unexpected";
    assert_eq!(world.said(&["event c Warning"]), [format!("event c Warning UnexpectedAdmissionError: {why} x1")]);
    assert_eq!(world.said(&["StartContainer a", "StartContainer b"]).len(), 2);
}

#[test]
fn a_runtime_that_stays_away_makes_the_pleg_unhealthy_after_three_minutes() {
    let mut world = world(|config| config.start = StartKind::Registers);
    world.at(20_000, |world| {
        world.log.clear();
        world.runtime_down = true;
        world.tell(Duration::ZERO, In::CriStream { up: false });
    });
    world.at(260_000, |world| {
        world.runtime_down = false;
        world.tell(Duration::ZERO, In::CriStream { up: true });
    });
    world.run(400_000);
    let told = world.said(&["node "]);
    assert_eq!(told.first().map(String::as_str), Some("node False container runtime is down"));
    let stale: Vec<&String> = told.iter().filter(|said| said.contains("PLEG is not healthy")).collect();
    assert!((3..=7).contains(&stale.len()), "one each round: {told:?}");
    let start = "node False [container runtime is down, PLEG is not healthy: pleg was last seen active 3m";
    assert!(
        stale.iter().all(|said| said.starts_with(start) && said.ends_with(" ago; threshold is 3m0s]")),
        "{stale:?}"
    );
    assert_eq!(told.last().map(String::as_str), Some("node True kubelet is posting ready status"));
}
