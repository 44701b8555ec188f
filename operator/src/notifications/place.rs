//! Where a receiver is: written in the SLO, or in a Secret beside it.

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use tokio::time::timeout;

use super::{Failure, PATIENCE};
use crate::http_client::Address;
use crate::retry;
use crate::rollback::access::SERVICE_ACCOUNT;

/// The Role that lets the operator get a Secret, as the README has users create it.
const ROLE: &str = "shoalwatch-notifications";

/// Where a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// There.
    Address(Address),
    /// Where a Secret says.
    Secret {
        namespace: String,
        name: String,
        key: String,
    },
}

impl Place {
    /// The address; of a Secret as it is now. `home`: the operator's own namespace.
    pub(super) async fn address(&self, client: &Client, home: &str) -> Result<Address, Failure> {
        let (namespace, name, key) = match self {
            Self::Address(address) => return Ok(address.clone()),
            Self::Secret { namespace, name, key } => (namespace, name, key),
        };
        let unavailable = |why| Failure::SecretUnavailable {
            name: name.clone(),
            why,
        };
        let missing = || Failure::SecretMissing {
            name: name.clone(),
            key: key.clone(),
        };
        let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
        let found = timeout(PATIENCE, secrets.get(name)).await;
        let secret = match found.map_err(|_elapsed| unavailable("timeout"))? {
            Ok(secret) => secret,
            // Not the error itself: one about the answer's form may quote it.
            Err(error) => match retry::category(&error) {
                "forbidden" => {
                    let remedy = remedy(namespace, name, home);
                    let name = name.clone();
                    return Err(Failure::SecretForbidden { name, remedy });
                }
                "not_found" => return Err(missing()),
                why => return Err(unavailable(why)),
            },
        };
        let held = secret
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .ok_or_else(missing)?;
        // A file that was made into a Secret ends with a line break.
        let text = str::from_utf8(&held.0).unwrap_or_default().trim();
        Address::read(text).map_err(|problem| Failure::SecretInvalid {
            name: name.clone(),
            key: key.clone(),
            problem,
        })
    }
}

fn remedy(namespace: &str, secret: &str, home: &str) -> String {
    format!(
        "kubectl create role {ROLE} -n {namespace} --verb=get --resource=secrets --resource-name={secret}; kubectl create \
         rolebinding {ROLE} -n {namespace} --role={ROLE} --serviceaccount={home}:{SERVICE_ACCOUNT}"
    )
}
