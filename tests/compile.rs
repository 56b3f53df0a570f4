//! What becomes of real manifests, held against what kube-apiserver 1.36.2 stored for them, and of broken ones, held
//! against what it refused.
#![expect(clippy::disallowed_macros, reason = "tables for people")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use simlet::manifest::{Compiler, Epoch, Loaded, NotModelled, Source, load, print};
use simlet::model::Object;
use simlet::model::quantity::Quantity;

fn shared(folder: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(folder);
    assert!(path.is_dir(), "the shared corpora are missing: {}", path.display());
    path
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "nothing below {}", folder.display());
    files
}

/// The objects of a text, or its problems.
fn compile(text: &str) -> Result<Vec<Object>, Vec<String>> {
    let sources = [Source::new("file.yaml", text)];
    let loaded = load(&sources);
    compile_loaded(&mut Compiler::new(Epoch::default()), &loaded)
}

fn compile_loaded(compiler: &mut Compiler, loaded: &Loaded<'_>) -> Result<Vec<Object>, Vec<String>> {
    let errors = loaded.problems.iter().flatten().filter(|problem| problem.is_error());
    let mut problems: Vec<String> = errors.map(|problem| format!("{}: {}", problem.field, problem.kind)).collect();
    let mut objects = Vec::new();
    for object in &loaded.objects {
        match compiler.compile(&object.decoded, &|_| None) {
            Ok(compiled) => objects.extend(compiled),
            Err(invalid) => {
                let new = invalid.iter().filter(|invalid| !object.is_reported(&invalid.field));
                problems.extend(new.map(ToString::to_string));
            }
        }
    }
    if problems.is_empty() { Ok(objects) } else { Err(problems) }
}

/// Compares what we print with what the API server stored, field by field.
#[derive(Default)]
struct Agreement {
    /// By kind: fields that are equal, and objects.
    equal: BTreeMap<String, (usize, usize)>,
    different: Vec<String>,
}

impl Agreement {
    fn object(&mut self, file: &str, kind: &str, printed: &Value, stored: &Value) {
        self.equal.entry(kind.to_owned()).or_default().1 += 1;
        self.value(file, kind, printed, Some(stored), "");
    }

    fn value(&mut self, file: &str, kind: &str, printed: &Value, stored: Option<&Value>, path: &str) {
        let in_template = path.contains("emplate.spec");
        let mut differ =
            |stored: &str| self.different.push(format!("{file} {kind} {path}: {printed}, stored {stored}"));
        let Some(stored) = stored else {
            // We fill these in where the API server does it when a pod is made of the template.
            let by_pod = in_template && (path.contains("resources.requests") || path.ends_with("hostPort"));
            // A StatefulSet's `type: RollingUpdate` alone stays alone in Kubernetes; it means the same.
            let means_the_same = path == "spec.updateStrategy.rollingUpdate" && printed["partition"] == 0;
            if !by_pod && !means_the_same && !is_empty(printed) {
                differ("nothing");
            }
            return;
        };
        // Admission resolves the priority.
        if stored == "<allocated>" || stored == "<uid>" || path == "spec.priority" {
            return;
        }
        match (printed, stored) {
            (Value::Object(fields), Value::Object(stored)) => {
                if let (Some(ours), Some(theirs)) = (requirements(fields), requirements(stored)) {
                    if ours != theirs {
                        differ(&Value::Object(stored.clone()).to_string());
                    }
                    return;
                }
                for (field, value) in fields {
                    let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
                    self.value(file, kind, value, stored.get(field), &path);
                }
            }
            (Value::Array(items), Value::Array(stored)) => {
                // Admission adds tolerations to pods, and some kinds of sources of projected volumes are not held.
                let may_be_more = path == "spec.tolerations" || path.ends_with("projected.sources");
                if items.len() != stored.len() && !may_be_more {
                    differ(&Value::Array(stored.clone()).to_string());
                    return;
                }
                for (index, item) in items.iter().enumerate() {
                    let key = item.as_object().and_then(|fields| fields.keys().next());
                    let same = if path.ends_with("projected.sources") {
                        stored.iter().find(|other| key.is_some_and(|key| other[key]["name"] == item[key]["name"]))
                    } else {
                        stored.get(index)
                    };
                    // Where in a projected volume the token appears is not held.
                    if key.is_none_or(|key| key != "serviceAccountToken") {
                        self.value(file, kind, item, same, &format!("{path}[{index}]"));
                    }
                }
            }
            (Value::String(ours), Value::String(theirs)) => {
                let random = theirs.ends_with("<random>");
                let amount = |text: &str| text.parse::<Quantity>().ok();
                let both = amount(ours).zip(amount(theirs));
                if ours == theirs || both.is_some_and(|(a, b)| a == b) {
                    self.equal.entry(kind.to_owned()).or_default().0 += 1;
                } else if !random {
                    differ(theirs);
                }
            }
            _ if printed == stored => self.equal.entry(kind.to_owned()).or_default().0 += 1,
            _ => differ(&stored.to_string()),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// A selector as its requirements, however it was written.
fn requirements(selector: &Map<String, Value>) -> Option<Vec<String>> {
    if !selector.contains_key("matchLabels") && !selector.contains_key("matchExpressions") {
        return None;
    }
    let mut all = Vec::new();
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        all.push(format!("{key} In [{value}]"));
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let values = expression.get("values").and_then(Value::as_array).cloned().unwrap_or_default();
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        let (key, operator) = (&expression["key"], &expression["operator"]);
        all.push(format!("{} {} [{}]", key.as_str()?, operator.as_str()?, values.join(",")));
    }
    all.sort();
    Some(all)
}

#[test]
fn defaults_are_those_that_the_api_server_stores() {
    let golden = shared("manifests-defaulted");
    let manifests = shared("manifests");
    let mut agreement = Agreement::default();
    let mut files = 0;
    for path in files_below(&golden).into_iter().filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let relative = path.strip_prefix(&golden).unwrap().to_str().unwrap().strip_suffix(".json").unwrap();
        let stored: Vec<Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let sources = [Source::from_bytes(relative, fs::read(manifests.join(relative)).unwrap())];
        let loaded = load(&sources);
        let objects = match compile_loaded(&mut Compiler::new(Epoch::default()), &loaded) {
            Ok(objects) => objects,
            Err(problems) => panic!("{relative}: Kubernetes accepts it: {problems:?}"),
        };
        files += 1;
        for object in &objects {
            let printed = print::json(object, Epoch::default());
            let is_same = |other: &&Value| {
                let (ours, theirs) = (&printed["metadata"], &other["metadata"]);
                other["kind"] == printed["kind"]
                    && (theirs["name"] == ours["name"] || ours["name"].is_null())
                    && (theirs["namespace"] == ours["namespace"] || ours["namespace"].is_null())
            };
            // Some kinds were left out of the golden data.
            if let Some(same) = stored.iter().find(is_same) {
                agreement.object(relative, object.kind().as_str(), &printed, same);
            }
        }
    }
    println!("{files} files\n{:<24} {:>8} {:>8}", "kind", "objects", "fields");
    for (kind, (fields, objects)) in &agreement.equal {
        println!("{kind:<24} {objects:>8} {fields:>8}");
    }
    assert!(files > 200 && agreement.equal.len() >= 12, "the golden data are thin");
    for difference in &agreement.different {
        println!("{difference}");
    }
    assert!(agreement.different.is_empty(), "{} fields differ", agreement.different.len());
}

#[test]
fn what_is_printed_is_read_back_as_the_same_objects() {
    let manifests = shared("manifests");
    let mut objects_seen = 0;
    for path in files_below(&shared("manifests-defaulted")) {
        let Ok(relative) = path.strip_prefix(shared("manifests-defaulted")) else { continue };
        let Some(relative) = relative.to_str().and_then(|path| path.strip_suffix(".json")) else { continue };
        let text = String::from_utf8(fs::read(manifests.join(relative)).unwrap()).unwrap();
        let objects = compile(&text).unwrap();
        let yaml = print::yaml(&objects, Epoch::default());
        let again = compile(&yaml).unwrap_or_else(|problems| panic!("{relative}: {problems:?}\n{yaml}"));
        assert_eq!(objects.len(), again.len(), "{relative}");
        for (before, after) in objects.iter().zip(&again) {
            let (mut before, mut after) = (before.clone(), after.clone());
            for object in [&mut before, &mut after] {
                object.meta_mut().source = None;
            }
            // A projected volume's order of sources is ours.
            assert_eq!(print::json(&before, Epoch::default()), print::json(&after, Epoch::default()), "{relative}");
            assert!(before == after, "{relative}: {before:#?}\n{after:#?}");
            objects_seen += 1;
        }
    }
    assert!(objects_seen > 200);
}

#[test]
fn a_dump_is_a_starting_state_and_survives_being_printed() {
    let mut pods = 0;
    let mut bound = 0;
    let mut owned = 0;
    let mut refused: Vec<String> = Vec::new();
    for path in files_below(&shared("dumps")) {
        if !path.extension().is_some_and(|extension| matches!(extension.to_str(), Some("yaml" | "yml" | "json"))) {
            continue;
        }
        let sources = [Source::from_bytes(path.display().to_string(), fs::read(&path).unwrap()).found_in_folder()];
        let loaded = load(&sources);
        let mut compiler = Compiler::new(Epoch::default());
        for object in &loaded.objects {
            let compiled = match compiler.compile(&object.decoded, &|_| None) {
                Ok(Some(compiled)) => compiled,
                Ok(None) => continue,
                Err(problems) => {
                    // Trimmed dumps lack things; what is there must not be refused.
                    let other = problems.iter().filter(|problem| !problem.message.starts_with("Required"));
                    refused.extend(other.map(|problem| format!("{}: {problem}", path.display())));
                    continue;
                }
            };
            if let Object::Pod(pod) = &compiled {
                pods += 1;
                bound += usize::from(pod.node.is_some() && !pod.status.conditions.is_empty());
                owned += usize::from(pod.meta.owner.is_some());
            }
            let text = print::yaml([&compiled], Epoch::default());
            let again = compile(&text).unwrap_or_else(|problems| panic!("{}: {problems:?}\n{text}", path.display()));
            let [again] = again.as_slice() else { panic!("{}: {} objects", path.display(), again.len()) };
            let (first, second) = (print::json(&compiled, Epoch::default()), print::json(again, Epoch::default()));
            assert_eq!(first, second, "{}", path.display());
        }
    }
    println!("{pods} pods, {bound} bound, {owned} owned");
    // Test data of a linter, which has slips on purpose.
    refused.retain(|problem| !problem.contains("popeye"));
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(pods > 100 && bound > 50 && owned > 50, "{pods} pods, {bound} bound, {owned} owned");
}

#[test]
fn broken_manifests_are_refused_in_kubernetes_words() {
    let folder = shared("broken");
    let lines = fs::read_to_string(folder.join("expected.jsonl")).unwrap();
    let mut checked = 0;
    let mut differences = Vec::new();
    for line in lines.lines() {
        let expected: Value = serde_json::from_str(line).unwrap();
        let file = expected["file"].as_str().unwrap();
        let sources = [Source::from_bytes(file, fs::read(folder.join(file)).unwrap())];
        let loaded = load(&sources);
        let got = compile_loaded(&mut Compiler::new(Epoch::default()), &loaded);
        let accepts: Vec<&str> = expected["accept"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        checked += 1;
        // What only a cluster can know is not ours: other objects, and kinds that are not simulated.
        let not_ours = ["k8s-priority-class-missing.yaml", "k8s-hpa-min-above-max.yaml"].contains(&file);
        match &got {
            Ok(_) if accepts == ["error"] && !not_ours => differences.push(format!("{file}: accepted")),
            Err(problems) if !accepts.contains(&"error") => differences.push(format!("{file}: {problems:?}")),
            Err(problems) => {
                let message = expected["kubernetes"]["message"].as_str().unwrap_or_default();
                // Only validation speaks of fields in this form, and only what loading let pass is ours.
                if message.contains("is invalid: ") && !loaded.has_errors() {
                    for problem in problems {
                        let exact = problem.contains("{…}") || message.contains(problem.as_str());
                        let taint = problem.starts_with("spec.taints");
                        // Kubernetes shows quantities' maps in its own notation, and long lists not whole.
                        if !exact && !taint {
                            differences.push(format!("{file}: {problem}\n    Kubernetes: {message}"));
                        }
                    }
                }
            }
            Ok(_) => {}
        }
    }
    assert!(checked > 100);
    for difference in &differences {
        println!("{difference}");
    }
    assert!(differences.is_empty(), "{} files differ", differences.len());
}

#[test]
fn fields_without_effect_are_counted_once_an_object() {
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  dnsPolicy: ClusterFirst
  setHostnameAsFQDN: true
  containers:
  - {name: a, image: a, volumeDevices: [{name: v, devicePath: /dev/a}, {name: v, devicePath: /dev/b}]}
  - {name: b, image: b, volumeDevices: [{name: v, devicePath: /dev/a}], tty: false}
";
    let sources = [Source::new("pod.yaml", text)];
    let loaded = load(&sources);
    let mut missing = NotModelled::default();
    let mut compiler = Compiler::default();
    for object in &loaded.objects {
        let compiled = compiler.compile(&object.decoded, &|_| None).unwrap().unwrap();
        missing.note(&object.decoded, &compiled, Epoch::default());
    }
    let listed: Vec<String> = missing.iter().map(|(kind, field, count)| format!("{kind} {field} {count}")).collect();
    assert_eq!(listed, ["Pod spec.containers[].volumeDevices 1", "Pod spec.setHostnameAsFQDN 1"]);
}

#[test]
fn what_kubernetes_accepts_is_accepted_and_what_it_calls_invalid_is_refused() {
    let folder = shared("manifests");
    let verdicts = fs::read_to_string(folder.join("kubernetes-verdicts.jsonl")).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    let mut differences = Vec::new();
    for line in verdicts.lines() {
        let verdict: Value = serde_json::from_str(line).unwrap();
        let file = verdict["file"].as_str().unwrap();
        let sources = [Source::from_bytes(file, fs::read(folder.join(file)).unwrap())];
        let loaded = load(&sources);
        if loaded.has_errors() {
            continue;
        }
        let got = compile_loaded(&mut Compiler::new(Epoch::default()), &loaded);
        let words = verdict.to_string();
        match (verdict["verdict"].as_str().unwrap(), got) {
            ("accepted" | "accepted with warnings" | "accepted with warning", Err(problems)) => {
                differences.push(format!("{file}: accepted by Kubernetes, but {problems:?}"));
            }
            ("accepted" | "accepted with warnings" | "accepted with warning", Ok(_)) => accepted += 1,
            // Which addresses there are is the cluster's affair.
            ("rejected", Ok(_)) if words.contains("allocate IP") || words.contains("on this cluster") => {}
            ("rejected", Ok(objects)) if words.contains("is invalid: ") && !objects.is_empty() => {
                differences.push(format!("{file}: accepted here; Kubernetes: {}", verdict["errors"]));
            }
            ("rejected", Err(_)) => refused += 1,
            _ => {}
        }
    }
    println!("{accepted} accepted, {refused} refused");
    for difference in &differences {
        println!("{difference}");
    }
    assert!(accepted > 500 && refused > 10, "{accepted} accepted, {refused} refused");
    assert!(differences.is_empty(), "{} files differ", differences.len());
}

#[test]
fn what_is_refused_is_shown_at_its_line() {
    let folder = shared("broken");
    let lines = fs::read_to_string(folder.join("expected.jsonl")).unwrap();
    let mut checked = 0;
    for line in lines.lines() {
        let expected: Value = serde_json::from_str(line).unwrap();
        let file = expected["file"].as_str().unwrap();
        let sources = [Source::from_bytes(file, fs::read(folder.join(file)).unwrap())];
        let loaded = load(&sources);
        let compiled = Compiler::default().compile_loaded(&loaded, &sources, 0);
        let problems = &compiled.problems[0];
        if loaded.has_errors() || problems.is_empty() {
            continue;
        }
        let shown: Vec<u64> = problems.iter().map(|p| sources[0].place(p.at.start).line as u64).collect();
        if let Some(want) = expected["where"]["line"].as_u64() {
            assert!(shown.contains(&want), "{file}: line {want} is wrong, not {shown:?}: {problems:?}");
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn a_dump_begins_at_its_newest_moment_and_a_manifest_knows_its_lines() {
    let path = shared("dumps/kurl-three-nodes").join("cluster.json");
    let sources = [Source::from_bytes("cluster.json", fs::read(path).unwrap())];
    let loaded = load(&sources);
    let epoch = Epoch::of_dump(&loaded);
    assert_ne!(epoch, Epoch::default());
    let compiled = Compiler::new(epoch).compile_loaded(&loaded, &sources, 0);
    assert!(compiled.objects.len() > 100 && compiled.problems[0].is_empty(), "{:?}", compiled.problems[0]);
    assert!(!compiled.not_modelled.is_empty());

    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec:\n      containers:\n      - name: c\n        image: i\n";
    let sources = [Source::new("w.yaml", text)];
    let compiled = Compiler::default().compile_loaded(&load(&sources), &sources, 5);
    let [(0, Object::Deployment(deployment))] = compiled.objects.as_slice() else { panic!("one Deployment") };
    let line = |source: Option<simlet::model::Source>| source.map(|source| (source.file, source.line));
    assert_eq!(line(deployment.meta.source), Some((5, 1)));
    assert_eq!(line(deployment.template.spec.source), Some((5, 8)));
    assert_eq!(line(deployment.template.spec.containers[0].source), Some((5, 10)));
}
