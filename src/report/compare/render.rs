//! A comparison for the terminal, as Markdown and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::kernel::Duration;

use super::super::style::{Paint, Style, count, cut, length, table, thousands, three_figures, wrap};
use super::{Beside, Comparison, PERCENTS, Row, Tolerance, Verdict};

impl Verdict {
    /// As tables and JSON write it; empty where nothing is asked.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Agrees => "agrees",
            Verdict::Differs => "differs",
            Verdict::Unclear => "unclear",
            Verdict::Unjudged => "",
        }
    }
}

/// For the terminal, in 80 columns.
pub fn text(comparison: &Comparison, style: &Style) -> String {
    let mut text = String::new();
    for (letter, side) in ["A", "B"].iter().zip(0..) {
        let name = cut(&comparison.names[side], 60);
        let _ = writeln!(text, "{letter}  {}  {}", style.paint(Paint::Bold, &name), runs(comparison, side));
    }
    text.push('\n');
    let mut rows = vec![["stage", "n A", "n B", "", "A", "B", "A to B", "95 % sure", ""].map(str::to_owned).to_vec()];
    for row in &comparison.rows {
        let counts = row.counts.map(|count| thousands(count as u64));
        if row.percentiles.is_empty() {
            let only = if row.counts[0] > 0 { "only in A" } else { "only in B" };
            let mut cells = vec![row.stage.as_str().to_owned(), counts[0].clone(), counts[1].clone()];
            cells.extend(["", "", "", ""].map(str::to_owned));
            cells.push(only.to_owned());
            rows.push(cells);
        }
        for (at, (beside, percent)) in row.told().enumerate() {
            let first = |text: &str| if at == 0 { text.to_owned() } else { String::new() };
            let verdict = match beside.verdict {
                Verdict::Agrees => style.paint(Paint::Good, "agrees"),
                Verdict::Differs => style.paint(Paint::Bad, "differs"),
                Verdict::Unclear => style.paint(Paint::Warn, "unclear"),
                Verdict::Unjudged => String::new(),
            };
            rows.push(vec![
                first(row.stage.as_str()),
                first(&counts[0]),
                first(&counts[1]),
                format!("p{percent}"),
                three_figures(beside.values[0]),
                three_figures(beside.values[1]),
                beside.relation(),
                bounds(beside),
                verdict,
            ]);
        }
    }
    if comparison.rows.is_empty() {
        text.push_str("no pod was started on either side\n");
    } else {
        text.push_str(&table(&rows, 2, &[1, 2, 4, 5, 6, 7]));
    }
    if !comparison.differences.is_empty() {
        let mut rows = vec![["differs in", "", "A", "B"].map(str::to_owned).to_vec()];
        for differs in &comparison.differences {
            let values = differs.values.clone();
            let words = cut(&differs.what.words(), 36);
            rows.push([cut(&differs.subject, 26), words].into_iter().chain(values).collect());
        }
        let _ = write!(text, "\n{}", table(&rows, 2, &[]));
    }
    let (words, paint) = (summary(comparison), if comparison.agrees() { Paint::Good } else { Paint::Bad });
    text.push('\n');
    for line in wrap(&words, style.width) {
        let _ = writeln!(text, "{}", style.paint(paint, &line));
    }
    text
}

/// As a Markdown document, with the intervals of both sides.
pub fn markdown(comparison: &Comparison) -> String {
    let escaped = |text: &str| text.replace('|', "\\|");
    let mut text = String::new();
    let names = [0, 1].map(|side| escaped(&comparison.names[side]));
    let _ = writeln!(text, "# {} beside {}\n\n{}\n", names[0], names[1], escaped(&summary(comparison)));
    for side in [0, 1] {
        let _ = writeln!(text, "- {}: {}, {}", ["A", "B"][side], names[side], runs(comparison, side));
    }
    text.push_str("\nIn brackets, between what the value lies with 95 % confidence.\n\n");
    text.push_str(
        "| stage | n A | n B | | A | B | A to B | |\n| --- | ---: | ---: | --- | ---: | ---: | ---: | --- |\n",
    );
    for row in &comparison.rows {
        let counts = row.counts.map(|count| thousands(count as u64));
        if row.percentiles.is_empty() {
            let only = if row.counts[0] > 0 { "only in A" } else { "only in B" };
            let _ = writeln!(text, "| {} | {} | {} | | | | | {only} |", row.stage.as_str(), counts[0], counts[1]);
        }
        for (at, (beside, percent)) in row.told().enumerate() {
            let sides = [0, 1].map(|side| match beside.intervals[side].bounds {
                Some((low, high)) => {
                    let [value, low, high] = [beside.values[side], low, high].map(three_figures);
                    format!("{value} ({low} to {high})")
                }
                None => three_figures(beside.values[side]),
            });
            let relation = match bounds(beside) {
                sure if sure.is_empty() => beside.relation(),
                sure => format!("{} ({sure})", beside.relation()),
            };
            let first = if at == 0 { [row.stage.as_str(), &counts[0], &counts[1]] } else { ["", "", ""] };
            let verdict = match beside.verdict {
                Verdict::Differs => "**differs**",
                other => other.as_str(),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | p{percent} | {} | {} | {relation} | {verdict} |",
                first[0], first[1], first[2], sides[0], sides[1]
            );
        }
    }
    if !comparison.differences.is_empty() {
        text.push_str("\n| differs in | what | A | B |\n| --- | --- | --- | --- |\n");
        for differs in &comparison.differences {
            let words = escaped(&differs.what.words());
            let [a, b] = &differs.values;
            let _ = writeln!(text, "| {} | {words} | {a} | {b} |", escaped(&differs.subject));
        }
    }
    text
}

/// As JSON; lengths in nanoseconds, differences in percent.
pub fn json(comparison: &Comparison) -> String {
    let nanos = |length: Duration| length.as_nanos();
    let percent = |thousandths: i64| thousandths as f64 / 10.0;
    let side = |side: usize| json!({"name": comparison.names[side], "runs": comparison.runs[side]});
    let beside = |(beside, name): (&Beside, u64)| {
        let interval = |side: usize| beside.intervals[side].bounds.map(|(low, high)| [nanos(low), nanos(high)]);
        let verdict = Some(beside.verdict.as_str()).filter(|word| !word.is_empty());
        json!({
            "percentile": name,
            "a_ns": nanos(beside.values[0]),
            "b_ns": nanos(beside.values[1]),
            "a_interval_ns": interval(0),
            "b_interval_ns": interval(1),
            "difference_percent": beside.difference.map(percent),
            "difference_interval_percent": beside.bounds.map(|(low, high)| [percent(low), percent(high)]),
            "verdict": verdict,
        })
    };
    let stage = |row: &Row| {
        let percentiles: Vec<Value> = row.percentiles.iter().zip(PERCENTS).map(beside).collect();
        json!({"stage": row.stage.as_str(), "a_count": row.counts[0], "b_count": row.counts[1], "percentiles": percentiles})
    };
    let differences = comparison.differences.iter().map(|differs| {
        json!({"object": differs.subject, "fact": differs.what.words(), "a": differs.values[0], "b": differs.values[1]})
    });
    let whole = json!({
        "a": side(0),
        "b": side(1),
        "tolerance": in_words(comparison.tolerance),
        "agrees": comparison.agrees(),
        "stages": comparison.rows.iter().map(stage).collect::<Vec<_>>(),
        "differences": differences.collect::<Vec<_>>(),
    });
    format!("{whole:#}\n")
}

fn runs(comparison: &Comparison, side: usize) -> String {
    count(comparison.runs[side], "run")
}

/// The verdict in one sentence.
fn summary(comparison: &Comparison) -> String {
    let stages = |verdict| {
        let rows = comparison.outside().filter(move |row| row.verdict() == verdict);
        rows.map(|row| row.stage.as_str()).collect::<Vec<_>>()
    };
    let (differ, unclear) = (stages(Verdict::Differs), stages(Verdict::Unclear));
    let (judged, within) = (comparison.judged(), in_words(comparison.tolerance));
    let mut words = match (judged, differ.len() + unclear.len()) {
        (0, _) => "no stage is on both sides".to_owned(),
        (_, 0) => format!("{} within {within}", all_agree(judged)),
        (_, apart) => format!("{} of {judged} stages agree within {within}", judged - apart),
    };
    for (what, stages) in [("apart", differ), ("apart, perhaps by chance", unclear)] {
        if !stages.is_empty() {
            let _ = write!(words, "; {what}: {}", stages.join(", "));
        }
    }
    let facts = comparison.differences.len();
    if facts > 0 {
        let verb = if facts == 1 { "differs" } else { "differ" };
        let _ = write!(words, "; {} {verb}", count(facts, "fact"));
    } else if comparison.runs.iter().all(|runs| *runs > 0) {
        words.push_str("; no fact differs");
    }
    words
}

fn all_agree(judged: usize) -> String {
    if judged == 1 { "the stage on both sides agrees".to_owned() } else { format!("all {judged} stages agree") }
}

/// `p50 10 %, p90 25 % or 5ms`.
fn in_words(tolerance: Tolerance) -> String {
    let judged = PERCENTS.iter().zip(tolerance.per_thousand).filter_map(|(percent, allowed)| {
        let allowed = allowed?;
        let tenths = if allowed % 10 == 0 { String::new() } else { format!(".{}", allowed % 10) };
        Some(format!("p{percent} {}{tenths} %", allowed / 10))
    });
    let judged: Vec<String> = judged.collect();
    if judged.is_empty() {
        return "no tolerance".to_owned();
    }
    let least = if tolerance.least.is_zero() { String::new() } else { format!(" or {}", length(tolerance.least)) };
    format!("{}{least}", judged.join(", "))
}

/// A relation in percent, with a decimal where it matters.
fn signed(thousandths: i64) -> String {
    let size = thousandths.unsigned_abs();
    let sign = if thousandths < 0 { "-" } else { "+" };
    match size {
        0 => "0".to_owned(),
        1..100 => format!("{sign}{}.{}", size / 10, size % 10),
        100..9_995 => format!("{sign}{}", (size + 5) / 10),
        _ => format!("{sign}{}x", (size + 500) / 1000),
    }
}

impl Beside {
    /// The first value in relation to the second: `+12%`; empty if the second is zero.
    pub fn relation(&self) -> String {
        self.difference.map(|difference| with_unit(signed(difference))).unwrap_or_default()
    }
}

/// Beyond ten times as much a bound says only that nothing is known.
fn bounds(beside: &Beside) -> String {
    let short = |thousandths: i64| if thousandths < 9_995 { signed(thousandths) } else { ">999".to_owned() };
    let between = |(low, high)| format!("{} to {}%", short(low), short(high));
    beside.bounds.map(between).unwrap_or_default()
}

fn with_unit(number: String) -> String {
    if number.ends_with('x') { number } else { format!("{number}%") }
}
