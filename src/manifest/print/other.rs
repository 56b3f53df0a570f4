//! Nodes, Services, policies, configuration, Leases and Events.

use serde_json::{Value, json};

use crate::manifest::compile::policy::is_cpu;
use crate::manifest::epoch::Epoch;
use crate::model::config::{ConfigData, Lease};
use crate::model::policy::{LimitRange, PodDisruptionBudget, PriorityClass, ResourceQuota};
use crate::model::service::{EndpointSlice, Service, ServiceType};
use crate::model::{Bytes, Event, MilliCpu, Name, Node, Requirement, Uid};

use super::fields::{Fields, bytes, cpu, int_or_percent, resource_list, resources, units};
use super::placement::selector;
use super::pod::{port_ref, protocol};

pub(super) fn node(node: &Node, epoch: Epoch, fields: &mut Fields) {
    let mut spec = Fields::new();
    spec.text("providerID", &node.spec.provider_id);
    spec.list("taints", &node.spec.taints, |taint| {
        let mut fields = Fields::new();
        fields.put("effect", taint.effect.as_str()).put("key", taint.key.as_str());
        fields.time("timeAdded", epoch, taint.added).text("value", &taint.value);
        fields.done()
    });
    spec.flag("unschedulable", node.spec.unschedulable);
    fields.put("spec", spec.done());
    let status = &node.status;
    let mut out = Fields::new();
    if let Some(ip) = status.internal_ip {
        let addresses = json!([
            {"address": ip.to_string(), "type": "InternalIP"},
            {"address": node.meta.name.as_str(), "type": "Hostname"},
        ]);
        out.put("addresses", addresses);
    }
    out.filled("allocatable", resources(&status.allocatable));
    out.filled("capacity", resources(&status.capacity));
    out.list("conditions", &status.conditions, |one| super::workload::condition(one, epoch, Some("lastHeartbeatTime")));
    out.names("declaredFeatures", &status.declared_features);
    out.list("images", status.images.iter(), |image| {
        let mut fields = Fields::new();
        fields.names("names", &image.names).put("sizeBytes", image.size_bytes);
        fields.done()
    });
    let mut info = Fields::new();
    if status.boot_id != 0 {
        info.put("bootID", Uid(status.boot_id).to_string());
    }
    info.text("containerRuntimeVersion", &status.runtime_version);
    info.text("kubeletVersion", &status.kubelet_version);
    info.text("osImage", &status.os_image);
    out.filled("nodeInfo", info.done());
    fields.put("status", out.done());
}

pub(super) fn service(service: &Service, fields: &mut Fields) {
    let mut spec = Fields::new();
    match (service.headless, service.cluster_ip) {
        (true, _) => {
            spec.put("clusterIP", "None").put("clusterIPs", json!(["None"]));
        }
        (false, Some(ip)) => {
            spec.put("clusterIP", ip.to_string()).put("clusterIPs", json!([ip.to_string()]));
        }
        (false, None) => {}
    }
    spec.text("externalName", &service.external_name);
    spec.list("ports", &service.ports, |port| {
        let mut fields = Fields::new();
        fields.text("name", &port.name).number("nodePort", port.node_port).put("port", port.port);
        fields.put("protocol", protocol(port.protocol)).put("targetPort", port_ref(port.target));
        fields.done()
    });
    spec.flag("publishNotReadyAddresses", service.publish_not_ready);
    if let Some(selector) = &service.selector {
        let mut labels = Fields::new();
        for requirement in selector.requirements.iter() {
            if let Requirement::In(key, values) = requirement {
                labels.some(key, values.first().map(|value| value.as_str()));
            }
        }
        spec.put("selector", labels.done());
    }
    let kind = match service.kind {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
        ServiceType::ExternalName => "ExternalName",
    };
    spec.put("type", kind);
    fields.put("spec", spec.done());
}

/// `endpoints`, which comes before `kind`.
pub(super) fn endpoints(slice: &EndpointSlice) -> Value {
    let print = |endpoint: &crate::model::service::Endpoint| {
        let mut fields = Fields::new();
        fields.put("addresses", json!([endpoint.ip.to_string()]));
        let conditions =
            json!({"ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating});
        fields.put("conditions", conditions);
        fields.some("nodeName", endpoint.node.map(Name::as_str));
        if !endpoint.pod.is_empty() {
            let reference =
                json!({"kind": "Pod", "name": endpoint.pod.as_str(), "namespace": slice.meta.namespace.as_str()});
            fields.put("targetRef", reference);
        }
        fields.some("zone", endpoint.zone.map(Name::as_str));
        fields.done()
    };
    Value::Array(slice.endpoints.iter().map(print).collect())
}

pub(super) fn endpoint_ports(slice: &EndpointSlice, fields: &mut Fields) {
    fields.list(
        "ports",
        &slice.ports,
        |(name, port, kind)| json!({"name": name.as_str(), "port": port, "protocol": protocol(*kind)}),
    );
}

pub(super) fn disruption_budget(budget: &PodDisruptionBudget, epoch: Epoch, fields: &mut Fields) {
    let mut spec = Fields::new();
    spec.some("maxUnavailable", budget.max_unavailable.map(int_or_percent));
    spec.some("minAvailable", budget.min_available.map(int_or_percent));
    spec.some("selector", budget.selector.as_ref().map(selector));
    if budget.always_allow_unhealthy {
        spec.put("unhealthyPodEvictionPolicy", "AlwaysAllow");
    }
    fields.put("spec", spec.done());
    let status = &budget.status;
    let mut out = Fields::new();
    out.list("conditions", &status.conditions, |one| super::workload::condition(one, epoch, None));
    out.put("currentHealthy", status.current_healthy);
    out.put("desiredHealthy", status.desired_healthy);
    let mut disrupted = Fields::new();
    for (pod, since) in &status.disrupted_pods {
        disrupted.put(pod, epoch.rfc3339(*since));
    }
    out.filled("disruptedPods", disrupted.done());
    out.put("disruptionsAllowed", status.disruptions_allowed);
    out.put("expectedPods", status.expected_pods);
    out.number("observedGeneration", status.observed_generation);
    fields.put("status", out.done());
}

pub(super) fn priority_class(class: &PriorityClass, fields: &mut Fields) {
    fields.put("preemptionPolicy", if class.preempts_never { "Never" } else { "PreemptLowerPriority" });
    fields.put("value", class.value);
}

pub(super) fn limit_range(range: &LimitRange, fields: &mut Fields) {
    let print = |item: &crate::model::policy::LimitRangeItem| {
        let mut fields = Fields::new();
        fields.filled("default", resource_list(&item.default_limits));
        fields.filled("defaultRequest", resource_list(&item.default_requests));
        fields.filled("max", resource_list(&item.max));
        fields.filled("min", resource_list(&item.min));
        fields.put("type", item.kind.as_str());
        fields.done()
    };
    fields.put("spec", json!({"limits": range.limits.iter().map(print).collect::<Vec<Value>>()}));
}

pub(super) fn quota(quota: &ResourceQuota, fields: &mut Fields) {
    let amounts = |amounts: &[(Name, i64)]| {
        let mut fields = Fields::new();
        for &(resource, amount) in amounts {
            let text = if is_cpu(&resource) {
                cpu(MilliCpu(amount))
            } else if resource.contains("memory") || resource.contains("storage") {
                bytes(Bytes(amount))
            } else {
                units(amount)
            };
            fields.put(&resource, text);
        }
        fields.done()
    };
    let mut spec = Fields::new();
    spec.filled("hard", amounts(&quota.hard));
    fields.put("spec", spec.done());
    let mut status = Fields::new();
    status.filled("hard", amounts(if quota.used.is_empty() { &[] } else { &quota.hard }));
    status.filled("used", amounts(&quota.used));
    fields.put("status", status.done());
}

/// `binaryData` and `data` of a ConfigMap, `data` of a Secret: they come before `kind`.
pub(super) fn config_data(config: &ConfigData, secret: bool, fields: &mut Fields) {
    let mut binary = Fields::new();
    let mut data = Fields::new();
    for (key, value) in &config.data {
        match std::str::from_utf8(value) {
            _ if secret => data.put(key, base64(value)),
            Ok(text) => data.put(key, text),
            Err(_) => binary.put(key, base64(value)),
        };
    }
    fields.filled("binaryData", binary.done());
    fields.filled("data", data.done());
    fields.flag("immutable", config.immutable);
}

fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place) & 63) as usize;
            let digit = DIGITS.get(digit).copied().unwrap_or(b'A');
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

pub(super) fn lease(lease: &Lease, epoch: Epoch, fields: &mut Fields) {
    let mut spec = Fields::new();
    spec.put("holderIdentity", lease.meta.name.as_str());
    spec.put("leaseDurationSeconds", lease.duration.as_secs());
    spec.some("renewTime", lease.renewed.map(|renewed| epoch.rfc3339_micros(renewed)));
    fields.put("spec", spec.done());
}

/// The fields of an Event that come before `kind`.
pub(super) fn event_before_kind(event: &Event, epoch: Epoch, fields: &mut Fields) {
    fields.put("count", event.count);
    fields.put("eventTime", Value::Null);
    fields.put("firstTimestamp", epoch.rfc3339(event.first));
    let involved = &event.involved;
    let mut reference = Fields::new();
    reference.put("apiVersion", involved.kind.api_version());
    reference.text("fieldPath", &involved.field_path);
    reference.put("kind", involved.kind.as_str());
    reference.put("name", involved.name.as_str());
    reference.text("namespace", &involved.namespace);
    if involved.uid != Uid::NONE {
        reference.put("uid", involved.uid.to_string());
    }
    fields.put("involvedObject", reference.done());
}

pub(super) fn event_before_meta(event: &Event, epoch: Epoch, fields: &mut Fields) {
    fields.put("lastTimestamp", epoch.rfc3339(event.last));
    fields.put("message", event.message.as_str());
}

pub(super) fn event_after_meta(event: &Event, fields: &mut Fields) {
    fields.put("reason", event.reason.as_str());
    fields.put("reportingComponent", event.component.as_str());
    fields.put("reportingInstance", event.host.as_str());
    let mut source = Fields::new();
    source.text("component", &event.component).text("host", &event.host);
    fields.put("source", source.done());
    fields.put("type", event.kind.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_prints_as_base64() {
        for (data, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(data.as_bytes()), text);
        }
    }
}
