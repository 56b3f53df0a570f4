//! KubeSchedulerConfiguration as files have it: nothing is defaulted, nothing checked.
//!
//! Kubernetes: staging/src/k8s.io/kube-scheduler/config/v1/types.go, types_pluginargs.go.

use serde::Deserialize;
use serde_json::Value;

macro_rules! objects {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }
    )*};
}

objects! {
    /// The whole file.
    KubeSchedulerConfiguration {
        api_version: String,
        kind: String,
        parallelism: Option<i32>,
        leader_election: LeaderElection,
        client_connection: ClientConnection,
        enable_profiling: Option<bool>,
        enable_contention_profiling: Option<bool>,
        percentage_of_nodes_to_score: Option<i32>,
        pod_initial_backoff_seconds: Option<i64>,
        pod_max_backoff_seconds: Option<i64>,
        profiles: Vec<KubeSchedulerProfile>,
        extenders: Vec<Extender>,
        delay_cache_until_active: bool,
    }

    /// `leaderElection`.
    LeaderElection {
        leader_elect: Option<bool>,
        lease_duration: Option<String>,
        renew_deadline: Option<String>,
        retry_period: Option<String>,
        resource_lock: String,
        resource_name: String,
        resource_namespace: String,
    }

    /// `clientConnection`.
    ClientConnection {
        kubeconfig: String,
        accept_content_types: String,
        content_type: String,
        qps: f64,
        burst: i32,
    }

    /// One of `profiles`.
    KubeSchedulerProfile {
        scheduler_name: Option<String>,
        percentage_of_nodes_to_score: Option<i32>,
        plugins: Option<Plugins>,
        plugin_config: Vec<PluginConfig>,
    }

    /// `plugins` of a profile.
    Plugins {
        pre_enqueue: PluginSet,
        queue_sort: PluginSet,
        pre_filter: PluginSet,
        filter: PluginSet,
        post_filter: PluginSet,
        pre_score: PluginSet,
        score: PluginSet,
        reserve: PluginSet,
        permit: PluginSet,
        pre_bind: PluginSet,
        bind: PluginSet,
        post_bind: PluginSet,
        placement_generate: PluginSet,
        placement_score: PluginSet,
        multi_point: PluginSet,
    }

    /// The plug-ins of one extension point.
    PluginSet {
        enabled: Vec<Plugin>,
        disabled: Vec<Plugin>,
    }

    /// A plug-in by its name.
    Plugin {
        name: String,
        weight: Option<i32>,
    }

    /// One of `pluginConfig`.
    PluginConfig {
        name: String,
        /// Read again by the plug-in's name.
        args: Value,
    }

    /// One of `extenders`.
    Extender {
        url_prefix: String,
        filter_verb: String,
        preempt_verb: String,
        prioritize_verb: String,
        weight: i64,
        bind_verb: String,
        #[serde(rename = "enableHTTPS")]
        enable_https: bool,
        tls_config: Option<ExtenderTlsConfig>,
        http_timeout: Option<String>,
        node_cache_capable: bool,
        managed_resources: Vec<ExtenderManagedResource>,
        ignorable: bool,
    }

    /// `tlsConfig` of an extender.
    ExtenderTlsConfig {
        insecure: bool,
        server_name: String,
        cert_file: String,
        key_file: String,
        ca_file: String,
        cert_data: String,
        key_data: String,
        ca_data: String,
    }

    /// One of `managedResources`.
    ExtenderManagedResource {
        name: String,
        ignored_by_scheduler: bool,
    }

    /// Arguments of DefaultPreemption.
    DefaultPreemptionArgs {
        api_version: String,
        kind: String,
        min_candidate_nodes_percentage: Option<i32>,
        min_candidate_nodes_absolute: Option<i32>,
    }

    /// Arguments of InterPodAffinity.
    InterPodAffinityArgs {
        api_version: String,
        kind: String,
        hard_pod_affinity_weight: Option<i32>,
        ignore_preferred_terms_of_existing_pods: bool,
    }

    /// Arguments of NodeAffinity.
    NodeAffinityArgs {
        api_version: String,
        kind: String,
        added_affinity: Option<NodeAffinity>,
    }

    /// A node affinity.
    NodeAffinity {
        required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
        preferred_during_scheduling_ignored_during_execution: Vec<PreferredSchedulingTerm>,
    }

    /// A node selector.
    NodeSelector {
        node_selector_terms: Vec<NodeSelectorTerm>,
    }

    /// A preferred term.
    PreferredSchedulingTerm {
        weight: i32,
        preference: NodeSelectorTerm,
    }

    /// A term of a node selector.
    NodeSelectorTerm {
        match_expressions: Vec<NodeSelectorRequirement>,
        match_fields: Vec<NodeSelectorRequirement>,
    }

    /// A requirement of a term.
    NodeSelectorRequirement {
        key: String,
        operator: String,
        values: Vec<String>,
    }

    /// Arguments of NodeResourcesFit.
    NodeResourcesFitArgs {
        api_version: String,
        kind: String,
        ignored_resources: Vec<String>,
        ignored_resource_groups: Vec<String>,
        scoring_strategy: Option<ScoringStrategy>,
    }

    /// `scoringStrategy`.
    ScoringStrategy {
        #[serde(rename = "type")]
        kind: String,
        resources: Vec<ResourceSpec>,
        requested_to_capacity_ratio: Option<RequestedToCapacityRatioParam>,
    }

    /// A resource with its weight.
    ResourceSpec {
        name: String,
        weight: i64,
    }

    /// `requestedToCapacityRatio`.
    RequestedToCapacityRatioParam {
        shape: Vec<UtilizationShapePoint>,
    }

    /// A point of a shape.
    UtilizationShapePoint {
        utilization: i32,
        score: i32,
    }

    /// Arguments of NodeResourcesBalancedAllocation.
    NodeResourcesBalancedAllocationArgs {
        api_version: String,
        kind: String,
        resources: Vec<ResourceSpec>,
    }

    /// Arguments of PodTopologySpread.
    PodTopologySpreadArgs {
        api_version: String,
        kind: String,
        default_constraints: Vec<TopologySpreadConstraint>,
        defaulting_type: String,
    }

    /// A constraint.
    TopologySpreadConstraint {
        max_skew: i32,
        topology_key: String,
        when_unsatisfiable: String,
        label_selector: Option<Value>,
        min_domains: Option<i32>,
        node_affinity_policy: Option<String>,
        node_taints_policy: Option<String>,
        match_label_keys: Vec<String>,
    }

    /// Arguments of VolumeBinding.
    VolumeBindingArgs {
        api_version: String,
        kind: String,
        bind_timeout_seconds: Option<i64>,
        shape: Option<Vec<UtilizationShapePoint>>,
    }

    /// Arguments of DynamicResources.
    DynamicResourcesArgs {
        api_version: String,
        kind: String,
        filter_timeout: Option<String>,
        binding_timeout: Option<String>,
    }
}

/// The arguments of a plug-in that has some.
#[derive(Clone, Debug, PartialEq)]
pub enum PluginArgs {
    DefaultPreemption(DefaultPreemptionArgs),
    InterPodAffinity(InterPodAffinityArgs),
    NodeAffinity(NodeAffinityArgs),
    NodeResourcesFit(NodeResourcesFitArgs),
    NodeResourcesBalancedAllocation(NodeResourcesBalancedAllocationArgs),
    PodTopologySpread(PodTopologySpreadArgs),
    VolumeBinding(VolumeBindingArgs),
    DynamicResources(DynamicResourcesArgs),
}

/// Reads an object of a file as one of the types above.
pub trait Decode {
    /// The object at `path`, such as `profiles[0].pluginConfig[1].args`. What is wrong with it is the reader's to tell.
    fn decode<T: for<'t> Deserialize<'t> + Default>(&mut self, path: &str) -> T;
}

impl PluginArgs {
    /// Reads the arguments at `path` for the plug-in of this name; None if it has none.
    pub fn decode(plugin: &str, path: &str, decoder: &mut impl Decode) -> Option<PluginArgs> {
        Some(match plugin {
            "DefaultPreemption" => PluginArgs::DefaultPreemption(decoder.decode(path)),
            "InterPodAffinity" => PluginArgs::InterPodAffinity(decoder.decode(path)),
            "NodeAffinity" => PluginArgs::NodeAffinity(decoder.decode(path)),
            "NodeResourcesFit" => PluginArgs::NodeResourcesFit(decoder.decode(path)),
            "NodeResourcesBalancedAllocation" => PluginArgs::NodeResourcesBalancedAllocation(decoder.decode(path)),
            "PodTopologySpread" => PluginArgs::PodTopologySpread(decoder.decode(path)),
            "VolumeBinding" => PluginArgs::VolumeBinding(decoder.decode(path)),
            "DynamicResources" => PluginArgs::DynamicResources(decoder.decode(path)),
            _ => return None,
        })
    }

    /// `apiVersion` and `kind`, where the arguments say them.
    pub fn type_meta(&self) -> (&str, &str) {
        match self {
            PluginArgs::DefaultPreemption(args) => (&args.api_version, &args.kind),
            PluginArgs::InterPodAffinity(args) => (&args.api_version, &args.kind),
            PluginArgs::NodeAffinity(args) => (&args.api_version, &args.kind),
            PluginArgs::NodeResourcesFit(args) => (&args.api_version, &args.kind),
            PluginArgs::NodeResourcesBalancedAllocation(args) => (&args.api_version, &args.kind),
            PluginArgs::PodTopologySpread(args) => (&args.api_version, &args.kind),
            PluginArgs::VolumeBinding(args) => (&args.api_version, &args.kind),
            PluginArgs::DynamicResources(args) => (&args.api_version, &args.kind),
        }
    }
}

impl Plugins {
    /// The sets of the extension points by their fields' names, in the order in which kube-scheduler fills them.
    pub fn points(&self) -> [(&'static str, &PluginSet); 12] {
        [
            ("preFilter", &self.pre_filter),
            ("filter", &self.filter),
            ("postFilter", &self.post_filter),
            ("reserve", &self.reserve),
            ("preScore", &self.pre_score),
            ("score", &self.score),
            ("preBind", &self.pre_bind),
            ("bind", &self.bind),
            ("postBind", &self.post_bind),
            ("permit", &self.permit),
            ("preEnqueue", &self.pre_enqueue),
            ("queueSort", &self.queue_sort),
        ]
    }
}
