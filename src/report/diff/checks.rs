//! A diff for machines that check: JUnit XML and GitHub's annotations.

use std::fmt::Write as _;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::super::style::Style;
use super::super::testrun::escaped;
use super::{Cause, Diff, shown, terminal};

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
    for (changed, cause) in diff.comparison.workloads.iter().zip(&diff.causes) {
        let lines: Vec<String> = changed.lines().into_iter().map(|(_, line)| line).collect();
        let mut description = lines.join("\n");
        if let Some(cause) = cause {
            let _ = write!(description, "\ncause: {}", cause.text());
        }
        let message = lines.first().cloned().unwrap_or_default();
        let mut case = TestCase::new(shown(&changed.workload), status(&message, description));
        case.set_classname("placement");
        if let Some(cause) = cause {
            case.extra.insert("file".into(), cause.file.as_str().into());
            case.extra.insert("line".into(), cause.line.to_string().into());
        }
        suite.add_test_case(case);
    }
    report.add_test_suite(suite);
    // It fails for characters that XML can't hold only, which quick-junit has taken out.
    report.to_string().unwrap_or_default()
}

/// An annotation for each workload that differs, at the line that explains it: errors beyond the tolerance, else notices.
pub fn github(diff: &Diff) -> String {
    let mut text = String::new();
    let level = if diff.is_tolerated() { "notice" } else { "error" };
    for (changed, cause) in diff.comparison.workloads.iter().zip(&diff.causes) {
        let place = match (cause, changed.source) {
            (Some(Cause { file, line, .. }), _) => format!("file={},line={line},", escaped(file, true)),
            (None, Some(source)) => match diff.after.header.sources.get(source.file as usize) {
                Some(file) => format!("file={},line={},", escaped(&file.name, true), source.line),
                None => String::new(),
            },
            (None, None) => String::new(),
        };
        let title = escaped(&format!("placement of {}", shown(&changed.workload)), true);
        let mut lines: Vec<String> = changed.lines().into_iter().map(|(_, line)| line).collect();
        lines.extend(cause.as_ref().map(|cause| format!("cause: {}", cause.text())));
        let _ = writeln!(text, "::{level} {place}title={title}::{}", escaped(&lines.join("\n"), false));
    }
    text
}
