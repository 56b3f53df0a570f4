//! ConfigMaps, Secrets, Leases and Events.
//!
//! Kubernetes: pkg/apis/core/validation/validation.go (ValidateConfigMap, ValidateSecret).

use std::sync::Arc;

use k8s_openapi::api::coordination::v1 as coordination;
use k8s_openapi::api::core::v1 as core;

use crate::kernel::{Duration, Time};
use crate::model::config::{ConfigData, Lease};
use crate::model::{Event, EventType, Kind, Name, Object, ObjectReference, Text};

use super::context::{Context, name, text};
use super::path::Path;

/// Bytes of all values of a ConfigMap or Secret.
const MAX_DATA: usize = 1024 * 1024;

impl Context<'_> {
    pub(super) fn config_map(&mut self, map: &core::ConfigMap) -> Object {
        let meta = self.meta(Kind::ConfigMap, &map.metadata);
        let data_at = Path::Root.field("data");
        let mut data = Vec::new();
        for (key, value) in map.data.iter().flatten() {
            self.config_key(&data_at, key);
            data.push((Name::from(key), Arc::from(value.as_bytes())));
        }
        let binary_at = Path::Root.field("binaryData");
        for (key, value) in map.binary_data.iter().flatten() {
            self.config_key(&binary_at, key);
            if map.data.as_ref().is_some_and(|data| data.contains_key(key)) {
                self.bad(&binary_at.key(key), format!("{key:?}"), "duplicate of key present in data");
            }
            data.push((Name::from(key), Arc::from(value.0.as_slice())));
        }
        let immutable = map.immutable == Some(true);
        Object::ConfigMap(Arc::new(self.config_data(meta, data, Name::default(), immutable)))
    }

    pub(super) fn secret(&mut self, secret: &core::Secret) -> Object {
        let meta = self.meta(Kind::Secret, &secret.metadata);
        let data_at = Path::Root.field("data");
        let strings = secret.string_data.as_ref();
        let mut data = Vec::new();
        for (key, value) in secret.data.iter().flatten() {
            self.config_key(&data_at, key);
            if !strings.is_some_and(|strings| strings.contains_key(key)) {
                data.push((Name::from(key), Arc::from(value.0.as_slice())));
            }
        }
        for (key, value) in strings.into_iter().flatten() {
            self.config_key(&data_at, key);
            data.push((Name::from(key), Arc::from(value.as_bytes())));
        }
        let kind = match text(secret.type_.as_ref()) {
            "" => "Opaque",
            kind => kind,
        };
        let immutable = secret.immutable == Some(true);
        Object::Secret(Arc::new(self.config_data(meta, data, Name::new(kind), immutable)))
    }

    fn config_data(
        &mut self,
        meta: crate::model::Meta,
        mut data: Vec<(Name, Arc<[u8]>)>,
        secret_type: Name,
        immutable: bool,
    ) -> ConfigData {
        data.sort_by_key(|(key, _)| *key);
        let size: usize = data.iter().map(|(_, value)| value.len()).sum();
        if size > MAX_DATA {
            self.too_long(&Path::Root, MAX_DATA);
        }
        ConfigData { meta, data, secret_type, immutable }
    }

    fn config_key(&mut self, at: &Path<'_>, key: &str) {
        let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if key.is_empty() || key.len() > 253 || !plain || key == "." || key == ".." {
            self.bad(
                &at.key(key),
                format!("{key:?}"),
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            );
        }
    }

    pub(super) fn lease(&mut self, lease: &coordination::Lease) -> Object {
        let meta = self.meta(Kind::Lease, &lease.metadata);
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
        let renewed = renewed.map(|renewed| self.epoch.time(renewed.0));
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let duration = Duration::from_secs(seconds.map_or(0, |seconds| u64::from(seconds.unsigned_abs())));
        Object::Lease(Arc::new(Lease { meta, renewed, duration, renewing: false }))
    }

    /// An Event; None if it is about a kind that is not simulated.
    pub(super) fn event(&mut self, event: &core::Event) -> Option<Object> {
        let involved = &event.involved_object;
        let kind = Kind::ALL.iter().copied().find(|kind| kind.as_str() == text(involved.kind.as_ref()))?;
        let meta = self.meta(Kind::Event, &event.metadata);
        let event_time = event.event_time.as_ref().map(|time| self.epoch.time(time.0));
        let first = self.optional_time(event.first_timestamp.as_ref()).or(event_time).unwrap_or(Time::ZERO);
        let series = event.series.as_ref();
        let last_of_series =
            series.and_then(|series| series.last_observed_time.as_ref()).map(|time| self.epoch.time(time.0));
        let last = self.optional_time(event.last_timestamp.as_ref()).or(last_of_series).unwrap_or(first);
        let count = series.and_then(|series| series.count).or(event.count).unwrap_or(1).max(1);
        let source = event.source.as_ref();
        let component = source.and_then(|source| source.component.as_ref()).or(event.reporting_component.as_ref());
        Some(Object::Event(Arc::new(Event {
            meta,
            involved: ObjectReference {
                kind,
                namespace: name(involved.namespace.as_ref()),
                name: name(involved.name.as_ref()),
                uid: self.uids.read(text(involved.uid.as_ref())),
                field_path: name(involved.field_path.as_ref()),
            },
            kind: if text(event.type_.as_ref()) == "Warning" { EventType::Warning } else { EventType::Normal },
            reason: name(event.reason.as_ref()),
            message: Text::new(text(event.message.as_ref())),
            count: count.unsigned_abs(),
            first,
            last,
            component: name(component),
            host: name(source.and_then(|source| source.host.as_ref())),
        })))
    }
}
