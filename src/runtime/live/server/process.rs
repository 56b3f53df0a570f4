//! What runs in served containers: the main process of each, whose output goes to the log and to whoever is attached, and
//! the commands that are executed in them.
//!
//! The runtime's model keeps a container's state. Where a main command is understood to its end here (see
//! [`shell::is_understood`]), the model is told to wait and learns of the exit as a fault of the simulated world; else its
//! own rules and a scenario's behaviours decide.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration as Length;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::AbortHandle;
use tonic::Status;

use crate::kernel::Duration;
use crate::model::Name;
use crate::protocol::cri::{self, Answer, Call, ContainerEventType, ContainerId, ContainerState};
use crate::runtime::live::proto::{self, NamespaceMode};
use crate::runtime::simulated::Fault;

use super::calls::not_found;
use super::shell::world::{End, World};
use super::shell::{self, Input, Manner, Piece, Sink, Size, Stream, Unknown};
use super::table::Container;
use super::worlds::{pid_mode, process_of};
use super::{Server, unexpected};

/// A main process.
struct Process {
    output: broadcast::Sender<Piece>,
    /// Gone once an attached client closed it, if that ends it.
    input: Option<mpsc::UnboundedSender<Vec<u8>>>,
    task: AbortHandle,
    ended: watch::Sender<bool>,
    /// Of its terminal, if it has one.
    size: Size,
}

/// All main processes, by their containers.
#[derive(Default)]
pub(super) struct Processes(Mutex<BTreeMap<u64, Process>>);

impl Processes {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The size of a main process' terminal.
    pub(super) fn size_of(&self, container: ContainerId) -> Option<Size> {
        self.all().get(&container.0).map(|process| process.size.clone())
    }
}

/// What an attached or executing client gets, and what it sends.
pub(super) struct Remote {
    pub input: Option<mpsc::UnboundedReceiver<Vec<u8>>>,
    pub output: mpsc::Sender<Piece>,
    pub tty: bool,
    /// The terminal's, if there is one.
    pub size: Size,
}

/// Output of ExecSync beyond this is cut, as in containerd.
const MOST_OUTPUT: usize = 16 << 20;

impl Server {
    /// The world of a container that is created now, whose programs can end it.
    pub(super) fn may_end(&self, world: &mut World, sandbox: &proto::PodSandboxConfig, name: &str) {
        let metadata = sandbox.metadata.clone().unwrap_or_default();
        let (namespace, pod, container) = (Name::new(&metadata.namespace), Name::new(&metadata.name), Name::new(name));
        let faults = Arc::clone(&self.links.faults);
        // It ends once.
        let has_ended = AtomicBool::new(false);
        world.end = Some(Box::new(move |how| {
            if has_ended.swap(true, Ordering::SeqCst) {
                return;
            }
            faults(match how {
                End::Exit(code) => Fault::Exit { namespace, pod, container, code },
                End::OutOfMemory => Fault::Oom { namespace, pod, container },
            });
        }));
    }

    /// Starts the main process of a container that the model has just started.
    pub(super) fn launch(self: &Arc<Server>, id: ContainerId, kept: &Container) {
        let Some(world) = kept.world.clone() else { return };
        let (pieces, mut written) = mpsc::channel::<Piece>(256);
        let (output, _) = broadcast::channel(1024);
        let (input, read) = mpsc::unbounded_channel();
        let (stdin, tty) = (kept.config.stdin, kept.config.tty);
        let log = kept.log.clone();
        let listeners = output.clone();
        let writing = tokio::spawn(async move {
            while let Some((stream, bytes)) = written.recv().await {
                let stream = if tty { Stream::Out } else { stream };
                if let Some(log) = &log {
                    log.write(stream, &bytes);
                }
                let _nobody_listens = listeners.send((stream, bytes));
            }
            if let Some(log) = &log {
                log.finish();
            }
        });
        let size = Size::default();
        let terminal = tty.then(|| size.clone());
        let (main, understood) = (world.main.clone(), kept.understood);
        let manner = Manner { unknown: Unknown::RunsForever, prompts: tty && stdin };
        let (says, tells_uid) = (kept.known.says, kept.known.tells_uid && main.is_empty());
        let web = Arc::clone(self).answer_http(id, kept.clone());
        let running = tokio::spawn(async move {
            // What is understood to its end is no server.
            let mut serving = tokio::task::JoinSet::new();
            if !understood {
                serving.spawn(web);
            }
            let code = if tells_uid {
                let escalates = !world
                    .files()
                    .read("/proc/self/status")
                    .is_ok_and(|status| String::from_utf8_lossy(&status).contains("NoNewPrivs:\t1"));
                let uid = if escalates { 0 } else { world.uid };
                let _gone = pieces.send((Stream::Out, format!("Effective uid: {uid}\n").into_bytes())).await;
                0
            } else if main.is_empty() {
                if let Some(says) = says {
                    let _gone = pieces.send((Stream::Err, format!("{says}\n").into_bytes())).await;
                }
                std::future::pending().await
            } else {
                let input = if stdin { Input::from(read).of_terminal(terminal) } else { Input::default() };
                let (out, err) =
                    (Sink::Channel(pieces.clone(), Stream::Out), Sink::Channel(pieces.clone(), Stream::Err));
                shell::run(Arc::clone(&world), main, manner, input, out, err).await
            };
            // All that it wrote is in the log before its end is seen.
            drop(pieces);
            let _written = writing.await;
            if understood || tells_uid {
                world.ends(End::Exit(code));
            }
        });
        let process = Process {
            output,
            input: stdin.then_some(input),
            task: running.abort_handle(),
            ended: watch::channel(false).0,
            size,
        };
        self.processes.all().insert(id.0, process);
    }

    /// Ends the main processes of containers that have ended in the model, until the runtime ends.
    pub(super) async fn reap(self: Arc<Server>, mut events: broadcast::Receiver<cri::ContainerEvent>) {
        loop {
            match events.recv().await {
                Ok(event) => {
                    let ended = matches!(event.kind, ContainerEventType::Stopped | ContainerEventType::Deleted);
                    if let Some(container) = event.container.filter(|_| ended) {
                        self.bury(container);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let all: Vec<u64> = self.processes.all().keys().copied().collect();
                    for id in all {
                        if self.state_of(ContainerId(id)).await != Some(ContainerState::Running) {
                            self.bury(ContainerId(id));
                        }
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn bury(&self, id: ContainerId) {
        let Some(process) = self.processes.all().remove(&id.0) else { return };
        process.ended.send_replace(true);
        tokio::spawn(async move {
            // What it wrote last is still on its way to the log.
            tokio::time::sleep(Length::from_millis(100)).await;
            process.task.abort();
        });
    }

    pub(super) async fn state_of(&self, id: ContainerId) -> Option<ContainerState> {
        match self.ask(Call::ContainerStatus(id)).await {
            Ok(Answer::ContainerStatus(status)) => Some(status.summary.state),
            _ => None,
        }
    }

    /// The container, which must run.
    pub(super) async fn running(&self, named: &str) -> Result<(ContainerId, Container), Status> {
        let id = self.container_named(named);
        let kept = self.table().containers.get(&id.0).cloned();
        let Some(kept) = kept else { return Err(not_found("container", named)) };
        let state = self.state_of(id).await;
        if state != Some(ContainerState::Running) {
            let state = match state {
                Some(ContainerState::Created) => "CONTAINER_CREATED",
                Some(ContainerState::Exited) => "CONTAINER_EXITED",
                _ => "CONTAINER_UNKNOWN",
            };
            return Err(Status::unknown(format!("container is in {state} state")));
        }
        Ok((id, kept))
    }

    /// What `ps` shows in a container.
    fn see_processes(&self, id: ContainerId, kept: &Container) {
        let Some(world) = &kept.world else { return };
        let running: Vec<u64> = self.processes.all().keys().copied().collect();
        let table = self.table();
        let mode = pid_mode(&kept.config);
        let mut seen = match mode {
            NamespaceMode::Pod => vec![(1, "/pause".to_owned())],
            NamespaceMode::Node => vec![(1, "/sbin/init".to_owned())],
            NamespaceMode::Container | NamespaceMode::Target => Vec::new(),
        };
        for number in running {
            let Some(other) = table.containers.get(&number) else { continue };
            let visible = match mode {
                NamespaceMode::Node => true,
                NamespaceMode::Pod => other.sandbox == kept.sandbox && pid_mode(&other.config) == mode,
                NamespaceMode::Container | NamespaceMode::Target => number == id.0,
            };
            if visible {
                seen.push((pid_of(number, mode), process_of(&other.config, &other.known)));
            }
        }
        *world.processes() = seen;
    }

    /// Runs a command to its end, its timeout or the container's end.
    pub(super) async fn exec_sync(&self, request: proto::ExecSyncRequest) -> Result<proto::ExecSyncResponse, Status> {
        let container = self.container_named(&request.container_id);
        let kept = self.table().containers.get(&container.0).cloned();
        let Some(kept) = kept else { return Err(not_found("container", &request.container_id)) };
        if request.cmd.is_empty() {
            return Err(Status::invalid_argument("a command is needed"));
        }
        let (pieces, mut written) = mpsc::channel(64);
        let remote = Remote { input: None, output: pieces, tty: false, size: Size::default() };
        let limit = u64::try_from(request.timeout).ok().filter(|seconds| *seconds > 0).map(Length::from_secs);
        let started = tokio::time::Instant::now();
        // The model tells whether and when a command can start.
        self.overhead(container, request.timeout).await?;
        let mut response = proto::ExecSyncResponse::default();
        let running = self.exec(container, &kept, request.cmd, remote);
        tokio::pin!(running);
        let out_of_time = async {
            match limit {
                Some(limit) => tokio::time::sleep_until(started + limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(out_of_time);
        let take = |response: &mut proto::ExecSyncResponse, (stream, bytes): Piece| {
            let all = if stream == Stream::Out { &mut response.stdout } else { &mut response.stderr };
            let room = MOST_OUTPUT.saturating_sub(all.len());
            all.extend(bytes.into_iter().take(room));
        };
        loop {
            tokio::select! {
                biased;
                Some(piece) = written.recv() => take(&mut response, piece),
                code = &mut running => {
                    while let Ok(piece) = written.try_recv() {
                        take(&mut response, piece);
                    }
                    response.exit_code = code;
                    return Ok(response);
                }
                () = &mut out_of_time => {
                    let limit = Duration::from_secs(limit.map_or(0, |limit| limit.as_secs()));
                    let text = format!("failed to exec in container: timeout {limit} exceeded: context deadline exceeded");
                    return Err(Status::deadline_exceeded(text));
                }
            }
        }
    }

    async fn overhead(&self, container: ContainerId, timeout: i64) -> Result<(), Status> {
        let timeout = Duration::from_secs(u64::try_from(timeout).unwrap_or(0).min(1 << 30));
        match self.ask(Call::ExecSync { container, command: ["true".into()].into(), timeout }).await? {
            Answer::Exec { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs a command until it or its container ends.
    pub(super) async fn exec(&self, id: ContainerId, kept: &Container, command: Vec<String>, remote: Remote) -> i32 {
        let Some(world) = kept.world.clone() else { return 126 };
        self.see_processes(id, kept);
        let ended = self.processes.all().get(&id.0).map(|process| process.ended.subscribe());
        let manner = Manner { unknown: Unknown::NotFound, prompts: remote.tty && remote.input.is_some() };
        let terminal = remote.tty.then_some(remote.size);
        let input = remote.input.map_or_else(Input::default, |input| Input::from(input).of_terminal(terminal));
        let (out, err) = (
            Sink::Channel(remote.output.clone(), Stream::Out),
            Sink::Channel(remote.output, if remote.tty { Stream::Out } else { Stream::Err }),
        );
        let killed = async {
            // Without one, its main process ended in between.
            if let Some(mut ended) = ended {
                let _gone = ended.wait_for(|ended| *ended).await;
            }
        };
        tokio::select! {
            biased;
            code = shell::run(world, command, manner, input, out, err) => code,
            () = killed => 137,
        }
    }

    /// Connects a client with a main process until one of them ends.
    pub(super) async fn attach(&self, id: ContainerId, kept: &Container, mut remote: Remote) {
        let (mut output, sender, mut ended) = {
            let mut all = self.processes.all();
            let Some(process) = all.get_mut(&id.0) else { return };
            // With `stdin_once` the first client's input is the only one.
            let sender = if kept.config.stdin_once { process.input.take() } else { process.input.clone() };
            (process.output.subscribe(), sender, process.ended.subscribe())
        };
        let mut sender = sender.filter(|_| remote.input.is_some());
        loop {
            let input = async {
                match &mut remote.input {
                    Some(input) => input.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                piece = output.recv() => match piece {
                    Ok(piece) => {
                        if remote.output.send(piece).await.is_err() {
                            return;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                bytes = input => match bytes {
                    Some(bytes) => {
                        if let Some(sender) = &sender {
                            let _gone = sender.send(bytes);
                        }
                    }
                    None => {
                        remote.input = None;
                        sender = None;
                    }
                },
                () = async { let _gone = ended.wait_for(|ended| *ended).await; } => {
                    while let Ok(piece) = output.try_recv() {
                        let _gone = remote.output.send(piece).await;
                    }
                    return;
                }
                () = remote.output.closed() => return,
            }
        }
    }
}

/// The number of a container's first process, as its processes are shared.
pub(super) fn pid_of(container: u64, mode: NamespaceMode) -> u32 {
    match mode {
        NamespaceMode::Container | NamespaceMode::Target => 1,
        NamespaceMode::Pod => 7 + u32::try_from(container % 1000).unwrap_or(0),
        NamespaceMode::Node => 2000 + u32::try_from(container % 30_000).unwrap_or(0),
    }
}

/// Line ends as a terminal shows them.
pub(super) fn with_returns(bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(bytes.len() + 8);
    for &byte in bytes {
        if byte == b'\n' {
            whole.push(b'\r');
        }
        whole.push(byte);
    }
    whole
}
