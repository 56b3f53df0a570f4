//! The order in which the workers of the parallel search are done with the nodes, and so which of two equal nodes comes first.
//!
//! kube-scheduler filters nodes on 16 goroutines (`parallelism`), each of which takes the next chunk of nodes; the feasible
//! ones are listed as they are found. Of nodes with equal scores the list decides, so in reality it depends on which goroutine
//! was faster: pods without anything that tells nodes apart do not always go to the first. Here all workers are equally
//! fast, and each attempt draws in which order they finish. The draw depends on the run's seed, the pod's name and how often it
//! was tried, on nothing else: a pod more or less changes no other pod's luck. With `parallelism: 1` nodes come in order.
//!
//! Kubernetes: pkg/scheduler/framework/parallelize/parallelism.go (chunkSizeFor),
//! staging/src/k8s.io/client-go/util/workqueue/parallelizer.go.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::model::Pod;

/// `parallelism` unless the configuration says otherwise.
pub const DEFAULT_PARALLELISM: usize = 16;

/// The random number of the attempt number `attempt` to place `pod`; `key` stands for the run's seed.
pub fn luck(key: u64, pod: &Pod, attempt: u32) -> u64 {
    let attempt = xxh3_64_with_seed(&attempt.to_le_bytes(), key);
    let namespace = xxh3_64_with_seed(pod.meta.namespace.as_bytes(), attempt);
    xxh3_64_with_seed(pod.meta.name.as_bytes(), namespace)
}

/// The places of nodes in the order in which the search is done with them.
pub(super) struct Order {
    nodes: usize,
    chunk: usize,
    /// The beginnings of the chunks that are worked on, in the order in which their workers are done with a node; the place in
    /// each of them; whose turn it is.
    chunks: SmallVec<[usize; 16]>,
    step: usize,
    turn: usize,
}

impl Order {
    /// The order in which so many workers are done with so many nodes; `luck` says who is faster.
    pub(super) fn new(nodes: usize, workers: usize, mut luck: u64) -> Order {
        if workers <= 1 || nodes < 2 {
            return Order { nodes, chunk: nodes, chunks: SmallVec::from_slice(&[0]), step: 0, turn: 0 };
        }
        let chunk = nodes.isqrt().min(nodes / workers + 1).max(1);
        let racing = workers.min(nodes.div_ceil(chunk));
        let mut chunks: SmallVec<[usize; 16]> = (0..racing).map(|worker| worker * chunk).collect();
        for last in (1..racing).rev() {
            luck = xxh3_64_with_seed(&[], luck);
            chunks.swap(last, ((u128::from(luck) * (last as u128 + 1)) >> 64) as usize);
        }
        Order { nodes, chunk, chunks, step: 0, turn: 0 }
    }

    /// All workers go one node further, or to the next chunks. False if there are none.
    fn advance(&mut self) -> bool {
        self.turn = 0;
        self.step += 1;
        if self.step < self.chunk {
            return true;
        }
        self.step = 0;
        let round = self.chunk * self.chunks.len();
        let mut any = false;
        for begin in &mut self.chunks {
            *begin += round;
            any |= *begin < self.nodes;
        }
        any
    }
}

impl Iterator for Order {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        loop {
            if let Some(begin) = self.chunks.get(self.turn) {
                self.turn += 1;
                let at = begin + self.step;
                if at < self.nodes {
                    return Some(at);
                }
            } else if !self.advance() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Meta;

    #[test]
    fn each_node_comes_once_however_many_workers_there_are() {
        for nodes in [0, 1, 2, 3, 15, 16, 17, 99, 100, 255, 1000, 5000] {
            for workers in [1, 2, 16, 64, 1000] {
                let mut order: Vec<usize> = Order::new(nodes, workers, 7).collect();
                order.sort_unstable();
                assert!(order.iter().copied().eq(0..nodes), "{nodes} nodes, {workers} workers");
            }
        }
    }

    #[test]
    fn one_worker_goes_from_the_first_to_the_last() {
        assert!(Order::new(40, 1, 7).eq(0..40));
    }

    #[test]
    fn sixteen_workers_begin_with_the_first_nodes_of_sixteen_chunks() {
        let first: Vec<usize> = Order::new(5000, 16, 7).take(16).collect();
        assert!(first.iter().all(|at| at % 70 == 0 && *at < 16 * 70), "{first:?}");
    }

    #[test]
    fn any_of_three_nodes_may_be_first_and_who_is_depends_on_seed_pod_and_attempt() {
        let pod = |name: &str| Pod { meta: Meta::named("default", name), ..Pod::default() };
        let mut first = [0; 3];
        for seed in 0..300 {
            first[Order::new(3, 16, luck(seed, &pod("web-1"), 1)).next().unwrap_or(9)] += 1;
        }
        assert!(first.iter().all(|times| (60..140).contains(times)), "{first:?}");
        let all = [
            luck(5, &pod("web-1"), 1),
            luck(5, &pod("web-1"), 2),
            luck(5, &pod("web-2"), 1),
            luck(6, &pod("web-1"), 1),
        ];
        assert!((0..4).all(|at| !all[..at].contains(&all[at])), "{all:?}");
    }
}
