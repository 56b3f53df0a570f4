//! Tables of the pure functions: what a sync does, and which phase a pod has.

use std::net::Ipv4Addr;

use super::world::{container, pod};
use crate::kernel::{Duration, Moment, Time};
use crate::kubelet::pod_actions::{ContainerRef, compute};
use crate::kubelet::probes::PodProbes;
use crate::kubelet::runtime_status::RuntimeStatus;
use crate::kubelet::status;
use crate::model::pod::{RestartPolicy, RestartRule};
use crate::model::{Container, Deletion, Labels, Name, Phase, Pod, PodStatus, Text, Uid};
use crate::protocol::cri::{
    ContainerId, ContainerState, ContainerStatus, ContainerSummary, SandboxId, SandboxState, SandboxStatus,
    SandboxSummary,
};
use crate::protocol::probe::Purpose;

/// A pod's containers in the runtime: `name=running`, `name=exit-3`, `name=created`, `name=unknown`.
fn runtime(sandbox: Option<SandboxState>, containers: &str) -> RuntimeStatus {
    let sandboxes = sandbox.into_iter().map(|state| SandboxStatus {
        summary: SandboxSummary {
            id: SandboxId(9),
            pod: Uid(1),
            namespace: "default".into(),
            name: "p".into(),
            attempt: 0,
            state,
            created_at: Time::ZERO,
        },
        ip: (state == SandboxState::Ready).then_some(Ipv4Addr::LOCALHOST),
        host_network: false,
        runtime_id: Name::default(),
    });
    let container = |(number, text): (usize, &str)| {
        let (name, state) = text.split_once('=').expect("name=state");
        let (state, exit_code) = match state {
            "running" => (ContainerState::Running, 0),
            "created" => (ContainerState::Created, 0),
            "unknown" => (ContainerState::Unknown, 0),
            exit => (ContainerState::Exited, exit.strip_prefix("exit-").expect("a state").parse().expect("a code")),
        };
        ContainerStatus {
            summary: ContainerSummary {
                id: ContainerId(number as u64 + 1),
                sandbox: SandboxId(9),
                pod: Uid(1),
                name: name.into(),
                attempt: 0,
                image: "app:1".into(),
                state,
                created_at: Time::ZERO,
            },
            started_at: Moment::ZERO,
            finished_at: Moment::ZERO,
            exit_code,
            reason: Name::default(),
            message: Text::default(),
            annotations: Labels::default(),
            runtime_id: Name::default(),
            image_ref: Name::default(),
        }
    };
    RuntimeStatus {
        sandboxes: sandboxes.collect(),
        containers: containers.split_whitespace().enumerate().map(container).collect(),
    }
}

fn sample(policy: RestartPolicy, init: Vec<Container>, regular: &[&'static str]) -> Pod {
    pod("p", regular.iter().map(|name| container(name)).collect(), |spec| {
        spec.restart_policy = policy;
        spec.init_containers = init.into();
    })
}

fn sidecar(name: &'static str) -> Container {
    Container { restart_policy: Some(RestartPolicy::Always), ..container(name) }
}

/// The actions in words: `kill-pod sandbox#1 kill:a start:a,b`.
fn actions(pod: &Pod, sandbox: Option<SandboxState>, containers: &str, probes: &PodProbes) -> String {
    let made = compute(pod, &runtime(sandbox, containers), probes);
    let name = |one: ContainerRef| one.of(&pod.spec).map(|container| container.name.as_str()).unwrap_or("?");
    let mut words = Vec::new();
    if made.kill_pod {
        words.push("kill-pod".to_owned());
    }
    if made.create_sandbox {
        words.push(format!("sandbox#{}", made.attempt));
    }
    words.extend(made.kill.iter().map(|order| format!("kill:{}", name(order.container))));
    if !made.reset.is_empty() {
        words.push(format!("reset:{}", made.reset.len()));
    }
    words.extend(made.start.iter().map(|one| format!("start:{}", name(*one))));
    words.join(" ")
}

#[test]
fn a_sync_does_what_the_runtime_asks_for() {
    use RestartPolicy::{Always, Never, OnFailure};
    let (ready, gone) = (Some(SandboxState::Ready), Some(SandboxState::NotReady));
    for (policy, sandbox, containers, expected) in [
        (Always, None, "", "kill-pod sandbox#0 start:a start:b"),
        (Always, ready, "", "start:a start:b"),
        (Always, ready, "a=running b=running", ""),
        (Always, ready, "a=running b=exit-0", "start:b"),
        (OnFailure, ready, "a=running b=exit-0", ""),
        (OnFailure, ready, "a=exit-1 b=exit-0", "start:a"),
        (Never, ready, "a=running b=exit-1", ""),
        (Never, ready, "a=exit-0 b=exit-1", "kill-pod"),
        (Always, ready, "a=created b=running", "start:a"),
        (Always, ready, "a=unknown b=running", "kill:a start:a"),
        (Always, gone, "a=running b=running", "kill-pod sandbox#1 start:a start:b"),
        (OnFailure, gone, "a=exit-0 b=running", "kill-pod sandbox#1 start:b"),
        (OnFailure, gone, "a=exit-0 b=exit-0", "kill-pod"),
        (Never, gone, "a=exit-0 b=running", "kill-pod"),
        (Never, gone, "", "kill-pod sandbox#1 start:a start:b"),
    ] {
        let pod = sample(policy, Vec::new(), &["a", "b"]);
        let found = actions(&pod, sandbox, containers, &PodProbes::default());
        assert_eq!(found, expected, "{policy:?} {sandbox:?} {containers}");
    }
}

#[test]
fn init_containers_go_first_and_one_by_one() {
    use RestartPolicy::{Always, Never};
    let ready = Some(SandboxState::Ready);
    for (policy, containers, expected) in [
        (Always, "", "start:i1"),
        (Always, "i1=running", ""),
        (Always, "i1=exit-0", "start:i2"),
        (Always, "i1=exit-3", "start:i1"),
        (Never, "i1=exit-3", "kill-pod"),
        (Always, "i2=running i1=exit-0", ""),
        (Always, "i2=exit-0 i1=exit-0", "start:main"),
        (Always, "main=running", ""),
        (Always, "main=exit-1 i2=exit-0 i1=exit-0", "start:main"),
    ] {
        let pod = sample(policy, vec![container("i1"), container("i2")], &["main"]);
        let found = actions(&pod, ready, containers, &PodProbes::default());
        assert_eq!(found, expected, "{policy:?} {containers}");
    }
    let pod = sample(Always, vec![container("i1")], &["main"]);
    let none = PodProbes::default();
    assert_eq!(actions(&pod, Some(SandboxState::NotReady), "main=running", &none), "kill-pod sandbox#1 start:i1");
}

#[test]
fn ephemeral_containers_start_first_and_only_once() {
    let ready = Some(SandboxState::Ready);
    for (sandbox, containers, expected) in [
        (ready, "", "start:e start:i"),
        (ready, "i=running", "start:e"),
        (ready, "i=exit-0", "start:e start:main"),
        (ready, "main=running", "start:e"),
        (ready, "main=running e=running", ""),
        (ready, "main=running e=exit-3", ""),
        (ready, "main=exit-0 i=exit-0 e=exit-3", "start:main"),
        (Some(SandboxState::NotReady), "main=running", "kill-pod sandbox#1 start:i"),
    ] {
        let mut pod = sample(RestartPolicy::Always, vec![container("i")], &["main"]);
        std::sync::Arc::make_mut(&mut pod.spec).ephemeral_containers = [container("e")].into();
        let found = actions(&pod, sandbox, containers, &PodProbes::default());
        assert_eq!(found, expected, "{sandbox:?} {containers}");
    }
}

#[test]
fn sidecars_are_kept_alive_beside_the_others() {
    let ready = Some(SandboxState::Ready);
    for (containers, expected) in [
        ("", "start:sc"),
        ("sc=running", "start:i2"),
        ("i2=exit-0 sc=running", "start:main"),
        ("i2=exit-0 sc=exit-1", "start:sc start:main"),
        ("main=running i2=exit-0 sc=exit-1", "start:sc"),
        ("main=running i2=exit-0 sc=running", ""),
    ] {
        let pod = sample(RestartPolicy::Always, vec![sidecar("sc"), container("i2")], &["main"]);
        assert_eq!(actions(&pod, ready, containers, &PodProbes::default()), expected, "{containers}");
    }
    let task = sample(RestartPolicy::Never, vec![sidecar("sc")], &["main"]);
    assert_eq!(actions(&task, ready, "main=exit-0 sc=running", &PodProbes::default()), "kill-pod");
}

#[test]
fn failed_probes_kill_and_restart_in_the_same_sync_unless_the_policy_is_never() {
    let ready = Some(SandboxState::Ready);
    for (policy, purpose, expected) in [
        (RestartPolicy::Always, Purpose::Liveness, "kill:a start:a"),
        (RestartPolicy::Always, Purpose::Startup, "kill:a start:a"),
        (RestartPolicy::Never, Purpose::Startup, "kill:a"),
        (RestartPolicy::Always, Purpose::Readiness, ""),
    ] {
        let pod = sample(policy, Vec::new(), &["a", "b"]);
        let probes = PodProbes::with_results(&[(purpose, ContainerRef::regular(0), ContainerId(1), false)]);
        let found = actions(&pod, ready, "a=running b=running", &probes);
        let expected = if expected == "kill:a" { "kill:a" } else { expected };
        assert_eq!(found, expected, "{policy:?} {purpose:?}");
    }
}

#[test]
fn restart_rules_go_before_the_policy() {
    let ready = Some(SandboxState::Ready);
    let rule = |restart_all, negated| RestartRule { restart_all, negated, exit_codes: vec![42] };
    for (rule, code, expected) in [
        (rule(false, false), 42, "start:a"),
        (rule(false, false), 1, ""),
        (rule(false, true), 1, "start:a"),
        (rule(true, false), 42, "reset:2"),
    ] {
        let ruled = Container {
            restart_policy: Some(RestartPolicy::Never),
            restart_rules: vec![rule.clone()],
            ..container("a")
        };
        let pod = pod("p", vec![ruled, container("b")], super::world::never);
        let found = actions(&pod, ready, &format!("a=exit-{code} b=running"), &PodProbes::default());
        assert_eq!(found, expected, "{rule:?} {code}");
    }
}

#[test]
fn the_phase_follows_from_the_containers() {
    use Phase::{Failed, Pending, Running, Succeeded};
    use RestartPolicy::{Always, Never, OnFailure};
    let plain = |policy| sample(policy, Vec::new(), &["a", "b"]);
    let init = |policy| sample(policy, vec![container("i")], &["a"]);
    let deleted = |mut pod: Pod| {
        pod.meta.deletion = Some(Deletion { at: Time::ZERO, grace: Duration::ZERO });
        pod
    };
    for (pod, containers, is_terminal, expected) in [
        // A deletion ends nothing by itself: the policy decides until all is dead.
        (deleted(init(Always)), "i=exit-137", true, Pending),
        (deleted(plain(Always)), "a=exit-1 b=exit-1", false, Running),
        (deleted(plain(Always)), "a=exit-1 b=exit-1", true, Failed),
        (plain(Always), "", false, Pending),
        (plain(Always), "a=running", false, Pending),
        (plain(Always), "a=running b=running", false, Running),
        (plain(Always), "a=running b=exit-1", false, Running),
        (plain(Always), "a=exit-1 b=exit-0", false, Running),
        (plain(OnFailure), "a=exit-0 b=exit-1", false, Running),
        (plain(OnFailure), "a=exit-0 b=exit-0", false, Succeeded),
        (plain(Never), "a=exit-0 b=exit-0", false, Succeeded),
        (plain(Never), "a=exit-0 b=exit-1", false, Failed),
        (plain(Never), "a=running b=exit-1", false, Running),
        (plain(Always), "a=exit-0 b=exit-0", true, Succeeded),
        (plain(Always), "a=exit-137 b=exit-0", true, Failed),
        (init(Always), "i=running", false, Pending),
        (init(Always), "i=exit-1", false, Pending),
        (init(Never), "i=exit-1", false, Failed),
        (init(Always), "a=running i=exit-0", false, Running),
    ] {
        let runtime = runtime(Some(SandboxState::Ready), containers);
        let input = status::Input {
            resize: None,
            pod: &pod,
            runtime: &runtime,
            old: &PodStatus::default(),
            reasons: &Default::default(),
            probes: &PodProbes::default(),
            now: Time::ZERO,
            host_ip: Ipv4Addr::LOCALHOST,
            kubelet_started: Time::ZERO,
            is_terminal,
        };
        let found = status::generate(&input, &mut Default::default()).phase;
        let policy = pod.spec.restart_policy;
        assert_eq!(found, expected, "{policy:?} {containers} {is_terminal}");
    }
}

#[test]
fn a_cpu_limit_is_a_quota_of_the_period_unless_limits_are_not_enforced() {
    use crate::kernel::Duration;
    use crate::kubelet::environment::Facts;
    use crate::model::MilliCpu;
    for (enforced, period, wanted) in
        [(true, 100, (100_000, 50_000)), (true, 20, (20_000, 10_000)), (false, 100, (100_000, 0))]
    {
        let mut config = super::world::World::new().config;
        config.kubelet.cpu_cfs_quota = enforced;
        config.kubelet.cpu_cfs_quota_period = Duration::from_millis(period);
        let mut half = container("main");
        half.resources.limits.cpu = Some(MilliCpu(500));
        let pod = pod("p", vec![half.clone()], |_| {});
        let made = Facts { pod: &pod, pod_ip: None, config: &config }.resources(&half);
        assert_eq!((made.cpu_period, made.cpu_quota), wanted, "{enforced} {period}");
    }
}
