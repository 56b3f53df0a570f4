//! Probes and hooks, answered by what programs do, in the words in which the kubelet reports them.
//!
//! Kubernetes: pkg/probe/{http,tcp,grpc,exec}, pkg/kubelet/lifecycle/handlers.go. Each answer says until when it holds, so
//! that a kubelet may sleep instead of probing. A probe draws no random number: asking less often changes nothing.

use std::net::Ipv4Addr;

use crate::kernel::{Duration, Time};
use crate::model::pod::{Handler, PortRef};
use crate::model::{Container as Spec, Name, Text};
use crate::protocol::cri::{Code, ContainerId, Error};
use crate::protocol::probe::{Answer as Reply, Changed, Holds, Outcome, Purpose, Request};
use crate::trace::Effects;

use super::behavior::Answer;
use super::containers::{Asker, Container};
use super::profile::Dialect;
use super::program::Probed;
use super::runtime::{Process, Runtime, hex};
use super::{In, Out};

/// From a process's end until containerd has noted that its container has exited.
const TASK_GOES: Duration = Duration::from_millis(250);

/// A request to a pod of the same node and its answer.
const NETWORK_LATENCY: Duration = Duration::from_millis(1);

impl Runtime {
    pub(super) fn probe(&mut self, request: Request, fx: &mut Effects<In, Out>) {
        if self.process == Process::Off {
            return;
        }
        let Some(spec) = request.spec.get(request.index as usize) else {
            return answer(&request, Duration::ZERO, Outcome::Error("no such container".into()), Holds::Once, fx);
        };
        if let Some(container) = self.containers.get_mut(&request.container) {
            container.probed = true;
        }
        let hook;
        let handler = match request.purpose {
            Purpose::Startup => spec.startup.as_ref().map(|probe| &probe.handler),
            Purpose::Readiness => spec.readiness.as_ref().map(|probe| &probe.handler),
            Purpose::Liveness => spec.liveness.as_ref().map(|probe| &probe.handler),
            Purpose::PostStart => {
                hook = spec.post_start.clone();
                hook.as_deref()
            }
            Purpose::PreStop => {
                hook = spec.pre_stop.clone();
                hook.as_deref()
            }
        };
        let Some(handler) = handler else {
            let text = format!("missing probe handler for {}", spec.name);
            return answer(&request, Duration::ZERO, Outcome::Error(text.into()), Holds::Once, fx);
        };
        match request.purpose {
            Purpose::Startup | Purpose::Readiness | Purpose::Liveness => self.check(&request, spec, handler, fx),
            Purpose::PostStart | Purpose::PreStop => self.hook(&request, spec, handler, fx),
        }
    }

    fn check(&mut self, request: &Request, spec: &Spec, handler: &Handler, fx: &mut Effects<In, Out>) {
        let timeout = request.timeout;
        match handler {
            Handler::HttpGet { path, port, host, https, .. } => {
                let Some(port) = self.port(*port, spec, request, fx) else { return };
                let url = Url { https: *https, host: *host, ip: request.ip, port, path: *path };
                let (given, holds) = self.given(request.container, &Probed::Http(*path), fx.now());
                let (outcome, takes) = match given {
                    Some(Answer::Ok) => (Outcome::Success, NETWORK_LATENCY),
                    Some(Answer::Status(status)) if is_well(status) => (Outcome::Success, NETWORK_LATENCY),
                    Some(Answer::Status(status)) => (
                        Outcome::Failure(format!("HTTP probe failed with statuscode: {status}").into()),
                        NETWORK_LATENCY,
                    ),
                    Some(Answer::Hangs) => (Outcome::Failure(url.timed_out()), timeout),
                    Some(Answer::Fails) | None => (Outcome::Failure(url.refused()), NETWORK_LATENCY),
                };
                answer(request, takes, outcome, holds, fx);
            }
            Handler::TcpSocket { port, host } => {
                let Some(port) = self.port(*port, spec, request, fx) else { return };
                let address = address(*host, request.ip, port);
                let (given, holds) = self.given(request.container, &Probed::Tcp(port), fx.now());
                let (outcome, takes) = match given {
                    Some(given) if is_success(given) => (Outcome::Success, NETWORK_LATENCY),
                    Some(Answer::Hangs) => {
                        (Outcome::Failure(format!("dial tcp {address}: i/o timeout").into()), timeout)
                    }
                    _ => (Outcome::Failure(refused(&address).into()), NETWORK_LATENCY),
                };
                answer(request, takes, outcome, holds, fx);
            }
            Handler::Grpc { port, .. } => {
                let address = address(Name::default(), request.ip, *port);
                let (given, holds) = self.given(request.container, &Probed::Grpc, fx.now());
                let (outcome, takes) = match given {
                    Some(given) if is_success(given) => (Outcome::Success, NETWORK_LATENCY),
                    Some(Answer::Hangs) => (
                        Outcome::Failure(format!("timeout: health rpc did not complete within {timeout}").into()),
                        timeout,
                    ),
                    Some(Answer::Fails | Answer::Status(_)) if self.is_listening(request.container, fx.now()) => {
                        (Outcome::Failure("service unhealthy (responded with \"NOT_SERVING\")".into()), NETWORK_LATENCY)
                    }
                    _ => {
                        let text = format!(
                            "timeout: failed to connect service \"{address}\" within {timeout}: context deadline exceeded"
                        );
                        (Outcome::Failure(text.into()), timeout)
                    }
                };
                answer(request, takes, outcome, holds, fx);
            }
            Handler::Exec { command } => self.check_exec(request, command, fx),
            Handler::Sleep(_) => {
                answer(request, Duration::ZERO, Outcome::Error("invalid probe handler".into()), Holds::Once, fx);
            }
        }
    }

    /// Exec probes go through the runtime's process.
    fn check_exec(&mut self, request: &Request, command: &[Text], fx: &mut Effects<In, Out>) {
        let timed_out = || {
            Outcome::Failure(
                format!("command timed out: \"{}\" timed out after {}", words(command), request.timeout).into(),
            )
        };
        match self.process {
            Process::Stopped => {
                let text = Error::new(Code::Unavailable, self.config.profile.dialect.unreachable()).to_string();
                return answer(request, Duration::ZERO, Outcome::Error(text.into()), Holds::Once, fx);
            }
            // The client gives up after its request timeout and the probe's.
            Process::Hung => {
                let takes = self.config.request_timeout + request.timeout;
                return answer(request, takes, timed_out(), Holds::Once, fx);
            }
            Process::Runs | Process::Off => {}
        }
        let latency = self.config.profile.latency.exec.median();
        let takes_too_long = !request.timeout.is_zero() && latency > request.timeout;
        let now = fx.now();
        let (given, holds) = self.given(request.container, &Probed::Exec(command), now);
        let Some(given) = given else {
            let text = self.cannot_exec(request.container, now).to_string();
            let task_goes = self.task_goes(request.container).filter(|at| now < *at);
            let holds = task_goes.map_or(holds, Holds::Until);
            return answer(request, Duration::ZERO, Outcome::Error(text.into()), holds, fx);
        };
        // How long the command itself runs, if the shell knows it.
        let run = self.containers.get(&request.container).and_then(|container| {
            let program = container.program.as_ref()?;
            program.exec_at(command, now, &self.inside(container.pod, &container.config, program))
        });
        let takes = run.and_then(|run| run.end).map_or(Duration::ZERO, |(after, _)| after) + latency;
        match given {
            Answer::Hangs => answer(request, request.timeout, timed_out(), holds, fx),
            _ if takes_too_long || (!request.timeout.is_zero() && takes > request.timeout) => {
                answer(request, request.timeout, timed_out(), holds, fx);
            }
            given if is_success(given) => answer(request, takes, Outcome::Success, holds, fx),
            _ => answer(request, takes, Outcome::Failure(Text::default()), holds, fx),
        }
    }

    /// Why nothing can be executed in a container that doesn't run.
    fn cannot_exec(&self, id: ContainerId, now: Time) -> Error {
        match self.config.profile.dialect {
            Dialect::Containerd if self.task_goes(id).is_some_and(|at| now < at) => {
                let task = hex(id.0);
                let text = format!(
                    "failed to exec in container: failed to load task: no running task found: task {task} not found: \
                     not found"
                );
                Error::new(Code::NotFound, text)
            }
            Dialect::Containerd => {
                let text = "failed to exec in container: container is in CONTAINER_EXITED state";
                Error::new(Code::Unknown, text)
            }
            Dialect::CriO => Error::new(Code::Unknown, "container is not created or running"),
            Dialect::Docker => Error::new(Code::Unknown, format!("container not running ({})", hex(id.0))),
        }
    }

    /// When the runtime says of an ended container that it has exited: containerd takes its task away first.
    fn task_goes(&self, id: ContainerId) -> Option<Time> {
        let is_containerd = self.config.profile.dialect == Dialect::Containerd;
        let ended = self.containers.get(&id).filter(|_| is_containerd).and_then(Container::ended_at)?;
        Some(ended + TASK_GOES)
    }

    fn hook(&mut self, request: &Request, spec: &Spec, handler: &Handler, fx: &mut Effects<In, Out>) {
        match handler {
            Handler::Sleep(length) => answer(request, *length, Outcome::Success, Holds::Once, fx),
            Handler::Exec { command } => {
                if self.process == Process::Hung {
                    // Until the process works again; the kubelet waits no longer than the grace time.
                    let message = In::Probe(Box::new(request.clone()));
                    return self.held.push((fx.cause(), fx.now(), message));
                }
                let result = match self.process {
                    Process::Stopped => {
                        Err(Error::new(Code::Unavailable, self.config.profile.dialect.unreachable()).to_string())
                    }
                    _ => {
                        let asker = Asker::Hook(request.id, words(command).into());
                        let done = self.exec(request.container, command, request.timeout, asker, fx);
                        done.map_err(|error| error.to_string())
                    }
                };
                if let Err(text) = result {
                    answer(request, Duration::ZERO, Outcome::Failure(text.into()), Holds::Once, fx);
                }
            }
            Handler::HttpGet { path, port, host, https, .. } => {
                let Some(port) = self.port(*port, spec, request, fx) else { return };
                let url = Url { https: *https, host: *host, ip: request.ip, port, path: *path };
                let (given, _) = self.given(request.container, &Probed::Http(*path), fx.now());
                match given {
                    // Any response will do.
                    Some(Answer::Ok | Answer::Status(_)) => {
                        answer(request, NETWORK_LATENCY, Outcome::Success, Holds::Once, fx);
                    }
                    Some(Answer::Fails) | None => {
                        answer(request, NETWORK_LATENCY, Outcome::Failure(url.refused()), Holds::Once, fx);
                    }
                    Some(Answer::Hangs) if request.timeout.is_zero() => {}
                    Some(Answer::Hangs) => {
                        answer(request, request.timeout, Outcome::Failure(url.timed_out()), Holds::Once, fx);
                    }
                }
            }
            Handler::TcpSocket { .. } | Handler::Grpc { .. } => {
                answer(request, Duration::ZERO, Outcome::Failure("invalid handler".into()), Holds::Once, fx);
            }
        }
    }

    /// What the program answers (`None`: nothing runs) and until when that holds.
    fn given(&self, id: ContainerId, probed: &Probed, now: Time) -> (Option<Answer>, Holds) {
        let container = self.containers.get(&id);
        let Some((container, program)) = container.and_then(|one| Some((one, one.program.as_ref()?))) else {
            return (None, Holds::UntilChanged);
        };
        let inside = self.inside(container.pod, &container.config, program);
        let (given, until) = program.answer(probed, now, &inside);
        (Some(given), until.map_or(Holds::UntilChanged, Holds::Until))
    }

    fn is_listening(&self, id: ContainerId, now: Time) -> bool {
        let program = self.containers.get(&id).and_then(|container| container.program.as_ref());
        program.is_some_and(|program| program.is_up(now))
    }

    fn port(&self, port: PortRef, spec: &Spec, request: &Request, fx: &mut Effects<In, Out>) -> Option<u16> {
        match port {
            PortRef::Number(port) => Some(port),
            PortRef::Name(name) => {
                let found = spec.ports.iter().find(|declared| declared.name == name);
                if found.is_none() {
                    let text = format!("couldn't find port: {name} in {}", spec.name);
                    answer(request, Duration::ZERO, Outcome::Error(text.into()), Holds::UntilChanged, fx);
                }
                found.map(|declared| declared.port)
            }
        }
    }

    /// Tells who relies on a container's answers that they may be others now.
    pub(super) fn probes_change(&mut self, id: ContainerId, fx: &mut Effects<In, Out>) {
        if self.containers.get(&id).is_some_and(|container| container.probed) && self.process != Process::Off {
            fx.send(Out::ProbeChanged(Changed { container: id }));
        }
    }
}

fn answer(request: &Request, takes: Duration, outcome: Outcome, holds: Holds, fx: &mut Effects<In, Out>) {
    fx.send_after(takes, Out::Probe(Box::new(Reply { id: request.id, outcome, holds })));
}

struct Url {
    https: bool,
    host: Name,
    ip: Ipv4Addr,
    port: u16,
    path: Name,
}

impl Url {
    fn get(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        format!("Get \"{scheme}://{}{slash}{}\"", address(self.host, self.ip, self.port), self.path)
    }

    fn refused(&self) -> Text {
        format!("{}: {}", self.get(), refused(&address(self.host, self.ip, self.port))).into()
    }

    fn timed_out(&self) -> Text {
        format!("{}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)", self.get()).into()
    }
}

fn address(host: Name, ip: Ipv4Addr, port: u16) -> String {
    if host.is_empty() { format!("{ip}:{port}") } else { format!("{host}:{port}") }
}

fn refused(address: &str) -> String {
    format!("dial tcp {address}: connect: connection refused")
}

fn is_well(status: u16) -> bool {
    (200..400).contains(&status)
}

fn is_success(given: Answer) -> bool {
    match given {
        Answer::Ok => true,
        Answer::Status(status) => is_well(status),
        Answer::Fails | Answer::Hangs => false,
    }
}

fn words(command: &[Text]) -> String {
    command.iter().map(Text::as_str).collect::<Vec<_>>().join(" ")
}
