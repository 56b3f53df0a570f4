//! Volumes: the kubelet decides which files a pod's volumes hold and where, an actor puts them there: the simulated
//! runtime, which keeps them for its shell, or a live bridge, which writes them.
//!
//! Kubernetes: SetUp and TearDown of pkg/volume/{emptydir,configmap,secret,downwardapi,projected,hostpath},
//! pkg/volume/util/atomic_writer.go. Here it is one message a pod.

use std::sync::Arc;

use crate::model::{Bytes, Name, Text, Uid};

/// What is wanted of a pod's volumes; answered with the same `pod`, one request at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Make these volumes, or bring those that are there up to date: files that are no longer listed go.
    SetUp { pod: Uid, volumes: Arc<[Volume]> },
    /// Files of a container that are no volume: `/etc/hosts`, the place for its last words. Those that are there are
    /// written anew.
    PlaceFiles { pod: Uid, files: Arc<[HostFile]> },
    /// Read a file of a volume, from which a container gets variables.
    Read { pod: Uid, path: Name },
    /// Remove the pod's folder with its volumes and what is in them. Host paths stay. Not answered.
    TearDown { pod: Uid },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done {
        pod: Uid,
    },
    /// What is in the file that was asked for; None: it could not be read.
    Content {
        pod: Uid,
        content: Option<Text>,
    },
    /// The files could not be placed, and why.
    NotPlaced {
        pod: Uid,
        message: Text,
    },
    /// The volume could not be set up, and why: `hostPath type check failed: /x is not a directory`.
    Failed {
        pod: Uid,
        volume: Name,
        message: Text,
    },
}

/// A volume to set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Its name in the pod.
    pub name: Name,
    /// Where it is on the host: `<root>/pods/<uid>/volumes/kubernetes.io~configmap/<name>`, or the host path.
    pub path: Name,
    pub kind: Kind,
    /// Group of its files, which that group may then read: `fsGroup`.
    pub fs_group: Option<i64>,
}

/// What a volume is on the host.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A folder, empty at first and kept as it is later.
    EmptyDir {
        /// A tmpfs.
        memory: bool,
        size_limit: Option<Bytes>,
    },
    /// These files and no others, replaced all at once.
    Files(Arc<[File]>),
    /// A path of the host.
    HostPath(HostPathType),
}

/// A file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Below the volume; may hold `/`.
    pub path: Name,
    pub content: Arc<[u8]>,
    /// Permissions, such as 0o644.
    pub mode: u32,
    /// The content only stands for what a real kubelet would have asked for: a service account's token.
    pub stand_in: bool,
}

/// A file at a path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFile {
    pub path: Name,
    pub content: Text,
    pub mode: u32,
}

/// `type` of a hostPath volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostPathType {
    /// Whatever is there, if anything.
    #[default]
    Unset,
    DirectoryOrCreate,
    Directory,
    FileOrCreate,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

impl HostPathType {
    /// The type that Kubernetes calls so; None for a word that it doesn't know.
    pub fn parse(word: &str) -> Option<HostPathType> {
        Some(match word {
            "" => HostPathType::Unset,
            "DirectoryOrCreate" => HostPathType::DirectoryOrCreate,
            "Directory" => HostPathType::Directory,
            "FileOrCreate" => HostPathType::FileOrCreate,
            "File" => HostPathType::File,
            "Socket" => HostPathType::Socket,
            "CharDevice" => HostPathType::CharDevice,
            "BlockDevice" => HostPathType::BlockDevice,
            _ => return None,
        })
    }
}
