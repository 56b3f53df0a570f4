//! A profile: which plug-ins run at which extension point, in which order and with which weight.
//!
//! Kubernetes: pkg/scheduler/framework/runtime/framework.go (NewFramework, expandMultiPointPlugins).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::Name;

use super::events::{Action, ClusterEvent, Resource};
use super::framework::{Plugin, Scope};

/// An extension point whose plug-ins a configuration may list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    PreEnqueue,
    QueueSort,
    PreFilter,
    Filter,
    PostFilter,
    PreScore,
    Score,
    Reserve,
    Permit,
    PreBind,
    Bind,
    PostBind,
}

impl Point {
    /// Every extension point.
    pub const ALL: [Point; 12] = [
        Point::PreEnqueue,
        Point::QueueSort,
        Point::PreFilter,
        Point::Filter,
        Point::PostFilter,
        Point::PreScore,
        Point::Score,
        Point::Reserve,
        Point::Permit,
        Point::PreBind,
        Point::Bind,
        Point::PostBind,
    ];

    /// True if the plug-in does something at this point.
    pub fn is_implemented_by(self, plugin: &dyn Plugin) -> bool {
        match self {
            Point::PreEnqueue => plugin.as_pre_enqueue().is_some(),
            Point::QueueSort => plugin.as_queue_sort().is_some(),
            Point::PreFilter => plugin.as_pre_filter().is_some(),
            Point::Filter => plugin.as_filter().is_some(),
            Point::PostFilter => plugin.as_post_filter().is_some(),
            Point::PreScore => plugin.as_pre_score().is_some(),
            Point::Score => plugin.as_score().is_some(),
            Point::Reserve => plugin.as_reserve().is_some(),
            Point::Permit => plugin.as_permit().is_some(),
            Point::PreBind => plugin.as_pre_bind().is_some(),
            Point::Bind => plugin.as_bind().is_some(),
            Point::PostBind => plugin.as_post_bind().is_some(),
        }
    }
}

/// A plug-in of a profile, by its place in [`Profile::plugins`].
pub type PluginIdx = usize;

/// A set of a profile's plug-ins. A profile has at most 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginSet(pub u64);

impl PluginSet {
    /// Adds a plug-in.
    pub fn insert(&mut self, plugin: PluginIdx) {
        self.0 |= 1 << plugin;
    }

    /// True if the plug-in is in the set.
    pub fn contains(self, plugin: PluginIdx) -> bool {
        self.0 >> plugin & 1 == 1
    }

    /// True if the two sets have a plug-in in common.
    pub fn meets(self, other: PluginSet) -> bool {
        self.0 & other.0 != 0
    }

    /// True if there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The plug-ins in order.
    pub fn iter(self) -> impl Iterator<Item = PluginIdx> {
        (0..64).filter(move |plugin| self.contains(*plugin))
    }
}

/// A plug-in's registration for an event.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    pub plugin: PluginIdx,
    pub event: ClusterEvent,
    /// False: the framework registered it, and it always queues.
    pub has_hint: bool,
}

/// The plug-ins for the pods of one scheduler name.
#[derive(Clone)]
pub struct Profile {
    /// `spec.schedulerName` of its pods.
    pub scheduler_name: Name,
    /// `percentageOfNodesToScore`; 0: adaptive.
    pub percentage_of_nodes_to_score: u32,
    /// In MultiPoint order.
    pub plugins: Vec<Arc<dyn Plugin>>,
    points: [SmallVec<[PluginIdx; 16]>; 12],
    weights: Vec<i64>,
    registrations: Vec<Registration>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.plugins.iter().map(|plugin| plugin.name()).collect();
        f.debug_struct("Profile").field("scheduler_name", &self.scheduler_name).field("plugins", &names).finish()
    }
}

impl Profile {
    /// The profile that runs each of these plug-ins, with its weight, at every point that it implements, in this order.
    /// A weight of 0 counts as 1. Of more than 64 plug-ins the rest is left out.
    pub fn new(scheduler_name: impl Into<Name>, plugins: Vec<(Arc<dyn Plugin>, i64)>) -> Profile {
        let mut profile = Profile {
            scheduler_name: scheduler_name.into(),
            percentage_of_nodes_to_score: 0,
            weights: plugins.iter().take(64).map(|(_, weight)| (*weight).max(1)).collect(),
            plugins: plugins.into_iter().take(64).map(|(plugin, _)| plugin).collect(),
            points: Default::default(),
            registrations: Vec::new(),
        };
        for point in Point::ALL {
            let here = (0..profile.plugins.len()).filter(|idx| point.is_implemented_by(&*profile.plugins[*idx]));
            profile.points[point as usize] = here.collect();
        }
        profile.register();
        profile
    }

    /// The profile that runs these plug-ins at these points (by their numbers, in [`Point`]'s order), with these weights.
    pub fn assembled(
        scheduler_name: impl Into<Name>,
        plugins: Vec<Arc<dyn Plugin>>,
        points: [SmallVec<[PluginIdx; 16]>; 12],
        weights: Vec<i64>,
    ) -> Profile {
        let mut profile = Profile {
            scheduler_name: scheduler_name.into(),
            percentage_of_nodes_to_score: 0,
            plugins,
            points,
            weights,
            registrations: Vec::new(),
        };
        profile.register();
        profile
    }

    /// Runs at `point` these plug-ins in this order, as a configuration says that lists the point by itself. Those that
    /// don't implement it or are not in the profile are left out.
    pub fn set_point(&mut self, point: Point, names: &[&str]) {
        let find = |name: &&str| self.plugins.iter().position(|plugin| plugin.name() == *name);
        self.points[point as usize] =
            names.iter().filter_map(find).filter(|idx| point.is_implemented_by(&*self.plugins[*idx])).collect();
        self.register();
    }

    /// Gives the plug-in another weight.
    pub fn set_weight(&mut self, name: &str, weight: i64) {
        if let Some(idx) = self.plugins.iter().position(|plugin| plugin.name() == name) {
            self.weights[idx] = weight.max(1);
        }
    }

    /// The plug-ins at a point, in order.
    pub fn at(&self, point: Point) -> &[PluginIdx] {
        &self.points[point as usize]
    }

    /// The names of the plug-ins at a point, in order.
    pub fn names_at(&self, point: Point) -> Vec<&'static str> {
        self.at(point).iter().map(|idx| self.plugins[*idx].name()).collect()
    }

    /// A plug-in's weight.
    pub fn weight(&self, plugin: PluginIdx) -> i64 {
        self.weights[plugin]
    }

    /// True if a plug-in's answers depend on spec and node only.
    pub fn is_local(&self, plugin: PluginIdx) -> bool {
        self.plugins[plugin].scope() == Scope::Node
    }

    /// Who wants to hear of what.
    pub fn registrations(&self) -> &[Registration] {
        &self.registrations
    }

    /// The plug-ins that want to hear of `event`.
    pub fn interested_in(&self, event: ClusterEvent) -> PluginSet {
        let mut plugins = PluginSet::default();
        for registration in self.registrations.iter().filter(|registration| registration.event.hears(event)) {
            plugins.insert(registration.plugin);
        }
        plugins
    }

    fn register(&mut self) {
        const ENQUEUING: [Point; 5] =
            [Point::PreEnqueue, Point::PreFilter, Point::Filter, Point::Reserve, Point::Permit];
        self.registrations.clear();
        for (idx, plugin) in self.plugins.iter().enumerate() {
            if !ENQUEUING.iter().any(|point| self.at(*point).contains(&idx)) {
                continue;
            }
            let Some(extensions) = plugin.as_enqueue_extensions() else {
                // Who says nothing hears of everything.
                let event = ClusterEvent::new(Resource::Wildcard, Action::ALL);
                self.registrations.push(Registration { plugin: idx, event, has_hint: false });
                continue;
            };
            let events = extensions.events();
            let node = |action: Action| {
                events.iter().any(|event| event.resource == Resource::Node && event.action.meets(action))
            };
            // A node that is added comes with a taint that only goes later, so who waits for nodes waits for taints.
            let also_taints = node(Action::ADD) && !node(Action::NODE_TAINT);
            self.registrations.extend(events.iter().map(|&event| Registration { plugin: idx, event, has_hint: true }));
            if also_taints {
                let event = ClusterEvent::new(Resource::Node, Action::NODE_TAINT);
                self.registrations.push(Registration { plugin: idx, event, has_hint: false });
            }
        }
    }
}
