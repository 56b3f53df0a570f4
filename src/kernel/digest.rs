//! The running digest of a run: one number that tells two runs apart at the first event in which they differ.

use super::{ActorId, Duration, Time};

/// An odd number with its bits well spread: 2⁶⁴ divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where every digest begins: the first bits of π after the point. Not 0, which a word 0 would leave as it is.
const START: u64 = 0x243f_6a88_85a3_08d3;

/// Folds words into a number, in order.
///
/// Each word does `state = rotate_left((state ^ word) · 0x9e3779b97f4a7c15, 29)`, from a state of 0x243f6a8885a308d3, in
/// arithmetic modulo 2⁶⁴. For a given word this maps different states to different states, so two runs that have once differed do not come
/// together again while what follows is the same. [`Digest::value`] mixes the bits once more. The algorithm is part of
/// the promise that a run has the same digest everywhere: changing it changes every recorded digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    state: u64,
}

impl Digest {
    /// The digest of nothing.
    pub const fn new() -> Digest {
        Digest { state: START }
    }

    /// Folds a word.
    #[inline]
    pub const fn word(&mut self, word: u64) {
        self.state = (self.state ^ word).wrapping_mul(MULTIPLIER).rotate_left(29);
    }

    /// Folds bytes: their number, then eight at a time in little-endian order, the last filled up with zeros.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    /// The number that stands for everything folded so far.
    pub const fn value(self) -> u64 {
        let mut value = self.state;
        value = (value ^ (value >> 32)).wrapping_mul(MULTIPLIER);
        value = (value ^ (value >> 29)).wrapping_mul(MULTIPLIER);
        value ^ (value >> 32)
    }
}

impl Default for Digest {
    fn default() -> Self {
        Digest::new()
    }
}

/// What can be folded into a digest. Two values that a run must tell apart fold different words; what differs between
/// machines or between runs of the same seed (addresses, hashes, wall times) is not folded.
pub trait Fold {
    /// Folds this value.
    fn fold(&self, digest: &mut Digest);
}

impl Fold for () {
    fn fold(&self, _: &mut Digest) {}
}

macro_rules! fold_as_a_word {
    ($($integer:ty)*) => {$(
        impl Fold for $integer {
            #[inline]
            fn fold(&self, digest: &mut Digest) {
                // Signed numbers are sign-extended.
                digest.word(*self as u64);
            }
        }
    )*};
}

fold_as_a_word!(bool u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

impl Fold for Time {
    #[inline]
    fn fold(&self, digest: &mut Digest) {
        digest.word(self.as_nanos());
    }
}

impl Fold for Duration {
    #[inline]
    fn fold(&self, digest: &mut Digest) {
        digest.word(self.as_nanos());
    }
}

impl Fold for ActorId {
    #[inline]
    fn fold(&self, digest: &mut Digest) {
        digest.word(u64::from(self.0));
    }
}

impl Fold for str {
    fn fold(&self, digest: &mut Digest) {
        digest.bytes(self.as_bytes());
    }
}

impl Fold for String {
    fn fold(&self, digest: &mut Digest) {
        self.as_str().fold(digest);
    }
}

impl<T: Fold> Fold for Option<T> {
    fn fold(&self, digest: &mut Digest) {
        digest.word(u64::from(self.is_some()));
        if let Some(value) = self {
            value.fold(digest);
        }
    }
}

impl<T: Fold> Fold for [T] {
    fn fold(&self, digest: &mut Digest) {
        digest.word(self.len() as u64);
        for value in self {
            value.fold(digest);
        }
    }
}

impl<T: Fold> Fold for Vec<T> {
    fn fold(&self, digest: &mut Digest) {
        self.as_slice().fold(digest);
    }
}

impl<A: Fold, B: Fold> Fold for (A, B) {
    #[inline]
    fn fold(&self, digest: &mut Digest) {
        self.0.fold(digest);
        self.1.fold(digest);
    }
}

impl<T: Fold + ?Sized> Fold for &T {
    fn fold(&self, digest: &mut Digest) {
        (**self).fold(digest);
    }
}

impl<T: Fold + ?Sized> Fold for Box<T> {
    fn fold(&self, digest: &mut Digest) {
        (**self).fold(digest);
    }
}

impl<T: Fold + ?Sized> Fold for std::sync::Arc<T> {
    fn fold(&self, digest: &mut Digest) {
        (**self).fold(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(value: &(impl Fold + ?Sized)) -> u64 {
        let mut digest = Digest::new();
        value.fold(&mut digest);
        digest.value()
    }

    #[test]
    fn the_algorithm_is_the_one_that_recorded_digests_were_made_with() {
        // Computed by a separate program from the description above.
        assert_eq!(digest_of(&()), 0x35ec_74ca_77c0_37ad);
        assert_eq!(digest_of(&1u64), 0xf66e_85af_e413_81d3);
        assert_eq!(digest_of("kube-scheduler"), 0x0d0c_4195_f7a5_4833);
        assert_eq!(digest_of(&(Time::from_secs(3), ActorId(7))), 0x99e0_bc5e_5f65_a1ed);
    }

    #[test]
    fn values_that_differ_in_order_length_or_absence_have_different_digests() {
        let digests = [
            digest_of(&(1u64, 2u64)),
            digest_of(&(2u64, 1u64)),
            digest_of(&[1u64, 2][..]),
            digest_of(&[1u64, 2, 0][..]),
            digest_of(&Some(1u64)),
            digest_of(&None::<u64>),
            digest_of("ab"),
            digest_of("ab\0"),
            digest_of(&("a", "b")),
            digest_of(&()),
            digest_of(&(0u64, 0u64)),
            digest_of(&(0u64, (0u64, 0u64))),
            digest_of(&-1i32),
            digest_of(&u64::from(u32::MAX)),
        ];
        for (i, one) in digests.iter().enumerate() {
            assert!(!digests[..i].contains(one), "value {i} has the digest of an earlier one");
        }
    }

    #[test]
    fn runs_that_once_differed_do_not_come_together_again() {
        let (mut one, mut other) = (Digest::new(), Digest::new());
        one.word(1);
        other.word(2);
        for word in 0..100_000 {
            one.word(word);
            other.word(word);
            assert_ne!(one, other, "at word {word}");
        }
    }
}
