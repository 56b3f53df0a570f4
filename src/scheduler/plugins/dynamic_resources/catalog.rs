//! What the scheduler keeps of devices beside the objects themselves: which there are, which a node can reach, which are
//! in use, and the allocations that were decided and are not written yet.
//!
//! All of it follows the objects, so that an attempt looks only at what a node can reach; Kubernetes gathers it anew for each pod
//! and node. Empty where nobody uses devices.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/dynamicresources/{dra_manager,allocateddevices}.go,
//! staging/src/k8s.io/dynamic-resource-allocation/structured/internal/incubating/pools_incubating.go (GatherPools).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::device::{
    AllocatedDevice, Device, DeviceClass, DeviceNodes, EXTENDED_RESOURCE_CLAIM, IMPLICIT_EXTENDED_RESOURCE,
    ResourceClaim, ResourceSlice,
};
use crate::model::device_selector::DeviceSelector;
use crate::model::quantity::Quantity;
use crate::model::{Labels, Name, Node, Uid};

/// A device, by its place in [`Devices::states`].
pub type DeviceId = u32;

/// Driver and pool.
pub type PoolKey = (Name, Name);

/// What is known of devices.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    ids: FxHashMap<(Name, Name, Name), DeviceId>,
    states: Vec<DeviceState>,
    /// The slices of each pool, by name.
    pools: BTreeMap<PoolKey, BTreeMap<Name, Arc<ResourceSlice>>>,
    /// Pools with a slice for this node alone.
    of_node: FxHashMap<Name, BTreeSet<PoolKey>>,
    /// Pools with a slice for more than one node.
    wide: BTreeSet<PoolKey>,
    /// How much of its pool's counters is taken.
    counters: FxHashMap<(PoolKey, Name, Name), Quantity>,
    /// Grows with each change of a slice.
    version: u64,
    /// Claims whose devices are counted as used.
    counted: FxHashMap<Uid, Arc<ResourceClaim>>,
    /// Claims with the allocation that was decided for them and is not written yet.
    in_flight: FxHashMap<Uid, Arc<ResourceClaim>>,
    /// Claims as they were written, before a watch has shown them so.
    written: FxHashMap<Uid, Arc<ResourceClaim>>,
    /// The class of each extended resource.
    classes: BTreeMap<Name, BTreeSet<(std::cmp::Reverse<crate::kernel::Time>, Name)>>,
    made: RefCell<Made>,
}

/// What was worked out from the rest and holds until that changes.
#[derive(Clone, Debug, Default)]
struct Made {
    version: u64,
    views: FxHashMap<Name, (Labels, Arc<View>)>,
    /// Nodes that reach the same slices share a view.
    shared: FxHashMap<Vec<(PoolKey, Name)>, Arc<View>>,
    selectors: FxHashMap<Name, Result<DeviceSelector, String>>,
    /// Whether a device meets an expression.
    selected: FxHashMap<(Name, DeviceId), Result<bool, String>>,
}

/// How a device is used, and what it is.
#[derive(Clone, Debug, Default)]
struct DeviceState {
    /// How many claims have it for themselves: more than one only where a slice came back.
    owners: u32,
    /// How many share it.
    sharers: u32,
    /// What those take.
    consumed: Vec<(Name, Quantity)>,
    /// Nobody can take it: those who share it leave too little for any request, or its pool's counters do.
    closed: bool,
    /// Its pool and what it takes of the pool's counters.
    consumes: Option<(PoolKey, Arc<ResourceSlice>, usize)>,
}

/// What a node can reach.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub pools: Vec<PoolView>,
}

/// What a node can reach of a pool.
#[derive(Clone, Debug)]
pub struct PoolView {
    pub key: PoolKey,
    /// Not all slices of the newest generation are there.
    pub is_incomplete: bool,
    /// Why nothing can be taken from it.
    pub invalid: Option<String>,
    /// In the order in which they are tried.
    pub devices: Vec<Reachable>,
    /// The pool's counters.
    pub counters: BTreeMap<(Name, Name), Quantity>,
}

/// A device that a node can reach.
#[derive(Clone, Debug)]
pub struct Reachable {
    pub id: DeviceId,
    slice: Arc<ResourceSlice>,
    index: usize,
}

impl Reachable {
    /// The device.
    pub fn device(&self) -> &Device {
        &self.slice.devices[self.index]
    }

    /// From which nodes it can be reached.
    pub fn nodes(&self) -> &DeviceNodes {
        match &self.slice.nodes {
            DeviceNodes::PerDevice => &self.device().nodes,
            nodes => nodes,
        }
    }
}

/// The number that stands for the claim that is made for a pod's extended resources, until it has one.
pub fn extended_uid(pod: Uid) -> Uid {
    Uid(pod.0 | 1 << 63)
}

impl Devices {
    /// A slice is there, is different, or (None) gone.
    pub fn set_slice(&mut self, old: Option<&Arc<ResourceSlice>>, new: Option<&Arc<ResourceSlice>>) {
        self.version += 1;
        if let Some(old) = old {
            let key = (old.driver, old.pool);
            if let Some(slices) = self.pools.get_mut(&key) {
                slices.remove(&old.meta.name);
                if slices.is_empty() {
                    self.pools.remove(&key);
                }
            }
            self.index(key);
            if let DeviceNodes::Node(node) = old.nodes {
                self.index_node(node, key);
            }
            let gone: BTreeSet<DeviceId> =
                old.devices.iter().map(|device| self.forget_device(key, device.name)).collect();
            self.made.get_mut().selected.retain(|(_, of), _| !gone.contains(of));
            self.close(key);
        }
        let Some(new) = new else { return };
        let key = (new.driver, new.pool);
        self.pools.entry(key).or_default().insert(new.meta.name, new.clone());
        self.index(key);
        if let DeviceNodes::Node(node) = new.nodes {
            self.index_node(node, key);
        }
        for (index, device) in new.devices.iter().enumerate() {
            let id = self.id(key, device.name);
            self.count_counters(id, false);
            self.states[id as usize].consumes = Some((key, new.clone(), index));
            self.count_counters(id, true);
        }
        self.close(key);
    }

    /// Finds out which devices of a pool nobody can take.
    fn close(&mut self, key: PoolKey) {
        let slices = self.pools.get(&key).into_iter().flat_map(BTreeMap::values);
        let newest = slices.clone().map(|slice| slice.generation).max().unwrap_or_default();
        let current = slices.filter(|slice| slice.generation == newest);
        let mut totals: BTreeMap<(Name, Name), Quantity> = BTreeMap::new();
        for set in current.clone().flat_map(|slice| &slice.shared_counters) {
            totals.extend(set.counters.iter().map(|(counter, amount)| ((set.name, *counter), *amount)));
        }
        for device in current.flat_map(|slice| &slice.devices) {
            let Some(&id) = self.ids.get(&(key.0, key.1, device.name)) else { continue };
            let state = &self.states[id as usize];
            let lacks_counters = state.owners + state.sharers == 0
                && device.consumes.iter().any(|set| {
                    set.counters.iter().any(|(counter, amount)| {
                        let total = totals.get(&(set.name, *counter)).copied().unwrap_or(Quantity::ZERO);
                        amount.plus(self.counted(key, set.name, *counter)) > total
                    })
                });
            let is_full = device.shareable
                && device.capacity.iter().any(|(name, capacity)| {
                    let least = capacity.least();
                    least > Quantity::ZERO && self.consumed(id, *name).plus(least) > capacity.value
                });
            self.states[id as usize].closed = lacks_counters || is_full;
        }
    }

    fn index(&mut self, key: PoolKey) {
        let slices = self.pools.get(&key).into_iter().flat_map(BTreeMap::values);
        let mut is_wide = false;
        for slice in slices {
            is_wide |= !matches!(slice.nodes, DeviceNodes::Node(_));
        }
        if is_wide {
            self.wide.insert(key);
        } else {
            self.wide.remove(&key);
        }
    }

    fn index_node(&mut self, node: Name, key: PoolKey) {
        let slices = self.pools.get(&key);
        let has = slices.is_some_and(|slices| slices.values().any(|slice| slice.nodes == DeviceNodes::Node(node)));
        let pools = self.of_node.entry(node).or_default();
        if has {
            pools.insert(key);
        } else {
            pools.remove(&key);
        }
    }

    fn id(&mut self, (driver, pool): PoolKey, device: Name) -> DeviceId {
        let states = &mut self.states;
        *self.ids.entry((driver, pool, device)).or_insert_with(|| {
            states.push(DeviceState::default());
            (states.len() - 1) as DeviceId
        })
    }

    fn forget_device(&mut self, key: PoolKey, device: Name) -> DeviceId {
        let id = self.id(key, device);
        self.count_counters(id, false);
        self.states[id as usize].consumes = None;
        id
    }

    /// Adds what a device takes of its pool's counters, or takes it away, if the device is used.
    fn count_counters(&mut self, id: DeviceId, add: bool) {
        let state = &self.states[id as usize];
        if state.owners + state.sharers == 0 {
            return;
        }
        let Some((key, slice, index)) = &state.consumes else { return };
        for set in &slice.devices[*index].consumes {
            for (counter, amount) in &set.counters {
                let taken = self.counters.entry((*key, set.name, *counter)).or_default();
                *taken = if add { taken.plus(*amount) } else { taken.minus_nanos(amount.nanos()) };
            }
        }
    }

    /// A claim is there, is different, or (None) gone.
    pub fn set_claim(&mut self, old: Option<&Arc<ResourceClaim>>, new: Option<&Arc<ResourceClaim>>) {
        let Some(claim) = new.or(old) else { return };
        let uid = claim.meta.uid;
        if let Some(written) = self.written.get(&uid)
            && new.is_none_or(|new| new.meta.resource_version >= written.meta.resource_version)
        {
            self.written.remove(&uid);
        }
        let is_allocated = new.is_some_and(|new| new.status.allocation.is_some());
        if is_allocated || new.is_none() {
            self.in_flight.remove(&uid);
            self.lands(claim);
        }
        self.recount(uid, new);
    }

    /// A claim was written by us.
    pub fn set_written(&mut self, claim: &Arc<ResourceClaim>) {
        if claim.status.allocation.is_none() {
            return;
        }
        self.in_flight.remove(&claim.meta.uid);
        self.lands(claim);
        self.written.insert(claim.meta.uid, claim.clone());
        self.recount(claim.meta.uid, Some(claim));
    }

    /// The claim for extended resources that was decided is there.
    fn lands(&mut self, claim: &ResourceClaim) {
        if let (Some(owner), true) = (claim.meta.owner, is_extended(claim)) {
            let uid = extended_uid(owner.uid);
            self.in_flight.remove(&uid);
            self.recount(uid, None);
        }
    }

    /// An allocation was decided; until it is written, `claim` has it.
    pub fn decide(&mut self, claim: ResourceClaim) {
        let uid = claim.meta.uid;
        self.in_flight.insert(uid, Arc::new(claim));
        self.recount(uid, None);
    }

    /// A decision is taken back. `claim` is what the API server has.
    pub fn take_back(&mut self, uid: Uid, claim: Option<&Arc<ResourceClaim>>) {
        if self.in_flight.remove(&uid).is_some() {
            self.recount(uid, claim);
        }
    }

    /// The claim with its decided allocation, if it is not written yet.
    pub fn decided(&self, uid: Uid) -> Option<&Arc<ResourceClaim>> {
        self.in_flight.get(&uid)
    }

    /// The claim as it is known: `claim` is what a watch has shown.
    pub fn newest<'a>(&'a self, claim: &'a Arc<ResourceClaim>) -> &'a Arc<ResourceClaim> {
        self.written.get(&claim.meta.uid).unwrap_or(claim)
    }

    /// Counts the devices of a claim as used. `shown` is what a watch has shown.
    fn recount(&mut self, uid: Uid, shown: Option<&Arc<ResourceClaim>>) {
        let now = self.in_flight.get(&uid).or_else(|| self.written.get(&uid)).or(shown).cloned();
        let now = now.filter(|claim| claim.status.allocation.is_some());
        let before = match &now {
            Some(claim) => self.counted.insert(uid, claim.clone()),
            None => self.counted.remove(&uid),
        };
        let allocation =
            |claim: &Option<Arc<ResourceClaim>>| claim.as_ref().and_then(|one| one.status.allocation.clone());
        let (before, now) = (allocation(&before), allocation(&now));
        if before == now {
            return;
        }
        for device in before.iter().flat_map(|allocation| &allocation.devices) {
            self.count(device, false);
        }
        for device in now.iter().flat_map(|allocation| &allocation.devices) {
            self.count(device, true);
        }
    }

    fn count(&mut self, device: &AllocatedDevice, add: bool) {
        if device.admin_access {
            return;
        }
        let id = self.id((device.driver, device.pool), device.device);
        let users = |state: &DeviceState| state.owners + state.sharers;
        if !add && users(&self.states[id as usize]) == 1 {
            self.count_counters(id, false);
        }
        let state = &mut self.states[id as usize];
        let number = if device.share.is_empty() { &mut state.owners } else { &mut state.sharers };
        *number = if add { *number + 1 } else { number.saturating_sub(1) };
        for (capacity, amount) in device.consumed.iter().filter(|_| !device.share.is_empty()) {
            match state.consumed.iter_mut().find(|(known, _)| known == capacity) {
                Some((_, taken)) => *taken = if add { taken.plus(*amount) } else { taken.minus_nanos(amount.nanos()) },
                None => state.consumed.push((*capacity, *amount)),
            }
        }
        if add && users(&self.states[id as usize]) == 1 {
            self.count_counters(id, true);
        }
        let state = &self.states[id as usize];
        let matters = state.consumes.as_ref().is_some_and(|(_, slice, index)| {
            let device = &slice.devices[*index];
            device.shareable || !device.consumes.is_empty()
        });
        if matters {
            self.close((device.driver, device.pool));
        }
    }

    /// A class is there, is different, or (None) gone. True if it stands for another extended resource than before.
    pub fn set_class(&mut self, old: Option<&Arc<DeviceClass>>, new: Option<&Arc<DeviceClass>>) -> bool {
        let resources = |class: &DeviceClass| {
            let implicit = Name::from(format!("{IMPLICIT_EXTENDED_RESOURCE}{}", class.meta.name));
            [implicit, class.extended_resource].into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        let was = old.map(|class| resources(class)).unwrap_or_default();
        let is = new.map(|class| resources(class)).unwrap_or_default();
        let rank = |class: &DeviceClass| (std::cmp::Reverse(class.meta.created), class.meta.name);
        for resource in &was {
            if let (Some(classes), Some(old)) = (self.classes.get_mut(resource), old) {
                classes.remove(&rank(old));
                if classes.is_empty() {
                    self.classes.remove(resource);
                }
            }
        }
        for resource in &is {
            self.classes.entry(*resource).or_default().extend(new.map(|new| rank(new)));
        }
        was != is
    }

    /// The class that stands for an extended resource: of several the youngest, then the first by name.
    pub fn class_of(&self, resource: Name) -> Option<Name> {
        self.classes.get(&resource)?.first().map(|(_, class)| *class)
    }

    /// True if nobody has devices to give.
    pub fn has_classes(&self) -> bool {
        !self.classes.is_empty()
    }

    /// True if a claim has the device for itself.
    pub fn is_owned(&self, id: DeviceId) -> bool {
        self.states[id as usize].owners > 0
    }

    /// True if no request can take the device, but an administrator's.
    pub fn is_closed(&self, id: DeviceId) -> bool {
        self.states[id as usize].closed
    }

    /// True if claims share the device.
    pub fn is_shared(&self, id: DeviceId) -> bool {
        self.states[id as usize].sharers > 0
    }

    /// How much of a capacity is taken by those who share the device.
    pub fn consumed(&self, id: DeviceId, capacity: Name) -> Quantity {
        let consumed = &self.states[id as usize].consumed;
        consumed.iter().find(|(known, _)| *known == capacity).map_or(Quantity::ZERO, |(_, amount)| *amount)
    }

    /// How much of a pool's counter is taken.
    pub fn counted(&self, pool: PoolKey, set: Name, counter: Name) -> Quantity {
        self.counters.get(&(pool, set, counter)).copied().unwrap_or(Quantity::ZERO)
    }

    /// True if the device meets the expression.
    pub fn is_selected(&self, expression: Name, pool: PoolKey, one: &Reachable) -> Result<bool, String> {
        let mut made = self.made.borrow_mut();
        if let Some(known) = made.selected.get(&(expression, one.id)) {
            return known.clone();
        }
        let selector = made.selectors.entry(expression).or_insert_with(|| DeviceSelector::compile(&expression));
        let answer = match selector {
            Ok(selector) => selector.matches(pool.0, one.device()),
            Err(why) => Err(why.clone()),
        };
        made.selected.insert((expression, one.id), answer.clone());
        answer
    }

    /// What a node can reach.
    pub fn view(&self, node: &Node) -> Arc<View> {
        let mut made = self.made.borrow_mut();
        if made.version != self.version {
            made.version = self.version;
            made.views.clear();
            made.shared.clear();
        }
        let (name, labels) = (node.meta.name, &node.meta.labels);
        if let Some((with, view)) = made.views.get(&name)
            && with == labels
        {
            return view.clone();
        }
        let own = self.of_node.get(&name).into_iter().flatten().filter(|key| !self.wide.contains(*key));
        let mut keys: Vec<PoolKey> = self.wide.iter().chain(own).copied().collect();
        keys.sort_unstable();
        let mut reached: Vec<(PoolKey, Vec<&Arc<ResourceSlice>>)> = Vec::new();
        let mut print: Vec<(PoolKey, Name)> = Vec::new();
        let mut is_own = false;
        for key in keys {
            let Some(slices) = self.pools.get(&key) else { continue };
            let newest = slices.values().map(|slice| slice.generation).max().unwrap_or_default();
            let of_node: Vec<&Arc<ResourceSlice>> = slices
                .values()
                .filter(|slice| slice.generation == newest)
                .filter(|slice| match &slice.nodes {
                    DeviceNodes::PerDevice => slice.devices.iter().any(|device| device.nodes.reach(name, labels)),
                    nodes => nodes.reach(name, labels),
                })
                .collect();
            is_own |= of_node.iter().any(|slice| matches!(slice.nodes, DeviceNodes::Node(_) | DeviceNodes::PerDevice));
            print.extend(of_node.iter().map(|slice| (key, slice.meta.name)));
            if !of_node.is_empty() {
                reached.push((key, of_node));
            }
        }
        let known = if is_own { None } else { made.shared.get(&print).cloned() };
        let view = known.unwrap_or_else(|| {
            let mut pools: Vec<PoolView> =
                reached.into_iter().map(|(key, slices)| self.pool_view(key, &slices, name, labels)).collect();
            // Devices whose binding has to wait come last.
            pools.sort_by_key(|pool| pool.devices.iter().any(|one| !one.device().binding_conditions.is_empty()));
            Arc::new(View { pools })
        });
        if !is_own {
            made.shared.insert(print, view.clone());
        }
        made.views.insert(name, (labels.clone(), view.clone()));
        view
    }

    fn pool_view(&self, key: PoolKey, slices: &[&Arc<ResourceSlice>], node: Name, labels: &Labels) -> PoolView {
        let all = self.pools.get(&key).into_iter().flat_map(BTreeMap::values);
        let generation = slices.first().map_or(0, |slice| slice.generation);
        let of_generation: Vec<&Arc<ResourceSlice>> = all.filter(|slice| slice.generation == generation).collect();
        let wanted = slices.first().map_or(0, |slice| slice.slices);
        let mut counters = BTreeMap::new();
        for set in of_generation.iter().flat_map(|slice| &slice.shared_counters) {
            counters.extend(set.counters.iter().map(|(counter, amount)| ((set.name, *counter), *amount)));
        }
        let mut names = BTreeSet::new();
        let mut invalid = None;
        for device in of_generation.iter().flat_map(|slice| &slice.devices) {
            if !names.insert(device.name) && invalid.is_none() {
                invalid = Some(format!("duplicate device name {}", device.name));
            }
        }
        let mut devices = Vec::new();
        for slice in slices {
            for (index, device) in slice.devices.iter().enumerate() {
                let reached = slice.nodes != DeviceNodes::PerDevice || device.nodes.reach(node, labels);
                if let (true, Some(&id)) = (reached, self.ids.get(&(key.0, key.1, device.name))) {
                    devices.push(Reachable { id, slice: (*slice).clone(), index });
                }
            }
        }
        let is_incomplete = of_generation.len() as i64 != wanted;
        PoolView { key, is_incomplete, invalid, devices, counters }
    }
}

/// True for the claim that the scheduler makes for a pod's extended resources.
pub fn is_extended(claim: &ResourceClaim) -> bool {
    claim.meta.annotations.get(Name::new(EXTENDED_RESOURCE_CLAIM)).is_some_and(|value| value == *"true")
}
