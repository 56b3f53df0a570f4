//! ImageLocality: prefers nodes that already have the pod's images, the more so the larger they are and the more nodes have
//! them.
//!
//! *When you meet it:* images over 23 MiB under a name that the node reports exactly as the pod writes it: `nginx:1.27` does
//! not match `docker.io/library/nginx:1.27`.
//!
//! Kubernetes: pkg/scheduler/framework/plugins/imagelocality/image_locality.go.

use crate::scheduler::framework::{Plugin, Score, State, Status};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_info::PodInfo;

/// See the module.
#[derive(Debug, Default)]
pub struct ImageLocality;

const MIB: i64 = 1024 * 1024;
/// Images below this together count nothing.
const LEAST: i64 = 23 * MIB;
/// Each container counts at most this.
const MOST_PER_CONTAINER: i64 = 1000 * MIB;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Score for ImageLocality {
    fn score(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<i64, Status> {
        let mut score = [0];
        self.score_all(None, pod, &[node.id], world, &mut score)?;
        Ok(score[0])
    }

    fn score_all(
        &self,
        _: Option<&dyn State>,
        pod: &PodInfo,
        nodes: &[NodeId],
        world: &World,
        scores: &mut [i64],
    ) -> Result<(), Status> {
        let spec = &pod.pod.spec;
        let containers = (spec.init_containers.len() + spec.containers.len()) as i64;
        let total = world.nodes.len() as f64;
        for image in pod.spec.images.iter().filter_map(|image| world.nodes.image(*image)) {
            let scaled = (image.size_bytes as f64 * (f64::from(image.count) / total)) as i64;
            for (&node, score) in nodes.iter().zip(scores.iter_mut()) {
                if image.is_on(node) {
                    *score += scaled;
                }
            }
        }
        if scores.iter().all(|score| *score <= LEAST) {
            scores.fill(0);
            return Ok(());
        }
        let most = (MOST_PER_CONTAINER * containers).max(LEAST + 1);
        for score in scores {
            *score = 100 * ((*score).clamp(LEAST, most) - LEAST) / (most - LEAST);
        }
        Ok(())
    }
}
