//! The CRI's conformance suite, group by group, by calls as it makes them: containers, volumes, logs, images, networking,
//! several containers, metrics, lists by streams, calls that are repeated.

use super::*;

/// A pod in which containers of busybox run.
async fn with_pod(name: &str) -> (Runtime, String) {
    let runtime = start(name, &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let sandbox = runtime.sandbox(&pod_config("web")).await.unwrap();
    (runtime, sandbox)
}

async fn stop(runtime: &Runtime, id: &str, timeout: i64) {
    runtime.done("StopContainer", proto::StopContainerRequest { container_id: id.to_owned(), timeout }).await.unwrap();
}

impl Runtime {
    /// What is in the log of a container that has ended.
    async fn log_of(&self, sandbox: &str, wanted: proto::ContainerConfig) -> Vec<String> {
        let name = wanted.metadata.clone().unwrap().name;
        let id = self.started(sandbox, &proto::ContainerConfig { log_path: format!("{name}.log"), ..wanted }).await;
        let path = self.exited(&id).await.log_path;
        let text = std::fs::read_to_string(path).unwrap();
        // Without the time.
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }
}

#[tokio::test]
async fn containers_are_removed_whatever_state_they_are_in_and_a_stop_takes_less_than_its_timeout() {
    let (runtime, sandbox) = with_pod("states").await;
    let top = ["sh", "-c", "top"];
    let created = runtime.create(&sandbox, &config("created", &top)).await.unwrap();
    let running = runtime.started(&sandbox, &config("running", &top)).await;
    let stopped = runtime.started(&sandbox, &config("stopped", &["top"])).await;
    let before = tokio::time::Instant::now();
    stop(&runtime, &stopped, 60).await;
    assert!(before.elapsed() < Duration::from_secs(30), "{:?}", before.elapsed());
    for id in [created, running, stopped] {
        runtime.done("RemoveContainer", container(&id)).await.unwrap();
        let filter = proto::ContainerFilter { id, ..Default::default() };
        assert_eq!(runtime.containers(filter).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_command_that_took_too_long_is_gone() {
    let (runtime, sandbox) = with_pod("timeouts").await;
    let id = runtime.started(&sandbox, &config("app", &["top"])).await;
    assert_eq!(code(runtime.exec(&id, &["sleep", "4321"], 1).await), Code::DeadlineExceeded);
    let after = runtime.exec(&id, &["sh", "-c", "pgrep sleep || true"], 30).await.unwrap();
    assert_eq!(after, (String::new(), String::new(), 0));
}

#[tokio::test]
async fn mounted_folders_are_seen_also_through_a_link() {
    let (runtime, sandbox) = with_pod("volumes").await;
    let folder = runtime.folder.join("volume");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("testVolume.file"), "").unwrap();
    let link = runtime.folder.join("volume-symlink");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    for (name, path) in [("plain", folder), ("link", link)] {
        let path = path.display().to_string();
        let mount = proto::Mount { container_path: path.clone(), host_path: path.clone(), ..Default::default() };
        let wanted = proto::ContainerConfig { mounts: vec![mount], ..config(name, &["sh", "-c", "top"]) };
        let id = runtime.started(&sandbox, &wanted).await;
        let listed = runtime.exec(&id, &["ls", "-A", &path], 30).await.unwrap();
        assert_eq!(listed, ("testVolume.file\n".to_owned(), String::new(), 0), "{name}");
    }
}

#[tokio::test]
async fn what_a_container_does_to_its_pods_volumes_is_seen_by_the_others_and_hosts_files_are_safe() {
    let runtime = start("writes", &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let pod = proto::PodSandboxConfig {
        metadata: Some(proto::PodSandboxMetadata { uid: "0c1e1b3a-uid".into(), ..pod_config("web").metadata.unwrap() }),
        ..pod_config("web")
    };
    let sandbox = runtime.sandbox(&pod).await.unwrap();
    let own = runtime.folder.join("pods/0c1e1b3a-uid/volumes/kubernetes.io~empty-dir/cache");
    let hosts = runtime.folder.join("hosts");
    for folder in [&own, &hosts] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("kept"), "kept\n").unwrap();
    }
    let mount = |container_path: &str, host: &std::path::Path| proto::Mount {
        container_path: container_path.to_owned(),
        host_path: host.display().to_string(),
        ..Default::default()
    };
    let mounts = vec![mount("/cache", &own), mount("/host", &hosts)];
    let script = "echo one > /cache/new; rm /host/kept; echo two > /host/new; sleep 1d";
    let writer = proto::ContainerConfig { mounts: mounts.clone(), ..config("writer", &["sh", "-c", script]) };
    let writer = runtime.started(&sandbox, &writer).await;
    let reader = proto::ContainerConfig { mounts, ..config("reader", SLEEP) };
    let reader = runtime.started(&sandbox, &reader).await;
    let seen = async |id: &str, path: &str| runtime.exec(id, &["cat", path], 30).await.unwrap().0;
    assert_eq!(seen(&reader, "/cache/new").await, "one\n");
    assert_eq!((seen(&writer, "/host/new").await.as_str(), seen(&writer, "/host/kept").await.as_str()), ("two\n", ""));
    assert_eq!((seen(&reader, "/host/new").await.as_str(), seen(&reader, "/host/kept").await.as_str()), ("", "kept\n"));
    assert!(hosts.join("kept").exists() && !hosts.join("new").exists());
    assert_eq!(std::fs::read_to_string(own.join("new")).unwrap(), "one\n");
}

#[tokio::test]
async fn a_container_ends_as_its_command_does_with_all_it_wrote_in_its_log() {
    let runtime = start("ends", &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let logs = runtime.folder.join("logs").display().to_string();
    let sandbox = runtime.sandbox(&proto::PodSandboxConfig { log_directory: logs, ..pod_config("web") }).await.unwrap();
    assert_eq!(runtime.log_of(&sandbox, config("echo", &["echo", "hello World"])).await, ["stdout F hello World"]);
    assert_eq!(runtime.log_of(&sandbox, config("part", &["echo", "-n", "no end"])).await, ["stdout F no end"]);
    let both = ["sh", "-c", "echo out; echo err >&2"];
    assert_eq!(runtime.log_of(&sandbox, config("both", &both)).await, ["stdout F out", "stderr F err"]);
    for (number, (command, expected)) in [
        (&["sh", "-c", "exit 3"][..], 3),
        (&["true"], 0),
        (&["cat", "/none"], 1),
        (&["sh", "-c", "x=4; exit $x"], 4),
        (&["sh", "-c", "sleep 0.3; false"], 1),
        (&["sh"], 0),
    ]
    .into_iter()
    .enumerate()
    {
        let id = runtime.started(&sandbox, &config(&format!("code-{number}"), command)).await;
        let status = runtime.exited(&id).await;
        let reason = if expected == 0 { "Completed" } else { "Error" };
        assert_eq!((status.exit_code, status.reason.as_str()), (expected, reason), "{command:?}");
    }
}

#[tokio::test]
async fn a_program_that_needs_more_memory_than_it_may_have_is_killed() {
    let (runtime, sandbox) = with_pod("oom").await;
    let resources = proto::LinuxContainerResources { memory_limit_in_bytes: 15 << 20, ..Default::default() };
    let linux = Some(proto::LinuxContainerConfig { resources: Some(resources), security_context: None });
    let command = ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=20M"];
    let id = runtime.started(&sandbox, &proto::ContainerConfig { linux, ..config("hungry", &command) }).await;
    let status = runtime.exited(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
}

#[tokio::test]
async fn a_pods_dns_hostname_and_sysctls_are_what_it_was_given() {
    let runtime = start("network", &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let dns_config = Some(proto::DnsConfig {
        servers: vec!["10.10.10.10".into()],
        searches: vec!["google.com".into(), "example.org".into()],
        options: vec!["ndots:8".into()],
    });
    let linux =
        Some(proto::LinuxPodSandboxConfig { sysctls: map(&[("kernel.shm_rmid_forced", "1")]), ..Default::default() });
    let pod = proto::PodSandboxConfig { dns_config, linux, hostname: "test-hostname".into(), ..pod_config("web") };
    let sandbox = runtime.sandbox(&pod).await.unwrap();
    let id = runtime.started(&sandbox, &config("app", &["top"])).await;
    let out = async |command: &[&str]| runtime.exec(&id, command, 30).await.unwrap().0;
    let expected = "search google.com example.org\nnameserver 10.10.10.10\noptions ndots:8\n";
    assert_eq!(out(&["cat", "/etc/resolv.conf"]).await, expected);
    assert_eq!(out(&["hostname"]).await, "test-hostname\n");
    assert_eq!(out(&["cat", "/proc/sys/kernel/shm_rmid_forced"]).await, "1\n");
}

/// The first line of the answer to a GET.
fn get(address: &str) -> std::io::Result<String> {
    use std::io::{BufRead, BufReader, Write};
    let mut connection = std::net::TcpStream::connect(address)?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

#[tokio::test]
async fn a_web_server_answers_at_its_pods_address_and_at_its_host_port_while_it_runs() {
    let runtime = start("web", &["--pod-cidr", "127.99.0.0/24"]).await;
    runtime.pull("registry.k8s.io/e2e-test-images/agnhost:2.53").await.unwrap();
    let mapping = proto::PortMapping { container_port: 8080, host_port: 18765, ..Default::default() };
    let pod = proto::PodSandboxConfig { port_mappings: vec![mapping], ..pod_config("web") };
    let sandbox = runtime.sandbox(&pod).await.unwrap();
    let ip = runtime.sandbox_status(&sandbox).await.unwrap().network.unwrap().ip;
    assert!(ip.starts_with("127.99.0."), "{ip}");
    let image = spec("registry.k8s.io/e2e-test-images/agnhost:2.53");
    let id = runtime.started(&sandbox, &proto::ContainerConfig { image, ..config("app", &[]) }).await;
    for place in [format!("{ip}:8080"), "127.0.0.1:18765".to_owned()] {
        let mut answer = get(&place);
        for _ in 0..200 {
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer = get(&place);
        }
        assert_eq!(answer.unwrap(), "HTTP/1.1 200 OK", "{place}");
    }
    stop(&runtime, &id, 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(get(&format!("{ip}:8080")).is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_scenarios_behaviors_decide_what_a_web_server_answers() {
    let runtime = start("web-behaviors", &["world.yaml"]).await;
    runtime.pull("shop/broken:1").await.unwrap();
    let sandbox = runtime.sandbox(&pod_config("web")).await.unwrap();
    let ip = runtime.sandbox_status(&sandbox).await.unwrap().network.unwrap().ip;
    let annotations = map(&[("io.kubernetes.container.ports", r#"[{"containerPort":18081}]"#)]);
    let broken = proto::ContainerConfig { image: spec("shop/broken:1"), annotations, ..config("broken", &[]) };
    runtime.started(&sandbox, &broken).await;
    let mut answer = get(&format!("{ip}:18081"));
    for _ in 0..200 {
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = get(&format!("{ip}:18081"));
    }
    assert_eq!(answer.unwrap(), "HTTP/1.1 503 as simulated");
}

#[tokio::test]
async fn several_containers_of_a_pod_have_their_own_logs_and_commands() {
    let runtime = start("several", &[]).await;
    let httpd = "registry.k8s.io/e2e-test-images/httpd:2.4.39-4";
    for image in [BUSYBOX, httpd] {
        runtime.pull(image).await.unwrap();
    }
    let logs = runtime.folder.join("logs").display().to_string();
    let sandbox = runtime.sandbox(&proto::PodSandboxConfig { log_directory: logs, ..pod_config("web") }).await.unwrap();
    let logged = |name: &str, command: &[&str], image| proto::ContainerConfig {
        log_path: format!("{name}.log"),
        image: spec(image),
        ..config(name, command)
    };
    let server = runtime.started(&sandbox, &logged("httpd", &[], httpd)).await;
    let other =
        runtime.started(&sandbox, &logged("busybox", &["sh", "-c", "echo hello World; sleep 1000"], BUSYBOX)).await;
    for (id, expected, word) in [(server, "httpd -D FOREGROUND", "httpd"), (other, "hello World", "busybox")] {
        let status = runtime.status(&id).await.unwrap();
        assert_eq!(status.state(), proto::ContainerState::Running);
        let read = || std::fs::read_to_string(&status.log_path).unwrap_or_default();
        for _ in 0..200 {
            if read().contains(expected) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(read().contains(expected), "{}", read());
        assert_eq!(runtime.exec(&id, &["echo", word], 30).await.unwrap().0, format!("{word}\n"));
    }
}

const REGISTRY: &str = "gcr.io/k8s-staging-cri-tools/";

#[tokio::test]
async fn images_have_their_users_and_tags_of_one_image_are_one() {
    let runtime = start("image-users", &[]).await;
    for (image, uid, name) in [
        ("test-image-user-uid", 1002, ""),
        ("test-image-user-username", 0, "www-data"),
        ("test-image-user-uid-group", 1003, ""),
        ("test-image-user-username-group", 0, "www-data"),
    ] {
        let image = format!("{REGISTRY}{image}:latest");
        runtime.pull(&image).await.unwrap();
        let found = runtime.image(&image).await.unwrap();
        assert_eq!((found.uid.map_or(0, |uid| uid.value), found.username.as_str()), (uid, name), "{image}");
    }
    let tags = [1, 2, 3].map(|tag| format!("{REGISTRY}test-image-tags:{tag}"));
    let mut ids = Vec::new();
    for tag in &tags {
        ids.push(runtime.pull(tag).await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let image = runtime.image(&ids[0]).await.unwrap();
    assert_eq!(image.repo_tags, tags);
    for reference in image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]) {
        assert_eq!(runtime.image(reference).await.as_ref(), Some(&image), "{reference}");
    }
}

#[tokio::test]
async fn an_images_id_is_the_same_wherever_it_is_told_and_its_status_names_the_tag() {
    let (runtime, sandbox) = with_pod("image-ids").await;
    let name = format!("{REGISTRY}test-image-tag:test");
    let id = runtime.pull(&name).await.unwrap();
    assert_eq!(runtime.image(&name).await.unwrap().id, id);
    let image = proto::ImageSpec { image: id.clone(), user_specified_image: name.clone(), ..Default::default() };
    let made = runtime.started(&sandbox, &proto::ContainerConfig { image: Some(image), ..config("app", &[]) }).await;
    let status = runtime.status(&made).await.unwrap();
    assert_eq!((&status.image_id, &status.image.as_ref().unwrap().image), (&id, &name));
    assert_eq!(status.image.unwrap().user_specified_image, name);
    let filter = proto::ContainerFilter { id: made[..12].to_owned(), ..Default::default() };
    let request = proto::ListContainersRequest { filter: Some(filter) };
    let list: proto::ListContainersResponse = runtime.call("ListContainers", request).await.unwrap();
    let ids: Vec<(&String, &String)> =
        list.containers.iter().map(|found| (&found.image_id, &found.image_ref)).collect();
    assert_eq!(ids, [(&id, &id)]);
    // Five remove it at once.
    let remove = || runtime.done("RemoveImage", proto::RemoveImageRequest { image: spec(&id) });
    let removed = tokio::join!(remove(), remove(), remove(), remove(), remove());
    assert!(removed.0.is_ok() && removed.1.is_ok() && removed.2.is_ok() && removed.3.is_ok() && removed.4.is_ok());
    assert_eq!(runtime.image(&id).await, None);
}

#[tokio::test]
async fn an_image_is_mounted_read_only_and_its_id_is_told() {
    let (runtime, sandbox) = with_pod("image-volumes").await;
    let id = runtime.image(BUSYBOX).await.unwrap().id;
    let mount = |readonly, sub_path: &str| proto::Mount {
        container_path: "/mnt/image".into(),
        readonly,
        image: Some(proto::ImageSpec { image: id.clone(), ..Default::default() }),
        image_sub_path: sub_path.into(),
        ..Default::default()
    };
    let with = |name: &str, mount| proto::ContainerConfig { mounts: vec![mount], ..config(name, &["top"]) };
    let whole = runtime.started(&sandbox, &with("whole", mount(true, ""))).await;
    let status = runtime.status(&whole).await.unwrap();
    assert_eq!(status.mounts[0].image.as_ref().unwrap().image_ref, id);
    let part = runtime.started(&sandbox, &with("part", mount(true, "etc"))).await;
    for (container, command, expected) in [
        (&whole, &["ls", "-A", "/mnt/image/bin/sh"][..], 0),
        (&whole, &["/mnt/image/bin/ls", "/mnt/image"], 0),
        (&whole, &["touch", "/mnt/image/new"], 1),
        (&part, &["ls", "/mnt/image/passwd"], 0),
        (&part, &["ls", "/mnt/image/etc/passwd"], 1),
    ] {
        assert_eq!(runtime.exec(container, command, 30).await.unwrap().2, expected, "{command:?}");
    }
    assert_eq!(code(runtime.create(&sandbox, &with("writes", mount(false, ""))).await), Code::InvalidArgument);
    assert_eq!(code(runtime.create(&sandbox, &with("none", mount(true, "not-existing"))).await), Code::InvalidArgument);
}

#[tokio::test]
async fn what_is_not_there_is_stopped_and_removed_without_an_error() {
    let runtime = start("idempotence", &[]).await;
    let unknown = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";
    runtime.done("StopPodSandbox", pod(unknown)).await.unwrap();
    runtime.done("RemovePodSandbox", pod(unknown)).await.unwrap();
    stop(&runtime, unknown, 0).await;
    stop(&runtime, &"f".repeat(64), 0).await;
    runtime.done("RemoveContainer", container(unknown)).await.unwrap();
    for _ in 0..2 {
        runtime.done("RemoveImage", proto::RemoveImageRequest { image: spec(&"0".repeat(64)) }).await.unwrap();
    }
}

#[tokio::test]
async fn metrics_are_described_and_every_container_has_a_value_of_each() {
    let (runtime, sandbox) = with_pod("metrics").await;
    let resources = proto::LinuxContainerResources { memory_limit_in_bytes: 64 << 20, ..Default::default() };
    let linux = Some(proto::LinuxContainerConfig { resources: Some(resources), security_context: None });
    let id = runtime.started(&sandbox, &proto::ContainerConfig { linux, ..config("app", &["top"]) }).await;
    let fills =
        "mkdir -p /var/lib/mydisktest && for i in $(seq 1 10); do echo hi >> /var/lib/mydisktest/file_$i; done; sync";
    assert_eq!(runtime.exec(&id, &["/bin/sh", "-c", fills], 30).await.unwrap().2, 0);
    let described: proto::ListMetricDescriptorsResponse =
        runtime.call("ListMetricDescriptors", proto::Empty {}).await.unwrap();
    let listed: proto::ListPodSandboxMetricsResponse =
        runtime.call("ListPodSandboxMetrics", proto::Empty {}).await.unwrap();
    let [of_pod] = listed.pod_metrics.as_slice() else { panic!("one pod: {listed:?}") };
    assert_eq!((&of_pod.pod_sandbox_id, &of_pod.container_metrics[0].container_id), (&sandbox, &id));
    let all: Vec<&proto::Metric> = of_pod.metrics.iter().chain(&of_pod.container_metrics[0].metrics).collect();
    for descriptor in &described.descriptors {
        assert!(!descriptor.help.is_empty() && !descriptor.label_keys.is_empty(), "{descriptor:?}");
        let metric = all.iter().find(|metric| metric.name == descriptor.name).expect(&descriptor.name);
        assert_eq!(metric.label_values.len(), descriptor.label_keys.len(), "{}", descriptor.name);
    }
    let value = |name: &str| all.iter().find(|metric| metric.name == name).unwrap().value.as_ref().unwrap().value;
    assert_eq!(value("container_spec_memory_limit_bytes"), 64 << 20);
    assert!(value("container_memory_working_set_bytes") > 0 && value("container_start_time_seconds") > 1_600_000_000);
}

#[tokio::test]
async fn lists_come_by_streams_too() {
    let (runtime, sandbox) = with_pod("stream-lists").await;
    let id = runtime.started(&sandbox, &config("app", &["top"])).await;
    let first = async |service: &str, method: &str| {
        let mut client = tonic::client::Grpc::new(runtime.channel.clone());
        client.ready().await.unwrap();
        let path = format!("{service}{method}").parse().unwrap();
        let request = tonic::Request::new(Bytes::new());
        let mut items = client.server_streaming(request, path, RawCodec).await.unwrap().into_inner();
        let first = items.message().await.unwrap().expect(method);
        assert_eq!(items.message().await.unwrap(), None, "{method} ends");
        first
    };
    let pods = proto::ListPodSandboxResponse::decode(first(RUNTIME_SERVICE, "StreamPodSandboxes").await).unwrap();
    assert_eq!(pods.items[0].id, sandbox);
    let found = proto::ListContainersResponse::decode(first(RUNTIME_SERVICE, "StreamContainers").await).unwrap();
    assert_eq!(found.containers[0].id, id);
    let metrics = first(RUNTIME_SERVICE, "StreamPodSandboxMetrics").await;
    assert_eq!(proto::ListPodSandboxMetricsResponse::decode(metrics).unwrap().pod_metrics[0].pod_sandbox_id, sandbox);
    let images = proto::ListImagesResponse::decode(first(IMAGE_SERVICE, "StreamImages").await).unwrap();
    assert_eq!(images.images[0].repo_tags, [BUSYBOX]);
}

#[tokio::test]
async fn a_file_that_a_container_keeps_touching_decides_its_exec_probe() {
    let (runtime, sandbox) = with_pod("probes").await;
    let script = "touch /tmp/healthy; sleep 1; rm -f /tmp/healthy; sleep 600";
    let id = runtime.started(&sandbox, &config("app", &["/bin/sh", "-c", script])).await;
    let probe = async || runtime.exec(&id, &["cat", "/tmp/healthy"], 1).await.unwrap().2;
    assert_eq!(probe().await, 0);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(probe().await, 1);
}

#[tokio::test]
async fn a_hundred_pods_of_several_clients_live_side_by_side() {
    let runtime = std::sync::Arc::new(start("many", &["--pod-cidr", "127.65.0.0/16"]).await);
    runtime.pull(BUSYBOX).await.unwrap();
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let runtime = std::sync::Arc::clone(&runtime);
        clients.spawn(async move {
            for number in 0..15 {
                let sandbox = runtime.sandbox(&pod_config(&format!("pod-{client}-{number}"))).await.unwrap();
                let id = runtime.started(&sandbox, &config("app", SLEEP)).await;
                assert_eq!(runtime.status(&id).await.unwrap().state(), proto::ContainerState::Running);
            }
        });
    }
    clients.join_all().await;
    assert_eq!(runtime.sandboxes(proto::PodSandboxFilter::default()).await.len(), 120);
    assert_eq!(runtime.containers(proto::ContainerFilter::default()).await.len(), 120);
    let stats: proto::ListPodSandboxStatsResponse =
        runtime.call("ListPodSandboxStats", proto::ListPodSandboxStatsRequest::default()).await.unwrap();
    assert_eq!(stats.stats.len(), 120);
}
