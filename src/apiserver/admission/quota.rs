//! ResourceQuota: what a namespace uses, and the refusal of more.
//!
//! Kubernetes: staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota, pkg/quota/v1/evaluator/core/pods.go. A
//! thin form: no scopes. Freed use is given back at once, where the quota controller does it a moment later.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{forbidden, limits, qualified};
use crate::apiserver::{ApiServer, Fx};
use crate::model::policy::ResourceQuota;
use crate::model::{Kind, Name, Object, Pod};
use crate::protocol::api::Status;

/// What an object counts for, by the names that quotas use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::apiserver) struct Usage(SmallVec<[(Name, i64); 4]>);

impl Usage {
    /// The use of `object`.
    pub(in crate::apiserver) fn of(object: &Object) -> Usage {
        if let Object::Pod(pod) = object {
            return Usage::of_pod(pod);
        }
        let kind = object.kind();
        let mut usage = Usage::default();
        usage.0.push((Name::from(format!("count/{}", qualified(kind))), 1));
        match object {
            Object::PersistentVolumeClaim(claim) => {
                usage.0.push((Name::new(kind.plural()), 1));
                usage.0.push((Name::new("requests.storage"), claim.spec.request.0));
            }
            Object::Service(_)
            | Object::ConfigMap(_)
            | Object::Secret(_)
            | Object::ReplicationController(_)
            | Object::ResourceQuota(_) => usage.0.push((Name::new(kind.plural()), 1)),
            _ => {}
        }
        usage
    }

    /// The use of a pod: a terminal one counts as an object only.
    pub(in crate::apiserver) fn of_pod(pod: &Pod) -> Usage {
        let mut usage = Usage::default();
        usage.0.push((Name::new("count/pods"), 1));
        if pod.status.phase.is_terminal() {
            return usage;
        }
        usage.0.push((Name::new("pods"), 1));
        for (of, total) in [("requests", pod.spec.requests()), ("limits", pod.spec.limits())] {
            let fixed =
                [("cpu", total.cpu.0), ("memory", total.memory.0), ("ephemeral-storage", total.ephemeral_storage.0)];
            for (resource, amount) in fixed {
                usage.0.push((Name::from(format!("{of}.{resource}")), amount));
                if of == "requests" {
                    usage.0.push((Name::new(resource), amount));
                }
            }
            for &(resource, amount) in &total.extended {
                usage.0.push((Name::from(format!("{of}.{resource}")), amount));
            }
        }
        usage
    }

    /// What there is more than in `before`.
    pub(in crate::apiserver) fn beyond(&self, before: &Usage) -> Usage {
        Usage(self.0.iter().map(|&(name, amount)| (name, amount.saturating_sub(before.get(name)))).collect())
    }

    fn get(&self, name: Name) -> i64 {
        self.0.iter().find(|(existing, _)| *existing == name).map_or(0, |(_, amount)| *amount)
    }
}

impl ApiServer {
    /// 403 if a quota of the namespace has no room for `object`.
    pub(in crate::apiserver) fn check_quotas(&self, object: &Object, charged: &Usage) -> Result<(), Status> {
        let meta = object.meta();
        for quota in self.store.in_namespace(Kind::ResourceQuota, meta.namespace).filter_map(as_quota) {
            let refuse = |why: String| Err(forbidden(object.kind(), meta.name, why));
            if let Some(pod) = object.as_pod() {
                let missing = unspecified(quota, pod);
                if !missing.is_empty() {
                    return refuse(format!("failed quota: {}: must specify {missing}", quota.meta.name));
                }
            }
            let mut exceeded: Vec<(Name, i64, i64, i64)> = Vec::new();
            for &(name, hard) in &quota.hard {
                let (wanted, used) = (charged.get(name), used(quota, name));
                if wanted > 0 && used.saturating_add(wanted) > hard {
                    exceeded.push((name, wanted, used, hard));
                }
            }
            if exceeded.is_empty() {
                continue;
            }
            exceeded.sort();
            let list = |pick: fn(&(Name, i64, i64, i64)) -> i64| {
                let texts = exceeded.iter().map(|row| format!("{}={}", row.0, limits::amount_text(row.0, pick(row))));
                texts.collect::<Vec<_>>().join(",")
            };
            return refuse(format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                quota.meta.name,
                list(|row| row.1),
                list(|row| row.2),
                list(|row| row.3)
            ));
        }
        Ok(())
    }

    /// Writes into the namespace's quotas that an object counts for `new` where it counted for `old`.
    pub(in crate::apiserver) fn charge_quotas(&mut self, namespace: Name, old: &Usage, new: &Usage, fx: &mut Fx) {
        let quotas: SmallVec<[Arc<ResourceQuota>; 1]> = self
            .store
            .in_namespace(Kind::ResourceQuota, namespace)
            .filter_map(|object| match object {
                Object::ResourceQuota(quota) => Some(quota.clone()),
                _ => None,
            })
            .collect();
        for quota in quotas {
            let counted = quota.used.iter().map(|(name, _)| name).eq(quota.hard.iter().map(|(name, _)| name));
            let changed: Vec<(Name, i64)> = if !counted {
                // A new or another quota: what was there before it counts too.
                quota.hard.iter().map(|&(name, _)| (name, self.used_in(namespace, name))).collect()
            } else {
                let change = |&(name, amount): &(Name, i64)| {
                    (name, amount.saturating_add(new.get(name)).saturating_sub(old.get(name)))
                };
                quota.used.iter().map(change).collect()
            };
            if changed != quota.used {
                let old = Object::ResourceQuota(quota.clone());
                let mut quota = ResourceQuota::clone(&quota);
                quota.used = changed;
                self.replace_changed(&old, Object::ResourceQuota(Arc::new(quota)), fx);
            }
        }
    }

    /// What all objects of the namespace use together. Walks them all: once for each new quota.
    fn used_in(&self, namespace: Name, name: Name) -> i64 {
        let kinds = Kind::ALL.iter().filter(|kind| kind.is_namespaced() && !matches!(kind, Kind::Event | Kind::Lease));
        let objects = kinds.flat_map(|&kind| self.store.iter(kind));
        objects
            .filter(|object| object.meta().namespace == namespace)
            .map(|object| Usage::of(object).get(name))
            .fold(0, i64::saturating_add)
    }
}

fn as_quota(object: &Object) -> Option<&ResourceQuota> {
    match object {
        Object::ResourceQuota(quota) => Some(quota),
        _ => None,
    }
}

fn used(quota: &ResourceQuota, name: Name) -> i64 {
    quota.used.iter().find(|(existing, _)| *existing == name).map_or(0, |(_, amount)| *amount)
}

/// `requests.cpu for: a,b; limits.memory for: a`: what the quota counts and containers don't state.
fn unspecified(quota: &ResourceQuota, pod: &Pod) -> String {
    if pod.spec.resources.is_some() {
        return String::new();
    }
    let mut names: Vec<Name> = quota.hard.iter().map(|(name, _)| *name).collect();
    names.sort();
    let mut missing: Vec<String> = Vec::new();
    for name in names {
        let (of_limits, resource) = match name.as_str() {
            "cpu" | "memory" => (false, name.as_str()),
            "requests.cpu" | "requests.memory" => (false, &name.as_str()["requests.".len()..]),
            "limits.cpu" | "limits.memory" => (true, &name.as_str()["limits.".len()..]),
            _ => continue,
        };
        let states = |container: &&crate::model::Container| {
            let resources = &container.resources;
            let list = if of_limits { &resources.limits } else { &resources.requests };
            limits::amount(list, Name::new(resource)).is_none()
        };
        let all = pod.spec.containers.iter().chain(pod.spec.init_containers.iter());
        let mut containers: Vec<&str> = all.filter(states).map(|container| container.name.as_str()).collect();
        containers.sort_unstable();
        if !containers.is_empty() {
            missing.push(format!("{name} for: {}", containers.join(",")));
        }
    }
    missing.join("; ")
}
