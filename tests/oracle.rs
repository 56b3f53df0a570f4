//! Decisions of kube-scheduler's own code, in `../shared/oracle`, against ours: filters, scores, choices, messages, queueing
//! hints, the order of nodes. All cases of all files must pass; what differs and is known to stands in a table.
#![expect(clippy::disallowed_macros, reason = "a table for people")]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use simlet::model::{Name, Object};
use simlet::scheduler::events::{self, Action, ClusterEvent, OwnedChange, Resource};
use simlet::scheduler::explain;
use simlet::scheduler::framework::{
    EnqueueExtensions, Failed, Hint, Nomination, Plugin, Point, PostFilter, Profile, Status,
};
use simlet::scheduler::listers::World;
use simlet::scheduler::node_table::{NodeId, NodeTable};
use simlet::scheduler::nominator::Nominator;
use simlet::scheduler::plugins::{DefaultPreemption, default_preemption};
use simlet::scheduler::pod_info::PodInfo;
use simlet::scheduler::profile::PluginSet;
use simlet::scheduler::queue;
use simlet::scheduler::search::{Search, feasible_nodes_wanted};

use support::{oracle_config, oracle_objects};

fn read(path: &str) -> Vec<Value> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle").join(path);
    let text = if path.ends_with(".gz") {
        let output = Command::new("gzip").arg("-dc").arg(&file).output().expect("gzip runs");
        assert!(output.status.success(), "{path} can't be read: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the oracle is UTF-8")
    } else {
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path} can't be read: {error}"))
    };
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
    assert!(!cases.is_empty(), "{path} has cases");
    cases
}

/// The cluster of a case.
fn world(objects: &Value) -> (World, Nominator) {
    let (mut world, mut nominator) = (World::default(), Nominator::default());
    for (_, list) in objects.as_object().into_iter().flatten() {
        for object in list.as_array().into_iter().flatten() {
            match object["kind"].as_str() {
                Some("Node") => {
                    world.nodes.set_node(&oracle_objects::node(object));
                }
                Some("Pod") => {
                    let pod = PodInfo::new(oracle_objects::pod(object));
                    if pod.pod.status.phase.is_terminal() {
                        continue;
                    }
                    match (pod.pod.node, pod.pod.status.nominated_node) {
                        (Some(node), _) => world.nodes.add_pod(node, pod),
                        (None, Some(node)) => nominator.add(pod, node),
                        (None, None) => {}
                    }
                }
                _ => {
                    if let Some(other) = oracle_objects::other(object) {
                        world.listers.insert(&other);
                    }
                }
            }
        }
    }
    world.nodes.refresh_order();
    (world, nominator)
}

/// DefaultPreemption that tells what it found on every node, however few a real run would try.
struct Spy {
    inner: Arc<dyn Plugin>,
    found: Mutex<Option<Found>>,
}

/// Candidates by node with their victims and violations, and why the other nodes are none.
#[derive(Default)]
struct Found {
    candidates: BTreeMap<String, (Vec<String>, usize)>,
    rejected: BTreeMap<String, Status>,
}

impl Plugin for Spy {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        self.inner.as_enqueue_extensions()
    }
}

impl PostFilter for Spy {
    fn post_filter(&self, failed: &Failed<'_>) -> Result<Nomination, Status> {
        let all = DefaultPreemption { min_candidate_nodes_absolute: usize::MAX, ..DefaultPreemption::default() };
        let nodes = default_preemption::helpful_nodes(failed);
        let (candidates, rejected) = all.candidates(failed, &nodes);
        let name = |node: NodeId| failed.world.nodes.get(node).name.to_string();
        *self.found.lock().expect("nobody panicked") = Some(Found {
            candidates: candidates
                .iter()
                .map(|one| {
                    let victims = one.victims.iter().map(|victim| victim.pod.full_name()).collect();
                    (name(one.node), (victims, one.pdb_violations))
                })
                .collect(),
            rejected: rejected.into_iter().map(|(node, status)| (name(node), status)).collect(),
        });
        self.inner.as_post_filter().expect("it is one").post_filter(failed)
    }
}

/// The first way in which what preemption found differs, or None.
fn preemption_differs(found: &Found, expected: &Value) -> Option<String> {
    if expected["candidates"].is_null() && expected["rejected"].is_null() {
        return None;
    }
    let mut wanted = 0;
    for candidate in expected["candidates"].as_array().into_iter().flatten() {
        wanted += 1;
        let node = candidate["node"].as_str().unwrap_or_default();
        let violations = candidate["pdbViolations"].as_u64().unwrap_or(0) as usize;
        match found.candidates.get(node) {
            Some((victims, violated)) if *victims == strings(&candidate["victims"]) && *violated == violations => {}
            other => {
                let why = found.rejected.get(node);
                return Some(format!("preemption on {node}: {other:?} {why:?}, not {candidate}"));
            }
        }
    }
    if found.candidates.len() != wanted {
        return Some(format!("candidates {:?}, not {}", found.candidates.keys(), expected["candidates"]));
    }
    for (node, status) in expected["rejected"].as_object().into_iter().flatten() {
        let says_so = |found: &Status| strings(&status["reasons"]) == found.reasons.as_slice();
        if !found.rejected.get(node).is_some_and(says_so) {
            return Some(format!("preemption on {node}: {:?}, not {status}", found.rejected.get(node)));
        }
    }
    None
}

/// The first way in which our answer to a decision differs, or None.
fn differs(case: &Value) -> Option<String> {
    let (world, nominator) = world(&case["objects"]);
    let pod = PodInfo::new(oracle_objects::pod(&case["pod"]));
    let profiles = oracle_config::profiles(case);
    let name = pod.pod.spec.scheduler_name;
    let Some(profile) = profiles.iter().find(|profile| profile.scheduler_name == name) else {
        return Some(format!("no profile {name}"));
    };
    let answer = &case["answer"];
    let outcome = answer["outcome"].as_str().unwrap_or_default();
    let gated = profile.at(Point::PreEnqueue).iter().find_map(|idx| {
        let status = profile.plugins[*idx].as_pre_enqueue()?.pre_enqueue(&pod, &world).err()?;
        Some(status.by(profile.plugins[*idx].name()))
    });
    if let Some(status) = gated {
        let expected = &answer["preEnqueue"];
        return (outcome != "gated" || !says(&status, expected))
            .then(|| format!("gated by {status:?}, not {expected}"));
    }
    let evaluation = explain::evaluate(profile, &pod, &world, &nominator, world.nodes.order());
    match evaluation {
        Err(status) => {
            return (answer["error"] != status.message().as_str())
                .then(|| format!("error {:?}, not {}", status.message(), answer["error"]));
        }
        Ok(evaluation) => {
            // Of an empty cluster there is nothing but the message.
            if !answer["preFilter"].is_null()
                && let Some(difference) = evaluation_differs(profile, &world, answer, &evaluation)
            {
                return Some(difference);
            }
        }
    }
    let mut profile = profile.clone();
    let spies = profile.plugins.iter_mut().filter(|plugin| plugin.name() == "DefaultPreemption").map(|plugin| {
        let spy = Arc::new(Spy { inner: plugin.clone(), found: Mutex::default() });
        *plugin = spy.clone();
        spy
    });
    let spy = spies.last();
    let profile = &profile;
    let mut search = Search::default();
    match (search.schedule((0, profile), &pod, &world, &nominator, 0), outcome) {
        (Ok(chosen), "scheduled") => {
            let best = answer["best"].as_array().into_iter().flatten();
            if !best.clone().any(|node| *node == chosen.node.as_str()) {
                return Some(format!("chose {}, best are {}", chosen.node, answer["best"]));
            }
            if chosen.feasible > 1 {
                for (node, total) in search.last_totals() {
                    let name = world.nodes.get(node).name.as_str();
                    if answer["scores"][name]["total"] != total {
                        return Some(format!("fast total of {name} is {total}"));
                    }
                }
            }
            None
        }
        (Err(failure), "unschedulable") => {
            if answer["message"] != failure.message.as_str() {
                return Some(format!("message {:?}\n      not {}", failure.message, answer["message"]));
            }
            let rejectors: Vec<&str> = failure.rejectors.iter().map(|idx| profile.plugins[idx].name()).collect();
            let mut sorted = rejectors.clone();
            sorted.sort_unstable();
            let expected = strings(&answer["unschedulablePlugins"]);
            if !answer["unschedulablePlugins"].is_null() && sorted != expected {
                return Some(format!("rejectors {sorted:?}, not {expected:?}"));
            }
            let found = spy.and_then(|spy| spy.found.lock().expect("nobody panicked").take());
            if let Some(difference) = found.and_then(|found| preemption_differs(&found, &answer["preemption"])) {
                return Some(difference);
            }
            let best = strings(&answer["preemption"]["best"]);
            let nominated = failure.nomination.flatten().map(|nomination| nomination.node);
            match nominated {
                Some(node) if best.contains(&node.as_str()) || answer["preemption"]["dependsOnOffset"] == true => None,
                None if best.is_empty() => None,
                other => Some(format!("nominated {other:?}, best are {best:?}")),
            }
        }
        (got, _) => Some(format!("outcome {outcome}, got {got:?}")),
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn says(status: &Status, expected: &Value) -> bool {
    let code = format!("{:?}", status.code);
    expected["plugin"] == status.plugin
        && expected["code"] == code.as_str()
        && strings(&expected["reasons"]) == status.reasons.iter().map(|reason| reason.as_ref()).collect::<Vec<_>>()
}

fn evaluation_differs(
    profile: &Profile,
    world: &World,
    answer: &Value,
    evaluation: &explain::Evaluation,
) -> Option<String> {
    let known = |name: &&str| profile.plugins.iter().any(|plugin| plugin.name() == *name);
    let named = |set: simlet::scheduler::profile::PluginSet| {
        let mut names: Vec<&str> = set.iter().map(|idx| profile.plugins[idx].name()).collect();
        names.sort_unstable();
        names
    };
    let expected: Vec<&str> = strings(&answer["preFilter"]["skip"]).into_iter().filter(known).collect();
    if evaluation.rejection.is_none() && named(evaluation.pre_filter_skip) != expected {
        return Some(format!("PreFilter skips {:?}, not {expected:?}", named(evaluation.pre_filter_skip)));
    }
    let status = &answer["preFilter"]["status"];
    match &evaluation.rejection {
        Some(rejection) if !says(rejection, status) => return Some(format!("PreFilter {rejection:?}, not {status}")),
        None if !status.is_null() => return Some(format!("PreFilter accepts, not {status}")),
        _ => {}
    }
    for (id, verdict) in &evaluation.filter {
        let name = world.nodes.get(*id).name.as_str();
        let expected = &answer["filter"][name];
        let same = match verdict {
            Ok(()) => expected["ok"] == true,
            Err(status) => says(status, expected),
        };
        if !same {
            return Some(format!("filter of {name}: {verdict:?}, not {expected}"));
        }
    }
    if evaluation.feasible.is_empty() {
        return None;
    }
    let expected: Vec<&str> = strings(&answer["preScoreSkip"]).into_iter().filter(known).collect();
    if named(evaluation.pre_score_skip) != expected {
        return Some(format!("PreScore skips {:?}, not {expected:?}", named(evaluation.pre_score_skip)));
    }
    let totals = evaluation.totals();
    for (at, id) in evaluation.feasible.iter().enumerate() {
        let name = world.nodes.get(*id).name.as_str();
        let expected = &answer["scores"][name];
        for (plugin, raw, weighted) in &evaluation.scores {
            let plugin = profile.plugins[*plugin].name();
            let pair = &expected["plugins"][plugin];
            if pair[0] != raw[at] || pair[1] != weighted[at] {
                return Some(format!("{plugin} of {name}: [{}, {}], not {pair}", raw[at], weighted[at]));
            }
        }
        if expected["total"] != totals[at] {
            return Some(format!("total of {name}: {}, not {}", totals[at], expected["total"]));
        }
    }
    None
}

/// The first step of a sequence that differs, or None.
fn sequence_differs(case: &Value) -> Option<String> {
    let (mut world, nominator) = world(&case["objects"]);
    let profiles = oracle_config::profiles(case);
    let mut search = Search::default();
    let mut specs = simlet::scheduler::pod_info::SpecCache::default();
    let steps = case["answer"]["steps"].as_array().filter(|steps| !steps.is_empty()).expect("a sequence has steps");
    for (step, (pending, expected)) in case["pending"].as_array()?.iter().zip(steps).enumerate() {
        let pod = specs.pod(&oracle_objects::pod(pending));
        let name = pod.pod.spec.scheduler_name;
        let Some(profile) = profiles.iter().find(|profile| profile.scheduler_name == name) else {
            return Some(format!("no profile {name}"));
        };
        world.nodes.refresh_order();
        match search.schedule((0, profile), &pod, &world, &nominator, 0) {
            Ok(chosen) => {
                if expected["outcome"] != "scheduled" {
                    return Some(format!("step {step}: placed on {}, not {expected}", chosen.node));
                }
                if chosen.feasible > 1 {
                    let totals: BTreeMap<&str, i64> = search
                        .last_totals()
                        .map(|(node, total)| (world.nodes.get(node).name.as_str(), total))
                        .collect();
                    let best = totals.values().max().copied();
                    let mine: Vec<&str> =
                        totals.iter().filter(|(_, total)| Some(**total) == best).map(|(name, _)| *name).collect();
                    for (name, total) in &totals {
                        if expected["totals"][*name] != *total {
                            return Some(format!(
                                "step {step}: total of {name} {total}, not {}",
                                expected["totals"][*name]
                            ));
                        }
                    }
                    if mine != strings(&expected["best"]) || !mine.contains(&chosen.node.as_str()) {
                        return Some(format!("step {step}: best {mine:?}, not {}", expected["best"]));
                    }
                } else if expected["chosen"] != chosen.node.as_str() {
                    return Some(format!("step {step}: {} alone fits, not {}", chosen.node, expected["chosen"]));
                }
                let node = Name::new(expected["chosen"].as_str()?);
                for &idx in profile.at(Point::Reserve) {
                    let reserve = profile.plugins[idx].as_reserve()?;
                    if let Err(status) = reserve.reserve(&pod, node, &mut world) {
                        return Some(format!("step {step}: reserving on {node}: {status}"));
                    }
                }
                world.nodes.add_pod(node, pod);
            }
            Err(failure) => {
                if expected["message"] != failure.message.as_str() {
                    return Some(format!("step {step}: {:?}, not {expected}", failure.message));
                }
            }
        }
    }
    None
}

/// The first event whose hints or strategy differ, or None. Kinds that the model lacks are left out.
fn hints_differ(case: &Value) -> Option<String> {
    let (world, _) = world(&case["objects"]);
    let profiles = oracle_config::profiles(case);
    let profile = profiles.first()?;
    let mut rejectors = PluginSet::default();
    for name in strings(&case["rejectors"]) {
        match profile.plugins.iter().position(|plugin| plugin.name() == name) {
            Some(plugin) => rejectors.insert(plugin),
            None => return Some(format!("rejected by {name}, which is missing")),
        }
    }
    for event in case["events"].as_array().into_iter().flatten() {
        let object = |value: &Value| match event["kind"].as_str() {
            _ if value.is_null() => None,
            Some("Node") => Some(Object::Node(oracle_objects::node(value))),
            Some("Pod") => Some(Object::Pod(oracle_objects::pod(value))),
            _ => oracle_objects::other(value),
        };
        let (old, new) = (object(&event["old"]), object(&event["new"]));
        let pod = PodInfo::new(match (&new, event["action"].as_str()) {
            (Some(Object::Pod(new)), Some("self-update")) => new.clone(),
            _ => oracle_objects::pod(&case["pod"]),
        });
        let happened: Vec<ClusterEvent> = match (&old, &new) {
            (Some(Object::Node(old)), Some(Object::Node(new))) => events::node_update(old, new).to_vec(),
            (Some(Object::Pod(old)), Some(Object::Pod(new))) => {
                let own = event["action"] == "self-update";
                let resource = if own { Resource::UnscheduledPod } else { Resource::AssignedPod };
                events::pod_update(old, new, resource).to_vec()
            }
            (old, new) => {
                let resource = match event["kind"].as_str() {
                    Some("Node") => Resource::Node,
                    Some("Pod") => Resource::AssignedPod,
                    Some("PersistentVolume") => Resource::PersistentVolume,
                    Some("PersistentVolumeClaim") => Resource::PersistentVolumeClaim,
                    Some("StorageClass") => Resource::StorageClass,
                    Some("CSINode") => Resource::CSINode,
                    Some("CSIDriver") => Resource::CSIDriver,
                    Some("CSIStorageCapacity") => Resource::CSIStorageCapacity,
                    Some("VolumeAttachment") => Resource::VolumeAttachment,
                    other => return Some(format!("an event of a kind {other:?} that the model lacks")),
                };
                let action = match (old, new) {
                    (None, _) => Action::ADD,
                    (_, None) => Action::DELETE,
                    _ => Action::UPDATE,
                };
                vec![ClusterEvent::new(resource, action)]
            }
        };
        let expected: Vec<&Value> = event["answer"].as_array().into_iter().flatten().collect();
        let what = format!("{} {} ({})", event["kind"], event["action"], event["what"]);
        if happened.len() != expected.len() {
            return Some(format!("{what}: {happened:?}, not {}", event["answer"]));
        }
        for (happened, expected) in happened.into_iter().zip(expected) {
            let owned = OwnedChange::new(happened, old.clone(), new.clone());
            for registration in profile.registrations() {
                let plugin = &profile.plugins[registration.plugin];
                // The answers leave DynamicResources out.
                if !registration.event.hears(happened) || plugin.name() == "DynamicResources" {
                    continue;
                }
                let hint = match plugin.as_enqueue_extensions().filter(|_| registration.has_hint) {
                    Some(extensions) => extensions.hint(&pod, happened, &owned.change(), &world),
                    None => Hint::Queue,
                };
                let name = if hint == Hint::Queue { "Queue" } else { "QueueSkip" };
                if expected["hints"][plugin.name()] != name {
                    return Some(format!("{what}: {} says {name}, not {}", plugin.name(), expected["hints"]));
                }
            }
            let mine =
                queue::strategy(profile, &pod, (rejectors, PluginSet::default()), happened, &owned.change(), &world);
            let same = match mine {
                queue::Strategy::Skip => expected["strategy"] != "QueueAfterBackoff",
                _ => expected["strategy"] == "QueueAfterBackoff",
            };
            if !same {
                return Some(format!("{what}: {mine:?}, not {}", expected["strategy"]));
            }
        }
    }
    None
}

/// Cases whose answer differs and is known to: the case's id and why. Meant to be empty.
const KNOWN_DIFFERENCES: &[(&str, &str)] = &[];

/// Plays all cases of the files and prints a table, a line a file; every case must pass.
fn check(files: &[String], difference: fn(&Value) -> Option<String>) {
    let mut failures = Vec::new();
    for file in files {
        let cases = read(file);
        let mut failed = 0;
        for case in &cases {
            let id = case["id"].as_str().unwrap_or("?");
            let is_known = KNOWN_DIFFERENCES.iter().any(|(known, _)| *known == id);
            match difference(case) {
                None if is_known => failures.push(format!("{id}: is a known difference, but passes")),
                None => {}
                Some(_) if is_known => {}
                Some(how) => {
                    failed += 1;
                    failures.push(format!("{id}: {how}"));
                }
            }
        }
        println!("{file:40} {:4} / {}", cases.len() - failed, cases.len());
    }
    let shown = failures.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} cases differ; the first:\n{shown}", failures.len());
}

/// The files of a folder of the oracle, in order.
fn files_in(folder: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle").join(folder);
    let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{} can't be read: {error}", path.display()));
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name in UTF-8"));
    let mut files: Vec<String> =
        names.filter(|name| name.ends_with(".jsonl.gz")).map(|name| format!("{folder}/{name}")).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has files");
    files
}

#[test]
fn decisions_are_those_of_kube_scheduler() {
    check(&files_in("decisions"), differs);
}

#[test]
fn messages_are_those_of_kube_scheduler() {
    check(&["messages.jsonl.gz".to_owned()], differs);
}

#[test]
fn sequences_of_decisions_are_those_of_kube_scheduler() {
    check(&files_in("sequences"), sequence_differs);
}

#[test]
fn queueing_hints_are_those_of_kube_scheduler() {
    check(&files_in("queue"), hints_differ);
}

#[test]
fn nodes_are_tried_in_the_order_of_kube_scheduler() {
    for case in read("misc/nodeorder.jsonl") {
        let mut table = NodeTable::default();
        for op in case["ops"].as_array().into_iter().flatten() {
            let name = op["node"].as_str().unwrap_or_default();
            match op["op"].as_str() {
                Some("add" | "update") => {
                    let node = serde_json::json!({"metadata": {"name": name, "labels": op["labels"]}});
                    table.set_node(&oracle_objects::node(&node));
                }
                Some("remove") => {
                    table.remove_node(Name::new(name));
                }
                _ => table.refresh_order(),
            }
        }
        table.refresh_order();
        let order: Vec<&str> = table.order().iter().map(|id: &NodeId| table.get(*id).name.as_str()).collect();
        assert_eq!(order, strings(&case["answer"]), "{}", case["id"]);
    }
}

#[test]
fn as_many_nodes_are_searched_as_in_kube_scheduler() {
    for case in read("misc/sampling.jsonl") {
        let number = |key: &str| case[key].as_u64().unwrap_or(0);
        let wanted = feasible_nodes_wanted(number("percentageOfNodesToScore") as u32, number("nodes") as usize);
        assert_eq!(wanted as u64, number("answer"), "{case}");
    }
}
