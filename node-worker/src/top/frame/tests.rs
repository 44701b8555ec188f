use super::*;

/// Two pages of a worker that observed nginx, taken to be a second apart; in between, 150 requests to three routes.
const EARLIER: &str = include_str!("earlier.prom");
const NOW: &str = include_str!("now.prom");

fn screen(earlier: &str, now: &str) -> String {
    render(&Samples::parse(earlier), &Samples::parse(now), Duration::from_secs(1))
}

#[test]
fn a_recorded_second_is_one_screen() {
    assert_eq!(screen(EARLIER, NOW), include_str!("screen.txt"));
}

#[test]
fn a_worker_that_was_started_anew_begins_at_zero() {
    let screen = screen(NOW, EARLIER);
    assert_eq!(
        screen.lines().filter(|line| line.contains("    40.0 ")).count(),
        3,
        "{screen}"
    );
}

#[test]
fn without_statistics_the_programs_are_not_shown_as_free() {
    let without = NOW.replace("shoalwatch_bpf_run_time_seconds_total{", "other{");
    assert!(screen(EARLIER, &without).contains("eBPF time is not taken (--bpf-stats)"));
}

#[test]
fn without_requests_there_is_no_division_by_them() {
    let screen = screen(NOW, NOW);
    assert!(
        screen.contains("no requests\n") && screen.contains("eBPF 0.00 % of a core"),
        "{screen}"
    );
    assert!(!screen.contains("NaN"));
}

#[test]
fn a_route_cannot_write_to_the_terminal() {
    let evil = NOW.replace("/status/{id}/pay", "/\x1b[2J\x07");
    let screen = screen(EARLIER, &evil);
    assert!(
        screen.contains("/·[2J·") && !screen.contains(['\x1b', '\x07']),
        "{screen}"
    );
}

#[test]
fn losses_are_told_by_stage_with_what_is_new() {
    let lost = NOW.replace("reason=\"ring_full\"} 0", "reason=\"ring_full\"} 7");
    let screen = screen(EARLIER, &lost);
    assert!(
        screen.contains("kernel 7 (+7)") && screen.contains("queue 0 (+0)"),
        "{screen}"
    );
}

#[test]
fn the_slowest_hundredth_is_found_between_two_bounds() {
    let of = |buckets: &[(f64, f64)]| Route {
        buckets: buckets.to_vec(),
        ..Route::default()
    };
    // 100 requests: 98 below 10 ms, so the 99th is half way to 20 ms.
    assert_eq!(
        of(&[(0.02, 100.0), (0.01, 98.0), (f64::INFINITY, 100.0)]).p99(),
        "15.0 ms"
    );
    assert_eq!(of(&[(0.01, 1.0), (f64::INFINITY, 100.0)]).p99(), "> 10.0 ms");
    assert_eq!(of(&[]).p99(), "");
}

#[test]
fn the_busiest_routes_are_shown_and_the_others_counted() {
    let count = |route: usize| format!("{COUNT}{{service_name=\"web\",http_route=\"/r{route}\"}} {route}\n");
    let page: String = (1..=ROWS + 3).map(count).collect();
    let screen = screen("", &page);
    assert!(
        screen.contains(" /r23 ") && !screen.contains(" /r3 ") && screen.contains("and 3 more\n"),
        "{screen}"
    );
}
