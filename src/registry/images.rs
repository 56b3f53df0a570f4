//! What images a registry holds: the scenario's rules, and a documented default for all others.
//!
//! An image that no rule names exists. Its repository's name decides, by a hash, on one of four base images (which
//! repositories share, so that a node pulls a base once) and on 1 to 5 layers of 0.5 to 64 MiB above it. Tags of a
//! repository share all layers but the last. An image unpacks to 2.7 times its compressed size.
//!
//! Nobody knows an image's user. Docker's official images (`docker.io/library/`) are taken to run as root, as nearly all of
//! them do; any other as the `nonroot` of distroless, so that `runAsNonRoot` works where its author says that it does. A
//! rule may say otherwise (`user: 0`).

use std::sync::Arc;

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::model::Name;
use crate::model::image::{self, Reference};
use crate::protocol::cri::ImageId;
use crate::protocol::pull::{Layer, Manifest};

/// What the registry knows of the images that match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRule {
    /// With `*`; see [`image::matches`].
    pub pattern: Name,
    /// Compressed bytes of all layers. Without `layers` they are cut into the shares of [`SHARES`]; with them the layers
    /// count.
    pub size: Option<u64>,
    /// Compressed bytes of each layer, from the lowest.
    pub layers: Option<Arc<[u64]>>,
    /// The registry answers 404.
    pub missing: bool,
    /// The user of the image's configuration.
    pub user: Option<i64>,
}

/// How an image with a size but without layers is cut, in percent: base, runtime, dependencies, program.
pub const SHARES: [u64; 4] = [30, 35, 25, 10];

/// Compressed bytes of the base images that unknown repositories build on: about Alpine, distroless, Debian slim, Debian.
pub const BASES: [u64; 4] = [3_600_000, 11_000_000, 29_000_000, 49_500_000];

/// Bytes on disk for a thousand bytes compressed.
pub const UNPACKED_PER_THOUSAND: u64 = 2700;

/// The manifests of a registry, made when first asked for.
#[derive(Clone, Debug, Default)]
pub struct Images {
    rules: Arc<[ImageRule]>,
    /// Patterns that a fault made missing.
    missing: Vec<Name>,
    known: FxHashMap<Name, Option<Arc<Manifest>>>,
}

impl Images {
    /// The images of these rules; the first that matches counts.
    pub fn new(rules: Arc<[ImageRule]>) -> Images {
        Images { rules, ..Images::default() }
    }

    /// Images that match `pattern` are, or are no longer, missing.
    pub fn set_missing(&mut self, pattern: Name, missing: bool) {
        self.missing.retain(|existing| *existing != pattern);
        if missing {
            self.missing.push(pattern);
        }
    }

    /// The manifest of an image; `None` if the registry has no such image.
    pub fn manifest(&mut self, image: Name) -> Option<Arc<Manifest>> {
        if self.missing.iter().any(|pattern| image::matches(pattern, &image)) {
            return None;
        }
        if let Some(known) = self.known.get(&image) {
            return known.clone();
        }
        let made = manifest(&self.rules, image);
        self.known.insert(image, made.clone());
        made
    }
}

/// The manifest that a registry with these rules gives for `image`, so that a cluster can say which images nodes have
/// already. `None` if it is missing, or if the text is no reference.
pub fn manifest(rules: &[ImageRule], image: Name) -> Option<Arc<Manifest>> {
    let reference = Reference::parse(&image).ok()?;
    let rule = rules.iter().find(|rule| image::matches(&rule.pattern, &image));
    if rule.is_some_and(|rule| rule.missing) {
        return None;
    }
    let repository = hash(0, &format!("{}/{}", reference.host, reference.repository));
    let version = hash(hash(repository, &reference.tag), &reference.digest);
    let mut layers = match rule {
        Some(ImageRule { layers: Some(sizes), .. }) => own_layers(repository, sizes.iter().copied()),
        Some(ImageRule { size: Some(size), .. }) => own_layers(repository, shares(*size)),
        _ => default_layers(repository),
    };
    if let Some(last) = layers.last_mut() {
        last.digest = hash(version, "program");
    }
    let compressed: u64 = layers.iter().map(|layer| layer.bytes).sum();
    Some(Arc::new(Manifest {
        id: ImageId(hash(version, "configuration")),
        digest: hash(version, "manifest"),
        layers: layers.into(),
        unpacked_bytes: i64::try_from(u128::from(compressed) * u128::from(UNPACKED_PER_THOUSAND) / 1000)
            .unwrap_or(i64::MAX),
        user: rule.and_then(|rule| rule.user).or_else(|| default_user(&reference)),
    }))
}

/// distroless' `nonroot`.
const NONROOT: i64 = 65532;

fn default_user(reference: &Reference) -> Option<i64> {
    let official = &*reference.host == "docker.io" && reference.repository.starts_with("library/");
    (!official).then_some(NONROOT)
}

fn own_layers(repository: u64, sizes: impl Iterator<Item = u64>) -> Vec<Layer> {
    let layer = |(number, bytes): (usize, u64)| Layer { digest: hash(repository, &format!("{number} {bytes}")), bytes };
    sizes.enumerate().map(layer).collect()
}

fn shares(size: u64) -> impl Iterator<Item = u64> {
    let mut left = size;
    SHARES.iter().enumerate().map(move |(number, share)| {
        let bytes = if number + 1 == SHARES.len() { left } else { (size / 100).saturating_mul(*share) };
        left -= bytes;
        bytes
    })
}

fn default_layers(repository: u64) -> Vec<Layer> {
    let base = (repository % BASES.len() as u64) as usize;
    let mut layers = vec![Layer { digest: hash(base as u64, "base image"), bytes: BASES[base] }];
    for number in 0..1 + (repository >> 8) % 5 {
        let digest = hash(repository, &number.to_string());
        // A power of two from 0.5 to 32 MiB and up to as much again: small layers are as common as big ones.
        let power = (1u64 << 19) << (digest % 7);
        layers.push(Layer { digest, bytes: power + (digest >> 16) % power });
    }
    layers
}

fn hash(seed: u64, text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(rules: &[ImageRule], image: &str) -> Vec<Layer> {
        manifest(rules, Name::new(image)).expect("the image is there").layers.to_vec()
    }

    #[test]
    fn tags_of_a_repository_share_all_layers_but_the_last() {
        let (one, two) = (layers(&[], "shop/checkout:v1"), layers(&[], "shop/checkout:v2"));
        assert_eq!(one.len(), two.len());
        let (last, shared) = one.split_last().unwrap();
        assert_eq!(shared, &two[..shared.len()]);
        assert_ne!(last.digest, two[shared.len()].digest);
        assert_eq!(one, layers(&[], "docker.io/shop/checkout:v1"));
    }

    #[test]
    fn repositories_share_base_images_and_sizes_are_plausible() {
        let images: Vec<Vec<Layer>> = (0..200).map(|number| layers(&[], &format!("shop/service-{number}"))).collect();
        let mut bases: Vec<u64> = images.iter().map(|layers| layers[0].digest).collect();
        bases.sort_unstable();
        bases.dedup();
        assert_eq!(bases.len(), BASES.len());
        for layers in images {
            let size: u64 = layers.iter().map(|layer| layer.bytes).sum();
            assert!((2..=6).contains(&layers.len()) && (4_000_000..400_000_000).contains(&size), "{layers:?}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_says_size_layers_user_and_absence() {
        let rules = [
            ImageRule { pattern: "*/checkout:typo".into(), missing: true, ..ImageRule::default() },
            ImageRule {
                pattern: "*/checkout:*".into(),
                layers: Some([30, 70].into()),
                user: Some(7),
                ..ImageRule::default()
            },
            ImageRule { pattern: "*".into(), size: Some(1003), ..ImageRule::default() },
        ];
        assert_eq!(manifest(&rules, "shop/checkout:typo".into()), None);
        let checkout = manifest(&rules, "shop/checkout:v1".into()).unwrap();
        assert_eq!(checkout.layers.iter().map(|layer| layer.bytes).collect::<Vec<_>>(), [30, 70]);
        assert_eq!((checkout.unpacked_bytes, checkout.user), (270, Some(7)));
        let sizes: Vec<u64> = layers(&rules, "other").iter().map(|layer| layer.bytes).collect();
        assert_eq!(sizes, [300, 350, 250, 103]);
    }
}
