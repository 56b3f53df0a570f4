//! Time grids: the moments at which a ticker of Kubernetes fires. A kubelet that sleeps wakes on them all the same.

use crate::kernel::{Duration, Time};

/// The moments `anchor + k · period`, k = 0, 1, 2, ….
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub anchor: Time,
    pub period: Duration,
}

impl Grid {
    /// The grid of a ticker with this `period` that was started at `anchor`.
    pub fn new(anchor: Time, period: Duration) -> Grid {
        Grid { anchor, period: period.max(Duration::from_nanos(1)) }
    }

    /// The first tick at `moment` or later.
    pub fn at_or_after(self, moment: Time) -> Time {
        let passed = moment.since(self.anchor).as_nanos();
        let ticks = passed.div_ceil(self.period.as_nanos());
        self.anchor + self.period * ticks
    }

    /// The first tick later than `moment`.
    pub fn after(self, moment: Time) -> Time {
        self.at_or_after(moment + Duration::from_nanos(1))
    }

    /// The last tick at `moment` or before; the anchor if there is none.
    pub fn at_or_before(self, moment: Time) -> Time {
        let ticks = moment.since(self.anchor).as_nanos() / self.period.as_nanos();
        self.anchor + self.period * ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_whole_periods_after_the_anchor() {
        let grid = Grid::new(Time::from_nanos(300), Duration::from_nanos(1000));
        for (moment, at_or_after, after, at_or_before) in
            [(0, 300, 300, 300), (300, 300, 1300, 300), (301, 1300, 1300, 300), (1300, 1300, 2300, 1300)]
        {
            let moment = Time::from_nanos(moment);
            assert_eq!(grid.at_or_after(moment).as_nanos(), at_or_after);
            assert_eq!(grid.after(moment).as_nanos(), after);
            assert_eq!(grid.at_or_before(moment).as_nanos(), at_or_before);
        }
    }
}
