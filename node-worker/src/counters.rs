//! What the worker counts about itself. Shared by all tasks, written without locks.

use std::sync::atomic::{AtomicU64, Ordering};

use shoalwatch_pipeline::loss::LossCounters;

macro_rules! counters {
    ($($metric:literal, $help:literal => { $($variant:ident [$($label:literal = $value:literal),*],)* })*) => {
        /// One counter of the worker itself: a metric with its labels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Count {
            $($(
                #[doc = concat!($help, ": `", stringify!($variant), "`.")]
                $variant,
            )*)*
        }

        impl Count {
            /// All counters; those of one metric are neighbours.
            pub(crate) const ALL: [Self; [$($(Self::$variant),*),*].len()] = [$($(Self::$variant),*),*];

            /// The metric's name.
            pub(crate) const fn metric(self) -> &'static str {
                match self { $($(Self::$variant)|* => $metric,)* }
            }

            /// What the metric counts.
            pub(crate) const fn help(self) -> &'static str {
                match self { $($(Self::$variant)|* => $help,)* }
            }

            /// The metric's labels.
            pub(crate) const fn labels(self) -> &'static [(&'static str, &'static str)] {
                match self { $($(Self::$variant => &[$(($label, $value)),*],)*)* }
            }
        }
    };
}

counters! {
    "shoalwatch_unjudged_requests_total", "Requests that are counted here and in no other metric" => {
        KubeProbe ["kind" = "kube-probe"],
        PrometheusScrape ["kind" = "prometheus"],
        HalfRequest ["kind" = "half"],
    }
    "shoalwatch_not_http_total", "Beginnings of conversations that were taken for requests and are none" => {
        NotHttpIncomplete ["reason" = "incomplete"],
        NotHttpMethod ["reason" = "method"],
        NotHttpTarget ["reason" = "target"],
        NotHttpVersion ["reason" = "version"],
        NotHttpHttp2 ["reason" = "http2"],
    }
    "shoalwatch_raw_records_total", "News of connections that the kernel does not pair by itself, by kind" => {
        RawOpen ["kind" = "open"],
        RawSegment ["kind" = "segment"],
        RawClose ["kind" = "close"],
        RawEnded ["kind" = "ended"],
        RawOrphan ["kind" = "orphan"],
        RawHttp2 ["kind" = "http2"],
    }
    "shoalwatch_raw_connections_total", "Connections that the kernel does not pair by itself, by what became of them here" => {
        RawFollowed ["result" = "followed"],
        RawGivenUp ["result" = "given_up"],
        RawRefused ["result" = "refused"],
        RawUntold ["result" = "untold"],
    }
    "shoalwatch_sampling_decisions_total", "Requests by what their policy decided" => {
        SpanKept ["decision" = "kept"],
        SpanProbability ["decision" = "probability"],
        SpanNever ["decision" = "never"],
        SpanParent ["decision" = "parent"],
        SpanRateLimited ["decision" = "rate_limited"],
        SpanDryRunKept ["decision" = "dry_run_kept"],
        SpanDryRunDropped ["decision" = "dry_run_dropped"],
    }
    "shoalwatch_config_updates_total", "Configurations offered to this worker by what became of them" => {
        ConfigApplied ["result" = "applied"],
        ConfigInvalid ["result" = "invalid"],
        ConfigKernel ["result" = "kernel"],
        ConfigOlderTerm ["result" = "older_term"],
        ConfigUnreadable ["result" = "unreadable"],
    }
    "shoalwatch_last_good_total", "Uses of the last good configuration on the node's disk" => {
        LastGoodRead ["result" = "read"],
        LastGoodWritten ["result" = "written"],
        LastGoodCorrupt ["result" = "corrupt"],
        LastGoodFailed ["result" = "failed"],
    }
    "shoalwatch_operator_streams_total", "Streams to the operator by how they went" => {
        StreamOpened ["result" = "opened"],
        StreamFailed ["result" = "failed"],
        ReplicasUnresolved ["result" = "unresolved"],
        ReplicaRefused ["result" = "too_many"],
    }
    "shoalwatch_sli_reports_total", "SLI reports to the operator" => {
        ReportSent ["result" = "sent"],
        ReportAcknowledged ["result" = "acknowledged"],
    }
    "shoalwatch_exports_total", "Sendings over OTLP by signal and outcome" => {
        TracesSent ["signal" = "traces", "outcome" = "sent"],
        TracesRetried ["signal" = "traces", "outcome" = "retried"],
        TracesPartial ["signal" = "traces", "outcome" = "partial_success"],
        TracesFailed ["signal" = "traces", "outcome" = "failed"],
        MetricsSent ["signal" = "metrics", "outcome" = "sent"],
        MetricsRetried ["signal" = "metrics", "outcome" = "retried"],
        MetricsPartial ["signal" = "metrics", "outcome" = "partial_success"],
        MetricsFailed ["signal" = "metrics", "outcome" = "failed"],
    }
    "shoalwatch_exported_spans_total", "Spans that the receiver took" => {
        SpansExported [],
    }
    "shoalwatch_instrumented_services_total", "Services that were seen exporting spans of their own: none are made of their requests" => {
        Instrumented [],
    }
    "shoalwatch_selection_failures_total", "Processes that should be observed and are not, by what failed" => {
        SelectFailed ["reason" = "kernel"],
        TeachFailed ["reason" = "teach"],
        ServicesFull ["reason" = "services_full"],
        SliRowsFull ["reason" = "sli_rows_full"],
        PodsFull ["reason" = "pods_full"],
    }
}

/// All counters of this worker.
#[derive(Debug)]
pub(crate) struct Counters {
    counts: [AtomicU64; Count::ALL.len()],
    /// What was lost, by stage and reason.
    pub(crate) losses: LossCounters,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            losses: LossCounters::default(),
        }
    }
}

impl Counters {
    pub(crate) fn add(&self, count: Count, more: u64) {
        self.counts[count as usize].fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn one(&self, count: Count) {
        self.add(count, 1);
    }

    pub(crate) fn get(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// All counters, also those at zero.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Count, u64)> + '_ {
        Count::ALL.into_iter().map(|count| (count, self.get(count)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_counter_is_a_series_of_its_own_beside_those_of_its_metric() {
        let series: BTreeSet<_> = Count::ALL
            .iter()
            .map(|count| (count.metric(), count.labels()))
            .collect();
        assert_eq!(series.len(), Count::ALL.len());
        let mut metrics: Vec<_> = Count::ALL.iter().map(|count| count.metric()).collect();
        metrics.dedup();
        assert_eq!(metrics.len(), metrics.iter().collect::<BTreeSet<_>>().len());
    }
}
