//! The rows, and how they are told.

use std::fmt::{self, Display, Formatter};

/// One number beside its goal.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) goal: String,
    pub(crate) result: String,
    /// Absent: it is told, not judged.
    pub(crate) met: Option<bool>,
    pub(crate) how: String,
}

/// The table of README.
pub(crate) struct Table(pub(crate) Vec<Row>);

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | goal | here | how it was measured |")?;
        writeln!(f, "|---|---|---|---|")?;
        for row in &self.0 {
            let missed = if row.met == Some(false) { " (missed)" } else { "" };
            writeln!(
                f,
                "| {} | {} | {}{missed} | {} |",
                row.what, row.goal, row.result, row.how
            )?;
        }
        Ok(())
    }
}

/// The middle of several rounds; 0 of none.
pub(crate) fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds.get(rounds.len() / 2).copied().unwrap_or_default()
}
