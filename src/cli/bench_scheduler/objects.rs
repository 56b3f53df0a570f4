//! Objects made of scheduler_perf's templates. What a template says for every index alike is compiled once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::manifest::{Compiler, Epoch, Source, load, render_all};
use crate::model::node::HOSTNAME_LABEL;
use crate::model::pod::{Volume, VolumeSource};
use crate::model::storage::{ClaimPhase, CsiNode, CsiNodeDriver, PersistentVolume, PersistentVolumeClaim, VolumePhase};
use crate::model::{Labels, Meta, Name, Node, Object, Pod};

use super::super::files;
use super::config::NodeAllocatable;
use super::template::{Numbers, is_template, render};

/// Templates by their paths, and what they have been compiled to.
pub struct Templates<'f> {
    folder: &'f Path,
    compiler: Compiler,
    texts: BTreeMap<String, String>,
    compiled: BTreeMap<String, Object>,
}

impl<'f> Templates<'f> {
    /// Templates relative to this folder.
    pub fn new(folder: &'f Path) -> Templates<'f> {
        let compiler = Compiler::new(Epoch::default());
        Templates { folder, compiler, texts: BTreeMap::new(), compiled: BTreeMap::new() }
    }

    /// The text of a file.
    pub fn text(&mut self, path: &str) -> Result<&str, String> {
        if !self.texts.contains_key(path) {
            let file = self.folder.join(path);
            let text = files::read_text(&file).ok_or_else(|| format!("{}: can't be read", file.display()))?;
            self.texts.insert(path.to_owned(), text);
        }
        Ok(self.texts.get(path).map_or("", String::as_str))
    }

    /// The object with this index, out of `count`.
    pub fn object(&mut self, path: &str, numbers: Numbers) -> Result<Object, String> {
        if let Some(object) = self.compiled.get(path) {
            return Ok(object.clone());
        }
        let text = self.text(path)?.to_owned();
        let own = is_template(&text);
        let rendered = if own { render(&text, numbers).map_err(|what| format!("{path}: {what}"))? } else { text };
        let object = self.compile(path, &rendered)?;
        if !own {
            self.compiled.insert(path.to_owned(), object.clone());
        }
        Ok(object)
    }

    /// An object that is written here rather than in a file.
    pub fn built_in(&mut self, name: &str, text: &str) -> Result<Object, String> {
        if let Some(object) = self.compiled.get(name) {
            return Ok(object.clone());
        }
        let object = self.compile(name, text)?;
        self.compiled.insert(name.to_owned(), object.clone());
        Ok(object)
    }

    fn compile(&mut self, path: &str, text: &str) -> Result<Object, String> {
        // The runner gives names to objects without one.
        let unnamed = !text.lines().any(|line| {
            let line = line.trim_start();
            line.starts_with("generateName:") || line.starts_with("name:") && !line.ends_with("name: ")
        }) || is_volume(text);
        let text = if unnamed { named(text) } else { text.to_owned() };
        let sources = [Source::new(path, text)];
        let loaded = load(&sources);
        let compiled = self.compiler.compile_loaded(&loaded, &sources, 0);
        let problems = loaded.problems.iter().chain(&compiled.problems);
        for problems in problems.filter(|problems| problems.iter().any(crate::manifest::Problem::is_error)) {
            return Err(render_all(&sources[0], problems, false));
        }
        let object = compiled.objects.into_iter().next().map(|(_, object)| object);
        object.ok_or_else(|| {
            let kinds: Vec<&str> = loaded.passed_over.keys().map(|kind| kind.kind.as_str()).collect();
            format!("{path}: {} is not simulated", kinds.join(", "))
        })
    }
}

fn is_volume(text: &str) -> bool {
    text.lines().any(|line| matches!(line.trim_end(), "kind: PersistentVolume" | "kind: PersistentVolumeClaim"))
}

/// The text with a name for the object.
fn named(text: &str) -> String {
    if text.lines().any(|line| line.trim_end() == "metadata:") {
        text.replacen("metadata:", "metadata:\n  name: made-by-the-runner", 1)
    } else {
        format!("metadata:\n  name: made-by-the-runner\n{text}")
    }
}

/// The node that `createNodes` makes without a template.
pub const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata:\n  generateName: scheduler-perf-\nstatus:\n  capacity: {cpu: \
                        \"4\", memory: 32Gi, pods: \"110\"}\n  conditions: [{type: Ready, status: \"True\"}]\n";

/// The pod that `createPods` makes without a template.
pub const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: pod-\nspec:\n  containers:\n  - {name: pause, \
                       image: \"registry.k8s.io/pause:3.10.1\"}\n";

/// Gives a node its name and hostname; `number` tells it from all others.
pub fn finish_node(object: Object, number: usize) -> Object {
    let Object::Node(mut node) = object else { return object };
    let own = Arc::make_mut(&mut node);
    name_it(&mut own.meta, number);
    own.meta.labels = own.meta.labels.with(Name::new(HOSTNAME_LABEL), own.meta.name);
    if own.status.allocatable == crate::model::Resources::default() {
        own.status.allocatable = own.status.capacity.clone();
    }
    Object::Node(node)
}

/// Makes `generateName` a name that is the same in every run.
pub fn name_it(meta: &mut Meta, number: usize) {
    if meta.name.is_empty() {
        meta.name = Name::from(format!("{}{number:05}", meta.generate_name));
    }
}

/// What `nodeAllocatableStrategy` adds: the node itself, and its CSINode.
pub fn allocatable(node: &mut Node, strategy: &NodeAllocatable) -> Result<CsiNode, String> {
    for (name, amount) in &strategy.node_allocatable {
        let amount: i64 = amount.parse().map_err(|_| format!("nodeAllocatable: `{amount}` is no number"))?;
        node.status.allocatable.set_extended(Name::new(name), amount);
        node.status.capacity.set_extended(Name::new(name), amount);
    }
    let mut meta = Meta::named("", node.meta.name);
    if !strategy.migrated_plugins.is_empty() {
        let plugins = Name::from(strategy.migrated_plugins.join(","));
        meta.annotations = Labels::new([(Name::new("storage.alpha.kubernetes.io/migrated-plugins"), plugins)]);
    }
    let drivers = strategy.csi_node_allocatable.iter().map(|(driver, limit)| CsiNodeDriver {
        name: Name::new(driver),
        node_id: node.meta.name,
        limit: limit.count,
    });
    Ok(CsiNode { meta, drivers: drivers.collect() })
}

/// A volume and a claim that are bound to each other, and the pod that mounts them.
pub fn with_volume(volume: Object, claim: Object, pod: &mut Pod, number: usize) -> Option<[Object; 2]> {
    let (Object::PersistentVolume(volume), Object::PersistentVolumeClaim(claim)) = (volume, claim) else { return None };
    let (mut volume, mut claim): (PersistentVolume, PersistentVolumeClaim) = ((*volume).clone(), (*claim).clone());
    let name = Name::from(format!("pv-{number}"));
    let claim_name = Name::from(format!("pvc-{number}"));
    volume.meta.name = name;
    volume.claim = Some((pod.meta.namespace, claim_name));
    volume.phase = VolumePhase::Bound;
    if !volume.handle.is_empty() {
        volume.handle = Name::from(format!("{}-{number}", volume.handle));
    }
    claim.meta.name = claim_name;
    claim.meta.namespace = pod.meta.namespace;
    claim.volume = name;
    claim.phase = ClaimPhase::Bound;
    let source = VolumeSource::Claim { name: claim_name, read_only: false };
    let own = Volume { name: Name::new("vol"), source };
    let spec = Arc::make_mut(&mut pod.spec);
    spec.volumes = spec.volumes.iter().cloned().chain([own]).collect();
    Some([Object::PersistentVolume(Arc::new(volume)), Object::PersistentVolumeClaim(Arc::new(claim))])
}
