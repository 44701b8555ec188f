//! The tasks that live as long as the process. When one of them ends by itself, all end: a process with half of its
//! tasks looks alive and does nothing, while one that exits is restarted.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::{
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the process ends without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum Death {
    /// A task failed.
    #[error("task {task} failed")]
    Failed {
        /// Which.
        task: &'static str,
        /// With what.
        #[source]
        cause: Cause,
    },
    /// A task returned although nobody asked it to.
    #[error("task {0} ended by itself")]
    Ended(&'static str),
    /// Asked to stop, a task did not.
    #[error("task {0} did not stop in time")]
    Stuck(&'static str),
}

/// Watches over the tasks.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<Result<(), Cause>>,
    names: HashMap<Id, (&'static str, Shift)>,
    early: CancellationToken,
    late: CancellationToken,
}

/// When a task is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// At once.
    Early,
    /// After all early ones have ended: they still need it.
    Late,
}

impl Supervisor {
    /// The token that tells the tasks of `shift` to stop.
    #[must_use]
    pub fn stop(&self, shift: Shift) -> CancellationToken {
        match shift {
            Shift::Early => self.early.clone(),
            Shift::Late => self.late.clone(),
        }
    }

    /// Starts a task that must run until its shift's token is cancelled.
    pub fn spawn<E: Into<Cause>>(
        &mut self,
        task: &'static str,
        shift: Shift,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.tasks.spawn(async { work.await.map_err(Into::into) });
        self.names.insert(handle.id(), (task, shift));
        handle
    }

    /// Waits until `asked` or until a task ends, then stops all: the early ones, then the late ones, together within
    /// `grace`. The first death is returned.
    pub async fn run(mut self, asked: impl Future<Output = ()>, grace: Duration) -> Result<(), Death> {
        let mut death = tokio::select! {
            () = asked => None,
            Some(joined) = self.tasks.join_next_with_id() => {
                let (task, result) = self.identify(joined);
                Some(result.err().unwrap_or(Death::Ended(task)))
            }
        };
        tracing::info!("stopping");
        let deadline = Instant::now() + grace;
        for (shift, token) in [(Shift::Early, self.early.clone()), (Shift::Late, self.late.clone())] {
            token.cancel();
            let last = self.drain(shift, deadline).await;
            death = death.or(last.err());
        }
        death.map_or(Ok(()), Err)
    }

    async fn drain(&mut self, shift: Shift, deadline: Instant) -> Result<(), Death> {
        let mut outcome = Ok(());
        while let Some(waiting) = self.names.values().find(|(_, of)| *of == shift).map(|(task, _)| *task) {
            match timeout_at(deadline, self.tasks.join_next_with_id()).await {
                Ok(Some(joined)) => {
                    let (_, result) = self.identify(joined);
                    outcome = outcome.and(result);
                }
                Ok(None) => break,
                Err(_elapsed) => return outcome.and(Err(Death::Stuck(waiting))),
            }
        }
        outcome
    }

    fn identify(&mut self, joined: Result<(Id, Result<(), Cause>), JoinError>) -> (&'static str, Result<(), Death>) {
        let (id, result) = match joined {
            Ok(joined) => joined,
            Err(panic) => (panic.id(), Err(panic.into())),
        };
        let (task, _) = self.names.remove(&id).unwrap_or(("unknown", Shift::Early));
        (task, result.map_err(|cause| Death::Failed { task, cause }))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        io,
    };

    use super::*;

    const GRACE: Duration = Duration::from_secs(20);

    async fn until(stop: CancellationToken) -> io::Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn asked_to_stop_all_end_well() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("a", Shift::Early, until(supervisor.stop(Shift::Early)));
        supervisor.spawn("b", Shift::Late, until(supervisor.stop(Shift::Late)));
        supervisor.run(ready(()), GRACE).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_returns_by_itself_ends_all() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("quitter", Shift::Late, ready(io::Result::Ok(())));
        supervisor.spawn("b", Shift::Early, until(supervisor.stop(Shift::Early)));
        let death = supervisor.run(pending(), GRACE).await.unwrap_err();
        assert!(matches!(death, Death::Ended("quitter")), "{death}");
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_all_and_is_named() {
        let mut supervisor = Supervisor::default();
        let bomb = std::future::poll_fn(|_| -> std::task::Poll<io::Result<()>> { panic!("boom") });
        supervisor.spawn("bomb", Shift::Early, bomb);
        let death = supervisor.run(pending(), GRACE).await.unwrap_err();
        assert!(matches!(death, Death::Failed { task: "bomb", .. }), "{death}");
    }

    #[tokio::test]
    async fn late_tasks_are_told_to_stop_only_after_the_early_ones_ended() {
        let mut supervisor = Supervisor::default();
        let (early, late) = (supervisor.stop(Shift::Early), supervisor.stop(Shift::Late));
        let seen = late.clone();
        supervisor.spawn("early", Shift::Early, async move {
            early.cancelled().await;
            tokio::task::yield_now().await;
            if seen.is_cancelled() {
                return Err(io::Error::other("too soon"));
            }
            Ok(())
        });
        supervisor.spawn("late", Shift::Late, until(late));
        supervisor.run(ready(()), GRACE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_named_after_the_grace() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("deaf", Shift::Early, pending::<io::Result<()>>());
        let death = supervisor.run(ready(()), GRACE).await.unwrap_err();
        assert!(matches!(death, Death::Stuck("deaf")), "{death}");
    }
}
