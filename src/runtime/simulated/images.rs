//! Images and pulls: manifest, then the layers that the node lacks, in a limited number of streams, unpacked in order.
//!
//! A layer is on the node once, whatever images need it; two pulls that need it share one download and one unpacking. Two
//! pulls of one image are one. Layers that a failed pull left behind are used by the next one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::Name;
use crate::model::image::{InvalidReference, Reference};
use crate::protocol::cri::{Answer, Code, Error, Image, ImageId};
use crate::protocol::pull::{self, AuthConfig, Fetch, FetchId, Fetched, Layer, Manifest};
use crate::trace::Effects;

use super::profile::Profile;
use super::runtime::{Caller, Runtime, reply};
use super::{In, Out, Timer};

/// An image that a node has from the beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct PresentImage {
    /// The reference; `nginx` and `docker.io/library/nginx:latest` are the same.
    pub image: Name,
    pub manifest: Arc<Manifest>,
    /// Never removed by the kubelet.
    pub pinned: bool,
}

impl PresentImage {
    /// An image of one layer, of which only the size on disk is known.
    pub fn of_size(image: Name, size_bytes: i64) -> PresentImage {
        let whole = Reference::parse(&image).map_or_else(|_| image.to_string(), |reference| reference.to_string());
        let digest = xxhash_rust::xxh3::xxh3_64(whole.as_bytes());
        let layer = Layer { digest, bytes: u64::try_from(size_bytes).unwrap_or(0) };
        let manifest =
            Manifest { id: ImageId(digest), digest, layers: [layer].into(), unpacked_bytes: size_bytes, user: None };
        PresentImage { image, manifest: Arc::new(manifest), pinned: false }
    }
}

/// The images of a node and the pulls under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Images {
    /// By whole reference.
    present: BTreeMap<Name, (Arc<Manifest>, bool)>,
    layers: FxHashMap<u64, LayerState>,
    pulls: BTreeMap<u64, Pull>,
    /// Layers that wait for a stream, with the pull that wanted them first.
    queue: VecDeque<(u64, Layer)>,
    fetches: BTreeMap<FetchId, Target>,
    /// Streams in use by all pulls.
    streams: usize,
    used_bytes: u64,
    references: FxHashMap<Name, Result<(Reference, Name), InvalidReference>>,
    next: u64,
}

#[derive(Clone, Debug)]
struct LayerState {
    /// Images that are made of it.
    images: u32,
    /// Bytes on disk.
    unpacked: u64,
    stage: LayerStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LayerStage {
    /// Wanted, waiting or on its way.
    Wanted,
    Downloaded,
    /// It is, or will be, unpacked at this moment.
    Unpacked(Time),
}

#[derive(Clone, Debug)]
struct Pull {
    reference: Reference,
    asked: Name,
    whole: Name,
    auth: Option<AuthConfig>,
    callers: SmallVec<[Caller; 1]>,
    /// Mirrors of the registry that have failed.
    mirrors_tried: usize,
    manifest: Option<Arc<Manifest>>,
    /// Layers whose unpacking is settled.
    settled: usize,
    /// When the last of them is unpacked.
    unpacked_at: Time,
    /// Where pulls were measured, what they take: before the first layer, and for each MiB on disk.
    measured: Option<(Duration, Duration)>,
    began: Time,
    /// It is not done before this moment.
    least_end: Time,
    /// Streams in use.
    streams: usize,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Manifest { pull: u64, host: Name },
    Layer { pull: u64, digest: u64, host: Name },
}

impl Images {
    pub fn new(present: &[PresentImage]) -> Images {
        let mut images = Images::default();
        for image in present {
            images.add(image);
        }
        images
    }

    /// The node has this image, too.
    pub fn add(&mut self, image: &PresentImage) {
        if let Ok((_, whole)) = self.resolve(image.image) {
            for layer in image.manifest.layers.iter() {
                let unpacked = on_disk(&image.manifest, *layer);
                let stage = LayerStage::Unpacked(Time::ZERO);
                self.layers.entry(layer.digest).or_insert(LayerState { images: 0, unpacked, stage });
            }
            self.insert(whole, Arc::clone(&image.manifest), image.pinned);
        }
    }

    fn resolve(&mut self, image: Name) -> Result<(Reference, Name), InvalidReference> {
        *self
            .references
            .entry(image)
            .or_insert_with(|| Reference::parse(&image).map(|reference| (reference, Name::new(&reference.to_string()))))
    }

    pub fn has(&mut self, image: Name) -> bool {
        self.resolve(image).is_ok_and(|(_, whole)| self.present.contains_key(&whole))
    }

    /// What can't be a name is not there: containerd tells only who pulls what is wrong with it.
    pub fn status(&mut self, image: Name, profile: &Profile) -> Answer {
        let whole = self.resolve(image).ok().map(|(_, whole)| whole);
        let found = whole.and_then(|whole| Some((whole, self.present.get(&whole)?)));
        Answer::ImageStatus(found.map(|(whole, (manifest, pinned))| describe(whole, manifest, *pinned, profile)))
    }

    /// One entry an image, with all its names.
    pub fn list(&self, profile: &Profile) -> Vec<Image> {
        let mut images: BTreeMap<ImageId, Image> = BTreeMap::new();
        for (whole, (manifest, pinned)) in &self.present {
            images
                .entry(manifest.id)
                .and_modify(|image| {
                    image.names.push(*whole);
                    image.pinned |= *pinned;
                })
                .or_insert_with(|| describe(*whole, manifest, *pinned, profile));
        }
        images.into_values().collect()
    }

    /// All layers that are here.
    pub fn bytes(&self) -> i64 {
        i64::try_from(self.used_bytes).unwrap_or(i64::MAX)
    }

    /// 4 KiB a file on the average.
    pub fn fs_info(&self) -> Answer {
        let used_bytes = i64::try_from(self.used_bytes).unwrap_or(i64::MAX);
        Answer::ImageFs { used_bytes, inodes_used: used_bytes / 4096 }
    }

    /// Removes an image and the layers that no other image is made of. Gone already is well.
    pub fn remove(&mut self, image: Name) -> Result<(), Error> {
        let (_, whole) = self.resolve(image).map_err(|error| invalid(image, error))?;
        if let Some((manifest, _)) = self.present.remove(&whole) {
            self.release(&manifest);
        }
        Ok(())
    }

    fn release(&mut self, manifest: &Manifest) {
        for layer in manifest.layers.iter() {
            // A pull under way that found the layer here keeps it.
            let is_wanted = self.pulls.values().any(|pull| {
                let layers = pull.manifest.as_ref().map(|manifest| &manifest.layers[..]);
                layers.unwrap_or_default().iter().any(|other| other.digest == layer.digest)
            });
            if let Some(state) = self.layers.get_mut(&layer.digest) {
                state.images = state.images.saturating_sub(1);
                if state.images == 0 {
                    self.used_bytes = self.used_bytes.saturating_sub(state.unpacked);
                    if !is_wanted {
                        self.layers.remove(&layer.digest);
                    }
                }
            }
        }
    }

    fn insert(&mut self, whole: Name, manifest: Arc<Manifest>, pinned: bool) {
        for layer in manifest.layers.iter() {
            // Another image's removal may have taken a layer away since it was found here.
            let state = self.layers.entry(layer.digest).or_insert_with(|| LayerState {
                images: 0,
                unpacked: on_disk(&manifest, *layer),
                stage: LayerStage::Unpacked(Time::ZERO),
            });
            state.images += 1;
            if state.images == 1 {
                self.used_bytes = self.used_bytes.saturating_add(state.unpacked);
            }
        }
        // The tag may have moved from another image.
        if let Some((before, _)) = self.present.insert(whole, (manifest, pinned)) {
            self.release(&before);
        }
    }

    /// A free stream's next layer.
    fn next_layer(&mut self, profile: &Profile) -> Option<(u64, Layer)> {
        if profile.shared_streams {
            return if self.streams < profile.pull_streams { self.queue.pop_front() } else { None };
        }
        let free =
            |(pull, _): &(u64, Layer)| self.pulls.get(pull).is_none_or(|pull| pull.streams < profile.pull_streams);
        let at = self.queue.iter().position(free)?;
        self.queue.remove(at)
    }

    /// Everything under way is lost; what was downloaded stays.
    pub fn abandon(&mut self) -> Vec<(Name, FetchId)> {
        let fetches = std::mem::take(&mut self.fetches);
        let hosts = fetches.into_iter().map(|(id, target)| {
            let (Target::Manifest { host, .. } | Target::Layer { host, .. }) = target;
            (host, id)
        });
        let hosts = hosts.collect();
        self.pulls.clear();
        self.queue.clear();
        self.streams = 0;
        self.layers.retain(|_, state| state.stage != LayerStage::Wanted);
        hosts
    }

    /// Who waits for a pull.
    pub fn waiting(&self) -> impl Iterator<Item = Caller> + '_ {
        self.pulls.values().flat_map(|pull| pull.callers.iter().copied())
    }

    /// Settles the unpacking of what has come, in order. True once all of it is settled.
    fn settle(&mut self, number: u64, now: Time, bytes_per_second: u64) -> bool {
        let Some(pull) = self.pulls.get_mut(&number) else {
            return false;
        };
        let Some(manifest) = &pull.manifest else {
            return false;
        };
        while let Some(layer) = manifest.layers.get(pull.settled) {
            let Some(state) = self.layers.get_mut(&layer.digest) else {
                return false;
            };
            match state.stage {
                LayerStage::Wanted => return false,
                LayerStage::Unpacked(at) => pull.unpacked_at = pull.unpacked_at.max(at),
                LayerStage::Downloaded => {
                    let nanos = (u128::from(layer.bytes) * 1_000_000_000).div_ceil(u128::from(bytes_per_second.max(1)));
                    // What was measured has the unpacking in it.
                    let takes = match pull.measured {
                        Some(_) => Duration::ZERO,
                        None => Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)),
                    };
                    pull.unpacked_at = pull.unpacked_at.max(now) + takes;
                    state.stage = LayerStage::Unpacked(pull.unpacked_at);
                }
            }
            pull.settled += 1;
        }
        true
    }
}

impl Runtime {
    pub(super) fn pull_image(
        &mut self,
        caller: Caller,
        image: Name,
        auth: Option<AuthConfig>,
        fx: &mut Effects<In, Out>,
    ) {
        let (reference, whole) = match self.images.resolve(image) {
            Ok(resolved) => resolved,
            Err(error) => return reply(caller.id, Err(invalid(image, error)), fx),
        };
        if let Some(pull) = self.images.pulls.values_mut().find(|pull| pull.whole == whole && pull.auth == auth) {
            return pull.callers.push(caller);
        }
        let number = self.images.next_number();
        let profile = Arc::clone(&self.config.profile);
        let resolve = self.random.pull.draw(&profile.latency.resolve);
        let measured = profile.pull_per_mebibyte.as_ref().map(|each| (resolve, self.random.pull.draw(each)));
        let pull = Pull {
            reference,
            asked: image,
            whole,
            auth,
            callers: SmallVec::from_elem(caller, 1),
            mirrors_tried: 0,
            manifest: None,
            settled: 0,
            unpacked_at: Time::ZERO,
            measured,
            began: fx.now(),
            least_end: Time::ZERO,
            streams: 0,
        };
        self.images.pulls.insert(number, pull);
        // What was measured holds all that a pull takes, so that the registry's part goes on meanwhile.
        let delay = if measured.is_some() { Duration::ZERO } else { resolve };
        self.fetch_manifest(number, delay, fx);
    }

    fn fetch_manifest(&mut self, number: u64, delay: Duration, fx: &mut Effects<In, Out>) {
        let Some(pull) = self.images.pulls.get(&number) else { return };
        let what = Fetch::Manifest { image: pull.whole, auth: pull.auth };
        let host = self.host_of(pull);
        self.fetch(delay, Target::Manifest { pull: number, host }, what, fx);
    }

    /// Where a pull fetches from: the mirrors of its registry, in their order, until they fail, then the registry itself.
    fn host_of(&self, pull: &Pull) -> Name {
        let origin = pull.reference.host;
        let mirrors = self.config.mirrors.iter().filter(|mirror| mirror.of == origin);
        mirrors.map(|mirror| mirror.host).nth(pull.mirrors_tried).unwrap_or(origin)
    }

    /// A mirror has failed: true if another host is left to be asked.
    fn next_host(&mut self, number: u64) -> bool {
        let Some(pull) = self.images.pulls.get(&number) else { return false };
        let origin = pull.reference.host;
        let mirrors = self.config.mirrors.iter().filter(|mirror| mirror.of == origin).count();
        let is_left = pull.mirrors_tried < mirrors;
        if is_left && let Some(pull) = self.images.pulls.get_mut(&number) {
            pull.mirrors_tried += 1;
        }
        is_left
    }

    fn fetch(&mut self, delay: Duration, target: Target, what: Fetch, fx: &mut Effects<In, Out>) {
        let (Target::Manifest { host, .. } | Target::Layer { host, .. }) = target;
        let id = FetchId(self.images.next_number());
        self.images.fetches.insert(id, target);
        fx.send_after(delay, Out::Pull { host, request: Box::new(pull::Request { id, what }) });
    }

    /// The registry answered. Answers to fetches that were given up are for nobody.
    pub(super) fn fetched(&mut self, response: pull::Response, fx: &mut Effects<In, Out>) {
        let Some(target) = self.images.fetches.remove(&response.id) else {
            return;
        };
        match target {
            Target::Manifest { pull, .. } => match response.result {
                Ok(Fetched::Manifest(manifest)) => self.manifest_came(pull, manifest, fx),
                Ok(Fetched::Layer) => self.pull_failed(pull, &pull::Error::Corrupt, None, fx),
                Err(_) if self.next_host(pull) => self.fetch_manifest(pull, Duration::ZERO, fx),
                Err(error) => self.pull_failed(pull, &error, None, fx),
            },
            Target::Layer { pull: number, digest, host } => {
                self.images.streams = self.images.streams.saturating_sub(1);
                if let Some(pull) = self.images.pulls.get_mut(&number) {
                    pull.streams = pull.streams.saturating_sub(1);
                }
                match response.result {
                    Ok(_) => {
                        if let Some(state) = self.images.layers.get_mut(&digest) {
                            state.stage = LayerStage::Downloaded;
                        }
                        for pull in self.images.wanting(digest) {
                            self.settle(pull, fx);
                        }
                    }
                    Err(_) if self.fetch_elsewhere(number, digest, host) => {}
                    Err(error) => {
                        self.images.layers.remove(&digest);
                        for pull in self.images.wanting(digest) {
                            self.pull_failed(pull, &error, Some(digest), fx);
                        }
                    }
                }
                self.fetch_layers(fx);
            }
        }
    }

    fn manifest_came(&mut self, number: u64, manifest: Arc<Manifest>, fx: &mut Effects<In, Out>) {
        let Some(pull) = self.images.pulls.get_mut(&number) else {
            return;
        };
        pull.manifest = Some(Arc::clone(&manifest));
        let mut brought = 0u64;
        for layer in manifest.layers.iter() {
            let (layers, queue) = (&mut self.images.layers, &mut self.images.queue);
            layers.entry(layer.digest).or_insert_with(|| {
                brought = brought.saturating_add(match self.config.profile.sizes_are_packed {
                    true => layer.bytes,
                    false => on_disk(&manifest, *layer),
                });
                queue.push_back((number, *layer));
                LayerState { images: 0, unpacked: on_disk(&manifest, *layer), stage: LayerStage::Wanted }
            });
        }
        if let Some((resolve, each)) = pull.measured {
            let nanos = (u128::from(each.as_nanos()) * u128::from(brought)) >> 20;
            let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            pull.least_end = pull.began + resolve + takes;
        }
        self.settle(number, fx);
        self.fetch_layers(fx);
    }

    fn fetch_layers(&mut self, fx: &mut Effects<In, Out>) {
        let profile = Arc::clone(&self.config.profile);
        while let Some((number, layer)) = self.images.next_layer(&profile) {
            let Some(pull) = self.images.pulls.get_mut(&number) else {
                continue;
            };
            pull.streams += 1;
            self.images.streams += 1;
            let image = pull.whole;
            let host = self.images.pulls.get(&number).map(|pull| self.host_of(pull)).unwrap_or_default();
            let target = Target::Layer { pull: number, digest: layer.digest, host };
            self.fetch(Duration::ZERO, target, Fetch::Layer { image, layer }, fx);
        }
    }

    /// A host could not give a layer: it waits for a stream again if there is another to be asked.
    fn fetch_elsewhere(&mut self, number: u64, digest: u64, failed: Name) -> bool {
        let Some(pull) = self.images.pulls.get(&number) else { return false };
        let layers = pull.manifest.as_ref().map(|manifest| Arc::clone(&manifest.layers)).unwrap_or_default();
        let Some(layer) = layers.iter().find(|layer| layer.digest == digest) else { return false };
        // Another layer may have found out already.
        if self.host_of(pull) == failed && !self.next_host(number) {
            return false;
        }
        self.images.queue.push_front((number, *layer));
        true
    }

    fn settle(&mut self, number: u64, fx: &mut Effects<In, Out>) {
        let rate = self.config.profile.unpack_bytes_per_second;
        if self.images.settle(number, fx.now(), rate)
            && let Some(pull) = self.images.pulls.get(&number)
        {
            let at = pull.unpacked_at.max(pull.least_end);
            fx.wake_at(at, In::Timer(Timer::Unpacked { boot: self.boot, pull: number }));
        }
    }

    pub(super) fn unpacked(&mut self, number: u64, fx: &mut Effects<In, Out>) {
        let Some(pull) = self.images.pulls.remove(&number) else {
            return;
        };
        let Some(manifest) = pull.manifest else {
            return;
        };
        let id = manifest.id;
        let pinned = self.images.present.get(&pull.whole).is_some_and(|(_, pinned)| *pinned);
        self.images.insert(pull.whole, manifest, pinned);
        self.images_changed(fx);
        for caller in pull.callers {
            fx.because(caller.cause);
            reply(caller.id, Ok(Answer::Image(id)), fx);
        }
    }

    fn pull_failed(&mut self, number: u64, error: &pull::Error, layer: Option<u64>, fx: &mut Effects<In, Out>) {
        let Some(pull) = self.images.pulls.remove(&number) else {
            return;
        };
        self.images.hand_on(number, pull.manifest.as_deref(), fx);
        let profile = &self.config.profile;
        let error = profile.pull_error(&pull.asked, &pull.whole, &pull.reference.host, layer, error);
        for caller in pull.callers {
            reply(caller.id, Err(error.clone()), fx);
        }
    }
}

impl Images {
    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The pulls that want this layer.
    fn wanting(&self, digest: u64) -> SmallVec<[u64; 2]> {
        let wants = |pull: &Pull| {
            let layers =
                pull.manifest.as_ref().map(|manifest| &manifest.layers[pull.settled.min(manifest.layers.len())..]);
            layers.is_some_and(|layers| layers.iter().any(|layer| layer.digest == digest))
        };
        self.pulls.iter().filter(|(_, pull)| wants(pull)).map(|(number, _)| *number).collect()
    }

    /// A pull failed: layers of its own that others want are theirs now, the rest is given up.
    fn hand_on(&mut self, number: u64, manifest: Option<&Manifest>, fx: &mut Effects<In, Out>) {
        for layer in manifest.into_iter().flat_map(|manifest| manifest.layers.iter()) {
            if self.layers.get(&layer.digest).is_none_or(|state| state.stage != LayerStage::Wanted) {
                continue;
            }
            let heir = self.wanting(layer.digest).first().copied();
            for (owner, _) in
                self.queue.iter_mut().filter(|(owner, queued)| *owner == number && queued.digest == layer.digest)
            {
                *owner = heir.unwrap_or(*owner);
            }
            let fetch = self.fetches.iter().find_map(|(id, target)| match target {
                Target::Layer { pull, digest, host } if *pull == number && *digest == layer.digest => {
                    Some((*id, *host))
                }
                _ => None,
            });
            match (fetch, heir) {
                // The stream stays counted as one of all; per pull it is the heir's.
                (Some((fetch, host)), Some(heir)) => {
                    self.fetches.insert(fetch, Target::Layer { pull: heir, digest: layer.digest, host });
                    if let Some(pull) = self.pulls.get_mut(&heir) {
                        pull.streams += 1;
                    }
                }
                (Some((fetch, host)), None) => {
                    self.fetches.remove(&fetch);
                    self.streams = self.streams.saturating_sub(1);
                    self.layers.remove(&layer.digest);
                    fx.send(Out::Pull { host, request: Box::new(pull::Request { id: fetch, what: Fetch::Cancel }) });
                }
                (None, None) => {
                    self.layers.remove(&layer.digest);
                }
                (None, Some(_)) => {}
            }
        }
        self.queue.retain(|(owner, _)| *owner != number);
    }
}

fn describe(whole: Name, manifest: &Manifest, pinned: bool, profile: &Profile) -> Image {
    let size_bytes = match profile.sizes_are_packed {
        true => manifest.layers.iter().fold(0i64, |sum, layer| sum.saturating_add_unsigned(layer.bytes)),
        false => manifest.unpacked_bytes,
    };
    Image { id: manifest.id, names: vec![whole], size_bytes, user: manifest.user, pinned }
}

/// A layer's share of its image's size on disk.
fn on_disk(manifest: &Manifest, layer: Layer) -> u64 {
    let compressed: u128 = manifest.layers.iter().map(|layer| u128::from(layer.bytes)).sum();
    let size = u128::try_from(manifest.unpacked_bytes).unwrap_or(0);
    u64::try_from(size * u128::from(layer.bytes) / compressed.max(1)).unwrap_or(u64::MAX)
}

fn invalid(image: Name, error: InvalidReference) -> Error {
    Error::new(Code::Unknown, format!(r#"failed to parse image reference "{image}": {error}"#))
}
