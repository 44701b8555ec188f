//! Which processes there are: a look at `/proc`, their containers by cgroup path, their ends by pidfd.

mod cgroup;
mod exits;
mod process;

pub(crate) use cgroup::ContainerRef;
pub(crate) use exits::Exits;
pub(crate) use process::{Command, ProcFs};
