//! The life of a pod from its binding to its removal.

use super::world::{Program, World, check, container, never, pod};
use crate::kernel::Duration;
use crate::model::Container;
use crate::model::pod::{Handler, RestartPolicy};
use std::sync::Arc;

const CALLS: &[&str] = &["RunPodSandbox", "Create", "Start", "Stop", "Pull", "PreStop", "PostStart"];
const STATUS: &[&str] = &["status", "deleted"];

fn sidecar(name: &'static str) -> Container {
    Container { restart_policy: Some(RestartPolicy::Always), ..container(name) }
}

#[test]
fn a_pod_starts_in_the_order_of_a_real_kubelet() {
    let mut world = World::new();
    world.at(5000, |world| world.create(pod("p", vec![container("main")], |_| {})));
    world.run(8000);
    check(
        world.said(&["RunPod", "Image", "Create", "Start", "status", "event"]),
        "status p Pending I main=ContainerCreating
         RunPodSandbox p#0
         status p Pending PI main=ContainerCreating
         ImageStatus app:1
         event p Normal Pulled: Container image \"app:1\" already present on machine and can be accessed by the pod x1
         ImageStatus app:1
         CreateContainer p/main#0
         event p Normal Created: Container created x1
         StartContainer p/main#0
         event p Normal Started: Container started x1
         status p Running PIR main=running!",
    );
    assert_eq!(world.times("status p Pending I "), [5002]);
    assert_eq!(world.times("RunPodSandbox"), [5302], "one look at the volumes after 300 ms");
    let running = world.times("Running")[0];
    assert!((5464..5490).contains(&running), "at once, by a relist of the pod alone: {running}");
}

#[test]
fn a_running_pod_leaves_no_event_in_the_queue() {
    let mut world = World::new();
    world.create(pod("p", vec![container("main")], |_| {}));
    world.run(300_000);
    let messages = world.messages;
    world.run(3_600_000);
    assert_eq!(world.messages - messages, 0);
    assert_eq!(world.pending(), 0);
    assert!(messages < 60, "{messages} messages for a start");
}

#[test]
fn a_deleted_pod_stops_is_published_and_removed() {
    let mut world = World::new();
    world.create(pod("p", vec![container("main")], |_| {}));
    world.at(8000, |world| world.delete("p", 30));
    world.run(150_000);
    check(
        world.said(&["Stop", "Remove", "status p S", "status p F", "event p Normal Killing", "deleted"]),
        "event p Normal Killing: Stopping container main x1
         StopContainer p/main#0 30
         StopPodSandbox p
         status p Succeeded I main=exit-0
         deleted p
         RemoveContainer p/main#0
         StopPodSandbox p
         RemovePodSandbox p",
    );
    let gone = world.times("deleted p")[0];
    assert!((8090..9500).contains(&gone), "{gone}");
    assert!(world.messages < 120, "{} messages for a life", world.messages);
    assert_eq!(world.pending(), 0);
}

#[test]
fn a_program_that_ignores_sigterm_is_killed_at_the_grace_periods_end() {
    let mut world = World::new();
    world.programs.insert("main", Program { on_sigterm: None, ..Program::default() });
    world.create(pod("p", vec![container("main")], |_| {}));
    world.at(6000, |world| world.delete("p", 10));
    world.run(30_000);
    check(
        world.said(&["StopContainer", "status p F", "deleted"]),
        "StopContainer p/main#0 10
         status p Failed I main=exit-137
         deleted p",
    );
    assert!((16_000..16_200).contains(&world.times("status p Failed")[0]));
}

#[test]
fn a_pre_stop_hook_takes_its_time_from_the_grace_period_and_leaves_at_least_two_seconds() {
    let with_hook = |hook: Handler| Container { pre_stop: Some(Arc::new(hook)), ..container("main") };
    for (hook, millis, grace, stop, timeout) in [
        (Handler::Exec { command: vec![] }, 8000, 30, 14_002, 22),
        (Handler::Sleep(Duration::from_secs(6)), 0, 30, 12_002, 24),
        (Handler::Exec { command: vec![] }, 20_000, 6, 12_002, 2),
    ] {
        let mut world = World::new();
        world.programs.insert("main", Program { hook_millis: millis, on_sigterm: None, ..Program::default() });
        world.create(pod("p", vec![with_hook(hook)], |_| {}));
        world.at(6000, move |world| world.delete("p", grace));
        world.run(60_000);
        assert_eq!(world.said(&["StopContainer"]), [format!("StopContainer p/main#0 {timeout}")]);
        assert_eq!(world.times("StopContainer"), [stop]);
    }
}

#[test]
fn init_containers_run_one_after_another_and_then_the_pod_starts() {
    let mut world = World::new();
    for name in ["i1", "i2"] {
        world.programs.insert(name, Program { runs: vec![(2000, 0)], ..Program::default() });
    }
    let init = vec![container("i1"), container("i2")];
    world.create(pod("p", vec![container("main")], |spec| spec.init_containers = init.into()));
    world.run(10_000);
    check(
        world.said(&["Start", "status"]),
        "status p Pending  i1=PodInitializing i2=PodInitializing main=PodInitializing
         status p Pending P i1=PodInitializing i2=PodInitializing main=PodInitializing
         StartContainer p/i1#0
         status p Pending P i1=running i2=PodInitializing main=PodInitializing
         status p Pending P i1=exit-0! i2=PodInitializing main=PodInitializing
         StartContainer p/i2#0
         status p Pending P i1=exit-0! i2=running main=PodInitializing
         status p Pending PI i1=exit-0! i2=exit-0! main=PodInitializing
         StartContainer p/main#0
         status p Running PIR i1=exit-0! i2=exit-0! main=running!",
    );
}

#[test]
fn a_failing_init_container_is_repeated_with_back_off_or_fails_the_pod() {
    let failing = |policy| {
        let mut world = World::new();
        world.programs.insert("i", Program { runs: vec![(100, 7)], ..Program::default() });
        world.create(pod("p", vec![container("main")], |spec| {
            spec.init_containers = [container("i")].into();
            spec.restart_policy = policy;
        }));
        world.run(20_000);
        world
    };
    let world = failing(RestartPolicy::Always);
    assert_eq!(world.times("StartContainer p/i").len(), 3, "at once, then after 10 s");
    let world = failing(RestartPolicy::Never);
    assert_eq!(world.times("StartContainer").len(), 1);
    check(world.said(&["status p F"]), "status p Failed  i=exit-7 main=PodInitializing");
}

#[test]
fn sidecars_start_before_and_stop_after_the_main_container_in_reverse_order() {
    let mut world = World::new();
    for name in ["sa", "sb", "main"] {
        world.programs.insert(name, Program { on_sigterm: Some((1000, 0)), ..Program::default() });
    }
    let init = vec![sidecar("sa"), sidecar("sb")];
    world.create(pod("p", vec![container("main")], |spec| spec.init_containers = init.into()));
    world.at(20_000, |world| world.delete("p", 30));
    world.run(23_900);
    check(
        world.said(CALLS),
        "RunPodSandbox p#0
         CreateContainer p/sa#0
         StartContainer p/sa#0
         CreateContainer p/sb#0
         StartContainer p/sb#0
         CreateContainer p/main#0
         StartContainer p/main#0
         StopContainer p/main#0 30
         StopContainer p/sb#0 29
         StopContainer p/sa#0 28
         StopPodSandbox p",
    );
}

#[test]
fn a_task_with_a_sidecar_succeeds_when_its_main_container_does() {
    let mut world = World::new();
    world.programs.insert("main", Program { runs: vec![(3000, 0)], ..Program::default() });
    world.create(pod("p", vec![container("main")], |spec| {
        never(spec);
        spec.init_containers = [sidecar("sc")].into();
    }));
    world.run(20_000);
    check(
        world.said(&["Stop", "event p Normal Killing", "status p R", "status p S"]),
        "status p Running PIR sc=running! main=running!
         status p Running PI sc=running! main=exit-0
         event p Normal Killing: Stopping container sc x1
         StopContainer p/sc#0 30
         StopPodSandbox p
         status p Running I sc=exit-0 main=exit-0
         StopPodSandbox p
         status p Succeeded I sc=exit-0 main=exit-0",
    );
}

#[test]
fn restart_policies_decide_on_the_end_of_a_pod() {
    for (policy, runs, phase, starts) in [
        (RestartPolicy::Never, vec![(1000, 0)], "Succeeded", 1),
        (RestartPolicy::Never, vec![(1000, 3)], "Failed", 1),
        (RestartPolicy::OnFailure, vec![(100, 1), (100, 1), (100, 0)], "Succeeded", 3),
        (RestartPolicy::Always, vec![(1000, 0), (60_000, 0)], "Running", 2),
    ] {
        let mut world = World::new();
        world.programs.insert("main", Program { runs, ..Program::default() });
        world.create(pod("p", vec![container("main")], |spec| spec.restart_policy = policy));
        world.run(40_000);
        assert_eq!(world.times("StartContainer").len(), starts, "{policy:?}");
        let last = world.said(STATUS).pop().unwrap_or_default();
        assert!(last.starts_with(&format!("status p {phase}")), "{policy:?}: {last}");
    }
}

#[test]
fn a_terminal_phase_comes_after_the_terminated_container() {
    let mut world = World::new();
    world.programs.insert("main", Program { runs: vec![(3000, 0)], ..Program::default() });
    world.create(pod("p", vec![container("main")], never));
    world.run(20_000);
    check(
        world.said(&["status p R", "status p S"]),
        "status p Running PIR main=running!
         status p Running PI main=exit-0
         status p Succeeded I main=exit-0",
    );
}

#[test]
fn a_crash_loop_waits_0_10_20_40_80_160_300_seconds_with_jitter() {
    for seed in 0..4 {
        let mut world = World::with(super::Observe::Sleeping, super::StartKind::WasRunning, seed);
        world.programs.insert("main", Program { runs: vec![(1000, 1)], ..Program::default() });
        world.create(pod("p", vec![container("main")], |_| {}));
        world.run(1_200_000);
        let starts = world.times("StartContainer");
        let waits: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0] - 1050).collect();
        let ranges =
            [(0, 1100), (10_000, 17_000), (20_000, 32_000), (40_000, 62_000), (80_000, 120_000), (160_000, 200_000)];
        for (wait, (least, most)) in waits.iter().zip(ranges) {
            assert!((least..most).contains(wait), "seed {seed}: {waits:?}");
        }
        assert!(waits.len() >= 7 && waits[6] >= 300_000, "{waits:?}");
    }
}

#[test]
fn crash_loop_back_off_shows_only_when_the_wait_ends() {
    let mut world = World::new();
    world.programs.insert("main", Program { runs: vec![(3000, 1)], ..Program::default() });
    world.create(pod("p", vec![container("main")], |_| {}));
    world.run(25_000);
    check(
        world.said(&["status p R", "event p Warning BackOff"]),
        "status p Running PIR main=running!
         status p Running PI main=exit-1
         status p Running PIR main=running!#1
         status p Running PI main=exit-1#1
         event p Warning BackOff: Back-off restarting failed container main in pod p_default(<uid>) x1
         status p Running PI main=CrashLoopBackOff#1
         status p Running PIR main=running!#2",
    );
    let (shown, starts) = (world.times("CrashLoopBackOff#1")[0], world.times("StartContainer"));
    assert!(starts[2] - shown < 50, "{shown} {starts:?}");
}

#[test]
fn a_long_run_makes_the_back_off_begin_anew() {
    let mut world = World::new();
    world.programs.insert("main", Program { runs: vec![(1000, 1), (621_000, 1), (1000, 1)], ..Program::default() });
    world.create(pod("p", vec![container("main")], |_| {}));
    world.run(700_000);
    let starts = world.times("StartContainer");
    assert!(starts[2] - starts[1] < 622_200, "at once after the long run: {starts:?}");
    assert!((10_000..17_500).contains(&(starts[3] - starts[2] - 1050)), "{starts:?}");
}

#[test]
fn a_failing_post_start_hook_kills_the_container() {
    let mut world = World::new();
    world.programs.insert("main", Program { hook_millis: 2000, hook_fails: true, ..Program::default() });
    let hooked =
        Container { post_start: Some(Arc::new(Handler::Exec { command: vec!["false".into()] })), ..container("main") };
    world.create(pod("p", vec![hooked], |_| {}));
    world.run(3_000);
    check(
        world.said(&["PostStart", "Stop", "event p Warning", "event p Normal Killing"]),
        "PostStart p/main#0
         event p Warning FailedPostStartHook: PostStartHook failed x1
         event p Normal Killing: FailedPostStartHook x1
         StopContainer p/main#0 30",
    );
    world.run(6000);
    assert_eq!(world.times("PostStartHookError").len(), 1);
}

#[test]
fn a_rejected_pod_fails_without_a_worker() {
    let mut world = World::new();
    world.create(pod("p", vec![container("main")], |spec| {
        spec.node_selector = crate::model::Labels::new([("disk".into(), "ssd".into())]);
    }));
    world.run(10_000);
    check(
        world.said(&["status", "event", "Run"]),
        "event p Warning NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector x1
         status p Failed/NodeAffinity ",
    );
}

#[test]
fn an_active_deadline_fails_the_pod_at_the_tick_after_it() {
    let mut world = World::new();
    world.create(pod("p", vec![container("main")], |spec| {
        never(spec);
        spec.active_deadline = Some(Duration::from_secs(15));
    }));
    world.run(60_000);
    let at = world.times("DeadlineExceeded")[0];
    assert!((15_000..16_100).contains(&at), "{at}");
    assert!(world.said(STATUS).pop().unwrap_or_default().starts_with("status p Failed/DeadlineExceeded"));
}

#[test]
fn a_forced_deletion_kills_what_still_runs() {
    let mut world = World::new();
    world.create(pod("p", vec![container("main")], |_| {}));
    world.at(5000, |world| world.delete("p", 0));
    world.run(120_000);
    check(
        world.said(&["Stop", "Remove", "deleted"]),
        "StopContainer p/main#0 30
         StopPodSandbox p
         RemoveContainer p/main#0
         StopPodSandbox p
         RemovePodSandbox p",
    );
    assert_eq!(world.pending(), 0);
}

#[test]
fn a_missing_config_map_is_looked_for_after_half_a_second_and_twice_as_long_each_time() {
    use crate::model::pod::{Volume, VolumeSource};
    let mut world = World::new();
    let source =
        VolumeSource::ConfigMap { name: "late".into(), optional: false, items: Vec::new(), default_mode: 0o644 };
    world.create(pod("p", vec![container("main")], |spec| {
        spec.volumes = [Volume { name: "v".into(), source }].into();
    }));
    world.at(40_000, |world| world.add_config_map("late"));
    world.run(70_000);
    let failures: Vec<u64> = world.times("FailedMount").iter().map(|at| at / 100).collect();
    assert_eq!(failures, [2, 7, 17, 37, 77, 157, 317]);
    let started = world.times("RunPodSandbox")[0];
    assert!((63_700..64_100).contains(&started), "{started}");
}

#[test]
fn a_missing_config_map_of_the_environment_is_looked_for_each_10_to_15_seconds() {
    use crate::model::pod::{ConfigSource, EnvFrom};
    let mut world = World::new();
    let from = EnvFrom { from: ConfigSource::ConfigMap("late".into()), prefix: "".into(), optional: false };
    world.create(pod("p", vec![Container { env_from: vec![from], ..container("main") }], |_| {}));
    world.at(40_000, |world| world.add_config_map("late"));
    world.run(60_000);
    let tries = world.times("event p Warning Failed: Error: configmap \"late\" not found");
    assert!((4..=6).contains(&tries.len()), "{tries:?}");
    assert!(tries[1] - tries[0] < 1100, "the sandbox's start is seen at the next relist: {tries:?}");
    assert!(tries[2..].windows(2).all(|pair| (10_000..16_100).contains(&(pair[1] - pair[0]))), "{tries:?}");
    assert_eq!(world.times("CreateContainerConfigError").len(), 1);
    assert!(world.said(STATUS).pop().unwrap_or_default().contains("main=running!"));
}

#[test]
fn a_rule_that_restarts_all_containers_kills_removes_and_begins_anew() {
    use crate::model::pod::RestartRule;
    let mut world = World::new();
    world.programs.insert("i", Program { runs: vec![(500, 0)], ..Program::default() });
    world.programs.insert("main", Program { runs: vec![(4000, 88), (1_000_000, 0)], ..Program::default() });
    let rule = RestartRule { restart_all: true, negated: false, exit_codes: vec![88] };
    let main = Container { restart_policy: Some(RestartPolicy::Never), restart_rules: vec![rule], ..container("main") };
    world.create(pod("p", vec![main, container("other")], |spec| {
        never(spec);
        spec.init_containers = [container("i")].into();
    }));
    world.run(5_000);
    world.log.clear();
    world.run(12_000);
    check(
        world.said(&["Run", "Start", "Stop", "Remove", "event p Normal Killing", "status"]),
        "status p Running PI i=exit-0! main=exit-88 other=running!
         event p Normal Killing: killing x1
         StopContainer p/other#0 2
         RemoveContainer p/other#0
         RemoveContainer p/i#0
         RemoveContainer p/main#0
         status p Running PI i=RestartingAllContainers#1 main=RestartingAllContainers#1 other=RestartingAllContainers#1
         StartContainer p/i#1
         status p Pending PI i=running#1 main=PodInitializing#1 other=PodInitializing#1
         status p Running PI i=exit-0!#1 main=PodInitializing#1 other=PodInitializing#1
         StartContainer p/main#1
         StartContainer p/other#1
         status p Running PIR i=exit-0!#1 main=running!#1 other=running!#1",
    );
}
