//! Where a tracepoint's fields lie, as the running kernel says.

use std::{fs, io};

/// Where the tracing file system is mounted: its own place, and the older one below debugfs.
const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Offsets in the record of `task/task_newtask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewtaskOffsets {
    pub(super) pid: u32,
    pub(super) flags: u32,
}

impl NewtaskOffsets {
    /// Reads them from the tracepoint's `format` file.
    pub(super) fn read() -> io::Result<Self> {
        let format = read_format("task/task_newtask")?;
        Self::parse(&format)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "task_newtask has no pid and clone_flags"))
    }

    fn parse(format: &str) -> Option<Self> {
        Some(Self {
            pid: field_offset(format, "pid", 4)?,
            flags: field_offset(format, "clone_flags", 8)?,
        })
    }
}

/// Whether the record of `raw_syscalls/sys_exit` can be had and is what the programs take it for: no kernel has changed it.
pub(super) fn check_sys_exit() -> io::Result<()> {
    let format = read_format("raw_syscalls/sys_exit")?;
    let known = field_offset(&format, "ret", 8) == Some(16);
    known
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

/// The offset of a field of that size; none when there is no such field.
///
/// A line reads `field:pid_t pid;`, `offset:8;`, `size:4;`, `signed:1;`, set apart by tabs.
fn field_offset(format: &str, name: &str, size: u32) -> Option<u32> {
    format.lines().find_map(|line| {
        let mut parts = line.trim().split(';').map(str::trim);
        let declaration = parts.next()?.strip_prefix("field:")?;
        if declaration.rsplit(' ').next()? != name {
            return None;
        }
        let offset = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
        let found: u32 = parts.next()?.strip_prefix("size:")?.parse().ok()?;
        (found == size).then_some(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: task_newtask
ID: 117
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:pid_t pid;	offset:8;	size:4;	signed:1;
	field:char comm[16];	offset:12;	size:16;	signed:0;
	field:unsigned long clone_flags;	offset:32;	size:8;	signed:0;
	field:short oom_score_adj;	offset:40;	size:2;	signed:1;
";

    #[test]
    fn offsets_come_from_the_line_of_the_field_itself() {
        let expected = NewtaskOffsets { pid: 8, flags: 32 };
        assert_eq!(NewtaskOffsets::parse(FORMAT), Some(expected));
    }

    #[test]
    fn a_missing_field_or_another_size_gives_no_offsets() {
        assert_eq!(NewtaskOffsets::parse(&FORMAT.replace("clone_flags", "flags")), None);
        assert_eq!(
            NewtaskOffsets::parse(&FORMAT.replace("offset:8;	size:4", "offset:8;	size:8")),
            None
        );
        assert_eq!(NewtaskOffsets::parse(&FORMAT.replace("offset:32", "offset:x")), None);
        assert_eq!(NewtaskOffsets::parse(""), None);
    }
}
