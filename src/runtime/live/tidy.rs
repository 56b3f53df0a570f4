//! Removes what runs have made at a runtime, found by its label, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration as Plain;

use prost::Message as _;

use crate::kernel::Duration;

use super::client::Client;
use super::proto::{self, Map};
use super::volumes::Folders;
use super::wire::{self, Outgoing};

/// So long a runtime may take for one step.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whose sandboxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Those with this value of [`wire::RUN`].
    Label(&'a str),
    /// Those of all runs.
    AllRuns,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// `namespace/name`, once a sandbox.
    pub pods: Vec<String>,
}

/// Stops and removes sandboxes with all their containers, all at the same time. What could not be removed comes with its
/// reason.
pub async fn remove(client: &Client, whose: Whose<'_>) -> (Removed, Vec<String>) {
    let mut removed = Removed::default();
    let mut problems = Vec::new();
    let label_selector = match whose {
        Whose::Label(label) => Map::from([(wire::RUN.to_owned(), label.to_owned())]),
        Whose::AllRuns => Map::new(),
    };
    let filter = proto::PodSandboxFilter { label_selector, ..Default::default() };
    let body = proto::ListPodSandboxRequest { filter: Some(filter) }.encode_to_vec().into();
    let list = Outgoing { path: "/runtime.v1.RuntimeService/ListPodSandbox", body };
    let listed = match client.unary(list, Some(PATIENCE)).await {
        Ok(body) => proto::ListPodSandboxResponse::decode(body).unwrap_or_default().items,
        Err(status) => {
            problems.push(format!("what the run left could not be listed: {}", status.message()));
            return (removed, problems);
        }
    };
    let ours = listed.into_iter().filter(|sandbox| sandbox.labels.contains_key(wire::RUN));
    let mut cgroups = BTreeSet::new();
    let mut folders = BTreeSet::new();
    let mut tasks = tokio::task::JoinSet::new();
    for sandbox in ours {
        if let Some(uid) = sandbox.labels.get(wire::POD_UID) {
            cgroups.extend(cgroups_of(uid));
        }
        folders.extend(folder_of(&sandbox));
        let client = client.clone();
        let name = sandbox.metadata.clone().unwrap_or_default();
        let shown = format!("{}/{}", name.namespace, name.name);
        tasks.spawn(async move {
            let result = remove_one(&client, &sandbox.id).await;
            (shown, result)
        });
    }
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok((shown, Ok(()))) => removed.pods.push(shown),
            Ok((shown, Err(why))) => problems.push(format!("pod {shown} could not be removed: {why}")),
            Err(error) => problems.push(error.to_string()),
        }
    }
    removed.pods.sort();
    remove_cgroups(&cgroups);
    if whose == Whose::AllRuns {
        // The run that made them is gone and can't.
        folders.iter().for_each(|root| Folders { root: root.clone(), ..Folders::default() }.remove_all());
    }
    (removed, problems)
}

/// The folder of the run that made this sandbox, which has `logs/` and `pods/`; None for a sandbox of another program.
fn folder_of(sandbox: &proto::PodSandbox) -> Option<PathBuf> {
    let kept = wire::bytes(sandbox.annotations.get(wire::SANDBOX_CONFIG)?)?;
    let config = proto::PodSandboxConfig::decode(kept.as_slice()).ok()?;
    let root = Path::new(&config.log_directory).parent()?.to_path_buf();
    root.ends_with("logs").then(|| root.parent().map(Path::to_path_buf))?
}

/// Some runtimes are busy with a sandbox that is just being made or stopped: again after a while.
async fn remove_one(client: &Client, id: &str) -> Result<(), String> {
    let body = proto::PodSandboxRequest { pod_sandbox_id: id.to_owned() }.encode_to_vec();
    let mut tries = 0;
    loop {
        let stop = Outgoing { path: "/runtime.v1.RuntimeService/StopPodSandbox", body: body.clone().into() };
        let remove = Outgoing { path: "/runtime.v1.RuntimeService/RemovePodSandbox", body: body.clone().into() };
        let stopped = client.unary(stop, Some(PATIENCE)).await;
        let result = match stopped {
            Ok(_) => client.unary(remove, Some(PATIENCE)).await,
            Err(status) => Err(status),
        };
        match result {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == tonic::Code::NotFound => return Ok(()),
            Err(status) if tries == 5 => return Err(status.message().to_owned()),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Plain::from_millis(200)).await;
    }
}

/// The cgroups that a pod may have; which of them it has, its quality of service says.
pub fn cgroups_of(uid: &str) -> [String; 3] {
    ["", "/burstable", "/besteffort"].map(|class| format!("/kubepods{class}/pod{uid}"))
}

/// Removes the cgroups of these pods (`/kubepods/burstable/pod…`) in all hierarchies, as far as nothing is in them: a
/// runtime leaves them, a kubelet removes them. Those that are nowhere any more.
pub fn remove_cgroups(parents: &BTreeSet<String>) -> BTreeSet<String> {
    let root = Path::new("/sys/fs/cgroup");
    let mut hierarchies = vec![root.to_path_buf()];
    if let Ok(entries) = std::fs::read_dir(root) {
        hierarchies.extend(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    let mut left: BTreeMap<&String, bool> = parents.iter().map(|parent| (parent, false)).collect();
    for (parent, is_left) in &mut left {
        // Only what simlet's own kubelets name so.
        let Some(name) = parent.strip_prefix('/').filter(|name| name.starts_with("kubepods") && name.contains("/pod"))
        else {
            continue;
        };
        for hierarchy in &hierarchies {
            let path = hierarchy.join(name);
            if path.is_dir() && std::fs::remove_dir(&path).is_err() {
                *is_left = true;
            }
        }
    }
    left.into_iter().filter(|(_, is_left)| !is_left).map(|(parent, _)| parent.clone()).collect()
}
