//! The wait for a pod's volumes: what they are made from must exist. Mounting itself takes the volume manager's loops.
//!
//! Kubernetes: WaitForAttachAndMount in pkg/kubelet/volumemanager/volume_manager.go (an immediate check, then one each
//! 300 ms, up to 2 min 3 s), the reconciler's and populator's loops of 100 ms, exponential back-off of operations in
//! pkg/util/goroutinemap/exponentialbackoff. All volumes of a pod are tried together; attaching takes no time.

use std::sync::Arc;

use crate::kernel::{Duration, Time};
use crate::model::config::ConfigData;
use crate::model::pod::{Handler, KeyToPath, ProjectedSource, VolumeSource};
use crate::model::storage::ClaimPhase;
use crate::model::{Container, EventType, Key, Kind, Name, Object, Pod, Text, Uid};
use crate::protocol::api::{Answer, Call, Status, StatusReason};
use crate::protocol::volume::{self, Request};
use crate::trace::{Stage, StageEdge};

use super::calls::ApiOwner;
use super::environment::Facts;
use super::grid::Grid;
use super::pod_worker::{Outcome, Task};
use super::{Fx, In, Kubelet, Out, Timer};

/// The state of a pod's volumes.
#[derive(Debug, Default)]
pub struct PodVolumes {
    mounted: bool,
    /// The wait under way: when it began.
    waits: Option<Time>,
    /// When the volume manager tries (again).
    try_at: Option<Time>,
    tries: u32,
    /// Index of the need that is being read.
    reading: Option<usize>,
    failed: bool,
    /// A claim is not bound: the pod's volumes are not even known to the reconciler.
    unprocessed: Option<(Name, Text)>,
    /// What was read, where its content matters.
    found: Vec<(Key, Arc<ConfigData>)>,
    /// Asked for; the answer is awaited.
    setting_up: bool,
    /// The files, as the machine was told last.
    told: Option<Arc<[volume::Volume]>>,
    /// When they are brought up to date.
    refresh_at: Option<Time>,
}

impl PodVolumes {
    /// Everything is read from the beginning.
    fn begin_try(&mut self) {
        self.reading = Some(0);
        self.failed = false;
        self.unprocessed = None;
        self.found.clear();
    }

    /// True if the machine was told of them.
    pub fn is_set_up(&self) -> bool {
        self.told.is_some()
    }

    /// True once everything was mounted.
    pub fn is_mounted(&self) -> bool {
        self.mounted
    }
}

/// How often a waiting worker looks.
pub const POLL: Duration = Duration::from_millis(300);
/// How long it waits.
const TIMEOUT: Duration = Duration::from_secs(123);
/// From the beginning until the loops have got to a new pod's volumes.
const FIRST_TRY: Duration = Duration::from_millis(200);
/// The first wait after a failed mount; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST_RETRY: Duration = Duration::from_secs(122);
/// How long until a claim that isn't bound is read again.
const CLAIM_RETRY: Duration = Duration::from_secs(1);

/// How often a healthy pod is synced anew, which brings its volumes up to date; up to half as long again (`syncFrequency`,
/// pkg/kubelet/util/queue/work_queue.go).
const RESYNC: Duration = Duration::from_secs(60);
/// From a sync until the reconciler has mounted again.
const REMOUNT: Duration = Duration::from_millis(100);

/// True for volumes whose files are made from what may change.
fn has_files(source: &VolumeSource) -> bool {
    matches!(
        source,
        VolumeSource::ConfigMap { .. }
            | VolumeSource::Secret { .. }
            | VolumeSource::Projected { .. }
            | VolumeSource::DownwardApi { .. }
    )
}

/// Whether a container of the pod mounts files, and something of it that `reads` sees them.
fn mounts_files(pod: &Pod, reads: impl Fn(&Container) -> bool) -> bool {
    let with_files = |name: Name| pod.spec.volumes.iter().any(|one| one.name == name && has_files(&one.source));
    let mut all = pod.spec.containers.iter().chain(pod.spec.init_containers.iter());
    all.any(|one| one.volume_mounts.iter().any(|mount| with_files(mount.volume)) && reads(one))
}

/// Whether commands are executed in a container while it runs.
pub(super) fn executes(container: &Container) -> bool {
    let probes = [&container.startup, &container.readiness, &container.liveness];
    let hooks = [&container.post_start, &container.pre_stop];
    let is_exec = |handler: &Handler| matches!(handler, Handler::Exec { .. });
    probes.into_iter().flatten().any(|probe| is_exec(&probe.handler))
        || hooks.into_iter().flatten().any(|hook| is_exec(hook))
}

/// An object that a volume needs, with the keys that it must have.
struct Need<'a> {
    volume: Name,
    key: Key,
    optional: bool,
    items: &'a [KeyToPath],
}

/// Everything that the volumes of a pod need from the API server.
fn needs(pod: &Pod) -> Vec<Need<'_>> {
    let key = |kind, name| Key { kind, namespace: pod.meta.namespace, name };
    let mut all = Vec::new();
    for volume in pod.spec.volumes.iter() {
        let mut need = |kind, name, optional, items| {
            all.push(Need { volume: volume.name, key: key(kind, name), optional, items });
        };
        match &volume.source {
            VolumeSource::ConfigMap { name, optional, items, .. } => {
                need(Kind::ConfigMap, *name, *optional, &items[..])
            }
            VolumeSource::Secret { name, optional, items, .. } => need(Kind::Secret, *name, *optional, &items[..]),
            VolumeSource::Claim { name, .. } => need(Kind::PersistentVolumeClaim, *name, false, &[]),
            VolumeSource::Ephemeral { .. } => {
                let name = Name::from(format!("{}-{}", pod.meta.name, volume.name));
                need(Kind::PersistentVolumeClaim, name, false, &[]);
            }
            VolumeSource::Projected { sources, .. } => {
                for source in sources {
                    let ProjectedSource::Config { from, optional, items } = source else { continue };
                    let (kind, name) = from.kind_and_name();
                    need(kind, name, *optional, items);
                }
            }
            _ => {}
        }
    }
    all
}

impl Kubelet {
    /// True if the pod's volumes are there; else the worker is told when they are.
    pub(super) fn volumes_ready(&mut self, uid: Uid, fx: &mut Fx) -> bool {
        let Some(entry) = self.pods.get_mut(&uid) else { return false };
        let spec = &entry.pod.spec;
        let has_any = !spec.volumes.is_empty() || spec.automount_token || self.config.host.is_some();
        let volumes = &mut entry.volumes;
        if !has_any {
            return true;
        }
        if volumes.mounted {
            if volumes.refresh_at.is_some() {
                volumes.refresh_at = Some(fx.now() + REMOUNT);
                fx.wake_after(REMOUNT, In::Timer(Timer::Volumes { pod: uid }));
            }
            return true;
        }
        volumes.waits = Some(fx.now());
        if volumes.try_at.is_none() && volumes.reading.is_none() && !volumes.setting_up {
            volumes.try_at = Some(fx.now() + FIRST_TRY);
            volumes.tries = 0;
        }
        let try_at = volumes.try_at;
        let needs_nothing = needs(&entry.pod).is_empty() && self.config.host.is_none();
        self.stage(uid, Name::default(), Stage::Volumes, StageEdge::Begin, fx);
        if needs_nothing {
            // Nothing of it can fail: the first look after the loops' turn finds all mounted.
            let polls = Grid::new(fx.now(), POLL);
            let at = polls.at_or_after(try_at.unwrap_or(fx.now()));
            fx.wake_at(at, In::Timer(Timer::Volumes { pod: uid }));
        } else {
            if let Some(at) = try_at {
                fx.wake_at(at, In::Timer(Timer::Volumes { pod: uid }));
            }
            fx.wake_after(TIMEOUT, In::Timer(Timer::Volumes { pod: uid }));
        }
        false
    }

    /// A timer of a pod's volumes.
    pub(super) fn volumes_tick(&mut self, uid: Uid, fx: &mut Fx) {
        let now = fx.now();
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let volumes = &mut entry.volumes;
        match &entry.worker.task {
            Some(Task::Unmounting) => return self.finish(uid, fx),
            _ if !entry.worker.is_syncing() => return,
            _ => {}
        }
        if volumes.mounted {
            if volumes.refresh_at.is_some_and(|at| at <= now) && volumes.reading.is_none() && !volumes.setting_up {
                volumes.refresh_at = None;
                volumes.begin_try();
                self.read_need(uid, fx);
            }
            return self.volumes_polled(uid, fx);
        }
        if volumes.try_at.is_some_and(|at| at <= now) {
            volumes.try_at = None;
            volumes.begin_try();
            return self.read_need(uid, fx);
        }
        if let Some(since) = volumes.waits
            && now >= since + TIMEOUT
        {
            self.volumes_timed_out(uid, fx);
        }
    }

    fn volumes_polled(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(since) = entry.volumes.waits else { return };
        if Grid::new(since, POLL).at_or_after(fx.now()) != fx.now() {
            return;
        }
        entry.volumes.waits = None;
        self.stage(uid, Name::default(), Stage::Volumes, StageEdge::End, fx);
        self.sync_mounted(uid, fx);
    }

    /// Reads the next object, or ends the try.
    fn read_need(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let pod = entry.pod.clone();
        let Some(at) = entry.volumes.reading else { return };
        if let Some(need) = needs(&pod).get(at) {
            return self.calls.api(ApiOwner::Volumes(uid), Call::Get(need.key), fx);
        }
        let volumes = &mut entry.volumes;
        volumes.reading = None;
        if volumes.failed || volumes.unprocessed.is_some() {
            return self.mount_later(uid, fx);
        }
        let found = std::mem::take(&mut volumes.found);
        if !self.tells_files(&pod) {
            return self.volumes_mounted(uid, fx);
        }
        let facts = Facts { pod: &pod, pod_ip: None, config: &self.config };
        let made = facts.volumes(self.config.host.as_deref(), &found);
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if entry.volumes.told.as_ref() == Some(&made) {
            return self.volumes_mounted(uid, fx);
        }
        entry.volumes.setting_up = true;
        entry.volumes.told = Some(made.clone());
        fx.send(Out::Volume(Box::new(Request::SetUp { pod: uid, volumes: made })));
    }

    /// What the machine said to a pod's volumes, or to the files of a container.
    pub(super) fn volume_set_up(&mut self, answer: volume::Answer, fx: &mut Fx) {
        let (uid, failed) = match answer {
            volume::Answer::Done { pod } => (pod, None),
            volume::Answer::Content { pod, content } => return self.environment_read(pod, content, fx),
            volume::Answer::NotPlaced { pod, message } => return self.files_placed(pod, Some(message), fx),
            volume::Answer::Failed { pod, volume, message } => (pod, Some((volume, message))),
        };
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if !std::mem::take(&mut entry.volumes.setting_up) {
            return self.files_placed(uid, failed.map(|(_, message)| message), fx);
        }
        let Some((volume, problem)) = failed else { return self.volumes_mounted(uid, fx) };
        entry.volumes.failed = true;
        // Not as it should be: the next try tells it again.
        entry.volumes.told = Some(Arc::new([]));
        let pod = entry.pod.clone();
        let message = format!("MountVolume.SetUp failed for volume \"{volume}\" : {problem}");
        self.pod_event(&pod, None, EventType::Warning, "FailedMount", message.into(), fx);
        self.mount_later(uid, fx);
    }

    fn volumes_mounted(&mut self, uid: Uid, fx: &mut Fx) {
        let now = fx.now();
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        entry.volumes.tries = 0;
        if self.refreshes(uid) {
            let wait = self.streams.remount.jitter(RESYNC, 0.5);
            if let Some(entry) = self.pods.get_mut(&uid) {
                entry.volumes.refresh_at = Some(now + wait);
            }
            fx.wake_after(wait, In::Timer(Timer::Volumes { pod: uid }));
        }
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if std::mem::replace(&mut entry.volumes.mounted, true) || !entry.worker.is_syncing() {
            return;
        }
        if let Some(since) = entry.volumes.waits {
            let at = Grid::new(since, POLL).at_or_after(now);
            if at == now {
                return self.volumes_polled(uid, fx);
            }
            fx.wake_at(at, In::Timer(Timer::Volumes { pod: uid }));
        }
    }

    /// The volumes' next try.
    fn mount_later(&mut self, uid: Uid, fx: &mut Fx) {
        let now = fx.now();
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let volumes = &mut entry.volumes;
        let wait = if volumes.failed {
            let doubled = FIRST_RETRY * (1 << volumes.tries.min(12));
            volumes.tries += 1;
            doubled.min(LONGEST_RETRY)
        } else {
            CLAIM_RETRY
        };
        if volumes.mounted {
            // What was mounted stays as it is.
            volumes.refresh_at = Some(now + wait);
        } else {
            volumes.try_at = Some(now + wait);
        }
        fx.wake_after(wait, In::Timer(Timer::Volumes { pod: uid }));
    }

    /// The API server answered about an object that a volume needs.
    pub(super) fn volume_answered(&mut self, uid: Uid, result: Result<Answer, Status>, fx: &mut Fx) {
        let Some(pod) = self.pods.get(&uid).map(|entry| entry.pod.clone()) else { return };
        let tells = self.tells_files(&pod);
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let Some(at) = entry.volumes.reading else { return };
        if !entry.worker.is_syncing() {
            entry.volumes.reading = None;
            return;
        }
        entry.volumes.reading = Some(at + 1);
        let all = needs(&pod);
        let Some(need) = all.get(at) else { return };
        if need.key.kind == Kind::PersistentVolumeClaim {
            let problem = match result {
                Ok(Answer::Object(Object::PersistentVolumeClaim(claim))) if claim.phase == ClaimPhase::Bound => None,
                Ok(_) => Some("PVC is not bound".to_owned()),
                Err(error) => Some(format!("failed to fetch PVC from API server: {error}")),
            };
            if let Some(problem) = problem {
                let full = format!("{}/{}", need.key.namespace, need.key.name);
                let text = Text::from(format!("error processing PVC {full}: {problem}"));
                entry.volumes.unprocessed = Some((need.volume, text));
            }
            return self.read_need(uid, fx);
        }
        let kind = if need.key.kind == Kind::Secret { "secret" } else { "configmap" };
        let problem = match result {
            Ok(Answer::Object(Object::ConfigMap(data) | Object::Secret(data))) => {
                if tells {
                    entry.volumes.found.push((need.key, data.clone()));
                }
                need.items.iter().find(|item| !need.optional && !data.has_key(item.key)).map(|_| {
                    format!("references non-existent {} key", if kind == "secret" { "secret" } else { "config" })
                })
            }
            Err(error) if error.reason == StatusReason::NotFound && need.optional => None,
            Err(error) if error.reason == StatusReason::NotFound => {
                Some(format!("{kind} \"{}\" not found", need.key.name))
            }
            Ok(_) | Err(_) => Some(format!("failed to sync {kind} cache: timed out waiting for the condition")),
        };
        if let Some(problem) = problem {
            entry.volumes.failed = true;
            let message = format!("MountVolume.SetUp failed for volume \"{}\" : {problem}", need.volume);
            self.pod_event(&pod, None, EventType::Warning, "FailedMount", message.into(), fx);
        }
        self.read_need(uid, fx);
    }

    /// Whether the machine is told which files the pod's volumes hold: a real one is; a simulated one where a program can
    /// look at them, so that all other pods cost nothing.
    fn tells_files(&self, pod: &Pod) -> bool {
        self.config.host.is_some() || mounts_files(pod, |one| !one.command.is_empty() || executes(one))
    }

    /// Whether the pod's files are brought up to date while it runs: on a simulated machine only commands that are executed
    /// later see that.
    fn refreshes(&self, uid: Uid) -> bool {
        let Some(entry) = self.pods.get(&uid) else { return false };
        let is_real = self.config.host.is_some();
        entry.worker.is_syncing() && mounts_files(&entry.pod, |one| is_real || executes(one))
    }

    fn volumes_timed_out(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if !matches!(&entry.worker.task, Some(Task::Sync(sync)) if sync.waits_for_volumes()) {
            return;
        }
        entry.volumes.waits = None;
        let pod = entry.pod.clone();
        let mut unmounted: Vec<&str> = needs(&pod).iter().map(|need| need.volume.as_str()).collect();
        unmounted.dedup();
        let (failed, error) = match &entry.volumes.unprocessed {
            Some((volume, error)) => (volume.as_str(), error.as_str()),
            None => ("", "context deadline exceeded"),
        };
        let message = Text::from(format!(
            "Unable to attach or mount volumes: unmounted volumes=[{}], unattached volumes=[], failed to process volumes=[{failed}]: {error}",
            unmounted.join(" ")
        ));
        self.stage(uid, Name::default(), Stage::Volumes, StageEdge::Failed(message.clone()), fx);
        self.pod_event(&pod, None, EventType::Warning, "FailedMount", message, fx);
        self.complete(uid, Outcome::Failed, fx);
    }
}
