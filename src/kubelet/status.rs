//! The status that a pod shows: container statuses, phase, conditions, made from what the runtime has, what was shown
//! before, the reasons of failed starts and the probes' results.
//!
//! Kubernetes: generateAPIPodStatus, convertStatusToAPIStatus and getPhase in pkg/kubelet/kubelet_pods.go,
//! pkg/kubelet/status/generate.go, UpdatePodStatus in pkg/kubelet/prober/prober_manager.go,
//! pkg/kubelet/reason_cache.go.

use std::net::Ipv4Addr;

use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::condition::{self, Conditions};
use crate::model::pod::Terminated;
use crate::model::{
    Condition, ConditionStatus, Container, ContainerState, ContainerStatus, Name, Phase, Pod, PodSpec, PodStatus, Text,
};
use crate::protocol::cri;
use crate::protocol::probe::Purpose;

use super::pod_actions::{ContainerRef, may_run_again, restarts_all, sandbox_changed, should_be_restarted};
use super::probes::PodProbes;
use super::resize::Resize;
use super::runtime_status::{RuntimeStatus, api_id};

/// Why the last start of a container failed (the reason cache).
#[derive(Clone, Debug, PartialEq)]
pub struct StartFailure {
    pub container: ContainerRef,
    pub reason: Name,
    pub message: Text,
}

/// The failures of a pod's containers.
pub type Reasons = SmallVec<[StartFailure; 0]>;

/// Everything that a status is made from.
#[derive(Debug)]
pub struct Input<'a> {
    pub pod: &'a Pod,
    pub runtime: &'a RuntimeStatus,
    /// The status shown before.
    pub old: &'a PodStatus,
    pub reasons: &'a Reasons,
    pub probes: &'a PodProbes,
    pub now: Time,
    pub host_ip: Ipv4Addr,
    /// Containers that run for more than 10 s at this moment were started by an earlier process.
    pub kubelet_started: Time,
    /// The pod's resize, if one is under way.
    pub resize: Option<&'a Resize>,
    /// The pod has been terminated: nothing of it runs or will run.
    pub is_terminal: bool,
}

/// Makes the status. The containers whose readiness should be probed at once are added to `trigger`.
pub fn generate(input: &Input<'_>, trigger: &mut SmallVec<[ContainerRef; 2]>) -> PodStatus {
    let (pod, old) = (input.pod, input.old);
    let spec = &pod.spec;
    let mut status = PodStatus {
        host_ip: Some(input.host_ip),
        pod_ip: input.runtime.ip().or(old.pod_ip).or(pod.status.pod_ip),
        start_time: old.start_time.or(pod.status.start_time),
        nominated_node: old.nominated_node,
        claims: pod.status.claims.clone(),
        extended_claim: pod.status.extended_claim.clone(),
        resizing: input.resize.and_then(|resize| resize.shown(spec)),
        ..PodStatus::default()
    };
    if spec.host_network && input.runtime.sandboxes.iter().any(|one| one.host_network) {
        status.pod_ip = Some(input.host_ip);
    }
    status.containers.reserve_exact(spec.containers.len());
    for one in ContainerRef::all(spec) {
        let Some(container) = one.of(spec) else { continue };
        let mut made = container_status(input, one, container);
        flags(input, one, container, &mut made, trigger);
        if one.is_init() { &mut status.init_containers } else { &mut status.containers }.push(made);
    }
    for one in ContainerRef::all_ephemeral(spec) {
        let Some(container) = one.of(spec) else { continue };
        status.ephemeral_containers.push(ContainerStatus { started: None, ..container_status(input, one, container) });
    }
    let computed = phase(pod, input.runtime, &status, input.is_terminal);
    // A pod that has ended stays so.
    let settled = [old.phase, pod.status.phase].into_iter().find(|phase| phase.is_terminal());
    status.phase = settled.unwrap_or(computed);
    if old.phase == status.phase {
        (status.reason, status.message) = (old.reason, old.message.clone());
    } else if pod.status.phase == status.phase {
        (status.reason, status.message) = (pod.status.reason, pod.status.message.clone());
    }
    status.conditions = conditions(input, &status);
    status.containers.sort_by_key(|one| one.name);
    status.ephemeral_containers.sort_by_key(|one| one.name);
    status
}

fn container_status(input: &Input<'_>, one: ContainerRef, container: &Container) -> ContainerStatus {
    let spec = &input.pod.spec;
    let old = one.statuses(input.old).iter().find(|status| status.name == container.name);
    let reason = if spec.init_containers.is_empty() { "ContainerCreating" } else { "PodInitializing" };
    let mut status = ContainerStatus {
        name: container.name,
        state: ContainerState::Waiting { reason: Name::new(reason), message: Text::default() },
        last_terminated: None,
        ready: false,
        started: Some(false),
        restart_count: 0,
        image: container.image,
        container_id: 0,
        runtime_id: Name::default(),
        image_id: Name::default(),
    };
    let mut instances = input.runtime.containers.iter().filter(|one| one.summary.name == container.name);
    let newest = instances.next();
    match (newest, old) {
        (Some(newest), _) => {
            status.restart_count = newest.summary.attempt;
            status.container_id = api_id(newest.summary.id);
            (status.runtime_id, status.image_id) = (newest.runtime_id, newest.image_ref);
            status.state = api_state(newest);
            status.last_terminated = instances.next().and_then(terminated).map(Box::new);
            if status.last_terminated.is_none()
                && let Some(old) = old.filter(|old| old.container_id == status.container_id)
            {
                status.last_terminated = old.last_terminated.clone();
            }
            if let Some(old) = old.filter(|_| newest.runtime_id.is_empty()) {
                keep_ids(&mut status, old);
            }
        }
        (None, Some(old)) => without_instance(input, one, old, &mut status),
        (None, None) => {
            if one.is_init() && has_regular(input) {
                status.state = ContainerState::Terminated(Box::new(Terminated {
                    reason: Name::new("Completed"),
                    message: Text::new(
                        "Unable to get init container status from container runtime and pod has been initialized",
                    ),
                    ..Terminated::default()
                }));
            }
        }
    }
    let succeeded =
        newest.is_some_and(|newest| newest.summary.state == cri::ContainerState::Exited && newest.exit_code == 0);
    if one.is_init() && !container.is_sidecar() && succeeded {
        return status;
    }
    // A container that the next sync starts again waits, if it is known why it did not start.
    if should_be_restarted(input.pod, container, newest)
        && let Some(failure) = input.reasons.iter().find(|failure| failure.container == one)
    {
        if let ContainerState::Terminated(end) = &status.state {
            status.last_terminated = Some(end.clone());
        }
        status.state = ContainerState::Waiting { reason: failure.reason, message: failure.message.clone() };
    }
    status
}

/// A simulated runtime has only numbers: whole ids of a cluster that was read from a dump stay as they are.
fn keep_ids(status: &mut ContainerStatus, old: &ContainerStatus) {
    if old.container_id == status.container_id {
        (status.runtime_id, status.image_id) = (old.runtime_id, old.image_id);
    }
    let ended = |state: &'_ ContainerState| match state {
        ContainerState::Terminated(end) => Some((end.container_id, end.runtime_id)),
        _ => None,
    };
    let last = old.last_terminated.as_deref().map(|end| (end.container_id, end.runtime_id));
    let known = [ended(&old.state), last];
    let keep = |end: &mut Terminated| {
        let same = known.into_iter().flatten().find(|(id, _)| *id == end.container_id);
        end.runtime_id = same.map_or(end.runtime_id, |(_, runtime_id)| runtime_id);
    };
    if let ContainerState::Terminated(end) = &mut status.state {
        keep(end);
    }
    if let Some(end) = &mut status.last_terminated {
        keep(end);
    }
}

/// The runtime has no instance of the container, but a status was shown before.
fn without_instance(input: &Input<'_>, one: ContainerRef, old: &ContainerStatus, status: &mut ContainerStatus) {
    status.restart_count = old.restart_count;
    status.last_terminated = old.last_terminated.clone();
    match &old.state {
        ContainerState::Terminated(end) if end.reason != *"RestartingAllContainers" => {
            status.state = old.state.clone();
            status.container_id = old.container_id;
            (status.runtime_id, status.image_id) = (old.runtime_id, old.image_id);
            if !restarting_all(input.old) {
                return;
            }
        }
        ContainerState::Running { .. } => {}
        _ if one.is_init() && has_regular(input) => return,
        _ => {
            if restarting_all(input.old) && is_reset(old) {
                status.state = old.state.clone();
            }
            return;
        }
    }
    if restarting_all(input.old) && !input.is_terminal {
        // The kubelet has removed it itself, to start all containers anew.
        let reason = Name::new("RestartingAllContainers");
        let message = "The container is removed because RestartAllContainers in place";
        let (container_id, runtime_id) = (old.container_id, old.runtime_id);
        let end = Terminated { exit_code: 137, reason, container_id, runtime_id, ..Terminated::default() };
        status.last_terminated = Some(Box::new(end));
        status.state = ContainerState::Waiting { reason, message: Text::new(message) };
        status.container_id = 0;
        status.restart_count += 1;
        return;
    }
    status.last_terminated = Some(Box::new(Terminated {
        exit_code: 137,
        reason: Name::new("ContainerStatusUnknown"),
        message: Text::new(
            "The container could not be located when the pod was deleted.  The container used to be Running",
        ),
        container_id: old.container_id,
        runtime_id: old.runtime_id,
        ..Terminated::default()
    }));
    if input.pod.meta.deletion.is_none() {
        status.restart_count += 1;
    }
}

fn is_reset(old: &ContainerStatus) -> bool {
    matches!(&old.state, ContainerState::Waiting { reason, .. } if *reason == *"RestartingAllContainers")
}

/// True if the status shown before said that all containers restart.
fn restarting_all(old: &PodStatus) -> bool {
    condition::is_true(&old.conditions, "AllContainersRestarting")
}

fn has_regular(input: &Input<'_>) -> bool {
    input.pod.spec.containers.iter().any(|container| input.runtime.newest(container.name).is_some())
}

fn api_state(status: &cri::ContainerStatus) -> ContainerState {
    match status.summary.state {
        cri::ContainerState::Running => ContainerState::Running { started_at: status.started_at },
        cri::ContainerState::Exited => ContainerState::Terminated(Box::new(end_of(status))),
        cri::ContainerState::Unknown => ContainerState::Terminated(Box::new(Terminated {
            exit_code: 137,
            reason: Name::new("ContainerStatusUnknown"),
            message: Text::new("The container could not be located when the pod was terminated"),
            ..end_of(status)
        })),
        cri::ContainerState::Created => ContainerState::Waiting { reason: Name::default(), message: Text::default() },
    }
}

fn terminated(status: &cri::ContainerStatus) -> Option<Terminated> {
    (status.summary.state == cri::ContainerState::Exited).then(|| end_of(status))
}

fn end_of(status: &cri::ContainerStatus) -> Terminated {
    Terminated {
        exit_code: status.exit_code,
        signal: 0,
        reason: status.reason,
        message: status.message.clone(),
        started_at: status.started_at,
        finished_at: status.finished_at,
        container_id: api_id(status.summary.id),
        runtime_id: status.runtime_id,
    }
}

/// `ready` and `started`.
fn flags(
    input: &Input<'_>,
    one: ContainerRef,
    container: &Container,
    status: &mut ContainerStatus,
    trigger: &mut SmallVec<[ContainerRef; 2]>,
) {
    let id = cri::ContainerId(status.container_id);
    let running = match status.state {
        ContainerState::Running { started_at } => Some(started_at),
        _ => None,
    };
    if one.is_init() && !container.is_sidecar() {
        status.ready = matches!(&status.state, ContainerState::Terminated(end) if end.exit_code == 0);
        status.started = Some(running.is_some());
        return;
    }
    let started = match (running, input.probes.result(Purpose::Startup, one, id)) {
        (None, _) => false,
        (Some(_), Some(success)) => success,
        (Some(_), None) => !input.probes.has(Purpose::Startup, one),
    };
    status.started = Some(started);
    let Some(started_at) = running.filter(|_| started) else { return };
    let old = one
        .statuses(input.old)
        .iter()
        .find(|old| old.name == container.name && old.container_id == status.container_id);
    let adopted = started_at + Duration::from_secs(10) < input.kubelet_started.into();
    status.ready = match input.probes.result(Purpose::Readiness, one, id) {
        Some(success) => success,
        None if adopted && container.readiness.is_some() => {
            old.is_some_and(|old| old.ready) && condition::is_true(&input.old.conditions, "Ready")
        }
        None => !input.probes.has(Purpose::Readiness, one),
    };
    if !status.ready && container.readiness.is_some() {
        trigger.push(one);
    }
}

/// The phase that these container statuses make (`getPhase`). `status` has its containers in the order of the spec.
pub fn phase(pod: &Pod, runtime: &RuntimeStatus, status: &PodStatus, is_terminal: bool) -> Phase {
    let spec = &pod.spec;
    let (mut pending_init, mut failed_final, mut pending_sidecars) = (0, 0, 0);
    let (mut unknown, mut running, mut waiting, mut stopped, mut stopped_final, mut succeeded) = (0, 0, 0, 0, 0, 0);
    let find = |list: &'_ [ContainerStatus], name: Name| list.iter().position(|one| one.name == name);
    for container in spec.init_containers.iter() {
        let found = find(&status.init_containers, container.name).map(|at| &status.init_containers[at]);
        let again = |end: &Terminated| runs_again(pod, container, end);
        match (container.is_sidecar(), found) {
            (true, None) => unknown += 1,
            (false, None) => pending_init += 1,
            (true, Some(one)) => match &one.state {
                ContainerState::Running { .. } => {
                    running += 1;
                    pending_sidecars += i32::from(one.started != Some(true));
                }
                ContainerState::Waiting { .. } if one.last_terminated.is_none() => {
                    waiting += 1;
                    pending_sidecars += 1;
                }
                _ => {}
            },
            (false, Some(one)) => match (&one.state, &one.last_terminated) {
                (ContainerState::Running { .. }, _) | (ContainerState::Waiting { .. }, None) => pending_init += 1,
                (ContainerState::Terminated(end), _) | (ContainerState::Waiting { .. }, Some(end)) => {
                    if end.exit_code != 0 {
                        failed_final += i32::from(!again(end));
                    } else if matches!(one.state, ContainerState::Waiting { .. }) {
                        pending_init += 1;
                    }
                }
            },
        }
    }
    for container in spec.containers.iter() {
        let Some(one) = find(&status.containers, container.name).map(|at| &status.containers[at]) else {
            unknown += 1;
            continue;
        };
        match (&one.state, &one.last_terminated) {
            (ContainerState::Running { .. }, _) => running += 1,
            (ContainerState::Waiting { .. }, None) => waiting += 1,
            (ContainerState::Terminated(end), _) | (ContainerState::Waiting { .. }, Some(end)) => {
                stopped += 1;
                stopped_final += i32::from(!runs_again(pod, container, end));
                let ended = matches!(one.state, ContainerState::Terminated(_));
                succeeded += i32::from(ended && end.exit_code == 0);
            }
        }
    }
    let sandbox = runtime.sandboxes.first().map(|one| one.summary.id);
    let regular_started = spec.containers.iter().any(|container| {
        runtime.newest(container.name).is_some_and(|one| {
            Some(one.summary.sandbox) == sandbox && one.summary.state != cri::ContainerState::Created
        })
    });
    if failed_final > 0 {
        return Phase::Failed;
    }
    if pending_init > 0 || (pending_sidecars > 0 && !regular_started) || waiting > 0 {
        return Phase::Pending;
    }
    if running > 0 && unknown == 0 {
        return Phase::Running;
    }
    if running == 0 && stopped > 0 && unknown == 0 {
        if !is_terminal && stopped != stopped_final {
            return Phase::Running;
        }
        return if stopped == succeeded { Phase::Succeeded } else { Phase::Failed };
    }
    Phase::Pending
}

/// A container that the kubelet has removed to start all anew runs again, whatever its policy.
fn runs_again(pod: &Pod, container: &Container, end: &Terminated) -> bool {
    may_run_again(pod, container, end.exit_code)
        || (pod.meta.deletion.is_none() && end.reason == *"RestartingAllContainers")
}

fn conditions(input: &Input<'_>, status: &PodStatus) -> Conditions {
    let (pod, spec) = (input.pod, &input.pod.spec);
    let mut made = Made { input, conditions: Conditions::with_capacity(5) };
    if let Some(pending) = input.resize.and_then(|resize| resize.pending.as_ref()) {
        made.add("PodResizePending", true, pending.reason, pending.message.clone());
    }
    if let Some(resize) = input.resize.filter(|resize| resize.in_progress) {
        let reason = if resize.error.is_some() { "Error" } else { "" };
        made.add("PodResizeInProgress", true, reason, resize.error.clone().unwrap_or_default());
    }
    for kind in ["DisruptionTarget", "AllContainersRestarting"] {
        if kind == "AllContainersRestarting" && (may_restart_all(spec) || condition_known(input, kind)) {
            let on = triggers_restart_all(input);
            let (reason, message) = if on {
                ("RestartAllContainersStarted", "container exited with restart policy rule")
            } else {
                ("", "")
            };
            made.add(kind, on, reason, Text::new(message));
        } else if let Some(kept) = condition::find(&input.old.conditions, kind) {
            made.conditions.push(kept.clone());
        }
    }
    made.add("PodReadyToStartContainers", !sandbox_changed(pod, input.runtime).0, "", Text::default());
    let incomplete: Vec<Name> = spec
        .init_containers
        .iter()
        .zip(&status.init_containers)
        .filter(|(container, one)| if container.is_sidecar() { one.started != Some(true) } else { !one.ready })
        .map(|(container, _)| container.name)
        .collect();
    // Containers that restart in place have run before.
    let regular_ran = status.containers.iter().any(|one| {
        matches!(one.state, ContainerState::Running { .. }) || ran(&one.state) || is_reset(one) || one.restart_count > 0
    });
    if status.phase == Phase::Succeeded {
        made.add("Initialized", true, "PodCompleted", Text::default());
    } else if incomplete.is_empty() || (regular_ran && !spec.init_containers.is_empty()) {
        made.add("Initialized", true, "", Text::default());
    } else {
        let message = format!("containers with incomplete status: {}", list(&incomplete));
        made.add("Initialized", false, "ContainersNotInitialized", message.into());
    }
    for (kind, holds, reason, message) in ready_conditions(pod, status) {
        made.add(kind, holds, reason, message);
    }
    made.add("PodScheduled", true, "", Text::default());
    made.conditions
}

fn ran(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Terminated(end) if end.reason != *"ContainerStatusUnknown")
}

/// True if a rule of a container may restart the whole pod.
fn may_restart_all(spec: &PodSpec) -> bool {
    let all = spec.init_containers.iter().chain(spec.containers.iter());
    all.flat_map(|container| container.restart_rules.iter()).any(|rule| rule.restart_all)
}

fn condition_known(input: &Input<'_>, kind: &str) -> bool {
    condition::find(&input.old.conditions, kind).is_some()
}

fn triggers_restart_all(input: &Input<'_>) -> bool {
    ContainerRef::all(&input.pod.spec).any(|one| {
        one.of(&input.pod.spec)
            .is_some_and(|container| restarts_all(input.pod, container, input.runtime.newest(container.name)))
    })
}

/// Reason and message of ContainersReady; empty if it is True.
fn unready(spec: &PodSpec, status: &PodStatus) -> (&'static str, Text) {
    match status.phase {
        Phase::Succeeded => return ("PodCompleted", Text::default()),
        Phase::Failed => return ("PodFailed", Text::default()),
        _ => {}
    }
    let sidecars = spec.init_containers.iter().zip(&status.init_containers).filter(|(one, _)| one.is_sidecar());
    let regular = spec.containers.iter().filter_map(|container| {
        status.containers.iter().find(|one| one.name == container.name).map(|one| (container, one))
    });
    let names: Vec<Name> =
        sidecars.chain(regular).filter(|(_, one)| !one.ready).map(|(container, _)| container.name).collect();
    if names.is_empty() {
        return ("", Text::default());
    }
    ("ContainersNotReady", Text::from(format!("containers with unready status: {}", list(&names))))
}

/// Ready and ContainersReady, with reason and message.
fn ready_conditions(pod: &Pod, status: &PodStatus) -> [(&'static str, bool, &'static str, Text); 2] {
    let (reason, message) = unready(&pod.spec, status);
    let holds = reason.is_empty();
    let gate = pod.spec.readiness_gates.iter().find_map(|gate| gate_problem(pod, *gate));
    let ready = match gate.filter(|_| holds) {
        Some(message) => ("Ready", false, "ReadinessGatesNotReady", message),
        None => ("Ready", holds, reason, message.clone()),
    };
    [ready, ("ContainersReady", holds, reason, message)]
}

/// Makes Ready and ContainersReady anew after a container's `ready` has changed.
pub fn refresh_ready(pod: &Pod, status: &mut PodStatus, now: Time) {
    for (kind, holds, reason, message) in ready_conditions(pod, status) {
        let reason = Name::new(reason);
        condition::set(&mut status.conditions, now, Name::new(kind), ConditionStatus::from(holds), reason, message);
    }
}

/// What is wrong with a readiness gate.
fn gate_problem(pod: &Pod, gate: Name) -> Option<Text> {
    match condition::find(&pod.status.conditions, &gate) {
        None => Some(format!("corresponding condition of pod readiness gate \"{gate}\" does not exist.").into()),
        Some(found) if found.status != ConditionStatus::True => Some(
            format!("the status of pod readiness gate \"{gate}\" is not \"True\", but {}", found.status.as_str())
                .into(),
        ),
        Some(_) => None,
    }
}

/// As Go prints a list of strings.
fn list(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    format!("[{}]", names.join(" "))
}

struct Made<'a> {
    input: &'a Input<'a>,
    conditions: Conditions,
}

impl Made<'_> {
    fn add(&mut self, kind: &'static str, holds: bool, reason: &str, message: Text) {
        let status = ConditionStatus::from(holds);
        let before = condition::find(&self.input.old.conditions, kind)
            .or_else(|| condition::find(&self.input.pod.status.conditions, kind))
            .filter(|before| before.status == status);
        let last_transition = before.map_or(self.input.now, |before| before.last_transition);
        self.conditions.push(Condition {
            kind: Name::new(kind),
            status,
            reason: Name::new(reason),
            message,
            last_transition,
            last_update: Time::ZERO,
        });
    }
}

/// The last status of a pod whose worker has ended: containers that nobody has seen end are given up
/// (`TerminatePod` in pkg/kubelet/status/status_manager.go).
pub fn give_up_unknown(pod: &Pod, status: &mut PodStatus) {
    let unknown = |one: &mut ContainerStatus| {
        if matches!(one.state, ContainerState::Terminated(_)) {
            return;
        }
        one.state = ContainerState::Terminated(Box::new(Terminated {
            exit_code: 137,
            reason: Name::new("ContainerStatusUnknown"),
            message: Text::new("The container could not be located when the pod was terminated"),
            container_id: one.container_id,
            runtime_id: one.runtime_id,
            ..Terminated::default()
        }));
        (one.ready, one.started) = (false, Some(false));
    };
    // Containers that were never reached stay as they are: regular ones of a pod that was not initialised, and init
    // containers after the last one that has ended, but for the first.
    if pod.spec.init_containers.is_empty() || condition::is_true(&status.conditions, "Initialized") {
        status.containers.iter_mut().for_each(unknown);
    }
    let has_ended =
        |one: &ContainerStatus| matches!(one.state, ContainerState::Terminated(_)) || one.last_terminated.is_some();
    let reached = status.init_containers.iter().rposition(has_ended).unwrap_or(0);
    status.init_containers.iter_mut().take(reached + 1).for_each(unknown);
    if !status.phase.is_terminal() {
        status.phase = Phase::Failed;
    }
}
