//! `rollout restart`, `rollout undo`, `rollout pause` and `resume`, `set image`: changes of a workload's template.
//!
//! Kubernetes: staging/src/k8s.io/kubectl/pkg/polymorphichelpers/{objectrestarter,rollback,objectpauser}.go,
//! …/pkg/cmd/set/set_image.go.

use std::sync::Arc;

use crate::model::workload::PodTemplate;
use crate::model::{Key, Kind, Name, Object, Selector};
use crate::protocol::api::{Answer, Call, Patch, Status};

use super::{Hands, Progress, list_of, object_of, shown};

/// A change of a template under way.
#[derive(Debug)]
pub(super) struct Rollout {
    target: Key,
    change: Change,
    now: Step,
}

#[derive(Debug)]
enum Change {
    Restart,
    Undo(Option<i64>),
    Pause(bool),
    Images(Vec<(Name, Name)>),
}

/// Which answer is awaited.
#[derive(Debug)]
enum Step {
    Reading,
    /// The revisions of this workload.
    Revisions(Object),
    Writing,
}

/// The annotation by which kubectl makes a template differ.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// The Deployment controller's number of a ReplicaSet.
const REVISION: &str = "deployment.kubernetes.io/revision";
const TEMPLATE_HASH: &str = "pod-template-hash";

impl Rollout {
    fn new(target: Key, change: Change) -> Rollout {
        Rollout { target, change, now: Step::Reading }
    }

    pub(super) fn restart(target: Key) -> Rollout {
        Rollout::new(target, Change::Restart)
    }

    pub(super) fn undo(target: Key, to_revision: Option<i64>) -> Rollout {
        Rollout::new(target, Change::Undo(to_revision.filter(|revision| *revision > 0)))
    }

    pub(super) fn pause(target: Key, paused: bool) -> Rollout {
        Rollout::new(target, Change::Pause(paused))
    }

    pub(super) fn set_image(target: Key, images: Vec<(Name, Name)>) -> Rollout {
        Rollout::new(target, Change::Images(images))
    }

    pub(super) fn begin(&mut self, hands: &mut Hands<'_, '_>) -> Progress {
        hands.ask(0, Call::Get(self.target));
        Progress::Waiting
    }

    pub(super) fn answered(&mut self, result: Result<Answer, Status>, hands: &mut Hands<'_, '_>) -> Progress {
        let next = match std::mem::replace(&mut self.now, Step::Writing) {
            Step::Reading => match object_of(result) {
                Ok(object) => self.after_reading(object, hands),
                Err(status) => {
                    hands.say_error(self.target, &status);
                    return Progress::Done;
                }
            },
            Step::Revisions(object) => match list_of(result) {
                Ok(revisions) => self.undone(&object, &revisions),
                Err(status) => {
                    hands.say_error(self.target, &status);
                    return Progress::Done;
                }
            },
            Step::Writing => {
                if let Err(status) = result {
                    hands.say_error(self.target, &status);
                }
                return Progress::Done;
            }
        };
        match next {
            Ok(call) => {
                hands.ask(0, call);
                Progress::Waiting
            }
            Err(said) => {
                hands.say(self.target, said);
                Progress::Done
            }
        }
    }

    /// The request that follows, or what kubectl says instead.
    fn after_reading(&mut self, object: Object, hands: &Hands<'_, '_>) -> Result<Call, String> {
        let target = self.target;
        let about = shown(&target);
        let paused = matches!(&object, Object::Deployment(deployment) if deployment.paused);
        match &self.change {
            Change::Pause(wanted) => match &object {
                Object::Deployment(_) if paused == *wanted => {
                    let word = if *wanted { "already paused" } else { "not paused" };
                    Err(format!("error: {about} is {word}"))
                }
                Object::Deployment(_) => Ok(Call::Patch(target, Patch::Paused(*wanted))),
                _ => {
                    let verb = if *wanted { "pausing" } else { "resuming" };
                    Err(format!("error: {about} {verb} is not supported"))
                }
            },
            Change::Restart if paused => {
                Err(format!("error: can't restart paused deployment (run rollout resume first): {about}"))
            }
            Change::Restart => {
                let template = template_of(&object).ok_or_else(|| format!("error: {about} restarting is not supported"))?;
                let moment = rfc3339(hands.epoch_seconds, hands.fx.now().as_secs());
                let key = Name::new(RESTARTED_AT);
                if template.annotations.get(key).is_some_and(|before| before == *moment.as_str()) {
                    return Err("error: if restart has already been triggered within the past second, please wait before attempting to trigger another".to_owned());
                }
                let annotations = template.annotations.with(key, Name::new(&moment));
                let template = PodTemplate { annotations, ..(**template).clone() };
                Ok(Call::Patch(target, Patch::Template(Arc::new(template))))
            }
            Change::Images(images) => {
                let template = template_of(&object).ok_or_else(|| format!("error: {about} has no pod template"))?;
                let changed = with_images(template, images)?;
                Ok(Call::Patch(target, Patch::Template(changed)))
            }
            Change::Undo(_) if paused => Err(
                "error: you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again"
                    .to_owned(),
            ),
            Change::Undo(_) => {
                let (kind, selector) = match &object {
                    Object::Deployment(deployment) => (Kind::ReplicaSet, deployment.selector.clone()),
                    Object::StatefulSet(_) | Object::DaemonSet(_) => (Kind::ControllerRevision, Selector::default()),
                    _ => return Err(format!("error: no rollbacker has been implemented for {:?}", target.kind.as_str())),
                };
                self.now = Step::Revisions(object);
                Ok(Call::List { kind, namespace: target.namespace, selector })
            }
        }
    }

    /// The template of the revision to go back to.
    fn undone(&self, object: &Object, revisions: &[Object]) -> Result<Call, String> {
        let Change::Undo(wanted) = self.change else { return Err(String::new()) };
        let owner = object.meta().uid;
        let mut known: Vec<(i64, PodTemplate)> = revisions
            .iter()
            .filter(|revision| revision.meta().is_owned_by(owner))
            .filter_map(|revision| match revision {
                Object::ReplicaSet(set) => {
                    let number = set.meta.annotations.get(Name::new(REVISION))?.parse().ok()?;
                    let labels = set.template.labels.without(Name::new(TEMPLATE_HASH));
                    Some((number, PodTemplate { labels, ..(*set.template).clone() }))
                }
                Object::ControllerRevision(revision) => Some((revision.revision, (*revision.template).clone())),
                _ => None,
            })
            .collect();
        known.sort_by_key(|(number, _)| *number);
        let chosen = match wanted {
            Some(wanted) => known.iter().find(|(number, _)| *number == wanted),
            None => known.len().checked_sub(2).and_then(|before_last| known.get(before_last)),
        };
        let Some((number, template)) = chosen else {
            return Err(match wanted {
                Some(wanted) => format!("error: unable to find specified revision {wanted} in history"),
                None => format!(
                    "error: no rollout history found for {} \"{}\"",
                    self.target.kind.as_str().to_ascii_lowercase(),
                    self.target.name
                ),
            });
        };
        if template_of(object).is_some_and(|current| **current == *template) {
            return Err(format!("skipped rollback (current template already matches revision {number})"));
        }
        Ok(Call::Patch(self.target, Patch::Template(Arc::new(template.clone()))))
    }
}

fn template_of(object: &Object) -> Option<&Arc<PodTemplate>> {
    match object {
        Object::Deployment(one) => Some(&one.template),
        Object::ReplicaSet(one) | Object::ReplicationController(one) => Some(&one.template),
        Object::StatefulSet(one) => Some(&one.template),
        Object::DaemonSet(one) => Some(&one.template),
        _ => None,
    }
}

/// The template with other images; `*` means all containers.
fn with_images(template: &Arc<PodTemplate>, images: &[(Name, Name)]) -> Result<Arc<PodTemplate>, String> {
    let mut changed = (**template).clone();
    let spec = Arc::make_mut(&mut changed.spec);
    for (container, image) in images {
        let mut found = false;
        for list in [&mut spec.init_containers, &mut spec.containers] {
            let replaced = list.iter().map(|one| {
                let mut one = one.clone();
                if *container == *"*" || one.name == *container {
                    one.image = *image;
                    found = true;
                }
                one
            });
            *list = replaced.collect();
        }
        if !found {
            return Err(format!("error: unable to find container named \"{container}\""));
        }
    }
    if *changed.spec == *template.spec {
        return Err("image unchanged".to_owned());
    }
    Ok(Arc::new(changed))
}

/// A moment of the run as kubectl writes it into the annotation: RFC 3339, UTC.
fn rfc3339(epoch_seconds: i64, seconds: u64) -> String {
    let moment = epoch_seconds.saturating_add_unsigned(seconds);
    let (days, second) = (moment.div_euclid(86_400), moment.rem_euclid(86_400));
    // Days since 0000-03-01, in eras of 400 years of 146,097 days, so that the leap day ends a year.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn moments_print_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (1_709_164_799, "2024-02-28T23:59:59Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds, 0), text);
        }
        assert_eq!(rfc3339(1_767_225_600, 3_661), "2026-01-01T01:01:01Z");
    }
}
