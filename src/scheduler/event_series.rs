//! The scheduler's Events. Equal ones about the same version of a pod are one series.
//!
//! Kubernetes: staging/src/k8s.io/client-go/tools/events/event_recorder.go, event_broadcaster.go. The second of a series
//! raises its count; later ones are written with the refresh every 30 minutes only, which is left out.

use rustc_hash::FxHashMap;

use crate::kernel::{Duration, Time};
use crate::model::event_recorder::event_name;
use crate::model::{Event, EventType, Kind, Meta, Name, ObjectReference, Pod, Text, Uid};

/// A series without a new occurrence for this long is over.
const FINISHED_AFTER: Duration = Duration::from_secs(360);

/// The last series of each pod.
#[derive(Debug, Default)]
pub struct EventSeries {
    last: FxHashMap<Uid, Series>,
    serial: u64,
}

#[derive(Debug)]
struct Series {
    resource_version: u64,
    event: Event,
}

impl EventSeries {
    /// The Event to write about `pod`, if one is to be written.
    pub fn record(
        &mut self,
        now: Time,
        component: Name,
        pod: &Pod,
        kind: EventType,
        reason: &str,
        message: &str,
    ) -> Option<Event> {
        let resource_version = pod.meta.resource_version;
        if let Some(series) = self.last.get_mut(&pod.meta.uid) {
            let same = series.event.reason == *reason && series.resource_version == resource_version;
            if same && now.since(series.event.last) <= FINISHED_AFTER {
                series.event.count += 1;
                series.event.last = now;
                // The note of the first one stays.
                return (series.event.count == 2).then(|| series.event.clone());
            }
        }
        let involved = ObjectReference {
            kind: Kind::Pod,
            namespace: pod.meta.namespace,
            name: pod.meta.name,
            uid: pod.meta.uid,
            field_path: Name::default(),
        };
        self.serial += 1;
        let event = Event {
            meta: Meta::named(pod.meta.namespace, event_name(pod.meta.name, now.as_nanos() + self.serial)),
            involved,
            kind,
            reason: Name::new(reason),
            message: Text::new(message),
            count: 1,
            first: now,
            last: now,
            component,
            host: Name::default(),
        };
        // Only failures come again.
        if kind == EventType::Warning {
            self.last.insert(pod.meta.uid, Series { resource_version, event: event.clone() });
        }
        Some(event)
    }

    /// Drops what is remembered about a pod that is gone.
    pub fn forget(&mut self, pod: Uid) {
        self.last.remove(&pod);
    }
}
