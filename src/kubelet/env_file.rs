//! Files from which containers get variables (`fileKeyRef`, gate `EnvFiles`): lines of `NAME='value'`.
//!
//! Kubernetes: pkg/kubelet/util/env/env_util.go. Values stand in single quotes, may go over several lines, and are taken as
//! they are; blank lines, and lines that begin with `#`, say nothing. Anything else is an error, but only where the search
//! for the key comes by.

use crate::model::{Name, Text};

/// A file that a variable of a container comes from, on the machine below the kubelet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFile {
    pub volume: Name,
    /// Below the volume.
    pub path: Name,
    /// On the host.
    pub host_path: Name,
    /// None: it could not be read.
    pub content: Option<Text>,
}

/// The line is not of the form `NAME='value'`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The value of `key` in a file; None if it is not there.
pub fn value<'a>(text: &'a str, key: &str) -> Result<Option<&'a str>, Malformed> {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let (name, after) = rest.split_once('=').ok_or(Malformed)?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Malformed);
        }
        let quoted = after.trim_start_matches([' ', '\t']).strip_prefix('\'').ok_or(Malformed)?;
        let (value, after) = quoted.split_once('\'').ok_or(Malformed)?;
        let (end, after) = after.split_once('\n').unwrap_or((after, ""));
        if !end.trim().is_empty() {
            return Err(Malformed);
        }
        if name == key {
            return Ok(Some(value));
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_value_is_found_and_taken_as_it_is() {
        let text = "# comment\n\nA='1'\n  B = 'two # words'  \r\nLONG='line1\nline2'\nEMPTY=''";
        for (key, expected) in [
            ("A", Some("1")),
            ("B", Some("two # words")),
            ("LONG", Some("line1\nline2")),
            ("EMPTY", Some("")),
            ("NONE", None),
            ("# comment", None),
        ] {
            assert_eq!(value(text, key), Ok(expected), "{key}");
        }
    }

    #[test]
    fn what_a_shell_would_expand_join_or_take_without_quotes_is_refused() {
        for text in ["A=1", "A=\"1\"", "A='1''2'", "A='1'$B", "A='1", "A", "export A='1'", "='1'", "A='1' # why"] {
            assert_eq!(value(text, "A"), Err(Malformed), "{text}");
        }
        assert_eq!(value("A='1'\nB=2", "A"), Ok(Some("1")), "what comes later is not looked at");
    }
}
