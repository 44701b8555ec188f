//! What the eBPF programs take of each request, by the kernel's own statistics.

use std::time::Duration;

use crate::{
    bpf::{self, Programs, Statistics, Work},
    harness::{Cores, Outcome},
    load::{Load, Paths},
    nginx::Nginx,
    on_off::each,
    sink::Sink,
    table::{Row, median},
    worker::{ConfigFile, Worker},
};

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_millis(1200);

/// One round of one kind of paths.
struct Sample {
    paths: Paths,
    requests: f64,
    programs: Programs,
}

impl Sample {
    fn ns(&self, work: Work) -> f64 {
        work.time_ns as f64 / self.requests
    }
}

pub(crate) fn rows(nginx: &Nginx, sink: &Sink, cores: Cores) -> Outcome<Vec<Row>> {
    let config = ConfigFile::new(nginx, "0.01")?;
    let _statistics = Statistics::enable()?;
    let worker = Worker::start(&config, sink, cores)?;
    let mut load = Load::connect(nginx.address)?;
    let unselected = unselected_ns(worker.id())?;
    // Paths become known to the worker.
    load.saturate(Paths::Fixed, TIME)?;
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        for paths in Paths::ALL {
            let before = bpf::programs(worker.id())?;
            let done = load.saturate(paths, TIME)?;
            let programs = bpf::since(&bpf::programs(worker.id())?, &before);
            let sample = Sample {
                paths,
                requests: done.requests as f64,
                programs,
            };
            let total = sample.ns(bpf::sum(&sample.programs));
            eprintln!("eBPF time, {}, round {round}: {total:.0} ns per request", paths.name());
            samples.push(sample);
        }
    }
    Ok(Paths::ALL.map(|paths| row(paths, &samples, unselected)).into())
}

fn row(paths: Paths, samples: &[Sample], unselected: f64) -> Row {
    let of = |value: &dyn Fn(&Sample) -> f64| {
        median(
            samples
                .iter()
                .filter(|sample| sample.paths == paths)
                .map(value)
                .collect(),
        )
    };
    let total = of(&|sample| sample.ns(bpf::sum(&sample.programs)));
    let names = samples.first().into_iter().flat_map(|sample| sample.programs.keys());
    let each = names.filter_map(|name| {
        let work = |sample: &Sample| sample.programs.get(name).copied().unwrap_or_default();
        let ns = of(&|sample| sample.ns(work(sample)));
        let runs = of(&|sample| work(sample).runs as f64 / sample.requests);
        (ns >= 1.0).then(|| format!("{name} {ns:.0} ns in {runs:.1} runs"))
    });
    let each: Vec<_> = each.collect();
    Row {
        what: format!("eBPF time per request, {}", paths.name()),
        goal: "≤ 700 ns".into(),
        result: format!("{total:.0} ns"),
        met: Some(total <= 700.0),
        how: format!(
            "Σ run_time_ns ÷ requests, the statistics' own cost and the load tool's calls ({unselected:.0} ns each) with it: {}; \
             median of {ROUNDS}",
            each.join(", ")
        ),
    }
}

/// One run for a process that is not observed.
fn unselected_ns(worker: u32) -> Outcome<f64> {
    let before = bpf::sum(&bpf::programs(worker)?);
    each(|| Ok(rustix::process::getppid()))?;
    let work = bpf::sum(&bpf::programs(worker)?) - before;
    Ok(work.time_ns as f64 / work.runs.max(1) as f64)
}
