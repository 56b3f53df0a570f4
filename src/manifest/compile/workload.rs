//! ReplicaSets, ReplicationControllers, Deployments, StatefulSets, DaemonSets and their revisions.
//!
//! Kubernetes: pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation/validation.go.

use std::sync::Arc;

use k8s_openapi::api::apps::v1 as apps;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::model::storage::ClaimTemplate;
use crate::model::workload::{
    ControllerRevision, DaemonSet, DaemonSetStatus, DaemonSetUpdate, Deployment, DeploymentStatus, DeploymentStrategy,
    IntOrPercent, PodTemplate, ReplicaSet, ReplicaSetStatus, StatefulSet, StatefulSetStatus, StatefulSetUpdate,
};
use crate::model::{Conditions, Kind, Labels, Object, Selector};

use super::context::{Context, name, plain_labels};
use super::path::Path;
use super::pod::Of;

/// Collects the conditions of a workload; they differ in their type only by whether they have a second time.
macro_rules! conditions {
    ($cx:ident, $conditions:expr, $update:ident) => {{
        let conditions = $conditions.iter().flatten().map(|c| {
            $cx.condition(
                &c.type_,
                &c.status,
                c.reason.as_ref(),
                c.message.as_ref(),
                c.last_transition_time.as_ref(),
                c.$update.as_ref(),
            )
        });
        conditions.collect::<Conditions>()
    }};
}
pub(super) use conditions;

fn number(field: Option<i32>) -> i32 {
    field.unwrap_or(0)
}

fn generation(field: Option<i64>) -> u32 {
    field.and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

impl Context<'_> {
    fn min_ready(&mut self, at: &Path<'_>, seconds: Option<i32>) -> crate::kernel::Duration {
        self.seconds(&at.field("minReadySeconds"), seconds.unwrap_or(0))
    }

    /// The selector of a workload, which must not be empty and must match its template.
    fn workload_selector(&mut self, at: &Path<'_>, selector: &meta::LabelSelector, template: &PodTemplate) -> Selector {
        let here = at.field("selector");
        let selector = self.selector(&here, selector);
        if selector.is_empty() {
            self.required(&here, "");
        } else {
            self.selector_matches(at, &selector, template);
        }
        selector
    }

    fn selector_matches(&mut self, at: &Path<'_>, selector: &Selector, template: &PodTemplate) {
        if !selector.matches(&template.labels) {
            let template_at = at.field("template");
            let metadata_at = template_at.field("metadata");
            self.bad(
                &metadata_at.field("labels"),
                as_json(&template.labels),
                "`selector` does not match template `labels`",
            );
        }
    }

    pub(super) fn replica_set(&mut self, set: &apps::ReplicaSet) -> Object {
        let meta = self.meta(Kind::ReplicaSet, &set.metadata);
        let at = Path::Root.field("spec");
        let none = apps::ReplicaSetSpec::default();
        let spec = set.spec.as_ref().unwrap_or(&none);
        let no_template = core::PodTemplateSpec::default();
        let template_at = at.field("template");
        let template = self.template(&template_at, spec.template.as_ref().unwrap_or(&no_template), Of::Service);
        let selector = self.workload_selector(&at, &spec.selector, &template);
        let status = set.status.as_ref().map(|status| ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled: number(status.fully_labeled_replicas),
            ready: number(status.ready_replicas),
            available: number(status.available_replicas),
            terminating: number(status.terminating_replicas),
            observed_generation: generation(status.observed_generation),
            conditions: conditions!(self, status.conditions, last_transition_time),
        });
        Object::ReplicaSet(Arc::new(ReplicaSet {
            meta,
            replicas: self.count(&at.field("replicas"), spec.replicas.unwrap_or(1)),
            min_ready: self.min_ready(&at, spec.min_ready_seconds),
            selector,
            template,
            status: status.unwrap_or_default(),
        }))
    }

    pub(super) fn replication_controller(&mut self, controller: &core::ReplicationController) -> Object {
        let mut meta = self.meta(Kind::ReplicationController, &controller.metadata);
        let at = Path::Root.field("spec");
        let none = core::ReplicationControllerSpec::default();
        let spec = controller.spec.as_ref().unwrap_or(&none);
        let no_template = core::PodTemplateSpec::default();
        let template_at = at.field("template");
        let template = self.template(&template_at, spec.template.as_ref().unwrap_or(&no_template), Of::Service);
        // Selector and labels are taken from the template where they are missing (SetDefaults_ReplicationController).
        let labels = match &spec.selector {
            Some(selector) if !selector.is_empty() => plain_labels(Some(selector)),
            _ => template.labels.clone(),
        };
        if meta.labels.is_empty() {
            meta.labels = template.labels.clone();
        }
        let selector = Selector::from_labels(&labels);
        if selector.is_empty() {
            self.required(&at.field("selector"), "");
        } else {
            self.selector_matches(&at, &selector, &template);
        }
        let status = controller.status.as_ref().map(|status| ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled: number(status.fully_labeled_replicas),
            ready: number(status.ready_replicas),
            available: number(status.available_replicas),
            terminating: 0,
            observed_generation: generation(status.observed_generation),
            conditions: conditions!(self, status.conditions, last_transition_time),
        });
        Object::ReplicationController(Arc::new(ReplicaSet {
            meta,
            replicas: self.count(&at.field("replicas"), spec.replicas.unwrap_or(1)),
            min_ready: self.min_ready(&at, spec.min_ready_seconds),
            selector,
            template,
            status: status.unwrap_or_default(),
        }))
    }

    pub(super) fn deployment(&mut self, deployment: &apps::Deployment) -> Object {
        let meta = self.meta(Kind::Deployment, &deployment.metadata);
        let at = Path::Root.field("spec");
        let none = apps::DeploymentSpec::default();
        let spec = deployment.spec.as_ref().unwrap_or(&none);
        let template = self.template(&at.field("template"), &spec.template, Of::Service);
        let selector = self.workload_selector(&at, &spec.selector, &template);
        let status = deployment.status.as_ref().map(|status| DeploymentStatus {
            replicas: number(status.replicas),
            updated: number(status.updated_replicas),
            ready: number(status.ready_replicas),
            available: number(status.available_replicas),
            unavailable: number(status.unavailable_replicas),
            terminating: number(status.terminating_replicas),
            observed_generation: generation(status.observed_generation),
            collision_count: number(status.collision_count),
            conditions: conditions!(self, status.conditions, last_update_time),
        });
        let min_ready = self.min_ready(&at, spec.min_ready_seconds);
        let deadline = spec.progress_deadline_seconds.unwrap_or(600);
        let deadline_at = at.field("progressDeadlineSeconds");
        let progress_deadline = self.seconds(&deadline_at, deadline);
        if deadline >= 0 && progress_deadline <= min_ready {
            self.bad(&deadline_at, deadline, "must be greater than minReadySeconds");
        }
        Object::Deployment(Arc::new(Deployment {
            meta,
            replicas: self.count(&at.field("replicas"), spec.replicas.unwrap_or(1)),
            selector,
            template,
            strategy: self.deployment_strategy(&at.field("strategy"), spec.strategy.as_ref()),
            min_ready,
            revision_history_limit: self
                .count(&at.field("revisionHistoryLimit"), spec.revision_history_limit.unwrap_or(10)),
            progress_deadline,
            paused: spec.paused == Some(true),
            status: status.unwrap_or_default(),
        }))
    }

    fn deployment_strategy(
        &mut self,
        at: &Path<'_>,
        strategy: Option<&apps::DeploymentStrategy>,
    ) -> DeploymentStrategy {
        let recreate = self.word_or(
            &at.field("type"),
            strategy.and_then(|strategy| strategy.type_.as_ref()),
            false,
            &[("Recreate", true), ("RollingUpdate", false)],
        );
        let rolling_at = at.field("rollingUpdate");
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        if recreate {
            if rolling.is_some() {
                self.forbidden(&rolling_at, "may not be specified when strategy `type` is 'Recreate'");
            }
            return DeploymentStrategy::Recreate;
        }
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
        let max_unavailable =
            self.share_or(&rolling_at.field("maxUnavailable"), unavailable, IntOrPercent::Percent(25));
        let max_surge = self.share_or(&rolling_at.field("maxSurge"), surge, IntOrPercent::Percent(25));
        if is_zero(max_unavailable) && is_zero(max_surge) {
            let here = rolling_at.field("maxUnavailable");
            self.bad(&here, shown(max_unavailable), "may not be 0 when `maxSurge` is 0");
        }
        self.at_most_all(&rolling_at.field("maxUnavailable"), max_unavailable);
        DeploymentStrategy::RollingUpdate { max_unavailable, max_surge }
    }

    fn share_or(&mut self, at: &Path<'_>, value: Option<&IntOrString>, default: IntOrPercent) -> IntOrPercent {
        value.map_or(default, |value| self.int_or_percent(at, value))
    }

    fn at_most_all(&mut self, at: &Path<'_>, share: IntOrPercent) {
        if matches!(share, IntOrPercent::Percent(percent) if percent > 100) {
            self.bad(at, shown(share), "must not be greater than 100%");
        }
    }

    pub(super) fn stateful_set(&mut self, set: &apps::StatefulSet) -> Object {
        let meta = self.meta(Kind::StatefulSet, &set.metadata);
        let at = Path::Root.field("spec");
        let none = apps::StatefulSetSpec::default();
        let spec = set.spec.as_ref().unwrap_or(&none);
        let template_at = at.field("template");
        let template = self.template(&template_at, &spec.template, Of::Service);
        let selector = self.workload_selector(&at, &spec.selector, &template);
        let claims_at = at.field("volumeClaimTemplates");
        let claims = spec.volume_claim_templates.iter().flatten().enumerate().map(|(index, claim)| {
            let here = claims_at.index(index);
            let none = core::PersistentVolumeClaimSpec::default();
            let annotations = plain_labels(claim.metadata.annotations.as_ref());
            let mut spec = self.claim_spec(&here.field("spec"), claim.spec.as_ref().unwrap_or(&none));
            spec.storage_class = super::storage::class_of(&annotations, spec.storage_class);
            ClaimTemplate {
                name: name(claim.metadata.name.as_ref()),
                labels: plain_labels(claim.metadata.labels.as_ref()),
                annotations,
                spec,
            }
        });
        let claim_templates: Arc<[ClaimTemplate]> = claims.collect();
        let pod_at = template_at.field("spec");
        for (list, containers) in
            [("initContainers", &template.spec.init_containers), ("containers", &template.spec.containers)]
        {
            for (index, container) in containers.iter().enumerate() {
                self.mounts_are_among(&pod_at, list, index, container, |mount| {
                    template.spec.volumes.iter().any(|volume| volume.name == mount)
                        || claim_templates.iter().any(|claim| claim.name == mount)
                });
            }
        }
        let status = set.status.as_ref().map(|status| StatefulSetStatus {
            replicas: status.replicas,
            ready: number(status.ready_replicas),
            available: number(status.available_replicas),
            current: number(status.current_replicas),
            updated: number(status.updated_replicas),
            current_revision: name(status.current_revision.as_ref()),
            update_revision: name(status.update_revision.as_ref()),
            observed_generation: generation(status.observed_generation),
            collision_count: number(status.collision_count),
            conditions: conditions!(self, status.conditions, last_transition_time),
        });
        let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
        Object::StatefulSet(Arc::new(StatefulSet {
            meta,
            replicas: self.count(&at.field("replicas"), spec.replicas.unwrap_or(1)),
            selector,
            template,
            service_name: name(spec.service_name.as_ref()),
            parallel: self.word_or(
                &at.field("podManagementPolicy"),
                spec.pod_management_policy.as_ref(),
                false,
                &[("OrderedReady", false), ("Parallel", true)],
            ),
            update: self.stateful_set_update(&at.field("updateStrategy"), spec.update_strategy.as_ref()),
            min_ready: self.min_ready(&at, spec.min_ready_seconds),
            start_ordinal: self.count(&at.field("ordinals").field("start"), start),
            claim_templates,
            revision_history_limit: self
                .count(&at.field("revisionHistoryLimit"), spec.revision_history_limit.unwrap_or(10)),
            status: status.unwrap_or_default(),
        }))
    }

    fn stateful_set_update(
        &mut self,
        at: &Path<'_>,
        update: Option<&apps::StatefulSetUpdateStrategy>,
    ) -> StatefulSetUpdate {
        let on_delete = self.word_or(
            &at.field("type"),
            update.and_then(|update| update.type_.as_ref()),
            false,
            &[("OnDelete", true), ("RollingUpdate", false)],
        );
        let here = at.field("rollingUpdate");
        let rolling = update.and_then(|update| update.rolling_update.as_ref());
        if on_delete {
            if rolling.is_some() {
                self.bad(&here, "{}", "only allowed for updateStrategy 'RollingUpdate'");
            }
            return StatefulSetUpdate::OnDelete;
        }
        let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        StatefulSetUpdate::RollingUpdate {
            partition: self.count(&here.field("partition"), partition),
            max_unavailable: unavailable.map(|value| self.int_or_percent(&here.field("maxUnavailable"), value)),
        }
    }

    pub(super) fn daemon_set(&mut self, set: &apps::DaemonSet) -> Object {
        let meta = self.meta(Kind::DaemonSet, &set.metadata);
        let at = Path::Root.field("spec");
        let none = apps::DaemonSetSpec::default();
        let spec = set.spec.as_ref().unwrap_or(&none);
        let template = self.template(&at.field("template"), &spec.template, Of::Service);
        let selector = self.workload_selector(&at, &spec.selector, &template);
        let status = set.status.as_ref().map(|status| DaemonSetStatus {
            current_scheduled: status.current_number_scheduled,
            misscheduled: status.number_misscheduled,
            desired_scheduled: status.desired_number_scheduled,
            ready: status.number_ready,
            updated_scheduled: number(status.updated_number_scheduled),
            available: number(status.number_available),
            unavailable: number(status.number_unavailable),
            observed_generation: generation(status.observed_generation),
            collision_count: number(status.collision_count),
            conditions: conditions!(self, status.conditions, last_transition_time),
        });
        Object::DaemonSet(Arc::new(DaemonSet {
            meta,
            selector,
            template,
            update: self.daemon_set_update(&at.field("updateStrategy"), spec.update_strategy.as_ref()),
            min_ready: self.min_ready(&at, spec.min_ready_seconds),
            revision_history_limit: self
                .count(&at.field("revisionHistoryLimit"), spec.revision_history_limit.unwrap_or(10)),
            status: status.unwrap_or_default(),
        }))
    }

    fn daemon_set_update(&mut self, at: &Path<'_>, update: Option<&apps::DaemonSetUpdateStrategy>) -> DaemonSetUpdate {
        let on_delete = self.word_or(
            &at.field("type"),
            update.and_then(|update| update.type_.as_ref()),
            false,
            &[("OnDelete", true), ("RollingUpdate", false)],
        );
        if on_delete {
            return DaemonSetUpdate::OnDelete;
        }
        let here = at.field("rollingUpdate");
        let rolling = update.and_then(|update| update.rolling_update.as_ref());
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref());
        let max_unavailable = self.share_or(&here.field("maxUnavailable"), unavailable, IntOrPercent::Int(1));
        let max_surge = self.share_or(&here.field("maxSurge"), surge, IntOrPercent::Int(0));
        let unavailable_at = here.field("maxUnavailable");
        match (is_zero(max_unavailable), is_zero(max_surge)) {
            (true, true) => self.required(&unavailable_at, "cannot be 0 when maxSurge is 0"),
            (false, false) => {
                self.bad(&here.field("maxSurge"), shown(max_surge), "may not be set when maxUnavailable is non-zero")
            }
            _ => {}
        }
        self.at_most_all(&unavailable_at, max_unavailable);
        DaemonSetUpdate::RollingUpdate { max_unavailable, max_surge }
    }

    pub(super) fn controller_revision(&mut self, revision: &apps::ControllerRevision) -> Object {
        let meta = self.meta(Kind::ControllerRevision, &revision.metadata);
        let data = revision.data.as_ref().and_then(|data| data.0.get("spec")?.get("template"));
        // A revision holds a patch of its workload; what in it is no template is not modelled.
        let template = data.and_then(|template| serde_json::from_value(template.clone()).ok());
        let at = Path::Root.field("data");
        let template = template.map(|template: core::PodTemplateSpec| self.template(&at, &template, Of::Service));
        Object::ControllerRevision(Arc::new(ControllerRevision {
            meta,
            revision: revision.revision,
            template: template.unwrap_or_default(),
        }))
    }
}

fn is_zero(share: IntOrPercent) -> bool {
    matches!(share, IntOrPercent::Int(0) | IntOrPercent::Percent(0))
}

/// As Kubernetes shows it in a message.
pub(super) fn shown(share: IntOrPercent) -> String {
    match share {
        IntOrPercent::Int(number) => number.to_string(),
        IntOrPercent::Percent(percent) => format!("\"{percent}%\""),
    }
}

/// Labels as Kubernetes shows them in a message: `{"app":"web"}`.
fn as_json(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{:?}:{:?}", &*key, &*value)).collect();
    format!("{{{}}}", pairs.join(","))
}
