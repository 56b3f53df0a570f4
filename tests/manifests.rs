//! Real manifests, dumps and broken files of the shared corpora, held against what Kubernetes 1.36.2 said about them.
//!
//! Only the text and the shape of objects are judged here: what Kubernetes refuses by validation ("… is invalid"),
//! by admission or because of the cluster's state is counted and left to the tests of those parts.
#![expect(clippy::disallowed_macros, clippy::disallowed_types, reason = "tables for people, and how long a file takes")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use proptest::prelude::*;
use serde_json::Value;
use simlet::manifest::{Loaded, Severity, Source, load, problem};

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

fn lines(path: &Path) -> Vec<Value> {
    let lines: Vec<Value> =
        fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty());
    lines
}

/// Loads one file and hands over what came of it. Must take no more than a second.
fn with_loaded<T>(path: &Path, dump: bool, look: impl FnOnce(&Source, &Loaded<'_>) -> T) -> T {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut source = Source::from_bytes(name, fs::read(path).unwrap());
    if dump {
        source = source.found_in_folder().as_dump();
    }
    let sources = [source];
    let before = Instant::now();
    let loaded = load(&sources);
    let rendered = problem::render_all(&sources[0], &loaded.problems[0], false);
    assert!(before.elapsed().as_secs_f64() < 1.0, "{}: slow", path.display());
    assert!(rendered.is_empty() == loaded.problems[0].is_empty());
    look(&sources[0], &loaded)
}

fn errors(source: &Source, loaded: &Loaded<'_>) -> Vec<String> {
    let errors = loaded.problems[0].iter().filter(|p| p.is_error());
    errors.map(|p| format!("{}:{} {} {}", source.name, source.place(p.at.start).line, p.field, p.kind)).collect()
}

/// Why Kubernetes refused a file, by its words.
fn class_of(errors: &str) -> &'static str {
    let own_group = |version: &str| {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        matches!(group, "" | "apps" | "batch" | "policy" | "autoscaling" | "extensions" | "rbac.authorization.k8s.io")
            || matches!(group, "storage.k8s.io" | "coordination.k8s.io" | "scheduling.k8s.io")
            || group == "admissionregistration.k8s.io"
    };
    let unmatched: Vec<&str> =
        errors.split("in version \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    if errors.contains("strict decoding error") || errors.contains("cannot unmarshal") {
        "shape: unknown field or wrong type"
    } else if errors.contains("error parsing") {
        "shape: text"
    } else if errors.contains("kind not set") || errors.contains("apiVersion not set") {
        "shape: no kind"
    } else if errors.contains("no matches for kind") && unmatched.iter().any(|v| own_group(v)) {
        "shape: kind of Kubernetes' own groups, not served"
    } else if errors.contains("no objects passed") {
        "shape: no object"
    } else if errors.contains("no matches for kind") {
        "foreign kind (passed over by simlet)"
    } else if errors.contains("is invalid") || errors.contains("Invalid value") {
        "validation (later)"
    } else {
        "state of the cluster (later)"
    }
}

#[test]
fn manifests_load_as_kubernetes_takes_them() {
    let folder = shared("manifests");
    let mut wrong = Vec::new();
    let mut table: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for line in lines(&folder.join("kubernetes-verdicts.jsonl")) {
        let file = line["file"].as_str().unwrap();
        let verdict = line["verdict"].as_str().unwrap();
        with_loaded(&folder.join(file), false, |source, loaded| {
            let errors = errors(source, loaded);
            let warned = !loaded.problems[0].is_empty() || !loaded.passed_over.is_empty();
            let answer = if !errors.is_empty() {
                "error"
            } else if warned {
                "warning"
            } else {
                "ok"
            };
            let class = match verdict {
                "rejected" | "partly accepted" => class_of(line["errors"].as_str().unwrap()),
                verdict => verdict,
            };
            *table.entry((class.to_owned(), answer)).or_default() += 1;
            let right = match class {
                "shape: unknown field or wrong type" | "shape: text" | "shape: no kind" => answer == "error",
                "shape: kind of Kubernetes' own groups, not served" | "shape: no object" => answer != "ok",
                "foreign kind (passed over by simlet)" => answer == "warning",
                _ => answer != "error",
            };
            if !right {
                wrong.push(format!("{file}: {class}, but {answer}: {errors:?}"));
            }
        });
    }
    for ((class, answer), count) in &table {
        println!("{count:5}  {answer:8} {class}");
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// Those of the broken files that this layer answers for: all but what Kubernetes refuses by validation or because of
/// the cluster's state.
fn is_ours(line: &Value) -> bool {
    let message = line["kubernetes"]["message"].as_str().unwrap_or_default();
    let validated = message.contains("is invalid") || message.contains("is forbidden") || message.contains("NotFound");
    let warned = line["kubernetes"]["verdict"] == "accepted with warning";
    let name = message.contains("resource name may not be empty");
    !validated && !name && !warned
}

#[test]
fn broken_files_get_the_right_answer_at_the_right_place() {
    let folder = shared("broken");
    let mut wrong = Vec::new();
    let (mut judged, mut later) = (0, Vec::new());
    for line in lines(&folder.join("expected.jsonl")) {
        let file = line["file"].as_str().unwrap();
        with_loaded(&folder.join(file), false, |source, loaded| {
            if !is_ours(&line) {
                let errors = errors(source, loaded);
                if !errors.is_empty() {
                    wrong.push(format!("{file}: left to validation, but {errors:?}"));
                }
                later.push(file.to_owned());
                return;
            }
            judged += 1;
            let worst = loaded.problems[0].iter().max_by_key(|p| (p.kind.severity(), std::cmp::Reverse(p.at.start)));
            let answer = match worst.map(|p| p.kind.severity()) {
                Some(Severity::Error) => "error",
                Some(Severity::Warning) => "warning",
                None if !loaded.passed_over.is_empty() => "warning",
                None => "ok",
            };
            let accepted = line["accept"].as_array().unwrap().iter().any(|a| a == answer);
            let place = worst.map(|p| (source.place(p.at.start), source.place(p.at.end.max(p.at.start + 1) - 1)));
            let placed = match (place, line["where"].as_object()) {
                (Some((from, to)), Some(at)) => {
                    let (line, column) = (at["line"].as_u64().unwrap(), at["column"].as_u64().unwrap());
                    let starts_there = (from.line as u64, from.column as u64) == (line, column);
                    let inside = from.line as u64 == line
                        && from.column as u64 <= column
                        && (to.line > from.line || to.column as u64 >= column);
                    starts_there || inside
                }
                _ => true,
            };
            if !accepted || !placed {
                let problems: Vec<_> = loaded.problems[0].iter().map(|p| p.kind.to_string()).collect();
                wrong.push(format!(
                    "{file}: {answer} at {place:?}, wanted {} at {}: {problems:?}",
                    line["accept"], line["where"]
                ));
            }
        });
    }
    println!("{judged} judged here; {} left to validation: {later:?}", later.len());
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn dumps_load() {
    let folder = shared("dumps");
    let (mut wrong, mut objects) = (Vec::new(), 0);
    let wanted = ["json", "yaml", "yml"];
    let of_kubernetes = |path: &PathBuf| path.extension().is_some_and(|e| wanted.iter().any(|w| e == *w));
    for path in files_below(&folder).iter().filter(|path| of_kubernetes(path)) {
        with_loaded(path, true, |source, loaded| {
            objects += loaded.objects.len();
            wrong.extend(errors(source, loaded));
        });
    }
    println!("{objects} objects");
    assert!(objects > 500, "{objects}");
    assert_eq!(wrong, Vec::<String>::new());
}

/// Texts to spoil: small ones of each kind.
fn seeds() -> Vec<Vec<u8>> {
    let folder = shared("broken");
    let mut seeds: Vec<Vec<u8>> =
        files_below(&folder).iter().map(|path| fs::read(path).unwrap()).filter(|text| text.len() < 1000).collect();
    seeds.push(fs::read(shared("manifests").join("kubernetes-api-all-fields/core.v1.Pod.yaml")).unwrap());
    seeds.push(fs::read(shared("dumps").join("argo-cd-health/pod-crashloop.yaml")).unwrap());
    assert!(seeds.len() > 50);
    seeds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_loading_panic(
        seed in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3usize, prop::sample::select(SPOILS)), 1..6),
    ) {
        static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
        let mut bytes = seed.get(SEEDS.get_or_init(seeds)).clone();
        for (at, length, text) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, text.iter().copied());
        }
        let sources = [Source::from_bytes("f", bytes)];
        let loaded = load(&sources);
        let text = problem::render_all(&sources[0], &loaded.problems[0], true);
        prop_assert!(text.is_empty() == loaded.problems[0].is_empty());
        for object in &loaded.objects {
            let _ = (object.place("spec.containers[0].image"), object.place("metadata.labels[app]"));
        }
    }
}

/// What is put into the texts: what means something in YAML, JSON and quantities, and what is no text.
const SPOILS: &[&[u8]] = &[
    b"",
    b":",
    b": ",
    b"-",
    b"- ",
    b"---\n",
    b"\n---\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"'",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!int ",
    b"\t",
    b"\n",
    b"\r",
    b" ",
    b"#",
    b"|\n",
    b">-\n",
    b"%",
    b"@",
    b"`",
    b"?",
    b"? ",
    b",",
    b"null",
    b"yes",
    b"1e999",
    b".nan",
    b"0x",
    b"-",
    b"99999999999999999999",
    b"\xff",
    b"\xe9",
    b"\xef\xbb\xbf",
    b"\xc2\xa0",
    b"\xf0\x9f\x98\x80",
    b"\0",
    b"\\u",
    b"kind: List\nitems:\n- ",
    b"items: ",
    b"...",
    b"\xff\xfe",
];

#[test]
fn a_schema_as_deep_as_we_read_does_not_overflow_the_stack() {
    let depth = 60;
    let mut text =
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\n".to_owned();
    text += "spec: {versions: [{name: v1, schema: {openAPIV3Schema: ";
    text += &"{properties: {a: ".repeat(depth);
    text += "{type: string, tpye: x}";
    text += &"}}".repeat(depth);
    text += "}}]}\n";
    let sources = [Source::new("f", text)];
    let loaded = load(&sources);
    let kinds: Vec<_> = loaded.problems[0].iter().map(|p| p.kind.to_string()).collect();
    assert_eq!(kinds, ["unknown field `tpye`"]);
}
