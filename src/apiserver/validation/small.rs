//! Nodes, Services, configuration, volumes, budgets, classes, quotas.
//!
//! Kubernetes: pkg/apis/core/validation/validation.go, pkg/apis/policy/validation, pkg/apis/scheduling/validation.

use super::workload::{share, shown};
use super::{NOT_NEGATIVE, PORT_RANGE, Problems, affinity, container, labels, names};
use crate::apiserver::admission::limits::{amount, amount_text, amounts};
use crate::model::config::ConfigData;
use crate::model::policy::{LimitRange, PodDisruptionBudget, PriorityClass, ResourceQuota};
use crate::model::service::{Service, ServiceType};
use crate::model::storage::{ClaimSpec, PersistentVolume, PersistentVolumeClaim};
use crate::model::{Name, Node, Requirement, Selector};

/// All data of a ConfigMap or Secret together.
const MAX_CONFIG: usize = 1024 * 1024;
/// `HighestUserDefinablePriority`.
const MAX_USER_PRIORITY: i32 = 1_000_000_000;

pub(super) fn node(node: &Node, problems: &mut Problems) {
    let taints = &node.spec.taints;
    for (idx, taint) in taints.iter().enumerate() {
        let field = format!("metadata.taints[{idx}]");
        if taint.key.is_empty() {
            problems.required(format!("{field}.key"));
        } else {
            problems.grammar(&format!("{field}.key"), &taint.key, names::qualified);
        }
        problems.grammar(&format!("{field}.value"), &taint.value, names::label_value);
        if taints[..idx].iter().any(|other| other.is_same(taint)) {
            let message = format!(
                "Duplicate value: {{\"key\":{:?},\"value\":{:?},\"effect\":{:?}}}: taints must be unique by key and effect pair",
                &*taint.key,
                &*taint.value,
                taint.effect.as_str()
            );
            problems.add(field, message);
        }
    }
    for (which, amounts) in [("capacity", &node.status.capacity), ("allocatable", &node.status.allocatable)] {
        let fixed = [
            ("cpu", amounts.cpu.0),
            ("ephemeral-storage", amounts.ephemeral_storage.0),
            ("memory", amounts.memory.0),
            ("pods", amounts.pods),
        ];
        let fixed = fixed.into_iter().map(|(name, amount)| (Name::new(name), amount));
        for (name, amount) in fixed.chain(amounts.extended.iter().copied()) {
            if amount < 0 {
                problems.invalid_text(format!("status.{which}.{name}"), &amount_text(name, amount), NOT_NEGATIVE);
            }
        }
    }
}

pub(super) fn service(service: &Service, problems: &mut Problems) {
    if service.kind == ServiceType::ExternalName {
        if service.external_name.is_empty() {
            problems.required("spec.externalName");
        }
        return;
    }
    if service.ports.is_empty() && !service.headless {
        problems.required("spec.ports");
    }
    if service.headless && matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer) {
        let kind = if service.kind == ServiceType::NodePort { "NodePort" } else { "LoadBalancer" };
        let why = format!("may not be set to 'None' for {kind} services");
        problems.invalid_text("spec.clusterIPs[0]", "None", why);
    }
    for (idx, port) in service.ports.iter().enumerate() {
        let field = format!("spec.ports[{idx}]");
        if port.name.is_empty() {
            if service.ports.len() > 1 {
                problems.required(format!("{field}.name"));
            }
        } else {
            problems.grammar(&format!("{field}.name"), &port.name, names::label);
            if service.ports[..idx].iter().any(|other| other.name == port.name) {
                problems.duplicate(format!("{field}.name"), port.name);
            }
        }
        if port.port == 0 {
            problems.invalid(format!("{field}.port"), 0, PORT_RANGE);
        }
        container::port_ref(&format!("{field}.targetPort"), port.target, problems);
        if service.ports[..idx].iter().any(|other| (other.port, other.protocol) == (port.port, port.protocol)) {
            let protocol = format!("{:?}", port.protocol).to_uppercase();
            problems.add(field, format!("Duplicate value: {{\"protocol\":{protocol:?},\"port\":{}}}", port.port));
        }
    }
    if let Some(selector) = &service.selector {
        for requirement in selector.requirements.iter() {
            if let Requirement::In(key, values) = requirement {
                let pair = values.iter().map(|&value| (*key, value));
                labels("spec.selector", &crate::model::Labels::new(pair), problems);
            }
        }
    }
}

pub(super) fn config(data: &ConfigData, problems: &mut Problems) {
    let mut size = 0;
    for (key, value) in &data.data {
        problems.grammar(&format!("data[{key}]"), key, names::config_key);
        size += value.len();
    }
    if size > MAX_CONFIG {
        problems.add("[]", format!("Too long: may not be more than {MAX_CONFIG} bytes"));
    }
}

pub(super) fn claim(claim: &PersistentVolumeClaim, problems: &mut Problems) {
    claim_spec("spec", &claim.spec, problems);
}

/// `spec` of a claim, or of a StatefulSet's claim template.
pub(super) fn claim_spec(field: &str, spec: &ClaimSpec, problems: &mut Problems) {
    if spec.access_modes.is_empty() {
        problems.add(format!("{field}.accessModes"), "Required value: at least 1 access mode is required");
    }
    match spec.request.0 {
        0 => problems.required(format!("{field}.resources[storage]")),
        bytes if bytes < 0 => {
            let text = amount_text(Name::new("storage"), bytes);
            problems.invalid_text(format!("{field}.resources[storage]"), &text, "must be greater than zero");
        }
        _ => {}
    }
    if let Some(class) = spec.storage_class.filter(|class| !class.is_empty()) {
        problems.grammar(&format!("{field}.storageClassName"), &class, names::subdomain);
    }
}

pub(super) fn volume(volume: &PersistentVolume, problems: &mut Problems) {
    if volume.access_modes.is_empty() {
        problems.required("spec.accessModes");
    }
    if volume.capacity.0 <= 0 {
        let text = amount_text(Name::new("storage"), volume.capacity.0);
        if volume.capacity.0 == 0 {
            problems.required("spec.capacity");
        } else {
            problems.invalid_text("spec.capacity[storage]", &text, "must be greater than zero");
        }
    }
    if let Some(selector) = &volume.node_affinity {
        affinity::node_selector("spec.nodeAffinity.required", selector, problems);
    }
}

pub(super) fn budget(budget: &PodDisruptionBudget, problems: &mut Problems) {
    if let (Some(least), Some(most)) = (budget.min_available, budget.max_unavailable) {
        let selector = budget.selector.as_ref().map_or("null".to_owned(), selector_json);
        let policy = if budget.always_allow_unhealthy { "\"AlwaysAllow\"" } else { "null" };
        let value = format!(
            "{{\"MinAvailable\":{},\"Selector\":{selector},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{policy}}}",
            shown(least),
            shown(most)
        );
        problems.invalid("spec", value, "minAvailable and maxUnavailable cannot be both set");
    }
    for (field, amount) in [("minAvailable", budget.min_available), ("maxUnavailable", budget.max_unavailable)] {
        if let Some(amount) = amount {
            share(&format!("spec.{field}"), amount, true, problems);
        }
    }
}

/// A selector as JSON, as error messages show it.
pub(super) fn selector_json(selector: &Selector) -> String {
    let mut labels = Vec::new();
    let mut expressions = Vec::new();
    for requirement in selector.requirements.iter() {
        let quoted =
            |values: &[Name]| values.iter().map(|value| format!("{:?}", &**value)).collect::<Vec<_>>().join(",");
        match requirement {
            Requirement::In(key, values) if values.len() == 1 => {
                labels.push(format!("{:?}:{}", &**key, quoted(values)));
            }
            Requirement::In(key, values) => {
                expressions.push(format!(
                    "{{\"key\":{:?},\"operator\":\"In\",\"values\":[{}]}}",
                    &**key,
                    quoted(values)
                ));
            }
            Requirement::NotIn(key, values) => {
                let values = quoted(values);
                expressions.push(format!("{{\"key\":{:?},\"operator\":\"NotIn\",\"values\":[{values}]}}", &**key));
            }
            Requirement::Exists(key) => expressions.push(format!("{{\"key\":{:?},\"operator\":\"Exists\"}}", &**key)),
            Requirement::DoesNotExist(key) => {
                expressions.push(format!("{{\"key\":{:?},\"operator\":\"DoesNotExist\"}}", &**key));
            }
        }
    }
    let mut parts = Vec::new();
    if !labels.is_empty() {
        parts.push(format!("\"matchLabels\":{{{}}}", labels.join(",")));
    }
    if !expressions.is_empty() {
        parts.push(format!("\"matchExpressions\":[{}]", expressions.join(",")));
    }
    format!("{{{}}}", parts.join(","))
}

pub(super) fn priority_class(class: &PriorityClass, problems: &mut Problems) {
    let built_in = matches!(class.meta.name.as_str(), "system-cluster-critical" | "system-node-critical");
    if class.meta.name.starts_with("system-") && !built_in {
        let why = "priority class names with 'system-' prefix are reserved for system use only. error: user defined \
                   priority classes may not have it";
        problems.forbidden("metadata.name", why);
    }
    if class.value > MAX_USER_PRIORITY && !built_in {
        let why = format!("maximum allowed value of a user defined priority is {MAX_USER_PRIORITY}");
        problems.forbidden("value", &why);
    }
}

pub(super) fn limit_range(range: &LimitRange, problems: &mut Problems) {
    for (idx, item) in range.limits.iter().enumerate() {
        let field = format!("spec.limits[{idx}]");
        if range.limits[..idx].iter().any(|other| other.kind == item.kind) {
            problems.duplicate(format!("{field}.type"), item.kind);
        }
        let pairs = [
            ("min", &item.min, "max", &item.max),
            ("defaultRequest", &item.default_requests, "default", &item.default_limits),
            ("default", &item.default_limits, "max", &item.max),
        ];
        for (low_field, low, high_field, high) in pairs {
            for (name, least) in amounts(low) {
                let Some(most) = amount(high, name).filter(|&most| least > most) else { continue };
                let (least, most) = (amount_text(name, least), amount_text(name, most));
                let kind = if low_field == "defaultRequest" { "default request" } else { low_field };
                let limit = if high_field == "default" { "default limit" } else { high_field };
                let why = format!("{kind} value {least} is greater than {limit} value {most}");
                problems.invalid_text(format!("{field}.{low_field}[{name}]"), &least, why);
            }
        }
    }
}

pub(super) fn quota(quota: &ResourceQuota, problems: &mut Problems) {
    for &(name, hard) in &quota.hard {
        if hard < 0 {
            problems.invalid_text(format!("spec.hard[{name}]"), &amount_text(name, hard), NOT_NEGATIVE);
        }
    }
}
