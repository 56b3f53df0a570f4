//! Events about pods and the node. While the API server is out of reach they are kept, and sent in order when it is back.
//!
//! Kubernetes: staging/src/k8s.io/client-go/tools/record/event.go.

use std::sync::Arc;

use crate::model::{Event, EventRecorder, EventType, Kind, Name, Object, ObjectReference, Pod, Text, Uid};
use crate::protocol::api::{Call, Request, Tag};

use super::pod_actions::{ContainerRef, ContainerType};
use super::{Fx, Kubelet, Out};

/// The kubelet's recorder and what it could not send yet.
#[derive(Debug)]
pub struct Events {
    recorder: EventRecorder,
    kept: Vec<Arc<Event>>,
    /// The API server is out of reach.
    pub cut: bool,
}

/// As many events as the recorder's channel holds (`maxQueuedEvents`).
const MOST_KEPT: usize = 1000;

impl Events {
    /// The recorder of the kubelet on this node.
    pub fn new(node: Name) -> Events {
        Events { recorder: EventRecorder::new("kubelet", node), kept: Vec::new(), cut: false }
    }

    /// Drops what is remembered of an object that is gone.
    pub fn forget(&mut self, uid: Uid) {
        self.recorder.forget(uid);
    }

    fn record(&mut self, about: ObjectReference, kind: EventType, reason: &str, message: Text, fx: &mut Fx) {
        let Some(event) = self.recorder.record(fx.now(), about, kind, reason, message) else { return };
        let event = Arc::new(event);
        if !self.cut {
            send(event, fx);
        } else if self.kept.len() < MOST_KEPT {
            self.kept.push(event);
        }
    }

    /// The API server is back: everything that was kept goes out.
    pub fn reconnected(&mut self, fx: &mut Fx) {
        self.cut = false;
        for event in std::mem::take(&mut self.kept) {
            send(event, fx);
        }
    }
}

/// Nobody waits for the answer. An event that was written before has the same name: the API server counts it on.
fn send(event: Arc<Event>, fx: &mut Fx) {
    fx.send(Out::Api(Box::new(Request { tag: Tag::NONE, call: Call::Create(Object::Event(event)) })));
}

impl Kubelet {
    /// An event about a pod, or about one of its containers.
    pub(super) fn pod_event(
        &mut self,
        pod: &Pod,
        container: Option<ContainerRef>,
        kind: EventType,
        reason: &str,
        message: Text,
        fx: &mut Fx,
    ) {
        let field_path = match container.and_then(|one| one.of(&pod.spec).map(|container| (one, container.name))) {
            Some((one, name)) => {
                let list = match one.of {
                    ContainerType::Ephemeral => "ephemeralContainers",
                    ContainerType::Init => "initContainers",
                    ContainerType::Regular => "containers",
                };
                Name::from(["spec.", list, "{", name.as_str(), "}"].concat())
            }
            None => Name::default(),
        };
        let about = ObjectReference {
            kind: Kind::Pod,
            namespace: pod.meta.namespace,
            name: pod.meta.name,
            uid: pod.meta.uid,
            field_path,
        };
        self.events.record(about, kind, reason, message, fx);
    }

    /// An event about the node.
    pub(super) fn node_event(&mut self, kind: EventType, reason: &str, message: String, fx: &mut Fx) {
        let about = ObjectReference {
            kind: Kind::Node,
            namespace: Name::default(),
            name: self.config.name(),
            uid: self.known_node().meta.uid,
            field_path: Name::default(),
        };
        self.events.record(about, kind, reason, message.into(), fx);
    }
}
