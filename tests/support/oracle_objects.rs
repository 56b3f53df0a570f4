//! The oracle's JSON objects as the model's: only what scheduling looks at.

use std::sync::Arc;

use serde_json::Value;
use simlet::kernel::Time;
use simlet::model::affinity::NodeSelectorOperator;
use simlet::model::config::Namespace;
use simlet::model::pod::{
    Container, ContainerPort, Phase, Protocol, ResourceRequirements, RestartPolicy, RestartRule, Volume, VolumeSource,
};
use simlet::model::policy::PodDisruptionBudget;
use simlet::model::resources::ResourceList;
use simlet::model::service::Service;
use simlet::model::storage::{
    ClaimPhase, ClaimSpec, CsiDriver, CsiNode, CsiNodeDriver, CsiStorageCapacity, PersistentVolume,
    PersistentVolumeClaim, StorageClass, VolumeAttachment, VolumePhase,
};
use simlet::model::taint::TolerationOperator;
use simlet::model::workload::{ReplicaSet, StatefulSet};
use simlet::model::*;

fn name(value: &Value) -> Name {
    Name::new(value.as_str().unwrap_or_default())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn names(value: &Value) -> Vec<Name> {
    list(value).iter().map(name).collect()
}

/// A quantity in units of 1/`scale`, rounded up.
pub fn quantity(value: &Value, scale: i128) -> i64 {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap_or_else(|_| panic!("no quantity: {text}"));
    let mut up = scale;
    let mut down = 10i128.pow(fraction.len() as u32);
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|known| *known == suffix);
    let decimal = ["k", "M", "G", "T", "P", "E"].iter().position(|known| *known == suffix);
    let small = ["m", "u", "n"].iter().position(|known| *known == suffix);
    match (binary, decimal, small) {
        (Some(power), _, _) => up *= 1024i128.pow(power as u32 + 1),
        (_, Some(power), _) => up *= 1000i128.pow(power as u32 + 1),
        (_, _, Some(power)) => down *= 1000i128.pow(power as u32 + 1),
        _ if suffix.is_empty() => {}
        _ => {
            let exponent: i32 = suffix[1..].parse().unwrap_or_else(|_| panic!("no quantity: {text}"));
            if exponent < 0 { down *= 10i128.pow(-exponent as u32) } else { up *= 10i128.pow(exponent as u32) }
        }
    }
    let total = digits * up;
    (total.div_euclid(down) + i128::from(total.rem_euclid(down) > 0)) as i64
}

fn resource_list(value: &Value) -> ResourceList {
    let mut all = ResourceList::default();
    for (key, amount) in value.as_object().into_iter().flatten() {
        match key.as_str() {
            "cpu" => all.cpu = Some(MilliCpu(quantity(amount, 1000))),
            "memory" => all.memory = Some(Bytes(quantity(amount, 1))),
            "ephemeral-storage" => all.ephemeral_storage = Some(Bytes(quantity(amount, 1))),
            other => all.extended.push((Name::new(other), quantity(amount, 1))),
        }
    }
    all.extended.sort();
    all
}

fn resources(value: &Value) -> Resources {
    let mut amounts = resource_list(value).amounts();
    let pods = Name::new("pods");
    amounts.pods = amounts.extended(pods);
    amounts.extended.retain(|(name, _)| *name != pods);
    amounts
}

fn requirements(value: &Value) -> ResourceRequirements {
    ResourceRequirements { requests: resource_list(&value["requests"]), limits: resource_list(&value["limits"]) }
}

fn labels(value: &Value) -> Labels {
    Labels::new(value.as_object().into_iter().flatten().map(|(key, value)| (Name::new(key), name(value))))
}

fn uid(value: &Value) -> Uid {
    let text = value.as_str().unwrap_or_default();
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    Uid(hash)
}

/// Seconds since 2026-01-01, enough for comparing.
fn time(value: &Value) -> Option<Time> {
    let text = value.as_str()?;
    let part = |range: std::ops::Range<usize>| text[range].parse::<u64>().unwrap_or(0);
    let days = (part(5..7) - 1) * 31 + part(8..10);
    Some(Time::from_secs(((days * 24 + part(11..13)) * 60 + part(14..16)) * 60 + part(17..19)))
}

pub fn meta(value: &Value) -> Meta {
    let meta = &value["metadata"];
    let owners = list(&meta["ownerReferences"]);
    let owner = owners.iter().find(|owner| owner["controller"] == true).and_then(|owner| {
        Some(OwnerReference {
            kind: Kind::parse(owner["kind"].as_str()?)?,
            name: name(&owner["name"]),
            uid: uid(&owner["uid"]),
            block_deletion: false,
        })
    });
    let deletion = time(&meta["deletionTimestamp"]);
    Meta {
        namespace: name(&meta["namespace"]),
        name: name(&meta["name"]),
        uid: uid(&meta["uid"]),
        labels: labels(&meta["labels"]),
        annotations: labels(&meta["annotations"]),
        owner,
        deletion: deletion.map(|at| Deletion { at, grace: Default::default() }),
        ..Meta::default()
    }
}

fn selector(value: &Value) -> Option<Selector> {
    if value.is_null() {
        return None;
    }
    let mut all: Vec<Requirement> =
        labels(&value["matchLabels"]).iter().map(|(key, value)| Requirement::In(key, vec![value])).collect();
    for expression in list(&value["matchExpressions"]) {
        let (key, values) = (name(&expression["key"]), names(&expression["values"]));
        all.push(match expression["operator"].as_str() {
            Some("In") => Requirement::In(key, values),
            Some("NotIn") => Requirement::NotIn(key, values),
            Some("Exists") => Requirement::Exists(key),
            _ => Requirement::DoesNotExist(key),
        });
    }
    Some(Selector::new(all))
}

fn node_requirements(value: &Value) -> Vec<NodeSelectorRequirement> {
    let operator = |text: &str| match text {
        "In" => NodeSelectorOperator::In,
        "NotIn" => NodeSelectorOperator::NotIn,
        "Exists" => NodeSelectorOperator::Exists,
        "DoesNotExist" => NodeSelectorOperator::DoesNotExist,
        "Gt" => NodeSelectorOperator::Gt,
        _ => NodeSelectorOperator::Lt,
    };
    list(value)
        .iter()
        .map(|one| NodeSelectorRequirement {
            key: name(&one["key"]),
            operator: operator(one["operator"].as_str().unwrap_or_default()),
            values: names(&one["values"]),
        })
        .collect()
}

fn node_term(value: &Value) -> NodeSelectorTerm {
    NodeSelectorTerm {
        expressions: node_requirements(&value["matchExpressions"]),
        fields: node_requirements(&value["matchFields"]),
    }
}

fn node_selector(value: &Value) -> Option<NodeSelector> {
    (!value.is_null())
        .then(|| NodeSelector { terms: list(&value["nodeSelectorTerms"]).iter().map(node_term).collect() })
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// `nodeAffinity` alone, as `addedAffinity` has it, into the parts of an affinity.
pub fn node_affinity(value: &Value) -> Affinity {
    Affinity {
        node_required: node_selector(&value[REQUIRED]),
        node_preferred: list(&value[PREFERRED])
            .iter()
            .map(|term| (term["weight"].as_i64().unwrap_or(0), node_term(&term["preference"])))
            .collect(),
        ..Affinity::default()
    }
}

fn pod_term(value: &Value) -> PodAffinityTerm {
    PodAffinityTerm {
        selector: selector(&value["labelSelector"]),
        namespaces: names(&value["namespaces"]),
        namespace_selector: selector(&value["namespaceSelector"]),
        topology_key: name(&value["topologyKey"]),
        match_label_keys: names(&value["matchLabelKeys"]),
        mismatch_label_keys: names(&value["mismatchLabelKeys"]),
    }
}

fn affinity(value: &Value) -> Option<Arc<Affinity>> {
    if value.is_null() {
        return None;
    }
    let required = |part: &str| list(&value[part][REQUIRED]).iter().map(pod_term).collect();
    let preferred = |part: &str| {
        let terms = list(&value[part][PREFERRED]).iter();
        terms.map(|term| (term["weight"].as_i64().unwrap_or(0), pod_term(&term["podAffinityTerm"]))).collect()
    };
    Some(Arc::new(Affinity {
        pod_required: required("podAffinity"),
        pod_preferred: preferred("podAffinity"),
        pod_anti_required: required("podAntiAffinity"),
        pod_anti_preferred: preferred("podAntiAffinity"),
        ..node_affinity(&value["nodeAffinity"])
    }))
}

fn effect(value: &Value) -> Option<TaintEffect> {
    match value.as_str()? {
        "NoSchedule" => Some(TaintEffect::NoSchedule),
        "PreferNoSchedule" => Some(TaintEffect::PreferNoSchedule),
        "NoExecute" => Some(TaintEffect::NoExecute),
        _ => None,
    }
}

fn toleration(value: &Value) -> Toleration {
    let operator = match value["operator"].as_str() {
        Some("Exists") => TolerationOperator::Exists,
        Some("Gt") => TolerationOperator::Gt,
        Some("Lt") => TolerationOperator::Lt,
        _ => TolerationOperator::Equal,
    };
    Toleration {
        key: name(&value["key"]),
        operator,
        value: name(&value["value"]),
        effect: effect(&value["effect"]),
        seconds: None,
    }
}

pub fn spread(value: &Value) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: value["maxSkew"].as_i64().unwrap_or(1),
        topology_key: name(&value["topologyKey"]),
        hard: value["whenUnsatisfiable"] == "DoNotSchedule",
        selector: selector(&value["labelSelector"]),
        min_domains: value["minDomains"].as_i64(),
        honor_node_affinity: value["nodeAffinityPolicy"] != "Ignore",
        honor_node_taints: value["nodeTaintsPolicy"] == "Honor",
        match_label_keys: names(&value["matchLabelKeys"]),
    }
}

/// A container. While a pod is resized in place the scheduler counts the greatest of what is wanted, allocated and in
/// effect (without what is wanted, if that is infeasible). The model knows no resize; what counts is put in the request.
fn container(value: &Value, status: &Value) -> Container {
    let ports = list(&value["ports"]).iter().map(|port| ContainerPort {
        name: name(&port["name"]),
        port: port["containerPort"].as_u64().unwrap_or(0) as u16,
        host_port: port["hostPort"].as_u64().unwrap_or(0) as u16,
        host_ip: name(&port["hostIP"]),
        protocol: match port["protocol"].as_str() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
    });
    let mut resources = requirements(&value["resources"]);
    let container_status = list(&status["containerStatuses"]).iter().find(|one| one["name"] == value["name"]);
    if let Some(one) = container_status.filter(|one| !one["resources"].is_null()) {
        let infeasible = list(&status["conditions"])
            .iter()
            .any(|condition| condition["type"] == "PodResizePending" && condition["reason"] == "Infeasible");
        let counted = [resource_list(&one["resources"]["requests"]), resource_list(&one["allocatedResources"])];
        let wanted = if infeasible { ResourceList::default() } else { resources.requests.clone() };
        resources.requests = counted.into_iter().fold(wanted, |so_far, more| ResourceList {
            cpu: so_far.cpu.max(more.cpu),
            memory: so_far.memory.max(more.memory),
            ephemeral_storage: so_far.ephemeral_storage.max(more.ephemeral_storage),
            extended: if so_far.extended.is_empty() { more.extended } else { so_far.extended },
        });
    }
    Container {
        name: name(&value["name"]),
        image: name(&value["image"]),
        ports: ports.collect(),
        resources,
        restart_policy: (value["restartPolicy"] == "Always").then_some(RestartPolicy::Always),
        restart_rules: list(&value["restartPolicyRules"])
            .iter()
            .map(|rule| RestartRule {
                restart_all: rule["action"] == "RestartAllContainers",
                negated: rule["exitCodes"]["operator"] == "NotIn",
                exit_codes: Vec::new(),
            })
            .collect(),
        ..Container::default()
    }
}

fn volume(value: &Value) -> Volume {
    let claim = &value["persistentVolumeClaim"];
    let source = if !claim.is_null() {
        VolumeSource::Claim { name: name(&claim["claimName"]), read_only: claim["readOnly"] == true }
    } else if !value["ephemeral"].is_null() {
        VolumeSource::Ephemeral { template: Arc::new(ClaimSpec::default()) }
    } else if !value["image"].is_null() {
        VolumeSource::Image { reference: name(&value["image"]["reference"]), pull_policy: Default::default() }
    } else {
        disk(value).unwrap_or(VolumeSource::EmptyDir { memory: false, size_limit: None })
    };
    Volume { name: name(&value["name"]), source }
}

fn disk(value: &Value) -> Option<VolumeSource> {
    const KINDS: [(&str, &str, &str); 4] = [
        ("kubernetes.io/aws-ebs", "awsElasticBlockStore", "volumeID"),
        ("kubernetes.io/gce-pd", "gcePersistentDisk", "pdName"),
        ("kubernetes.io/iscsi", "iscsi", "iqn"),
        ("kubernetes.io/rbd", "rbd", "image"),
    ];
    let (driver, field, id) = KINDS.iter().find(|(_, field, _)| !value[*field].is_null())?;
    let source = &value[*field];
    let mut within = names(&source["monitors"]);
    if *field == "rbd" {
        within.insert(0, name(&source["pool"]));
    }
    let read_only = source["readOnly"] == true;
    Some(VolumeSource::Other { driver: Name::new(driver), id: name(&source[*id]), read_only, within })
}

pub fn pod(value: &Value) -> Arc<Pod> {
    let (spec, status) = (&value["spec"], &value["status"]);
    let containers = |part: &str| list(&spec[part]).iter().map(|one| container(one, status)).collect();
    let pod_spec = PodSpec {
        containers: containers("containers"),
        init_containers: containers("initContainers"),
        node_selector: labels(&spec["nodeSelector"]),
        affinity: affinity(&spec["affinity"]),
        tolerations: list(&spec["tolerations"]).iter().map(toleration).collect(),
        topology_spread: list(&spec["topologySpreadConstraints"]).iter().map(spread).collect(),
        scheduler_name: name(&spec["schedulerName"]),
        priority: spec["priority"].as_i64().unwrap_or(0) as i32,
        host_network: spec["hostNetwork"] == true,
        host_users: spec["hostUsers"] != false,
        preempts_never: spec["preemptionPolicy"] == "Never",
        volumes: list(&spec["volumes"]).iter().map(volume).collect(),
        overhead: (!spec["overhead"].is_null()).then(|| Box::new(resources(&spec["overhead"]))),
        resources: (!spec["resources"].is_null()).then(|| Box::new(requirements(&spec["resources"]))),
        scheduling_gates: list(&spec["schedulingGates"]).iter().map(|gate| name(&gate["name"])).collect(),
        ..PodSpec::default()
    };
    let conditions = list(&status["conditions"]).iter().map(|one| Condition {
        kind: name(&one["type"]),
        status: (one["status"] == "True").into(),
        reason: name(&one["reason"]),
        message: Text::default(),
        last_transition: Time::ZERO,
        last_update: Time::ZERO,
    });
    let phase = match status["phase"].as_str() {
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        _ => Phase::Pending,
    };
    let present = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(Name::new);
    Arc::new(Pod {
        meta: meta(value),
        spec: Arc::new(pod_spec),
        node: present(&spec["nodeName"]),
        status: PodStatus {
            phase,
            conditions: conditions.collect(),
            start_time: time(&status["startTime"]),
            nominated_node: present(&status["nominatedNodeName"]),
            ..PodStatus::default()
        },
    })
}

pub fn node(value: &Value) -> Arc<Node> {
    let taints = list(&value["spec"]["taints"]).iter().map(|taint| Taint {
        key: name(&taint["key"]),
        value: name(&taint["value"]),
        effect: effect(&taint["effect"]).unwrap_or(TaintEffect::NoSchedule),
        added: None,
    });
    let images = list(&value["status"]["images"])
        .iter()
        .map(|image| NodeImage { names: names(&image["names"]), size_bytes: image["sizeBytes"].as_i64().unwrap_or(0) });
    let conditions = list(&value["status"]["conditions"]).iter().map(|one| Condition {
        kind: name(&one["type"]),
        status: (one["status"] == "True").into(),
        reason: name(&one["reason"]),
        message: Text::default(),
        last_transition: Time::ZERO,
        last_update: Time::ZERO,
    });
    Arc::new(Node {
        meta: meta(value),
        spec: NodeSpec {
            unschedulable: value["spec"]["unschedulable"] == true,
            taints: taints.collect(),
            ..NodeSpec::default()
        },
        status: NodeStatus {
            capacity: resources(&value["status"]["capacity"]),
            allocatable: resources(&value["status"]["allocatable"]),
            images: images.collect(),
            conditions: conditions.collect(),
            declared_features: names(&value["status"]["declaredFeatures"]),
            ..NodeStatus::default()
        },
    })
}

/// An object of one of the kinds that the scheduler lists besides pods and nodes; None for kinds that the model lacks.
pub fn other(value: &Value) -> Option<Object> {
    let (meta, spec, status) = (meta(value), &value["spec"], &value["status"]);
    Some(match value["kind"].as_str()? {
        "Namespace" => Object::Namespace(Arc::new(Namespace { meta })),
        "Service" => {
            let selector = (!spec["selector"].is_null()).then(|| Selector::from_labels(&labels(&spec["selector"])));
            Object::Service(Arc::new(Service { meta, selector, ..Service::default() }))
        }
        "ReplicaSet" => {
            let selector = selector(&spec["selector"]).unwrap_or_default();
            Object::ReplicaSet(Arc::new(ReplicaSet { meta, selector, ..ReplicaSet::default() }))
        }
        "StatefulSet" => Object::StatefulSet(Arc::new(StatefulSet {
            meta,
            replicas: 1,
            selector: selector(&spec["selector"]).unwrap_or_default(),
            template: Arc::default(),
            service_name: Name::default(),
            parallel: false,
            update: simlet::model::workload::StatefulSetUpdate::OnDelete,
            min_ready: Default::default(),
            start_ordinal: 0,
            claim_templates: Arc::new([]),
            revision_history_limit: 10,
            status: Default::default(),
        })),
        "PersistentVolumeClaim" => Object::PersistentVolumeClaim(Arc::new(PersistentVolumeClaim {
            meta,
            spec: ClaimSpec {
                storage_class: spec["storageClassName"].as_str().map(Name::new),
                request: Bytes(quantity(&spec["resources"]["requests"]["storage"], 1)),
                access_modes: names(&spec["accessModes"]),
                selector: selector(&spec["selector"]),
                block: spec["volumeMode"] == "Block",
            },
            volume: name(&spec["volumeName"]),
            phase: match status["phase"].as_str() {
                Some("Bound") => ClaimPhase::Bound,
                Some("Lost") => ClaimPhase::Lost,
                _ => ClaimPhase::Pending,
            },
        })),
        "PersistentVolume" => {
            let claim = &spec["claimRef"];
            Object::PersistentVolume(Arc::new(PersistentVolume {
                meta,
                capacity: Bytes(quantity(&spec["capacity"]["storage"], 1)),
                access_modes: names(&spec["accessModes"]),
                storage_class: name(&spec["storageClassName"]),
                block: spec["volumeMode"] == "Block",
                claim: (!claim.is_null()).then(|| (name(&claim["namespace"]), name(&claim["name"]))),
                node_affinity: node_selector(&spec["nodeAffinity"]["required"]),
                claim_uid: if claim["uid"].is_null() { Uid::NONE } else { uid(&claim["uid"]) },
                driver: name(&spec["csi"]["driver"]),
                handle: name(&spec["csi"]["volumeHandle"]),
                retain: true,
                phase: match status["phase"].as_str() {
                    Some("Available") => VolumePhase::Available,
                    Some("Bound") => VolumePhase::Bound,
                    Some("Released") => VolumePhase::Released,
                    Some("Failed") => VolumePhase::Failed,
                    _ => VolumePhase::Pending,
                },
            }))
        }
        "StorageClass" => {
            let topologies = list(&value["allowedTopologies"]).iter().map(|term| NodeSelectorTerm {
                expressions: list(&term["matchLabelExpressions"])
                    .iter()
                    .map(|one| NodeSelectorRequirement {
                        key: name(&one["key"]),
                        operator: NodeSelectorOperator::In,
                        values: names(&one["values"]),
                    })
                    .collect(),
                fields: Vec::new(),
            });
            Object::StorageClass(Arc::new(StorageClass {
                meta,
                provisioner: name(&value["provisioner"]),
                wait_for_first_consumer: value["volumeBindingMode"] == "WaitForFirstConsumer",
                is_default: false,
                retain: false,
                allowed_topologies: topologies.collect(),
            }))
        }
        "CSINode" => Object::CSINode(Arc::new(CsiNode {
            meta,
            drivers: list(&spec["drivers"])
                .iter()
                .map(|driver| CsiNodeDriver {
                    name: name(&driver["name"]),
                    node_id: name(&driver["nodeID"]),
                    limit: driver["allocatable"]["count"].as_i64().map(|count| count as i32),
                })
                .collect(),
        })),
        "CSIDriver" => Object::CSIDriver(Arc::new(CsiDriver {
            meta,
            storage_capacity: spec["storageCapacity"] == true,
            attach_required: spec["attachRequired"] != false,
        })),
        "CSIStorageCapacity" => {
            let amount = |field: &Value| (!field.is_null()).then(|| Bytes(quantity(field, 1)));
            Object::CSIStorageCapacity(Arc::new(CsiStorageCapacity {
                meta,
                storage_class: name(&value["storageClassName"]),
                topology: selector(&value["nodeTopology"]),
                capacity: amount(&value["capacity"]),
                maximum_volume_size: amount(&value["maximumVolumeSize"]),
            }))
        }
        "VolumeAttachment" => Object::VolumeAttachment(Arc::new(VolumeAttachment {
            meta,
            attacher: name(&spec["attacher"]),
            node: name(&spec["nodeName"]),
            volume: name(&spec["source"]["persistentVolumeName"]),
            attached: status["attached"] == true,
        })),
        "PodDisruptionBudget" => {
            let mut budget = PodDisruptionBudget { meta, selector: selector(&spec["selector"]), ..Default::default() };
            budget.status.disruptions_allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0) as i32;
            let disrupted = status["disruptedPods"].as_object().into_iter().flatten();
            budget.status.disrupted_pods = disrupted.map(|(pod, _)| (Name::new(pod), Time::ZERO)).collect();
            Object::PodDisruptionBudget(Arc::new(budget))
        }
        _ => return None,
    })
}
