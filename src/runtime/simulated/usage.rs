//! What the machine and its containers use, as its kubelet measures it, and what the kernel does when memory is full.
//!
//! Nothing is counted up: each program says its amounts at any moment, and they are added when somebody asks. The kubelet is
//! told when a program starts or ends of which something is said, so that it looks then.

use crate::kernel::{Duration, Time};
use crate::model::{Name, Resources};
use crate::protocol::cri::{ContainerConfig, ContainerId};
use crate::protocol::stats::{ContainerUsage, FileSystem, Line, Request, Summary, VolumeUsage};
use crate::trace::Effects;

use super::program::{Ending, Limit, Program};
use super::sandboxes::Sandbox;
use super::{In, Out, Runtime, Timer};

/// The machine's disks, and what others than the runtime and its containers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Bytes of the disk of the kubelet's folder.
    pub nodefs: i64,
    /// Bytes of the disk of images and writable layers; None: it is the same disk.
    pub imagefs: Option<i64>,
    pub inodes: i64,
    pub pid_limit: i64,
    pub used: Others,
}

/// What others use: the system's own services, or a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Others {
    pub memory: i64,
    pub disk: i64,
    pub imagefs: i64,
    pub inodes: i64,
    pub processes: i64,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { nodefs: 100 << 30, imagefs: None, inodes: 6_553_600, pid_limit: 4_194_304, used: Others::default() }
    }
}

impl Machine {
    /// The machine of a node with this capacity: its ephemeral storage is the kubelet's disk, and holds the images, too.
    pub fn of(capacity: &Resources) -> Machine {
        let usual = Machine::default();
        let bytes = capacity.ephemeral_storage.0;
        if bytes == 0 {
            return usual;
        }
        // One inode for 16 KiB, as ext4 is made.
        Machine { nodefs: bytes, inodes: bytes / (16 << 10), ..usual }
    }
}

/// What a fault makes scarce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    Memory,
    /// The disk of the kubelet's folder.
    Disk,
    /// The disk of the images, where that is another one.
    ImageDisk,
    Inodes,
    Processes,
}

/// How much a fault leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Available {
    Amount(i64),
    /// In thousandths of what there is.
    Part(i64),
}

/// The kubelet is told that the images' disk fills when this much of it is used, in percent.
const IMAGES_MATTER: i64 = 50;

/// The name of a container's process, as the kernel has it: of its command, or else of its image, cut to 15 letters.
fn process_name(config: &ContainerConfig) -> Name {
    let last = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
    let name = match config.command.first() {
        Some(word) => last(word),
        None => last(&config.image).split([':', '@']).next().unwrap_or_default().to_owned(),
    };
    Name::from(name.chars().take(15).collect::<String>())
}

impl Runtime {
    /// What is used, as the kubelet measures it.
    pub(super) fn measure(&mut self, request: Request, fx: &mut Effects<In, Out>) {
        let summary = self.summary(request, fx.now());
        fx.send(Out::Stats(Box::new(summary)));
    }

    fn summary(&self, request: Request, now: Time) -> Summary {
        let machine = &self.config.machine;
        let mut all = Summary {
            at: now,
            memory_capacity: self.config.memory.0,
            memory: Line::constant(machine.used.memory),
            pid_limit: machine.pid_limit,
            processes: Line::constant(machine.used.processes),
            ..Summary::default()
        };
        let (mut rootfs, mut local) = (Line::constant(self.images.bytes()), Line::constant(0));
        let mut inodes = Line::constant(machine.used.inodes);
        let mut bend = |at: Option<Time>| {
            all.bends_at = [all.bends_at, at].into_iter().flatten().min();
        };
        for (id, container) in &self.containers {
            let Some(program) = &container.program else { continue };
            let mut amounts = program.amounts(now, request.disk_at);
            let most = self.sandboxes.get(&container.sandbox).map_or(0, |sandbox| sandbox.config.pids_limit);
            if most > 0 {
                // Nothing forks beyond the limit of the pod's cgroup.
                let used = all.containers.iter().filter(|other| other.pod == container.pod);
                let left = (most - used.map(|other| other.processes.amount).sum::<i64>()).max(0);
                match amounts.processes.reaches(left) {
                    Some(Duration::ZERO) => amounts.processes = Line::constant(left),
                    Some(after) => bend(Some(now + after)),
                    None => {}
                }
            }
            bend(amounts.bends_at);
            rootfs = rootfs.plus(amounts.rootfs);
            local = local.plus(amounts.logs);
            all.memory = all.memory.plus(amounts.memory);
            all.processes = all.processes.plus(amounts.processes);
            inodes = inodes.plus(amounts.inodes);
            all.containers.push(ContainerUsage {
                pod: container.pod,
                container: *id,
                name: container.config.name,
                memory: amounts.memory,
                rootfs: amounts.rootfs,
                logs: amounts.logs,
                inodes: amounts.inodes,
                processes: amounts.processes,
            });
            for (volume, used, bends) in program.volumes(request.volumes_at.max(program.started())) {
                bend(bends);
                let known = all.volumes.iter_mut().find(|known| known.pod == container.pod && known.volume == volume);
                match known {
                    Some(known) => known.used = known.used.plus(used),
                    None => {
                        let inodes = Line::constant(1);
                        all.volumes.push(VolumeUsage { pod: container.pod, volume, used, inodes });
                    }
                }
                local = local.plus(used);
            }
        }
        let others = Line::constant(machine.used.disk);
        all.nodefs = FileSystem {
            capacity: machine.nodefs,
            used: others.plus(local),
            inodes: machine.inodes,
            inodes_used: inodes,
        };
        match machine.imagefs {
            None => all.nodefs.used = all.nodefs.used.plus(rootfs),
            Some(capacity) => {
                all.imagefs = Some(FileSystem {
                    capacity,
                    used: rootfs.plus(Line::constant(machine.used.imagefs)),
                    inodes: machine.inodes,
                    inodes_used: Line::constant(0),
                });
            }
        }
        all
    }

    /// A program of which something is said has started or ended.
    pub(super) fn usage_changed(&mut self, fx: &mut Effects<In, Out>) {
        fx.send(Out::UsageChanged);
        self.arm_memory(fx);
    }

    /// An image came or went: that matters once images fill their disk.
    pub(super) fn images_changed(&mut self, fx: &mut Effects<In, Out>) {
        let machine = &self.config.machine;
        let capacity = machine.imagefs.unwrap_or(machine.nodefs);
        let others = if machine.imagefs.is_some() { machine.used.imagefs } else { machine.used.disk };
        if (self.images.bytes() + others).saturating_mul(100) >= capacity.saturating_mul(IMAGES_MATTER) {
            fx.send(Out::UsageChanged);
        }
    }

    /// A fault leaves only so much of something, or (None) all that there was.
    pub(super) fn make_scarce(&mut self, what: Scarce, available: Option<Available>, fx: &mut Effects<In, Out>) {
        let Some(available) = available else {
            let base = self.used_before;
            let used = &mut self.config.machine.used;
            match what {
                Scarce::Memory => used.memory = base.memory,
                Scarce::Disk => used.disk = base.disk,
                Scarce::ImageDisk => used.imagefs = base.imagefs,
                Scarce::Inodes => used.inodes = base.inodes,
                Scarce::Processes => used.processes = base.processes,
            }
            return self.usage_changed(fx);
        };
        let now = fx.now();
        let all = self.summary(Request { disk_at: now, volumes_at: now }, now);
        let images = all.imagefs.unwrap_or(all.nodefs);
        let (capacity, used) = match what {
            Scarce::Memory => (all.memory_capacity, all.memory.amount),
            Scarce::Disk => (all.nodefs.capacity, all.nodefs.used.amount),
            Scarce::ImageDisk => (images.capacity, images.used.amount),
            Scarce::Inodes => (all.nodefs.inodes, all.nodefs.inodes_used.amount),
            Scarce::Processes => (all.pid_limit, all.processes.amount),
        };
        let left = match available {
            Available::Amount(amount) => amount,
            Available::Part(part) => (i128::from(capacity) * i128::from(part) / 1000) as i64,
        };
        let more = capacity - left - used;
        let machine = &mut self.config.machine;
        let others = &mut machine.used;
        let field = match what {
            Scarce::Memory => &mut others.memory,
            Scarce::Disk => &mut others.disk,
            Scarce::ImageDisk if machine.imagefs.is_none() => &mut others.disk,
            Scarce::ImageDisk => &mut others.imagefs,
            Scarce::Inodes => &mut others.inodes,
            Scarce::Processes => &mut others.processes,
        };
        *field = (*field + more).max(0);
        self.usage_changed(fx);
    }

    /// Wakes up for the moment at which all memory is used, if nothing changes.
    pub(super) fn arm_memory(&mut self, fx: &mut Effects<In, Out>) {
        self.memory_full = self.memory_fills_at(fx.now());
        if let Some(at) = self.memory_full {
            fx.wake_at(at, In::Timer(Timer::MemoryFull { boot: self.boot, at }));
        }
    }

    /// When all memory is used, or a line bends before that.
    fn memory_fills_at(&self, now: Time) -> Option<Time> {
        let mut memory = Line::constant(self.config.machine.used.memory);
        let mut bends: Option<Time> = None;
        for container in self.containers.values() {
            let Some(program) = &container.program else { continue };
            let (line, bend) = program.memory(now);
            memory = memory.plus(line);
            bends = [bends, bend].into_iter().flatten().min();
        }
        let full = memory.reaches(self.config.memory.0).map(|after| now + after);
        let of_pods = self.limited_pods().filter_map(|(sandbox, limit)| {
            let lines = self.members(sandbox).map(|(_, program)| program.memory(now).0);
            lines.fold(Line::constant(0), Line::plus).reaches(limit).map(|after| now + after)
        });
        let of_pods = of_pods.min();
        [full, bends, of_pods].into_iter().flatten().min()
    }

    /// Sandboxes whose containers have a limit of memory together.
    fn limited_pods(&self) -> impl Iterator<Item = (&Sandbox, i64)> {
        self.sandboxes.values().filter_map(|sandbox| {
            let limit = sandbox.resources.as_ref()?.memory_limit_in_bytes;
            (limit > 0).then_some((sandbox, limit))
        })
    }

    /// The programs that run in a sandbox.
    fn members<'s>(&'s self, sandbox: &'s Sandbox) -> impl Iterator<Item = (ContainerId, &'s Program)> {
        sandbox.containers.iter().filter_map(|id| {
            let program = self.containers.get(id)?.program.as_deref()?;
            Some((*id, program))
        })
    }

    /// The container that the kernel kills because its pod's memory is at the pod's limit.
    fn worst_of_pods(&self, now: Time) -> Option<(ContainerId, i64)> {
        self.limited_pods().find_map(|(sandbox, limit)| {
            let used: i64 = self.members(sandbox).map(|(_, program)| program.memory(now).0.amount).sum();
            let score = |id: ContainerId, program: &Program| {
                let adjustment = self.containers.get(&id).map_or(0, |one| one.resources.oom_score_adj);
                let part = i128::from(program.memory(now).0.amount) * 1000 / i128::from(self.config.memory.0.max(1));
                (part as i64 + adjustment, std::cmp::Reverse(id))
            };
            let worst = self.members(sandbox).max_by_key(|(id, program)| score(*id, program));
            worst.map(|(id, _)| (id, limit)).filter(|_| used >= limit)
        })
    }

    /// Memory is full, or may be: the kernel kills what it finds worst until there is room.
    pub(super) fn memory_may_be_full(&mut self, at: Time, fx: &mut Effects<In, Out>) {
        if self.memory_full != Some(at) {
            return;
        }
        self.memory_full = None;
        while let Some((victim, limit)) = self.worst_of_pods(fx.now()) {
            self.end(victim, Ending::Oom(Some(Limit::Pod(limit as u64))), fx);
        }
        while let Some(victim) = self.worst(fx.now()) {
            let process = self.containers.get(&victim).map(|container| process_name(&container.config));
            self.end(victim, Ending::Oom(Some(Limit::Node)), fx);
            // A kill for which no cgroup is to blame is the system's: the kubelet's OOM watcher tells of it.
            if let Some(process) = process {
                fx.send(Out::SystemOom { process, pid: 2000 + (victim.0 % 30_000) as u32 });
            }
        }
        self.arm_memory(fx);
        // A line that bends at this very moment must not be looked at for ever.
        if self.memory_full == Some(at) {
            self.memory_full = None;
            let next = at + Duration::from_millis(1);
            self.memory_full = Some(next);
            fx.wake_at(next, In::Timer(Timer::MemoryFull { boot: self.boot, at: next }));
        }
    }

    /// The container that the kernel kills, if all memory is used: by its part of the memory and its `oom_score_adj`.
    fn worst(&self, now: Time) -> Option<ContainerId> {
        let capacity = self.config.memory.0.max(1);
        let mut total = self.config.machine.used.memory;
        let mut worst: Option<(i64, ContainerId)> = None;
        for (id, container) in &self.containers {
            let Some(program) = &container.program else { continue };
            let used = program.memory(now).0.amount;
            total = total.saturating_add(used);
            let part = (i128::from(used) * 1000 / i128::from(capacity)) as i64;
            let score = part + container.config.resources.oom_score_adj;
            if worst.is_none_or(|(other, _)| score > other) {
                worst = Some((score, *id));
            }
        }
        worst.map(|(_, id)| id).filter(|_| total >= capacity)
    }
}
