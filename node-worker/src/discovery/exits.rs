//! Ends of observed processes, by pidfd: a thread's exit is not its process's, and a number may be used again.

use std::{collections::HashMap, io, mem::MaybeUninit, os::fd::OwnedFd};

use rustix::{
    event::{Timespec, epoll},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// Ends that one look reports at most; the rest is there at the next look.
const BATCH: usize = 64;

/// Tells which of the watched processes ended.
pub(crate) struct Exits {
    epoll: OwnedFd,
    watched: HashMap<u32, OwnedFd>,
}

impl Exits {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            watched: HashMap::new(),
        })
    }

    /// Watches a process from now on. `NotFound` if it ended already.
    pub(crate) fn watch(&mut self, tgid: u32) -> io::Result<()> {
        if self.watched.contains_key(&tgid) {
            return Ok(());
        }
        let pid = i32::try_from(tgid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| match errno {
            rustix::io::Errno::SRCH => io::ErrorKind::NotFound.into(),
            other => io::Error::from(other),
        })?;
        let data = epoll::EventData::new_u64(tgid.into());
        epoll::add(&self.epoll, &pidfd, data, epoll::EventFlags::IN)?;
        self.watched.insert(tgid, pidfd);
        Ok(())
    }

    pub(crate) fn forget(&mut self, tgid: u32) {
        // Closing the descriptor removes it from the epoll set.
        self.watched.remove(&tgid);
    }

    /// The watched processes that ended since the last call; they are not watched any more.
    pub(crate) fn ended(&mut self) -> io::Result<Vec<u32>> {
        if self.watched.is_empty() {
            return Ok(Vec::new());
        }
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; BATCH];
        let (ready, _) = epoll::wait(&self.epoll, &mut room, Some(&at_once))?;
        let ended: Vec<u32> = ready
            .iter()
            .filter_map(|event| u32::try_from(event.data.u64()).ok())
            .collect();
        for tgid in &ended {
            self.forget(*tgid);
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_end_is_told_once_and_only_of_the_process_that_ended() {
        let mut exits = Exits::new().unwrap();
        let mut lasting = Command::new("sleep").arg("60").spawn().unwrap();
        let mut ending = Command::new("sleep").arg("60").spawn().unwrap();
        exits.watch(lasting.id()).unwrap();
        exits.watch(ending.id()).unwrap();
        assert!(exits.ended().unwrap().is_empty());
        ending.kill().unwrap();
        let mut ended = exits.ended().unwrap();
        while ended.is_empty() {
            std::thread::yield_now();
            ended = exits.ended().unwrap();
        }
        assert_eq!(ended, [ending.id()]);
        assert!(exits.ended().unwrap().is_empty());
        lasting.kill().unwrap();
        lasting.wait().unwrap();
        ending.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_gone_is_not_found() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let error = Exits::new().unwrap().watch(child.id()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
