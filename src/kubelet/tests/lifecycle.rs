//! The life of a pod from its binding to its removal.

use super::world::{Program, World, container, never, pod};

/// Everything about the pods but the image checks.
const ALL: &[&str] =
    &["RunPodSandbox", "Create", "Start", "Stop", "status", "event", "deleted", "Pull", "PreStop", "PostStart"];

fn check(found: Vec<String>, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected, "\nfound:\n{}", found.join("\n"));
}

#[test]
fn a_pod_starts_in_the_order_of_a_real_kubelet() {
    let mut world = World::new();
    world.at(5000, |world| world.create(pod("p", vec![container("main")], |_| {})));
    world.run(8000);
    check(world.said(&[""]), "");
}
