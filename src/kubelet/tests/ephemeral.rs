//! Ephemeral containers: started once in a pod that runs, and without a say in what becomes of it.

use std::sync::Arc;

use super::world::{Program, World, check, container, never, pod};
use crate::model::{Container, Name, Pod, PodSpec};

fn add(pod: &mut Pod, new: Container) {
    let list = pod.spec.ephemeral_containers.iter().cloned().chain([new]).collect();
    pod.spec = Arc::new(PodSpec { ephemeral_containers: list, ..PodSpec::clone(&pod.spec) });
    pod.meta.generation += 1;
}

const SAID: &[&str] = &["Create", "Start", "Stop", "status p", "event p", "deleted"];

#[test]
fn an_ephemeral_container_starts_once_beside_the_others_and_its_end_changes_nothing() {
    let mut world = World::new();
    world.programs.insert("debugger", Program { runs: vec![(3000, 7)], ..Program::default() });
    world.create(pod("p", vec![container("main")], |_| {}));
    world.at(8000, |world| {
        world.log.clear();
        world.change("p", |pod| add(pod, container("debugger")));
    });
    world.run(60_000);
    check(
        world.said(SAID),
        "status p Running PIR main=running! ~debugger=ContainerCreating
         event p Normal Pulled: Container image \"app:1\" already present on machine and can be accessed by the pod x1
         CreateContainer p/debugger#0
         event p Normal Created: Container created x1
         StartContainer p/debugger#0
         event p Normal Started: Container started x1
         status p Running PIR main=running! ~debugger=running
         status p Running PIR main=running! ~debugger=exit-7",
    );
}

#[test]
fn it_starts_before_init_containers_are_done_and_dies_with_the_pod() {
    let mut world = World::new();
    world.create(pod("p", vec![container("main")], |spec| spec.init_containers = Arc::new([container("i")])));
    world.at(8000, |world| world.change("p", |pod| add(pod, container("debugger"))));
    world.at(20_000, |world| {
        world.log.clear();
        world.delete("p", 30);
    });
    world.run(30_000);
    let stopped = world.said(&["event p Normal Killing", "StopContainer"]);
    assert_eq!(stopped.iter().filter(|line| line.contains("debugger")).count(), 2, "{stopped:?}");
    assert_eq!(world.said(&["deleted p"]).len(), 1);
}

#[test]
fn a_pod_whose_own_containers_are_done_ends_in_spite_of_it() {
    let mut world = World::new();
    world.programs.insert("main", Program { runs: vec![(12_000, 0)], ..Program::default() });
    world.create(pod("p", vec![container("main")], never));
    world.at(8000, |world| world.change("p", |pod| add(pod, container("debugger"))));
    world.run(60_000);
    let last = world.said(&["status p"]).pop().unwrap_or_default();
    assert!(last.starts_with("status p Succeeded") && last.ends_with("main=exit-0 ~debugger=exit-0"), "{last}");
}

#[test]
fn a_target_that_is_not_there_is_a_configuration_error() {
    let mut world = World::new();
    world.programs.insert("main", Program { runs: vec![(u64::MAX >> 24, 0)], ..Program::default() });
    world.create(pod("p", vec![container("main")], |spec| spec.init_containers = Arc::new([container("i")])));
    world.at(8000, |world| {
        world.log.clear();
        let debugger = Container { target: Name::new("main"), ..container("debugger") };
        world.change("p", |pod| add(pod, debugger));
    });
    world.run(9000);
    let told = world.said(&["event p Warning"]);
    assert_eq!(told, ["event p Warning Failed: Error: unable to find target container main x1"]);
}
