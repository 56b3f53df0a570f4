//! Containers: names, images, ports, resources, probes, mounts.
//!
//! Kubernetes: pkg/apis/core/validation/validation.go (validateContainers, validateInitContainers,
//! ValidateResourceRequirements).

use super::{NOT_NEGATIVE, PORT_RANGE, Problems, names};
use crate::apiserver::admission::limits::{amount, amount_text, amounts};
use crate::model::pod::{Container, ContainerPort, Handler, PortRef, Probe, Protocol, ResourceRequirements};
use crate::model::{Name, PodSpec};

/// All containers of a pod whose spec is at `field` and has these volumes.
pub(super) fn all(field: &str, spec: &PodSpec, volumes: &[Name], problems: &mut Problems) {
    if spec.containers.is_empty() {
        problems.required(format!("{field}.containers"));
    }
    let mut seen: Vec<Name> = Vec::new();
    for (idx, container) in spec.containers.iter().enumerate() {
        let field = format!("{field}.containers[{idx}]");
        one(&field, container, volumes, &mut seen, problems);
        for (probe, name) in [(&container.liveness, "livenessProbe"), (&container.startup, "startupProbe")] {
            success_threshold(&format!("{field}.{name}"), probe.as_deref(), problems);
        }
    }
    host_ports(&format!("{field}.containers"), &spec.containers, spec.host_network, problems);
    for (idx, container) in spec.init_containers.iter().enumerate() {
        let field = format!("{field}.initContainers[{idx}]");
        one(&field, container, volumes, &mut seen, problems);
        if !container.is_sidecar() {
            let hooks = container.post_start.is_some() || container.pre_stop.is_some();
            let set = [
                ("lifecycle", hooks),
                ("livenessProbe", container.liveness.is_some()),
                ("readinessProbe", container.readiness.is_some()),
                ("startupProbe", container.startup.is_some()),
            ];
            for (name, _) in set.iter().filter(|(_, set)| *set) {
                let why = "may not be set for init containers without restartPolicy=Always";
                problems.forbidden(format!("{field}.{name}"), why);
            }
        }
    }
    ephemeral(field, spec, volumes, &mut seen, problems);
    // Init containers run one after another: only those that stay could meet in a port.
    for (idx, container) in spec.init_containers.iter().enumerate() {
        let field = format!("{field}.initContainers[{idx}]");
        host_ports_of(&field, container, &mut Vec::new(), spec.host_network, problems);
    }
}

/// Ephemeral containers have no part in what the pod is for: much of what a container may say they may not.
fn ephemeral(field: &str, spec: &PodSpec, volumes: &[Name], seen: &mut Vec<Name>, problems: &mut Problems) {
    const WHY: &str = "cannot be set for an Ephemeral Container";
    for (idx, container) in spec.ephemeral_containers.iter().enumerate() {
        let field = format!("{field}.ephemeralContainers[{idx}]");
        one(&field, container, volumes, seen, problems);
        let target = container.target;
        let is_there = |list: &[Container]| list.iter().any(|one| one.name == target);
        if !target.is_empty() && !is_there(&spec.containers) && !is_there(&spec.init_containers) {
            problems.add(format!("{field}.targetContainerName"), not_found(target));
        }
        let set = [
            ("ports", !container.ports.is_empty()),
            ("resources", container.resources != ResourceRequirements::default()),
            ("resizePolicy", !container.resize_policy.is_empty()),
            ("restartPolicy", container.restart_policy.is_some()),
            ("restartPolicyRules", !container.restart_rules.is_empty()),
            ("livenessProbe", container.liveness.is_some()),
            ("readinessProbe", container.readiness.is_some()),
            ("startupProbe", container.startup.is_some()),
            ("lifecycle", container.post_start.is_some() || container.pre_stop.is_some()),
        ];
        for (name, _) in set.iter().filter(|(_, set)| *set) {
            problems.forbidden(format!("{field}.{name}"), WHY);
        }
        for (at, mount) in container.volume_mounts.iter().enumerate() {
            for (name, path) in [("subPath", mount.sub_path), ("subPathExpr", mount.sub_path_expr)] {
                if !path.is_empty() {
                    problems.forbidden(format!("{field}.volumeMounts[{at}].{name}"), WHY);
                }
            }
        }
    }
}

fn one(field: &str, container: &Container, volumes: &[Name], seen: &mut Vec<Name>, problems: &mut Problems) {
    let name = format!("{field}.name");
    if container.name.is_empty() {
        problems.required(&name);
    } else {
        problems.grammar(&name, &container.name, names::label);
        if seen.contains(&container.name) {
            problems.duplicate(&name, container.name);
        }
        seen.push(container.name);
    }
    let image = format!("{field}.image");
    if container.image.is_empty() {
        problems.required(image);
    } else if container.image.trim() != container.image.as_str() {
        problems.invalid_text(image, &container.image, "must not have leading or trailing whitespace");
    }
    for (hook, name) in [(&container.post_start, "postStart"), (&container.pre_stop, "preStop")] {
        if let Some(hook) = hook {
            handler(&format!("{field}.lifecycle.{name}"), hook, problems);
        }
    }
    probe(&format!("{field}.livenessProbe"), container.liveness.as_deref(), problems);
    probe(&format!("{field}.readinessProbe"), container.readiness.as_deref(), problems);
    if let Some(grace) = container.readiness.as_deref().and_then(|probe| probe.termination_grace) {
        let field = format!("{field}.readinessProbe.terminationGracePeriodSeconds");
        problems.invalid(field, grace.as_secs(), "must not be set for readinessProbes");
    }
    probe(&format!("{field}.startupProbe"), container.startup.as_deref(), problems);
    ports(field, &container.ports, problems);
    for (idx, variable) in container.env.iter().enumerate() {
        let field = format!("{field}.env[{idx}].name");
        if variable.name.is_empty() {
            problems.required(field);
        } else {
            problems.grammar(&field, &variable.name, names::env_var);
        }
    }
    mounts(field, container, volumes, problems);
    resources(&format!("{field}.resources"), &container.resources, problems);
}

fn ports(field: &str, ports: &[ContainerPort], problems: &mut Problems) {
    for (idx, port) in ports.iter().enumerate() {
        let field = format!("{field}.ports[{idx}]");
        if !port.name.is_empty() {
            let name = format!("{field}.name");
            problems.grammar(&name, &port.name, names::port_name);
            if ports[..idx].iter().any(|other| other.name == port.name) {
                problems.duplicate(name, port.name);
            }
        }
        if port.port == 0 {
            problems.required(format!("{field}.containerPort"));
        }
    }
}

/// Two containers of a pod can't have the same port of their node.
fn host_ports(field: &str, containers: &[Container], host_network: bool, problems: &mut Problems) {
    let mut taken = Vec::new();
    for (idx, container) in containers.iter().enumerate() {
        host_ports_of(&format!("{field}[{idx}]"), container, &mut taken, host_network, problems);
    }
}

fn host_ports_of(
    field: &str,
    container: &Container,
    taken: &mut Vec<(Protocol, Name, u16)>,
    host_network: bool,
    problems: &mut Problems,
) {
    for (idx, port) in container.ports.iter().enumerate().filter(|(_, port)| port.host_port != 0) {
        let field = format!("{field}.ports[{idx}]");
        if host_network && port.port != port.host_port {
            let why = "must match `hostPort` when `hostNetwork` is true";
            problems.invalid(format!("{field}.containerPort"), port.port, why);
        }
        let place = (port.protocol, port.host_ip, port.host_port);
        if taken.contains(&place) {
            let protocol = match port.protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            problems
                .duplicate(format!("{field}.hostPort"), format_args!("{protocol}/{}/{}", port.host_ip, port.host_port));
        }
        taken.push(place);
    }
}

fn mounts(field: &str, container: &Container, volumes: &[Name], problems: &mut Problems) {
    for (idx, mount) in container.volume_mounts.iter().enumerate() {
        let field = format!("{field}.volumeMounts[{idx}]");
        if mount.volume.is_empty() {
            problems.required(format!("{field}.name"));
        } else if !volumes.contains(&mount.volume) {
            problems.add(format!("{field}.name"), not_found(mount.volume));
        }
        if mount.path.is_empty() {
            problems.required(format!("{field}.mountPath"));
        } else if container.volume_mounts[..idx].iter().any(|other| other.path == mount.path) {
            problems.invalid_text(format!("{field}.mountPath"), &mount.path, "must be unique");
        }
    }
}

/// The complaint about a mount whose volume isn't there.
pub(super) fn not_found(volume: Name) -> String {
    format!("Not found: \"{volume}\"")
}

fn probe(field: &str, probe: Option<&Probe>, problems: &mut Problems) {
    let Some(probe) = probe else { return };
    handler(field, &probe.handler, problems);
    if probe.termination_grace.is_some_and(|grace| grace.is_zero()) {
        problems.invalid(format!("{field}.terminationGracePeriodSeconds"), 0, "must be greater than 0");
    }
}

fn success_threshold(field: &str, probe: Option<&Probe>, problems: &mut Problems) {
    if let Some(probe) = probe
        && probe.success_threshold > 1
    {
        problems.invalid(format!("{field}.successThreshold"), probe.success_threshold, "must be 1");
    }
}

fn handler(field: &str, handler: &Handler, problems: &mut Problems) {
    match handler {
        Handler::Exec { command } if command.is_empty() => problems.required(format!("{field}.exec.command")),
        Handler::HttpGet { path, port, .. } => {
            if path.is_empty() {
                problems.required(format!("{field}.httpGet.path"));
            }
            port_ref(&format!("{field}.httpGet.port"), *port, problems);
        }
        Handler::TcpSocket { port, .. } => port_ref(&format!("{field}.tcpSocket.port"), *port, problems),
        Handler::Grpc { port: 0, .. } => problems.invalid(format!("{field}.grpc.port"), 0, PORT_RANGE),
        Handler::Exec { .. } | Handler::Grpc { .. } | Handler::Sleep(_) => {}
    }
}

/// A port by number or name.
pub(super) fn port_ref(field: &str, port: PortRef, problems: &mut Problems) {
    match port {
        PortRef::Number(0) => problems.invalid(field, 0, PORT_RANGE),
        PortRef::Number(_) => {}
        PortRef::Name(name) => problems.grammar(field, &name, names::port_name),
    }
}

/// `resources` of a container or of a pod.
pub(super) fn resources(field: &str, resources: &ResourceRequirements, problems: &mut Problems) {
    let lists = [("limits", &resources.limits), ("requests", &resources.requests)];
    for (which, list) in lists {
        for (name, amount) in amounts(list) {
            let place = format!("{field}.{which}[{name}]");
            let standard = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
            if !standard && !name.starts_with("hugepages-") {
                if name.contains('/') {
                    problems.grammar(&place, &name, names::qualified);
                } else {
                    for why in [
                        "must be a standard resource type or fully qualified",
                        "must be a standard resource for containers",
                    ] {
                        problems.invalid_text(&place, &name, why);
                    }
                }
            }
            if amount < 0 {
                problems.invalid_text(place, &amount_text(name, amount), NOT_NEGATIVE);
            }
        }
    }
    for (name, request) in amounts(&resources.requests) {
        let place = format!("{field}.requests");
        let shared = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        let text = amount_text(name, request);
        match amount(&resources.limits, name) {
            Some(limit) if !shared && request != limit => {
                let why = format!("must be equal to {name} limit of {}", amount_text(name, limit));
                problems.invalid_text(place, &text, why);
            }
            Some(limit) if shared && request > limit => {
                let why = format!("must be less than or equal to {name} limit of {}", amount_text(name, limit));
                problems.invalid_text(place, &text, why);
            }
            None if !shared && name.contains(['/', '-']) => {
                problems.add(
                    format!("{field}.limits"),
                    "Required value: Limit must be set for non overcommitable resources",
                );
            }
            _ => {}
        }
    }
}
