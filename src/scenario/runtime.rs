//! `runtime:` of a node: the name of a container runtime, or a profile of one, in a file of its own or in place.
//!
//! A profile begins with what `like` names and says what is different: `simlet calibrate` writes one with the latencies
//! that it measured.

use crate::manifest::{Node as TreeNode, Value, nearest};
use crate::model::Name;
use crate::runtime::simulated::{Latencies, Profile};

use super::file::Reading;
use super::read::{Fields, Problems};
use super::values;

const NAMES: [&str; 3] = ["containerd", "cri-o", "docker"];

/// True for what names a file, not a runtime.
pub(super) fn is_file(text: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| text.ends_with(ending)) || text.contains('/')
}

/// Reads the field. After a problem what could be read, so that reading goes on.
pub(super) fn read(node: &TreeNode<'_>, path: &str, reading: &mut Reading<'_>) -> Profile {
    match (&node.value, node.as_str()) {
        (_, Some(file)) if is_file(file) => from_file(node, file, path, reading),
        (Value::Map(_), _) => fields_of(node, path, reading.problems),
        _ => named(node, path, "or a profile's file, such as measured.yaml", reading.problems),
    }
}

fn from_file(node: &TreeNode<'_>, file: &str, path: &str, reading: &mut Reading<'_>) -> Profile {
    let Some(range) = reading.named_file(file, node.span.clone(), path) else { return Profile::default() };
    let index = range.start;
    let Some(source) = reading.text_of(index).filter(|_| range.len() == 1) else {
        let message = format!("{file} is a folder where a profile's file is expected");
        reading.problems.add(node.span.clone(), path, message, None);
        return Profile::default();
    };
    let documents = crate::manifest::documents(source);
    let is_profile = |node: &TreeNode<'_>| node.get("kind").and_then(TreeNode::as_str) == Some("RuntimeProfile");
    let Some(document) = documents.iter().find(|document| is_profile(document)) else {
        let message = format!("{file} holds no RuntimeProfile");
        let hint = "it has `apiVersion: simlet.dev/v1` and `kind: RuntimeProfile`; `simlet calibrate` writes one";
        reading.problems.add(node.span.clone(), path, message, Some(hint.to_owned()));
        return Profile::default();
    };
    let mut problems = Problems::default();
    let profile = fields_of(document, "", &mut problems);
    reading.elsewhere.extend(problems.found.into_iter().map(|problem| (index, problem)));
    profile
}

/// The name of a runtime.
fn named(node: &TreeNode<'_>, path: &str, or: &str, problems: &mut Problems) -> Profile {
    if let Some(profile) = node.as_str().and_then(Profile::named) {
        return profile;
    }
    let hint = match node.as_str().and_then(|text| nearest(text, NAMES)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("one of {}{}{or}", NAMES.join(", "), if or.is_empty() { "" } else { ", " }),
    };
    problems.add(node.span.clone(), path, "not a container runtime", Some(hint));
    Profile::default()
}

fn fields_of(node: &TreeNode<'_>, path: &str, problems: &mut Problems) -> Profile {
    let Some(mut fields) = Fields::new(node, path, problems) else { return Profile::default() };
    if path.is_empty() {
        let version = fields.get("apiVersion");
        if let Some(node) = version.filter(|node| node.as_str() != Some("simlet.dev/v1")) {
            problems.add(node.span.clone(), "apiVersion", "`simlet.dev/v1` is expected", None);
        }
        fields.get("kind");
        if let Some(mut metadata) = fields.fields("metadata", problems) {
            metadata.text("name", problems);
            metadata.text("description", problems);
            metadata.end(problems);
        }
    }
    let mut profile = match fields.get("like") {
        Some(node) => named(node, &fields.path("like"), "", problems),
        None => Profile::default(),
    };
    if let Some(version) = fields.text("runtimeVersion", problems) {
        profile.runtime_version = Name::new(version);
    }
    if let Some(mut latency) = fields.fields("latency", problems) {
        for (name, field) in Latencies::NAMED {
            if let Some(node) = latency.get(name)
                && let Some(read) = values::distribution(node, &latency.path(name), problems)
            {
                *field(&mut profile.latency) = read;
            }
        }
        latency.end(problems);
    }
    if let Some(mut contention) = fields.fields("contention", problems) {
        let at = contention.span();
        if let Some(share) = contention.number("perOperation", problems) {
            if (0.0..=100.0).contains(&share) {
                profile.contention_per_thousand = (share * 1000.0).round() as u64;
            } else {
                let message = "how much each further operation slows all, from 0 to 100";
                problems.add(at.clone(), &contention.path("perOperation"), message, None);
            }
        }
        let path = contention.path("cap");
        if let Some(cap) = positive(contention.integer("cap", problems), at, &path, problems) {
            profile.contention_cap = cap;
        }
        contention.end(problems);
    }
    if let Some(mut pull) = fields.fields("pull", problems) {
        let at = pull.span();
        let path = pull.path("streams");
        if let Some(streams) = positive(pull.integer("streams", problems), at, &path, problems) {
            profile.pull_streams = streams as usize;
        }
        if let Some(shared) = pull.boolean("sharedStreams", problems) {
            profile.shared_streams = shared;
        }
        if let Some(node) = pull.get("unpack")
            && let Some(rate) = values::bytes_per_second(node, &pull.path("unpack"), problems)
        {
            profile.unpack_bytes_per_second = rate;
        }
        if let Some(node) = pull.get("perMebibyte") {
            profile.pull_per_mebibyte = values::distribution(node, &pull.path("perMebibyte"), problems);
        }
        pull.end(problems);
    }
    fields.end(problems);
    profile
}

fn positive(number: Option<i64>, at: std::ops::Range<usize>, path: &str, problems: &mut Problems) -> Option<u64> {
    let number = number?;
    if !(1..=10_000).contains(&number) {
        problems.add(at, path, format!("{number} is not from 1 to 10000"), None);
        return None;
    }
    Some(number as u64)
}
