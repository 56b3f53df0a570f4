//! Device classes, slices, claims and claim templates.
//!
//! Kubernetes: pkg/apis/resource/v1/defaults.go, pkg/apis/resource/validation/validation.go. Parameters for drivers
//! (`config`) are read and have no effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::resource::v1 as resource;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text64;

use crate::model::device::{
    AllocatedDevice, Allocation, Attribute, Capacity, ClaimStatus, Consumer, CounterSet, Device, DeviceClaim,
    DeviceClass, DeviceConstraint, DeviceNodes, DeviceRequest, DeviceStatus, DeviceTaint, ExactRequest,
    MOST_ALTERNATIVES, MOST_DEVICES, PodClaim, RequestPolicy, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
    ValidRange,
};
use crate::model::device_selector::DeviceSelector;
use crate::model::quantity::Quantity;
use crate::model::{Kind, Name, Object, TaintEffect, Toleration};

use super::context::{Context, DNS_SUBDOMAIN, is_dns_subdomain, name, plain_labels};
use super::path::Path;

/// Devices of a slice; with taints or counters half as many.
const MOST_DEVICES_OF_SLICE: usize = 128;
const MOST_SELECTORS: usize = 32;
const MOST_EXPRESSION: usize = 10 * 1024;

impl Context<'_> {
    pub(super) fn device_class(&mut self, class: &resource::DeviceClass) -> Object {
        let meta = self.meta(Kind::DeviceClass, &class.metadata);
        let at = Path::Root.field("spec");
        let selectors = self.device_selectors(&at.field("selectors"), class.spec.selectors.as_deref());
        let extended_resource = name(class.spec.extended_resource_name.as_ref());
        if !extended_resource.is_empty() && !extended_resource.contains('/') {
            let here = at.field("extendedResourceName");
            self.bad(&here, format!("{:?}", extended_resource.as_str()), "must be a valid extended resource name");
        }
        Object::DeviceClass(Arc::new(DeviceClass { meta, selectors, extended_resource }))
    }

    pub(super) fn resource_claim(&mut self, claim: &resource::ResourceClaim) -> Object {
        let meta = self.meta(Kind::ResourceClaim, &claim.metadata);
        let spec = self.device_claim(&Path::Root.field("spec").field("devices"), claim.spec.devices.as_ref());
        let status = claim.status.as_ref().map(|status| self.claim_status(status)).unwrap_or_default();
        Object::ResourceClaim(Arc::new(ResourceClaim { meta, spec: Arc::new(spec), status }))
    }

    pub(super) fn resource_claim_template(&mut self, template: &resource::ResourceClaimTemplate) -> Object {
        let meta = self.meta(Kind::ResourceClaimTemplate, &template.metadata);
        let at = Path::Root.field("spec");
        let metadata = template.spec.metadata.as_ref();
        let labels = metadata.and_then(|metadata| metadata.labels.as_ref());
        let labels = self.labels(&at.field("metadata").field("labels"), labels);
        let annotations = plain_labels(metadata.and_then(|metadata| metadata.annotations.as_ref()));
        let inner = at.field("spec");
        let spec = Arc::new(self.device_claim(&inner.field("devices"), template.spec.spec.devices.as_ref()));
        Object::ResourceClaimTemplate(Arc::new(ResourceClaimTemplate { meta, labels, annotations, spec }))
    }

    pub(super) fn resource_slice(&mut self, slice: &resource::ResourceSlice) -> Object {
        let meta = self.meta(Kind::ResourceSlice, &slice.metadata);
        let (at, spec) = (Path::Root.field("spec"), &slice.spec);
        self.driver_name(&at.field("driver"), &spec.driver);
        self.pool(&at.field("pool"), &spec.pool);
        let per_device = spec.per_device_node_selection == Some(true);
        let node = spec.node_name.as_ref().filter(|node| !node.is_empty());
        let all = spec.all_nodes == Some(true);
        let said = [node.is_some(), spec.node_selector.is_some(), all, per_device];
        let nodes = match said.iter().filter(|said| **said).count() {
            1 if per_device => DeviceNodes::PerDevice,
            1 => self.device_nodes(&at, node, all, spec.node_selector.as_ref()),
            0 => {
                let detail =
                    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
                self.required(&at, detail);
                DeviceNodes::Unsaid
            }
            _ => {
                let detail =
                    "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
                self.bad(&at, "{}", detail);
                DeviceNodes::Unsaid
            }
        };
        let listed = spec.devices.as_deref().unwrap_or_default();
        let devices_at = at.field("devices");
        if listed.len() > MOST_DEVICES_OF_SLICE {
            self.too_many(&devices_at, listed.len(), MOST_DEVICES_OF_SLICE);
        }
        let mut devices: Vec<Device> = Vec::with_capacity(listed.len());
        for (index, device) in listed.iter().enumerate() {
            let here = devices_at.index(index);
            let device = self.device(&here, device, per_device);
            if devices.iter().any(|known| known.name == device.name) {
                self.duplicate(&here.field("name"), format!("{:?}", device.name.as_str()));
            }
            devices.push(device);
        }
        let shared = spec.shared_counters.as_deref().unwrap_or_default();
        let counters_at = at.field("sharedCounters");
        if !shared.is_empty() && !devices.is_empty() {
            self.bad(&at, "{}", "only one of `sharedCounters` or `devices` is allowed");
        }
        let shared_counters = shared
            .iter()
            .enumerate()
            .map(|(index, set)| {
                let here = counters_at.index(index);
                self.dns_label(&here.field("name"), &set.name);
                if set.counters.is_empty() {
                    self.required(&here.field("counters"), "");
                }
                let counters = self.counters(&here.field("counters"), &set.counters);
                CounterSet { name: Name::from(&set.name), counters }
            })
            .collect();
        Object::ResourceSlice(Arc::new(ResourceSlice {
            meta,
            driver: Name::from(&spec.driver),
            pool: Name::from(&spec.pool.name),
            generation: spec.pool.generation,
            slices: spec.pool.resource_slice_count,
            nodes,
            devices,
            shared_counters,
        }))
    }

    /// `spec.resourceClaims` of a pod.
    pub(super) fn pod_claims(&mut self, at: &Path<'_>, claims: &[core::PodResourceClaim]) -> Arc<[PodClaim]> {
        let mut compiled: Vec<PodClaim> = Vec::with_capacity(claims.len());
        for (index, claim) in claims.iter().enumerate() {
            let here = at.index(index);
            self.dns_label(&here.field("name"), &claim.name);
            let own = |field: &Option<String>| field.as_ref().filter(|name| !name.is_empty()).map(Name::from);
            let one = PodClaim {
                name: Name::from(&claim.name),
                claim: own(&claim.resource_claim_name),
                template: own(&claim.resource_claim_template_name),
            };
            let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
            match (one.claim, one.template) {
                (Some(_), Some(_)) => self.bad(&here, "{}", detail),
                (None, None) => {
                    let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                    self.bad(&here, "{}", detail);
                }
                (Some(name), None) => self.dns_subdomain(&here.field("resourceClaimName"), &name),
                (None, Some(name)) => self.dns_subdomain(&here.field("resourceClaimTemplateName"), &name),
            }
            if compiled.iter().any(|known| known.name == one.name) {
                self.duplicate(&here.field("name"), format!("{:?}", one.name.as_str()));
            }
            compiled.push(one);
        }
        compiled.into()
    }

    /// `resources.claims` of a container, which must be names of the pod's.
    pub(super) fn container_claims(
        &mut self,
        at: &Path<'_>,
        claims: &[core::ResourceClaim],
        of_pod: &[core::PodResourceClaim],
    ) -> Vec<(Name, Name)> {
        let mut compiled = Vec::with_capacity(claims.len());
        for (index, claim) in claims.iter().enumerate() {
            let here = at.index(index);
            let one = (Name::from(&claim.name), name(claim.request.as_ref()));
            if claim.name.is_empty() {
                self.required(&here.field("name"), "");
            } else if !of_pod.iter().any(|known| known.name == claim.name) {
                self.not_found(&here, format!("{:?}", claim.name));
            }
            if compiled.contains(&one) {
                self.duplicate(&here, format!("{:?}", claim.name));
            }
            compiled.push(one);
        }
        compiled
    }

    fn too_many(&mut self, at: &Path<'_>, number: usize, most: usize) {
        self.invalid.push(super::Invalid {
            field: at.to_string(),
            message: format!("Too many: {number}: must have at most {most} items"),
        });
    }

    fn dns_subdomain(&mut self, at: &Path<'_>, name: &str) {
        if name.is_empty() {
            self.required(at, "");
        } else if !is_dns_subdomain(name) {
            self.bad(at, format!("{name:?}"), DNS_SUBDOMAIN);
        }
    }

    fn driver_name(&mut self, at: &Path<'_>, driver: &str) {
        if driver.len() > 63 {
            self.too_long(at, 63);
        }
        self.dns_subdomain(at, driver);
    }

    fn pool(&mut self, at: &Path<'_>, pool: &resource::ResourcePool) {
        let name_at = at.field("name");
        if pool.name.is_empty() {
            self.required(&name_at, "");
        }
        for part in pool.name.split('/').filter(|_| !pool.name.is_empty()) {
            self.dns_subdomain(&name_at, part);
        }
        if pool.resource_slice_count <= 0 {
            self.bad(&at.field("resourceSliceCount"), pool.resource_slice_count, "must be greater than zero");
        }
        self.not_negative(&at.field("generation"), pool.generation);
    }

    fn device_nodes(
        &mut self,
        at: &Path<'_>,
        node: Option<&String>,
        all: bool,
        selector: Option<&core::NodeSelector>,
    ) -> DeviceNodes {
        match (node, selector) {
            (Some(node), _) => {
                self.dns_subdomain(&at.field("nodeName"), node);
                DeviceNodes::Node(Name::from(node))
            }
            (None, Some(selector)) => {
                let here = at.field("nodeSelector");
                if selector.node_selector_terms.len() != 1 {
                    let detail = "must have exactly one node selector term";
                    self.bad(&here.field("nodeSelectorTerms"), "{}", detail);
                }
                DeviceNodes::Selected(self.node_selector(&here, selector))
            }
            (None, None) if all => DeviceNodes::All,
            (None, None) => DeviceNodes::Unsaid,
        }
    }

    fn device(&mut self, at: &Path<'_>, device: &resource::Device, says_nodes: bool) -> Device {
        self.dns_label(&at.field("name"), &device.name);
        let node = device.node_name.as_ref().filter(|node| !node.is_empty());
        let all = device.all_nodes == Some(true);
        let nodes = self.device_nodes(at, node, all, device.node_selector.as_ref());
        if says_nodes && nodes == DeviceNodes::Unsaid {
            self.required(at, "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the slice");
        } else if !says_nodes && nodes != DeviceNodes::Unsaid {
            self.bad(at, "{}", "`nodeName`, `nodeSelector` and `allNodes` can only be set when `perDeviceNodeSelection` is set to true in the slice");
        }
        let attributes_at = at.field("attributes");
        let mut attributes = Vec::new();
        for (id, attribute) in device.attributes.iter().flatten() {
            let here = attributes_at.key(id);
            self.device_id(&here, id);
            attributes.extend(self.attribute(&here, attribute).map(|value| (Name::from(id), value)));
        }
        let capacity_at = at.field("capacity");
        let mut capacity = Vec::new();
        for (id, given) in device.capacity.iter().flatten() {
            let here = capacity_at.key(id);
            self.device_id(&here, id);
            capacity.push((Name::from(id), self.capacity(&here, given)));
        }
        let consumes_at = at.field("consumesCounters");
        let consumes = device.consumes_counters.iter().flatten().enumerate().map(|(index, consumed)| {
            let here = consumes_at.index(index);
            if consumed.counter_set.is_empty() {
                self.required(&here.field("counterSet"), "");
            }
            let counters = self.counters(&here.field("counters"), &consumed.counters);
            CounterSet { name: Name::from(&consumed.counter_set), counters }
        });
        let consumes = consumes.collect();
        let taints_at = at.field("taints");
        let taints = device.taints.iter().flatten().enumerate();
        let taints = taints.map(|(index, taint)| self.device_taint(&taints_at.index(index), taint)).collect();
        let conditions = |given: &Option<Vec<String>>| given.iter().flatten().map(Name::from).collect();
        Device {
            name: Name::from(&device.name),
            attributes,
            capacity,
            consumes,
            nodes,
            taints,
            shareable: device.allow_multiple_allocations == Some(true),
            binds_to_node: device.binds_to_node == Some(true),
            binding_conditions: conditions(&device.binding_conditions),
            binding_failure_conditions: conditions(&device.binding_failure_conditions),
        }
    }

    /// The name of an attribute or capacity: an identifier of C, perhaps behind a domain.
    fn device_id(&mut self, at: &Path<'_>, id: &str) {
        let (domain, id) = id.split_once('/').map_or(("", id), |(domain, id)| (domain, id));
        if !domain.is_empty() {
            self.dns_subdomain(at, domain);
        }
        let first = id.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        if !first || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.bad(at, format!("{id:?}"), "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')");
        }
        if id.len() > 32 {
            self.too_long(at, 32);
        }
    }

    fn attribute(&mut self, at: &Path<'_>, given: &resource::DeviceAttribute) -> Option<Attribute> {
        let mut values: Vec<Attribute> = Vec::new();
        values.extend(given.bool.map(Attribute::Bool));
        values.extend(given.int.map(Attribute::Int));
        values.extend(given.string.as_ref().map(|text| Attribute::Text(Name::from(text))));
        values.extend(given.version.as_ref().map(|text| Attribute::Version(Name::from(text))));
        match values.as_slice() {
            [one] => return Some(*one),
            [] => self.required(at, "exactly one value must be specified"),
            _ => self.bad(at, "{}", "exactly one value must be specified"),
        }
        None
    }

    fn capacity(&mut self, at: &Path<'_>, given: &resource::DeviceCapacity) -> Capacity {
        let value = self.quantity(&at.field("value"), &given.value);
        let policy_at = at.field("requestPolicy");
        let policy = given.request_policy.as_ref().map(|policy| {
            let default = policy.default.as_ref().map(|amount| self.quantity(&policy_at.field("default"), amount));
            let range_at = policy_at.field("validRange");
            let valid_range = policy.valid_range.as_ref().map(|range| ValidRange {
                min: self.quantity(&range_at.field("min"), &range.min),
                max: range.max.as_ref().map(|amount| self.quantity(&range_at.field("max"), amount)),
                step: range.step.as_ref().map(|amount| self.quantity(&range_at.field("step"), amount)),
            });
            let values_at = policy_at.field("validValues");
            let mut valid_values: Vec<Quantity> = policy
                .valid_values
                .iter()
                .flatten()
                .enumerate()
                .map(|(index, amount)| self.quantity(&values_at.index(index), amount))
                .collect();
            valid_values.sort();
            if valid_range.is_some() && !valid_values.is_empty() {
                self.forbidden(&policy_at, "exactly one policy can be specified, cannot specify `validValues` and `validRange` at the same time");
            }
            if default.is_none() && (valid_range.is_some() || !valid_values.is_empty()) {
                self.required(&policy_at.field("default"), "required when validValues or validRange is defined");
            }
            RequestPolicy { default, valid_values, valid_range }
        });
        Capacity { value, policy }
    }

    fn counters(&mut self, at: &Path<'_>, counters: &BTreeMap<String, resource::Counter>) -> Vec<(Name, Quantity)> {
        let amount = |(id, counter): (&String, &resource::Counter)| {
            let here = at.key(id);
            (Name::from(id), self.quantity(&here.field("value"), &counter.value))
        };
        counters.iter().map(amount).collect()
    }

    fn device_taint(&mut self, at: &Path<'_>, taint: &resource::DeviceTaint) -> DeviceTaint {
        self.label_key(&at.field("key"), &taint.key);
        let table = [
            ("NoExecute", Some(TaintEffect::NoExecute)),
            ("NoSchedule", Some(TaintEffect::NoSchedule)),
            ("None", None),
        ];
        let effect_at = at.field("effect");
        if taint.effect.is_empty() {
            self.required(&effect_at, "");
        }
        let effect =
            if taint.effect.is_empty() { None } else { self.word(&effect_at, &taint.effect, &table).flatten() };
        DeviceTaint { key: Name::from(&taint.key), value: name(taint.value.as_ref()), effect }
    }

    fn device_selectors(&mut self, at: &Path<'_>, selectors: Option<&[resource::DeviceSelector]>) -> Vec<Name> {
        let selectors = selectors.unwrap_or_default();
        if selectors.len() > MOST_SELECTORS {
            self.too_many(at, selectors.len(), MOST_SELECTORS);
        }
        let mut compiled = Vec::new();
        for (index, selector) in selectors.iter().enumerate() {
            let here = at.index(index);
            let cel_at = here.field("cel");
            let Some(cel) = &selector.cel else {
                self.required(&cel_at, "");
                continue;
            };
            let expression_at = cel_at.field("expression");
            if cel.expression.len() > MOST_EXPRESSION {
                self.too_long(&expression_at, MOST_EXPRESSION);
            }
            if cel.expression.is_empty() {
                self.required(&expression_at, "");
            } else if let Err(why) = DeviceSelector::compile(&cel.expression) {
                self.bad(&expression_at, format!("{:?}", cel.expression), &why);
            }
            compiled.push(Name::from(&cel.expression));
        }
        compiled
    }

    /// `spec.devices` of a claim.
    fn device_claim(&mut self, at: &Path<'_>, devices: Option<&resource::DeviceClaim>) -> DeviceClaim {
        let Some(devices) = devices else { return DeviceClaim::default() };
        let requests_at = at.field("requests");
        let given = devices.requests.as_deref().unwrap_or_default();
        if given.len() > MOST_DEVICES {
            self.too_many(&requests_at, given.len(), MOST_DEVICES);
        }
        let mut requests: Vec<DeviceRequest> = Vec::new();
        for (index, request) in given.iter().enumerate() {
            let here = requests_at.index(index);
            let request = self.device_request(&here, request);
            if requests.iter().any(|known| known.name == request.name) {
                self.duplicate(&here.field("name"), format!("{:?}", request.name.as_str()));
            }
            requests.push(request);
        }
        let constraints_at = at.field("constraints");
        let constraints = devices.constraints.iter().flatten().enumerate();
        let constraints = constraints
            .map(|(index, constraint)| self.device_constraint(&constraints_at.index(index), constraint, &requests))
            .collect();
        DeviceClaim { requests, constraints }
    }

    fn device_request(&mut self, at: &Path<'_>, request: &resource::DeviceRequest) -> DeviceRequest {
        self.dns_label(&at.field("name"), &request.name);
        let listed = request.first_available.as_deref().unwrap_or_default();
        let mut alternatives = Vec::new();
        match (&request.exactly, listed) {
            (Some(_), [_, ..]) => {
                self.bad(at, "{}", "exactly one of `exactly` or `firstAvailable` is required");
            }
            (None, []) => self.required(at, "exactly one of `exactly` or `firstAvailable` is required"),
            (Some(exactly), []) => {
                let here = at.field("exactly");
                alternatives.push(self.exact_request(
                    &here,
                    &as_sub_request(exactly),
                    exactly.admin_access == Some(true),
                ));
            }
            (None, listed) => {
                let here = at.field("firstAvailable");
                if listed.len() > MOST_ALTERNATIVES {
                    self.too_many(&here, listed.len(), MOST_ALTERNATIVES);
                }
                for (index, sub) in listed.iter().enumerate() {
                    let here = here.index(index);
                    self.dns_label(&here.field("name"), &sub.name);
                    if listed.iter().take(index).any(|known| known.name == sub.name) {
                        self.duplicate(&here.field("name"), format!("{:?}", sub.name));
                    }
                    alternatives.push(self.exact_request(&here, sub, false));
                }
            }
        }
        DeviceRequest { name: Name::from(&request.name), alternatives, is_list: !listed.is_empty() }
    }

    fn exact_request(
        &mut self,
        at: &Path<'_>,
        request: &resource::DeviceSubRequest,
        admin_access: bool,
    ) -> ExactRequest {
        self.dns_subdomain(&at.field("deviceClassName"), &request.device_class_name);
        let selectors = self.device_selectors(&at.field("selectors"), request.selectors.as_deref());
        let all = self.word_or(
            &at.field("allocationMode"),
            request.allocation_mode.as_ref(),
            false,
            &[("All", true), ("ExactCount", false)],
        );
        let count_at = at.field("count");
        let count = match (all, request.count) {
            (true, Some(count)) if count != 0 => {
                self.bad(&count_at, count, "must not be specified when allocationMode is 'All'");
                None
            }
            (true, _) => None,
            (false, Some(count)) if count < 1 && count != 0 => {
                self.bad(&count_at, count, "must be greater than zero");
                Some(1)
            }
            // Zero is as good as absent.
            (false, count) => Some(count.filter(|count| *count > 0).unwrap_or(1)),
        };
        let tolerations = self.device_tolerations(&at.field("tolerations"), request.tolerations.as_deref());
        let capacity_at = at.field("capacity");
        let capacity_at = capacity_at.field("requests");
        let requested = request.capacity.as_ref().and_then(|capacity| capacity.requests.as_ref());
        let capacity = self.amounts(&capacity_at, requested);
        ExactRequest {
            name: Name::from(&request.name),
            class: Name::from(&request.device_class_name),
            selectors,
            count,
            admin_access,
            tolerations,
            capacity,
        }
    }

    fn amounts(&mut self, at: &Path<'_>, amounts: Option<&BTreeMap<String, Text64>>) -> Vec<(Name, Quantity)> {
        let amounts = amounts.into_iter().flatten();
        amounts.map(|(id, amount)| (Name::from(id), self.quantity(&at.key(id), amount))).collect()
    }

    fn device_tolerations(&mut self, at: &Path<'_>, given: Option<&[resource::DeviceToleration]>) -> Arc<[Toleration]> {
        let given = given.unwrap_or_default();
        let as_pods = |toleration: &resource::DeviceToleration| core::Toleration {
            key: toleration.key.clone(),
            operator: toleration.operator.clone(),
            value: toleration.value.clone(),
            effect: toleration.effect.clone(),
            toleration_seconds: toleration.toleration_seconds,
        };
        self.tolerations(at, &given.iter().map(as_pods).collect::<Vec<_>>())
    }

    fn device_constraint(
        &mut self,
        at: &Path<'_>,
        constraint: &resource::DeviceConstraint,
        requests: &[DeviceRequest],
    ) -> DeviceConstraint {
        let requests_at = at.field("requests");
        let mut named: Vec<Name> = Vec::new();
        for (index, request) in constraint.requests.iter().flatten().enumerate() {
            let here = requests_at.index(index);
            let (main, sub) = request.split_once('/').map_or((request.as_str(), None), |(main, sub)| (main, Some(sub)));
            let known = requests.iter().find(|known| known.name == *main);
            let found = known.is_some_and(|known| {
                sub.is_none_or(|sub| known.is_list && known.alternatives.iter().any(|one| one.name == *sub))
            });
            if !found {
                let detail = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
                self.bad(&here, format!("{request:?}"), detail);
            }
            if named.contains(&Name::from(request)) {
                self.duplicate(&here, format!("{request:?}"));
            }
            named.push(Name::from(request));
        }
        let of = (constraint.match_attribute.as_ref(), constraint.distinct_attribute.as_ref());
        let (attribute, distinct) = match of {
            (Some(attribute), None) => (Name::from(attribute), false),
            (None, Some(attribute)) => (Name::from(attribute), true),
            (None, None) => {
                self.required(at, "exactly one of `matchAttribute` or `distinctAttribute` is required");
                (Name::default(), false)
            }
            (Some(_), Some(_)) => {
                self.bad(at, "{}", "exactly one of `matchAttribute` or `distinctAttribute` is required");
                (Name::default(), false)
            }
        };
        let field = if distinct { "distinctAttribute" } else { "matchAttribute" };
        let here = at.field(field);
        if !attribute.is_empty() {
            if attribute.contains('/') {
                self.device_id(&here, &attribute);
            } else {
                self.bad(
                    &here,
                    format!("{:?}", attribute.as_str()),
                    "a valid name must consist of a domain and an identifier, separated by '/'",
                );
            }
        }
        DeviceConstraint { requests: named, attribute, distinct }
    }

    /// The status of a claim of a dump.
    fn claim_status(&mut self, status: &resource::ResourceClaimStatus) -> ClaimStatus {
        let allocation = status.allocation.as_ref().map(|allocation| {
            let results =
                allocation.devices.as_ref().and_then(|devices| devices.results.as_deref()).unwrap_or_default();
            let at = Path::Root.field("status");
            let at = at.field("allocation");
            let devices = results.iter().map(|result| AllocatedDevice {
                request: Name::from(&result.request),
                driver: Name::from(&result.driver),
                pool: Name::from(&result.pool),
                device: Name::from(&result.device),
                admin_access: result.admin_access == Some(true),
                tolerations: self.device_tolerations(&at.field("tolerations"), result.tolerations.as_deref()),
                share: name(result.share_id.as_ref()),
                consumed: self.amounts(&at.field("consumedCapacity"), result.consumed_capacity.as_ref()),
                binding_conditions: result.binding_conditions.iter().flatten().map(Name::from).collect(),
                binding_failure_conditions: result
                    .binding_failure_conditions
                    .iter()
                    .flatten()
                    .map(Name::from)
                    .collect(),
            });
            let devices = devices.collect();
            let nodes = allocation.node_selector.as_ref();
            Arc::new(Allocation {
                devices,
                nodes: nodes.map(|nodes| self.node_selector(&at.field("nodeSelector"), nodes)),
                at: self.optional_time(allocation.allocation_timestamp.as_ref()),
            })
        });
        let consumers = status.reserved_for.iter().flatten().filter(|consumer| consumer.resource == "pods");
        let reserved_for = consumers
            .map(|consumer| Consumer { pod: Name::from(&consumer.name), uid: self.uids.read(&consumer.uid) })
            .collect();
        let devices = status.devices.iter().flatten().map(|device| DeviceStatus {
            driver: Name::from(&device.driver),
            pool: Name::from(&device.pool),
            device: Name::from(&device.device),
            conditions: device
                .conditions
                .iter()
                .flatten()
                .filter(|condition| condition.status == "True")
                .map(|condition| Name::from(&condition.type_))
                .collect(),
        });
        ClaimStatus { allocation, reserved_for, devices: devices.collect() }
    }
}

/// `exactly` as if it were one of several alternatives.
fn as_sub_request(exactly: &resource::ExactDeviceRequest) -> resource::DeviceSubRequest {
    resource::DeviceSubRequest {
        name: String::new(),
        allocation_mode: exactly.allocation_mode.clone(),
        capacity: exactly.capacity.clone(),
        count: exactly.count,
        device_class_name: exactly.device_class_name.clone(),
        selectors: exactly.selectors.clone(),
        tolerations: exactly.tolerations.clone(),
    }
}

/// The claims that a pod's status names.
pub(super) fn claim_names(status: &core::PodStatus) -> Vec<(Name, Option<Name>)> {
    let made = |status: &core::PodResourceClaimStatus| {
        (Name::from(&status.name), status.resource_claim_name.as_ref().map(Name::from))
    };
    status.resource_claim_statuses.iter().flatten().map(made).collect()
}

/// The claim for extended resources that a pod's status names.
pub(super) fn extended_claim(status: &core::PodStatus) -> Option<Arc<crate::model::device::ExtendedClaim>> {
    let given = status.extended_resource_claim_status.as_ref()?;
    let mapping = |one: &core::ContainerExtendedResourceRequest| {
        (Name::from(&one.container_name), Name::from(&one.resource_name), Name::from(&one.request_name))
    };
    Some(Arc::new(crate::model::device::ExtendedClaim {
        claim: Name::from(&given.resource_claim_name),
        mappings: given.request_mappings.iter().map(mapping).collect(),
    }))
}
