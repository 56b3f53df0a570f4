//! Credentials of registries: what pull secrets say, which of it is for an image, and which images they have opened.
//!
//! Kubernetes: pkg/credentialprovider/{config,keyring}.go and, for the records, pkg/kubelet/images/pullmanager (the gate
//! KubeletEnsureSecretPulledImages with the policy NeverVerifyPreloadedImages).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use serde_json::Value;

use crate::model::config::ConfigData;
use crate::model::image::Reference;
use crate::model::{Name, glob};
use crate::protocol::pull::AuthConfig;

/// Credentials by what they are for, as the pull secrets of a pod say it.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// `registry.example.com`, `*.example.com:5000/team`; in the order of the secrets.
    entries: Vec<(String, AuthConfig)>,
}

impl Keyring {
    /// Adds what a Secret of type `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg` holds. Any other, and text
    /// that is no such configuration, adds nothing.
    pub fn add(&mut self, secret: &ConfigData) {
        let bytes = |key: &str| secret.data.iter().find(|(name, _)| *name == key).map(|(_, bytes)| bytes.clone());
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
        let registries = match secret.secret_type.as_str() {
            "kubernetes.io/dockerconfigjson" => {
                bytes(".dockerconfigjson").and_then(|bytes| read(&bytes)).map(|mut config| config["auths"].take())
            }
            "kubernetes.io/dockercfg" => bytes(".dockercfg").and_then(|bytes| read(&bytes)),
            _ => None,
        };
        let Some(Value::Object(registries)) = registries else { return };
        for (location, entry) in &registries {
            if let Some(auth) = credentials(entry) {
                self.entries.push((location_key(location), auth));
            }
        }
    }

    /// The credentials for an image: those of the longest location first. Each is tried in turn.
    pub fn lookup(&self, image: &str) -> Vec<AuthConfig> {
        let Ok(reference) = Reference::parse(image) else { return Vec::new() };
        let repository = format!("{}/{}", reference.host, reference.repository);
        let mut fitting: Vec<_> = self.entries.iter().filter(|(location, _)| is_for(location, &repository)).collect();
        if fitting.is_empty() && reference.host == "docker.io" {
            fitting = self.entries.iter().filter(|(location, _)| location == DEFAULT_REGISTRY).collect();
        }
        fitting.sort_by(|(one, _), (other, _)| other.cmp(one));
        let mut all: Vec<AuthConfig> = Vec::new();
        for (_, auth) in fitting {
            if !all.contains(auth) {
                all.push(*auth);
            }
        }
        all
    }
}

/// What `docker login` without a server writes.
const DEFAULT_REGISTRY: &str = "index.docker.io";

/// `auth` (user:password in base64) counts before `username` and `password`.
fn credentials(entry: &Value) -> Option<AuthConfig> {
    let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    if let Some(auth) = entry.get("auth").filter(|auth| auth.as_str().is_some_and(|text| !text.is_empty())) {
        let ByteString(bytes) = serde_json::from_value(auth.clone()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (username, password) = text.split_once(':')?;
        return Some(AuthConfig { username: username.into(), password: password.into() });
    }
    Some(AuthConfig { username: field("username").into(), password: field("password").into() })
}

/// A location without scheme, version of the API and last slash.
fn location_key(location: &str) -> String {
    let bare = location.split_once("://").map_or(location, |(_, rest)| rest);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = match path {
        "v1" | "v2" => "",
        _ => path.strip_prefix("v1/").or_else(|| path.strip_prefix("v2/")).unwrap_or(path),
    };
    let path = path.trim_end_matches('/');
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

/// True if a location covers a repository: as many parts of the host, each matching, the same port, a path that begins so.
fn is_for(location: &str, repository: &str) -> bool {
    let (pattern, prefix) = location.split_once('/').unwrap_or((location, ""));
    let (host, path) = repository.split_once('/').unwrap_or((repository, ""));
    let port = |text: &str| text.split_once(':').map(|(_, port)| port.to_owned());
    let parts = |text: &str| {
        let name = text.split(':').next().unwrap_or_default();
        name.split('.').map(str::to_owned).collect::<Vec<_>>()
    };
    let (patterns, hosts) = (parts(pattern), parts(host));
    port(pattern) == port(host)
        && patterns.len() == hosts.len()
        && path.starts_with(prefix)
        && patterns.iter().zip(&hosts).all(|(pattern, part)| glob::matches(pattern, part))
}

/// With what the images of a node were pulled by its kubelet. Others, which came before, are open to all pods.
#[derive(Debug, Default)]
pub struct PullRecords {
    /// Credentials by image; none: somebody pulled it without any.
    images: BTreeMap<Name, BTreeSet<AuthConfig>>,
}

impl PullRecords {
    /// An image was pulled.
    pub fn pulled(&mut self, image: Name, with: Option<AuthConfig>) {
        match with {
            None => {
                self.images.insert(image, BTreeSet::new());
            }
            Some(auth) => {
                // What was once pulled by nobody in particular stays open.
                if self.images.get(&image).is_none_or(|known| !known.is_empty()) {
                    self.images.entry(image).or_default().insert(auth);
                }
            }
        }
    }

    /// True if a pod with these credentials may use the image that is there without pulling it.
    pub fn allows(&self, image: Name, credentials: &[AuthConfig]) -> bool {
        match self.images.get(&image) {
            Some(known) => known.is_empty() || credentials.iter().any(|auth| known.contains(auth)),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn keyring(secret_type: &str, key: &str, json: &str) -> Keyring {
        let mut ring = Keyring::default();
        ring.add(&ConfigData {
            data: vec![(key.into(), Arc::from(json.as_bytes()))],
            secret_type: secret_type.into(),
            ..ConfigData::default()
        });
        ring
    }

    fn users(ring: &Keyring, image: &str) -> String {
        let all: Vec<&str> = ring.lookup(image).iter().map(|auth| auth.username.as_str()).collect();
        all.join(" ")
    }

    #[test]
    fn the_longest_location_that_covers_an_image_comes_first() {
        let ring = keyring(
            "kubernetes.io/dockerconfigjson",
            ".dockerconfigjson",
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
                "reg.example.com": {"username": "all", "password": "p"},
                "https://reg.example.com/v2/team/": {"username": "team", "password": "p"},
                "*.apps.example.com:5000": {"username": "star", "password": "p"},
                "no.example.com": {"auth": "not base64"}
            }}"#,
        );
        for (image, expected) in [
            ("nginx", "hub"),
            ("docker.io/team/web:1", "hub"),
            ("reg.example.com/web:1", "all"),
            (
                "reg.example.com/team/web@sha256:0123456789012345678901234567890123456789012345678901234567890123",
                "team all",
            ),
            ("one.apps.example.com:5000/web", "star"),
            ("one.apps.example.com/web", ""),
            ("a.b.apps.example.com:5000/web", ""),
            ("no.example.com/web", ""),
            ("other.example.com/web", ""),
        ] {
            assert_eq!(users(&ring, image), expected, "{image}");
        }
    }

    #[test]
    fn the_older_kind_has_the_registries_at_the_top_and_other_secrets_say_nothing() {
        let json = r#"{"reg.example.com": {"username": "old", "password": "p"}}"#;
        for (secret_type, key, expected) in [
            ("kubernetes.io/dockercfg", ".dockercfg", "old"),
            ("kubernetes.io/dockercfg", ".dockerconfigjson", ""),
            ("kubernetes.io/dockerconfigjson", ".dockercfg", ""),
            ("Opaque", ".dockercfg", ""),
        ] {
            assert_eq!(users(&keyring(secret_type, key, json), "reg.example.com/web"), expected, "{secret_type} {key}");
        }
        assert_eq!(users(&keyring("kubernetes.io/dockercfg", ".dockercfg", "{nonsense"), "reg.example.com/web"), "");
    }

    #[test]
    fn a_password_is_not_printed() {
        let auth = AuthConfig { username: "me".into(), password: "hunter2".into() };
        assert!(!format!("{auth:?}").contains("hunter2"));
    }

    #[test]
    fn an_image_that_credentials_have_opened_is_there_for_those_who_have_them_only() {
        let auth = |name: &str| AuthConfig { username: name.into(), password: "p".into() };
        let image = Name::new("reg.example.com/web:1");
        let mut records = PullRecords::default();
        assert!(records.allows(image, &[]), "preloaded");
        records.pulled(image, Some(auth("a")));
        assert!(records.allows(image, &[auth("b"), auth("a")]));
        assert!(!records.allows(image, &[auth("b")]));
        assert!(!records.allows(image, &[]));
        records.pulled(image, None);
        records.pulled(image, Some(auth("a")));
        assert!(records.allows(image, &[]), "open to all since somebody needed none");
    }
}
