//! The volumes of pods on a simulated machine: kept as they were set up, so that programs find their files. And what a
//! program finds around it: those files where its container mounts them, and its variables.
//!
//! What a script makes or removes in the folder of a volume stays for the pod's next containers once it has ended.
//!
//! Simplified: a script has read the files when it began; commands that are executed later (probes, hooks) see them as they
//! are. A mount of a `subPath` shows the volume as it was when the container started.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::{Name, Text, Uid};
use crate::protocol::cri::{ContainerConfig, ContainerId, Mount};
use crate::protocol::volume::{Answer, Kind, Request, Volume};
use crate::trace::Effects;

use super::program::Program;
use super::shell::Around;
use super::shell_words::Known;
use super::{In, Out, Runtime};

/// The volumes of each pod.
pub(super) type Volumes = FxHashMap<Uid, Arc<[Volume]>>;

/// What programs that have ended left in the folders of each pod's volumes, by the path as mounts name it: there, or removed.
pub(super) type Left = FxHashMap<Uid, BTreeMap<String, bool>>;

impl Runtime {
    pub(super) fn volume(&mut self, request: Request, fx: &mut Effects<In, Out>) {
        let pod = match request {
            Request::SetUp { pod, volumes } => {
                if self.volumes.insert(pod, volumes).is_some() {
                    self.volumes_changed(pod, fx);
                }
                pod
            }
            Request::PlaceFiles { pod, .. } => pod,
            // What a program has written is not kept.
            Request::Read { pod, .. } => return fx.send(Out::Volume(Box::new(Answer::Content { pod, content: None }))),
            Request::TearDown { pod } => {
                self.volumes.remove(&pod);
                self.left.remove(&pod);
                return;
            }
        };
        fx.send(Out::Volume(Box::new(Answer::Done { pod })));
    }

    /// Commands of exec probes may find other files now.
    fn volumes_changed(&mut self, pod: Uid, fx: &mut Effects<In, Out>) {
        let sandboxes = self.pods.get(&pod).into_iter().flatten().filter_map(|id| self.sandboxes.get(id));
        let containers: Vec<ContainerId> = sandboxes.flat_map(|sandbox| sandbox.containers.iter().copied()).collect();
        for id in containers {
            self.probes_change(id, fx);
        }
    }

    /// A program has ended: what it made and removed in folders of volumes stays.
    pub(super) fn keep_files(&mut self, pod: Uid, config: &ContainerConfig, files: impl Iterator<Item = (Text, bool)>) {
        for (path, there) in files {
            let Some((mount, rest)) = mounted(config, &path) else { continue };
            let name = mount.host_path.split('/').next().unwrap_or_default();
            let volume = self.volumes.get(&pod).and_then(|all| all.iter().find(|one| *one.name == *name));
            // The machine is told of a pod's volumes only where there are files among them.
            if volume.is_none_or(|volume| !matches!(volume.kind, Kind::Files(_))) {
                self.left.entry(pod).or_default().insert(format!("{}/{rest}", mount.host_path), there);
            }
        }
    }

    /// What a command that is executed in this container finds.
    pub(super) fn inside<'a>(&'a self, pod: Uid, config: &'a ContainerConfig, program: &'a Program) -> Inside<'a> {
        Inside {
            container: config,
            hostname: program.hostname,
            volumes: self.volumes.get(&pod).map(|volumes| &**volumes),
            at_start: program.volumes.as_deref(),
            left: self.left.get(&pod),
        }
    }
}

/// What a program in a container finds around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inside<'a> {
    pub container: &'a ContainerConfig,
    pub hostname: Name,
    /// The pod's volumes, where the machine was told of them.
    pub volumes: Option<&'a [Volume]>,
    /// As they were when the container started.
    pub at_start: Option<&'a [Volume]>,
    /// What earlier programs left in their folders.
    pub left: Option<&'a BTreeMap<String, bool>>,
}

/// The mount in which a path is, and the path below it.
fn mounted<'c, 'p>(container: &'c ContainerConfig, path: &'p str) -> Option<(&'c Mount, &'p str)> {
    let mounts = container.mounts.iter().filter_map(|mount| Some((mount, below(path, &mount.container_path)?)));
    mounts.max_by_key(|(mount, _)| mount.container_path.len())
}

/// What of a path is below a folder; None if it is elsewhere.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
}

/// What stands at a path of a volume.
enum Found<'a> {
    File(&'a [u8]),
    Folder,
    Nothing,
}

impl Inside<'_> {
    /// What a path shows; None if it is in no volume of files.
    fn look(&self, path: &str) -> Option<Found<'_>> {
        let (mount, rest) = mounted(self.container, path)?;
        // The kubelet of a simulated machine names the volume, and what of it is mounted.
        let (volume, part) = mount.host_path.split_once('/').unwrap_or((&mount.host_path, ""));
        let volumes = if part.is_empty() { self.volumes } else { self.at_start };
        let volume = volumes?.iter().find(|one| *one.name == *volume)?;
        let Kind::Files(files) = &volume.kind else { return None };
        let inside = [part, rest].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/");
        if let Some(file) = files.iter().find(|file| *file.path == *inside) {
            return Some(Found::File(&file.content));
        }
        let is_folder = inside.is_empty() || files.iter().any(|file| below(&file.path, &inside).is_some());
        Some(if is_folder { Found::Folder } else { Found::Nothing })
    }
}

impl Known for Inside<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let known = self.container.envs.iter().find(|(known, _)| *known == *name);
        known.map(|(_, value)| value.to_string()).or_else(|| (name == "HOSTNAME").then(|| self.hostname.to_string()))
    }

    fn read(&self, path: &str) -> Option<String> {
        match self.look(path)? {
            Found::File(content) => Some(String::from_utf8_lossy(content).into_owned()),
            Found::Folder | Found::Nothing => None,
        }
    }
}

impl Around for Inside<'_> {
    fn file(&self, path: &str) -> Option<bool> {
        let found = self.look(path).map(|found| !matches!(found, Found::Nothing));
        found.or_else(|| {
            let (mount, rest) = mounted(self.container, path)?;
            self.left?.get(&format!("{}/{rest}", mount.host_path)).copied()
        })
    }
}
