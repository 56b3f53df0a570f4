//! The API server with its etcd: storage and resource versions, watches, admission, validation, graceful deletion.
//!
//! It leaves out everything that is text: objects arrive compiled and defaulted (see `manifest/`). Networks between it
//! and its clients are links of the cluster; its own processing time is in [`Config`]. Also left out, because nothing
//! in a simulated cluster shows them: authentication, flow control, the watch cache's history, dry runs of writes.
//!
//! A request is worked off at the moment at which it arrives, in the order of arrival, as etcd would order it. Its
//! answer leaves after the write or read latency; the watch events of a write leave `watch_latency` after its commit,
//! which is when the answer leaves.
//!
//! Read `store` (what there is), `watches` (who is told), then `write` (creation and update), `patch`, `delete`, `pods`
//! (binding and eviction), `lease`, `identity` (uids and names); `admission/` and `validation/` decide what may be stored.

mod admission;
mod claims;
mod delete;
mod ephemeral;
mod identity;
mod lease;
mod parts;
mod patch;
mod pods;
mod preload;
mod resize;
mod store;
mod table;
#[cfg(test)]
mod tests;
pub mod validation;
mod watches;
mod write;

use std::sync::Arc;

use crate::kernel::{Distribution, Duration, Stream, Streams, Time};
use crate::model::feature_gates;
use crate::model::{Key, Kind, Name, Object, Selector};
use crate::protocol::api::{Answer, Call, ClientId, Request, Response, Status, StatusReason, Tag, Watch, WatchEvent};
use crate::trace::Effects;

use admission::Admission;
pub use identity::Identity;
use lease::Leases;
pub use store::Store;
pub use validation::validate;
use watches::Watches;

/// Settings of the API server.
#[derive(Clone, Debug)]
pub struct Config {
    /// From a write's arrival until its answer leaves (etcd included).
    pub write_latency: Distribution,
    /// The same for reads.
    pub read_latency: Distribution,
    /// From a write's commit until the watch event leaves.
    pub watch_latency: Distribution,
    /// What new objects' uids and generated names are made from.
    pub identity: Identity,
    /// `--disable-admission-plugins`.
    pub disabled: DisabledPlugins,
    pub feature_gates: FeatureGates,
}

/// Feature gates of kube-apiserver by which something changes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureGates {
    /// `MatchLabelKeysInPodTopologySpread` (beta, on): else new pods lose the field.
    pub match_label_keys_in_pod_topology_spread: bool,
    /// `MatchLabelKeysInPodTopologySpreadSelectorMerge` (beta, on): the keys go into the selector at creation; else the
    /// scheduler looks at the pod's labels as they are.
    pub selector_merge: bool,
    /// `PodLevelResources` (beta, on): else new pods lose `spec.resources`.
    pub pod_level_resources: bool,
    /// `PodTopologyLabelsAdmission` (beta, on): pods get their node's zone and region as labels.
    pub pod_topology_labels: bool,
    /// `ClearingNominatedNodeNameAfterBinding` (beta, on).
    pub clearing_nominated_node_name: bool,
    /// `TaintTolerationComparisonOperators` (alpha, off): tolerations with `Gt` and `Lt` are valid.
    pub taint_toleration_comparison_operators: bool,
}

impl FeatureGates {
    /// Their names.
    pub const NAMES: [&str; 6] = [
        "MatchLabelKeysInPodTopologySpread",
        "MatchLabelKeysInPodTopologySpreadSelectorMerge",
        "PodLevelResources",
        "PodTopologyLabelsAdmission",
        "ClearingNominatedNodeNameAfterBinding",
        "TaintTolerationComparisonOperators",
    ];

    /// As `gates` has them.
    pub fn of(gates: &feature_gates::FeatureGates) -> FeatureGates {
        let [keys, merge, resources, topology, clearing, comparing] = FeatureGates::NAMES.map(|name| gates.on(name));
        FeatureGates {
            match_label_keys_in_pod_topology_spread: keys,
            selector_merge: merge,
            pod_level_resources: resources,
            pod_topology_labels: topology,
            clearing_nominated_node_name: clearing,
            taint_toleration_comparison_operators: comparing,
        }
    }
}

impl Default for FeatureGates {
    fn default() -> FeatureGates {
        FeatureGates::of(&feature_gates::FeatureGates::default())
    }
}

/// Admission plug-ins that can be switched off, as `--disable-admission-plugins` does it. Those that are not here are
/// always on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisabledPlugins {
    /// `Priority`: a pod's `priority` is then the number that it says, whatever its class.
    pub priority: bool,
    /// `TaintNodesByCondition`: a new node is then not tainted `not-ready`.
    pub taint_nodes_by_condition: bool,
}

/// Of a small healthy cluster whose etcd has a fast disk.
impl Default for Config {
    fn default() -> Config {
        let log_normal =
            |p50, p99| Distribution::LogNormal { p50: Duration::from_micros(p50), p99: Duration::from_micros(p99) };
        Config {
            write_latency: log_normal(3_000, 20_000),
            read_latency: log_normal(1_000, 8_000),
            watch_latency: log_normal(800, 5_000),
            identity: Identity::Counted,
            disabled: DisabledPlugins::default(),
            feature_gates: FeatureGates::default(),
        }
    }
}

/// What the API server hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    Request {
        from: ClientId,
        request: Box<Request>,
    },
    /// A fault of the world around it: the lease holder on this node can't reach it any more, so its renewals stop.
    LeaseCut {
        node: Name,
    },
    /// The end of that fault: the holder, which has not stopped trying, reaches the API server with its next renewal.
    LeaseMended {
        node: Name,
    },
    /// A client's connections broke (power, network, restart): its watches end and requests under way are lost.
    Disconnected(ClientId),
    /// The API server goes away (false) or comes back (true): while away it answers nothing and its watches break.
    Up(bool),
    Timer(Timer),
}

/// The API server's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// The first renewal of a node's lease that reaches the API server again.
    RenewAgain { node: Name },
}

/// What the API server says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Respond { to: ClientId, response: Box<Response> },
    Deliver { to: ClientId, event: Arc<WatchEvent> },
}

/// The API server.
#[derive(Debug)]
pub struct ApiServer {
    store: Store,
    watches: Watches,
    admission: Admission,
    leases: Leases,
    names: identity::Names,
    latency: Latency,
    up: bool,
}

/// How long everything takes.
#[derive(Debug)]
struct Latency {
    config: Config,
    write: Stream,
    read: Stream,
    watch: Stream,
    /// When the write at hand is committed.
    commit: Time,
}

type Fx = Effects<In, Out>;

impl ApiServer {
    /// An API server as it is when a cluster begins: with the namespaces and priority classes that Kubernetes makes
    /// itself.
    pub fn new(config: Config, streams: &Streams) -> ApiServer {
        let stream = |purpose| streams.stream("apiserver", purpose);
        let mut store = Store::new(config.identity);
        for object in admission::initial_objects() {
            write::store_initial(&mut store, object);
        }
        ApiServer {
            store,
            watches: Watches::default(),
            admission: Admission::new(stream("addresses"), config.disabled, config.feature_gates),
            leases: Leases::new(*streams),
            names: identity::Names::new(config.identity, streams),
            latency: Latency {
                config,
                write: stream("write-latency"),
                read: stream("read-latency"),
                watch: stream("watch-latency"),
                commit: Time::ZERO,
            },
            up: true,
        }
    }

    fn gates(&self) -> FeatureGates {
        self.latency.config.feature_gates
    }

    /// What is stored.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The watches of a client that are established: what breaks for it if its connections do.
    pub fn watches_of(&self, client: ClientId) -> &[Watch] {
        self.watches.of(client)
    }

    /// Takes one message.
    pub fn handle(&mut self, message: In, fx: &mut Fx) {
        match message {
            In::Request { from, request } => self.request(from, *request, fx),
            In::LeaseCut { node } => self.cut_lease(node, fx),
            In::LeaseMended { node } => self.mend_lease(node, fx),
            In::Disconnected(client) => self.watches.disconnect(client),
            In::Up(up) => self.set_up(up, fx),
            In::Timer(Timer::RenewAgain { node }) => self.renew_again(node, fx),
        }
    }

    fn request(&mut self, from: ClientId, request: Request, fx: &mut Fx) {
        let Request { tag, call } = request;
        if !self.up {
            let refused = Status::new(StatusReason::ServiceUnavailable, "connection refused");
            return respond(from, tag, Err(refused), Duration::ZERO, fx);
        }
        if is_read(&call) {
            let latency = self.latency.read.draw(&self.latency.config.read_latency);
            let result = self.read(from, call, fx.now() + latency, fx);
            respond(from, tag, result, latency, fx);
        } else {
            let latency = self.latency.write.draw(&self.latency.config.write_latency);
            self.latency.commit = fx.now() + latency;
            let result = self.write(call, fx);
            respond(from, tag, result, latency, fx);
        }
    }

    fn read(&mut self, from: ClientId, call: Call, at: Time, fx: &mut Fx) -> Result<Answer, Status> {
        match call {
            Call::Get(key) if key.kind == Kind::Lease => {
                self.get(&key).map(|lease| Answer::Object(self.lease_at(lease, fx.now())))
            }
            Call::Get(key) => self.get(&key).map(|object| Answer::Object(object.clone())),
            Call::List { kind, namespace, selector } => Ok(Answer::List(self.list(kind, namespace, &selector))),
            Call::Watch(watch) => {
                let listed = self.listed(watch);
                self.watches.begin(from, watch, listed, at, fx);
                Ok(Answer::Watching)
            }
            _ => Err(Status::new(StatusReason::InternalError, "not a read")),
        }
    }

    fn write(&mut self, call: Call, fx: &mut Fx) -> Result<Answer, Status> {
        match call {
            Call::Create(object) => self.create(object, fx).map(Answer::Object),
            Call::Update(object) => self.update(object, fx).map(Answer::Object),
            Call::UpdateStatus(object) => self.update_status(object, fx).map(Answer::Object),
            Call::Patch(key, patch) => self.patch(key, patch, fx).map(Answer::Object),
            Call::Delete(key, options) => self.delete(&key, options, fx).map(Answer::Object),
            Call::Bind { pod, uid, node } => self.bind(pod, uid, node, fx).map(|()| Answer::Done),
            Call::Evict { pod, grace, dry_run } => self.evict(pod, grace, dry_run, fx).map(|()| Answer::Done),
            Call::RenewLease { node, every, reports } => {
                self.renew_lease(node, every, reports, fx).map(|()| Answer::Done)
            }
            Call::Get(_) | Call::List { .. } | Call::Watch(_) => {
                Err(Status::new(StatusReason::InternalError, "not a write"))
            }
        }
    }

    fn get(&self, key: &Key) -> Result<&Object, Status> {
        self.store.get(key).ok_or_else(|| Status::not_found(key))
    }

    fn list(&self, kind: Kind, namespace: Name, selector: &Selector) -> Vec<Object> {
        let mut objects: Vec<&Object> = self
            .store
            .iter(kind)
            .filter(|object| namespace.is_empty() || object.meta().namespace == namespace)
            .filter(|object| selector.matches(&object.meta().labels))
            .collect();
        objects.sort_by_key(|object| (object.meta().namespace, object.meta().name));
        objects.into_iter().cloned().collect()
    }

    /// The objects that a watch begins with, without a walk over all pods for each kubelet.
    fn listed(&self, watch: Watch) -> Box<[Object]> {
        let Some(node) = watch.node else {
            return self.store.sorted(watch.kind).into_iter().cloned().collect();
        };
        match watch.kind {
            Kind::Pod => {
                let mut pods: Vec<_> = self.store.pods_of(node).cloned().collect();
                pods.sort_by_key(|pod| (pod.meta.namespace, pod.meta.name));
                pods.into_iter().map(Object::Pod).collect()
            }
            Kind::Node => self.store.node(node).cloned().map(Object::Node).into_iter().collect(),
            kind => {
                let objects = self.store.sorted(kind).into_iter();
                objects.filter(|object| watches::sees(watch, object)).cloned().collect()
            }
        }
    }

    fn set_up(&mut self, up: bool, fx: &mut Fx) {
        if up == self.up {
            return;
        }
        self.up = up;
        if up {
            self.leases_after_outage(fx);
        } else {
            self.leases_at_outage(fx);
            self.watches.break_all(fx);
        }
    }
}

fn is_read(call: &Call) -> bool {
    matches!(call, Call::Get(_) | Call::List { .. } | Call::Watch(_))
}

fn respond(to: ClientId, tag: Tag, result: Result<Answer, Status>, latency: Duration, fx: &mut Fx) {
    if tag != Tag::NONE {
        fx.send_after(latency, Out::Respond { to, response: Box::new(Response { tag, result }) });
    }
}
