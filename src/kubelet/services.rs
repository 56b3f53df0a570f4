//! The services that containers are told of by their environment: `WEB_SERVICE_HOST`, `WEB_PORT_80_TCP` and the like.
//!
//! Kubernetes: getServiceEnvVarMap in pkg/kubelet/kubelet_pods.go, pkg/kubelet/envvars/envvars.go. A kubelet watches all
//! services from its start on. Over a simulated runtime this one begins with the first pod in which a program can look at
//! its environment, so that all others cost nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::pod::Protocol;
use crate::model::service::Service;
use crate::model::{Kind, Name, Object, Pod, Text};
use crate::protocol::api::{Call, Watch, WatchEvent};

use super::calls::ApiOwner;
use super::volumes::executes;
use super::{Fx, Kubelet};

/// What the watch of services has said.
#[derive(Debug, Default)]
pub struct Services {
    watches: bool,
    /// It has delivered its list.
    is_synced: bool,
    /// By namespace and name; only those with an address.
    known: BTreeMap<(Name, Name), Arc<Service>>,
}

impl Services {
    /// Takes what the watch says.
    pub fn watched(&mut self, event: &WatchEvent) {
        match event {
            WatchEvent::Listed(_, objects) => {
                self.is_synced = true;
                self.known.clear();
                objects.iter().for_each(|object| self.seen(object));
            }
            WatchEvent::Added(object) | WatchEvent::Modified(object) => self.seen(object),
            WatchEvent::Deleted(Object::Service(service)) => {
                self.known.remove(&(service.meta.namespace, service.meta.name));
            }
            WatchEvent::Deleted(_) | WatchEvent::Broken(_) => {}
        }
    }

    fn seen(&mut self, object: &Object) {
        let Object::Service(service) = object else { return };
        let key = (service.meta.namespace, service.meta.name);
        match service.cluster_ip {
            Some(_) => self.known.insert(key, service.clone()),
            None => self.known.remove(&key),
        };
    }

    /// The variables of a pod's containers: of the services in its namespace if it wants links, by their names; and in any
    /// case of `kubernetes` in the namespace `default`, unless its own namespace has one.
    pub fn variables(&self, namespace: Name, links: bool) -> Vec<(Name, Text)> {
        let (default, kubernetes) = (Name::new("default"), Name::new("kubernetes"));
        let mut told: BTreeMap<Name, &Service> = BTreeMap::new();
        if let Some(api_server) = self.known.get(&(default, kubernetes)) {
            told.insert(kubernetes, api_server);
        }
        if links {
            let of_namespace = self.known.range((namespace, Name::default())..);
            let of_namespace = of_namespace.take_while(|((of, _), _)| *of == namespace);
            told.extend(of_namespace.map(|((_, name), service)| (*name, &**service)));
        }
        let mut made = Vec::with_capacity(told.len() * 8);
        told.into_values().for_each(|service| tell(service, &mut made));
        made
    }
}

/// Adds the variables of one service; one without ports has only its host.
fn tell(service: &Service, made: &mut Vec<(Name, Text)>) {
    let Some(ip) = service.cluster_ip else { return };
    let prefix = upper(&service.meta.name);
    let mut put = |name: String, value: String| made.push((Name::from(name), value.into()));
    put(format!("{prefix}_SERVICE_HOST"), ip.to_string());
    let Some(first) = service.ports.first() else { return };
    put(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
        put(format!("{prefix}_SERVICE_PORT_{}", upper(&port.name)), port.port.to_string());
    }
    for (index, port) in service.ports.iter().enumerate() {
        let (upper, lower) = match port.protocol {
            Protocol::Tcp => ("TCP", "tcp"),
            Protocol::Udp => ("UDP", "udp"),
            Protocol::Sctp => ("SCTP", "sctp"),
        };
        let port = port.port;
        let url = format!("{lower}://{ip}:{port}");
        if index == 0 {
            put(format!("{prefix}_PORT"), url.clone());
        }
        let base = format!("{prefix}_PORT_{port}_{upper}");
        put(base.clone(), url);
        put(format!("{base}_PROTO"), lower.to_owned());
        put(format!("{base}_PORT"), port.to_string());
        put(format!("{base}_ADDR"), ip.to_string());
    }
}

/// A name as part of a variable's: `my-web` becomes `MY_WEB`, and `3d` becomes `_3D`.
fn upper(name: &str) -> String {
    let upper = name.replace(['.', '-'], "_").to_uppercase();
    if upper.starts_with(|first: char| first.is_ascii_digit()) { format!("_{upper}") } else { upper }
}

impl Kubelet {
    /// Begins to watch services: at the kubelet's start where containers are real, else for this pod.
    pub(super) fn watch_services_for(&mut self, pod: Option<&Pod>, fx: &mut Fx) {
        let wanted = match pod {
            None => self.config.host.is_some(),
            Some(pod) => pod.spec.containers.iter().chain(pod.spec.init_containers.iter()).any(looks_around),
        };
        if wanted && !std::mem::replace(&mut self.services.watches, true) {
            self.watch_services(fx);
        }
    }

    pub(super) fn watch_services(&mut self, fx: &mut Fx) {
        self.calls.api(ApiOwner::WatchServices, Call::Watch(Watch { kind: Kind::Service, node: None }), fx);
    }

    /// The services that a pod's containers are told of. An error where they are not known yet, as after a start.
    pub(super) fn service_variables(&self, pod: &Pod, is_static: bool) -> Result<Vec<(Name, Text)>, Text> {
        if self.config.host.is_some() && !is_static && !self.services.is_synced {
            return Err("services have not yet been read at least once, cannot construct envvars".into());
        }
        Ok(self.services.variables(pod.meta.namespace, pod.spec.enable_service_links))
    }
}

/// Whether a simulated program may look at its environment: only commands that are known do.
fn looks_around(container: &crate::model::Container) -> bool {
    !container.command.is_empty() || !container.args.is_empty() || executes(container)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Meta;
    use crate::model::pod::PortRef;
    use crate::model::service::ServicePort;

    fn service(namespace: &str, name: &str, ip: &str, ports: &[(&str, u16, Protocol)]) -> Object {
        let port = |(name, port, protocol): &(&str, u16, Protocol)| ServicePort {
            name: Name::new(name),
            port: *port,
            target: PortRef::Number(*port),
            protocol: *protocol,
            node_port: 0,
        };
        let meta = Meta { namespace: Name::new(namespace), name: Name::new(name), ..Meta::default() };
        let ports = ports.iter().map(port).collect();
        Object::Service(Arc::new(Service { meta, ports, cluster_ip: ip.parse().ok(), ..Service::default() }))
    }

    fn check(services: &[Object], namespace: &str, links: bool, expected: &str) {
        let mut known = Services::default();
        known.watched(&WatchEvent::Listed(Watch { kind: Kind::Service, node: None }, services.into()));
        let made = known.variables(Name::new(namespace), links);
        let lines: Vec<String> = made.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_service_is_told_as_docker_links_were_and_by_its_named_ports() {
        let ports = [("http", 80, Protocol::Tcp), ("d.n-s", 53, Protocol::Udp)];
        let expected = "MY_WEB_SERVICE_HOST=10.0.0.7 MY_WEB_SERVICE_PORT=80 MY_WEB_SERVICE_PORT_HTTP=80
            MY_WEB_SERVICE_PORT_D_N_S=53 MY_WEB_PORT=tcp://10.0.0.7:80
            MY_WEB_PORT_80_TCP=tcp://10.0.0.7:80 MY_WEB_PORT_80_TCP_PROTO=tcp MY_WEB_PORT_80_TCP_PORT=80
            MY_WEB_PORT_80_TCP_ADDR=10.0.0.7
            MY_WEB_PORT_53_UDP=udp://10.0.0.7:53 MY_WEB_PORT_53_UDP_PROTO=udp MY_WEB_PORT_53_UDP_PORT=53
            MY_WEB_PORT_53_UDP_ADDR=10.0.0.7";
        check(&[service("shop", "my-web", "10.0.0.7", &ports)], "shop", true, expected);
        check(&[service("shop", "3d", "10.0.0.8", &[])], "shop", true, "_3D_SERVICE_HOST=10.0.0.8");
    }

    #[test]
    fn only_services_with_an_address_in_the_pods_namespace_are_told_and_kubernetes_in_any_case() {
        let all = [
            service("default", "kubernetes", "10.0.0.1", &[]),
            service("default", "other", "10.0.0.2", &[]),
            service("shop", "headless", "None", &[]),
            service("shop", "web", "10.0.0.3", &[]),
        ];
        check(&all, "shop", true, "KUBERNETES_SERVICE_HOST=10.0.0.1 WEB_SERVICE_HOST=10.0.0.3");
        check(&all, "shop", false, "KUBERNETES_SERVICE_HOST=10.0.0.1");
        check(&all, "default", true, "KUBERNETES_SERVICE_HOST=10.0.0.1 OTHER_SERVICE_HOST=10.0.0.2");
        check(&all, "default", false, "KUBERNETES_SERVICE_HOST=10.0.0.1");
    }

    #[test]
    fn services_that_change_or_go_are_told_so_from_then_on() {
        let mut known = Services::default();
        known.watched(&WatchEvent::Added(service("shop", "web", "10.0.0.3", &[])));
        known.watched(&WatchEvent::Modified(service("shop", "web", "10.0.0.4", &[])));
        assert_eq!(known.variables(Name::new("shop"), true), [("WEB_SERVICE_HOST".into(), "10.0.0.4".into())]);
        known.watched(&WatchEvent::Deleted(service("shop", "web", "10.0.0.4", &[])));
        assert_eq!(known.variables(Name::new("shop"), true), []);
    }
}
