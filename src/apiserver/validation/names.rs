//! The grammars of names, labels and ports, with Kubernetes' complaints.
//!
//! Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go and …/api/validate/content.

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
    with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const NAME_PART: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
    character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with an RFC 1123 label: container names, namespaces, Services, volumes.
pub(super) fn label(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63);
    if !is_label(text) {
        wrong.push(LABEL.to_owned());
    }
    wrong
}

/// What is wrong with an RFC 1123 subdomain: the names of most objects.
pub(super) fn subdomain(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 253);
    if !text.split('.').all(is_label) {
        wrong.push(SUBDOMAIN.to_owned());
    }
    wrong
}

/// What is wrong with a qualified name, such as a label's key: `example.com/name`.
pub(super) fn qualified(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, rest)) if rest.contains('/') => {
            return vec![format!(
                "a qualified name {NAME_PART} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some(("", name)) => {
            wrong.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            wrong.extend(subdomain(prefix).into_iter().map(|why| format!("prefix part {why}")));
            name
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    }
    wrong.extend(too_long(name, 63).into_iter().map(|why| format!("name part {why}")));
    if !is_word(name) {
        wrong.push(format!("name part {NAME_PART}"));
    }
    wrong
}

/// What is wrong with a label's value.
pub(super) fn label_value(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 63);
    if !text.is_empty() && !is_word(text) {
        wrong.push(LABEL_VALUE.to_owned());
    }
    wrong
}

/// What is wrong with a port's name (IANA_SVC_NAME).
pub(super) fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut unless = |holds: bool, why: &str| {
        if !holds {
            wrong.push(why.to_owned());
        }
    };
    unless(text.len() <= 15, "must be no more than 15 characters");
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    unless(text.bytes().all(allowed), "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    unless(text.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    unless(!text.contains("--"), "must not contain consecutive hyphens");
    unless(!text.starts_with('-') && !text.ends_with('-'), "must not begin or end with a hyphen");
    wrong
}

/// What is wrong with the name of an environment variable.
pub(super) fn env_var(text: &str) -> Vec<String> {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// What is wrong with a key of a ConfigMap or Secret.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 253);
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        let grammar = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  \
                       or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
        wrong.push(grammar.to_owned());
    }
    wrong
}

fn too_long(text: &str, most: usize) -> Vec<String> {
    if text.len() > most { vec![format!("must be no more than {most} bytes")] } else { Vec::new() }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |end: Option<&u8>| end.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(grammar: fn(&str) -> Vec<String>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(grammar(text), Vec::<String>::new(), "{text}");
        }
        for text in bad {
            assert_ne!(grammar(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn names_follow_their_grammars() {
        let long = "a".repeat(64);
        check(label, &["a", "web-1", "0"], &["", "A", "a.b", "-a", "a-", "a_b", &long]);
        check(subdomain, &["a", "example.com", &long], &["", "a..b", ".a", "Web_1", "a.-b"]);
        check(
            qualified,
            &["app", "app.kubernetes.io/name", "A_b.c-d"],
            &["", "/", "a/", "/b", "a/b/c", "A.b/c", "-a", "a b", &long],
        );
        check(label_value, &["", "v1.2_3", "A"], &["-a", "a b", "ü", &long]);
        check(port_name, &["http", "a-1"], &["", "HTTP", "123", "a--b", "-a", "a-name-too-long1"]);
    }
}
