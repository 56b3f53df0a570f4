//! `simlet serve`: the simulated runtime behind a real socket, in real time.
//!
//! A kernel with a wall clock drives one runtime and its registries on a thread of its own; a call that comes in by gRPC is a
//! message from outside, stamped with the time at which it came, and its answer goes back when the kernel comes to it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use clap::Args;
use rustc_hash::FxHashMap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, oneshot};

use crate::cluster::NodeRuntime;
use crate::kernel::{ActorId, Cause, Digest, Effect, Fold, Kernel, Outside, Time, Wall};
use crate::model::Name;
use crate::protocol::cri::{CallId, ContainerEvent, Request, Response};
use crate::protocol::probe::{self, ProbeId};
use crate::registry::{self, Registry, RuntimeId};
use crate::runtime::live::server::{Faults, Links, Port, Probes, Reply, Server};
use crate::runtime::live::wire::Epoch;
use crate::runtime::simulated::{self as runtime, Profile, Runtime, Subnet};
use crate::trace::Effects;

use super::{Outcome, error, recorded, terminal};

/// Serve the simulated container runtime on a socket, in real time, for crictl, critest or a kubelet
///
/// It answers CRI v1 until Ctrl-C or SIGTERM. Containers run nothing real: their programs do what a scenario's `behaviors:`
/// say, else what a small shell makes of their commands (echo, sleep, cat, ls, test, loops, pipes …); exec, attach and
/// port-forward work with them, and pods that declare ports answer HTTP on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  simlet serve --cri unix:///run/simlet.sock &
  crictl --runtime-endpoint unix:///run/simlet.sock info
  critest --runtime-endpoint unix:///run/simlet.sock
  kubelet --container-runtime-endpoint=unix:///run/simlet.sock ...")]
pub struct Serve {
    /// Where to listen, such as unix:///tmp/simlet.sock
    #[arg(long, value_name = "unix://SOCKET", value_parser = socket)]
    cri: PathBuf,
    /// A scenario whose behaviors, registries and first node are taken; the rest of it does not happen
    files: Vec<String>,
    /// Which runtime to be: containerd, cri-o or docker [default: the scenario's, else containerd]
    #[arg(long, value_parser = profile)]
    profile: Option<Box<Profile>>,
    /// Where pods' addresses come from, until a kubelet says otherwise. Only those of 127.0.0.0/8 are this machine's without
    /// further ado; `ip route add local 10.64.0.0/16 dev lo` makes others so
    #[arg(long, value_name = "CIDR", default_value = "127.64.0.0/16", value_parser = subnet)]
    pod_cidr: Subnet,
    /// The seed of all random numbers [default: the scenario's, else 1]
    #[arg(long)]
    seed: Option<u64>,
}

fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix://").unwrap_or(text);
    if path.is_empty() || path.contains("://") {
        return Err("a socket is written as unix:///run/simlet.sock".to_owned());
    }
    Ok(PathBuf::from(path))
}

fn subnet(text: &str) -> Result<Subnet, String> {
    let subnet = Subnet::parse(text).filter(|subnet| subnet.prefix <= 29);
    subnet.ok_or_else(|| "addresses are written as 127.64.0.0/16, with at most /29".to_owned())
}

fn profile(name: &str) -> Result<Box<Profile>, String> {
    Profile::named(name).map(Box::new).ok_or_else(|| "the runtimes are containerd, cri-o and docker".to_owned())
}

impl Serve {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input or the socket.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let world = self.world()?;
        free(&self.cri)?;
        let (wall, outside) = Wall::start();
        let epoch = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0);
        let (events, _) = broadcast::channel(1024);
        let replies = Replies::default();
        let has_events = world.runtime.profile.has_container_events;
        let machine = Machine::new(world, replies.clone(), events.clone());
        let engine = on_a_thread(move || machine.run(wall))?;
        let links = Links {
            calls: port(outside.clone(), replies.clone()),
            faults: faults(outside.clone()),
            probes: probes(outside.clone(), replies),
        };
        let server = Server::new(links, events, Epoch(epoch), has_events);
        let say = |problem: io::Error| error(format!("{}: {problem}", self.cri.display()));
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(error)?;
        let served = tokio.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let end = async {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
            };
            let ready = || terminal::complain(&format!("simlet serves CRI v1 on unix://{}\n", self.cri.display()));
            server.serve(&self.cri, ready, end).await
        });
        tokio.shutdown_background();
        outside.send(RUNTIME, Message::End);
        let ended = engine.join();
        served.map_err(say)?;
        ended.map_err(|_| error("the runtime's model broke an invariant of its own"))?;
        Ok(Outcome::Fine)
    }

    /// What is served.
    fn world(&self) -> Result<World, String> {
        let scenario = if self.files.is_empty() { None } else { Some(recorded::load(&self.files, None)?) };
        let seed = self.seed.or(scenario.as_ref().map(|scenario| scenario.seed)).unwrap_or(1);
        let (mut runtime, registries) = match scenario {
            Some(scenario) => {
                let config = scenario.config;
                let node = config.nodes.first().ok_or_else(|| error("the scenario has no node"))?;
                let behaviors = Arc::clone(&config.behaviors);
                let NodeRuntime::Simulated(profile) = node.runtime.clone() else {
                    return Err(error("the scenario's node is not simulated"));
                };
                let runtime = runtime::Config::for_node(0, &node.kubelet.node, profile, behaviors);
                (runtime, config.registries)
            }
            None => {
                let runtime = runtime::Config { node: Name::new("simlet"), ..runtime::Config::default() };
                (runtime, vec![registry::Config::default()])
            }
        };
        runtime.pod_subnet = Some(self.pod_cidr);
        if let Some(profile) = &self.profile {
            runtime.profile = Arc::new(Profile::clone(profile));
        }
        Ok(World { seed, runtime, registries })
    }
}

/// A socket that nobody listens on any more, left by a server that was killed, goes. Everything else that is there stays.
fn free(socket: &Path) -> Result<(), String> {
    let shown = socket.display();
    let folder = socket.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(error(format!("{shown}: there is no folder {}: make it first", folder.display())));
    }
    let Ok(there) = std::fs::symlink_metadata(socket) else { return Ok(()) };
    if !there.file_type().is_socket() {
        return Err(error(format!("{shown} is there and is no socket: choose another path")));
    }
    if UnixStream::connect(socket).is_ok() {
        return Err(error(format!("{shown} is another server's socket: stop it, or choose another path")));
    }
    std::fs::remove_file(socket).map_err(|problem| error(format!("{shown}: {problem}")))
}

#[expect(clippy::disallowed_methods, reason = "the model runs in real time beside the server")]
fn on_a_thread(work: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>, String> {
    std::thread::Builder::new().name("runtime".to_owned()).spawn(work).map_err(error)
}

/// Calls that wait for their answers.
#[derive(Clone, Default)]
struct Replies(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    last: u64,
    replies: BTreeMap<CallId, Reply>,
    probes: BTreeMap<ProbeId, oneshot::Sender<probe::Outcome>>,
}

impl Replies {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The way from the server to the model.
fn port(outside: Outside<Message>, replies: Replies) -> Port {
    // The sender of a channel is not shared between threads; the lock also keeps calls in the order of their numbers.
    let outside = Mutex::new(outside);
    Arc::new(move |call, reply| {
        let outside = outside.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let id = {
            let mut waiting = replies.waiting();
            waiting.last += 1;
            let id = CallId(waiting.last);
            waiting.replies.insert(id, reply);
            id
        };
        let request = Box::new(Request { id, call });
        if !outside.send(RUNTIME, Message::Runtime(runtime::In::Cri(request))) {
            // Dropping the reply tells the caller.
            replies.waiting().replies.remove(&id);
        }
    })
}

/// The way of what befalls containers to the model.
fn faults(outside: Outside<Message>) -> Faults {
    let outside = Mutex::new(outside);
    Arc::new(move |fault| {
        let outside = outside.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A model that has ended has no containers.
        let _ended = outside.send(RUNTIME, Message::Runtime(runtime::In::Fault(Box::new(fault))));
    })
}

/// The way of requests to simulated programs, which have numbers of their own here.
fn probes(outside: Outside<Message>, replies: Replies) -> Probes {
    let outside = Mutex::new(outside);
    Arc::new(move |request, reply| {
        let outside = outside.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let id = {
            let mut waiting = replies.waiting();
            waiting.last += 1;
            let id = ProbeId(waiting.last);
            waiting.probes.insert(id, reply);
            id
        };
        let request = Box::new(probe::Request { id, ..request });
        if !outside.send(RUNTIME, Message::Runtime(runtime::In::Probe(request))) {
            replies.waiting().probes.remove(&id);
        }
    })
}

/// What the model consists of.
struct World {
    seed: u64,
    runtime: runtime::Config,
    registries: Vec<registry::Config>,
}

const RUNTIME: ActorId = ActorId(0);
const FIRST_REGISTRY: u32 = 1;

#[derive(Clone)]
enum Message {
    Runtime(runtime::In),
    Registry(registry::In),
    /// To whoever called.
    Answer(Box<Response>),
    /// To whoever asked a program.
    Probed(Box<probe::Answer>),
    /// To whoever listens.
    Event(ContainerEvent),
    End,
}

/// Nobody replays this run, so its digest is nobody's.
impl Fold for Message {
    fn fold(&self, _: &mut Digest) {}
}

/// A kernel with a runtime and its registries.
struct Machine {
    kernel: Kernel<Message>,
    runtime: Runtime,
    registries: Vec<Registry>,
    registry_by_host: FxHashMap<Name, u32>,
    replies: Replies,
    events: broadcast::Sender<ContainerEvent>,
}

impl Machine {
    fn new(world: World, replies: Replies, events: broadcast::Sender<ContainerEvent>) -> Machine {
        let kernel = Kernel::new(world.seed);
        let streams = kernel.streams();
        let hosts = (FIRST_REGISTRY..).zip(&world.registries).map(|(actor, registry)| (registry.host, actor));
        let registry_by_host = hosts.collect();
        let registries = world.registries.into_iter().map(|config| Registry::new(config, &streams)).collect();
        let runtime = Runtime::new(world.runtime, &streams);
        Machine { kernel, runtime, registries, registry_by_host, replies, events }
    }

    fn run(mut self, mut wall: Wall<Message>) {
        let (mut runtime_fx, mut registry_fx) = (Effects::default(), Effects::default());
        while let Some(event) = self.kernel.next(&mut wall, Time::MAX) {
            drop(wall.drain_recording());
            let now = event.time;
            match event.message {
                Message::Runtime(message) => {
                    runtime_fx.begin(now, Cause::NONE, 1);
                    self.runtime.handle(message, &mut runtime_fx);
                    drop(runtime_fx.drain_records());
                    for (_, effect) in runtime_fx.drain_effects() {
                        self.route_runtime(now, effect);
                    }
                }
                Message::Registry(message) => {
                    let index = (event.to.0 - FIRST_REGISTRY) as usize;
                    let Some(registry) = self.registries.get_mut(index) else { continue };
                    registry_fx.begin(now, Cause::NONE, 1);
                    registry.handle(message, &mut registry_fx);
                    drop(registry_fx.drain_records());
                    for (_, effect) in registry_fx.drain_effects() {
                        let (at, to, message) = match effect {
                            Effect::Wake { at, message } => (at, event.to, Message::Registry(message)),
                            Effect::Send { delay, message: registry::Out::Respond { response, .. } } => {
                                (now + delay, RUNTIME, Message::Runtime(runtime::In::Pull(response)))
                            }
                        };
                        self.kernel.schedule(at, to, Cause::NONE, message);
                    }
                }
                Message::Answer(response) => {
                    let reply = self.replies.waiting().replies.remove(&response.id);
                    if let Some(reply) = reply {
                        // A caller that has gone wants no answer.
                        let _gone = reply.send(response.result);
                    }
                }
                Message::Probed(answer) => {
                    let reply = self.replies.waiting().probes.remove(&answer.id);
                    if let Some(reply) = reply {
                        let _gone = reply.send(answer.outcome);
                    }
                }
                Message::Event(event) => {
                    // Nobody may be listening.
                    let _unheard = self.events.send(event);
                }
                Message::End => break,
            }
        }
        *self.replies.waiting() = Waiting::default();
    }

    fn route_runtime(&mut self, now: Time, effect: Effect<runtime::In, runtime::Out>) {
        let (delay, message) = match effect {
            Effect::Wake { at, message } => {
                return self.kernel.schedule(at, RUNTIME, Cause::NONE, Message::Runtime(message));
            }
            Effect::Send { delay, message } => (delay, message),
        };
        let (to, message) = match message {
            runtime::Out::Cri(response) => (RUNTIME, Message::Answer(response)),
            runtime::Out::Event(event) => (RUNTIME, Message::Event(*event)),
            runtime::Out::Pull { host, request } => {
                // Hosts without a registry of their own have the last one.
                let last = FIRST_REGISTRY + u32::try_from(self.registries.len()).unwrap_or(1).saturating_sub(1);
                let actor = self.registry_by_host.get(&host).copied().unwrap_or(last);
                (ActorId(actor), Message::Registry(registry::In::Request { from: RuntimeId(0), request }))
            }
            runtime::Out::Probe(answer) => (RUNTIME, Message::Probed(answer)),
            // The kubelet makes volumes by itself, probes until something changes, asks for usage by CRI, and hears of its
            // machine's OOM killer from the kernel.
            runtime::Out::ProbeChanged(_)
            | runtime::Out::SystemOom { .. }
            | runtime::Out::Volume(_)
            | runtime::Out::Stats(_)
            | runtime::Out::UsageChanged => return,
        };
        self.kernel.schedule(now + delay, to, Cause::NONE, message);
    }
}
