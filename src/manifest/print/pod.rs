//! Pods, pod templates and what is in them.

use serde_json::{Value, json};

use crate::manifest::epoch::Epoch;
use crate::model::pod::{
    ConfigSource, Container, ContainerPort, Dns, DnsPolicy, EnvFrom, EnvValue, EnvVar, Handler, ImagePullPolicy,
    MountPropagation, PortRef, Probe, Protocol, ResourceRequirements, RestartPolicy, Seccomp, SecurityContext,
};
use crate::model::workload::PodTemplate;
use crate::model::{Name, Pod, PodSpec};

use super::fields::{Fields, resource_list, resources};
use super::placement::{affinity, tolerations, topology_spread};
use super::status::pod_status;
use super::volume::volume;

/// A pod's `spec` and `status`.
pub(super) fn pod(pod: &Pod, epoch: Epoch, fields: &mut Fields) {
    fields.put("spec", pod_spec(&pod.spec, Some(pod)));
    fields.put("status", pod_status(pod, epoch));
}

/// What conditions mostly ask of a pod: node, priority and status without the rest of the spec.
pub(super) fn brief(pod: &Pod, epoch: Epoch, fields: &mut Fields) {
    let mut spec = Fields::new();
    spec.some("nodeName", pod.node.map(Name::as_str));
    spec.put("priority", pod.spec.priority);
    fields.put("spec", spec.done());
    fields.put("status", pod_status(pod, epoch));
}

/// `template` of a workload.
pub(super) fn template(template: &PodTemplate) -> Value {
    let mut metadata = Fields::new();
    metadata.labels("annotations", &template.annotations);
    metadata.labels("labels", &template.labels);
    let mut fields = Fields::new();
    fields.put("metadata", metadata.done());
    fields.put("spec", pod_spec(&template.spec, None));
    fields.done()
}

/// `spec` of a pod, or of a template: what admission fills in stands only in pods.
fn pod_spec(spec: &PodSpec, pod: Option<&Pod>) -> Value {
    let mut fields = Fields::new();
    fields.some("activeDeadlineSeconds", spec.active_deadline.map(|length| length.as_secs()));
    fields.some("affinity", spec.affinity.as_deref().map(affinity));
    if !spec.automount_token {
        fields.put("automountServiceAccountToken", false);
    }
    fields.list("containers", spec.containers.iter(), container);
    if let Some(dns) = spec.dns.as_deref() {
        fields.filled("dnsConfig", dns_config(dns));
        fields.put("dnsPolicy", dns_policy(dns.policy));
    }
    if !spec.enable_service_links {
        fields.put("enableServiceLinks", false);
    }
    fields.list("ephemeralContainers", spec.ephemeral_containers.iter(), container);
    fields.list("hostAliases", &spec.host_aliases, |alias| {
        let names: Vec<&str> = alias.hostnames.iter().map(|name| name.as_str()).collect();
        json!({"hostnames": names, "ip": alias.ip.as_str()})
    });
    fields.flag("hostIPC", spec.host_ipc);
    fields.flag("hostNetwork", spec.host_network);
    fields.flag("hostPID", spec.host_pid);
    if !spec.host_users {
        fields.put("hostUsers", false);
    }
    fields.text("hostname", &spec.hostname);
    fields.list("imagePullSecrets", spec.image_pull_secrets.iter(), |secret| json!({"name": secret.as_str()}));
    fields.list("initContainers", spec.init_containers.iter(), container);
    fields.some("nodeName", pod.and_then(|pod| pod.node).map(Name::as_str));
    fields.labels("nodeSelector", &spec.node_selector);
    if !spec.os.is_empty() {
        fields.put("os", json!({"name": spec.os.as_str()}));
    }
    fields.some("overhead", spec.overhead.as_deref().map(resources));
    if pod.is_some() || spec.preempts_never {
        fields.put("preemptionPolicy", if spec.preempts_never { "Never" } else { "PreemptLowerPriority" });
    }
    if pod.is_some() || spec.priority != 0 {
        fields.put("priority", spec.priority);
    }
    fields.text("priorityClassName", &spec.priority_class);
    fields.list("readinessGates", spec.readiness_gates.iter(), |gate| json!({"conditionType": gate.as_str()}));
    fields.list("resourceClaims", spec.resource_claims.iter(), |claim| {
        let mut fields = Fields::new();
        fields.put("name", claim.name.as_str());
        fields.some("resourceClaimName", claim.claim.map(Name::as_str));
        fields.some("resourceClaimTemplateName", claim.template.map(Name::as_str));
        fields.done()
    });
    fields.some("resources", spec.resources.as_deref().map(requirements));
    fields.put("restartPolicy", restart_policy(spec.restart_policy));
    fields.text("runtimeClassName", &spec.runtime_class);
    fields.put("schedulerName", spec.scheduler_name.as_str());
    fields.list("schedulingGates", spec.scheduling_gates.iter(), |gate| json!({"name": gate.as_str()}));
    fields.filled("securityContext", security(&spec.security));
    fields.text("serviceAccount", &spec.service_account);
    fields.text("serviceAccountName", &spec.service_account);
    fields.flag("shareProcessNamespace", spec.share_process_namespace);
    fields.text("subdomain", &spec.subdomain);
    fields.seconds("terminationGracePeriodSeconds", spec.termination_grace);
    fields.filled("tolerations", tolerations(&spec.tolerations));
    fields.filled("topologySpreadConstraints", topology_spread(&spec.topology_spread));
    fields.list("volumes", spec.volumes.iter(), volume);
    fields.done()
}

fn dns_policy(policy: DnsPolicy) -> &'static str {
    match policy {
        DnsPolicy::ClusterFirst => "ClusterFirst",
        DnsPolicy::ClusterFirstWithHostNet => "ClusterFirstWithHostNet",
        DnsPolicy::Default => "Default",
        DnsPolicy::None => "None",
    }
}

fn dns_config(dns: &Dns) -> Value {
    let mut fields = Fields::new();
    fields.list("nameservers", &dns.nameservers, |name| Value::from(name.as_str()));
    fields.list("options", &dns.options, |(name, value)| {
        let mut option = Fields::new();
        option.text("name", name).some("value", value.map(Name::as_str));
        option.done()
    });
    fields.list("searches", &dns.searches, |name| Value::from(name.as_str()));
    fields.done()
}

fn restart_policy(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Always => "Always",
        RestartPolicy::OnFailure => "OnFailure",
        RestartPolicy::Never => "Never",
    }
}

fn container(container: &Container) -> Value {
    let mut fields = Fields::new();
    fields.list("args", container.args.iter(), |text| Value::from(text.as_str()));
    fields.list("command", container.command.iter(), |text| Value::from(text.as_str()));
    fields.list("env", &container.env, env);
    fields.list("envFrom", &container.env_from, env_from);
    fields.put("image", container.image.as_str());
    fields.put("imagePullPolicy", pull_policy(container.image_pull_policy));
    let mut lifecycle = Fields::new();
    lifecycle.some("postStart", container.post_start.as_deref().map(hook));
    lifecycle.some("preStop", container.pre_stop.as_deref().map(hook));
    fields.filled("lifecycle", lifecycle.done());
    fields.some("livenessProbe", container.liveness.as_deref().map(probe));
    fields.put("name", container.name.as_str());
    fields.list("ports", &container.ports, port);
    fields.some("readinessProbe", container.readiness.as_deref().map(probe));
    fields.list("resizePolicy", &container.resize_policy, |(resource, restarts)| {
        let policy = if *restarts { "RestartContainer" } else { "NotRequired" };
        json!({"resourceName": resource.as_str(), "restartPolicy": policy})
    });
    fields.put("resources", container_resources(container));
    fields.some("restartPolicy", container.restart_policy.map(restart_policy));
    fields.list("restartPolicyRules", &container.restart_rules, |rule| {
        json!({
            "action": if rule.restart_all { "RestartAllContainers" } else { "Restart" },
            "exitCodes": {"operator": if rule.negated { "NotIn" } else { "In" }, "values": rule.exit_codes},
        })
    });
    fields.filled("securityContext", security(&container.security));
    fields.some("startupProbe", container.startup.as_deref().map(probe));
    fields.flag("stdin", container.stdin);
    fields.flag("stdinOnce", container.stdin_once);
    fields.text("targetContainerName", &container.target);
    fields.text("terminationMessagePath", &container.termination_message_path);
    let policy = if container.message_from_logs { "FallbackToLogsOnError" } else { "File" };
    fields.put("terminationMessagePolicy", policy);
    fields.flag("tty", container.tty);
    fields.list("volumeMounts", &container.volume_mounts, |mount| {
        let mut fields = Fields::new();
        fields.put("mountPath", mount.path.as_str());
        match mount.propagation {
            MountPropagation::None => {}
            MountPropagation::HostToContainer => {
                fields.put("mountPropagation", "HostToContainer");
            }
            MountPropagation::Bidirectional => {
                fields.put("mountPropagation", "Bidirectional");
            }
        }
        fields.put("name", mount.volume.as_str());
        fields.flag("readOnly", mount.read_only);
        fields.text("subPath", &mount.sub_path);
        fields.text("subPathExpr", &mount.sub_path_expr);
        fields.done()
    });
    fields.text("workingDir", &container.working_dir);
    fields.done()
}

pub(super) fn pull_policy(policy: ImagePullPolicy) -> &'static str {
    match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    }
}

/// `resources` of a container, with the claims that it uses.
fn container_resources(container: &Container) -> Value {
    let mut resources = requirements(&container.resources);
    if let (false, Some(fields)) = (container.claims.is_empty(), resources.as_object_mut()) {
        let claims = container.claims.iter().map(|(name, request)| {
            let mut fields = Fields::new();
            fields.put("name", name.as_str()).text("request", request);
            fields.done()
        });
        fields.insert("claims".to_owned(), claims.collect());
        fields.sort_keys();
    }
    resources
}

/// `resources`: there even when it holds nothing.
pub(super) fn requirements(resources: &ResourceRequirements) -> Value {
    let mut fields = Fields::new();
    fields.filled("limits", resource_list(&resources.limits));
    fields.filled("requests", resource_list(&resources.requests));
    fields.done()
}

pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

fn port(port: &ContainerPort) -> Value {
    let mut fields = Fields::new();
    fields.put("containerPort", port.port);
    fields.text("hostIP", &port.host_ip);
    fields.number("hostPort", port.host_port);
    fields.text("name", &port.name);
    fields.put("protocol", protocol(port.protocol));
    fields.done()
}

fn env(var: &EnvVar) -> Value {
    let mut fields = Fields::new();
    fields.put("name", var.name.as_str());
    match &var.value {
        EnvValue::Literal(value) => {
            fields.text("value", value);
        }
        from => {
            let (field, value) = value_source(from);
            let mut source = Fields::new();
            source.put(field, value);
            fields.put("valueFrom", source.done());
        }
    }
    fields.done()
}

/// Where a value comes from: the field that says so, and what stands there.
pub(super) fn value_source(value: &EnvValue) -> (&'static str, Value) {
    let mut fields = Fields::new();
    let field = match value {
        EnvValue::Literal(_) => "value",
        EnvValue::ConfigMapKey { config_map: name, key, optional } => {
            fields.put("key", key.as_str()).text("name", name).flag("optional", *optional);
            "configMapKeyRef"
        }
        EnvValue::SecretKey { secret: name, key, optional } => {
            fields.put("key", key.as_str()).text("name", name).flag("optional", *optional);
            "secretKeyRef"
        }
        EnvValue::FileKey { volume, path, key, optional } => {
            fields.put("key", key.as_str()).flag("optional", *optional).put("path", path.as_str());
            fields.put("volumeName", volume.as_str());
            "fileKeyRef"
        }
        EnvValue::Field(path) => {
            fields.put("apiVersion", "v1").put("fieldPath", path.as_str());
            "fieldRef"
        }
        EnvValue::ResourceField { container, resource, divisor } => {
            fields.text("containerName", container);
            fields.text("divisor", divisor).put("resource", resource.as_str());
            "resourceFieldRef"
        }
    };
    (field, fields.done())
}

fn env_from(from: &EnvFrom) -> Value {
    let (field, name) = match from.from {
        ConfigSource::ConfigMap(name) => ("configMapRef", name),
        ConfigSource::Secret(name) => ("secretRef", name),
    };
    let mut reference = Fields::new();
    reference.put("name", name.as_str());
    reference.flag("optional", from.optional);
    let mut fields = Fields::new();
    if field < "prefix" {
        fields.put(field, reference.done()).text("prefix", &from.prefix);
    } else {
        fields.text("prefix", &from.prefix).put(field, reference.done());
    }
    fields.done()
}

fn probe(probe: &Probe) -> Value {
    let (field, action) = handler(&probe.handler);
    let mut action = Some(action);
    let mut fields = Fields::new();
    // The action goes to its place in the alphabet.
    for (place, before) in
        ["failureThreshold", "initialDelaySeconds", "terminationGracePeriodSeconds"].into_iter().enumerate()
    {
        if field < before {
            fields.some(field, action.take());
        }
        match place {
            0 => fields.put("failureThreshold", probe.failure_threshold),
            1 => fields
                .number("initialDelaySeconds", probe.initial_delay.as_secs() as i64)
                .seconds("periodSeconds", probe.period)
                .put("successThreshold", probe.success_threshold),
            _ => fields
                .some("terminationGracePeriodSeconds", probe.termination_grace.map(|grace| grace.as_secs()))
                .seconds("timeoutSeconds", probe.timeout),
        };
    }
    fields.done()
}

fn hook(hook: &Handler) -> Value {
    let (field, action) = handler(hook);
    let mut fields = Fields::new();
    fields.put(field, action);
    fields.done()
}

fn handler(handler: &Handler) -> (&'static str, Value) {
    match handler {
        Handler::Exec { command } => {
            let command: Vec<&str> = command.iter().map(|text| text.as_str()).collect();
            ("exec", json!({"command": command}))
        }
        Handler::HttpGet { path, port, host, https, headers } => {
            let mut fields = Fields::new();
            fields.text("host", host);
            fields.list(
                "httpHeaders",
                headers,
                |(name, value)| json!({"name": name.as_str(), "value": value.as_str()}),
            );
            fields.put("path", path.as_str());
            fields.put("port", port_ref(*port));
            fields.put("scheme", if *https { "HTTPS" } else { "HTTP" });
            ("httpGet", fields.done())
        }
        Handler::TcpSocket { port, host } => {
            let mut fields = Fields::new();
            fields.text("host", host);
            fields.put("port", port_ref(*port));
            ("tcpSocket", fields.done())
        }
        Handler::Grpc { port, service } => ("grpc", json!({"port": port, "service": service.as_str()})),
        Handler::Sleep(length) => ("sleep", json!({"seconds": length.as_secs()})),
    }
}

pub(super) fn port_ref(port: PortRef) -> Value {
    match port {
        PortRef::Number(number) => Value::from(number),
        PortRef::Name(name) => Value::from(name.as_str()),
    }
}

fn security(context: &SecurityContext) -> Value {
    let mut fields = Fields::new();
    fields.some("allowPrivilegeEscalation", context.allow_privilege_escalation);
    let mut capabilities = Fields::new();
    capabilities.list("add", &context.add_capabilities, |name| Value::from(name.as_str()));
    capabilities.list("drop", &context.drop_capabilities, |name| Value::from(name.as_str()));
    fields.filled("capabilities", capabilities.done());
    fields.some("fsGroup", context.fs_group);
    fields.flag("privileged", context.privileged);
    if context.unmasked {
        fields.put("procMount", "Unmasked");
    }
    fields.flag("readOnlyRootFilesystem", context.read_only_root_filesystem);
    fields.some("runAsGroup", context.run_as_group);
    fields.some("runAsNonRoot", context.run_as_non_root);
    fields.some("runAsUser", context.run_as_user);
    fields.some(
        "seccompProfile",
        context.seccomp.map(|profile| match profile {
            Seccomp::RuntimeDefault => json!({"type": "RuntimeDefault"}),
            Seccomp::Unconfined => json!({"type": "Unconfined"}),
            Seccomp::Localhost(path) => json!({"localhostProfile": path.as_str(), "type": "Localhost"}),
        }),
    );
    fields.list("supplementalGroups", &context.supplemental_groups, |group| Value::from(*group));
    fields.list("sysctls", &context.sysctls, |(name, value)| json!({"name": name.as_str(), "value": value.as_str()}));
    fields.done()
}
