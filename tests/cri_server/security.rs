//! Security contexts as the CRI's conformance suite looks at them: from inside, by the programs of a container.

use super::*;

/// A container with this security.
fn with(name: &str, security: proto::LinuxContainerSecurityContext) -> proto::ContainerConfig {
    let linux = Some(proto::LinuxContainerConfig { resources: None, security_context: Some(security) });
    proto::ContainerConfig { linux, ..config(name, &["sh", "-c", "top"]) }
}

type Security = proto::LinuxContainerSecurityContext;
/// A security, a command, and what it writes and how it ends.
type Case<'a> = (Security, &'a [&'a str], (&'a str, &'a str, i32));

fn id(value: i64) -> Option<proto::Int64Value> {
    Some(proto::Int64Value { value })
}

/// A server, and a sandbox with logs.
async fn with_logs(name: &str) -> (Runtime, String) {
    let runtime = start(name, &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let logs = runtime.folder.join("logs").display().to_string();
    let sandbox = runtime.sandbox(&proto::PodSandboxConfig { log_directory: logs, ..pod_config("web") }).await.unwrap();
    (runtime, sandbox)
}

#[tokio::test]
async fn programs_see_the_users_groups_capabilities_and_filters_that_were_asked_for() {
    let (runtime, sandbox) = with_logs("security").await;
    let profile = runtime.folder.join("profile.json");
    let rules = r#"{"syscalls": [{"names": ["chmod", "sethostname"], "action": "SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(&profile, rules).unwrap();
    let caps = |add: &[&str], drop: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Some(proto::Capability { add_capabilities: owned(add), drop_capabilities: owned(drop), ..Default::default() })
    };
    let seccomp = |kind: proto::ProfileType| {
        Some(proto::SecurityProfile { profile_type: kind.into(), localhost_ref: profile.display().to_string() })
    };
    use proto::ProfileType::{Localhost, RuntimeDefault, Unconfined};
    let none = Security::default;
    let grep: &[&str] = &["grep", "Seccomp:", "/proc/self/status"];
    let bounding: &[&str] = &["grep", "CapBnd", "/proc/self/status"];
    let (bridge, host): (&[&str], &[&str]) = (&["brctl", "addbr", "foobar"], &["hostname", "ANewHostName"]);
    let denied = "brctl: bridge: Operation not permitted\n";
    let host_denied = "hostname: sethostname: Operation not permitted\n";
    let cases: Vec<Case> = vec![
        (Security { run_as_user: id(1001), ..none() }, &["id", "-u"], ("1001\n", "", 0)),
        (Security { run_as_username: "nobody".into(), ..none() }, &["id", "-nu"], ("nobody\n", "", 0)),
        (Security { supplemental_groups: vec![5678, 1234], ..none() }, &["id", "-G"], ("0 1234 5678\n", "", 0)),
        (Security { privileged: true, ..none() }, bridge, ("", "", 0)),
        (none(), bridge, ("", denied, 1)),
        (Security { capabilities: caps(&["NET_ADMIN"], &[]), ..none() }, bridge, ("", "", 0)),
        (Security { capabilities: caps(&[], &["ALL"]), ..none() }, bounding, ("CapBnd:\t0000000000000000\n", "", 0)),
        (Security { capabilities: caps(&["ALL"], &[]), ..none() }, bounding, ("CapBnd:\t000001ffffffffff\n", "", 0)),
        (
            Security { capabilities: caps(&[], &["NET_RAW"]), ..none() },
            &["ping", "127.0.0.1"],
            ("PING 127.0.0.1 (127.0.0.1): 56 data bytes\n", "ping: permission denied (are you root?)\n", 1),
        ),
        (
            Security { masked_paths: vec!["/bin/ls".into()], ..none() },
            &["/bin/sh", "-c", "ls"],
            ("", "/bin/sh: ls: Permission denied\n", 126),
        ),
        (
            Security { readonly_paths: vec!["/tmp".into()], ..none() },
            &["touch", "/tmp/test"],
            ("", "touch: /tmp/test: Read-only file system\n", 1),
        ),
        (none(), grep, ("Seccomp:\t0\n", "", 0)),
        (Security { seccomp: seccomp(Unconfined), ..none() }, grep, ("Seccomp:\t0\n", "", 0)),
        (Security { seccomp: seccomp(RuntimeDefault), ..none() }, grep, ("Seccomp:\t2\n", "", 0)),
        (
            Security { seccomp: seccomp(Localhost), ..none() },
            &["chmod", "400", "/"],
            ("", "chmod: /: Operation not permitted\n", 1),
        ),
        (Security { capabilities: caps(&["SYS_ADMIN"], &[]), ..none() }, host, ("", "", 0)),
        (
            Security { capabilities: caps(&["SYS_ADMIN"], &[]), seccomp: seccomp(Localhost), ..none() },
            host,
            ("", host_denied, 1),
        ),
        (Security { privileged: true, seccomp: seccomp(Localhost), ..none() }, host, ("", "", 0)),
    ];
    for (number, (security, command, (out, err, ended))) in cases.into_iter().enumerate() {
        let made = runtime.started(&sandbox, &with(&format!("c{number}"), security.clone())).await;
        let result = runtime.exec(&made, command, 30).await.unwrap();
        assert_eq!(result, (out.to_owned(), err.to_owned(), ended), "{command:?} with {security:?}");
    }
    let groups_without_user = Security { run_as_group: id(1002), ..none() };
    assert_eq!(code(runtime.create(&sandbox, &with("invalid", groups_without_user)).await), Code::InvalidArgument);
}

#[tokio::test]
async fn the_first_process_has_the_same_identity_as_the_logs_show() {
    let (runtime, sandbox) = with_logs("identity").await;
    let groups = "gcr.io/k8s-staging-cri-tools/test-image-predefined-group:latest";
    let escalates = "registry.k8s.io/e2e-test-images/nonewprivs:1.3";
    for image in [groups, escalates] {
        runtime.pull(image).await.unwrap();
    }
    use proto::SupplementalGroupsPolicy::{Merge, Strict};
    let in_group = |policy: proto::SupplementalGroupsPolicy| Security {
        run_as_user: id(1000),
        supplemental_groups: vec![1234],
        supplemental_groups_policy: policy.into(),
        ..Default::default()
    };
    let both = Security { run_as_user: id(1001), run_as_group: id(1002), ..Default::default() };
    let root = |readonly_rootfs| Security { readonly_rootfs, ..Default::default() };
    let nobody = |no_new_privs| Security { run_as_user: id(1000), no_new_privs, ..Default::default() };
    let touch = "touch test.go && [ -f test.go ] && echo 'Found'";
    for (number, (image, script, security, expected)) in [
        (BUSYBOX, "echo $(id -u):$(id -g)", both, "stdout F 1001:1002"),
        (BUSYBOX, touch, root(false), "stdout F Found"),
        (BUSYBOX, touch, root(true), "stderr F touch: test.go: Read-only file system"),
        (groups, "id -G", in_group(Merge), "stdout F 1000 1234 50000"),
        (groups, "id -G", in_group(Strict), "stdout F 1000 1234"),
        (escalates, "", nobody(true), "stdout F Effective uid: 1000"),
        (escalates, "", nobody(false), "stdout F Effective uid: 0"),
    ]
    .into_iter()
    .enumerate()
    {
        let command: &[&str] = if script.is_empty() { &[] } else { &["sh", "-c", script] };
        let wanted = proto::ContainerConfig {
            log_path: format!("{number}.log"),
            image: spec(image),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..with(&format!("c{number}"), security)
        };
        let made = runtime.started(&sandbox, &wanted).await;
        let status = runtime.exited(&made).await;
        let log = std::fs::read_to_string(&status.log_path).unwrap();
        assert_eq!(log.lines().map(|line| line.split_once(' ').unwrap().1).collect::<Vec<_>>(), [expected]);
        if image == groups {
            let user = status.user.unwrap().linux.unwrap();
            let all = user.supplemental_groups.iter().map(i64::to_string).collect::<Vec<_>>().join(" ");
            assert_eq!(((user.uid, user.gid), format!("stdout F {all}").as_str()), ((1000, 1000), expected));
        }
    }
}

#[tokio::test]
async fn processes_are_seen_as_their_namespaces_say() {
    let (runtime, _) = with_logs("namespaces").await;
    let nginx = "registry.k8s.io/e2e-test-images/nginx:1.14-2";
    runtime.pull(nginx).await.unwrap();
    use proto::NamespaceMode::{Container, Node, Pod};
    for (name, mode) in [("own", Container), ("shared", Pod), ("host", Node)] {
        let options = proto::NamespaceOption { pid: mode.into(), ..Default::default() };
        let security =
            proto::LinuxSandboxSecurityContext { namespace_options: Some(options.clone()), ..Default::default() };
        let linux = Some(proto::LinuxPodSandboxConfig { security_context: Some(security), ..Default::default() });
        let sandbox = runtime.sandbox(&proto::PodSandboxConfig { linux, ..pod_config(name) }).await.unwrap();
        let security = Security { namespace_options: Some(options), ..Default::default() };
        let server = proto::ContainerConfig { image: spec(nginx), command: vec![], ..with("server", security.clone()) };
        let server = runtime.started(&sandbox, &server).await;
        let other = runtime.started(&sandbox, &with("other", security)).await;
        let out = async |container: &str, command: &[&str]| runtime.exec(container, command, 30).await.unwrap().0;
        let first = out(&server, &["cat", "/proc/1/cmdline"]).await;
        assert_eq!(first.contains("master process"), mode == Container, "{name}: {first:?}");
        let pid = out(&server, &["cat", "/var/run/nginx.pid"]).await;
        let seen = out(&other, &["pidof", "nginx"]).await;
        assert_eq!(seen.contains(pid.trim()), mode != Container, "{name}: {pid:?} in {seen:?}");
    }
}

#[tokio::test]
async fn a_user_namespace_has_one_range_from_0_and_is_the_pods_or_the_machines() {
    let (runtime, _) = with_logs("userns").await;
    let status: proto::StatusResponse = runtime.call("Status", proto::StatusRequest::default()).await.unwrap();
    let features = status.runtime_handlers[0].features.as_ref().unwrap();
    assert!(features.user_namespaces && features.recursive_read_only_mounts);
    use proto::NamespaceMode::{Container, Node, Pod, Target};
    let range = |container_id, host_id| proto::IdMapping { host_id, container_id, length: 100_000 };
    for (number, (mode, ranges, works)) in [
        (Pod, vec![range(0, 1000)], true),
        (Node, vec![], true),
        (Pod, vec![range(0, 1000), range(0, 2000)], false),
        (Pod, vec![range(1, 1000)], false),
        (Container, vec![], false),
        (Target, vec![], false),
    ]
    .into_iter()
    .enumerate()
    {
        let users = proto::UserNamespace { mode: mode.into(), uids: ranges.clone(), gids: ranges };
        let options = proto::NamespaceOption { userns_options: Some(users), ..Default::default() };
        let security = proto::LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
        let linux = Some(proto::LinuxPodSandboxConfig { security_context: Some(security), ..Default::default() });
        let pod = proto::PodSandboxConfig { linux, ..pod_config(&format!("pod-{number}")) };
        match runtime.sandbox(&pod).await {
            Ok(sandbox) => {
                assert!(works, "{mode:?}");
                let id = runtime.started(&sandbox, &config("app", &["top"])).await;
                let seen = runtime.exec(&id, &["cat", "/proc/self/uid_map"], 30).await.unwrap().0;
                let seen: Vec<&str> = seen.split_whitespace().take(3).collect();
                assert!(mode == Node || seen == ["0", "1000", "100000"], "{seen:?}");
            }
            Err(status) => assert!(!works && status.code() == Code::InvalidArgument, "{mode:?}: {status}"),
        }
    }
}
