//! Who watches what, and when each is told: every change once, in the order of the versions.
//!
//! Kubernetes: staging/src/k8s.io/apiserver/pkg/storage/cacher. Each kind is a stream; a watcher hears its kind's
//! stream from its list on. Bookmarks, time-outs of watches and slow watchers are not modelled: they change nothing
//! that a client knows.

use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;

use super::{In, Out};
use crate::kernel::Time;
use crate::model::{Kind, Name, Object};
use crate::protocol::api::{ClientId, Watch, WatchEvent};
use crate::trace::Effects;

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// Watches of a whole kind, in the order in which they began; by kind.
    whole: FxHashMap<Kind, Vec<Watcher>>,
    /// Watches with a field selector on a node.
    of_node: FxHashMap<(Kind, Name), SmallVec<[Watcher; 1]>>,
    by_client: IndexMap<ClientId, SmallVec<[Watch; 4]>, FxBuildHasher>,
    /// When the last event of each kind leaves: a later one never leaves before it.
    last: FxHashMap<Kind, Time>,
}

#[derive(Clone, Copy, Debug)]
struct Watcher {
    client: ClientId,
    /// When its list leaves: no event goes before.
    listed: Time,
}

/// What happened to an object, as watchers see it.
pub(super) enum Change<'a> {
    Created(&'a Object),
    Modified { old: &'a Object, new: &'a Object },
    Deleted(&'a Object),
}

impl Watches {
    /// Begins a watch of `client`, in the place of the same one that it may have; `listed` is its list, which leaves at
    /// `at` or, if events of the kind are still under way, after them.
    pub(super) fn begin(
        &mut self,
        client: ClientId,
        watch: Watch,
        listed: Box<[Object]>,
        at: Time,
        fx: &mut Effects<In, Out>,
    ) {
        let at = self.free_from(client, watch).max(at);
        self.end(client, watch);
        let watcher = Watcher { client, listed: at };
        match watch.node {
            None => self.whole.entry(watch.kind).or_default().push(watcher),
            Some(node) => self.of_node.entry((watch.kind, node)).or_default().push(watcher),
        }
        self.by_client.entry(client).or_default().push(watch);
        fx.send_after(
            at.since(fx.now()),
            Out::Deliver { to: client, event: Arc::new(WatchEvent::Listed(watch, listed)) },
        );
    }

    /// The watches of a client, in the order in which they began.
    pub(super) fn of(&self, client: ClientId) -> &[Watch] {
        self.by_client.get(&client).map(SmallVec::as_slice).unwrap_or_default()
    }

    /// Forgets the watches of a client whose connections broke.
    pub(super) fn disconnect(&mut self, client: ClientId) {
        let watches = self.by_client.get(&client).cloned().unwrap_or_default();
        for watch in watches {
            self.end(client, watch);
        }
        self.by_client.shift_remove(&client);
    }

    /// Ends all watches and tells their clients, after what is still under way to them.
    pub(super) fn break_all(&mut self, fx: &mut Effects<In, Out>) {
        let now = fx.now();
        for (&client, watches) in &self.by_client {
            for &watch in watches {
                let at = self.free_from(client, watch).max(now);
                let event = Arc::new(WatchEvent::Broken(watch));
                fx.send_after(at.since(now), Out::Deliver { to: client, event });
            }
        }
        self.whole.clear();
        self.of_node.clear();
        self.by_client.clear();
    }

    /// Tells all whom it concerns of a change that leaves at `at`. One event is made, for all of them.
    pub(super) fn tell(&mut self, change: Change<'_>, at: Time, fx: &mut Effects<In, Out>) {
        let (kind, object) = match change {
            Change::Created(object) | Change::Modified { new: object, .. } | Change::Deleted(object) => {
                (object.kind(), object)
            }
        };
        let last = self.last.entry(kind).or_default();
        *last = at.max(*last);
        let at = *last;
        let mut event: Option<Arc<WatchEvent>> = None;
        let mut make = || {
            event
                .get_or_insert_with(|| {
                    Arc::new(match change {
                        Change::Created(object) => WatchEvent::Added(object.clone()),
                        Change::Modified { new, .. } => WatchEvent::Modified(new.clone()),
                        Change::Deleted(object) => WatchEvent::Deleted(object.clone()),
                    })
                })
                .clone()
        };
        for watcher in self.whole.get(&kind).map(Vec::as_slice).unwrap_or_default() {
            watcher.send(make(), at, fx);
        }
        let Some(node) = selected_by(object) else { return };
        let Some(watchers) = self.of_node.get(&(kind, node)).filter(|watchers| !watchers.is_empty()) else { return };
        // A pod that is bound enters the selector of its node's kubelet: to it the pod is new.
        let enters = matches!(change, Change::Modified { old, .. } if selected_by(old) != Some(node));
        let event = if enters { Arc::new(WatchEvent::Added(object.clone())) } else { make() };
        for watcher in watchers {
            watcher.send(event.clone(), at, fx);
        }
    }

    fn end(&mut self, client: ClientId, watch: Watch) {
        match watch.node {
            None => {
                if let Some(watchers) = self.whole.get_mut(&watch.kind) {
                    watchers.retain(|watcher| watcher.client != client);
                }
            }
            Some(node) => {
                if let Some(watchers) = self.of_node.get_mut(&(watch.kind, node)) {
                    watchers.retain(|watcher| watcher.client != client);
                    if watchers.is_empty() {
                        self.of_node.remove(&(watch.kind, node));
                    }
                }
            }
        }
        if let Some(watches) = self.by_client.get_mut(&client) {
            watches.retain(|other| *other != watch);
        }
    }

    /// From when on nothing that was sent to this watch before is still under way.
    fn free_from(&self, client: ClientId, watch: Watch) -> Time {
        let watchers = match watch.node {
            None => self.whole.get(&watch.kind).map(Vec::as_slice),
            Some(node) => self.of_node.get(&(watch.kind, node)).map(SmallVec::as_slice),
        };
        let listed = watchers.unwrap_or_default().iter().find(|watcher| watcher.client == client);
        let last = self.last.get(&watch.kind).copied().unwrap_or_default();
        listed.map_or(last, |watcher| watcher.listed.max(last))
    }
}

impl Watcher {
    fn send(&self, event: Arc<WatchEvent>, at: Time, fx: &mut Effects<In, Out>) {
        let delay = at.max(self.listed).since(fx.now());
        fx.send_after(delay, Out::Deliver { to: self.client, event });
    }
}

/// The node by which a watch with a field selector sees this object: `spec.nodeName` of pods, else `metadata.name`.
fn selected_by(object: &Object) -> Option<Name> {
    match object {
        Object::Pod(pod) => pod.node,
        object => Some(object.meta().name),
    }
}

/// True if `watch` sees `object`.
pub(super) fn sees(watch: Watch, object: &Object) -> bool {
    watch.node.is_none_or(|node| selected_by(object) == Some(node))
}
