//! Images: pull policies, the queue of pulls, the limit of their rate, and the back-off of those that fail.
//!
//! Kubernetes: pkg/kubelet/images/image_manager.go, puller.go, pkg/kubelet/images/helpers.go.

use std::collections::{BTreeMap, VecDeque};

use crate::kernel::{Duration, Time};
use crate::model::pod::ImagePullPolicy;
use crate::model::{EventType, Name, Text, Uid};
use crate::protocol::cri::{Answer, Call, Code, Error};
use crate::protocol::pull::AuthConfig;
use crate::trace::{Stage, StageEdge};

use super::backoff::{self, Backoff};
use super::calls::CriOwner;
use super::containers::StartStep;
use super::credentials::PullRecords;
use super::pod_actions::ContainerRef;
use super::sync_pod::{Step, Sync};
use super::{Fx, Kubelet};

/// The puller of a node.
#[derive(Debug, Default)]
pub struct Puller {
    next: u64,
    /// Pulls that wait for their turn.
    waiting: VecDeque<Pull>,
    /// Pulls under way, by number.
    running: BTreeMap<u64, Pull>,
    /// With what the images here were pulled.
    records: PullRecords,
    /// The token bucket of `registryPullQPS`: how much time's worth of tokens is there, and when that was reckoned.
    bucket: Option<(Duration, Time)>,
}

#[derive(Debug)]
struct Pull {
    pod: Uid,
    image: Name,
    asked: Time,
    began: Time,
    /// Tried in turn; none: the pull goes without.
    credentials: Vec<AuthConfig>,
    /// What those that were tried have failed with.
    errors: Vec<Text>,
    /// PullImage is done; the image's size is asked for.
    is_sizing: bool,
}

/// How a pull ended.
#[derive(Debug)]
enum Pulled {
    Done { alone: Duration, with_waiting: Duration, size: i64 },
    Failed(Text),
}

impl Puller {
    /// Takes a token, if there is one.
    fn take_token(&mut self, qps: u32, burst: u32, now: Time) -> bool {
        if qps == 0 {
            return true;
        }
        let per_token = Duration::from_secs(1) / u64::from(qps);
        let full = per_token * u64::from(burst.max(1));
        let (tokens, reckoned) = self.bucket.unwrap_or((full, now));
        let tokens = (tokens + now.since(reckoned)).min(full);
        let taken = tokens >= per_token;
        self.bucket = Some((if taken { tokens.saturating_sub(per_token) } else { tokens }, now));
        taken
    }
}

impl Pull {
    fn auth(&self) -> Option<AuthConfig> {
        self.credentials.get(self.errors.len()).copied()
    }
}

/// Several errors as one, each once.
fn aggregate(errors: &[Text]) -> Text {
    let mut distinct: Vec<&str> = Vec::new();
    for error in errors {
        if !distinct.contains(&error.as_str()) {
            distinct.push(error);
        }
    }
    match distinct[..] {
        [only] => Text::new(only),
        _ => Text::from(format!("[{}]", distinct.join(", "))),
    }
}

/// The image's name with the tag that it has if it names none.
pub fn with_default_tag(image: Name) -> Name {
    let last = image.as_str().rsplit('/').next().unwrap_or_default();
    if image.is_empty() || last.contains(':') || image.contains('@') {
        return image;
    }
    Name::from(format!("{image}:latest"))
}

/// What is wrong with an image's name, as the reference library says it.
fn name_problem(image: &str) -> Option<String> {
    let without_digest = image.split('@').next().unwrap_or_default();
    let mut parts: Vec<&str> = without_digest.split('/').collect();
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        parts.remove(0);
    }
    if let Some(last) = parts.last_mut() {
        *last = last.split(':').next().unwrap_or_default();
    }
    let problem = if parts.iter().any(|part| part.chars().any(|c| c.is_ascii_uppercase())) {
        "invalid reference format: repository name must be lowercase"
    } else if parts.iter().any(|part| {
        part.is_empty() || !part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    }) {
        "invalid reference format"
    } else {
        return None;
    };
    Some(format!("failed to parse image reference \"{image}\": {problem}"))
}

impl Kubelet {
    /// Makes sure that the image of a container is there (`EnsureImageExists`).
    pub(super) fn ensure_image(&mut self, uid: Uid, mut sync: Box<Sync>, one: ContainerRef, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let Some(container) = one.of(&entry.pod.spec) else { return };
        let (name, image, policy) = (container.name, container.image, container.image_pull_policy);
        self.stage(uid, name, Stage::Pull, StageEdge::Begin, fx);
        if policy == ImagePullPolicy::Always {
            return self.pull_image(uid, sync, one, fx);
        }
        sync.step = Step::Start(StartStep::InspectImage);
        self.put_sync(uid, sync);
        self.calls.cri(CriOwner::Worker(uid), Call::ImageStatus { image: with_default_tag(image) }, fx);
    }

    /// The runtime said whether it has the image.
    pub(super) fn image_inspected(
        &mut self,
        uid: Uid,
        sync: Box<Sync>,
        one: ContainerRef,
        result: Result<Answer, Error>,
        fx: &mut Fx,
    ) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        let Some(container) = one.of(&pod.spec) else { return };
        let image = container.image;
        let credentials = sync.secrets.keyring.lookup(&image);
        let is_open = self.puller.records.allows(with_default_tag(image), &credentials);
        match result {
            Ok(Answer::ImageStatus(Some(_))) if !is_open && container.image_pull_policy == ImagePullPolicy::Never => {
                let message = Text::from(format!(
                    "image \"{image}\" is present but the pod has no credentials that it was pulled with, and its pull policy is Never"
                ));
                self.pod_event(&pod, Some(one), EventType::Warning, "ErrImageNeverPull", message.clone(), fx);
                self.image_failed(uid, sync, one, "ErrImageNeverPull", message, fx);
            }
            Ok(Answer::ImageStatus(Some(_))) if is_open => {
                let message =
                    format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
                self.pod_event(&pod, Some(one), EventType::Normal, "Pulled", message.into(), fx);
                self.image_is_there(uid, sync, one, fx);
            }
            Ok(_) if container.image_pull_policy == ImagePullPolicy::Never => {
                let message =
                    Text::from(format!("Container image \"{image}\" is not present with pull policy of Never"));
                self.pod_event(&pod, Some(one), EventType::Warning, "ErrImageNeverPull", message.clone(), fx);
                self.image_failed(uid, sync, one, "ErrImageNeverPull", message, fx);
            }
            Ok(_) => self.pull_image(uid, sync, one, fx),
            Err(error) => {
                let message = Text::from(format!("Failed to inspect image \"{image}\": {error}"));
                self.pod_event(&pod, Some(one), EventType::Warning, "InspectFailed", message.clone(), fx);
                self.image_failed(uid, sync, one, "ImageInspectError", message, fx);
            }
        }
    }

    fn image_failed(&mut self, uid: Uid, sync: Box<Sync>, one: ContainerRef, reason: &str, message: Text, fx: &mut Fx) {
        let name = self.pods.get(&uid).and_then(|entry| one.of(&entry.pod.spec)).map(|container| container.name);
        self.stage(uid, name.unwrap_or_default(), Stage::Pull, StageEdge::Failed(message.clone()), fx);
        self.start_error(uid, one, reason, fx);
        self.start_failed(uid, sync, reason, message, fx);
    }

    fn pull_image(&mut self, uid: Uid, mut sync: Box<Sync>, one: ContainerRef, fx: &mut Fx) {
        let now = fx.now();
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        let Some(container) = one.of(&pod.spec) else { return };
        let image = container.image;
        let known = entry.pull_backoffs.iter().find(|(of, ..)| *of == image);
        if let Some((_, entry, error)) = known
            && now.since(entry.updated) < entry.wait
        {
            let event = Text::from(format!("Back-off pulling image \"{image}\""));
            let message = Text::from(format!("{event}: ErrImagePull: {error}"));
            let text = format!("back-off {} before {image} is pulled again", entry.wait);
            self.pod_event(&pod, Some(one), EventType::Normal, "BackOff", event, fx);
            self.decided(uid, text, fx);
            return self.image_failed(uid, sync, one, "ImagePullBackOff", message, fx);
        }
        let event = Text::from(format!("Pulling image \"{image}\""));
        self.pod_event(&pod, Some(one), EventType::Normal, "Pulling", event, fx);
        sync.step = Step::Start(StartStep::Pull);
        let credentials = sync.secrets.keyring.lookup(&image);
        self.put_sync(uid, sync);
        let errors = Vec::new();
        self.puller.waiting.push_back(Pull {
            pod: uid,
            image,
            asked: now,
            began: now,
            credentials,
            errors,
            is_sizing: false,
        });
        self.pull_next(fx);
    }

    /// Begins the pulls whose turn it is.
    fn pull_next(&mut self, fx: &mut Fx) {
        let settings = &self.config.kubelet;
        let most = match (settings.serialize_image_pulls, settings.max_parallel_image_pulls) {
            (true, _) => 1,
            (false, 0) => usize::MAX,
            (false, most) => most as usize,
        };
        let (qps, burst) = (settings.registry_pull_qps, settings.registry_burst);
        while self.puller.running.len() < most {
            let Some(mut pull) = self.puller.waiting.pop_front() else { return };
            pull.began = fx.now();
            if let Some(problem) = name_problem(&pull.image) {
                self.pull_ended(pull.pod, pull.image, Pulled::Failed(problem.into()), fx);
                continue;
            }
            if !self.puller.take_token(qps, burst, fx.now()) {
                self.pull_ended(pull.pod, pull.image, Pulled::Failed(Text::new("pull QPS exceeded")), fx);
                continue;
            }
            self.puller.next += 1;
            let number = self.puller.next;
            self.puller.running.insert(number, pull);
            self.call_pull(number, fx);
        }
    }

    /// Asks the runtime for a pull, with the first credentials that were not tried.
    fn call_pull(&mut self, number: u64, fx: &mut Fx) {
        let Some(pull) = self.puller.running.get(&number) else { return };
        let sandbox = match self.pods.get(&pull.pod).and_then(|entry| entry.worker.task.as_ref()) {
            Some(super::pod_worker::Task::Sync(sync)) => sync.sandbox_config.clone(),
            _ => None,
        };
        let call = Call::PullImage { image: with_default_tag(pull.image), auth: pull.auth(), sandbox };
        self.calls.cri(CriOwner::Puller(number), call, fx);
    }

    /// The runtime answered the puller.
    pub(super) fn pull_answered(&mut self, number: u64, result: Result<Answer, Error>, fx: &mut Fx) {
        let Some(pull) = self.puller.running.get_mut(&number) else { return };
        let outcome = match result {
            Ok(Answer::Image(_)) if !pull.is_sizing => {
                pull.is_sizing = true;
                let image = with_default_tag(pull.image);
                return self.calls.cri(CriOwner::Puller(number), Call::ImageStatus { image }, fx);
            }
            Ok(Answer::ImageStatus(image)) => Pulled::Done {
                alone: fx.now().since(pull.began),
                with_waiting: fx.now().since(pull.asked),
                size: image.map_or(0, |image| image.size_bytes),
            },
            Ok(_) => Pulled::Failed(Text::new("unexpected answer of the runtime")),
            Err(error) => {
                pull.errors.push(told(&error));
                if pull.errors.len() < pull.credentials.len() {
                    return self.call_pull(number, fx);
                }
                Pulled::Failed(aggregate(&pull.errors))
            }
        };
        let (pod, image, auth) = (pull.pod, pull.image, pull.auth());
        self.puller.running.remove(&number);
        if matches!(outcome, Pulled::Done { .. }) {
            self.image_pulled(image, fx.now());
            self.puller.records.pulled(with_default_tag(image), auth);
            self.images_changed(fx);
        }
        self.pull_ended(pod, image, outcome, fx);
        self.pull_next(fx);
    }

    fn pull_ended(&mut self, uid: Uid, image: Name, outcome: Pulled, fx: &mut Fx) {
        let Some(sync) = self.take_sync(uid) else { return };
        let Some(one) = sync.actions.start.get(sync.start).copied() else { return self.put_sync(uid, sync) };
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        let pod = entry.pod.clone();
        match outcome {
            Pulled::Done { alone, with_waiting, size } => {
                let message = format!(
                    "Successfully pulled image \"{image}\" in {} ({} including waiting). Image size: {size} bytes.",
                    Duration::from_millis(alone.as_millis()),
                    Duration::from_millis(with_waiting.as_millis())
                );
                entry.pull_backoffs.retain(|(of, ..)| *of != image);
                self.pod_event(&pod, Some(one), EventType::Normal, "Pulled", message.into(), fx);
                self.image_is_there(uid, sync, one, fx);
            }
            Pulled::Failed(error) => {
                let at = entry.pull_backoffs.iter().position(|(of, ..)| *of == image);
                let known: Option<Backoff> = at.map(|at| entry.pull_backoffs[at].1);
                let next = backoff::next(known, fx.now(), fx.now(), backoff::INITIAL, backoff::MAX);
                match at {
                    Some(at) => entry.pull_backoffs[at] = (image, next, error.clone()),
                    None => entry.pull_backoffs.push((image, next, error.clone())),
                }
                let message = format!("Failed to pull image \"{image}\": {error}");
                self.pod_event(&pod, Some(one), EventType::Warning, "Failed", message.into(), fx);
                let reason = ["RegistryUnavailable", "SignatureValidationFailed"]
                    .into_iter()
                    .find(|reason| error.starts_with(reason))
                    .unwrap_or("ErrImagePull");
                self.image_failed(uid, sync, one, reason, error, fx);
            }
        }
    }
}

/// The error of a pull as the kubelet tells it: the code of one that has none is left out
/// (staging/src/k8s.io/cri-client/pkg/remote_image.go).
fn told(error: &Error) -> Text {
    match error.code {
        Code::Unknown => error.message.clone(),
        _ => error.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_left_out_of_a_pulls_error() {
        for (code, expected) in [(Code::Unknown, "gone"), (Code::NotFound, "rpc error: code = NotFound desc = gone")] {
            assert_eq!(told(&Error::new(code, "gone")).as_str(), expected);
        }
    }

    #[test]
    fn a_name_without_tag_or_digest_means_latest() {
        for (image, full) in [
            ("nginx", "nginx:latest"),
            ("localhost:5000/web", "localhost:5000/web:latest"),
            ("localhost:5000/web:2", "localhost:5000/web:2"),
            ("web@sha256:0123", "web@sha256:0123"),
        ] {
            assert_eq!(with_default_tag(Name::new(image)), full);
        }
    }

    #[test]
    fn upper_case_and_empty_names_are_no_references() {
        for (image, problem) in [
            ("UPPER/bad:1", Some("repository name must be lowercase")),
            ("a//b", Some("invalid reference format")),
            ("localhost:5000/web:V1", None),
            ("registry.k8s.io/pause@sha256:0123", None),
        ] {
            let found = name_problem(image);
            assert_eq!(found.is_some(), problem.is_some(), "{image}");
            assert!(found.unwrap_or_default().ends_with(problem.unwrap_or_default()), "{image}");
        }
    }

    #[test]
    fn ten_pulls_at_once_then_five_a_second() {
        let mut puller = Puller::default();
        let mut taken = |millis: u64| puller.take_token(5, 10, Time::from_nanos(millis * 1_000_000));
        assert_eq!((0..12).filter(|_| taken(0)).count(), 10);
        assert!(!taken(199));
        assert!(taken(200));
        assert!(!taken(201));
    }
}
