//! The fast search decides as the plain evaluation does, whatever happens between attempts.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use simlet::kernel::Time;
use simlet::model::affinity::NodeSelectorOperator;
use simlet::model::pod::{ContainerPort, Protocol, Volume, VolumeSource};
use simlet::model::service::Service;
use simlet::model::storage::{ClaimSpec, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumePhase};
use simlet::model::*;
use simlet::scheduler::explain::evaluate;
use simlet::scheduler::fit_error::FitError;
use simlet::scheduler::framework::Status;
use simlet::scheduler::listers::World;
use simlet::scheduler::node_table::NodeId;
use simlet::scheduler::nominator::Nominator;
use simlet::scheduler::plugins::default_profile;
use simlet::scheduler::pod_info::{PodInfo, SpecCache};
use simlet::scheduler::search::{Search, select};
use support::cluster;

#[derive(Clone, Debug)]
enum Step {
    Node {
        number: u8,
        cpu: u8,
        zone: u8,
        tainted: u8,
        cordoned: bool,
        image: bool,
    },
    RemoveNode(u8),
    /// A pod of this template is scheduled, and stays where it lands.
    Place(u8),
    /// The oldest pod goes.
    Finish,
    Nominate {
        template: u8,
        node: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u8..12, 1u8..8, 0u8..3, 0u8..4, prop::bool::weighted(0.1), any::<bool>()).prop_map(
            |(number, cpu, zone, tainted, cordoned, image)| Step::Node { number, cpu, zone, tainted, cordoned, image }
        ),
        1 => (0u8..12).prop_map(Step::RemoveNode),
        8 => (0u8..TEMPLATES).prop_map(Step::Place),
        2 => Just(Step::Finish),
        1 => (0u8..TEMPLATES, 0u8..12).prop_map(|(template, node)| Step::Nominate { template, node }),
    ]
}

const TEMPLATES: u8 = 14;

/// The templates: plain, with a preference, with a host port, with a selector, spread hard, with anti-affinity, preferring
/// its own kind, spread softly over two keys, with a local volume, with a feature of the kubelet, near to its own kind, away
/// from all kinds, near to any kind, preferring nodes and zones by all kinds.
fn template(number: u8) -> PodSpec {
    let mut spec = cluster::spec(200 + 150 * i64::from(number));
    let zone = Name::new("topology.kubernetes.io/zone");
    let hostname = Name::new("kubernetes.io/hostname");
    let selector = Selector::from_labels(&labels(number));
    match number {
        1 => {
            let expressions = vec![NodeSelectorRequirement {
                key: zone,
                operator: NodeSelectorOperator::In,
                values: vec![Name::new("z1")],
            }];
            let term = NodeSelectorTerm { expressions, fields: Vec::new() };
            spec.affinity = Some(Arc::new(Affinity { node_preferred: vec![(5, term)], ..Affinity::default() }));
        }
        2 => {
            let mut container = spec.containers[0].clone();
            container.ports = vec![ContainerPort {
                name: Name::default(),
                port: 80,
                host_port: 80,
                host_ip: Name::default(),
                protocol: Protocol::Tcp,
            }];
            spec.containers = Arc::new([container]);
        }
        3 => spec.node_selector = Labels::new([(zone, Name::new("z0"))]),
        4 => {
            spec.topology_spread = Arc::new([TopologySpreadConstraint {
                max_skew: 1,
                topology_key: zone,
                hard: true,
                selector: Some(selector),
                min_domains: None,
                honor_node_affinity: true,
                honor_node_taints: false,
                match_label_keys: Vec::new(),
            }]);
        }
        5 => {
            let term = term(selector, zone);
            spec.affinity = Some(Arc::new(Affinity { pod_anti_required: vec![term], ..Affinity::default() }));
        }
        6 => {
            let (near, away) = (term(selector, zone), term(Selector::from_labels(&labels(5)), hostname));
            let (pod_preferred, pod_anti_preferred) = (vec![(5, near)], vec![(3, away)]);
            spec.affinity = Some(Arc::new(Affinity { pod_preferred, pod_anti_preferred, ..Affinity::default() }));
        }
        7 => {
            let constraint = |key| TopologySpreadConstraint {
                max_skew: 2,
                topology_key: key,
                hard: false,
                selector: Some(selector.clone()),
                min_domains: None,
                honor_node_affinity: true,
                honor_node_taints: false,
                match_label_keys: Vec::new(),
            };
            spec.topology_spread = Arc::new([constraint(zone), constraint(hostname)]);
        }
        8 => {
            let source = VolumeSource::Claim { name: Name::new("data"), read_only: false };
            spec.volumes = Arc::new([Volume { name: Name::new("data"), source }]);
        }
        9 => (spec.host_network, spec.host_users) = (true, false),
        10 => {
            let pod_required = vec![term(selector.clone(), zone), term(selector, hostname)];
            spec.affinity = Some(Arc::new(Affinity { pod_required, ..Affinity::default() }));
        }
        11 => {
            let pod_anti_required = vec![term(any_kind(), hostname)];
            spec.affinity = Some(Arc::new(Affinity { pod_anti_required, ..Affinity::default() }));
        }
        12 => {
            let pod_required = vec![term(any_kind(), zone)];
            spec.affinity = Some(Arc::new(Affinity { pod_required, ..Affinity::default() }));
        }
        13 => {
            let (pod_preferred, pod_anti_preferred) =
                (vec![(7, term(any_kind(), zone))], vec![(2, term(any_kind(), hostname))]);
            spec.affinity = Some(Arc::new(Affinity { pod_preferred, pod_anti_preferred, ..Affinity::default() }));
        }
        _ => {}
    }
    spec
}

fn term(selector: Selector, topology_key: Name) -> PodAffinityTerm {
    PodAffinityTerm {
        selector: Some(selector),
        namespaces: Vec::new(),
        namespace_selector: None,
        topology_key,
        match_label_keys: Vec::new(),
        mismatch_label_keys: Vec::new(),
    }
}

/// A claim of a class that waits for its consumer, and local volumes for it on the nodes of one zone.
fn storage() -> Vec<Object> {
    let local = Name::new("local");
    let class = StorageClass {
        meta: Meta::named("", "local"),
        provisioner: Name::new("kubernetes.io/no-provisioner"),
        wait_for_first_consumer: true,
        ..StorageClass::default()
    };
    let spec = ClaimSpec { storage_class: Some(local), request: Bytes(1), ..ClaimSpec::default() };
    let claim = PersistentVolumeClaim { meta: Meta::named("default", "data"), spec, ..Default::default() };
    let expressions = vec![NodeSelectorRequirement {
        key: Name::new("topology.kubernetes.io/zone"),
        operator: NodeSelectorOperator::In,
        values: vec![Name::new("z1")],
    }];
    let volume = PersistentVolume {
        meta: Meta::named("", "volume"),
        capacity: Bytes(2),
        storage_class: local,
        node_affinity: Some(NodeSelector { terms: vec![NodeSelectorTerm { expressions, fields: Vec::new() }] }),
        phase: VolumePhase::Available,
        ..PersistentVolume::default()
    };
    vec![
        Object::StorageClass(class.into()),
        Object::PersistentVolumeClaim(claim.into()),
        Object::PersistentVolume(volume.into()),
    ]
}

/// Selects the pods of every template.
fn any_kind() -> Selector {
    Selector::parse("app").expect("it is a selector")
}

fn labels(number: u8) -> Labels {
    Labels::new([(Name::new("app"), Name::from(format!("app-{number}")))])
}

fn node(number: u8, cpu: u8, zone: u8, tainted: u8, cordoned: bool, image: bool) -> Node {
    let mut node = cluster::node(&format!("n{number}"), i64::from(cpu) * 500);
    node.meta.labels = Labels::new([(Name::new("topology.kubernetes.io/zone"), Name::from(format!("z{zone}")))]);
    // Most nodes have a hostname.
    if number < 11 {
        node.meta.labels = node.meta.labels.with(Name::new("kubernetes.io/hostname"), node.meta.name);
    }
    if number.is_multiple_of(2) {
        node.status.declared_features = vec![Name::new("UserNamespacesHostNetworkSupport")];
    }
    node.spec.unschedulable = cordoned;
    node.spec.taints = match tainted {
        1 => vec![Taint::new("soft", TaintEffect::PreferNoSchedule)],
        2 => vec![Taint::new("hard", TaintEffect::NoSchedule)],
        _ => Vec::new(),
    };
    if image {
        let names = vec![Name::new("app:latest")];
        node.status.images = Arc::new([NodeImage { names, size_bytes: 300 << 20 }]);
    }
    node
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_search_chooses_as_the_plain_evaluation(steps in prop::collection::vec(step(), 1..80)) {
        let profile = default_profile();
        let templates: Vec<Arc<PodSpec>> = (0..TEMPLATES).map(|number| Arc::new(template(number))).collect();
        // The plain evaluation has a world of its own, in which nothing is kept.
        let (mut world, mut plain) = (World::default(), World::default());
        let (mut nominator, mut search) = (Nominator::default(), Search::default());
        for number in 0..2 {
            let selector = Some(Selector::from_labels(&labels(number)));
            let meta = Meta::named("default", format!("service-{number}"));
            let service = Object::Service(Arc::new(Service { meta, selector, ..Service::default() }));
            world.listers.insert(&service);
            plain.listers.insert(&service);
        }
        for object in storage() {
            world.insert(&object);
            plain.insert(&object);
        }
        let mut specs = SpecCache::default();
        let mut placed: Vec<(Name, Uid)> = Vec::new();
        let mut uid = 0;
        let mut pod = |number: u8, specs: &mut SpecCache| -> PodInfo {
            uid += 1;
            let meta = Meta { uid: Uid(uid), labels: labels(number), ..Meta::named("default", format!("p{uid}")) };
            let spec = templates[usize::from(number)].clone();
            let status = PodStatus { start_time: Some(Time::ZERO), ..PodStatus::default() };
            specs.pod(&Arc::new(Pod { meta, spec, node: None, status }))
        };
        for step in steps {
            match step {
                Step::Node { number, cpu, zone, tainted, cordoned, image } => {
                    let node = Arc::new(node(number, cpu, zone, tainted, cordoned, image));
                    world.nodes.set_node(&node);
                    plain.nodes.set_node(&node);
                }
                Step::RemoveNode(number) => {
                    let name = Name::from(format!("n{number}"));
                    world.nodes.remove_node(name);
                    plain.nodes.remove_node(name);
                }
                Step::Finish if !placed.is_empty() => {
                    let (node, uid) = placed.remove(0);
                    prop_assert!(world.nodes.remove_pod(node, uid).is_some());
                    plain.nodes.remove_pod(node, uid);
                }
                Step::Finish => {}
                Step::Nominate { template, node } => {
                    let pod = pod(template, &mut specs);
                    nominator.add(pod, Name::from(format!("n{node}")));
                }
                Step::Place(number) => {
                    world.nodes.refresh_order();
                    let pod = pod(number, &mut specs);
                    plain.nodes.refresh_order();
                    profile.plugins.iter().for_each(|plugin| plugin.prepare(&pod, &mut world));
                    let found = evaluate(&profile, &pod, &plain, &nominator, plain.nodes.order());
                    let found = found.map_err(|status| TestCaseError::fail(status.message()))?;
                    match search.schedule((0, &profile), &pod, &world, &nominator, 0) {
                        Ok(chosen) => {
                            let mut heap = Vec::new();
                            let best = select(&found.totals(), &mut heap);
                            let best = plain.nodes.get(found.feasible[best]).name;
                            prop_assert_eq!(best, chosen.node);
                            prop_assert_eq!(found.feasible.len(), chosen.feasible);
                            if chosen.feasible > 1 {
                                let totals: Vec<i64> = search.last_totals().map(|(_, total)| total).collect();
                                prop_assert_eq!(found.totals(), totals);
                            }
                            placed.push((chosen.node, pod.uid()));
                            for plugin in &profile.plugins {
                                let Some(reserve) = plugin.as_reserve() else { continue };
                                prop_assert!(reserve.reserve(&pod, chosen.node, &mut world).is_ok());
                                prop_assert!(reserve.reserve(&pod, chosen.node, &mut plain).is_ok());
                            }
                            plain.nodes.add_pod(chosen.node, pod.clone());
                            world.nodes.add_pod(chosen.node, pod);
                        }
                        Err(failure) => {
                            prop_assert!(found.feasible.is_empty());
                            let status = |(node, answer): &(_, Result<(), Status>)| Some((*node, answer.clone().err()?));
                            let rejected: Vec<(NodeId, Status)> = found.filter.iter().filter_map(status).collect();
                            let of_nodes = found.rejection.is_none() && found.restricted.is_none();
                            if of_nodes && !rejected.is_empty() {
                                let rejected: Vec<_> = rejected.iter().map(|(node, status)| (*node, status)).collect();
                                let mut error = FitError::new(rejected.len());
                                error.reject(&rejected, &Status::unresolvable(""), |_| None);
                                let (text, message) = (error.text(""), failure.message);
                                prop_assert!(message.starts_with(&text), "{} is not {}", message, text);
                            }
                        }
                    }
                }
            }
        }
    }
}
