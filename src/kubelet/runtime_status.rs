//! What the runtime has of one pod, as the kubelet last observed it, and the reading of it from the runtime.
//!
//! Kubernetes: PodStatus in pkg/kubelet/container/runtime.go, GetPodStatus in
//! pkg/kubelet/kuberuntime/kuberuntime_manager.go.

use std::cmp::Reverse;
use std::net::Ipv4Addr;

use crate::model::{Name, Uid};
use crate::protocol::cri::{
    Answer, Call, Code, ContainerId, ContainerState, ContainerStatus, ContainerSummary, Error, SandboxState,
    SandboxStatus, SandboxSummary,
};

/// Sandboxes and containers of a pod, each the newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeStatus {
    pub sandboxes: Vec<SandboxStatus>,
    pub containers: Vec<ContainerStatus>,
}

impl RuntimeStatus {
    /// The newest container of this name.
    pub fn newest(&self, name: Name) -> Option<&ContainerStatus> {
        self.containers.iter().find(|status| status.summary.name == name)
    }

    /// The address of the newest sandbox, if it is ready.
    pub fn ip(&self) -> Option<Ipv4Addr> {
        self.sandboxes.first().filter(|sandbox| sandbox.summary.state == SandboxState::Ready)?.ip
    }

    /// Containers that run.
    pub fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(|status| status.summary.state == ContainerState::Running)
    }

    /// True if a container runs or a sandbox is ready.
    pub fn is_alive(&self) -> bool {
        self.running().next().is_some() || self.sandboxes.iter().any(|one| one.summary.state == SandboxState::Ready)
    }

    /// True if there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }
}

/// Reads a pod's status from the runtime, one call after another.
#[derive(Debug)]
pub struct Inspect {
    pub pod: Uid,
    stage: Stage,
    sandboxes: Vec<SandboxSummary>,
    containers: Vec<ContainerSummary>,
    status: RuntimeStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    ListSandboxes,
    ListContainers,
    Sandbox(usize),
    Container(usize),
}

impl Inspect {
    /// Begins with the two lists.
    pub fn listing(pod: Uid) -> Inspect {
        Inspect {
            pod,
            stage: Stage::ListSandboxes,
            sandboxes: Vec::new(),
            containers: Vec::new(),
            status: RuntimeStatus::default(),
        }
    }

    /// Begins with lists that are known.
    pub fn listed(pod: Uid, sandboxes: Vec<SandboxSummary>, containers: Vec<ContainerSummary>) -> Inspect {
        let mut inspect = Inspect { pod, stage: Stage::Sandbox(0), sandboxes, containers, status: <_>::default() };
        inspect.sort();
        inspect
    }

    /// The next call; None if all is known.
    pub fn call(&mut self) -> Option<Call> {
        if let Stage::Sandbox(at) = self.stage
            && at >= self.sandboxes.len()
        {
            self.stage = Stage::Container(0);
        }
        match self.stage {
            Stage::ListSandboxes => Some(Call::ListPodSandbox { pod: Some(self.pod) }),
            Stage::ListContainers => Some(Call::ListContainers { pod: Some(self.pod) }),
            Stage::Sandbox(at) => Some(Call::PodSandboxStatus(self.sandboxes[at].id)),
            Stage::Container(at) => self.containers.get(at).map(|container| Call::ContainerStatus(container.id)),
        }
    }

    /// Takes the answer to the last call. What is gone meanwhile is left out.
    pub fn answer(&mut self, result: Result<Answer, Error>) -> Result<(), Error> {
        match (self.stage, result) {
            (Stage::ListSandboxes, Ok(Answer::Sandboxes(list))) => {
                self.sandboxes = list;
                self.stage = Stage::ListContainers;
            }
            (Stage::ListContainers, Ok(Answer::Containers(list))) => {
                self.containers = list;
                self.sort();
                self.stage = Stage::Sandbox(0);
            }
            (Stage::Sandbox(at), Ok(Answer::SandboxStatus(status))) => {
                push(&mut self.status.sandboxes, *status, self.sandboxes.len());
                self.stage = Stage::Sandbox(at + 1);
            }
            (Stage::Container(at), Ok(Answer::ContainerStatus(status))) => {
                push(&mut self.status.containers, *status, self.containers.len());
                self.stage = Stage::Container(at + 1);
            }
            (Stage::Sandbox(at), Err(error)) if error.code == Code::NotFound => self.stage = Stage::Sandbox(at + 1),
            (Stage::Container(at), Err(error)) if error.code == Code::NotFound => self.stage = Stage::Container(at + 1),
            (_, Err(error)) => return Err(error),
            (_, Ok(_)) => return Err(Error::new(Code::Unknown, "unexpected answer of the runtime")),
        }
        Ok(())
    }

    /// What was read.
    pub fn finish(self) -> RuntimeStatus {
        self.status
    }

    fn sort(&mut self) {
        self.sandboxes.sort_by_key(|one| Reverse((one.created_at, one.attempt, one.id)));
        self.containers.sort_by_key(|one| Reverse((one.created_at, one.attempt, one.id)));
    }
}

/// Pushes one of `count`: what is read is kept for as long as the pod is, so it takes no more room than it needs.
fn push<T>(list: &mut Vec<T>, one: T, count: usize) {
    if list.is_empty() {
        list.reserve_exact(count);
    }
    list.push(one);
}

/// The container's number in API statuses; 0: none.
pub fn api_id(id: ContainerId) -> u64 {
    id.0
}
