//! The port to what is not in the cluster: the runtime of a node that is real.
//!
//! What a kubelet says to such a runtime leaves here. What comes back comes by the clock, as a [`Message`] to the kubelet's
//! actor ([`Answerer::message`]): from [`kernel::Wall`](crate::kernel::Wall) in a live run, from
//! [`kernel::Replay`](crate::kernel::Replay) in the replay of its recording, where nobody listens here ([`Nobody`]).

use crate::kernel::{ActorId, Time};
use crate::kubelet;
use crate::protocol::{cri, probe, volume};
use crate::runtime::simulated as runtime;

use super::message::{Incarnation, Message};

/// Hears what kubelets say to runtimes outside.
pub trait Outside {
    /// The kubelet of the node with this index says something. The answer goes to `answerer`.
    fn hear(&mut self, node: usize, now: Time, answerer: Answerer, said: Said);
}

/// What is said to a runtime outside.
#[derive(Debug)]
pub enum Said {
    /// The first thing that is said: the kubelet is there, and hears events from now on.
    Started,
    Cri(Box<cri::Request>),
    Probe(Box<probe::Request>),
    /// What the kubelet itself does on its machine.
    Volume(Box<volume::Request>),
    /// A fault of the scenario is to happen to a container, as far as a real one can be made to.
    Fault(Box<runtime::Fault>),
}

/// Where answers go: the process of the kubelet that asked. What comes after its end is heard by nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answerer {
    /// The kubelet's actor.
    pub to: ActorId,
    /// The process that asked.
    pub incarnation: Incarnation,
}

impl Answerer {
    /// The answer as a message.
    pub fn message(self, answer: kubelet::In) -> Message {
        Message::Kubelet(self.incarnation, answer)
    }
}

/// Hears nothing: the port of a simulation and of a replay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Outside for Nobody {
    fn hear(&mut self, _: usize, _: Time, _: Answerer, _: Said) {}
}
