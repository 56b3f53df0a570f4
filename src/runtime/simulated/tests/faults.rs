//! Power, the runtime's process, hanging networks, and programs that faults hit.

use super::*;
use crate::protocol::cri::{Code, ContainerEventType, SandboxState};
use crate::runtime::simulated::behavior::{End, Ends, OnTerm};

fn unavailable(world: &mut World, call: CallId) -> bool {
    matches!(world.answer(call), Some((_, Err(Error { code: Code::Unavailable, .. }))))
}

#[test]
fn after_a_power_failure_images_are_there_and_everything_else_has_ended() {
    let mut world = World::new(vec![]);
    let sandbox = world.sandbox(1);
    let id = world.start_in(sandbox, container(&["sleep", "60"]));
    let pending = world.send(Call::RunPodSandbox(pod_config(2, 0)));
    world.fault(Fault::PowerOff);
    let asked = world.send(Call::Status);
    world.play(120_000);
    assert_eq!((world.answer(asked), world.answer(pending)), (None, None));
    world.fault(Fault::PowerOn);
    assert_eq!(world.status(id).exit_code, 255);
    assert_eq!(world.status(id).reason, "Unknown");
    let Ok(Answer::Sandboxes(sandboxes)) = world.ask(Call::ListPodSandbox { pod: None }) else { panic!() };
    assert_eq!(sandboxes.iter().map(|sandbox| sandbox.state).collect::<Vec<_>>(), [SandboxState::NotReady]);
    let Ok(Answer::ImageStatus(Some(_))) = world.ask(Call::ImageStatus { image: "app:1".into() }) else { panic!() };
    // Timers of the time before mean nothing to what comes after.
    let Ok(Answer::Sandbox(again)) = world.ask(Call::RunPodSandbox(pod_config(1, 1))) else { panic!() };
    let id = world.start_in(again, ContainerConfig { attempt: 1, ..container(&["sleep", "60"]) });
    world.play(120_000);
    assert_eq!(world.state(id), "Exited 0 Completed after 1m0s");
}

#[test]
fn containers_run_on_while_the_runtime_is_stopped_and_their_end_is_told_later() {
    let ends = Ends::each(End::Exit { after: constant(5), code: 0, probability: 1.0 });
    let mut world = World::new(all(Behavior { ends: Some(ends), ..Behavior::default() }));
    let id = world.start(container(&[]));
    let pending = world.send(Call::RunPodSandbox(pod_config(2, 0)));
    world.fault(Fault::Stopped);
    world.play(1);
    assert!(unavailable(&mut world, pending));
    let asked = world.send(Call::Status);
    world.play(20_000);
    assert!(unavailable(&mut world, asked));
    let events = world.events.len();
    world.fault(Fault::Restored);
    world.play(1);
    assert_eq!(world.state(id), "Exited 0 Completed after 5s");
    assert_eq!(world.events[events].kind, ContainerEventType::Stopped);
    let finished_at = world.status(id).finished_at;
    assert_eq!(world.events[events].created_at, finished_at.time());
    world.ask(Call::RunPodSandbox(pod_config(2, 0))).expect("the name is free again");
}

#[test]
fn docker_without_live_restore_stops_its_containers_with_itself() {
    let mut world = World::of(Profile::docker(), vec![]);
    let id = world.start(container(&["sleep", "3600"]));
    world.fault(Fault::Stopped);
    world.play(30_000);
    world.fault(Fault::Restored);
    assert_eq!(world.state(id), "Exited 137 Error after 10s");
}

#[test]
fn a_hung_runtime_answers_late_what_is_still_wanted() {
    let mut world = World::new(vec![]);
    let id = world.start(container(&["sleep", "10"]));
    world.fault(Fault::Hung);
    let old = world.send(Call::Status);
    world.play(200_000);
    let young = world.send(Call::ContainerStatus(id));
    world.play(60_000);
    assert_eq!((world.answer(old), world.answer(young)), (None, None));
    world.fault(Fault::Restored);
    world.play(1_000);
    assert_eq!(world.answer(old), None, "its client gave up after two minutes");
    assert!(world.answer(young).is_some());
    assert_eq!(world.state(id), "Exited 0 Completed after 10s");
}

/// containerd/containerd#9947: the retry after the deadline fails until the first call ends.
#[test]
fn a_sandbox_name_stays_reserved_while_its_network_hangs() {
    for (profile, retry, later) in [
        (Profile::containerd(), Some("failed to reserve sandbox name \"pod-1_shop_"), true),
        (Profile::cri_o(), None, true),
        (Profile::docker(), None, true),
    ] {
        let mut world = World::of(profile, vec![]);
        world.fault(Fault::NetworkHangs(true));
        let first = world.send(Call::RunPodSandbox(pod_config(1, 0)));
        world.play(252_000);
        let second = world.send(Call::RunPodSandbox(pod_config(1, 0)));
        world.play(108_000);
        match retry {
            Some(text) => assert!(world.answer(second).unwrap().1.unwrap_err().message.contains(text)),
            None => assert_eq!(world.answer(second), None),
        }
        world.fault(Fault::NetworkHangs(false));
        world.play(1_000);
        assert_eq!(world.answer(first), None, "nobody waits for it any more");
        if retry.is_none() {
            assert!(matches!(world.answer(second), Some((_, Ok(Answer::Sandbox(_))))));
        }
        let third = world.ask(Call::RunPodSandbox(pod_config(1, if retry.is_some() { 0 } else { 1 })));
        assert_eq!(third.is_ok(), later);
    }
}

#[test]
fn without_a_subnet_the_network_is_not_ready_until_the_kubelet_brings_one() {
    let bare =
        |profile| World::with(Config { pod_subnet: None, profile: Arc::new(steady(profile)), ..World::config() });
    let mut world = bare(Profile::containerd());
    let Ok(Answer::Status { network_ready: Err(why), .. }) = world.ask(Call::Status) else { panic!() };
    assert!(why.contains("cni plugin not initialized"));
    assert!(world.ask(Call::RunPodSandbox(pod_config(1, 0))).unwrap_err().message.contains("cni config"));
    world.ask(Call::UpdateRuntimeConfig { pod_cidr: "10.1.2.0/24".into() }).unwrap();
    world.ask(Call::RunPodSandbox(pod_config(1, 0))).unwrap();

    let mut world = bare(Profile::cri_o());
    let waits = world.send(Call::RunPodSandbox(pod_config(1, 0)));
    world.play(5_000);
    assert_eq!(world.answer(waits), None);
    world.ask(Call::UpdateRuntimeConfig { pod_cidr: "10.1.2.0/24".into() }).unwrap();
    assert!(world.answer(waits).unwrap().1.is_ok());
}

#[test]
fn faults_hit_the_containers_that_they_name() {
    let mut world = World::new(vec![]);
    let ids: Vec<ContainerId> = (1..=3)
        .map(|pod| {
            let sandbox = world.sandbox(pod);
            world.start_in(sandbox, container(&[]))
        })
        .collect();
    let name = Name::new;
    world.fault(Fault::Exit { namespace: name("shop"), pod: name("pod-1"), container: name(""), code: 9 });
    world.fault(Fault::Oom { namespace: name("shop"), pod: name("pod-2"), container: name("main") });
    world.fault(Fault::Exit { namespace: name("other"), pod: name(""), container: name(""), code: 9 });
    let codes: Vec<(i32, Name)> =
        ids.iter().map(|id| world.status(*id)).map(|status| (status.exit_code, status.reason)).collect();
    assert_eq!(codes, [(9, name("Error")), (137, name("OOMKilled")), (0, name(""))]);
}

#[test]
fn a_stop_whose_caller_is_gone_sends_no_sigkill_but_a_later_one_does() {
    let mut world = World::new(all(Behavior { on_term: Some(OnTerm::Ignore), ..Behavior::default() }));
    let id = world.start(container(&["nginx"]));
    world.send(Call::StopContainer { container: id, timeout: Duration::from_secs(10) });
    world.play(5_000);
    world.fault(Fault::CallerGone);
    world.play(20_000);
    assert_eq!(world.state(id), "Running");
    world.send(Call::StopContainer { container: id, timeout: Duration::from_secs(3) });
    world.play(3_500);
    assert!(world.state(id).starts_with("Exited 137 Error"), "{}", world.state(id));
}
