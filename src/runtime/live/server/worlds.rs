//! What a new container's programs find: made of its configuration, its sandbox' and what is known of its image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::runtime::live::proto::{self, NamespaceMode, ProfileType};

use super::answers;
use super::files::{Entry, Files, Mount, normal};
use super::known::{self, Known};
use super::shell::world::{World, capabilities, mask};

/// What a world is made of.
pub(super) struct Parts<'a> {
    pub container: &'a proto::ContainerConfig,
    pub sandbox: &'a proto::PodSandboxConfig,
    pub sandbox_id: &'a str,
    pub ip: &'a str,
    pub image: &'a Known,
    pub user: &'a proto::LinuxContainerUser,
    pub user_name: &'a str,
    /// Its first process' number, as the container sees it.
    pub pid: u32,
}

/// The command that the container was told to run.
pub(super) fn main_of(container: &proto::ContainerConfig) -> Vec<String> {
    if container.command.is_empty() {
        return Vec::new();
    }
    container.command.iter().chain(&container.args).cloned().collect()
}

/// The process as `ps` shows it.
pub(super) fn process_of(container: &proto::ContainerConfig, image: &Known) -> String {
    let main = main_of(container);
    match image.process {
        Some(process) if main.is_empty() => process.to_owned(),
        _ if main.is_empty() => {
            let name = container.image.as_ref().map_or("", |spec| spec.image.as_str());
            format!("/{}", name.rsplit('/').next().unwrap_or("app").split([':', '@']).next().unwrap_or("app"))
        }
        _ => main.join(" "),
    }
}

/// How processes are shared: with the pod, with nobody, with the machine.
pub(super) fn pid_mode(container: &proto::ContainerConfig) -> NamespaceMode {
    let security = container.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    security
        .and_then(|security| security.namespace_options.as_ref())
        .map_or(NamespaceMode::Pod, |options| options.pid())
}

/// The world of a new container.
pub(super) fn world(parts: &Parts) -> World {
    let Parts { container, sandbox, image, user, .. } = parts;
    let linux = container.linux.clone().unwrap_or_default();
    let security = linux.security_context.clone().unwrap_or_default();
    let asked = security.capabilities.clone().unwrap_or_default();
    let capabilities = capabilities(security.privileged, &asked.add_capabilities, &asked.drop_capabilities);
    let namespaces = answers::namespaces(sandbox);
    let hostname = hostname(parts);
    let status = status_file(parts, mask(&capabilities), is_filtered(&security));
    let mut made = image_files(image);
    made.extend(runtime_files(parts, &hostname, status));
    let image_mounts = container.mounts.iter().filter(|mount| mount.image.is_some());
    let mut read_only = security.readonly_paths.clone();
    for mount in image_mounts {
        read_only.push(mount.container_path.clone());
        made.extend(image_mount_files(mount, image).unwrap_or_default());
    }
    let mounts = container.mounts.iter().filter(|mount| mount.image.is_none() && !mount.host_path.is_empty());
    let pod = sandbox.metadata.as_ref().map_or("", |metadata| metadata.uid.as_str());
    let mut files = Files::new(made, mounts.map(|mount| host_mount(mount, pod)).collect());
    files.protect(security.readonly_rootfs, &read_only, &security.masked_paths);
    let folder = if container.working_dir.is_empty() { "/".to_owned() } else { normal("/", &container.working_dir) };
    if files.kind(&folder) != Some(Entry::Folder) {
        // Runtimes make it.
        let _made = files.make_folder(&folder);
    }
    World {
        files: Mutex::new(files),
        values: values(parts, &hostname),
        hostname: Mutex::new(hostname),
        folder,
        main: main_of(container),
        uid: user.uid,
        groups: user.supplemental_groups.clone(),
        user_name: parts.user_name.to_owned(),
        refused: if security.privileged { BTreeSet::new() } else { refused_calls(&security) },
        capabilities,
        memory_limit: linux.resources.as_ref().map_or(0, |resources| resources.memory_limit_in_bytes),
        host_network: namespaces.network() == NamespaceMode::Node,
        host_ipc: namespaces.ipc() == NamespaceMode::Node,
        processes: Mutex::default(),
        end: None,
    }
}

fn hostname(parts: &Parts) -> String {
    if !parts.sandbox.hostname.is_empty() {
        return parts.sandbox.hostname.clone();
    }
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if machine.trim().is_empty() { parts.sandbox_id.chars().take(12).collect() } else { machine.trim().to_owned() }
}

fn values(parts: &Parts, hostname: &str) -> BTreeMap<String, String> {
    let usual = [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOSTNAME", hostname),
        ("HOME", if parts.user.uid == 0 { "/root" } else { "/" }),
    ];
    let own = parts.container.envs.iter().map(|env| (env.key.as_str(), env.value.as_str()));
    usual.into_iter().chain(own).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What every image has.
fn image_files(image: &Known) -> Vec<(String, Vec<u8>)> {
    let programs = ["cat", "echo", "ls", "sh", "sleep", "test", "top", "touch"];
    let mut files: Vec<(String, Vec<u8>)> = programs.iter().map(|name| (format!("/bin/{name}"), Vec::new())).collect();
    files.push(("/etc/passwd".to_owned(), known::passwd(image).into_bytes()));
    files.push(("/etc/group".to_owned(), b"root:x:0:\nusers:x:100:\nnogroup:x:65534:\n".to_vec()));
    files.push(("/etc/os-release".to_owned(), b"NAME=\"simulated\"\nID=simlet\n".to_vec()));
    files
}

/// An image that is mounted, or a folder of it. None if it has no such folder.
pub(super) fn image_mount_files(mount: &proto::Mount, image: &Known) -> Option<Vec<(String, Vec<u8>)>> {
    let folder = normal("/", &mount.image_sub_path);
    let inside = image_files(image).into_iter().filter_map(|(path, content)| {
        let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
        Some((normal(&mount.container_path, rest.trim_start_matches('/')), content)).filter(|_| rest.starts_with('/'))
    });
    let files: Vec<(String, Vec<u8>)> = inside.collect();
    (!files.is_empty()).then_some(files)
}

fn host_mount(mount: &proto::Mount, pod: &str) -> Mount {
    let host = PathBuf::from(&mount.host_path);
    let path = normal("/", &mount.container_path);
    // A read-only mount is that by itself; what is mounted in it is not, unless that was asked for.
    let writable_inside = if mount.readonly && !mount.recursive_read_only { mounted_in(&host) } else { Vec::new() };
    let writable_inside = writable_inside.iter().map(|inner| normal(&path, inner)).collect();
    // A kubelet's folders for a pod carry its uid.
    let is_pods = pod.len() >= 8 && host.components().any(|part| part.as_os_str().to_str() == Some(pod));
    Mount { path, host, read_only: mount.readonly, writable_inside, writes_through: is_pods }
}

/// What is mounted in this folder of the machine, relative to it.
fn mounted_in(host: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    let inside = points.filter_map(|point| Path::new(point).strip_prefix(host).ok());
    inside.filter_map(|rest| rest.to_str()).filter(|rest| !rest.is_empty()).map(str::to_owned).collect()
}

/// The files that a runtime or the kernel makes.
fn runtime_files(parts: &Parts, hostname: &str, status: String) -> Vec<(String, Vec<u8>)> {
    let process = process_of(parts.container, parts.image);
    // The first process of a pod that shares its processes is the pause container's.
    let first = match pid_mode(parts.container) {
        NamespaceMode::Pod => "/pause".to_owned(),
        NamespaceMode::Node => "/sbin/init".to_owned(),
        NamespaceMode::Container | NamespaceMode::Target => process,
    };
    let mut files = vec![
        ("/etc/hostname".to_owned(), format!("{hostname}\n")),
        ("/etc/resolv.conf".to_owned(), resolv_conf(parts.sandbox)),
        ("/etc/hosts".to_owned(), format!("127.0.0.1\tlocalhost\n::1\tlocalhost\n{}\t{hostname}\n", parts.ip)),
        ("/proc/1/cmdline".to_owned(), first.replace(' ', "\0") + "\0"),
        ("/proc/self/status".to_owned(), status.clone()),
        ("/proc/1/status".to_owned(), status),
        ("/proc/self/uid_map".to_owned(), uid_map(parts.sandbox)),
        ("/proc/self/gid_map".to_owned(), uid_map(parts.sandbox)),
    ];
    // nginx' own title is one text.
    if first.contains(": ") {
        files.push(("/proc/1/cmdline".to_owned(), first + "\0"));
    }
    if let Some(path) = parts.image.pid_file {
        files.push((path.to_owned(), format!("{}\n", parts.pid)));
    }
    let sysctls = parts.sandbox.linux.iter().flat_map(|linux| &linux.sysctls);
    files.extend(sysctls.map(|(name, value)| (format!("/proc/sys/{}", name.replace('.', "/")), format!("{value}\n"))));
    files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect()
}

fn resolv_conf(sandbox: &proto::PodSandboxConfig) -> String {
    let Some(dns) = &sandbox.dns_config else {
        return std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    };
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    text.extend(dns.servers.iter().map(|server| format!("nameserver {server}\n")));
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}

fn uid_map(sandbox: &proto::PodSandboxConfig) -> String {
    let options = answers::namespaces(sandbox).userns_options.unwrap_or_default();
    match options.uids.first() {
        Some(map) if options.mode() == NamespaceMode::Pod => {
            format!("{:>10} {:>10} {:>10}\n", map.container_id, map.host_id, map.length)
        }
        _ => std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default(),
    }
}

/// A seccomp filter is in force: none for a privileged container, and none if no profile is named.
fn is_filtered(security: &proto::LinuxContainerSecurityContext) -> bool {
    let profile = security.seccomp.as_ref();
    !security.privileged && profile.is_some_and(|profile| profile.profile_type() != ProfileType::Unconfined)
}

/// The calls that the profile of a file refuses.
fn refused_calls(security: &proto::LinuxContainerSecurityContext) -> BTreeSet<String> {
    let profile = security.seccomp.as_ref().filter(|profile| profile.profile_type() == ProfileType::Localhost);
    let text = profile.and_then(|profile| std::fs::read_to_string(&profile.localhost_ref).ok());
    let rules = text.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()).unwrap_or_default();
    let rules = rules.get("syscalls").and_then(|rules| rules.as_array()).cloned().unwrap_or_default();
    let refusing = rules.iter().filter(|rule| rule.get("action").and_then(|a| a.as_str()) == Some("SCMP_ACT_ERRNO"));
    let names = refusing.filter_map(|rule| rule.get("names")?.as_array()).flatten();
    names.filter_map(|name| name.as_str()).map(str::to_owned).collect()
}

fn status_file(parts: &Parts, capabilities: u64, filtered: bool) -> String {
    let security = parts.container.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    let no_new_privileges = security.is_some_and(|security| security.no_new_privs);
    let (uid, gid) = (parts.user.uid, parts.user.gid);
    let groups: Vec<String> = parts.user.supplemental_groups.iter().map(i64::to_string).collect();
    // Who is not root has none until a program with them is started.
    let effective = if uid == 0 { capabilities } else { 0 };
    format!(
        "Name:\tcat\nUmask:\t0022\nState:\tR (running)\nPid:\t7\nPPid:\t0\n\
         Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t{}\n\
         CapInh:\t0000000000000000\nCapPrm:\t{effective:016x}\nCapEff:\t{effective:016x}\nCapBnd:\t{capabilities:016x}\n\
         CapAmb:\t0000000000000000\nNoNewPrivs:\t{}\nSeccomp:\t{}\n",
        groups.join(" "),
        i32::from(no_new_privileges),
        if filtered { 2 } else { 0 },
    )
}
