//! What a kubelet does when the runtime or the API server is away, and at its start on a new node.

use std::sync::Arc;

use super::world::{Program, World, check, container, pod};
use super::{Observe, StartKind};
use crate::kernel::Duration;
use crate::kubelet::In;
use crate::model::{Kind, Name};
use crate::protocol::api::{Watch, WatchEvent};

#[test]
fn a_new_node_is_registered_and_ready_soon() {
    let mut world = World::with(Observe::Sleeping, StartKind::Registers, 1);
    world.run(5_000);
    check(
        world.said(&["node", "event n1 Normal NodeReady"]),
        "node False CSINode is not yet initialized
         event n1 Normal NodeReady: Node n1 status is now: NodeReady x1
         node True kubelet is posting ready status",
    );
    let ready = world.times("node True")[0];
    assert!((250..500).contains(&ready), "{ready}");
}

#[test]
fn a_runtime_that_is_away_for_30_seconds_makes_the_node_not_ready_until_it_is_back() {
    let mut world = World::new();
    world.programs.insert("main", Program { runs: vec![(25_000, 1)], ..Program::default() });
    world.create(pod("p", vec![container("main")], |_| {}));
    world.at(20_000, |world| {
        world.runtime_down = true;
        world.tell(Duration::ZERO, In::CriStream { up: false });
    });
    world.at(90_000, |world| {
        world.runtime_down = false;
        world.tell(Duration::ZERO, In::CriStream { up: true });
    });
    world.run(89_000);
    let down = world.times("node False container runtime is down");
    assert!(down.len() == 1 && (45_000..65_000).contains(&down[0]), "{down:?}");
    assert_eq!(world.times("exit-1").len(), 0, "nothing is noticed meanwhile");
    world.run(150_000);
    let up: Vec<u64> = world.times("node True").into_iter().filter(|at| *at > 20_000).collect();
    assert!(up.len() == 1 && (90_000..112_000).contains(&up[0]), "{up:?}");
    let exit = world.times("exit-1")[0];
    assert!((90_000..102_000).contains(&exit), "{exit}");
    assert!(
        world.said(&["event n1"]).contains(&"event n1 Normal NodeReady: Node n1 status is now: NodeReady x1".into())
    );
}

#[test]
fn a_restarted_kubelet_writes_no_status_that_is_there_already() {
    let mut world = World::new();
    world.at(1_300, |world| world.create(pod("p", vec![container("main")], |_| {})));
    world.at(60_000, World::stop_kubelet);
    world.at(61_000, World::restart_kubelet);
    world.run(60_500);
    let before = world.log.len();
    world.run(200_000);
    world.log.drain(..before);
    assert!(world.said(&["status", "node"]).is_empty(), "{:?}", world.log);
}

#[test]
fn a_pull_that_the_runtime_has_forgotten_is_tried_again() {
    let mut world = World::new();
    world.registry.insert("slow:1", Ok(1_000_000));
    let slow = crate::model::Container { image: "slow:1".into(), ..container("main") };
    world.create(pod("p", vec![slow], |_| {}));
    world.at(5_000, |world| {
        world.images.remove(&Name::new("slow:1"));
        world.registry.insert("slow:1", Ok(1_000));
        world.tell(Duration::ZERO, In::CriStream { up: false });
        world.tell(Duration::from_secs(2), In::CriStream { up: true });
    });
    world.run(40_000);
    assert_eq!(world.times("PullImage").len(), 2);
    assert_eq!(world.times("StartContainer").len(), 1);
}

#[test]
fn what_happened_while_the_api_server_was_away_is_told_when_it_is_back() {
    let mut world = World::new();
    world.programs.insert("main", Program { runs: vec![(25_000, 1), (1_000_000, 0)], ..Program::default() });
    world.create(pod("p", vec![container("main")], |_| {}));
    world.at(20_000, |world| {
        world.api_down = true;
        for kind in [Kind::Pod, Kind::Node] {
            let watch = Watch { kind, node: Some(Name::new("n1")) };
            world.tell(Duration::ZERO, In::Watch(Arc::new(WatchEvent::Broken(watch))));
        }
    });
    world.at(60_000, |world| world.api_down = false);
    world.run(59_000);
    assert_eq!(world.times("StartContainer").len(), 2, "it goes on alone");
    let before = world.log.len();
    world.run(130_000);
    world.log.drain(..before);
    check(
        world.said(&["status", "event p"]),
        "event p Normal Pulled: Container image \"app:1\" already present on machine and can be accessed by the pod x2
         event p Normal Created: Container created x2
         event p Normal Started: Container started x2
         status p Running PIR main=running!#1",
    );
}

#[test]
fn a_pod_that_only_the_runtime_knows_is_killed_after_a_restart() {
    let mut world = World::new();
    world.programs.insert("main", Program { on_sigterm: None, ..Program::default() });
    world.create(pod("p", vec![container("main")], |_| {}));
    world.at(10_000, World::stop_kubelet);
    world.at(12_000, |world| world.pods.clear());
    world.at(20_000, World::restart_kubelet);
    world.run(120_000);
    check(
        world.said(&["Stop", "Remove"]),
        "StopContainer p/main#0 2
         StopPodSandbox p
         RemoveContainer p/main#0
         StopPodSandbox p
         RemovePodSandbox p",
    );
}

#[test]
fn a_pod_that_was_deleted_while_the_kubelet_was_away_gets_its_full_grace_period() {
    let mut world = World::new();
    world.programs.insert("main", Program { on_sigterm: None, ..Program::default() });
    world.create(pod("p", vec![container("main")], |_| {}));
    world.at(10_000, World::stop_kubelet);
    world.at(12_000, |world| world.delete("p", 8));
    world.at(40_000, World::restart_kubelet);
    world.run(60_000);
    assert_eq!(world.said(&["StopContainer"]), ["StopContainer p/main#0 8"]);
    assert!((41_000..43_000).contains(&world.times("StopContainer")[0]), "{:?}", world.times("StopContainer"));
    assert_eq!(world.said(&["deleted"]), ["deleted p"]);
}

#[test]
fn a_thousand_starts_and_ends_cost_few_messages_each() {
    let mut world = World::new();
    world.programs.insert("main", Program { runs: vec![(10_000, 0)], ..Program::default() });
    for number in 0..1000u64 {
        world.at(number * 2_000, move |world| {
            world.create(pod(&format!("job-{number:04}"), vec![container("main")], super::world::never));
        });
        world.at(number * 2_000 + 60_000, move |world| world.delete(&format!("job-{number:04}"), 30));
    }
    world.run(3_000_000);
    assert_eq!(world.said(&["deleted"]).len(), 1000);
    assert!(world.messages / 1000 < 100, "{} messages a pod", world.messages / 1000);
    assert_eq!(world.pending(), 0);
}
