//! A diff for machines that check: JUnit XML and GitHub's annotations.

use std::fmt::Write as _;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::super::style::Style;
use super::super::testrun::escaped;
use super::{Cause, Diff, Filled, Told, terminal};

/// The JUnit file: a case for the whole, and one for each workload that differs, which fail together with the whole.
pub fn junit(diff: &Diff) -> String {
    let mut report = Report::new("simlet");
    let mut suite = TestSuite::new("placement");
    let status = |message: &str, description: String| {
        if diff.is_tolerated() {
            return TestCaseStatus::success();
        }
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type("placement").set_message(message).set_description(description);
        status
    };
    let whole = status(&diff.beyond.join("; "), terminal(diff, &Style::PLAIN));
    let mut case = TestCase::new(format!("{} → {}", diff.before.name, diff.after.name), whole);
    case.set_classname("placement");
    suite.add_test_case(case);
    for at in 0..diff.comparison.workloads.len() {
        let told = diff.told(at);
        let message = told.lines.first().map(|(_, line)| line.clone()).unwrap_or_default();
        let mut case = TestCase::new(told.name.clone(), status(&message, words(&told)));
        case.set_classname("placement");
        if let Some(cause) = diff.causes.get(at).and_then(|causes| causes.first()) {
            case.extra.insert("file".into(), cause.file.as_str().into());
            case.extra.insert("line".into(), cause.line.to_string().into());
        }
        suite.add_test_case(case);
    }
    report.add_test_suite(suite);
    // It fails for characters that XML can't hold only, which quick-junit has taken out.
    report.to_string().unwrap_or_default()
}

/// What is told of a workload, a line each.
fn words(told: &Told) -> String {
    let mut lines: Vec<String> = told.lines.iter().map(|(_, line)| line.clone()).collect();
    if !told.spread.is_empty() {
        lines.push(format!("spread: {}", told.spread));
    }
    lines.extend(told.causes.iter().map(|cause| format!("cause: {cause}")));
    lines.join("\n")
}

/// An annotation for each workload that differs, at the first line that explains it, and one for the whole: errors beyond the
/// tolerance, else notices.
pub fn github(diff: &Diff) -> String {
    let mut text = String::new();
    let level = if diff.is_tolerated() { "notice" } else { "error" };
    for (at, changed) in diff.comparison.workloads.iter().enumerate() {
        let told = diff.told(at);
        let cause = diff.causes.get(at).and_then(|causes| causes.first());
        let place = match (cause, changed.source) {
            (Some(Cause { file, line, .. }), _) => format!("file={},line={line},", escaped(file, true)),
            (None, Some(source)) => match diff.after.header.sources.get(source.file as usize) {
                Some(file) => format!("file={},line={},", escaped(&file.name, true), source.line),
                None => String::new(),
            },
            (None, None) => String::new(),
        };
        let title = escaped(&format!("placement of {}", told.name), true);
        let _ = writeln!(text, "::{level} {place}title={title}::{}", escaped(&words(&told), false));
    }
    let title = escaped(&format!("placement {} → {}", diff.before.name, diff.after.name), true);
    let mut lines = vec![format!("{}.", diff.comparison.summary())];
    lines.extend(diff.preempted().into_iter().map(|line| format!("preempted {line}")));
    for (what, [name, nodes, pods, cpu, memory]) in diff.usage().into_iter().filter(|_| !diff.comparison.is_empty()) {
        let nodes = match (what, nodes.as_str()) {
            (Filled::Zone, nodes) => format!("{nodes} nodes, "),
            (Filled::Node, "") => String::new(),
            (Filled::Node, there) => format!("{there}, "),
        };
        let what = if what == Filled::Zone { "zone" } else { "node" };
        lines.push(format!("{what} {name}: {nodes}{pods} pods, cpu {cpu}, memory {memory}"));
    }
    lines.extend(diff.more_nodes());
    lines.extend(diff.ready().map(|ready| format!("pod ready {ready}")));
    let events = diff.new_events();
    lines.extend((!events.is_empty()).then(|| format!("events {events}")));
    lines.extend(diff.beyond.iter().map(|beyond| format!("beyond the tolerance: {beyond}")));
    let _ = writeln!(text, "::{level} title={title}::{}", escaped(&lines.join("\n"), false));
    text
}
