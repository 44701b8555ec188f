//! The rows of the pipeline's own benchmark, which needs neither nginx nor root.

use std::process::{Command, Stdio};

use crate::{harness::Outcome, table::Row};

pub(crate) fn rows() -> Outcome<Vec<Row>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "bench",
            "--quiet",
            "--profile",
            "dev",
            "-p",
            "shoalwatch-pipeline",
            "--bench",
            "otlp",
        ])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the pipeline's benchmark: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    text.lines().filter(|line| !line.is_empty()).map(row).collect()
}

/// `what: 12 ns (fastest tenth 11 ns), goal 30 ns`, the goal only where there is one.
fn row(line: &str) -> Outcome<Row> {
    let (what, rest) = line.split_once(": ").ok_or_else(|| format!("no row: {line}"))?;
    let (result, goal) = match rest.split_once(", goal ") {
        Some((result, goal)) => (result, Some(goal)),
        None => (rest, None),
    };
    let met = goal
        .map(|goal| Ok::<_, String>(nanoseconds(result)? <= nanoseconds(goal)?))
        .transpose()?;
    Ok(Row {
        what: what.into(),
        goal: goal.map_or_else(String::new, |goal| format!("≤ {goal}")),
        result: result.into(),
        met,
        how: "`cargo bench -p shoalwatch-pipeline`; median of 201".into(),
    })
}

fn nanoseconds(text: &str) -> Result<f64, String> {
    let number = text.split(' ').next().unwrap_or_default();
    number.parse().map_err(|error| format!("{text:?}: {error}"))
}
