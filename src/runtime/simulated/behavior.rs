//! What the programs in containers do: rules that match containers, and behaviours in a scenario's words.
//!
//! The first rule that matches counts. What a behaviour leaves open, and everything about a container that no rule
//! matches, follows from its command (see `shell`) if that is understood. Else the program runs for ever, ready at once,
//! and dies of SIGTERM with 143; but a plain init container, and a container of a pod whose restart policy is not Always,
//! ends with 0 after 1 s, because it is there to end. The kubelet says which those are by two annotations of the container's
//! configuration, [`CONTAINER_TYPE`] and [`RESTART_POLICY`].

use std::sync::Arc;

use crate::kernel::{Distribution, Duration};
use crate::model::{Labels, MilliCpu, Name, Selector, Text, glob, image};

use crate::protocol::stats::Line;

pub use crate::protocol::cri::{CONTAINER_TYPE, RESTART_POLICY};

/// One entry of a scenario's `behaviors`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    pub matcher: Match,
    pub behavior: Arc<Behavior>,
}

/// Which containers a rule is for: all that it names must fit. Empty names and selectors fit everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    pub namespace: Name,
    /// Of the pod's labels.
    pub labels: Selector,
    /// The pod's name, with `*`.
    pub pod: Name,
    /// The container's name, with `*`.
    pub container: Name,
    /// With `*`; see [`image::matches`].
    pub image: Name,
}

/// A container, as far as rules can see it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub namespace: Name,
    pub pod: Name,
    pub labels: &'a Labels,
    pub container: Name,
    pub image: Name,
}

impl Match {
    /// True if the rule is for this container.
    pub fn matches(&self, subject: &Subject) -> bool {
        let fits = |pattern: Name, text: Name| pattern.is_empty() || glob::matches(&pattern, &text);
        fits(self.namespace, subject.namespace)
            && fits(self.container, subject.container)
            && fits(self.pod, subject.pod)
            && self.labels.matches(subject.labels)
            && (self.image.is_empty() || image::matches(&self.image, &subject.image))
    }
}

/// The behaviour of the first rule that matches.
pub fn find(rules: &[Rule], subject: &Subject) -> Option<Arc<Behavior>> {
    rules.iter().find(|rule| rule.matcher.matches(subject)).map(|rule| Arc::clone(&rule.behavior))
}

/// What a program does. Times count from the container's start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behavior {
    /// Until then probes fail: nobody listens. `None`: ready at once.
    pub startup: Option<Distribution>,
    /// How it ends, by the number of starts. `None`: as its command says.
    pub ends: Option<Ends>,
    /// Its working set; at the container's limit the kernel's OOM killer takes it.
    pub memory: Option<Growth>,
    /// It is a child process whose memory grows; another takes its place when it is killed.
    pub memory_of_child: bool,
    /// Its writable layer.
    pub disk: Option<Growth>,
    /// Its log files.
    pub logs: Option<Growth>,
    /// What it writes into volumes of its pod, by their names.
    pub volumes: Vec<(Name, Growth)>,
    /// Files in its writable layer.
    pub inodes: Option<Growth>,
    pub processes: Option<Growth>,
    /// What it uses while it runs.
    pub cpu: Option<MilliCpu>,
    /// What SIGTERM does. `None`: what its command says, else it dies of it with 143.
    pub on_term: Option<OnTerm>,
    /// Its answers to probes over time; for a probe without an entry it answers well.
    pub probes: Vec<ProbeAnswers>,
    /// From then on it answers no probe, until it is started again.
    pub hangs: Option<Distribution>,
    /// `runs: sh`: take its command for a script in which what is not understood runs for ever.
    pub runs_sh: bool,
    /// It cannot be started: the OCI runtime's words, such as `exec: "serve": executable file not found in $PATH: unknown`.
    pub cannot_start: Option<Text>,
    /// What it leaves as termination message, or (with `FallbackToLogsOnError`) as its last lines.
    pub message: Text,
}

/// How the starts of a container end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ends {
    /// The first, second, … start.
    pub starts: Vec<End>,
    /// All later ones.
    pub later: End,
}

/// How one start ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum End {
    /// It runs for ever.
    #[default]
    Never,
    /// It exits with `code`, with this probability; else it runs for ever.
    Exit { after: Distribution, code: i32, probability: f64 },
    /// The kernel's OOM killer takes it.
    Oom { after: Distribution },
}

impl Ends {
    /// Every start ends so.
    pub fn each(end: End) -> Ends {
        Ends { starts: Vec::new(), later: end }
    }

    /// The end of start number `number`, from 0.
    pub fn of_start(&self, number: u32) -> &End {
        self.starts.get(number as usize).unwrap_or(&self.later)
    }
}

/// An amount that grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// In bytes.
    pub start: u64,
    /// In bytes.
    pub per_minute: u64,
    /// It begins to grow so long after the start.
    pub from: Duration,
    /// It grows no further than this.
    pub most: Option<u64>,
}

const MINUTE: u128 = 60_000_000_000;

impl Growth {
    /// The bytes after `running` time, rounded down.
    pub fn after(&self, running: Duration) -> u64 {
        let grows = running.saturating_sub(self.from);
        let grown = u128::from(self.per_minute) * u128::from(grows.as_nanos()) / MINUTE;
        let bytes = self.start.saturating_add(u64::try_from(grown).unwrap_or(u64::MAX));
        self.most.map_or(bytes, |most| bytes.min(most.max(self.start)))
    }

    /// How it grows after `running` time, and when it will grow otherwise.
    pub fn line(&self, running: Duration) -> (Line, Option<Duration>) {
        let whole = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let amount = self.after(running);
        if running < self.from {
            return (Line::constant(whole(amount)), (self.per_minute > 0).then_some(self.from));
        }
        let stops = self.most.and_then(|most| self.reaches(most));
        if stops.is_some_and(|stops| stops <= running) {
            return (Line::constant(whole(amount)), None);
        }
        (Line { amount: whole(amount), per_minute: whole(self.per_minute) }, stops)
    }

    /// When `limit` bytes are reached, rounded up to the nanosecond; `None`: never.
    pub fn reaches(&self, limit: u64) -> Option<Duration> {
        if self.start >= limit {
            return Some(Duration::ZERO);
        }
        if self.per_minute == 0 || self.most.is_some_and(|most| most < limit) {
            return None;
        }
        let nanos = (u128::from(limit - self.start) * MINUTE).div_ceil(u128::from(self.per_minute));
        u64::try_from(nanos).ok().map(|nanos| self.from + Duration::from_nanos(nanos))
    }
}

/// What SIGTERM does.
#[derive(Clone, Debug, PartialEq)]
pub enum OnTerm {
    ExitAfter { after: Distribution, code: i32 },
    Ignore,
}

/// How a program answers one kind of probe over time.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeAnswers {
    pub probe: ProbeKind,
    /// From when, which; sorted by time. Before the first it answers well.
    pub answers: Vec<(Duration, Answer)>,
}

/// Which probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// HTTP GETs of this path; empty: of any.
    Http(Name),
    /// All exec probes.
    Exec,
    /// Of this port; 0: of any.
    Tcp(u16),
    Grpc,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Ok,
    /// This HTTP status; for other kinds than HTTP 200 to 399 is well, the rest is not.
    Status(u16),
    /// Exit code 1, connection refused, NOT_SERVING.
    Fails,
    /// No answer; for exec probes the command takes longer than any timeout.
    Hangs,
}

impl ProbeAnswers {
    /// The answer `at` this time since the start, and when it is next given another.
    pub fn at(&self, at: Duration) -> (Answer, Option<Duration>) {
        let next = self.answers.iter().map(|(from, _)| *from).find(|&from| from > at);
        let answer = self.answers.iter().take_while(|(from, _)| *from <= at).last();
        (answer.map_or(Answer::Ok, |(_, answer)| *answer), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_counts_and_everything_named_must_fit() {
        let app = |value: &str| Labels::new([("app".into(), value.into())]);
        let rule = |matcher: Match, message: &str| Rule {
            matcher,
            behavior: Arc::new(Behavior { message: message.into(), ..Behavior::default() }),
        };
        let rules = [
            rule(
                Match { labels: Selector::from_labels(&app("web")), container: "server".into(), ..Match::default() },
                "a",
            ),
            rule(Match { namespace: "shop".into(), pod: "web-*".into(), ..Match::default() }, "b"),
            rule(Match { image: "busybox:*".into(), ..Match::default() }, "c"),
        ];
        for (namespace, pod, label, container, image, expected) in [
            ("shop", "web-1", "web", "server", "web:1", Some("a")),
            ("shop", "web-1", "web", "proxy", "web:1", Some("b")),
            ("other", "web-1", "web", "proxy", "web:1", None),
            ("other", "job", "x", "main", "docker.io/library/busybox", Some("c")),
        ] {
            let labels = app(label);
            let subject = Subject {
                namespace: namespace.into(),
                pod: pod.into(),
                labels: &labels,
                container: container.into(),
                image: image.into(),
            };
            let found = find(&rules, &subject).map(|behavior| behavior.message.to_string());
            assert_eq!(found.as_deref(), expected, "{subject:?}");
        }
    }

    #[test]
    fn memory_reaches_its_limit_when_it_should() {
        let growth = Growth { start: 100, per_minute: 60, ..Growth::default() };
        assert_eq!(growth.reaches(130), Some(Duration::from_secs(30)));
        assert_eq!(growth.after(Duration::from_secs(30)), 130);
        assert_eq!(growth.reaches(100), Some(Duration::ZERO));
        assert_eq!(Growth { start: 1, ..Growth::default() }.reaches(2), None);
        let odd = Growth { per_minute: 7, ..Growth::default() };
        let at = odd.reaches(3).unwrap();
        assert_eq!((odd.after(at), odd.after(at.saturating_sub(Duration::from_nanos(1)))), (3, 2));
    }

    #[test]
    fn growth_begins_late_and_ends_at_its_most() {
        let seconds = Duration::from_secs;
        let growth = Growth { start: 10, per_minute: 600, from: seconds(5), most: Some(60) };
        for (after, bytes, per_minute, bends) in
            [(0, 10, 0, Some(5)), (5, 10, 600, Some(10)), (7, 30, 600, Some(10)), (10, 60, 0, None), (99, 60, 0, None)]
        {
            let (line, bend) = growth.line(seconds(after));
            assert_eq!((line.amount, line.per_minute, bend), (bytes, per_minute, bends.map(seconds)), "{after}");
            assert_eq!(growth.after(seconds(after)), bytes as u64);
        }
        assert_eq!(growth.reaches(61), None);
        assert_eq!(growth.reaches(60), Some(seconds(10)));
    }
}
