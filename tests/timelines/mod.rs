//! A timeline of `../shared/timelines` as a scenario of simlet: what was applied and done, when, what the programs did.
//!
//! What has no counterpart is named, not guessed: see [`Timeline::untranslated`].

#![allow(dead_code, reason = "each test that replays timelines uses its own part of this")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use simlet::manifest::{self, Source};
use simlet::scenario::{self, Files, LoadOptions, Scenario};

/// A recorded timeline, read and translated.
pub struct Timeline {
    pub name: String,
    /// How long the recording goes on, in seconds.
    pub duration: f64,
    /// The second of the minute at which it began.
    second: i64,
    /// Its nodes were objects without a kubelet: only what the control plane does is real.
    pub is_fake: bool,
    /// The scenario as text, and the files that it applies.
    pub text: String,
    pub files: BTreeMap<String, String>,
    /// Actions and behaviours that simlet's scenario language has no words for.
    pub untranslated: Vec<String>,
}

/// Where the recordings are.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/timelines");
    assert!(root.is_dir(), "{} is missing: the recordings of a real cluster", root.display());
    root
}

/// The names of all recordings that have this file, in order.
pub fn names(with: &str) -> Vec<String> {
    let folders = std::fs::read_dir(root()).expect("the folder can be read");
    let folders = folders.map(|entry| entry.expect("the folder can be read").path());
    let mut names: Vec<String> = folders
        .filter(|folder| folder.join(with).is_file())
        .map(|folder| folder.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The lines of a recording's file.
pub fn lines(name: &str, file: &str) -> Vec<Value> {
    let path = root().join(name).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

/// The essential facts of a recording, with what it says of its start.
pub fn summary(name: &str) -> Value {
    let path = root().join(name).join("summary.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything that a recording's watches delivered, as text, and the file's name.
pub fn watch(name: &str) -> (String, String) {
    let folder = root().join(name);
    let plain = folder.join("watch.jsonl");
    if let Ok(text) = std::fs::read_to_string(&plain) {
        return (plain.to_string_lossy().into_owned(), text);
    }
    let packed = folder.join("watch.jsonl.gz");
    let file = std::fs::File::open(&packed).unwrap_or_else(|problem| panic!("{}: {problem}", packed.display()));
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("it can be unpacked");
    (packed.to_string_lossy().into_owned(), text)
}

impl Files for Timeline {
    fn read(&self, path: &str, _: &str) -> Result<Vec<Source>, String> {
        match self.files.get(path) {
            Some(text) => Ok(vec![Source::new(path, text.as_str())]),
            None => Err(format!("{path}: no such file")),
        }
    }
}

impl Timeline {
    /// Reads and translates the recording of this name.
    pub fn read(name: &str) -> Timeline {
        let path = root().join(name).join("scenario.yaml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let source = Source::new("scenario.yaml", text);
        let documents = manifest::documents(&source);
        let document = documents.first().unwrap_or_else(|| panic!("{} is empty", path.display()));
        Translator::new(name, value(document)).translate()
    }

    /// Writes the scenario with its files, for people to run.
    pub fn write(&self, folder: &Path) {
        let write = |file: &str, text: &str| {
            std::fs::write(folder.join(file), text).unwrap_or_else(|problem| panic!("{}: {problem}", folder.display()));
        };
        std::fs::create_dir_all(folder).unwrap_or_else(|problem| panic!("{}: {problem}", folder.display()));
        write("scenario.yaml", &self.text);
        self.files.iter().for_each(|(file, text)| write(file, text));
    }

    /// The scenario.
    pub fn scenario(&self) -> Scenario {
        let source = Source::new("scenario.yaml", self.text.as_str());
        let loaded = scenario::load(vec![source], self, &LoadOptions::default());
        let loaded = loaded.unwrap_or_else(|problems| panic!("{}: {problems}\n{}", self.name, self.text));
        let mut scenario = loaded.scenario;
        let start = &mut scenario.config.controllers.start_unix_seconds;
        *start = *start - start.rem_euclid(60) + self.second;
        scenario
    }
}

/// A node of a document as JSON.
fn value(node: &manifest::Node<'_>) -> Value {
    match &node.value {
        manifest::Value::Null => Value::Null,
        manifest::Value::Bool(value) => Value::from(*value),
        manifest::Value::Int(value) => Value::from(*value),
        manifest::Value::Float(value) => Value::from(*value),
        manifest::Value::String(text) => Value::from(text.as_ref()),
        manifest::Value::Seq(items) => items.iter().map(value).collect(),
        manifest::Value::Map(entries) => {
            Value::Object(entries.iter().map(|(key, node)| (key.name.to_string(), value(node))).collect())
        }
    }
}

/// Kinds without a namespace.
const CLUSTER_SCOPED: &[&str] = &["Namespace", "Node", "PersistentVolume", "PriorityClass", "StorageClass"];

/// What every machine had on its disk.
const IMAGES: &[&str] = &["localhost/app:1", "localhost/web:1", "localhost/web:2", "localhost/web:3"];

/// The memory of a real node, in bytes: what is allocatable, and the default hard threshold.
const MEMORY: i64 = 24_684_092 << 10;

struct Translator {
    name: String,
    from: Value,
    timeline: Vec<Value>,
    behaviors: Vec<Value>,
    files: BTreeMap<String, String>,
    untranslated: Vec<String>,
    /// Where in a second of the clock the recording began: what Kubernetes cuts to the second is cut alike.
    fraction: f64,
}

impl Translator {
    fn new(name: &str, from: Value) -> Translator {
        Translator {
            name: name.to_owned(),
            from,
            timeline: Vec::new(),
            behaviors: Vec::new(),
            files: BTreeMap::new(),
            untranslated: Vec::new(),
            fraction: summary(name)["start_wall_fraction"].as_f64().unwrap_or_default(),
        }
    }

    fn translate(mut self) -> Timeline {
        let duration = self.from["duration"].as_f64().unwrap_or(60.0);
        let behaviours = self.from["behaviour"].as_object().cloned().unwrap_or_default();
        let is_fake = self.from["fake_nodes"].is_array();
        for (who, what) in behaviours {
            self.behavior(&who, &what);
        }
        let actions = self.from["actions"].as_array().cloned().unwrap_or_default();
        for (index, action) in actions.iter().enumerate() {
            self.action(action, &actions[index + 1..], index);
        }
        if is_fake {
            // A pod on a fake node is gone a while after its deletion, whatever its program is.
            self.behaviors.push(json!({"match": {"pod": "*"}, "onTerm": {"exitAfter": "500ms", "code": 0}}));
        }
        let nodes = self.nodes();
        let scenario = json!({
            "apiVersion": "simlet.dev/v1",
            "kind": "Scenario",
            "metadata": {"name": self.name},
            "until": seconds(duration + self.fraction),
            "cluster": {"nodes": nodes},
            "images": self.images(),
            "behaviors": self.behaviors,
            "timeline": self.timeline,
        });
        let mut documents = vec![scenario];
        documents.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}));
        documents.extend(self.from["cluster_objects"].as_array().cloned().unwrap_or_default());
        Timeline {
            name: self.name,
            duration,
            second: self.from["starts_at_second_of_minute"].as_i64().unwrap_or_default(),
            is_fake,
            text: join(&documents),
            files: self.files,
            untranslated: self.untranslated,
        }
    }

    /// What the registries hold: the recording's own events tell the sizes, and what was not there.
    fn images(&self) -> Vec<Value> {
        let mut images: Vec<Value> = Vec::new();
        let mut missing = Vec::new();
        let (_, text) = watch(&self.name);
        for line in text.lines().filter(|line| line.contains("pull image") || line.contains("pulled image")) {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            let message = event["object"]["message"].as_str().unwrap_or_default();
            let image = message.split('"').nth(1).unwrap_or_default();
            let size = message.split_once("Image size: ").and_then(|(_, rest)| rest.strip_suffix(" bytes."));
            if let (Some(size), true) = (size, message.starts_with("Successfully pulled")) {
                images.push(json!({"match": image, "size": size}));
            } else if message.ends_with(": not found") && !missing.contains(&image.to_owned()) {
                missing.push(image.to_owned());
            }
        }
        images.extend(missing.into_iter().map(|image| json!({"match": image, "missing": true})));
        images.push(json!({"match": "*", "size": "1Mi"}));
        images
    }

    /// The machines, as `settings` of the README say.
    fn nodes(&mut self) -> Vec<Value> {
        let actions = self.from["actions"].as_array().cloned().unwrap_or_default();
        let joins = |name: &str| {
            let is_it = |one: &&Value| one["do"] == "node-join" && one["node"] == name;
            actions.iter().find(is_it).and_then(|one| one["at"].as_f64())
        };
        let mut nodes = Vec::new();
        for name in ["n1", "n2", "n3", "n4"] {
            let mut labels = json!({"topology.kubernetes.io/region": "r"});
            for (pool, members) in [("pool-main", ["n1", "n2"]), ("pool-fault", ["n2", "n3"])] {
                if members.contains(&name) {
                    labels[pool] = "".into();
                }
            }
            let capacity =
                json!({"cpu": "2", "memory": MEMORY.to_string(), "pods": "110", "ephemeral-storage": "264212084Ki"});
            let mut node = json!({
                "name": name, "count": 1, "zones": ["real"], "labels": labels, "capacity": capacity, "images": IMAGES,
            });
            // 2 s from the start of the machine's programs to the registration.
            if let Some(at) = joins(name) {
                node["joins"] = seconds(at + 1.9 + self.fraction).into();
            }
            if let Some(settings) = self.from["settings"].get(format!("{name} KubeletConfiguration")) {
                let file = format!("kubelet-{name}.yaml");
                let mut config = json!({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"});
                for (field, value) in settings.as_object().into_iter().flatten() {
                    config[field] = quantities(value);
                }
                self.files.insert(file.clone(), format!("{config:#}"));
                node["kubelet"] = json!({"config": file});
            }
            nodes.push(node);
        }
        let fakes = self.from["fake_nodes"].as_array().cloned().unwrap_or_default();
        nodes.extend(fakes.iter().map(|fake| self.fake(fake, None)));
        for action in actions.iter().filter(|action| action["do"] == "fake-add") {
            nodes.push(self.fake(&action["node"], action["at"].as_f64()));
        }
        nodes
    }

    /// A node that was only an object and a lease; here it is a machine like the others, of which only what the control
    /// plane does is compared.
    fn fake(&self, fake: &Value, joins: Option<f64>) -> Value {
        let mut labels = fake["labels"].as_object().cloned().unwrap_or_default();
        let zone = labels.shift_remove("topology.kubernetes.io/zone").unwrap_or_default();
        let mut taints = vec![format!("sim.test/fake={}:NoSchedule", self.name)];
        for taint in fake["taints"].as_array().into_iter().flatten() {
            let text = |field: &str| taint[field].as_str().unwrap_or_default();
            taints.push(format!("{}={}:{}", text("key"), text("value"), text("effect")));
        }
        let capacity = json!({"cpu": fake["cpu"], "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi"});
        let mut node = json!({
            "name": fake["name"], "count": 1, "labels": labels, "taints": taints, "capacity": capacity, "images": ["fake"],
        });
        if zone.is_string() {
            node["zones"] = json!([zone]);
        }
        if let Some(at) = joins {
            node["joins"] = seconds(at + self.fraction).into();
        }
        node
    }

    fn behavior(&mut self, who: &str, what: &Value) {
        let mut rule = Map::new();
        let mut matches = Map::new();
        let (revision, who) = match who.strip_prefix("revision ").and_then(|rest| rest.split_once(' ')) {
            Some((revision, rest)) => (revision.parse::<usize>().ok(), rest),
            None => (None, who),
        };
        let all_of_a_kind = format!("{}*", who.trim_end_matches('*'));
        let (pod, container) = who.split_once('/').unwrap_or((&all_of_a_kind, "*"));
        if let Some(image) = revision.and_then(|revision| self.image_of_revision(revision)) {
            matches.insert("image".to_owned(), image.into());
        }
        let none = Map::new();
        let forms = match what {
            Value::Object(forms) => forms,
            Value::String(prose) if prose == "never ready" => {
                rule.insert("startup".to_owned(), "1000000s".into());
                &none
            }
            Value::String(prose) => {
                // What prose says beside this, the container's command does, and the simulated shell reads it itself.
                let Some(memory) = memory(prose) else {
                    if self.command(pod, container).is_none_or(|command| written(&command).is_none()) {
                        return;
                    }
                    return self.writing(pod, container, rule, matches);
                };
                rule.insert("memory".to_owned(), memory);
                return self.writing(pod, container, rule, matches);
            }
            _ => return,
        };
        for (field, name) in [("pod", pod), ("container", container)] {
            if name != "*" {
                matches.insert(field.to_owned(), name.into());
            }
        }
        let mut probes = Vec::new();
        for (form, what) in forms {
            let done = match form.as_str() {
                "each_start" if what["exit_code"].is_string() => match self.ends_by_index(pod, what) {
                    Some((field, rest)) => rule.insert(field, rest).is_none(),
                    None => false,
                },
                "each_start" => match how(what) {
                    Some(Some((field, what))) => rule.insert(field, what).is_none(),
                    other => other.is_some(),
                },
                "starts" => {
                    let starts: Option<Vec<Value>> = what.as_array().into_iter().flatten().map(start).collect();
                    starts.map(|starts| rule.insert("starts".to_owned(), starts.into())).is_some()
                }
                "later_starts" => start(what).map(|later| rule.insert("laterStarts".to_owned(), later)).is_some(),
                "on_sigterm" => match what {
                    Value::String(word) if word.starts_with("ignore") => {
                        rule.insert("onTerm".to_owned(), "ignore".into()).is_none()
                    }
                    _ => {
                        let after = what["exit_after_s"].as_f64().unwrap_or_default();
                        let on_term = json!({"exitAfter": seconds(after), "code": what["exit_code"]});
                        rule.insert("onTerm".to_owned(), on_term).is_none()
                    }
                },
                _ => match probe(form, what) {
                    Some(probe) => {
                        probes.push(probe);
                        true
                    }
                    None => false,
                },
            };
            if !done {
                self.untranslated.push(format!("behaviour {who}: {form}: {what}"));
            }
        }
        if !probes.is_empty() {
            rule.insert("probes".to_owned(), probes.into());
        }
        if self.command(pod, container).is_some_and(|command| written(&command).is_some()) {
            return self.writing(pod, container, rule, matches);
        }
        if matches.is_empty() {
            matches.insert("pod".to_owned(), "*".into());
        }
        rule.insert("match".to_owned(), matches.into());
        self.behaviors.push(rule.into());
    }

    /// The last word of the command of a pod's container: its script.
    fn command(&self, pod: &str, container: &str) -> Option<String> {
        let container = self.container(pod, container)?;
        container["command"].as_array()?.last()?.as_str().map(str::to_owned)
    }

    fn container(&self, pod: &str, container: &str) -> Option<&Value> {
        let pods = self.from["actions"].as_array()?.iter().filter_map(|one| one["manifests"].as_array()).flatten();
        let pod = pods.into_iter().find(|one| one["kind"] == "Pod" && one["metadata"]["name"] == pod)?;
        pod["spec"]["containers"].as_array()?.iter().find(|one| one["name"] == container)
    }

    /// A rule for a program that fills a volume or its writable layer, as its script says, with what it does on SIGTERM.
    fn writing(&mut self, pod: &str, container: &str, mut rule: Map<String, Value>, mut matches: Map<String, Value>) {
        let script = self.command(pod, container).unwrap_or_default();
        if let Some((path, growth)) = written(&script) {
            let mounts = self.container(pod, container).and_then(|one| one["volumeMounts"].as_array());
            let volume = mounts.into_iter().flatten().find(|mount| {
                mount["mountPath"]
                    .as_str()
                    .is_some_and(|at| path.starts_with(&format!("{}/", at.trim_end_matches('/'))))
            });
            match volume.and_then(|mount| mount["name"].as_str()) {
                Some(volume) => rule.insert("volumes".to_owned(), json!({ volume: growth })),
                None => rule.insert("disk".to_owned(), growth),
            };
        }
        if !rule.contains_key("onTerm") {
            if script.contains("trap '' TERM") {
                rule.insert("onTerm".to_owned(), "ignore".into());
            } else if let Some((_, rest)) = script.split_once("trap 'exit ") {
                let code = rest.split('\'').next().and_then(|code| code.parse::<i64>().ok()).unwrap_or_default();
                rule.insert("onTerm".to_owned(), json!({"exitAfter": "0s", "code": code}));
            }
        }
        matches.insert("pod".to_owned(), pod.into());
        matches.insert("container".to_owned(), container.into());
        rule.insert("match".to_owned(), matches.into());
        self.behaviors.push(rule.into());
    }

    /// `1 for index 2, else 0`: a rule for that pod of an indexed Job comes first; the end of the others is returned.
    fn ends_by_index(&mut self, pod: &str, what: &Value) -> Option<(String, Value)> {
        let (first, rest) = what["exit_code"].as_str()?.split_once(", else ")?;
        let (code, index) = first.split_once(" for index ")?;
        let exit = |code: &str| {
            Some(json!({"after": seconds(what["exit_after_s"].as_f64()?), "code": code.parse::<i64>().ok()?}))
        };
        let pattern = format!("{}-{index}-*", pod.trim_end_matches(['*', '-']));
        self.behaviors.push(json!({"match": {"pod": pattern}, "exit": exit(code)?}));
        Some(("exit".to_owned(), exit(rest)?))
    }

    /// The patch; one that makes pods of fake nodes unready gives them a probe that says so.
    fn patch(&self, action: &Value) -> Value {
        let mut patch = action["patch"].clone();
        if patch["spec"]["template"]["metadata"]["annotations"]["sim.test/ready"] != "never" {
            return patch;
        }
        let actions = self.from["actions"].as_array().into_iter().flatten();
        let made = actions.flat_map(|one| one["manifests"].as_array().into_iter().flatten());
        let is_it = |one: &&Value| one["kind"] == action["kind"] && one["metadata"]["name"] == action["name"];
        let containers = made.filter(is_it).flat_map(|one| one["spec"]["template"]["spec"]["containers"].as_array());
        let probes = containers
            .flatten()
            .map(|container| json!({"name": container["name"], "readinessProbe": {"exec": {"command": ["false"]}}}));
        patch["spec"]["template"]["spec"] = json!({"containers": probes.collect::<Vec<Value>>()});
        patch
    }

    /// The image of the n-th revision of what is rolled out.
    fn image_of_revision(&self, revision: usize) -> Option<String> {
        fn images(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(image) = fields.get("image").and_then(Value::as_str)
                        && !found.iter().any(|known| known == image)
                    {
                        found.push(image.to_owned());
                    }
                    fields.values().for_each(|value| images(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| images(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        images(&self.from["actions"], &mut found);
        found.get(revision.checked_sub(1)?).cloned()
    }

    /// `later` are the actions after this one, where a fault's end is.
    fn action(&mut self, action: &Value, later: &[Value], index: usize) {
        let at = seconds(action["at"].as_f64().unwrap_or_default() + self.fraction);
        let word = action["do"].as_str().unwrap_or_default();
        let namespace = self.name.clone();
        let kind_has_namespace = !CLUSTER_SCOPED.contains(&action["kind"].as_str().unwrap_or_default());
        let text = |field: &str| action[field].as_str().unwrap_or_default();
        let kubectl = |words: String| match kind_has_namespace {
            true => json!({"at": at, "kubectl": format!("{words} -n {namespace}")}),
            false => json!({"at": at, "kubectl": words}),
        };
        let until = |ends: &[&str], field: &str, fault: Value| {
            let end = later.iter().find(|one| {
                one[field] == action[field] && one["do"].as_str().is_some_and(|word| ends.contains(&word))
                    || word == "partition" && one["do"] == "partition" && one["mode"] == "ok"
                    || word == "registry" && one["do"] == "registry" && one["port"] == action["port"]
            });
            let mut line = json!({"at": at, "fault": fault});
            if let Some(end) = end.and_then(|end| end["at"].as_f64()) {
                line["for"] = seconds(end - action["at"].as_f64().unwrap_or_default()).into();
            }
            line
        };
        let line = match word {
            "create" => {
                let manifests = action["manifests"].as_array().cloned().unwrap_or_default();
                let placed: Vec<Value> = manifests.into_iter().map(|object| self.placed(object)).collect();
                let file = format!("action-{index}.yaml");
                self.files.insert(file.clone(), join(&placed));
                json!({"at": at, "apply": file})
            }
            "delete" => {
                let mut words = format!("delete {}/{} --wait=false", text("kind").to_lowercase(), text("name"));
                if let Some(grace) = action["gracePeriodSeconds"].as_i64() {
                    words.push_str(&format!(" --grace-period={grace}"));
                    if grace == 0 {
                        words.push_str(" --force");
                    }
                }
                if let Some(policy) = action["propagationPolicy"].as_str() {
                    words.push_str(&format!(" --cascade={}", policy.to_lowercase()));
                }
                kubectl(words)
            }
            "evict" => {
                let mut words = format!("evict-pod {}", text("name"));
                if let Some(grace) = action["gracePeriodSeconds"].as_i64() {
                    words.push_str(&format!(" --grace-period={grace}"));
                }
                kubectl(words)
            }
            "patch" => {
                let kind = text("kind").to_lowercase();
                let patch = self.patch(action).to_string();
                let mut words = format!("patch {kind}/{} -p {}", text("name"), quoted(&patch));
                if let Some(patch_type) = action["patchType"].as_str() {
                    words.push_str(&format!(" --type={patch_type}"));
                }
                if let Some(subresource) = action["subresource"].as_str() {
                    words.push_str(&format!(" --subresource={subresource}"));
                }
                kubectl(words)
            }
            "scale" => {
                let kind = action["kind"].as_str().unwrap_or("Deployment").to_lowercase();
                kubectl(format!("scale {kind}/{} --replicas={}", text("name"), action["replicas"]))
            }
            "kubectl" => {
                let words: Vec<&str> =
                    action["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let words: Vec<String> = words.into_iter().map(quoted).collect();
                let of_nodes = ["cordon", "drain", "taint", "uncordon"];
                match words.first() {
                    Some(verb) if of_nodes.contains(&verb.as_str()) => json!({"at": at, "kubectl": words.join(" ")}),
                    _ => kubectl(words.join(" ")),
                }
            }
            "kubelet-kill" | "kubelet-stop" => {
                until(&["kubelet-start"], "node", json!({"node": action["node"], "kubelet": "stopped"}))
            }
            "fake-stop" => {
                for node in action["nodes"].as_array().cloned().unwrap_or_default() {
                    let resumes = |one: &&Value| {
                        one["do"] == "fake-resume" && one["nodes"].as_array().is_some_and(|all| all.contains(&node))
                    };
                    let mut line = json!({"at": at, "fault": {"node": node, "network": "cut"}});
                    if let Some(end) = later.iter().find(resumes).and_then(|one| one["at"].as_f64()) {
                        line["for"] = seconds(end - action["at"].as_f64().unwrap_or_default()).into();
                    }
                    self.timeline.push(line);
                }
                return;
            }
            "static-pod-write" => {
                let file = format!("static-{index}.yaml");
                let mut pod = action["pod"].clone();
                pod["metadata"]["namespace"] = pod["metadata"]["namespace"].as_str().unwrap_or(&self.name).into();
                self.files.insert(file.clone(), format!("{pod:#}"));
                json!({"at": at, "staticPods": {"node": action["node"], "write": file}})
            }
            "static-pod-remove" => {
                json!({"at": at, "staticPods": {"node": action["node"], "remove": action["name"]}})
            }
            "containerd-stop" => {
                until(&["containerd-start"], "node", json!({"node": action["node"], "runtime": "stopped"}))
            }
            "component-kill" => {
                let component = match text("component") {
                    "kcm" => "controller-manager",
                    "sched" => "scheduler",
                    other => other,
                };
                until(&["component-start"], "component", json!({component: "down"}))
            }
            "partition" if action["mode"] != "ok" => {
                until(&[], "node", json!({"node": action["node"], "network": "cut"}))
            }
            "registry" if action["up"] == 0 => {
                until(&[], "port", json!({"registry": format!("localhost:{}", action["port"]), "down": true}))
            }
            "registry" if action["rate"].as_i64().is_some_and(|rate| rate > 0) => {
                let bandwidth = format!("{}/s", action["rate"]);
                until(&[], "port", json!({"registry": format!("localhost:{}", action["port"]), "bandwidth": bandwidth}))
            }
            // The ends of what began before.
            "kubelet-start" | "containerd-start" | "component-start" | "partition" | "registry" | "fake-resume" => {
                return;
            }
            // In the list of nodes.
            "node-join" | "fake-add" => return,
            _ => {
                let what = text("name");
                return self.untranslated.push(format!("action {word} {what} at {at}"));
            }
        };
        // What kubectl can and simlet's client cannot is named.
        if line.get("apply").is_none() && !self.is_understood(&line) {
            let what = ["kubectl", "fault", "staticPods"].iter().find_map(|field| line.get(*field)).cloned();
            let what = what.unwrap_or_default();
            return self.untranslated.push(format!("action {what} at {at}"));
        }
        self.timeline.push(line);
    }

    /// True if a scenario with this line alone loads.
    fn is_understood(&self, line: &Value) -> bool {
        let document = json!({
            "apiVersion": "simlet.dev/v1",
            "kind": "Scenario",
            "metadata": {"name": self.name},
            "timeline": [line],
        });
        let text = join(&[document]);
        let nothing = Timeline {
            name: self.name.clone(),
            duration: 0.0,
            second: 0,
            is_fake: false,
            text: String::new(),
            files: self.files.clone(),
            untranslated: Vec::new(),
        };
        let sources = vec![Source::new("line.yaml", text)];
        scenario::load(sources, &nothing, &LoadOptions::default()).is_ok()
    }

    /// The object in the scenario's namespace, if it has one.
    fn placed(&mut self, mut object: Value) -> Value {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        if !CLUSTER_SCOPED.contains(&kind.as_str()) && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = self.name.as_str().into();
        }
        template_without_type(&mut object);
        never_ready(&mut object);
        // The fake kubelet takes so many seconds to stop the pod.
        let meta = if kind == "Pod" { &object["metadata"] } else { &object["spec"]["template"]["metadata"] };
        if let Some(stop) = meta["annotations"]["sim.test/stop"].as_str().and_then(|stop| stop.parse::<f64>().ok()) {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let pods = if kind == "Pod" { name.to_owned() } else { format!("{name}-*") };
            let on_term = json!({"exitAfter": seconds(stop - 0.5), "code": 0});
            self.behaviors.push(json!({"match": {"pod": pods}, "onTerm": on_term}));
        }
        object
    }
}

/// `writes 5 GiB into memory from 5 s on`: a gibibyte takes about a second.
fn memory(prose: &str) -> Option<Value> {
    let (amount, rest) = prose.strip_prefix("writes ")?.split_once(" GiB into memory from ")?;
    let from: f64 = rest.split(' ').next()?.parse().ok()?;
    Some(json!({"start": "1Mi", "growth": "1Gi/s", "from": seconds(from), "most": format!("{amount}Gi")}))
}

/// Where a script writes to, and how much: `sleep 5; dd if=/dev/zero of=/s/f bs=1M count=20`.
fn written(script: &str) -> Option<(String, Value)> {
    let (before, dd) = script.split_once("dd if=/dev/zero of=")?;
    let mut words = dd.split([' ', ';']);
    let path = words.next().filter(|path| !path.starts_with("/dev/"))?;
    let count: u64 = words.find_map(|word| word.strip_prefix("count="))?.parse().ok()?;
    let from: f64 = before.rsplit_once("sleep ")?.1.split(';').next()?.trim().parse().ok()?;
    let growth = json!({"growth": format!("{count}Mi/s"), "from": seconds(from), "most": format!("{count}Mi")});
    Some((path.to_owned(), growth))
}

/// A word as a shell takes it.
fn quoted(word: impl AsRef<str>) -> String {
    let word = word.as_ref();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,@".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The amounts of memory that a setting reckons from what was there: nothing but the pods uses memory here.
fn quantities(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), quantities(value))).collect(),
        Value::String(text) => {
            let less = text.strip_prefix("(available at start - ").and_then(|rest| rest.strip_suffix(" GiB)"));
            match less.and_then(|less| less.parse::<f64>().ok()) {
                Some(less) => (MEMORY - (less * f64::from(1 << 30)) as i64).to_string().into(),
                None => value.clone(),
            }
        }
        other => other.clone(),
    }
}

/// `sim.test/ready: never`: the fake kubelet leaves the pod unready, as a probe does here.
fn never_ready(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let annotations = fields.get("metadata").and_then(|meta| meta.get("annotations"));
            let never = annotations.is_some_and(|all| all["sim.test/ready"] == "never");
            if let Some(containers) =
                fields.get_mut("spec").and_then(|spec| spec.get_mut("containers")).filter(|_| never)
            {
                for container in containers.as_array_mut().into_iter().flatten() {
                    container["readinessProbe"] = json!({"exec": {"command": ["false"]}});
                }
            }
            fields.values_mut().for_each(never_ready);
        }
        Value::Array(items) => items.iter_mut().for_each(never_ready),
        _ => {}
    }
}

/// Some recordings' pod templates say what they are, which an API server that isn't asked to be strict passes over.
fn template_without_type(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Object(template)) = fields.get_mut("template") {
                template.retain(|field, _| field != "apiVersion" && field != "kind");
            }
            fields.values_mut().for_each(template_without_type);
        }
        Value::Array(items) => items.iter_mut().for_each(template_without_type),
        _ => {}
    }
}

fn seconds(seconds: f64) -> String {
    format!("{}ms", (seconds * 1000.0).round())
}

fn join(documents: &[Value]) -> String {
    let texts: Vec<String> = documents.iter().map(|document| format!("{document:#}")).collect();
    texts.join("\n---\n")
}

/// The field of a rule for one way to run: an end, or (Some(None)) none. None: not understood.
fn how(what: &Value) -> Option<Option<(String, Value)>> {
    match what {
        Value::String(word) if word.starts_with("runs for ever") => Some(None),
        Value::Object(end) => {
            if let Some(after) = end.get("oom_after_s").and_then(Value::as_f64) {
                return Some(Some(("oom".to_owned(), json!({"after": seconds(after)}))));
            }
            let (after, code) = (end.get("exit_after_s")?.as_f64()?, end.get("exit_code")?.as_i64()?);
            Some(Some(("exit".to_owned(), json!({"after": seconds(after), "code": code}))))
        }
        _ => None,
    }
}

fn start(what: &Value) -> Option<Value> {
    Some(match how(what)? {
        Some((field, what)) => json!({ field: what }),
        None => "runs".into(),
    })
}

/// What a probe finds: `http /path`, `exec test`, `tcp 8080`, with answers from moments on.
fn probe(form: &str, what: &Value) -> Option<Value> {
    let (kind, subject) = form.split_once(' ')?;
    let mut probe = match kind {
        "http" => json!({"http": subject}),
        "tcp" => json!({"tcp": subject.parse::<u16>().ok()?}),
        "exec" => json!({"exec": true}),
        _ => return None,
    };
    let answer = |what: &Value| match what {
        Value::Number(status) => Some(json!({"status": status})),
        Value::String(word) if word == "ok" => Some(if kind == "http" { json!({"status": 200}) } else { json!({}) }),
        Value::String(word) if word == "fails" || word == "refused" => Some(json!({"fails": true})),
        Value::String(word) if word.starts_with("hangs") => Some(json!({"hangs": true})),
        _ => None,
    };
    let answers: Option<Vec<Value>> = match what {
        Value::Array(list) => list
            .iter()
            .map(|pair| {
                let mut one = answer(&pair[1])?;
                one["from"] = seconds(pair[0].as_f64()?).into();
                Some(one)
            })
            .collect(),
        // "200 from 3 s after start"
        Value::String(text) if text.ends_with(" s after start") => {
            let (status, from) = text.strip_suffix(" s after start")?.split_once(" from ")?;
            let (status, from) = (status.parse::<u16>().ok()?, from.parse::<f64>().ok()?);
            Some(vec![json!({"from": "0s", "status": 404}), json!({"from": seconds(from), "status": status})])
        }
        other => answer(other).map(|one| vec![one]),
    };
    probe["answers"] = answers?.into();
    Some(probe)
}
