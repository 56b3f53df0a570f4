//! Images.

use super::world::{Program, World, check, container, pod};
use super::{Observe, StartKind};
use crate::model::Container;
use crate::model::pod::ImagePullPolicy;

fn of_image(name: &'static str, image: &str) -> Container {
    Container { image: image.into(), ..container(name) }
}

#[test]
fn a_missing_image_is_pulled() {
    let mut world = World::new();
    world.registry.insert("big:1", Ok(1_234));
    world.create(pod("p", vec![of_image("main", "big:1")], |_| {}));
    world.run(10_000);
    check(
        world.said(&["Pull", "Image", "event p Normal Pull", "Create"]),
        "ImageStatus big:1
         event p Normal Pulling: Pulling image \"big:1\" x1
         PullImage big:1
         ImageStatus big:1
         event p Normal Pulled: Successfully pulled image \"big:1\" in 1.235s (1.235s including waiting). Image size: 5000 bytes. x1
         ImageStatus big:1
         CreateContainer p/main#0",
    );
}

#[test]
fn pulls_take_turns_unless_they_are_parallel() {
    for (serial, most, ends) in [(true, 0, [7, 14]), (false, 0, [7, 7]), (false, 1, [7, 14])] {
        let mut config = World::new().config;
        config.kubelet.serialize_image_pulls = serial;
        config.kubelet.max_parallel_image_pulls = most;
        let mut world = World::with_config(config, 1);
        for (name, image) in [("a", "slow:1"), ("b", "slow:2")] {
            world.registry.insert(image, Ok(7_000));
            world.create(pod(name, vec![of_image("main", image)], |_| {}));
        }
        world.create(pod("c", vec![container("main")], |_| {}));
        world.run(20_000);
        let pulled: Vec<u64> = world.times("Successfully").iter().map(|at| at / 1000).collect();
        assert_eq!(pulled, ends, "serial {serial}, most {most}");
        assert!(world.times("StartContainer c/")[0] < 1000);
    }
}

#[test]
fn a_failing_pull_backs_off_and_alternates_its_reasons() {
    let mut world = World::with(Observe::Sleeping, StartKind::WasRunning, 3);
    world.registry.insert("nope:1", Err("not found"));
    world.create(pod("p", vec![of_image("main", "nope:1")], |_| {}));
    world.run(600_000);
    let pulls = world.times("PullImage");
    let gaps: Vec<u64> = pulls.windows(2).map(|pair| (pair[1] - pair[0]) / 1000).collect();
    let least = [10, 20, 40, 80, 160];
    assert!(gaps.len() >= 5, "{gaps:?}");
    for (gap, least) in gaps.iter().zip(least) {
        assert!((least..least + 17).contains(gap), "{gaps:?}");
    }
    assert!(!world.times("main=ErrImagePull").is_empty() && !world.times("main=ImagePullBackOff").is_empty());
    let events = world.said(&["event p"]);
    assert!(events.contains(&"event p Warning Failed: Error: ErrImagePull x1".to_owned()));
    assert!(events.contains(&"event p Normal BackOff: Back-off pulling image \"nope:1\" x1".to_owned()));
}

#[test]
fn an_image_that_is_never_pulled_must_be_there() {
    let mut world = World::new();
    let never = Container { image_pull_policy: ImagePullPolicy::Never, ..of_image("main", "absent:1") };
    world.create(pod("p", vec![never], |_| {}));
    world.run(30_000);
    let tries = world.times("ErrImageNeverPull: Container image \"absent:1\" is not present with pull policy of Never");
    assert!((3..=5).contains(&tries.len()), "{tries:?}");
}

#[test]
fn a_pod_that_is_deleted_while_its_image_is_pulled_starts_and_is_killed() {
    let mut world = World::new();
    world.registry.insert("slow:1", Ok(20_000));
    world.programs.insert("main", Program::default());
    world.create(pod("p", vec![of_image("main", "slow:1")], |_| {}));
    world.at(5_000, |world| world.delete("p", 30));
    world.run(24_000);
    check(
        world.said(&["Start", "StopC", "deleted"]),
        "StartContainer p/main#0
         StopContainer p/main#0 30
         deleted p",
    );
}
