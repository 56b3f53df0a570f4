//! `cluster:` and `images:` of a scenario, and the cluster that there is when nobody says anything: three nodes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::cluster::{Config, NodeConfig, NodeRuntime};
use crate::kernel::{Distribution, Duration, Time};
use crate::manifest::epoch::Epoch;
use crate::manifest::{Node as TreeNode, Value, nearest};
use crate::model::device::{DeviceNodes, ResourceSlice};
use crate::model::feature_gates::{self, FeatureGates};
use crate::model::node::{HOSTNAME_LABEL, ZONE_LABEL};
use crate::model::quantity::Quantity;
use crate::model::storage::StorageClass;
use crate::model::{Bytes, Labels, Meta, MilliCpu, Name, Node, NodeImage, Object, Pod, Resources, Taint, TaintEffect};
use crate::protocol::pull::AuthConfig;
use crate::registry::{self, ImageRule};
use crate::runtime::simulated::behavior::Rule;
use crate::runtime::simulated::{Machine, Profile};
use crate::{apiserver, controllers, kubelet, scheduler};

use super::file::Reading;
use super::read::{Fields, Problems};
use super::timeline::static_pods_of;
use super::values;
use super::{kubelet_config, scheduler_config};

/// Collects what a cluster is made of.
pub(super) struct Builder {
    /// How many nodes the default cluster has, unless somebody names nodes.
    default_nodes: u32,
    default_size: (MilliCpu, Bytes),
    nodes: Vec<NodeConfig>,
    /// The devices of nodes.
    slices: Vec<Object>,
    registries: Vec<registry::Config>,
    images: Vec<ImageRule>,
    controllers: controllers::Config,
    apiserver: apiserver::FeatureGates,
    scheduler: scheduler::Config,
    /// Of nodes that do not name one of their own.
    kubelet: kubelet::KubeletConfiguration,
    /// Fields of configuration files that have no effect: the kind, the field, how many files have it.
    without_effect: Vec<(String, String, u32)>,
    /// The files that were counted there.
    counted: Vec<usize>,
}

/// The size of a node of the default cluster, and of a template that does not say.
const DEFAULT_CPU: MilliCpu = MilliCpu(8000);
const DEFAULT_MEMORY: Bytes = Bytes(32 << 30);
const DEFAULT_PODS: i64 = 110;
const DEFAULT_EPHEMERAL: Bytes = Bytes(100 << 30);
/// The size of an image that is on a node at the start, in bytes; nothing pulls it.
const IMAGE_THERE: i64 = 50 << 20;

/// The gates that a mapping of names sets.
pub(super) fn gates_of(node: &TreeNode<'_>) -> FeatureGates {
    let Value::Map(entries) = &node.value else { return FeatureGates::default() };
    let set = entries.iter().filter_map(|(key, value)| match value.value {
        Value::Bool(on) => Some((key.name.to_string(), on)),
        _ => None,
    });
    FeatureGates(set.collect())
}

/// True if something follows from the gate of this name in API server or scheduler.
fn is_effective(name: &str) -> bool {
    let mut known = apiserver::FeatureGates::NAMES.iter().chain(&scheduler::FeatureGates::NAMES);
    known.any(|known| *known == name) || matches!(name, "AllAlpha" | "AllBeta")
}

impl Builder {
    pub(super) fn new(default_nodes: Option<u32>, size: Option<(MilliCpu, Bytes)>) -> Builder {
        Builder {
            default_nodes: default_nodes.unwrap_or(3),
            default_size: size.unwrap_or((DEFAULT_CPU, DEFAULT_MEMORY)),
            nodes: Vec::new(),
            slices: Vec::new(),
            registries: Vec::new(),
            images: Vec::new(),
            controllers: controllers::Config::default(),
            apiserver: apiserver::FeatureGates::default(),
            scheduler: scheduler::Config::default(),
            kubelet: kubelet::KubeletConfiguration::default(),
            without_effect: Vec::new(),
            counted: Vec::new(),
        }
    }

    /// Reads the section.
    pub(super) fn cluster(&mut self, node: &TreeNode<'_>, reading: &mut Reading<'_>) {
        let Some(mut fields) = Fields::new(node, "cluster", reading.problems) else { return };
        if let Some(node) = fields.get("featureGates") {
            self.feature_gates(node, &fields.path("featureGates"), reading.problems);
        }
        if let Some(kubelet) = fields.fields("kubelet", reading.problems) {
            let settings = self.kubelet_config(kubelet, reading);
            set(&mut self.kubelet, settings);
        }
        for (index, template) in fields.list("nodes", reading.problems).iter().enumerate() {
            self.template(template, &format!("cluster.nodes[{index}]"), reading);
        }
        for (index, registry) in fields.list("registries", reading.problems).iter().enumerate() {
            self.registry(registry, &format!("cluster.registries[{index}]"), reading.problems);
        }
        if let Some(node) = fields.get("kubernetes").filter(|node| node.as_str() != Some("1.36")) {
            let hint = Some("write \"1.36\"".to_owned());
            let path = fields.path("kubernetes");
            reading.problems.add(node.span.clone(), &path, "only the rules of Kubernetes 1.36 are known", hint);
        }
        if let Some(mut manager) = fields.fields("controllerManager", reading.problems) {
            if let Some(node) = manager.get("flags") {
                self.flags(node, &manager.path("flags"), reading.problems);
            }
            manager.end(reading.problems);
        }
        if let Some(mut scheduler) = fields.fields("scheduler", reading.problems) {
            if let Some(config) = scheduler.get("config") {
                self.scheduler_config(config, &scheduler.path("config"), reading);
            }
            scheduler.end(reading.problems);
        }
        fields.end(reading.problems);
    }

    /// `featureGates` of the control plane.
    fn feature_gates(&mut self, node: &TreeNode<'_>, path: &str, problems: &mut Problems) {
        let Value::Map(entries) = &node.value else {
            let message = format!("{} where a mapping is expected", node.describe());
            return problems.add(node.span.clone(), path, message, None);
        };
        for (key, value) in entries {
            let name = key.name.as_ref();
            let path = format!("{path}.{name}");
            let Value::Bool(on) = value.value else {
                let message = format!("{} where true or false is expected", value.describe());
                problems.add(value.span.clone(), &path, message, None);
                continue;
            };
            if let Some(why) = feature_gates::refusal(name, on) {
                let near = nearest(name, feature_gates::names()).map(|near| format!("did you mean `{near}`?"));
                let is_known = feature_gates::gate(name).is_some();
                let (at, hint) = if is_known { (value.span.clone(), None) } else { (key.span.clone(), near) };
                problems.add(at, &path, why, hint);
            } else if !is_effective(name) {
                let on = if on { "on" } else { "off" };
                self.without_effect.push(("Scenario".to_owned(), format!("cluster.featureGates.{name}: {on}"), 1));
            }
        }
        let gates = gates_of(node);
        self.apiserver = apiserver::FeatureGates::of(&gates);
        self.scheduler = scheduler::Config::with_gates(scheduler::FeatureGates::of(&gates));
    }

    /// A KubeSchedulerConfiguration among the files that the user named goes before the scenario's.
    pub(super) fn named_scheduler_config(&mut self, index: usize, reading: &mut Reading<'_>) {
        let Some(source) = reading.text_of(index) else { return };
        let (config, problems) = scheduler_config::read(source, self.scheduler.clone(), &[]);
        reading.elsewhere.extend(problems.into_iter().map(|problem| (index, problem)));
        set(&mut self.scheduler, config);
    }

    /// The file of a KubeSchedulerConfiguration.
    fn scheduler_config(&mut self, node: &TreeNode<'_>, path: &str, reading: &mut Reading<'_>) {
        let Some(file) = node.as_str() else {
            reading.problems.add(node.span.clone(), path, "a file's name is expected", None);
            return;
        };
        let Some(index) = reading.named_file(file, node.span.clone(), path).map(|range| range.start) else { return };
        let Some(source) = reading.text_of(index) else { return };
        let (config, problems) = scheduler_config::read(source, self.scheduler.clone(), &[]);
        reading.elsewhere.extend(problems.into_iter().map(|problem| (index, problem)));
        set(&mut self.scheduler, config);
    }

    /// `kubelet: {config: FILE}`, or a list of files: the first, and what is laid over it.
    fn kubelet_config(
        &mut self,
        mut kubelet: Fields<'_, '_>,
        reading: &mut Reading<'_>,
    ) -> Option<kubelet::KubeletConfiguration> {
        let config = kubelet.get("config");
        let path = kubelet.path("config");
        kubelet.end(reading.problems);
        let config = config?;
        let named = match &config.value {
            Value::Seq(items) => items.as_slice(),
            _ => std::slice::from_ref(config),
        };
        let mut files: Vec<usize> = Vec::new();
        for one in named {
            match one.as_str() {
                Some(file) => files.extend(reading.named_file(file, one.span.clone(), &path)?),
                None => reading.problems.add(one.span.clone(), &path, "a file's name is expected", None),
            }
        }
        let sources: Vec<_> = files.iter().filter_map(|index| reading.text_of(*index)).collect();
        let read = kubelet_config::read(&sources);
        let of = |at: usize| files.get(at).copied().unwrap_or_default();
        reading.elsewhere.extend(read.problems.into_iter().map(|(at, problem)| (of(at), problem)));
        if !files.iter().all(|file| self.counted.contains(file)) {
            for field in read.without_effect {
                let kind = "KubeletConfiguration";
                match self.without_effect.iter_mut().find(|(_, known, _)| *known == field) {
                    Some((_, _, count)) => *count += 1,
                    None => self.without_effect.push((kind.to_owned(), field, 1)),
                }
            }
            self.counted.extend(files);
        }
        read.settings
    }

    /// The fields of configuration files that have no effect: the kind, the field, how many files have it.
    pub(super) fn without_effect(&mut self) -> Vec<(String, String, u32)> {
        std::mem::take(&mut self.without_effect)
    }

    /// A node that a manifest or a dump names.
    pub(super) fn node(&mut self, node: &Arc<Node>) {
        self.node_with(node, self.kubelet.clone());
    }

    fn node_with(&mut self, node: &Arc<Node>, kubelet: kubelet::KubeletConfiguration) {
        let index = self.nodes.len() as u32;
        let mut node = (**node).clone();
        if node.status.internal_ip.is_none() {
            node.status.internal_ip = Some(address(index));
        }
        let capacity = &mut node.status.capacity;
        if *capacity == Resources::default() {
            *capacity = node.status.allocatable.clone();
        }
        if *capacity == Resources::default() {
            *capacity = default_capacity();
        }
        let version = node.status.runtime_version.as_str();
        let profile = match version.split("://").next() {
            Some("cri-o") => Profile::cri_o(),
            Some("docker") => Profile::docker(),
            _ => Profile::containerd(),
        };
        let config = kubelet::Config { kubelet, ..kubelet::Config::new(node) };
        self.nodes.push(NodeConfig::new(config, NodeRuntime::Simulated(profile)));
    }

    fn template(&mut self, node: &TreeNode<'_>, path: &str, reading: &mut Reading<'_>) {
        let Some(mut fields) = Fields::new(node, path, reading.problems) else { return };
        let own = fields.fields("kubelet", reading.problems);
        let own = own.and_then(|kubelet| self.kubelet_config(kubelet, reading));
        let configuration = own.unwrap_or_else(|| self.kubelet.clone());
        if let Some(from) = fields.get("from") {
            if let Some(file) = from.as_str() {
                let path = fields.path("from");
                for object in reading.manifests(file, from.span.clone(), &path).unwrap_or_default() {
                    if let Object::Node(node) = object {
                        self.node_with(&node, configuration.clone());
                    }
                }
            }
            fields.end(reading.problems);
            return;
        }
        let count = fields.integer("count", reading.problems).unwrap_or(1);
        let pattern = fields.text("name", reading.problems).unwrap_or("worker-{index}").to_owned();
        let zones: Vec<Name> = fields
            .list("zones", reading.problems)
            .iter()
            .filter_map(|zone| match zone.as_str() {
                Some(zone) => Some(Name::new(zone)),
                None => {
                    reading.problems.add(zone.span.clone(), &format!("{path}.zones"), "a string is expected", None);
                    None
                }
            })
            .collect();
        let labels: Vec<(Name, Name)> = fields
            .pairs("labels", reading.problems)
            .into_iter()
            .map(|(key, value)| (Name::new(key), Name::new(value)))
            .collect();
        let mut taints = Vec::new();
        for (index, taint) in fields.list("taints", reading.problems).iter().enumerate() {
            taints.extend(read_taint(taint, &format!("{path}.taints[{index}]"), reading.problems));
        }
        // How many pods there may be is the kubelet's to say.
        let mut capacity = Resources { pods: 0, ..default_capacity() };
        if let Some(node) = fields.get("capacity") {
            read_capacity(node, &fields.path("capacity"), &mut capacity, reading.problems);
        }
        let profile = match fields.get("runtime") {
            Some(node) => super::runtime::read(node, &fields.path("runtime"), reading),
            None => Profile::containerd(),
        };
        let mut taken = configuration.eviction.reserved(&capacity);
        taken.add(&configuration.system_reserved);
        taken.add(&configuration.kube_reserved);
        for (resource, taken, there) in [
            ("cpu", taken.cpu.0, capacity.cpu.0),
            ("memory", taken.memory.0, capacity.memory.0),
            ("ephemeral-storage", taken.ephemeral_storage.0, capacity.ephemeral_storage.0),
        ] {
            if taken > there {
                let unit = if resource == "cpu" { "m" } else { "" };
                let message = format!(
                    "invalid Node Allocatable configuration. Resource {resource:?} has a reservation of {taken}{unit} but capacity of {there}{unit}. Expected capacity >= reservation."
                );
                let hint = Some("evictionHard, systemReserved and kubeReserved together".to_owned());
                reading.problems.add(fields.span(), path, message, hint);
            }
        }
        let joins = fields.get("joins");
        let joins = joins.and_then(|node| values::duration(node, &fields.path("joins"), reading.problems));
        let mut images = Vec::new();
        for (index, image) in fields.list("images", reading.problems).iter().enumerate() {
            match image.as_str() {
                Some(name) => images.push(NodeImage { names: vec![Name::new(name)], size_bytes: IMAGE_THERE }),
                None => {
                    let path = format!("{path}.images[{index}]");
                    reading.problems.add(image.span.clone(), &path, "an image's name is expected", None);
                }
            }
        }
        let images: Arc<[NodeImage]> = images.into();
        let mut static_pods = Vec::new();
        for (index, file) in fields.list("staticPods", reading.problems).iter().enumerate() {
            static_pods
                .extend(static_pods_of(file, &format!("{path}.staticPods[{index}]"), reading).into_iter().flatten());
        }
        let static_pods: Arc<[Arc<Pod>]> = static_pods.into();
        let slices = match fields.get("devices") {
            Some(file) => slices_of(file, &fields.path("devices"), reading),
            None => Vec::new(),
        };
        let machine = read_machine(&mut fields, &capacity, reading.problems);
        let span = fields.span();
        fields.end(reading.problems);
        if !(0..=100_000).contains(&count) {
            reading.problems.add(span, path, "a count is 0 to 100000", None);
            return;
        }
        if count > 1 && !pattern.contains("{index}") {
            let hint = Some("such as worker-{index}".to_owned());
            reading.problems.add(span, path, "the name of several nodes needs `{index}`", hint);
            return;
        }
        for index in 0..count as usize {
            let zone = (!zones.is_empty()).then(|| zones[index % zones.len()]);
            let name = pattern.replace("{index}", &index.to_string()).replace("{zone}", zone.as_deref().unwrap_or(""));
            let mut node = worker(&name, zone, &labels, &taints, capacity.clone(), self.nodes.len() as u32);
            node.status.images = Arc::clone(&images);
            self.slices.extend(slices.iter().map(|slice| slice_of_node(slice, node.meta.name)));
            let mut config = configured(node, &configuration);
            if let Some(after) = joins.filter(|after| !after.is_zero()) {
                config.start = kubelet::StartKind::Registers;
                config.joins = Time::ZERO + after;
            }
            let mut node = NodeConfig::new(config, NodeRuntime::Simulated(profile.clone()));
            node.static_pods = static_pods.clone();
            node.machine = machine;
            self.nodes.push(node);
        }
    }

    /// What a registry is like where the scenario does not say it. What pulls were measured to take holds what the registry
    /// takes, so that beside it only what the scenario says can make one slower.
    fn usual_registry(&self) -> registry::Config {
        let usual = registry::Config::default();
        match self.nodes.iter().any(|node| node.runtime.has_measured_pulls()) {
            true => registry::Config {
                limits: registry::Limits::default(),
                latency: Distribution::Constant(Duration::ZERO),
                ..usual
            },
            false => usual,
        }
    }

    fn registry(&mut self, node: &TreeNode<'_>, path: &str, problems: &mut Problems) {
        let Some(mut fields) = Fields::new(node, path, problems) else { return };
        let mut config = self.usual_registry();
        match fields.text("host", problems) {
            Some(host) => config.host = Name::new(host),
            None => problems.add(fields.span(), path, "`host` is missing", None),
        }
        let mut rate = |field: &'static str, problems: &mut Problems| {
            let node = fields.get(field)?;
            values::bytes_per_second(node, &fields.path(field), problems)
        };
        config.limits.total = rate("bandwidth", problems);
        config.limits.per_node = rate("perNode", problems);
        if let Some(rate) = rate("perStream", problems) {
            config.limits.per_stream = Some(rate);
        }
        let latency = fields.get("latency");
        let latency = latency.and_then(|node| values::distribution(node, &fields.path("latency"), problems));
        set(&mut config.latency, latency);
        let mut users = Vec::new();
        for (index, node) in fields.list("users", problems).iter().enumerate() {
            let path = format!("{path}.users[{index}]");
            let Some(mut user) = Fields::new(node, &path, problems) else { continue };
            let username = user.text("username", problems).unwrap_or_default();
            let password = user.text("password", problems).unwrap_or_default();
            users.push(AuthConfig { username: Name::new(username), password: Name::new(password) });
            user.end(problems);
        }
        config.users = users.into();
        let mirrors = fields.list("mirrors", problems).iter().filter_map(|node| match node.as_str() {
            Some(host) => Some(Name::new(host)),
            None => {
                problems.add(node.span.clone(), path, "the host of a registry is expected", None);
                None
            }
        });
        config.mirrors = mirrors.collect();
        fields.end(problems);
        self.registries.push(config);
    }

    /// Reads a rule of `images`.
    pub(super) fn image(&mut self, node: &TreeNode<'_>, path: &str, problems: &mut Problems) {
        let Some(mut fields) = Fields::new(node, path, problems) else { return };
        let mut rule = ImageRule::default();
        match fields.text("match", problems) {
            Some(pattern) => rule.pattern = Name::new(pattern),
            None => {
                problems.add(fields.span(), path, "`match` is missing", Some("such as match: \"*/web:*\"".to_owned()))
            }
        }
        if let Some(node) = fields.get("size") {
            rule.size = values::bytes(node, &fields.path("size"), problems).map(|bytes| bytes.0 as u64);
        }
        let mut layers = Vec::new();
        for (index, layer) in fields.list("layers", problems).iter().enumerate() {
            let bytes = values::bytes(layer, &format!("{path}.layers[{index}]"), problems);
            layers.extend(bytes.map(|bytes| bytes.0 as u64));
        }
        if !layers.is_empty() {
            rule.layers = Some(layers.into());
        }
        rule.missing = fields.boolean("missing", problems).unwrap_or(false);
        rule.user = fields.integer("user", problems);
        fields.end(problems);
        self.images.push(rule);
    }

    /// Flags of kube-controller-manager by their real names.
    fn flags(&mut self, node: &TreeNode<'_>, path: &str, problems: &mut Problems) {
        let Value::Map(entries) = &node.value else {
            problems.add(node.span.clone(), path, "flags with their values are expected", None);
            return;
        };
        for (key, value) in entries {
            let path = format!("{path}.{}", key.name);
            let config = &mut self.controllers;
            match key.name.as_ref() {
                "node-monitor-period" => set(&mut config.node_monitor_period, values::duration(value, &path, problems)),
                "node-monitor-grace-period" => {
                    set(&mut config.node_monitor_grace_period, values::duration(value, &path, problems));
                }
                "node-startup-grace-period" => {
                    set(&mut config.node_startup_grace_period, values::duration(value, &path, problems));
                }
                "node-eviction-rate" => set(&mut config.node_eviction_rate, number(value, &path, problems)),
                "secondary-node-eviction-rate" => {
                    set(&mut config.secondary_node_eviction_rate, number(value, &path, problems));
                }
                "unhealthy-zone-threshold" => set(&mut config.unhealthy_zone_threshold, number(value, &path, problems)),
                "large-cluster-size-threshold" => {
                    let nodes = number(value, &path, problems).map(|number| number.max(0.0) as usize);
                    set(&mut config.large_cluster_size_threshold, nodes);
                }
                "terminated-pod-gc-threshold" => {
                    let pods = number(value, &path, problems).map(|number| number as i64);
                    set(&mut config.terminated_pod_gc_threshold, pods);
                }
                "kube-api-qps" => set(&mut config.kube_api_qps, number(value, &path, problems)),
                "kube-api-burst" => {
                    let burst = number(value, &path, problems).map(|number| number.max(1.0) as u64);
                    set(&mut config.kube_api_burst, burst);
                }
                unknown => {
                    let hint = match nearest(unknown, FLAGS.iter().copied()) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("known here: {}", FLAGS.join(", ")),
                    };
                    problems.add(key.span.clone(), &path, format!("unknown flag `{unknown}`"), Some(hint));
                }
            }
        }
    }

    /// The cluster. `existing` is what a dump holds; `has_class` says that somebody brings a StorageClass.
    pub(super) fn build(
        mut self,
        existing: Vec<Object>,
        behaviors: Vec<Rule>,
        has_class: bool,
        epoch: Epoch,
    ) -> Config {
        if self.nodes.is_empty() {
            for index in 0..self.default_nodes {
                let zone = Name::new(["zone-a", "zone-b", "zone-c"][index as usize % 3]);
                let name = format!("worker-{}", index + 1);
                let (cpu, memory) = self.default_size;
                let capacity = Resources { cpu, memory, pods: 0, ..default_capacity() };
                let node = worker(&name, Some(zone), &[], &[], capacity, index);
                let runtime = NodeRuntime::Simulated(Profile::containerd());
                self.nodes.push(NodeConfig::new(configured(node, &self.kubelet), runtime));
            }
        }
        // The last registry serves every host that has none of its own.
        let mut rest = registry::Config { host: Name::new("*"), ..self.usual_registry() };
        let images: Arc<[ImageRule]> = self.images.into();
        rest.images = Arc::clone(&images);
        for registry in &mut self.registries {
            registry.images = Arc::clone(&images);
        }
        self.registries.push(rest);
        // Who joins later registers itself.
        let there = self.nodes.iter().filter(|node| node.kubelet.joins == Time::ZERO);
        let mut initial: Vec<Object> =
            there.map(|node| Object::Node(Arc::new(node.kubelet.running_node()))).chain(existing).collect();
        initial.extend(self.slices);
        if !has_class {
            initial.push(Object::StorageClass(Arc::new(default_class())));
        }
        self.controllers.start_unix_seconds = epoch.moment().as_second();
        Config {
            seed: 0,
            nodes: self.nodes,
            registries: self.registries,
            behaviors: behaviors.into(),
            apiserver: apiserver::Config { feature_gates: self.apiserver, ..apiserver::Config::default() },
            scheduler: self.scheduler,
            controllers: self.controllers,
            api_latency: Distribution::Constant(Duration::from_micros(500)),
            boot_time: Duration::from_secs(20),
            initial,
        }
    }
}

/// The slices of a file: what one node of a group has.
fn slices_of(file: &TreeNode<'_>, path: &str, reading: &mut Reading<'_>) -> Vec<Arc<ResourceSlice>> {
    let Some(name) = file.as_str() else {
        reading.problems.add(file.span.clone(), path, "a file's name is expected", None);
        return Vec::new();
    };
    let mut slices = Vec::new();
    for object in reading.manifests(name, file.span.clone(), path).unwrap_or_default() {
        match object {
            Object::ResourceSlice(slice) if matches!(slice.nodes, DeviceNodes::Node(_)) => slices.push(slice),
            other => {
                let message = format!("{} is no ResourceSlice of one node (`spec.nodeName`)", other.key());
                let hint = Some("slices for several nodes are manifests like others".to_owned());
                reading.problems.add(file.span.clone(), path, message, hint);
            }
        }
    }
    slices
}

/// The slice of one node as another node has it: names that hold the node's hold the other's, those that don't begin with it.
fn slice_of_node(slice: &ResourceSlice, node: Name) -> Object {
    let DeviceNodes::Node(old) = slice.nodes else { return Object::ResourceSlice(Arc::new(slice.clone())) };
    let renamed = |name: Name| {
        if name.contains(old.as_str()) {
            Name::from(name.replace(old.as_str(), &node))
        } else {
            Name::from(format!("{node}-{name}"))
        }
    };
    let mut slice = slice.clone();
    slice.nodes = DeviceNodes::Node(node);
    slice.pool = renamed(slice.pool);
    slice.meta = Meta { name: renamed(slice.meta.name), source: slice.meta.source, ..Meta::default() };
    Object::ResourceSlice(Arc::new(slice))
}

/// The flags that have an effect.
const FLAGS: &[&str] = &[
    "node-monitor-period",
    "node-monitor-grace-period",
    "node-startup-grace-period",
    "node-eviction-rate",
    "secondary-node-eviction-rate",
    "unhealthy-zone-threshold",
    "large-cluster-size-threshold",
    "terminated-pod-gc-threshold",
    "kube-api-qps",
    "kube-api-burst",
];

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn number(node: &TreeNode<'_>, path: &str, problems: &mut Problems) -> Option<f64> {
    match node.value {
        Value::Int(number) => Some(number as f64),
        Value::Float(number) => Some(number),
        _ => {
            problems.add(node.span.clone(), path, "a number is expected", None);
            None
        }
    }
}

fn default_capacity() -> Resources {
    Resources {
        cpu: DEFAULT_CPU,
        memory: DEFAULT_MEMORY,
        ephemeral_storage: DEFAULT_EPHEMERAL,
        pods: DEFAULT_PODS,
        ..Resources::default()
    }
}

/// The address of the node with this number: 10.0.0.0/16 and on.
fn address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 10)) + index)
}

fn worker(
    name: &str,
    zone: Option<Name>,
    labels: &[(Name, Name)],
    taints: &[Taint],
    capacity: Resources,
    index: u32,
) -> Node {
    let mut all = vec![
        (Name::new(HOSTNAME_LABEL), Name::new(name)),
        (Name::new("kubernetes.io/os"), Name::new("linux")),
        (Name::new("kubernetes.io/arch"), Name::new("amd64")),
    ];
    all.extend(zone.map(|zone| (Name::new(ZONE_LABEL), zone)));
    all.extend(labels.iter().copied());
    let mut node = Node { meta: Meta::named("", name), ..Node::default() };
    node.meta.labels = Labels::new(all);
    node.spec.taints = taints.to_vec();
    node.status.capacity = capacity;
    node.status.internal_ip = Some(address(index));
    node
}

/// `imagefs: 50Gi` if images have a disk of their own, and `used: {memory: 1Gi, disk: 20Gi}`: what others than pods use.
fn read_machine(fields: &mut Fields<'_, '_>, capacity: &Resources, problems: &mut Problems) -> Machine {
    let mut machine = Machine::of(capacity);
    if let Some(node) = fields.get("imagefs") {
        machine.imagefs = values::bytes(node, &fields.path("imagefs"), problems).map(|bytes| bytes.0);
    }
    let Some(mut used) = fields.fields("used", problems) else { return machine };
    let mut amount = |name: &'static str, field: &mut i64| {
        if let Some(node) = used.get(name) {
            set(field, values::bytes(node, &used.path(name), problems).map(|bytes| bytes.0));
        }
    };
    let others = &mut machine.used;
    amount("memory", &mut others.memory);
    amount("disk", &mut others.disk);
    amount("imagefs", &mut others.imagefs);
    amount("inodes", &mut others.inodes);
    amount("processes", &mut others.processes);
    used.end(problems);
    machine
}

/// The settings of a node's kubelet, and the node with what its kubelet says of it when it registers.
fn configured(mut node: Node, configuration: &kubelet::KubeletConfiguration) -> kubelet::Config {
    node.spec.provider_id = configuration.provider_id;
    for taint in &configuration.register_with_taints {
        if !node.spec.taints.iter().any(|known| known.is_same(taint)) {
            node.spec.taints.push(taint.clone());
        }
    }
    kubelet::Config { kubelet: configuration.clone(), ..kubelet::Config::new(node) }
}

/// `key=value:NoSchedule` or `key:NoExecute`.
fn read_taint(node: &TreeNode<'_>, path: &str, problems: &mut Problems) -> Option<Taint> {
    let parsed = node.as_str().and_then(|text| {
        let (key, effect) = text.rsplit_once(':')?;
        let effect = match effect {
            "NoSchedule" => TaintEffect::NoSchedule,
            "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
            "NoExecute" => TaintEffect::NoExecute,
            _ => return None,
        };
        let (key, value) = key.split_once('=').unwrap_or((key, ""));
        Some(Taint { key: Name::new(key), value: Name::new(value), effect, added: None })
    });
    if parsed.is_none() {
        let hint = Some("such as pool=gpu:NoSchedule; effects are NoSchedule, PreferNoSchedule, NoExecute".to_owned());
        problems.add(node.span.clone(), path, "not a taint", hint);
    }
    parsed
}

fn read_capacity(node: &TreeNode<'_>, path: &str, capacity: &mut Resources, problems: &mut Problems) {
    let Value::Map(entries) = &node.value else {
        problems.add(node.span.clone(), path, "resources with their amounts are expected", None);
        return;
    };
    for (key, value) in entries {
        let text = match &value.value {
            Value::String(text) => text.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            _ => String::new(),
        };
        let Ok(quantity) = text.parse::<Quantity>() else {
            let hint = Some("such as 500m, 2 or 32Gi".to_owned());
            problems.add(value.span.clone(), &format!("{path}.{}", key.name), "not a quantity", hint);
            continue;
        };
        match key.name.as_ref() {
            "cpu" => capacity.cpu = MilliCpu(quantity.milli_rounding_up()),
            "memory" => capacity.memory = Bytes(quantity.value_rounding_up()),
            "ephemeral-storage" => capacity.ephemeral_storage = Bytes(quantity.value_rounding_up()),
            "pods" => capacity.pods = quantity.value_rounding_up(),
            other => capacity.set_extended(Name::new(other), quantity.value_rounding_up()),
        }
    }
}

/// What a cluster that somebody else set up usually has: volumes on the node's disk, made when a pod needs them.
pub(super) fn default_class() -> StorageClass {
    StorageClass {
        meta: Meta::named("", "standard"),
        provisioner: Name::new("rancher.io/local-path"),
        wait_for_first_consumer: true,
        is_default: true,
        ..StorageClass::default()
    }
}
