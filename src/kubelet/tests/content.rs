//! What the runtime is told of a container and its pod, where the machine is known.

use std::sync::Arc;

use crate::model::config::ConfigData;
use crate::model::pod::{
    ConfigSource, ContainerPort, Dns, DnsPolicy, EnvFrom, EnvValue, EnvVar, Handler, KeyToPath, Volume, VolumeMount,
    VolumeSource,
};
use crate::model::{Container, Key, Kind, Labels, Meta, Name, Node, Pod, PodSpec, Text, Uid};
use crate::protocol::volume;

use crate::kubelet::config::{Config, Host};
use crate::kubelet::environment::{Environment, Facts};

fn config() -> Config {
    let host = Host {
        root_dir: "/k".into(),
        cluster_dns: vec!["10.96.0.10".into()],
        cluster_domain: "cluster.local".into(),
        ..Host::default()
    };
    let node = Node { meta: Meta::named("", "n1"), ..Node::default() };
    Config { host: Some(Arc::new(host)), log_root: Some("/logs".into()), ..Config::new(node) }
}

fn pod(spec: PodSpec) -> Pod {
    let mut meta = Meta::named("shop", "p");
    meta.uid = Uid(7);
    meta.labels = Labels::new([("app".into(), "web".into())]);
    Pod { meta, spec: Arc::new(spec), ..Pod::default() }
}

fn of(container: Container) -> PodSpec {
    PodSpec { containers: Arc::new([container]), automount_token: false, ..PodSpec::default() }
}

fn env(name: &str, value: EnvValue) -> EnvVar {
    EnvVar { name: name.into(), value }
}

fn literal(name: &str, value: &str) -> EnvVar {
    env(name, EnvValue::Literal(value.into()))
}

fn data(name: &str, pairs: &[(&str, &str)]) -> (Key, Arc<ConfigData>) {
    let key = Key { kind: Kind::ConfigMap, namespace: "shop".into(), name: name.into() };
    let data = pairs.iter().map(|(key, value)| (Name::new(key), Arc::from(value.as_bytes()))).collect();
    (key, Arc::new(ConfigData { data, ..ConfigData::default() }))
}

#[test]
fn later_variables_override_earlier_ones_and_refer_to_them() {
    let container = Container {
        name: "main".into(),
        env_from: vec![EnvFrom { from: ConfigSource::ConfigMap("c".into()), prefix: "X_".into(), optional: false }],
        env: vec![
            literal("A", "1"),
            literal("X_k", "own"),
            literal("B", "$(A)-$(X_k)-$(NONE)-$$(A)-$(WEB_SERVICE_HOST)"),
            env("POD", EnvValue::Field("metadata.name".into())),
            env("LABEL", EnvValue::Field("metadata.labels['app']".into())),
        ],
        command: Arc::new(["run".into(), "--b=$(B)".into()]),
        ..Container::default()
    };
    let pod = pod(of(container.clone()));
    let config = config();
    let facts = Facts { pod: &pod, pod_ip: None, config: &config };
    let environment = Environment {
        found: vec![data("c", &[("k", "v"), ("l", "w")])],
        services: vec![("WEB_SERVICE_HOST".into(), "10.0.0.3".into()), ("A".into(), "of a service".into())],
        ..Environment::default()
    };
    let made = facts.container_config(&container, 0, &environment, None).expect("nothing is missing");
    let expected = [
        ("X_k", "own"),
        ("X_l", "w"),
        ("A", "1"),
        ("B", "1-own-$(NONE)-$(A)-10.0.0.3"),
        ("POD", "p"),
        ("LABEL", "web"),
        ("WEB_SERVICE_HOST", "10.0.0.3"),
    ];
    let envs: Vec<(&str, &str)> = made.envs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(envs, expected);
    assert_eq!(made.command[1].as_str(), "--b=1-own-$(NONE)-$(A)-10.0.0.3");
}

#[test]
fn annotations_tell_a_later_kubelet_what_it_needs() {
    let container = Container {
        name: "main".into(),
        termination_message_path: "/dev/termination-log".into(),
        ports: vec![ContainerPort {
            name: "http".into(),
            port: 80,
            host_port: 0,
            host_ip: Name::default(),
            protocol: Default::default(),
        }],
        pre_stop: Some(Arc::new(Handler::Exec { command: vec!["sh".into(), "-c".into(), "a && \"b\"".into()] })),
        ..Container::default()
    };
    let pod = pod(of(container.clone()));
    let config = config();
    let facts = Facts { pod: &pod, pod_ip: None, config: &config };
    let made = facts.container_config(&container, 3, &Environment::default(), None).expect("nothing is missing");
    for (key, value) in [
        ("container.restartCount", "3"),
        ("container.terminationMessagePath", "/dev/termination-log"),
        ("container.terminationMessagePolicy", "File"),
        ("pod.terminationGracePeriod", "30"),
        ("container.ports", r#"[{"name":"http","containerPort":80,"protocol":"TCP"}]"#),
        ("container.preStopHandler", r#"{"exec":{"command":["sh","-c","a \u0026\u0026 \"b\""]}}"#),
    ] {
        let found = made.annotations.get(Name::from(format!("io.kubernetes.{key}")));
        assert_eq!(found.map(|found| found.to_string()).as_deref(), Some(value), "{key}");
    }
    let mounts: Vec<(&str, &str)> =
        made.mounts.iter().map(|one| (one.container_path.as_str(), one.host_path.as_str())).collect();
    let uid = Uid(7);
    let hosts = format!("/k/pods/{uid}/etc-hosts");
    let log = format!("/k/pods/{uid}/containers/main/00000003");
    assert_eq!(mounts, [("/etc/hosts", hosts.as_str()), ("/dev/termination-log", log.as_str())]);
}

#[test]
fn volumes_hold_the_keys_that_are_asked_for_and_mounts_find_them() {
    let items = vec![KeyToPath { key: "k".into(), path: "dir/file".into(), mode: Some(0o400) }];
    let source = VolumeSource::ConfigMap { name: "c".into(), optional: false, items, default_mode: 0o644 };
    let mount = |path: &str, expr: &str| VolumeMount {
        volume: "v".into(),
        path: path.into(),
        sub_path_expr: expr.into(),
        ..VolumeMount::default()
    };
    let container = |expr: &str| Container {
        name: "main".into(),
        env: vec![literal("A", "one")],
        volume_mounts: vec![mount("/a", ""), mount("/b", expr)],
        ..Container::default()
    };
    let spec = PodSpec { volumes: Arc::new([Volume { name: "v".into(), source }]), ..of(container("x/$(A)")) };
    let pod = pod(spec);
    let config = config();
    let facts = Facts { pod: &pod, pod_ip: None, config: &config };
    let environment = Environment::default();
    let made = facts.container_config(&container("x/$(A)"), 0, &environment, None).expect("nothing is missing");
    let base = format!("/k/pods/{}/volumes/kubernetes.io~configmap/v", Uid(7));
    assert_eq!(made.mounts[0].host_path.as_str(), base);
    assert!(made.mounts[0].read_only);
    assert_eq!(made.mounts[1].host_path.to_string(), format!("{base}/x/one"));
    for (expr, problem) in [
        ("$(B)", "missing value for B"),
        ("/$(A)", "error SubPath `/one` must not be an absolute path"),
        ("../x", "unable to provision SubPath `../x`: must not contain '..'"),
    ] {
        let refused = facts.container_config(&container(expr), 0, &environment, None);
        assert_eq!(refused.expect_err(expr), Text::from(problem), "{expr}");
    }
    let host = config.host.as_deref().expect("it is known");
    let volumes = facts.volumes(Some(host), &[data("c", &[("k", "v"), ("other", "w")])]);
    let volume::Kind::Files(files) = &volumes[0].kind else { panic!("{volumes:?}") };
    assert_eq!(files.len(), 1);
    assert_eq!((files[0].path.as_str(), &*files[0].content, files[0].mode), ("dir/file", &b"v"[..], 0o400));
}

#[test]
fn names_are_found_as_the_policy_says() {
    let cluster = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    let cases: [(DnsPolicy, bool, &[&str], &[&str]); 5] = [
        (DnsPolicy::ClusterFirst, false, &["10.96.0.10"], &cluster),
        (DnsPolicy::ClusterFirst, true, &[], &[]),
        (DnsPolicy::ClusterFirstWithHostNet, true, &["10.96.0.10"], &cluster),
        (DnsPolicy::Default, false, &[], &[]),
        (DnsPolicy::None, false, &[], &[]),
    ];
    for (policy, host_network, servers, searches) in cases {
        let dns = Dns { policy, options: vec![("ndots".into(), Some("2".into()))], ..Dns::default() };
        let spec = PodSpec { dns: Some(Arc::new(dns)), host_network, ..of(Container::default()) };
        let pod = pod(spec);
        let config = config();
        let made = Facts { pod: &pod, pod_ip: None, config: &config }.sandbox_config(0);
        let dns = made.dns.expect("the machine is known");
        let names = |names: &[Name]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&dns.servers), servers, "{policy:?}");
        assert_eq!(names(&dns.searches), searches, "{policy:?}");
        assert_eq!(names(&dns.options), ["ndots:2"], "{policy:?}");
        assert_eq!(made.hostname.as_str(), if host_network { "" } else { "p" });
    }
}

#[test]
fn variables_come_from_files_of_volumes_and_what_is_missing_there_is_told() {
    let of_file = |name: &str, key: &str, optional| {
        let value = EnvValue::FileKey { volume: "v".into(), path: "app.env".into(), key: key.into(), optional };
        env(name, value)
    };
    let container = |variables: Vec<EnvVar>| Container { name: "main".into(), env: variables, ..Container::default() };
    let source = VolumeSource::EmptyDir { memory: false, size_limit: None };
    let path = format!("/k/pods/{}/volumes/kubernetes.io~empty-dir/v/app.env", Uid(7));
    let check = |variables: Vec<EnvVar>, content: Option<&str>, volumes: Arc<[Volume]>| {
        let container = container(variables);
        let pod = pod(PodSpec { volumes, ..of(container.clone()) });
        let config = config();
        let facts = Facts { pod: &pod, pod_ip: None, config: &config };
        let mut environment = Environment::wanted(&pod, &container);
        environment.want_files(&pod, &container, &config)?;
        while let Some(mut file) = environment.files_wanted.pop() {
            assert_eq!(file.host_path.as_str(), path);
            file.content = content.map(Text::new);
            environment.files.push(file);
        }
        environment.check(&pod, &container)?;
        let made = facts.variables(&container, &environment);
        Ok(made.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    };
    let volumes = || -> Arc<[Volume]> { Arc::new([Volume { name: "v".into(), source: source.clone() }]) };
    let both = vec![of_file("A", "a", false), of_file("B", "b", true), literal("C", "$(A)!")];
    let fine = Ok("A=1 C=1!".to_owned());
    assert_eq!(check(both.clone(), Some("a='1'\n"), volumes()), fine);
    let none = Err(Text::from("cannot find the volume \"v\" referenced by FileKeyRef"));
    assert_eq!(check(both.clone(), Some("a='1'\n"), Arc::new([])), none);
    let missing = Err(Text::from(format!("environment variable key \"a\" not found in file \"{path}\"")));
    assert_eq!(check(both.clone(), Some("b='1'\n"), volumes()), missing);
    for broken in [None, Some("a=1")] {
        assert_eq!(check(both.clone(), broken, volumes()), Err(Text::new("couldn't parse env file")), "{broken:?}");
    }
}
