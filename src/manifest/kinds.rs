//! Which kinds there are in Kubernetes 1.36, at which versions, and what we do with each.
//!
//! Adding a kind to what is simulated is moving its line. What is not simulated is decoded all the same, so that a
//! misspelt field in a NetworkPolicy is found here and not by the cluster.

use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates, coordination, core,
    discovery, events, flowcontrol, networking, node, policy, rbac, resource, scheduling, storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;

use super::decode::Context;
use super::problem::nearest;
use super::tree::Node;

macro_rules! kinds {
    (simulated: $($api:literal $kind:literal => $variant:ident($type:ty),)*
     older: $($older_api:literal $older_kind:literal => $newer:ident($older_type:ty),)*
     passed_over: $($other_api:literal $other_kind:literal => $other_type:ty,)*) => {
        /// An object of a kind that we simulate or validate, as it stands in the file: defaults are not filled in.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Decoded {
            $(#[doc = concat!("`", $api, "` ", $kind, ".")] $variant(Box<$type>),)*
        }

        impl Decoded {
            /// Its apiVersion and kind.
            pub fn api_version_and_kind(&self) -> (&'static str, &'static str) {
                match self {
                    $(Decoded::$variant(_) => ($api, $kind),)*
                }
            }
        }

        /// All kinds that a default Kubernetes 1.36 serves as objects of their own.
        const SERVED: &[Served] = &[
            $(Served {
                api_version: $older_api,
                kind: $older_kind,
                decode: |cx, node| {
                    let newer = super::older::newer(&cx.decode::<$older_type>(node)?)?;
                    Some(Decoded::$newer(Box::new(newer)))
                },
            },)*
            $(Served {
                api_version: $api,
                kind: $kind,
                decode: |cx, node| cx.decode::<$type>(node).map(|object| Decoded::$variant(Box::new(object))),
            },)*
            $(Served {
                api_version: $other_api,
                kind: $other_kind,
                decode: |cx, node| {
                    let _ = cx.decode::<$other_type>(node);
                    None
                },
            },)*
        ];
    };
}

/// A kind that is served, and how an object of it is decoded. What is not simulated decodes to `None`.
#[derive(Clone, Copy)]
pub(super) struct Served {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) decode: for<'t> fn(&Context<'t>, &'t Node<'t>) -> Option<Decoded>,
}

kinds! {
    simulated:
    "v1" "ConfigMap" => ConfigMap(core::v1::ConfigMap),
    "v1" "Endpoints" => Endpoints(core::v1::Endpoints),
    "v1" "Event" => Event(core::v1::Event),
    "v1" "LimitRange" => LimitRange(core::v1::LimitRange),
    "v1" "Namespace" => Namespace(core::v1::Namespace),
    "v1" "Node" => Node(core::v1::Node),
    "v1" "PersistentVolume" => PersistentVolume(core::v1::PersistentVolume),
    "v1" "PersistentVolumeClaim" => PersistentVolumeClaim(core::v1::PersistentVolumeClaim),
    "v1" "Pod" => Pod(core::v1::Pod),
    "v1" "PodTemplate" => PodTemplate(core::v1::PodTemplate),
    "v1" "ReplicationController" => ReplicationController(core::v1::ReplicationController),
    "v1" "ResourceQuota" => ResourceQuota(core::v1::ResourceQuota),
    "v1" "Secret" => Secret(core::v1::Secret),
    "v1" "Service" => Service(core::v1::Service),
    "v1" "ServiceAccount" => ServiceAccount(core::v1::ServiceAccount),
    "apps/v1" "ControllerRevision" => ControllerRevision(apps::v1::ControllerRevision),
    "apps/v1" "DaemonSet" => DaemonSet(apps::v1::DaemonSet),
    "apps/v1" "Deployment" => Deployment(apps::v1::Deployment),
    "apps/v1" "ReplicaSet" => ReplicaSet(apps::v1::ReplicaSet),
    "apps/v1" "StatefulSet" => StatefulSet(apps::v1::StatefulSet),
    "autoscaling/v1" "HorizontalPodAutoscaler" => HorizontalPodAutoscalerV1(autoscaling::v1::HorizontalPodAutoscaler),
    "autoscaling/v2" "HorizontalPodAutoscaler" => HorizontalPodAutoscaler(autoscaling::v2::HorizontalPodAutoscaler),
    "batch/v1" "CronJob" => CronJob(batch::v1::CronJob),
    "batch/v1" "Job" => Job(batch::v1::Job),
    "coordination.k8s.io/v1" "Lease" => Lease(coordination::v1::Lease),
    "discovery.k8s.io/v1" "EndpointSlice" => EndpointSlice(discovery::v1::EndpointSlice),
    "node.k8s.io/v1" "RuntimeClass" => RuntimeClass(node::v1::RuntimeClass),
    "policy/v1" "PodDisruptionBudget" => PodDisruptionBudget(policy::v1::PodDisruptionBudget),
    "resource.k8s.io/v1" "DeviceClass" => DeviceClass(resource::v1::DeviceClass),
    "resource.k8s.io/v1" "ResourceClaim" => ResourceClaim(resource::v1::ResourceClaim),
    "resource.k8s.io/v1" "ResourceClaimTemplate" => ResourceClaimTemplate(resource::v1::ResourceClaimTemplate),
    "resource.k8s.io/v1" "ResourceSlice" => ResourceSlice(resource::v1::ResourceSlice),
    "scheduling.k8s.io/v1" "PriorityClass" => PriorityClass(scheduling::v1::PriorityClass),
    "storage.k8s.io/v1" "CSIDriver" => CSIDriver(storage::v1::CSIDriver),
    "storage.k8s.io/v1" "CSINode" => CSINode(storage::v1::CSINode),
    "storage.k8s.io/v1" "CSIStorageCapacity" => CSIStorageCapacity(storage::v1::CSIStorageCapacity),
    "storage.k8s.io/v1" "StorageClass" => StorageClass(storage::v1::StorageClass),
    "storage.k8s.io/v1" "VolumeAttachment" => VolumeAttachment(storage::v1::VolumeAttachment),
    older:
    "resource.k8s.io/v1beta1" "DeviceClass" => DeviceClass(resource::v1beta1::DeviceClass),
    "resource.k8s.io/v1beta1" "ResourceClaim" => ResourceClaim(resource::v1beta1::ResourceClaim),
    "resource.k8s.io/v1beta1" "ResourceClaimTemplate" => ResourceClaimTemplate(resource::v1beta1::ResourceClaimTemplate),
    "resource.k8s.io/v1beta1" "ResourceSlice" => ResourceSlice(resource::v1beta1::ResourceSlice),
    "resource.k8s.io/v1beta2" "DeviceClass" => DeviceClass(resource::v1beta2::DeviceClass),
    "resource.k8s.io/v1beta2" "ResourceClaim" => ResourceClaim(resource::v1beta2::ResourceClaim),
    "resource.k8s.io/v1beta2" "ResourceClaimTemplate" => ResourceClaimTemplate(resource::v1beta2::ResourceClaimTemplate),
    "resource.k8s.io/v1beta2" "ResourceSlice" => ResourceSlice(resource::v1beta2::ResourceSlice),
    passed_over:
    "admissionregistration.k8s.io/v1" "MutatingAdmissionPolicy" => admissionregistration::v1::MutatingAdmissionPolicy,
    "admissionregistration.k8s.io/v1" "MutatingAdmissionPolicyBinding" => admissionregistration::v1::MutatingAdmissionPolicyBinding,
    "admissionregistration.k8s.io/v1" "MutatingWebhookConfiguration" => admissionregistration::v1::MutatingWebhookConfiguration,
    "admissionregistration.k8s.io/v1" "ValidatingAdmissionPolicy" => admissionregistration::v1::ValidatingAdmissionPolicy,
    "admissionregistration.k8s.io/v1" "ValidatingAdmissionPolicyBinding" => admissionregistration::v1::ValidatingAdmissionPolicyBinding,
    "admissionregistration.k8s.io/v1" "ValidatingWebhookConfiguration" => admissionregistration::v1::ValidatingWebhookConfiguration,
    "apiextensions.k8s.io/v1" "CustomResourceDefinition" => apiextensions::v1::CustomResourceDefinition,
    "apiregistration.k8s.io/v1" "APIService" => apiregistration::v1::APIService,
    "authentication.k8s.io/v1" "SelfSubjectReview" => authentication::v1::SelfSubjectReview,
    "authentication.k8s.io/v1" "TokenReview" => authentication::v1::TokenReview,
    "authorization.k8s.io/v1" "LocalSubjectAccessReview" => authorization::v1::LocalSubjectAccessReview,
    "authorization.k8s.io/v1" "SelfSubjectAccessReview" => authorization::v1::SelfSubjectAccessReview,
    "authorization.k8s.io/v1" "SelfSubjectRulesReview" => authorization::v1::SelfSubjectRulesReview,
    "authorization.k8s.io/v1" "SubjectAccessReview" => authorization::v1::SubjectAccessReview,
    "certificates.k8s.io/v1" "CertificateSigningRequest" => certificates::v1::CertificateSigningRequest,
    "events.k8s.io/v1" "Event" => events::v1::Event,
    "flowcontrol.apiserver.k8s.io/v1" "FlowSchema" => flowcontrol::v1::FlowSchema,
    "flowcontrol.apiserver.k8s.io/v1" "PriorityLevelConfiguration" => flowcontrol::v1::PriorityLevelConfiguration,
    "networking.k8s.io/v1" "IPAddress" => networking::v1::IPAddress,
    "networking.k8s.io/v1" "Ingress" => networking::v1::Ingress,
    "networking.k8s.io/v1" "IngressClass" => networking::v1::IngressClass,
    "networking.k8s.io/v1" "NetworkPolicy" => networking::v1::NetworkPolicy,
    "networking.k8s.io/v1" "ServiceCIDR" => networking::v1::ServiceCIDR,
    "rbac.authorization.k8s.io/v1" "ClusterRole" => rbac::v1::ClusterRole,
    "rbac.authorization.k8s.io/v1" "ClusterRoleBinding" => rbac::v1::ClusterRoleBinding,
    "rbac.authorization.k8s.io/v1" "Role" => rbac::v1::Role,
    "rbac.authorization.k8s.io/v1" "RoleBinding" => rbac::v1::RoleBinding,
    "storage.k8s.io/v1" "VolumeAttributesClass" => storage::v1::VolumeAttributesClass,
    "v1" "Binding" => core::v1::Binding,
    "v1" "ComponentStatus" => core::v1::ComponentStatus,
}

/// Kinds that Kubernetes has behind a switch or as a sub-resource, or had and dropped without a successor.
const NOT_SERVED: &[&str] = &[
    "ClusterTrustBundle",
    "DeviceTaintRule",
    "Eviction",
    "ExternalMetricSource",
    "InitializerConfiguration",
    "LeaseCandidate",
    "PodCertificateRequest",
    "PodGroup",
    "PodPreset",
    "PodSecurityPolicy",
    "ResourceClass",
    "ResourceClaimParameters",
    "ResourceClassParameters",
    "ResourcePoolStatusRequest",
    "PodSchedulingContext",
    "Scale",
    "StorageVersion",
    "StorageVersionMigration",
    "ThirdPartyResource",
    "TokenRequest",
    "Workload",
];

/// The groups that are Kubernetes' own, or were.
const OWN_GROUPS: &[&str] = &[
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "settings.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// What an apiVersion and a kind are.
pub(super) enum Known {
    /// Served; decode it.
    Served(&'static Served),
    /// A kind of somebody else's; passed over.
    Foreign,
    /// Kubernetes has or had it, but a default cluster does not serve it.
    NotServed,
    /// Served, but under this other apiVersion. `group` says whether it is another group's.
    Elsewhere { served: &'static Served, group: bool },
    /// No such kind; perhaps this one was meant.
    Unknown { nearest: Option<String> },
}

/// Looks a kind up.
pub(super) fn look_up(api_version: &str, kind: &str) -> Known {
    if let Some(served) = SERVED.iter().find(|s| s.kind == kind && s.api_version == api_version) {
        return Known::Served(served);
    }
    let group = group_of(api_version);
    if !OWN_GROUPS.contains(&group) {
        // A group that is one letter off, such as `app/v1`, is a slip; others' groups have dots.
        let meant = if group.contains('.') { None } else { nearest(api_version, SERVED.iter().map(|s| s.api_version)) };
        let meant = meant.and_then(|meant| SERVED.iter().find(|s| s.kind == kind && s.api_version == meant));
        return meant.map_or(Known::Foreign, |served| Known::Elsewhere { served, group: true });
    }
    if NOT_SERVED.contains(&kind) {
        return Known::NotServed;
    }
    let same_kind = || SERVED.iter().filter(|s| s.kind == kind);
    // The last of a group is its newest.
    if let Some(served) = same_kind().rfind(|s| group_of(s.api_version) == group).or_else(|| same_kind().next()) {
        return Known::Elsewhere { served, group: group_of(served.api_version) != group };
    }
    let in_group = SERVED.iter().filter(|s| s.api_version == api_version).map(|s| s.kind);
    let meant = nearest(kind, in_group).or_else(|| nearest(kind, SERVED.iter().map(|s| s.kind)));
    let meant = meant.and_then(|meant| {
        let here = SERVED.iter().find(|s| s.kind == meant && s.api_version == api_version);
        here.or_else(|| SERVED.iter().find(|s| s.kind == meant))
    });
    Known::Unknown { nearest: meant.map(|s| format!("`{}` ({})", s.kind, s.api_version)) }
}

/// The group of an apiVersion; the core group's name is empty.
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(api_version: &str, kind: &str, want: &str) {
        let got = match look_up(api_version, kind) {
            Known::Served(served) => format!("served {}", served.api_version),
            Known::Foreign => "foreign".to_owned(),
            Known::NotServed => "not served".to_owned(),
            Known::Elsewhere { served, .. } => format!("use {}", served.api_version),
            Known::Unknown { nearest } => format!("unknown, {}", nearest.as_deref().unwrap_or("nothing near")),
        };
        assert_eq!(got, want, "{api_version} {kind}");
    }

    #[test]
    fn kinds_are_found_and_slips_are_named() {
        check("v1", "Pod", "served v1");
        check("v1", "pod", "unknown, `Pod` (v1)");
        check("v1", "Deployment", "use apps/v1");
        check("extensions/v1beta1", "Deployment", "use apps/v1");
        check("apps/v1beta2", "StatefulSet", "use apps/v1");
        check("app/v1", "Deployment", "use apps/v1");
        check("policy/v1beta1", "PodSecurityPolicy", "not served");
        check("policy/v1beta1", "PodDisruptionBudget", "use policy/v1");
        check("autoscaling/v2beta2", "HorizontalPodAutoscaler", "use autoscaling/v2");
        check("apps/v1", "Deploymnet", "unknown, `Deployment` (apps/v1)");
        check("apps/v1", "Banana", "unknown, nothing near");
        check("example.dev/v1", "Widget", "foreign");
        check("gateway.networking.k8s.io/v1", "Gateway", "foreign");
        check("events.k8s.io/v1", "Event", "served events.k8s.io/v1");
    }
}
