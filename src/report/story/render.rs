//! The story on a terminal, in 80 columns or as many as there are.

use std::fmt::Write as _;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::FxBuildHasher;

use crate::kernel::Time;
use crate::model::Name;
use crate::trace::{Expectation, Footer, Header};

use super::super::journal::{Journal, PodLife};
use super::super::latency::is_of_job;
use super::super::style::{Paint, Style, at_flag, clock, columns, count, length, moment, short_count, wrap};
use super::Line;
use super::groups::{last_message, lines, reasons_of};

/// Where the words of a line begin: after time and mark.
const INDENT: usize = 13;
/// How wide the first column is, unless a line needs more.
const WHAT: usize = 30;

/// The whole story: header, lines, state at the end, expectations, digest.
pub fn story(header: &Header, journal: &Journal, footer: &Footer, style: &Style) -> String {
    let mut text = String::new();
    let (name, summary) = (style.paint(Paint::Bold, &header.name), summary(header, journal));
    let fits = header.name.chars().count() + 3 + summary.chars().count() <= style.width;
    let _ = if fits { writeln!(text, "{name}   {summary}\n") } else { writeln!(text, "{name}\n  {summary}\n") };
    for warning in &header.warnings {
        let _ = writeln!(text, "  {} {warning}", style.paint(Paint::Warn, "warning:"));
    }
    if !header.warnings.is_empty() {
        text.push('\n');
    }
    for line in lines(header, journal, footer) {
        write_line(&mut text, header, &line, style);
    }
    let last = format!("{:>9}    {}", clock(footer.end), final_state(journal));
    let _ = writeln!(text, "{last}");
    unwell(&mut text, journal, style);
    if !footer.expectations.is_empty() {
        text.push('\n');
        text.push_str(&expectations(header, footer, style));
    }
    passed_over(&mut text, header, style);
    for invariant in &footer.invariants {
        let _ = writeln!(text, "\n  {} {invariant}", style.paint(Paint::Bad, "simlet broke an invariant of its own:"));
    }
    let mut events = format!("{} events", short_count(footer.events));
    if let Some(wall) = style.wall {
        let _ = write!(events, " in {:.1} s", wall.as_secs_f64());
    }
    let digest = format!("digest {:016x}, the same on any machine", footer.digest);
    let space = style.width.saturating_sub(2 + columns(&digest) + columns(&events)).max(2);
    let _ = writeln!(text, "\n  {digest}{:space$}{events}", "");
    text
}

/// `30 nodes · 3 zones · 214 pods · seed 7 · Kubernetes 1.36`.
pub(in crate::report) fn summary(header: &Header, journal: &Journal) -> String {
    let zones: IndexSet<Name, FxBuildHasher> =
        journal.nodes.keys().map(|node| journal.zone(*node)).filter(|zone| !zone.is_empty()).collect();
    let mut parts = vec![count(journal.nodes.len(), "node")];
    if zones.len() > 1 {
        parts.push(count(zones.len(), "zone"));
    }
    parts.push(count(journal.pods.len(), "pod"));
    parts.push(format!("seed {}", header.seed));
    parts.push(format!("Kubernetes {}", header.kubernetes));
    parts.join(" · ")
}

/// `207 of 214 pods ready, 7 pending`.
pub(in crate::report) fn final_state(journal: &Journal) -> String {
    let (mut wanted, mut ready, mut pending, mut done, mut failed) = (0, 0, 0, 0, 0);
    for pod in journal.final_pods() {
        match pod.last.status.phase {
            crate::model::Phase::Succeeded => done += 1,
            crate::model::Phase::Failed => failed += 1,
            _ if is_of_job(pod) && pod.is_ready() => {}
            phase => {
                wanted += 1;
                ready += usize::from(pod.is_ready());
                pending += usize::from(phase == crate::model::Phase::Pending);
            }
        }
    }
    let mut parts = vec![format!("{ready} of {} ready", count(wanted, "pod"))];
    for (number, word) in [(pending, "pending"), (done, "completed"), (failed, "failed")] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    parts.join(", ")
}

fn write_line(text: &mut String, header: &Header, line: &Line, style: &Style) {
    let mark = if line.alarm { "!" } else { " " };
    let time = format!("{:>9}", moment(line.time));
    let mut why = line.why.clone();
    if let Some(source) = line.source {
        let place = header.place(source);
        why = if why.is_empty() { place } else { format!("{why}  {place}") };
    }
    let what = if line.alarm { style.paint(Paint::Warn, &line.what) } else { line.what.clone() };
    let mark = if line.alarm { style.paint(Paint::Bad, mark) } else { mark.to_owned() };
    let time = style.paint(Paint::Dim, &time);
    if why.is_empty() {
        let _ = writeln!(text, "{time}  {mark} {what}");
        return;
    }
    let room = style.width.saturating_sub(INDENT + WHAT + 2).max(24);
    let wide = columns(&line.what);
    // In its column if there is room for it; behind the words if only that fits; else in lines of its own.
    let mut rest: Vec<String>;
    if wide <= WHAT {
        let padding = WHAT - wide + 2;
        rest = wrap(&why, room);
        let _ = writeln!(text, "{time}  {mark} {what}{:padding$}{}", "", rest.remove(0));
    } else if INDENT + wide + 2 + columns(&why) <= style.width {
        let _ = writeln!(text, "{time}  {mark} {what}  {why}");
        return;
    } else {
        let _ = writeln!(text, "{time}  {mark} {what}");
        rest = wrap(&why, room);
    }
    for line in rest {
        let _ = writeln!(text, "{:width$}{line}", "", width = INDENT + WHAT + 2);
    }
}

/// Pods that wait or fail at the end, with their reasons, by workload.
fn unwell(text: &mut String, journal: &Journal, style: &Style) {
    let mut groups: IndexMap<(Name, String, String), Vec<&PodLife>, FxBuildHasher> = IndexMap::default();
    for pod in journal.final_pods() {
        if let Some((state, reason)) = unwell_reason(pod) {
            groups.entry((journal.family(pod), state, reason)).or_default().push(pod);
        }
    }
    if groups.is_empty() {
        return;
    }
    text.push('\n');
    for (at, ((family, state, reason), pods)) in groups.iter().enumerate() {
        if at == 12 {
            let _ = writeln!(text, "    and {} more", count(groups.len() - at, "group"));
            break;
        }
        let who = if pods.len() == 1 {
            journal.name_of(pods[0])
        } else {
            format!("{} of {family}", count(pods.len(), "pod"))
        };
        let _ = writeln!(text, "    {} {who}", style.paint(Paint::Warn, state));
        if !reason.is_empty() {
            for line in wrap(reason, style.width.saturating_sub(8)) {
                let _ = writeln!(text, "        {line}");
            }
        }
    }
}

/// What is wrong with a pod at the end: its status and the reason. None if nothing is.
pub(in crate::report) fn unwell_reason(pod: &PodLife) -> Option<(String, String)> {
    use crate::model::{ContainerState, Phase};
    if pod.is_ready() || pod.last.status.phase == Phase::Succeeded || pod.deleting.is_some() {
        return None;
    }
    let status = &pod.last.status;
    let word = pod.status_word();
    let reason = if pod.last.node.is_none() && status.phase == Phase::Pending {
        reasons_of(&last_message(pod))
    } else if !status.message.is_empty() {
        status.message.to_string()
    } else {
        let mut all = status.init_containers.iter().chain(&status.containers);
        let waiting = all.find_map(|container| match &container.state {
            ContainerState::Waiting { message, .. } if !message.is_empty() => Some(message.to_string()),
            _ => None,
        });
        // The pod's own name and uid make each message different.
        let message = waiting.unwrap_or_default();
        message.split(" pod=").next().unwrap_or_default().to_owned()
    };
    Some((word, reason))
}

/// What came of the expectations: failed ones with their evidence, then how many held.
pub fn expectations(header: &Header, footer: &Footer, style: &Style) -> String {
    let failed: Vec<&Expectation> = footer.expectations.iter().filter(|each| !each.held).collect();
    let held = footer.expectations.len() - failed.len();
    let mut text = String::new();
    let verdict = if failed.is_empty() {
        style.paint(Paint::Good, &format!("{held} held"))
    } else {
        format!("{held} held, {}", style.paint(Paint::Bad, &format!("{} failed", failed.len())))
    };
    let _ = writeln!(text, "  expectations   {verdict}");
    for expectation in footer.expectations.iter().filter(|each| each.held && !each.measured.is_empty()) {
        let title = title(expectation);
        let fits = 12 + columns(&title) + 3 + columns(&expectation.measured) <= style.width;
        let between = if fits {
            "   ".to_owned()
        } else {
            format!(
                "
{:12}",
                ""
            )
        };
        let held = style.paint(Paint::Good, "held");
        let title = wrap(&title, style.width.saturating_sub(16)).join(&format!("\n{:16}", ""));
        let _ = writeln!(text, "    {held}    {title}{between}{}", expectation.measured);
    }
    for expectation in failed {
        let title = wrap(&title(expectation), style.width.saturating_sub(16)).join(&format!(
            "
{:16}",
            ""
        ));
        let _ = writeln!(text, "    {}  {title}", style.paint(Paint::Bad, "FAILED"));
        for line in evidence(header, footer, expectation) {
            for (at, part) in wrap(&line, style.width.saturating_sub(16).max(24)).iter().enumerate() {
                let indent = if at == 0 { 12 } else { 16 };
                let _ = writeln!(text, "{:indent$}{part}", "");
            }
        }
    }
    text
}

/// `always endpoints("checkout").ready >= 2, after 2m`, with its name before it if it has one of its own.
pub(in crate::report) fn title(expectation: &Expectation) -> String {
    let condition = match (expectation.when.is_empty(), expectation.text.is_empty()) {
        (true, _) => expectation.text.clone(),
        (false, true) => expectation.when.clone(),
        (false, false) => format!("{} {}", expectation.when, expectation.text),
    };
    let own = !expectation.name.is_empty() && expectation.name != expectation.text && expectation.name != condition;
    if own { format!("{}: {condition}", expectation.name) } else { condition }
}

/// The evidence of a broken expectation, a line each: since when, what was measured, where it is written, what to ask next.
pub(in crate::report) fn evidence(header: &Header, footer: &Footer, expectation: &Expectation) -> Vec<String> {
    let mut lines = Vec::new();
    if !expectation.error.is_empty() {
        lines.push(format!("error: {}", expectation.error));
    }
    let mut broken = String::new();
    if let Some((from, until)) = expectation.broken.first() {
        broken = format!("broken from {}", moment(*from));
        match until {
            Some(until) => {
                let _ = write!(broken, " to {}", moment(*until));
            }
            None => broken.push_str(" to the end"),
        }
        if expectation.broken.len() > 1 {
            let all = length(expectation.broken_for(footer.end));
            let _ = write!(broken, " and {} more, {all} in all", count(expectation.broken.len() - 1, "time"));
        }
    }
    if !expectation.measured.is_empty() {
        if !broken.is_empty() {
            broken.push_str(", ");
        }
        broken.push_str(&expectation.measured);
    }
    if !broken.is_empty() {
        lines.push(broken);
    }
    if let Some(source) = expectation.source {
        lines.push(format!("at {}", header.place(source)));
    }
    lines.extend(expectation.details.iter().cloned());
    if let Some(object) = expectation.objects.first() {
        let at = expectation.broken.first().map_or(footer.end, |(from, _)| *from);
        lines.push(format!("next: simlet why {object} --at {}", at_flag(rounded_up(at))));
    }
    lines
}

/// A flag in whole seconds must not name a moment before the one that is meant.
fn rounded_up(time: Time) -> Time {
    if time.truncated_to_second() == time { time } else { Time::from_secs(time.as_secs() + 1) }
}

fn passed_over(text: &mut String, header: &Header, style: &Style) {
    if header.passed_over.is_empty() {
        return;
    }
    let kinds = header.passed_over.iter().map(|(kind, number)| format!("{number} {kind}"));
    let line = format!("not simulated: {}", kinds.collect::<Vec<_>>().join(", "));
    text.push('\n');
    for line in wrap(&line, style.width.saturating_sub(2)) {
        let _ = writeln!(text, "  {}", style.paint(Paint::Dim, &line));
    }
}
