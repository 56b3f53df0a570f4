//! Node leases, computed instead of written: a kubelet says once that it renews, and when it is cut off the last
//! renewal before that is worked out. A renewal that nobody observes costs nothing, however long it goes on.
//!
//! Kubernetes: staging/src/k8s.io/component-helpers/apimachinery/lease/controller.go (JitterUntil with factor 0.04),
//! pkg/kubelet/kubelet.go (40 s, renewed each quarter of it). Watchers of leases are told when renewing begins or ends.

use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::watches::Change;
use super::{ApiServer, Fx, In, Timer};
use crate::kernel::{Duration, Stream, Streams, Time};
use crate::model::config::Lease;
use crate::model::{ConditionStatus, Key, Kind, Meta, Name, Object, OwnerReference};
use crate::protocol::api::Status;

/// Each interval is longer by up to this share.
const RENEW_JITTER: f64 = 0.04;
/// A holder renews so often in the time that its lease is good for.
const RENEWALS: u64 = 4;
/// Where the leases of nodes are.
pub(super) const NAMESPACE: &str = "kube-node-lease";

/// The holders of leases that renew, by node.
#[derive(Debug)]
pub(super) struct Leases {
    streams: Streams,
    holders: IndexMap<Name, Holder, FxBuildHasher>,
}

#[derive(Debug)]
struct Holder {
    /// A renewal on its grid, not later than now.
    last: Time,
    /// The one after it.
    next: Time,
    /// The renewal interval: a quarter of the lease, so usually 10 s.
    every: Duration,
    /// How often the node's status is written though it stays the same.
    reports: Duration,
    intervals: Stream,
    reaches: Reaches,
}

/// Whether a holder's renewals reach the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaches {
    Yes,
    /// It renews, but the way or the API server is or was down: the next renewal that reaches it counts.
    NotYet,
    /// It was cut off. Its stream stays where it is, so that the next time it draws other intervals.
    No,
}

impl Leases {
    pub(super) fn new(streams: Streams) -> Leases {
        Leases { streams, holders: IndexMap::default() }
    }
}

impl Holder {
    /// Walks along the grid up to `now`.
    fn advance(&mut self, now: Time) {
        while self.next <= now {
            self.last = self.next;
            self.next = self.last + self.intervals.jitter(self.every, RENEW_JITTER);
        }
    }
}

impl ApiServer {
    /// The leases as a client reads them at `now`: with the last renewals, which nobody has written. Walks along each
    /// lease's grid from where it was last looked at.
    pub fn leases(&self, now: Time) -> Vec<Object> {
        self.store.sorted(Kind::Lease).into_iter().map(|lease| self.lease_at(lease, now)).collect()
    }

    /// An object as it is read at `now`: of a lease that is renewed, the last renewal is worked out.
    pub(super) fn lease_at(&self, object: &Object, now: Time) -> Object {
        let Object::Lease(lease) = object else { return object.clone() };
        let holder = self.leases.holders.get(&lease.meta.name);
        let renews = lease.renewing && lease.meta.namespace == *NAMESPACE;
        let Some(holder) = holder.filter(|holder| renews && holder.reaches == Reaches::Yes) else {
            return object.clone();
        };
        let mut walked = Holder { intervals: holder.intervals.clone(), ..*holder };
        walked.advance(now);
        Object::Lease(Arc::new(Lease { renewed: Some(walked.last), ..Lease::clone(lease) }))
    }

    /// The nodes as a client reads them at `now`: with the heartbeats of statuses that were written again as they were.
    pub fn nodes(&self, now: Time) -> Vec<Object> {
        self.store.sorted(Kind::Node).into_iter().map(|node| self.node_at(node, now)).collect()
    }

    /// `lastHeartbeatTime`: after a change the status is written again within half to one and a half periods, then each
    /// period (`nodeStatusReportFrequency`, kubelet_node_status.go).
    fn node_at(&self, object: &Object, now: Time) -> Object {
        let Object::Node(node) = object else { return object.clone() };
        let Some(holder) = self.leases.holders.get(&node.meta.name).filter(|holder| !holder.reports.is_zero()) else {
            return object.clone();
        };
        // Who was cut off wrote nothing after his last renewal.
        let until = if holder.reaches == Reaches::Yes { now } else { holder.last.min(now) };
        let period = holder.reports.as_nanos();
        let mut new = node.clone();
        for condition in &mut Arc::make_mut(&mut new).status.conditions {
            let kubelets =
                matches!(condition.kind.as_str(), "Ready" | "MemoryPressure" | "DiskPressure" | "PIDPressure");
            if !kubelets || condition.status == ConditionStatus::Unknown {
                continue;
            }
            let since = condition.last_update;
            let name = format!("heartbeat/{}/{}", node.meta.name, since.as_nanos());
            let first =
                since + Duration::from_nanos(period / 2 + self.leases.streams.stream(&name, "report").below(period));
            if first <= until {
                let more = until.since(first).as_nanos() / period;
                condition.last_update = (first + holder.reports * more).truncated_to_second();
            }
        }
        Object::Node(new)
    }

    /// From now on the kubelet of `node` renews its lease; the first renewal is this request.
    pub(super) fn renew_lease(
        &mut self,
        node: Name,
        every: Duration,
        reports: Duration,
        fx: &mut Fx,
    ) -> Result<(), Status> {
        let now = fx.now();
        let Leases { streams, holders } = &mut self.leases;
        let holder = holders.entry(node).or_insert_with(|| Holder {
            last: now,
            next: now,
            every,
            reports,
            intervals: streams.stream(&format!("lease/{node}"), "renewal"),
            reaches: Reaches::Yes,
        });
        (holder.last, holder.every, holder.reports) = (now, every, reports);
        // Who has been renewing since before the run began is anywhere between two renewals.
        holder.next = match now {
            Time::ZERO => now + Duration::from_nanos(holder.intervals.below(every.as_nanos())),
            _ => now + holder.intervals.jitter(every, RENEW_JITTER),
        };
        holder.reaches = Reaches::Yes;
        self.store_lease(node, None, fx);
        Ok(())
    }

    /// The holder can't reach the API server any more: the lease stays as its last renewal left it.
    pub(super) fn cut_lease(&mut self, node: Name, fx: &mut Fx) {
        let Some(holder) = self.leases.holders.get_mut(&node) else { return };
        let before = std::mem::replace(&mut holder.reaches, Reaches::No);
        if before == Reaches::Yes {
            holder.advance(fx.now());
            let last = holder.last;
            self.latency.commit = fx.now();
            self.store_lease(node, Some(last), fx);
        }
    }

    /// The holder reaches the API server again, if it is one and has not begun anew: its next renewal counts.
    pub(super) fn mend_lease(&mut self, node: Name, fx: &mut Fx) {
        let Some(holder) = self.leases.holders.get_mut(&node) else { return };
        if holder.reaches == Reaches::No {
            holder.reaches = Reaches::NotYet;
            holder.advance(fx.now());
            fx.wake_at(holder.next, In::Timer(Timer::RenewAgain { node }));
        }
    }

    /// The API server goes away. The leases are as their last renewals left them, and that is what watchers know until they
    /// have listed anew: to the node monitor, which goes on, nodes have been silent since.
    pub(super) fn leases_at_outage(&mut self, fx: &mut Fx) {
        let now = fx.now();
        for (&node, holder) in &mut self.leases.holders {
            if holder.reaches != Reaches::Yes {
                continue;
            }
            holder.advance(now);
            holder.reaches = Reaches::NotYet;
            let key = Key { kind: Kind::Lease, namespace: Name::new(NAMESPACE), name: node };
            if let Some(old) = self.store.get(&key).cloned() {
                let renewed = Some(holder.last);
                let duration = holder.every * RENEWALS;
                let lease = Lease { meta: old.meta().clone(), renewed, duration, renewing: false };
                let new = self.store.put(Object::Lease(Arc::new(lease)));
                self.watches.tell(Change::Modified { old: &old, new: &new }, now, fx);
            }
        }
    }

    /// The API server is back: each holder's next renewal reaches it.
    pub(super) fn leases_after_outage(&mut self, fx: &mut Fx) {
        let now = fx.now();
        for (&node, holder) in &mut self.leases.holders {
            if holder.reaches == Reaches::NotYet {
                holder.advance(now);
                fx.wake_at(holder.next, In::Timer(Timer::RenewAgain { node }));
            }
        }
    }

    /// The first renewal of `node` after an outage.
    pub(super) fn renew_again(&mut self, node: Name, fx: &mut Fx) {
        let now = fx.now();
        let Some(holder) = self.leases.holders.get_mut(&node) else { return };
        if !self.up || holder.reaches != Reaches::NotYet {
            return;
        }
        holder.advance(now);
        if holder.last != now {
            return;
        }
        holder.reaches = Reaches::Yes;
        self.latency.commit = now;
        self.store_lease(node, None, fx);
    }

    /// A lease was deleted, as the garbage collector does when its node is gone: a holder that is still there makes it
    /// anew.
    pub(super) fn lease_gone(&mut self, lease: &Meta, fx: &mut Fx) {
        let holder = self.leases.holders.get_mut(&lease.name).filter(|_| lease.namespace == *NAMESPACE);
        let Some(holder) = holder.filter(|holder| holder.reaches == Reaches::Yes) else { return };
        holder.reaches = Reaches::NotYet;
        holder.advance(fx.now());
        fx.wake_at(holder.next, In::Timer(Timer::RenewAgain { node: lease.name }));
    }

    /// Stores a node's lease: held and renewed (`renewed` None) or as it was renewed last.
    fn store_lease(&mut self, node: Name, renewed: Option<Time>, fx: &mut Fx) {
        let namespace = Name::new(NAMESPACE);
        let key = Key { kind: Kind::Lease, namespace, name: node };
        let old = self.store.get(&key).cloned();
        let meta = match &old {
            Some(old) => old.meta().clone(),
            None => Meta {
                uid: self.store.next_uid(&key),
                created: fx.now().truncated_to_second(),
                owner: self.store.node(node).map(|owner| OwnerReference {
                    kind: Kind::Node,
                    name: node,
                    uid: owner.meta.uid,
                    block_deletion: false,
                }),
                ..Meta::named(namespace, node)
            },
        };
        let every = self.leases.holders.get(&node).map_or(Duration::ZERO, |holder| holder.every);
        let duration = every * RENEWALS;
        let lease = Object::Lease(Arc::new(Lease { meta, renewed, duration, renewing: renewed.is_none() }));
        if old.as_ref() == Some(&lease) {
            return;
        }
        let stored = self.store.put(lease);
        match &old {
            Some(old) => self.tell(Change::Modified { old, new: &stored }, fx),
            None => self.tell(Change::Created(&stored), fx),
        }
    }
}
