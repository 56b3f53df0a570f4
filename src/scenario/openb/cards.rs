//! Which pods fit on a node's cards. Kubernetes knows of an amount only: half a card on each of two cards is one card to it.

/// The cards of a node, by what is free of each, in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cards {
    free: Vec<i64>,
}

impl Cards {
    pub(super) fn new(count: i64) -> Cards {
        Cards { free: vec![1000; usize::try_from(count).unwrap_or(0)] }
    }

    /// Puts a pod on cards: a share on the fullest card that has room for it, whole cards on empty ones. False if it doesn't fit.
    pub(super) fn put(&mut self, count: i64, milli: i64) -> bool {
        let count = usize::try_from(count).unwrap_or(0);
        let mut fitting: Vec<usize> = (0..self.free.len()).filter(|&card| self.free[card] >= milli).collect();
        if count == 0 || milli == 0 {
            return true;
        }
        if fitting.len() < count {
            return false;
        }
        fitting.sort_by_key(|&card| (self.free[card], card));
        fitting.truncate(count);
        for &card in &fitting {
            self.free[card] -= milli;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pod as count × share; whether each fitted.
    #[track_caller]
    fn check(cards: i64, pods: &[(i64, i64)], wanted: &[bool]) {
        let mut cards = Cards::new(cards);
        let got: Vec<bool> = pods.iter().map(|&(count, milli)| cards.put(count, milli)).collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn a_share_must_fit_on_one_card() {
        check(2, &[(1, 600), (1, 600), (1, 600)], &[true, true, false]);
        check(2, &[(1, 600), (1, 600), (1, 400), (1, 400)], &[true; 4]);
    }

    #[test]
    fn shares_go_to_the_fullest_card_so_that_whole_ones_stay() {
        check(2, &[(1, 500), (1, 500), (1, 1000)], &[true; 3]);
        check(3, &[(1, 500), (2, 1000), (1, 600)], &[true, true, false]);
    }
}
