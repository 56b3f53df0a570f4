//! The status of pods in a dump: the state from which a run begins.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1 as core;

use crate::model::pod::{
    ContainerResize, ContainerState, ContainerStatus, Phase, PodStatus, ResourceRequirements, Terminated,
};
use crate::model::{Name, PodSpec, Text};

use super::context::{Context, name, text};
use super::path::Path;

impl Context<'_> {
    pub(super) fn pod_status(&mut self, status: &core::PodStatus, spec: &PodSpec) -> PodStatus {
        let phase = self.status_word(
            status.phase.as_ref(),
            Phase::Pending,
            &[
                ("Failed", Phase::Failed),
                ("Pending", Phase::Pending),
                ("Running", Phase::Running),
                ("Succeeded", Phase::Succeeded),
                ("Unknown", Phase::Unknown),
            ],
        );
        let conditions = status.conditions.iter().flatten().map(|condition| {
            self.condition(
                &condition.type_,
                &condition.status,
                condition.reason.as_ref(),
                condition.message.as_ref(),
                condition.last_transition_time.as_ref(),
                condition.last_probe_time.as_ref(),
            )
        });
        let conditions = conditions.collect();
        let mut init_containers =
            self.container_statuses(status.init_container_statuses.as_deref().unwrap_or_default());
        // The kubelet lists init containers as the spec does, the others by name.
        let place = |name: Name| spec.init_containers.iter().position(|container| container.name == name);
        init_containers.sort_by_key(|status| place(status.name));
        let mut containers = self.container_statuses(status.container_statuses.as_deref().unwrap_or_default());
        containers.sort_by_key(|status| status.name);
        let resizing = self.resizing(status, spec);
        let mut ephemeral_containers =
            self.container_statuses(status.ephemeral_container_statuses.as_deref().unwrap_or_default());
        ephemeral_containers.sort_by_key(|status| status.name);
        PodStatus {
            phase,
            reason: name(status.reason.as_ref()),
            message: Text::new(text(status.message.as_ref())),
            conditions,
            init_containers,
            containers,
            ephemeral_containers,
            start_time: self.optional_time(status.start_time.as_ref()),
            pod_ip: address(status.pod_ip.as_ref()),
            host_ip: address(status.host_ip.as_ref()),
            nominated_node: status.nominated_node_name.as_ref().filter(|node| !node.is_empty()).map(Name::from),
            claims: super::device::claim_names(status),
            extended_claim: super::device::extended_claim(status),
            resizing: (!resizing.is_empty()).then(|| resizing.into()),
        }
    }

    /// The containers whose `allocatedResources` or `resources` are not what their spec says: a resize is under way.
    fn resizing(&mut self, status: &core::PodStatus, spec: &PodSpec) -> Vec<ContainerResize> {
        let status_at = Path::Root.field("status");
        let statuses = [&status.init_container_statuses, &status.container_statuses];
        let mut resizing = Vec::new();
        for one in statuses.into_iter().flatten().flatten() {
            let all = spec.init_containers.iter().chain(spec.containers.iter());
            let wanted =
                all.filter(|container| *container.name == *one.name).map(|container| &container.resources).next();
            let (Some(wanted), true) = (wanted, one.allocated_resources.is_some() || one.resources.is_some()) else {
                continue;
            };
            let at = status_at.field("containerStatuses");
            let actual = match &one.resources {
                Some(_) => self.requirements(&at.field("resources"), one.resources.as_ref()),
                None => wanted.clone(),
            };
            let mut allocated = ResourceRequirements { limits: actual.limits.clone(), ..wanted.clone() };
            if one.allocated_resources.is_some() {
                let requests = self.resource_list(&at.field("allocatedResources"), one.allocated_resources.as_ref());
                // Other resources can't be resized, and not all are shown.
                allocated.requests.cpu = requests.cpu.or(allocated.requests.cpu);
                allocated.requests.memory = requests.memory.or(allocated.requests.memory);
            }
            let can_differ = |one: &ResourceRequirements| (one.requests.cpu, one.requests.memory);
            if [&actual, &allocated].iter().any(|one| can_differ(one) != can_differ(wanted)) {
                resizing.push(ContainerResize { name: Name::from(&one.name), allocated, actual });
            }
        }
        resizing
    }

    fn container_statuses(&mut self, statuses: &[core::ContainerStatus]) -> Vec<ContainerStatus> {
        let compile = |status: &core::ContainerStatus| ContainerStatus {
            name: Name::from(&status.name),
            state: self.container_state(status.state.as_ref()),
            last_terminated: status
                .last_state
                .as_ref()
                .and_then(|state| state.terminated.as_ref())
                .map(|terminated| Box::new(self.terminated(terminated))),
            ready: status.ready,
            started: status.started,
            restart_count: u32::try_from(status.restart_count).unwrap_or(0),
            image: Name::from(&status.image),
            container_id: self.container_id(status.container_id.as_ref()),
            runtime_id: foreign_id(status.container_id.as_ref()),
            image_id: Name::from(&status.image_id),
        };
        statuses.iter().map(compile).collect()
    }

    fn container_state(&mut self, state: Option<&core::ContainerState>) -> ContainerState {
        if let Some(running) = state.and_then(|state| state.running.as_ref()) {
            return ContainerState::Running { started_at: self.time_or_zero(running.started_at.as_ref()).into() };
        }
        if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
            return ContainerState::Terminated(Box::new(self.terminated(terminated)));
        }
        let waiting = state.and_then(|state| state.waiting.as_ref());
        ContainerState::Waiting {
            reason: name(waiting.and_then(|waiting| waiting.reason.as_ref())),
            message: Text::new(text(waiting.and_then(|waiting| waiting.message.as_ref()))),
        }
    }

    fn terminated(&mut self, terminated: &core::ContainerStateTerminated) -> Terminated {
        Terminated {
            exit_code: terminated.exit_code,
            signal: terminated.signal.unwrap_or(0),
            reason: name(terminated.reason.as_ref()),
            message: Text::new(text(terminated.message.as_ref())),
            started_at: self.time_or_zero(terminated.started_at.as_ref()).into(),
            finished_at: self.time_or_zero(terminated.finished_at.as_ref()).into(),
            container_id: self.container_id(terminated.container_id.as_ref()),
            runtime_id: foreign_id(terminated.container_id.as_ref()),
        }
    }

    /// A container's id: our own as it was, a foreign one as a number of ours.
    fn container_id(&mut self, id: Option<&String>) -> u64 {
        let Some((_, hex)) = id.and_then(|id| id.split_once("://")) else { return 0 };
        match hex.strip_prefix(OWN_ID_PREFIX).and_then(|own| u64::from_str_radix(own, 16).ok()) {
            Some(own) => own,
            None => self.uids.read(hex).0,
        }
    }
}

/// A container's id that is not ours, as it was.
fn foreign_id(id: Option<&String>) -> Name {
    let is_foreign = |id: &&String| id.split_once("://").is_some_and(|(_, hex)| !hex.starts_with(OWN_ID_PREFIX));
    id.filter(is_foreign).map(Name::from).unwrap_or_default()
}

/// Our own container ids are 64 bits, printed with as many digits as the runtimes use.
const OWN_ID_PREFIX: &str = "000000000000000000000000000000000000000000000000";

/// An IPv4 address; others are not modelled.
pub(super) fn address(text: Option<&String>) -> Option<Ipv4Addr> {
    text?.parse().ok()
}
