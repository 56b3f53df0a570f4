//! What one sync of a pod must do: a pure function of the pod, of what the runtime has of it, and of its probes' results.
//!
//! Kubernetes: computePodActions and computeInitContainerActions in pkg/kubelet/kuberuntime/kuberuntime_manager.go and
//! kuberuntime_container.go, PodSandboxChanged in pkg/kubelet/kuberuntime/util/util.go, ShouldContainerBeRestarted in
//! pkg/kubelet/container/helpers.go.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::pod::RestartPolicy;
use crate::model::{Container, ContainerStatus as ApiStatus, Name, Pod, PodSpec, PodStatus, Text};
use crate::protocol::cri::{ContainerId, ContainerState, ContainerStatus, SandboxId, SandboxState};
use crate::protocol::probe::Purpose;

use super::probes::PodProbes;
use super::runtime_status::RuntimeStatus;

/// The annotation under which the kubelet keeps what a container was made from.
pub const HASH_ANNOTATION: &str = "io.kubernetes.container.hash";

/// Which list of a pod's spec a container stands in, in the order in which a sync starts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerType {
    Ephemeral,
    Init,
    Regular,
}

/// A container of a pod's spec. They are ordered as a sync starts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerRef {
    pub of: ContainerType,
    pub index: u16,
}

impl ContainerRef {
    /// The init container at `index`.
    pub fn init(index: usize) -> ContainerRef {
        ContainerRef { of: ContainerType::Init, index: index as u16 }
    }

    /// The regular container at `index`.
    pub fn regular(index: usize) -> ContainerRef {
        ContainerRef { of: ContainerType::Regular, index: index as u16 }
    }

    /// The ephemeral container at `index`.
    pub fn ephemeral(index: usize) -> ContainerRef {
        ContainerRef { of: ContainerType::Ephemeral, index: index as u16 }
    }

    /// True for init containers, sidecars among them.
    pub fn is_init(self) -> bool {
        self.of == ContainerType::Init
    }

    /// The container in `spec`, if it has it.
    pub fn of(self, spec: &PodSpec) -> Option<&Container> {
        let list = match self.of {
            ContainerType::Ephemeral => &spec.ephemeral_containers,
            ContainerType::Init => &spec.init_containers,
            ContainerType::Regular => &spec.containers,
        };
        list.get(usize::from(self.index))
    }

    /// Its kind's statuses.
    pub fn statuses(self, status: &PodStatus) -> &[ApiStatus] {
        match self.of {
            ContainerType::Ephemeral => &status.ephemeral_containers,
            ContainerType::Init => &status.init_containers,
            ContainerType::Regular => &status.containers,
        }
    }

    /// The container of this name, be it of any kind.
    pub fn find(spec: &PodSpec, name: Name) -> Option<ContainerRef> {
        let mut all = ContainerRef::all(spec).chain(ContainerRef::all_ephemeral(spec));
        all.find(|one| one.of(spec).is_some_and(|container| container.name == name))
    }

    /// The ephemeral containers, in the order of the spec.
    pub fn all_ephemeral(spec: &PodSpec) -> impl Iterator<Item = ContainerRef> + use<> {
        (0..spec.ephemeral_containers.len()).map(ContainerRef::ephemeral)
    }

    /// All containers that the pod is for: init containers, then regular ones, in the order of the spec.
    pub fn all(spec: &PodSpec) -> impl Iterator<Item = ContainerRef> + use<> {
        let (init, regular) = (spec.init_containers.len(), spec.containers.len());
        (0..init).map(ContainerRef::init).chain((0..regular).map(ContainerRef::regular))
    }
}

/// A container to be killed, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct KillOrder {
    pub id: ContainerId,
    pub container: ContainerRef,
    /// The text of the event.
    pub message: Text,
    /// The probe whose own grace period counts.
    pub probe: Option<Purpose>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodActions {
    /// Kill all containers and stop the sandboxes first.
    pub kill_pod: bool,
    pub create_sandbox: bool,
    /// The sandbox to start containers in, or the one to be replaced.
    pub sandbox: Option<SandboxId>,
    /// The attempt of the sandbox to be created.
    pub attempt: u32,
    /// In the order of their start: init containers first.
    pub start: SmallVec<[ContainerRef; 2]>,
    pub kill: SmallVec<[KillOrder; 0]>,
    /// A restart rule says RestartAllContainers: these containers are killed and removed, in this order.
    pub reset: SmallVec<[ContainerId; 0]>,
}

/// What a container's hash covers: its name and image.
pub fn container_hash(container: &Container) -> Name {
    let text = [container.name.as_bytes(), b"\0", container.image.as_bytes()].concat();
    Name::from(format!("{:08x}", xxh3_64(&text) as u32))
}

/// Whether the pod needs a new sandbox, with which attempt, and the one it has (`PodSandboxChanged`).
pub fn sandbox_changed(pod: &Pod, runtime: &RuntimeStatus) -> (bool, u32, Option<SandboxId>) {
    let Some(newest) = runtime.sandboxes.first() else { return (true, 0, None) };
    let (id, attempt) = (newest.summary.id, newest.summary.attempt);
    let ready = runtime.sandboxes.iter().filter(|sandbox| sandbox.summary.state == SandboxState::Ready).count();
    if ready > 1 || newest.summary.state != SandboxState::Ready {
        return (true, attempt + 1, Some(id));
    }
    if newest.host_network != pod.spec.host_network {
        return (true, attempt + 1, None);
    }
    if !pod.spec.host_network && newest.ip.is_none() {
        return (true, attempt + 1, Some(id));
    }
    (false, attempt, Some(id))
}

/// The policy that counts for a container: its own, else the pod's.
pub fn restart_policy(pod: &Pod, container: &Container) -> RestartPolicy {
    container.restart_policy.unwrap_or(pod.spec.restart_policy)
}

/// Whether an exit with this code starts the container again: its rules first, then the policy that counts.
fn restarts_on_exit(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    if container.restart_policy.is_some() && matching_rule(container, exit_code).is_some() {
        return true;
    }
    match restart_policy(pod, container) {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

/// The first restart rule for this exit code: true if it restarts all containers.
fn matching_rule(container: &Container, exit_code: i32) -> Option<bool> {
    container
        .restart_rules
        .iter()
        .find(|rule| rule.exit_codes.contains(&exit_code) != rule.negated)
        .map(|rule| rule.restart_all)
}

/// `ShouldContainerBeRestarted`: also true for a container that never ran.
pub fn should_be_restarted(pod: &Pod, container: &Container, newest: Option<&ContainerStatus>) -> bool {
    if pod.meta.deletion.is_some() {
        return false;
    }
    match newest.map(|status| (status.summary.state, status.exit_code)) {
        None => true,
        Some((ContainerState::Running, _)) => false,
        Some((ContainerState::Unknown | ContainerState::Created, _)) => true,
        Some((ContainerState::Exited, exit_code)) => restarts_on_exit(pod, container, exit_code),
    }
}

/// The same for a container that is known to have ended with this code, as the pod's phase asks: it looks at the policy
/// alone, so that a pod that is being deleted does not fail before its end.
pub fn may_run_again(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    restarts_on_exit(pod, container, exit_code)
}

/// True if a container ended in a way for which a rule restarts the whole pod in place.
pub fn restarts_all(pod: &Pod, container: &Container, newest: Option<&ContainerStatus>) -> bool {
    pod.meta.deletion.is_none()
        && container.restart_policy.is_some()
        && newest.is_some_and(|status| {
            status.summary.state == ContainerState::Exited && matching_rule(container, status.exit_code) == Some(true)
        })
}

/// What a sync of `pod` must do.
pub fn compute(pod: &Pod, runtime: &RuntimeStatus, probes: &PodProbes) -> PodActions {
    let spec = &pod.spec;
    let (changed, attempt, sandbox) = sandbox_changed(pod, runtime);
    let mut actions = PodActions { sandbox, attempt, ..PodActions::default() };
    if changed {
        replace_sandbox(pod, runtime, &mut actions);
        return actions;
    }
    let resets = |one: &ContainerRef| {
        one.of(spec).is_some_and(|container| restarts_all(pod, container, runtime.newest(container.name)))
    };
    if ContainerRef::all(spec).any(|one| resets(&one)) {
        // Those that triggered it go last, so that a kubelet that dies in between does it again.
        let mut order: Vec<(bool, bool, ContainerRef)> =
            ContainerRef::all(spec).map(|one| (resets(&one), one.is_init(), one)).collect();
        order.sort();
        for (_, _, one) in order {
            let name = one.of(spec).map(|container| container.name);
            let ids = runtime.containers.iter().filter(|status| Some(status.summary.name) == name);
            actions.reset.extend(ids.map(|status| status.summary.id));
        }
        return actions;
    }
    // They may start before the pod is initialised, and never again.
    let is_new = |one: &ContainerRef| one.of(spec).is_some_and(|container| runtime.newest(container.name).is_none());
    actions.start.extend(ContainerRef::all_ephemeral(spec).filter(is_new));
    let initialized = init_actions(pod, runtime, probes, &mut actions);
    if actions.kill_pod || !initialized {
        return actions;
    }
    let sidecar_starts = actions.start.len();
    let mut kept = 0;
    for (index, container) in spec.containers.iter().enumerate() {
        let one = ContainerRef::regular(index);
        let newest = runtime.newest(container.name);
        let Some(running) = newest.filter(|status| status.summary.state == ContainerState::Running) else {
            if should_be_restarted(pod, container, newest) {
                if let Some(lost) = newest.filter(|status| status.summary.state == ContainerState::Unknown) {
                    let message = format!(
                        "Container is in {:?} state, try killing it before restart",
                        state_text(lost.summary.state)
                    );
                    actions.kill.push(KillOrder {
                        id: lost.summary.id,
                        container: one,
                        message: message.into(),
                        probe: None,
                    });
                }
                actions.start.push(one);
            }
            continue;
        };
        let id = running.summary.id;
        let mut restart = restart_policy(pod, container) != RestartPolicy::Never;
        let (message, probe) = if has_changed(container, running) {
            restart = true;
            (format!("Container {} definition changed", container.name), None)
        } else if probes.result(Purpose::Liveness, one, id) == Some(false) {
            (format!("Container {} failed liveness probe", container.name), Some(Purpose::Liveness))
        } else if probes.result(Purpose::Startup, one, id) == Some(false) {
            (format!("Container {} failed startup probe", container.name), Some(Purpose::Startup))
        } else {
            kept += 1;
            continue;
        };
        if restart {
            actions.start.push(one);
        }
        let message = if restart { format!("{message}, will be restarted") } else { message };
        actions.kill.push(KillOrder { id, container: one, message: message.into(), probe });
    }
    if kept == 0 && actions.start.len() == sidecar_starts {
        actions.kill_pod = true;
        actions.start.clear();
        actions.kill.clear();
    }
    actions
}

fn replace_sandbox(pod: &Pod, runtime: &RuntimeStatus, actions: &mut PodActions) {
    let spec = &pod.spec;
    actions.kill_pod = true;
    actions.create_sandbox = true;
    if spec.restart_policy == RestartPolicy::Never && actions.attempt != 0 && !runtime.containers.is_empty() {
        actions.create_sandbox = false;
        return;
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let succeeded = runtime
            .newest(container.name)
            .is_some_and(|status| status.summary.state == ContainerState::Exited && status.exit_code == 0);
        if restart_policy(pod, container) != RestartPolicy::OnFailure || !succeeded {
            actions.start.push(ContainerRef::regular(index));
        }
    }
    let any_ran = spec.containers.iter().any(|container| {
        runtime.newest(container.name).is_some_and(|status| status.summary.state != ContainerState::Unknown)
    });
    if actions.start.is_empty() && any_ran {
        actions.create_sandbox = false;
        return;
    }
    if !spec.init_containers.is_empty() {
        actions.start.clear();
        actions.start.push(ContainerRef::init(0));
    }
}

/// The init containers' part: true if the pod is initialised, so that regular containers may run.
fn init_actions(pod: &Pod, runtime: &RuntimeStatus, probes: &PodProbes, actions: &mut PodActions) -> bool {
    let containers = &pod.spec.init_containers;
    if containers.is_empty() {
        return true;
    }
    let mut pod_initialized = pod.spec.containers.iter().any(|container| {
        runtime
            .newest(container.name)
            .is_some_and(|status| matches!(status.summary.state, ContainerState::Created | ContainerState::Running))
    });
    let mut later_initialized = pod_initialized;
    let ephemeral = actions.start.len();
    let last = containers.len() - 1;
    for (index, container) in containers.iter().enumerate().rev() {
        let sidecar = container.is_sidecar();
        if later_initialized && !sidecar {
            continue;
        }
        let one = ContainerRef::init(index);
        let Some(status) = runtime.newest(container.name) else {
            if sidecar && later_initialized {
                push_once(actions, one);
            }
            continue;
        };
        let id = status.summary.id;
        match status.summary.state {
            ContainerState::Created => push_once(actions, one),
            ContainerState::Running if sidecar => {
                let kill = |actions: &mut PodActions, what: String, probe| {
                    let message = Text::from(format!("{what}, will be restarted"));
                    actions.kill.push(KillOrder { id, container: one, message, probe });
                    push_once(actions, one);
                };
                let startup = probes.result(Purpose::Startup, one, id);
                if container.startup.is_some() && startup != Some(true) {
                    if startup == Some(false) {
                        let what = format!("Init container {} failed startup probe", container.name);
                        kill(actions, what, Some(Purpose::Startup));
                    }
                } else {
                    if index == last {
                        pod_initialized = true;
                    } else if !later_initialized {
                        push_once(actions, ContainerRef::init(index + 1));
                    }
                    if has_changed(container, status) {
                        kill(actions, format!("Init container {} definition changed", container.name), None);
                    } else if probes.result(Purpose::Liveness, one, id) == Some(false) {
                        let what = format!("Init container {} failed liveness probe", container.name);
                        kill(actions, what, Some(Purpose::Liveness));
                    }
                }
            }
            ContainerState::Running => {}
            ContainerState::Exited if sidecar => push_once(actions, one),
            ContainerState::Exited if status.exit_code == 0 && status.reason != *"OOMKilled" => {
                if index == last {
                    pod_initialized = true;
                } else {
                    push_once(actions, ContainerRef::init(index + 1));
                }
            }
            ContainerState::Exited if restarts_on_exit(pod, container, failure_code(status)) => push_once(actions, one),
            ContainerState::Unknown if sidecar || pod.spec.restart_policy != RestartPolicy::Never => {
                let message = format!(
                    "Init container is in {:?} state, try killing it before restart",
                    state_text(status.summary.state)
                );
                actions.kill.push(KillOrder { id, container: one, message: message.into(), probe: None });
                push_once(actions, one);
            }
            ContainerState::Exited | ContainerState::Unknown => {
                actions.kill_pod = true;
                actions.start.clear();
                return false;
            }
        }
        later_initialized = true;
    }
    if !later_initialized {
        push_once(actions, ContainerRef::init(0));
    }
    actions.start[ephemeral..].reverse();
    pod_initialized
}

/// An init container that the OOM killer ended has failed, whatever its exit code.
fn failure_code(status: &ContainerStatus) -> i32 {
    if status.exit_code == 0 { 137 } else { status.exit_code }
}

fn push_once(actions: &mut PodActions, one: ContainerRef) {
    if !actions.start.contains(&one) {
        actions.start.push(one);
    }
}

fn has_changed(container: &Container, status: &ContainerStatus) -> bool {
    let made_from = status.annotations.get(Name::new(HASH_ANNOTATION));
    made_from.is_some_and(|hash| hash != container_hash(container))
}

/// As the kubelet's own states print.
fn state_text(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Exited => "exited",
        ContainerState::Unknown => "unknown",
    }
}
