//! Image references: which registry, repository, tag and digest a text such as `nginx` means.
//!
//! Kubernetes: pkg/util/parsers/parsers.go, and through it the reference grammar of the distribution project.

use std::fmt;

use super::{Name, glob};

/// A reference with everything that its text leaves out filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The registry: `docker.io`, `localhost:5000`.
    pub host: Name,
    /// The repository in it: `library/nginx`.
    pub repository: Name,
    /// `latest` if the text has neither tag nor digest; empty if it has only a digest.
    pub tag: Name,
    /// `sha256:…`; empty if there is none.
    pub digest: Name,
}

/// Why a text is no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    #[error("invalid reference format")]
    Format,
    #[error("invalid reference format: repository name must be lowercase")]
    Uppercase,
}

impl Reference {
    /// Reads `text` as container runtimes read it: the part before the first `/` is a registry if it has a dot or a colon
    /// or is `localhost`, else the registry is `docker.io`, whose one-part repositories lie in `library/`.
    pub fn parse(text: &str) -> Result<Reference, InvalidReference> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, digest),
            None => (text, ""),
        };
        if text.contains('@') && !is_digest(digest) {
            return Err(InvalidReference::Format);
        }
        let (host, path) = match rest.split_once('/') {
            Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (first, path),
            _ => ("docker.io", rest),
        };
        let host = if host == "index.docker.io" { "docker.io" } else { host };
        let (path, tag) = path.rsplit_once(':').unwrap_or((path, ""));
        if path.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(InvalidReference::Uppercase);
        }
        let well_formed = !host.is_empty()
            && path.split('/').all(is_path_part)
            && (!rest.ends_with(':'))
            && (tag.is_empty() || is_tag(tag));
        if !well_formed {
            return Err(InvalidReference::Format);
        }
        let tag = if tag.is_empty() && digest.is_empty() { "latest" } else { tag };
        let repository = match host {
            "docker.io" if !path.contains('/') => Name::new(&format!("library/{path}")),
            _ => Name::new(path),
        };
        Ok(Reference { host: Name::new(host), repository, tag: Name::new(tag), digest: Name::new(digest) })
    }
}

/// The whole reference: `docker.io/library/nginx:latest`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if !self.tag.is_empty() {
            write!(f, ":{}", self.tag)?;
        }
        if !self.digest.is_empty() {
            write!(f, "@{}", self.digest)?;
        }
        Ok(())
    }
}

/// True if `pattern` (see [`glob`]) matches the image as it is written, or its whole reference, or its short form without
/// `docker.io/` and `library/`: `busybox:*` matches `busybox`, `busybox:1.36` and `docker.io/library/busybox:1.36`.
pub fn matches(pattern: &str, image: &str) -> bool {
    if glob::matches(pattern, image) {
        return true;
    }
    let Ok(reference) = Reference::parse(image) else {
        return false;
    };
    let whole = reference.to_string();
    let short = whole.strip_prefix("docker.io/").unwrap_or(&whole);
    let shortest = short.strip_prefix("library/").unwrap_or(short);
    glob::matches(pattern, &whole) || glob::matches(pattern, short) || glob::matches(pattern, shortest)
}

fn is_path_part(part: &str) -> bool {
    let bytes = part.as_bytes();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(|&byte| plain(byte))
        && bytes.last().is_some_and(|&byte| plain(byte))
        && bytes.iter().all(|&byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        && !tag.starts_with(['.', '-'])
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_completed_as_runtimes_complete_them() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("grafana/grafana", "docker.io/grafana/grafana:latest"),
            ("localhost/app:1", "localhost/app:1"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox:latest"),
            (&format!("quay.io/a/b@{digest}"), &format!("quay.io/a/b@{digest}")),
            (&format!("quay.io/a/b:v1@{digest}"), &format!("quay.io/a/b:v1@{digest}")),
        ] {
            assert_eq!(
                Reference::parse(text).map(|reference| reference.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
        for (text, expected) in [
            ("UPPER/bad:1", InvalidReference::Uppercase),
            ("", InvalidReference::Format),
            ("a b", InvalidReference::Format),
            ("nginx:", InvalidReference::Format),
            ("nginx@latest", InvalidReference::Format),
            ("-x", InvalidReference::Format),
            ("a//b", InvalidReference::Format),
        ] {
            assert_eq!(Reference::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_pattern_matches_the_short_and_the_whole_form() {
        for (pattern, image, expected) in [
            ("busybox:*", "busybox", true),
            ("busybox:*", "docker.io/library/busybox:1.36", true),
            ("*/checkout:*", "checkout:v1", true),
            ("*/checkout:*", "eu.gcr.io/shop/checkout:v1", true),
            ("busybox:*", "quay.io/busybox:1", false),
            ("UPPER*", "UPPER/bad:1", true),
        ] {
            assert_eq!(matches(pattern, image), expected, "{pattern} on {image}");
        }
    }
}
