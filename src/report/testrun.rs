//! What `simlet test` prints: a line a scenario, the failures again at the end with their evidence, a summary; and annotations
//! for GitHub.

use std::fmt::Write as _;

use crate::trace::{Expectation, Footer, Header};

use super::story::{evidence, title};
use super::style::{Paint, Style, count, wrap};

/// A scenario that was run, under one or several seeds.
#[derive(Clone, Debug)]
pub struct TestRun {
    /// The header of the first run that failed, else of the first run.
    pub header: Header,
    /// The footer of the same run.
    pub footer: Footer,
    /// The file, as the user named it.
    pub file: String,
    /// How many seeds were run, and how many held.
    pub seeds: usize,
    pub held: usize,
    /// The first lines of its story that explain a failure; may be empty.
    pub story: Vec<super::story::Line>,
}

impl TestRun {
    /// True if every expectation held under every seed.
    pub fn passed(&self) -> bool {
        self.held == self.seeds && self.failed().next().is_none() && self.footer.invariants.is_empty()
    }

    fn failed(&self) -> impl Iterator<Item = &Expectation> {
        self.footer.expectations.iter().filter(|expectation| !expectation.held)
    }

    fn name(&self) -> &str {
        &self.header.name
    }
}

/// The line of one scenario, as soon as it is there; `wall` on terminals only.
pub fn line(run: &TestRun, wall: Option<std::time::Duration>, style: &Style) -> String {
    let total = run.footer.expectations.len();
    let failed = run.failed().count();
    let verdict = if run.passed() { style.paint(Paint::Good, "PASS") } else { style.paint(Paint::Bad, "FAIL") };
    let expectations = if failed == 0 { count(total, "expectation") } else { format!("{} of {total}", total - failed) };
    let seeds = match (run.seeds, run.held) {
        (0 | 1, _) => String::new(),
        (seeds, held) if seeds == held => count(seeds, "seed"),
        (seeds, held) => format!("{held} of {seeds} seeds hold"),
    };
    let wall = wall.map(|wall| format!("{:.2}s", wall.as_secs_f64())).unwrap_or_default();
    let text = format!("    {verdict}  {:<28} {expectations:<16}  {seeds:<20} {wall}", run.name());
    let mut text = format!("{}\n", text.trim_end());
    // A part of the seeds is a result worth seeing, even where it is the expected one.
    for expectation in run.footer.expectations.iter().filter(|each| each.held && each.share.is_some()) {
        let told = format!("{}: {}", expectation.name, expectation.measured);
        for part in wrap(&told, style.width.saturating_sub(10).max(24)) {
            let _ = writeln!(text, "          {part}");
        }
    }
    text
}

/// What follows the lines: the failures with their evidence, and the summary.
pub fn summary(runs: &[TestRun], style: &Style) -> String {
    let mut text = String::new();
    let rule = format!("{}\n", "─".repeat(style.width.min(80)));
    for run in runs.iter().filter(|run| !run.passed()) {
        text.push_str(&rule);
        failure(&mut text, run, style);
    }
    text.push_str(&rule);
    let failed = runs.iter().filter(|run| !run.passed()).count();
    let seeds: usize = runs.iter().map(|run| run.seeds.max(1)).sum();
    let mut parts = vec![count(runs.len(), "scenario")];
    if seeds != runs.len() {
        parts.push(count(seeds, "run"));
    }
    parts.push(if failed == 0 {
        style.paint(Paint::Good, "all passed")
    } else {
        style.paint(Paint::Bad, &format!("{failed} failed"))
    });
    if let Some(first) = runs.first() {
        parts.push(format!("Kubernetes {} rules", first.header.kubernetes));
        if runs.len() == 1 && first.seeds <= 1 {
            parts.push(format!("digest {:016x}", first.footer.digest));
        }
    }
    let _ = writeln!(text, "{}", parts.join(" · "));
    text
}

fn failure(text: &mut String, run: &TestRun, style: &Style) {
    let _ = writeln!(text, "{}  {}", style.paint(Paint::Bad, "FAIL"), run.name());
    for line in &run.story {
        let why = if line.why.is_empty() { String::new() } else { format!("  {}", line.why) };
        let told = format!("{:>9}  {}{why}", super::style::moment(line.time), line.what);
        let _ = writeln!(text, "      {}", super::style::cut(&told, style.width.saturating_sub(6)));
    }
    let mut entry = |label: &str, words: &str| {
        for (at, part) in wrap(words, style.width.saturating_sub(14).max(24)).iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            let _ = writeln!(text, "      {label:<8}{part}");
        }
    };
    for (at, expectation) in run.failed().enumerate() {
        let place = expectation.source.map_or(run.file.clone(), |source| run.header.place(source));
        entry(if at == 0 { "where" } else { "and" }, &place);
        entry("expect", &title(expectation));
        if run.seeds > 1 && expectation.share.is_none() {
            let failed = run.seeds - run.held;
            entry("seeds", &format!("broken in {failed} of {} seeds; first seed {}", run.seeds, run.header.seed));
        }
        for line in evidence(&run.header, &run.footer, expectation) {
            match line.split_once(": ") {
                Some(("next", command)) => {
                    let seed = if run.seeds > 1 { format!(" --seed {}", run.header.seed) } else { String::new() };
                    entry("next", &format!("{command} {}{seed}", run.file));
                }
                _ if line.starts_with("at ") => {}
                _ => match line.strip_prefix("broken ") {
                    Some(rest) => entry("broken", rest),
                    None => entry("", &line),
                },
            }
        }
    }
    for invariant in &run.footer.invariants {
        entry("simlet", &format!("broke an invariant of its own: {invariant}"));
    }
}

/// GitHub's annotations, one line a failed expectation, at the line where it is written.
pub fn github(runs: &[TestRun]) -> String {
    let mut text = String::new();
    for run in runs {
        for expectation in run.failed() {
            let (file, line) = match expectation.source {
                Some(source) => {
                    let file = run.header.sources.get(source.file as usize);
                    (file.map_or(run.file.as_str(), |file| file.name.as_str()), source.line.max(1))
                }
                None => (run.file.as_str(), 1),
            };
            let lines = evidence(&run.header, &run.footer, expectation);
            let _ = writeln!(
                text,
                "::error file={},line={line},title={}::{}",
                escaped(file, true),
                escaped(&format!("{}: {}", run.name(), title(expectation)), true),
                escaped(&lines.join("\n"), false),
            );
        }
    }
    text
}

/// As the runner wants it: <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>.
pub(super) fn escaped(text: &str, property: bool) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if property { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::sample::zone_outage;
    use super::*;

    fn runs() -> Vec<TestRun> {
        let sample = zone_outage(1);
        let failing = TestRun {
            header: sample.header.clone(),
            footer: sample.footer.clone(),
            file: "ci/zone-outage.yaml".to_owned(),
            seeds: 50,
            held: 41,
            story: Vec::new(),
        };
        let mut passing = failing.clone();
        passing.header.name = "drain-one-node".to_owned();
        passing.footer.expectations.truncate(1);
        passing.held = 50;
        vec![passing, failing]
    }

    #[test]
    fn lines_and_summary_read_like_a_test_runner() {
        let runs = runs();
        let lines: String = runs.iter().map(|run| line(run, None, &Style::PLAIN)).collect();
        insta::assert_snapshot!(format!("{lines}{}", summary(&runs, &Style::PLAIN)), @r#"
            PASS  drain-one-node               1 expectation     50 seeds
            FAIL  zone-outage                  1 of 2            41 of 50 seeds hold
        ────────────────────────────────────────────────────────────────────────────────
        FAIL  zone-outage
              where   zone-outage.yaml:61
              expect  always, after 2m endpoints("checkout").ready >= 2
              seeds   broken in 9 of 50 seeds; first seed 7
              broken  from +6:52 to +12:29, worst 1 ready for 5m37s
              next    simlet why pod/checkout-7f9c-000 --at 6m53s ci/zone-outage.yaml
                      --seed 7
        ────────────────────────────────────────────────────────────────────────────────
        2 scenarios · 100 runs · 1 failed · Kubernetes 1.36 rules
        "#);
    }

    #[test]
    fn annotations_stand_at_the_line_of_the_expectation() {
        insta::assert_snapshot!(github(&runs()), @r#"::error file=zone-outage.yaml,line=61,title=zone-outage%3A always%2C after 2m endpoints("checkout").ready >= 2::broken from +6:52 to +12:29, worst 1 ready for 5m37s%0Aat zone-outage.yaml:61%0Anext: simlet why pod/checkout-7f9c-000 --at 6m53s"#);
    }
}
