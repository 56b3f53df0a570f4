//! The way to real runtimes: takes what kubelets say, carries it out on a thread of its own, and hands back what came.
//!
//! Every call is a task of its own, as each is a goroutine in a kubelet; the kubelet decides what waits for what. Nothing is
//! retried here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::model::Name;
use crate::protocol::cri::{self, Answer, Call};
use crate::protocol::probe::{self, Holds};
use crate::protocol::volume;

use super::client::{Client, Hello, Problem, lock};
use super::probes;
use super::tidy::{self, Whose};
use super::volumes::Folders;
use super::wire::{Epoch, Wire};

/// After which a stream of events that broke is asked for again.
const LISTEN_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// What a kubelet says to its runtime.
#[derive(Debug)]
pub enum Said {
    Cri(Box<cri::Request>),
    Probe(Box<probe::Request>),
    Volume(Box<volume::Request>),
    /// Containers are to be killed: all of the pod, if `container` is empty.
    Kill {
        namespace: Name,
        pod: Name,
        container: Name,
    },
}

/// What a runtime says to its kubelet.
#[derive(Debug)]
pub enum Heard {
    Cri(Box<cri::Response>),
    Probe(Box<probe::Answer>),
    Volume(Box<volume::Answer>),
    /// By itself: where the runtime has GetContainerEvents.
    Event(Box<cri::ContainerEvent>),
    /// The stream of events broke.
    StreamBroke,
}

/// Takes an answer to where it is waited for; called on the bridge's thread.
pub type Reply = Box<dyn FnOnce(Heard) + Send>;

/// Takes what a runtime says by itself to the kubelet; called on the bridge's thread.
pub type Tell = Box<dyn Fn(Heard) + Send + Sync>;

/// A node that is real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealNode {
    pub name: Name,
    /// `unix:///run/containerd/containerd.sock`.
    pub address: String,
    /// The value of the label by which what is made for this node is found.
    pub label: String,
    pub folders: Folders,
}

/// The thread that speaks with the runtimes of all real nodes.
#[derive(Debug)]
pub struct Bridge {
    jobs: UnboundedSender<Job>,
    hellos: Vec<Hello>,
}

/// Takes what kubelets say.
#[derive(Clone, Debug)]
pub struct Port {
    jobs: UnboundedSender<Job>,
}

enum Job {
    Begin(Epoch, Box<dyn Fn() + Send>),
    Listen(usize, Tell),
    Said { node: usize, said: Said, reply: Reply },
    Finish(std::sync::mpsc::Sender<Vec<String>>),
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Job::Said { node, said, .. } => f.debug_tuple("Said").field(node).field(said).finish(),
            Job::Listen(node, _) => f.debug_tuple("Listen").field(node).finish(),
            Job::Begin(epoch, _) => f.debug_tuple("Begin").field(epoch).finish(),
            Job::Finish(_) => f.write_str("Finish"),
        }
    }
}

/// One node's runtime, as its tasks share it.
#[derive(Debug)]
struct Runtime {
    client: Client,
    wire: Mutex<Wire>,
    label: String,
    folders: Folders,
    /// Cgroups of pods, which a kubelet removes, for a runtime does not.
    cgroups: Mutex<BTreeSet<String>>,
}

impl Bridge {
    /// Looks whether every node's runtime is there and can run pods.
    ///
    /// # Errors
    /// What is wrong with the first one that can't.
    pub fn connect(nodes: &[RealNode]) -> Result<Bridge, Problem> {
        let (jobs, inbox) = unbounded_channel();
        let (said, answered) = std::sync::mpsc::channel();
        let nodes = nodes.to_vec();
        on_a_thread_of_its_own(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                match greet(&nodes).await {
                    Err(problem) => drop(said.send(Err(problem))),
                    Ok((runtimes, hellos)) => {
                        drop(said.send(Ok(hellos)));
                        serve(runtimes, inbox).await;
                    }
                }
            });
        });
        match answered.recv() {
            Ok(Ok(hellos)) => Ok(Bridge { jobs, hellos }),
            Ok(Err(problem)) => Err(problem),
            Err(_) => Err(Problem::NotReady("this machine".to_owned(), "no tokio runtime could be made".to_owned())),
        }
    }

    /// What the nodes' runtimes say of themselves, in the order of the nodes.
    pub fn hellos(&self) -> &[Hello] {
        &self.hellos
    }

    /// Where kubelets say what they say.
    pub fn port(&self) -> Port {
        Port { jobs: self.jobs.clone() }
    }

    /// The run's time is zero now. The calendar's time of that, in nanoseconds since 1970. From now on `interrupt` is called
    /// when the user asks for the end, by Ctrl-C or SIGTERM.
    pub fn begin(&self, interrupt: impl Fn() + Send + 'static) -> i64 {
        let now = calendar_nanos();
        let _ = self.jobs.send(Job::Begin(Epoch(now), Box::new(interrupt)));
        now
    }

    /// Ends: removes all that carries the nodes' labels. What could not be removed.
    pub fn finish(self) -> Vec<String> {
        let (done, finished) = std::sync::mpsc::channel();
        if self.jobs.send(Job::Finish(done)).is_err() {
            return vec!["the thread that speaks with the runtimes has ended".to_owned()];
        }
        finished.recv().unwrap_or_default()
    }
}

/// Removes what runs have left at the runtime with this address. What could not be removed comes with its reason.
///
/// # Errors
/// What is wrong with the runtime.
pub fn clean_up(address: &str) -> Result<(tidy::Removed, Vec<String>), Problem> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Err(Problem::NotReady("this machine".to_owned(), "no tokio runtime could be made".to_owned()));
    };
    runtime.block_on(async {
        let client = Client::new(address)?;
        match client.hello().await {
            // What is to be removed needs no network.
            Ok(_) | Err(Problem::NoNetwork(..)) => Ok(tidy::remove(&client, Whose::AllRuns).await),
            Err(problem) => Err(problem),
        }
    })
}

impl Port {
    /// A kubelet's process has begun: what the runtime says by itself goes to `tell` from now on.
    pub fn listen(&self, node: usize, tell: Tell) {
        // After the end there is nothing to hear.
        let _ = self.jobs.send(Job::Listen(node, tell));
    }

    /// The kubelet of this node says something; the answer goes to `reply`, if there is one.
    pub fn say(&self, node: usize, said: Said, reply: Reply) {
        // After the end nobody waits for answers.
        let _ = self.jobs.send(Job::Said { node, said, reply });
    }
}

#[expect(clippy::disallowed_methods, reason = "what is outside of a run lives on another thread")]
fn on_a_thread_of_its_own(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

/// Nanoseconds since 1970.
#[expect(clippy::disallowed_types, reason = "real runtimes say when things happened by the calendar")]
fn calendar_nanos() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

async fn greet(nodes: &[RealNode]) -> Result<(Vec<Arc<Runtime>>, Vec<Hello>), Problem> {
    let (mut runtimes, mut hellos) = (Vec::new(), Vec::new());
    let mut has_left = false;
    for node in nodes {
        let client = Client::new(&node.address)?;
        let hello = client.hello().await?;
        let wire = Mutex::new(Wire::new(Epoch(0), node.label.clone()).of_runtime(&hello.name));
        hellos.push(hello);
        let left = client.call(&wire, &Call::ListPodSandbox { pod: None }).await;
        has_left |= !matches!(left, Ok(Answer::Sandboxes(sandboxes)) if sandboxes.is_empty());
        let (label, folders) = (node.label.clone(), node.folders.clone());
        runtimes.push(Arc::new(Runtime { client, wire, label, folders, cgroups: Mutex::default() }));
    }
    if !has_left {
        nodes.iter().for_each(|node| node.folders.begin_anew());
    }
    Ok((runtimes, hellos))
}

async fn listen_for_the_end(interrupt: Box<dyn Fn() + Send>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut asked), Ok(mut told)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return;
    };
    loop {
        tokio::select! {
            _ = asked.recv() => interrupt(),
            _ = told.recv() => interrupt(),
        }
    }
}

async fn serve(runtimes: Vec<Arc<Runtime>>, mut inbox: UnboundedReceiver<Job>) {
    let mut listeners: BTreeMap<usize, tokio::task::JoinHandle<()>> = BTreeMap::new();
    while let Some(job) = inbox.recv().await {
        match job {
            Job::Begin(epoch, interrupt) => {
                runtimes.iter().for_each(|runtime| lock(&runtime.wire).begins(epoch));
                tokio::spawn(listen_for_the_end(interrupt));
            }
            Job::Listen(node, tell) => {
                if let Some(runtime) = runtimes.get(node) {
                    let listener = tokio::spawn(Arc::clone(runtime).listen(tell));
                    if let Some(of_before) = listeners.insert(node, listener) {
                        of_before.abort();
                    }
                }
            }
            Job::Said { node, said, reply } => {
                if let Some(runtime) = runtimes.get(node) {
                    tokio::spawn(Arc::clone(runtime).carry_out(said, reply));
                }
            }
            Job::Finish(done) => {
                listeners.values().for_each(tokio::task::JoinHandle::abort);
                // A runtime may hang, and a user need not wait for it.
                let problems = tokio::select! {
                    problems = tidy_up(&runtimes) => problems,
                    Ok(()) = tokio::signal::ctrl_c() => vec!["Ctrl-C was pressed again before all was removed".to_owned()],
                };
                drop(done.send(problems));
                return;
            }
        }
    }
}

/// Removes what the run has made, at all runtimes at the same time. What could not be removed.
async fn tidy_up(runtimes: &[Arc<Runtime>]) -> Vec<String> {
    let mut tasks = tokio::task::JoinSet::new();
    for runtime in runtimes.iter().cloned() {
        tasks.spawn(async move {
            let problems = tidy::remove(&runtime.client, Whose::Label(&runtime.label)).await.1;
            runtime.sweep();
            problems
        });
    }
    let problems = tasks.join_all().await.into_iter().flatten().collect();
    runtimes.iter().for_each(|runtime| runtime.folders.remove_all());
    problems
}

impl Runtime {
    /// Hands on what the runtime says of its containers, where it has GetContainerEvents; the kubelet polls in any case.
    async fn listen(self: Arc<Self>, tell: Tell) {
        loop {
            match self.client.events().await {
                Ok(mut events) => {
                    while let Ok(Some(body)) = events.message().await {
                        // Of containers of others, and what can't be read, nothing is said.
                        if let Ok(Some(event)) = lock(&self.wire).event(body) {
                            tell(Heard::Event(Box::new(event)));
                        }
                    }
                    tell(Heard::StreamBroke);
                }
                Err(status) if status.code() == tonic::Code::Unimplemented => return,
                Err(_) => {}
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }

    async fn carry_out(self: Arc<Self>, said: Said, reply: Reply) {
        match said {
            Said::Cri(request) => {
                self.prepare(&request.call);
                let mut result = self.client.call(&self.wire, &request.call).await;
                if let Ok(Answer::ContainerStatus(status)) = &mut result
                    && status.summary.state == cri::ContainerState::Exited
                {
                    let logs = self.log_directory(status.summary.sandbox);
                    self.folders.last_words(status, logs.as_deref());
                }
                if let (Call::RemovePodSandbox(_), Ok(_)) = (&request.call, &result) {
                    self.sweep();
                }
                reply(Heard::Cri(Box::new(cri::Response { id: request.id, result })));
            }
            Said::Probe(request) => {
                let outcome = probes::probe(&self.client, &self.wire, &request).await;
                reply(Heard::Probe(Box::new(probe::Answer { id: request.id, outcome, holds: Holds::Once })));
            }
            Said::Volume(request) => {
                if let Some(answer) = self.folders.carry_out(&request) {
                    reply(Heard::Volume(Box::new(answer)));
                }
            }
            Said::Kill { namespace, pod, container } => self.kill(namespace, pod, container).await,
        }
    }

    /// What a kubelet does beside the call: folders for logs, a note of the pod's cgroup.
    fn prepare(&self, call: &Call) {
        match call {
            Call::RunPodSandbox(config) => {
                if !config.log_directory.is_empty() {
                    // If it can't be made the runtime says so.
                    let _ = std::fs::create_dir_all(config.log_directory.as_str());
                }
                if let Ok(mut cgroups) = self.cgroups.lock() {
                    cgroups.insert(config.cgroup_parent.to_string());
                }
            }
            Call::CreateContainer { sandbox, config } => {
                let folder = self.log_directory(*sandbox);
                if let (Some(folder), Some((name, _))) = (folder, config.log_path.split_once('/')) {
                    let _ = std::fs::create_dir_all(folder.join(name));
                }
            }
            Call::RemovePodSandbox(sandbox) => {
                // Also of a pod that an earlier run has made.
                let uid = lock(&self.wire).pod_of_sandbox(*sandbox).map(|pod| pod.uid.clone());
                if let (Some(uid), Ok(mut cgroups)) = (uid, self.cgroups.lock()) {
                    cgroups.extend(tidy::cgroups_of(&uid));
                }
            }
            _ => {}
        }
    }

    /// Where the logs of a sandbox's containers go.
    fn log_directory(&self, sandbox: cri::SandboxId) -> Option<PathBuf> {
        let wire = lock(&self.wire);
        let pod = wire.pod_of_sandbox(sandbox)?;
        Some(self.folders.root.join("logs").join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid)))
    }

    /// Removes the cgroups of pods that are gone; those of others are not empty and stay.
    fn sweep(&self) {
        if let Ok(mut cgroups) = self.cgroups.lock() {
            let gone = tidy::remove_cgroups(&cgroups);
            cgroups.retain(|one| !gone.contains(one));
        }
    }

    /// SIGKILL at once, as a fault asks for it.
    async fn kill(&self, namespace: Name, pod: Name, container: Name) {
        let Ok(Answer::Sandboxes(sandboxes)) = self.client.call(&self.wire, &Call::ListPodSandbox { pod: None }).await
        else {
            return;
        };
        let pods = sandboxes.iter().filter(|one| one.namespace == namespace && one.name == pod).map(|one| one.pod);
        for pod in pods.collect::<BTreeSet<_>>() {
            let list = Call::ListContainers { pod: Some(pod) };
            let Ok(Answer::Containers(containers)) = self.client.call(&self.wire, &list).await else { continue };
            let struck = |one: &&cri::ContainerSummary| {
                one.state == cri::ContainerState::Running && (container.is_empty() || one.name == container)
            };
            for one in containers.iter().filter(struck) {
                let stop = Call::StopContainer { container: one.id, timeout: crate::kernel::Duration::ZERO };
                // That it is gone already is what was wanted.
                let _ = self.client.call(&self.wire, &stop).await;
            }
        }
    }
}
