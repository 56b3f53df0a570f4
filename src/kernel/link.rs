//! The way between two actors: how long a message takes, and whether it arrives.

use super::{Distribution, Duration, Stream, Time};

/// A link, one way. Messages arrive in the order in which they were sent, as over one TCP connection: a message that
/// would overtake an earlier one arrives with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// How long a message takes.
    pub latency: Distribution,
    /// The probability that a message is lost, 0 to 1.
    pub loss: f64,
    /// Nothing arrives while the link is cut. What is on its way when it is cut still arrives.
    pub cut: bool,
    /// When the latest message arrives.
    last_arrival: Time,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It arrives then.
    At(Time),
    /// It never arrives.
    Lost,
}

impl Link {
    /// A link that loses nothing.
    pub fn new(latency: Distribution) -> Link {
        Link { latency, loss: 0.0, cut: false, last_arrival: Time::ZERO }
    }

    /// Sends a message at `now`; `stream` is the link's own.
    ///
    /// Each message takes as many numbers from the stream whether it is lost or not, so that a message after a partition
    /// meets the same luck as it would have without one. A link with constant latency and no loss takes none.
    #[inline]
    pub fn deliver_at(&mut self, now: Time, stream: &mut Stream) -> Delivery {
        let latency = match self.latency {
            Distribution::Constant(latency) if self.loss <= 0.0 => latency,
            _ => {
                let lost = stream.chance(self.loss);
                let latency = self.latency.draw(stream);
                if lost {
                    return Delivery::Lost;
                }
                latency
            }
        };
        if self.cut {
            return Delivery::Lost;
        }
        self.last_arrival = self.last_arrival.max(now + latency);
        Delivery::At(self.last_arrival)
    }
}

/// Everything arrives at once.
impl Default for Link {
    fn default() -> Self {
        Link::new(Distribution::Constant(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Streams;
    use super::*;

    fn ms(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    /// A slow link in which messages would often overtake each other.
    fn jittery() -> Link {
        Link::new(Distribution::Uniform { min: Duration::from_millis(1), max: Duration::from_millis(50) })
    }

    /// Sends a message each millisecond, with the link cut during `cut`.
    fn send(link: &mut Link, messages: u64, cut: std::ops::Range<u64>) -> Vec<Delivery> {
        let mut stream = Streams::new(1).stream("link", "latency");
        let deliver = |i| {
            link.cut = cut.contains(&i);
            link.deliver_at(ms(i), &mut stream)
        };
        (0..messages).map(deliver).collect()
    }

    fn arrivals(deliveries: &[Delivery]) -> Vec<Time> {
        let arrival = |delivery: &Delivery| match delivery {
            Delivery::At(time) => Some(*time),
            Delivery::Lost => None,
        };
        deliveries.iter().filter_map(arrival).collect()
    }

    #[test]
    fn a_constant_link_delays_each_message_alike() {
        let mut link = Link::new(Distribution::Constant(Duration::from_millis(7)));
        assert_eq!(send(&mut link, 3, 0..0), [Delivery::At(ms(7)), Delivery::At(ms(8)), Delivery::At(ms(9))]);
    }

    #[test]
    fn a_later_message_never_overtakes_an_earlier_one() {
        let times = arrivals(&send(&mut jittery(), 1_000, 0..0));
        assert_eq!(times.len(), 1_000);
        assert!(times.is_sorted());
        assert!(times.windows(2).any(|pair| pair[0] == pair[1]), "some would have overtaken");
        assert!((0..).zip(&times).all(|(i, &time)| ms(i + 1) <= time && time <= ms(i + 50)));
    }

    #[test]
    fn a_lossy_link_loses_its_share() {
        let mut link = Link { loss: 0.3, ..jittery() };
        let kept = arrivals(&send(&mut link, 10_000, 0..0)).len();
        assert!((6_850..7_150).contains(&kept), "{kept}");
        let mut hopeless = Link { loss: 1.0, ..Link::default() };
        assert_eq!(send(&mut hopeless, 2, 0..0), [Delivery::Lost, Delivery::Lost]);
    }

    #[test]
    fn after_a_cut_messages_meet_the_same_luck_as_without_it() {
        let with = |cut| send(&mut Link { loss: 0.1, ..jittery() }, 500, cut);
        let (whole, cut) = (with(0..0), with(100..200));
        assert_eq!(cut[..100], whole[..100]);
        assert!(cut[100..200].iter().all(|delivery| *delivery == Delivery::Lost));
        // What was sent just before the cut may have held back what came during it, so skip the longest latency.
        assert_eq!(cut[250..], whole[250..]);
    }
}
