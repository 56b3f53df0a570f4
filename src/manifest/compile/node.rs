//! Nodes and namespaces.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;

use crate::model::config::Namespace;
use crate::model::{Kind, Name, Node, NodeImage, NodeSpec, NodeStatus, Object};

use super::context::Context;
use super::path::Path;
use super::status::address;

impl Context<'_> {
    pub(super) fn node(&mut self, node: &core::Node) -> Object {
        let meta = self.meta(Kind::Node, &node.metadata);
        let spec = node.spec.as_ref().map(|spec| NodeSpec {
            unschedulable: spec.unschedulable == Some(true),
            // Kubernetes' own message says metadata.taints here.
            taints: self.taints(&Path::Root.field("spec").field("taints"), spec.taints.as_deref().unwrap_or_default()),
            provider_id: super::context::name(spec.provider_id.as_ref()),
        });
        let status = node.status.as_ref().map(|status| self.node_status(status));
        Object::Node(Arc::new(Node { meta, spec: spec.unwrap_or_default(), status: status.unwrap_or_default() }))
    }

    fn node_status(&mut self, status: &core::NodeStatus) -> NodeStatus {
        let at = Path::Root.field("status");
        let capacity = self.node_resources(&at.field("capacity"), status.capacity.as_ref());
        let allocatable = match &status.allocatable {
            Some(allocatable) => self.node_resources(&at.field("allocatable"), Some(allocatable)),
            None => capacity.clone(),
        };
        let conditions = status.conditions.iter().flatten().map(|condition| {
            self.condition(
                &condition.type_,
                &condition.status,
                condition.reason.as_ref(),
                condition.message.as_ref(),
                condition.last_transition_time.as_ref(),
                condition.last_heartbeat_time.as_ref(),
            )
        });
        let conditions = conditions.collect();
        let internal = status.addresses.iter().flatten().find(|address| address.type_ == "InternalIP");
        let images = status.images.iter().flatten().map(|image| NodeImage {
            names: image.names.iter().flatten().map(Name::from).collect(),
            size_bytes: image.size_bytes.unwrap_or(0),
        });
        let info = status.node_info.as_ref();
        NodeStatus {
            capacity,
            allocatable,
            conditions,
            internal_ip: internal.and_then(|internal| address(Some(&internal.address))),
            images: images.collect(),
            runtime_version: info.map(|info| Name::from(&info.container_runtime_version)).unwrap_or_default(),
            kubelet_version: info.map(|info| Name::from(&info.kubelet_version)).unwrap_or_default(),
            os_image: info.map(|info| Name::from(&info.os_image)).unwrap_or_default(),
            boot_id: info.map_or(0, |info| self.uids.read(&info.boot_id).0),
            declared_features: {
                let mut names: Vec<Name> = status.declared_features.iter().flatten().map(Name::from).collect();
                names.sort_unstable();
                names.dedup();
                names
            },
        }
    }

    pub(super) fn namespace(&mut self, namespace: &core::Namespace) -> Object {
        let mut meta = self.meta(Kind::Namespace, &namespace.metadata);
        if !meta.name.is_empty() {
            meta.labels = meta.labels.with(Name::new("kubernetes.io/metadata.name"), meta.name);
        }
        Object::Namespace(Arc::new(Namespace { meta }))
    }
}
