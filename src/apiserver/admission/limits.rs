//! LimitRange: default requests and limits of containers, least and greatest amounts. How amounts are written.
//!
//! Kubernetes: plugin/pkg/admission/limitranger/admission.go; pkg/apis/core/v1/defaults.go
//! (SetDefaults_LimitRangeItem). `maxLimitRequestRatio` is not in the model; claims' limits are not checked.

use crate::model::pod::{Container, ResourceRequirements};
use crate::model::policy::LimitRange;
use crate::model::resources::ResourceList;
use crate::model::{Bytes, MilliCpu, Name, PodSpec};

/// Defaults of the range itself: `default` from `max`, `defaultRequest` from `default`, then from `min`.
pub(super) fn complete(range: &mut LimitRange) {
    for item in range.limits.iter_mut().filter(|item| item.kind == *"Container") {
        fill(&mut item.default_limits, &item.max);
        fill(&mut item.default_requests, &item.default_limits);
        fill(&mut item.default_requests, &item.min);
    }
}

/// Gives the containers the requests and limits that they don't have.
pub(super) fn apply(ranges: &[&LimitRange], spec: &mut PodSpec) {
    for item in ranges.iter().flat_map(|range| &range.limits).filter(|item| item.kind == *"Container") {
        if item.default_limits.is_empty() && item.default_requests.is_empty() {
            continue;
        }
        let complete = |container: &Container| {
            let mut container = container.clone();
            fill(&mut container.resources.limits, &item.default_limits);
            fill(&mut container.resources.requests, &item.default_requests);
            container
        };
        spec.containers = spec.containers.iter().map(complete).collect();
        spec.init_containers = spec.init_containers.iter().map(complete).collect();
    }
}

/// What the ranges have against the pod, in the words of the answer.
pub(super) fn check(ranges: &[&LimitRange], spec: &PodSpec) -> Result<(), String> {
    let mut wrong = Vec::new();
    for item in ranges.iter().flat_map(|range| &range.limits) {
        match item.kind.as_str() {
            "Container" => {
                for container in spec.containers.iter().chain(spec.init_containers.iter()) {
                    bounds(&item.min, &item.max, &container.resources, "Container", &mut wrong);
                }
            }
            "Pod" => {
                let total = ResourceRequirements {
                    requests: list(PodSpec { overhead: None, ..spec.clone() }.requests()),
                    limits: list(PodSpec { overhead: None, ..spec.clone() }.limits()),
                };
                bounds(&item.min, &item.max, &total, "Pod", &mut wrong);
            }
            _ => {}
        }
    }
    match wrong.len() {
        0 => Ok(()),
        1 => Err(wrong.remove(0)),
        _ => Err(format!("[{}]", wrong.join(", "))),
    }
}

fn bounds(min: &ResourceList, max: &ResourceList, given: &ResourceRequirements, of: &str, wrong: &mut Vec<String>) {
    for (name, least) in amounts(min) {
        let least_text = amount_text(name, least);
        match (amount(&given.requests, name), amount(&given.limits, name)) {
            (None, _) => wrong.push(format!("minimum {name} usage per {of} is {least_text}.  No request is specified")),
            (Some(request), _) if request < least => {
                let text = amount_text(name, request);
                wrong.push(format!("minimum {name} usage per {of} is {least_text}, but request is {text}"));
            }
            (_, Some(limit)) if limit < least => {
                let text = amount_text(name, limit);
                wrong.push(format!("minimum {name} usage per {of} is {least_text}, but limit is {text}"));
            }
            _ => {}
        }
    }
    for (name, most) in amounts(max) {
        let most_text = amount_text(name, most);
        match (amount(&given.requests, name), amount(&given.limits, name)) {
            (_, None) => wrong.push(format!("maximum {name} usage per {of} is {most_text}.  No limit is specified")),
            (_, Some(limit)) if limit > most => {
                let text = amount_text(name, limit);
                wrong.push(format!("maximum {name} usage per {of} is {most_text}, but limit is {text}"));
            }
            (Some(request), _) if request > most => {
                let text = amount_text(name, request);
                wrong.push(format!("maximum {name} usage per {of} is {most_text}, but request is {text}"));
            }
            _ => {}
        }
    }
}

fn fill(list: &mut ResourceList, defaults: &ResourceList) {
    list.cpu = list.cpu.or(defaults.cpu);
    list.memory = list.memory.or(defaults.memory);
    list.ephemeral_storage = list.ephemeral_storage.or(defaults.ephemeral_storage);
    for &(name, amount) in &defaults.extended {
        if let Err(at) = list.extended.binary_search_by(|(existing, _)| existing.cmp(&name)) {
            list.extended.insert(at, (name, amount));
        }
    }
}

fn list(total: crate::model::Resources) -> ResourceList {
    ResourceList {
        cpu: (total.cpu != MilliCpu(0)).then_some(total.cpu),
        memory: (total.memory != Bytes(0)).then_some(total.memory),
        ephemeral_storage: (total.ephemeral_storage != Bytes(0)).then_some(total.ephemeral_storage),
        extended: total.extended,
    }
}

/// The amounts of a list by name, in the order of the names: CPU in thousandths.
pub(in crate::apiserver) fn amounts(list: &ResourceList) -> impl Iterator<Item = (Name, i64)> + '_ {
    let fixed = [
        ("cpu", list.cpu.map(|cpu| cpu.0)),
        ("ephemeral-storage", list.ephemeral_storage.map(|bytes| bytes.0)),
        ("memory", list.memory.map(|bytes| bytes.0)),
    ];
    fixed.into_iter().filter_map(|(name, amount)| Some((Name::new(name), amount?))).chain(list.extended.iter().copied())
}

/// The amount of one resource.
pub(in crate::apiserver) fn amount(list: &ResourceList, name: Name) -> Option<i64> {
    amounts(list).find(|(existing, _)| *existing == name).map(|(_, amount)| amount)
}

/// An amount of `resource` as Kubernetes writes it: thousandths for CPU (`requests.cpu` and the like too), bytes for
/// memory and storage, else a number.
pub(in crate::apiserver) fn amount_text(resource: Name, amount: i64) -> String {
    let base = resource.rsplit_once('.').map_or(resource.as_str(), |(_, base)| base);
    match base {
        "cpu" if amount % 1000 == 0 => (amount / 1000).to_string(),
        "cpu" => format!("{amount}m"),
        "memory" | "storage" | "ephemeral-storage" => bytes_text(amount),
        _ if resource.contains("hugepages-") => bytes_text(amount),
        _ => amount.to_string(),
    }
}

/// Bytes with the suffix that makes them shortest: which one the user wrote is not kept.
fn bytes_text(bytes: i64) -> String {
    let with = |step: i64, suffixes: [&str; 6]| {
        let (mut number, mut suffix) = (bytes, "");
        for larger in suffixes {
            if number == 0 || number % step != 0 {
                break;
            }
            (number, suffix) = (number / step, larger);
        }
        format!("{number}{suffix}")
    };
    let binary = with(1024, ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]);
    let decimal = with(1000, ["k", "M", "G", "T", "P", "E"]);
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    if digits(&binary) <= digits(&decimal) { binary } else { decimal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        for (resource, amount, text) in [
            ("cpu", 500, "500m"),
            ("requests.cpu", 2000, "2"),
            ("memory", 134_217_728, "128Mi"),
            ("memory", 128_000_000, "128M"),
            ("memory", 100, "100"),
            ("memory", 0, "0"),
            ("limits.memory", 1 << 30, "1Gi"),
            ("hugepages-2Mi", 1 << 21, "2Mi"),
            ("nvidia.com/gpu", 4, "4"),
            ("pods", 5, "5"),
        ] {
            assert_eq!(amount_text(Name::new(resource), amount), text, "{resource} {amount}");
        }
    }
}
