//! The worker on and off in turns: what nginx at saturation loses, and what a process pays that is not observed.

use std::{
    fs::File,
    hint::black_box,
    time::{Duration, Instant},
};

use crate::{
    cost::{self, CoreTime},
    harness::{Cores, Outcome},
    load::{Load, Paths},
    nginx::Nginx,
    sink::Sink,
    table::{Row, median},
    worker::{ConfigFile, Worker},
};

const ROUNDS: usize = 15;
const SATURATED: Duration = Duration::from_millis(700);
const STRETCHES: usize = 101;
const CALLS: u32 = 1_000;

/// One state of the machine.
struct Sample {
    per_second: f64,
    /// Processor time of nginx and the worker for one request.
    cpu_ns: f64,
    busy: f64,
    getppid_ns: f64,
    read_ns: f64,
}

fn sample(load: &mut Load, cores: Cores, processes: &[u32]) -> Outcome<Sample> {
    let (ticks, cpu) = (CoreTime::read(cores.server)?, cpu_time(processes)?);
    let done = load.saturate(Paths::Fixed, SATURATED)?;
    let cpu = cpu_time(processes)?.saturating_sub(cpu);
    let busy = CoreTime::read(cores.server)?.busy_since(ticks);
    // After the load: a worker that starts keeps the other core busy, which slows this one where they are threads of one.
    let zero = File::open("/dev/zero")?;
    let getppid_ns = each(|| Ok(rustix::process::getppid()))?;
    let read_ns = each(|| Ok(rustix::io::read(&zero, &mut [0_u8; 1])?))?;
    Ok(Sample {
        per_second: done.per_second(),
        cpu_ns: cpu.as_secs_f64() * 1e9 / done.requests as f64,
        busy,
        getppid_ns,
        read_ns,
    })
}

fn cpu_time(processes: &[u32]) -> Outcome<Duration> {
    processes.iter().map(|pid| cost::cpu_time(*pid)).sum()
}

/// Nanoseconds for one call, by the median of many short stretches: what interrupts one of them does not count.
pub(crate) fn each<T>(mut call: impl FnMut() -> Outcome<T>) -> Outcome<f64> {
    let mut stretches = Vec::with_capacity(STRETCHES);
    for _ in 0..STRETCHES {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call()?);
        }
        stretches.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    Ok(median(stretches))
}

fn tell(round: usize, off: &Sample, on: &Sample) {
    eprintln!(
        "nginx at saturation, round {round}: off {:.0}/s, on {:.0}/s, {:.3}; by CPU time {:.3}",
        off.per_second,
        on.per_second,
        on.per_second / off.per_second,
        off.cpu_ns / on.cpu_ns
    );
}

pub(crate) fn rows(nginx: &Nginx, sink: &Sink, cores: Cores) -> Outcome<Vec<Row>> {
    let config = ConfigFile::new(nginx, "0.01")?;
    let mut load = Load::connect(nginx.address)?;
    load.saturate(Paths::Fixed, SATURATED)?;
    let server = nginx.worker()?;
    let mut pairs = Vec::new();
    for round in 0..ROUNDS {
        let off = sample(&mut load, cores, &[server])?;
        let worker = Worker::start(&config, sink, cores)?;
        let on = sample(&mut load, cores, &[server, worker.id()])?;
        drop(worker);
        tell(round, &off, &on);
        pairs.push((off, on));
    }
    Ok(vec![saturated(&pairs), unselected(&pairs)])
}

fn of(pairs: &[(Sample, Sample)], value: impl Fn(&Sample, &Sample) -> f64) -> f64 {
    median(pairs.iter().map(|(off, on)| value(off, on)).collect())
}

fn saturated(pairs: &[(Sample, Sample)]) -> Row {
    let ratio = of(pairs, |off, on| on.per_second / off.per_second);
    let by_cpu = of(pairs, |off, on| off.cpu_ns / on.cpu_ns);
    let off = of(pairs, |off, _| off.per_second) / 1e3;
    let on = of(pairs, |_, on| on.per_second) / 1e3;
    let busy = of(pairs, |off, on| off.busy.min(on.busy)) * 100.0;
    Row {
        what: "nginx at saturation, worker on ÷ off".into(),
        goal: "≥ 0.92".into(),
        result: format!("{ratio:.3} ({on:.1} of {off:.1} thousand/s); by CPU time {by_cpu:.3}"),
        met: Some(ratio >= 0.92),
        how: format!(
            "500-byte heads with traceparent, 16 rules, 1 % sampled; nginx and worker share a core ({busy:.0} % busy), by CPU \
             time of both a request for busy machines; median of {ROUNDS} pairs"
        ),
    }
}

fn unselected(pairs: &[(Sample, Sample)]) -> Row {
    let getppid = of(pairs, |off, on| on.getppid_ns - off.getppid_ns);
    let read = of(pairs, |off, on| on.read_ns - off.read_ns);
    let bare = of(pairs, |off, _| off.getppid_ns);
    Row {
        what: "an unselected process, worker on − off".into(),
        goal: "≤ 40 ns a call".into(),
        result: format!("getppid {getppid:.0} ns (on top of {bare:.0}), 1-byte read {read:.0} ns"),
        met: Some(getppid.max(read) <= 40.0),
        how: format!("{STRETCHES} stretches of {CALLS} calls each, their median; median of {ROUNDS} pairs"),
    }
}
