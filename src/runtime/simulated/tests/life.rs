//! Sandboxes and containers from the first call to the last.

use super::*;
use crate::model::MilliCpu;
use crate::protocol::cri::{Code, ContainerEventType, ContainerState, SandboxState};
use crate::runtime::simulated::behavior::{End, Ends, Growth, OnTerm};

fn ends(end: End) -> Vec<Rule> {
    all(Behavior { ends: Some(Ends::each(end)), ..Behavior::default() })
}

fn exit(after: u64, code: i32) -> End {
    End::Exit { after: constant(after), code, probability: 1.0 }
}

/// What became of a container with this command after `seconds`.
fn check(behaviors: Vec<Rule>, config: ContainerConfig, seconds: u64, expected: &str) {
    let mut world = World::new(behaviors);
    let id = world.start(config.clone());
    world.play(seconds * 1000);
    assert_eq!(world.state(id), expected, "{:?} {:?}", config.command, config.annotations);
}

#[test]
fn a_pod_goes_from_sandbox_to_removal_in_a_handful_of_messages() {
    let mut world = World::new(vec![]);
    let sandbox = world.sandbox(1);
    assert_eq!(world.now, Time::from_nanos(120_000_000), "sandbox and CNI");
    let id = world.start_in(sandbox, container(&["sleep", "3600"]));
    assert_eq!(world.now, Time::from_nanos(220_000_000), "create and start");
    let Ok(Answer::SandboxStatus(status)) = world.ask(Call::PodSandboxStatus(sandbox)) else { panic!() };
    assert_eq!((status.summary.state, status.ip.unwrap().to_string().as_str()), (SandboxState::Ready, "10.244.1.2"));
    world.ask(Call::StopContainer { container: id, timeout: Duration::from_secs(2) }).unwrap();
    world.ask(Call::StopPodSandbox(sandbox)).unwrap();
    world.ask(Call::RemovePodSandbox(sandbox)).unwrap();
    world.play(10_000_000);
    assert_eq!(world.ask(Call::ListPodSandbox { pod: None }), Ok(Answer::Sandboxes(vec![])));
    assert_eq!(world.ask(Call::ListContainers { pod: Some(Uid(1)) }), Ok(Answer::Containers(vec![])));
    let kinds: Vec<_> = world.events.iter().map(|event| (event.container.is_some(), event.kind)).collect();
    use ContainerEventType::{Created, Deleted, Started, Stopped};
    assert_eq!(
        kinds,
        [
            (false, Created),
            (false, Started),
            (true, Created),
            (true, Started),
            (true, Stopped),
            (false, Stopped),
            (true, Deleted),
            (false, Deleted)
        ]
    );
    assert!(world.handled <= 15, "{} messages", world.handled);
}

#[test]
fn a_program_that_ends_at_once_is_seen_running_right_after_its_start() {
    let mut world = World::new(vec![]);
    let id = world.start(container(&["sh", "-c", "exit 1"]));
    assert_eq!(world.state(id), "Running");
    world.play(60);
    assert_eq!(world.state(id), "Exited 1 Error after 50ms");
}

#[test]
fn an_idle_container_schedules_nothing() {
    let mut world = World::new(all(Behavior { startup: Some(constant(5)), ..Behavior::default() }));
    world.start(container(&["nginx"]));
    assert!(world.queue.is_empty());
}

#[test]
fn programs_end_as_their_command_says_and_unknown_ones_run_for_ever() {
    for (config, expected) in [
        (container(&["sleep", "5"]), "Exited 0 Completed after 5s"),
        (container(&["sh", "-c", "sleep 3; exit 1"]), "Exited 1 Error after 3s"),
        (container(&["/bin/sh", "-c", "echo hi && sleep 3600"]), "Running"),
        (container(&["nginx"]), "Running"),
        (container(&[]), "Running"),
        (ContainerConfig { args: Arc::new(["5".into()]), ..container(&["sleep"]) }, "Exited 0 Completed after 5s"),
        (ContainerConfig { args: Arc::new(["sleep".into(), "5".into()]), ..container(&[]) }, "Running"),
        (annotated("init", "Always"), "Exited 0 Completed after 1s"),
        (annotated("sidecar", "Never"), "Running"),
        (annotated("regular", "Always"), "Running"),
        (annotated("regular", "OnFailure"), "Exited 0 Completed after 1s"),
        (annotated("regular", "Never"), "Exited 0 Completed after 1s"),
    ] {
        check(vec![], config, 60, expected);
    }
}

#[test]
fn a_behaviour_says_how_each_start_ends() {
    let restart = |attempt| ContainerConfig { attempt, ..container(&["sleep", "1"]) };
    let starts = || {
        all(Behavior {
            ends: Some(Ends { starts: vec![exit(2, 42), End::Oom { after: constant(3) }], later: End::Never }),
            ..Behavior::default()
        })
    };
    check(starts(), restart(0), 60, "Exited 42 Error after 2s");
    check(starts(), restart(1), 60, "Exited 137 OOMKilled after 3s");
    check(starts(), restart(7), 60, "Running");
    check(ends(exit(4, 0)), annotated("init", "Never"), 60, "Exited 0 Completed after 4s");
    let never = End::Exit { after: constant(1), code: 1, probability: 0.0 };
    check(ends(never), container(&[]), 60, "Running");
    let sh = || all(Behavior { runs_sh: true, ..Behavior::default() });
    check(sh(), container(&["sh", "-c", "sleep 2; exit 3"]), 60, "Exited 3 Error after 2s");
    check(sh(), annotated("init", "Never"), 60, "Exited 0 Completed after 1s");
    check(
        sh(),
        ContainerConfig { command: container(&["sh", "-c", "nginx"]).command, ..annotated("init", "Never") },
        60,
        "Running",
    );
}

#[test]
fn memory_that_grows_to_the_limit_is_an_oom_kill_at_that_moment() {
    let grows = || {
        all(Behavior {
            memory: Some(Growth { start: 100, per_minute: 60, ..Growth::default() }),
            ..Behavior::default()
        })
    };
    let limited = |limit| ContainerConfig {
        resources: LinuxResources { memory_limit_in_bytes: limit, ..LinuxResources::default() },
        ..container(&[])
    };
    check(grows(), limited(130), 29, "Running");
    check(grows(), limited(130), 60, "Exited 137 OOMKilled after 30s");
    check(grows(), limited(0), 3600, "Running");

    let mut world = World::new(grows());
    let id = world.start(limited(130));
    world.play(10_000);
    let resources = LinuxResources { memory_limit_in_bytes: 145, ..LinuxResources::default() };
    world.ask(Call::UpdateContainerResources { container: id, resources }).unwrap();
    world.play(60_000);
    assert_eq!(world.state(id), "Exited 137 OOMKilled after 45s");
    assert!(matches!(&world.records[..], [Record::Decided { text, .. }] if text.contains("limit of 145 bytes")));

    let fills = all(Behavior { memory: Some(Growth { start: 1 << 30, ..Growth::default() }), ..Behavior::default() });
    check(fills, limited(0), 1, "Exited 137 Error after 0s");
}

#[test]
fn sigterm_ends_programs_as_they_handle_it_and_sigkill_the_rest() {
    let term = |on_term| all(Behavior { on_term: Some(on_term), ..Behavior::default() });
    let exit_after = |seconds, code| OnTerm::ExitAfter { after: constant(seconds), code };
    for (behaviors, command, timeout, expected) in [
        (vec![], vec!["nginx"], 30, "Exited 143 Error after 7s"),
        (term(exit_after(2, 0)), vec![], 30, "Exited 0 Completed after 9s"),
        (term(exit_after(4, 3)), vec![], 30, "Exited 3 Error after 11s"),
        (term(exit_after(40, 3)), vec![], 30, "Exited 137 Error after 37s"),
        (term(OnTerm::Ignore), vec![], 10, "Exited 137 Error after 17s"),
        (vec![], vec!["sleep", "3600"], 10, "Exited 137 Error after 17s"),
        (vec![], vec!["sleep", "12"], 10, "Exited 0 Completed after 12s"),
        (vec![], vec!["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"], 10, "Exited 0 Completed after 7s"),
        (vec![], vec!["nginx"], 0, "Exited 137 Error after 7s"),
        (ends(exit(8, 5)), vec![], 10, "Exited 143 Error after 7s"),
    ] {
        let mut world = World::new(behaviors);
        let id = world.start(container(&command));
        world.play(7_000);
        let begun = world.now;
        world.ask(Call::StopContainer { container: id, timeout: Duration::from_secs(timeout) }).unwrap();
        let took = world.now.since(begun);
        assert_eq!(world.state(id), expected, "{command:?}");
        let status = world.status(id);
        assert_eq!(
            took,
            status.finished_at.time().since(begun) + Duration::from_millis(50),
            "the answer comes after the end"
        );
    }
}

#[test]
fn a_second_stop_may_shorten_the_grace_time_but_sends_no_second_sigterm() {
    let slow = OnTerm::ExitAfter { after: constant(20), code: 0 };
    let mut world = World::new(all(Behavior { on_term: Some(slow), ..Behavior::default() }));
    let id = world.start(container(&[]));
    let stop = |seconds| Call::StopContainer { container: id, timeout: Duration::from_secs(seconds) };
    let first = world.send(stop(30));
    world.play(5_000);
    let second = world.send(stop(2));
    world.play(60_000);
    assert_eq!(world.state(id), "Exited 137 Error after 7s");
    assert_eq!(world.answer(first).unwrap().0, world.answer(second).unwrap().0);
}

#[test]
fn wrong_transitions_and_unknown_ids_are_errors_or_nothing() {
    let mut world = World::new(vec![]);
    let sandbox = world.sandbox(1);
    let id = world.start_in(sandbox, container(&[]));
    let create = |sandbox, attempt, image: &str| Call::CreateContainer {
        sandbox,
        config: Arc::new(ContainerConfig { attempt, image: image.into(), ..container(&[]) }),
    };
    let (gone, lost) = (ContainerId(99), SandboxId(99));
    let (second, zero) = (Duration::from_secs(1), Duration::ZERO);
    for (call, code, text) in [
        (Call::StartContainer(id), Code::Unknown, "container is in CONTAINER_RUNNING state"),
        (create(sandbox, 0, "app:1"), Code::Unknown, "failed to reserve container name \"main_pod-1_shop_"),
        (create(sandbox, 1, "other:1"), Code::NotFound, "other:1"),
        (create(lost, 0, "app:1"), Code::NotFound, "try to find sandbox"),
        (Call::ContainerStatus(gone), Code::NotFound, "an error occurred when try to find container"),
        (Call::StartContainer(gone), Code::NotFound, "not found"),
        (Call::StopContainer { container: gone, timeout: second }, Code::NotFound, "not found"),
        (Call::PodSandboxStatus(lost), Code::NotFound, "not found"),
        (Call::ExecSync { container: gone, command: Arc::new([]), timeout: zero }, Code::NotFound, "not found"),
    ] {
        let error = world.ask(call.clone()).expect_err(call.name());
        assert!(error.code == code && error.message.contains(text), "{}: {error}", call.name());
    }
    for call in [Call::RemoveContainer(gone), Call::StopPodSandbox(lost), Call::RemovePodSandbox(lost)] {
        assert_eq!(world.ask(call.clone()), Ok(Answer::Done), "{}", call.name());
    }
    world.ask(Call::StopPodSandbox(sandbox)).unwrap();
    assert_eq!(world.status(id).exit_code, 137, "stopping the sandbox kills what runs in it");
    assert_eq!(world.ask(create(sandbox, 1, "app:1")).unwrap_err().code, Code::NotFound);
    world.ask(Call::RemoveContainer(id)).unwrap();
    assert_eq!(world.ask(Call::ContainerStatus(id)).unwrap_err().code, Code::NotFound);
}

#[test]
fn an_address_is_free_again_once_its_sandbox_is_stopped() {
    let config = Config { pod_subnet: Subnet::parse("10.0.0.0/30"), ..World::config() };
    let mut world = World::with(config);
    let sandbox = world.sandbox(1);
    let error = world.ask(Call::RunPodSandbox(pod_config(2, 0))).unwrap_err();
    assert!(error.message.contains("plugin type=\"bridge\" failed (add): failed to allocate for range 0"), "{error}");
    world.ask(Call::StopPodSandbox(sandbox)).unwrap();
    world.ask(Call::RunPodSandbox(pod_config(2, 1))).unwrap();
    let host = PodSandboxConfig { host_network: true, ..(*pod_config(3, 0)).clone() };
    let Ok(Answer::Sandbox(id)) = world.ask(Call::RunPodSandbox(Arc::new(host))) else { panic!() };
    let Ok(Answer::SandboxStatus(status)) = world.ask(Call::PodSandboxStatus(id)) else { panic!() };
    assert_eq!((status.ip, status.host_network), (None, true));
}

#[test]
fn a_program_that_cannot_be_started_fails_where_its_runtime_fails() {
    let broken = || all(Behavior { cannot_start: Some("exec: \"nosuch\": not found".into()), ..Behavior::default() });
    for (profile, created, started, state) in [
        (Profile::containerd(), true, false, "Exited 128 StartError after 0s"),
        (Profile::docker(), true, false, "Exited 127 ContainerCannotRun after 0s"),
        (Profile::cri_o(), false, false, ""),
    ] {
        let mut world = World::of(profile, broken());
        let sandbox = world.sandbox(1);
        let made = world.ask(Call::CreateContainer { sandbox, config: Arc::new(container(&[])) });
        assert_eq!(made.is_ok(), created);
        let Ok(Answer::Container(id)) = made else {
            assert!(made.unwrap_err().message.contains("exec: \"nosuch\": not found"));
            continue;
        };
        assert_eq!(world.ask(Call::StartContainer(id)).is_ok(), started);
        assert_eq!(world.state(id), state);
    }
}

#[test]
fn operations_on_one_node_slow_each_other_down() {
    let profile = Profile { contention_per_thousand: 500, ..steady(Profile::containerd()) };
    let mut world = World::with(Config { profile: Arc::new(profile), ..World::config() });
    let calls: Vec<CallId> = (1..=20).map(|pod| world.send(Call::RunPodSandbox(pod_config(pod, 0)))).collect();
    world.play(60_000);
    let last = calls.iter().filter_map(|id| world.answers.get(id)).map(|(at, _)| at.as_nanos() / 1_000_000).max();
    assert_eq!(last, Some(120 * 17 / 2));
}

#[test]
fn commands_in_a_container_take_their_time_and_time_out() {
    let mut world = World::new(vec![]);
    let id = world.start(container(&["nginx"]));
    let mut exec = |command: &str, timeout| {
        let begun = world.now;
        let command = ["sh", "-c", command].into_iter().map(Text::new).collect();
        let answer = world.ask(Call::ExecSync { container: id, command, timeout: Duration::from_secs(timeout) });
        let took = world.now.since(begun);
        match answer {
            Ok(Answer::Exec { exit_code, .. }) => format!("{exit_code} after {took}"),
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("{:?} after {took}", error.code),
        }
    };
    assert_eq!(exec("sleep 8", 0), "0 after 8.045s");
    assert_eq!(exec("sleep 2; exit 1", 0), "1 after 2.045s");
    assert_eq!(exec("sleep 8", 2), "DeadlineExceeded after 2s");
    assert_eq!(exec("/usr/local/bin/drain", 1), "0 after 45ms");
    let command: Arc<[Text]> = ["sleep", "100"].into_iter().map(Text::new).collect();
    let call = world.send(Call::ExecSync { container: id, command, timeout: Duration::ZERO });
    world.play(1_000);
    world.ask(Call::StopContainer { container: id, timeout: Duration::from_secs(1) }).unwrap();
    assert_eq!(world.answer(call).unwrap().1, Ok(Answer::Exec { exit_code: 137, output: Text::default() }));
}

#[test]
fn usage_follows_the_behaviour() {
    let mut world = World::new(all(Behavior {
        memory: Some(Growth { start: 1000, per_minute: 600, ..Growth::default() }),
        disk: Some(Growth { per_minute: 60, ..Growth::default() }),
        cpu: Some(MilliCpu(300)),
        ..Behavior::default()
    }));
    let id = world.start(container(&[]));
    world.play(60_000);
    let Ok(Answer::Stats(stats)) = world.ask(Call::ListContainerStats) else { panic!() };
    let [stats] = &stats[..] else { panic!() };
    assert_eq!((stats.container, stats.memory_working_set_bytes, stats.filesystem_used_bytes), (id, 1600, 60));
    assert_eq!(stats.cpu_usage_core_nanos, 18_000_000_000);
}

#[test]
fn draws_of_a_program_do_not_depend_on_what_else_runs() {
    let crash = || {
        ends(End::Exit {
            after: Distribution::Exponential { mean: Duration::from_secs(60) },
            code: 1,
            probability: 1.0,
        })
    };
    let ran = |crowd: u64| {
        let mut world = World::new(crash());
        for pod in 2..2 + crowd {
            let sandbox = world.sandbox(pod);
            world.start_in(sandbox, container(&[]));
        }
        let id = world.start(container(&[]));
        world.play(3_600_000);
        let status = world.status(id);
        assert_eq!(status.summary.state, ContainerState::Exited);
        status.finished_at.since(status.started_at)
    };
    assert_eq!(ran(0), ran(5));
    assert!(!ran(0).is_zero());
}

#[test]
fn a_container_takes_a_few_hundred_bytes() {
    assert!(size_of::<crate::runtime::simulated::containers::Container>() <= 256);
    assert!(size_of::<crate::runtime::simulated::program::Program>() <= 256);
}

#[test]
fn each_effect_names_the_call_that_led_to_it() {
    let mut world = World::new(vec![]);
    let (one, two) =
        (world.send(Call::RunPodSandbox(pod_config(1, 0))), world.send(Call::RunPodSandbox(pod_config(2, 0))));
    world.play(1_000);
    let Some((_, Ok(Answer::Sandbox(sandbox)))) = world.answer(one) else { panic!() };
    let id = world.start_in(sandbox, container(&["sleep", "100"]));
    let start = world.calls;
    world.play(1_000);
    let stop = world.send(Call::StopContainer { container: id, timeout: Duration::from_secs(5) });
    world.play(10_000);
    let sandbox_again = ContainerConfig { attempt: 1, ..container(&["sleep", "7"]) };
    world.start_in(sandbox, sandbox_again);
    let second_start = world.calls;
    world.play(10_000);
    for id in [one, two, stop] {
        assert_eq!(world.causes[&id].raw() as u64, id.0);
    }
    let stopped =
        world.events.iter().zip(&world.event_causes).filter(|(event, _)| event.kind == ContainerEventType::Stopped);
    let causes: Vec<u64> = stopped.map(|(_, cause)| u64::from(cause.raw())).collect();
    assert_eq!(causes, [stop.0, second_start], "killed because of the stop, ended because of the start; not {start}");
}

fn grows(start: u64, per_minute: u64) -> Behavior {
    Behavior { memory: Some(Growth { start, per_minute, ..Growth::default() }), ..Behavior::default() }
}

#[test]
fn the_kernel_kills_the_worst_of_a_pod_whose_memory_reaches_the_pods_limit() {
    let resources = |limit| LinuxResources { memory_limit_in_bytes: limit, ..LinuxResources::default() };
    let mut world = World::new(all(grows(100, 60)));
    let config = PodSandboxConfig { resources: Some(resources(260)), ..(*pod_config(1, 0)).clone() };
    let Ok(Answer::Sandbox(sandbox)) = world.ask(Call::RunPodSandbox(Arc::new(config))) else { panic!() };
    let named = |name: &str, oom_score_adj| ContainerConfig {
        name: name.into(),
        resources: LinuxResources { oom_score_adj, ..LinuxResources::default() },
        ..container(&[])
    };
    let one = world.start_in(sandbox, named("one", 0));
    let two = world.start_in(sandbox, named("two", 500));
    world.play(20_000);
    let resized = Call::UpdatePodSandboxResources { sandbox, resources: resources(280) };
    world.ask(resized).unwrap();
    world.play(15_000);
    assert_eq!(world.state(two), "Running");
    world.play(10_000);
    assert_eq!(world.state(one), "Running");
    let state = world.state(two);
    assert!(
        state.starts_with("Exited 137 OOMKilled after 3") || state.starts_with("Exited 137 OOMKilled after 4"),
        "{state}"
    );
    assert!(world.victims.is_empty(), "the machine had memory enough: {:?}", world.victims);
}

#[test]
fn a_full_machine_kills_the_worst_and_the_kernel_tells_of_it() {
    let mut world = World::new(all(grows(400 << 20, 60 << 20)));
    let sandbox = world.sandbox(1);
    let named = |name: &str, oom_score_adj, command: &[&str]| ContainerConfig {
        name: name.into(),
        resources: LinuxResources { oom_score_adj, ..LinuxResources::default() },
        ..container(command)
    };
    let one = world.start_in(sandbox, named("one", 900, &["/usr/bin/a-very-long-process-name"]));
    let two = world.start_in(sandbox, named("two", -997, &[]));
    world.play(120_000);
    assert!(world.state(one).starts_with("Exited 137 Error after "), "{}", world.state(one));
    assert_eq!(world.state(two), "Running");
    assert_eq!(world.victims, ["a-very-long-pro"]);
}

#[test]
fn nothing_forks_beyond_the_limit_of_its_pod() {
    let forks =
        Behavior { processes: Some(Growth { start: 5, per_minute: 60, ..Growth::default() }), ..Behavior::default() };
    let mut world = World::new(all(forks));
    let config = PodSandboxConfig { pids_limit: 20, ..(*pod_config(1, 0)).clone() };
    let Ok(Answer::Sandbox(sandbox)) = world.ask(Call::RunPodSandbox(Arc::new(config))) else { panic!() };
    for name in ["one", "two"] {
        world.start_in(sandbox, ContainerConfig { name: name.into(), ..container(&[]) });
    }
    for (millis, processes) in [(2_000, 10..=16), (60_000, 20..=20)] {
        world.play(millis);
        let now = world.now;
        world.hear(In::Stats(crate::protocol::stats::Request { disk_at: now, volumes_at: now }));
        world.play(1);
        let used = world.measured.as_ref().expect("a measurement").processes.amount;
        assert!(processes.contains(&used), "{used} after {millis} ms");
    }
}
