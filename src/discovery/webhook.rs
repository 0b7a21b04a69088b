//! Services that the API server calls for admission. Pure.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};

use crate::cluster::Webhook;

/// Webhooks of one configuration that are kept.
const MOST: usize = 200;
/// The port that is called when none is stated.
const PORT: u16 = 443;

/// Those of a `ValidatingWebhookConfiguration` that are Services; `None` when none is.
pub fn validating(object: ValidatingWebhookConfiguration) -> Option<Vec<Webhook>> {
    let all = object.webhooks.unwrap_or_default().into_iter();
    found(all.map(|it| (it.name, it.client_config, it.failure_policy)))
}

/// The same of a `MutatingWebhookConfiguration`.
pub fn mutating(object: MutatingWebhookConfiguration) -> Option<Vec<Webhook>> {
    let all = object.webhooks.unwrap_or_default().into_iter();
    found(all.map(|it| (it.name, it.client_config, it.failure_policy)))
}

type Stated = (String, WebhookClientConfig, Option<String>);

fn found(all: impl Iterator<Item = Stated>) -> Option<Vec<Webhook>> {
    let services = all.filter_map(|(name, config, policy)| {
        let service = config.service?;
        Some(Webhook {
            namespace: service.namespace,
            service: service.name,
            port: service.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(PORT),
            name,
            // The default of v1.
            is_required: policy.as_deref() != Some("Ignore"),
        })
    });
    let found: Vec<Webhook> = services.take(MOST).collect();
    (!found.is_empty()).then_some(found)
}
