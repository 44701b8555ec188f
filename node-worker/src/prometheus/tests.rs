use super::*;

#[test]
fn attribute_names_become_label_names() {
    assert_eq!(label_name("k8s.pod.name"), "k8s_pod_name");
    assert_eq!(label_name("9lives-é"), "_9lives__");
}

#[test]
fn losses_are_on_the_page_before_the_first_one() {
    let page = page(&Snapshot::default(), &Counters::default(), &Health::default(), None);
    for line in [
        "shoalwatch_lost_total{stage=\"kernel\",reason=\"ring_full\"} 0",
        "shoalwatch_lost_total{stage=\"queue\",reason=\"full\"} 0",
        "shoalwatch_exports_total{signal=\"traces\",outcome=\"sent\"} 0",
        "shoalwatch_probes_info{state=\"loaded\"} 1",
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is missing in:\n{page}");
    }
    assert!(!page.contains("shoalwatch_config_info{"), "{page}");
}

#[test]
fn no_metric_is_headed_twice() {
    let page = page(&Snapshot::default(), &Counters::default(), &Health::default(), None);
    let mut heads: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let all = heads.len();
    heads.sort_unstable();
    heads.dedup();
    assert_eq!(heads.len(), all);
}
