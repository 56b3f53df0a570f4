//! EndpointSlice: the addresses behind a Service, and which of them are ready.
//!
//! A user meets it when traffic goes to a pod, or not yet, or still. Example: `kubectl get endpointslices`.
//!
//! Kubernetes: pkg/controller/endpointslice, staging/src/k8s.io/endpointslice. One address family; a Service whose named
//! ports are different numbers in its pods gets the numbers of the first of them. An update costs one slice.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::kernel::Duration;
use crate::model::pod::PortRef;
use crate::model::service::{Endpoint, EndpointSlice, Service, ServiceType};
use crate::model::{Key, Kind, Labels, Meta, Name, Object, Pod};
use crate::protocol::api::{Answer, Call, DeleteOptions};

use super::controller::{Context, Controller, Progress, Reply};
use super::informer::Change;
use super::pod_control::controller_reference;
use super::workqueue::WorkQueue;

/// `--max-endpoints-per-slice`.
const MAX_ENDPOINTS: usize = 100;
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The EndpointSlice controller.
#[derive(Debug, Default)]
pub struct EndpointSliceController {
    services: FxHashMap<Key, Known>,
}

/// What is known of a Service's slices.
#[derive(Debug, Default)]
struct Known {
    slices: Vec<Slice>,
    /// The slice in which a pod is.
    place: FxHashMap<Name, usize>,
    /// Pods to look at.
    changed: IndexSet<Name, FxBuildHasher>,
    /// All pods of the namespace are to be looked at.
    all: bool,
    loaded: bool,
    /// The slices that the requests under way are about.
    writing: Vec<usize>,
}

#[derive(Debug, Default)]
struct Slice {
    /// Empty until it is created.
    name: Name,
    endpoints: BTreeMap<Name, Endpoint>,
    changed: bool,
    /// It was emptied and deleted; its place stays for the numbers of the others.
    gone: bool,
}

/// What of a pod matters to its endpoints.
fn aspects(pod: &Pod) -> (Option<Ipv4Addr>, Option<Name>, bool, bool, bool) {
    (pod.status.pod_ip, pod.node, pod.is_ready(), pod.is_terminating(), pod.status.phase.is_terminal())
}

fn endpoint(service: &Service, pod: &Pod, cx: &Context<'_>) -> Option<Endpoint> {
    let selector = service.selector.as_ref()?;
    if pod.status.phase.is_terminal() || !selector.matches(&pod.meta.labels) {
        return None;
    }
    let (serving, terminating) = (pod.is_ready(), pod.is_terminating());
    Some(Endpoint {
        pod: pod.meta.name,
        ip: pod.status.pod_ip?,
        node: pod.node,
        zone: pod.node.and_then(|node| cx.cache.node(node)).and_then(|node| node.zone()),
        ready: service.publish_not_ready || (serving && !terminating),
        serving,
        terminating,
    })
}

fn ports(service: &Service, pod: Option<&Pod>) -> Vec<(Name, u16, crate::model::pod::Protocol)> {
    let number = |target| match target {
        PortRef::Number(number) => Some(number),
        PortRef::Name(name) => {
            let mut ports = pod?.spec.containers.iter().flat_map(|container| &container.ports);
            ports.find(|port| port.name == name).map(|port| port.port)
        }
    };
    let ports = service.ports.iter();
    ports.filter_map(|port| Some((port.name, number(port.target)?, port.protocol))).collect()
}

impl EndpointSliceController {
    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.pods();
        let relabelled = match (old, new) {
            (Some(old), Some(new)) => {
                let relabelled = old.meta.labels != new.meta.labels;
                if !relabelled && aspects(old) == aspects(new) {
                    return;
                }
                relabelled
            }
            _ => false,
        };
        let Some(pod) = new.or(old) else { return };
        if pod.status.pod_ip.is_none() && !relabelled {
            return;
        }
        let mut services = Vec::new();
        for object in cx.cache.list(Kind::Service, pod.meta.namespace) {
            let Object::Service(service) = object else { continue };
            let Some(selector) = &service.selector else { continue };
            let matched = relabelled && old.is_some_and(|old| selector.matches(&old.meta.labels));
            if matched || selector.matches(&pod.meta.labels) {
                services.push(service.meta.key(Kind::Service));
            }
        }
        for key in services {
            self.services.entry(key).or_default().changed.insert(pod.meta.name);
            cx.enqueue(key);
        }
    }

    fn observe_service(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let key = change.key();
        let Some(Object::Service(service)) = change.new else {
            self.services.remove(&key);
            return;
        };
        let same = change.old.is_some_and(|old| {
            matches!(old, Object::Service(old) if old.selector == service.selector && old.ports == service.ports
                && old.publish_not_ready == service.publish_not_ready)
        });
        if service.selector.is_some() && service.kind != ServiceType::ExternalName && !same {
            let known = self.services.entry(key).or_default();
            known.all = true;
            known.slices.iter_mut().for_each(|slice| slice.changed = true);
            cx.enqueue(key);
        }
    }

    /// Takes over the slices that an earlier process has made.
    fn load(known: &mut Known, service: &Service, cx: &Context<'_>) {
        known.loaded = true;
        let mut keys: Vec<Key> =
            cx.cache.owned_by(service.meta.uid).filter(|key| key.kind == Kind::EndpointSlice).collect();
        keys.sort();
        for key in keys {
            let Some(slice) = cx.cache.endpoint_slice(key.namespace, key.name) else { continue };
            let endpoints: BTreeMap<Name, Endpoint> = slice.endpoints.iter().map(|e| (e.pod, *e)).collect();
            for &pod in endpoints.keys() {
                known.place.insert(pod, known.slices.len());
                known.changed.insert(pod);
            }
            known.slices.push(Slice { name: key.name, endpoints, ..Slice::default() });
        }
    }

    /// Puts the changed pods into their slices.
    fn reconcile(known: &mut Known, service: &Service, cx: &Context<'_>) {
        let mut arrivals = Vec::new();
        for name in std::mem::take(&mut known.changed) {
            let pod = cx.cache.pod(service.meta.namespace, name);
            let wanted = pod.and_then(|pod| endpoint(service, pod, cx));
            match (known.place.get(&name).copied(), wanted) {
                (Some(at), Some(wanted)) => {
                    let slice = &mut known.slices[at];
                    if slice.endpoints.get(&name) != Some(&wanted) {
                        slice.endpoints.insert(name, wanted);
                        slice.changed = true;
                    }
                }
                (Some(at), None) => {
                    known.place.remove(&name);
                    known.slices[at].endpoints.remove(&name);
                    known.slices[at].changed = true;
                }
                (None, Some(wanted)) => arrivals.push(wanted),
                (None, None) => {}
            }
        }
        for arrival in arrivals {
            let has_room = |slice: &Slice| !slice.gone && slice.endpoints.len() < MAX_ENDPOINTS;
            // Slices that are written anyway are filled first, then the fullest of the others.
            let candidates = known.slices.iter().enumerate().filter(|(_, slice)| has_room(slice));
            let best = candidates.max_by_key(|(at, slice)| (slice.changed, slice.endpoints.len(), usize::MAX - at));
            let at = best.map(|(at, _)| at).unwrap_or(known.slices.len());
            if at == known.slices.len() {
                known.slices.push(Slice::default());
            }
            known.slices[at].endpoints.insert(arrival.pod, arrival);
            known.slices[at].changed = true;
            known.place.insert(arrival.pod, at);
        }
        // A Service without endpoints keeps one empty slice.
        if !known.slices.iter().any(|slice| !slice.gone) {
            known.slices.push(Slice { changed: true, ..Slice::default() });
        }
    }
}

fn object(service: &Service, slice: &Slice, cx: &Context<'_>) -> Object {
    let first = slice.endpoints.keys().next().and_then(|&name| cx.cache.pod(service.meta.namespace, name));
    let labels = service.meta.labels.with(Name::new(SERVICE_NAME), service.meta.name);
    let managed = Name::new("endpointslice.kubernetes.io/managed-by");
    let meta = Meta {
        namespace: service.meta.namespace,
        name: slice.name,
        generate_name: Name::from(format!("{}-", service.meta.name)),
        labels: Labels::new(labels.iter().chain([(managed, Name::new("endpointslice-controller.k8s.io"))])),
        owner: Some(controller_reference(Kind::Service, &service.meta)),
        ..Meta::default()
    };
    let endpoints = slice.endpoints.values().copied().collect();
    let ports = ports(service, first.map(|pod| &**pod));
    Object::EndpointSlice(Arc::new(EndpointSlice { meta, service: service.meta.name, ports, endpoints }))
}

impl Controller for EndpointSliceController {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn component(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::Service, Kind::EndpointSlice, Kind::Node]
    }

    fn queue(&self) -> WorkQueue {
        WorkQueue::with_backoff(Duration::from_secs(1), Duration::from_secs(1000))
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        match change.kind() {
            Kind::Pod => self.observe_pod(change, cx),
            Kind::Service => self.observe_service(change, cx),
            _ => {}
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        let Some(service) = cx.cache.service(key.namespace, key.name).cloned() else {
            self.services.remove(&key);
            return Progress::Done;
        };
        let Some(known) = self.services.get_mut(&key) else { return Progress::Done };
        if service.meta.deletion.is_some() {
            return Progress::Done;
        }
        if !known.loaded {
            Self::load(known, &service, cx);
        }
        if std::mem::take(&mut known.all) {
            let present: Vec<Name> = known.place.keys().copied().collect();
            let mut names: Vec<Name> = cx.cache.list(Kind::Pod, key.namespace).map(|pod| pod.meta().name).collect();
            names.extend(present);
            names.sort();
            known.changed.extend(names);
        }
        Self::reconcile(known, &service, cx);
        let occupied = known.slices.iter().filter(|slice| !slice.endpoints.is_empty()).count();
        let mut spare = occupied == 0;
        known.writing.clear();
        for at in 0..known.slices.len() {
            let slice = &mut known.slices[at];
            if slice.gone || !slice.changed {
                spare &= slice.gone || !slice.endpoints.is_empty();
                continue;
            }
            slice.changed = false;
            if slice.endpoints.is_empty() && !std::mem::take(&mut spare) {
                slice.gone = true;
                if !slice.name.is_empty() {
                    let key = Key { kind: Kind::EndpointSlice, namespace: key.namespace, name: slice.name };
                    cx.post(Call::Delete(key, DeleteOptions::default()));
                }
                continue;
            }
            known.writing.push(at);
            let object = object(&service, slice, cx);
            cx.request(if slice.name.is_empty() { Call::Create(object) } else { Call::Update(object) });
        }
        Progress::Wait
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, _cx: &mut Context<'_>) -> Progress {
        let Some(known) = self.services.get_mut(&key) else { return Progress::Done };
        let mut failed = false;
        for (at, reply) in std::mem::take(&mut known.writing).into_iter().zip(replies) {
            match reply {
                Ok(Answer::Object(object)) => known.slices[at].name = object.meta().name,
                Ok(_) => {}
                Err(_) => {
                    known.slices[at].changed = true;
                    failed = true;
                }
            }
        }
        if failed { Progress::Retry } else { Progress::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app};
    use super::*;
    use crate::model::workload::ReplicaSet;

    fn world(replicas: i32) -> World {
        let (selector, template) = app("app:1");
        let meta = Meta::named("default", "rs");
        let set = ReplicaSet { meta, replicas, selector: selector.clone(), template, ..ReplicaSet::default() };
        let service = Service { meta: Meta::named("default", "web"), selector: Some(selector), ..Service::default() };
        World::new(Config::default(), vec![Object::ReplicaSet(set.into()), Object::Service(service.into())])
    }

    fn slices(world: &World) -> Vec<Arc<EndpointSlice>> {
        let objects = world.objects.values();
        objects
            .filter_map(|object| match object {
                Object::EndpointSlice(slice) => Some(slice.clone()),
                _ => None,
            })
            .collect()
    }

    /// For each pod ready, serving, terminating, as letters.
    fn shown(world: &World) -> Vec<String> {
        let flag = |on, letter| if on { letter } else { '-' };
        let endpoints = slices(world).into_iter().flat_map(|slice| slice.endpoints.clone());
        endpoints
            .map(|e| [flag(e.ready, 'r'), flag(e.serving, 's'), flag(e.terminating, 't')].iter().collect())
            .collect()
    }

    #[test]
    fn an_endpoint_comes_unready_turns_ready_and_serves_while_it_terminates() {
        let mut world = world(2);
        world.run_until(0.3);
        assert_eq!(slices(&world).len(), 1, "a Service without endpoints has an empty slice");
        world.run_until(2.0);
        assert_eq!(shown(&world), ["---", "---"]);
        world.run_until(10.0);
        assert_eq!(shown(&world), ["rs-", "rs-"]);
        let pod = world.pods()[0].meta.key(Kind::Pod);
        world.call(Call::Delete(pod, DeleteOptions::default()));
        world.run_until(10.2);
        assert_eq!(shown(&world), ["-st", "rs-"]);
        world.run_until(20.0);
        assert_eq!(shown(&world), ["rs-", "rs-"]);
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
    }

    #[test]
    fn a_slice_holds_100_endpoints() {
        let mut world = world(250);
        world.run_until(60.0);
        let mut sizes: Vec<usize> = slices(&world).iter().map(|slice| slice.endpoints.len()).collect();
        sizes.sort();
        assert_eq!(sizes, [50, 100, 100]);
    }
}
