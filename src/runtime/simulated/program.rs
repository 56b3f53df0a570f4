//! One running program: when it will end and why, and how it answers. Worked out when its container starts; nothing is
//! polled.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kernel::{Cause, Distribution, Duration, Streams, Time};
use crate::model::{Name, Text};
use crate::protocol::cri::{ContainerConfig, PodSandboxConfig};
use crate::protocol::stats::Line;
use crate::protocol::volume::Volume;

use super::behavior::{
    self, Answer, Behavior, CONTAINER_TYPE, End, Growth, OnTerm, ProbeKind, RESTART_POLICY, Rule, Subject,
};
use super::shell::{self, Around, OnSigterm, Run, Unknown};
use super::shell_words::Known;
use super::volumes::Inside;

/// A program in a running container.
#[derive(Clone, Debug)]
pub struct Program {
    behavior: Option<Arc<Behavior>>,
    pub hostname: Name,
    /// Its pod's volumes when it started.
    pub volumes: Option<Arc<[Volume]>>,
    script: Option<Box<Run>>,
    started: Time,
    ready_at: Time,
    hangs_from: Time,
    /// A fault: it answers no probe.
    pub hung: bool,
    /// Exits by itself.
    exits: Option<(Time, i32)>,
    /// The OOM killer comes whatever its memory is.
    oom_at: Option<Time>,
    /// The OOM killer comes because its memory reached a limit.
    memory_ends: Option<(Time, Limit)>,
    /// Since when its memory grows: the start, or that of another child process.
    memory_since: Time,
    /// Exits because of SIGTERM.
    terminates: Option<(Time, i32, Cause)>,
    /// SIGTERM was sent.
    pub signalled: bool,
    /// SIGKILL at the end of its grace time.
    killed_at: Option<(Time, Cause)>,
    /// The CPU that it gets, in thousandths of a core, since when, and what it has used until then.
    cpu: u64,
    cpu_since: Time,
    cpu_used: u128,
    /// Its end is the end of its work, so that it comes later when it gets less CPU.
    ends_with_work: bool,
    /// The earliest wake-up under way.
    armed: Option<Time>,
}

/// Whose memory ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Container(u64),
    /// The limit of all containers of its pod together.
    Pod(u64),
    /// It has no limit and filled the node; the kernel kills it without the container's cgroup having seen it.
    Node,
}

/// How a program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Exits(i32),
    /// At a memory limit, if it was one that led to it.
    Oom(Option<Limit>),
    Terminates(i32, Cause),
    Killed(Cause),
}

/// The working set of a program of which nothing is said.
const USUAL_MEMORY: i64 = 8 << 20;

/// What a program uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub memory: Line,
    pub rootfs: Line,
    pub logs: Line,
    pub inodes: Line,
    pub processes: Line,
    /// When the first of them grows otherwise.
    pub bends_at: Option<Time>,
}

/// A program that ends at once takes so long to be loaded, to end, and to be seen to have ended by the runtime: a kubelet that
/// looks right after the start sees it running. From recordings of `sh -c "exit 1"`, all of which were seen running.
const SHORTEST: Duration = Duration::from_millis(50);

/// What starts a program.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    pub pod: &'a PodSandboxConfig,
    pub container: &'a ContainerConfig,
    pub volumes: Option<&'a Arc<[Volume]>>,
    /// What earlier programs left in their folders.
    pub left: Option<&'a BTreeMap<String, bool>>,
    pub at: Time,
    pub memory_limit: i64,
}

impl<'a> Start<'a> {
    fn behavior(&self, rules: &[Rule]) -> Option<Arc<Behavior>> {
        let subject = Subject {
            namespace: self.pod.namespace,
            pod: self.pod.name,
            labels: &self.pod.labels,
            container: self.container.name,
            image: self.container.image,
        };
        behavior::find(rules, &subject)
    }
}

/// Why a container's program cannot be started, if so.
pub fn cannot_start(rules: &[Rule], pod: &PodSandboxConfig, container: &ContainerConfig) -> Option<Text> {
    let start = Start { pod, container, volumes: None, left: None, at: Time::ZERO, memory_limit: 0 };
    start.behavior(rules)?.cannot_start.clone()
}

/// The numbers of one start of one container are its own, wherever it runs and whatever else does.
fn stream(
    streams: &Streams,
    pod: &PodSandboxConfig,
    container: &ContainerConfig,
    purpose: &str,
) -> crate::kernel::Stream {
    let owner = format!("program/{}/{}/{}", pod.namespace, pod.name, container.name);
    streams.stream(&owner, &format!("{purpose}/{}", container.attempt))
}

impl Program {
    /// Starts the program of a container.
    pub fn start(start: Start, rules: &[Rule], streams: &Streams) -> Program {
        let Start { at, container, .. } = start;
        let behavior = start.behavior(rules);
        let runs_sh = behavior.as_ref().is_some_and(|behavior| behavior.runs_sh);
        let open_end = behavior.as_ref().is_none_or(|behavior| behavior.ends.is_none());
        let volumes = start.volumes.cloned();
        let hostname = if start.pod.hostname.is_empty() { start.pod.name } else { start.pod.hostname };
        let at_start = volumes.as_deref();
        let inside = Inside { container, hostname, volumes: at_start, at_start, left: start.left };
        let script = script(&inside, if runs_sh { Unknown::RunsForever } else { Unknown::Refuse });
        let mut program = Program {
            started: at,
            ready_at: at,
            hangs_from: Time::MAX,
            hung: false,
            exits: None,
            oom_at: None,
            memory_ends: None,
            memory_since: at,
            terminates: None,
            signalled: false,
            killed_at: None,
            cpu: 0,
            cpu_since: at,
            cpu_used: 0,
            ends_with_work: false,
            armed: None,
            hostname,
            volumes,
            script,
            behavior,
        };
        if open_end {
            program.exits = match &program.script {
                Some(run) => run.end.map(|(after, code)| (at + after, code)),
                None => is_there_to_end(container).then(|| (at + Duration::from_secs(1), 0)),
            };
        }
        if let Some(behavior) = program.behavior.clone() {
            let mut stream = stream(streams, start.pod, container, "start");
            let mut draw = |distribution: &Distribution| stream.draw(distribution);
            program.ready_at = at + behavior.startup.as_ref().map_or(Duration::ZERO, &mut draw);
            program.hangs_from = behavior.hangs.as_ref().map_or(Time::MAX, |hangs| at + draw(hangs));
            match behavior.ends.as_ref().map(|ends| ends.of_start(container.attempt)) {
                Some(End::Exit { after, code, probability }) => {
                    let after = draw(after);
                    if *probability >= 1.0 || stream.chance(*probability) {
                        program.exits = Some((at + after, *code));
                        program.ends_with_work = true;
                    }
                }
                Some(End::Oom { after }) => program.oom_at = Some(at + draw(after)),
                Some(End::Never) | None => {}
            }
        }
        program.cpu = program.cpu_wanted().unwrap_or(1);
        program.exits = program.exits.map(|(end, code)| (end.max(at + SHORTEST), code));
        program.limit_memory(start.memory_limit, at);
        program
    }

    /// The container's memory limit (0: none) is this from `now` on. Without one the machine's memory is the limit, which is
    /// for all together.
    pub fn limit_memory(&mut self, limit: i64, now: Time) {
        let growth = self.behavior.as_ref().and_then(|behavior| behavior.memory);
        let limit = u64::try_from(limit).ok().filter(|limit| *limit > 0);
        self.memory_ends = growth.zip(limit).and_then(|(growth, limit)| {
            let at = (self.memory_since + growth.reaches(limit)?).max(now);
            Some((at, Limit::Container(limit)))
        });
    }

    /// The CPU that it wants, in thousandths of a core; None: so little that it always gets it.
    pub fn cpu_wanted(&self) -> Option<u64> {
        let cpu = self.behavior.as_deref().and_then(|behavior| behavior.cpu)?;
        u64::try_from(cpu.0).ok().filter(|cpu| *cpu > 0)
    }

    /// From now on it gets so much CPU: what it still has to do to start up, and to its end, takes as much longer or shorter.
    /// True if something comes at another moment than before.
    pub fn gets_cpu(&mut self, share: u64, now: Time) -> bool {
        let before = self.cpu.max(1);
        if share == before {
            return false;
        }
        self.cpu_used += u128::from(now.since(self.cpu_since).as_nanos()) * u128::from(before) / 1000;
        (self.cpu, self.cpu_since) = (share, now);
        let stretched = |at: Time| {
            let left = u128::from(at.since(now).as_nanos()) * u128::from(before) / u128::from(share.max(1));
            now + Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
        };
        let mut moved = false;
        if self.ready_at > now {
            self.ready_at = stretched(self.ready_at);
            moved = true;
        }
        if let Some((at, _)) = self.exits.as_mut().filter(|(at, _)| self.ends_with_work && *at > now) {
            *at = stretched(*at);
            // A later end needs another wake-up than the one that is under way.
            self.armed = None;
            moved = true;
        }
        moved
    }

    /// When it was started.
    pub fn started(&self) -> Time {
        self.started
    }

    /// True if something is said of what it uses, so that its start and end matter to who measures.
    pub fn is_measured(&self) -> bool {
        self.behavior.as_deref().is_some_and(|behavior| {
            behavior.memory.is_some()
                || behavior.disk.is_some()
                || behavior.logs.is_some()
                || behavior.inodes.is_some()
                || behavior.processes.is_some()
                || !behavior.volumes.is_empty()
        })
    }

    /// How an amount grows at `at`, and when it grows otherwise.
    fn line(&self, growth: Option<Growth>, usual: i64, at: Time) -> (Line, Option<Time>) {
        let Some(growth) = growth else { return (Line::constant(usual), None) };
        let (line, bend) = growth.line(at.since(self.started));
        (line, bend.map(|bend| self.started + bend))
    }

    /// What it has in memory.
    pub fn memory(&self, now: Time) -> (Line, Option<Time>) {
        let growth = self.behavior.as_deref().and_then(|behavior| behavior.memory);
        let Some(growth) = growth else { return (Line::constant(USUAL_MEMORY), None) };
        let (line, bend) = growth.line(now.since(self.memory_since));
        (line, bend.map(|bend| self.memory_since + bend))
    }

    /// The OOM killer takes the child whose memory has grown, if it is one, and the program runs on with another.
    pub fn loses_child(&mut self, limit: i64, now: Time) -> bool {
        let is_child = self.behavior.as_deref().is_some_and(|behavior| behavior.memory_of_child);
        if is_child {
            self.memory_since = now;
            self.limit_memory(limit, now);
            // A child that is too great from its start must not be killed for ever at the same moment.
            if self.memory_ends.is_some_and(|(at, _)| at <= now) {
                self.memory_ends = None;
            }
        }
        is_child
    }

    /// What it uses; its disk as of `disk_at`.
    pub fn amounts(&self, now: Time, disk_at: Time) -> Amounts {
        let behavior = self.behavior.as_deref();
        let disk_at = disk_at.max(self.started);
        let (memory, memory_bends) = self.memory(now);
        let (rootfs, rootfs_bends) = self.line(behavior.and_then(|behavior| behavior.disk), 0, disk_at);
        let (logs, logs_bend) = self.line(behavior.and_then(|behavior| behavior.logs), 0, disk_at);
        let (inodes, inodes_bend) = self.line(behavior.and_then(|behavior| behavior.inodes), 0, disk_at);
        let (processes, processes_bend) = self.line(behavior.and_then(|behavior| behavior.processes), 1, now);
        let bends = [memory_bends, rootfs_bends, logs_bend, inodes_bend, processes_bend];
        Amounts { memory, rootfs, logs, inodes, processes, bends_at: bends.into_iter().flatten().min() }
    }

    /// What it has written into volumes, by their names, as of `at`.
    pub fn volumes(&self, at: Time) -> impl Iterator<Item = (Name, Line, Option<Time>)> + '_ {
        let volumes = self.behavior.as_deref().map(|behavior| &behavior.volumes[..]).unwrap_or_default();
        volumes.iter().map(move |(name, growth)| {
            let (line, bend) = self.line(Some(*growth), 0, at);
            (*name, line, bend)
        })
    }

    /// SIGTERM, sent by StopContainer or the machine.
    pub fn sigterm(
        &mut self,
        now: Time,
        cause: Cause,
        pod: &PodSandboxConfig,
        container: &ContainerConfig,
        streams: &Streams,
    ) {
        if std::mem::replace(&mut self.signalled, true) {
            return;
        }
        let on_term = self.behavior.as_ref().and_then(|behavior| behavior.on_term.as_ref());
        let exit = match (on_term, &self.script) {
            (Some(OnTerm::Ignore), _) => None,
            (Some(OnTerm::ExitAfter { after, code }), _) => {
                Some((stream(streams, pod, container, "sigterm").draw(after), *code))
            }
            (None, Some(script)) => match script.on_sigterm(now.since(self.started)) {
                OnSigterm::Ignored => None,
                OnSigterm::ExitsAfter(after, code) => Some((after, code)),
            },
            (None, None) => Some((Duration::ZERO, 143)),
        };
        self.terminates = exit.map(|(after, code)| (now + after, code, cause));
    }

    /// SIGKILL at `at`, unless it comes earlier already.
    pub fn kill_at(&mut self, at: Time, cause: Cause) {
        if self.killed_at.is_none_or(|(existing, _)| at < existing) {
            self.killed_at = Some((at, cause));
        }
    }

    /// No SIGKILL comes.
    pub fn spare(&mut self) {
        self.killed_at = None;
    }

    /// When and how it ends, if nothing changes before. At the same moment it ends by itself rather than by force.
    pub fn next_end(&self) -> Option<(Time, Ending)> {
        let endings = [
            self.exits.map(|(at, code)| (at, Ending::Exits(code))),
            self.oom_at.map(|at| (at, Ending::Oom(None))),
            self.memory_ends.map(|(at, limit)| (at, Ending::Oom(Some(limit)))),
            self.terminates.map(|(at, code, cause)| (at, Ending::Terminates(code, cause))),
            self.killed_at.map(|(at, cause)| (at, Ending::Killed(cause))),
        ];
        endings.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// When to wake up for its end, if no earlier wake-up is under way. To be asked after every change.
    pub fn arm(&mut self) -> Option<Time> {
        let (at, _) = self.next_end()?;
        if self.armed.is_some_and(|armed| armed <= at) {
            return None;
        }
        self.armed = Some(at);
        Some(at)
    }

    /// A wake-up for this moment came. False if it means nothing any more.
    pub fn woken(&mut self, at: Time) -> bool {
        let expected = self.armed == Some(at);
        if expected {
            self.armed = None;
        }
        expected
    }

    /// What it leaves as termination message.
    pub fn message(&self) -> Text {
        self.behavior.as_ref().map(|behavior| behavior.message.clone()).unwrap_or_default()
    }

    /// Bytes in memory, bytes on disk, and CPU nanoseconds used. A program of which nothing is said uses 8 MiB, no disk, and
    /// a thousandth of a core.
    pub fn usage(&self, now: Time) -> (u64, u64, u64) {
        let running = now.since(self.started);
        let behavior = self.behavior.as_deref();
        let memory = behavior.and_then(|behavior| behavior.memory);
        let memory = memory.map_or(USUAL_MEMORY as u64, |growth| growth.after(now.since(self.memory_since)));
        let disk = behavior.and_then(|behavior| behavior.disk).map_or(0, |growth| growth.after(running));
        let cpu = self.cpu_used + u128::from(now.since(self.cpu_since).as_nanos()) * u128::from(self.cpu) / 1000;
        (memory, disk, u64::try_from(cpu).unwrap_or(u64::MAX))
    }

    /// How it answers a probe now, and when that changes next, if by time alone.
    pub fn answer(&self, probe: &Probed, now: Time, inside: &Inside) -> (Answer, Option<Time>) {
        if self.hung || now >= self.hangs_from {
            return (Answer::Hangs, None);
        }
        let hangs = (self.hangs_from < Time::MAX).then_some(self.hangs_from);
        if now < self.ready_at {
            return (Answer::Fails, Some(self.ready_at.min(self.hangs_from)));
        }
        let after = now.since(self.started);
        let (answer, next) = match self.listed(probe) {
            Some(answers) => {
                let (answer, next) = answers.at(after);
                (answer, next)
            }
            None => match probe {
                Probed::Exec(command) => self.exec_probe(command, after, inside),
                _ => (Answer::Ok, None),
            },
        };
        (answer, next.map(|next| self.started + next).into_iter().chain(hangs).min())
    }

    /// It has started up and does not hang: it accepts connections.
    pub fn is_up(&self, now: Time) -> bool {
        !self.hung && self.ready_at <= now && now < self.hangs_from
    }

    fn listed(&self, probe: &Probed) -> Option<&behavior::ProbeAnswers> {
        let kind_fits = |kind: &ProbeKind| match (kind, probe) {
            (ProbeKind::Http(path), Probed::Http(probed)) => path.is_empty() || path == probed,
            (ProbeKind::Tcp(port), Probed::Tcp(probed)) => *port == 0 || port == probed,
            (ProbeKind::Exec, Probed::Exec(_)) | (ProbeKind::Grpc, Probed::Grpc) => true,
            _ => false,
        };
        self.behavior.as_ref()?.probes.iter().find(|answers| kind_fits(&answers.probe))
    }

    /// A probe's command that the shell does not know is taken to succeed.
    fn exec_probe(&self, command: &[Text], after: Duration, inside: &Inside) -> (Answer, Option<Duration>) {
        let next = self.script.as_ref().and_then(|script| script.next_file_change(after));
        let answer = match self.exec(command, after, inside) {
            None | Some(Run { end: Some((_, 0)), .. }) => Answer::Ok,
            Some(Run { end: Some(_), .. }) => Answer::Fails,
            Some(Run { end: None, .. }) => Answer::Hangs,
        };
        (answer, next)
    }

    /// What its script has made and removed until now.
    pub fn files(&self, now: Time) -> impl Iterator<Item = (Text, bool)> {
        let after = now.since(self.started);
        self.script.iter().flat_map(move |script| script.files(after))
    }

    /// What a command does that is executed in the container now; `None` if the shell does not know it.
    pub fn exec_at(&self, command: &[Text], now: Time, inside: &Inside) -> Option<Run> {
        self.exec(command, now.since(self.started), inside)
    }

    fn exec(&self, command: &[Text], after: Duration, inside: &Inside) -> Option<Run> {
        shell::run(command, Unknown::Refuse, &Beside { script: self.script.as_deref(), after, inside })
    }
}

/// What a command finds that is executed beside a program: what the program has made, and what is around both.
struct Beside<'a> {
    script: Option<&'a Run>,
    after: Duration,
    inside: &'a Inside<'a>,
}

impl Beside<'_> {
    fn made(&self, path: &str) -> Option<bool> {
        self.script.and_then(|script| script.file(path, self.after))
    }
}

impl Known for Beside<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.inside.variable(name)
    }

    fn read(&self, path: &str) -> Option<String> {
        if self.made(path).is_some() { None } else { self.inside.read(path) }
    }
}

impl Around for Beside<'_> {
    fn file(&self, path: &str) -> Option<bool> {
        self.made(path).or_else(|| self.inside.file(path))
    }
}

/// A probe as a program sees it.
#[derive(Clone, Copy, Debug)]
pub enum Probed<'a> {
    /// Of this path.
    Http(Name),
    Exec(&'a [Text]),
    Tcp(u16),
    Grpc,
}

fn script(inside: &Inside, unknown: Unknown) -> Option<Box<Run>> {
    let container = inside.container;
    let words: Vec<Text>;
    let command: &[Text] = if container.args.is_empty() {
        &container.command
    } else {
        words = container.command.iter().chain(container.args.iter()).cloned().collect();
        &words
    };
    // Args alone go to the image's entry point, which nobody knows.
    if container.command.is_empty() && unknown == Unknown::Refuse {
        return None;
    }
    shell::run(command, unknown, inside).map(Box::new)
}

/// Init containers other than sidecars, and the regular containers of pods that do not restart always.
fn is_there_to_end(container: &ContainerConfig) -> bool {
    let annotation = |key: &str| container.annotations.iter().find(|(name, _)| *name == key).map(|(_, value)| value);
    match annotation(CONTAINER_TYPE).as_deref() {
        Some("init") => true,
        Some("sidecar") => false,
        _ => annotation(RESTART_POLICY).is_some_and(|policy| policy == "OnFailure" || policy == "Never"),
    }
}
