//! The tables, in Markdown.

use std::io::{self, Write};
use std::time::Instant;

use crate::clauses::proofs;
use crate::draw::{Draw, float};
use crate::life::Undone;
use crate::population::{CHANCES, Cell, HARD, Kind, TRAFFIC};

/// What became of bad releases of one kind: when they were undone, in seconds since they began to fail.
type Caught = Vec<Option<u32>>;

/// Good releases, by what they go through. True if none was undone.
pub(crate) fn good(seed: u64, releases: u64, out: &mut impl Write) -> io::Result<bool> {
    let begin = Instant::now();
    let undone = all(releases, |place| {
        let mut draw = Draw::new(seed, place);
        let chance = usize::try_from(place).unwrap_or(0) % CHANCES.len();
        Kind::Good(chance).release(&mut draw).live(draw)
    });
    writeln!(out, "| good releases with | released | undone |\n|---|---|---|")?;
    for (chance, name) in CHANCES.iter().enumerate() {
        let of: Vec<_> = undone.iter().skip(chance).step_by(CHANCES.len()).collect();
        let count = of.iter().filter(|undone| undone.is_some()).count();
        writeln!(out, "| {name} | {} | {count} |", of.len())?;
    }
    for (place, Undone { at, reason }) in undone
        .iter()
        .enumerate()
        .filter_map(|(place, undone)| Some((place, undone.as_ref()?)))
    {
        let name = CHANCES[place % CHANCES.len()];
        writeln!(out, "\nrelease {place} ({name}) was undone after {at} s: {reason}")?;
    }
    report_speed(begin, releases)?;
    Ok(undone.iter().all(Option::is_none))
}

/// Bad releases, by objective, ratio and traffic. True if none was missed that can be caught.
pub(crate) fn bad(seed: u64, releases: u64, out: &mut impl Write) -> io::Result<bool> {
    let begin = Instant::now();
    let cells = Cell::all();
    let sure: Vec<&Cell> = cells.iter().filter(|cell| cell.is_detectable()).collect();
    let each = releases.div_ceil(u64::try_from(sure.len()).unwrap_or(1));
    let count = u64::try_from(cells.len()).unwrap_or(0) * each;
    let undone = all(count, |place| {
        let cell = &cells[usize::try_from(place / each).unwrap_or(0)];
        let mut draw = Draw::new(seed ^ 0xbad, place);
        let (life, from) = cell.release(place % each, &mut draw);
        let undone = life.live(draw)?;
        Some(
            undone
                .at
                .saturating_sub(u32::try_from(crate::draw::whole(from)).unwrap_or(0)),
        )
    });
    let caught: Vec<Caught> = undone
        .chunks(usize::try_from(each).unwrap_or(1))
        .map(<[_]>::to_vec)
        .collect();
    let missed = cells.iter().zip(&caught).filter(|(cell, _)| cell.is_detectable());
    let missed: usize = missed
        .map(|(_, caught)| caught.iter().filter(|at| at.is_none()).count())
        .sum();
    let total = u64::try_from(sure.len()).unwrap_or(0) * each;
    writeln!(
        out,
        "Of {total} bad releases that can be told, {missed} were missed. Seconds until undone, median / 99 of 100 / best possible:\n"
    )?;
    let traffic: Vec<String> = TRAFFIC.iter().map(|rate| format!("{rate} req/s")).collect();
    writeln!(out, "| objective | bad answers | {} |", traffic.join(" | "))?;
    writeln!(out, "|---|---|{}", "---|".repeat(TRAFFIC.len()))?;
    for (cells, caught) in cells.chunks(TRAFFIC.len()).zip(caught.chunks(TRAFFIC.len())) {
        let shown: Vec<String> = cells
            .iter()
            .zip(caught)
            .map(|(cell, caught)| show(cell, caught))
            .collect();
        let (objective, ratio) = (cells[0].objective, cells[0].ratio * 100.0);
        writeln!(
            out,
            "| {objective} | {} % | {} |",
            (ratio * 10.0).round() / 10.0,
            shown.join(" | ")
        )?;
    }
    report_speed(begin, count)?;
    Ok(missed == 0)
}

/// Bad releases that are hard to find, a hundredth of all of each kind. True if none was missed.
pub(crate) fn hard(seed: u64, releases: u64, out: &mut impl Write) -> io::Result<bool> {
    let each = releases.div_ceil(100);
    let count = u64::try_from(HARD.len()).unwrap_or(0) * each;
    let missed = all(count, |place| {
        let mut draw = Draw::new(seed ^ 0x4a4d, place);
        let kind = Kind::Bad(usize::try_from(place / each).unwrap_or(0));
        kind.release(&mut draw).live(draw).is_none()
    });
    writeln!(out, "| bad releases with | released | missed |\n|---|---|---|")?;
    let rows = missed.chunks(usize::try_from(each).unwrap_or(1));
    for ((name, ..), missed) in HARD.iter().zip(rows) {
        let count = missed.iter().filter(|missed| **missed).count();
        writeln!(out, "| {name} | {} | {count} |", missed.len())?;
    }
    Ok(!missed.contains(&true))
}

/// What goes wrong without each clause. True if something does, and nothing with it.
pub(crate) fn clauses(seed: u64, out: &mut impl Write) -> io::Result<bool> {
    let proofs = proofs(seed);
    writeln!(out, "| without | go wrong | of |\n|---|---|---|")?;
    for proof in &proofs {
        let (clause, wrong) = (proof.clause, proof.wrong_without);
        writeln!(
            out,
            "| {clause} | {wrong} | {} {} |",
            proof.released,
            proof.kind.releases()
        )?;
    }
    Ok(proofs.iter().all(|proof| proof.wrong == 0 && proof.wrong_without > 0))
}

fn show(cell: &Cell, caught: &Caught) -> String {
    let mut times: Vec<u32> = caught.iter().flatten().copied().collect();
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let best = cell.best;
    let (Some(median), Some(late)) = (at(50), at(99)) else {
        return format!("not told / {best}");
    };
    if times.len() == caught.len() {
        return format!("{median} / {late} / {best}");
    }
    let share = 100 * times.len() / caught.len();
    format!("{share} % in time / {best}")
}

/// Does `each` for 0 to `count − 1` on all processors.
fn all<T: Send>(count: u64, each: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let each = &each;
    let mut results: Vec<(u64, T)> = std::thread::scope(|scope| {
        let share = |first: u64| {
            let places = (first..count).step_by(workers);
            scope.spawn(move || places.map(|place| (place, each(place))).collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..count).take(workers).map(share).collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap_or_default());
        results.flatten().collect()
    });
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

fn report_speed(begin: Instant, releases: u64) -> io::Result<()> {
    let seconds = begin.elapsed().as_secs_f64();
    writeln!(
        io::stderr(),
        "{releases} releases in {seconds:.1} s, {:.0} a second",
        float(releases) / seconds
    )
}
