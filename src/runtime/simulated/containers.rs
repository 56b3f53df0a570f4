//! Containers: created, started, ended by themselves, by signals or by the OOM killer, removed; and commands executed in
//! them.
//!
//! CREATED, RUNNING, EXITED, and never back: a restart is a new container.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::{Key, Kind, Name, Text, Uid};
use crate::protocol::cri::{
    Answer, Code, ContainerConfig, ContainerEventType, ContainerId, ContainerState, ContainerStats, ContainerStatus,
    ContainerSummary, Error, LinuxResources, SandboxId, SandboxState,
};
use crate::protocol::probe;
use crate::trace::{Effects, Record};

use super::profile::StartFailure;
use super::program::{self, Ending, Limit, Program, Start};
use super::runtime::{Caller, Runtime, hex, reply, reply_after};
use super::sandboxes::{Operation, Sandbox, no_sandbox};
use super::{In, Out, Timer};

/// A container.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub sandbox: SandboxId,
    pub pod: Uid,
    pub config: Arc<ContainerConfig>,
    pub(super) resources: LinuxResources,
    pub state: ContainerState,
    created_at: Time,
    started_at: Time,
    finished_at: Time,
    exit_code: i32,
    reason: Name,
    message: Text,
    /// While it runs.
    pub program: Option<Box<Program>>,
    /// StopContainer calls that wait for its end.
    pub stops: SmallVec<[Caller; 1]>,
    /// It was probed, so somebody may rely on its answers.
    pub probed: bool,
}

/// A command that is executed in a container.
#[derive(Clone, Debug)]
pub(super) struct Exec {
    pub container: ContainerId,
    pub who: Asker,
    pub ends: ExecEnd,
}

/// Who wants to know how it ended.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    Call(Caller),
    /// A hook, with its command's text.
    Hook(probe::ProbeId, Text),
}

/// How it will end.
#[derive(Clone, Copy, Debug)]
pub(super) enum ExecEnd {
    Exits(i32),
    TimesOut(Duration),
}

impl Container {
    /// It was created and can never be started: the machine was switched off in between.
    pub fn never_started(&mut self, now: Time, code: i32, reason: Name) {
        self.state = ContainerState::Exited;
        self.finished_at = now;
        self.exit_code = code;
        self.reason = reason;
    }

    /// When its process ended.
    pub fn ended_at(&self) -> Option<Time> {
        (self.state == ContainerState::Exited).then_some(self.finished_at)
    }

    fn summary(&self, id: ContainerId) -> ContainerSummary {
        ContainerSummary {
            id,
            sandbox: self.sandbox,
            pod: self.pod,
            name: self.config.name,
            attempt: self.config.attempt,
            image: self.config.image,
            state: self.state,
            created_at: self.created_at,
        }
    }
}

impl Runtime {
    pub(super) fn create_container(
        &mut self,
        caller: Caller,
        sandbox: SandboxId,
        config: Arc<ContainerConfig>,
        fx: &mut Effects<In, Out>,
    ) {
        if let Err(error) = self.may_create(sandbox, &config) {
            return reply(caller.id, Err(error), fx);
        }
        let work = self.random.create.draw(&self.config.profile.latency.create);
        self.begin(work, Operation::Create { caller, sandbox, config }, fx);
    }

    fn may_create(&mut self, id: SandboxId, config: &ContainerConfig) -> Result<(), Error> {
        let sandbox = self.ready_sandbox(id)?;
        let taken = sandbox.containers.iter().find(|id| {
            let same = |other: &Container| other.config.name == config.name && other.config.attempt == config.attempt;
            self.containers.get(id).is_some_and(same)
        });
        if let Some(taken) = taken {
            let pod = &sandbox.config;
            let name = format!("{}_{}_{}_{}_{}", config.name, pod.name, pod.namespace, pod.uid, config.attempt);
            let id = hex(taken.0);
            let text = format!(r#"failed to reserve container name "{name}": name "{name}" is reserved for "{id}""#);
            return Err(Error::new(Code::Unknown, text));
        }
        if !self.images.has(config.image) {
            let text = format!(r#"failed to get image from containerd "{}": not found"#, config.image);
            return Err(Error::new(Code::NotFound, text));
        }
        Ok(())
    }

    fn ready_sandbox(&self, id: SandboxId) -> Result<&Sandbox, Error> {
        let sandbox = self.sandboxes.get(&id).ok_or_else(|| no_sandbox(id))?;
        match sandbox.state {
            SandboxState::Ready => Ok(sandbox),
            SandboxState::NotReady => {
                let text = format!(
                    r#"failed to get sandbox container task: no running task found: task {} not found"#,
                    hex(id.0)
                );
                Err(Error::new(Code::NotFound, text))
            }
        }
    }

    pub(super) fn created(
        &mut self,
        sandbox: SandboxId,
        config: Arc<ContainerConfig>,
        fx: &mut Effects<In, Out>,
    ) -> Result<Answer, Error> {
        // Both may have changed while it was created.
        self.may_create(sandbox, &config)?;
        let pod = Arc::clone(&self.ready_sandbox(sandbox)?.config);
        if self.config.profile.start_failure == StartFailure::AtCreate
            && let Some(why) = program::cannot_start(&self.config.behaviors, &pod, &config)
        {
            return Err(Error::new(Code::Unknown, self.config.profile.start_error(&why)));
        }
        let id = ContainerId(self.new_id());
        let container = Container {
            sandbox,
            pod: pod.uid,
            resources: config.resources,
            config,
            state: ContainerState::Created,
            created_at: fx.now(),
            started_at: Time::ZERO,
            finished_at: Time::ZERO,
            exit_code: 0,
            reason: Name::default(),
            message: Text::default(),
            program: None,
            stops: SmallVec::new(),
            probed: false,
        };
        self.containers.insert(id, container);
        if let Some(sandbox) = self.sandboxes.get_mut(&sandbox) {
            sandbox.containers.push(id);
        }
        self.event(pod.uid, Some(id), ContainerEventType::Created, fx);
        Ok(Answer::Container(id))
    }

    pub(super) fn start_container(&mut self, caller: Caller, id: ContainerId, fx: &mut Effects<In, Out>) {
        if let Err(error) = self.may_start(id) {
            return reply(caller.id, Err(error), fx);
        }
        let work = self.random.start.draw(&self.config.profile.latency.start);
        self.begin(work, Operation::Start { caller, container: id }, fx);
    }

    fn may_start(&self, id: ContainerId) -> Result<(), Error> {
        let container = self.containers.get(&id).ok_or_else(|| no_container(id))?;
        if container.state != ContainerState::Created {
            let (id, state) = (hex(id.0), state_name(container.state));
            let text = format!(r#"failed to set starting state for container "{id}": container is in {state} state"#);
            return Err(Error::new(Code::Unknown, text));
        }
        self.ready_sandbox(container.sandbox).map(|_| ())
    }

    pub(super) fn started(&mut self, id: ContainerId, fx: &mut Effects<In, Out>) -> Result<Answer, Error> {
        self.may_start(id)?;
        let now = fx.now();
        let (Some(container), profile) = (self.containers.get_mut(&id), &self.config.profile) else {
            return Err(no_container(id));
        };
        let Some(sandbox) = self.sandboxes.get(&container.sandbox) else {
            return Err(no_sandbox(container.sandbox));
        };
        let pod = sandbox.config.uid;
        container.started_at = now;
        if let StartFailure::AtStart { code, reason } = profile.start_failure
            && let Some(why) = program::cannot_start(&self.config.behaviors, &sandbox.config, &container.config)
        {
            let text = profile.start_error(&why);
            container.state = ContainerState::Exited;
            container.finished_at = now;
            container.exit_code = code;
            container.reason = Name::new(reason);
            container.message = text.clone();
            self.event(pod, Some(id), ContainerEventType::Stopped, fx);
            return Err(Error::new(Code::Unknown, text));
        }
        let start = Start {
            pod: &sandbox.config,
            container: &container.config,
            volumes: self.volumes.get(&pod),
            left: self.left.get(&pod),
            at: now,
            memory_limit: container.resources.memory_limit_in_bytes,
        };
        container.state = ContainerState::Running;
        let program = Program::start(start, &self.config.behaviors, &self.streams);
        let is_measured = program.is_measured();
        let wants_cpu = program.cpu_wanted().is_some();
        container.program = Some(Box::new(program));
        self.event(pod, Some(id), ContainerEventType::Started, fx);
        self.probes_change(id, fx);
        self.arm_program(id, fx);
        if is_measured {
            self.usage_changed(fx);
        }
        if wants_cpu {
            self.divide_cpu(fx);
        }
        Ok(Answer::Container(id))
    }

    pub(super) fn arm_program(&mut self, id: ContainerId, fx: &mut Effects<In, Out>) {
        let program = self.containers.get_mut(&id).and_then(|container| container.program.as_mut());
        if let Some(at) = program.and_then(|program| program.arm()) {
            fx.wake_at(at, In::Timer(Timer::Program { container: id, at }));
        }
    }

    pub(super) fn program_woken(&mut self, id: ContainerId, at: Time, fx: &mut Effects<In, Out>) {
        let Some(program) = self.containers.get_mut(&id).and_then(|container| container.program.as_mut()) else {
            return;
        };
        if !program.woken(at) {
            return;
        }
        match program.next_end() {
            Some((end, ending)) if end <= fx.now() => self.end(id, ending, fx),
            _ => self.arm_program(id, fx),
        }
    }

    /// The program of a running container ends now.
    pub(super) fn end(&mut self, id: ContainerId, ending: Ending, fx: &mut Effects<In, Out>) {
        if matches!(ending, Ending::Oom(Some(Limit::Container(_)))) && self.only_a_child_dies(id, fx) {
            return;
        }
        let Some(container) = self.containers.get(&id) else {
            return;
        };
        let (code, reason) = match ending {
            Ending::Exits(0) | Ending::Terminates(0, _) => (0, "Completed"),
            Ending::Exits(code) | Ending::Terminates(code, _) => (code, "Error"),
            Ending::Oom(Some(Limit::Node)) | Ending::Killed(_) => (137, "Error"),
            Ending::Oom(_) => (137, "OOMKilled"),
        };
        match ending {
            Ending::Terminates(_, cause) | Ending::Killed(cause) => fx.because(cause),
            Ending::Oom(limit) => {
                let after = fx.now().since(container.started_at);
                let why = match limit {
                    Some(Limit::Container(bytes)) => {
                        format!("its memory reached the limit of {bytes} bytes after {after}")
                    }
                    Some(Limit::Pod(bytes)) => {
                        format!("its pod's memory reached the limit of {bytes} bytes after {after}")
                    }
                    Some(Limit::Node) => format!("its memory filled the node after {after}"),
                    None => format!("after {after}"),
                };
                if let Some(sandbox) = self.sandboxes.get(&container.sandbox) {
                    let object =
                        Key { kind: Kind::Pod, namespace: sandbox.config.namespace, name: sandbox.config.name };
                    let text = format!("OOM kill of container {}: {why}", container.config.name);
                    fx.record(Record::Decided { object, by: Name::new("kernel"), text: text.into() });
                }
            }
            Ending::Exits(_) => {}
        }
        self.ended(id, code, Name::new(reason), fx);
    }

    /// Memory is at the container's limit: true if only one of its processes dies of it.
    fn only_a_child_dies(&mut self, id: ContainerId, fx: &mut Effects<In, Out>) -> bool {
        let Some(container) = self.containers.get_mut(&id) else { return false };
        let limit = container.resources.memory_limit_in_bytes;
        let single = container.resources.single_process_oom_kill;
        let lost = container.program.as_mut().is_some_and(|program| single && program.loses_child(limit, fx.now()));
        if lost {
            self.arm_program(id, fx);
            self.usage_changed(fx);
        }
        lost
    }

    /// A running container has ended with this code.
    pub(super) fn ended(&mut self, id: ContainerId, code: i32, reason: Name, fx: &mut Effects<In, Out>) {
        let Some(container) = self.containers.get_mut(&id) else {
            return;
        };
        let Some(program) = container.program.take() else {
            return;
        };
        container.state = ContainerState::Exited;
        container.finished_at = fx.now();
        container.exit_code = code;
        container.reason = reason;
        container.message = program.message();
        let (pod, stops) = (container.pod, std::mem::take(&mut container.stops));
        let (is_measured, wants_cpu) = (program.is_measured(), program.cpu_wanted().is_some());
        if !container.config.mounts.is_empty() {
            let config = Arc::clone(&container.config);
            self.keep_files(pod, &config, program.files(fx.now()));
        }
        self.event(pod, Some(id), ContainerEventType::Stopped, fx);
        self.probes_change(id, fx);
        let killed: SmallVec<[u64; 2]> =
            self.execs.iter().filter(|(_, exec)| exec.container == id).map(|(number, _)| *number).collect();
        for exec in killed {
            if let Some(exec) = self.execs.get_mut(&exec) {
                exec.ends = ExecEnd::Exits(137);
            }
            self.exec_ends(exec, fx);
        }
        for caller in stops {
            let delay = self.stop_latency(|latency| &latency.stop);
            reply_after(delay, caller.id, Ok(Answer::Done), fx);
        }
        if is_measured {
            self.usage_changed(fx);
        }
        if wants_cpu {
            self.divide_cpu(fx);
        }
    }

    /// SIGKILL, now.
    pub(super) fn kill(&mut self, id: ContainerId, fx: &mut Effects<In, Out>) {
        let cause = fx.cause();
        self.end(id, Ending::Killed(cause), fx);
    }

    pub(super) fn stop_container(
        &mut self,
        caller: Caller,
        id: ContainerId,
        timeout: Duration,
        fx: &mut Effects<In, Out>,
    ) {
        let Some(container) = self.containers.get_mut(&id) else {
            return reply(caller.id, Err(no_container(id)), fx);
        };
        if container.program.is_none() {
            let delay = self.stop_latency(|latency| &latency.stop);
            return reply_after(delay, caller.id, Ok(Answer::Done), fx);
        }
        container.stops.push(caller);
        if timeout.is_zero() {
            return self.kill(id, fx);
        }
        self.terminate(id, timeout, fx);
    }

    /// SIGTERM now, SIGKILL after `grace`.
    pub(super) fn terminate(&mut self, id: ContainerId, grace: Duration, fx: &mut Effects<In, Out>) {
        let Some(container) = self.containers.get_mut(&id) else {
            return;
        };
        let (Some(program), Some(sandbox)) = (&mut container.program, self.sandboxes.get(&container.sandbox)) else {
            return;
        };
        program.sigterm(fx.now(), fx.cause(), &sandbox.config, &container.config, &self.streams);
        program.kill_at(fx.now() + grace, fx.cause());
        self.arm_program(id, fx);
    }

    pub(super) fn remove_container(&mut self, caller: Caller, id: ContainerId, fx: &mut Effects<In, Out>) {
        self.kill(id, fx);
        self.forget_container(id, fx);
        let delay = self.stop_latency(|latency| &latency.remove);
        reply_after(delay, caller.id, Ok(Answer::Done), fx);
    }

    pub(super) fn forget_container(&mut self, id: ContainerId, fx: &mut Effects<In, Out>) {
        let Some(container) = self.containers.remove(&id) else {
            return;
        };
        if let Some(sandbox) = self.sandboxes.get_mut(&container.sandbox) {
            sandbox.containers.retain(|existing| *existing != id);
        }
        self.event(container.pod, Some(id), ContainerEventType::Deleted, fx);
    }

    pub(super) fn list_containers(&self, pod: Option<Uid>) -> Vec<ContainerSummary> {
        match pod {
            None => self.containers.iter().map(|(id, container)| container.summary(*id)).collect(),
            Some(pod) => {
                let sandboxes = self.pods.get(&pod).into_iter().flatten().filter_map(|id| self.sandboxes.get(id));
                let ids = sandboxes.flat_map(|sandbox| sandbox.containers.iter());
                ids.filter_map(|id| Some(self.containers.get(id)?.summary(*id))).collect()
            }
        }
    }

    pub(super) fn container_status(&self, id: ContainerId) -> Result<Answer, Error> {
        let container = self.containers.get(&id).ok_or_else(|| no_container(id))?;
        Ok(Answer::ContainerStatus(Box::new(ContainerStatus {
            summary: container.summary(id),
            started_at: container.started_at.into(),
            finished_at: container.finished_at.into(),
            exit_code: container.exit_code,
            reason: container.reason,
            message: container.message.clone(),
            annotations: container.config.annotations.clone(),
            runtime_id: Name::default(),
            image_ref: Name::default(),
        })))
    }

    pub(super) fn update_resources(
        &mut self,
        id: ContainerId,
        resources: LinuxResources,
        fx: &mut Effects<In, Out>,
    ) -> Result<Answer, Error> {
        let container = self.containers.get_mut(&id).ok_or_else(|| no_container(id))?;
        container.resources = resources;
        if let Some(program) = &mut container.program {
            program.limit_memory(resources.memory_limit_in_bytes, fx.now());
            let wants_cpu = program.cpu_wanted().is_some();
            self.arm_program(id, fx);
            if wants_cpu {
                self.divide_cpu(fx);
            }
        }
        Ok(Answer::Done)
    }

    /// Of running containers.
    pub(super) fn stats(&self, now: Time) -> Vec<ContainerStats> {
        let whole = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let running = self.containers.iter().filter_map(|(id, container)| {
            let (memory, disk, cpu) = container.program.as_ref()?.usage(now);
            Some(ContainerStats {
                container: *id,
                pod: container.pod,
                cpu_usage_core_nanos: cpu,
                memory_working_set_bytes: whole(memory),
                filesystem_used_bytes: whole(disk),
            })
        });
        running.collect()
    }

    pub(super) fn exec_sync(
        &mut self,
        caller: Caller,
        id: ContainerId,
        command: &[Text],
        timeout: Duration,
        fx: &mut Effects<In, Out>,
    ) {
        if let Err(error) = self.exec(id, command, timeout, Asker::Call(caller), fx) {
            reply(caller.id, Err(error), fx);
        }
    }

    /// Executes a command in a running container. What the shell does not know is taken to succeed at once.
    pub(super) fn exec(
        &mut self,
        id: ContainerId,
        command: &[Text],
        timeout: Duration,
        who: Asker,
        fx: &mut Effects<In, Out>,
    ) -> Result<(), Error> {
        let container = self.containers.get(&id).ok_or_else(|| no_container(id))?;
        let Some(program) = &container.program else {
            let text = format!("failed to exec in container: container is in {} state", state_name(container.state));
            return Err(Error::new(Code::Unknown, text));
        };
        let overhead = self.random.exec.draw(&self.config.profile.latency.exec);
        let inside = self.inside(container.pod, &container.config, program);
        let run = program.exec_at(command, fx.now(), &inside);
        let end = run.map_or(Some((Duration::ZERO, 0)), |run| run.end);
        let (takes, ends) = match end {
            Some((after, code)) if timeout.is_zero() || after + overhead <= timeout => {
                (Some(after + overhead), ExecEnd::Exits(code))
            }
            None if timeout.is_zero() => (None, ExecEnd::Exits(137)),
            _ => (Some(timeout), ExecEnd::TimesOut(timeout)),
        };
        let exec = self.new_id();
        self.execs.insert(exec, Exec { container: id, who, ends });
        if let Some(takes) = takes {
            fx.wake_after(takes, In::Timer(Timer::Exec { boot: self.boot, exec }));
        }
        Ok(())
    }

    pub(super) fn exec_ends(&mut self, exec: u64, fx: &mut Effects<In, Out>) {
        let Some(exec) = self.execs.remove(&exec) else {
            return;
        };
        match exec.who {
            Asker::Call(caller) => {
                let result = match exec.ends {
                    ExecEnd::Exits(exit_code) => Ok(Answer::Exec { exit_code, output: Text::default() }),
                    ExecEnd::TimesOut(timeout) => {
                        let text = format!(
                            "failed to exec in container: timeout {timeout} exceeded: context deadline exceeded"
                        );
                        Err(Error::new(Code::DeadlineExceeded, text))
                    }
                };
                reply(caller.id, result, fx);
            }
            Asker::Hook(id, command) => {
                let outcome = match exec.ends {
                    ExecEnd::Exits(0) => probe::Outcome::Success,
                    ExecEnd::Exits(code) => {
                        probe::Outcome::Failure(format!("command '{command}' exited with {code}: ").into())
                    }
                    ExecEnd::TimesOut(timeout) => {
                        probe::Outcome::Failure(format!("command '{command}' timed out after {timeout}").into())
                    }
                };
                fx.send(Out::Probe(Box::new(probe::Answer { id, outcome, holds: probe::Holds::Once })));
            }
        }
    }
}

pub(super) fn no_container(id: ContainerId) -> Error {
    let text = format!(r#"an error occurred when try to find container "{}": not found"#, hex(id.0));
    Error::new(Code::NotFound, text)
}

fn state_name(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "CONTAINER_CREATED",
        ContainerState::Running => "CONTAINER_RUNNING",
        ContainerState::Exited => "CONTAINER_EXITED",
        ContainerState::Unknown => "CONTAINER_UNKNOWN",
    }
}
