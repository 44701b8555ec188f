use std::{collections::BTreeMap, fs};

use super::*;
use node::Node;

mod clients;
mod node;
mod raw;
mod teaching;

const EVERYTHING: &str = "{policies: [{id: shop/all, namespace: shop, probability: 1}]}";
const SLI: &str = "{slis: [{id: s, namespace: shop, workload: checkout, bad: [5xx]}]}";

fn cart(container: &str, status: u16) -> (String, String, u16) {
    (container.to_owned(), "/cart/{id}".to_owned(), status)
}

#[test]
fn a_new_process_of_a_known_pod_is_observed_at_once() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    assert!(node.selected(tgid).is_some_and(|service| service != PENDING));
    node.get(tgid, 200);
    assert_eq!(node.counts(), BTreeMap::from([(cart("app", 200), 1)]));
    assert_eq!(node.spans(), 1);
}

#[test]
fn what_nothing_asks_for_is_not_observed_until_a_configuration_does() {
    let mut node = Node::new("{policies: [{id: bank/all, namespace: bank, probability: 1}]}");
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    assert_eq!(node.selected(tgid), None);
    node.configure(EVERYTHING);
    assert!(node.selected(tgid).is_some());
    node.configure("{}");
    assert_eq!(node.selected(tgid), None);
}

#[test]
fn the_target_of_an_sli_is_measured_without_a_policy_and_gives_no_span() {
    let mut node = Node::new(SLI);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    for status in [200, 503, 404] {
        node.get(tgid, status);
    }
    assert_eq!(node.sli(), (2, 1, 0, 1));
    assert_eq!(node.spans(), 0);
}

#[test]
fn a_request_without_an_answer_is_aborted_wherever_it_is_told() {
    let mut node = Node::new(
        "{policies: [{id: shop/all, namespace: shop, probability: 0,
            rules: [{name: answered, status: [1xx, 2xx, 3xx, 4xx, 5xx], probability: 0},
                {name: aborted, status: [Aborted], probability: 1}]}],
          slis: [{id: s, namespace: shop, workload: checkout, bad: [5xx, Aborted]}]}",
    );
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.get(tgid, 200);
    assert_eq!((node.sli(), node.spans()), ((1, 0, 0, 1), 0));
    node.get(tgid, 0);
    assert_eq!((node.sli(), node.spans()), ((1, 1, 0, 1), 1));
    let expected = BTreeMap::from([(cart("app", 200), 1), (cart("app", 0), 1)]);
    assert_eq!(node.counts(), expected);
    let services = node.numbers().services;
    let aborted = services
        .iter()
        .flat_map(|service| &service.series.server)
        .find(|series| {
            let attributes = series.attributes.as_ref();
            attributes.is_some_and(|attributes| attributes.status.is_aborted())
        });
    // From the request's first byte to the close, as the fake kernel tells them.
    assert_eq!(aborted.map(|series| series.histogram.sum_seconds()), Some(1e-6));
}

#[test]
fn an_aborted_request_is_good_for_an_sli_that_does_not_name_it() {
    let mut node = Node::new(SLI);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.get(tgid, 0);
    assert_eq!(node.sli(), (1, 0, 0, 1));
}

#[test]
fn the_first_answers_of_a_pod_that_nobody_knows_yet_wait_for_it() {
    let mut node = Node::new(SLI);
    let tgid = node.exec('a');
    assert_eq!(node.selected(tgid), Some(PENDING));
    node.get(tgid, 503);
    node.wait(PATIENCE_NS - 1);
    node.get(tgid, 200);
    node.pod(&["app"], &[]);
    assert_ne!(node.selected(tgid), Some(PENDING));
    assert_eq!(node.sli(), (1, 1, 0, 1));
    assert_eq!(node.lost(Loss::UnknownProcess), 0);
}

#[test]
fn a_request_that_was_read_while_its_pod_was_unknown_is_counted_when_it_is_answered() {
    let mut node = Node::new(SLI);
    let tgid = node.exec('a');
    node.pod(&["app"], &[]);
    node.kernel
        .lock()
        .requests
        .push((tgid, PENDING, 200, b"GET / HTTP/1.1\r\n\r\n".to_vec()));
    node.observer.take_requests(node.now);
    assert_eq!(node.sli(), (1, 0, 0, 1));
}

#[test]
fn a_pod_that_stays_unknown_is_given_up_counted_and_taken_back_when_it_comes() {
    let mut node = Node::new(SLI);
    let tgid = node.exec('a');
    node.get(tgid, 200);
    node.wait(PATIENCE_NS);
    assert_eq!(node.selected(tgid), None);
    assert_eq!(node.lost(Loss::UnknownProcess), 1);
    node.observer.set_pods(PodIndex::default(), node.now);
    assert_eq!(
        node.selected(tgid),
        None,
        "news of other pods do not make it wait again"
    );
    node.pod(&["app"], &[]);
    node.get(tgid, 200);
    assert_eq!(node.sli(), (1, 0, 0, 1));
}

#[test]
fn a_process_that_ends_before_its_pod_is_known_still_counts() {
    let mut node = Node::new(SLI);
    let tgid = node.exec('a');
    node.get(tgid, 503);
    node.observer.end_all(&[tgid], node.now);
    assert_eq!(node.selected(tgid), None);
    node.pod(&["app"], &[]);
    assert_eq!(node.sli(), (0, 1, 0, 0));
    assert!(node.observer.processes.get(tgid).is_none());
}

#[test]
fn a_container_s_name_is_waited_for_before_an_sli_of_one_container_judges() {
    let mut node = Node::new("{slis: [{id: s, namespace: shop, workload: checkout, container: app, bad: [5xx]}]}");
    node.pod(&["app", "proxy"], &[]);
    let [app, proxy] = ['a', 'b'].map(|container| node.exec(container));
    node.get(app, 503);
    node.get(proxy, 503);
    node.pod(&["app", "proxy"], &[("app", 'a'), ("proxy", 'b')]);
    assert_eq!(node.sli(), (0, 1, 0, 1));
    assert_eq!(node.selected(proxy), None);
    assert_eq!(node.lost(Loss::UnknownProcess), 0, "nobody asked for the proxy's");
}

#[test]
fn a_restarted_container_goes_on_with_its_series() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let first = node.exec('a');
    node.get(first, 200);
    node.observer.end_all(&[first], node.now);
    let second = node.exec('b');
    node.get(second, 200);
    assert_eq!(node.counts(), BTreeMap::from([(cart("app", 200), 2)]));
    assert_eq!(node.numbers().services.len(), 1);
}

#[test]
fn a_pod_is_counted_as_observed_until_its_last_process_ends() {
    let mut node = Node::new(SLI);
    node.pod(&["app"], &[]);
    let [first, second] = [node.exec('a'), node.exec('a')];
    assert_eq!(node.sli().3, 1);
    node.observer.end_all(&[first], node.now);
    assert_eq!(node.sli().3, 1);
    node.observer.end_all(&[second], node.now);
    assert_eq!(node.sli().3, 0);
}

#[test]
fn losses_in_the_kernel_are_incomplete_once_and_never_good() {
    let mut node = Node::new(SLI);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.get(tgid, 200);
    node.kernel.lock().lost.insert(tgid, 7);
    node.observer.attribute_losses(node.now);
    node.observer.attribute_losses(node.now);
    assert_eq!(node.sli(), (1, 0, 7, 1));
    node.kernel.lock().lost.insert(tgid, 9);
    node.observer.end_all(&[tgid], node.now);
    assert_eq!(node.sli(), (1, 0, 9, 0));
}

#[test]
fn what_the_kernel_could_not_see_of_anybody_makes_every_sli_incomplete() {
    let mut node = Node::new(SLI);
    node.pod(&["app"], &[]);
    node.exec('a');
    node.kernel.lock().stats.recursion_misses = 4;
    node.observer.attribute_losses(node.now);
    node.observer.attribute_losses(node.now);
    assert_eq!(node.sli(), (0, 0, 4, 1));
}

#[test]
fn spans_that_nobody_takes_are_counted_as_lost_beyond_the_queue() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    for _ in 0..3_000 {
        node.get(tgid, 200);
    }
    assert_eq!(node.lost(Loss::QueueFull), 3_000 - node.spans() as u64);
    assert!(node.lost(Loss::QueueFull) > 0);
    assert_eq!(
        node.counts(),
        BTreeMap::from([(cart("app", 200), 3_000)]),
        "numbers are not lost with spans"
    );
}

#[test]
fn a_child_is_observed_and_forgotten_when_it_ended_already() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let parent = node.exec('a');
    let service = node.selected(parent).unwrap();
    let child = node.process('a');
    node.kernel.lock().selected.insert(child, service);
    node.news(ProcessKind::Fork, child, parent);
    assert_eq!(node.selected(child), Some(service));
    let gone = node.process('a');
    node.sleepers.last_mut().unwrap().kill().unwrap();
    node.sleepers.last_mut().unwrap().wait().unwrap();
    node.kernel.lock().selected.insert(gone, service);
    node.news(ProcessKind::Fork, gone, parent);
    assert_eq!(node.selected(gone), None);
}

#[test]
fn a_look_at_proc_finds_what_the_news_missed_and_misses_what_ended() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.process('a');
    node.observer.rescan(node.now);
    assert!(node.selected(tgid).is_some());
    fs::remove_dir_all(node.proc_fs.path().join(tgid.to_string())).unwrap();
    node.observer.rescan(node.now);
    assert_eq!(node.selected(tgid), None);
    assert!(node.observer.processes.get(tgid).is_none());
}

#[test]
fn a_terminating_pod_is_observed_until_its_process_ends() {
    let mut node = Node::new(SLI);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.observer.set_pods(PodIndex::default(), node.now);
    node.get(tgid, 503);
    assert_eq!(node.sli(), (0, 1, 0, 1));
}

#[test]
fn a_dry_run_counts_what_it_would_do_and_the_next_policy_decides() {
    let mut node = Node::new(
        "{policies: [{id: shop/try, namespace: shop, probability: 1, dryRun: true}, {id: shop/all, namespace: shop, probability: 0}]}",
    );
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.get(tgid, 200);
    assert_eq!(node.spans(), 0);
    assert_eq!(node.observer.counters.get(Count::SpanDryRunKept), 1);
    assert_eq!(node.observer.counters.get(Count::SpanNever), 1);
}

#[test]
fn an_edited_policy_does_not_begin_with_a_new_burst() {
    let limited = |probability: &str| {
        format!(
            "{{policies: [{{id: shop/all, namespace: shop, probability: {probability}, limit: {{tracesPerSecond: 1, burst: 1}}}}]}}"
        )
    };
    let mut node = Node::new(&limited("1"));
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    for probability in ["1", "1.0", "1"] {
        node.configure(&limited(probability));
        node.get(tgid, 200);
    }
    assert_eq!(node.spans(), 1);
    assert_eq!(node.lost(Loss::RateLimited), 2);
}

#[test]
fn what_is_no_http_is_counted_by_reason_and_nowhere_else() {
    let mut node = Node::new(SLI);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    for (head, count) in [
        ("GET \u{1} HTTP/1.1\r\n", Count::NotHttpTarget),
        ("GET / SMTP\r\n\r\n", Count::NotHttpVersion),
        ("\u{16}\u{3}\u{1}", Count::NotHttpMethod),
        ("GE", Count::NotHttpIncomplete),
        ("PRI * HTTP/2.0\r\n\r\n", Count::NotHttpHttp2),
    ] {
        node.request(tgid, 200, head);
        assert_eq!(node.observer.counters.get(count), 1, "{head:?}");
    }
    assert_eq!(node.sli(), (0, 0, 0, 1));
    assert!(node.counts().is_empty());
}

#[test]
fn a_path_that_was_cut_has_no_route() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.request(tgid, 200, "GET /cart/all-that-was-rea");
    assert_eq!(
        node.counts(),
        BTreeMap::from([(("app".to_owned(), String::new(), 200), 1)])
    );
}

#[test]
fn numbers_of_a_service_that_is_gone_are_told_for_a_while_and_then_forgotten() {
    let mut node = Node::new(EVERYTHING);
    node.pod(&["app"], &[]);
    let tgid = node.exec('a');
    node.get(tgid, 200);
    node.observer.end_all(&[tgid], node.now);
    fs::remove_dir_all(node.proc_fs.path().join(tgid.to_string())).unwrap();
    node.wait(299_000_000_000);
    node.observer.rescan(node.now);
    assert_eq!(node.counts().len(), 1);
    node.wait(1_000_000_000);
    node.observer.rescan(node.now);
    assert!(node.counts().is_empty());
}
