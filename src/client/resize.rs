//! What a patch of the resize subresource says: new amounts of a pod's containers, or of the pod as a whole, as JSON.

use serde_json::Value;

use crate::model::quantity::Quantity;
use crate::model::resources::ResourceList;
use crate::model::{Bytes, MilliCpu, Name};
use crate::protocol::api::ResizeRequest;

/// Reads a strategic merge patch.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn read(text: &str) -> Result<Vec<ResizeRequest>, String> {
    let patch: Value = serde_json::from_str(text).map_err(|error| format!("the patch is no JSON: {error}"))?;
    let containers = |field: &str| patch.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_array);
    let all = [containers("initContainers"), containers("containers")];
    let mut changes = Vec::new();
    for container in all.into_iter().flatten().flatten() {
        let Some(name) = container.get("name").and_then(Value::as_str) else {
            return Err("a container of the patch has no name".to_owned());
        };
        let resources = container.get("resources");
        let amounts = |field: &str| list(resources.and_then(|resources| resources.get(field)));
        changes.push(ResizeRequest {
            container: Name::new(name),
            requests: amounts("requests")?,
            limits: amounts("limits")?,
        });
    }
    if let Some(resources) = patch.get("spec").and_then(|spec| spec.get("resources")) {
        let amounts = |field: &str| list(resources.get(field));
        changes.push(ResizeRequest {
            container: Name::default(),
            requests: amounts("requests")?,
            limits: amounts("limits")?,
        });
    }
    if changes.is_empty() {
        let example = r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"2"}}}]}}"#;
        return Err(format!("the patch names no container and no `resources` of the pod; such as {example}"));
    }
    Ok(changes)
}

fn list(amounts: Option<&Value>) -> Result<ResourceList, String> {
    let mut list = ResourceList::default();
    for (name, amount) in amounts.and_then(Value::as_object).into_iter().flatten() {
        let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
        let quantity: Quantity = text.parse().map_err(|_| format!("{text:?} is no quantity of {name}"))?;
        match name.as_str() {
            "cpu" => list.cpu = Some(MilliCpu(quantity.milli_rounding_up())),
            "memory" => list.memory = Some(Bytes(quantity.value_rounding_up())),
            "ephemeral-storage" => list.ephemeral_storage = Some(Bytes(quantity.value_rounding_up())),
            other => list.extended.push((Name::new(other), quantity.value_rounding_up())),
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_containers_and_their_new_amounts() {
        let read = read(
            r#"{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"200m","memory":"96Mi"},"limits":{"cpu":2}}}]}}"#,
        );
        let requests = ResourceList { cpu: Some(MilliCpu(200)), memory: Some(Bytes(96 << 20)), ..Default::default() };
        let limits = ResourceList { cpu: Some(MilliCpu(2000)), ..Default::default() };
        assert_eq!(read, Ok(vec![ResizeRequest { container: "app".into(), requests, limits }]));
    }

    #[test]
    fn what_is_no_patch_is_refused_in_words() {
        for (patch, says) in [
            ("", "no JSON"),
            ("{}", "names no container"),
            (r#"{"spec":{"containers":[{"resources":{}}]}}"#, "has no name"),
            (r#"{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":"x"}}}]}}"#, "no quantity"),
        ] {
            assert!(read(patch).unwrap_err().contains(says), "{patch}");
        }
    }
}
