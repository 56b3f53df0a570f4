//! `metadata`, conditions and references to other objects.
//!
//! Kubernetes: staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::kernel::Time;
use crate::model::{Condition, ConditionStatus, Deletion, Kind, Meta, Name, OwnerReference, Text};

use super::context::{Context, DNS_SUBDOMAIN, is_dns_subdomain, name, plain_labels, text};
use super::path::Path;

/// Bytes of all annotations together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

impl Context<'_> {
    /// `metadata` of an object of this kind; without a namespace it is in `default`, as kubectl has it.
    pub(super) fn meta(&mut self, kind: Kind, metadata: &meta::ObjectMeta) -> Meta {
        self.stored = metadata.uid.as_ref().is_some_and(|uid| !uid.is_empty());
        let at = Path::Root.field("metadata");
        let object_name = name(metadata.name.as_ref());
        let generate_name = name(metadata.generate_name.as_ref());
        let name_at = at.field("name");
        if object_name.is_empty() {
            if generate_name.is_empty() {
                self.required(&name_at, "name or generateName is required");
            }
        } else {
            self.object_name(kind, &name_at, &object_name);
        }
        let namespace = match text(metadata.namespace.as_ref()) {
            _ if !kind.is_namespaced() => Name::default(),
            "" => Name::new("default"),
            namespace => Name::new(namespace),
        };
        let annotations_at = at.field("annotations");
        let size: usize = metadata.annotations.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
        if size > MAX_ANNOTATIONS {
            self.too_long(&annotations_at, MAX_ANNOTATIONS);
        }
        for key in metadata.annotations.iter().flatten().map(|(key, _)| key) {
            // Kubernetes checks an annotation's key in lower case.
            self.label_key(&annotations_at, &key.to_ascii_lowercase());
        }
        Meta {
            namespace,
            name: object_name,
            uid: self.uids.read(text(metadata.uid.as_ref())),
            resource_version: metadata.resource_version.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0),
            generation: metadata.generation.and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
            labels: self.labels(&at.field("labels"), metadata.labels.as_ref()),
            annotations: plain_labels(metadata.annotations.as_ref()),
            owner: self.owner(metadata.owner_references.as_deref().unwrap_or_default()),
            created: self.time_or_zero(metadata.creation_timestamp.as_ref()),
            deletion: metadata.deletion_timestamp.as_ref().map(|at| Deletion {
                at: self.time(at),
                grace: crate::kernel::Duration::from_secs(
                    metadata.deletion_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok()).unwrap_or(0),
                ),
            }),
            finalizers: metadata.finalizers.iter().flatten().map(Name::from).collect(),
            generate_name,
            source: (self.where_is)(""),
        }
    }

    fn object_name(&mut self, kind: Kind, at: &Path<'_>, object_name: &str) {
        match kind {
            Kind::Namespace | Kind::Service => self.dns_label(at, object_name),
            // Their names are made by machines, and Kubernetes asks less of them.
            Kind::Event => {}
            Kind::CronJob if object_name.len() > 52 => {
                self.bad(at, format!("{object_name:?}"), "must be no more than 52 characters");
            }
            _ if !is_dns_subdomain(object_name) => self.bad(at, format!("{object_name:?}"), DNS_SUBDOMAIN),
            _ => {}
        }
    }

    /// The controller among the owners, or the only one. Owners of kinds that are not simulated do not count.
    fn owner(&mut self, owners: &[meta::OwnerReference]) -> Option<OwnerReference> {
        let controller = owners.iter().find(|owner| owner.controller == Some(true));
        let only = if let [only] = owners { Some(only) } else { None };
        let owner = controller.or(only)?;
        let kind = Kind::ALL.iter().copied().find(|kind| kind.as_str() == owner.kind)?;
        Some(OwnerReference {
            kind,
            name: Name::from(&owner.name),
            uid: self.uids.read(&owner.uid),
            block_deletion: owner.block_owner_deletion == Some(true),
        })
    }

    /// A condition; `update` is whichever other time its kind has.
    pub(super) fn condition(
        &self,
        kind: &str,
        status: &str,
        reason: Option<&String>,
        message: Option<&String>,
        transition: Option<&meta::Time>,
        update: Option<&meta::Time>,
    ) -> Condition {
        let last_transition = self.time_or_zero(transition);
        Condition {
            kind: Name::new(kind),
            status: condition_status(status),
            reason: name(reason),
            message: Text::new(text(message)),
            last_transition,
            last_update: update.map_or(last_transition, |time| self.time(time)),
        }
    }

    /// A timestamp that may be missing.
    pub(super) fn optional_time(&self, time: Option<&meta::Time>) -> Option<Time> {
        time.map(|time| self.time(time))
    }
}

/// A condition's status; what is no status is not known.
pub(super) fn condition_status(status: &str) -> ConditionStatus {
    match status {
        "True" => ConditionStatus::True,
        "False" => ConditionStatus::False,
        _ => ConditionStatus::Unknown,
    }
}
