//! `simlet serve --cri` as crictl, critest and a kubelet meet it: a gRPC client of its own against the binary, on a socket in
//! a folder of its own.

#[path = "cri_server/conformance.rs"]
mod conformance;
#[path = "cri_server/security.rs"]
mod security;
#[path = "cri_server/streams.rs"]
mod streams;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;
use simlet::runtime::live::codec::RawCodec;
use simlet::runtime::live::proto::{self, IMAGE_SERVICE, Map, RUNTIME_SERVICE};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

const BUSYBOX: &str = "docker.io/library/busybox:1.36";

/// A server and a client of it.
struct Runtime {
    server: Child,
    folder: PathBuf,
    channel: Channel,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ended = self.server.kill();
        let _ended = self.server.wait();
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("cri.sock")
}

/// Starts a server with these flags, and waits until it says that it is ready.
async fn start(name: &str, flags: &[&str]) -> Runtime {
    use std::io::{BufRead, BufReader};
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cri-{name}"));
    let _left = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    std::fs::write(folder.join("world.yaml"), WORLD).expect("a scenario for the test");
    let mut command = Command::new(env!("CARGO_BIN_EXE_simlet"));
    command.current_dir(&folder).args(["serve", "--cri"]).arg(format!("unix://{}", socket(&folder).display()));
    let mut server = command.args(flags).stderr(Stdio::piped()).spawn().expect("simlet starts");
    let mut said = String::new();
    let mut stderr = BufReader::new(server.stderr.take().expect("standard error"));
    stderr.read_line(&mut said).expect("a line");
    assert!(said.starts_with("simlet serves CRI v1 on unix://"), "{said}");
    let path = socket(&folder);
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(tokio::net::UnixStream::connect(path).await?)) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = endpoint.connect_with_connector(connector).await.expect("the server can be reached");
    Runtime { server, folder, channel }
}

/// A registry in which one image is missing, and a program that says how it ends.
const WORLD: &str = r#"
apiVersion: simlet.dev/v1
kind: Scenario
metadata: {name: a world for tests}
seed: 7
cluster:
  nodes: [{count: 1, name: "n-{index}"}]
  registries: [{host: docker.io, bandwidth: 1Gi/s}]
images:
- {match: "*/missing:*", missing: true}
behaviors:
- {match: {image: "*/crasher:*"}, exit: {after: 200ms, code: 3}}
- {match: {image: "*/broken:*"}, probes: [{http: /, answers: [{from: 0s, status: 503}]}]}
"#;

impl Runtime {
    async fn call<A: Message + Default>(&self, method: &str, request: impl Message) -> Result<A, Status> {
        let images = ["ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo"];
        let service = if images.contains(&method) { IMAGE_SERVICE } else { RUNTIME_SERVICE };
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.expect("the channel is ready");
        let path = format!("{service}{method}").parse().expect("a path");
        let body = Bytes::from(request.encode_to_vec());
        let answer = client.unary(tonic::Request::new(body), path, RawCodec).await?;
        Ok(A::decode(answer.into_inner()).expect("an answer that can be read"))
    }

    async fn done(&self, method: &str, request: impl Message) -> Result<(), Status> {
        self.call::<proto::Empty>(method, request).await.map(|_| ())
    }

    async fn pull(&self, image: &str) -> Result<String, Status> {
        let request = proto::PullImageRequest { image: spec(image), ..Default::default() };
        Ok(self.call::<proto::PullImageResponse>("PullImage", request).await?.image_ref)
    }

    async fn image(&self, image: &str) -> Option<proto::Image> {
        let request = proto::ImageStatusRequest { image: spec(image), verbose: false };
        self.call::<proto::ImageStatusResponse>("ImageStatus", request).await.expect("a status").image
    }

    async fn sandbox(&self, config: &proto::PodSandboxConfig) -> Result<String, Status> {
        let request = proto::RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: String::new() };
        Ok(self.call::<proto::RunPodSandboxResponse>("RunPodSandbox", request).await?.pod_sandbox_id)
    }

    async fn sandbox_status(&self, id: &str) -> Result<proto::PodSandboxStatus, Status> {
        let request = proto::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let response: proto::PodSandboxStatusResponse = self.call("PodSandboxStatus", request).await?;
        assert!(!response.info.is_empty(), "verbose");
        Ok(response.status.expect("a status"))
    }

    async fn sandboxes(&self, filter: proto::PodSandboxFilter) -> Vec<String> {
        let request = proto::ListPodSandboxRequest { filter: Some(filter) };
        let list: proto::ListPodSandboxResponse = self.call("ListPodSandbox", request).await.expect("a list");
        list.items.into_iter().map(|sandbox| sandbox.id).collect()
    }

    async fn create(&self, sandbox: &str, config: &proto::ContainerConfig) -> Result<String, Status> {
        let request = proto::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config.clone()),
            sandbox_config: None,
        };
        Ok(self.call::<proto::CreateContainerResponse>("CreateContainer", request).await?.container_id)
    }

    async fn started(&self, sandbox: &str, config: &proto::ContainerConfig) -> String {
        let id = self.create(sandbox, config).await.expect("created");
        self.done("StartContainer", container(&id)).await.expect("started");
        id
    }

    async fn status(&self, id: &str) -> Result<proto::ContainerStatus, Status> {
        let request = proto::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        Ok(self.call::<proto::ContainerStatusResponse>("ContainerStatus", request).await?.status.expect("a status"))
    }

    async fn containers(&self, filter: proto::ContainerFilter) -> Vec<String> {
        let request = proto::ListContainersRequest { filter: Some(filter) };
        let list: proto::ListContainersResponse = self.call("ListContainers", request).await.expect("a list");
        list.containers.into_iter().map(|container| container.id).collect()
    }

    /// What a command writes, and how it ends.
    async fn exec(&self, id: &str, command: &[&str], timeout: i64) -> Result<(String, String, i32), Status> {
        let cmd = command.iter().map(|word| (*word).to_owned()).collect();
        let request = proto::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout };
        let response: proto::ExecSyncResponse = self.call("ExecSync", request).await?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Ok((text(response.stdout), text(response.stderr), response.exit_code))
    }

    /// Waits for a container's end.
    async fn exited(&self, id: &str) -> proto::ContainerStatus {
        for _ in 0..500 {
            let status = self.status(id).await.expect("a status");
            if status.state() == proto::ContainerState::Exited {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{id} did not exit");
    }
}

fn spec(image: &str) -> Option<proto::ImageSpec> {
    Some(proto::ImageSpec { image: image.to_owned(), ..Default::default() })
}

fn container(id: &str) -> proto::ContainerRequest {
    proto::ContainerRequest { container_id: id.to_owned() }
}

fn pod(id: &str) -> proto::PodSandboxRequest {
    proto::PodSandboxRequest { pod_sandbox_id: id.to_owned() }
}

fn map(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod_config(name: &str) -> proto::PodSandboxConfig {
    proto::PodSandboxConfig {
        metadata: Some(proto::PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid of {name}"),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        hostname: name.to_owned(),
        labels: map(&[("app", name), ("all", "yes")]),
        annotations: map(&[("note", "kept as it is")]),
        ..Default::default()
    }
}

fn config(name: &str, command: &[&str]) -> proto::ContainerConfig {
    proto::ContainerConfig {
        metadata: Some(proto::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: spec(BUSYBOX),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        labels: map(&[("container", name)]),
        annotations: map(&[("restarts", "0")]),
        ..Default::default()
    }
}

const SLEEP: &[&str] = &["sh", "-c", "sleep 1d"];

fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.expect_err("an error").code()
}

#[tokio::test]
async fn the_runtime_says_what_it_is_and_that_it_is_ready() {
    let runtime = start("version", &["--profile", "cri-o"]).await;
    let version: proto::VersionResponse = runtime.call("Version", proto::VersionRequest::default()).await.unwrap();
    assert_eq!((version.version.as_str(), version.runtime_api_version.as_str()), ("0.1.0", "v1"));
    assert_eq!(version.runtime_name, "cri-o");
    for verbose in [false, true] {
        let status: proto::StatusResponse = runtime.call("Status", proto::StatusRequest { verbose }).await.unwrap();
        let conditions = status.status.unwrap().conditions;
        let conditions: Vec<_> = conditions.iter().map(|c| (c.r#type.as_str(), c.status)).collect();
        assert_eq!(conditions, [("RuntimeReady", true), ("NetworkReady", true)]);
        assert_eq!(status.info.is_empty(), !verbose);
    }
    let config: proto::RuntimeConfigResponse =
        runtime.call("RuntimeConfig", proto::RuntimeConfigRequest {}).await.unwrap();
    let has_systemd = Path::new("/run/systemd/system").is_dir();
    let expected = if has_systemd { proto::CgroupDriver::Systemd } else { proto::CgroupDriver::Cgroupfs };
    assert_eq!(config.linux.unwrap().cgroup_driver(), expected, "as the machine has it");
    assert_eq!(code(runtime.done("GetContainerEvent", proto::Empty {}).await), Code::Unimplemented);
    assert_eq!(code(runtime.done("CheckpointContainer", container("x")).await), Code::Unimplemented);
}

#[tokio::test]
async fn a_sandbox_lives_from_ready_over_not_ready_to_gone_and_stop_and_remove_may_be_repeated() {
    let runtime = start("sandbox", &[]).await;
    let config = pod_config("web");
    let id = runtime.sandbox(&config).await.unwrap();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let status = runtime.sandbox_status(&id).await.unwrap();
    assert_eq!(status.state(), proto::PodSandboxState::Ready);
    assert!(status.network.unwrap().ip.starts_with("127.64."));
    assert_eq!(
        (&status.metadata, &status.labels, &status.annotations),
        (&config.metadata, &config.labels, &config.annotations)
    );
    let ago = jiff::Timestamp::now().as_nanosecond() - i128::from(status.created_at);
    assert!((0..60_000_000_000).contains(&ago), "created {ago} ns ago");
    assert_eq!(code(runtime.sandbox(&config).await), Code::AlreadyExists, "the name is in use");
    for _ in 0..2 {
        runtime.done("StopPodSandbox", pod(&id)).await.unwrap();
        assert_eq!(runtime.sandbox_status(&id).await.unwrap().state(), proto::PodSandboxState::NotReady);
    }
    for _ in 0..2 {
        runtime.done("RemovePodSandbox", pod(&id)).await.unwrap();
        assert_eq!(code(runtime.sandbox_status(&id).await), Code::NotFound);
    }
    assert_eq!(runtime.sandboxes(proto::PodSandboxFilter::default()).await, Vec::<String>::new());
    assert_eq!(code(runtime.sandbox(&proto::PodSandboxConfig::default()).await), Code::InvalidArgument);
}

#[tokio::test]
async fn lists_show_what_a_filter_asks_for() {
    let runtime = start("filters", &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let (web, db) =
        (runtime.sandbox(&pod_config("web")).await.unwrap(), runtime.sandbox(&pod_config("db")).await.unwrap());
    runtime.done("StopPodSandbox", pod(&db)).await.unwrap();
    let filter = proto::PodSandboxFilter::default;
    let state = |state: proto::PodSandboxState| Some(proto::PodSandboxStateValue { state: state.into() });
    let by_label = |pairs| proto::PodSandboxFilter { label_selector: map(pairs), ..filter() };
    assert_eq!(runtime.sandboxes(filter()).await, [web.clone(), db.clone()]);
    let ready = proto::PodSandboxFilter { state: state(proto::PodSandboxState::Ready), ..filter() };
    assert_eq!(runtime.sandboxes(ready).await, std::slice::from_ref(&web));
    assert_eq!(
        runtime.sandboxes(proto::PodSandboxFilter { id: db.clone(), ..filter() }).await,
        std::slice::from_ref(&db)
    );
    assert_eq!(runtime.sandboxes(by_label(&[("all", "yes"), ("app", "db")])).await, std::slice::from_ref(&db));
    assert_eq!(runtime.sandboxes(by_label(&[("app", "no")])).await, Vec::<String>::new());

    let runs = runtime.started(&web, &config("runs", SLEEP)).await;
    let created = runtime.create(&web, &config("waits", SLEEP)).await.unwrap();
    let filter = proto::ContainerFilter::default;
    assert_eq!(runtime.containers(filter()).await, [runs.clone(), created.clone()]);
    let running = Some(proto::ContainerStateValue { state: proto::ContainerState::Running.into() });
    assert_eq!(
        runtime.containers(proto::ContainerFilter { state: running, ..filter() }).await,
        std::slice::from_ref(&runs)
    );
    let of_db = proto::ContainerFilter { pod_sandbox_id: db.clone(), ..filter() };
    assert_eq!(runtime.containers(of_db).await, Vec::<String>::new());
    let labelled = proto::ContainerFilter { label_selector: map(&[("container", "waits")]), ..filter() };
    assert_eq!(runtime.containers(labelled).await, std::slice::from_ref(&created));

    let stats: proto::ListContainerStatsResponse =
        runtime.call("ListContainerStats", proto::ListContainerStatsRequest::default()).await.unwrap();
    let ids: Vec<_> = stats.stats.into_iter().map(|stats| stats.attributes.unwrap().id).collect();
    assert_eq!(ids, std::slice::from_ref(&runs), "only what runs uses something");
    let pods: proto::ListPodSandboxStatsResponse =
        runtime.call("ListPodSandboxStats", proto::ListPodSandboxStatsRequest::default()).await.unwrap();
    let uses: Vec<_> = pods.stats.iter().map(|s| s.linux.as_ref().unwrap().containers.len()).collect();
    assert_eq!(uses, [1, 0]);
    let one: proto::ContainerStatsResponse = runtime.call("ContainerStats", container(&runs)).await.unwrap();
    assert_eq!(one.stats.unwrap().attributes.unwrap().id, runs);
    assert_eq!(code(runtime.done("ContainerStats", container("nothing")).await), Code::NotFound);
    assert_eq!(code(runtime.done("PodSandboxStats", pod("nothing")).await), Code::NotFound);
}

#[tokio::test]
async fn a_container_is_created_runs_is_stopped_and_removed_and_its_status_says_so() {
    let runtime = start("container", &["world.yaml"]).await;
    let sandbox = runtime.sandbox(&pod_config("web")).await.unwrap();
    let mut wanted = config("app", SLEEP);
    assert_eq!(code(runtime.create(&sandbox, &wanted).await), Code::NotFound, "the image is not there");
    let image = runtime.pull(BUSYBOX).await.unwrap();
    assert_eq!(code(runtime.create("nothing", &wanted).await), Code::NotFound);
    // A kubelet names the image by its id.
    wanted.image = spec(&image);
    wanted.mounts = vec![proto::Mount { container_path: "/x".into(), host_path: "/tmp".into(), ..Default::default() }];
    let resources =
        proto::LinuxContainerResources { cpu_shares: 512, memory_limit_in_bytes: 64 << 20, ..Default::default() };
    let security = proto::LinuxContainerSecurityContext {
        run_as_user: Some(proto::Int64Value { value: 1000 }),
        run_as_group: Some(proto::Int64Value { value: 2000 }),
        supplemental_groups: vec![3000],
        ..Default::default()
    };
    wanted.linux = Some(proto::LinuxContainerConfig { resources: Some(resources), security_context: Some(security) });
    let id = runtime.create(&sandbox, &wanted).await.unwrap();
    let status = runtime.status(&id).await.unwrap();
    assert_eq!((status.state(), status.started_at, status.finished_at), (proto::ContainerState::Created, 0, 0));
    assert_eq!(code(runtime.create(&sandbox, &wanted).await), Code::AlreadyExists);
    runtime.done("StartContainer", container(&id)).await.unwrap();
    assert!(runtime.done("StartContainer", container(&id)).await.is_err(), "it runs already");
    let status = runtime.status(&id).await.unwrap();
    assert_eq!(status.state(), proto::ContainerState::Running);
    assert_eq!(
        (&status.mounts, &status.labels, &status.annotations),
        (&wanted.mounts, &wanted.labels, &wanted.annotations)
    );
    assert_eq!(status.image_id, image);
    assert!(status.image_ref.starts_with("docker.io/library/busybox@sha256:"), "{}", status.image_ref);
    let user = status.user.unwrap().linux.unwrap();
    assert_eq!((user.uid, user.gid, user.supplemental_groups), (1000, 2000, vec![2000, 3000]));

    let more = proto::LinuxContainerResources { cpu_shares: 1024, ..Default::default() };
    let update =
        proto::UpdateContainerResourcesRequest { container_id: id.clone(), linux: Some(more), ..Default::default() };
    runtime.done("UpdateContainerResources", update).await.unwrap();
    let linux = runtime.status(&id).await.unwrap().resources.unwrap().linux.unwrap();
    assert_eq!((linux.cpu_shares, linux.memory_limit_in_bytes), (1024, 64 << 20), "what was not said stays");

    for _ in 0..2 {
        let stop = proto::StopContainerRequest { container_id: id.clone(), timeout: 0 };
        runtime.done("StopContainer", stop).await.unwrap();
    }
    let status = runtime.status(&id).await.unwrap();
    assert_eq!((status.state(), status.exit_code), (proto::ContainerState::Exited, 137));
    assert!(status.created_at <= status.started_at && status.started_at <= status.finished_at);
    for _ in 0..2 {
        runtime.done("RemoveContainer", container(&id)).await.unwrap();
        assert_eq!(code(runtime.status(&id).await), Code::NotFound);
    }
    // A scenario's behaviors hold.
    runtime.pull("crasher").await.unwrap();
    let crasher =
        runtime.started(&sandbox, &proto::ContainerConfig { image: spec("crasher"), ..config("c", &[]) }).await;
    assert_eq!(runtime.exited(&crasher).await.exit_code, 3);
}

#[tokio::test]
async fn removing_a_sandbox_removes_the_containers_that_run_in_it() {
    let runtime = start("removal", &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let sandbox = runtime.sandbox(&pod_config("web")).await.unwrap();
    let first = runtime.started(&sandbox, &config("a", SLEEP)).await;
    runtime.started(&sandbox, &config("b", SLEEP)).await;
    runtime.done("StopPodSandbox", pod(&sandbox)).await.unwrap();
    assert_eq!(runtime.status(&first).await.unwrap().state(), proto::ContainerState::Exited);
    runtime.done("RemovePodSandbox", pod(&sandbox)).await.unwrap();
    assert_eq!(runtime.containers(proto::ContainerFilter::default()).await, Vec::<String>::new());
    assert_eq!(code(runtime.create(&sandbox, &config("c", SLEEP)).await), Code::NotFound);
}

#[tokio::test]
async fn images_are_pulled_by_tag_and_by_digest_listed_and_removed() {
    let runtime = start("images", &["world.yaml"]).await;
    assert_eq!(runtime.image("nginx").await, None);
    let id = runtime.pull("nginx").await.unwrap();
    let image = runtime.image("nginx").await.unwrap();
    assert_eq!((&image.id, &image.repo_tags), (&id, &vec!["docker.io/library/nginx:latest".to_owned()]));
    assert!(image.size > 0);
    assert_eq!(runtime.image(&id).await, Some(image.clone()), "by its id");
    assert_eq!(runtime.image(&image.repo_digests[0]).await, Some(image.clone()), "by its digest");
    let by_digest = format!("docker.io/library/redis@sha256:{}", "ab".repeat(32));
    runtime.pull(&by_digest).await.unwrap();
    let redis = runtime.image(&by_digest).await.unwrap();
    assert_eq!((redis.repo_tags, redis.repo_digests), (Vec::new(), vec![by_digest.clone()]));
    let list = |image: &str| {
        let filter = if image.is_empty() { None } else { Some(proto::ImageFilter { image: spec(image) }) };
        runtime.call::<proto::ListImagesResponse>("ListImages", proto::ListImagesRequest { filter })
    };
    assert_eq!(list("").await.unwrap().images.len(), 2);
    assert_eq!(list("nginx").await.unwrap().images, std::slice::from_ref(&image));
    let usage: proto::ImageFsInfoResponse = runtime.call("ImageFsInfo", proto::ImageFsInfoRequest {}).await.unwrap();
    assert!(usage.image_filesystems[0].used_bytes.as_ref().unwrap().value > 0);
    for _ in 0..2 {
        runtime.done("RemoveImage", proto::RemoveImageRequest { image: spec(&id) }).await.unwrap();
        assert_eq!(runtime.image("nginx").await, None);
    }
    let missing = runtime.pull("missing").await.unwrap_err();
    assert_eq!((missing.code(), missing.message().contains("missing")), (Code::NotFound, true), "{missing}");
    assert!(runtime.pull("NOT A NAME").await.is_err());
    assert_eq!(code(runtime.pull("").await), Code::InvalidArgument);
}

#[tokio::test]
async fn commands_are_executed_and_their_output_their_code_and_their_timeout_come_back() {
    let runtime = start("exec", &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let sandbox = runtime.sandbox(&pod_config("web")).await.unwrap();
    std::fs::create_dir_all(runtime.folder.join("data")).unwrap();
    std::fs::write(runtime.folder.join("data/greeting"), "good morning\n").unwrap();
    let host_path = runtime.folder.join("data").display().to_string();
    let mut wanted = config("app", SLEEP);
    wanted.mounts = vec![proto::Mount { container_path: "/data".into(), host_path, ..Default::default() }];
    wanted.envs = vec![proto::KeyValue { key: "WHO".into(), value: "world".into() }];
    let id = runtime.started(&sandbox, &wanted).await;
    let ok = |text: &str, code| Ok::<_, Code>((text.to_owned(), code));
    for (command, expected) in [
        (&["echo", "hello"][..], ok("hello\n", 0)),
        (&["true"], ok("", 0)),
        (&["sh", "-c", "echo $WHO; exit 7"], ok("world\n", 7)),
        (&["sh", "-c", "sleep 0.1 && hostname"], ok("web\n", 0)),
        (&["cat", "/data/greeting"], ok("good morning\n", 0)),
        (&["cat", "/data/nothing"], ok("", 1)),
        (&["sleep", "30"], Err(Code::DeadlineExceeded)),
        (&[], Err(Code::InvalidArgument)),
    ] {
        let result = runtime.exec(&id, command, 1).await;
        let result = result.map(|(stdout, _, code)| (stdout, code)).map_err(|status| status.code());
        assert_eq!(result, expected, "{command:?}");
    }
    let (_, stderr, _) = runtime.exec(&id, &["cat", "/data/nothing"], 0).await.unwrap();
    assert!(stderr.contains("No such file or directory"), "{stderr}");
    assert_eq!(code(runtime.exec("nothing", &["true"], 0).await), Code::NotFound);
}

#[tokio::test]
async fn what_a_container_writes_is_in_its_log_which_can_be_opened_anew() {
    let runtime = start("logs", &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let logs = runtime.folder.join("logs");
    let pod = proto::PodSandboxConfig { log_directory: logs.display().to_string(), ..pod_config("web") };
    let sandbox = runtime.sandbox(&pod).await.unwrap();
    let script = "echo hello; while true; do sleep 0.2; echo again; done";
    let wanted = proto::ContainerConfig { log_path: "app/0.log".into(), ..config("app", &["sh", "-c", script]) };
    let id = runtime.started(&sandbox, &wanted).await;
    let path = logs.join("app/0.log");
    assert_eq!(runtime.status(&id).await.unwrap().log_path, path.display().to_string());
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    let wait = async |wanted: &dyn Fn(&str) -> bool| {
        for _ in 0..200 {
            if wanted(&read()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the log is {:?}", read());
    };
    wait(&|text| text.lines().count() > 1).await;
    let text = read();
    let first: Vec<&str> = text.lines().next().unwrap().splitn(4, ' ').collect();
    assert!(first[0].parse::<jiff::Timestamp>().is_ok(), "{text}");
    assert_eq!(first[1..], ["stdout", "F", "hello"]);
    std::fs::rename(&path, logs.join("app/0.log.1")).unwrap();
    runtime.done("ReopenContainerLog", container(&id)).await.unwrap();
    wait(&|text| text.ends_with(" stdout F again\n")).await;
    assert!(!read().contains("hello"), "a new file");
    runtime.done("StopContainer", proto::StopContainerRequest { container_id: id.clone(), timeout: 0 }).await.unwrap();
    assert!(runtime.done("ReopenContainerLog", container(&id)).await.is_err());
}

#[tokio::test]
async fn events_tell_of_a_container_from_its_creation_to_its_removal() {
    let runtime = start("events", &[]).await;
    runtime.pull(BUSYBOX).await.unwrap();
    let mut client = tonic::client::Grpc::new(runtime.channel.clone());
    client.ready().await.unwrap();
    let path = format!("{RUNTIME_SERVICE}GetContainerEvents").parse().unwrap();
    let request = tonic::Request::new(Bytes::new());
    let mut events = client.server_streaming(request, path, RawCodec).await.unwrap().into_inner();
    let sandbox = runtime.sandbox(&pod_config("web")).await.unwrap();
    let id = runtime.started(&sandbox, &config("app", SLEEP)).await;
    runtime.done("StopContainer", proto::StopContainerRequest { container_id: id.clone(), timeout: 0 }).await.unwrap();
    runtime.done("RemoveContainer", container(&id)).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 6 {
        let next = tokio::time::timeout(Duration::from_secs(20), events.message()).await.expect("an event in time");
        let event = proto::ContainerEventResponse::decode(next.unwrap().expect("an event")).unwrap();
        let who = if event.container_id == sandbox { "sandbox" } else { "container" };
        assert!(who == "sandbox" || event.container_id == id, "{event:?}");
        let status = event.pod_sandbox_status.clone().expect("the sandbox's status");
        assert_eq!((&status.id, status.metadata.unwrap().name.as_str()), (&sandbox, "web"));
        heard.push((who, event.container_event_type()));
    }
    use proto::ContainerEventType::{Created, Deleted, Started, Stopped};
    let of_container = [("container", Created), ("container", Started), ("container", Stopped), ("container", Deleted)];
    assert_eq!(heard[..2], [("sandbox", Created), ("sandbox", Started)]);
    assert_eq!(heard[2..], of_container);
}

#[tokio::test]
async fn a_socket_in_use_is_refused_and_one_that_was_left_behind_is_taken() {
    let mut runtime = start("sockets", &[]).await;
    let path = socket(&runtime.folder);
    let url = format!("unix://{}", path.display());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660, "for its owner and its group");
    let nowhere = format!("unix://{}", runtime.folder.join("none/cri.sock").display());
    let refused = Command::new(env!("CARGO_BIN_EXE_simlet")).args(["serve", "--cri", &nowhere]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("there is no folder"), "{said}");
    let serve = || Command::new(env!("CARGO_BIN_EXE_simlet")).args(["serve", "--cri", &url]).output().unwrap();
    let refused = serve();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("another server's socket"), "{said}");
    // SIGTERM removes the socket, SIGKILL leaves it.
    let pid = runtime.server.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(runtime.server.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut again = Command::new(env!("CARGO_BIN_EXE_simlet")).args(["serve", "--cri", &url]).spawn().unwrap();
    let mut answers = false;
    for _ in 0..500 {
        answers = answers || std::os::unix::net::UnixStream::connect(&path).is_ok();
        if answers {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    again.kill().unwrap();
    again.wait().unwrap();
    assert!(answers, "a socket that nobody listens on is taken");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    let refused = serve();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is no socket"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}
