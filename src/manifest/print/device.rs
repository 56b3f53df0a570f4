//! Device classes, slices, claims and claim templates.

use serde_json::{Map, Value, json};

use crate::manifest::epoch::Epoch;
use crate::model::Name;
use crate::model::device::{
    AllocatedDevice, Attribute, Capacity, CounterSet, Device, DeviceClaim, DeviceClass, DeviceNodes, DeviceRequest,
    ExactRequest, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
};
use crate::model::quantity::Quantity;

use super::fields::Fields;
use super::placement::{node_selector, tolerations};

pub(super) fn device_class(class: &DeviceClass, fields: &mut Fields) {
    let mut spec = Fields::new();
    spec.text("extendedResourceName", &class.extended_resource);
    spec.filled("selectors", selectors(&class.selectors));
    fields.put("spec", spec.done());
}

pub(super) fn resource_claim(claim: &ResourceClaim, epoch: Epoch, fields: &mut Fields) {
    fields.put("spec", claim_spec(&claim.spec));
    let mut status = Fields::new();
    if let Some(allocation) = claim.status.allocation.as_deref() {
        let mut printed = Fields::new();
        printed.time("allocationTimestamp", epoch, allocation.at);
        let results: Vec<Value> = allocation.devices.iter().map(allocated).collect();
        printed.put("devices", json!({"results": results}));
        printed.some("nodeSelector", allocation.nodes.as_ref().map(node_selector));
        status.put("allocation", printed.done());
    }
    status.list("devices", &claim.status.devices, |device| {
        let conditions: Vec<Value> =
            device.conditions.iter().map(|kind| json!({"status": "True", "type": kind.as_str()})).collect();
        let (driver, pool) = (device.driver.as_str(), device.pool.as_str());
        json!({"conditions": conditions, "device": device.device.as_str(), "driver": driver, "pool": pool})
    });
    status.list(
        "reservedFor",
        &claim.status.reserved_for,
        |consumer| json!({"name": consumer.pod.as_str(), "resource": "pods", "uid": consumer.uid.to_string()}),
    );
    fields.put("status", status.done());
}

pub(super) fn resource_claim_template(template: &ResourceClaimTemplate, fields: &mut Fields) {
    let mut metadata = Fields::new();
    metadata.labels("annotations", &template.annotations);
    metadata.labels("labels", &template.labels);
    let mut spec = Fields::new();
    spec.put("metadata", metadata.done());
    spec.put("spec", claim_spec(&template.spec));
    fields.put("spec", spec.done());
}

pub(super) fn resource_slice(slice: &ResourceSlice, fields: &mut Fields) {
    let mut spec = Fields::new();
    spec.flag("allNodes", slice.nodes == DeviceNodes::All);
    spec.list("devices", &slice.devices, device);
    spec.put("driver", slice.driver.as_str());
    put_nodes(&slice.nodes, &mut spec);
    spec.flag("perDeviceNodeSelection", slice.nodes == DeviceNodes::PerDevice);
    let (generation, count) = (slice.generation, slice.slices);
    spec.put("pool", json!({"generation": generation, "name": slice.pool.as_str(), "resourceSliceCount": count}));
    spec.list(
        "sharedCounters",
        &slice.shared_counters,
        |set| json!({"counters": counters(set), "name": set.name.as_str()}),
    );
    fields.put("spec", spec.done());
}

fn put_nodes(nodes: &DeviceNodes, fields: &mut Fields) {
    match nodes {
        DeviceNodes::Node(name) => fields.put("nodeName", name.as_str()),
        DeviceNodes::Selected(selector) => fields.put("nodeSelector", node_selector(selector)),
        DeviceNodes::Unsaid | DeviceNodes::All | DeviceNodes::PerDevice => fields,
    };
}

fn selectors(selectors: &[Name]) -> Value {
    Value::Array(selectors.iter().map(|one| json!({"cel": {"expression": one.as_str()}})).collect())
}

fn amounts(amounts: &[(Name, Quantity)]) -> Value {
    Value::Object(amounts.iter().map(|(name, amount)| (name.to_string(), Value::from(amount.to_string()))).collect())
}

fn counters(set: &CounterSet) -> Value {
    let counter = |(name, amount): &(Name, Quantity)| (name.to_string(), json!({"value": amount.to_string()}));
    Value::Object(set.counters.iter().map(counter).collect())
}

fn device(device: &Device) -> Value {
    let mut fields = Fields::new();
    fields.flag("allNodes", device.nodes == DeviceNodes::All);
    fields.flag("allowMultipleAllocations", device.shareable);
    let attributes: Map<String, Value> = device
        .attributes
        .iter()
        .map(|(name, attribute)| {
            let value = match attribute {
                Attribute::Int(number) => json!({"int": number}),
                Attribute::Bool(flag) => json!({"bool": flag}),
                Attribute::Text(text) => json!({"string": text.as_str()}),
                Attribute::Version(version) => json!({"version": version.as_str()}),
            };
            (name.to_string(), value)
        })
        .collect();
    fields.filled("attributes", Value::Object(attributes));
    fields.names("bindingConditions", &device.binding_conditions);
    fields.names("bindingFailureConditions", &device.binding_failure_conditions);
    fields.flag("bindsToNode", device.binds_to_node);
    let capacity = device.capacity.iter().map(|(name, one)| (name.to_string(), capacity(one))).collect();
    fields.filled("capacity", Value::Object(capacity));
    fields.list(
        "consumesCounters",
        &device.consumes,
        |set| json!({"counterSet": set.name.as_str(), "counters": counters(set)}),
    );
    fields.put("name", device.name.as_str());
    put_nodes(&device.nodes, &mut fields);
    fields.list("taints", &device.taints, |taint| {
        let mut fields = Fields::new();
        fields.put("effect", taint.effect.map_or("None", |effect| effect.as_str()));
        fields.put("key", taint.key.as_str());
        fields.text("value", &taint.value);
        fields.done()
    });
    fields.done()
}

fn capacity(capacity: &Capacity) -> Value {
    let mut fields = Fields::new();
    if let Some(policy) = &capacity.policy {
        let mut printed = Fields::new();
        printed.some("default", policy.default.map(|amount| amount.to_string()));
        if let Some(range) = policy.valid_range {
            let mut limits = Fields::new();
            limits.some("max", range.max.map(|amount| amount.to_string()));
            limits.put("min", range.min.to_string());
            limits.some("step", range.step.map(|amount| amount.to_string()));
            printed.put("validRange", limits.done());
        }
        printed.list("validValues", &policy.valid_values, |amount| Value::from(amount.to_string()));
        fields.put("requestPolicy", printed.done());
    }
    fields.put("value", capacity.value.to_string());
    fields.done()
}

/// `spec` of a claim.
fn claim_spec(claim: &DeviceClaim) -> Value {
    let mut devices = Fields::new();
    devices.list("constraints", &claim.constraints, |constraint| {
        let mut fields = Fields::new();
        let field = if constraint.distinct { "distinctAttribute" } else { "matchAttribute" };
        fields.put(field, constraint.attribute.as_str());
        fields.names("requests", &constraint.requests);
        fields.done()
    });
    devices.list("requests", &claim.requests, request);
    let mut fields = Fields::new();
    fields.filled("devices", devices.done());
    fields.done()
}

fn request(request: &DeviceRequest) -> Value {
    let mut fields = Fields::new();
    if request.is_list {
        fields.list("firstAvailable", &request.alternatives, exact);
    } else if let Some(exactly) = request.alternatives.first() {
        fields.put("exactly", exact(exactly));
    }
    fields.put("name", request.name.as_str());
    fields.done()
}

fn exact(request: &ExactRequest) -> Value {
    let mut fields = Fields::new();
    fields.flag("adminAccess", request.admin_access);
    fields.put("allocationMode", if request.count.is_some() { "ExactCount" } else { "All" });
    if !request.capacity.is_empty() {
        fields.put("capacity", json!({"requests": amounts(&request.capacity)}));
    }
    fields.some("count", request.count);
    fields.put("deviceClassName", request.class.as_str());
    fields.text("name", &request.name);
    fields.filled("selectors", selectors(&request.selectors));
    fields.filled("tolerations", tolerations(&request.tolerations));
    fields.done()
}

fn allocated(device: &AllocatedDevice) -> Value {
    let mut fields = Fields::new();
    fields.flag("adminAccess", device.admin_access);
    fields.names("bindingConditions", &device.binding_conditions);
    fields.names("bindingFailureConditions", &device.binding_failure_conditions);
    fields.filled("consumedCapacity", amounts(&device.consumed));
    fields.put("device", device.device.as_str());
    fields.put("driver", device.driver.as_str());
    fields.put("pool", device.pool.as_str());
    fields.put("request", device.request.as_str());
    fields.text("shareID", &device.share);
    fields.filled("tolerations", tolerations(&device.tolerations));
    fields.done()
}
