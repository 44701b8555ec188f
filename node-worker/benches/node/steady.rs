//! A node at work: processor, memory and losses at a steady rate.

use std::{fs, time::Duration};

use crate::{
    bpf::{self, Statistics},
    cost,
    harness::{Cores, Outcome},
    load::{Done, Load, Paths},
    nginx::Nginx,
    sink::Sink,
    table::{Row, median},
    worker::{ConfigFile, Worker},
};

const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_secs(4);
const RATE: f64 = 10_000.0;
const MIB: f64 = 1024.0 * 1024.0;

/// Shares of a core.
struct Sample {
    done: Done,
    worker: f64,
    kernel: f64,
}

fn sample(worker: &Worker, load: &mut Load) -> Outcome<Sample> {
    let (cpu, work) = (cost::cpu_time(worker.id())?, bpf::sum(&bpf::programs(worker.id())?));
    let done = load.pace(Paths::Fixed, RATE as usize / 1000, TIME)?;
    let cpu = cost::cpu_time(worker.id())?.saturating_sub(cpu);
    let work = bpf::sum(&bpf::programs(worker.id())?) - work;
    let seconds = done.elapsed.as_secs_f64();
    Ok(Sample {
        done,
        worker: cpu.as_secs_f64() / seconds,
        kernel: work.time_ns as f64 / 1e9 / seconds,
    })
}

pub(crate) fn rows(nginx: &Nginx, sink: &Sink, cores: Cores) -> Outcome<Vec<Row>> {
    let config = ConfigFile::new(nginx, "0.01")?;
    let _statistics = Statistics::enable()?;
    let spans = sink.spans();
    let worker = Worker::start(&config, sink, cores)?;
    let mut load = Load::connect(nginx.address)?;
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        let sample = sample(&worker, &mut load)?;
        let Sample { done, worker, kernel } = &sample;
        eprintln!(
            "steady, round {round}: {:.0}/s, worker {:.2} %, eBPF {:.2} % of a core",
            done.per_second(),
            worker * 100.0,
            kernel * 100.0
        );
        samples.push(sample);
    }
    let lost = worker.lost_of(load.sent())?;
    let share = (sink.spans() - spans) as f64 / load.sent() as f64;
    Ok(vec![processor(&samples, lost, share), memory(&worker)?])
}

fn processor(samples: &[Sample], lost: u64, share: f64) -> Row {
    let of = |value: &dyn Fn(&Sample) -> f64| median(samples.iter().map(value).collect());
    let rate = of(&|sample| sample.done.per_second());
    let worker = of(&|sample| sample.worker) * 100.0;
    let kernel = of(&|sample| sample.kernel) * 100.0;
    // A machine that cannot follow is judged as if the same cost were paid for each missing request.
    let scale = (RATE / rate).max(1.0);
    let scaled = if scale > 1.02 {
        format!(", scaled from {rate:.0} req/s")
    } else {
        String::new()
    };
    let total = (worker + kernel) * scale;
    Row {
        what: "worker CPU + eBPF time at 10,000 req/s".into(),
        goal: "≤ 3 % of a core, 0 lost".into(),
        result: format!(
            "{total:.2} % ({:.2} % + {:.2} %), {lost} lost",
            worker * scale,
            kernel * scale
        ),
        met: Some(total <= 3.0 && lost == 0),
        how: format!(
            "schedstat of all threads and BPF statistics, {:.2} % of requests became spans{scaled}; median of {ROUNDS} × {} s",
            share * 100.0,
            TIME.as_secs()
        ),
    }
}

fn memory(worker: &Worker) -> Outcome<Row> {
    let resident = cost::resident_bytes(worker.id())? as f64 / MIB;
    let maps = bpf::map_memory(worker.id())? as f64 / MIB;
    let cpus = possible_cpus()?;
    // The per-CPU map of counters: 4096 of 128 bytes.
    let (fixed, per_cpu) = (40.0, 0.5);
    let bound = fixed + per_cpu * cpus;
    Ok(Row {
        what: "RSS + map memory".into(),
        goal: "≤ 40 MiB + 0.5 MiB per CPU (counters × 128 bytes)".into(),
        result: format!("{:.1} MiB ({resident:.1} + {maps:.1})", resident + maps),
        met: Some(resident + maps <= bound),
        how: format!(
            "after {} s at that rate, default limits, {cpus} CPUs: smaps without the mapped rings, and memlock of the maps",
            TIME.as_secs() * ROUNDS as u64
        ),
    })
}

/// Per-CPU maps have room for every CPU that the machine could have.
fn possible_cpus() -> Outcome<f64> {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit(['-', ',']).next().ok_or("no CPU")?;
    Ok(last.parse::<f64>()? + 1.0)
}
