//! How connections end, and what becomes of requests that nobody answered.

use super::*;

#[test]
fn a_close_aborts_the_requests_that_nobody_answered() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, A);
    ring.ask(B);
    ring.ask("POST /c HTTP/1.1\r\nContent-Length: 9\r\n\r\nbo");
    ring.answer(OK);
    ring.close(false);
    let seen: Vec<_> = ring
        .told
        .iter()
        .map(|told| (told.path.as_str(), told.status, told.end_ns, told.came))
        .collect();
    let expected = [
        ("/a", 200, 1_004, Came::Whole),
        ("/b", 0, 1_005, Came::Whole),
        ("/c", 0, 1_005, Came::InPart),
    ];
    assert_eq!(seen, expected);
    assert_eq!(
        ring.told[1].owner,
        [11, 11, 0, 14, 15],
        "no thread and no descriptor in particular"
    );
}

#[test]
fn a_connection_that_ended_on_the_fast_path_is_over_at_once() {
    let mut ring = Ring::new();
    for sock in 1..=MAX as u64 {
        ring.on(sock).open(UnderWay::Waiting, A);
    }
    // The kernel counted the first, and there need be no room for it.
    ring.on(8).ended(UnderWay::Counted, &format!("{A}{B}"));
    ring.on(9).ended(UnderWay::Waiting, B);
    assert_eq!(ring.brief(), [("/b", 0), ("/b", 0)]);
    assert_eq!(ring.told[0].end_ns, ring.now_ns - 1);
    assert_eq!((ring.lost.len(), ring.table.len()), (0, MAX));
}

#[test]
fn half_a_head_is_no_request() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, "GET /a HTTP/1.1\r\nHo");
    ring.close(false);
    ring.fast_reset("GET /a HTTP/1.1\r\nHo");
    ring.look_after(RESET_NS);
    ring.look_after(0);
    assert_eq!((ring.told.len(), ring.lost.len(), ring.table.len()), (0, 0, 0));
}

#[test]
fn a_reset_is_no_abort_before_its_answer_had_time_to_come() {
    let mut ring = Ring::new();
    ring.fast_reset(A);
    let reset_ns = ring.now_ns;
    ring.look_after(0);
    ring.look_after(RESET_NS - 1);
    assert_eq!(ring.told, []);
    ring.look_after(1);
    let told: Vec<_> = ring
        .told
        .iter()
        .map(|told| (told.status, told.start_ns, told.end_ns))
        .collect();
    assert_eq!((told, ring.table.len()), (vec![(0, 900, reset_ns)], 0));
    ring.orphan(OK);
    assert_eq!(ring.told.len(), 1);
}

#[test]
fn a_look_that_was_late_is_not_the_last() {
    let mut ring = Ring::new();
    ring.fast_reset(A);
    ring.look_after(10 * RESET_NS);
    ring.orphan(OK);
    ring.look_after(0);
    assert_eq!(ring.brief(), [("/a", 200)]);
}

#[test]
fn an_answer_that_was_written_before_the_reset_is_told_and_nothing_after_it() {
    let mut ring = Ring::new();
    ring.fast_reset(A);
    ring.look_after(0);
    ring.record.tid = 99;
    ring.orphan(OK);
    assert_eq!(ring.brief(), [("/a", 200)]);
    assert_eq!((ring.told[0].end_ns, ring.told[0].owner[1]), (ring.now_ns, 99));
    ring.orphan("more of it");
    ring.look_after(RESET_NS);
    assert_eq!((ring.told.len(), ring.lost.len(), ring.table.len()), (1, 0, 0));
}

#[test]
fn a_connection_that_was_told_of_is_waited_for_as_well() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, A);
    ring.ask(B);
    ring.close(true);
    ring.orphan(OK);
    ring.look_after(0);
    assert_eq!(ring.brief(), [("/a", 200)]);
    ring.close(false);
    ring.close(true);
    ring.look_after(RESET_NS);
    assert_eq!(ring.brief(), [("/a", 200), ("/b", 0)]);
    assert_eq!(ring.table.len(), 0);
}

#[test]
fn an_answer_may_be_told_a_moment_before_the_reset() {
    let mut ring = Ring::new();
    ring.on(1).orphan("HTTP/1.1 200 OK\r\n\r\n");
    ring.on(2).orphan(TEAPOT);
    ring.on(2).fast_reset(A);
    ring.on(3).open(UnderWay::Waiting, B);
    ring.orphan(OK);
    ring.close(true);
    assert_eq!(ring.brief(), [("/a", 418), ("/b", 200)]);
    ring.look_after(RESET_NS);
    ring.look_after(0);
    ring.on(3).fast_reset(A);
    ring.look_after(RESET_NS);
    ring.look_after(0);
    assert_eq!(ring.brief()[2..], [("/a", 0)], "each answers once");
}

#[test]
fn an_answer_that_is_older_than_its_request_is_none_and_few_are_remembered() {
    let mut ring = Ring::new();
    ring.now_ns = 800;
    ring.on(1).orphan(OK);
    ring.now_ns = 1_000;
    ring.on(1).fast_reset(A);
    ring.on(2).orphan(OK);
    for sock in 0..64 {
        ring.on(100 + sock).orphan(OK);
        ring.orphan("the rest");
    }
    ring.on(2).fast_reset(B);
    ring.look_after(RESET_NS);
    ring.look_after(0);
    assert_eq!(ring.brief(), [("/a", 0), ("/b", 0)]);
}

#[test]
fn an_orphan_of_nobody_is_nothing() {
    let mut ring = Ring::new();
    ring.orphan(OK);
    ring.open(UnderWay::Waiting, A);
    ring.orphan(TEAPOT);
    ring.answer(OK);
    assert_eq!((ring.brief(), ring.lost.len()), (vec![("/a", 200)], 0));
}

#[test]
fn an_orphan_that_is_no_answer_gives_its_connection_up() {
    let mut ring = Ring::new();
    ring.fast_reset(A);
    ring.orphan("what?\r\n");
    ring.look_after(0);
    ring.look_after(RESET_NS);
    assert_eq!((&ring.lost[..], ring.told.len()), (&[(Loss::RawLostAnswer, 1)][..], 0));
    assert_eq!(ring.table.len(), 0);
}

#[test]
fn an_address_that_is_used_again_settles_what_was_reset_there() {
    let mut ring = Ring::new();
    ring.fast_reset(A);
    ring.record.opened_ns += 1;
    ring.fast_reset(B);
    assert_eq!(ring.brief(), [("/a", 0)]);
    ring.orphan(OK);
    ring.look_after(0);
    ring.look_after(RESET_NS);
    assert_eq!((ring.brief(), ring.table.len()), (vec![("/a", 0), ("/b", 200)], 0));
    assert_eq!(ring.lost, []);
}

#[test]
fn what_stands_behind_a_reset_of_a_used_address_is_settled_in_its_time() {
    let mut ring = Ring::new();
    ring.on(1).fast_reset(A);
    ring.on(2).fast_reset(B);
    ring.look_after(RESET_NS / 2);
    ring.on(1).record.opened_ns += 1;
    ring.fast_reset(A);
    ring.look_after(RESET_NS / 2);
    assert_eq!(ring.brief(), [("/a", 0), ("/b", 0)]);
    assert_eq!(ring.table.len(), 1);
}

#[test]
fn an_address_that_is_used_again_without_a_close_loses_what_waited() {
    let mut ring = Ring::new();
    ring.open(UnderWay::Waiting, &format!("{A}{B}"));
    ring.record.opened_ns += 1;
    ring.open(UnderWay::Waiting, A);
    ring.answer(OK);
    assert_eq!(
        (ring.brief(), &ring.lost[..]),
        (vec![("/a", 200)], &[(Loss::RawUntold, 2)][..])
    );
    ring.record.opened_ns -= 1;
    ring.answer(TEAPOT);
    ring.close(false);
    ring.ask(A);
    assert_eq!((ring.told.len(), ring.table.len()), (1, 1));
    assert_eq!(ring.lost[1..], [(Loss::RawUnknownConnection, 1)]);
}

#[test]
fn what_was_not_told_to_the_end_is_lost_and_not_aborted() {
    for reset in [false, true] {
        let mut ring = Ring::new();
        ring.open(UnderWay::Waiting, A);
        ring.ask(B);
        ring.answer(OK);
        ring.take(1, RawNews::Close { reset });
        assert_eq!(
            (ring.brief(), &ring.lost[..]),
            (vec![("/a", 200)], &[(Loss::RawUntold, 1)][..])
        );
        assert_eq!(ring.table.len(), 0);
    }
}

#[test]
fn a_connection_without_news_for_long_is_forgotten_and_what_waits_is_lost() {
    let mut ring = Ring::new();
    ring.on(1).open(UnderWay::Waiting, A);
    ring.on(2).open(UnderWay::Waiting, A);
    ring.look_after(SILENCE_NS / 2);
    ring.on(2).ask(B);
    ring.look_after(SILENCE_NS / 2);
    assert_eq!((&ring.lost[..], ring.table.len()), (&[(Loss::RawUntold, 1)][..], 1));
    assert_eq!(ring.count(Count::RawUntold), 1);
    ring.on(2).answer(&format!("{OK}{OK}"));
    assert_eq!(ring.brief(), [("/a", 200), ("/b", 200)]);
}

#[test]
fn before_the_end_nothing_is_waited_for() {
    let mut ring = Ring::new();
    ring.fast_reset(A);
    ring.on(8).open(UnderWay::Waiting, A);
    let (told, lost) = (&mut ring.told, &mut ring.lost);
    ring.table.settle_resets(&mut |said| hear(&said, told, lost));
    assert_eq!((ring.brief(), ring.table.len()), (vec![("/a", 0)], 1));
}
