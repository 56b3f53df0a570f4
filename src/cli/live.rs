//! `simlet live`: the same scenario, on real nodes, in real time.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cluster::{Answerer, Message, Outside, Said};
use crate::kernel::{self, ActorId, Duration, Time, Wall};
use crate::kubelet;
use crate::model::{Bytes, MilliCpu};
use crate::runtime::live::bridge::{self, Bridge, Heard, Port, RealNode};
use crate::runtime::live::volumes::Folders;
use crate::runtime::simulated as runtime;
use crate::scenario::{self, Scenario};
use crate::trace::{Entry, Record, Sink};

use super::recorded::{self, Both};
use super::recording::{Machine, Opening, Real, Recorded, Recorder, Wishes};
use super::{Outcome, error, files, length, terminal};

/// Run a scenario, or Kubernetes manifests as they are, on real container runtimes in real time
///
/// Each `--runtime` makes a node real: its pods become sandboxes and containers, by the CRI. All other nodes stay simulated.
/// Without a scenario the cluster has the real nodes only, and the run goes on until Ctrl-C. At the end everything that the
/// run made is removed. With --out the run is recorded; `simlet replay` walks through it again.
#[derive(Debug, Args)]
pub struct Live {
    /// Scenarios, manifests, folders; `-` is standard input
    #[arg(required_unless_present = "cleanup")]
    files: Vec<String>,
    /// The socket of a runtime, such as unix:///run/containerd/containerd.sock; NODE=unix://… says which node has it [default:
    /// the first that has none]
    #[arg(long = "runtime", value_name = "[NODE=]SOCKET", required = true)]
    runtimes: Vec<String>,
    /// Write report.html, plots, the trace, the final objects and the recording into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The seed of all random numbers [default: the scenario's]
    #[arg(long)]
    seed: Option<u64>,
    /// End after this time, such as 10m [default: the scenario's; without one at Ctrl-C]
    #[arg(long, value_parser = length, value_name = "TIME")]
    until: Option<Duration>,
    /// Let pods mount this path of the machine, and what is below it, as hostPath
    #[arg(long, value_name = "PATH")]
    allow_host_path: Vec<PathBuf>,
    /// Remove what killed runs have left at these runtimes, and do nothing else
    #[arg(long, conflicts_with_all = ["files", "out", "seed", "until"])]
    cleanup: bool,
}

impl Live {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input or with a runtime, before anything was made there.
    pub fn carry_out(self) -> Result<Outcome, String> {
        if self.cleanup {
            return self.clean_up();
        }
        let watch = terminal::Stopwatch::start();
        let mut inputs = Vec::new();
        for argument in &self.files {
            inputs.extend(files::read(argument).map_err(error)?);
        }
        let wishes = Wishes {
            command: self.command(),
            seed: self.seed,
            until: self.until,
            default_nodes: u32::try_from(self.runtimes.len()).unwrap_or(1),
            default_size: this_machine(),
        };
        let (mut opening, mut scenario) = Opening::load(inputs, &files::Disk, wishes)?;
        let seed = opening.seed(&scenario);
        let root = self.root(&scenario, seed)?;
        let nodes = self.real_nodes(&scenario, seed, &root)?;
        let names: Vec<_> = nodes.iter().map(|node| node.name).collect();
        let refused = scenario.refused_outside(&names);
        if !refused.is_empty() {
            return Err(refused.iter().map(error).collect());
        }
        opening.machine = machine(&root);
        let mut session = Session { bridge: Some(Bridge::connect(&nodes).map_err(error)?) };
        let hellos = session.bridge.iter().flat_map(Bridge::hellos);
        opening.real = (nodes.iter().zip(hellos))
            .map(|(node, hello)| {
                let runtime_version = format!("{}://{}", hello.name, hello.version);
                Real { name: node.name.to_string(), runtime_version }
            })
            .collect();
        let mut recorder = None;
        let (wall, outside) = Wall::start();
        if let Some(bridge) = &session.bridge {
            let ended = outside.clone();
            opening.epoch = bridge.begin(move || {
                ended.send(ActorId(0), Message::Interrupt);
            });
        }
        opening.make_real(&mut scenario);
        if let Some(folder) = &self.out {
            std::fs::create_dir_all(folder).map_err(|problem| error(format!("{}: {problem}", folder.display())))?;
            recorder = Some(Recorder::begin(&folder.join("recording.jsonl"), &opening)?);
        }
        let index_of: Vec<Option<usize>> =
            scenario.nodes().map(|name| names.iter().position(|real| *real == name)).collect();
        let header = recorded::header_of(&scenario, seed, opening.command.clone());
        let mut clock = Recorded { wall, recorder: recorder.as_mut() };
        let run = |sink: Box<dyn Sink>| {
            let port = session.bridge.as_ref().map(Bridge::port);
            let sink: Box<dyn Sink> = Box::new(Both(Teller, sink));
            let outside: Box<dyn Outside> = Box::new(Way { port, outside, index_of });
            scenario::run_with(&scenario, &opening.options(), sink, &mut clock, outside)
        };
        let run = match &self.out {
            None => Ok(recorded::into_memory(header, run)),
            Some(folder) => recorded::into_folder(folder, header, scenario.epoch(), run),
        };
        let left = session.finish();
        if self.out.is_none() {
            // Logs and volumes of the run.
            let _ = std::fs::remove_dir_all(&root);
        }
        let run = run?;
        if let Some(recorder) = recorder {
            recorder.finish(&run.footer)?;
        }
        recorded::tell(&run, self.out.as_deref(), watch.elapsed());
        for problem in &left {
            terminal::complain(&format!("warning: {problem}; `simlet live --cleanup` tries again\n"));
        }
        Ok(recorded::verdict(&run))
    }

    /// The command that makes the run again.
    fn command(&self) -> String {
        let mut words = vec!["simlet live".to_owned()];
        words.extend(self.files.iter().cloned());
        words.extend(self.runtimes.iter().map(|runtime| format!("--runtime {runtime}")));
        words.extend(self.seed.map(|seed| format!("--seed {seed}")));
        words.extend(self.until.map(|until| format!("--until {until}")));
        words.join(" ")
    }

    /// Which nodes are real.
    fn real_nodes(&self, scenario: &Scenario, seed: u64, root: &Path) -> Result<Vec<RealNode>, String> {
        let known: Vec<_> = scenario.nodes().collect();
        let mut nodes: Vec<RealNode> = Vec::new();
        let mut unnamed = Vec::new();
        let named = |runtime: &str| match runtime.split_once('=') {
            Some((name, address)) if !name.contains('/') => (Some(name.to_owned()), address.to_owned()),
            _ => (None, runtime.to_owned()),
        };
        let run = label_of(&scenario.name, seed);
        let real = |name: crate::model::Name, address| {
            let folders = Folders { root: root.to_path_buf(), allowed: self.allow_host_path.clone() };
            RealNode { name, address, label: shortened(&format!("{run}.{name}")), folders }
        };
        for (name, address) in self.runtimes.iter().map(|runtime| named(runtime)) {
            match name {
                None => unnamed.push(address),
                Some(name) => match known.iter().find(|node| node.as_str() == name) {
                    Some(node) => nodes.push(real(*node, address)),
                    None => {
                        let first: Vec<&str> = known.iter().take(5).map(|node| node.as_str()).collect();
                        return Err(error(format!("there is no node `{name}`; the nodes are {}", first.join(", "))));
                    }
                },
            }
        }
        let is_taken = |nodes: &[RealNode], name| nodes.iter().any(|node: &RealNode| node.name == name);
        for address in unnamed {
            let Some(name) = known.iter().copied().find(|name| !is_taken(&nodes, *name)) else {
                return Err(error("there are more runtimes than nodes"));
            };
            nodes.push(real(name, address));
        }
        for (index, node) in nodes.iter().enumerate() {
            if is_taken(nodes.get(..index).unwrap_or_default(), node.name) {
                return Err(error(format!("node {} has two runtimes", node.name)));
            }
        }
        Ok(nodes)
    }

    /// The folder of the run's logs and volumes: the same each time, so that pods that are adopted find theirs.
    fn root(&self, scenario: &Scenario, seed: u64) -> Result<PathBuf, String> {
        let folder = match &self.out {
            Some(folder) => folder.clone(),
            None => temporary().join(format!("simlet-{}", label_of(&scenario.name, seed))),
        };
        std::path::absolute(&folder).map_err(|problem| error(format!("{}: {problem}", folder.display())))
    }

    fn clean_up(&self) -> Result<Outcome, String> {
        let mut outcome = Outcome::Fine;
        for runtime in &self.runtimes {
            let address = match runtime.split_once('=') {
                Some((name, address)) if !name.contains('/') => address,
                _ => runtime,
            };
            let (removed, problems) = bridge::clean_up(address).map_err(error)?;
            for pod in &removed.pods {
                terminal::print(&format!("removed {pod}\n"));
            }
            if removed.pods.is_empty() && problems.is_empty() {
                terminal::print(&format!("nothing is left of a run on {address}\n"));
            }
            for problem in &problems {
                terminal::complain(&error(problem));
                outcome = Outcome::BadInput;
            }
        }
        Ok(outcome)
    }
}

/// Removes what the run made, also if it panics.
struct Session {
    bridge: Option<Bridge>,
}

impl Session {
    fn finish(&mut self) -> Vec<String> {
        self.bridge.take().map(Bridge::finish).unwrap_or_default()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for problem in self.finish() {
            terminal::complain(&format!("warning: {problem}\n"));
        }
    }
}

/// The way from the cluster to the bridge, and back to the run's clock.
struct Way {
    port: Option<Port>,
    outside: kernel::Outside<Message>,
    /// By the cluster's number of a node: the bridge's.
    index_of: Vec<Option<usize>>,
}

impl Outside for Way {
    fn hear(&mut self, node: usize, _: Time, answerer: Answerer, said: Said) {
        let (Some(port), Some(Some(node))) = (&self.port, self.index_of.get(node)) else { return };
        let said = match said {
            Said::Started => {
                let outside = self.outside.clone();
                let tell = move |heard| {
                    outside.send(answerer.to, answerer.message(heard_in(heard)));
                };
                return port.listen(*node, Box::new(tell));
            }
            Said::Cri(request) => bridge::Said::Cri(request),
            Said::Probe(request) => bridge::Said::Probe(request),
            Said::Volume(request) => bridge::Said::Volume(request),
            Said::Fault(fault) => match *fault {
                runtime::Fault::Exit { namespace, pod, container, .. } => {
                    bridge::Said::Kill { namespace, pod, container }
                }
                _ => return,
            },
        };
        let outside = self.outside.clone();
        let reply = move |heard| {
            outside.send(answerer.to, answerer.message(heard_in(heard)));
        };
        port.say(*node, said, Box::new(reply));
    }
}

/// What a kubelet hears.
fn heard_in(heard: Heard) -> kubelet::In {
    match heard {
        Heard::Cri(response) => kubelet::In::Cri(response),
        Heard::Probe(answer) => kubelet::In::Probe(answer),
        Heard::Volume(answer) => kubelet::In::Volume(answer),
        Heard::Event(event) => kubelet::In::CriEvent(event),
        Heard::StreamBroke => kubelet::In::CriStream { up: false },
    }
}

/// Tells on standard error what happens while it happens.
struct Teller;

impl Sink for Teller {
    fn take(&mut self, entry: &Entry) {
        let seconds = entry.time.as_nanos() as f64 / 1e9;
        let told = match &entry.what {
            Record::Action { text, .. } => format!("{seconds:9.3}s  $ {text}"),
            Record::Fault { text, undone: false, .. } => format!("{seconds:9.3}s  fault: {text}"),
            Record::Fault { text, undone: true, .. } => format!("{seconds:9.3}s  over: {text}"),
            Record::NodeFault { node, what } => format!("{seconds:9.3}s  node/{node}: {what}"),
            Record::Event(event) => {
                let (about, reason) =
                    (format!("{}/{}", event.involved.kind.as_str(), event.involved.name), event.reason);
                format!("{seconds:9.3}s  {about} {reason}: {}", event.message)
            }
            _ => return,
        };
        terminal::complain(&format!("{told}\n"));
    }
}

/// The run in a label's value: letters, digits, `-`, `_` and `.`.
fn label_of(name: &str, seed: u64) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    let plain = if plain.is_empty() { "run" } else { plain };
    format!("{}-{seed}", plain.get(..plain.len().min(30)).unwrap_or(plain))
}

/// At most 63 characters, different for different texts.
fn shortened(text: &str) -> String {
    if text.len() <= 63 {
        return text.to_owned();
    }
    let hash = xxhash_rust::xxh3::xxh3_64(text.as_bytes());
    format!("{}-{hash:016x}", text.get(..46).unwrap_or("run"))
}

#[expect(clippy::disallowed_methods, reason = "the edge knows where temporary files go")]
fn temporary() -> PathBuf {
    std::env::temp_dir()
}

/// What kubelets know of this machine.
fn machine(root: &Path) -> Machine {
    let mut machine = Machine { root: root.display().to_string(), ..Machine::default() };
    machine.hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    for line in std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        let into = match words.next() {
            Some("nameserver") => &mut machine.servers,
            Some("search") => &mut machine.searches,
            Some("options") => &mut machine.options,
            _ => continue,
        };
        into.extend(words.map(str::to_owned));
    }
    machine
}

/// CPU and memory of this machine, for the nodes of the default cluster.
#[expect(clippy::disallowed_methods, reason = "a real node is as great as its machine")]
fn this_machine() -> (MilliCpu, Bytes) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = std::fs::read_to_string(Path::new("/proc/meminfo")).unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    (MilliCpu(cores as i64 * 1000), Bytes(total.unwrap_or(1 << 20) * 1024))
}
