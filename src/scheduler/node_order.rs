//! The order in which nodes are tried: round robin over the zones.
//!
//! Kubernetes: pkg/scheduler/backend/cache/node_tree.go, staging/src/k8s.io/component-helpers/node/topology/helpers.go.

use indexmap::IndexMap;

use crate::model::{Labels, Name};

use super::node_table::NodeId;

/// Region and zone of a node; the older labels go before the newer ones.
pub type Zone = (Name, Name);

/// The nodes of each zone. Zones stand in the order in which they first had a node, nodes in the order of their addition.
#[derive(Clone, Debug, Default)]
pub struct NodeOrder {
    zones: IndexMap<Zone, Vec<NodeId>>,
}

impl NodeOrder {
    /// Puts the node last in its zone; a zone without nodes comes last.
    pub fn add(&mut self, node: NodeId, zone: Zone) {
        self.zones.entry(zone).or_default().push(node);
    }

    /// Takes the node out; a zone that becomes empty loses its place.
    pub fn remove(&mut self, node: NodeId, zone: Zone) {
        if let Some(nodes) = self.zones.get_mut(&zone) {
            nodes.retain(|&existing| existing != node);
            if nodes.is_empty() {
                self.zones.shift_remove(&zone);
            }
        }
    }

    /// Writes the order into `list`: the first node of each zone, then the second of each, and so on.
    pub fn list(&self, list: &mut Vec<NodeId>) {
        list.clear();
        let longest = self.zones.values().map(Vec::len).max().unwrap_or(0);
        for place in 0..longest {
            list.extend(self.zones.values().filter_map(|nodes| nodes.get(place)));
        }
    }
}

/// The zone that these labels of a node name; both parts empty if they name none.
pub fn zone_of(labels: &Labels) -> Zone {
    let (mut zone, mut region) = (None, None);
    let (mut old_zone, mut old_region) = (None, None);
    for (key, value) in labels.iter() {
        match key.as_str() {
            "topology.kubernetes.io/zone" => zone = Some(value),
            "topology.kubernetes.io/region" => region = Some(value),
            "failure-domain.beta.kubernetes.io/zone" => old_zone = Some(value),
            "failure-domain.beta.kubernetes.io/region" => old_region = Some(value),
            _ => {}
        }
    }
    (old_region.or(region).unwrap_or_default(), old_zone.or(zone).unwrap_or_default())
}
