//! `make demo`: the main job, for real, on one screen.

#![forbid(unsafe_code)]

mod screen;
mod story;
mod table;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    story::tell().await
}
