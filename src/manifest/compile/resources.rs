//! Resource lists: from quantities by name to amounts, with the rules for their names and for requests against limits.
//!
//! Kubernetes: pkg/apis/core/validation/validation.go (ValidateResourceRequirements, validateResourceName).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as QuantityText;

use crate::model::pod::ResourceRequirements;
use crate::model::quantity::Quantity;
use crate::model::resources::ResourceList;
use crate::model::{Bytes, MilliCpu, Name, Resources};

use super::context::Context;
use super::path::Path;

type Map = BTreeMap<String, QuantityText>;

impl Context<'_> {
    /// `resources` of a container or (without the rule for names) of a pod, with missing requests taken from the limits.
    pub(super) fn requirements(
        &mut self,
        at: &Path<'_>,
        resources: Option<&core::ResourceRequirements>,
    ) -> ResourceRequirements {
        let Some(resources) = resources else { return ResourceRequirements::default() };
        let limits_at = at.field("limits");
        let requests_at = at.field("requests");
        let limits = self.container_resources(&limits_at, resources.limits.as_ref());
        let mut requests = self.container_resources(&requests_at, resources.requests.as_ref());
        self.requests_within_limits(&requests_at, resources);
        requests.cpu = requests.cpu.or(limits.cpu);
        requests.memory = requests.memory.or(limits.memory);
        requests.ephemeral_storage = requests.ephemeral_storage.or(limits.ephemeral_storage);
        for &(name, amount) in &limits.extended {
            if !requests.extended.iter().any(|(existing, _)| *existing == name) {
                requests.extended.push((name, amount));
            }
        }
        requests.extended.sort_unstable();
        ResourceRequirements { requests, limits }
    }

    fn container_resources(&mut self, at: &Path<'_>, map: Option<&Map>) -> ResourceList {
        for (resource, amount) in map.into_iter().flatten() {
            let here = at.key(resource);
            let standard =
                matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage") || resource.starts_with(HUGE_PAGES);
            if !standard && !resource.contains('/') {
                self.bad(&here, format!("{resource:?}"), "must be a standard resource type or fully qualified");
                self.bad(&here, format!("{resource:?}"), "must be a standard resource for containers");
            }
            if is_extended(resource) && amount.0.parse::<Quantity>().is_ok_and(|quantity| !quantity.is_whole()) {
                self.bad(&here, format!("{:?}", canonical(amount)), "must be an integer");
            }
        }
        self.resource_list(at, map)
    }

    /// Amounts by name, none of them negative.
    pub(super) fn resource_list(&mut self, at: &Path<'_>, map: Option<&Map>) -> ResourceList {
        let mut list = ResourceList::default();
        for (resource, amount) in map.into_iter().flatten() {
            let here = at.key(resource);
            let quantity = self.quantity(&here, amount);
            if quantity.is_negative() {
                self.bad(&here, format!("{:?}", quantity.to_string()), "must be greater than or equal to 0");
            }
            match resource.as_str() {
                "cpu" => list.cpu = Some(MilliCpu(quantity.milli_rounding_up())),
                "memory" => list.memory = Some(Bytes(quantity.value_rounding_up())),
                "ephemeral-storage" => list.ephemeral_storage = Some(Bytes(quantity.value_rounding_up())),
                _ => list.extended.push((Name::new(resource), quantity.value_rounding_up())),
            }
        }
        list.extended.sort_unstable();
        list
    }

    /// Amounts by name with `pods`, as nodes have them; absent is zero.
    pub(super) fn node_resources(&mut self, at: &Path<'_>, map: Option<&Map>) -> Resources {
        for (resource, amount) in map.into_iter().flatten() {
            if amount.0.parse::<Quantity>().is_ok_and(Quantity::is_negative) {
                let here = at.field(resource);
                self.bad(&here, format!("{:?}", canonical(amount)), "must be greater than or equal to 0");
            }
        }
        let positive = map.map(|map| {
            let not_negative = |amount: &QuantityText| !amount.0.parse().is_ok_and(Quantity::is_negative);
            map.iter().filter(|(_, amount)| not_negative(amount)).map(|(k, v)| (k.clone(), v.clone())).collect::<Map>()
        });
        let list = self.resource_list(at, positive.as_ref());
        let mut resources = list.amounts();
        resources.extended.retain(|(name, _)| *name != *"pods");
        resources.pods = list.extended.iter().find(|(name, _)| *name == *"pods").map_or(0, |(_, pods)| *pods);
        resources
    }

    fn requests_within_limits(&mut self, at: &Path<'_>, resources: &core::ResourceRequirements) {
        let empty = Map::new();
        let limits = resources.limits.as_ref().unwrap_or(&empty);
        for (resource, request) in resources.requests.iter().flatten() {
            let Ok(requested) = request.0.parse::<Quantity>() else { continue };
            let requested = requested.rounded_up_to_milli();
            let exact = is_extended(resource) || resource.starts_with(HUGE_PAGES);
            match limits.get(resource) {
                Some(limit) => {
                    let Ok(limit) = limit.0.parse::<Quantity>() else { continue };
                    let limit = limit.rounded_up_to_milli();
                    if exact && requested != limit {
                        let detail = format!("must be equal to {resource} limit of {limit}");
                        self.bad(at, format!("{:?}", requested.to_string()), &detail);
                    } else if requested > limit {
                        let detail = format!("must be less than or equal to {resource} limit of {limit}");
                        self.bad(at, format!("{:?}", requested.to_string()), &detail);
                    }
                }
                None if exact => self.required(at, "Limit must be set for non overcommitable resources"),
                None => {}
            }
        }
    }
}

const HUGE_PAGES: &str = "hugepages-";

/// True for resources such as `nvidia.com/gpu`: qualified, and not of Kubernetes' own domain.
fn is_extended(resource: &str) -> bool {
    resource.split_once('/').is_some_and(|(domain, _)| !domain.ends_with("kubernetes.io"))
}

fn canonical(text: &QuantityText) -> String {
    text.0.parse::<Quantity>().map_or_else(|_| text.0.clone(), |quantity| quantity.to_string())
}
