//! The observed server.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::harness::{Outcome, Process, find, free_address, wait_for};

/// A running nginx: a master and one worker.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    /// The name of its executable, which no other process has.
    pub(crate) executable: String,
    process: Process,
    /// Its files live as long as it does.
    _folder: TempDir,
}

impl Nginx {
    /// Master and worker.
    pub(crate) const PROCESSES: u64 = 2;

    pub(crate) fn start(core: usize) -> Outcome<Self> {
        let (address, folder) = (free_address()?, tempfile::tempdir()?);
        let path = folder.path().to_str().ok_or("folder")?;
        let executable = format!("nginx-{}", address.port());
        let program = folder.path().join(&executable);
        fs::copy(find("nginx").ok_or("nginx")?, &program)?;
        let config = include_str!("nginx.conf").replace("PORT", &address.port().to_string());
        fs::write(folder.path().join("nginx.conf"), config.replace("FOLDER", path))?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let mut command = Command::new(program);
        command.args(["-p", path, "-c", "nginx.conf", "-e", "error.log"]);
        let process = Process::start(command.stdout(Stdio::null()).stdin(Stdio::null()), core)?;
        wait_for("nginx", || Ok(TcpStream::connect(address).ok()))?;
        Ok(Self {
            address,
            executable,
            process,
            _folder: folder,
        })
    }

    /// The process that answers.
    pub(crate) fn worker(&self) -> Outcome<u32> {
        let master = self.process.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        Ok(children.trim().parse()?)
    }
}
