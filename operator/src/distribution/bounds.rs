//! What a worker's message may not exceed. Nothing out of bounds goes further than here.

use shoalwatch_node_api::{limits, wire};

/// Which field is out of bounds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} has {found} {unit}: at most {most}")]
pub(super) struct OutOfBounds {
    field: &'static str,
    found: usize,
    most: usize,
    unit: &'static str,
}

type Checked = Result<(), OutOfBounds>;

pub(super) fn hello(hello: &wire::Hello) -> Checked {
    name("hello.node_name", &hello.node_name)?;
    name("hello.worker_version", &hello.worker_version)?;
    name("hello.start_id", &hello.start_id)?;
    name("hello.kernel_release", &hello.kernel_release)?;
    version("hello.applied.hash", hello.applied.as_ref())?;
    entries("hello.degraded", hello.degraded.len(), limits::DEGRADED)?;
    hello
        .degraded
        .iter()
        .try_for_each(|sentence| bytes("hello.degraded", sentence, limits::REASON_BYTES))
}

pub(super) fn ack(ack: &wire::Ack) -> Checked {
    name("ack.nonce", &ack.nonce)?;
    version("ack.version.hash", ack.version.as_ref())
}

pub(super) fn nack(nack: &wire::Nack) -> Checked {
    name("nack.nonce", &nack.nonce)?;
    version("nack.version.hash", nack.version.as_ref())?;
    bytes("nack.reason", &nack.reason, limits::REASON_BYTES)
}

pub(super) fn report(report: &wire::SliReport) -> Checked {
    name("sli_report.start_id", &report.start_id)?;
    entries("sli_report.rows", report.rows.len(), limits::REPORT_ROWS)?;
    report.rows.iter().try_for_each(|row| {
        name("sli_report.rows.sli_id", &row.sli_id)?;
        name("sli_report.rows.revision", &row.revision)
    })
}

fn name(field: &'static str, text: &str) -> Checked {
    bytes(field, text, limits::NAME_BYTES)
}

fn version(field: &'static str, version: Option<&wire::Version>) -> Checked {
    version.map_or(Ok(()), |version| name(field, &version.hash))
}

fn bytes(field: &'static str, text: &str, most: usize) -> Checked {
    within(field, text.len(), most, "bytes")
}

fn entries(field: &'static str, found: usize, most: usize) -> Checked {
    within(field, found, most, "entries")
}

fn within(field: &'static str, found: usize, most: usize, unit: &'static str) -> Checked {
    if found <= most {
        return Ok(());
    }
    Err(OutOfBounds {
        field,
        found,
        most,
        unit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> wire::SliReport {
        wire::SliReport {
            rows: vec![wire::SliRow::default(); count],
            ..wire::SliReport::default()
        }
    }

    #[test]
    fn a_report_may_be_full_but_not_fuller() {
        assert_eq!(report(&rows(limits::REPORT_ROWS)), Ok(()));
        let error = report(&rows(limits::REPORT_ROWS + 1)).unwrap_err();
        assert_eq!(error.to_string(), "sli_report.rows has 4097 entries: at most 4096");
    }

    #[test]
    fn a_long_name_is_refused_wherever_it_stands() {
        let long = "x".repeat(limits::NAME_BYTES + 1);
        let mut sli = rows(2);
        sli.rows[1].revision.clone_from(&long);
        assert!(report(&sli).is_err());
        let node = wire::Hello {
            node_name: long.clone(),
            ..wire::Hello::default()
        };
        assert!(hello(&node).is_err());
        let applied = wire::Hello {
            applied: Some(wire::Version { term: 1, hash: long }),
            ..wire::Hello::default()
        };
        assert!(hello(&applied).is_err());
    }

    #[test]
    fn a_reason_of_a_kibibyte_passes() {
        let said = |length| wire::Nack {
            reason: "x".repeat(length),
            ..wire::Nack::default()
        };
        assert_eq!(nack(&said(limits::REASON_BYTES)), Ok(()));
        assert!(nack(&said(limits::REASON_BYTES + 1)).is_err());
    }
}
