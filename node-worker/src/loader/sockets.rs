//! The sockets that a process already had open when it was selected.

use std::{fs, io};

use super::error::ProbeError;

/// Descriptors of the process that are sockets. Empty when the process is gone.
pub(super) fn open_sockets(tgid: u32) -> Result<Vec<u32>, ProbeError> {
    let open_files = |source| ProbeError::OpenFiles { tgid, source };
    let entries = match fs::read_dir(format!("/proc/{tgid}/fd")) {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        other => other.map_err(open_files)?,
    };
    let mut sockets = Vec::new();
    for entry in entries {
        let entry = match entry {
            Err(error) if is_gone(&error) => break,
            other => other.map_err(open_files)?,
        };
        // A descriptor that was closed meanwhile has no target any more: it is not a socket either.
        let is_socket = fs::read_link(entry.path())
            .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        let fd: Option<u32> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        sockets.extend(fd.filter(|_| is_socket));
    }
    Ok(sockets)
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, net::UdpSocket, os::fd::AsRawFd, process};

    use super::*;

    #[test]
    fn only_sockets_are_listed() {
        let (socket, file) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            File::open("/dev/null").unwrap(),
        );
        let listed = open_sockets(process::id()).unwrap();
        let number = |fd: i32| u32::try_from(fd).unwrap();
        assert!(listed.contains(&number(socket.as_raw_fd())));
        assert!(!listed.contains(&number(file.as_raw_fd())));
    }

    #[test]
    fn a_process_that_is_gone_has_no_sockets() {
        // Above every possible pid (2^22).
        assert_eq!(open_sockets(5_000_000).unwrap(), Vec::<u32>::new());
    }
}
