//! Objects that make pods.
//!
//! Kubernetes: staging/src/k8s.io/api/apps/v1/types.go, …/batch/v1/types.go.

use std::sync::Arc;

use crate::kernel::{Duration, Time};

use super::condition::Conditions;
use super::storage::ClaimTemplate;
use super::{Labels, Meta, Name, PodSpec, Selector, Text};

/// `template` of a workload: shared by the workload, its ReplicaSets and their pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodTemplate {
    pub labels: Labels,
    pub annotations: Labels,
    pub spec: Arc<PodSpec>,
}

/// A number, or a share in percent of another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrPercent {
    Int(i32),
    Percent(i32),
}

impl IntOrPercent {
    /// The number; a share of `total` is rounded up.
    pub fn rounded_up(self, total: i32) -> i32 {
        match self {
            IntOrPercent::Int(number) => number,
            IntOrPercent::Percent(percent) => (i64::from(percent) * i64::from(total) + 99).div_euclid(100) as i32,
        }
    }

    /// The number; a share of `total` is rounded down.
    pub fn rounded_down(self, total: i32) -> i32 {
        match self {
            IntOrPercent::Int(number) => number,
            IntOrPercent::Percent(percent) => (i64::from(percent) * i64::from(total)).div_euclid(100) as i32,
        }
    }
}

/// A ReplicaSet (and a ReplicationController, which behaves alike).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplicaSet {
    pub meta: Meta,
    pub replicas: i32,
    pub min_ready: Duration,
    pub selector: Selector,
    pub template: Arc<PodTemplate>,
    pub status: ReplicaSetStatus,
}

/// `status` of a ReplicaSet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplicaSetStatus {
    pub replicas: i32,
    pub fully_labeled: i32,
    pub ready: i32,
    pub available: i32,
    pub terminating: i32,
    pub observed_generation: u32,
    pub conditions: Conditions,
}

/// A Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    pub meta: Meta,
    pub replicas: i32,
    pub selector: Selector,
    pub template: Arc<PodTemplate>,
    pub strategy: DeploymentStrategy,
    pub min_ready: Duration,
    pub revision_history_limit: i32,
    pub progress_deadline: Duration,
    pub paused: bool,
    pub status: DeploymentStatus,
}

/// How a Deployment replaces its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentStrategy {
    Recreate,
    RollingUpdate { max_unavailable: IntOrPercent, max_surge: IntOrPercent },
}

/// `status` of a Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentStatus {
    pub replicas: i32,
    pub updated: i32,
    pub ready: i32,
    pub available: i32,
    pub unavailable: i32,
    pub terminating: i32,
    pub observed_generation: u32,
    pub collision_count: i32,
    pub conditions: Conditions,
}

/// A StatefulSet.
#[derive(Clone, Debug, PartialEq)]
pub struct StatefulSet {
    pub meta: Meta,
    pub replicas: i32,
    pub selector: Selector,
    pub template: Arc<PodTemplate>,
    pub service_name: Name,
    /// `podManagementPolicy: Parallel`.
    pub parallel: bool,
    pub update: StatefulSetUpdate,
    pub min_ready: Duration,
    pub start_ordinal: i32,
    pub claim_templates: Arc<[ClaimTemplate]>,
    pub revision_history_limit: i32,
    pub status: StatefulSetStatus,
}

/// `updateStrategy` of a StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatefulSetUpdate {
    OnDelete,
    RollingUpdate { partition: i32, max_unavailable: Option<IntOrPercent> },
}

/// `status` of a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatefulSetStatus {
    pub replicas: i32,
    pub ready: i32,
    pub available: i32,
    pub current: i32,
    pub updated: i32,
    pub current_revision: Name,
    pub update_revision: Name,
    pub observed_generation: u32,
    pub collision_count: i32,
    pub conditions: Conditions,
}

/// A DaemonSet.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonSet {
    pub meta: Meta,
    pub selector: Selector,
    pub template: Arc<PodTemplate>,
    pub update: DaemonSetUpdate,
    pub min_ready: Duration,
    pub revision_history_limit: i32,
    pub status: DaemonSetStatus,
}

/// `updateStrategy` of a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonSetUpdate {
    OnDelete,
    RollingUpdate { max_unavailable: IntOrPercent, max_surge: IntOrPercent },
}

/// `status` of a DaemonSet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DaemonSetStatus {
    pub current_scheduled: i32,
    pub misscheduled: i32,
    pub desired_scheduled: i32,
    pub ready: i32,
    pub updated_scheduled: i32,
    pub available: i32,
    pub unavailable: i32,
    pub observed_generation: u32,
    pub collision_count: i32,
    pub conditions: Conditions,
}

/// A Job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub meta: Meta,
    pub parallelism: i32,
    /// None: any pod's success is the Job's.
    pub completions: Option<i32>,
    pub active_deadline: Option<Duration>,
    pub backoff_limit: i32,
    pub backoff_limit_per_index: Option<i32>,
    pub max_failed_indexes: Option<i32>,
    /// `manualSelector`: None selects by the controller's uid label.
    pub selector: Option<Selector>,
    pub template: Arc<PodTemplate>,
    /// `ttlSecondsAfterFinished`.
    pub ttl: Option<Duration>,
    pub indexed: bool,
    pub suspend: bool,
    pub pod_failure_policy: Arc<[PodFailureRule]>,
    /// `podReplacementPolicy: Failed`: replaced only when fully terminal.
    pub replace_failed_only: bool,
    pub status: JobStatus,
}

/// A rule of a Job's `podFailurePolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFailureRule {
    pub action: PodFailureAction,
    pub matches: PodFailureMatch,
}

/// What a rule of `podFailurePolicy` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodFailureAction {
    FailJob,
    FailIndex,
    Ignore,
    Count,
}

/// What a rule of `podFailurePolicy` looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodFailureMatch {
    /// A container's exit code; an empty container name means any. `NotIn` when negated.
    ExitCodes { container: Name, negated: bool, codes: Vec<i32> },
    /// Pod conditions by type and status.
    Conditions(Vec<(Name, super::ConditionStatus)>),
}

/// `status` of a Job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobStatus {
    pub active: i32,
    pub ready: i32,
    pub succeeded: i32,
    pub failed: i32,
    pub terminating: i32,
    pub start_time: Option<Time>,
    pub completion_time: Option<Time>,
    /// In Kubernetes' interval notation: `0-3,5`.
    pub completed_indexes: Text,
    pub failed_indexes: Text,
    pub conditions: Conditions,
}

/// A CronJob.
#[derive(Clone, Debug, PartialEq)]
pub struct CronJob {
    pub meta: Meta,
    /// Five fields, in robfig/cron's grammar.
    pub schedule: Name,
    /// IANA name, empty for UTC.
    pub time_zone: Name,
    pub starting_deadline: Option<Duration>,
    pub concurrency: ConcurrencyPolicy,
    pub suspend: bool,
    pub successful_history: i32,
    pub failed_history: i32,
    /// Labels and annotations of the Jobs, and their spec in a Job that is never stored itself.
    pub job_template: Arc<Job>,
    pub last_schedule: Option<Time>,
    pub last_successful: Option<Time>,
    pub active: Vec<Name>,
}

/// What a CronJob does when the last run has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConcurrencyPolicy {
    #[default]
    Allow,
    Forbid,
    Replace,
}

/// A revision of a StatefulSet's or DaemonSet's template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControllerRevision {
    pub meta: Meta,
    pub revision: i64,
    pub template: Arc<PodTemplate>,
}
