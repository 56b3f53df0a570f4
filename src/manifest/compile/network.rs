//! Services and EndpointSlices.
//!
//! Kubernetes: pkg/apis/core/v1/defaults.go (SetDefaults_Service), pkg/apis/core/validation/validation.go.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;

use crate::model::pod::PortRef;
use crate::model::service::{Endpoint, EndpointSlice, Service, ServicePort, ServiceType};
use crate::model::{Kind, Name, Object, Selector};

use super::context::{Context, name, plain_labels, text};
use super::path::Path;

impl Context<'_> {
    pub(super) fn service(&mut self, service: &core::Service) -> Object {
        let meta = self.meta(Kind::Service, &service.metadata);
        let at = Path::Root.field("spec");
        let none = core::ServiceSpec::default();
        let spec = service.spec.as_ref().unwrap_or(&none);
        let kind = self.word_or(
            &at.field("type"),
            spec.type_.as_ref(),
            ServiceType::ClusterIp,
            &[
                ("ClusterIP", ServiceType::ClusterIp),
                ("ExternalName", ServiceType::ExternalName),
                ("LoadBalancer", ServiceType::LoadBalancer),
                ("NodePort", ServiceType::NodePort),
            ],
        );
        let ports = spec.ports.as_deref().unwrap_or_default();
        let ports_at = at.field("ports");
        let headless = text(spec.cluster_ip.as_ref()) == "None";
        if ports.is_empty() && !headless && kind != ServiceType::ExternalName {
            self.required(&ports_at, "");
        }
        if kind == ServiceType::ExternalName && text(spec.external_name.as_ref()).is_empty() {
            self.required(&at.field("externalName"), "");
        }
        let addresses = spec.cluster_ips.as_deref().unwrap_or_default();
        let addresses_at = at.field("clusterIPs");
        let first = spec.cluster_ip.as_ref().filter(|_| addresses.is_empty());
        for (index, address) in first.into_iter().chain(addresses).enumerate() {
            let is_address = address.parse::<std::net::IpAddr>().is_ok();
            // Support bundles hide addresses.
            if !is_address && !self.stored && !address.is_empty() && address != "None" {
                let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                self.bad(&addresses_at.index(index), format!("{address:?}"), detail);
            }
        }
        let families = &[("PreferDualStack", ()), ("RequireDualStack", ()), ("SingleStack", ())];
        self.word_or(&at.field("ipFamilyPolicy"), spec.ip_family_policy.as_ref(), (), families);
        let ports = ports.iter().enumerate().map(|(index, port)| {
            let here = ports_at.index(index);
            if ports.len() > 1 && text(port.name.as_ref()).is_empty() {
                self.required(&here.field("name"), "");
            }
            let earlier = ports.iter().take(index);
            if port.name.is_some() && earlier.into_iter().any(|other| other.name == port.name) {
                self.duplicate(&here.field("name"), format!("{:?}", text(port.name.as_ref())));
            }
            let number = self.port(&here.field("port"), port.port);
            ServicePort {
                name: name(port.name.as_ref()),
                port: number,
                target: match &port.target_port {
                    None => PortRef::Number(number),
                    Some(target) => self.port_ref(&here.field("targetPort"), target),
                },
                protocol: self.protocol(&here.field("protocol"), port.protocol.as_ref()),
                node_port: match port.node_port {
                    None | Some(0) => 0,
                    Some(port) => self.port(&here.field("nodePort"), port),
                },
            }
        });
        let ports = ports.collect();
        let labels = plain_labels(spec.selector.as_ref());
        Object::Service(Arc::new(Service {
            meta,
            selector: (!labels.is_empty()).then(|| Selector::from_labels(&labels)),
            ports,
            kind,
            headless,
            cluster_ip: spec.cluster_ip.as_ref().and_then(|address| address.parse().ok()),
            publish_not_ready: spec.publish_not_ready_addresses == Some(true),
            external_name: name(spec.external_name.as_ref()),
        }))
    }

    pub(super) fn endpoint_slice(&mut self, slice: &discovery::EndpointSlice) -> Object {
        let meta = self.meta(Kind::EndpointSlice, &slice.metadata);
        let service = meta.labels.get(Name::new("kubernetes.io/service-name")).unwrap_or_default();
        let ports_at = Path::Root.field("ports");
        let ports = slice.ports.iter().flatten().enumerate().map(|(index, port)| {
            let here = ports_at.index(index);
            let number = port.port.map_or(0, |number| self.port(&here.field("port"), number));
            (name(port.name.as_ref()), number, self.protocol(&here.field("protocol"), port.protocol.as_ref()))
        });
        let ports = ports.collect();
        let endpoints = slice.endpoints.iter().flatten().filter_map(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            // An unknown condition counts as ready; serving follows ready.
            let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            Some(Endpoint {
                pod: name(endpoint.target_ref.as_ref().and_then(|pod| pod.name.as_ref())),
                ip: endpoint.addresses.first()?.parse().ok()?,
                node: endpoint.node_name.as_ref().map(Name::from),
                zone: endpoint.zone.as_ref().map(Name::from),
                ready,
                serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
                terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
            })
        });
        let mut endpoints: Vec<Endpoint> = endpoints.collect();
        endpoints.sort_by_key(|endpoint| endpoint.pod);
        Object::EndpointSlice(Arc::new(EndpointSlice { meta, service, ports, endpoints }))
    }
}
