//! Where the authority is kept: whole in a Secret, its certificate for everybody in a ConfigMap.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use shoalwatch_crds::names::FIELD_MANAGER;
use shoalwatch_node_api::{CA_CONFIG_MAP, CA_KEY};

use super::{Authority, Error};
use crate::clock::Clock;

/// The Secret's name.
pub(crate) const SECRET: &str = "shoalwatch-ca";
/// The Secret's key that holds the private key.
const PRIVATE_KEY: &str = "ca.key";
/// How often another replica's Secret may vanish under our eyes before that is an error.
const ATTEMPTS: usize = 3;

/// Why the authority could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The API server did not answer, or refused. Passes.
    #[error(
        "the API server refused; the operator needs get and create on secrets, get and patch on configmaps in its own \
         namespace"
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
    /// The Secret was there at the create and gone at the get, again and again.
    #[error("Secret {SECRET} appears and vanishes: something else deletes it")]
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

/// The authority of this installation: read, or made if nobody has. Replicas that start together agree on the one whose
/// Secret was created first.
pub(crate) async fn obtain(client: Client, namespace: &str, clock: &dyn Clock) -> Result<Authority, StoreError> {
    let api: Api<Secret> = Api::namespaced(client, namespace);
    for _ in 0..ATTEMPTS {
        if let Some(secret) = api.get_opt(SECRET).await.map_err(StoreError::api)? {
            return read(&secret, clock).map_err(StoreError::Unusable);
        }
        let authority = Authority::generate(clock.now()).map_err(StoreError::Make)?;
        match api.create(&PostParams::default(), &written(&authority)).await {
            Ok(_) => {
                tracing::info!(secret = SECRET, expires = %authority.expires(), "created the certification authority");
                return Ok(authority);
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(StoreError::api(error)),
        }
    }
    Err(StoreError::Unstable)
}

fn written(authority: &Authority) -> Secret {
    let data = [
        (CA_KEY, authority.certificate().to_owned()),
        (PRIVATE_KEY, authority.key_pem()),
    ];
    Secret {
        metadata: metadata(SECRET),
        type_: Some("Opaque".to_owned()),
        data: Some(
            data.map(|(name, value)| (name.to_owned(), ByteString(value.into_bytes())))
                .into(),
        ),
        ..Secret::default()
    }
}

fn read(secret: &Secret, clock: &dyn Clock) -> Result<Authority, Error> {
    let text = |name: &'static str| {
        let data = secret.data.as_ref().and_then(|data| data.get(name));
        let bytes = data.ok_or(Error::Missing(name))?;
        Ok(String::from_utf8_lossy(&bytes.0).into_owned())
    };
    Authority::read(&text(CA_KEY)?, &text(PRIVATE_KEY)?, clock.now())
}

/// Shows the certificate to the workers; writes nothing where it is shown already.
pub(crate) async fn publish(client: Client, namespace: &str, certificate: &str) -> Result<(), StoreError> {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let shown = api.get_opt(CA_CONFIG_MAP).await.map_err(StoreError::api)?;
    let shown = shown.as_ref().and_then(|map| map.data.as_ref()?.get(CA_KEY));
    if shown.is_some_and(|shown| shown == certificate) {
        return Ok(());
    }
    let map = ConfigMap {
        metadata: metadata(CA_CONFIG_MAP),
        data: Some(BTreeMap::from([(CA_KEY.to_owned(), certificate.to_owned())])),
        ..ConfigMap::default()
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(CA_CONFIG_MAP, &params, &Patch::Apply(map))
        .await
        .map_err(StoreError::api)?;
    tracing::info!(
        config_map = CA_CONFIG_MAP,
        "published the certificate that workers trust"
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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        clock::ManualClock,
        testing::{Asked, api_server},
    };

    const GET: &str = "GET /api/v1/namespaces/shoalwatch/secrets/shoalwatch-ca";
    const CREATE: &str = "POST /api/v1/namespaces/shoalwatch/secrets";

    fn clock() -> std::sync::Arc<ManualClock> {
        ManualClock::at("2026-11-22T04:00:00Z")
    }

    fn stored() -> (Authority, Value) {
        let authority = Authority::generate(clock().now()).unwrap();
        let secret = serde_json::to_value(written(&authority)).unwrap();
        (authority, secret)
    }

    #[tokio::test]
    async fn the_first_replica_makes_an_authority_that_the_next_one_reads() {
        let (client, mut server) = api_server();
        let clock = clock();
        let (made, secret) = tokio::join!(obtain(client.clone(), "shoalwatch", &*clock), async {
            assert_eq!(server.refuse(404, "NotFound").await.what, GET);
            server.accept().await
        });
        assert_eq!(secret.what, CREATE);
        let read = obtain(client, "shoalwatch", &*clock);
        let (read, _) = tokio::join!(read, server.answer(|_| (200, secret.body)));
        assert_eq!(read.unwrap().certificate(), made.unwrap().certificate());
    }

    #[tokio::test]
    async fn of_two_replicas_that_start_together_the_second_takes_the_firsts_authority() {
        let (client, mut server) = api_server();
        let clock = clock();
        let (winner, secret) = stored();
        let (got, ()) = tokio::join!(obtain(client, "shoalwatch", &*clock), async {
            server.refuse(404, "NotFound").await;
            assert_eq!(server.refuse(409, "AlreadyExists").await.what, CREATE);
            server.answer(|_| (200, secret)).await;
        });
        assert_eq!(got.unwrap().certificate(), winner.certificate());
    }

    #[tokio::test]
    async fn a_secret_that_cannot_serve_is_an_error_that_says_what_to_do_and_does_not_pass() {
        let (_, good) = stored();
        let mut keyless = good.clone();
        keyless["data"].as_object_mut().unwrap().remove(PRIVATE_KEY);
        let mut garbage = good;
        garbage["data"][CA_KEY] = json!("Z2FyYmFnZQ==");
        for (secret, category) in [(keyless, "Corrupt"), (garbage, "Corrupt"), (json!({}), "Corrupt")] {
            let (client, mut server) = api_server();
            let clock = clock();
            let got = obtain(client, "shoalwatch", &*clock);
            let (got, _) = tokio::join!(got, server.answer(|_| (200, secret)));
            let error = got.unwrap_err();
            assert_eq!((error.category(), error.passes()), (category, false));
            assert!(
                error.to_string().contains("Delete it and restart the operator"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn an_api_server_that_refuses_may_be_asked_again() {
        let (client, mut server) = api_server();
        let clock = clock();
        let got = obtain(client, "shoalwatch", &*clock);
        let (got, _) = tokio::join!(got, server.refuse(403, "Forbidden"));
        assert!(got.unwrap_err().passes());
    }

    fn config_map(certificate: &str) -> impl FnOnce(&Asked) -> (u16, Value) + use<> {
        let map = json!({"metadata": {"name": CA_CONFIG_MAP}, "data": {CA_KEY: certificate}});
        move |_| (200, map)
    }

    #[tokio::test]
    async fn a_certificate_that_is_shown_already_is_not_written_again() {
        let (client, mut server) = api_server();
        let publishing = publish(client, "shoalwatch", "mine");
        let (published, ()) = tokio::join!(publishing, async {
            server.answer(config_map("mine")).await;
        });
        published.unwrap();
    }

    #[tokio::test]
    async fn a_certificate_that_somebody_changed_is_put_back() {
        let (client, mut server) = api_server();
        let publishing = publish(client, "shoalwatch", "mine");
        let (published, patch) = tokio::join!(publishing, async {
            server.answer(config_map("theirs")).await;
            server.accept().await
        });
        published.unwrap();
        assert_eq!(
            patch.what,
            "PATCH /api/v1/namespaces/shoalwatch/configmaps/shoalwatch-ca"
        );
        assert_eq!(patch.body["data"][CA_KEY], "mine");
    }
}
