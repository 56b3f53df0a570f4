//! From the files that a user names to something that can be run: a scenario with its manifests, or manifests alone.

use std::ops::Range;
use std::sync::Arc;

use crate::apiserver;
use crate::cluster;
use crate::kernel::{Duration, Time};
use crate::manifest::compile::Compiler;
use crate::manifest::epoch::Epoch;
use crate::manifest::{
    Loaded as LoadedManifests, Node, Problem, ProblemKind, Source, Value, load as load_objects, render_all,
};
use crate::model::{self, Kind, Object};
use crate::trace::{Header, SourceFile};

use super::condition::Condition;
use super::expect::Expected;
use super::placement::Baseline;
use super::read::{Fields, Problems};
use super::remarks::Known;
use super::timeline::{Happening, When};
use super::{behavior, cluster as section, values};

/// Opens the files that a scenario names. Only `cli/` has files; tests may have texts.
pub trait Files {
    /// The text of a file, or of all Kubernetes files of a folder. `path` is relative to the folder of the file `beside`.
    ///
    /// # Errors
    /// Why it can't be read, for people.
    fn read(&self, path: &str, beside: &str) -> Result<Vec<Source>, String>;
}

/// A run that is ready to begin.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    pub description: String,
    pub seed: u64,
    /// The cluster, but for its seed.
    pub config: cluster::Config,
    /// What is applied at 0s: for each file kubectl's words and the objects, in their order.
    pub applied: Vec<(String, Arc<[Object]>)>,
    pub(super) timeline: Vec<Happening>,
    pub(super) expectations: Vec<Expected>,
    /// Expectations about placements, each with its place among all expectations.
    pub(super) baselines: Vec<(usize, Baseline)>,
    pub(super) until: Until,
    pub(super) epoch: Epoch,
    /// What the trace says of the run; seed and command are filled in by whoever runs it.
    pub header: Header,
}

impl Scenario {
    /// The calendar moment of its beginning.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Makes nodes real: their runtimes are outside, and the run begins at a calendar moment, in nanoseconds since 1970. False
    /// for a node that the cluster does not have.
    pub fn make_real(&mut self, real: &[RealNode], epoch_nanos: i64) -> bool {
        self.epoch = Epoch::at_nanos(epoch_nanos);
        self.header.epoch = self.epoch.moment().as_second();
        self.config.controllers.start_unix_seconds = self.header.epoch;
        // What an earlier run has left is found again by its uid, whatever came first then.
        self.config.apiserver.identity = crate::apiserver::Identity::Named;
        real.iter().all(|real| {
            let Some(node) = self.config.node_mut(model::Name::new(&real.name)) else { return false };
            node.runtime = cluster::NodeRuntime::Outside;
            let kubelet = &mut node.kubelet;
            // Its runtime tells of nothing by itself, and may hold what an earlier run has left.
            kubelet.observe = crate::kubelet::Observe::Polling;
            kubelet.start = crate::kubelet::StartKind::Restarts;
            kubelet.log_root = Some(real.log_root);
            kubelet.host = Some(Arc::clone(&real.host));
            kubelet.node.status.runtime_version = model::Name::new(&real.runtime_version);
            let running = kubelet.running_node();
            let is_it = |object: &Object| object.as_node().is_some_and(|node| node.meta.name == running.meta.name);
            if let Some(shown) = self.config.initial.iter_mut().find(|object| is_it(object)) {
                *shown = Object::Node(Arc::new(running));
            }
            true
        })
    }

    /// The names of the cluster's nodes at the start.
    pub fn nodes(&self) -> impl Iterator<Item = model::Name> + '_ {
        self.config.nodes.iter().map(|node| node.kubelet.name())
    }

    /// What the timeline asks of these nodes that can't be done to real ones, each as `file:line: why`.
    pub fn refused_outside(&self, real: &[model::Name]) -> Vec<String> {
        let mut refused = Vec::new();
        for happening in &self.timeline {
            if let super::timeline::What::Fault(spec) = &happening.what
                && let Some(why) = spec.refused_outside(real)
            {
                let file = self.header.sources.get(happening.source.file as usize).map_or("", |file| &file.name);
                refused.push(format!("{file}:{}: {why}", happening.source.line));
            }
        }
        refused
    }

    /// True if the files say when the run ends, or ask for something at some moment; false for plain manifests.
    pub fn has_an_end(&self) -> bool {
        !matches!(self.until, Until::Default(_)) || !self.timeline.is_empty() || self.expectations() > 0
    }

    /// How many expectations it has.
    pub fn expectations(&self) -> usize {
        self.expectations.len() + self.baselines.len()
    }

    /// The baselines of placements that it is held against, as files relative to its own.
    pub fn baselines(&self) -> impl Iterator<Item = &str> {
        self.baselines.iter().map(|(_, baseline)| baseline.file.as_str())
    }
}

/// A node whose runtime is a real one.
#[derive(Clone, Debug, PartialEq)]
pub struct RealNode {
    pub name: String,
    /// `containerd://1.6.20`.
    pub runtime_version: String,
    /// Where the logs of its containers go.
    pub log_root: model::Name,
    /// What its kubelet knows of the machine.
    pub host: Arc<crate::kubelet::config::Host>,
}

/// When a run ends.
#[derive(Clone, Debug)]
pub(super) enum Until {
    Time(Time),
    /// As soon as it holds.
    Condition(Box<Condition>),
    /// Nothing was said: when nothing is left to happen, or then at the latest.
    Default(Time),
}

/// What came of the files.
#[derive(Debug)]
pub struct Loaded {
    pub scenario: Scenario,
    /// Warnings about the files, rendered.
    pub warnings: String,
}

/// Settings of the command line that say what to load.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// `--nodes`: how many nodes the default cluster has.
    pub nodes: Option<u32>,
    /// CPU and memory of each of them; None: 8 CPU and 32 GiB.
    pub size: Option<(model::MilliCpu, model::Bytes)>,
    /// Colour in the problems that are shown.
    pub colour: bool,
}

/// Kinds that are no objects of a cluster, and yet are not passed over.
const OURS: [&str; 5] =
    ["Scenario", "Placement", "RuntimeProfile", "KubeSchedulerConfiguration", "KubeletConfiguration"];

/// A run without `until` ends at the latest so long after the last line of its timeline.
const AFTERWARDS: Duration = Duration::from_secs(600);

/// Loads what a user named: a scenario, or manifests, or both.
///
/// # Errors
/// All problems of all files, rendered, with how many there are.
pub fn load(inputs: Vec<Source>, files: &dyn Files, options: &LoadOptions) -> Result<Loaded, String> {
    let mut sources = inputs;
    let named = sources.len();
    let mut scenarios = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        if source.text().contains("simlet.dev/") {
            let found = crate::manifest::documents(source).iter().any(is_scenario);
            scenarios.extend(found.then_some(index));
        }
    }
    if let [_, second, ..] = scenarios.as_slice() {
        let name = sources.get(*second).map_or("", |source| source.name.as_str());
        return Err(format!("error: {name} is a second scenario; `simlet test` runs several\n"));
    }
    // The files that the scenario names come first, because all texts must be there before anything borrows from them.
    let mut missing = Vec::new();
    if let Some(&index) = scenarios.first() {
        let wanted = sources.get(index).map(files_named).unwrap_or_default();
        for (path, at) in wanted {
            let beside = sources.get(index).map(|source| source.name.clone()).unwrap_or_default();
            match files.read(&path, &beside) {
                Ok(read) => {
                    let first = sources.len();
                    sources.extend(read);
                    missing.push((path, at, Ok(first..sources.len())));
                }
                Err(error) => missing.push((path, at, Err(error))),
            }
        }
    }
    let mut loader = Loader { sources: &sources, named, files: missing, problems: vec![Vec::new(); sources.len()] };
    loader.load(scenarios.first().copied(), options)
}

/// True for the document that is a scenario.
fn is_scenario(node: &Node<'_>) -> bool {
    node.get("kind").and_then(Node::as_str) == Some("Scenario")
        && node.get("apiVersion").and_then(Node::as_str).is_some_and(|version| version.starts_with("simlet.dev/"))
}

/// True for a file that begins with a KubeSchedulerConfiguration.
pub(super) fn is_scheduler_config(source: &Source) -> bool {
    let kind = |node: &Node<'_>| node.get("kind").and_then(Node::as_str) == Some("KubeSchedulerConfiguration");
    source.text().contains("KubeSchedulerConfiguration")
        && crate::manifest::documents(source).iter().find(|node| node.value != Value::Null).is_some_and(kind)
}

/// The files that a scenario names, with their places: `manifests`, `from`, `config`, `runtime`, `apply`, `placement`.
fn files_named(source: &Source) -> Vec<(String, Range<usize>)> {
    let documents = crate::manifest::documents(source);
    let Some(root) = documents.iter().find(|node| is_scenario(node)) else { return Vec::new() };
    let mut named: Vec<(String, Range<usize>)> = Vec::new();
    let mut add = |node: Option<&Node<'_>>| {
        if let Some(node) = node {
            let path = node.as_str().filter(|path| named.iter().all(|(known, _)| known != path));
            named.extend(path.map(|path| (path.to_owned(), node.span.clone())));
        }
    };
    for manifest in items(root.get("manifests")) {
        add(Some(manifest));
    }
    let cluster = root.get("cluster");
    for node in items(cluster.and_then(|cluster| cluster.get("nodes"))) {
        add(node.get("from"));
        add_config(node.get("kubelet"), &mut add);
        items(node.get("staticPods")).iter().for_each(|file| add(Some(file)));
        add(node.get("devices"));
        add(node.get("runtime").filter(|runtime| runtime.as_str().is_some_and(super::runtime::is_file)));
    }
    add_config(cluster.and_then(|cluster| cluster.get("kubelet")), &mut add);
    add(cluster.and_then(|cluster| cluster.get("scheduler")).and_then(|scheduler| scheduler.get("config")));
    for entry in items(root.get("timeline")) {
        add(entry.get("apply"));
        add(entry.get("staticPods").and_then(|pods| pods.get("write")));
    }
    for expected in items(root.get("expect")) {
        add(expected.get("placement"));
    }
    for expected in items(root.get("expect")) {
        add(expected.get("placement"));
    }
    named
}

/// The files of `kubelet: {config: …}`: one, or a list.
fn add_config(kubelet: Option<&Node<'_>>, add: &mut impl FnMut(Option<&Node<'_>>)) {
    let config = kubelet.and_then(|kubelet| kubelet.get("config"));
    add(config);
    for one in items(config) {
        add(Some(one));
    }
}

fn items<'n, 'a>(node: Option<&'n Node<'a>>) -> &'n [Node<'a>] {
    match node.map(|node| &node.value) {
        Some(Value::Seq(items)) => items,
        _ => &[],
    }
}

/// A file that the scenario names: its path, its place, and which sources it is, or why it can't be read.
type NamedFile = (String, Range<usize>, Result<Range<usize>, String>);

struct Loader<'s> {
    sources: &'s [Source],
    /// The first so many sources were named by the user.
    named: usize,
    files: Vec<NamedFile>,
    problems: Vec<Vec<Problem>>,
}

/// An object with what its file says of it beside its fields.
pub(super) struct Compiled {
    pub(super) object: Object,
    pub(super) source: usize,
    /// It carries what only an API server writes: it comes from a dump, and is there at the start.
    pub(super) existing: bool,
}

impl Loader<'_> {
    fn load(&mut self, scenario: Option<usize>, options: &LoadOptions) -> Result<Loaded, String> {
        let sources = self.sources;
        let objects = load_objects(sources);
        for (index, found) in objects.problems.iter().enumerate() {
            if let Some(slot) = self.problems.get_mut(index) {
                slot.extend(found.iter().cloned());
            }
        }
        let epoch = Epoch::of_dump(&objects);
        let mut header = Header {
            kubernetes: "1.36".to_owned(),
            epoch: epoch.moment().as_second(),
            sources: sources.iter().map(|s| SourceFile { name: s.name.clone(), text: s.text().to_owned() }).collect(),
            ..Header::default()
        };
        let documents = scenario.and_then(|index| sources.get(index)).map(crate::manifest::documents);
        let root = documents.iter().flatten().find(|node| is_scenario(node));
        let gates = root.and_then(|root| root.at_path("cluster.featureGates")).map(section::gates_of);
        let gates = apiserver::FeatureGates::of(&gates.unwrap_or_default());
        let compiled = self.compile(&objects, gates, &mut header);
        for (kind, passed) in &objects.passed_over {
            if !OURS.contains(&kind.kind.as_str()) {
                let name = format!("{} {}", kind.api_version, kind.kind);
                pass_over(&mut header.passed_over, name, passed.count as u32);
            }
        }
        let mut problems = Problems::default();
        let mut elsewhere = Vec::new();
        let built = {
            let mut reading = Reading {
                problems: &mut problems,
                file: scenario.unwrap_or(0),
                source: scenario.and_then(|index| sources.get(index)),
                files: &self.files,
                compiled: &compiled,
                sources,
                elsewhere: &mut elsewhere,
            };
            reading.scenario(root, self.named, options, header, epoch)
        };
        if let Some(slot) = scenario.and_then(|index| self.problems.get_mut(index)) {
            slot.extend(problems.found);
            slot.sort_by_key(|problem| problem.at.start);
        }
        for (source, problem) in elsewhere {
            if let Some(problems) = self.problems.get_mut(source).filter(|problems| !problems.contains(&problem)) {
                problems.push(problem);
                problems.sort_by_key(|problem: &Problem| problem.at.start);
            }
        }
        let errors = self.problems.iter().flatten().filter(|problem| problem.is_error()).count();
        let mut rendered = String::new();
        for (source, found) in sources.iter().zip(&self.problems) {
            rendered.push_str(&render_all(source, found, options.colour));
        }
        match built {
            Some(mut scenario) if errors == 0 => {
                let warnings = self.problems.iter().zip(sources);
                for (found, source) in warnings {
                    for problem in found {
                        let place = source.place(problem.at.start);
                        let text = format!("{}:{}: {}", source.name, place.line, problem.kind);
                        scenario.header.warnings.push(text);
                    }
                }
                Ok(Loaded { scenario, warnings: rendered })
            }
            _ => Err(rendered),
        }
    }

    /// Compiles the objects and holds those that are new to the cluster against the API server's validation.
    fn compile(
        &mut self,
        objects: &LoadedManifests<'_>,
        gates: apiserver::FeatureGates,
        header: &mut Header,
    ) -> Vec<Compiled> {
        let mut compiler = Compiler::new(Epoch::of_dump(objects));
        compiler.comparison_operators = gates.taint_toleration_comparison_operators;
        let compiled = compiler.compile_loaded(objects, self.sources, 0);
        for (problems, found) in self.problems.iter_mut().zip(compiled.problems) {
            problems.extend(found);
        }
        for (kind, field, count) in compiled.not_modelled.iter() {
            header.not_modelled.push((kind.to_owned(), field.to_owned(), count as u32));
        }
        for loaded in compiled.without_model.iter().filter_map(|&index| objects.objects.get(index)) {
            let (api_version, kind) = loaded.decoded.api_version_and_kind();
            pass_over(&mut header.passed_over, format!("{api_version} {kind}"), 1);
        }
        let mut all = Vec::new();
        let mut indices = Vec::new();
        for (index, object) in compiled.objects {
            let Some(loaded) = objects.objects.get(index) else { continue };
            let invalid = if loaded.stored { Vec::new() } else { apiserver::validate(&object, gates) };
            for invalid in invalid.into_iter().filter(|invalid| !loaded.is_explained(&invalid.field, &invalid.message))
            {
                let problem = loaded.problem(invalid.field, ProblemKind::Invalid { message: invalid.message });
                if let Some(problems) = self.problems.get_mut(loaded.source) {
                    problems.push(problem);
                }
            }
            all.push(Compiled { object, source: loaded.source, existing: loaded.stored });
            indices.push(index);
        }
        self.remark(objects, &mut all, &indices);
        for problems in &mut self.problems {
            problems.sort_by_key(|problem| problem.at.start);
        }
        all
    }
}

impl Loader<'_> {
    /// Says what a cluster would refuse or take silently, and makes the namespaces that nobody makes.
    fn remark(&mut self, objects: &LoadedManifests<'_>, all: &mut Vec<Compiled>, indices: &[usize]) {
        let mut known = Known::of(all);
        let mut namespaces = Vec::new();
        for (compiled, &index) in all.iter().zip(indices) {
            let Some(loaded) = objects.objects.get(index) else { continue };
            let mut remarks = Vec::new();
            let namespace = known.new_namespace(&compiled.object);
            // A dump is what it is, and seldom whole.
            if compiled.existing {
                continue;
            }
            if let Some(namespace) = namespace {
                let message =
                    format!("nothing before this makes the namespace `{}`; it is made", namespace.meta().name);
                remarks.push(("metadata.namespace".to_owned(), ProblemKind::Remark { message }));
                namespaces.push(Compiled { object: namespace, source: compiled.source, existing: true });
            }
            remarks.extend(known.remarks(&compiled.object, loaded));
            if let Some(problems) = self.problems.get_mut(compiled.source) {
                problems.extend(remarks.into_iter().map(|(field, kind)| loaded.problem(field, kind)));
            }
        }
        all.extend(namespaces);
    }
}

/// Counts a kind that is passed over.
fn pass_over(passed_over: &mut Vec<(String, u32)>, kind: String, count: u32) {
    match passed_over.iter_mut().find(|(name, _)| *name == kind) {
        Some((_, known)) => *known += count,
        None => passed_over.push((kind, count)),
    }
}

/// What the readers of a scenario's parts need at hand.
pub(super) struct Reading<'r> {
    pub(super) problems: &'r mut Problems,
    /// The scenario's file, as an index into the sources.
    file: usize,
    source: Option<&'r Source>,
    files: &'r [NamedFile],
    compiled: &'r [Compiled],
    sources: &'r [Source],
    /// Problems of other files than the scenario's.
    pub(super) elsewhere: &'r mut Vec<(usize, Problem)>,
}

impl Reading<'_> {
    /// The line of a node of the scenario.
    pub(super) fn source_of(&self, node: &Node<'_>) -> model::Source {
        let line = self.source.map_or(1, |source| source.place(node.span.start).line);
        model::Source { file: self.file as u32, line: line as u32 }
    }

    /// The text of a node on one line.
    pub(super) fn one_line(&self, node: &Node<'_>) -> String {
        let text = self.source.and_then(|source| source.text().get(node.span.clone())).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The place `offset` characters into a string.
    pub(super) fn inside(&self, node: &Node<'_>, offset: usize) -> Range<usize> {
        let written = self.source.and_then(|source| source.text().get(node.span.clone())).unwrap_or_default();
        let quoted = usize::from(written.starts_with(['"', '\'']));
        let content = written.get(quoted..).unwrap_or_default();
        // A block or an escaped string does not stand there as it reads; then the whole of it is the place.
        let plain = node.as_str().is_some_and(|text| content.starts_with(text));
        if !plain {
            return node.span.clone();
        }
        let before: usize = content.chars().take(offset).map(char::len_utf8).sum();
        let start = node.span.start + quoted + before;
        let rest = content.get(before..).unwrap_or_default();
        let length = rest.find(char::is_whitespace).unwrap_or(rest.trim_end_matches(['"', '\'']).len()).max(1);
        start..(start + length).min(node.span.end.max(start + 1))
    }

    /// Compiles a condition.
    pub(super) fn condition(&mut self, node: &Node<'_>, path: &str) -> Option<Condition> {
        let text = match &node.value {
            Value::String(text) => text.trim().to_owned(),
            Value::Bool(value) => value.to_string(),
            _ => {
                let message = format!("{} where a condition is expected", node.describe());
                self.problems.add(node.span.clone(), path, message, Some("write it in quotes".to_owned()));
                return None;
            }
        };
        match Condition::compile(&text) {
            Ok(condition) => Some(condition),
            Err(invalid) => {
                let at = self.inside(node, invalid.offset);
                self.problems.add(at, path, invalid.message, invalid.hint);
                None
            }
        }
    }

    /// The sources of a file that the scenario names.
    pub(super) fn named_file(&mut self, file: &str, at: Range<usize>, path: &str) -> Option<Range<usize>> {
        match self.files.iter().find(|(name, _, _)| name == file) {
            Some((_, _, Ok(range))) => Some(range.clone()),
            Some((_, _, Err(error))) => {
                self.problems.add(at, path, error.clone(), None);
                None
            }
            None => None,
        }
    }

    /// The text of a file that the scenario names and that need not be there.
    pub(super) fn file_if_there(&self, file: &str) -> Option<String> {
        let (_, _, read) = self.files.iter().find(|(name, _, _)| name == file)?;
        let source = self.sources.get(read.as_ref().ok()?.start)?;
        Some(source.text().to_owned())
    }

    /// The text of a source.
    pub(super) fn text_of(&self, source: usize) -> Option<&Source> {
        self.sources.get(source)
    }

    /// The objects of a file that the scenario names.
    pub(super) fn manifests(&mut self, file: &str, at: Range<usize>, path: &str) -> Option<Vec<Object>> {
        let range = self.named_file(file, at, path)?;
        let objects = self.compiled.iter().filter(|compiled| range.contains(&compiled.source));
        Some(objects.map(|compiled| compiled.object.clone()).collect())
    }

    fn scenario(
        &mut self,
        root: Option<&Node<'_>>,
        named: usize,
        options: &LoadOptions,
        header: Header,
        epoch: Epoch,
    ) -> Option<Scenario> {
        let mut seed = 1;
        let (mut name, mut description) = (String::new(), String::new());
        let mut until = None;
        let mut timeline = Vec::new();
        let mut expectations = Vec::new();
        let mut baselines: Vec<(usize, Baseline)> = Vec::new();
        let mut behaviors = Vec::new();
        let mut builder = section::Builder::new(options.nodes, options.size);
        // Which sources are applied at 0s: those that the user named, and those of `manifests`.
        let mut at_start: Vec<usize> = (0..named).collect();
        if let Some(root) = root {
            let mut fields = Fields::new(root, "", self.problems)?;
            fields.text("apiVersion", self.problems);
            fields.text("kind", self.problems);
            if let Some(node) = fields.get("apiVersion").filter(|node| node.as_str() != Some("simlet.dev/v1")) {
                self.problems.add(node.span.clone(), "apiVersion", "only simlet.dev/v1 is known", None);
            }
            if let Some(mut metadata) = fields.fields("metadata", self.problems) {
                name = metadata.text("name", self.problems).unwrap_or("").to_owned();
                description = metadata.text("description", self.problems).unwrap_or("").trim().to_owned();
                metadata.end(self.problems);
            }
            if let Some(number) = fields.integer("seed", self.problems) {
                seed = number as u64;
            }
            if let Some(node) = fields.get("until") {
                until = self.until(node);
            }
            if let Some(node) = fields.get("cluster") {
                builder.cluster(node, self);
            }
            for (index, image) in fields.list("images", self.problems).iter().enumerate() {
                builder.image(image, &format!("images[{index}]"), self.problems);
            }
            for (index, rule) in fields.list("behaviors", self.problems).iter().enumerate() {
                behaviors.extend(behavior::read(rule, &format!("behaviors[{index}]"), self.problems));
            }
            for (index, manifest) in fields.list("manifests", self.problems).iter().enumerate() {
                let path = format!("manifests[{index}]");
                match manifest.as_str() {
                    Some(file) => {
                        at_start.extend(self.named_file(file, manifest.span.clone(), &path).into_iter().flatten())
                    }
                    None => self.problems.add(manifest.span.clone(), &path, "a file's name is expected", None),
                }
            }
            for (index, entry) in fields.list("timeline", self.problems).iter().enumerate() {
                timeline.extend(Happening::read(entry, &format!("timeline[{index}]"), self));
            }
            for (index, expected) in fields.list("expect", self.problems).iter().enumerate() {
                let path = format!("expect[{index}]");
                if Baseline::is(expected) {
                    let baseline = Baseline::read(expected, &path, self);
                    baselines.extend(baseline.map(|baseline| (index, baseline)));
                } else {
                    expectations.extend(Expected::read(expected, &path, self));
                }
            }
            fields.end(self.problems);
        }
        let configs: Vec<usize> =
            (0..named).filter(|&index| self.text_of(index).is_some_and(is_scheduler_config)).collect();
        for index in configs {
            builder.named_scheduler_config(index, self);
        }
        if name.is_empty() {
            let file = self.source.or(self.sources.first()).map_or("", |source| source.name.as_str());
            name = stem(file).to_owned();
        }
        let mut existing = Vec::new();
        let mut applied: Vec<(usize, Vec<Object>)> = Vec::new();
        // A namespace that is made in a user's stead is there also for what is applied later.
        let is_there = |compiled: &&Compiled| {
            at_start.contains(&compiled.source) || compiled.existing && compiled.object.kind() == Kind::Namespace
        };
        for compiled in self.compiled.iter().filter(is_there) {
            match &compiled.object {
                Object::Node(node) => builder.node(node),
                object if compiled.existing => existing.push(object.clone()),
                object => match applied.last_mut() {
                    Some((source, objects)) if *source == compiled.source => objects.push(object.clone()),
                    _ => applied.push((compiled.source, vec![object.clone()])),
                },
            }
        }
        let applied = applied.into_iter().map(|(source, objects)| {
            let file = self.sources.get(source).map_or("", |source| source.name.as_str());
            (format!("kubectl apply -f {file}"), objects.into())
        });
        let applied: Vec<(String, Arc<[Object]>)> = applied.collect();
        // A dump shows all classes that there are; a manifest's stands beside the default one unless it takes its place.
        let takes_place = |object: &Object| match object {
            Object::StorageClass(class) => class.is_default || class.meta.name == section::default_class().meta.name,
            _ => false,
        };
        let has_class = existing.iter().any(|object| object.kind() == Kind::StorageClass)
            || applied.iter().flat_map(|(_, objects)| objects.iter()).any(takes_place);
        existing.extend(super::dump::proven(&existing));
        let mut header = header;
        header.not_modelled.extend(builder.without_effect());
        let config = builder.build(existing, behaviors, has_class, epoch);
        let last = timeline.iter().map(last_moment).chain(expectations.iter().map(Expected::last));
        let last = last.chain(baselines.iter().filter_map(|(_, baseline)| baseline.at)).max();
        let until = until.unwrap_or(Until::Default(last.unwrap_or(Time::ZERO) + AFTERWARDS));
        let header = Header { name: name.clone(), description: description.clone(), ..header };
        Some(Scenario {
            name,
            description,
            seed,
            config,
            applied,
            timeline,
            expectations,
            baselines,
            until,
            epoch,
            header,
        })
    }

    /// `until: 30m`, or a condition.
    fn until(&mut self, node: &Node<'_>) -> Option<Until> {
        if let Some(length) = node.as_str().and_then(Duration::parse_go) {
            return Some(Until::Time(Time::ZERO + length));
        }
        let looks_like_a_duration = node.as_str().is_none_or(|text| text.starts_with(|c: char| c.is_ascii_digit()));
        if looks_like_a_duration {
            values::duration(node, "until", self.problems);
            return None;
        }
        self.condition(node, "until").map(|condition| Until::Condition(Box::new(condition)))
    }
}

/// When a happening is over, as far as the file says.
fn last_moment(happening: &Happening) -> Time {
    let begins = match &happening.when {
        When::At(at) => *at,
        When::Condition { from, .. } => *from,
        When::Every { from, until, .. } => until.unwrap_or(*from),
    };
    begins + happening.lasts.unwrap_or_default()
}

/// `zone-outage` of `ci/zone-outage.yaml`.
fn stem(file: &str) -> &str {
    let base = file.rsplit(['/', '\\']).next().unwrap_or(file);
    base.rsplit_once('.').map_or(base, |(stem, _)| stem)
}
