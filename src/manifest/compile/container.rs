//! Containers: image, ports, environment, probes, hooks.
//!
//! Kubernetes: pkg/apis/core/v1/defaults.go (SetDefaults_Container, SetDefaults_Probe, SetDefaults_HTTPGetAction).

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kernel::Duration;
use crate::model::pod::{
    ConfigSource, Container, ContainerPort, EnvFrom, EnvValue, EnvVar, Handler, ImagePullPolicy, MountPropagation,
    PortRef, Probe, Protocol, RestartPolicy, RestartRule, Seccomp, SecurityContext, VolumeMount,
};
use crate::model::{Name, Text};

use super::context::{Context, name, text};
use super::path::Path;
use super::pod::{Of, RESTART_POLICIES};
use super::volume::is_token_volume_name;

impl Context<'_> {
    pub(super) fn containers(
        &mut self,
        at: &Path<'_>,
        containers: &[core::Container],
        spec: &core::PodSpec,
        of: Of,
        init: bool,
    ) -> Vec<Container> {
        let host_network = spec.host_network == Some(true);
        let compile = |(index, container): (usize, &core::Container)| {
            let here = at.index(index);
            let mut compiled = self.container(&here, container, host_network, init);
            let claims = container.resources.as_ref().and_then(|resources| resources.claims.as_deref());
            if let Some(claims) = claims {
                let of_pod = spec.resource_claims.as_deref().unwrap_or_default();
                let at = here.field("resources");
                compiled.claims = self.container_claims(&at.field("claims"), claims, of_pod);
            }
            compiled.source = if of == Of::Pod { None } else { self.source_of(&here) };
            compiled
        };
        containers.iter().enumerate().map(compile).collect()
    }

    /// Ephemeral containers: what they may not have is refused where they are added, by the API server.
    pub(super) fn ephemeral_containers(
        &mut self,
        at: &Path<'_>,
        containers: &[core::EphemeralContainer],
        spec: &core::PodSpec,
    ) -> Vec<Container> {
        let host_network = spec.host_network == Some(true);
        let compile = |(index, container): (usize, &core::EphemeralContainer)| Container {
            target: name(container.target_container_name.as_ref()),
            ..self.container(&at.index(index), &as_container(container), host_network, false)
        };
        containers.iter().enumerate().map(compile).collect()
    }

    fn container(&mut self, at: &Path<'_>, container: &core::Container, host_network: bool, init: bool) -> Container {
        self.dns_label(&at.field("name"), &container.name);
        let image = text(container.image.as_ref());
        if image.is_empty() {
            self.required(&at.field("image"), "");
        } else if image.trim() != image {
            self.bad(&at.field("image"), format!("{image:?}"), "must not have leading or trailing whitespace");
        }
        let restart_policy = container
            .restart_policy
            .as_deref()
            .and_then(|policy| self.word(&at.field("restartPolicy"), policy, RESTART_POLICIES));
        if init && restart_policy != Some(RestartPolicy::Always) {
            let forbidden = "may not be set for init containers without restartPolicy=Always";
            for (field, is_set) in [
                ("lifecycle", container.lifecycle.is_some()),
                ("livenessProbe", container.liveness_probe.is_some()),
                ("readinessProbe", container.readiness_probe.is_some()),
                ("startupProbe", container.startup_probe.is_some()),
            ] {
                if is_set {
                    self.forbidden(&at.field(field), forbidden);
                }
            }
        }
        let texts = |list: Option<&Vec<String>>| list.into_iter().flatten().map(Text::new).collect();
        let lifecycle = container.lifecycle.as_ref();
        let lifecycle_at = at.field("lifecycle");
        Container {
            name: Name::from(&container.name),
            image: Name::new(image),
            image_pull_policy: self.word_or(
                &at.field("imagePullPolicy"),
                container.image_pull_policy.as_ref(),
                default_pull_policy(image),
                PULL_POLICIES,
            ),
            command: texts(container.command.as_ref()),
            args: texts(container.args.as_ref()),
            working_dir: name(container.working_dir.as_ref()),
            ports: self.ports(&at.field("ports"), container.ports.as_deref().unwrap_or_default(), host_network),
            env: self.env(&at.field("env"), container.env.as_deref().unwrap_or_default()),
            env_from: self.env_from(&at.field("envFrom"), container.env_from.as_deref().unwrap_or_default()),
            resources: self.requirements(&at.field("resources"), container.resources.as_ref()),
            claims: Vec::new(),
            liveness: self.probe(&at.field("livenessProbe"), container.liveness_probe.as_ref(), true),
            readiness: self.probe(&at.field("readinessProbe"), container.readiness_probe.as_ref(), false),
            startup: self.probe(&at.field("startupProbe"), container.startup_probe.as_ref(), true),
            post_start: self.hook(&lifecycle_at.field("postStart"), lifecycle.and_then(|l| l.post_start.as_ref())),
            pre_stop: self.hook(&lifecycle_at.field("preStop"), lifecycle.and_then(|l| l.pre_stop.as_ref())),
            restart_policy,
            restart_rules: self.restart_rules(
                &at.field("restartPolicyRules"),
                container.restart_policy_rules.as_deref().unwrap_or_default(),
            ),
            resize_policy: container
                .resize_policy
                .iter()
                .flatten()
                .map(|policy| (Name::from(&policy.resource_name), policy.restart_policy == "RestartContainer"))
                .collect(),
            volume_mounts: self
                .volume_mounts(&at.field("volumeMounts"), container.volume_mounts.as_deref().unwrap_or_default()),
            security: security(container.security_context.as_ref()),
            termination_message_path: match text(container.termination_message_path.as_ref()) {
                "" => Name::new("/dev/termination-log"),
                path => Name::new(path),
            },
            message_from_logs: self.word_or(
                &at.field("terminationMessagePolicy"),
                container.termination_message_policy.as_ref(),
                false,
                &[("FallbackToLogsOnError", true), ("File", false)],
            ),
            stdin: container.stdin == Some(true),
            stdin_once: container.stdin_once == Some(true),
            tty: container.tty == Some(true),
            target: Name::default(),
            source: None,
        }
    }

    fn ports(&mut self, at: &Path<'_>, ports: &[core::ContainerPort], host_network: bool) -> Vec<ContainerPort> {
        let compile = |(index, port): (usize, &core::ContainerPort)| {
            let here = at.index(index);
            let number_at = here.field("containerPort");
            let number = if port.container_port == 0 {
                self.required(&number_at, "");
                0
            } else {
                self.port(&number_at, port.container_port)
            };
            let host_port = match port.host_port {
                Some(0) | None if host_network => number,
                Some(0) | None => 0,
                Some(host_port) => self.port(&here.field("hostPort"), host_port),
            };
            if host_network && host_port != number {
                self.bad(&here.field("containerPort"), number, "must match `hostPort` when `hostNetwork` is true");
            }
            let protocol = self.protocol(&here.field("protocol"), port.protocol.as_ref());
            let host_ip = name(port.host_ip.as_ref());
            ContainerPort { name: name(port.name.as_ref()), port: number, host_port, host_ip, protocol }
        };
        ports.iter().enumerate().map(compile).collect()
    }

    pub(super) fn protocol(&mut self, at: &Path<'_>, protocol: Option<&String>) -> Protocol {
        const PROTOCOLS: &[(&str, Protocol)] =
            &[("SCTP", Protocol::Sctp), ("TCP", Protocol::Tcp), ("UDP", Protocol::Udp)];
        self.word_or(at, protocol, Protocol::Tcp, PROTOCOLS)
    }

    fn env(&mut self, at: &Path<'_>, env: &[core::EnvVar]) -> Vec<EnvVar> {
        let compile = |(index, var): (usize, &core::EnvVar)| {
            let here = at.index(index);
            if var.name.is_empty() {
                self.required(&here.field("name"), "");
            }
            let from_at = here.field("valueFrom");
            let value = match &var.value_from {
                None => EnvValue::Literal(Text::new(text(var.value.as_ref()))),
                Some(_) if var.value.as_ref().is_some_and(|value| !value.is_empty()) => {
                    self.bad(&from_at, "\"\"", "may not be specified when `value` is not empty");
                    return None;
                }
                Some(from) => self.env_value_from(&from_at, from)?,
            };
            Some(EnvVar { name: Name::from(&var.name), value })
        };
        env.iter().enumerate().filter_map(compile).collect()
    }

    fn env_value_from(&mut self, at: &Path<'_>, from: &core::EnvVarSource) -> Option<EnvValue> {
        if let Some(key) = &from.config_map_key_ref {
            return Some(EnvValue::ConfigMapKey {
                config_map: Name::from(&key.name),
                key: Name::from(&key.key),
                optional: key.optional == Some(true),
            });
        }
        if let Some(key) = &from.secret_key_ref {
            return Some(EnvValue::SecretKey {
                secret: Name::from(&key.name),
                key: Name::from(&key.key),
                optional: key.optional == Some(true),
            });
        }
        if let Some(file) = &from.file_key_ref {
            return Some(EnvValue::FileKey {
                volume: Name::from(&file.volume_name),
                path: Name::from(&file.path),
                key: Name::from(&file.key),
                optional: file.optional == Some(true),
            });
        }
        if let Some(field) = &from.field_ref {
            return Some(EnvValue::Field(Name::from(&field.field_path)));
        }
        if let Some(field) = &from.resource_field_ref {
            return Some(resource_field(field));
        }
        self.bad(
            at,
            "\"\"",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        );
        None
    }

    fn env_from(&mut self, at: &Path<'_>, sources: &[core::EnvFromSource]) -> Vec<EnvFrom> {
        let compile = |(index, source): (usize, &core::EnvFromSource)| {
            let prefix = name(source.prefix.as_ref());
            if let Some(from) = &source.config_map_ref {
                let optional = from.optional == Some(true);
                return Some(EnvFrom { from: ConfigSource::ConfigMap(Name::from(&from.name)), prefix, optional });
            }
            if let Some(from) = &source.secret_ref {
                let optional = from.optional == Some(true);
                return Some(EnvFrom { from: ConfigSource::Secret(Name::from(&from.name)), prefix, optional });
            }
            self.bad(&at.index(index), "\"\"", "must specify one of: `configMapRef` or `secretRef`");
            None
        };
        sources.iter().enumerate().filter_map(compile).collect()
    }

    fn probe(&mut self, at: &Path<'_>, probe: Option<&core::Probe>, success_is_one: bool) -> Option<Arc<Probe>> {
        let probe = probe?;
        let handlers = [
            ("exec", probe.exec.is_some()),
            ("httpGet", probe.http_get.is_some()),
            ("tcpSocket", probe.tcp_socket.is_some()),
            ("grpc", probe.grpc.is_some()),
        ];
        self.one_handler(at, &handlers);
        let handler = if let Some(exec) = &probe.exec {
            self.exec(&at.field("exec"), exec)
        } else if let Some(get) = &probe.http_get {
            self.http_get(&at.field("httpGet"), get)
        } else if let Some(tcp) = &probe.tcp_socket {
            self.tcp_socket(&at.field("tcpSocket"), tcp)
        } else {
            let grpc = probe.grpc.as_ref()?;
            let port = self.port(&at.field("grpc").field("port"), grpc.port);
            Handler::Grpc { port, service: name(grpc.service.as_ref()) }
        };
        let mut number = |field: &str, value: Option<i32>, default: i32| {
            // Zero is as good as absent (SetDefaults_Probe).
            let value = value.filter(|value| *value != 0).unwrap_or(default);
            self.not_negative(&at.field(field), value)
        };
        let initial_delay = number("initialDelaySeconds", probe.initial_delay_seconds, 0);
        let timeout = number("timeoutSeconds", probe.timeout_seconds, 1);
        let period = number("periodSeconds", probe.period_seconds, 10);
        let success = number("successThreshold", probe.success_threshold, 1);
        let failure = number("failureThreshold", probe.failure_threshold, 3);
        if success_is_one && success > 1 {
            self.bad(&at.field("successThreshold"), success, "must be 1");
        }
        let grace_at = at.field("terminationGracePeriodSeconds");
        if let Some(grace) = probe.termination_grace_period_seconds {
            if !success_is_one {
                self.bad(&grace_at, grace, "must not be set for readinessProbes");
            } else if grace < 1 {
                self.bad(&grace_at, grace, "must be greater than 0");
            }
        }
        Some(Arc::new(Probe {
            handler,
            initial_delay: Duration::from_secs(initial_delay),
            period: Duration::from_secs(period),
            timeout: Duration::from_secs(timeout),
            success_threshold: success as u32,
            failure_threshold: failure as u32,
            termination_grace: probe
                .termination_grace_period_seconds
                .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
        }))
    }

    fn hook(&mut self, at: &Path<'_>, hook: Option<&core::LifecycleHandler>) -> Option<Arc<Handler>> {
        let hook = hook?;
        let handlers = [
            ("exec", hook.exec.is_some()),
            ("httpGet", hook.http_get.is_some()),
            ("tcpSocket", hook.tcp_socket.is_some()),
            ("sleep", hook.sleep.is_some()),
        ];
        self.one_handler(at, &handlers);
        Some(Arc::new(if let Some(exec) = &hook.exec {
            self.exec(&at.field("exec"), exec)
        } else if let Some(get) = &hook.http_get {
            self.http_get(&at.field("httpGet"), get)
        } else if let Some(tcp) = &hook.tcp_socket {
            self.tcp_socket(&at.field("tcpSocket"), tcp)
        } else {
            let sleep = hook.sleep.as_ref()?;
            Handler::Sleep(self.seconds(&at.field("sleep").field("seconds"), sleep.seconds))
        }))
    }

    fn one_handler(&mut self, at: &Path<'_>, handlers: &[(&str, bool)]) {
        let mut set = handlers.iter().filter(|(_, is_set)| *is_set);
        if set.next().is_none() {
            self.required(at, "must specify a handler type");
        }
        for (second, _) in set {
            self.forbidden(&at.field(second), "may not specify more than 1 handler type");
        }
    }

    fn exec(&mut self, at: &Path<'_>, exec: &core::ExecAction) -> Handler {
        let command: Vec<Text> = exec.command.iter().flatten().map(Text::new).collect();
        if command.is_empty() {
            self.required(&at.field("command"), "");
        }
        Handler::Exec { command }
    }

    fn http_get(&mut self, at: &Path<'_>, get: &core::HTTPGetAction) -> Handler {
        let path = match text(get.path.as_ref()) {
            "" => "/",
            path => path,
        };
        let https = self.word_or(&at.field("scheme"), get.scheme.as_ref(), false, &[("HTTP", false), ("HTTPS", true)]);
        let port = self.port_ref(&at.field("port"), &get.port);
        let headers = get.http_headers.iter().flatten();
        let headers = headers.map(|header| (Name::from(&header.name), Text::new(&header.value))).collect();
        Handler::HttpGet { path: Name::new(path), port, host: name(get.host.as_ref()), https, headers }
    }

    fn tcp_socket(&mut self, at: &Path<'_>, tcp: &core::TCPSocketAction) -> Handler {
        Handler::TcpSocket { port: self.port_ref(&at.field("port"), &tcp.port), host: name(tcp.host.as_ref()) }
    }

    pub(super) fn port_ref(&mut self, at: &Path<'_>, port: &IntOrString) -> PortRef {
        match port {
            IntOrString::Int(number) => PortRef::Number(self.port(at, *number)),
            IntOrString::String(text) => {
                if text.is_empty() || text.len() > 15 || !text.bytes().any(|b| b.is_ascii_lowercase()) {
                    self.bad(
                        at,
                        format!("{text:?}"),
                        "must contain at least one letter (a-z) and no more than 15 characters",
                    );
                }
                PortRef::Name(Name::from(text))
            }
        }
    }

    fn restart_rules(&mut self, at: &Path<'_>, rules: &[core::ContainerRestartRule]) -> Vec<RestartRule> {
        let compile = |(index, rule): (usize, &core::ContainerRestartRule)| {
            let here = at.index(index);
            let restart_all =
                self.word(&here.field("action"), &rule.action, &[("Restart", false), ("RestartAllContainers", true)])?;
            let Some(codes) = &rule.exit_codes else {
                self.required(&here.field("exitCodes"), "must be specified");
                return None;
            };
            let operator_at = here.field("exitCodes");
            let negated =
                self.word(&operator_at.field("operator"), &codes.operator, &[("In", false), ("NotIn", true)])?;
            Some(RestartRule { restart_all, negated, exit_codes: codes.values.clone().unwrap_or_default() })
        };
        rules.iter().enumerate().filter_map(compile).collect()
    }

    fn volume_mounts(&mut self, at: &Path<'_>, mounts: &[core::VolumeMount]) -> Vec<VolumeMount> {
        let compile = |(index, mount): (usize, &core::VolumeMount)| {
            let here = at.index(index);
            if mount.name.is_empty() {
                self.required(&here.field("name"), "");
            }
            if mount.mount_path.is_empty() {
                self.required(&here.field("mountPath"), "");
            }
            VolumeMount {
                volume: Name::from(&mount.name),
                path: Name::from(&mount.mount_path),
                sub_path: name(mount.sub_path.as_ref()),
                sub_path_expr: name(mount.sub_path_expr.as_ref()),
                read_only: mount.read_only == Some(true),
                propagation: self.word_or(
                    &here.field("mountPropagation"),
                    mount.mount_propagation.as_ref(),
                    MountPropagation::None,
                    PROPAGATIONS,
                ),
            }
        };
        let kept = mounts.iter().enumerate().filter(|(_, mount)| !is_token_volume_name(&mount.name));
        kept.map(compile).collect()
    }
}

const PROPAGATIONS: &[(&str, MountPropagation)] = &[
    ("Bidirectional", MountPropagation::Bidirectional),
    ("HostToContainer", MountPropagation::HostToContainer),
    ("None", MountPropagation::None),
];

/// The words of `imagePullPolicy`.
pub(super) const PULL_POLICIES: &[(&str, ImagePullPolicy)] = &[
    ("Always", ImagePullPolicy::Always),
    ("IfNotPresent", ImagePullPolicy::IfNotPresent),
    ("Never", ImagePullPolicy::Never),
];

/// Always for `latest` and for no tag at all, unless a digest says exactly which image. Kubernetes takes a text that is
/// no image reference for one with a tag.
pub(super) fn default_pull_policy(image: &str) -> ImagePullPolicy {
    if image.contains('@') {
        return ImagePullPolicy::IfNotPresent;
    }
    let (path, last) = image.rsplit_once('/').map_or(("", image), |(path, last)| (path, last));
    let (name, tag) = last.split_once(':').unwrap_or((last, "latest"));
    let is_part = |part: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        part.starts_with(plain)
            && part.ends_with(plain)
            && part.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'))
    };
    // The first part may be a registry's host: with capitals and a port.
    let is_host = |part: &str| {
        let host = part.split_once(':').map_or(part, |(host, _)| host);
        (part.contains(['.', ':']) || part == "localhost")
            && host
                .split('.')
                .all(|label| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    };
    let mut parts = path.split('/').filter(|_| !path.is_empty());
    let first = parts.next().is_none_or(|part| is_host(part) || is_part(part));
    if tag == "latest" && first && parts.all(is_part) && is_part(name) {
        ImagePullPolicy::Always
    } else {
        ImagePullPolicy::IfNotPresent
    }
}

fn security(context: Option<&core::SecurityContext>) -> SecurityContext {
    let Some(context) = context else { return SecurityContext::default() };
    SecurityContext {
        run_as_user: context.run_as_user,
        run_as_group: context.run_as_group,
        run_as_non_root: context.run_as_non_root,
        fs_group: None,
        privileged: context.privileged == Some(true),
        read_only_root_filesystem: context.read_only_root_filesystem == Some(true),
        allow_privilege_escalation: context.allow_privilege_escalation,
        add_capabilities: capabilities(context.capabilities.as_ref().and_then(|lists| lists.add.as_ref())),
        drop_capabilities: capabilities(context.capabilities.as_ref().and_then(|lists| lists.drop.as_ref())),
        seccomp: context.seccomp_profile.as_ref().map(seccomp),
        unmasked: context.proc_mount.as_deref() == Some("Unmasked"),
        supplemental_groups: Vec::new(),
        sysctls: Vec::new(),
    }
}

/// A resource of a container as a value.
pub(super) fn resource_field(field: &core::ResourceFieldSelector) -> EnvValue {
    EnvValue::ResourceField {
        container: name(field.container_name.as_ref()),
        resource: Name::from(&field.resource),
        divisor: field.divisor.as_ref().map(|divisor| Name::from(&divisor.0)).unwrap_or_default(),
    }
}

fn capabilities(list: Option<&Vec<String>>) -> Vec<Name> {
    list.into_iter().flatten().map(Name::from).collect()
}

/// A profile of any type that is not known is the runtime's.
pub(super) fn seccomp(profile: &core::SeccompProfile) -> Seccomp {
    match profile.type_.as_str() {
        "Unconfined" => Seccomp::Unconfined,
        "Localhost" => Seccomp::Localhost(name(profile.localhost_profile.as_ref())),
        _ => Seccomp::RuntimeDefault,
    }
}

/// The fields that it shares with other containers.
fn as_container(container: &core::EphemeralContainer) -> core::Container {
    let one = container.clone();
    core::Container {
        args: one.args,
        command: one.command,
        env: one.env,
        env_from: one.env_from,
        image: one.image,
        image_pull_policy: one.image_pull_policy,
        lifecycle: one.lifecycle,
        liveness_probe: one.liveness_probe,
        name: one.name,
        ports: one.ports,
        readiness_probe: one.readiness_probe,
        resize_policy: one.resize_policy,
        resources: one.resources,
        restart_policy: one.restart_policy,
        restart_policy_rules: one.restart_policy_rules,
        security_context: one.security_context,
        startup_probe: one.startup_probe,
        stdin: one.stdin,
        stdin_once: one.stdin_once,
        termination_message_path: one.termination_message_path,
        termination_message_policy: one.termination_message_policy,
        tty: one.tty,
        volume_devices: one.volume_devices,
        volume_mounts: one.volume_mounts,
        working_dir: one.working_dir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_without_a_tag_is_always_pulled() {
        for image in ["nginx", "nginx:latest", "library/nginx", "localhost:5000/a/b", "Registry.example.com:80/a_b/c-d"]
        {
            assert_eq!(default_pull_policy(image), ImagePullPolicy::Always, "{image}");
        }
        for image in
            ["nginx:1", "a.io/nginx:1", "nginx@sha256:0a", "nginx:latest@sha256:0a", "<image>", "gcr.io/<p>/x", "A"]
        {
            assert_eq!(default_pull_policy(image), ImagePullPolicy::IfNotPresent, "{image}");
        }
    }
}
