//! What every object carries: names, labels, owner, versions, deletion.

use std::fmt;

use smallvec::SmallVec;

use crate::kernel::{Duration, Time};

use super::{Key, Kind, Labels, Name};

/// `metadata` of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Empty for cluster-scoped kinds.
    pub namespace: Name,
    pub name: Name,
    /// Set by the API server at creation.
    pub uid: Uid,
    /// Set by the API server at each write; 0 in a create, in an update the version that the writer has read (0: any).
    pub resource_version: u64,
    /// Grows by one with each change of the spec.
    pub generation: u32,
    pub labels: Labels,
    pub annotations: Labels,
    /// The controller that owns the object (`ownerReferences` with `controller: true`, or the only one).
    pub owner: Option<OwnerReference>,
    pub created: Time,
    /// Set once the object's deletion was asked for.
    pub deletion: Option<Deletion>,
    pub finalizers: SmallVec<[Name; 1]>,
    /// `generateName`; the API server makes a name of it when `name` is empty.
    pub generate_name: Name,
    /// Where a user wrote the object, for causes and reports.
    pub source: Option<Source>,
}

impl Meta {
    /// Metadata with this namespace and name and nothing else.
    pub fn named(namespace: impl Into<Name>, name: impl Into<Name>) -> Meta {
        Meta { namespace: namespace.into(), name: name.into(), ..Meta::default() }
    }

    /// The key of the object of this `kind`.
    pub fn key(&self, kind: Kind) -> Key {
        Key { kind, namespace: self.namespace, name: self.name }
    }

    /// True if `owner` is the controller of this object.
    pub fn is_owned_by(&self, owner: Uid) -> bool {
        self.owner.is_some_and(|reference| reference.uid == owner)
    }
}

/// An object's identity over its whole life; never used twice in a run. 0 is "not set".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u64);

impl Uid {
    /// Identities that other clusters gave are counted from here, so that they never meet those that an API server gives
    /// in a run.
    pub const FIRST_FOREIGN: u64 = 1 << 40;

    /// True for an object of a dump.
    pub fn is_foreign(self) -> bool {
        self.0 >= Uid::FIRST_FOREIGN
    }

    /// Not given yet.
    pub const NONE: Uid = Uid(0);

    /// The identity whose printed form is `text`; None if no identity below 2⁴⁸ prints so.
    pub fn parse(text: &str) -> Option<Uid> {
        let (_, last) = text.rsplit_once('-')?;
        if last.len() != 12 {
            return None;
        }
        let low = u64::from_str_radix(last, 16).ok()?;
        // The printed form ends with the low 48 bits of `(n ^ MASK) * FACTOR`, and an odd factor can be undone modulo 2⁴⁸.
        let mut inverse: u64 = 1;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(UID_LOW_FACTOR.wrapping_mul(inverse)));
        }
        let number = (low.wrapping_mul(inverse) ^ UID_LOW_MASK) & 0xffff_ffff_ffff;
        (Uid(number).to_string() == text).then_some(Uid(number))
    }
}

const UID_LOW_MASK: u64 = 0x5851_f42d_4c95_7f2d;
const UID_LOW_FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// As a version 4 UUID made from the number, so that it looks like Kubernetes' and is the same in every run.
impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let high = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (self.0 >> 7);
        let low = (self.0 ^ UID_LOW_MASK).wrapping_mul(UID_LOW_FACTOR);
        write!(
            f,
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            (low >> 48 & 0x3fff) | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }
}

/// The controller of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerReference {
    pub kind: Kind,
    pub name: Name,
    pub uid: Uid,
    /// `blockOwnerDeletion`.
    pub block_deletion: bool,
}

/// A graceful deletion under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// `deletionTimestamp`: the request's time plus the grace period.
    pub at: Time,
    /// `deletionGracePeriodSeconds`.
    pub grace: Duration,
}

/// A line of a file that a user gave: `file` indexes the run's list of sources, `line` counts from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    pub file: u32,
    pub line: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_uid_reads_back_and_a_foreign_one_does_not() {
        for number in [1, 2, 77, 1 << 20, (1 << 40) + 5, (1 << 48) - 1] {
            assert_eq!(Uid::parse(&Uid(number).to_string()), Some(Uid(number)), "{number}");
        }
        for foreign in ["", "x", "8d1b7b1c-3c56-4a1e-9d8e-3f2b1c0d9e8f", "-", "a-b"] {
            assert_eq!(Uid::parse(foreign), None, "{foreign}");
        }
    }
}
