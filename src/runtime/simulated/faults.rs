//! What faults do: power, the runtime's process, the network's plug-in, and the programs.

use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::Name;
use crate::protocol::cri::{Call, Code, ContainerId, ContainerState, Error, SandboxState};
use crate::protocol::probe::{Answer, Holds, Outcome, ProbeId};
use crate::protocol::pull;
use crate::trace::Effects;

use super::containers::Asker;
use super::profile::Dialect;
use super::program::Ending;
use super::runtime::{Caller, Process, Runtime, reply};
use super::sandboxes::Operation;
use super::{Fault, In, Out};

/// How long Docker Engine gives containers when it stops without live-restore.
const DOCKER_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

impl Runtime {
    pub(super) fn fault(&mut self, fault: Fault, fx: &mut Effects<In, Out>) {
        match fault {
            Fault::PowerOff => self.power_off(fx),
            Fault::PowerOn => {
                if self.process == Process::Off {
                    self.process = Process::Runs;
                }
            }
            Fault::Stopped => {
                self.process_stops(fx);
                self.exec_probes_change(fx);
            }
            Fault::Hung => {
                if self.process == Process::Runs {
                    self.process = Process::Hung;
                    self.exec_probes_change(fx);
                }
            }
            Fault::Restored => {
                self.process_works(fx);
                self.exec_probes_change(fx);
            }
            Fault::NetworkHangs(hangs) => {
                self.network.hangs = hangs;
                if !hangs {
                    self.network_works(fx);
                }
            }
            Fault::Scarce { what, available } => self.make_scarce(what, available, fx),
            Fault::Exit { namespace, pod, container, code } => {
                let cause = fx.cause();
                for id in self.running(namespace, pod, container) {
                    fx.because(cause);
                    self.end(id, Ending::Exits(code), fx);
                }
            }
            Fault::Oom { namespace, pod, container } => {
                let cause = fx.cause();
                for id in self.running(namespace, pod, container) {
                    fx.because(cause);
                    self.end(id, Ending::Oom(None), fx);
                }
            }
            Fault::CallerGone => self.caller_gone(),
            Fault::Hang { namespace, pod, container, hangs } => {
                for id in self.running(namespace, pod, container) {
                    if let Some(program) = self.containers.get_mut(&id).and_then(|container| container.program.as_mut())
                    {
                        program.hung = hangs;
                    }
                    self.probes_change(id, fx);
                }
            }
        }
    }

    /// Exec probes go through the runtime's process, so their answers change with it.
    fn exec_probes_change(&mut self, fx: &mut Effects<In, Out>) {
        for id in self.running(Name::default(), Name::default(), Name::default()) {
            self.probes_change(id, fx);
        }
    }

    /// Stops under way are cancelled with their calls: SIGTERM was sent, SIGKILL will not be. CRI-O's stop goes on by itself.
    fn caller_gone(&mut self) {
        let cancels = self.config.profile.dialect != Dialect::CriO;
        for container in self.containers.values_mut().filter(|container| !container.stops.is_empty()) {
            container.stops.clear();
            if let Some(program) = container.program.as_mut().filter(|_| cancels) {
                program.spare();
            }
        }
    }

    /// Running containers by names; an empty one fits all.
    fn running(&self, namespace: Name, pod: Name, container: Name) -> Vec<ContainerId> {
        let fits = |wanted: Name, name: Name| wanted.is_empty() || wanted == name;
        let running = self.containers.iter().filter(|(_, existing)| {
            let sandbox = self.sandboxes.get(&existing.sandbox).map(|sandbox| &sandbox.config);
            existing.program.is_some()
                && fits(container, existing.config.name)
                && sandbox.is_some_and(|config| fits(namespace, config.namespace) && fits(pod, config.name))
        });
        running.map(|(id, _)| *id).collect()
    }

    fn power_off(&mut self, fx: &mut Effects<In, Out>) {
        if self.process == Process::Off {
            return;
        }
        self.process = Process::Off;
        self.boot += 1;
        self.operations.clear();
        self.stalled.clear();
        self.held.clear();
        self.unsent.clear();
        self.execs.clear();
        self.images.abandon();
        self.network.release_all();
        for sandbox in self.sandboxes.values_mut() {
            sandbox.state = SandboxState::NotReady;
        }
        let (code, reason) = self.config.profile.lost;
        let ids: Vec<ContainerId> = self.containers.keys().copied().collect();
        for id in ids {
            self.lost(id, code, reason, fx);
        }
    }

    fn lost(&mut self, id: ContainerId, code: i32, reason: Name, fx: &mut Effects<In, Out>) {
        let Some(container) = self.containers.get_mut(&id) else {
            return;
        };
        // Nobody hears the answers.
        container.stops.clear();
        match container.state {
            ContainerState::Running => self.ended(id, code, reason, fx),
            ContainerState::Created => container.never_started(fx.now(), code, reason),
            ContainerState::Exited | ContainerState::Unknown => {}
        }
    }

    fn process_stops(&mut self, fx: &mut Effects<In, Out>) {
        if matches!(self.process, Process::Off | Process::Stopped) {
            return;
        }
        self.process = Process::Stopped;
        let mut callers: Vec<Caller> = self.images.waiting().collect();
        let stalled = std::mem::take(&mut self.stalled);
        let jobs = self.operations.clear().into_iter().chain(stalled.into_iter().map(Operation::Sandbox));
        for operation in jobs {
            match operation {
                Operation::Sandbox(job) => callers.extend(job.callers),
                Operation::Create { caller, .. } | Operation::Start { caller, .. } => callers.push(caller),
            }
        }
        for container in self.containers.values_mut() {
            callers.extend(container.stops.drain(..));
        }
        let mut hooks: SmallVec<[ProbeId; 2]> = SmallVec::new();
        for (_, exec) in std::mem::take(&mut self.execs) {
            match exec.who {
                Asker::Call(caller) => callers.push(caller),
                Asker::Hook(id, _) => hooks.push(id),
            }
        }
        for (_, since, message) in std::mem::take(&mut self.held) {
            match message {
                In::Cri(request) => callers.push(Caller { id: request.id, cause: fx.cause(), since }),
                In::Probe(request) => hooks.push(request.id),
                _ => {}
            }
        }
        // In the order in which they were asked.
        callers.sort_by_key(|caller| caller.id);
        for caller in callers {
            reply(caller.id, Err(Error::new(Code::Unavailable, "error reading from server: EOF")), fx);
        }
        for id in hooks {
            let outcome =
                Outcome::Failure("rpc error: code = Unavailable desc = error reading from server: EOF".into());
            fx.send(Out::Probe(Box::new(Answer { id, outcome, holds: Holds::Once })));
        }
        for (host, id) in self.images.abandon() {
            let request = Box::new(pull::Request { id, what: pull::Fetch::Cancel });
            fx.send(Out::Pull { host, request });
        }
        // Timers of what was under way mean nothing any more.
        self.boot += 1;
        if !self.config.profile.survives_restart {
            for id in self.running(Name::default(), Name::default(), Name::default()) {
                self.terminate(id, DOCKER_SHUTDOWN_TIMEOUT, fx);
            }
        }
    }

    fn process_works(&mut self, fx: &mut Effects<In, Out>) {
        let before = self.process;
        if matches!(before, Process::Off | Process::Runs) {
            return;
        }
        self.process = Process::Runs;
        if before == Process::Stopped && !self.config.profile.survives_restart {
            let ready: Vec<_> = self.sandboxes.keys().copied().collect();
            for id in ready {
                self.stop_sandbox(id, fx);
            }
        }
        for event in std::mem::take(&mut self.unsent) {
            fx.send(Out::Event(Box::new(event)));
        }
        let cause = fx.cause();
        for (held_cause, since, message) in std::mem::take(&mut self.held) {
            if !self.is_too_late(&message, since, fx.now()) {
                fx.because(held_cause);
                self.handle(message, fx);
            }
        }
        fx.because(cause);
    }

    /// True for calls whose client has given up. Kubernetes: staging/src/k8s.io/cri-client/pkg/remote_runtime.go.
    fn is_too_late(&self, message: &In, since: Time, now: Time) -> bool {
        let timeout = self.config.request_timeout;
        let In::Cri(request) = message else {
            return false;
        };
        let deadline = match &request.call {
            Call::PullImage { .. } => return false,
            Call::ExecSync { timeout: own, .. } if own.is_zero() => return false,
            Call::RunPodSandbox(_) => timeout * 2,
            Call::StopContainer { timeout: own, .. } | Call::ExecSync { timeout: own, .. } => timeout + *own,
            _ => timeout,
        };
        now.since(since) > deadline
    }
}
