//! What was lost on a node, by stage and reason. Nothing is dropped without being counted here.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! losses {
    ($($(#[$doc:meta])* $name:ident = $stage:ident, $reason:literal, $by:ident;)*) => {
        /// One way to lose something.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Loss {
            $($(#[$doc])* $name,)*
        }

        impl Loss {
            /// All values, in the order of the path of a request.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];

            /// Where it happens.
            #[must_use]
            pub const fn stage(self) -> Stage {
                match self { $(Self::$name => Stage::$stage,)* }
            }

            /// Why it happens: a bounded label, unique within the stage.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }

            /// Whether somebody asked for it, such as a policy's limit. The others are faults.
            #[must_use]
            pub const fn is_intentional(self) -> bool {
                match self { $(Self::$name => matches!(By::$by, By::Policy),)* }
            }
        }
    };
}

enum By {
    Fault,
    Policy,
}

losses! {
    /// The ring buffer was full: a request, or a part of one, was not seen by user space.
    RingFull = Kernel, "ring_full", Fault;
    /// A map was full: a connection or a process was not watched.
    MapFull = Kernel, "map_full", Fault;
    /// Memory of the process could not be read, mostly because it was paged out.
    ReadFailed = Kernel, "read_failed", Fault;
    /// The program was skipped because it was running on that CPU already.
    RecursionMiss = Kernel, "recursion_miss", Fault;
    /// Where a request should begin there was something else: it, and what follows on its connection, was not paired.
    RawRequestLine = Raw, "request_line", Fault;
    /// Where an answer should begin there was something else.
    RawStatusLine = Raw, "status_line", Fault;
    /// An answer that no request asked for.
    RawUnrequested = Raw, "unrequested", Fault;
    /// An answer before its request's method.
    RawBeforeMethod = Raw, "before_method", Fault;
    /// More requests were sent ahead than may wait for their answers.
    RawTooManyOutstanding = Raw, "too_many_outstanding", Fault;
    /// A head, a chunk's line or the trailers had no end.
    RawTooLong = Raw, "too_long", Fault;
    /// A `Content-Length` that is none.
    RawContentLength = Raw, "content_length", Fault;
    /// A `Transfer-Encoding` that leaves the end of the message open.
    RawTransferEncoding = Raw, "transfer_encoding", Fault;
    /// A length that servers read differently.
    RawAmbiguous = Raw, "ambiguous", Fault;
    /// A chunk without a size or an end.
    RawChunk = Raw, "chunk", Fault;
    /// The end of a message may have been in bytes that were not kept.
    RawGap = Raw, "gap", Fault;
    /// After an answer whose end was not seen the next was not found.
    RawLostAnswer = Raw, "lost_answer", Fault;
    /// Bytes behind a CONNECT or an Upgrade before it was answered.
    RawTunnel = Raw, "tunnel", Fault;
    /// More connections that the kernel does not pair were open than may be followed.
    RawTableFull = Raw, "table_full", Fault;
    /// A request on a connection whose beginning was refused or forgotten.
    RawUnknownConnection = Raw, "unknown_connection", Fault;
    /// The rest of the connection was not told: the ring was full, or nothing was heard of it for long.
    RawUntold = Raw, "untold", Fault;
    /// A record from the ring has no known form.
    BadRecord = Decode, "bad_record", Fault;
    /// A request's head was not HTTP/1.x after all.
    NotHttp = Decode, "not_http", Fault;
    /// A request's head was cut before its method was whole.
    HeadCut = Decode, "head_cut", Fault;
    /// An answer had no status from 100 to 999.
    BadStatus = Decode, "bad_status", Fault;
    /// The process was gone, or no pod was known for it, when its time to wait was over.
    UnknownProcess = Enrich, "unknown_process", Fault;
    /// More requests waited for their pod to become known than may wait.
    PendingFull = Enrich, "pending_full", Fault;
    /// A policy's traces-per-second limit.
    RateLimited = Limit, "rate_limited", Policy;
    /// There are more pairs of SLI and revision than may be counted.
    SliRowsFull = Limit, "sli_rows_full", Fault;
    /// The export queue was full: spans came faster than they could be sent.
    QueueFull = Queue, "full", Fault;
    /// The worker stopped, and the time to drain was over.
    QueueShutdown = Queue, "shutdown", Fault;
    /// The receiver refused for good, so that sending again is of no use.
    ExportRefused = Export, "refused", Fault;
    /// The receiver accepted the batch but not all of it.
    ExportPartial = Export, "partial_success", Fault;
    /// The receiver could not be reached until the retries were used up.
    ExportGivenUp = Export, "given_up", Fault;
}

/// Where on a request's path something was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// In the eBPF programs.
    Kernel,
    /// From the transfers of a connection that the kernel does not pair to requests with their answers.
    Raw,
    /// From bytes to a request.
    Decode,
    /// From a process to a pod.
    Enrich,
    /// At a bound or a policy's limit.
    Limit,
    /// While waiting for the export.
    Queue,
    /// While sending.
    Export,
}

impl Stage {
    /// A bounded label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Raw => "raw",
            Self::Decode => "decode",
            Self::Enrich => "enrich",
            Self::Limit => "limit",
            Self::Queue => "queue",
            Self::Export => "export",
        }
    }
}

/// Counters of all losses since the start, to be shared between tasks.
#[derive(Debug)]
pub struct LossCounters {
    counts: [AtomicU64; Loss::ALL.len()],
}

impl Default for LossCounters {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl LossCounters {
    /// Counts `more` losses.
    pub fn add(&self, loss: Loss, more: u64) {
        self.counts[loss as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// Raises a counter that somebody else keeps, such as the kernel, to its total. Never lowers it.
    pub fn raise_to(&self, loss: Loss, total: u64) {
        self.counts[loss as usize].fetch_max(total, Ordering::Relaxed);
    }

    /// How much was lost so far.
    #[must_use]
    pub fn get(&self, loss: Loss) -> u64 {
        self.counts[loss as usize].load(Ordering::Relaxed)
    }

    /// All counters, also those at zero, so that a metric exists before its first loss.
    pub fn iter(&self) -> impl Iterator<Item = (Loss, u64)> + '_ {
        Loss::ALL.into_iter().map(|loss| (loss, self.get(loss)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_loss_has_a_counter_and_a_label_pair_of_its_own() {
        let counters = LossCounters::default();
        for (index, loss) in (1..).zip(Loss::ALL) {
            counters.add(loss, index);
        }
        let counts: Vec<u64> = counters.iter().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=Loss::ALL.len() as u64).collect::<Vec<_>>());
        let labels: BTreeSet<_> = Loss::ALL.iter().map(|loss| (loss.stage(), loss.reason())).collect();
        assert_eq!(labels.len(), Loss::ALL.len());
    }

    #[test]
    fn a_total_kept_elsewhere_never_goes_back() {
        let counters = LossCounters::default();
        counters.raise_to(Loss::RingFull, 7);
        counters.raise_to(Loss::RingFull, 5);
        assert_eq!(counters.get(Loss::RingFull), 7);
    }

    #[test]
    fn only_a_policys_limit_is_intentional() {
        let intentional: Vec<Loss> = Loss::ALL.into_iter().filter(|loss| loss.is_intentional()).collect();
        assert_eq!(intentional, [Loss::RateLimited]);
    }
}
