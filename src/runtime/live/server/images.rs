//! The methods of ImageService. An image is named by a reference, by a reference with a digest, by its id, or by the
//! beginning of its id.

use std::collections::BTreeMap;

use prost::bytes::Bytes;
use tonic::Status;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::image::Reference;
use crate::protocol::cri::{self, Answer, Call};
use crate::protocol::pull::AuthConfig;
use crate::runtime::live::proto::{self, Map};
use crate::runtime::live::wire::{encode, hex};
use k8s_openapi::ByteString;

use super::calls::{now_nanos, read};
use super::known::{Known, known};
use super::{Server, unexpected};

impl Server {
    /// Answers a method of ImageService.
    pub(super) async fn image_method(&self, method: &str, body: Bytes) -> Result<Bytes, Status> {
        match method {
            "ListImages" => Ok(encode(&self.list_images(read(body)?).await?)),
            "ImageStatus" => self.image_status(read(body)?).await,
            "PullImage" => self.pull_image(read(body)?).await,
            "RemoveImage" => self.remove_image(read(body)?).await,
            "ImageFsInfo" => self.image_fs_info().await,
            _ => Err(Status::unimplemented(format!("unknown method {method} of runtime.v1.ImageService"))),
        }
    }

    /// All images; those that are one under different names are one.
    async fn all_images(&self) -> Result<Vec<cri::Image>, Status> {
        let images = match self.ask(Call::ListImages).await? {
            Answer::Images(images) => images,
            other => return Err(unexpected(&other)),
        };
        let mut whole: BTreeMap<cri::ImageId, cri::Image> = BTreeMap::new();
        for image in images {
            let id = identity(&image);
            match whole.get_mut(&id) {
                Some(same) => {
                    same.names.extend(image.names);
                    same.pinned |= image.pinned;
                }
                None => {
                    whole.insert(id, cri::Image { id, ..image });
                }
            }
        }
        Ok(whole.into_values().collect())
    }

    pub(super) async fn list_images(
        &self,
        request: proto::ListImagesRequest,
    ) -> Result<proto::ListImagesResponse, Status> {
        let wanted = request.filter.and_then(|filter| filter.image).map(|spec| spec.image).unwrap_or_default();
        let images = self.all_images().await?;
        let images = images.iter().filter(|image| wanted.is_empty() || is_named(image, &wanted));
        Ok(proto::ListImagesResponse { images: images.map(message).collect() })
    }

    /// The image of this name, and a reference by which the runtime has it.
    pub(super) async fn image_named(&self, text: &str) -> Result<Option<Found>, Status> {
        let images = self.all_images().await?;
        let mut found = images.iter().filter(|image| is_named(image, text));
        let (Some(image), None) = (found.next(), found.next()) else { return Ok(None) };
        let whole = Reference::parse(text).map(|reference| reference.to_string()).unwrap_or_default();
        let name = image.names.iter().find(|name| name.as_str() == whole).or(image.names.first());
        Ok(name.map(|name| Found { image: message(image), name: name.to_string(), known: known_of(image) }))
    }

    async fn image_status(&self, request: proto::ImageStatusRequest) -> Result<Bytes, Status> {
        let spec = request.image.unwrap_or_default();
        if spec.image.is_empty() {
            return Err(Status::invalid_argument("an image's name is needed"));
        }
        let found = self.image_named(&spec.image).await?;
        let info = |id: &str| {
            let text = serde_json::json!({ "simulated": true, "chainID": id }).to_string();
            Map::from([("info".to_owned(), text)])
        };
        let info = match &found {
            Some(found) if request.verbose => info(&found.image.id),
            _ => Map::new(),
        };
        Ok(encode(&proto::ImageStatusResponse { image: found.map(|found| found.image), info }))
    }

    async fn pull_image(&self, request: proto::PullImageRequest) -> Result<Bytes, Status> {
        let image = request.image.unwrap_or_default().image;
        if image.is_empty() {
            return Err(Status::invalid_argument("an image's name is needed"));
        }
        let auth = request.auth.map(credentials).transpose()?.flatten();
        let id = match self.ask(Call::PullImage { image: image.as_str().into(), auth, sandbox: None }).await? {
            Answer::Image(id) => id,
            other => return Err(unexpected(&other)),
        };
        let found = self.image_named(&image).await?;
        let image_ref = found.map_or_else(|| image_id(id), |found| found.image.id);
        Ok(encode(&proto::PullImageResponse { image_ref }))
    }

    /// All names of the image go, as in CRI; one that is not there is gone already.
    async fn remove_image(&self, request: proto::RemoveImageRequest) -> Result<Bytes, Status> {
        let wanted = request.image.unwrap_or_default().image;
        if wanted.is_empty() {
            return Err(Status::invalid_argument("an image's name is needed"));
        }
        let images = self.all_images().await?;
        for name in images.iter().filter(|image| is_named(image, &wanted)).flat_map(|image| image.names.iter()) {
            self.ask(Call::RemoveImage { image: *name }).await?;
        }
        Ok(Bytes::new())
    }

    async fn image_fs_info(&self) -> Result<Bytes, Status> {
        let (used_bytes, inodes_used) = match self.ask(Call::ImageFsInfo).await? {
            Answer::ImageFs { used_bytes, inodes_used } => (used_bytes, inodes_used),
            other => return Err(unexpected(&other)),
        };
        let value = |value: i64| Some(proto::UInt64Value { value: u64::try_from(value).unwrap_or(0) });
        let usage = proto::FilesystemUsage {
            timestamp: now_nanos(),
            fs_id: Some(proto::FilesystemIdentifier { mountpoint: super::storage() }),
            used_bytes: value(used_bytes),
            inodes_used: value(inodes_used),
        };
        Ok(encode(&proto::ImageFsInfoResponse {
            image_filesystems: vec![usage.clone()],
            container_filesystems: vec![usage],
        }))
    }
}

/// What a client sends of credentials; `auth` is `user:password` in base64.
fn credentials(auth: proto::AuthConfig) -> Result<Option<AuthConfig>, Status> {
    if auth.auth.is_empty() {
        let known = AuthConfig { username: auth.username.as_str().into(), password: auth.password.as_str().into() };
        return Ok(Some(known).filter(|_| !auth.username.is_empty()));
    }
    let invalid = || Status::invalid_argument("`auth` is not base64 of user:password");
    let ByteString(bytes) = serde_json::from_value(auth.auth.into()).map_err(|_| invalid())?;
    let text = String::from_utf8(bytes).map_err(|_| invalid())?;
    let (username, password) = text.split_once(':').ok_or_else(invalid)?;
    Ok(Some(AuthConfig { username: username.into(), password: password.into() }))
}

/// An image, a reference by which the runtime has it, and what is known of it.
pub(super) struct Found {
    pub image: proto::Image,
    pub name: String,
    pub known: Known,
}

fn known_of(image: &cri::Image) -> Known {
    let references = image.names.iter().filter_map(|name| Reference::parse(name).ok());
    references.map(|reference| known(&reference)).next().unwrap_or_default()
}

/// The number by which an image goes here: its own, or that of the one that it is the same as.
fn identity(image: &cri::Image) -> cri::ImageId {
    match known_of(image).same_as {
        Some(name) => cri::ImageId(xxh3_64(name.as_bytes())),
        None => image.id,
    }
}

fn image_id(id: cri::ImageId) -> String {
    format!("sha256:{}", hex(id.0))
}

/// The digest of an image that was pulled by a tag; the model knows only its configuration's.
fn digest(id: cri::ImageId) -> String {
    format!("sha256:{}", hex(id.0.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15))
}

/// The user that the registry's model gives to images of which nothing is known.
const NONROOT: i64 = 65532;

/// An image as a runtime shows it: names with tags, and a reference by digest for each repository.
fn message(image: &cri::Image) -> proto::Image {
    let references: Vec<Reference> = image.names.iter().filter_map(|name| Reference::parse(name).ok()).collect();
    let mut repo_tags = Vec::new();
    let mut repo_digests: Vec<String> = Vec::new();
    for reference in &references {
        let repository = format!("{}/{}", reference.host, reference.repository);
        if reference.digest.is_empty() {
            repo_tags.push(format!("{repository}:{}", reference.tag));
        }
        let digest = if reference.digest.is_empty() { digest(image.id) } else { reference.digest.to_string() };
        let by_digest = format!("{repository}@{digest}");
        if !repo_digests.contains(&by_digest) {
            repo_digests.push(by_digest);
        }
    }
    let (uid, username) = match known_of(image).user() {
        // What a scenario says counts more.
        Some(known) if image.user.is_none_or(|user| user == NONROOT) => known,
        _ => (Some(image.user.unwrap_or(0)), ""),
    };
    proto::Image {
        id: image_id(image.id),
        repo_tags,
        repo_digests,
        size: u64::try_from(image.size_bytes).unwrap_or(0).max(1),
        uid: uid.map(|value| proto::Int64Value { value }),
        username: username.to_owned(),
        spec: None,
        pinned: image.pinned,
    }
}

/// Whether `text` names the image: its id or at least 3 digits of its beginning, or one of its references.
fn is_named(image: &cri::Image, text: &str) -> bool {
    let id = hex(image.id.0);
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() >= 3 && id.starts_with(digits) {
        return true;
    }
    let Ok(wanted) = Reference::parse(text) else { return false };
    let whole = wanted.to_string();
    if image.names.iter().any(|name| name.as_str() == whole) {
        return true;
    }
    let by_digest = format!("{}/{}@{}", wanted.host, wanted.repository, wanted.digest);
    !wanted.digest.is_empty() && message(image).repo_digests.contains(&by_digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_its_tags_its_digests_and_its_id() {
        let names = ["docker.io/library/nginx:latest", "docker.io/library/nginx:1.29", "quay.io/a/nginx:1.29"];
        let image = cri::Image {
            id: cri::ImageId(0xabc),
            names: names.iter().map(|name| (*name).into()).collect(),
            size_bytes: 0,
            user: None,
            pinned: false,
        };
        let shown = message(&image);
        assert_eq!(shown.repo_tags, names);
        assert_eq!(shown.repo_digests.len(), 2, "{:?}", shown.repo_digests);
        assert!(shown.size > 0);
        for name in ["nginx", "nginx:1.29", &shown.id, &shown.id[..20], &shown.id[7..], &shown.repo_digests[0]] {
            assert!(is_named(&image, name), "{name}");
        }
        for name in ["nginx:1", "busybox", "", "sha256:", "sha256:ff", "quay.io/a/nginx@sha256:00", "NGINX"] {
            assert!(!is_named(&image, name), "{name}");
        }
    }
}
