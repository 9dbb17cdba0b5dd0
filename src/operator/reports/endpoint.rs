//! Keeps the report Service pointing at this operator: the Service has no selector, its one EndpointSlice is ours. I/O.
//!
//! So only the leader gets reports, and no right to change pods is needed.

use std::net::IpAddr;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::discovery::ApiResource;
use serde_json::{Value, json};

use super::PORT;
use crate::operator::FIELD_MANAGER;
use crate::operator::apply::contains;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(30);

/// Applies the EndpointSlice now, and again whenever it is not as it should be; for ever.
pub async fn keep(client: Client, namespace: &str, service: &str, pod: &str, address: IpAddr) {
    let wanted = slice(namespace, service, pod, address);
    let resource = ApiResource::erase::<k8s_openapi::api::discovery::v1::EndpointSlice>(&());
    let api = Api::<DynamicObject>::namespaced_with(client, namespace, &resource);
    let mut said = String::new();
    loop {
        match put(&api, service, &wanted).await {
            Ok(()) => said.clear(),
            Err(error) => {
                let now = error.to_string();
                if said != now {
                    tracing::warn!(
                        "agents cannot find the report endpoint: EndpointSlice {namespace}/{service}: {now}"
                    );
                    said = now;
                }
            }
        }
        tokio::time::sleep(if said.is_empty() { EVERY } else { Duration::from_secs(2) }).await;
    }
}

async fn put(api: &Api<DynamicObject>, service: &str, wanted: &Value) -> Result<(), kube::Error> {
    let live = api.get_opt(service).await?.and_then(|live| serde_json::to_value(live).ok());
    if !live.is_some_and(|live| contains(&live, wanted)) {
        api.patch(service, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(wanted)).await?;
    }
    Ok(())
}

fn slice(namespace: &str, service: &str, pod: &str, address: IpAddr) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": service,
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": FIELD_MANAGER,
            },
        },
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{
            "addresses": [address.to_string()],
            "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace},
        }],
        "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slice_belongs_to_the_service_and_names_one_pod() {
        let slice = slice("spoolway-system", "spoolway-report", "operator-0", "10.0.0.7".parse().unwrap());
        assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "spoolway-report");
        assert_eq!(
            (&slice["addressType"], &slice["endpoints"][0]["addresses"][0]),
            (&json!("IPv4"), &json!("10.0.0.7"))
        );
        let six: k8s_openapi::api::discovery::v1::EndpointSlice =
            serde_json::from_value(super::slice("a", "b", "c", "fd00::1".parse().unwrap())).unwrap();
        assert_eq!((six.address_type.as_str(), six.ports.unwrap()[0].port), ("IPv6", Some(8443)));
    }
}
