//! How soon an edited policy decides.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    harness::{Cores, Outcome, wait_for},
    load::{Load, Paths},
    nginx::Nginx,
    sink::Sink,
    table::{Row, median},
    worker::{ConfigFile, Worker},
};

const EDITS: u64 = 25;

pub(crate) fn rows(nginx: &Nginx, sink: &Sink, cores: Cores) -> Outcome<Vec<Row>> {
    let config = ConfigFile::new(nginx, "0")?;
    let worker = Worker::start(&config, sink, cores)?;
    let mut load = Load::connect(nginx.address)?;
    let stop = AtomicBool::new(false);
    let (waits, sent) = thread::scope(|scope| {
        let stop = &stop;
        let traffic = scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                load.pace(Paths::Fixed, 1, Duration::from_millis(100))
                    .map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(load.sent())
        });
        let waits: Outcome<Vec<f64>> = (0..EDITS).map(|edit| measure(&config, &worker, sink, edit)).collect();
        stop.store(true, Ordering::Relaxed);
        let sent = traffic.join().map_err(|panic| format!("{panic:?}"))?;
        Ok::<_, Box<dyn std::error::Error>>((waits?, sent?))
    })?;
    let lost = worker.lost_of(sent)?;
    let slowest = waits.iter().copied().fold(0.0, f64::max);
    Ok(vec![Row {
        what: "policy edit → first decision under it".into(),
        goal: "p99 ≤ 1 s, nothing lost".into(),
        result: format!("median {:.0} ms, slowest {:.0} ms, {lost} lost", median(waits), slowest),
        met: Some(slowest <= 1000.0 && lost == 0),
        how: format!(
            "{EDITS} edits of --config from 0 to 1 at 1,000 req/s; to the end of the first kept request, by its span"
        ),
    }])
}

/// Milliseconds from the edit to the end of the first request that is kept by it.
fn measure(config: &ConfigFile, worker: &Worker, sink: &Sink, edit: u64) -> Outcome<f64> {
    // The worker looks at the file at a beat, and this loop would fall into step with it.
    thread::sleep(Duration::from_millis(edit * 97 % 250));
    let edited_ns = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    sink.look_for_end_after(edited_ns);
    config.set_probability("1")?;
    let end_ns = wait_for("a span under the new policy", || Ok(sink.first_end()))?;
    let applied = || worker.metric("shoalwatch_config_updates_total", &["result=\"applied\""]);
    let before = applied()?;
    config.set_probability("0")?;
    wait_for("the policy taken back", || Ok((applied()? > before).then_some(())))?;
    Ok((end_ns - edited_ns) as f64 / 1e6)
}
