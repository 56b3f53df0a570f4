//! Registries that want to know who pulls, that have mirrors, or that hand out broken layers, as scenarios with expectations.

mod runs;

use simlet::scenario::{self, Options};

use runs::{Keep, scenario};

/// A pod that pulls one image; `rest` continues its spec.
fn pod(name: &str, image: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec: {{containers: [{{name: c, \
         image: \"{image}\"}}]{rest}}}\n"
    )
}

/// A Deployment of no pods, to be scaled up later.
fn none_yet(name: &str, policy: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{replicas: 0, selector: {{matchLabels: \
         {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{containers: [{{name: c, image: \
         \"registry.example.com/a:1\", imagePullPolicy: {policy}}}]}}}}}}\n"
    )
}

/// A pull secret for `registry.example.com`.
fn pull_secret(name: &str, user: &str, password: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/dockerconfigjson\nstringData:\n  \
         .dockerconfigjson: '{{\"auths\": {{\"https://registry.example.com\": {{\"username\": \"{user}\", \"password\": \
         \"{password}\"}}}}}}'\n"
    )
}

/// Runs a scenario of one node with these registries; each expectation must hold.
fn check(registries: &str, timeline_and_expect: &str, objects: &[String]) {
    let text = format!(
        "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: registries}}\nuntil: 150s\ncluster:\n  nodes: [{{count: \
         1}}]\n  registries: [{registries}]\n{timeline_and_expect}\n{}",
        objects.concat()
    );
    let scenario = scenario(&text);
    for seed in [1, 2, 3] {
        let options = Options { seed: Some(seed), ..Options::default() };
        let end = scenario::run(&scenario, &options, Box::new(Keep::default()));
        assert_eq!(end.footer.invariants, Vec::<String>::new(), "seed {seed}");
        assert!(!end.footer.expectations.is_empty());
        let failed = end.footer.expectations.iter().filter(|one| !one.held);
        let failed: Vec<_> = failed.map(|one| format!("{} {}: {}", one.when, one.text, one.measured)).collect();
        assert!(failed.is_empty(), "seed {seed}\n{}", failed.join("\n"));
    }
}

const PRIVATE: &str = "{host: registry.example.com, users: [{username: ci, password: right}]}";

#[test]
fn a_private_registry_lets_those_in_who_have_a_fitting_pull_secret() {
    let with = |secret: &str| format!(", imagePullSecrets: [{secret}]");
    check(
        PRIVATE,
        r#"
expect:
  - {within: 30s, that: 'pods("app=good").all(p, p.ready)'}
  - {within: 30s, that: 'pods("app=both").all(p, p.ready)'}
  - {that: '!pods("app=bare").exists(p, p.ready) && !pods("app=bad").exists(p, p.ready) && !pods("app=gone").exists(p, p.ready)'}
  - that: 'events.exists(e, e.object == "Pod/bare" && e.reason == "Failed" && e.message.endsWith("authorization failed: no basic auth credentials"))'
  - that: 'events.exists(e, e.object == "Pod/bad" && e.reason == "Failed" && e.message.endsWith("401 Unauthorized"))'
  - that: 'events.exists(e, e.object == "Pod/gone" && e.reason == "FailedToRetrieveImagePullSecret" && e.message == "Unable to retrieve some image pull secrets (lost); attempting to pull the image may not succeed.")'
  - that: '!events.exists(e, e.object == "Pod/good" && e.type == "Warning")'
  - that: '!events.exists(e, e.object == "Pod/both" && e.type == "Warning")'
"#,
        &[
            pull_secret("right", "ci", "right"),
            pull_secret("wrong", "ci", "guess"),
            pod("good", "registry.example.com/a:1", &with("{name: right}")),
            pod("both", "registry.example.com/b:1", &with("{name: wrong}, {name: right}")),
            pod("bad", "registry.example.com/c:1", &with("{name: wrong}")),
            pod("bare", "registry.example.com/d:1", ""),
            pod("gone", "registry.example.com/e:1", &with("{name: lost}")),
        ],
    );
}

#[test]
fn an_image_that_a_secret_has_opened_is_not_there_for_pods_without_it() {
    check(
        PRIVATE,
        r#"
timeline:
  - {at: 30s, kubectl: scale deployment/bare --replicas=1}
  - {at: 30s, kubectl: scale deployment/never --replicas=1}
expect:
  - {within: 30s, that: 'pods("app=good").all(p, p.ready)'}
  - {that: 'pods("app=bare").size() == 1 && !pods("app=bare").exists(p, p.ready)'}
  - that: 'events.exists(e, e.object.startsWith("Pod/bare-") && e.reason == "Pulling")'
  - that: 'events.exists(e, e.object.startsWith("Pod/never-") && e.reason == "ErrImageNeverPull")'
"#,
        &[
            pull_secret("right", "ci", "right"),
            pod("good", "registry.example.com/a:1", ", imagePullSecrets: [{name: right}]"),
            none_yet("bare", "IfNotPresent"),
            none_yet("never", "Never"),
        ],
    );
}

#[test]
fn credentials_that_are_no_longer_good_fail_pulls_until_they_are_again() {
    check(
        "{host: registry.example.com}",
        r#"
timeline:
  - {at: 0s, fault: {registry: registry.example.com, unauthorized: true}, for: 40s}
expect:
  - {at: 35s, that: 'pods("app=web").all(p, !p.ready)'}
  - {within: 100s, that: 'pods("app=web").all(p, p.ready)'}
"#,
        &[pod("web", "registry.example.com/web:1", "")],
    );
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_when_it_fails() {
    let objects = [pod("web", "quay.example.com/web:1", "")];
    let mirrored =
        "{host: quay.example.com, perStream: 1Ki/s}, {host: mirror.example.com, mirrors: [quay.example.com]}";
    // The registry itself is far too slow to give the image in time.
    check(mirrored, "expect: [{within: 60s, that: 'pods(\"app=web\").all(p, p.ready)'}]", &objects);
    let slow = "{host: quay.example.com}, {host: mirror.example.com, perStream: 100Ki/s, mirrors: [quay.example.com]}";
    for fault in ["down: true", "missing: [\"*\"]", "unauthorized: true", "corrupt: [\"*\"]"] {
        let scenario = format!(
            "timeline: [{{at: 0s, fault: {{registry: mirror.example.com, {fault}}}}}]\nexpect: [{{within: 150s, that: \
             'pods(\"app=web\").all(p, p.ready)'}}, {{that: '!events.exists(e, e.type == \"Warning\")'}}]"
        );
        let registries =
            if fault.starts_with("corrupt") { slow.replace("perStream: 100Ki/s, ", "") } else { slow.into() };
        check(&registries, &scenario, &objects);
    }
}

#[test]
fn a_broken_layer_fails_the_pull_in_the_runtimes_words() {
    check(
        "{host: registry.example.com}",
        r#"
timeline:
  - {at: 0s, fault: {registry: registry.example.com, corrupt: ["*/web:*"]}, for: 40s}
expect:
  - {at: 35s, that: 'pods("app=web").all(p, !p.ready) && pods("app=other").all(p, p.ready)'}
  - that: 'events.exists(e, e.object == "Pod/web" && e.reason == "Failed" && e.message.contains("unexpected commit digest"))'
  - {within: 100s, that: 'pods("app=web").all(p, p.ready)'}
"#,
        &[pod("web", "registry.example.com/web:1", ""), pod("other", "registry.example.com/other:1", "")],
    );
}

#[test]
fn of_a_registry_beside_measured_pulls_only_what_the_scenario_says_can_be_slower() {
    // Ten MiB: a tenth of a second by the profile, 2.5 s by a registry of 4 MiB/s.
    for (registry, took) in [
        ("", "in 10"),
        ("{host: registry.example.com}", "in 10"),
        ("{host: registry.example.com, perNode: 4Mi/s, latency: 0s}", "in 2.5"),
    ] {
        let text = format!(
            "apiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: measured}}\nuntil: 1m\ncluster:\n  nodes: \
             [{{count: 1, runtime: {{like: containerd, latency: {{resolve: 50ms}}, pull: {{perMebibyte: 5ms}}}}}}]\n  \
             registries: [{registry}]\nimages: [{{match: \"*\", size: 10Mi}}]\n{}",
            pod("a", "registry.example.com/a:1", "")
        );
        let said = runs::run(&scenario(&text), &Options::default());
        let pulled = said.records.iter().find(|record| record.contains("Successfully pulled image"));
        let pulled = pulled.unwrap_or_else(|| panic!("nothing was pulled beside [{registry}]"));
        assert!(pulled.contains(took), "beside [{registry}]: {pulled}");
    }
}
