//! How reports write times, amounts and tables, on a terminal and elsewhere.

use std::fmt::Write as _;

use crate::kernel::{Duration, Time};

/// How a text is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Style {
    /// With ANSI colours; they help and carry nothing that the words don't say.
    pub color: bool,
    /// Columns.
    pub width: usize,
    /// The wall time of the run, for terminals only: the same input must give the same bytes elsewhere.
    pub wall: Option<std::time::Duration>,
}

impl Style {
    /// For files and pipes: 80 columns, no colour, no wall time.
    pub const PLAIN: Style = Style { color: false, width: 80, wall: None };

    pub(super) fn paint(&self, ansi: Paint, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{}m{text}\x1b[0m", ansi.code()) } else { text.to_owned() }
    }
}

impl Default for Style {
    fn default() -> Style {
        Style::PLAIN
    }
}

/// A colour by what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Good,
    Bad,
    Warn,
    Dim,
    Bold,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Paint::Good => "32",
            Paint::Bad => "1;31",
            Paint::Warn => "33",
            Paint::Dim => "2",
            Paint::Bold => "1",
        }
    }
}

/// A moment of the run: `+6:52`, `+1:02:03`. Cut to the second.
pub fn moment(time: Time) -> String {
    format!("+{}", clock(time))
}

/// A moment without the sign: `6:52`.
pub fn clock(time: Time) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// A moment as the command line takes it: `6m52s`.
pub fn at_flag(time: Time) -> String {
    Duration::from_secs(time.as_secs()).to_string()
}

/// A length of time with two or three figures that count: `310µs`, `45ms`, `9.8s`, `48s`, `1m30s`, `2h5m`.
pub fn length(length: Duration) -> String {
    let nanos = length.as_nanos();
    let tenths = |unit: u64| {
        let tenths = (nanos + unit / 20) / (unit / 10);
        if tenths.is_multiple_of(10) || tenths >= 1000 {
            format!("{}", (nanos + unit / 2) / unit)
        } else {
            format!("{}.{}", tenths / 10, tenths % 10)
        }
    };
    if nanos == 0 {
        return "0s".to_owned();
    }
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..999_500 => format!("{}µs", (nanos + 500) / 1_000),
        999_500..999_500_000 => format!("{}ms", (nanos + 500_000) / 1_000_000),
        999_500_000..59_950_000_000 => format!("{}s", tenths(1_000_000_000)),
        _ => {
            let seconds = (nanos + 500_000_000) / 1_000_000_000;
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            match (hours, minutes, seconds) {
                (0, minutes, 0) => format!("{minutes}m"),
                (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
                (hours, 0, _) => format!("{hours}h"),
                (hours, minutes, _) => format!("{hours}h{minutes}m"),
            }
        }
    }
}

/// A length of time with three figures, for tables in which lengths are compared: `7.81ms`, `15.2ms`, `188ms`, `53.5s`, `3m1s`.
pub fn three_figures(whole: Duration) -> String {
    let nanos = whole.as_nanos();
    for (unit, name) in [(1_000, "µs"), (1_000_000, "ms"), (1_000_000_000, "s")] {
        for decimals in [2, 1, 0] {
            let step = unit / 10u64.pow(decimals);
            let steps = (nanos + step / 2) / step;
            let fits = steps < 1000 && (name != "s" || nanos < 60_000_000_000);
            if fits && steps * 10 >= 10u64.pow(decimals) {
                let (whole, rest) = (steps / 10u64.pow(decimals), steps % 10u64.pow(decimals));
                let width = decimals as usize;
                return if width == 0 { format!("{whole}{name}") } else { format!("{whole}.{rest:0width$}{name}") };
            }
        }
    }
    length(whole)
}

/// An age as kubectl prints it.
///
/// Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/duration/duration.go (HumanDuration).
pub fn age(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let with_rest = |whole: u64, unit: &str, rest: u64, rest_unit: &str| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{rest_unit}") }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => with_rest(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => with_rest(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => with_rest(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => with_rest(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// `1 pod`, `3 pods`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        return format!("1 {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !noun.ends_with("ay") && !noun.ends_with("ey") => {
            format!("{} {stem}ies", thousands(number as u64))
        }
        _ => format!("{} {noun}s", thousands(number as u64)),
    }
}

/// `12,345`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A large number in short: `214`, `12.3k`, `1.9M`.
pub fn short_count(number: u64) -> String {
    for (unit, name) in [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")] {
        if number >= unit {
            let tenths = number / (unit / 10);
            return format!("{}.{}{name}", tenths / 10, tenths % 10);
        }
    }
    number.to_string()
}

/// The columns that a text takes. Every character of our reports takes one.
pub(super) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The text cut to so many columns, with `…` where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// The text in lines of at most `width` columns, broken at spaces; a word that is longer stays whole, as names are there to
/// be copied.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for paragraph_word in text.split(' ') {
        let last = lines.last_mut().expect("there is always a line");
        if !last.is_empty() && columns(last) + 1 + columns(paragraph_word) > width {
            last.truncate(last.trim_end().len());
            lines.push(paragraph_word.to_owned());
        } else {
            if !last.is_empty() || paragraph_word.is_empty() {
                last.push(' ');
            }
            last.push_str(paragraph_word);
        }
    }
    lines
}

/// A table with its columns two (or `gap`) spaces apart, as kubectl's; the last column isn't padded. Columns in `right` are
/// aligned to the right.
pub(super) fn table(rows: &[Vec<String>], gap: usize, right: &[usize]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            if widths.len() <= at {
                widths.push(0);
            }
            widths[at] = widths[at].max(columns(cell));
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let padding = widths[at] - columns(cell);
            if right.contains(&at) {
                line.extend(std::iter::repeat_n(' ', padding));
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', padding));
            }
            line.extend(std::iter::repeat_n(' ', gap));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The nearest of `names` to `word` by edits, nearest first, at most `limit`, none that have little in common with it.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>, limit: usize) -> Vec<&'a str> {
    let mut scored: Vec<(usize, &str)> = names
        .map(|name| {
            let contains = name.contains(word) || word.contains(name);
            (if contains { 0 } else { distance(word, name) }, name)
        })
        .filter(|(distance, name)| *distance <= word.len().max(name.len()) / 2)
        .collect();
    scored.sort();
    scored.dedup();
    scored.into_iter().take(limit).map(|(_, name)| name).collect()
}

/// Levenshtein's distance, over bytes.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_lengths_are_short_and_exact_enough() {
        assert_eq!(moment(Time::from_secs(412)), "+6:52");
        assert_eq!(moment(Time::from_secs(3723)), "+1:02:03");
        assert_eq!(at_flag(Time::from_nanos(412_900_000_000)), "6m52s");
        for (nanos, text) in [
            (0, "0s"),
            (310_000, "310µs"),
            (45_400_000, "45ms"),
            (999_600_000, "1s"),
            (9_840_000_000, "9.8s"),
            (48_000_000_000, "48s"),
            (59_960_000_000, "1m"),
            (90_000_000_000, "1m30s"),
            (7_500_000_000_000, "2h5m"),
        ] {
            assert_eq!(length(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn lengths_that_are_compared_have_three_figures() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (100_000, "100µs"),
            (999_600, "1.00ms"),
            (7_812_000, "7.81ms"),
            (15_250_000, "15.3ms"),
            (188_400_000, "188ms"),
            (8_520_000_000, "8.52s"),
            (59_960_000_000, "60.0s"),
            (181_000_000_000, "3m1s"),
        ] {
            assert_eq!(three_figures(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (3_601, "60m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (86_400, "24h"),
            (200_000, "2d7h"),
            (1_000_000, "11d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn counts_have_their_plural() {
        assert_eq!(count(1, "pod"), "1 pod");
        assert_eq!(count(71, "pod"), "71 pods");
        assert_eq!(count(2, "retry"), "2 retries");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(short_count(1_934_567), "1.9M");
    }

    #[test]
    fn nearest_names_come_first_and_strangers_not_at_all() {
        let names = ["checkout-7f9c-q8d", "checkout-7f9c-x2x", "catalog-1", "db-0"];
        assert_eq!(nearest("checkout-7f9c-q8", names.into_iter(), 2), ["checkout-7f9c-q8d", "checkout-7f9c-x2x"]);
        assert!(nearest("zzz", names.into_iter(), 2).is_empty());
    }
}
