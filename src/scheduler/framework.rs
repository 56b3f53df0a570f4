//! The extension points: what a plug-in may implement, what it sees, what it answers.
//!
//! A plug-in implements [`Plugin`] and those of the other traits whose extension points it wants, and says so in the
//! `as_…` methods. It sees pods as [`PodInfo`], nodes as [`NodeInfo`] and everything else through [`World`].
//!
//! Kubernetes: staging/src/k8s.io/kube-scheduler/framework/interface.go.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::{Name, Uid};
use crate::protocol::api::Call;

use super::events::{Change, ClusterEvent};
use super::listers::World;
use super::node_table::{NodeId, NodeInfo};
use super::pod_info::PodInfo;

pub use super::profile::{Point, Profile};

/// Why a plug-in did not say yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The plug-in failed. The pod is tried again after the error back-off.
    Error,
    /// No, but taking pods away could help.
    Unschedulable,
    /// No, and taking pods away can't help.
    UnschedulableAndUnresolvable,
    /// No, until something outside happens.
    Pending,
}

impl Code {
    /// Unschedulable, UnschedulableAndUnresolvable or Pending.
    pub fn is_rejected(self) -> bool {
        self != Code::Error
    }
}

/// A reason, in Kubernetes' words.
pub type Reason = Cow<'static, str>;

/// A plug-in's answer that is not a plain yes. Kubernetes' nil status is `Ok` here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub code: Code,
    pub reasons: SmallVec<[Reason; 1]>,
    /// The plug-in that said so; the framework fills it in. Empty for the framework itself.
    pub plugin: &'static str,
    /// Of PostFilter: the search for victims ran and found none, so an earlier nomination of the pod ends.
    pub ends_nomination: bool,
}

impl Status {
    /// A status with one reason.
    pub fn new(code: Code, reason: impl Into<Reason>) -> Status {
        Status { code, reasons: SmallVec::from_iter([reason.into()]), plugin: "", ends_nomination: false }
    }

    /// `Unschedulable` for this reason.
    pub fn unschedulable(reason: impl Into<Reason>) -> Status {
        Status::new(Code::Unschedulable, reason)
    }

    /// `UnschedulableAndUnresolvable` for this reason.
    pub fn unresolvable(reason: impl Into<Reason>) -> Status {
        Status::new(Code::UnschedulableAndUnresolvable, reason)
    }

    /// The plug-in failed.
    pub fn error(text: impl Into<Reason>) -> Status {
        Status::new(Code::Error, text)
    }

    /// The same, said by `plugin`.
    pub fn by(mut self, plugin: &'static str) -> Status {
        if self.plugin.is_empty() {
            self.plugin = plugin;
        }
        self
    }

    /// The reasons, joined with `, `.
    pub fn message(&self) -> String {
        self.reasons.join(", ")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

/// What a plug-in keeps from PreFilter (or PreScore) for the rest of the cycle.
pub trait State: Any + Send + Sync {
    /// A copy that a dry run may change.
    fn duplicate(&self) -> Box<dyn State>;
    /// To read it as its own type.
    fn as_any(&self) -> &dyn Any;
    /// To change it as its own type.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Any + Send + Sync + Clone> State for T {
    fn duplicate(&self) -> Box<dyn State> {
        Box::new(self.clone())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// A plug-in's own state, if it left one of this type.
pub fn state_of<T: 'static>(state: Option<&dyn State>) -> Option<&T> {
    state.and_then(|state| state.as_any().downcast_ref())
}

/// On what a plug-in's PreFilter, Filter, PreScore and Score answers depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// On the pod's spec and on the one node that is looked at, nothing else: not on labels, name or namespace of the pod,
    /// nor on other nodes, volumes or services. Answers are kept until the node changes.
    Node,
    /// On anything. Asked again in each attempt.
    Cluster,
}

/// A plug-in.
pub trait Plugin: Send + Sync {
    /// Its name, as configurations write it.
    fn name(&self) -> &'static str;

    /// On what its answers depend.
    fn scope(&self) -> Scope {
        Scope::Cluster
    }

    /// Called before an attempt, for plug-ins that have something kept in the world that makes them faster. Their answers
    /// must be the same without.
    fn prepare(&self, _pod: &PodInfo, _world: &mut World) {}

    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        None
    }
    fn as_queue_sort(&self) -> Option<&dyn QueueSort> {
        None
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        None
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        None
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        None
    }
    fn as_pre_score(&self) -> Option<&dyn PreScore> {
        None
    }
    fn as_score(&self) -> Option<&dyn Score> {
        None
    }
    fn as_reserve(&self) -> Option<&dyn Reserve> {
        None
    }
    fn as_permit(&self) -> Option<&dyn Permit> {
        None
    }
    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        None
    }
    fn as_bind(&self) -> Option<&dyn Bind> {
        None
    }
    fn as_post_bind(&self) -> Option<&dyn PostBind> {
        None
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        None
    }
}

/// Says whether a pod may enter the active queue.
pub trait PreEnqueue {
    /// An error keeps the pod out until one of the plug-in's events.
    fn pre_enqueue(&self, pod: &PodInfo, world: &World) -> Result<(), Status>;
}

/// A pod's place in the active queue: the smaller key comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey {
    /// Pods with a smaller rank come before all others.
    pub rank: i64,
    /// Among equal ranks the earlier.
    pub time: Time,
}

/// Orders the active queue.
pub trait QueueSort {
    /// The key of a pod that was queued (or failed last) at `queued`.
    fn key(&self, pod: &PodInfo, queued: Time) -> SortKey;
}

/// What PreFilter found.
#[derive(Default)]
pub struct PreFiltered {
    /// Kubernetes' Skip: the plug-in's Filter doesn't run for this pod.
    pub skip: bool,
    pub state: Option<Box<dyn State>>,
    /// Only these nodes come into question; None: all.
    pub nodes: Option<BTreeSet<Name>>,
}

impl PreFiltered {
    /// The plug-in's Filter need not run.
    pub fn skip() -> PreFiltered {
        PreFiltered { skip: true, ..PreFiltered::default() }
    }

    /// Filter needs this.
    pub fn with(state: impl State) -> PreFiltered {
        PreFiltered { state: Some(Box::new(state)), ..PreFiltered::default() }
    }
}

/// Looks at the pod once, before the nodes.
pub trait PreFilter {
    /// An error rejects the pod for all nodes.
    fn pre_filter(&self, pod: &PodInfo, world: &World) -> Result<PreFiltered, Status>;

    /// `other` is thought to be on `node` (a nominated pod, or a victim that is spared).
    fn add_pod(&self, _: &mut dyn State, _pod: &PodInfo, _other: &PodInfo, _node: &NodeInfo, _: &World) {}

    /// `other` is thought away from `node` (a potential victim).
    fn remove_pod(&self, _: &mut dyn State, _pod: &PodInfo, _other: &PodInfo, _node: &NodeInfo, _: &World) {}
}

/// Says whether a node can take the pod.
pub trait Filter {
    /// `state` is what the plug-in's PreFilter left.
    fn filter(&self, state: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<(), Status>;

    /// The same as yes or no, of a node as it is in `world`: for plug-ins that can say it faster without the reason. None where they
    /// can't; never a yes or no where [`Filter::filter`] fails.
    fn passes(&self, _state: Option<&dyn State>, _pod: &PodInfo, _node: NodeId, _world: &World) -> Option<bool> {
        None
    }
}

/// What PreScore found.
#[derive(Default)]
pub struct PreScored {
    /// The plug-in doesn't score this pod.
    pub skip: bool,
    pub state: Option<Box<dyn State>>,
}

impl PreScored {
    /// The plug-in doesn't score this pod.
    pub fn skip() -> PreScored {
        PreScored { skip: true, state: None }
    }

    /// Score needs this.
    pub fn with(state: impl State) -> PreScored {
        PreScored { skip: false, state: Some(Box::new(state)) }
    }
}

/// Looks at the feasible nodes once, before scoring them.
pub trait PreScore {
    /// A plug-in of [`Scope::Node`] is asked once for a spec, with no nodes.
    fn pre_score(&self, pod: &PodInfo, feasible: &[NodeId], world: &World) -> Result<PreScored, Status>;
}

/// Scores feasible nodes.
pub trait Score {
    /// The raw score of one node: 0 to 100 unless [`Score::normalizes`].
    fn score(&self, state: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<i64, Status>;

    /// The raw scores of all `nodes` into `scores`, for plug-ins that can do it faster than one by one.
    fn score_all(
        &self,
        state: Option<&dyn State>,
        pod: &PodInfo,
        nodes: &[NodeId],
        world: &World,
        scores: &mut [i64],
    ) -> Result<(), Status> {
        for (node, score) in nodes.iter().zip(scores) {
            *score = self.score(state, pod, world.nodes.get(*node), world)?;
        }
        Ok(())
    }

    /// True if [`Score::normalize`] does something.
    fn normalizes(&self) -> bool {
        false
    }

    /// Brings the raw scores of all feasible `nodes` into 0 to 100.
    fn normalize(&self, _state: Option<&dyn State>, _nodes: &[NodeId], _scores: &mut [i64]) {}
}

/// What PostFilter may look at after no node was found.
pub struct Failed<'a> {
    pub pod: &'a PodInfo,
    /// Nodes whose own status was found, in the order in which they were tried.
    pub nodes: &'a [(NodeId, &'a Status)],
    /// The status of all other nodes.
    pub absent: &'a Status,
    /// False if PreFilter ended before this plug-in's turn.
    pub pre_filter_ran: bool,
    pub attempt: &'a dyn DryRun,
    pub world: &'a World,
    /// A number that the plug-in may use where Kubernetes draws at random: uniform over 64 bits.
    pub random: u64,
}

/// The current attempt over nodes that are thought to be different from what they are.
pub trait DryRun {
    /// Begins to think of `node` as it is.
    fn trial(&self, node: NodeId) -> Box<dyn Trial + '_>;
}

/// A node that is thought to be different from what it is.
pub trait Trial {
    /// The pod is taken off the node.
    fn remove(&mut self, pod: Uid);
    /// It is put back.
    fn add(&mut self, pod: &PodInfo);
    /// The filters' answer for the node as it now is (nominated pods are counted in).
    fn filter(&self) -> Result<(), Status>;
}

/// A node that a pod is meant for, and the pods that must go first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nomination {
    pub node: Name,
    /// The most important first.
    pub victims: Vec<Uid>,
}

/// Tries to make room after no node was found.
pub trait PostFilter {
    /// Ok ends PostFilter; an error other than [`Code::Error`] lets the next plug-in try.
    fn post_filter(&self, failed: &Failed<'_>) -> Result<Nomination, Status>;

    /// The requests that go with what [`PostFilter::post_filter`] said, if that was no.
    fn calls(&self, _failed: &Failed<'_>) -> Vec<Call> {
        Vec::new()
    }
}

/// Keeps count of what a pod takes, from the choice of its node on.
pub trait Reserve {
    /// The pod will be on `node`.
    fn reserve(&self, pod: &PodInfo, node: Name, world: &mut World) -> Result<(), Status>;
    /// It will not. Called also where `reserve` was not, or failed.
    fn unreserve(&self, pod: &PodInfo, node: Name, world: &mut World);
}

/// What Permit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permitted {
    Now,
    /// Not yet; rejected if nothing else is said within this time.
    Wait(Duration),
}

/// Lets a pod wait before its binding.
pub trait Permit {
    fn permit(&self, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<Permitted, Status>;
}

/// What must be written before the binding.
pub trait PreBind {
    /// The requests, to be made in order.
    fn pre_bind(&self, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<Vec<Call>, Status>;

    /// False while what was written has not had its effect, and the binding must wait. An error ends it.
    fn is_done(&self, _pod: &PodInfo, _node: Name, _world: &World) -> Result<bool, Status> {
        Ok(true)
    }

    /// How often [`PreBind::is_done`] is asked, and for how long.
    fn poll(&self) -> (Duration, Duration) {
        (Duration::from_secs(1), Duration::from_secs(600))
    }

    /// The error of a binding that waited for too long.
    fn timed_out(&self) -> &'static str {
        "binding volumes: context deadline exceeded"
    }
}

/// Binds the pod.
pub trait Bind {
    /// The request that binds; None leaves it to the next plug-in.
    fn bind(&self, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<Option<Call>, Status>;
}

/// Hears of a binding that is done.
pub trait PostBind {
    fn post_bind(&self, pod: &PodInfo, node: Name);
}

/// What a queueing hint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The event may make the pod schedulable.
    Queue,
    /// It doesn't.
    Skip,
}

/// Says which events may make a pod schedulable that this plug-in rejected.
pub trait EnqueueExtensions {
    /// The events that the plug-in wants to hear of.
    fn events(&self) -> Vec<ClusterEvent>;

    /// What the change means for `pod`. Asked for the plug-in's own events only.
    fn hint(&self, pod: &PodInfo, event: ClusterEvent, change: &Change<'_>, world: &World) -> Hint;
}

/// `DefaultNormalizeScore`: scales to 0..100 by the greatest, turned round if `reverse`.
pub fn default_normalize(reverse: bool, scores: &mut [i64]) {
    let max = scores.iter().copied().max().unwrap_or(0);
    if max == 0 {
        if reverse {
            scores.fill(100);
        }
        return;
    }
    for score in scores {
        let scaled = 100 * *score / max;
        *score = if reverse { 100 - scaled } else { scaled };
    }
}
