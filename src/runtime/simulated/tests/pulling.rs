//! Pulls: streams, shared layers, unpacking, errors.

use super::*;
use crate::protocol::cri::Code;

fn pull(image: &str) -> Call {
    Call::PullImage { image: image.into(), auth: None, sandbox: None }
}

/// Unpacks so fast that only downloads count.
fn fast(profile: Profile) -> Profile {
    Profile { unpack_bytes_per_second: u64::MAX, ..steady(profile) }
}

fn world(profile: Profile, registry: Registry) -> World {
    World { registry, ..World::with(Config { profile: Arc::new(profile), ..World::config() }) }
}

fn seconds(world: &mut World, call: CallId) -> String {
    let (at, result) = world.answer(call).expect("it is answered");
    result.expect("it succeeds");
    // Unpacking at full speed takes a nanosecond a layer.
    Duration::from_millis(at.since(Time::ZERO).as_millis()).to_string()
}

#[test]
fn layers_come_in_as_many_streams_as_the_runtime_has() {
    let six: Registry = |_| Ok(manifest("six", &[(1, 10), (2, 10), (3, 10), (4, 10), (5, 10), (6, 10)]));
    for (profile, expected) in
        [(Profile::containerd(), "20.06s"), (Profile::docker(), "20.1s"), (Profile::cri_o(), "10.1s")]
    {
        let mut world = world(fast(profile), six);
        let call = world.send(pull("six"));
        world.play(60_000);
        assert_eq!(seconds(&mut world, call), expected);
    }
}

#[test]
fn a_layer_is_downloaded_once_for_all_images_and_pulls_that_need_it() {
    let shared: Registry = |image| match image.as_str() {
        "docker.io/library/a:latest" => Ok(manifest("a", &[(1, 30), (2, 5)])),
        "docker.io/library/b:latest" => Ok(manifest("b", &[(1, 30), (3, 5)])),
        _ => Err(pull::Error::NotFound),
    };
    let mut world = world(fast(Profile::containerd()), shared);
    let (first, same, second) = (world.send(pull("a")), world.send(pull("docker.io/library/a")), world.send(pull("b")));
    world.play(60_000);
    let layers = |world: &World| world.fetches.iter().filter(|(_, what)| what.contains("layer")).count();
    assert_eq!(layers(&world), 3);
    assert_eq!(world.answer(first), world.answer(same));
    assert_eq!(world.answer(first).unwrap().0, world.answer(second).unwrap().0);
    let again = world.ask(pull("b"));
    assert!(again.is_ok() && layers(&world) == 3, "only the manifest is fetched again");

    let used = |world: &mut World| match world.ask(Call::ImageFsInfo) {
        Ok(Answer::ImageFs { used_bytes, .. }) => used_bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(used(&mut world), 1000 + 2 * 40);
    world.ask(Call::RemoveImage { image: "a".into() }).unwrap();
    assert_eq!(used(&mut world), 1000 + 2 * 35);
    assert_eq!(world.ask(Call::ImageStatus { image: "a".into() }), Ok(Answer::ImageStatus(None)));
    let Ok(Answer::Images(images)) = world.ask(Call::ListImages) else { panic!() };
    let mut names: Vec<Name> = images.iter().flat_map(|image| image.names.clone()).collect();
    names.sort();
    assert_eq!(names, [Name::new("docker.io/library/app:1"), Name::new("docker.io/library/b:latest")]);
}

#[test]
fn layers_are_unpacked_in_order_while_others_come() {
    // Unpacking takes a second a byte too: 4 comes at 4, 2 at 2, but 4 is the lower one.
    let two: Registry = |_| Ok(manifest("two", &[(1, 4), (2, 2)]));
    let profile = Profile { unpack_bytes_per_second: 1, ..steady(Profile::containerd()) };
    let mut world = world(profile, two);
    let call = world.send(pull("two"));
    world.play(60_000);
    assert_eq!(seconds(&mut world, call), "10.06s");
}

#[test]
fn pull_errors_reach_the_kubelet_in_the_runtimes_words() {
    let none: Registry = |_| Err(pull::Error::NotFound);
    let mut world = world(fast(Profile::containerd()), none);
    let error = world.ask(pull("localhost:5000/nope:1")).unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    let error = world.ask(pull("UPPER/bad:1")).unwrap_err();
    assert_eq!(
        error.message.as_str(),
        "failed to parse image reference \"UPPER/bad:1\": invalid reference format: repository name must be lowercase"
    );
    let absent = world.ask(Call::ImageStatus { image: "UPPER/bad:1".into() });
    assert_eq!(absent, Ok(Answer::ImageStatus(None)));
    assert_eq!(world.fetches[0].1, "localhost:5000 manifest localhost:5000/nope:1");
}

#[test]
fn a_failed_layer_fails_its_pulls_gives_up_the_rest_and_keeps_what_has_come() {
    let broken: Registry = |image| match image.as_str() {
        "docker.io/library/bad:latest" => Ok(manifest("bad", &[(1, 0), (2, 666), (3, 50), (4, 50)])),
        "docker.io/library/good:latest" => Ok(manifest("good", &[(1, 0), (3, 50), (4, 50)])),
        _ => Err(pull::Error::NotFound),
    };
    let mut world = world(fast(Profile::containerd()), broken);
    let error = world.ask(pull("bad")).unwrap_err();
    assert!(error.message.contains("connection reset by peer"), "{error}");
    world.play(1);
    assert_eq!(world.cancelled.len(), 2);
    let bad = world.send(pull("bad"));
    let good = world.send(pull("good"));
    world.play(120_000);
    assert!(world.answer(bad).unwrap().1.is_err());
    assert_eq!(world.cancelled.len(), 2, "the other pull wants these layers");
    assert!(world.answer(good).unwrap().1.is_ok());
    let ones = world.fetches.iter().filter(|(_, what)| what.ends_with("layer 1")).count();
    assert_eq!(ones, 1);
}

#[test]
fn a_pull_dies_with_the_runtime_and_can_be_done_again() {
    let one: Registry = |_| Ok(manifest("one", &[(1, 30)]));
    let mut world = world(fast(Profile::containerd()), one);
    let call = world.send(pull("one"));
    world.play(5_000);
    world.fault(Fault::Stopped);
    world.play(1);
    assert_eq!(world.answer(call).unwrap().1.unwrap_err().code, Code::Unavailable);
    assert_eq!(world.cancelled.len(), 1);
    world.fault(Fault::Restored);
    assert!(world.ask(pull("one")).is_ok());
}
