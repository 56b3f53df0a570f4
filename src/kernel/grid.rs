//! Points in time at equal distances: when periodic work would run, for work that sleeps while nothing changes.
//!
//! A loop that polls every period acts at the first point after what it observes has changed. A sleeping one is woken by
//! the change and asks the grid for that point, so that it acts when the polling one would have.

use super::{Duration, Time};

/// The points `anchor`, `anchor + period`, `anchor + 2·period`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    anchor: Time,
    period: Duration,
}

impl Grid {
    /// A grid from `anchor` on. A period of zero counts as one nanosecond.
    pub const fn new(anchor: Time, period: Duration) -> Grid {
        let period = if period.is_zero() { Duration::from_nanos(1) } else { period };
        Grid { anchor, period }
    }

    /// The first point.
    pub const fn anchor(self) -> Time {
        self.anchor
    }

    /// The distance between points.
    pub const fn period(self) -> Duration {
        self.period
    }

    /// The point with this number, counted from 0; [`Time::MAX`] if it is after every moment.
    pub fn point(self, index: u64) -> Time {
        self.anchor + self.period * index
    }

    /// The number of the last point at `t` or before; `None` before the anchor.
    pub fn index(self, t: Time) -> Option<u64> {
        (t >= self.anchor).then(|| (t - self.anchor).as_nanos() / self.period.as_nanos())
    }

    /// The first point strictly after `t`; [`Time::MAX`] if there is none.
    pub fn next_after(self, t: Time) -> Time {
        // The number may be that of the last point there is, so count on without overflow.
        self.index(t).map_or(self.anchor, |index| self.point(index) + self.period)
    }

    /// The first point at `t` or after; [`Time::MAX`] if there is none.
    pub fn next_at_or_after(self, t: Time) -> Time {
        match self.last_at_or_before(t) {
            Some(point) if point == t => t,
            _ => self.next_after(t),
        }
    }

    /// The last point at `t` or before; `None` before the anchor.
    pub fn last_at_or_before(self, t: Time) -> Option<Time> {
        self.index(t).map(|index| self.point(index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn points_around_a_moment() {
        let grid = Grid::new(at(5), Duration::from_nanos(10));
        for (t, after, at_or_after, before, index) in [
            (0, 5, 5, None, None),
            (4, 5, 5, None, None),
            (5, 15, 5, Some(5), Some(0)),
            (6, 15, 15, Some(5), Some(0)),
            (15, 25, 15, Some(15), Some(1)),
            (24, 25, 25, Some(15), Some(1)),
        ] {
            assert_eq!(grid.next_after(at(t)), at(after), "next_after({t})");
            assert_eq!(grid.next_at_or_after(at(t)), at(at_or_after), "next_at_or_after({t})");
            assert_eq!(grid.last_at_or_before(at(t)), before.map(at), "last_at_or_before({t})");
            assert_eq!(grid.index(at(t)), index, "index({t})");
        }
    }

    #[test]
    fn a_sleeper_acts_when_the_polling_loop_would_have() {
        let (anchor, period) = (at(7), Duration::from_nanos(13));
        let grid = Grid::new(anchor, period);
        let polls: Vec<Time> = (0..20).map(|i| grid.point(i)).collect();
        for change in 0..200 {
            let noticed = polls.iter().find(|&&poll| poll > at(change)).copied();
            assert_eq!(Some(grid.next_after(at(change))), noticed, "change at {change}");
        }
    }

    proptest! {
        #[test]
        fn neighbours_enclose_every_moment_without_overflow(anchor: u64, period: u64, t: u64) {
            let grid = Grid::new(at(anchor), Duration::from_nanos(period));
            let t = at(t);
            let after = grid.next_after(t);
            prop_assert!(after > t || after == Time::MAX);
            prop_assert!(grid.next_at_or_after(t) >= t);
            if let Some(before) = grid.last_at_or_before(t) {
                prop_assert!(before <= t);
                prop_assert!(after == Time::MAX || after - before == grid.period());
            } else {
                prop_assert!(t < grid.anchor() && after == grid.anchor());
            }
        }
    }
}
