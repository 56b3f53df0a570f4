//! Image garbage collection: images that nobody uses go when their disk is nearly full, or when they are old; and all of them
//! when the eviction manager asks for room.
//!
//! Kubernetes: pkg/kubelet/images/image_gc_manager.go, StartGarbageCollection in pkg/kubelet/kubelet.go (each 5 min). One that
//! sleeps looks only when the disk can be full, or an image old.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::kernel::{Duration, Time};
use crate::model::{EventType, Name};
use crate::protocol::cri::{Answer, Call, Error, Image};
use crate::protocol::stats::Summary;

use super::calls::CriOwner;
use super::images::with_default_tag;
use super::{Fx, In, Kubelet, Timer};

/// How often it looks.
pub const PERIOD: Duration = Duration::from_secs(300);

/// What is to be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freeing {
    /// So many bytes, because the disk is so full (in percent).
    Bytes { wanted: i64 },
    /// All that nobody uses: the eviction manager asks.
    All,
    /// What has not been used for long.
    Old,
}

/// The collector's state.
#[derive(Debug, Default)]
pub struct ImageGc {
    tick: Option<Time>,
    work: Option<Work>,
    /// When images were first seen here, and last used by a container that is no more, by name.
    pulled: FxHashMap<Name, Time>,
    used: FxHashMap<Name, Time>,
    failed_before: bool,
}

#[derive(Debug)]
struct Work {
    freeing: Freeing,
    /// Images to remove, the first in front, with their sizes.
    left: VecDeque<(Name, i64)>,
    listed: bool,
    freed: i64,
}

impl Kubelet {
    /// An image was pulled.
    pub(super) fn image_pulled(&mut self, image: Name, now: Time) {
        self.image_gc.pulled.insert(with_default_tag(image), now);
    }

    /// A container of this image begins.
    pub(super) fn image_used(&mut self, image: Name, now: Time) {
        self.image_gc.used.insert(image, now);
    }

    /// What the disk of the images holds was measured: the collector looks when it can be too much.
    pub(super) fn look_at_images(&mut self, summary: &Summary, fx: &mut Fx) {
        let fs = summary.imagefs.as_ref().unwrap_or(&summary.nodefs);
        let high = self.config.kubelet.image_gc_high_threshold_percent;
        if high >= 100 {
            return;
        }
        // Rounded up, as the part that is free is cut.
        let limit = (i128::from(fs.capacity) * i128::from(high) / 100) as i64;
        if let Some(after) = fs.used.reaches(limit) {
            self.arm_image_gc(fx.now() + after, fx);
        }
    }

    fn arm_image_gc(&mut self, not_before: Time, fx: &mut Fx) {
        let at = self.image_grid.at_or_after(not_before.max(fx.now() + Duration::from_nanos(1)));
        if self.image_gc.tick.is_none_or(|tick| tick <= fx.now() || at < tick) {
            self.image_gc.tick = Some(at);
            fx.wake_at(at, In::Timer(Timer::ImageGc));
        }
    }

    /// Old images are looked for from the start, if they are to go.
    pub(super) fn start_image_gc(&mut self, fx: &mut Fx) {
        if !self.config.kubelet.image_maximum_gc_age.is_zero() {
            self.arm_image_gc(fx.now(), fx);
        }
    }

    /// The look each 5 min.
    pub(super) fn image_gc_tick(&mut self, fx: &mut Fx) {
        if self.image_gc.tick != Some(fx.now()) {
            return;
        }
        self.image_gc.tick = None;
        if !self.config.kubelet.image_maximum_gc_age.is_zero() {
            self.arm_image_gc(fx.now(), fx);
            if self.image_gc.work.is_none() {
                return self.free_images(Freeing::Old, fx);
            }
        }
        self.measure_for_images(fx);
    }

    fn measure_for_images(&mut self, fx: &mut Fx) {
        self.image_gc_asks = true;
        let now = fx.now();
        fx.send(super::Out::Stats(crate::protocol::stats::Request { disk_at: now, volumes_at: now }));
    }

    /// How full the disk is, as the collector has asked. True if the measurement was its own.
    pub(super) fn images_measured(&mut self, summary: &Summary, fx: &mut Fx) -> bool {
        if !std::mem::take(&mut self.image_gc_asks) {
            return false;
        }
        let fs = summary.imagefs.as_ref().unwrap_or(&summary.nodefs);
        let settings = &self.config.kubelet;
        let (high, low) = (settings.image_gc_high_threshold_percent, settings.image_gc_low_threshold_percent);
        if fs.capacity <= 0 {
            return true;
        }
        let available = (fs.capacity - fs.used.amount).max(0);
        let percent = 100 - (i128::from(available) * 100 / i128::from(fs.capacity)) as i64;
        if percent >= high {
            let keep = (i128::from(fs.capacity) * i128::from(100 - low) / 100) as i64;
            self.free_images(Freeing::Bytes { wanted: keep - available }, fx);
            self.arm_image_gc(fx.now(), fx);
        } else {
            self.image_gc.failed_before = false;
            self.look_at_images(summary, fx);
        }
        true
    }

    /// Begins to remove images.
    pub(super) fn free_images(&mut self, freeing: Freeing, fx: &mut Fx) {
        if let Some(work) = &mut self.image_gc.work {
            work.freeing = freeing;
            return;
        }
        self.image_gc.work = Some(Work { freeing, left: VecDeque::new(), listed: false, freed: 0 });
        self.calls.cri(CriOwner::ImageGc, Call::ListImages, fx);
    }

    /// The runtime listed its images, or removed one.
    pub(super) fn images_freed(&mut self, result: Result<Answer, Error>, fx: &mut Fx) {
        let Some(mut work) = self.image_gc.work.take() else { return };
        if !work.listed {
            work.listed = true;
            if let Ok(Answer::Images(images)) = result {
                work.left = self.unused(&images, work.freeing, fx.now()).into();
            }
        } else if let Some((_, size)) = work.left.pop_front()
            && result.is_ok()
        {
            work.freed += size;
        }
        let enough = matches!(work.freeing, Freeing::Bytes { wanted } if work.freed >= wanted);
        match work.left.front().filter(|_| !enough) {
            Some(&(image, _)) => {
                self.image_gc.work = Some(work);
                self.calls.cri(CriOwner::ImageGc, Call::RemoveImage { image }, fx);
            }
            None => self.images_are_freed(&work, fx),
        }
    }

    fn images_are_freed(&mut self, work: &Work, fx: &mut Fx) {
        if work.freed > 0 {
            self.images_changed(fx);
        }
        match work.freeing {
            Freeing::Bytes { wanted } if work.freed < wanted => {
                let message = format!(
                    "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {} \
                     bytes eligible to free.",
                    work.freed
                );
                self.node_event(EventType::Warning, "FreeDiskSpaceFailed", message.clone(), fx);
                self.image_gc_failed(message, fx);
            }
            Freeing::Bytes { .. } => self.image_gc.failed_before = false,
            Freeing::Old => self.measure_for_images(fx),
            Freeing::All => {}
        }
        self.disk_reclaimed(fx);
    }

    /// A round failed: the first time it may be that nothing was measured yet, from the second on in a row an event tells.
    pub(super) fn image_gc_failed(&mut self, message: String, fx: &mut Fx) {
        if std::mem::replace(&mut self.image_gc.failed_before, true) {
            self.node_event(EventType::Warning, "ImageGCFailed", message, fx);
        }
    }

    pub(super) fn image_gc_succeeded(&mut self) {
        self.image_gc.failed_before = false;
    }

    /// The images that may go, those first that were used longest ago.
    fn unused(&self, images: &[Image], freeing: Freeing, now: Time) -> Vec<(Name, i64)> {
        let mut in_use: Vec<Name> = Vec::new();
        for uid in self.pleg.pods() {
            let Some(runtime) = self.pleg.cached(uid) else { continue };
            in_use.extend(runtime.containers.iter().map(|one| one.summary.image));
        }
        for entry in self.pods.values().filter(|entry| entry.worker.is_syncing()) {
            // What a sync under way has pulled for its container is detected as used with the container.
            let is_starting = matches!(&entry.worker.task, Some(super::pod_worker::Task::Sync(_)));
            if is_starting {
                in_use.extend(entry.pod.spec.containers.iter().map(|one| with_default_tag(one.image)));
            }
        }
        let settings = &self.config.kubelet;
        let latest = |names: &[Name], of: &FxHashMap<Name, Time>| {
            names.iter().filter_map(|name| of.get(name)).copied().max().unwrap_or(Time::ZERO)
        };
        let mut found: Vec<(Time, Time, Name, i64)> = images
            .iter()
            .filter(|image| !image.pinned && !image.names.iter().any(|name| in_use.contains(name)))
            .filter_map(|image| {
                let (used, pulled) =
                    (latest(&image.names, &self.image_gc.used), latest(&image.names, &self.image_gc.pulled));
                Some((used, pulled, *image.names.last()?, image.size_bytes))
            })
            .filter(|(used, pulled, ..)| match freeing {
                Freeing::All => true,
                Freeing::Bytes { .. } => now.since(*pulled) >= settings.image_minimum_gc_age || *pulled == Time::ZERO,
                Freeing::Old => now.since((*used).max(*pulled)) > settings.image_maximum_gc_age,
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, _, name, size)| (name, size)).collect()
    }
}
