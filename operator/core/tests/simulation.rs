//! A small version of the README's tables: no good release is undone, no bad one missed. `make simulate` lives through all.

#[path = "../examples/simulate/draw.rs"]
mod draw;
#[path = "../examples/simulate/life.rs"]
mod life;
#[path = "../examples/simulate/population.rs"]
mod population;

use draw::Draw;
use population::{BAD, CHANCES, Cell, TRAFFIC, healthy};

const SEED: u64 = 2;
const RELEASES: u64 = 500;

/// What `each` finds wrong with 0 to `count − 1`, on all processors.
fn wrong(count: u64, each: impl Fn(u64) -> Option<String> + Sync) -> Vec<String> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let each = &each;
    std::thread::scope(|scope| {
        let share = |first: u64| scope.spawn(move || (first..count).step_by(workers).filter_map(each).collect());
        let threads: Vec<_> = (0..count).take(workers).map(share).collect();
        let found = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        found.flat_map(|found: Vec<String>| found).collect()
    })
}

#[test]
fn no_good_release_is_undone() {
    let undone = wrong(RELEASES, |place| {
        let mut draw = Draw::new(SEED, place);
        let life = healthy(place, &mut draw);
        let undone = life.clone().live(draw)?;
        let chance = CHANCES[usize::try_from(place).unwrap_or(0) % CHANCES.len()];
        Some(format!("{chance}: after {} s: {}: {life:?}", undone.at, undone.reason))
    });
    assert!(undone.is_empty(), "{}", undone.join("\n"));
}

#[test]
fn no_bad_release_that_can_be_told_is_missed() {
    let cells: Vec<Cell> = Cell::all().into_iter().filter(Cell::is_detectable).collect();
    assert!(
        cells.len() * 10 >= BAD.len() * TRAFFIC.len() * 33,
        "most kinds: {}",
        cells.len()
    );
    let width = u64::try_from(cells.len()).unwrap_or(1);
    let missed = wrong(RELEASES, |place| {
        let cell = cells[usize::try_from(place % width).unwrap_or(0)];
        let mut draw = Draw::new(SEED, place);
        let (life, from) = cell.release(place / width, &mut draw);
        let caught = life.live(draw).is_some_and(|undone| f64::from(undone.at) > from);
        (!caught).then(|| format!("{cell:?}: {life:?}"))
    });
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
