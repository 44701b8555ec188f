//! Where the authorities are kept: whole in a Secret, their certificates for everybody in a ConfigMap.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    api::{GetParams, Patch, PatchParams, PostParams},
    core::Request,
};
use shoalwatch_crds::names::FIELD_MANAGER;
use shoalwatch_node_api::{CA_CONFIG_MAP, CA_KEY};
use x509_parser::pem::parse_x509_pem;

use super::{
    Authority, Error,
    keyring::{Keyring, Step},
};
use crate::{clock::Clock, distribution::quiet};

/// The Secret's name.
pub(crate) const SECRET: &str = "shoalwatch-ca";
/// The annotation of the Secret that asks for a new authority: one that was made before this time is followed by another.
pub(crate) const ROTATE_BEFORE: &str = "shoalwatch.dev/rotate-before";
/// The Secret's key that holds the private key.
const PRIVATE_KEY: &str = "ca.key";
/// Those of the authority that was announced.
const NEXT: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
/// The certificate of the authority before.
const PREVIOUS: &str = "previous.crt";
/// When the last step from one to the other was made.
const STEPPED: &str = "stepped";
/// How often other replicas' writes may come before ours until that is an error.
const ATTEMPTS: usize = 3;

/// Why the authority could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The API server did not answer, or refused. Passes.
    #[error(
        "the API server refused; the operator needs get, create and update on secrets, get, create and patch on \
         configmaps in its own namespace"
    )]
    Api(#[source] Box<kube::Error>),
    /// What is stored cannot serve. Does not pass.
    #[error(
        "Secret {SECRET} cannot be used: {error}. Delete it and restart the operator, which makes a new one; the workers \
         follow by themselves",
        error = .0
    )]
    Unusable(Error),
    /// No authority could be made.
    #[error("no CA could be made")]
    Make(#[source] Error),
    /// The Secret was another one at each look.
    #[error("Secret {SECRET} changes all the time: something else writes or deletes it")]
    Unstable,
}

impl StoreError {
    /// A bounded name for metrics and logs.
    #[must_use]
    pub(crate) const fn category(&self) -> &'static str {
        match self {
            Self::Api(_) => "Api",
            Self::Unusable(error) | Self::Make(error) => error.category(),
            Self::Unstable => "Unstable",
        }
    }

    /// Whether trying again can help.
    #[must_use]
    pub(crate) const fn passes(&self) -> bool {
        matches!(self, Self::Api(_))
    }

    fn api(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// The authorities of this installation: read, or made if nobody has; one step on from one to the next where that is due.
/// Replicas that do so at the same time agree on what was written first.
pub(crate) async fn obtain(client: &Client, namespace: &str, clock: &dyn Clock) -> Result<Keyring, StoreError> {
    for _ in 0..ATTEMPTS {
        let now = clock.now();
        let found = get(client, namespace).await.map_err(StoreError::api)?;
        let (keyring, step, stored) = match found {
            None => (
                Keyring::new(Authority::generate(now).map_err(StoreError::Make)?),
                None,
                None,
            ),
            Some(secret) => {
                let keyring = read(&secret, now).map_err(StoreError::Unusable)?;
                let Some(step) = keyring.due(asked(&secret), now) else {
                    return Ok(keyring);
                };
                let keyring = keyring.after(step, now).map_err(StoreError::Make)?;
                (keyring, Some(step), Some(secret.metadata))
            }
        };
        match write(client, namespace, &keyring, stored).await {
            Ok(()) => {
                tell(step, &keyring);
                return Ok(keyring);
            }
            // 404: it was deleted since.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(StoreError::api(error)),
        }
    }
    Err(StoreError::Unstable)
}

fn tell(step: Option<Step>, keyring: &Keyring) {
    let expires = keyring.expires();
    match step {
        None => tracing::info!(secret = SECRET, %expires, "created the certification authority"),
        Some(Step::Announce) => tracing::info!(secret = SECRET, "announced the next certification authority"),
        Some(Step::Turn) => tracing::info!(secret = SECRET, %expires, "the next certification authority signs"),
        Some(Step::Forget) => tracing::info!(
            secret = SECRET,
            "the previous certification authority is not trusted any more"
        ),
    }
}

async fn get(client: &Client, namespace: &str) -> Result<Option<Secret>, kube::Error> {
    quiet::request_opt(client, secrets(namespace).get(SECRET, &GetParams::default())).await
}

fn secrets(namespace: &str) -> Request {
    Request::new(Secret::url_path(&(), Some(namespace)))
}

/// Creates the Secret, or replaces the one that `stored` was read from.
async fn write(
    client: &Client,
    namespace: &str,
    keyring: &Keyring,
    stored: Option<ObjectMeta>,
) -> Result<(), kube::Error> {
    let there = stored.is_some();
    let secret = Secret {
        metadata: stored.unwrap_or_else(|| metadata(SECRET)),
        ..written(keyring)
    };
    let body = serde_json::to_vec(&secret).map_err(kube::Error::SerdeError)?;
    let params = PostParams::default();
    let request = if there {
        secrets(namespace).replace(SECRET, &params, body)
    } else {
        secrets(namespace).create(&params, body)
    };
    quiet::request::<Secret>(client, request).await.map(drop)
}

fn written(keyring: &Keyring) -> Secret {
    let next = keyring.next.as_ref();
    let data = [
        (CA_KEY, Some(keyring.current.certificate().to_owned())),
        (PRIVATE_KEY, Some(keyring.current.key_pem())),
        (NEXT, next.map(|next| next.certificate().to_owned())),
        (NEXT_KEY, next.map(Authority::key_pem)),
        (PREVIOUS, keyring.previous.clone()),
        (STEPPED, keyring.stepped.map(|at| at.to_string())),
    ];
    let data = data
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), ByteString(value?.into_bytes()))));
    Secret {
        metadata: metadata(SECRET),
        type_: Some("Opaque".to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

fn read(secret: &Secret, now: Timestamp) -> Result<Keyring, Error> {
    let text = |name: &'static str| {
        let bytes = secret.data.as_ref()?.get(name)?;
        Some(String::from_utf8_lossy(&bytes.0).into_owned())
    };
    let needed = |name: &'static str| text(name).ok_or(Error::Missing(name));
    let current = Authority::read(&needed(CA_KEY)?, &needed(PRIVATE_KEY)?, now)?;
    let next = match text(NEXT) {
        Some(next) => Some(Authority::read(&next, &needed(NEXT_KEY)?, now)?),
        None => None,
    };
    let previous = text(PREVIOUS);
    if let Some(previous) = &previous {
        parse_x509_pem(previous.as_bytes()).map_err(|error| Error::Certificate(error.to_string()))?;
    }
    // Without its time the next step would come at once, or never.
    let stepped = if next.is_some() || previous.is_some() {
        Some(time(STEPPED, needed(STEPPED)?)?)
    } else {
        None
    };
    Ok(Keyring {
        current,
        next,
        previous,
        stepped,
    })
}

fn time(name: &'static str, text: String) -> Result<Timestamp, Error> {
    text.parse().map_err(|_no_time| Error::Time { name, text })
}

/// Since when an authority must have been made, as somebody wrote it on the Secret.
fn asked(secret: &Secret) -> Option<Timestamp> {
    let text = secret.metadata.annotations.as_ref()?.get(ROTATE_BEFORE)?;
    match time(ROTATE_BEFORE, text.clone()) {
        Ok(before) => Some(before),
        Err(error) => {
            tracing::warn!(secret = SECRET, %error, "an annotation is not understood");
            None
        }
    }
}

/// Shows the certificates to the workers; writes nothing where they are shown already.
pub(crate) async fn publish(client: Client, namespace: &str, bundle: &str) -> Result<(), StoreError> {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let shown = api.get_opt(CA_CONFIG_MAP).await.map_err(StoreError::api)?;
    let shown = shown.as_ref().and_then(|map| map.data.as_ref()?.get(CA_KEY));
    if shown.is_some_and(|shown| shown == bundle) {
        return Ok(());
    }
    let map = ConfigMap {
        metadata: metadata(CA_CONFIG_MAP),
        data: Some(BTreeMap::from([(CA_KEY.to_owned(), bundle.to_owned())])),
        ..ConfigMap::default()
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(CA_CONFIG_MAP, &params, &Patch::Apply(map))
        .await
        .map_err(StoreError::api)?;
    tracing::info!(
        config_map = CA_CONFIG_MAP,
        "published the certificates that workers trust"
    );
    Ok(())
}

fn metadata(name: &str) -> ObjectMeta {
    let labels = [
        ("app.kubernetes.io/name", "shoalwatch"),
        ("app.kubernetes.io/component", "operator"),
        ("app.kubernetes.io/managed-by", "shoalwatch-operator"),
    ];
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
