//! What the kernel tells of requests: those that it paired, and the connections that it did not.

use shoalwatch_pipeline::{loss::Loss, request::ServiceId};

use super::{Kernel, Now, Observer, PENDING};
use crate::{
    counters::Counters,
    loader::RequestEvent,
    requests::{
        came::Came,
        held::Held,
        lesson::Lesson,
        processes::Processes,
        raw::{Lost, RawConnections, Said},
        services::Services,
        taught::Taught,
        traffic::Traffic,
    },
};

/// Routes that are learnt from one look into the rings at most; the others come again.
const MAX_LESSONS: usize = 1024;

/// Where requests go, whoever paired them.
struct Intake<'a> {
    processes: &'a mut Processes,
    services: &'a Services,
    held: &'a mut Held,
    traffic: &'a mut Traffic,
    counters: &'a Counters,
    taught: &'a Taught,
    lessons: Vec<Lesson>,
    now: Now,
}

impl Observer {
    /// Requests, each under the configuration in force and as the service that its process is of. Returns how many records there were.
    pub(in crate::requests) fn take_requests(&mut self, now: Now) -> usize {
        self.with_intake(now, |kernel, raw, intake| {
            let paired = kernel.drain(&mut |event| intake.take(&event, Came::of(&event)));
            let unpaired = kernel.drain_raw(&mut |event| {
                raw.take(&event, now.monotonic_ns, &mut |said| intake.hear(&said));
            });
            raw.look_ends(now.monotonic_ns, &mut |said| intake.hear(&said));
            paired + unpaired
        })
    }

    /// Before the worker stops: answers of connections that were reset are not waited for any longer.
    pub(in crate::requests) fn settle_resets(&mut self, now: Now) {
        self.with_intake(now, |_, raw, intake| raw.settle_resets(&mut |said| intake.hear(&said)));
    }

    fn with_intake<T>(
        &mut self,
        now: Now,
        work: impl FnOnce(&mut dyn Kernel, &mut RawConnections, &mut Intake<'_>) -> T,
    ) -> T {
        let mut intake = Intake {
            processes: &mut self.processes,
            services: &self.services,
            held: &mut self.held,
            traffic: &mut self.traffic,
            counters: &self.counters,
            taught: &self.taught,
            lessons: Vec::new(),
            now,
        };
        let result = work(&mut *self.kernel, &mut self.raw, &mut intake);
        let lessons = intake.lessons;
        self.teach(&lessons);
        for id in self.traffic.take_exporting() {
            self.mute(id);
        }
        result
    }
}

impl Intake<'_> {
    fn take(&mut self, event: &RequestEvent<'_>, came: Came) {
        match self
            .service(event.service, event.tgid)
            .and_then(|id| Some((id, self.services.get(id)?)))
        {
            Some((id, service)) => {
                let lesson = self.traffic.take(event, came, id, service, self.now);
                let (lessons, taught) = (&mut self.lessons, self.taught);
                let lesson = lesson.filter(|lesson| lessons.len() < MAX_LESSONS && taught.is_new(lesson));
                lessons.extend(lesson);
            }
            None if self.waits(event.service, event.tgid) => {
                if !self.held.push(event, came) {
                    self.counters.losses.add(Loss::PendingFull, 1);
                }
            }
            None => self.counters.losses.add(Loss::UnknownProcess, 1),
        }
    }

    fn hear(&mut self, said: &Said<'_>) {
        match said {
            Said::Request(event, came) => self.take(event, *came),
            Said::Lost(lost) => self.lose(*lost),
            Said::Exports { service, tgid } => self.note_exporting(*service, *tgid),
        }
    }

    /// The service of a process may not be known yet.
    fn note_exporting(&mut self, service: u32, tgid: u32) {
        match self.service(service, tgid) {
            Some(id) => self.traffic.note_exporting(id),
            None if self.waits(service, tgid) => self.processes.set_exporting(tgid),
            None => {}
        }
    }

    /// What could not be paired is good for no SLI: of its service, or of any where the service is not known yet.
    fn lose(&mut self, lost: Lost) {
        self.counters.losses.add(lost.loss, lost.requests);
        match self.service(lost.service, lost.tgid) {
            Some(id) => self.traffic.lose(self.services, id, lost.requests, self.now),
            None if self.waits(lost.service, lost.tgid) => self.traffic.slis.lose_everywhere(lost.requests),
            None => {}
        }
    }

    fn service(&self, number: u32, tgid: u32) -> Option<ServiceId> {
        match number {
            PENDING => self.processes.service(tgid),
            number => Some(ServiceId(number)),
        }
    }

    fn waits(&self, number: u32, tgid: u32) -> bool {
        number == PENDING && self.processes.is_pending(tgid)
    }
}
