//! What the live tests need of a machine: a containerd of their own in a folder, images for it, a registry, and simlet itself. All of
//! it is gone afterwards.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A containerd on a private socket, with the images `localhost/pause:1` and `localhost/busybox:1`.
pub struct Machine {
    pub folder: PathBuf,
    bridge: String,
    containerd: Option<Child>,
}

/// What the machine is to lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    Nothing,
    Network,
    CriPlugin,
}

impl Machine {
    /// Starts one. `number` tells machines apart that run at the same time: their bridges and subnets.
    pub fn start(number: u8) -> Machine {
        Machine::start_with(number, Lacks::Nothing)
    }

    /// Starts one that is not whole.
    pub fn start_with(number: u8, lacks: Lacks) -> Machine {
        for (file, package) in [
            ("/usr/bin/containerd", "containerd"),
            ("/usr/sbin/runc", "runc"),
            ("/usr/lib/cni/bridge", "containernetworking-plugins"),
            ("/bin/busybox", "busybox-static"),
        ] {
            assert!(Path::new(file).exists(), "{file} is missing: apt-get install {package}");
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("live{number}"));
        let bridge = format!("smlt{number}");
        let mut machine = Machine { folder, bridge, containerd: None };
        machine.sweep();
        fs::create_dir_all(machine.folder.join("cni")).expect("a folder for the test");
        let shown = machine.folder.display().to_string();
        let disabled = if lacks == Lacks::CriPlugin { "[\"io.containerd.grpc.v1.cri\"]" } else { "[]" };
        // The oom score can't be lowered in many containers; see the notes on machines.
        let config = CONFIG.replace("DIR", &shown).replace("DISABLED", disabled);
        fs::write(machine.folder.join("config.toml"), config).expect("containerd's configuration");
        if lacks != Lacks::Network {
            let network = NETWORK.replace("DIR", &shown).replace("BRIDGE", &machine.bridge);
            let network = network.replace("SUBNET", &format!("10.201.{number}.0/24"));
            fs::write(machine.folder.join("cni/10-test.conflist"), network).expect("the network's configuration");
        }
        machine.start_containerd();
        if lacks == Lacks::Nothing {
            for (name, entry) in [("localhost/pause:1", "sleep"), ("localhost/busybox:1", "sh")] {
                let file = image(&machine.folder, name, entry);
                machine.ctr(&["images", "import", &file.display().to_string()]);
            }
        }
        machine
    }

    /// Starts containerd, the first time or again, and waits until it answers.
    pub fn start_containerd(&mut self) {
        let log = fs::File::create(self.folder.join("containerd.log")).expect("a log");
        let mut command = Command::new("containerd");
        command.arg("-c").arg(self.folder.join("config.toml")).stdout(Stdio::null()).stderr(log);
        self.containerd = Some(command.spawn().expect("containerd starts: these tests need root"));
        wait_until("containerd answers", || {
            let mut ask = Command::new("ctr");
            ask.arg("-a").arg(self.socket()).arg("version").stdout(Stdio::null()).stderr(Stdio::null());
            ask.status().is_ok_and(|status| status.success())
        });
    }

    /// Ends containerd's process; containers run on.
    pub fn kill_containerd(&mut self) {
        if let Some(mut containerd) = self.containerd.take() {
            let _ended = containerd.kill();
            let _ended = containerd.wait();
        }
    }

    /// Sends containerd's process a signal, such as `STOP`.
    pub fn signal_containerd(&self, name: &str) {
        if let Some(containerd) = &self.containerd {
            signal(containerd, name);
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }

    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What containerd has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("containerd.log")).unwrap_or_default()
    }

    /// Runs ctr, and gives what it says.
    pub fn ctr(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(self.socket()).args(["-n", "k8s.io"]).args(arguments);
        let output = command.output().expect("ctr runs");
        assert!(output.status.success(), "ctr {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The containers that there are, sandboxes among them.
    pub fn containers(&self) -> usize {
        self.ctr(&["containers", "list", "-q"]).lines().count()
    }

    /// The ids of a pod's containers of this name, sorted; of its sandbox where the name is empty.
    pub fn ids(&self, pod: &str, container: &str) -> Vec<String> {
        let pod = format!(r#"labels."io.kubernetes.pod.name"=={pod}"#);
        let filter = match container {
            "" => format!(r#"{pod},labels."io.cri-containerd.kind"==sandbox"#),
            _ => format!(r#"{pod},labels."io.kubernetes.container.name"=={container}"#),
        };
        let mut ids: Vec<String> =
            self.ctr(&["containers", "list", "-q", &filter]).lines().map(str::to_owned).collect();
        ids.sort();
        ids
    }

    /// How many containers run, sandboxes among them.
    pub fn running(&self) -> usize {
        self.ctr(&["tasks", "list"]).lines().filter(|line| line.contains("RUNNING")).count()
    }

    /// Writes a file into the machine's folder.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("a file for the test");
    }

    /// simlet with these arguments, in the machine's folder.
    pub fn simlet(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simlet"));
        command.current_dir(&self.folder).args(arguments);
        command
    }

    /// Nothing of a run is left: no container, no mount, no address, no cgroup.
    pub fn check_nothing_is_left(&self) {
        assert_eq!(self.ctr(&["containers", "list", "-q"]), "", "containers are left");
        let state = self.folder.join("state").display().to_string();
        let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
        let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&state) && !line.contains("shm ")).collect();
        assert!(left.iter().all(|line| !line.contains("/rootfs")), "mounts are left: {left:?}");
        let addresses = fs::read_dir(self.folder.join("ipam/test")).into_iter().flatten().flatten();
        let addresses: Vec<_> = addresses.map(|entry| entry.file_name()).collect();
        let leased = |name: &&std::ffi::OsString| name.to_string_lossy().starts_with("10.");
        assert_eq!(addresses.iter().filter(leased).count(), 0, "addresses are left: {addresses:?}");
    }

    /// Removes what is there of this or an earlier test.
    fn sweep(&mut self) {
        if self.containerd.is_some() && self.folder.join("containerd.sock").exists() {
            let mut ask = Command::new("ctr");
            ask.arg("-a").arg(self.socket()).args(["-n", "k8s.io", "tasks", "list", "-q"]);
            let tasks = ask.output().map(|output| output.stdout).unwrap_or_default();
            for task in String::from_utf8_lossy(&tasks).lines() {
                let mut kill = Command::new("ctr");
                kill.arg("-a").arg(self.socket()).args(["-n", "k8s.io", "tasks", "rm", "-f", task]);
                let _killed = kill.output();
            }
        }
        self.kill_containerd();
        let shown = self.folder.display().to_string();
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|place| place.starts_with(&shown));
        for place in ours.collect::<Vec<_>>().into_iter().rev() {
            let _unmounted = Command::new("umount").arg("-l").arg(place).output();
        }
        let _removed = Command::new("busybox").args(["ip", "link", "delete", &self.bridge]).output();
        let _removed = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What it said may tell why.
            let log = fs::read_to_string(self.folder.join("containerd.log")).unwrap_or_default();
            let errors: Vec<&str> = log.lines().filter(|line| line.contains("level=error")).collect();
            eprintln!("containerd's errors:\n{}", errors.join("\n"));
        }
        self.sweep();
    }
}

/// A docker-registry on loopback.
pub struct Registry {
    pub port: u16,
    folder: PathBuf,
    server: Option<Child>,
}

impl Registry {
    /// Starts one that holds `localhost:PORT/app:1`, made from `image`.
    pub fn start(machine: &Machine) -> Registry {
        for (file, package) in [("/usr/bin/docker-registry", "docker-registry"), ("/usr/bin/skopeo", "skopeo")] {
            assert!(Path::new(file).exists(), "{file} is missing: apt-get install {package}");
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        drop(listener);
        let folder = machine.folder.join("registry");
        fs::create_dir_all(&folder).expect("a folder for the registry");
        let mut registry = Registry { port, folder, server: None };
        registry.begin();
        registry.push(machine, "app:1", 0);
        registry
    }

    /// Makes an image with so many MiB that nothing compresses, beside busybox.
    pub fn push(&self, machine: &Machine, name: &str, mebibytes: usize) {
        let file = image_with(&machine.folder, &format!("localhost/{name}"), "sh", mebibytes);
        let mut push = Command::new("skopeo");
        push.args(["copy", "--dest-tls-verify=false", "--insecure-policy"]);
        push.arg(format!("oci-archive:{}", file.display())).arg(format!("docker://127.0.0.1:{}/{name}", self.port));
        let pushed = push.output().expect("skopeo runs");
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }

    /// Starts it, the first time or again.
    pub fn begin(&mut self) {
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:{}\"}}\n",
            self.folder.display(),
            self.port
        );
        let file = self.folder.join("config.yml");
        fs::write(&file, config).expect("the registry's configuration");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(command.spawn().expect("docker-registry starts"));
        let port = self.port;
        wait_until("the registry answers", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    pub fn end(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ended = server.kill();
            let _ended = server.wait();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a finished command has said, with its exit code.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Waits, at most half a minute.
#[expect(clippy::disallowed_methods, reason = "what is real takes its time")]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain: {what}");
}

/// Seconds since 1970.
#[expect(clippy::disallowed_types, reason = "what is real has happened at some time")]
pub fn calendar_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(now.as_secs()).expect("it is not that late")
}

/// Lets some time pass.
#[expect(clippy::disallowed_methods, reason = "what is real takes its time")]
pub fn pass(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Sends a signal, such as `INT`.
pub fn signal(child: &Child, name: &str) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).arg(child.id().to_string());
    assert!(kill.status().is_ok_and(|status| status.success()), "kill -{name}");
}

const CONFIG: &str = r#"version = 2
root = "DIR/root"
state = "DIR/state"
disabled_plugins = DISABLED
[grpc]
  address = "DIR/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "DIR/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"#;

const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "test", "plugins": [{
  "type": "bridge", "bridge": "BRIDGE", "isGateway": true, "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "DIR/ipam", "ranges": [[{"subnet": "SUBNET"}]]}
}]}"#;

/// An OCI image archive: one layer with a static busybox and links to it.
fn image(folder: &Path, name: &str, entry: &str) -> PathBuf {
    image_with(folder, name, entry, 0)
}

/// Such an image, with so many MiB that nothing compresses.
fn image_with(folder: &Path, name: &str, entry: &str, mebibytes: usize) -> PathBuf {
    let (_, short) = name.rsplit_once('/').expect("a name with a host");
    let work = folder.join(format!("image-{}", short.replace(':', "-")));
    let root = work.join("root");
    for directory in ["bin", "tmp", "etc", "proc", "sys", "dev", "www"] {
        fs::create_dir_all(root.join(directory)).expect("the image's folders");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox");
    for program in
        ["sh", "sleep", "cat", "echo", "httpd", "true", "false", "tail", "touch", "test", "id", "trap", "grep"]
    {
        let _there = std::os::unix::fs::symlink("busybox", root.join("bin").join(program));
    }
    if mebibytes > 0 {
        // Of each name another, so that no two images share a layer.
        let mut state = name.bytes().fold(1u64, |state, byte| state.wrapping_mul(257) + u64::from(byte));
        let mut words = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state ^ (state >> 29)).to_le_bytes()
        };
        let filler: Vec<u8> = (0..mebibytes << 17).flat_map(|_| words()).collect();
        fs::write(root.join("filler"), filler).expect("the image's filler");
    }
    let blobs = work.join("oci/blobs/sha256");
    fs::create_dir_all(&blobs).expect("the image's blobs");
    let layer = work.join("layer.tar");
    tar(&root, &layer);
    // Stores a file under its digest: that and its size.
    let store = |file: &Path| {
        let output = Command::new("sha256sum").arg(file).output().expect("sha256sum runs");
        let digest = String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned();
        let size = fs::metadata(file).expect("a blob").len();
        fs::copy(file, blobs.join(&digest)).expect("a blob");
        (digest, size)
    };
    let write = |name: &str, text: String| {
        let file = work.join(name);
        fs::write(&file, text).expect("a part of the image");
        store(&file)
    };
    let (layer, layer_size) = store(&layer);
    let (config, config_size) = write(
        "config.json",
        format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["PATH=/bin"],"Entrypoint":["/bin/{entry}"],"Cmd":["2147483647"]}},"rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}}}}"#
        ),
    );
    let (manifest, manifest_size) = write(
        "manifest.json",
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{config}","size":{config_size}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:{layer}","size":{layer_size}}}]}}"#
        ),
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{manifest}","size":{manifest_size},"annotations":{{"io.containerd.image.name":"{name}"}}}}]}}"#
    );
    fs::write(work.join("oci/index.json"), index).expect("the image's index");
    fs::write(work.join("oci/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("the image's layout");
    let archive = work.join("image.tar");
    tar(&work.join("oci"), &archive);
    archive
}

fn tar(folder: &Path, archive: &Path) {
    let mut command = Command::new("tar");
    command.arg("-C").arg(folder).arg("-cf").arg(archive).arg(".");
    assert!(command.status().is_ok_and(|status| status.success()), "tar");
}
