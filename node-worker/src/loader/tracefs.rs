//! Whether a perf tracepoint can be had, and is what the programs take it for.

use std::{fs, io};

/// Where the tracing file system is mounted: its own place, and the older one below debugfs.
const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// Where the programs find a call's result in the record of `raw_syscalls/sys_exit`, and its size.
const RESULT: (u32, u32) = (16, 8);

/// Looks for `raw_syscalls/sys_exit`. No kernel has changed its record so far.
pub(super) fn check_sys_exit() -> io::Result<()> {
    let has_result = field(&read_format("raw_syscalls/sys_exit")?, "ret") == Some(RESULT);
    has_result
        .then_some(())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "sys_exit has no result at its offset 16"))
}

fn read_format(tracepoint: &str) -> io::Result<String> {
    let mut result = Err(io::ErrorKind::NotFound.into());
    for mount in MOUNTS {
        result = fs::read_to_string(format!("{mount}/events/{tracepoint}/format"));
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Offset and size of a field; none when there is no such field.
///
/// A line reads `field:long ret;`, `offset:16;`, `size:8;`, `signed:1;`, set apart by tabs.
fn field(format: &str, name: &str) -> Option<(u32, u32)> {
    format.lines().find_map(|line| {
        let mut parts = line.trim().split(';').map(str::trim);
        let declaration = parts.next()?.strip_prefix("field:")?;
        if declaration.rsplit(' ').next()? != name {
            return None;
        }
        let offset = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
        Some((offset, parts.next()?.strip_prefix("size:")?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sys_exit
ID: 348
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:long id;	offset:8;	size:8;	signed:1;
	field:long ret;	offset:16;	size:8;	signed:1;

print fmt: \"NR %ld = %ld\", REC->id, REC->ret
";

    #[test]
    fn a_fields_place_comes_from_its_own_line() {
        assert_eq!(field(FORMAT, "ret"), Some(RESULT));
        assert_eq!(field(FORMAT, "id"), Some((8, 8)));
    }

    #[test]
    fn a_missing_field_or_a_damaged_line_has_no_place() {
        assert_eq!(field(&FORMAT.replace("long ret", "long result"), "ret"), None);
        assert_eq!(field(&FORMAT.replace("offset:16", "offset:x"), "ret"), None);
        assert_eq!(field("", "ret"), None);
    }
}
