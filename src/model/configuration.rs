//! What is wrong with a component's configuration file: problems with their paths, in Kubernetes' words. Shared by the readers of
//! KubeletConfiguration and KubeSchedulerConfiguration.
//!
//! Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/validation/field/errors.go.

use std::fmt::Display;

/// Something that the component would refuse, or that is not simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `profiles[0].plugins.score.enabled[1]`, `evictionHard[memory.available]`.
    pub path: String,
    /// In the component's words.
    pub message: String,
    /// It runs all the same.
    pub is_warning: bool,
}

/// What is wrong so far.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// True if the component would start all the same.
    pub fn is_usable(&self) -> bool {
        self.0.iter().all(|problem| problem.is_warning)
    }

    /// The component would refuse this.
    pub fn say(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into(), is_warning: false });
    }

    /// It runs, but something should be known.
    pub fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into(), is_warning: true });
    }

    /// `invalid configuration: …`, as the kubelet says it.
    pub fn invalid_configuration(&mut self, path: impl Into<String>, message: impl AsRef<str>) {
        self.say(path, format!("invalid configuration: {}", message.as_ref()));
    }

    /// `Invalid value: …`
    pub fn invalid(&mut self, path: impl Into<String>, value: impl Display, why: &str) {
        self.say(path, format!("Invalid value: {value}: {why}"));
    }

    /// `Required value`
    pub fn required(&mut self, path: impl Into<String>, why: &str) {
        let colon = if why.is_empty() { "" } else { ": " };
        self.say(path, format!("Required value{colon}{why}"));
    }

    /// `Forbidden: …`
    pub fn forbidden(&mut self, path: impl Into<String>, why: &str) {
        self.say(path, format!("Forbidden: {why}"));
    }

    /// `Duplicate value: …`
    pub fn duplicate(&mut self, path: impl Into<String>, value: &str) {
        self.say(path, format!("Duplicate value: {value:?}"));
    }

    /// `Unsupported value: …`
    pub fn not_supported(&mut self, path: impl Into<String>, value: &str, known: &[&str]) {
        let known: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
        self.say(path, format!("Unsupported value: {value:?}: supported values: {}", known.join(", ")));
    }
}
