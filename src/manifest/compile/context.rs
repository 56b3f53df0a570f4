//! What the compilation of one object needs at hand: the epoch, the identities seen so far, what is shared, and the
//! problems found; with the checks that many fields share, in Kubernetes' words.
//!
//! Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/validation/{validation.go,field/errors.go}.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text64;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustc_hash::{FxHashMap, FxHasher};

use crate::kernel::{Duration, Time};
use crate::manifest::epoch::Epoch;
use crate::model::quantity::Quantity;
use crate::model::workload::{IntOrPercent, PodTemplate};
use crate::model::{Labels, Name, PodSpec, Source, Uid};

use super::Invalid;
use super::path::Path;

/// Where a field of the object at hand stands in the user's files. The empty text is the object itself.
pub type WhereIs<'a> = &'a dyn Fn(&str) -> Option<Source>;

/// The real identities that were read, and what they are here.
#[derive(Clone, Debug, Default)]
pub(super) struct Uids {
    by_text: FxHashMap<String, Uid>,
}

impl Uids {
    /// The identity that is written as `text`: our own as it was, any other the same each time.
    pub(super) fn read(&mut self, text: &str) -> Uid {
        if text.is_empty() {
            return Uid::NONE;
        }
        if let Some(own) = Uid::parse(text) {
            return own;
        }
        let next = Uid(Uid::FIRST_FOREIGN + self.by_text.len() as u64);
        *self.by_text.entry(text.to_owned()).or_insert(next)
    }
}

/// Specs and templates seen so far, so that equal ones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    specs: FxHashMap<u64, Vec<Arc<PodSpec>>>,
    templates: FxHashMap<u64, Vec<Arc<PodTemplate>>>,
}

impl Shared {
    /// This spec, or the equal one that was seen before.
    pub(super) fn spec(&mut self, spec: PodSpec) -> Arc<PodSpec> {
        // A cheap hash: names and images tell most specs apart, equality decides.
        let mut hasher = FxHasher::default();
        for container in spec.containers.iter().chain(spec.init_containers.iter()) {
            container.name.hash(&mut hasher);
            container.image.hash(&mut hasher);
            container.resources.requests.hash(&mut hasher);
        }
        (spec.source, spec.node_selector.clone(), spec.priority, spec.tolerations.len()).hash(&mut hasher);
        share(self.specs.entry(hasher.finish()).or_default(), spec)
    }

    /// This template, or the equal one that was seen before.
    pub(super) fn template(&mut self, template: PodTemplate) -> Arc<PodTemplate> {
        let mut hasher = FxHasher::default();
        (&template.labels, &template.annotations, Arc::as_ptr(&template.spec)).hash(&mut hasher);
        share(self.templates.entry(hasher.finish()).or_default(), template)
    }
}

fn share<T: PartialEq>(seen: &mut Vec<Arc<T>>, value: T) -> Arc<T> {
    if let Some(same) = seen.iter().find(|existing| ***existing == value) {
        return Arc::clone(same);
    }
    let value = Arc::new(value);
    seen.push(Arc::clone(&value));
    value
}

/// The compilation of one object.
pub(super) struct Context<'c> {
    pub(super) epoch: Epoch,
    pub(super) uids: &'c mut Uids,
    pub(super) shared: &'c mut Shared,
    pub(super) where_is: WhereIs<'c>,
    /// The object has a uid: an API server has stored it, and this is its dump.
    pub(super) stored: bool,
    /// Tolerations with `Gt` and `Lt` are valid.
    pub(super) comparing: bool,
    pub(super) invalid: Vec<Invalid>,
}

impl Context<'_> {
    fn say(&mut self, at: &Path<'_>, message: String) {
        self.invalid.push(Invalid { field: at.to_string(), message });
    }

    /// Where a part of a template stands. Not told of dumps, where the same template stands in a Deployment and in its
    /// ReplicaSets and must be the same.
    pub(super) fn source_of(&self, at: &Path<'_>) -> Option<Source> {
        if self.stored { None } else { (self.where_is)(&at.to_string()) }
    }

    /// `Required value`, with a detail if there is one.
    pub(super) fn required(&mut self, at: &Path<'_>, detail: &str) {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        self.say(at, message);
    }

    /// `Invalid value: <value>: <detail>`; a text is given with its quotes.
    pub(super) fn bad(&mut self, at: &Path<'_>, value: impl Display, detail: &str) {
        self.say(at, format!("Invalid value: {value}: {detail}"));
    }

    /// `Forbidden: <detail>`.
    pub(super) fn forbidden(&mut self, at: &Path<'_>, detail: &str) {
        self.say(at, format!("Forbidden: {detail}"));
    }

    /// `Duplicate value: <value>`.
    pub(super) fn duplicate(&mut self, at: &Path<'_>, value: impl Display) {
        self.say(at, format!("Duplicate value: {value}"));
    }

    /// `Not found: <value>`.
    pub(super) fn not_found(&mut self, at: &Path<'_>, value: impl Display) {
        self.say(at, format!("Not found: {value}"));
    }

    /// `Too long: may not be more than <limit> bytes`.
    pub(super) fn too_long(&mut self, at: &Path<'_>, limit: usize) {
        self.say(at, format!("Too long: may not be more than {limit} bytes"));
    }

    /// `Unsupported value: "x": supported values: "a", "b"`.
    pub(super) fn unsupported(&mut self, at: &Path<'_>, value: &str, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|word| format!("{word:?}")).collect();
        self.say(at, format!("Unsupported value: {value:?}: supported values: {}", supported.join(", ")));
    }

    /// What `text` means by `table`; a problem if it is none of its words.
    pub(super) fn word<T: Copy>(&mut self, at: &Path<'_>, text: &str, table: &[(&str, T)]) -> Option<T> {
        if let Some((_, meaning)) = table.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
        self.unsupported(at, text, &words);
        None
    }

    /// The same, where an absent or empty field has a default.
    pub(super) fn word_or<T: Copy>(
        &mut self,
        at: &Path<'_>,
        text: Option<&String>,
        default: T,
        table: &[(&str, T)],
    ) -> T {
        match text.map(String::as_str) {
            None | Some("") => default,
            Some(text) => self.word(at, text, table).unwrap_or(default),
        }
    }

    /// The same in a status, which only says where a run begins: what is no word of the table is passed over.
    pub(super) fn status_word<T: Copy>(&self, text: Option<&String>, default: T, table: &[(&str, T)]) -> T {
        let found = text.and_then(|text| table.iter().find(|(word, _)| word == text));
        found.map_or(default, |(_, meaning)| *meaning)
    }

    /// A number that may not be negative.
    pub(super) fn not_negative<T: Into<i64> + Copy>(&mut self, at: &Path<'_>, number: T) -> u64 {
        let number: i64 = number.into();
        u64::try_from(number).unwrap_or_else(|_| {
            self.bad(at, number, "must be greater than or equal to 0");
            0
        })
    }

    /// The same, for what the model counts as an `i32`.
    pub(super) fn count(&mut self, at: &Path<'_>, number: i32) -> i32 {
        if number < 0 {
            self.bad(at, number, "must be greater than or equal to 0");
        }
        number
    }

    /// A length of time in whole seconds.
    pub(super) fn seconds<T: Into<i64> + Copy>(&mut self, at: &Path<'_>, seconds: T) -> Duration {
        let seconds = self.not_negative(at, seconds);
        Duration::from_secs(seconds.min(u64::from(u32::MAX)))
    }

    /// A port number.
    pub(super) fn port(&mut self, at: &Path<'_>, port: i32) -> u16 {
        match u16::try_from(port) {
            Ok(port) if port > 0 => port,
            _ => {
                self.bad(at, port, "must be between 1 and 65535, inclusive");
                0
            }
        }
    }

    /// A quantity, rounded up to thousandths as the API server's defaulting does.
    pub(super) fn quantity(&mut self, at: &Path<'_>, text: &Text64) -> Quantity {
        match text.0.parse::<Quantity>() {
            Ok(quantity) => quantity.rounded_up_to_milli(),
            Err(error) => {
                self.bad(at, format!("{:?}", text.0), &error.to_string());
                Quantity::ZERO
            }
        }
    }

    /// A number or a percentage.
    pub(super) fn int_or_percent(&mut self, at: &Path<'_>, value: &IntOrString) -> IntOrPercent {
        match value {
            IntOrString::Int(number) => {
                if *number < 0 {
                    self.bad(at, number, "must be greater than or equal to 0");
                }
                IntOrPercent::Int(*number)
            }
            IntOrString::String(text) => match text.strip_suffix('%').map(str::parse::<i32>) {
                Some(Ok(percent)) if percent >= 0 => IntOrPercent::Percent(percent),
                _ => {
                    self.bad(
                        at,
                        format!("{text:?}"),
                        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                    );
                    IntOrPercent::Int(0)
                }
            },
        }
    }

    /// A timestamp on the run's clock.
    pub(super) fn time(&self, time: &meta::Time) -> Time {
        self.epoch.time(time.0)
    }

    /// A timestamp that may be missing; then the beginning.
    pub(super) fn time_or_zero(&self, time: Option<&meta::Time>) -> Time {
        time.map_or(Time::ZERO, |time| self.time(time))
    }

    /// A map of texts as labels, checked as labels are.
    pub(super) fn labels(&mut self, at: &Path<'_>, map: Option<&BTreeMap<String, String>>) -> Labels {
        for (key, value) in map.into_iter().flatten() {
            self.label_key(at, key);
            self.label_value(at, value);
        }
        plain_labels(map)
    }

    /// A label's or annotation's key.
    pub(super) fn label_key(&mut self, at: &Path<'_>, key: &str) {
        let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
        if name.is_empty() {
            self.bad(at, format!("{key:?}"), "name part must be non-empty");
        } else if name.len() > 63 {
            self.bad(at, format!("{key:?}"), "name part must be no more than 63 bytes");
        } else if !is_label_text(name) {
            self.bad(at, format!("{key:?}"), QUALIFIED_NAME);
        }
        if key.contains('/') && !is_dns_subdomain(prefix) {
            self.bad(at, format!("{key:?}"), &format!("prefix part {DNS_SUBDOMAIN}"));
        }
    }

    /// A label's value.
    pub(super) fn label_value(&mut self, at: &Path<'_>, value: &str) {
        if value.len() > 63 {
            self.bad(at, format!("{value:?}"), "must be no more than 63 bytes");
        } else if !value.is_empty() && !is_label_text(value) {
            self.bad(
                at,
                format!("{value:?}"),
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            );
        }
    }

    /// A name that must be a DNS label: containers, volumes.
    pub(super) fn dns_label(&mut self, at: &Path<'_>, name: &str) {
        if name.is_empty() {
            self.required(at, "");
        } else if name.len() > 63 {
            self.bad(at, format!("{name:?}"), "must be no more than 63 bytes");
        } else if !is_dns_label(name) {
            self.bad(
                at,
                format!("{name:?}"),
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            );
        }
    }
}

/// What a DNS subdomain must be, in Kubernetes' words.
pub(super) const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// A map of texts, unchecked.
pub(super) fn plain_labels(map: Option<&BTreeMap<String, String>>) -> Labels {
    Labels::new(map.into_iter().flatten().map(|(key, value)| (Name::from(key), Name::from(value))))
}

fn is_label_text(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// True for a DNS label.
pub(super) fn is_dns_label(text: &str) -> bool {
    let plain = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 63
        && plain(text.chars().next())
        && plain(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// True for a DNS subdomain.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        let plain = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        plain(part.chars().next())
            && plain(part.chars().next_back())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// The text of an optional field; absent and empty are the same.
pub(super) fn text(field: Option<&String>) -> &str {
    field.map_or("", String::as_str)
}

/// The name in an optional field; absent and empty are the same.
pub(super) fn name(field: Option<&String>) -> Name {
    Name::new(text(field))
}
