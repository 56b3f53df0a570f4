//! Admission: what the API server adds to objects and refuses for reasons outside the object itself.
//!
//! Kubernetes: pkg/kubeapiserver/options/plugins.go for the order, plugin/pkg/admission/* for the plug-ins. One file
//! for pods, one for LimitRange, one for ResourceQuota, one for addresses; the small ones stand here. Not modelled:
//! RuntimeClass overhead, webhooks, PodSecurity above `privileged`, ServiceAccount objects (each namespace has its
//! `default`), protection of claims in use.

mod addresses;
pub(super) mod limits;
mod pod;
pub(super) mod quota;

use std::sync::Arc;

use super::store::Store;
use super::{ApiServer, DisabledPlugins, FeatureGates};
use crate::kernel::Stream;
use crate::model::config::Namespace;
use crate::model::policy::PriorityClass;
use crate::model::taint::{NOT_READY, Taint, TaintEffect};
use crate::model::{Key, Kind, Meta, Name, Object, Pod};
use crate::protocol::api::{Status, StatusReason};

use addresses::Addresses;
use pod::AdmittedSpecs;

/// The namespaces that a cluster has from the beginning.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// The priority classes that a cluster has from the beginning.
const PRIORITY_CLASSES: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
/// The finalizer by which a Namespace waits for its contents; in Kubernetes it stands in `spec.finalizers`.
const NAMESPACE_FINALIZER: &str = "kubernetes";

/// The state that admission keeps between requests.
#[derive(Debug)]
pub(super) struct Admission {
    specs: AdmittedSpecs,
    addresses: Addresses,
    disabled: DisabledPlugins,
}

/// Whether the LimitRanges of its namespace allow a pod that is resized to this.
pub(super) fn limits_allow(store: &Store, pod: &Pod) -> Result<(), Status> {
    pod::limits_allow(store, pod)
}

/// What is stored before the first request.
pub(super) fn initial_objects() -> Vec<Object> {
    let namespaces = NAMESPACES.iter().map(|name| {
        let mut object = Object::Namespace(Arc::new(Namespace { meta: Meta::named("", *name) }));
        complete_namespace(&mut object);
        object
    });
    let classes = PRIORITY_CLASSES.iter().map(|&(name, value)| {
        let meta = Meta { generation: 1, ..Meta::named("", name) };
        Object::PriorityClass(Arc::new(PriorityClass { meta, value, ..PriorityClass::default() }))
    });
    namespaces.chain(classes).collect()
}

impl Admission {
    pub(super) fn new(addresses: Stream, disabled: DisabledPlugins, gates: FeatureGates) -> Admission {
        let specs = AdmittedSpecs::new(!disabled.priority, gates);
        Admission { specs, addresses: Addresses::new(addresses), disabled }
    }

    /// Completes a new object as the mutating plug-ins and the strategies do.
    pub(super) fn mutate(&mut self, store: &Store, object: &mut Object) -> Result<(), Status> {
        match object {
            Object::Pod(pod) => pod::mutate(&mut self.specs, store, pod)?,
            Object::Node(node) => {
                let node = Arc::make_mut(node);
                let not_ready = Taint::new(NOT_READY, TaintEffect::NoSchedule);
                let taints = !self.disabled.taint_nodes_by_condition;
                if taints && !node.spec.taints.iter().any(|taint| taint.is_same(&not_ready)) {
                    node.spec.taints.push(not_ready);
                }
                if node.status.allocatable == Default::default() {
                    node.status.allocatable = node.status.capacity.clone();
                }
                if node.status.internal_ip.is_none() {
                    node.status.internal_ip = Some(self.addresses.next_node());
                }
            }
            Object::Namespace(_) => complete_namespace(object),
            Object::Service(service) => self.addresses.allocate(Arc::make_mut(service)),
            Object::PersistentVolumeClaim(claim) if claim.spec.storage_class.is_none() => {
                if let Some(class) = default_storage_class(store) {
                    Arc::make_mut(claim).spec.storage_class = Some(class);
                }
            }
            Object::LimitRange(range) => limits::complete(Arc::make_mut(range)),
            _ => {}
        }
        self.changed(object);
        Ok(())
    }

    /// Completes an update: what the server has given an object stays if the writer doesn't name it.
    pub(super) fn mutate_update(&mut self, store: &Store, new: &mut Object, old: &Object) -> Result<(), Status> {
        match (new, old) {
            (Object::Pod(new), Object::Pod(old)) => {
                if new.node.is_none() && old.node.is_some() {
                    Arc::make_mut(new).node = old.node;
                }
                if !Arc::ptr_eq(&new.spec, &old.spec) {
                    pod::mutate(&mut self.specs, store, new)?;
                }
            }
            (Object::Namespace(new), Object::Namespace(old)) => {
                let meta = &mut Arc::make_mut(new).meta;
                meta.finalizers = old.meta.finalizers.clone();
                meta.labels = meta.labels.with(Name::new("kubernetes.io/metadata.name"), meta.name);
            }
            (Object::Service(new), Object::Service(old)) => {
                let new = Arc::make_mut(new);
                if !new.headless {
                    new.cluster_ip = new.cluster_ip.or(old.cluster_ip);
                }
                for port in new.ports.iter_mut().filter(|port| port.node_port == 0) {
                    let before =
                        old.ports.iter().find(|other| (other.port, other.protocol) == (port.port, port.protocol));
                    port.node_port = before.map_or(0, |before| before.node_port);
                }
                self.addresses.allocate_ports(new);
            }
            (Object::PersistentVolumeClaim(new), Object::PersistentVolumeClaim(old)) => {
                let new = Arc::make_mut(new);
                new.spec.storage_class = new.spec.storage_class.or(old.spec.storage_class);
                if new.volume.is_empty() {
                    new.volume = old.volume;
                }
            }
            (Object::LimitRange(new), _) => limits::complete(Arc::make_mut(new)),
            _ => {}
        }
        Ok(())
    }

    /// True if another pod was found valid with the same spec.
    pub(super) fn is_known_valid(&self, object: &Object) -> bool {
        object.as_pod().is_some_and(|pod| self.specs.is_known_valid(&pod.spec))
    }

    /// Remembers that `object` was found valid.
    pub(super) fn found_valid(&mut self, object: &Object) {
        if let Some(pod) = object.as_pod() {
            self.specs.found_valid(&pod.spec);
        }
    }

    /// Forgets what was worked out from an object that changes or goes.
    pub(super) fn changed(&mut self, object: &Object) {
        if matches!(object.kind(), Kind::PriorityClass | Kind::LimitRange) {
            self.specs.clear();
        }
    }

    /// Takes back what an object had that is gone.
    pub(super) fn gone(&mut self, object: &Object) {
        self.changed(object);
        if let Object::Service(service) = object {
            self.addresses.free(service);
        }
    }
}

/// NamespaceLifecycle: nothing is created in a namespace that is missing or ending.
pub(super) fn namespace_takes_new(store: &Store, new: &Key) -> Result<(), Status> {
    if !new.kind.is_namespaced() {
        return Ok(());
    }
    let key = Key { kind: Kind::Namespace, namespace: Name::default(), name: new.namespace };
    match store.get(&key) {
        None => Err(Status::not_found(&key)),
        Some(found) if found.meta().deletion.is_some() => {
            let why =
                format!("unable to create new content in namespace {} because it is being terminated", new.namespace);
            Err(forbidden(new.kind, new.name, why))
        }
        Some(_) => Ok(()),
    }
}

/// NamespaceLifecycle: some namespaces stay (`kube-node-lease` may go).
pub(super) fn namespace_may_go(name: Name) -> Result<(), Status> {
    if matches!(name.as_str(), "default" | "kube-system" | "kube-public") {
        return Err(forbidden(Kind::Namespace, name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// `deployments.apps`, `pods`: how errors name a resource.
pub(super) fn qualified(kind: Kind) -> String {
    match kind.api_version().split_once('/') {
        Some((group, _)) => format!("{}.{group}", kind.plural()),
        None => kind.plural().to_owned(),
    }
}

/// 403 of an admission plug-in.
pub(super) fn forbidden(kind: Kind, name: Name, why: impl std::fmt::Display) -> Status {
    Status::new(StatusReason::Forbidden, format!("{} \"{name}\" is forbidden: {why}", qualified(kind)))
}

fn complete_namespace(object: &mut Object) {
    let meta = object.meta_mut();
    let finalizer = Name::new(NAMESPACE_FINALIZER);
    meta.labels = meta.labels.with(Name::new("kubernetes.io/metadata.name"), meta.name);
    if !meta.finalizers.contains(&finalizer) {
        meta.finalizers.push(finalizer);
    }
}

/// DefaultStorageClass: of several default classes the youngest, then the first by name.
fn default_storage_class(store: &Store) -> Option<Name> {
    let classes = store.iter(Kind::StorageClass).filter(|object| match object {
        Object::StorageClass(class) => class.is_default,
        _ => false,
    });
    let youngest = classes.min_by_key(|class| (std::cmp::Reverse(class.meta().created), class.meta().name));
    youngest.map(|class| class.meta().name)
}

impl ApiServer {
    /// True if the namespace has a ResourceQuota.
    pub(super) fn has_quotas(&self, namespace: Name) -> bool {
        self.store.in_namespace(Kind::ResourceQuota, namespace).next().is_some()
    }
}
