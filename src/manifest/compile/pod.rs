//! Pods and pod templates: the spec with its defaults.
//!
//! Kubernetes: pkg/apis/core/v1/defaults.go, pkg/apis/core/validation/validation.go (ValidatePodSpec). Requests are
//! taken from limits in templates too, where the API server does it when the pod is made: nobody can tell, and pods
//! share their template's spec. The token volume that a dump's pods carry is `automount_token`.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::model::pod::RestartPolicy;
use crate::model::workload::PodTemplate;
use crate::model::{Kind, Name, Object, Pod, PodSpec, pod};

use super::context::{Context, name, plain_labels, text};
use super::path::Path;

/// Whose pod spec it is: a template's may run by other rules than a pod's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Pod,
    /// Template of a ReplicaSet, Deployment, StatefulSet, DaemonSet: always restarted.
    Service,
    /// Template of a Job: restarted on failure or never.
    Job,
}

impl Context<'_> {
    /// A Pod, with its status if it has one: then it is the state from which a run begins.
    pub(super) fn pod(&mut self, pod: &core::Pod) -> Object {
        let meta = self.meta(Kind::Pod, &pod.metadata);
        let at = Path::Root.field("spec");
        let spec = match &pod.spec {
            Some(spec) => self.pod_spec(&at, spec, Of::Pod),
            None => {
                self.required(&at.field("containers"), "");
                Arc::default()
            }
        };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).filter(|node| !node.is_empty());
        if node.is_some() && !spec.scheduling_gates.is_empty() {
            self.forbidden(&at.field("nodeName"), "cannot be set until all schedulingGates have been cleared");
        }
        let node = node.map(Name::from);
        let status = pod.status.as_ref().map(|status| self.pod_status(status, &spec)).unwrap_or_default();
        Object::Pod(Arc::new(Pod { meta, spec, node, status }))
    }

    /// A workload's template; its labels and annotations stay, the rest of its metadata has no meaning.
    pub(super) fn template(&mut self, at: &Path<'_>, template: &core::PodTemplateSpec, of: Of) -> Arc<PodTemplate> {
        let none = ObjectMeta::default();
        let metadata = template.metadata.as_ref().unwrap_or(&none);
        let labels = self.labels(&at.field("metadata").field("labels"), metadata.labels.as_ref());
        let annotations = plain_labels(metadata.annotations.as_ref());
        let spec_at = at.field("spec");
        let spec = match &template.spec {
            Some(spec) => self.pod_spec(&spec_at, spec, of),
            None => {
                self.required(&spec_at.field("containers"), "");
                Arc::default()
            }
        };
        self.shared.template(PodTemplate { labels, annotations, spec })
    }

    fn pod_spec(&mut self, at: &Path<'_>, spec: &core::PodSpec, of: Of) -> Arc<PodSpec> {
        let restart_policy = self.pod_restart_policy(at, spec.restart_policy.as_ref(), of);
        let volumes = self.volumes(at, spec.volumes.as_deref().unwrap_or_default());
        let host_network = spec.host_network == Some(true);
        let containers_at = at.field("containers");
        let inits_at = at.field("initContainers");
        if spec.containers.is_empty() {
            self.required(&containers_at, "");
        }
        let inits = spec.init_containers.as_deref().unwrap_or_default();
        let containers = self.containers(&containers_at, &spec.containers, spec, of, false);
        let init_containers = self.containers(&inits_at, inits, spec, of, true);
        let ephemeral = spec.ephemeral_containers.as_deref().unwrap_or_default();
        let ephemeral_at = at.field("ephemeralContainers");
        if !ephemeral.is_empty() && !matches!(at, Path::Field(Path::Root, _)) {
            self.forbidden(&ephemeral_at, "ephemeral containers not allowed in pod template");
        } else if !ephemeral.is_empty() && !self.stored {
            self.forbidden(&ephemeral_at, "cannot be set on create");
        }
        let ephemeral_containers = self.ephemeral_containers(&ephemeral_at, ephemeral, spec);
        self.names_once(&containers_at, &spec.containers, &[]);
        self.names_once(&inits_at, inits, &spec.containers);
        self.host_ports_once(&containers_at, &containers);
        let grace = match spec.termination_grace_period_seconds {
            // Kubernetes keeps a negative grace period as the shortest one.
            Some(seconds) if seconds < 0 => 1,
            Some(seconds) => seconds,
            None => 30,
        };
        let service_account = spec.service_account_name.as_ref().or(spec.service_account.as_ref());
        let resources = spec.resources.as_ref().map(|resources| {
            let mut all = self.requirements(&at.field("resources"), Some(resources));
            if resources.limits.is_some() {
                // The requests of the containers go before the pod's own limits.
                let sums = PodSpec {
                    containers: containers.clone().into(),
                    init_containers: init_containers.clone().into(),
                    ..PodSpec::default()
                }
                .aggregate(|container| container.resources.requests.amounts());
                let named = |resource: &str| {
                    resources.requests.as_ref().is_some_and(|requests| requests.contains_key(resource))
                };
                if !named("cpu") && sums.cpu.0 > 0 {
                    all.requests.cpu = Some(sums.cpu);
                }
                if !named("memory") && sums.memory.0 > 0 {
                    all.requests.memory = Some(sums.memory);
                }
            }
            Box::new(all)
        });
        let overhead = spec.overhead.as_ref().map(|overhead| {
            let list = self.resource_list(&at.field("overhead"), Some(overhead));
            Box::new(list.amounts())
        });
        let preempts_never = self.word_or(
            &at.field("preemptionPolicy"),
            spec.preemption_policy.as_ref(),
            false,
            &[("Never", true), ("PreemptLowerPriority", false)],
        );
        let source = if of == Of::Pod { None } else { self.source_of(at) };
        let compiled = PodSpec {
            restart_policy,
            termination_grace: self.seconds(&at.field("terminationGracePeriodSeconds"), grace),
            active_deadline: spec.active_deadline_seconds.map(|seconds| {
                let here = at.field("activeDeadlineSeconds");
                if seconds < 1 {
                    self.bad(&here, seconds, "must be between 1 and 2147483647, inclusive");
                }
                self.seconds(&here, seconds.max(0))
            }),
            node_selector: self.labels(&at.field("nodeSelector"), spec.node_selector.as_ref()),
            affinity: self.affinity(&at.field("affinity"), spec.affinity.as_ref()),
            tolerations: self.tolerations(&at.field("tolerations"), spec.tolerations.as_deref().unwrap_or_default()),
            topology_spread: self.topology_spread(
                &at.field("topologySpreadConstraints"),
                spec.topology_spread_constraints.as_deref().unwrap_or_default(),
            ),
            scheduler_name: match text(spec.scheduler_name.as_ref()) {
                "" => Name::new("default-scheduler"),
                other => Name::new(other),
            },
            priority: spec.priority.unwrap_or(0),
            priority_class: name(spec.priority_class_name.as_ref()),
            preempts_never,
            host_network,
            host_pid: spec.host_pid == Some(true),
            host_ipc: spec.host_ipc == Some(true),
            share_process_namespace: spec.share_process_namespace == Some(true),
            enable_service_links: spec.enable_service_links != Some(false),
            dns: self.dns(at, spec),
            host_aliases: host_aliases(spec.host_aliases.as_deref().unwrap_or_default()),
            host_users: spec.host_users != Some(false),
            volumes,
            service_account: name(service_account),
            automount_token: spec.automount_service_account_token != Some(false),
            overhead,
            resources,
            readiness_gates: spec
                .readiness_gates
                .iter()
                .flatten()
                .map(|gate| Name::from(&gate.condition_type))
                .collect(),
            scheduling_gates: spec.scheduling_gates.iter().flatten().map(|gate| Name::from(&gate.name)).collect(),
            hostname: name(spec.hostname.as_ref()),
            subdomain: name(spec.subdomain.as_ref()),
            runtime_class: name(spec.runtime_class_name.as_ref()),
            resource_claims: self
                .pod_claims(&at.field("resourceClaims"), spec.resource_claims.as_deref().unwrap_or_default()),
            image_pull_secrets: spec
                .image_pull_secrets
                .iter()
                .flatten()
                .map(|secret| Name::from(&secret.name))
                .collect(),
            os: spec.os.as_ref().map(|os| Name::from(&os.name)).unwrap_or_default(),
            security: pod_security(spec.security_context.as_ref()),
            source,
            containers: containers.into(),
            init_containers: init_containers.into(),
            ephemeral_containers: ephemeral_containers.into(),
        };
        self.mounts_have_volumes(at, &compiled);
        self.shared.spec(compiled)
    }

    /// None for what is assumed anyway.
    fn dns(&mut self, at: &Path<'_>, spec: &core::PodSpec) -> Option<Arc<pod::Dns>> {
        const POLICIES: &[(&str, pod::DnsPolicy)] = &[
            ("ClusterFirst", pod::DnsPolicy::ClusterFirst),
            ("ClusterFirstWithHostNet", pod::DnsPolicy::ClusterFirstWithHostNet),
            ("Default", pod::DnsPolicy::Default),
            ("None", pod::DnsPolicy::None),
        ];
        let default = pod::DnsPolicy::ClusterFirst;
        let policy = self.word_or(&at.field("dnsPolicy"), spec.dns_policy.as_ref(), default, POLICIES);
        let names = |list: Option<&Vec<String>>| list.into_iter().flatten().map(Name::from).collect();
        let config = spec.dns_config.as_ref();
        let options = config.and_then(|config| config.options.as_ref()).into_iter().flatten();
        let dns = pod::Dns {
            policy,
            nameservers: names(config.and_then(|config| config.nameservers.as_ref())),
            searches: names(config.and_then(|config| config.searches.as_ref())),
            options: options
                .map(|option| (name(option.name.as_ref()), option.value.as_ref().map(Name::from)))
                .collect(),
        };
        (dns != pod::Dns::default()).then(|| Arc::new(dns))
    }

    fn pod_restart_policy(&mut self, at: &Path<'_>, policy: Option<&String>, of: Of) -> RestartPolicy {
        let here = at.field("restartPolicy");
        let policy = self.word_or(&here, policy, RestartPolicy::Always, RESTART_POLICIES);
        match of {
            Of::Service if policy != RestartPolicy::Always => {
                let word = if policy == RestartPolicy::Never { "Never" } else { "OnFailure" };
                self.unsupported(&here, word, &["Always"]);
            }
            Of::Job if policy == RestartPolicy::Always => {
                self.required(&here, "valid values: \"OnFailure\", \"Never\"");
            }
            _ => {}
        }
        policy
    }

    fn names_once(&mut self, at: &Path<'_>, containers: &[core::Container], others: &[core::Container]) {
        for (index, container) in containers.iter().enumerate() {
            let earlier = containers.iter().take(index).chain(others);
            if !container.name.is_empty() && earlier.into_iter().any(|other| other.name == container.name) {
                let here = at.index(index);
                self.duplicate(&here.field("name"), format!("{:?}", container.name));
            }
        }
    }

    fn host_ports_once(&mut self, at: &Path<'_>, containers: &[pod::Container]) {
        let mut seen: Vec<(pod::Protocol, Name, u16)> = Vec::new();
        for (index, container) in containers.iter().enumerate() {
            for (port_index, port) in container.ports.iter().enumerate() {
                let bound = (port.protocol, port.host_ip, port.host_port);
                if port.host_port == 0 {
                    continue;
                }
                if seen.contains(&bound) {
                    let container_at = at.index(index);
                    let ports_at = container_at.field("ports");
                    let here = ports_at.index(port_index);
                    let value = format!("\"{}/{}/{}\"", protocol_word(port.protocol), port.host_ip, port.host_port);
                    self.duplicate(&here.field("hostPort"), value);
                }
                seen.push(bound);
            }
        }
    }

    fn mounts_have_volumes(&mut self, at: &Path<'_>, spec: &PodSpec) {
        // A StatefulSet's claim templates are volumes too, so a template's mounts are looked at by the workload.
        if !matches!(at, Path::Field(Path::Root, _)) {
            return;
        }
        for (list, containers) in [("initContainers", &spec.init_containers), ("containers", &spec.containers)] {
            for (index, container) in containers.iter().enumerate() {
                self.mounts_are_among(at, list, index, container, |mount| {
                    spec.volumes.iter().any(|volume| volume.name == mount)
                });
            }
        }
    }

    /// Says which mounts of a container have no volume.
    pub(super) fn mounts_are_among(
        &mut self,
        at: &Path<'_>,
        list: &str,
        index: usize,
        container: &pod::Container,
        is_volume: impl Fn(Name) -> bool,
    ) {
        for (mount_index, mount) in container.volume_mounts.iter().enumerate() {
            if !is_volume(mount.volume) {
                let containers_at = at.field(list);
                let container_at = containers_at.index(index);
                let mounts_at = container_at.field("volumeMounts");
                let mount_at = mounts_at.index(mount_index);
                self.not_found(&mount_at.field("name"), format!("{:?}", mount.volume.as_str()));
            }
        }
    }
}

/// The words of `restartPolicy`.
pub(super) const RESTART_POLICIES: &[(&str, RestartPolicy)] =
    &[("Always", RestartPolicy::Always), ("Never", RestartPolicy::Never), ("OnFailure", RestartPolicy::OnFailure)];

pub(super) fn protocol_word(protocol: pod::Protocol) -> &'static str {
    match protocol {
        pod::Protocol::Tcp => "TCP",
        pod::Protocol::Udp => "UDP",
        pod::Protocol::Sctp => "SCTP",
    }
}

fn host_aliases(aliases: &[core::HostAlias]) -> Vec<pod::HostAlias> {
    let compile = |alias: &core::HostAlias| pod::HostAlias {
        ip: Name::from(&alias.ip),
        hostnames: alias.hostnames.iter().flatten().map(Name::from).collect(),
    };
    aliases.iter().map(compile).collect()
}

fn pod_security(context: Option<&core::PodSecurityContext>) -> pod::SecurityContext {
    let Some(context) = context else { return pod::SecurityContext::default() };
    pod::SecurityContext {
        run_as_user: context.run_as_user,
        run_as_group: context.run_as_group,
        run_as_non_root: context.run_as_non_root,
        fs_group: context.fs_group,
        seccomp: context.seccomp_profile.as_ref().map(super::container::seccomp),
        supplemental_groups: context.supplemental_groups.clone().unwrap_or_default(),
        sysctls: context
            .sysctls
            .iter()
            .flatten()
            .map(|sysctl| (Name::from(&sysctl.name), Name::from(&sysctl.value)))
            .collect(),
        ..pod::SecurityContext::default()
    }
}
