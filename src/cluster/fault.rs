//! What can go wrong in a cluster, and what each part hears of it.

use crate::kernel::{Cause, Time};
use crate::model::{Name, Source, Text};
use crate::protocol::api::{Watch, WatchEvent};
use crate::runtime::simulated as runtime;
use crate::trace::{CausedBy, Record};
use crate::{apiserver, kubelet, registry};

use super::Cluster;
use super::message::Message;
use super::outside::Said;

/// A fault, or its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    Node {
        node: Name,
        what: NodeFault,
    },
    /// The registry of this host.
    Registry {
        host: Name,
        what: registry::Fault,
    },
    /// The API server (with its etcd) is up or down.
    ApiServer {
        up: bool,
    },
    Scheduler {
        up: bool,
    },
    ControllerManager {
        up: bool,
    },
    /// Every container of the pod, if `container` is empty.
    Container {
        namespace: Name,
        pod: Name,
        container: Name,
        what: ContainerFault,
    },
}

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeFault {
    /// False: the machine loses power. True: it boots.
    Power(bool),
    /// Somebody shuts the machine down: it goes off when its kubelet has ended the pods, as far as it is configured to.
    Shutdown,
    /// The kubelet runs or not; the containers stay.
    Kubelet(bool),
    /// The container runtime works, …
    RuntimeRunning,
    /// … is stopped: calls are refused; the containers stay.
    RuntimeStopped,
    /// … or hangs: calls get no answer.
    RuntimeHung,
    /// The network plug-in (CNI) answers (true) or hangs: sandboxes neither come up nor down.
    NetworkPlugin(bool),
    /// The way to the control plane is open or cut.
    Network(bool),
    /// Others use so much that only this is left, or (None) as little as before.
    Scarce { what: runtime::Scarce, available: Option<runtime::Available> },
}

/// What happens to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerFault {
    Exit {
        code: i32,
    },
    Oom,
    /// It stops (true) answering probes, or answers again.
    Hang(bool),
}

impl ContainerFault {
    /// Why this can't be done to a container of a runtime outside; None if it can. An exit is a SIGKILL there, whatever its
    /// code was to be.
    pub fn refused_outside(self) -> Option<&'static str> {
        match self {
            ContainerFault::Exit { .. } => None,
            ContainerFault::Oom => Some("a real container runs out of memory by itself: `oom` is for simulated nodes"),
            ContainerFault::Hang(_) => Some("the CRI can't pause a container: `hang` is for simulated nodes"),
        }
    }
}

impl Fault {
    /// What undoes this fault; None for what can't be undone, such as an exit.
    pub fn undone(&self) -> Option<Fault> {
        Some(match self {
            Fault::Node { node, what } => Fault::Node {
                node: *node,
                what: match what {
                    NodeFault::Power(on) => NodeFault::Power(!on),
                    NodeFault::Shutdown => NodeFault::Power(true),
                    NodeFault::Kubelet(on) => NodeFault::Kubelet(!on),
                    NodeFault::Network(open) => NodeFault::Network(!open),
                    NodeFault::NetworkPlugin(works) => NodeFault::NetworkPlugin(!works),
                    NodeFault::Scarce { what, .. } => NodeFault::Scarce { what: *what, available: None },
                    NodeFault::RuntimeRunning => return None,
                    NodeFault::RuntimeStopped | NodeFault::RuntimeHung => NodeFault::RuntimeRunning,
                },
            },
            Fault::Registry { host, what } => Fault::Registry {
                host: *host,
                what: match what {
                    registry::Fault::Down(down) => registry::Fault::Down(!down),
                    registry::Fault::Bandwidth(_) => registry::Fault::Bandwidth(None),
                    registry::Fault::ErrorRate(_) => registry::Fault::ErrorRate(0.0),
                    registry::Fault::RateLimit(_) => registry::Fault::RateLimit(None),
                    registry::Fault::Unauthorized(unauthorized) => registry::Fault::Unauthorized(!unauthorized),
                    registry::Fault::Corrupt { pattern, corrupt } => {
                        registry::Fault::Corrupt { pattern: *pattern, corrupt: !corrupt }
                    }
                    registry::Fault::Missing { pattern, missing } => {
                        registry::Fault::Missing { pattern: *pattern, missing: !missing }
                    }
                },
            },
            Fault::ApiServer { up } => Fault::ApiServer { up: !up },
            Fault::Scheduler { up } => Fault::Scheduler { up: !up },
            Fault::ControllerManager { up } => Fault::ControllerManager { up: !up },
            Fault::Container { namespace, pod, container, what: ContainerFault::Hang(hangs) } => Fault::Container {
                namespace: *namespace,
                pod: *pod,
                container: *container,
                what: ContainerFault::Hang(!hangs),
            },
            Fault::Container { .. } => return None,
        })
    }
}

impl Cluster {
    /// Lets faults happen now, together: `text` is what the user wrote, `source` where. `undone` says that they are the
    /// end of earlier ones.
    pub fn inject(&mut self, faults: &[Fault], text: &str, source: Option<Source>, undone: bool) {
        let record = Record::Fault { text: Text::new(text), undone, by: CausedBy { source } };
        let cause = self.record(Cause::NONE, record);
        for fault in faults {
            self.inject_one(fault, cause);
        }
    }

    fn inject_one(&mut self, fault: &Fault, cause: Cause) {
        match fault {
            Fault::Node { node, what } => {
                let Some(index) = self.node_index(*node) else { return };
                let refused = self.is_outside(index).then(|| what.refused_outside()).flatten();
                let text = refused.unwrap_or(what.describe());
                let cause = self.record(cause, Record::NodeFault { node: *node, what: Text::new(text) });
                if refused.is_none() {
                    self.inject_node(index, *what, cause);
                }
            }
            Fault::Registry { host, what } => {
                let to = self.registry_actor(*host);
                self.schedule_now(to, cause, Message::Registry(registry::In::Fault(Box::new(what.clone()))));
            }
            Fault::ApiServer { up } => {
                self.schedule_now(super::wiring::API_SERVER, cause, Message::ApiServer(apiserver::In::Up(*up)));
            }
            Fault::Scheduler { up } => self.switch_scheduler(*up, cause),
            Fault::ControllerManager { up } => self.switch_controllers(*up, cause),
            Fault::Container { namespace, pod, container, what } => {
                let (namespace, pod, container) = (*namespace, *pod, *container);
                let Some(index) = self.node_of_pod(namespace, pod) else { return };
                if self.is_outside(index)
                    && let Some(refused) = what.refused_outside()
                {
                    let text = format!("{refused}: pod {pod}").into();
                    self.record(cause, Record::NodeFault { node: self.nodes[index].name, what: text });
                    return;
                }
                let fault = match *what {
                    ContainerFault::Exit { code } => runtime::Fault::Exit { namespace, pod, container, code },
                    ContainerFault::Oom => runtime::Fault::Oom { namespace, pod, container },
                    ContainerFault::Hang(hangs) => runtime::Fault::Hang { namespace, pod, container, hangs },
                };
                self.tell_runtime(index, cause, fault);
            }
        }
    }

    fn inject_node(&mut self, index: usize, what: NodeFault, cause: Cause) {
        let boot_time = self.config.boot_time;
        let node = &mut self.nodes[index];
        match what {
            NodeFault::Power(on) if on == node.powered => {}
            NodeFault::Power(false) => self.power_off(index, cause),
            NodeFault::Shutdown if node.powered && node.kubelet_running => {
                let incarnation = node.incarnation;
                let to = self.kubelet_actor(index);
                self.schedule_now(to, cause, Message::Kubelet(incarnation, kubelet::In::Shutdown));
            }
            NodeFault::Shutdown => self.power_off(index, cause),
            NodeFault::Power(true) => {
                node.powered = true;
                let up = self.now() + boot_time;
                let to = self.runtime_actor(index);
                let message = Message::Runtime(runtime::In::Fault(Box::new(runtime::Fault::PowerOn)));
                self.schedule(up, to, cause, message);
                self.start_kubelet(index, up, cause);
            }
            NodeFault::Kubelet(true) => {
                let now = self.now();
                if self.nodes[index].powered && !self.nodes[index].kubelet_running {
                    self.start_kubelet(index, now, cause);
                }
            }
            NodeFault::Kubelet(false) => self.stop_kubelet(index, cause),
            NodeFault::RuntimeRunning => self.tell_runtime(index, cause, runtime::Fault::Restored),
            NodeFault::RuntimeStopped => self.tell_runtime(index, cause, runtime::Fault::Stopped),
            NodeFault::RuntimeHung => self.tell_runtime(index, cause, runtime::Fault::Hung),
            NodeFault::NetworkPlugin(works) => {
                self.tell_runtime(index, cause, runtime::Fault::NetworkHangs(!works));
            }
            NodeFault::Network(open) => self.set_network(index, open, cause),
            NodeFault::Scarce { what, available } => {
                self.tell_runtime(index, cause, runtime::Fault::Scarce { what, available });
            }
        }
    }

    /// The machine goes off.
    pub(super) fn power_off(&mut self, index: usize, cause: Cause) {
        if !std::mem::replace(&mut self.nodes[index].powered, false) {
            return;
        }
        self.stop_kubelet(index, cause);
        self.tell_runtime(index, cause, runtime::Fault::PowerOff);
        self.disconnect_registries(index, cause);
    }

    fn tell_runtime(&mut self, index: usize, cause: Cause, fault: runtime::Fault) {
        let stream = match fault {
            runtime::Fault::Stopped | runtime::Fault::Hung => Some(false),
            runtime::Fault::Restored => Some(true),
            _ => None,
        };
        let to = self.runtime_actor(index);
        self.schedule_now(to, cause, Message::Runtime(runtime::In::Fault(Box::new(fault))));
        if let (Some(up), true) = (stream, self.nodes[index].kubelet_running) {
            // The kubelet's connection to the runtime tells it.
            let message = Message::Kubelet(self.nodes[index].incarnation, kubelet::In::CriStream { up });
            self.schedule_now(self.kubelet_actor(index), cause, message);
        }
    }

    fn disconnect_registries(&mut self, index: usize, cause: Cause) {
        let runtime = registry::RuntimeId(self.runtime_actor(index).0);
        for registry in self.registry_actors() {
            self.schedule_now(registry, cause, Message::Registry(registry::In::Disconnected(runtime)));
        }
    }

    /// The kubelet's process ends: its connections break and its lease is no longer renewed.
    fn stop_kubelet(&mut self, index: usize, cause: Cause) {
        let node = &mut self.nodes[index];
        if !node.kubelet_running {
            return;
        }
        node.kubelet_running = false;
        node.incarnation.0 += 1;
        self.cut_off(index, cause);
        if !self.is_outside(index) {
            self.tell_runtime(index, cause, runtime::Fault::CallerGone);
        }
    }

    fn start_kubelet(&mut self, index: usize, at: Time, cause: Cause) {
        let streams = self.streams();
        let node = &mut self.nodes[index];
        node.incarnation.0 += 1;
        node.kubelet_running = true;
        let mut config = self.config.nodes[index].kubelet.clone();
        config.start = kubelet::StartKind::Restarts;
        node.kubelet = kubelet::Kubelet::new(config, &streams);
        let incarnation = node.incarnation;
        let to = self.kubelet_actor(index);
        self.schedule(at, to, cause, Message::Kubelet(incarnation, kubelet::In::Start));
        self.tell_static_pods(index, at, cause);
        self.tell_outside(index, Said::Started);
    }

    fn set_network(&mut self, index: usize, open: bool, cause: Cause) {
        let node = &mut self.nodes[index];
        if node.network_open == open {
            return;
        }
        node.network_open = open;
        if !open {
            self.cut_off(index, cause);
            return;
        }
        // The connections that hung are found dead and made anew.
        let incarnation = node.incarnation;
        let to = self.kubelet_actor(index);
        for watch in self.kubelet_watches(index) {
            let message = kubelet::In::Watch(std::sync::Arc::new(WatchEvent::Broken(watch)));
            self.schedule_now(to, cause, Message::Kubelet(incarnation, message));
        }
    }

    /// What a kubelet watches: the pods bound to it, and its own Node.
    fn kubelet_watches(&self, index: usize) -> Vec<Watch> {
        let node = Some(self.nodes[index].name);
        vec![Watch { kind: crate::model::Kind::Pod, node }, Watch { kind: crate::model::Kind::Node, node }]
    }

    fn cut_off(&mut self, index: usize, cause: Cause) {
        let client = self.client_id(self.kubelet_actor(index));
        let node = self.nodes[index].name;
        self.schedule_now(super::wiring::API_SERVER, cause, Message::ApiServer(apiserver::In::LeaseCut { node }));
        let message = Message::ApiServer(apiserver::In::Disconnected(client));
        self.schedule_now(super::wiring::API_SERVER, cause, message);
    }
}

impl NodeFault {
    /// Why this can't be done to a node whose runtime is outside; None if it can.
    pub fn refused_outside(self) -> Option<&'static str> {
        match self {
            NodeFault::Power(_) | NodeFault::Shutdown => {
                Some("a real machine keeps its power: this fault is for simulated nodes")
            }
            NodeFault::RuntimeRunning | NodeFault::RuntimeStopped | NodeFault::RuntimeHung => Some(
                "a real runtime is stopped by who started it (systemctl stop …): this fault is for simulated nodes",
            ),
            NodeFault::NetworkPlugin(_) => {
                Some("a real network plug-in is not ours to stop: this fault is for simulated nodes")
            }
            NodeFault::Scarce { .. } => {
                Some("what a real machine uses is what it uses: this fault is for simulated nodes")
            }
            NodeFault::Kubelet(_) | NodeFault::Network(_) => None,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            NodeFault::Power(false) => "lost power",
            NodeFault::Shutdown => "is shut down",
            NodeFault::Power(true) => "has power again",
            NodeFault::Kubelet(false) => "kubelet stopped",
            NodeFault::Kubelet(true) => "kubelet started",
            NodeFault::RuntimeRunning => "container runtime works again",
            NodeFault::RuntimeStopped => "container runtime stopped",
            NodeFault::RuntimeHung => "container runtime hangs",
            NodeFault::NetworkPlugin(false) => "network plug-in hangs",
            NodeFault::NetworkPlugin(true) => "network plug-in works again",
            NodeFault::Network(false) => "cut off from the control plane",
            NodeFault::Network(true) => "reaches the control plane again",
            NodeFault::Scarce { what, available: Some(_) } => match what {
                runtime::Scarce::Memory => "others fill its memory",
                runtime::Scarce::Disk => "others fill its disk",
                runtime::Scarce::ImageDisk => "others fill the disk of its images",
                runtime::Scarce::Inodes => "others use up its inodes",
                runtime::Scarce::Processes => "others use up its process ids",
            },
            NodeFault::Scarce { available: None, .. } => "others use as little as before",
        }
    }
}
