//! What the kubelet has asked of its runtime, of the API server and of probers, who in it waits for the answer, and until
//! when.
//!
//! Kubernetes: the client deadlines of staging/src/k8s.io/cri-client/pkg (runtimeRequestTimeout 2 min), and of the
//! kubelet's API clients. One timer a kind sweeps what is overdue, and only while something is under way.

use std::collections::BTreeMap;

use crate::kernel::{Duration, Time};
use crate::model::{Name, Uid};
use crate::protocol::{api, cri, probe};
use crate::trace::Record;

use super::{Fx, In, Out, Timer};

/// Who waits for an answer of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CriOwner {
    /// The step of a pod's worker.
    Worker(Uid),
    /// The kill of one container of a pod.
    Kill(Uid, u16),
    Pleg,
    /// The image puller, for the pull of this number.
    Puller(u64),
    Garbage,
    /// Container or (true) image collection while the runtime may not work: only whether it fails matters.
    Collector {
        images: bool,
    },
    /// The check of the runtime's health.
    Health,
    /// The list of images for the node's status.
    Images,
    /// Image garbage collection.
    ImageGc,
}

/// Who waits for an answer of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiOwner {
    PodStatus(Uid),
    PodDelete(Uid),
    /// A ConfigMap, Secret or claim that a pod's volumes need.
    Volumes(Uid),
    /// A ConfigMap or Secret that a container's environment needs.
    Environment(Uid),
    /// The mirror of a static pod.
    Mirror(Uid),
    /// A pull secret.
    PullSecret(Uid),
    /// A pod's resource claim.
    Claim(Uid),
    WatchPods,
    WatchNode,
    WatchServices,
    Register,
    NodeStatus,
    Lease,
}

/// Who waits for a probe or a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOwner {
    Worker { pod: Uid, worker: u16 },
    PostStart(Uid),
    PreStop { pod: Uid, kill: u16, container: super::pod_actions::ContainerRef },
}

/// After this long a request to the API server is given up.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// All that is under way.
#[derive(Debug, Default)]
pub struct Calls {
    next: u64,
    /// Deadline of most calls of the runtime.
    runtime_request_timeout: Duration,
    cri: BTreeMap<cri::CallId, (CriOwner, Time)>,
    /// The node's name, where what calls take is recorded.
    recorded_on: Option<Name>,
    /// What they are and when they were made, where that is recorded.
    made: BTreeMap<cri::CallId, (&'static str, Time)>,
    api: BTreeMap<api::Tag, (ApiOwner, Time)>,
    probes: BTreeMap<probe::ProbeId, ProbeOwner>,
    cri_sweep: bool,
    api_sweep: bool,
}

impl Calls {
    /// Nothing is under way. What calls of the runtime take is recorded under the node's name, if there is one.
    pub fn new(recorded_on: Option<Name>) -> Calls {
        Calls { recorded_on, ..Calls::default() }
    }

    /// Begins the numbers at the process's start, so that answers to an earlier process are nobody's.
    pub fn start(&mut self, now: Time, runtime_request_timeout: Duration) {
        self.next = now.as_nanos() + 1;
        self.runtime_request_timeout = runtime_request_timeout;
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Calls the runtime.
    pub fn cri(&mut self, owner: CriOwner, call: cri::Call, fx: &mut Fx) {
        let id = cri::CallId(self.number());
        let usual = self.runtime_request_timeout;
        let timeout = match &call {
            cri::Call::RunPodSandbox(_) => usual * 2,
            cri::Call::StopContainer { timeout, .. } => usual + *timeout,
            cri::Call::PullImage { .. } => Duration::MAX,
            _ => usual,
        };
        self.cri.insert(id, (owner, fx.now() + timeout));
        if self.recorded_on.is_some() {
            self.made.insert(id, (call.name(), fx.now()));
        }
        fx.send(Out::Cri(Box::new(cri::Request { id, call })));
        if !self.cri_sweep && timeout != Duration::MAX {
            self.cri_sweep = true;
            fx.wake_after(usual, In::Timer(Timer::CriDeadline));
        }
    }

    /// The runtime answered. Who waits for it; None if nobody does any more.
    pub fn cri_answered(&mut self, response: &cri::Response, fx: &mut Fx) -> Option<CriOwner> {
        if let Some(node) = self.recorded_on
            && let Some((method, made)) = self.made.remove(&response.id)
        {
            let (took, failed) = (fx.now().since(made), response.result.is_err());
            fx.record(Record::Called { node, method: Name::new(method), took, failed });
        }
        self.cri.remove(&response.id).map(|(owner, _)| owner)
    }

    /// Takes out the calls whose deadline is past.
    pub fn cri_overdue(&mut self, fx: &mut Fx) -> Vec<CriOwner> {
        let now = fx.now();
        self.cri_sweep = false;
        let overdue: Vec<_> =
            self.cri.iter().filter(|(_, (_, until))| *until <= now).map(|(id, (owner, _))| (*id, *owner)).collect();
        for (id, _) in &overdue {
            self.made.remove(id);
            self.cri.remove(id);
        }
        if let Some(next) = self.cri.values().map(|(_, until)| *until).min().filter(|until| *until != Time::MAX) {
            self.cri_sweep = true;
            // No call made meanwhile is overdue before that.
            fx.wake_at(next.min(now + self.runtime_request_timeout), In::Timer(Timer::CriDeadline));
        }
        overdue.into_iter().map(|(_, owner)| owner).collect()
    }

    /// Nobody waits any more for the answers to the relist's calls.
    pub fn forget_pleg(&mut self) {
        self.cri.retain(|_, (owner, _)| *owner != CriOwner::Pleg);
    }

    /// Takes out all calls: their connection is gone.
    pub fn cri_lost(&mut self) -> Vec<CriOwner> {
        self.made.clear();
        std::mem::take(&mut self.cri).into_values().map(|(owner, _)| owner).collect()
    }

    /// Asks the API server.
    pub fn api(&mut self, owner: ApiOwner, call: api::Call, fx: &mut Fx) {
        let tag = api::Tag(self.number());
        self.api.insert(tag, (owner, fx.now()));
        fx.send(Out::Api(Box::new(api::Request { tag, call })));
        if !self.api_sweep {
            self.api_sweep = true;
            fx.wake_after(API_TIMEOUT, In::Timer(Timer::ApiDeadline));
        }
    }

    /// Who waits for this answer; None if nobody does any more.
    pub fn api_answered(&mut self, tag: api::Tag) -> Option<ApiOwner> {
        self.api.remove(&tag).map(|(owner, _)| owner)
    }

    /// Takes out the requests that have waited too long, or all of them if the connection broke.
    pub fn api_overdue(&mut self, all: bool, fx: &mut Fx) -> Vec<ApiOwner> {
        let now = fx.now();
        let mut overdue = Vec::new();
        self.api.retain(|_, (owner, sent)| {
            let keep = !all && *sent + API_TIMEOUT > now;
            if !keep {
                overdue.push(*owner);
            }
            keep
        });
        if !all {
            self.api_sweep = false;
            if let Some((_, sent)) = self.api.values().next() {
                self.api_sweep = true;
                fx.wake_at(*sent + API_TIMEOUT, In::Timer(Timer::ApiDeadline));
            }
        }
        overdue
    }

    /// A number for a probe.
    pub fn probe(&mut self, owner: ProbeOwner) -> probe::ProbeId {
        let id = probe::ProbeId(self.number());
        self.probes.insert(id, owner);
        id
    }

    /// Who waits for this probe.
    pub fn probe_answered(&mut self, id: probe::ProbeId) -> Option<ProbeOwner> {
        self.probes.remove(&id)
    }
}
