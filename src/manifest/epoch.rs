//! The calendar moment at which a run begins: between Kubernetes' RFC 3339 timestamps and our [`Time`]s.

use k8s_openapi::jiff::Timestamp;

use crate::kernel::{Moment, Time};

/// The calendar moment of [`Time::ZERO`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(Timestamp);

/// 2026-01-01T00:00:00Z, so that runs without a dump print the same times everywhere.
const DEFAULT_SECONDS: i64 = 1_767_225_600;

impl Default for Epoch {
    fn default() -> Epoch {
        Epoch(Timestamp::from_second(DEFAULT_SECONDS).unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

impl Epoch {
    /// The run begins at this moment.
    pub fn at(moment: Timestamp) -> Epoch {
        Epoch(moment)
    }

    /// The run begins so many nanoseconds after 1970 began.
    pub fn at_nanos(nanos: i64) -> Epoch {
        Epoch(Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The calendar moment of the beginning.
    pub fn moment(self) -> Timestamp {
        self.0
    }

    /// `moment` on the run's clock; what is before the beginning becomes the beginning.
    pub fn time(self, moment: Timestamp) -> Time {
        let nanos = moment.as_nanosecond() - self.0.as_nanosecond();
        Time::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }

    /// As Kubernetes prints a `Time`: RFC 3339, UTC, whole seconds.
    pub fn rfc3339(self, time: impl Into<Moment>) -> String {
        let nanos = self.0.as_nanosecond() + i128::from(time.into().as_nanos());
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
    }

    /// As Kubernetes prints a `MicroTime`: with six decimals.
    pub fn rfc3339_micros(self, time: Time) -> String {
        let whole = self.rfc3339(time);
        let nanos = self.0.as_nanosecond() + i128::from(time.as_nanos());
        let micros = nanos.rem_euclid(1_000_000_000) / 1_000;
        format!("{}.{micros:06}Z", whole.trim_end_matches('Z'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_to_the_second_and_read_back() {
        let epoch = Epoch::default();
        assert_eq!(epoch.rfc3339(Time::ZERO), "2026-01-01T00:00:00Z");
        let later = Time::from_nanos(61_500_000_000);
        assert_eq!(epoch.rfc3339(later), "2026-01-01T00:01:01Z");
        assert_eq!(epoch.rfc3339_micros(later), "2026-01-01T00:01:01.500000Z");
        let read: Timestamp = "2026-01-01T00:01:01Z".parse().expect("a timestamp");
        assert_eq!(epoch.time(read), later.truncated_to_second());
    }

    #[test]
    fn what_is_before_the_beginning_is_the_beginning() {
        let read: Timestamp = "2019-05-01T00:00:00Z".parse().expect("a timestamp");
        assert_eq!(Epoch::default().time(read), Time::ZERO);
    }
}
