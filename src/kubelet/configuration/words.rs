//! Lengths of time as Go reads them, with a sign and Go's words for what is none.

use std::fmt;

use crate::kernel::Duration;

use crate::model::configuration::Problems;

/// A length of time that a file says. Kubernetes reads negative ones, and then mostly refuses them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) negative: bool,
    pub(super) length: Duration,
}

impl Length {
    /// What a field says; None where it says nothing, or nothing that is a length, which is a problem once.
    pub(super) fn of(text: &Option<String>, path: &str, problems: &mut Problems) -> Option<Length> {
        let text = text.as_deref()?;
        match Length::parse(text) {
            Ok(length) => Some(length),
            Err(message) => {
                if problems.0.iter().all(|problem| problem.path != path) {
                    problems.say(path, message);
                }
                None
            }
        }
    }

    /// Go's `time.ParseDuration`.
    pub(super) fn parse(text: &str) -> Result<Length, String> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if let Some(length) = Duration::parse_go(rest) {
            return Ok(Length { negative: negative && !length.is_zero(), length });
        }
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let number = rest.find(|c: char| !is_number(c)).unwrap_or(rest.len());
        let (digits, unit) = rest.split_at(number);
        if digits.is_empty() || !digits.contains(|c: char| c.is_ascii_digit()) {
            return Err(format!("time: invalid duration {text:?}"));
        }
        let unit: String = unit.chars().take_while(|c| !is_number(*c)).collect();
        match unit.as_str() {
            "" => Err(format!("time: missing unit in duration {text:?}")),
            "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h" => Err(format!("time: invalid duration {text:?}")),
            _ => Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        }
    }

    /// The length, and nothing for one below zero.
    pub(super) fn or_zero(self) -> Duration {
        if self.negative { Duration::ZERO } else { self.length }
    }

    /// In nanoseconds, for comparing.
    pub(super) fn nanos(self) -> i128 {
        let nanos = i128::from(self.length.as_nanos());
        if self.negative { -nanos } else { nanos }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.negative { "-" } else { "" }, self.length)
    }
}
