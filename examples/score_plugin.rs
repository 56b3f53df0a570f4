//! A score plug-in of your own: packs pods onto nodes in the order of their names, and shows what changes.
//!
//! `cargo run --example score_plugin`
#![expect(clippy::disallowed_macros, reason = "an example prints")]

use std::sync::Arc;

use simlet::model::{Meta, Node, Pod, Uid};
use simlet::scheduler::framework::{Plugin, Profile, Score, State, Status};
use simlet::scheduler::listers::World;
use simlet::scheduler::node_table::NodeInfo;
use simlet::scheduler::nominator::Nominator;
use simlet::scheduler::plugins::{Args, defaults};
use simlet::scheduler::pod_info::PodInfo;
use simlet::scheduler::search::Search;

/// 100 for the node `n0`, 10 less for each after it.
struct LowNumbers;

impl Plugin for LowNumbers {
    fn name(&self) -> &'static str {
        "LowNumbers"
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Score for LowNumbers {
    fn score(&self, _: Option<&dyn State>, _: &PodInfo, node: &NodeInfo, _: &World) -> Result<i64, Status> {
        let number: i64 = node.name.trim_start_matches('n').parse().unwrap_or(9);
        Ok((100 - 10 * number).max(0))
    }
}

/// Where ten pods go, one after another.
fn placements(profile: &Profile) -> Vec<String> {
    let (mut world, mut search) = (World::default(), Search::default());
    for number in 0..3 {
        let mut node = Node { meta: Meta::named("", format!("n{number}")), ..Node::default() };
        node.status.allocatable.pods = 6;
        world.nodes.set_node(&Arc::new(node));
    }
    world.nodes.refresh_order();
    let mut place = |number: u64| {
        let meta = Meta { uid: Uid(number), ..Meta::named("default", format!("pod-{number}")) };
        let pod = PodInfo::new(Arc::new(Pod { meta, ..Pod::default() }));
        match search.schedule((0, profile), &pod, &world, &Nominator::default(), 0) {
            Ok(chosen) => {
                world.nodes.add_pod(chosen.node, pod);
                chosen.node.to_string()
            }
            Err(failure) => failure.message,
        }
    };
    (1..=10).map(&mut place).collect()
}

fn main() {
    let before = placements(&Profile::new("default-scheduler", defaults(Args::default())));
    let mut plugins = defaults(Args::default());
    plugins.push((Arc::new(LowNumbers), 50));
    let after = placements(&Profile::new("default-scheduler", plugins));
    for (number, (before, after)) in before.iter().zip(&after).enumerate() {
        println!("pod-{:<3} {before} -> {after}", number + 1);
    }
}
