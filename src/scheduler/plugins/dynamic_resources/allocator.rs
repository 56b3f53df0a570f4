//! Which devices a pod's claims would get on a node: the first that fit, in the order of pools, slices and devices, going
//! back where a later request finds none.
//!
//! Of devices for one request the order does not matter, so each set is tried once, in ascending order; the set that is
//! found is the one that Kubernetes' search, which tries every order, finds first.
//!
//! Kubernetes: staging/src/k8s.io/dynamic-resource-allocation/structured/internal/incubating/allocator_incubating.go.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::affinity::NodeSelectorOperator;
use crate::model::device::{
    AllocatedDevice, Allocation, Attribute, Device, DeviceClass, DeviceConstraint, DeviceNodes, ExactRequest,
    MOST_DEVICES, ResourceClaim,
};
use crate::model::quantity::Quantity;
use crate::model::{Name, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Uid};

use super::catalog::{DeviceId, Devices, PoolKey, Reachable, View};

/// Why there is no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// There are not enough devices.
    Impossible,
    /// Something about a pool: no allocation on this node.
    OnNode(String),
    /// Something is wrong with a claim or a class: no allocation anywhere.
    Wrong(String),
}

/// What was found for a claim, and which alternative was taken for each request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    pub allocation: Allocation,
    pub alternatives: Vec<usize>,
}

/// Looks for devices for all `claims` on `node`, which reaches `view`.
pub fn allocate(
    devices: &Devices,
    view: &View,
    claims: &[Arc<ResourceClaim>],
    class: &dyn Fn(Name) -> Option<Arc<DeviceClass>>,
    node: Name,
) -> Result<Vec<Found>, Failed> {
    let mut wanted = Vec::with_capacity(claims.len());
    for claim in claims {
        wanted.push(Wanted::new(claim, class)?);
    }
    let mut search = Search { devices, view, wanted: &wanted, taken: Vec::new(), constraints: Vec::new() };
    search.constraints = wanted.iter().map(|one| vec![Constrained::default(); one.constraints.len()]).collect();
    for one in &wanted {
        search.fits_limit(one)?;
    }
    if !search.request(0, 0)? {
        return Err(Failed::Impossible);
    }
    let taken = std::mem::take(&mut search.taken);
    Ok(wanted.iter().enumerate().map(|(number, one)| one.found(number, &taken, view, node)).collect())
}

/// A claim to be allocated.
struct Wanted<'c> {
    claim: &'c ResourceClaim,
    requests: Vec<Request<'c>>,
    constraints: &'c [DeviceConstraint],
}

struct Request<'c> {
    name: Name,
    /// With the selectors of the class.
    alternatives: Vec<(&'c ExactRequest, Arc<DeviceClass>)>,
}

impl<'c> Wanted<'c> {
    fn new(claim: &'c ResourceClaim, class: &dyn Fn(Name) -> Option<Arc<DeviceClass>>) -> Result<Wanted<'c>, Failed> {
        let mut requests = Vec::with_capacity(claim.spec.requests.len());
        for request in &claim.spec.requests {
            let mut alternatives = Vec::with_capacity(request.alternatives.len());
            for one in &request.alternatives {
                let Some(class) = class(one.class) else {
                    let (request, missing) = (path(request.name, one.name), one.class);
                    let name = full_name(claim);
                    let why = format!("claim {name}, request {request}: could not retrieve device class {missing}");
                    return Err(Failed::Wrong(why));
                };
                alternatives.push((one, class));
            }
            requests.push(Request { name: request.name, alternatives });
        }
        Ok(Wanted { claim, requests, constraints: &claim.spec.constraints })
    }

    /// What became of it.
    fn found(&self, number: usize, taken: &[Taken], view: &View, node: Name) -> Found {
        let mine = || taken.iter().filter(move |one| one.claim == number);
        let devices = mine().enumerate().map(|(index, one)| {
            let request = &self.requests[one.request];
            let exact = request.alternatives[one.alternative].0;
            let reachable = one.reachable(view);
            let device = reachable.device();
            let (driver, pool) = view.pools[one.pool].key;
            AllocatedDevice {
                request: path(request.name, exact.name),
                driver,
                pool,
                device: device.name,
                admin_access: exact.admin_access,
                tolerations: exact.tolerations.clone(),
                share: if one.is_shared { share_of(self.claim.meta.uid, index) } else { Name::default() },
                consumed: if one.is_shared { one.consumed.clone() } else { Vec::new() },
                binding_conditions: device.binding_conditions.clone(),
                binding_failure_conditions: device.binding_failure_conditions.clone(),
            }
        });
        let devices: Vec<AllocatedDevice> = devices.collect();
        let nodes = common_nodes(mine().map(|one| one.reachable(view)), node);
        let alternative = |request: usize| mine().find(|one| one.request == request).map_or(0, |one| one.alternative);
        let alternatives = (0..self.requests.len()).map(alternative).collect();
        Found { allocation: Allocation { devices, nodes, at: None }, alternatives }
    }
}

fn full_name(claim: &ResourceClaim) -> String {
    format!("{}/{}", claim.meta.namespace, claim.meta.name)
}

/// `request`, or `request/sub-request`.
fn path(request: Name, sub: Name) -> Name {
    if sub.is_empty() { request } else { Name::from(format!("{request}/{sub}")) }
}

/// The identity of a share of a device.
fn share_of(claim: Uid, index: usize) -> Name {
    Name::from(Uid(claim.0.wrapping_mul(64).wrapping_add(index as u64)).to_string())
}

/// The nodes from which all of these devices can be reached; None: every node.
fn common_nodes<'r>(devices: impl Iterator<Item = &'r Reachable>, node: Name) -> Option<NodeSelector> {
    let mut common = NodeSelectorTerm::default();
    for one in devices {
        match one.nodes() {
            DeviceNodes::Selected(selector) if !one.device().binds_to_node => {
                let Some(term) = selector.terms.first() else { continue };
                let fresh = |known: &[NodeSelectorRequirement], more: &[NodeSelectorRequirement]| -> Vec<_> {
                    more.iter().filter(|one| !known.contains(one)).cloned().collect()
                };
                let expressions = fresh(&common.expressions, &term.expressions);
                let fields = fresh(&common.fields, &term.fields);
                common.expressions.extend(expressions);
                common.fields.extend(fields);
            }
            DeviceNodes::All if !one.device().binds_to_node => {}
            _ => {
                let key = Name::new("metadata.name");
                let only = NodeSelectorRequirement { key, operator: NodeSelectorOperator::In, values: vec![node] };
                let term = NodeSelectorTerm { expressions: Vec::new(), fields: vec![only] };
                return Some(NodeSelector { terms: vec![term] });
            }
        }
    }
    let is_empty = common.expressions.is_empty() && common.fields.is_empty();
    (!is_empty).then(|| NodeSelector { terms: vec![common] })
}

/// A device that is thought to be taken.
struct Taken {
    claim: usize,
    request: usize,
    alternative: usize,
    pool: usize,
    device: usize,
    id: DeviceId,
    is_admin: bool,
    is_shared: bool,
    consumed: Vec<(Name, Quantity)>,
}

impl Taken {
    fn reachable<'v>(&self, view: &'v View) -> &'v Reachable {
        &view.pools[self.pool].devices[self.device]
    }
}

/// What a constraint has seen so far.
#[derive(Clone, Debug, Default)]
struct Constrained {
    values: Vec<Attribute>,
}

/// The request that is being looked at.
#[derive(Clone, Copy)]
struct At {
    claim: usize,
    request: usize,
    alternative: usize,
}

struct Search<'s> {
    devices: &'s Devices,
    view: &'s View,
    wanted: &'s [Wanted<'s>],
    taken: Vec<Taken>,
    /// By claim.
    constraints: Vec<Vec<Constrained>>,
}

impl<'s> Search<'s> {
    /// Fails if a claim asks for more devices than a claim can have.
    fn fits_limit(&self, claim: &Wanted<'_>) -> Result<(), Failed> {
        let least = |request: &Request<'_>| {
            request.alternatives.iter().map(|(one, _)| one.count.unwrap_or(1)).min().unwrap_or(0)
        };
        let total: i64 = claim.requests.iter().map(least).sum();
        if total > MOST_DEVICES as i64 {
            let name = full_name(claim.claim);
            return Err(Failed::Wrong(format!("claim {name}: exceeds the limit of {MOST_DEVICES} allocated devices")));
        }
        Ok(())
    }

    /// Goes on with a request, and all after it.
    fn request(&mut self, claim: usize, request: usize) -> Result<bool, Failed> {
        let Some(wanted) = self.wanted.get(claim) else { return Ok(true) };
        let Some(asked) = wanted.requests.get(request) else { return self.request(claim + 1, 0) };
        for (alternative, (exact, _)) in asked.alternatives.iter().enumerate() {
            let at = At { claim, request, alternative };
            let found = match exact.count {
                Some(count) => self.some(at, count, (0, 0))?,
                None => {
                    let all = self.all_of(at)?;
                    !all.is_empty() && self.each(at, &all)?
                }
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn exact(&self, at: At) -> &'s ExactRequest {
        let wanted: &'s [Wanted<'s>] = self.wanted;
        wanted[at.claim].requests[at.request].alternatives[at.alternative].0
    }

    fn name(&self, at: At) -> String {
        let wanted = &self.wanted[at.claim];
        let request = &wanted.requests[at.request];
        format!("claim {}, request {}", full_name(wanted.claim), path(request.name, self.exact(at).name))
    }

    /// Every device that `All` means.
    fn all_of(&self, at: At) -> Result<Vec<(usize, usize)>, Failed> {
        let mut all = Vec::new();
        for (pool, of) in self.view.pools.iter().enumerate() {
            let (driver, name) = of.key;
            if of.is_incomplete {
                let why = format!("asks for all devices, but resource pool {driver}/{name} is currently being updated");
                return Err(Failed::OnNode(format!("{}: {why}", self.name(at))));
            }
            if of.invalid.is_some() {
                let why = format!("asks for all devices, but resource pool {driver}/{name} is currently invalid");
                return Err(Failed::OnNode(format!("{}: {why}", self.name(at))));
            }
            for (device, one) in of.devices.iter().enumerate() {
                if self.is_selected(at, of.key, one)? {
                    all.push((pool, device));
                }
            }
        }
        Ok(all)
    }

    /// Takes all of these, then goes on.
    fn each(&mut self, at: At, all: &[(usize, usize)]) -> Result<bool, Failed> {
        let before = self.taken.len();
        for &(pool, device) in all {
            if self.is_full(at.claim) || !self.take(at, pool, device) {
                self.give_back(before);
                return Ok(false);
            }
        }
        if self.request(at.claim, at.request + 1)? {
            return Ok(true);
        }
        self.give_back(before);
        Ok(false)
    }

    /// Takes `count` more devices, none before `from`, then goes on.
    fn some(&mut self, at: At, count: i64, from: (usize, usize)) -> Result<bool, Failed> {
        if count == 0 {
            return self.request(at.claim, at.request + 1);
        }
        if self.is_full(at.claim) {
            return Ok(false);
        }
        let view = self.view;
        for (pool, of) in view.pools.iter().enumerate().skip(from.0) {
            if of.is_incomplete || of.invalid.is_some() {
                continue;
            }
            let first = if pool == from.0 { from.1 } else { 0 };
            for (device, one) in of.devices.iter().enumerate().skip(first) {
                // What is cheap to know comes first.
                if self.is_taken(at, one) || !self.is_selected(at, of.key, one)? {
                    continue;
                }
                let before = self.taken.len();
                if !self.take(at, pool, device) {
                    continue;
                }
                let next = if one.device().shareable { device } else { device + 1 };
                if self.some(at, count - 1, (pool, next))? {
                    return Ok(true);
                }
                self.give_back(before);
            }
        }
        Ok(false)
    }

    fn is_full(&self, claim: usize) -> bool {
        self.taken.iter().filter(|one| one.claim == claim).count() >= MOST_DEVICES
    }

    fn is_selected(&self, at: At, pool: PoolKey, one: &Reachable) -> Result<bool, Failed> {
        let (exact, class) = &self.wanted[at.claim].requests[at.request].alternatives[at.alternative];
        let of_class = class.selectors.iter().enumerate().map(|(index, selector)| (true, index, *selector));
        let own = exact.selectors.iter().enumerate().map(|(index, selector)| (false, index, *selector));
        for (is_class, index, selector) in of_class.chain(own) {
            match self.devices.is_selected(selector, pool, one) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(why) => {
                    let whose = if is_class {
                        format!("class {}", class.meta.name)
                    } else {
                        format!("claim {}", full_name(self.wanted[at.claim].claim))
                    };
                    return Err(Failed::Wrong(format!("{whose}: selector #{index}: CEL runtime error: {why}")));
                }
            }
        }
        Ok(true)
    }

    /// True if somebody has the device, or is thought to.
    fn is_taken(&self, at: At, one: &Reachable) -> bool {
        if self.exact(at).admin_access {
            return false;
        }
        if self.devices.is_owned(one.id)
            || self.devices.is_closed(one.id)
            || (self.devices.is_shared(one.id) && !one.device().shareable)
        {
            return true;
        }
        self.taken.iter().any(|taken| taken.id == one.id && !taken.is_admin && !taken.is_shared)
    }

    /// Takes a device if nothing speaks against it.
    fn take(&mut self, at: At, pool: usize, device: usize) -> bool {
        let view: &'s View = self.view;
        let one = &view.pools[pool].devices[device];
        if self.is_taken(at, one) {
            return false;
        }
        let what = one.device();
        let exact = self.exact(at);
        if what.taints.iter().any(|taint| taint.keeps_away(&exact.tolerations)) {
            return false;
        }
        let key = self.view.pools[pool].key;
        let is_shared = what.shareable && !exact.admin_access;
        let Some(consumed) = self.consumed(key.0, one, exact) else { return false };
        if !exact.admin_access && !self.has_counters(pool, one) {
            return false;
        }
        if !self.constrain(at, key.0, what) {
            return false;
        }
        let (is_admin, id) = (exact.admin_access, one.id);
        let At { claim, request, alternative } = at;
        self.taken.push(Taken { claim, request, alternative, pool, device, id, is_admin, is_shared, consumed });
        true
    }

    /// What a request takes of a device's capacity; None if that is more than there is.
    fn consumed(&self, driver: Name, one: &Reachable, exact: &ExactRequest) -> Option<Vec<(Name, Quantity)>> {
        let device = one.device();
        if device.capacity.is_empty() {
            return exact.capacity.is_empty().then(Vec::new);
        }
        let named = |wanted: Name| device.capacity.iter().any(|(name, _)| is_same_id(*name, wanted, driver));
        if !exact.capacity.iter().all(|(wanted, _)| named(*wanted)) {
            return None;
        }
        if !device.shareable && exact.capacity.is_empty() {
            return Some(Vec::new());
        }
        let mut all = Vec::with_capacity(device.capacity.len());
        for (name, capacity) in &device.capacity {
            let requested = exact.capacity.iter().find(|(wanted, _)| is_same_id(*name, *wanted, driver));
            let amount = capacity.consumed(requested.map(|(_, amount)| *amount))?;
            let mut sum = amount;
            if device.shareable && !exact.admin_access {
                sum = sum.plus(self.devices.consumed(one.id, *name));
                for taken in self.taken.iter().filter(|taken| taken.id == one.id && taken.is_shared) {
                    let mine = taken.consumed.iter().find(|(known, _)| known == name);
                    sum = sum.plus(mine.map_or(Quantity::ZERO, |(_, amount)| *amount));
                }
            }
            if sum > capacity.value {
                return None;
            }
            all.push((*name, amount));
        }
        Some(all)
    }

    /// True if the pool's counters leave enough for the device.
    fn has_counters(&self, pool: usize, one: &Reachable) -> bool {
        let device = one.device();
        if device.consumes.is_empty() {
            return true;
        }
        // A device that is in use already takes nothing more.
        if self.devices.is_shared(one.id) || self.taken.iter().any(|taken| taken.id == one.id && !taken.is_admin) {
            return true;
        }
        let of = &self.view.pools[pool];
        let mut thought: FxHashMap<(Name, Name), Quantity> = FxHashMap::default();
        let mut seen: Vec<DeviceId> = Vec::new();
        for taken in self.taken.iter().filter(|taken| taken.pool == pool && !taken.is_admin) {
            if seen.contains(&taken.id) || self.devices.is_shared(taken.id) {
                continue;
            }
            seen.push(taken.id);
            for set in &taken.reachable(self.view).device().consumes {
                for (counter, amount) in &set.counters {
                    let sum = thought.entry((set.name, *counter)).or_default();
                    *sum = sum.plus(*amount);
                }
            }
        }
        device.consumes.iter().all(|set| {
            set.counters.iter().all(|(counter, amount)| {
                let key = (set.name, *counter);
                let there = of.counters.get(&key).copied().unwrap_or(Quantity::ZERO);
                let used = self.devices.counted(of.key, set.name, *counter);
                let thought = thought.get(&key).copied().unwrap_or(Quantity::ZERO);
                amount.plus(used).plus(thought) <= there
            })
        })
    }

    /// Adds the device to the claim's constraints, unless one of them refuses it.
    fn constrain(&mut self, at: At, driver: Name, device: &Device) -> bool {
        let wanted = &self.wanted[at.claim];
        let (request, sub) = (wanted.requests[at.request].name, self.exact(at).name);
        let mut added = Vec::new();
        for (index, constraint) in wanted.constraints.iter().enumerate() {
            if !constraint.is_about(request, sub) {
                continue;
            }
            let values = &mut self.constraints[at.claim][index].values;
            let fits = attribute_of(device, driver, constraint.attribute).filter(|value| {
                if constraint.distinct { !values.contains(value) } else { values.iter().all(|known| known == value) }
            });
            match fits {
                Some(value) => {
                    values.push(value);
                    added.push(index);
                }
                None => {
                    for index in added {
                        self.constraints[at.claim][index].values.pop();
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Gives back all that was taken since there were `before`.
    fn give_back(&mut self, before: usize) {
        while self.taken.len() > before {
            let Some(taken) = self.taken.pop() else { return };
            let wanted = &self.wanted[taken.claim];
            let request = &wanted.requests[taken.request];
            let sub = request.alternatives[taken.alternative].0.name;
            for (index, constraint) in wanted.constraints.iter().enumerate() {
                if constraint.is_about(request.name, sub) {
                    self.constraints[taken.claim][index].values.pop();
                }
            }
        }
    }
}

/// True if both name the same of a driver's device, with its domain or without.
fn is_same_id(one: Name, other: Name, driver: Name) -> bool {
    let split = |name: Name| match name.as_str().split_once('/') {
        Some((domain, id)) => (domain, id),
        None => (driver.as_str(), name.as_str()),
    };
    one == other || split(one) == split(other)
}

/// An attribute by its full name.
fn attribute_of(device: &Device, driver: Name, wanted: Name) -> Option<Attribute> {
    let exact = device.attributes.iter().find(|(name, _)| *name == wanted);
    let found = exact.or_else(|| {
        let (domain, id) = wanted.as_str().split_once('/')?;
        device.attributes.iter().find(|(name, _)| driver == *domain && *name == *id)
    });
    found.map(|(_, value)| *value)
}

/// How many devices there are for a request, and how many of them are free: `2 of 4 devices of class gpu are free, 3 are wanted`.
pub fn supply(devices: &Devices, view: &View, exact: &ExactRequest, class: &DeviceClass) -> String {
    let (mut there, mut free, mut tainted) = (0, 0, 0);
    for pool in view.pools.iter().filter(|pool| !pool.is_incomplete && pool.invalid.is_none()) {
        for one in &pool.devices {
            let mut selectors = class.selectors.iter().chain(&exact.selectors);
            if !selectors.all(|selector| devices.is_selected(*selector, pool.key, one) == Ok(true)) {
                continue;
            }
            there += 1;
            let device = one.device();
            let is_used = devices.is_owned(one.id)
                || devices.is_closed(one.id)
                || (devices.is_shared(one.id) && !device.shareable);
            if device.taints.iter().any(|taint| taint.keeps_away(&exact.tolerations)) {
                tainted += 1;
            } else if !is_used {
                free += 1;
            }
        }
    }
    let wanted = exact.count.map_or_else(
        || "all are".to_owned(),
        |count| if count == 1 { "1 is".to_owned() } else { format!("{count} are") },
    );
    let noun = if there == 1 { "device" } else { "devices" };
    let tainted = if tainted > 0 { format!(", {tainted} tainted") } else { String::new() };
    format!("{free} of {there} {noun} of class {} free{tainted}, {wanted} wanted", exact.class)
}
