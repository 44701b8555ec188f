//! Waiting for a level: something that is true of the present state, however it came about.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How often a level is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Looks until `look` gives `Ok(Some(…))`, and says what it saw last when the time is over.
///
/// An error of `look` is what it saw: the API server may be away for a moment in a test that makes it so.
pub async fn until<T, F>(what: &str, within: Duration, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let end = Instant::now() + within;
    let mut last = String::from("not there yet");
    while Instant::now() < end {
        match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(EVERY).await;
    }
    Err(anyhow!("{what}: not within {} s ({last})", within.as_secs()))
}
