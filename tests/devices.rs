//! Which devices claims get: slices, classes and claims from manifests, asked of the allocator alone.

use std::sync::Arc;

use simlet::manifest::{Compiler, Source, load};
use simlet::model::device::{DeviceClass, ResourceClaim};
use simlet::model::{Meta, Name, Node, Object, Uid};
use simlet::scheduler::plugins::dynamic_resources::allocator::{Failed, allocate};
use simlet::scheduler::plugins::dynamic_resources::catalog::Devices;

/// Every object of a text.
fn objects(text: &str) -> Vec<Object> {
    let sources = [Source::new("devices.yaml", text)];
    let loaded = load(&sources);
    let problems: Vec<String> = loaded.problems.iter().flatten().map(|problem| format!("{problem:?}")).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let mut compiler = Compiler::default();
    let mut found = Vec::new();
    for object in &loaded.objects {
        match compiler.compile(&object.decoded, &|_| None) {
            Ok(object) => found.extend(object),
            Err(invalid) => panic!("{invalid:?}"),
        }
    }
    found
}

/// What the claims of a text get on node `node-1`, one after another: `claim: request=pool/device …`, or why not.
fn play(text: &str) -> Vec<String> {
    let mut devices = Devices::default();
    let (mut classes, mut claims): (Vec<Arc<DeviceClass>>, Vec<Arc<ResourceClaim>>) = (Vec::new(), Vec::new());
    for object in objects(text) {
        match object {
            Object::ResourceSlice(slice) => devices.set_slice(None, Some(&slice)),
            Object::DeviceClass(class) => classes.push(class),
            Object::ResourceClaim(claim) => claims.push(claim),
            other => panic!("{} is not for the allocator", other.key()),
        }
    }
    let class = |name: Name| classes.iter().find(|class| class.meta.name == name).cloned();
    let labels = simlet::model::Labels::new([(Name::new("pool"), Name::new("gpu"))]);
    let node = Node { meta: Meta { labels, ..Meta::named("", "node-1") }, ..Node::default() };
    let mut got = Vec::new();
    for (number, claim) in (1u64..).zip(&claims) {
        let mut claim = ResourceClaim::clone(claim);
        claim.meta.uid = Uid(number);
        let name = claim.meta.name;
        let view = devices.view(&node);
        let found = allocate(&devices, &view, &[Arc::new(claim.clone())], &class, node.meta.name);
        got.push(match found {
            Ok(mut found) => {
                let found = found.pop().expect("one claim was asked for");
                let texts = found.allocation.devices.iter().map(|one| {
                    let consumed: Vec<String> =
                        one.consumed.iter().map(|(name, amount)| format!(" {name} {amount}")).collect();
                    format!("{}={}/{}{}", one.request, one.pool, one.device, consumed.concat())
                });
                let text = texts.collect::<Vec<_>>().join(", ");
                claim.status.allocation = Some(Arc::new(found.allocation));
                devices.set_claim(None, Some(&Arc::new(claim)));
                format!("{name}: {text}")
            }
            Err(Failed::Impossible) => format!("{name}: impossible"),
            Err(Failed::OnNode(why) | Failed::Wrong(why)) => format!("{name}: {why}"),
        });
    }
    got
}

#[track_caller]
fn check(text: &str, wanted: &[&str]) {
    assert_eq!(play(text), wanted);
}

/// A class of all devices of a driver.
const CLASS: &str = r#"
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu}
spec: {selectors: [{cel: {expression: 'device.driver == "gpu.example.com"'}}]}
---
"#;

/// A slice of node-1 with these devices.
fn slice(name: &str, devices: &str) -> String {
    format!(
        "apiVersion: resource.k8s.io/v1\nkind: ResourceSlice\nmetadata: {{name: {name}}}\nspec:\n  driver: gpu.example.com\n  \
         nodeName: node-1\n  pool: {{name: {name}, generation: 1, resourceSliceCount: 1}}\n  devices: {devices}\n---\n"
    )
}

/// A claim with these requests, and more fields of `spec.devices`.
fn claim(name: &str, requests: &str, more: &str) -> String {
    format!(
        "apiVersion: resource.k8s.io/v1\nkind: ResourceClaim\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  devices:\n    \
         requests: {requests}\n{more}---\n"
    )
}

const ONE: &str = "[{name: gpu, exactly: {deviceClassName: gpu}}]";

#[test]
fn devices_are_taken_in_the_order_of_pools_and_devices_until_none_is_left() {
    let text = [
        CLASS,
        &slice("b", "[{name: b0}]"),
        &slice("a", "[{name: a1}, {name: a0}]"),
        &claim("first", ONE, ""),
        &claim("second", ONE, ""),
        &claim("third", ONE, ""),
        &claim("fourth", ONE, ""),
    ]
    .concat();
    check(&text, &["first: gpu=a/a1", "second: gpu=a/a0", "third: gpu=b/b0", "fourth: impossible"]);
}

#[test]
fn selectors_of_class_and_request_must_hold_and_one_that_stumbles_ends_the_search() {
    let devices =
        "[{name: small, capacity: {memory: {value: 10Gi}}}, {name: large, capacity: {memory: {value: 80Gi}}}]";
    let large = "[{name: gpu, exactly: {deviceClassName: gpu, selectors: [{cel: {expression: 'device.capacity[\"gpu.example.com\"].memory.compareTo(quantity(\"40Gi\")) >= 0'}}]}}]";
    let lacks = "[{name: gpu, exactly: {deviceClassName: gpu, selectors: [{cel: {expression: 'device.attributes[\"gpu.example.com\"].model == \"x\"'}}]}}]";
    let text = [CLASS, &slice("a", devices), &claim("large", large, ""), &claim("lacks", lacks, "")].concat();
    check(
        &text,
        &["large: gpu=a/large", "lacks: claim default/lacks: selector #0: CEL runtime error: no such key: model"],
    );
}

#[test]
fn the_first_alternative_that_can_be_had_is_taken() {
    let listed = "[{name: gpu, firstAvailable: [{name: two, deviceClassName: gpu, count: 2}, {name: one, deviceClassName: gpu}]}]";
    let text = [
        CLASS,
        &slice("a", "[{name: a0}, {name: a1}, {name: a2}]"),
        &claim("first", listed, ""),
        &claim("second", listed, ""),
        &claim("third", listed, ""),
    ]
    .concat();
    check(&text, &["first: gpu/two=a/a0, gpu/two=a/a1", "second: gpu/one=a/a2", "third: impossible"]);
}

#[test]
fn all_devices_are_all_or_none_and_wait_for_a_pool_that_is_not_complete() {
    let all = "[{name: gpu, exactly: {deviceClassName: gpu, allocationMode: All}}]";
    let two = slice("a", "[{name: a0}, {name: a1}]");
    check(&[CLASS, &two, &claim("all", all, "")].concat(), &["all: gpu=a/a0, gpu=a/a1"]);
    check(
        &[CLASS, &two, &claim("one", ONE, ""), &claim("all", all, "")].concat(),
        &["one: gpu=a/a0", "all: impossible"],
    );
    let part = two.replace("resourceSliceCount: 1", "resourceSliceCount: 2");
    let why = "all: claim default/all, request gpu: asks for all devices, but resource pool gpu.example.com/a is currently being updated";
    check(&[CLASS, &part, &claim("all", all, ""), &claim("one", ONE, "")].concat(), &[why, "one: impossible"]);
}

#[test]
fn a_constraint_makes_the_search_go_back() {
    let devices = "[{name: a0, attributes: {numa: {int: 0}}}, {name: a1, attributes: {numa: {int: 1}}}, {name: a2, attributes: {numa: {int: 1}}}, {name: a3, attributes: {numa: {int: 0}}}]";
    let two = "[{name: one, exactly: {deviceClassName: gpu}}, {name: two, exactly: {deviceClassName: gpu}}]";
    let alike = "      constraints: [{matchAttribute: gpu.example.com/numa}]\n";
    let distinct = "      constraints: [{distinctAttribute: gpu.example.com/numa, requests: [one, two]}]\n";
    let alike = alike.replace("      ", "    ");
    let distinct = distinct.replace("      ", "    ");
    let text = [
        CLASS,
        &slice("a", devices),
        &claim("alike", two, &alike),
        &claim("again", two, &alike),
        &claim("more", two, &alike),
    ];
    check(&text.concat(), &["alike: one=a/a0, two=a/a3", "again: one=a/a1, two=a/a2", "more: impossible"]);
    let text = [CLASS, &slice("a", devices), &claim("distinct", two, &distinct)];
    check(&text.concat(), &["distinct: one=a/a0, two=a/a1"]);
}

#[test]
fn administrators_see_devices_that_are_in_use() {
    let admin = "[{name: gpu, exactly: {deviceClassName: gpu, adminAccess: true}}]";
    let text = [
        CLASS,
        &slice("a", "[{name: a0}]"),
        &claim("first", ONE, ""),
        &claim("admin", admin, ""),
        &claim("last", ONE, ""),
    ];
    check(&text.concat(), &["first: gpu=a/a0", "admin: gpu=a/a0", "last: impossible"]);
}

#[test]
fn a_tainted_device_is_for_those_who_tolerate_it() {
    let devices =
        "[{name: a0, taints: [{key: broken, effect: NoSchedule}]}, {name: a1, taints: [{key: warm, effect: None}]}]";
    let tolerant = "[{name: gpu, exactly: {deviceClassName: gpu, tolerations: [{key: broken, operator: Exists}]}}]";
    let text = [
        CLASS,
        &slice("a", devices),
        &claim("first", ONE, ""),
        &claim("second", ONE, ""),
        &claim("tolerant", tolerant, ""),
    ];
    check(&text.concat(), &["first: gpu=a/a1", "second: impossible", "tolerant: gpu=a/a0"]);
}

#[test]
fn parts_of_a_device_share_its_counters() {
    let text = [
        CLASS,
        "apiVersion: resource.k8s.io/v1\nkind: ResourceSlice\nmetadata: {name: counters}\nspec:\n  driver: gpu.example.com\n  allNodes: true\n  \
         pool: {name: mig, generation: 1, resourceSliceCount: 2}\n  sharedCounters: [{name: card, counters: {memory: {value: 40Gi}}}]\n---\n",
        "apiVersion: resource.k8s.io/v1\nkind: ResourceSlice\nmetadata: {name: parts}\nspec:\n  driver: gpu.example.com\n  allNodes: true\n  \
         pool: {name: mig, generation: 1, resourceSliceCount: 2}\n  devices:\n  \
         - {name: small-0, consumesCounters: [{counterSet: card, counters: {memory: {value: 10Gi}}}]}\n  \
         - {name: small-1, consumesCounters: [{counterSet: card, counters: {memory: {value: 10Gi}}}]}\n  \
         - {name: whole, consumesCounters: [{counterSet: card, counters: {memory: {value: 40Gi}}}]}\n  \
         - {name: half, consumesCounters: [{counterSet: card, counters: {memory: {value: 20Gi}}}]}\n---\n",
        &claim("first", ONE, ""),
        &claim("second", "[{name: gpu, exactly: {deviceClassName: gpu, count: 2}}]", ""),
        &claim("third", ONE, ""),
    ];
    check(&text.concat(), &["first: gpu=mig/small-0", "second: gpu=mig/small-1, gpu=mig/half", "third: impossible"]);
    let text = text.concat().replace("count: 2", "count: 1").replace("small-1", "z-small");
    check(&text, &["first: gpu=mig/small-0", "second: gpu=mig/z-small", "third: gpu=mig/half"]);
}

#[test]
fn requests_share_the_capacity_of_a_device_that_allows_it() {
    let devices = "[{name: nic, allowMultipleAllocations: true, capacity: {bandwidth: {value: 10G, requestPolicy: {default: 1G, validRange: {min: 1G, step: 2G}}}}}]";
    let asks = |amount: &str| {
        format!("[{{name: nic, exactly: {{deviceClassName: gpu, capacity: {{requests: {{bandwidth: {amount}}}}}}}}}]")
    };
    let text = [
        CLASS,
        &slice("a", devices),
        &claim("four", &asks("4G"), ""),
        &claim("default", "[{name: nic, exactly: {deviceClassName: gpu}}]", ""),
        &claim("six", &asks("6G"), ""),
        &claim("three", &asks("2500M"), ""),
        &claim("last", &asks("500M"), ""),
        &claim("none", &asks("500M"), ""),
    ];
    check(
        &text.concat(),
        &[
            "four: nic=a/nic bandwidth 5G",
            "default: nic=a/nic bandwidth 1G",
            "six: impossible",
            "three: nic=a/nic bandwidth 3G",
            "last: nic=a/nic bandwidth 1G",
            "none: impossible",
        ],
    );
}

#[test]
fn an_older_generation_is_not_looked_at_and_other_nodes_devices_are_out_of_reach() {
    let newer = slice("new", "[{name: new}]").replace("name: new, generation: 1", "name: a, generation: 2");
    let other = slice("other", "[{name: other}]").replace("nodeName: node-1\n", "nodeName: m\n");
    let selected = slice("selected", "[{name: selected}]").replace(
        "nodeName: node-1\n",
        "nodeSelector: {nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: In, values: [gpu]}]}]}\n",
    );
    let text = [
        CLASS,
        &slice("a", "[{name: old}]"),
        &newer,
        &other,
        &selected,
        &claim("one", ONE, ""),
        &claim("two", ONE, ""),
        &claim("three", ONE, ""),
    ];
    check(&text.concat(), &["one: gpu=a/new", "two: gpu=selected/selected", "three: impossible"]);
}

#[test]
fn what_is_wrong_with_devices_is_told_in_kubernetes_words() {
    let check = |text: &str, wanted: &[&str]| {
        let sources = [Source::new("devices.yaml", text)];
        let loaded = load(&sources);
        let mut compiler = Compiler::default();
        let mut got: Vec<String> = Vec::new();
        for object in &loaded.objects {
            if let Err(invalid) = compiler.compile(&object.decoded, &|_| None) {
                got.extend(invalid.iter().map(ToString::to_string));
            }
        }
        assert_eq!(got, wanted, "{text}");
    };
    check(
        &claim("one", "[{name: gpu}, {name: gpu, exactly: {deviceClassName: gpu, allocationMode: Some}}]", ""),
        &[
            "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            "spec.devices.requests[1].exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\"",
            "spec.devices.requests[1].name: Duplicate value: \"gpu\"",
        ],
    );
    check(
        &claim("one", ONE, "    constraints: [{requests: [nic], matchAttribute: numa}]\n"),
        &[
            "spec.devices.constraints[0].requests[0]: Invalid value: \"nic\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
            "spec.devices.constraints[0].matchAttribute: Invalid value: \"numa\": a valid name must consist of a domain and an identifier, separated by '/'",
        ],
    );
    check(
        &slice("a", "[{name: a0}, {name: a0}]").replace("nodeName: node-1\n", "allNodes: true\n  nodeName: node-1\n"),
        &[
            "spec: Invalid value: {}: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
            "spec.devices[1].name: Duplicate value: \"a0\"",
        ],
    );
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  resourceClaims: [{name: gpu}]\n  containers: [{name: a, image: b, resources: {claims: [{name: nic}]}}]\n";
    check(
        pod,
        &[
            "spec.containers[0].resources.claims[0]: Not found: \"nic\"",
            "spec.resourceClaims[0]: Invalid value: {}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
        ],
    );
}

#[test]
fn older_versions_say_the_same_in_other_words() {
    let v1beta1 = r"
apiVersion: resource.k8s.io/v1beta1
kind: ResourceSlice
metadata: {name: a}
spec:
  driver: gpu.example.com
  nodeName: node-1
  pool: {name: a, generation: 1, resourceSliceCount: 1}
  devices: [{name: a0, basic: {attributes: {numa: {int: 0}}}}]
---
apiVersion: resource.k8s.io/v1beta1
kind: ResourceClaim
metadata: {name: one, namespace: default}
spec: {devices: {requests: [{name: gpu, deviceClassName: gpu}]}}
---
apiVersion: resource.k8s.io/v1beta2
kind: ResourceClaim
metadata: {name: two, namespace: default}
spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu}}]}}
";
    check(&[CLASS, v1beta1].concat(), &["one: gpu=a/a0", "two: impossible"]);
}
