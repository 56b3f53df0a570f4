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

    /// The scenario.
    pub fn scenario(&self) -> Scenario {
        let source = Source::new("scenario.yaml", self.text.as_str());
        let loaded = scenario::load(vec![source], self, &LoadOptions::default());
        loaded.unwrap_or_else(|problems| panic!("{}: {problems}\n{}", self.name, self.text)).scenario
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

struct Translator {
    name: String,
    from: Value,
    timeline: Vec<Value>,
    behaviors: Vec<Value>,
    files: BTreeMap<String, String>,
    untranslated: Vec<String>,
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
        }
    }

    fn translate(mut self) -> Timeline {
        let duration = self.from["duration"].as_f64().unwrap_or(60.0);
        for (who, what) in self.from["behaviour"].as_object().cloned().unwrap_or_default() {
            self.behavior(&who, &what);
        }
        let actions = self.from["actions"].as_array().cloned().unwrap_or_default();
        for (index, action) in actions.iter().enumerate() {
            self.action(action, &actions[index + 1..], index);
        }
        let mut documents = vec![json!({
            "apiVersion": "simlet.dev/v1",
            "kind": "Scenario",
            "metadata": {"name": self.name},
            "until": seconds(duration),
            // Only the images of registries on the loopback interface are pulled.
            "images": [{"match": "localhost/*", "size": "1Mi"}],
            "behaviors": self.behaviors,
            "timeline": self.timeline,
        })];
        documents.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}));
        documents.extend(self.nodes());
        documents.extend(self.from["cluster_objects"].as_array().cloned().unwrap_or_default());
        Timeline {
            name: self.name,
            duration,
            text: join(&documents),
            files: self.files,
            untranslated: self.untranslated,
        }
    }

    /// The machines that were there at the start, as `settings` of the README say.
    fn nodes(&self) -> Vec<Value> {
        let actions = self.from["actions"].as_array().cloned().unwrap_or_default();
        let joins: Vec<&Value> =
            actions.iter().filter(|one| one["do"] == "node-join").map(|one| &one["node"]).collect();
        let named = self.from["nodes"].as_array().cloned().unwrap_or_default();
        let all = ["n1", "n2", "n3", "n4"].map(Value::from);
        let there = all.iter().filter(|node| !joins.contains(node) && (named.is_empty() || named.contains(node)));
        let images = ["app:1", "web:1", "web:2", "web:3"];
        let images: Vec<Value> =
            images.iter().map(|image| json!({"names": [format!("localhost/{image}")], "sizeBytes": 1 << 20})).collect();
        let node = |name: &Value| {
            let name = name.as_str().unwrap_or_default();
            let mut labels = Map::new();
            labels.insert("kubernetes.io/hostname".to_owned(), name.into());
            labels.insert("topology.kubernetes.io/zone".to_owned(), "real".into());
            for (pool, nodes) in [("pool-main", ["n1", "n2"]), ("pool-fault", ["n2", "n3"])] {
                if nodes.contains(&name) {
                    labels.insert(pool.to_owned(), "true".into());
                }
            }
            let size = json!({"cpu": "2", "memory": "24581692Ki", "pods": "110", "ephemeral-storage": "100Gi"});
            json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": labels},
                "status": {"capacity": size, "allocatable": size, "images": images},
            })
        };
        there.map(node).collect()
    }

    fn behavior(&mut self, who: &str, what: &Value) {
        let Some(forms) = what.as_object() else {
            return self.untranslated.push(format!("behaviour {who}: {what}"));
        };
        let mut rule = Map::new();
        let mut matches = Map::new();
        let (pod, container) = who.split_once('/').unwrap_or((who, "*"));
        if pod.contains(' ') {
            return self.untranslated.push(format!("behaviour {who}"));
        }
        for (field, name) in [("pod", pod), ("container", container)] {
            if name != "*" {
                matches.insert(field.to_owned(), name.into());
            }
        }
        let mut probes = Vec::new();
        for (form, what) in forms {
            let done = match form.as_str() {
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
        if matches.is_empty() {
            matches.insert("pod".to_owned(), "*".into());
        }
        rule.insert("match".to_owned(), matches.into());
        self.behaviors.push(rule.into());
    }

    /// `later` are the actions after this one, where a fault's end is.
    fn action(&mut self, action: &Value, later: &[Value], index: usize) {
        let at = seconds(action["at"].as_f64().unwrap_or_default());
        let word = action["do"].as_str().unwrap_or_default();
        let namespace = self.name.clone();
        let text = |field: &str| action[field].as_str().unwrap_or_default();
        let kubectl = |words: String| json!({"at": at, "kubectl": format!("{words} -n {namespace}")});
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
            "scale" => {
                let kind = action["kind"].as_str().unwrap_or("Deployment").to_lowercase();
                kubectl(format!("scale {kind}/{} --replicas={}", text("name"), action["replicas"]))
            }
            "kubectl" => {
                let words: Vec<&str> =
                    action["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let of_nodes = ["cordon", "drain", "taint", "uncordon"];
                match words.first() {
                    Some(verb) if of_nodes.contains(verb) => json!({"at": at, "kubectl": words.join(" ")}),
                    _ => kubectl(words.join(" ")),
                }
            }
            "kubelet-kill" | "kubelet-stop" => {
                until(&["kubelet-start"], "node", json!({"node": action["node"], "kubelet": "stopped"}))
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
            "kubelet-start" | "containerd-start" | "component-start" | "partition" | "registry" => return,
            _ => {
                let what = text("name");
                return self.untranslated.push(format!("action {word} {what} at {at}"));
            }
        };
        // What kubectl can and simlet's client cannot is named.
        if line.get("apply").is_none() && !self.is_understood(&line) {
            let what = line.get("kubectl").or(line.get("fault")).cloned().unwrap_or_default();
            return self.untranslated.push(format!("action {what} at {at}"));
        }
        self.timeline.push(line);
    }

    /// True if a scenario with this line alone loads.
    fn is_understood(&self, line: &Value) -> bool {
        let mut documents = vec![json!({
            "apiVersion": "simlet.dev/v1",
            "kind": "Scenario",
            "metadata": {"name": self.name},
            "timeline": [line],
        })];
        documents.extend(self.nodes());
        let text = join(&documents);
        let nothing = Timeline {
            name: self.name.clone(),
            duration: 0.0,
            text: String::new(),
            files: BTreeMap::new(),
            untranslated: Vec::new(),
        };
        let sources = vec![Source::new("line.yaml", text)];
        scenario::load(sources, &nothing, &LoadOptions::default()).is_ok()
    }

    /// The object in the scenario's namespace, if it has one.
    fn placed(&self, mut object: Value) -> Value {
        let kind = object["kind"].as_str().unwrap_or_default();
        if !CLUSTER_SCOPED.contains(&kind) && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = self.name.as_str().into();
        }
        template_without_type(&mut object);
        object
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
        Value::String(word) if word == "runs for ever" => Some(None),
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
