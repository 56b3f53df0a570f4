//! Counts, combines and limits the Events of one component, as client-go's recorder does for kubelet and controllers.
//!
//! Kubernetes: staging/src/k8s.io/client-go/tools/record/events_cache.go. Its caches hold 4,096 entries; here an entry
//! lives until [`EventRecorder::forget`], which its owner calls when the object is gone.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::kernel::{Duration, Time};

use super::{Event, EventType, Meta, Name, ObjectReference, Text, Uid};

/// The recorder of one component (on one host).
#[derive(Clone, Debug)]
pub struct EventRecorder {
    component: Name,
    host: Name,
    objects: FxHashMap<Uid, Box<AboutObject>>,
}

#[derive(Clone, Debug)]
struct AboutObject {
    /// Normal ones and warnings each have their own allowance.
    allowed: [Allowance; 2],
    written: SmallVec<[Written; 0]>,
    similar: SmallVec<[Similar; 0]>,
}

/// Events that may still be written at once, and when that was reckoned.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    tokens: u32,
    refilled: Time,
}

#[derive(Clone, Debug)]
struct Written {
    kind: EventType,
    reason: Name,
    field_path: Name,
    message: Text,
    name: Name,
    count: u32,
    first: Time,
}

/// Events alike but for their message.
#[derive(Clone, Debug)]
struct Similar {
    kind: EventType,
    reason: Name,
    field_path: Name,
    messages: SmallVec<[Text; 1]>,
    last: Time,
}

/// Events of one type about one object that may be written at once (`getSpamKey`: source, object, type).
const BURST: u32 = 25;
/// After the burst one more each this long.
const REFILL: Duration = Duration::from_secs(300);
/// So many different messages of similar events are combined into one.
const COMBINE_AT: usize = 10;
/// Within this time.
const COMBINE_WITHIN: Duration = Duration::from_secs(600);

impl EventRecorder {
    /// The recorder of `component`, on `host` if it is a kubelet.
    pub fn new(component: &str, host: Name) -> EventRecorder {
        EventRecorder { component: Name::new(component), host, objects: FxHashMap::default() }
    }

    /// The Event to write for something that happened `now` about `involved`: a new one (count 1), or the same name as
    /// before with its count raised, to be patched. None if the object has had too many.
    pub fn record(
        &mut self,
        now: Time,
        involved: ObjectReference,
        kind: EventType,
        reason: &str,
        message: impl Into<Text>,
    ) -> Option<Event> {
        let (reason, mut message) = (Name::new(reason), message.into());
        let about = self.objects.entry(involved.uid).or_insert_with(|| {
            let allowed = [Allowance { tokens: BURST, refilled: now }; 2];
            Box::new(AboutObject { allowed, written: SmallVec::new(), similar: SmallVec::new() })
        });
        let combined = about.combine(now, kind, reason, involved.field_path, &message);
        if combined {
            message = Text::new(format!("(combined from similar events): {message}"));
        }
        let known = about.written.iter_mut().find(|written| {
            written.kind == kind
                && written.reason == reason
                && written.field_path == involved.field_path
                && (written.message == message || (combined && written.message.starts_with("(combined from")))
        });
        let (name, count, first) = match known {
            Some(written) => {
                written.count += 1;
                written.message = message.clone();
                (written.name, written.count, written.first)
            }
            None => {
                // Kubernetes names an Event by its object and the time in hexadecimal nanoseconds.
                let serial = now.as_nanos() + about.written.len() as u64;
                let name = event_name(involved.name, serial);
                about.written.push(Written {
                    kind,
                    reason,
                    field_path: involved.field_path,
                    message: message.clone(),
                    name,
                    count: 1,
                    first: now,
                });
                (name, 1, now)
            }
        };
        if !about.allowed[usize::from(kind == EventType::Warning)].take(now) {
            return None;
        }
        let namespace = if involved.namespace.is_empty() { Name::new("default") } else { involved.namespace };
        Some(Event {
            meta: Meta { namespace, name, ..Meta::default() },
            involved,
            kind,
            reason,
            message,
            count,
            first,
            last: now,
            component: self.component,
            host: self.host,
        })
    }

    /// Drops what is remembered about an object that is gone.
    pub fn forget(&mut self, uid: Uid) {
        self.objects.remove(&uid);
    }
}

/// The name of an Event about the object of this name: `web.0000000012ab34cd`, as Kubernetes makes it from the time.
pub fn event_name(object: Name, nanos: u64) -> Name {
    let mut text = String::with_capacity(object.len() + 17);
    text.push_str(&object);
    text.push('.');
    for digit in (0..16).rev() {
        let digit = (nanos >> (digit * 4)) as usize & 15;
        text.push(char::from(b"0123456789abcdef"[digit]));
    }
    Name::from(text)
}

impl AboutObject {
    /// True if this event is one too many of its kind and is written as a combined one.
    fn combine(&mut self, now: Time, kind: EventType, reason: Name, field_path: Name, message: &Text) -> bool {
        let at = self
            .similar
            .iter()
            .position(|similar| similar.kind == kind && similar.reason == reason && similar.field_path == field_path);
        let at = at.unwrap_or_else(|| {
            self.similar.push(Similar { kind, reason, field_path, messages: SmallVec::new(), last: now });
            self.similar.len() - 1
        });
        let similar = &mut self.similar[at];
        if now.since(similar.last) > COMBINE_WITHIN {
            similar.messages.clear();
        }
        similar.last = now;
        if !similar.messages.contains(message) {
            similar.messages.push(message.clone());
        }
        if similar.messages.len() < COMBINE_AT {
            return false;
        }
        similar.messages.remove(0);
        true
    }
}

impl Allowance {
    fn take(&mut self, now: Time) -> bool {
        let gained = now.since(self.refilled).as_nanos() / REFILL.as_nanos();
        if gained > 0 {
            self.tokens = (u64::from(self.tokens) + gained).min(u64::from(BURST)) as u32;
            self.refilled += REFILL * gained;
        }
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn pod() -> ObjectReference {
        ObjectReference {
            kind: Kind::Pod,
            namespace: Name::new("default"),
            name: Name::new("web"),
            uid: Uid(7),
            field_path: Name::default(),
        }
    }

    #[test]
    fn the_same_event_raises_its_count_under_the_same_name() {
        let mut recorder = EventRecorder::new("kubelet", Name::new("n1"));
        let first = recorder.record(Time::from_secs(1), pod(), EventType::Warning, "BackOff", "again").unwrap();
        let second = recorder.record(Time::from_secs(9), pod(), EventType::Warning, "BackOff", "again").unwrap();
        assert_eq!((first.count, second.count), (1, 2));
        assert_eq!(first.meta.name, second.meta.name);
        assert_eq!((second.first, second.last), (Time::from_secs(1), Time::from_secs(9)));
    }

    #[test]
    fn an_object_gets_a_burst_of_25_warnings_then_one_each_5_minutes() {
        let mut recorder = EventRecorder::new("kubelet", Name::new("n1"));
        let mut written = |second| {
            recorder.record(Time::from_secs(second), pod(), EventType::Warning, "Unhealthy", "probe failed").is_some()
        };
        let at_once = (0..60).filter(|&second| written(second)).count();
        assert_eq!(at_once, 25);
        assert!(!written(299));
        assert!(written(301));
        assert!(!written(302));
        let normal = recorder.record(Time::from_secs(303), pod(), EventType::Normal, "Pulled", "there");
        assert!(normal.is_some(), "normal events have their own burst");
    }

    #[test]
    fn ten_similar_messages_are_combined() {
        let mut recorder = EventRecorder::new("kubelet", Name::new("n1"));
        let messages: Vec<String> = (0..11)
            .map(|n| {
                let at = Time::from_secs(n);
                recorder
                    .record(at, pod(), EventType::Normal, "Pulling", format!("image {n}"))
                    .unwrap()
                    .message
                    .to_string()
            })
            .collect();
        assert_eq!(messages[8], "image 8");
        assert_eq!(messages[9], "(combined from similar events): image 9");
        assert_eq!(messages[10], "(combined from similar events): image 10");
    }
}
