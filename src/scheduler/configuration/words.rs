//! The grammar of what configurations name: label keys and values, durations; in apimachinery's words.
//!
//! Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go.

use crate::kernel::Duration;

use crate::model::configuration::Problems;

const NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn is_name(text: &str) -> bool {
    let end = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(end) && text.ends_with(end) && text.chars().all(|c| end(c) || matches!(c, '-' | '_' | '.'))
}

/// What is wrong with a label's key (`IsQualifiedName`).
pub(super) fn label_key(key: &str) -> Option<String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if name.contains('/') {
        return Some(format!(
            "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            &NAME["name part ".len()..]
        ));
    }
    let is_domain = |prefix: &str| {
        let part = |part: &str| {
            let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(end) && part.ends_with(end) && part.chars().all(|c| end(c) || c == '-')
        };
        prefix.split('.').all(part)
    };
    match prefix {
        Some("") => return Some("prefix part must be non-empty".to_owned()),
        Some(prefix) if !is_domain(prefix) => {
            return Some("prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')".to_owned());
        }
        _ => {}
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".to_owned());
    }
    (!is_name(name)).then(|| NAME.to_owned())
}

/// What is wrong with a label's value.
pub(super) fn label_value(value: &str) -> Option<&'static str> {
    if value.len() > 63 {
        return Some("must be no more than 63 bytes");
    }
    (!value.is_empty() && !is_name(value)).then_some(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    )
}

/// True if `text` is a duration below zero; a problem if it is none.
pub(super) fn is_negative(text: &str, path: String, problems: &mut Problems) -> bool {
    let (negative, length) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    match Duration::parse_go(length) {
        Some(length) => negative && !length.is_zero(),
        None => {
            problems.say(path, format!("time: invalid duration {text:?}"));
            false
        }
    }
}
