//! Expectations, and what becomes of them while a run goes on.

use cel::{Context, Value};

use crate::kernel::{Duration, Time};
use crate::manifest::Node;
use crate::model::Source;
use crate::trace::{Expectation, Share};

use super::condition::Condition;
use super::file::Reading;
use super::read::{Fields, Problems};
use super::values;

/// What is expected.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) name: String,
    pub(super) condition: Condition,
    pub(super) check: Check,
    pub(super) source: Source,
    /// In which part of the seeds it is expected; None: in all.
    share: Option<Share>,
}

/// When it must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// At this moment.
    At(Time),
    /// At some moment between the two.
    Within { from: Time, until: Time },
    /// At every moment between the two; None: to the end.
    Always { from: Time, until: Option<Time> },
    /// At no moment between the two.
    Never { from: Time, until: Option<Time> },
    /// At the end.
    End,
}

impl Expected {
    pub(super) fn read(node: &Node<'_>, path: &str, reading: &mut Reading<'_>) -> Option<Expected> {
        let source = reading.source_of(node);
        let mut fields = Fields::new(node, path, reading.problems)?;
        let name = fields.text("name", reading.problems);
        let (at, within) = (fields.get("at"), fields.get("within"));
        let (always, never, that) = (fields.get("always"), fields.get("never"), fields.get("that"));
        let time = |field: &'static str, node: Option<&Node<'_>>, reading: &mut Reading<'_>| {
            let node = node?;
            values::duration(node, &format!("{path}.{field}"), reading.problems)
        };
        let at_time = time("at", at, reading);
        let within_time = time("within", within, reading);
        let after = fields.get("after");
        let after = time("after", after, reading).unwrap_or_default();
        let until = fields.get("until");
        let until = time("until", until, reading).map(|until| Time::ZERO + until);
        let share = fields.fields("share", reading.problems);
        let share = share.and_then(|share| read_share(share, reading.problems));
        let span = fields.span();
        fields.end(reading.problems);
        let from = Time::ZERO + after;
        let (field, text, check) = match (always, never, that) {
            (Some(text), None, None) => ("always", text, Check::Always { from, until }),
            (None, Some(text), None) => ("never", text, Check::Never { from, until }),
            (None, None, Some(text)) => {
                let check = match (at_time, within_time) {
                    (Some(at), None) => Check::At(Time::ZERO + at),
                    (None, Some(within)) => Check::Within { from, until: from + within },
                    (None, None) => Check::End,
                    (Some(_), Some(_)) => {
                        reading.problems.add(span, path, "`at` and `within` exclude each other", None);
                        return None;
                    }
                };
                ("that", text, check)
            }
            _ => {
                let hint = "one of that, always, never, each with a condition".to_owned();
                reading.problems.add(span, path, "this does not say what is expected", Some(hint));
                return None;
            }
        };
        let condition = reading.condition(text, &format!("{path}.{field}"))?;
        let name = name.map_or_else(|| condition.text.clone(), str::to_owned);
        Some(Expected { name, condition, check, source, share })
    }

    /// When it must be looked at for the first time.
    pub(super) fn begins(&self) -> Time {
        match self.check {
            Check::At(at) => at,
            Check::Within { from, .. } | Check::Always { from, .. } | Check::Never { from, .. } => from,
            Check::End => Time::MAX,
        }
    }

    /// When it is decided, if not at the end.
    pub(super) fn ends(&self) -> Option<Time> {
        match self.check {
            Check::At(at) => Some(at),
            Check::Within { until, .. } => Some(until),
            Check::Always { until, .. } | Check::Never { until, .. } => until,
            Check::End => None,
        }
    }

    /// The last moment that it names.
    pub(super) fn last(&self) -> Time {
        match (self.ends(), self.begins()) {
            (Some(end), _) => end,
            (None, Time::MAX) => Time::ZERO,
            (None, begin) => begin,
        }
    }

    /// `always`, `within 2m0s`, `at 20m0s`, with its limits.
    fn when(&self) -> String {
        let (word, from, until) = match self.check {
            Check::At(at) => return format!("at {}", at.since(Time::ZERO)),
            Check::Within { from, until } => {
                let within = format!("within {}", until.since(from));
                return if from == Time::ZERO { within } else { format!("{within}, after {}", from.since(Time::ZERO)) };
            }
            Check::End => return String::new(),
            Check::Always { from, until } => ("always", from, until),
            Check::Never { from, until } => ("never", from, until),
        };
        let after = if from == Time::ZERO { String::new() } else { format!(", after {}", from.since(Time::ZERO)) };
        let until = until.map_or_else(String::new, |until| format!(", until {}", until.since(Time::ZERO)));
        format!("{word}{after}{until}")
    }
}

/// `share: {atLeast: 1%, atMost: 99%}`.
fn read_share(mut fields: Fields<'_, '_>, problems: &mut Problems) -> Option<Share> {
    let mut percent = |field: &'static str| {
        let node = fields.get(field)?;
        let number = node.as_str().and_then(|text| text.strip_suffix('%')).map(str::trim_end);
        match number.and_then(|number| number.parse().ok()).filter(|number| *number <= 100) {
            Some(number) => Some(number),
            None => {
                let hint = Some("write it as 25%".to_owned());
                problems.add(node.span.clone(), &fields.path(field), "a percentage up to 100% is expected", hint);
                None
            }
        }
    };
    let (least, most): (Option<u32>, Option<u32>) = (percent("atLeast"), percent("atMost"));
    let span = fields.span();
    let path = fields.path("atLeast");
    fields.end(problems);
    let share = Share { least: least.unwrap_or(0), most: most.unwrap_or(100), held_here: false };
    if (least, most) == (None, None) || share.least > share.most {
        problems.add(span, path.trim_end_matches(".atLeast"), "this says no part of the seeds", None);
        return None;
    }
    Some(share)
}

/// An expectation during a run.
pub(super) struct Tracker<'s> {
    pub(super) expected: &'s Expected,
    /// It needs no more looking at.
    pub(super) decided: bool,
    held: bool,
    broken: Vec<(Time, Option<Time>)>,
    worst: Option<Measured>,
    held_at: Option<Time>,
    error: String,
    pub(super) objects: Vec<String>,
}

struct Measured {
    text: String,
    /// For comparing two of them, where they are numbers or durations.
    number: Option<i128>,
}

impl<'s> Tracker<'s> {
    pub(super) fn new(expected: &'s Expected) -> Tracker<'s> {
        Tracker {
            expected,
            decided: false,
            held: !matches!(expected.check, Check::Within { .. } | Check::At(_) | Check::End),
            broken: Vec::new(),
            worst: None,
            held_at: None,
            error: String::new(),
            objects: Vec::new(),
        }
    }

    /// Looks at the expectation `now`. True if it has just become broken.
    pub(super) fn look(&mut self, now: Time, context: &Context<'_, '_>) -> bool {
        if self.decided || now < self.expected.begins() {
            return false;
        }
        self.decide(now, context)
    }

    /// The run is over: what was to be looked at later is looked at now. True if it is broken.
    pub(super) fn look_at_the_end(&mut self, now: Time, context: &Context<'_, '_>) -> bool {
        if self.decided || (self.expected.begins() != Time::MAX && self.expected.ends().is_none()) {
            return false;
        }
        if self.expected.check != Check::End {
            self.error = format!("the run ended at +{}, before this was decided", now.since(Time::ZERO));
            self.held = false;
            self.decided = true;
            return true;
        }
        self.decide(now, context)
    }

    fn decide(&mut self, now: Time, context: &Context<'_, '_>) -> bool {
        let holds = match self.expected.condition.holds(context) {
            Ok(holds) => {
                self.error.clear();
                holds
            }
            // A field that is not there yet may come; what must hold at every moment may not wait for it.
            Err(error) => {
                self.error = error;
                if matches!(self.expected.check, Check::Always { .. } | Check::Never { .. }) {
                    self.held = false;
                    self.decided = true;
                    self.broken.push((now, None));
                    return true;
                }
                false
            }
        };
        let was_broken = self.broken.last().is_some_and(|(_, until)| until.is_none());
        match self.expected.check {
            Check::Always { .. } | Check::Never { .. } => {
                let good = holds == matches!(self.expected.check, Check::Always { .. });
                self.measure(context);
                if good {
                    self.close(now);
                    false
                } else {
                    self.held = false;
                    if !was_broken {
                        self.broken.push((now, None));
                    }
                    !was_broken
                }
            }
            Check::Within { until, .. } => {
                if holds {
                    self.held = true;
                    self.held_at = Some(now);
                    self.decided = true;
                    self.close(now);
                    return false;
                }
                self.measure(context);
                if now >= until {
                    self.decided = true;
                    self.broken.push((now, None));
                    return true;
                }
                false
            }
            Check::At(_) | Check::End => {
                self.held = holds;
                self.measure(context);
                self.decided = true;
                if !holds {
                    self.broken.push((now, None));
                }
                !holds
            }
        }
    }

    /// The time in which it must hold is over.
    pub(super) fn end(&mut self, now: Time) {
        if matches!(self.expected.check, Check::Always { .. } | Check::Never { .. }) {
            self.close(now);
            self.decided = true;
        }
    }

    fn close(&mut self, now: Time) {
        if let Some((_, until @ None)) = self.broken.last_mut() {
            *until = Some(now);
        }
    }

    /// Notes what the left side of a comparison is, and keeps the worst.
    fn measure(&mut self, context: &Context<'_, '_>) {
        let Some((left, _)) = self.expected.condition.measured(context) else { return };
        let number = match &left {
            Value::Int(number) => Some(i128::from(*number)),
            Value::UInt(number) => Some(i128::from(*number)),
            Value::Duration(length) => length.num_nanoseconds().map(i128::from),
            _ => None,
        };
        let worse = match (&self.worst, self.expected.condition.wants_more(), number) {
            (Some(worst), Some(true), Some(number)) => worst.number.is_none_or(|old| number < old),
            (Some(worst), Some(false), Some(number)) => worst.number.is_none_or(|old| number > old),
            _ => true,
        };
        if worse {
            self.worst = Some(Measured { text: show(&left), number });
        }
    }

    /// The result, in a run that ended at `end`.
    pub(super) fn result(self, end: Time) -> Expectation {
        let worst = self.worst.map(|worst| worst.text);
        let lasting = |length: Duration| Duration::from_millis(length.as_millis());
        let measured = match (self.expected.check, self.held, worst) {
            (Check::Within { .. }, true, _) => {
                let at = self.held_at.unwrap_or(end).since(Time::ZERO);
                format!("at +{}", lasting(at))
            }
            (Check::Always { .. } | Check::Never { .. }, _, Some(worst)) => format!("worst {worst}"),
            (_, _, Some(worst)) => format!("measured {worst}"),
            (_, _, None) => String::new(),
        };
        let held_here = self.held && self.error.is_empty();
        let share = self.expected.share.map(|share| Share { held_here, ..share });
        let measured = match share {
            Some(share) if held_here => format!("holds in this seed; expected in {}", share.text()),
            Some(share) => format!("does not hold in this seed; expected in {}", share.text()),
            None => measured,
        };
        Expectation {
            name: self.expected.name.clone(),
            when: self.expected.when(),
            text: self.expected.condition.text.clone(),
            source: Some(self.expected.source),
            held: held_here || (share.is_some() && self.error.is_empty()),
            measured,
            broken: if share.is_some() { Vec::new() } else { self.broken },
            error: self.error,
            objects: self.objects,
            details: Vec::new(),
            share,
        }
    }
}

/// A value as people write it.
fn show(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::String(text) => format!("\"{text}\""),
        Value::Duration(length) => {
            let nanos = length.num_nanoseconds().unwrap_or(0).max(0) as u64;
            Duration::from_millis(nanos / 1_000_000).to_string()
        }
        Value::List(items) => format!("a list of {}", items.len()),
        Value::Null => "null".to_owned(),
        _ => "an object".to_owned(),
    }
}
