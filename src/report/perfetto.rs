//! `trace.perfetto.json`: the run for Perfetto (ui.perfetto.dev) and chrome://tracing.
//!
//! A process a node, a thread a pod: on it the whole life of the pod, within that its start, within that the stages, strictly
//! nested, because overlapping slices of a track are not shown. Arrows lead from faults and actions to what they caused.
//!
//! Format: Chrome's Trace Event Format; times in microseconds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kernel::Time;
use crate::model::{Name, Uid};
use crate::trace::{Footer, Header};

use super::journal::{Happening, Journal};
use super::latency::{Step, pod_start, spans};
use super::series::{NodeClass, classes, node_faults, node_spans, nodes_in_order};

/// The process of what is done to the cluster.
const CLUSTER: u64 = 1;
/// The process of pods without a node.
const UNPLACED: u64 = 2;
const FIRST_NODE: u64 = 10;

/// The file.
pub fn perfetto(header: &Header, journal: &Journal, footer: &Footer) -> String {
    let mut events: Vec<Value> = Vec::new();
    let mut process = |pid: u64, name: &str, sort: u64| {
        events.push(json!({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}));
        events.push(json!({"ph": "M", "pid": pid, "name": "process_sort_index", "args": {"sort_index": sort}}));
    };
    process(CLUSTER, &header.name, 0);
    process(UNPLACED, "pods without a node", 1);
    let nodes = nodes_in_order(journal);
    let pids: BTreeMap<Name, u64> = nodes.iter().zip(FIRST_NODE..).map(|(node, pid)| (node.name, pid)).collect();
    for (node, pid) in &pids {
        process(*pid, node.as_str(), *pid);
    }
    let end = footer.end;
    for (tid, name) in [(1, "actions and faults"), (2, "expectations")] {
        events.push(thread(CLUSTER, tid, name));
    }
    for done in journal.actions.iter().chain(&journal.faults) {
        let name = if done.undone { format!("{} ends", done.text) } else { done.text.to_string() };
        let place = done.source.map(|source| header.place(source)).unwrap_or_default();
        // A short slice rather than an instant, so that arrows have something to begin at.
        events.push(slice(
            CLUSTER,
            1,
            done.time,
            done.time + crate::kernel::Duration::from_millis(1),
            &name,
            "done",
            json!({"at": place}),
        ));
    }
    for expectation in &footer.expectations {
        for (from, until) in &expectation.broken {
            let args = json!({"measured": expectation.measured});
            events.push(slice(CLUSTER, 2, *from, until.unwrap_or(end), &expectation.text, "broken", args));
        }
    }
    for node in &nodes {
        let pid = pids[&node.name];
        events.push(thread(pid, 0, "node"));
        for (from, until, class) in node_spans(node, end) {
            let name = match class {
                NodeClass::Ready => "Ready",
                NodeClass::NotReady => "NotReady",
                NodeClass::Absent => continue,
            };
            events.push(slice(pid, 0, from, until, name, "node", json!({})));
        }
        let faults = node_faults(node, end);
        if !faults.is_empty() {
            events.push(thread(pid, 1, "faults"));
        }
        for (from, until, text) in faults {
            events.push(slice(pid, 1, from, until, &text, "fault", json!({})));
        }
    }
    for (uid, pod) in &journal.pods {
        let pid = pod.last.node.and_then(|node| pids.get(&node).copied()).unwrap_or(UNPLACED);
        pod_track(&mut events, journal, pid, *uid, end);
    }
    let mut text = String::from("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    for (at, event) in events.iter().enumerate() {
        text.push_str(&event.to_string());
        text.push_str(if at + 1 < events.len() { ",\n" } else { "\n" });
    }
    text.push_str("]}\n");
    text
}

/// A thread's number: those of nodes come before.
fn tid(uid: Uid) -> u64 {
    uid.0 + 10
}

fn pod_track(events: &mut Vec<Value>, journal: &Journal, pid: u64, uid: Uid, end: Time) {
    let pod = &journal.pods[&uid];
    let tid = tid(uid);
    let name = format!("{}/{}", pod.last.meta.namespace, pod.last.meta.name);
    events.push(thread(pid, tid, &name));
    let gone = pod.gone.unwrap_or(end);
    let workload = journal.family(pod);
    let args = json!({"workload": workload.as_str(), "status": pod.status_word()});
    events.push(slice(pid, tid, pod.created, gone, &name, "pod", args));
    // Within the life: what it was, one after another; the first of that is its start, with its stages.
    let classes = classes(pod);
    for (at, (from, class)) in classes.iter().enumerate() {
        let until = classes.get(at + 1).map_or(gone, |(time, _)| *time).min(gone);
        if *from >= until {
            continue;
        }
        events.push(slice(pid, tid, *from, until, class.as_str(), "class", json!({})));
        // A stage lies in the slice in which it begins, cut to it; of overlapping ones the later begins where the earlier ends.
        let mut free = *from;
        let mut stages = spans(pod, pod.bound.unwrap_or(*from).max(*from), until);
        stages.retain(|span| span.begin >= *from && span.step != Step::Ready);
        stages.sort_by_key(|span| (span.begin, span.end));
        if at == 0 {
            let marks = [(pod.first_attempt, "queue"), (pod.placed, "schedule"), (pod.bound, "bind")];
            for (time, name) in marks {
                if let Some(time) = time.map(|time| time.min(until)).filter(|time| *time > free) {
                    events.push(slice(pid, tid, free, time, name, "stage", json!({})));
                    free = time;
                }
            }
        }
        for span in stages {
            let begin = span.begin.max(free);
            if span.end > begin {
                let args = json!({"container": span.container.as_str(), "failed": span.failed});
                events.push(slice(pid, tid, begin, span.end, span.step.as_str(), "stage", args));
                free = span.end;
            }
        }
    }
    for moment in &pod.moments {
        if let Happening::Exited { container, exit_code, reason, .. } = &moment.what {
            let args = json!({"exit_code": exit_code, "reason": reason.as_str()});
            events.push(json!({"ph": "i", "pid": pid, "tid": tid, "ts": micros(moment.time), "s": "t",
                "name": format!("{container} exited"), "cat": "exit", "args": args}));
        }
    }
    // An arrow from what somebody did: to the pod's creation, and to its end.
    let deleted = pod.moments.iter().find(|moment| matches!(moment.what, Happening::Deleting { .. }));
    let created = pod.moments.first();
    for (at, moment) in [created, deleted].into_iter().flatten().enumerate() {
        let Some(root) = journal.root(moment.id) else { continue };
        let id = uid.0 * 2 + at as u64;
        events.push(json!({"ph": "s", "id": id, "pid": CLUSTER, "tid": 1, "ts": micros(root.time), "name": "cause", "cat": "cause"}));
        events.push(json!({"ph": "f", "bp": "e", "id": id, "pid": pid, "tid": tid, "ts": micros(moment.time), "name": "cause", "cat": "cause"}));
    }
    if let Some(start) = pod_start(pod) {
        let (step, took) = start.dominant();
        events.push(json!({"ph": "i", "pid": pid, "tid": tid, "ts": micros(start.ready), "s": "t", "name": "ready",
            "cat": "ready", "args": {"start_ms": start.total().as_millis(), "longest": step.as_str(), "longest_ms": took.as_millis()}}));
    }
}

fn thread(pid: u64, tid: u64, name: &str) -> Value {
    json!({"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}})
}

fn slice(pid: u64, tid: u64, from: Time, until: Time, name: &str, category: &str, args: Value) -> Value {
    let (ts, end) = (micros(from), micros(until));
    json!({"ph": "X", "pid": pid, "tid": tid, "ts": ts, "dur": end.saturating_sub(ts), "name": name, "cat": category, "args": args})
}

fn micros(time: Time) -> u64 {
    time.as_nanos() / 1_000
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::sample::zone_outage;
    use super::*;

    #[test]
    fn slices_of_a_track_are_strictly_nested_and_arrows_have_both_ends() {
        let sample = zone_outage(3);
        let text = perfetto(&sample.header, &sample.journal(), &sample.footer);
        let file: Value = serde_json::from_str(&text).expect("it is JSON");
        let events = file["traceEvents"].as_array().expect("it has events");
        let mut tracks: BTreeMap<(u64, u64), Vec<(u64, u64)>> = BTreeMap::new();
        let mut arrows: BTreeMap<u64, String> = BTreeMap::new();
        let number = |event: &Value, field: &str| event[field].as_u64().unwrap_or(0);
        for event in events {
            match event["ph"].as_str() {
                Some("X") => {
                    let (from, dur) = (number(event, "ts"), number(event, "dur"));
                    tracks.entry((number(event, "pid"), number(event, "tid"))).or_default().push((from, from + dur));
                }
                Some(end @ ("s" | "f")) => arrows.entry(number(event, "id")).or_default().push_str(end),
                _ => {}
            }
        }
        for (track, mut slices) in tracks {
            slices.sort_by_key(|(from, until)| (*from, std::cmp::Reverse(*until)));
            let mut open: Vec<u64> = Vec::new();
            for (from, until) in slices {
                while open.last().is_some_and(|end| *end <= from) {
                    open.pop();
                }
                assert!(
                    open.last().is_none_or(|end| until <= *end),
                    "{track:?}: {from}..{until} sticks out of {open:?}"
                );
                open.push(until);
            }
        }
        assert!(arrows.len() > 20 && arrows.values().all(|ends| ends == "sf"));
    }
}
