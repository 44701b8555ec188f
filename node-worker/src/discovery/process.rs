//! What `/proc` says of one process.
//!
//! A process may end between any two reads; whatever cannot be read any more is "not there", never an error.

use std::{fs, path::Path};

use super::cgroup::{self, ContainerRef};

/// Bytes of a command line that are looked at: a process can make its own as long as it likes.
const MAX_COMMAND_LINE: usize = 64 << 10;

/// What a host service is recognised by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// Last component of the executable's path.
    pub(crate) executable: String,
    /// The command line, with the program's own name first.
    pub(crate) arguments: Vec<String>,
}

/// Where processes are looked up: `/proc`, or a folder of a test.
#[derive(Clone, Debug)]
pub(crate) struct ProcFs(Box<Path>);

impl Default for ProcFs {
    fn default() -> Self {
        Self(Path::new("/proc").into())
    }
}

impl ProcFs {
    /// A folder that looks like `/proc`.
    #[cfg(test)]
    pub(crate) fn at(folder: &Path) -> Self {
        Self(folder.into())
    }

    /// Every process there is now.
    pub(crate) fn processes(&self) -> std::io::Result<impl Iterator<Item = u32> + use<>> {
        Ok(fs::read_dir(&self.0)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
    }

    /// Absent for a process of no container, and for one that ended.
    pub(crate) fn container(&self, tgid: u32) -> Option<ContainerRef> {
        let text = fs::read_to_string(self.file(tgid, "cgroup")).ok()?;
        cgroup::container_of(&text)
    }

    /// Absent for kernel threads, and for a process that ended.
    pub(crate) fn command(&self, tgid: u32) -> Option<Command> {
        command_in(&self.0.join(tgid.to_string())).or_else(|| self.command_of_a_thread(tgid))
    }

    /// A process goes on when the thread that it began with has ended: then only the others know its program.
    fn command_of_a_thread(&self, tgid: u32) -> Option<Command> {
        let threads = fs::read_dir(self.file(tgid, "task")).ok()?;
        threads.flatten().find_map(|thread| command_in(&thread.path()))
    }

    fn file(&self, tgid: u32, name: &str) -> Box<Path> {
        self.0.join(tgid.to_string()).join(name).into()
    }
}

fn command_in(folder: &Path) -> Option<Command> {
    let path = fs::read_link(folder.join("exe")).ok()?;
    let executable = path.file_name()?.to_string_lossy();
    // The kernel marks a program whose file was replaced by an upgrade.
    let executable = executable.strip_suffix(" (deleted)").unwrap_or(&executable).to_owned();
    Some(Command {
        executable,
        arguments: arguments_in(folder),
    })
}

fn arguments_in(folder: &Path) -> Vec<String> {
    let mut line = fs::read(folder.join("cmdline")).unwrap_or_default();
    line.truncate(MAX_COMMAND_LINE);
    line.split(|byte| *byte == 0)
        .filter(|argument| !argument.is_empty())
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn process(folder: &Path, tgid: u32) -> Box<Path> {
        let process = folder.join(tgid.to_string());
        fs::create_dir(&process).unwrap();
        process.into()
    }

    #[test]
    fn only_numbered_folders_are_processes() {
        let folder = tempfile::tempdir().unwrap();
        process(folder.path(), 41);
        fs::create_dir(folder.path().join("sys")).unwrap();
        let found: Vec<_> = ProcFs::at(folder.path()).processes().unwrap().collect();
        assert_eq!(found, [41]);
    }

    #[test]
    fn a_replaced_program_keeps_its_name_and_arguments_are_split() {
        let folder = tempfile::tempdir().unwrap();
        let process = process(folder.path(), 7);
        symlink("/usr/sbin/nginx (deleted)", process.join("exe")).unwrap();
        fs::write(process.join("cmdline"), b"nginx: master\0-c\0/etc/n.conf\0").unwrap();
        let command = ProcFs::at(folder.path()).command(7).unwrap();
        assert_eq!(command.executable, "nginx");
        assert_eq!(command.arguments, ["nginx: master", "-c", "/etc/n.conf"]);
    }

    #[test]
    fn a_process_whose_first_thread_ended_is_known_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let process = process(folder.path(), 7);
        for thread in ["7", "8"] {
            fs::create_dir_all(process.join("task").join(thread)).unwrap();
        }
        symlink("/usr/bin/java", process.join("task/8/exe")).unwrap();
        fs::write(process.join("task/8/cmdline"), b"java\0-jar\0").unwrap();
        let command = ProcFs::at(folder.path()).command(7).unwrap();
        assert_eq!((command.executable.as_str(), command.arguments.len()), ("java", 2));
    }

    #[test]
    fn a_process_that_ended_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let proc_fs = ProcFs::at(folder.path());
        assert_eq!(proc_fs.command(7), None);
        assert_eq!(proc_fs.container(7), None);
    }

    #[test]
    fn this_process_is_found_with_its_own_program() {
        let proc_fs = ProcFs::default();
        let me = std::process::id();
        assert!(proc_fs.processes().unwrap().any(|tgid| tgid == me));
        let program = std::env::current_exe().unwrap();
        assert_eq!(
            proc_fs.command(me).unwrap().executable,
            program.file_name().unwrap().to_string_lossy()
        );
    }
}
