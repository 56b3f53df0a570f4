//! KubeletConfiguration as files have it: nothing is defaulted, nothing checked, and one file can be laid over another.
//!
//! Kubernetes: staging/src/k8s.io/kubelet/config/v1beta1/types.go. Lengths of time and amounts are still texts.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// Texts by name.
pub type Texts = BTreeMap<String, String>;
/// Switches by name.
pub type Switches = BTreeMap<String, bool>;
/// Lists of texts by name.
pub type Lists = BTreeMap<String, Vec<String>>;

/// Takes what `over` says and keeps what it does not say: the kubelet's JSON merge patch of drop-in files
/// (cmd/kubelet/app/server.go, mergeKubeletConfigurations). Mappings are merged, lists are replaced.
pub trait Overlay {
    fn overlay(&mut self, over: Self);
}

macro_rules! replaced {
    ($($type:ty),*) => {$(
        impl Overlay for Option<$type> {
            fn overlay(&mut self, over: Self) {
                if over.is_some() {
                    *self = over;
                }
            }
        }
    )*};
}
replaced!(bool, i32, i64, u32, f64, String, Value, Vec<String>, Vec<i32>, Vec<Value>);
replaced!(Vec<ShutdownGracePeriodByPodPriority>, Vec<MemoryReservation>, Vec<Taint>);

impl<T> Overlay for Option<BTreeMap<String, T>> {
    fn overlay(&mut self, over: Self) {
        if let Some(over) = over {
            self.get_or_insert_default().extend(over);
        }
    }
}

macro_rules! objects {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl Overlay for $name {
            fn overlay(&mut self, over: Self) {
                $(self.$field.overlay(over.$field);)*
            }
        }
    )*};
}

objects! {
    /// The whole file.
    KubeletConfiguration {
        api_version: Option<String>,
        kind: Option<String>,
        enable_server: Option<bool>,
        static_pod_path: Option<String>,
        pod_logs_dir: Option<String>,
        sync_frequency: Option<String>,
        file_check_frequency: Option<String>,
        http_check_frequency: Option<String>,
        #[serde(rename = "staticPodURL")]
        static_pod_url: Option<String>,
        #[serde(rename = "staticPodURLHeader")]
        static_pod_url_header: Option<Lists>,
        address: Option<String>,
        port: Option<i32>,
        read_only_port: Option<i32>,
        tls_cert_file: Option<String>,
        tls_private_key_file: Option<String>,
        tls_cipher_suites: Option<Vec<String>>,
        tls_min_version: Option<String>,
        tls_curve_preferences: Option<Vec<i32>>,
        rotate_certificates: Option<bool>,
        #[serde(rename = "serverTLSBootstrap")]
        server_tls_bootstrap: Option<bool>,
        authentication: KubeletAuthentication,
        authorization: KubeletAuthorization,
        #[serde(rename = "registryPullQPS")]
        registry_pull_qps: Option<i32>,
        registry_burst: Option<i32>,
        image_pull_credentials_verification_policy: Option<String>,
        preloaded_images_verification_allowlist: Option<Vec<String>>,
        #[serde(rename = "eventRecordQPS")]
        event_record_qps: Option<i32>,
        event_burst: Option<i32>,
        enable_debugging_handlers: Option<bool>,
        enable_contention_profiling: Option<bool>,
        healthz_port: Option<i32>,
        healthz_bind_address: Option<String>,
        oom_score_adj: Option<i32>,
        cluster_domain: Option<String>,
        #[serde(rename = "clusterDNS")]
        cluster_dns: Option<Vec<String>>,
        streaming_connection_idle_timeout: Option<String>,
        node_status_update_frequency: Option<String>,
        node_status_report_frequency: Option<String>,
        node_lease_duration_seconds: Option<i32>,
        #[serde(rename = "imageMinimumGCAge")]
        image_minimum_gc_age: Option<String>,
        #[serde(rename = "imageMaximumGCAge")]
        image_maximum_gc_age: Option<String>,
        #[serde(rename = "imageGCHighThresholdPercent")]
        image_gc_high_threshold_percent: Option<i32>,
        #[serde(rename = "imageGCLowThresholdPercent")]
        image_gc_low_threshold_percent: Option<i32>,
        volume_stats_agg_period: Option<String>,
        kubelet_cgroups: Option<String>,
        system_cgroups: Option<String>,
        cgroup_root: Option<String>,
        #[serde(rename = "cgroupsPerQOS")]
        cgroups_per_qos: Option<bool>,
        cgroup_driver: Option<String>,
        cpu_manager_policy: Option<String>,
        #[serde(rename = "singleProcessOOMKill")]
        single_process_oom_kill: Option<bool>,
        cpu_manager_policy_options: Option<Texts>,
        cpu_manager_reconcile_period: Option<String>,
        memory_manager_policy: Option<String>,
        topology_manager_policy: Option<String>,
        topology_manager_scope: Option<String>,
        topology_manager_policy_options: Option<Texts>,
        qos_reserved: Option<Texts>,
        runtime_request_timeout: Option<String>,
        hairpin_mode: Option<String>,
        max_pods: Option<i32>,
        #[serde(rename = "podCIDR")]
        pod_cidr: Option<String>,
        pod_pids_limit: Option<i64>,
        resolv_conf: Option<String>,
        run_once: Option<bool>,
        #[serde(rename = "cpuCFSQuota")]
        cpu_cfs_quota: Option<bool>,
        #[serde(rename = "cpuCFSQuotaPeriod")]
        cpu_cfs_quota_period: Option<String>,
        node_status_max_images: Option<i32>,
        max_open_files: Option<i64>,
        content_type: Option<String>,
        #[serde(rename = "kubeAPIQPS")]
        kube_api_qps: Option<i32>,
        #[serde(rename = "kubeAPIBurst")]
        kube_api_burst: Option<i32>,
        serialize_image_pulls: Option<bool>,
        max_parallel_image_pulls: Option<i32>,
        eviction_hard: Option<Texts>,
        eviction_soft: Option<Texts>,
        eviction_soft_grace_period: Option<Texts>,
        eviction_pressure_transition_period: Option<String>,
        eviction_max_pod_grace_period: Option<i32>,
        eviction_minimum_reclaim: Option<Texts>,
        merge_default_eviction_settings: Option<bool>,
        pods_per_core: Option<i32>,
        enable_controller_attach_detach: Option<bool>,
        protect_kernel_defaults: Option<bool>,
        #[serde(rename = "makeIPTablesUtilChains")]
        make_iptables_util_chains: Option<bool>,
        iptables_masquerade_bit: Option<i32>,
        iptables_drop_bit: Option<i32>,
        feature_gates: Option<Switches>,
        fail_swap_on: Option<bool>,
        memory_swap: MemorySwapConfiguration,
        container_log_max_size: Option<String>,
        container_log_max_files: Option<i32>,
        container_log_max_workers: Option<i32>,
        container_log_monitor_interval: Option<String>,
        config_map_and_secret_change_detection_strategy: Option<String>,
        system_reserved: Option<Texts>,
        kube_reserved: Option<Texts>,
        #[serde(rename = "reservedSystemCPUs")]
        reserved_system_cpus: Option<String>,
        show_hidden_metrics_for_version: Option<String>,
        system_reserved_cgroup: Option<String>,
        kube_reserved_cgroup: Option<String>,
        enforce_node_allocatable: Option<Vec<String>>,
        allowed_unsafe_sysctls: Option<Vec<String>>,
        volume_plugin_dir: Option<String>,
        #[serde(rename = "providerID")]
        provider_id: Option<String>,
        kernel_memcg_notification: Option<bool>,
        logging: LoggingConfiguration,
        enable_system_log_handler: Option<bool>,
        enable_system_log_query: Option<bool>,
        shutdown_grace_period: Option<String>,
        shutdown_grace_period_critical_pods: Option<String>,
        shutdown_grace_period_by_pod_priority: Option<Vec<ShutdownGracePeriodByPodPriority>>,
        crash_loop_back_off: CrashLoopBackOffConfig,
        reserved_memory: Option<Vec<MemoryReservation>>,
        enable_profiling_handler: Option<bool>,
        enable_debug_flags_handler: Option<bool>,
        seccomp_default: Option<bool>,
        memory_throttling_factor: Option<f64>,
        memory_reservation_policy: Option<String>,
        register_with_taints: Option<Vec<Taint>>,
        register_node: Option<bool>,
        tracing: TracingConfiguration,
        local_storage_capacity_isolation: Option<bool>,
        container_runtime_endpoint: Option<String>,
        image_service_endpoint: Option<String>,
        fail_cgroup_v1: Option<bool>,
        user_namespaces: UserNamespaces,
    }

    /// `authentication`.
    KubeletAuthentication {
        x509: KubeletX509Authentication,
        webhook: KubeletWebhookAuthentication,
        anonymous: KubeletAnonymousAuthentication,
    }

    /// `authentication.x509`.
    KubeletX509Authentication {
        #[serde(rename = "clientCAFile")]
        client_ca_file: Option<String>,
    }

    /// `authentication.webhook`.
    KubeletWebhookAuthentication {
        enabled: Option<bool>,
        #[serde(rename = "cacheTTL")]
        cache_ttl: Option<String>,
    }

    /// `authentication.anonymous`.
    KubeletAnonymousAuthentication {
        enabled: Option<bool>,
    }

    /// `authorization`.
    KubeletAuthorization {
        mode: Option<String>,
        webhook: KubeletWebhookAuthorization,
    }

    /// `authorization.webhook`.
    KubeletWebhookAuthorization {
        #[serde(rename = "cacheAuthorizedTTL")]
        cache_authorized_ttl: Option<String>,
        #[serde(rename = "cacheUnauthorizedTTL")]
        cache_unauthorized_ttl: Option<String>,
    }

    /// `memorySwap`.
    MemorySwapConfiguration {
        swap_behavior: Option<String>,
    }

    /// `logging`.
    LoggingConfiguration {
        format: Option<String>,
        flush_frequency: Option<Value>,
        verbosity: Option<u32>,
        vmodule: Option<Vec<Value>>,
        options: Option<Value>,
    }

    /// `crashLoopBackOff`.
    CrashLoopBackOffConfig {
        max_container_restart_period: Option<String>,
    }

    /// `tracing`.
    TracingConfiguration {
        endpoint: Option<String>,
        sampling_rate_per_million: Option<i32>,
    }

    /// `userNamespaces`.
    UserNamespaces {
        ids_per_pod: Option<i64>,
    }
}

/// One of `shutdownGracePeriodByPodPriority`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShutdownGracePeriodByPodPriority {
    pub priority: i32,
    pub shutdown_grace_period_seconds: i64,
}

/// One of `reservedMemory`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryReservation {
    pub numa_node: i32,
    pub limits: Texts,
}

/// One of `registerWithTaints`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
    pub time_added: Option<String>,
}
