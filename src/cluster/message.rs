//! The closed set of messages. Adding one makes the compiler list every place that must know it.

use crate::kernel::{Digest, Fold};
use crate::protocol::{api, cri, probe, pull, volume};
use crate::{apiserver, client, controllers, kubelet, registry, runtime::simulated as runtime, scheduler};

/// A message to one of the parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    ApiServer(apiserver::In),
    Scheduler(Incarnation, scheduler::In),
    Controllers(Incarnation, controllers::In),
    Client(client::In),
    Kubelet(Incarnation, kubelet::In),
    Runtime(runtime::In),
    Registry(registry::In),
    /// From outside: the user ends the run.
    Interrupt,
}

/// Counts the starts of a process. What was meant for an earlier one never reaches a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u32);

const _: () = assert!(size_of::<Message>() <= 32);

/// Integers that tell two messages apart: tags, versions, ids. Texts are left out; they follow from these.
impl Fold for Message {
    fn fold(&self, digest: &mut Digest) {
        match self {
            Message::ApiServer(message) => {
                digest.word(1);
                match message {
                    apiserver::In::Request { from, request } => {
                        digest.word(u64::from(from.0));
                        fold_request(request, digest);
                    }
                    apiserver::In::LeaseCut { .. } => digest.word(101),
                    apiserver::In::LeaseMended { .. } => digest.word(102),
                    apiserver::In::Disconnected(client) => digest.word(u64::from(client.0) | 1 << 40),
                    apiserver::In::Up(up) => digest.word(200 + u64::from(*up)),
                    apiserver::In::Timer(_) => digest.word(300),
                }
            }
            Message::Scheduler(incarnation, message) => {
                digest.word(2 | u64::from(incarnation.0) << 8);
                match message {
                    scheduler::In::Start => digest.word(1),
                    scheduler::In::Watch(event) => fold_watch(event, digest),
                    scheduler::In::Api(response) => fold_response(response, digest),
                    scheduler::In::Timer(_) => digest.word(2),
                }
            }
            Message::Controllers(incarnation, message) => {
                digest.word(3 | u64::from(incarnation.0) << 8);
                match message {
                    controllers::In::Start { settled } => digest.word(1 | u64::from(*settled) << 8),
                    controllers::In::Watch(event) => fold_watch(event, digest),
                    controllers::In::Api(response) => fold_response(response, digest),
                    controllers::In::Timer(_) => digest.word(2),
                }
            }
            Message::Client(message) => {
                digest.word(4);
                match message {
                    client::In::Do(action) => digest.bytes(action.text.as_bytes()),
                    client::In::Api(response) => fold_response(response, digest),
                    client::In::Timer(_) => digest.word(2),
                }
            }
            Message::Kubelet(incarnation, message) => {
                digest.word(5 | u64::from(incarnation.0) << 8);
                match message {
                    kubelet::In::Start => digest.word(1),
                    kubelet::In::Watch(event) => fold_watch(event, digest),
                    kubelet::In::Api(response) => fold_response(response, digest),
                    kubelet::In::Cri(response) => fold_cri(response, digest),
                    kubelet::In::CriEvent(event) => {
                        digest.word(event.pod.0);
                        digest.word(event.container.map_or(0, |container| container.0) << 2 | event.kind as u64);
                    }
                    kubelet::In::CriStream { up } => digest.word(400 + u64::from(*up)),
                    kubelet::In::Probe(answer) => {
                        digest.word(answer.id.0);
                        digest.word(u64::from(answer.outcome == probe::Outcome::Success));
                    }
                    kubelet::In::ProbeChanged(changed) => digest.word(changed.container.0),
                    kubelet::In::Volume(answer) => match &**answer {
                        volume::Answer::Done { pod } => digest.word(pod.0),
                        volume::Answer::Content { pod, content } => {
                            digest.word(pod.0 | 1 << 62);
                            digest.bytes(content.as_deref().unwrap_or_default().as_bytes());
                        }
                        volume::Answer::NotPlaced { pod, .. } | volume::Answer::Failed { pod, .. } => {
                            digest.word(pod.0 | 1 << 63);
                        }
                    },
                    kubelet::In::Stats(summary) => digest.word(summary.memory.amount as u64),
                    kubelet::In::UsageChanged => digest.word(600),
                    kubelet::In::SystemOom { pid, .. } => digest.word(1 << 32 | u64::from(*pid)),
                    kubelet::In::Shutdown => digest.word(601),
                    kubelet::In::StaticPods(pods) => digest.word(500 + pods.len() as u64),
                    kubelet::In::Timer(_) => digest.word(2),
                }
            }
            Message::Runtime(message) => {
                digest.word(6);
                match message {
                    runtime::In::Cri(request) => {
                        digest.word(request.id.0);
                        digest.bytes(request.call.name().as_bytes());
                    }
                    runtime::In::Pull(response) => {
                        digest.word(response.id.0);
                        digest.word(u64::from(response.result.is_ok()));
                    }
                    runtime::In::Probe(request) => digest.word(request.id.0),
                    runtime::In::Volume(request) => match &**request {
                        volume::Request::SetUp { pod, .. } => digest.word(pod.0),
                        volume::Request::PlaceFiles { pod, .. } => digest.word(pod.0 | 1 << 62),
                        volume::Request::Read { pod, .. } => digest.word(pod.0 | 1 << 61),
                        volume::Request::TearDown { pod } => digest.word(pod.0 | 1 << 63),
                    },
                    runtime::In::Stats(request) => digest.word(request.disk_at.as_nanos()),
                    runtime::In::Fault(_) => digest.word(1),
                    runtime::In::Timer(_) => digest.word(2),
                }
            }
            Message::Interrupt => digest.word(8),
            Message::Registry(message) => {
                digest.word(7);
                match message {
                    registry::In::Request { from, request } => {
                        digest.word(u64::from(from.0));
                        digest.word(request.id.0);
                        if let pull::Fetch::Layer { layer, .. } = request.what {
                            digest.word(layer.digest);
                        }
                    }
                    registry::In::Disconnected(runtime) => digest.word(u64::from(runtime.0) | 1 << 40),
                    registry::In::Fault(_) => digest.word(1),
                    registry::In::Timer(_) => digest.word(2),
                }
            }
        }
    }
}

fn fold_request(request: &api::Request, digest: &mut Digest) {
    digest.word(request.tag.0);
    digest.word(match &request.call {
        api::Call::Create(object) => object.kind() as u64,
        api::Call::Update(object) | api::Call::UpdateStatus(object) => object.meta().resource_version << 8 | 1,
        api::Call::Patch(..) => 2,
        api::Call::Get(_) => 3,
        api::Call::List { kind, .. } => 4 | (*kind as u64) << 8,
        api::Call::Watch(watch) => 5 | (watch.kind as u64) << 8,
        api::Call::Delete(..) => 6,
        api::Call::Bind { uid, .. } => 7 | uid.0 << 8,
        api::Call::Evict { .. } => 8,
        api::Call::RenewLease { .. } => 9,
    });
}

fn fold_response(response: &api::Response, digest: &mut Digest) {
    digest.word(response.tag.0);
    digest.word(match &response.result {
        Ok(api::Answer::Object(object)) => object.meta().resource_version,
        Ok(api::Answer::List(objects)) => objects.len() as u64 | 1 << 60,
        Ok(_) => 0,
        Err(status) => u64::from(status.reason.code()) | 1 << 61,
    });
}

fn fold_watch(event: &api::WatchEvent, digest: &mut Digest) {
    match event {
        api::WatchEvent::Listed(watch, objects) => {
            digest.word(watch.kind as u64 | 1 << 62);
            digest.word(objects.len() as u64);
        }
        api::WatchEvent::Added(object) => digest.word(object.meta().resource_version << 2),
        api::WatchEvent::Modified(object) => digest.word(object.meta().resource_version << 2 | 1),
        api::WatchEvent::Deleted(object) => digest.word(object.meta().resource_version << 2 | 2),
        api::WatchEvent::Broken(watch) => digest.word(watch.kind as u64 | 1 << 63),
    }
}

fn fold_cri(response: &cri::Response, digest: &mut Digest) {
    digest.word(response.id.0);
    digest.word(match &response.result {
        Ok(cri::Answer::Sandbox(id)) => id.0,
        Ok(cri::Answer::Container(id)) => id.0,
        Ok(cri::Answer::ContainerStatus(status)) => status.summary.id.0 << 2 | status.summary.state as u64,
        Ok(_) => 1,
        Err(error) => error.code as u64 | 1 << 60,
    });
}
