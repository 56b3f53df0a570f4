//! Amounts of CPU, memory and the rest.

use std::ops::{Add, AddAssign, Sub, SubAssign};

use smallvec::SmallVec;

use super::Name;

/// CPU, in thousandths of a core: `500m` in a manifest is 500.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MilliCpu(pub i64);

/// Memory or storage, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub i64);

macro_rules! arithmetic {
    ($type:ident) => {
        impl Add for $type {
            type Output = $type;
            fn add(self, other: $type) -> $type {
                $type(self.0.saturating_add(other.0))
            }
        }
        impl Sub for $type {
            type Output = $type;
            fn sub(self, other: $type) -> $type {
                $type(self.0.saturating_sub(other.0))
            }
        }
        impl AddAssign for $type {
            fn add_assign(&mut self, other: $type) {
                *self = *self + other;
            }
        }
        impl SubAssign for $type {
            fn sub_assign(&mut self, other: $type) {
                *self = *self - other;
            }
        }
    };
}
arithmetic!(MilliCpu);
arithmetic!(Bytes);

/// A resource list: what is requested, limited, or there. An absent resource is `None` in [`ResourceList`]; here it is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu: MilliCpu,
    pub memory: Bytes,
    pub ephemeral_storage: Bytes,
    /// Number of pods; only of nodes.
    pub pods: i64,
    /// Extended resources and huge pages, in whole units (bytes for huge pages), by name in text order.
    pub extended: SmallVec<[(Name, i64); 1]>,
}

impl Resources {
    /// The amount of an extended resource.
    pub fn extended(&self, name: Name) -> i64 {
        self.extended.iter().find(|(existing, _)| *existing == name).map_or(0, |(_, amount)| *amount)
    }

    /// Sets the amount of an extended resource.
    pub fn set_extended(&mut self, name: Name, amount: i64) {
        match self.extended.binary_search_by(|(existing, _)| existing.cmp(&name)) {
            Ok(at) => self.extended[at].1 = amount,
            Err(at) => self.extended.insert(at, (name, amount)),
        }
    }

    /// Adds `other` to this, resource by resource.
    pub fn add(&mut self, other: &Resources) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes `other` from this, resource by resource.
    pub fn subtract(&mut self, other: &Resources) {
        self.combine(other, i64::saturating_sub);
    }

    /// Raises this to `other` where that is greater, resource by resource.
    pub fn raise_to(&mut self, other: &Resources) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Resources, with: fn(i64, i64) -> i64) {
        self.cpu.0 = with(self.cpu.0, other.cpu.0);
        self.memory.0 = with(self.memory.0, other.memory.0);
        self.ephemeral_storage.0 = with(self.ephemeral_storage.0, other.ephemeral_storage.0);
        self.pods = with(self.pods, other.pods);
        for &(name, amount) in &other.extended {
            let combined = with(self.extended(name), amount);
            self.set_extended(name, combined);
        }
    }
}

/// `requests` or `limits` of a container: absent and zero differ (defaults, QoS class, the scheduler's non-zero requests).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResourceList {
    pub cpu: Option<MilliCpu>,
    pub memory: Option<Bytes>,
    pub ephemeral_storage: Option<Bytes>,
    pub extended: SmallVec<[(Name, i64); 1]>,
}

impl ResourceList {
    /// The amounts, 0 for the absent ones.
    pub fn amounts(&self) -> Resources {
        Resources {
            cpu: self.cpu.unwrap_or_default(),
            memory: self.memory.unwrap_or_default(),
            ephemeral_storage: self.ephemeral_storage.unwrap_or_default(),
            pods: 0,
            extended: self.extended.clone(),
        }
    }

    /// True if nothing is named.
    pub fn is_empty(&self) -> bool {
        *self == ResourceList::default()
    }
}
