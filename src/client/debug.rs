//! `kubectl debug` of a pod: an ephemeral container beside those that run.
//!
//! Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd/debug/{debug,profiles}.go. Nobody sits at its terminal: `-it` makes a
//! container whose shell waits for input. Copies of pods (`--copy-to`) and pods for nodes are not made.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::pod::{EnvVar, ImagePullPolicy, Seccomp};
use crate::model::{Container, Name, Pod, Text};

/// What is wanted of the new container.
#[derive(Clone, Debug, PartialEq)]
pub struct Debug {
    /// Empty: `debugger-` and five letters.
    pub name: Name,
    pub image: Name,
    /// `--target`; empty: none.
    pub target: Name,
    pub pull_policy: Option<ImagePullPolicy>,
    pub env: Vec<EnvVar>,
    pub stdin: bool,
    pub tty: bool,
    /// The words after `--`: its command, or with `--arguments-only` the arguments of the image's own.
    pub words: Arc<[Text]>,
    pub arguments_only: bool,
    pub profile: Profile,
}

/// `--profile`: what the container may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    Legacy,
    /// May trace processes; kubectl's default.
    #[default]
    General,
    Baseline,
    Restricted,
    NetAdmin,
    SysAdmin,
}

impl Profile {
    /// The words of `--profile`.
    pub const ALL: [(&'static str, Profile); 6] = [
        ("legacy", Profile::Legacy),
        ("general", Profile::General),
        ("baseline", Profile::Baseline),
        ("restricted", Profile::Restricted),
        ("netadmin", Profile::NetAdmin),
        ("sysadmin", Profile::SysAdmin),
    ];
}

impl Debug {
    /// The container, as it is added to `pod`.
    pub(super) fn container(&self, pod: &Pod) -> Container {
        let mut container = Container {
            name: if self.name.is_empty() { new_name(pod) } else { self.name },
            image: self.image,
            image_pull_policy: self.pull_policy.unwrap_or_else(|| default_pull_policy(&self.image)),
            env: self.env.clone(),
            stdin: self.stdin,
            tty: self.tty,
            target: self.target,
            termination_message_path: Name::new("/dev/termination-log"),
            ..Container::default()
        };
        if self.arguments_only {
            container.args = self.words.clone();
        } else {
            container.command = self.words.clone();
        }
        let security = &mut container.security;
        match self.profile {
            Profile::Legacy | Profile::Baseline => {}
            Profile::General => security.add_capabilities = vec![Name::new("SYS_PTRACE")],
            Profile::Restricted => {
                security.run_as_non_root = Some(true);
                security.allow_privilege_escalation = Some(false);
                security.drop_capabilities = vec![Name::new("ALL")];
                security.seccomp = Some(Seccomp::RuntimeDefault);
            }
            Profile::NetAdmin => security.add_capabilities = ["NET_ADMIN", "NET_RAW"].map(Name::new).to_vec(),
            Profile::SysAdmin => security.privileged = true,
        }
        container
    }
}

/// As the API server assumes it: Always for `latest`.
fn default_pull_policy(image: &str) -> ImagePullPolicy {
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        _ if image.contains('@') => ImagePullPolicy::IfNotPresent,
        Some((_, tag)) if tag != "latest" => ImagePullPolicy::IfNotPresent,
        _ => ImagePullPolicy::Always,
    }
}

/// A name that the pod has not used: kubectl draws letters, here they follow from the pod and from how many there are.
fn new_name(pod: &Pod) -> Name {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let text = format!("{}/{}", pod.full_name(), pod.spec.ephemeral_containers.len());
    let mut hash = xxh3_64(text.as_bytes());
    let mut name = String::from("debugger-");
    for _ in 0..5 {
        name.push(char::from(LETTERS[(hash % 27) as usize]));
        hash /= 27;
    }
    Name::from(name)
}
