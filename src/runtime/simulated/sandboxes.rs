//! PodSandboxes: set up with their network, stopped, removed.
//!
//! Kubernetes sees them by RunPodSandbox, StopPodSandbox, RemovePodSandbox, ListPodSandbox and PodSandboxStatus. A sandbox
//! can be seen once it is ready, not before.

use std::net::Ipv4Addr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::{Name, Text, Uid};
use crate::protocol::cri::{
    Answer, Code, ContainerConfig, ContainerEventType, ContainerId, Error, LinuxResources, PodSandboxConfig, SandboxId,
    SandboxState, SandboxStatus, SandboxSummary,
};
use crate::trace::Effects;

use super::profile::{Dialect, OnRepeat};
use super::runtime::{Caller, Runtime, hex, reply, reply_after};
use super::{In, Out};

/// A sandbox that is, or was, ready.
#[derive(Clone, Debug)]
pub(super) struct Sandbox {
    pub config: Arc<PodSandboxConfig>,
    pub state: SandboxState,
    pub created_at: Time,
    /// Kept in the status after it was given back.
    pub ip: Option<Ipv4Addr>,
    /// In the order of their creation.
    pub containers: SmallVec<[ContainerId; 2]>,
    /// What they may use together, where somebody says so.
    pub resources: Option<LinuxResources>,
}

/// A RunPodSandbox under way.
#[derive(Clone, Debug)]
pub(super) struct SandboxJob {
    pub id: SandboxId,
    pub config: Arc<PodSandboxConfig>,
    /// Those who get the answer.
    pub callers: SmallVec<[Caller; 1]>,
    /// Another one took its place.
    replaced: bool,
}

impl SandboxJob {
    /// A sandbox that nobody waits for.
    pub fn unasked(id: SandboxId, config: Arc<PodSandboxConfig>) -> SandboxJob {
        SandboxJob { id, config, callers: SmallVec::new(), replaced: false }
    }
}

/// What contends for the node.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Sandbox(SandboxJob),
    Create { caller: Caller, sandbox: SandboxId, config: Arc<ContainerConfig> },
    Start { caller: Caller, container: ContainerId },
}

impl Sandbox {
    fn summary(&self, id: SandboxId) -> SandboxSummary {
        SandboxSummary {
            id,
            pod: self.config.uid,
            namespace: self.config.namespace,
            name: self.config.name,
            attempt: self.config.attempt,
            state: self.state,
            created_at: self.created_at,
        }
    }
}

impl Runtime {
    pub(super) fn run_pod_sandbox(&mut self, caller: Caller, config: Arc<PodSandboxConfig>, fx: &mut Effects<In, Out>) {
        let on_repeat = self.config.profile.on_repeat;
        let same = |other: &PodSandboxConfig| other.uid == config.uid && other.attempt == config.attempt;
        let sandbox_jobs = self.operations.jobs_mut().filter_map(|operation| match operation {
            Operation::Sandbox(job) => Some(job),
            _ => None,
        });
        let under_way = sandbox_jobs.chain(&mut self.stalled).find(|job| same(&job.config) && !job.replaced);
        let taken_by = match (under_way, on_repeat) {
            (Some(job), OnRepeat::HandOver) => return job.callers.push(caller),
            (Some(job), OnRepeat::Refuse) => Some(job.id),
            (Some(job), OnRepeat::Replace) => {
                job.replaced = true;
                None
            }
            (None, _) => None,
        };
        let finished = self.pods.get(&config.uid).into_iter().flatten().copied();
        let finished = finished.rev().find(|id| self.sandboxes.get(id).is_some_and(|sandbox| same(&sandbox.config)));
        let taken_by = match (taken_by.or(finished), on_repeat) {
            (Some(id), OnRepeat::HandOver)
                if self.sandboxes.get(&id).is_some_and(|s| s.state == SandboxState::Ready) =>
            {
                return reply(caller.id, Ok(Answer::Sandbox(id)), fx);
            }
            (Some(id), OnRepeat::Refuse | OnRepeat::HandOver) => Some(id),
            (_, _) => None,
        };
        if let Some(id) = taken_by {
            let name = format!("{}_{}_{}_{}", config.name, config.namespace, config.uid, config.attempt);
            let id = hex(id.0);
            let text = format!(r#"failed to reserve sandbox name "{name}": name "{name}" is reserved for "{id}""#);
            return reply(caller.id, Err(Error::new(Code::Unknown, text)), fx);
        }
        let id = SandboxId(self.new_id());
        let job = SandboxJob { id, config, callers: SmallVec::from_elem(caller, 1), replaced: false };
        if !self.network.is_ready() && !job.config.host_network {
            // CRI-O waits for the network's configuration, the others fail.
            if self.config.profile.dialect == Dialect::CriO {
                return self.stalled.push(job);
            }
            let text = self.config.profile.network_uninitialized().1;
            return reply(caller.id, Err(Error::new(Code::Unknown, text)), fx);
        }
        let latency = &self.config.profile.latency;
        let mut work = self.random.sandbox.draw(&latency.sandbox);
        if !job.config.host_network {
            work += self.random.sandbox.draw(&latency.cni_add);
        }
        self.begin(work, Operation::Sandbox(job), fx);
    }

    /// The client's deadline of RunPodSandbox: twice the request timeout.
    fn run_deadline(&self) -> Duration {
        self.config.request_timeout * 2
    }

    pub(super) fn sandbox_set_up(&mut self, mut job: SandboxJob, fx: &mut Effects<In, Out>) {
        if self.network.hangs && !job.config.host_network {
            return self.stalled.push(job);
        }
        let (now, deadline) = (fx.now(), self.run_deadline());
        if let Some(first) = job.callers.first() {
            fx.because(first.cause);
        }
        job.callers.retain(|caller| now.since(caller.since) <= deadline);
        if job.replaced {
            for caller in &job.callers {
                let text = "failed to start sandbox container: Error response from daemon: No such container";
                reply(caller.id, Err(Error::new(Code::Unknown, text)), fx);
            }
            return;
        }
        if job.callers.is_empty() && self.config.profile.on_repeat != OnRepeat::HandOver {
            // The client is gone: what was set up is torn down, and the name is free again.
            return;
        }
        let ip = if job.config.host_network { Ok(None) } else { self.network.allocate().map(Some) };
        let result = match ip {
            Ok(ip) => {
                self.insert_sandbox(&job, SandboxState::Ready, ip, fx);
                Ok(Answer::Sandbox(job.id))
            }
            Err(why) => {
                if self.config.profile.dialect == Dialect::Docker {
                    // Its pause container runs before the network is set up, and stays behind, stopped.
                    self.insert_sandbox(&job, SandboxState::NotReady, None, fx);
                }
                let text =
                    self.config.profile.network_error(&hex(job.id.0), &job.config.namespace, &job.config.name, &why);
                Err(Error::new(Code::Unknown, text))
            }
        };
        for caller in &job.callers {
            fx.because(caller.cause);
            reply(caller.id, result.clone(), fx);
        }
    }

    pub(super) fn insert_sandbox(
        &mut self,
        job: &SandboxJob,
        state: SandboxState,
        ip: Option<Ipv4Addr>,
        fx: &mut Effects<In, Out>,
    ) {
        let config = Arc::clone(&job.config);
        let pod = config.uid;
        let resources = config.resources;
        let sandbox = Sandbox { config, state, created_at: fx.now(), ip, containers: SmallVec::new(), resources };
        self.sandboxes.insert(job.id, sandbox);
        self.pods.entry(pod).or_default().push(job.id);
        self.event(pod, None, ContainerEventType::Created, fx);
        let kind = match state {
            SandboxState::Ready => ContainerEventType::Started,
            SandboxState::NotReady => ContainerEventType::Stopped,
        };
        self.event(pod, None, kind, fx);
    }

    /// UpdatePodSandboxResources: what the containers may use together from now on.
    pub(super) fn update_sandbox(
        &mut self,
        id: SandboxId,
        resources: LinuxResources,
        fx: &mut Effects<In, Out>,
    ) -> Result<Answer, Error> {
        let sandbox = self.sandboxes.get_mut(&id).ok_or_else(|| no_sandbox(id))?;
        sandbox.resources = Some(resources);
        self.divide_cpu(fx);
        self.arm_memory(fx);
        Ok(Answer::Done)
    }

    /// The network works again: what waited for it goes on.
    pub(super) fn network_works(&mut self, fx: &mut Effects<In, Out>) {
        let cause = fx.cause();
        for job in std::mem::take(&mut self.stalled) {
            self.sandbox_set_up(job, fx);
        }
        fx.because(cause);
    }

    /// Kills what runs in it and gives its address back. What it takes to do so is put before the answer.
    pub(super) fn stop_pod_sandbox(&mut self, caller: Caller, id: SandboxId, fx: &mut Effects<In, Out>) {
        self.stop_sandbox(id, fx);
        let delay = self.stop_latency(|latency| &latency.stop_sandbox);
        reply_after(delay, caller.id, Ok(Answer::Done), fx);
    }

    pub(super) fn stop_sandbox(&mut self, id: SandboxId, fx: &mut Effects<In, Out>) {
        let Some(sandbox) = self.sandboxes.get_mut(&id) else {
            return;
        };
        if sandbox.state == SandboxState::NotReady {
            return;
        }
        sandbox.state = SandboxState::NotReady;
        if let Some(ip) = sandbox.ip {
            self.network.release(ip);
        }
        let pod = sandbox.config.uid;
        for container in sandbox.containers.clone() {
            self.kill(container, fx);
        }
        self.event(pod, None, ContainerEventType::Stopped, fx);
    }

    pub(super) fn remove_pod_sandbox(&mut self, caller: Caller, id: SandboxId, fx: &mut Effects<In, Out>) {
        self.stop_sandbox(id, fx);
        let containers = self.sandboxes.get(&id).map(|sandbox| sandbox.containers.clone()).unwrap_or_default();
        for container in containers {
            self.forget_container(container, fx);
        }
        if let Some(sandbox) = self.sandboxes.remove(&id) {
            let pod = sandbox.config.uid;
            if let Some(ids) = self.pods.get_mut(&pod) {
                ids.retain(|existing| *existing != id);
                if ids.is_empty() {
                    self.pods.remove(&pod);
                    self.left.remove(&pod);
                }
            }
            self.event(pod, None, ContainerEventType::Deleted, fx);
        }
        let delay = self.stop_latency(|latency| &latency.remove);
        reply_after(delay, caller.id, Ok(Answer::Done), fx);
    }

    pub(super) fn list_sandboxes(&self, pod: Option<Uid>) -> Vec<SandboxSummary> {
        match pod {
            None => self.sandboxes.iter().map(|(id, sandbox)| sandbox.summary(*id)).collect(),
            Some(pod) => {
                let ids = self.pods.get(&pod).into_iter().flatten();
                ids.filter_map(|id| Some(self.sandboxes.get(id)?.summary(*id))).collect()
            }
        }
    }

    pub(super) fn sandbox_status(&self, id: SandboxId) -> Result<Answer, Error> {
        let sandbox = self.sandboxes.get(&id).ok_or_else(|| no_sandbox(id))?;
        let status = SandboxStatus {
            summary: sandbox.summary(id),
            ip: sandbox.ip,
            host_network: sandbox.config.host_network,
            runtime_id: Name::default(),
        };
        Ok(Answer::SandboxStatus(Box::new(status)))
    }
}

pub(super) fn no_sandbox(id: SandboxId) -> Error {
    let text = format!(r#"an error occurred when try to find sandbox "{}": not found"#, hex(id.0));
    Error::new(Code::NotFound, Text::new(text))
}
