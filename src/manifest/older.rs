//! Objects of older versions of an API as objects of the version that is simulated.
//!
//! Kubernetes: pkg/apis/resource/v1beta1/conversion.go. v1beta1 has a device's fields under `basic` and a request's beside
//! its name; v1beta2 looks as v1 does.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The fields of a request that v1beta1 has beside its name.
const EXACTLY: &[&str] =
    &["adminAccess", "allocationMode", "capacity", "count", "deviceClassName", "selectors", "tolerations"];

/// `old` in version v1 of its API; None for what v1 can't say, which there is none of.
pub(super) fn newer<Old: Serialize, New: DeserializeOwned>(old: &Old) -> Option<New> {
    let mut value = serde_json::to_value(old).ok()?;
    let fields = value.as_object_mut()?;
    let version = fields.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let (group, version) = version.split_once('/')?;
    let (group, is_first) = (group.to_owned(), version == "v1beta1");
    fields.insert("apiVersion".to_owned(), Value::from(format!("{group}/v1")));
    if is_first {
        let devices = value.pointer_mut("/spec/devices").and_then(Value::as_array_mut);
        devices.into_iter().flatten().filter_map(Value::as_object_mut).for_each(hoist_basic);
        for claim in ["/spec/devices/requests", "/spec/spec/devices/requests"] {
            let requests = value.pointer_mut(claim).and_then(Value::as_array_mut);
            requests.into_iter().flatten().filter_map(Value::as_object_mut).for_each(sink_exactly);
        }
    }
    serde_json::from_value(value).ok()
}

fn hoist_basic(device: &mut Map<String, Value>) {
    if let Some(Value::Object(basic)) = device.remove("basic") {
        device.extend(basic);
    }
}

fn sink_exactly(request: &mut Map<String, Value>) {
    let listed = request.get("firstAvailable").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let mut exactly = Map::new();
    for field in EXACTLY {
        exactly.extend(request.remove(*field).map(|value| ((*field).to_owned(), value)));
    }
    let names_class = exactly.get("deviceClassName").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if names_class || !listed {
        request.insert("exactly".to_owned(), Value::Object(exactly));
    }
}
