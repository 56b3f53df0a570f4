//! The plug-ins of kube-scheduler's default profile, one a file, each with a short document.
//!
//! Left out: all that is off by default.

pub mod balanced_allocation;
pub mod default_binder;
pub mod default_preemption;
pub mod dynamic_resources;
pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_declared_features;
pub mod node_name;
pub mod node_ports;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod node_volume_limits;
pub mod pod_topology_spread;
pub mod priority_sort;
pub mod resource_scoring;
pub mod scheduling_gates;
pub mod taint_toleration;
pub mod volume_binder;
pub mod volume_binding;
pub mod volume_restrictions;
pub mod volume_zone;

use std::sync::Arc;

use super::FeatureGates;
use super::framework::{Plugin, Profile};

pub use balanced_allocation::NodeResourcesBalancedAllocation;
pub use default_binder::DefaultBinder;
pub use default_preemption::DefaultPreemption;
pub use dynamic_resources::DynamicResources;
pub use image_locality::ImageLocality;
pub use inter_pod_affinity::InterPodAffinity;
pub use node_affinity::NodeAffinity;
pub use node_declared_features::NodeDeclaredFeatures;
pub use node_name::NodeName;
pub use node_ports::NodePorts;
pub use node_resources_fit::NodeResourcesFit;
pub use node_unschedulable::NodeUnschedulable;
pub use node_volume_limits::NodeVolumeLimits;
pub use pod_topology_spread::PodTopologySpread;
pub use priority_sort::PrioritySort;
pub use scheduling_gates::SchedulingGates;
pub use taint_toleration::TaintToleration;
pub use volume_binding::VolumeBinding;
pub use volume_restrictions::VolumeRestrictions;
pub use volume_zone::VolumeZone;

/// A plug-in with its weight.
pub type Weighted = (Arc<dyn Plugin>, i64);

/// The arguments of the plug-ins that have some (`pluginConfig`); the default is Kubernetes'.
#[derive(Debug, Default)]
pub struct Args {
    pub fit: NodeResourcesFit,
    pub balanced: NodeResourcesBalancedAllocation,
    pub node_affinity: NodeAffinity,
    pub spread: PodTopologySpread,
    pub inter_pod_affinity: InterPodAffinity,
    pub preemption: DefaultPreemption,
    pub volume_binding: VolumeBinding,
    pub devices: DynamicResources,
    pub gates: FeatureGates,
}

/// The default plug-ins in MultiPoint order, with their weights.
///
/// Kubernetes: pkg/scheduler/apis/config/v1/default_plugins.go.
pub fn defaults(args: Args) -> Vec<Weighted> {
    let comparison_operators = args.gates.taint_toleration_comparison_operators;
    let mut plugins: Vec<Weighted> = vec![
        (Arc::new(SchedulingGates), 1),
        (Arc::new(PrioritySort), 1),
        (Arc::new(NodeUnschedulable::default()), 1),
        (Arc::new(NodeName), 1),
        (Arc::new(TaintToleration { comparison_operators }), 3),
        (Arc::new(args.node_affinity), 2),
        (Arc::new(NodePorts), 1),
        (Arc::new(args.fit), 1),
        (Arc::new(VolumeRestrictions), 1),
        (Arc::new(NodeVolumeLimits), 1),
        (Arc::new(args.volume_binding), 1),
        (Arc::new(VolumeZone), 1),
        (Arc::new(args.spread.comparing(comparison_operators)), 2),
        (Arc::new(args.inter_pod_affinity), 2),
        (Arc::new(args.devices), 2),
        (Arc::new(args.preemption), 1),
        (Arc::new(args.balanced), 1),
        (Arc::new(ImageLocality), 1),
        (Arc::new(DefaultBinder), 1),
    ];
    if args.gates.node_declared_features {
        plugins.push((Arc::new(NodeDeclaredFeatures), 1));
    }
    plugins
}

/// The profile `default-scheduler`.
pub fn default_profile() -> Profile {
    profile_with(FeatureGates::default())
}

/// The same with other feature gates.
pub fn profile_with(gates: FeatureGates) -> Profile {
    Profile::new("default-scheduler", defaults(Args { gates, ..Args::default() }))
}
