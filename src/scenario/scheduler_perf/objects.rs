//! From the files that operations name to objects: rendered, decoded as strictly as there, compiled once for each text.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::storage::v1 as storage;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rustc_hash::FxHashMap;

use crate::manifest::{self, Compiler, Decoded, ProblemKind, Source, load, render_all};
use crate::model::Object;

use super::super::file::Files;
use super::file::Allocatable;
use super::template::{self, Place};

/// Why there is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It is of a kind that is not simulated.
    NotSimulated(String),
    /// Something is wrong with a file, or did not go as the operation wants it.
    Failed(String),
}

/// The objects' files of one test file.
pub(super) struct Templates<'f> {
    files: &'f dyn Files,
    /// The test file, beside which they lie.
    beside: &'f str,
    texts: BTreeMap<String, String>,
    decoded: FxHashMap<String, Decoded>,
    compiled: FxHashMap<String, Object>,
    compiler: Compiler,
}

/// What nodes and pods are where no file is named (create.go: `NodeAllocatableStrategy`… and `StaticPodCreateStrategy`).
const NODE: &str = "{apiVersion: v1, kind: Node, metadata: {generateName: node-}, status: {capacity: {pods: '110', cpu: '4', \
                    memory: 32Gi}, phase: Running, conditions: [{type: Ready, status: 'True'}]}}";
const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {generateName: pod-}, spec: {containers: [{name: pause, image: \
                   'registry.k8s.io/pause:3.10.1'}]}}";
const NAMESPACE: &str = "{apiVersion: v1, kind: Namespace}";

/// The name of an object that gets another one before anybody sees it.
const UNNAMED: &str = "unnamed";

/// A file, or what stands for it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named<'n> {
    File(&'n str),
    Node,
    Pod,
    Namespace,
}

impl<'n> Named<'n> {
    pub(super) fn or(path: Option<&'n str>, default: Named<'n>) -> Named<'n> {
        path.map_or(default, Named::File)
    }
}

impl<'f> Templates<'f> {
    pub(super) fn new(files: &'f dyn Files, beside: &'f str) -> Templates<'f> {
        Templates {
            files,
            beside,
            texts: BTreeMap::new(),
            decoded: FxHashMap::default(),
            compiled: FxHashMap::default(),
            compiler: Compiler::default(),
        }
    }

    /// The text of a file beside the test file.
    pub(super) fn source(&self, path: &str) -> Result<Source, Trouble> {
        let sources = self.files.read(path, self.beside).map_err(Trouble::Failed)?;
        sources.into_iter().next().ok_or_else(|| Trouble::Failed(format!("{path}: nothing is in this folder")))
    }

    fn rendered(&mut self, named: Named<'_>, place: Place) -> Result<String, Trouble> {
        let text = match named {
            Named::Node => NODE,
            Named::Pod => POD,
            Named::Namespace => NAMESPACE,
            Named::File(path) => {
                if !self.texts.contains_key(path) {
                    let text = self.source(path)?.text().to_owned();
                    self.texts.insert(path.to_owned(), text);
                }
                self.texts.get(path).map(String::as_str).unwrap_or_default()
            }
        };
        if !template::is_template(text) {
            return Ok(text.to_owned());
        }
        template::render(text, place).map_err(|invalid| Trouble::Failed(format!("{}: {invalid}", name_of(named))))
    }

    /// The object of a file, compiled as it stands: without a name if the file gives none.
    pub(super) fn object(&mut self, named: Named<'_>, place: Place) -> Result<Object, Trouble> {
        let text = self.rendered(named, place)?;
        if let Some(object) = self.compiled.get(&text) {
            return Ok(object.clone());
        }
        let mut decoded = self.decode(named, &text)?;
        // A namespace gets its name from the operation.
        if let Decoded::Namespace(namespace) = &mut decoded {
            namespace.metadata.name.get_or_insert_with(|| UNNAMED.to_owned());
        }
        let object = self.compile(named, &decoded)?;
        self.compiled.insert(text, object.clone());
        Ok(object)
    }

    /// A node with changed allocatable, and its CSINode for all but the name.
    pub(super) fn node(
        &mut self,
        named: Named<'_>,
        place: Place,
        given: &Allocatable,
    ) -> Result<(Object, Object), Trouble> {
        let text = self.rendered(named, place)?;
        let mut decoded = self.decode(named, &text)?;
        if let Decoded::Node(node) = &mut decoded {
            let status = node.status.get_or_insert_default();
            let capacity = status.capacity.clone();
            let allocatable = status.allocatable.get_or_insert_with(|| capacity.unwrap_or_default());
            for (name, amount) in &given.node {
                allocatable.insert(name.clone(), Quantity(amount.clone()));
            }
        }
        let annotation = "storage.alpha.kubernetes.io/migrated-plugins".to_owned();
        let annotations = (!given.migrated.is_empty()).then(|| [(annotation, given.migrated.join(","))].into());
        let drivers = given.csi.iter().map(|(driver, count)| storage::CSINodeDriver {
            name: driver.clone(),
            node_id: "node".to_owned(),
            allocatable: Some(storage::VolumeNodeResources { count: Some(*count) }),
            ..storage::CSINodeDriver::default()
        });
        let csi_node = storage::CSINode {
            metadata: ObjectMeta { annotations, name: Some(UNNAMED.to_owned()), ..ObjectMeta::default() },
            spec: storage::CSINodeSpec { drivers: drivers.collect() },
        };
        let node = self.compile(named, &decoded)?;
        let csi_node = self.compile(named, &Decoded::CSINode(Box::new(csi_node)))?;
        Ok((node, csi_node))
    }

    /// A pod that mounts a claim, with the claim and the volume that are already bound to each other.
    pub(super) fn pod_with_volume(
        &mut self,
        pod: Named<'_>,
        (volume, claim): (&str, &str),
        namespace: &str,
        place: Place,
    ) -> Result<[Object; 3], Trouble> {
        let texts = [pod, Named::File(volume), Named::File(claim)].map(|named| self.rendered(named, place));
        let [pod_text, volume_text, claim_text] = texts;
        let claim_name = format!("pvc-{}", place.index);
        let volume_name = format!("{namespace}-pv-{}", place.index);
        let mut decoded_pod = self.decode(pod, &pod_text?)?;
        if let Decoded::Pod(pod) = &mut decoded_pod {
            let source =
                core::PersistentVolumeClaimVolumeSource { claim_name: claim_name.clone(), ..Default::default() };
            let volume =
                core::Volume { name: "vol".to_owned(), persistent_volume_claim: Some(source), ..Default::default() };
            pod.spec.get_or_insert_default().volumes.get_or_insert_default().push(volume);
        }
        let mut decoded_claim = self.decode(Named::File(claim), &claim_text?)?;
        if let Decoded::PersistentVolumeClaim(claim) = &mut decoded_claim {
            claim.metadata.name = Some(claim_name.clone());
            claim.metadata.namespace = Some(namespace.to_owned());
            claim.spec.get_or_insert_default().volume_name = Some(volume_name.clone());
        }
        let mut decoded_volume = self.decode(Named::File(volume), &volume_text?)?;
        if let Decoded::PersistentVolume(volume) = &mut decoded_volume {
            volume.metadata.name = Some(volume_name.clone());
            let spec = volume.spec.get_or_insert_default();
            if let Some(csi) = &mut spec.csi {
                csi.volume_handle = volume_name.clone();
            }
            if let Some(disk) = &mut spec.aws_elastic_block_store {
                disk.volume_id = volume_name.clone();
            }
            spec.claim_ref = Some(core::ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("PersistentVolumeClaim".to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(claim_name),
                ..core::ObjectReference::default()
            });
        }
        Ok([
            self.compile(Named::File(volume), &decoded_volume)?,
            self.compile(Named::File(claim), &decoded_claim)?,
            self.compile(pod, &decoded_pod)?,
        ])
    }

    fn compile(&mut self, named: Named<'_>, decoded: &Decoded) -> Result<Object, Trouble> {
        match self.compiler.compile(decoded, &|_| None) {
            Ok(Some(object)) => Ok(object),
            Ok(None) => {
                let kind = decoded.api_version_and_kind().1;
                Err(Trouble::NotSimulated(format!("{}: {kind} is not simulated", name_of(named))))
            }
            Err(invalid) => {
                let texts: Vec<String> = invalid.iter().map(ToString::to_string).collect();
                Err(Trouble::Failed(format!("{}: {}", name_of(named), texts.join("; "))))
            }
        }
    }

    fn decode(&mut self, named: Named<'_>, text: &str) -> Result<Decoded, Trouble> {
        if let Some(decoded) = self.decoded.get(text) {
            return Ok(decoded.clone());
        }
        let decoded = decode(&name_of(named), text)?;
        self.decoded.insert(text.to_owned(), decoded.clone());
        Ok(decoded)
    }
}

fn name_of(named: Named<'_>) -> String {
    match named {
        Named::File(path) => path.to_owned(),
        Named::Node => "the default node".to_owned(),
        Named::Pod => "the default pod".to_owned(),
        Named::Namespace => "the default namespace".to_owned(),
    }
}

/// Decodes the one object of a text. A field whose name is right but for its case is taken, as Go's decoder does there.
fn decode(name: &str, text: &str) -> Result<Decoded, Trouble> {
    let mut sources = [Source::new(name, text)];
    // Each round mends one field; there are no more fields than bytes.
    for _ in 0..text.len().max(1) {
        let loaded = load(&sources);
        if let Some((kind, _)) = loaded.passed_over.first() {
            return Err(Trouble::NotSimulated(format!(
                "{name}: {} ({}) is not simulated",
                kind.kind, kind.api_version
            )));
        }
        let problems = loaded.problems.first().map(Vec::as_slice).unwrap_or_default();
        let mended = problems.iter().find_map(|problem| match &problem.kind {
            ProblemKind::UnknownField { name, nearest: Some(nearest), .. } if name.eq_ignore_ascii_case(nearest) => {
                let mut text = sources.first()?.text().to_owned();
                text.get(problem.at.clone()).filter(|written| written == name)?;
                text.replace_range(problem.at.clone(), nearest);
                Some(text)
            }
            _ => None,
        });
        if let Some(text) = mended {
            sources = [Source::new(name, text)];
            continue;
        }
        let errors: Vec<manifest::Problem> = problems.iter().filter(|problem| problem.is_error()).cloned().collect();
        let [source] = &sources;
        return match loaded.objects.into_iter().next() {
            Some(object) if errors.is_empty() => Ok(object.decoded),
            _ => Err(Trouble::Failed(render_all(source, &errors, false))),
        };
    }
    Err(Trouble::Failed(format!("{name}: no object is in it")))
}
