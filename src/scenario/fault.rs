//! Faults as a scenario writes them: whom they strike, chosen when they strike, and what happens.

use crate::cluster::{Cluster, ContainerFault, Fault, NodeFault};
use crate::kernel::{Duration, Stream};
use crate::manifest::{Node, Value};
use crate::model::node::ZONE_LABEL;
use crate::model::quantity::Quantity;
use crate::model::{Key, Kind, Name, Object, Selector, Text};
use crate::registry;
use crate::runtime::simulated::{Available, Scarce};

use super::read::{Fields, Problems};
use super::values;

/// A fault of the timeline.
#[derive(Clone, Debug)]
pub(super) struct FaultSpec {
    target: Target,
    effects: Vec<Effect>,
    /// As the user wrote it, on one line.
    pub(super) text: String,
}

#[derive(Clone, Debug)]
enum Target {
    Nodes { name: Option<Name>, zone: Option<Name>, selector: Selector, pick: Pick },
    Registry(Name),
    ApiServer,
    Scheduler,
    ControllerManager,
    Containers { namespace: Name, pod: Option<Name>, selector: Selector, container: Name, pick: Pick },
}

/// How many of those that match, as Chaos Mesh says it.
#[derive(Clone, Copy, Debug)]
enum Pick {
    One,
    All,
    Fixed(usize),
    FixedPercent(f64),
    RandomMaxPercent(f64),
}

#[derive(Clone, Debug)]
enum Effect {
    Node(NodeFault),
    Registry(registry::Fault),
    Down,
    Container(ContainerFault),
}

impl FaultSpec {
    /// Reads a fault.
    pub(super) fn read(node: &Node<'_>, path: &str, text: &str, problems: &mut Problems) -> Option<FaultSpec> {
        let before = problems.found.len();
        let mut fields = Fields::new(node, path, problems)?;
        let target = read_target(&mut fields, problems);
        let effects = read_effects(&mut fields, problems);
        let span = fields.span();
        fields.end(problems);
        let target = match target {
            Some(target) => target,
            None => {
                let hint = "one of node, nodes, zone, registry, pod, pods, apiserver, scheduler, controller-manager";
                problems.add(span, path, "this fault strikes nobody", Some(hint.to_owned()));
                return None;
            }
        };
        let fits = |effect: &Effect| {
            matches!(
                (&target, effect),
                (Target::Nodes { .. }, Effect::Node(_))
                    | (Target::Registry(_), Effect::Registry(_))
                    | (Target::ApiServer | Target::Scheduler | Target::ControllerManager, Effect::Down)
                    | (Target::Containers { .. }, Effect::Container(_))
            )
        };
        if problems.found.len() > before {
            return None;
        }
        if effects.is_empty() || !effects.iter().all(fits) {
            let hint = match target {
                Target::Nodes { .. } => {
                    "power: off, kubelet: stopped, runtime: stopped or hung, network: cut, cni: hung, disk: {available: 5%}"
                }
                Target::Registry(_) => {
                    "down: true, bandwidth: 2Mi/s, errorRate: 0.1, rateLimit: {…}, missing: [image], corrupt: [image], unauthorized: true"
                }
                Target::ApiServer | Target::Scheduler | Target::ControllerManager => "such as `scheduler: down`",
                Target::Containers { .. } => "exit: 1, oom: true, hang: true",
            };
            problems.add(span, path, "this does not say what happens to it", Some(hint.to_owned()));
            return None;
        }
        Some(FaultSpec { target, effects, text: text.to_owned() })
    }

    /// Why this can't be done, if it strikes one of these nodes, which are real, whatever else happens.
    pub(super) fn refused_outside(&self, real: &[Name]) -> Option<&'static str> {
        let Target::Nodes { name: Some(name), .. } = &self.target else { return None };
        let refused = self.effects.iter().find_map(|effect| match effect {
            Effect::Node(what) => what.refused_outside(),
            _ => None,
        });
        refused.filter(|_| real.contains(name))
    }

    /// The faults themselves: who is struck is decided now. A draw is taken from `stream` only where there is a choice.
    pub(super) fn resolve(&self, cluster: &Cluster, stream: &mut Stream) -> Vec<Fault> {
        let mut faults = Vec::new();
        match &self.target {
            Target::Nodes { name, zone, selector, pick } => {
                let matching: Vec<Name> = cluster
                    .nodes()
                    .filter(|&node| name.is_none_or(|name| name == node))
                    .filter(|&node| node_matches(cluster, node, *zone, selector))
                    .collect();
                for node in pick.among(matching, stream) {
                    for effect in &self.effects {
                        if let Effect::Node(what) = effect {
                            faults.push(Fault::Node { node, what: *what });
                        }
                    }
                }
            }
            Target::Registry(host) => {
                for effect in &self.effects {
                    if let Effect::Registry(what) = effect {
                        faults.push(Fault::Registry { host: *host, what: what.clone() });
                    }
                }
            }
            Target::ApiServer => faults.push(Fault::ApiServer { up: false }),
            Target::Scheduler => faults.push(Fault::Scheduler { up: false }),
            Target::ControllerManager => faults.push(Fault::ControllerManager { up: false }),
            Target::Containers { namespace, pod, selector, container, pick } => {
                let mut matching = Vec::new();
                for object in cluster.store().sorted(Kind::Pod) {
                    let Object::Pod(candidate) = object else { continue };
                    let fits = candidate.meta.namespace == *namespace
                        && pod.is_none_or(|pod| pod == candidate.meta.name)
                        && selector.matches(&candidate.meta.labels)
                        && !candidate.status.phase.is_terminal();
                    if fits {
                        matching.push(candidate.meta.name);
                    }
                }
                for pod in pick.among(matching, stream) {
                    for effect in &self.effects {
                        if let Effect::Container(what) = effect {
                            let (namespace, container, what) = (*namespace, *container, *what);
                            faults.push(Fault::Container { namespace, pod, container, what });
                        }
                    }
                }
            }
        }
        faults
    }
}

fn node_matches(cluster: &Cluster, node: Name, zone: Option<Name>, selector: &Selector) -> bool {
    match cluster.store().get(&Key::new(Kind::Node, Name::default(), node)) {
        Some(Object::Node(object)) => {
            zone.is_none_or(|zone| object.meta.labels.get(Name::new(ZONE_LABEL)) == Some(zone))
                && selector.matches(&object.meta.labels)
        }
        _ => zone.is_none() && selector.is_empty(),
    }
}

impl Pick {
    /// Those that are struck, in their own order.
    fn among(self, mut candidates: Vec<Name>, stream: &mut Stream) -> Vec<Name> {
        let total = candidates.len();
        let wanted = match self {
            Pick::All => return candidates,
            Pick::One => 1,
            Pick::Fixed(count) => count,
            Pick::FixedPercent(percent) => (total as f64 * percent / 100.0) as usize,
            Pick::RandomMaxPercent(percent) => {
                let most = (total as f64 * percent / 100.0) as u64;
                stream.below(most + 1) as usize
            }
        };
        while candidates.len() > wanted.min(total) {
            let out = stream.below(candidates.len() as u64) as usize;
            candidates.remove(out);
        }
        candidates
    }

    fn read(fields: &mut Fields<'_, '_>, problems: &mut Problems) -> Pick {
        let count = fields.integer("count", problems);
        let mode = fields.get("mode");
        let value = fields.number("value", problems);
        if let Some(count) = count {
            return Pick::Fixed(usize::try_from(count).unwrap_or(0));
        }
        let Some(mode) = mode else { return Pick::All };
        match (mode.as_str(), value) {
            (Some("one"), _) => Pick::One,
            (Some("all"), _) => Pick::All,
            (Some("fixed"), Some(value)) => Pick::Fixed(value.max(0.0) as usize),
            (Some("fixed-percent"), Some(value)) => Pick::FixedPercent(value.clamp(0.0, 100.0)),
            (Some("random-max-percent"), Some(value)) => Pick::RandomMaxPercent(value.clamp(0.0, 100.0)),
            _ => {
                let hint = "one, all, or with a `value`: fixed, fixed-percent, random-max-percent".to_owned();
                let path = fields.path("mode");
                problems.add(mode.span.clone(), &path, "not a mode with its value", Some(hint));
                Pick::All
            }
        }
    }
}

fn read_target(fields: &mut Fields<'_, '_>, problems: &mut Problems) -> Option<Target> {
    let name = fields.text("node", problems).map(Name::new);
    let zone = fields.text("zone", problems).map(Name::new);
    let selector_of = |fields: &mut Fields<'_, '_>, problems: &mut Problems| {
        let at = fields.get("selector").map(|node| node.span.clone());
        let parsed = fields.text("selector", problems).map(Selector::parse);
        match (parsed, at) {
            (Some(Ok(selector)), _) => selector,
            (Some(Err(error)), Some(at)) => {
                let path = fields.path("selector");
                problems.add(at, &path, error.to_string(), None);
                Selector::default()
            }
            _ => Selector::default(),
        }
    };
    let nodes = fields.fields("nodes", problems).map(|mut inner| {
        let selector = selector_of(&mut inner, problems);
        let zone = inner.text("zone", problems).map(Name::new);
        let pick = Pick::read(&mut inner, problems);
        inner.end(problems);
        (selector, zone, pick)
    });
    let registry = fields.text("registry", problems).map(Name::new);
    let mut down = |name: &'static str| {
        let node = fields.get(name)?;
        if !is_down(node) {
            let path = fields.path(name);
            problems.add(node.span.clone(), &path, "only `down` can happen to it", Some("write `down`".to_owned()));
        }
        Some(())
    };
    let apiserver = down("apiserver").or(down("etcd"));
    let scheduler = down("scheduler");
    let controllers = down("controller-manager");
    let pod = fields.text("pod", problems).map(Name::new);
    let pods = fields.fields("pods", problems).map(|mut inner| {
        let selector = selector_of(&mut inner, problems);
        let namespace = inner.text("namespace", problems).map(Name::new);
        let pick = Pick::read(&mut inner, problems);
        inner.end(problems);
        (selector, namespace, pick)
    });
    let container = fields.text("container", problems).map(Name::new).unwrap_or_default();
    let namespace = fields.text("namespace", problems).map(Name::new);
    let in_namespace = |name: Option<Name>| name.unwrap_or_else(|| Name::new("default"));
    if let Some((selector, inner_zone, pick)) = nodes {
        return Some(Target::Nodes { name, zone: zone.or(inner_zone), selector, pick });
    }
    if name.is_some() || zone.is_some() {
        return Some(Target::Nodes { name, zone, selector: Selector::default(), pick: Pick::All });
    }
    if let Some(host) = registry {
        return Some(Target::Registry(host));
    }
    if let Some((selector, inner, pick)) = pods {
        let namespace = in_namespace(inner.or(namespace));
        return Some(Target::Containers { namespace, pod, selector, container, pick });
    }
    if pod.is_some() {
        let namespace = in_namespace(namespace);
        return Some(Target::Containers { namespace, pod, selector: Selector::default(), container, pick: Pick::All });
    }
    apiserver
        .map(|()| Target::ApiServer)
        .or(scheduler.map(|()| Target::Scheduler))
        .or(controllers.map(|()| Target::ControllerManager))
}

/// `off`, `false`, `down`, `stopped`, `cut`. YAML reads a plain `off` as false.
fn is_down(node: &Node<'_>) -> bool {
    match &node.value {
        Value::Bool(on) => !on,
        Value::String(word) => matches!(word.as_ref(), "off" | "down" | "stopped" | "cut"),
        _ => false,
    }
}

fn read_effects(fields: &mut Fields<'_, '_>, problems: &mut Problems) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut word = |fields: &mut Fields<'_, '_>, name: &'static str, known: &[(&str, Effect)]| {
        let Some(node) = fields.get(name) else { return };
        let written = match &node.value {
            Value::Bool(false) => "off",
            Value::Bool(true) => "on",
            _ => node.as_str().unwrap_or(""),
        };
        match known.iter().find(|(word, _)| *word == written) {
            Some((_, effect)) => effects.push(effect.clone()),
            None => {
                let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
                let path = fields.path(name);
                let message = format!("`{written}` can't happen to it");
                problems.add(node.span.clone(), &path, message, Some(format!("one of {}", words.join(", "))));
            }
        }
    };
    let node_fault = Effect::Node;
    word(
        fields,
        "power",
        &[
            ("off", node_fault(NodeFault::Power(false))),
            ("on", node_fault(NodeFault::Power(true))),
            ("shutdown", node_fault(NodeFault::Shutdown)),
        ],
    );
    word(
        fields,
        "kubelet",
        &[("stopped", node_fault(NodeFault::Kubelet(false))), ("running", node_fault(NodeFault::Kubelet(true)))],
    );
    word(
        fields,
        "runtime",
        &[
            ("stopped", node_fault(NodeFault::RuntimeStopped)),
            ("hung", node_fault(NodeFault::RuntimeHung)),
            ("running", node_fault(NodeFault::RuntimeRunning)),
        ],
    );
    word(
        fields,
        "network",
        &[("cut", node_fault(NodeFault::Network(false))), ("open", node_fault(NodeFault::Network(true)))],
    );
    word(
        fields,
        "cni",
        &[
            ("hung", node_fault(NodeFault::NetworkPlugin(false))),
            ("working", node_fault(NodeFault::NetworkPlugin(true))),
        ],
    );
    for (name, what) in [
        ("memory", Scarce::Memory),
        ("disk", Scarce::Disk),
        ("imagefs", Scarce::ImageDisk),
        ("inodes", Scarce::Inodes),
        ("pids", Scarce::Processes),
    ] {
        let Some(mut inner) = fields.fields(name, problems) else { continue };
        let node = inner.get("available");
        let (path, span) = (inner.path("available"), inner.span());
        inner.end(problems);
        let available = node.and_then(|node| read_available(node));
        match available {
            Some(available) => effects.push(Effect::Node(NodeFault::Scarce { what, available: Some(available) })),
            None => {
                let hint = Some(format!("such as {name}: {{available: 5%}} or {name}: {{available: 50Mi}}"));
                problems.add(node.map_or(span, |node| node.span.clone()), &path, "not an amount that is left", hint);
            }
        }
    }
    if let Some(down) = fields.boolean("down", problems) {
        effects.push(Effect::Registry(registry::Fault::Down(down)));
    }
    if let Some(node) = fields.get("bandwidth") {
        let path = fields.path("bandwidth");
        if let Some(rate) = values::bytes_per_second(node, &path, problems) {
            effects.push(Effect::Registry(registry::Fault::Bandwidth(Some(rate))));
        }
    }
    if let Some(rate) = fields.number("errorRate", problems) {
        effects.push(Effect::Registry(registry::Fault::ErrorRate(rate.clamp(0.0, 1.0))));
    }
    if let Some(mut limit) = fields.fields("rateLimit", problems) {
        let requests = limit.integer("requests", problems).and_then(|count| u32::try_from(count).ok());
        let per = limit.get("per").and_then(|node| values::duration(node, &limit.path("per"), problems));
        let message = limit.text("message", problems).unwrap_or(TOO_MANY_REQUESTS);
        limit.end(problems);
        let per = per.unwrap_or(Duration::from_secs(6 * 3600));
        let limit = (requests.unwrap_or(100), per, Text::new(message));
        effects.push(Effect::Registry(registry::Fault::RateLimit(Some(limit))));
    }
    for image in fields.list("missing", problems) {
        match image.as_str() {
            Some(pattern) => {
                let pattern = Name::new(pattern);
                effects.push(Effect::Registry(registry::Fault::Missing { pattern, missing: true }));
            }
            None => problems.add(image.span.clone(), "missing", "an image is expected", None),
        }
    }
    for image in fields.list("corrupt", problems) {
        match image.as_str() {
            Some(pattern) => {
                let pattern = Name::new(pattern);
                effects.push(Effect::Registry(registry::Fault::Corrupt { pattern, corrupt: true }));
            }
            None => problems.add(image.span.clone(), "corrupt", "an image is expected", None),
        }
    }
    if let Some(unauthorized) = fields.boolean("unauthorized", problems) {
        effects.push(Effect::Registry(registry::Fault::Unauthorized(unauthorized)));
    }
    if let Some(code) = fields.integer("exit", problems) {
        effects.push(Effect::Container(ContainerFault::Exit { code: code as i32 }));
    }
    if fields.boolean("oom", problems) == Some(true) {
        effects.push(Effect::Container(ContainerFault::Oom));
    }
    if fields.boolean("hang", problems) == Some(true) {
        effects.push(Effect::Container(ContainerFault::Hang(true)));
    }
    for name in ["apiserver", "etcd", "scheduler", "controller-manager"] {
        if fields.get(name).is_some() && effects.is_empty() {
            effects.push(Effect::Down);
        }
    }
    effects
}

/// `5%` of what there is, or an amount.
fn read_available(node: &Node<'_>) -> Option<Available> {
    let text = match &node.value {
        Value::Int(number) => number.to_string(),
        _ => node.as_str()?.trim().to_owned(),
    };
    if let Some(percent) = text.strip_suffix('%') {
        let percent: f64 = percent.trim().parse().ok()?;
        return (0.0..=100.0).contains(&percent).then_some(Available::Part((percent * 10.0).round() as i64));
    }
    let quantity: Quantity = text.parse().ok()?;
    Some(Available::Amount(quantity.value_rounding_up())).filter(|_| quantity.value_rounding_up() >= 0)
}

/// Docker Hub's words.
const TOO_MANY_REQUESTS: &str = "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit";
