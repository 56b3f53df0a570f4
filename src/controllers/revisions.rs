//! ControllerRevisions: the templates that a StatefulSet or DaemonSet has had.
//!
//! Kubernetes: pkg/controller/history/controller_history.go.

use std::sync::Arc;

use crate::model::workload::{ControllerRevision, PodTemplate};
use crate::model::{Key, Kind, Meta, Name, Object, Uid};
use crate::protocol::api::Call;

use super::informer::Cache;
use super::pod_control::controller_reference;
use super::template::{same_template, template_hash};

/// The label of pods and revisions.
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// The owner's revisions, oldest first.
pub fn of(cache: &Cache, owner: Uid) -> Vec<Arc<ControllerRevision>> {
    let keys = cache.owned_by(owner).filter(|key| key.kind == Kind::ControllerRevision);
    let mut revisions: Vec<Arc<ControllerRevision>> = keys
        .filter_map(|key| match cache.get(key)? {
            Object::ControllerRevision(revision) => Some(revision.clone()),
            _ => None,
        })
        .collect();
    revisions.sort_by_key(|revision| (revision.revision, revision.meta.created, revision.meta.name));
    revisions
}

/// The revision of the present template, and the call that makes it the newest one if it is not.
pub fn of_template(
    revisions: &[Arc<ControllerRevision>],
    kind: Kind,
    owner: &Meta,
    template: &Arc<PodTemplate>,
    collisions: i32,
) -> (Arc<ControllerRevision>, Option<Call>) {
    let next = revisions.last().map_or(1, |newest| newest.revision + 1);
    let equal = revisions.iter().rposition(|revision| same_template(&revision.template, template));
    match equal {
        Some(at) if at + 1 == revisions.len() => (revisions[at].clone(), None),
        Some(at) => {
            let newest = Arc::new(ControllerRevision { revision: next, ..(*revisions[at]).clone() });
            (newest.clone(), Some(Call::Update(Object::ControllerRevision(newest))))
        }
        None => {
            let hash = template_hash(template, collisions);
            let meta = Meta {
                namespace: owner.namespace,
                name: Name::from(format!("{}-{hash}", owner.name)),
                labels: template.labels.with(Name::new(REVISION_LABEL), Name::new(&hash)),
                owner: Some(controller_reference(kind, owner)),
                ..Meta::default()
            };
            let revision = Arc::new(ControllerRevision { meta, revision: next, template: template.clone() });
            (revision.clone(), Some(Call::Create(Object::ControllerRevision(revision))))
        }
    }
}

/// The keys of the oldest revisions beyond the limit that nobody uses.
pub fn beyond_history(
    revisions: &[Arc<ControllerRevision>],
    limit: i32,
    is_live: impl Fn(Name) -> bool,
) -> Vec<(Key, Uid)> {
    let unused: Vec<_> = revisions.iter().filter(|revision| !is_live(revision.meta.name)).collect();
    let surplus = unused.len().saturating_sub(limit.max(0) as usize);
    let key = |revision: &ControllerRevision| (revision.meta.key(Kind::ControllerRevision), revision.meta.uid);
    unused.into_iter().take(surplus).map(|revision| key(revision)).collect()
}
