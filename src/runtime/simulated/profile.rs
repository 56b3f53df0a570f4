//! What tells container runtimes apart, as data of one model: how long operations take, where they fail and in which
//! words, how images are pulled.
//!
//! Latencies are given as median and 99th percentile. containerd's medians are those recorded of a real one (bridge network,
//! an idle node, a local disk); the rest are estimates for a healthy node with up to 30 pods. `simlet calibrate` replaces
//! them with measured ones. Texts are those of containerd 2, CRI-O 1.3x and cri-dockerd 0.4 with
//! Docker Engine.

use crate::kernel::{Distribution, Duration};
use crate::model::{Name, Text};
use crate::protocol::cri::{Code, Error};
use crate::protocol::pull;

/// One container runtime.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Which texts it speaks.
    pub dialect: Dialect,
    pub runtime_name: Name,
    pub runtime_version: Name,
    pub latency: Latencies,
    /// Sandbox, create and start operations on a node get in each other's way (rtnl lock, cgroups, disk): with n of them in
    /// flight each runs slower by 1 + this/1000 · (min(n, cap) − 1).
    pub contention_per_thousand: u64,
    pub contention_cap: u64,
    /// Layers downloaded at a time.
    pub pull_streams: usize,
    /// These streams are shared by all pulls of the node; else each pull has as many.
    pub shared_streams: bool,
    /// Compressed bytes per second that an image's layers are unpacked at, one after the other.
    pub unpack_bytes_per_second: u64,
    /// The sizes of images that it tells are those of their compressed layers (containerd's content store), not what they take on
    /// a disk (CRI-O, Docker Engine).
    pub sizes_are_packed: bool,
    /// Where pulls were measured: what each MiB takes that an image brings, by the sizes that it tells, download and unpacking
    /// together. A pull then takes `resolve` and this, and longer only where the registry is slower.
    pub pull_per_mebibyte: Option<Distribution>,
    /// Where a program that cannot be started fails.
    pub start_failure: StartFailure,
    /// What RunPodSandbox does while an earlier one for the same pod and attempt is under way.
    pub on_repeat: OnRepeat,
    /// Exit code and reason of containers whose processes were lost with the machine.
    pub lost: (i32, Name),
    /// Whether the real one sends GetContainerEvents by default. The simulated ones all do: a kubelet that sleeps needs
    /// them, and acts on them when a polling kubelet would.
    pub has_container_events: bool,
    /// Containers survive a restart of the runtime.
    pub survives_restart: bool,
}

/// Whose words a runtime uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Containerd,
    CriO,
    Docker,
}

impl Dialect {
    /// The socket at which the runtime is found, as its packages set it up.
    pub fn socket(self) -> &'static str {
        match self {
            Dialect::Containerd => "/run/containerd/containerd.sock",
            Dialect::CriO => "/var/run/crio/crio.sock",
            Dialect::Docker => "/run/cri-dockerd.sock",
        }
    }

    /// What a gRPC client says when the runtime was stopped, which takes its socket away.
    pub fn unreachable(self) -> String {
        let socket = self.socket();
        format!(
            "connection error: desc = \"transport: Error while dialing: dial unix {socket}: connect: no such file or \
             directory\""
        )
    }
}

/// How long operations take, without other load. RunPodSandbox is the sum of `sandbox` and `cni_add`.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    /// Version, Status.
    pub status: Distribution,
    /// ListPodSandbox, ListContainers, ListImages, ListContainerStats.
    pub list: Distribution,
    /// PodSandboxStatus, ContainerStatus.
    pub inspect: Distribution,
    pub image_status: Distribution,
    pub sandbox: Distribution,
    pub cni_add: Distribution,
    pub create: Distribution,
    pub start: Distribution,
    /// Beyond the command's own time.
    pub exec: Distribution,
    /// Beyond the process's own exit.
    pub stop: Distribution,
    pub stop_sandbox: Distribution,
    /// RemoveContainer, RemovePodSandbox, RemoveImage.
    pub remove: Distribution,
    /// A pull before its first layer, beyond the registry's own latency.
    pub resolve: Distribution,
}

/// A field of [`Latencies`].
pub type LatencyField = fn(&mut Latencies) -> &mut Distribution;

impl Latencies {
    /// The latencies by the names that profile files have for them, in the order in which they are written there.
    pub const NAMED: [(&'static str, LatencyField); 13] = [
        ("sandbox", |latency| &mut latency.sandbox),
        ("cniAdd", |latency| &mut latency.cni_add),
        ("create", |latency| &mut latency.create),
        ("start", |latency| &mut latency.start),
        ("stop", |latency| &mut latency.stop),
        ("stopSandbox", |latency| &mut latency.stop_sandbox),
        ("remove", |latency| &mut latency.remove),
        ("resolve", |latency| &mut latency.resolve),
        ("exec", |latency| &mut latency.exec),
        ("status", |latency| &mut latency.status),
        ("list", |latency| &mut latency.list),
        ("inspect", |latency| &mut latency.inspect),
        ("imageStatus", |latency| &mut latency.image_status),
    ];
}

/// Where a bad entry point shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// StartContainer fails; the container has exited with this code and reason.
    AtStart { code: i32, reason: &'static str },
    /// CreateContainer fails; there is no container.
    AtCreate,
}

/// What a repeated RunPodSandbox does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRepeat {
    /// It fails: the name is reserved.
    Refuse,
    /// It waits and gets the first one's sandbox.
    HandOver,
    /// It takes the first one's place.
    Replace,
}

/// CNI ADD by a bridge with host-local addresses: 55/250 ms.
pub fn bridge_cni() -> Distribution {
    millis(55, 250)
}

/// CNI ADD by an overlay or with a cloud's address management: 200/2000 ms.
pub fn overlay_cni() -> Distribution {
    millis(200, 2000)
}

fn millis(p50: u64, p99: u64) -> Distribution {
    Distribution::LogNormal { p50: Duration::from_millis(p50), p99: Duration::from_millis(p99) }
}

fn micros(p50: u64, p99: u64) -> Distribution {
    Distribution::LogNormal { p50: Duration::from_micros(p50), p99: Duration::from_micros(p99) }
}

impl Default for Profile {
    fn default() -> Profile {
        Profile::containerd()
    }
}

impl Profile {
    /// The profile of this name: `containerd`, `cri-o` or `docker`.
    pub fn named(name: &str) -> Option<Profile> {
        match name {
            "containerd" => Some(Profile::containerd()),
            "cri-o" | "crio" => Some(Profile::cri_o()),
            "docker" => Some(Profile::docker()),
            _ => None,
        }
    }

    /// containerd.
    pub fn containerd() -> Profile {
        Profile {
            dialect: Dialect::Containerd,
            runtime_name: Name::new("containerd"),
            runtime_version: Name::new("2.2.0"),
            latency: Latencies {
                status: micros(500, 10_000),
                list: micros(500, 10_000),
                inspect: micros(300, 5_000),
                image_status: micros(400, 10_000),
                sandbox: millis(65, 250),
                cni_add: bridge_cni(),
                create: millis(15, 80),
                start: millis(85, 250),
                exec: millis(45, 300),
                stop: millis(50, 150),
                stop_sandbox: millis(70, 400),
                remove: millis(6, 100),
                resolve: millis(60, 400),
            },
            contention_per_thousand: 500,
            contention_cap: 16,
            pull_streams: 3,
            shared_streams: true,
            unpack_bytes_per_second: 60_000_000,
            sizes_are_packed: true,
            pull_per_mebibyte: None,
            start_failure: StartFailure::AtStart { code: 128, reason: "StartError" },
            on_repeat: OnRepeat::Refuse,
            lost: (255, Name::new("Unknown")),
            has_container_events: true,
            survives_restart: true,
        }
    }

    /// CRI-O with crun.
    pub fn cri_o() -> Profile {
        let containerd = Profile::containerd();
        Profile {
            dialect: Dialect::CriO,
            runtime_name: Name::new("cri-o"),
            runtime_version: Name::new("1.36.0"),
            latency: Latencies {
                status: millis(1, 10),
                list: millis(3, 25),
                inspect: micros(500, 5_000),
                image_status: millis(2, 20),
                sandbox: millis(70, 400),
                create: millis(100, 500),
                start: millis(15, 100),
                exec: millis(40, 250),
                stop: millis(60, 200),
                stop_sandbox: millis(100, 800),
                remove: millis(30, 200),
                resolve: millis(100, 600),
                cni_add: bridge_cni(),
            },
            pull_streams: 6,
            shared_streams: false,
            unpack_bytes_per_second: 50_000_000,
            sizes_are_packed: false,
            start_failure: StartFailure::AtCreate,
            on_repeat: OnRepeat::HandOver,
            lost: (255, Name::new("Error")),
            has_container_events: false,
            ..containerd
        }
    }

    /// Docker Engine behind cri-dockerd.
    pub fn docker() -> Profile {
        let containerd = Profile::containerd();
        Profile {
            dialect: Dialect::Docker,
            runtime_name: Name::new("docker"),
            runtime_version: Name::new("29.0.0"),
            latency: Latencies {
                status: millis(3, 30),
                list: millis(15, 150),
                inspect: millis(4, 40),
                image_status: millis(3, 30),
                sandbox: millis(250, 1200),
                cni_add: bridge_cni(),
                create: millis(60, 400),
                start: millis(150, 700),
                exec: millis(120, 800),
                stop: millis(60, 400),
                stop_sandbox: millis(250, 1500),
                remove: millis(60, 400),
                resolve: millis(100, 600),
            },
            start_failure: StartFailure::AtStart { code: 127, reason: "ContainerCannotRun" },
            on_repeat: OnRepeat::Replace,
            lost: (255, Name::new("Error")),
            has_container_events: false,
            sizes_are_packed: false,
            survives_restart: false,
            ..containerd
        }
    }

    /// Why a pull failed, as this runtime tells the kubelet. `image` is the reference as asked for, `whole` completed.
    pub fn pull_error(&self, image: &str, whole: &str, host: &str, layer: Option<u64>, failure: &pull::Error) -> Error {
        let not_found = *failure == pull::Error::NotFound;
        let code = if not_found && self.dialect == Dialect::Containerd { Code::NotFound } else { Code::Unknown };
        let (path, tag) = repository_and_tag(whole, host);
        let (scheme, address) = address(host);
        let url = format!("{scheme}://{host}/v2/{path}/manifests/{tag}");
        // Some end before there is an HTTP answer.
        let error = &match failure {
            pull::Error::ConnectionRefused => format!("dial tcp {address}: connect: connection refused"),
            pull::Error::NoSuchHost => format!("dial tcp: lookup {host}: no such host"),
            pull::Error::Timeout => format!("dial tcp {address}: i/o timeout"),
            pull::Error::Corrupt => {
                let (wanted, got) = (layer.unwrap_or_default(), !layer.unwrap_or_default());
                let (wanted, got) = (format!("sha256:{wanted:016x}{:048x}", 0), format!("sha256:{got:016x}{:048x}", 0));
                format!(
                    "failed commit on ref \"layer-{wanted}\": unexpected commit digest {got}, expected {wanted}: failed precondition"
                )
            }
            other => other.to_string(),
        };
        let cause = match failure {
            pull::Error::NotFound => format!("{whole}: not found"),
            pull::Error::TooManyRequests(text) => {
                format!("unexpected status from HEAD request to {url}: 429 Too Many Requests: {text}")
            }
            pull::Error::ServerError(status) => format!("unexpected status from HEAD request to {url}: {status}"),
            pull::Error::NoCredentials => format!(
                "pull access denied, repository does not exist or may require authorization: authorization failed: {error}"
            ),
            pull::Error::Unauthorized => format!("unexpected status from HEAD request to {url}: 401 Unauthorized"),
            pull::Error::Corrupt => error.clone(),
            _ => format!(r#"failed to do request: Head "{url}": {error}"#),
        };
        let text = match (self.dialect, failure) {
            (Dialect::Containerd, _) if layer.is_some() => {
                format!(r#"failed to pull and unpack image "{whole}": failed to copy: {error}"#)
            }
            (Dialect::Containerd, _) => {
                format!(r#"failed to pull and unpack image "{whole}": failed to resolve reference "{whole}": {cause}"#)
            }
            (Dialect::CriO, pull::Error::ConnectionRefused) => {
                format!(
                    "RegistryUnavailable: pinging container registry {host}: Get \"{scheme}://{host}/v2/\": {error}"
                )
            }
            (Dialect::CriO, pull::Error::NotFound) => {
                format!(
                    "unable to pull image or OCI artifact: pull image err: initializing source docker://{image}: reading manifest {tag} in {host}/{path}: manifest unknown"
                )
            }
            (Dialect::CriO, _) if layer.is_some() => {
                format!(
                    "unable to pull image or OCI artifact: pull image err: copying system image from manifest list: reading blob: {error}"
                )
            }
            (Dialect::CriO, _) => {
                format!(
                    "unable to pull image or OCI artifact: pull image err: initializing source docker://{image}: reading manifest {tag} in {host}/{path}: {error}"
                )
            }
            (Dialect::Docker, pull::Error::NotFound) => {
                format!(
                    "Error response from daemon: manifest for {image} not found: manifest unknown: manifest unknown"
                )
            }
            (Dialect::Docker, pull::Error::TooManyRequests(text)) => format!("Error response from daemon: {text}"),
            (Dialect::Docker, pull::Error::Corrupt) => "filesystem layer verification failed".to_owned(),
            (Dialect::Docker, _) if layer.is_some() => error.to_string(),
            (Dialect::Docker, pull::Error::NoCredentials | pull::Error::Unauthorized) => {
                format!("Error response from daemon: Head \"{url}\": {error}")
            }
            (Dialect::Docker, _) => format!("Error response from daemon: Get \"{scheme}://{host}/v2/\": {error}"),
        };
        Error::new(code, text)
    }

    /// StartContainer's (or, with CRI-O, CreateContainer's) words for a program that cannot be started.
    pub fn start_error(&self, why: &str) -> Text {
        Text::new(match self.dialect {
            Dialect::Containerd => format!(
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
                 unable to start container process: error during container init: {why}"
            ),
            Dialect::CriO => format!("container create failed: {why}"),
            Dialect::Docker => format!(
                "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create \
                 failed: unable to start container process: error during container init: {why}"
            ),
        })
    }

    /// RunPodSandbox's words for a network that cannot be set up. `id` is the sandbox's.
    pub fn network_error(&self, id: &str, namespace: &str, pod: &str, why: &str) -> Text {
        Text::new(match self.dialect {
            Dialect::Containerd => {
                format!(r#"failed to setup network for sandbox "{id}": plugin type="bridge" failed (add): {why}"#)
            }
            Dialect::CriO => format!(
                "failed to create pod network sandbox k8s_{pod}_{namespace}({id}): error adding pod {namespace}_{pod} to CNI \
                 network \"bridge\": plugin type=\"bridge\" failed (add): {why}"
            ),
            Dialect::Docker => format!(
                r#"failed to set up sandbox container "{id}" network for pod "{pod}": networkPlugin cni failed to set up pod "{pod}_{namespace}" network: plugin type="bridge" failed (add): {why}"#
            ),
        })
    }

    /// Status' and RunPodSandbox's words while there is no network configuration.
    pub fn network_uninitialized(&self) -> (&'static str, &'static str) {
        match self.dialect {
            Dialect::Containerd | Dialect::CriO => {
                ("Network plugin returns error: cni plugin not initialized", "cni config not initialized")
            }
            Dialect::Docker => {
                ("docker: network plugin is not ready: cni config uninitialized", "cni config uninitialized")
            }
        }
    }
}

/// How a registry is reached: runtimes speak plain HTTP to their own machine, TLS to all others.
fn address(host: &str) -> (&'static str, String) {
    let local = host == "localhost" || host.starts_with("localhost:") || host.starts_with("127.");
    let address = host.replacen("localhost", "127.0.0.1", 1);
    match (local, host.contains(':')) {
        (true, true) => ("http", address),
        (true, false) => ("http", format!("{address}:80")),
        (false, true) => ("https", host.to_owned()),
        (false, false) => ("https", format!("{host}:443")),
    }
}

/// `library/nginx` and `1.27` of `docker.io/library/nginx:1.27`.
fn repository_and_tag<'a>(whole: &'a str, host: &str) -> (&'a str, &'a str) {
    let path = whole.strip_prefix(host).and_then(|path| path.strip_prefix('/')).unwrap_or(whole);
    path.split_once('@').or_else(|| path.rsplit_once(':')).unwrap_or((path, "latest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runtime_says_in_its_own_words_why_a_pull_failed() {
        let text = |profile: Profile, error: pull::Error| {
            profile
                .pull_error("localhost:5000/nope:1", "localhost:5000/nope:1", "localhost:5000", None, &error)
                .to_string()
        };
        assert_eq!(
            text(Profile::containerd(), pull::Error::NotFound),
            "rpc error: code = NotFound desc = failed to pull and unpack image \"localhost:5000/nope:1\": failed to resolve \
             reference \"localhost:5000/nope:1\": localhost:5000/nope:1: not found"
        );
        assert!(
            text(Profile::cri_o(), pull::Error::NotFound)
                .ends_with("reading manifest 1 in localhost:5000/nope: manifest unknown")
        );
        assert!(text(Profile::cri_o(), pull::Error::ConnectionRefused).contains("desc = RegistryUnavailable: "));
        assert!(text(Profile::containerd(), pull::Error::ConnectionRefused).ends_with(
            "Head \"http://localhost:5000/v2/nope/manifests/1\": dial tcp 127.0.0.1:5000: connect: connection refused"
        ));
        let limited = pull::Error::TooManyRequests("toomanyrequests: slow down".into());
        assert!(text(Profile::docker(), limited.clone()).ends_with("daemon: toomanyrequests: slow down"));
        assert!(text(Profile::containerd(), limited).contains("429 Too Many Requests"));
    }

    #[test]
    fn profiles_differ_where_runtimes_do() {
        let (containerd, cri_o, docker) = (Profile::containerd(), Profile::cri_o(), Profile::docker());
        assert_eq!((containerd.pull_streams, cri_o.pull_streams, docker.pull_streams), (3, 6, 3));
        assert_eq!(cri_o.start_failure, StartFailure::AtCreate);
        assert_ne!(containerd.start_failure, docker.start_failure);
        assert!(containerd.has_container_events && !cri_o.has_container_events && !docker.has_container_events);
        assert!(docker.latency.sandbox.median() > containerd.latency.sandbox.median());
        assert!(cri_o.latency.create.median() > cri_o.latency.start.median());
        assert_eq!(Profile::named("podman"), None);
    }
}
