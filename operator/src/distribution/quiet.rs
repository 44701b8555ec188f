//! Requests whose answers hold secrets.

use kube::Client;
use serde::de::{DeserializeOwned, Error as _};

/// As `Client::request`, which logs the whole of an answer that it cannot read. Here that would be a token, or a key.
pub(super) async fn request<T: DeserializeOwned>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<T, kube::Error> {
    let text = client.request_text(request.map_err(kube::Error::BuildRequest)?).await?;
    serde_json::from_str(&text).map_err(|error| kube::Error::SerdeError(located(&error)))
}

/// As [`request`]; nothing where the API server says that there is no such object.
pub(super) async fn request_opt<T: DeserializeOwned>(
    client: &Client,
    asked: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Option<T>, kube::Error> {
    match request(client, asked).await {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the answer made no sense; the parser's own words may quote it.
fn located(error: &serde_json::Error) -> serde_json::Error {
    serde_json::Error::custom(format!(
        "the answer cannot be read from line {}, column {}",
        error.line(),
        error.column()
    ))
}
