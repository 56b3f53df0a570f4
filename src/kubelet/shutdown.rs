//! Graceful node shutdown: the machine is about to go off, and pods get time to end, those of low priority first.
//!
//! Kubernetes: pkg/kubelet/nodeshutdown/{nodeshutdown_manager,nodeshutdown_manager_linux}.go. The delay that systemd allows is
//! taken to be as long as all periods together.

use crate::kernel::{Duration, Time};
use crate::model::{EventType, Name, Pod, Text, Uid};

use super::admission::Rejection;
use super::pod_worker::Ending;
use super::{Fx, In, Kubelet, Out, Timer};

/// A shutdown under way.
#[derive(Debug, Default)]
pub struct Shutdown {
    is_on: bool,
    /// The group that is being ended, by its place in the configuration; the pods of it that are awaited, and until when.
    group: usize,
    pods: Vec<Uid>,
    until: Time,
}

const MESSAGE: &str = "Pod was terminated in response to imminent node shutdown.";

impl Kubelet {
    /// True while the node shuts down.
    pub(super) fn shuts_down(&self) -> bool {
        self.shutdown.is_on
    }

    /// The machine is asked to shut down.
    pub(super) fn prepare_for_shutdown(&mut self, fx: &mut Fx) {
        if std::mem::replace(&mut self.shutdown.is_on, true) {
            return;
        }
        if self.config.kubelet.shutdown_grace_periods.is_empty() {
            return fx.send(Out::ShutDown);
        }
        let message = "Shutdown manager detected shutdown event".to_owned();
        self.node_event(EventType::Normal, "Shutdown", message, fx);
        // The node says at once that it is not ready.
        self.refresh_node(fx);
        self.shutdown.group = 0;
        self.end_group(fx);
    }

    /// Ends the pods of the group whose turn it is.
    fn end_group(&mut self, fx: &mut Fx) {
        loop {
            let periods = &self.config.kubelet.shutdown_grace_periods;
            let Some((lowest, period)) = periods.get(self.shutdown.group).copied() else {
                return fx.send(Out::ShutDown);
            };
            let next = periods.get(self.shutdown.group + 1).map(|next| next.0);
            // Pods of lower priorities than any that is named go with the first.
            let lowest = if self.shutdown.group == 0 { i32::MIN } else { lowest };
            let is_of = |pod: &Pod| pod.spec.priority >= lowest && next.is_none_or(|next| pod.spec.priority < next);
            let pods: Vec<Uid> = self
                .pods
                .iter()
                .filter(|(_, entry)| entry.admitted && !entry.worker.is_finished() && is_of(&entry.pod))
                .map(|(uid, _)| *uid)
                .collect();
            if pods.is_empty() {
                self.shutdown.group += 1;
                continue;
            }
            self.shutdown.until = fx.now() + period;
            self.shutdown.pods = pods.clone();
            for uid in pods {
                let Some(entry) = self.pods.get(&uid) else { continue };
                let own = entry.pod.spec.termination_grace;
                let ending = Ending {
                    reason: Name::new("Terminated"),
                    message: Text::new(MESSAGE),
                    disruption: Some(Text::new(MESSAGE)),
                    grace: Some(own.min(period)),
                };
                self.end_for(uid, ending, fx);
            }
            fx.wake_at(self.shutdown.until.max(fx.now() + Duration::from_nanos(1)), In::Timer(Timer::Shutdown));
            return;
        }
    }

    /// A pod has ended, or the group's time is over: on to the next group.
    pub(super) fn shutdown_goes_on(&mut self, fx: &mut Fx) {
        if !self.shutdown.is_on || self.shutdown.pods.is_empty() {
            return;
        }
        let left =
            self.shutdown.pods.iter().any(|uid| self.pods.get(uid).is_some_and(|entry| !entry.worker.is_terminated()));
        if left && fx.now() < self.shutdown.until {
            return;
        }
        self.shutdown.pods.clear();
        self.shutdown.group += 1;
        self.end_group(fx);
    }

    /// Nothing begins on a node that shuts down.
    pub(super) fn admit_before_shutdown(&self) -> Result<(), Rejection> {
        if !self.shutdown.is_on {
            return Ok(());
        }
        Err(Rejection {
            reason: Text::new("NodeShutdown"),
            message: Text::new("Pod was rejected as the node is shutting down."),
        })
    }
}
