//! The scheduling cycle, one pod at a time, and the binding cycles, as many at once as there are.
//!
//! A cycle decides on the cluster as it is when the pod is popped, and takes effect when the cycle's time is over; only then
//! does the next one begin. A failed cycle holds the loop until its status patch is answered, as Kubernetes' does.
//!
//! Kubernetes: pkg/scheduler/schedule_one.go. Left out: Permit plug-ins that wait (they are let through).

use std::sync::Arc;

use crate::model::condition;
use crate::model::{Condition, ConditionStatus, Event, EventType, Kind, Name, Object, Pod, Text, Uid};
use crate::protocol::api::{Answer, Call, Patch, Request, Response, Status as ApiStatus, StatusReason, Tag, Watch};
use crate::trace::{Diagnosis, Outcome, PodRef, Record};

use super::events::{ClusterEvent, OwnedChange};
use super::explain;
use super::fit_error::{FitError, event_note};
use super::framework::{Code, Nomination, Status};
use super::node_table::NodeId;
use super::plugins::dynamic_resources;
use super::pod_info::PodInfo;
use super::preemption;
use super::profile::{PluginIdx, PluginSet, Point};
use super::queue::Queued;
use super::race;
use super::search::{Chosen, Failure};
use super::{Fx, In, Known, Out, Place, Scheduler, Timer};

/// What the scheduling loop is at.
#[derive(Debug)]
pub(super) enum Busy {
    No,
    /// A cycle takes its time; its result takes effect at its end.
    Deciding(Box<Decision>),
    /// The status of a pod that failed is being written: so many answers are awaited.
    Writing {
        answers: usize,
    },
}

/// The result of a cycle before it takes effect.
#[derive(Debug)]
pub(super) struct Decision {
    pod: Uid,
    result: Result<Chosen, Failure>,
    diagnosis: Option<Arc<Diagnosis>>,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) enum PendingCall {
    Watch(Watch),
    /// The status of a pod that failed; true if the loop waits for it.
    Status {
        awaited: bool,
    },
    /// Something that must be written before the binding, and what follows it.
    PreBind(Box<Binding>),
    Bind(Box<Binding>),
    /// `nominatedNodeName` of a pod whose binding takes a while; it goes on whatever the answer is.
    Nominate(Box<Binding>),
    /// Something that a victim of a preemption has to suffer.
    Victim(preemption::Step),
}

/// A binding cycle.
#[derive(Debug)]
pub(super) struct Binding {
    queued: Queued,
    node: Name,
    before: Before,
}

/// What comes before the binding.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Requests still to be made, the next one last.
    calls: Vec<(PluginIdx, Call)>,
    /// Who made the request that is not answered yet.
    writes: PluginIdx,
    /// PreBind plug-ins that then wait for an effect.
    waits: Vec<PluginIdx>,
    /// As the binding will take a while, `nominatedNodeName` is to tell of it first.
    nominates: bool,
    /// A pod of higher priority took the node meanwhile.
    preempted: bool,
}

/// What a pod reads whose binding was given up for another.
const PREEMPTED: &str = "preempted";

/// A status as the framework passes it on: an error with the point at which it happened.
fn named(status: Status, point: &str, plugin: &'static str) -> Status {
    if status.code.is_rejected() {
        return status.by(plugin);
    }
    Status::error(format!("running {point} plugin \"{plugin}\": {}", status.message())).by(plugin)
}

impl Scheduler {
    /// Begins cycles until one takes time or no pod is left.
    pub(super) fn schedule(&mut self, fx: &mut Fx) {
        while matches!(self.busy, Busy::No) && self.is_synced() {
            let Some(uid) = self.queue.pop() else { return };
            fx.because(self.cause_of(uid));
            let Some(known) = self.pods.get(&uid).cloned() else {
                self.queue.done(uid);
                continue;
            };
            if known.info.pod.is_terminating() {
                let text = format!("skip schedule deleting pod: {}", known.info.pod.full_name());
                self.queue.done(uid);
                self.event(&known.info.pod, EventType::Warning, "FailedScheduling", &text, fx);
                continue;
            }
            let decision = self.decide(uid, &known);
            self.busy = Busy::Deciding(Box::new(decision));
            let takes = self.cycle_times.draw(&self.config.cycle_time);
            if takes.is_zero() {
                self.cycle_ends(fx);
            } else {
                fx.wake_after(takes, In::Timer(Timer::CycleEnds { start: self.start }));
            }
        }
    }

    fn decide(&mut self, uid: Uid, known: &Known) -> Decision {
        self.world.nodes.refresh_order();
        let (number, attempt) = self.queue.get(uid).map_or((0, 0), |pod| (pod.profile, pod.attempts));
        let profile = &self.config.profiles[number];
        for &idx in profile.at(Point::PreScore) {
            profile.plugins[idx].prepare(&known.info, &mut self.world);
        }
        let random = race::luck(self.luck, &known.info.pod, attempt);
        let result = self.search.schedule((number, profile), &known.info, &self.world, &self.nominator, random);
        let diagnosis = self.config.explain.then(|| {
            let tried: Vec<NodeId> = self.search.last_tried().collect();
            let (world, nominator) = (&self.world, &self.nominator);
            Arc::new(explain::diagnosis(profile, &known.info, world, nominator, &tried, &mut self.remedies))
        });
        Decision { pod: uid, result, diagnosis }
    }

    pub(super) fn cycle_ends(&mut self, fx: &mut Fx) {
        let Busy::Deciding(decision) = std::mem::replace(&mut self.busy, Busy::No) else { return };
        let Decision { pod: uid, result, diagnosis } = *decision;
        fx.because(self.cause_of(uid));
        // The pod may have been deleted or bound by somebody else meanwhile.
        let known = self.pods.get(&uid).filter(|known| known.place == Place::Unassigned).cloned();
        let Some(known) = known else {
            self.queue.done(uid);
            return;
        };
        match result {
            Ok(chosen) => self.assume(&known, chosen, diagnosis, fx),
            Err(failure) => self.fail(&known.info.pod, failure, diagnosis, fx),
        }
    }

    /// Counts the pod in on its node and starts its binding cycle.
    fn assume(&mut self, known: &Known, chosen: Chosen, diagnosis: Option<Arc<Diagnosis>>, fx: &mut Fx) {
        let (uid, node) = (known.info.uid(), chosen.node);
        self.world.nodes.add_pod(node, known.info.clone());
        self.pods.insert(uid, Known { info: known.info.clone(), place: Place::Assumed(node) });
        self.nominator.remove(uid);
        self.attempt(&known.info.pod, Outcome::Scheduled { node }, diagnosis, fx);
        match self.reserve_and_permit(known, node) {
            Ok(before) => {
                self.tell_devices(&known.info, fx);
                let Some(queued) = self.queue.done(uid) else { return };
                self.bind(Box::new(Binding { queued, node, before }), fx);
            }
            Err(status) => {
                // Nobody else hears of it: no event was lost by the pod's being on the node for a moment.
                let row = self.world.nodes.find(node).unwrap_or_default();
                self.take_back(uid, node);
                let mut failure = Failure::error(status.code, status.message());
                if status.code.is_rejected() {
                    let number = self.queue.get(uid).map_or(0, |pod| pod.profile);
                    let profile = &self.config.profiles[number];
                    let mut error = FitError::new(1);
                    let plugin_of =
                        |status: &Status| profile.plugins.iter().position(|one| one.name() == status.plugin);
                    error.reject(&[(row, &status)], &status, plugin_of);
                    failure.message = error.text("");
                    failure.rejectors = error.rejectors;
                    failure.pending = error.pending;
                }
                self.fail(&known.info.pod, failure, None, fx);
            }
        }
    }

    /// Writes into the trace which devices the pod's claims get.
    fn tell_devices(&mut self, info: &PodInfo, fx: &mut Fx) {
        for text in dynamic_resources::decisions(info, &self.world) {
            let object = info.pod.meta.key(Kind::Pod);
            fx.record(Record::Decided { object, by: Name::new("DynamicResources"), text: text.into() });
        }
    }

    /// Runs Reserve and Permit, and asks PreBind what is to be written.
    fn reserve_and_permit(&mut self, known: &Known, node: Name) -> Result<Before, Status> {
        let number = self.queue.get(known.info.uid()).map_or(0, |pod| pod.profile);
        let profile = &self.config.profiles[number];
        for &idx in profile.at(Point::Reserve) {
            let plugin = &profile.plugins[idx];
            if let Some(reserve) = plugin.as_reserve() {
                let done = reserve.reserve(&known.info, node, &mut self.world);
                done.map_err(|status| named(status, "Reserve", plugin.name()))?;
            }
        }
        let mut before = Before::default();
        let Some(row) = self.world.nodes.find(node).map(|id| self.world.nodes.get(id)) else { return Ok(before) };
        for &idx in profile.at(Point::Permit) {
            let plugin = &profile.plugins[idx];
            if let Some(permit) = plugin.as_permit() {
                let answer = permit.permit(&known.info, row, &self.world);
                answer.map_err(|status| named(status, "Permit", plugin.name()))?;
            }
        }
        for &idx in profile.at(Point::PreBind) {
            let plugin = &profile.plugins[idx];
            if let Some(pre_bind) = plugin.as_pre_bind() {
                let calls = pre_bind.pre_bind(&known.info, row, &self.world);
                let calls = calls.map_err(|status| status.by(plugin.name()))?;
                before.calls.extend(calls.into_iter().map(|call| (idx, call)));
                if !pre_bind.is_done(&known.info, node, &self.world).unwrap_or(false) {
                    before.waits.push(idx);
                }
            }
        }
        before.calls.reverse();
        before.nominates = self.config.feature_gates.nominated_node_name_for_expectation
            && !(before.calls.is_empty() && before.waits.is_empty())
            && known.info.pod.status.nominated_node != Some(node);
        Ok(before)
    }

    /// The pod will not be on the node.
    pub(super) fn unreserve(&mut self, info: &PodInfo, node: Name) {
        let name = info.pod.spec.scheduler_name;
        let Some(profile) = self.config.profiles.iter().find(|profile| profile.scheduler_name == name) else { return };
        for &idx in profile.at(Point::Reserve).iter().rev() {
            if let Some(reserve) = profile.plugins[idx].as_reserve() {
                reserve.unreserve(info, node, &mut self.world);
            }
        }
    }

    /// A binding that waits looks whether what was written has had its effect.
    pub(super) fn look_again(&mut self, pod: Uid, fx: &mut Fx) {
        let Some((mut binding, since)) = self.waiting.remove(&pod) else { return };
        let still = self.pods.get(&pod).is_some_and(|known| known.place == Place::Assumed(binding.node));
        if !still {
            return;
        }
        fx.because(binding.queued.cause);
        let profile = &self.config.profiles[binding.queued.profile];
        let Some(&idx) = binding.before.waits.first() else { return self.bind(binding, fx) };
        let plugin = &profile.plugins[idx];
        let Some(pre_bind) = plugin.as_pre_bind() else { return };
        let (period, longest) = pre_bind.poll();
        match pre_bind.is_done(&binding.queued.info, binding.node, &self.world) {
            Ok(true) => {
                binding.before.waits.remove(0);
                self.bind(binding, fx);
            }
            Ok(false) if fx.now().since(since) < longest => {
                self.waiting.insert(pod, (binding, since));
                fx.wake_after(period, In::Timer(Timer::PreBind { start: self.start, pod }));
            }
            answer => {
                let name = plugin.name();
                let why = answer.err().map_or_else(|| pre_bind.timed_out().to_owned(), |status| status.message());
                self.binding_failed(*binding, &format!("running PreBind plugin \"{name}\": {why}"), fx);
            }
        }
    }

    /// Ends the binding cycle of a pod that is at PreBind: the pod is a victim. False if it is not there (any more).
    pub(super) fn cancel_binding(&mut self, pod: Uid, fx: &mut Fx) -> bool {
        if let Some((binding, _)) = self.waiting.remove(&pod) {
            let cause = fx.cause();
            self.binding_failed(*binding, PREEMPTED, fx);
            fx.because(cause);
            return true;
        }
        let at_pre_bind = self.calls.values_mut().find_map(|call| match call {
            PendingCall::PreBind(binding) | PendingCall::Nominate(binding) if binding.queued.info.uid() == pod => {
                Some(binding)
            }
            _ => None,
        });
        at_pre_bind.map(|binding| binding.before.preempted = true).is_some()
    }

    /// Makes the next request of a binding cycle.
    fn bind(&mut self, mut binding: Box<Binding>, fx: &mut Fx) {
        if binding.before.preempted {
            return self.binding_failed(*binding, PREEMPTED, fx);
        }
        if std::mem::take(&mut binding.before.nominates) {
            let pod = binding.queued.info.pod.meta.key(Kind::Pod);
            let call = Call::Patch(pod, Patch::NominatedNode(Some(binding.node)));
            return self.call(call, PendingCall::Nominate(binding), fx);
        }
        if let Some((plugin, call)) = binding.before.calls.pop() {
            binding.before.writes = plugin;
            self.call(call, PendingCall::PreBind(binding), fx);
            return;
        }
        if let Some(idx) = binding.before.waits.first() {
            let plugin = &self.config.profiles[binding.queued.profile].plugins[*idx];
            let period = plugin.as_pre_bind().map_or(crate::kernel::Duration::ZERO, |pre_bind| pre_bind.poll().0);
            let pod = binding.queued.info.uid();
            self.waiting.insert(pod, (binding, fx.now()));
            fx.wake_after(period, In::Timer(Timer::PreBind { start: self.start, pod }));
            return;
        }
        let profile = &self.config.profiles[binding.queued.profile];
        let info = &binding.queued.info;
        let row = self.world.nodes.find(binding.node).map(|id| self.world.nodes.get(id));
        let mut answer = Err(Status::error("no node to bind to"));
        for &idx in profile.at(Point::Bind) {
            let plugin = &profile.plugins[idx];
            let (Some(bind), Some(row)) = (plugin.as_bind(), row) else { continue };
            match bind.bind(info, row, &self.world) {
                Ok(None) => {}
                Ok(Some(call)) => {
                    answer = Ok(call);
                    break;
                }
                Err(status) => {
                    answer = Err(status);
                    break;
                }
            }
        }
        match answer {
            Ok(call) => self.call(call, PendingCall::Bind(binding), fx),
            // The node went away while the pod was on its way: the API server says whether that matters.
            Err(_) if row.is_none() => {
                let pod = info.pod.meta.key(Kind::Pod);
                let call = Call::Bind { pod, uid: info.uid(), node: binding.node };
                self.call(call, PendingCall::Bind(binding), fx);
            }
            Err(status) => self.binding_failed(*binding, &status.message(), fx),
        }
    }

    pub(super) fn answered(&mut self, response: Response, fx: &mut Fx) {
        let Some(call) = self.calls.remove(&response.tag.0) else { return };
        match (call, response.result) {
            (PendingCall::Watch(_), Ok(_)) => {}
            (PendingCall::Watch(watch), Err(_)) => self.watch_later(watch, fx),
            (PendingCall::Status { awaited }, _) => self.written(awaited),
            (PendingCall::PreBind(binding), Ok(answer)) => {
                if let Answer::Object(Object::ResourceClaim(claim)) = &answer {
                    self.world.devices.set_written(claim);
                }
                self.bind(binding, fx);
            }
            (PendingCall::Nominate(binding), _) => self.bind(binding, fx),
            (PendingCall::Victim(step), result) => self.victim_answered(step, result.err(), fx),
            (PendingCall::Bind(binding), Ok(_)) => self.bound(&binding, fx),
            (PendingCall::PreBind(binding), Err(status)) => {
                let plugin = &self.config.profiles[binding.queued.profile].plugins[binding.before.writes];
                let text = format!("running PreBind plugin \"{}\": {status}", plugin.name());
                self.binding_failed(*binding, &text, fx);
            }
            (PendingCall::Bind(binding), Err(status)) => {
                let text = format!("binding rejected: running Bind plugin \"DefaultBinder\": {status}");
                self.binding_failed(*binding, &text, fx);
            }
        }
    }

    /// The connection to the API server is gone: requests under way have failed.
    pub(super) fn connection_lost(&mut self, fx: &mut Fx) {
        let mut tags: Vec<u64> = self.calls.keys().copied().collect();
        tags.sort_unstable();
        for tag in tags {
            let lost = ApiStatus::new(StatusReason::ServiceUnavailable, "http2: client connection lost");
            if !matches!(self.calls.get(&tag), Some(PendingCall::Watch(_))) {
                self.answered(Response { tag: Tag(tag), result: Err(lost) }, fx);
            }
        }
    }

    fn written(&mut self, awaited: bool) {
        if let (true, Busy::Writing { answers }) = (awaited, &mut self.busy) {
            *answers -= 1;
            if *answers == 0 {
                self.busy = Busy::No;
            }
        }
    }

    fn bound(&mut self, binding: &Binding, fx: &mut Fx) {
        let pod = &binding.queued.info.pod;
        let text = format!("Successfully assigned {} to {}", pod.full_name(), binding.node);
        self.event(pod, EventType::Normal, "Scheduled", &text, fx);
        let profile = &self.config.profiles[binding.queued.profile];
        for &idx in profile.at(Point::PostBind) {
            if let Some(post_bind) = profile.plugins[idx].as_post_bind() {
                post_bind.post_bind(&binding.queued.info, binding.node);
            }
        }
    }

    fn binding_failed(&mut self, binding: Binding, message: &str, fx: &mut Fx) {
        let Binding { queued, node, .. } = binding;
        let uid = queued.info.uid();
        fx.because(queued.cause);
        // The watch may show that the binding was done although its answer was lost.
        let assumed = self.pods.get(&uid).filter(|known| known.place == Place::Assumed(node)).cloned();
        let Some(known) = assumed else { return };
        self.queue.resume(queued);
        self.forget(uid, node, fx);
        self.fail(&known.info.pod, Failure::error(Code::Error, message.to_owned()), None, fx);
    }

    /// The pod is not on the node after all.
    fn take_back(&mut self, uid: Uid, node: Name) -> Option<PodInfo> {
        if let Some(info) = self.pods.get(&uid).map(|known| known.info.clone()) {
            self.unreserve(&info, node);
        }
        let info = self.world.nodes.remove_pod(node, uid)?;
        if let Some(known) = self.pods.get_mut(&uid) {
            known.place = Place::Unassigned;
        }
        Some(info)
    }

    /// The pod is not on the node after all: room for others.
    pub(super) fn forget(&mut self, uid: Uid, node: Name, fx: &mut Fx) {
        let Some(info) = self.take_back(uid, node) else { return };
        let mut old = info.pod;
        Arc::make_mut(&mut old).node = Some(node);
        let event = OwnedChange::new(ClusterEvent::ASSIGNED_POD_DELETE, Some(Object::Pod(old)), None);
        self.queue.event(event, fx.cause(), queue_context!(self, fx));
    }

    /// The failure handler: back into the queue, nomination, event, status.
    fn fail(&mut self, pod: &Arc<Pod>, failure: Failure, diagnosis: Option<Arc<Diagnosis>>, fx: &mut Fx) {
        let uid = pod.meta.uid;
        let message = Text::new(&failure.message);
        let rejected = failure.code.is_rejected();
        let outcome = if rejected {
            Outcome::Unschedulable { message: message.clone() }
        } else {
            Outcome::Error { message: message.clone() }
        };
        self.attempt(pod, outcome, diagnosis, fx);
        let Some(known) = self.pods.get(&uid).cloned() else { return };
        let (rejectors, pending): (PluginSet, PluginSet) = (failure.rejectors, failure.pending);
        self.queue.failed(known.info.clone(), rejectors, pending, queue_context!(self, fx));
        match &failure.nomination {
            Some(Some(nomination)) => self.nominator.add(known.info.clone(), nomination.node),
            Some(None) => {
                self.nominator.remove(uid);
            }
            None => {}
        }
        self.event(pod, EventType::Warning, "FailedScheduling", &event_note(&failure.message), fx);
        self.write_status(pod, rejected, &message, failure.nomination.as_ref(), fx);
        for call in failure.calls {
            self.fire(call, fx);
        }
        if let Some(Some(nomination)) = &failure.nomination {
            self.preempt(pod, nomination, fx);
        }
    }

    /// Patches the condition PodScheduled and the nominated node, if they change; the loop waits for the answers.
    fn write_status(
        &mut self,
        pod: &Arc<Pod>,
        rejected: bool,
        message: &Text,
        nomination: Option<&Option<Nomination>>,
        fx: &mut Fx,
    ) {
        let key = pod.meta.key(Kind::Pod);
        let reason = Name::new(if rejected { "Unschedulable" } else { "SchedulerError" });
        let before = condition::find(&pod.status.conditions, "PodScheduled");
        let was_false = before.filter(|condition| condition.status == ConditionStatus::False);
        let mut answers = 0;
        // A binding that failed while a cycle goes on does not disturb it.
        let awaited = !matches!(self.busy, Busy::Deciding(_)) && !self.config.feature_gates.async_api_calls;
        if was_false.is_none_or(|before| before.reason != reason || before.message != *message) {
            let condition = Condition {
                kind: Name::new("PodScheduled"),
                status: ConditionStatus::False,
                reason,
                message: message.clone(),
                last_transition: was_false.map_or(fx.now(), |before| before.last_transition),
                last_update: fx.now(),
            };
            self.call(Call::Patch(key, Patch::Condition(condition)), PendingCall::Status { awaited }, fx);
            answers += 1;
        }
        if let Some(nomination) = nomination {
            let node = nomination.as_ref().map(|nomination| nomination.node);
            if node != pod.status.nominated_node {
                // Part of the same request in Kubernetes, so it takes no token of its own.
                let call = Call::Patch(key, Patch::NominatedNode(node));
                self.call_after(crate::kernel::Duration::ZERO, call, PendingCall::Status { awaited }, fx);
                answers += 1;
            }
        }
        if awaited && answers > 0 {
            let more = if let Busy::Writing { answers } = self.busy { answers } else { 0 };
            self.busy = Busy::Writing { answers: answers + more };
        }
    }

    /// Writes the attempt into the trace; what follows is caused by it.
    fn attempt(&mut self, pod: &Pod, outcome: Outcome, diagnosis: Option<Arc<Diagnosis>>, fx: &mut Fx) {
        let attempt = self.queue.get(pod.meta.uid).map_or(0, |queued| queued.attempts);
        let pod = PodRef { namespace: pod.meta.namespace, name: pod.meta.name, uid: pod.meta.uid };
        fx.record(Record::Attempt { pod, attempt, outcome, diagnosis });
    }

    pub(super) fn event(&mut self, pod: &Pod, kind: EventType, reason: &str, message: &str, fx: &mut Fx) {
        let component = pod.spec.scheduler_name;
        let event: Option<Event> = self.events.record(fx.now(), component, pod, kind, reason, message);
        if let Some(event) = event {
            let delay = self.event_limiter.take(fx.now());
            let call = Call::Create(Object::Event(Arc::new(event)));
            fx.send_after(delay, Out::Api(Box::new(Request { tag: Tag::NONE, call })));
        }
    }

    /// Makes a request whose answer nobody awaits.
    pub(super) fn fire(&mut self, call: Call, fx: &mut Fx) {
        let delay = self.limiter.take(fx.now());
        fx.send_after(delay, Out::Api(Box::new(Request { tag: Tag::NONE, call })));
    }

    /// Makes a request at the client's rate.
    pub(super) fn call(&mut self, call: Call, pending: PendingCall, fx: &mut Fx) {
        // A watch is one long request; it is not worth a token here.
        let free = matches!(pending, PendingCall::Watch(_));
        let delay = if free { crate::kernel::Duration::ZERO } else { self.limiter.take(fx.now()) };
        self.call_after(delay, call, pending, fx);
    }

    fn call_after(&mut self, delay: crate::kernel::Duration, call: Call, pending: PendingCall, fx: &mut Fx) {
        let tag = self.next_tag;
        self.next_tag += 1;
        self.calls.insert(tag, pending);
        fx.send_after(delay, Out::Api(Box::new(Request { tag: Tag(tag), call })));
    }
}
