//! Real servers that know nothing of the worker.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    client::Client,
    harness::{Outcome, Process, find, free_address, wait_for},
};

/// How often each route was answered with each status.
pub(crate) type Counts = BTreeMap<(String, u16), u64>;

/// How often each peer, an address with its port, was asked with each status as the answer; 0: none came.
pub(crate) type Calls = BTreeMap<(String, u16), u64>;

/// A running server, recognised by what its configuration says.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The fields of a host service that select it and no other process.
    pub(crate) selector: String,
    /// Processes that answer requests.
    pub(crate) processes: u64,
    _process: Process,
    /// Its files live as long as it does.
    _folder: TempDir,
}

impl Server {
    fn start(
        mut command: Command,
        address: SocketAddr,
        folder: TempDir,
        selector: String,
        processes: u64,
    ) -> Outcome<Self> {
        let process = Process::start(command.stdout(Stdio::null()).stdin(Stdio::null()))?;
        wait_for("the server", || Ok(Client::connect(address).ok()))?;
        Ok(Self {
            address,
            selector,
            processes,
            _process: process,
            _folder: folder,
        })
    }

    /// A master and two workers. Workers have no arguments of their own, so the program has a name of its own.
    pub(crate) fn nginx() -> Outcome<Self> {
        let (address, folder) = (free_address()?, tempfile::tempdir()?);
        let path = folder.path().to_str().ok_or("folder")?;
        let name = format!("nginx-{}", address.port());
        let program = folder.path().join(&name);
        fs::copy(find("nginx").ok_or("nginx")?, &program)?;
        let config = fs::read_to_string(server_file("nginx.conf"))?.replace("PORT", &address.port().to_string());
        fs::write(folder.path().join("nginx.conf"), config.replace("FOLDER", path))?;
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let mut command = Command::new(program);
        command.args(["-p", path, "-c", "nginx.conf", "-e", "error.log"]);
        Self::start(command, address, folder, format!("executable: {name}"), 3)
    }

    pub(crate) fn script(interpreter: &str, file: &str) -> Outcome<Self> {
        Self::script_with(interpreter, file, &[])
    }

    /// With what follows the port on its command line.
    pub(crate) fn script_with(interpreter: &str, file: &str, arguments: &[&str]) -> Outcome<Self> {
        let (address, folder) = (free_address()?, tempfile::tempdir()?);
        let mut command = Command::new(find(interpreter).ok_or("interpreter")?);
        command
            .arg(server_file(file))
            .arg(address.port().to_string())
            .args(arguments);
        Self::start(command, address, folder, argument(address), 1)
    }

    pub(crate) fn go() -> Outcome<Self> {
        let (address, folder) = (free_address()?, tempfile::tempdir()?);
        let binary = folder.path().join("server-go");
        let mut build = Command::new(find("go").ok_or("go")?);
        build
            .args(["build", "-o"])
            .arg(&binary)
            .arg(server_file("server.go"))
            .env("GO111MODULE", "off");
        if !build.status()?.success() {
            return Err("the Go server does not build".into());
        }
        let mut command = Command::new(binary);
        command.arg(address.port().to_string());
        Self::start(command, address, folder, argument(address), 1)
    }
}

fn argument(address: SocketAddr) -> String {
    format!("argumentContains: \"{}\"", address.port())
}

pub(crate) fn server_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}
