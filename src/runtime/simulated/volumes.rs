//! The volumes of pods on a simulated machine: kept as they were set up, so that what reads them finds their files.

use rustc_hash::FxHashMap;

use crate::model::Uid;
use crate::protocol::volume::{Answer, Kind, Request, Volume};
use crate::trace::Effects;

use super::{In, Out, Runtime};

/// The volumes of each pod.
pub(super) type Volumes = FxHashMap<Uid, std::sync::Arc<[Volume]>>;

impl Runtime {
    pub(super) fn volume(&mut self, request: Request, fx: &mut Effects<In, Out>) {
        let pod = match request {
            Request::SetUp { pod, volumes } => {
                self.volumes.insert(pod, volumes);
                pod
            }
            Request::PlaceFiles { pod, .. } => pod,
            Request::TearDown { pod } => {
                self.volumes.remove(&pod);
                return;
            }
        };
        fx.send(Out::Volume(Box::new(Answer::Done { pod })));
    }

    /// The content of a file of the pod's volumes, by its path on the host.
    pub fn volume_file(&self, pod: Uid, path: &str) -> Option<&[u8]> {
        self.volumes.get(&pod)?.iter().find_map(|volume| {
            let Kind::Files(files) = &volume.kind else { return None };
            let inside = path.strip_prefix(volume.path.as_str())?.strip_prefix('/')?;
            files.iter().find(|file| *file.path == *inside).map(|file| &*file.content)
        })
    }
}
