//! A small version of the README's tables: no good release is undone, no bad one missed. `make simulate` lives through all.

#[path = "../examples/simulate/clauses.rs"]
mod clauses;
#[path = "../examples/simulate/draw.rs"]
mod draw;
#[path = "../examples/simulate/life.rs"]
mod life;
#[path = "support/pair.rs"]
mod pair;
#[path = "../examples/simulate/population.rs"]
mod population;
mod support;

use draw::Draw;
use population::{BAD, CHANCES, Cell, HARD, Kind, TRAFFIC};

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
        let kind = Kind::Good(usize::try_from(place).unwrap_or(0) % CHANCES.len());
        let life = kind.release(&mut draw);
        let undone = life.clone().live(draw)?;
        let chance = kind.releases();
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

#[test]
fn no_bad_release_that_is_hard_to_find_is_missed() {
    let kinds = u64::try_from(HARD.len()).unwrap_or(1);
    let missed = wrong(kinds * 8, |place| {
        let mut draw = Draw::new(SEED, place);
        let kind = Kind::Bad(usize::try_from(place % kinds).unwrap_or(0));
        let caught = kind.release(&mut draw).live(draw).is_some();
        (!caught).then(|| kind.releases())
    });
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn without_any_one_clause_good_releases_are_undone_or_bad_ones_missed() {
    for proof in clauses::proofs(SEED) {
        let (clause, releases, wrong) = (proof.clause, proof.kind.releases(), proof.wrong_without);
        eprintln!("without {clause}: {wrong} of {} {releases} go wrong", proof.released);
        assert_eq!(proof.wrong, 0, "with {clause}: {releases}");
        assert!(wrong > 0, "{clause} makes no difference to {releases}");
    }
}
