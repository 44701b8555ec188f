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

#[test]
fn the_page_has_the_numbers_that_go_over_otlp() {
    let snapshot = Snapshot {
        numbers: crate::requests::example_numbers(),
        ..Snapshot::default()
    };
    let page = page(&snapshot, &Counters::default(), &Health::default(), None);
    let series = "service_name=\"web\",http_request_method=\"GET\",http_response_status_code=\"503\",\
                  url_scheme=\"http\",http_route=\"/cart/{id}\",error_type=\"503\"";
    let aborted = "service_name=\"web\",http_request_method=\"GET\",url_scheme=\"http\",http_route=\"/cart/{id}\",\
                   error_type=\"aborted\"";
    let call = "service_name=\"web\",http_request_method=\"GET\"";
    let peer = "server_address=\"10.0.0.1\",server_port=\"8080\"";
    for line in [
        format!(
            "http_client_request_duration_seconds_count{{{call},http_response_status_code=\"404\",url_scheme=\"http\",{peer},\
             error_type=\"404\"}} 2"
        ),
        format!(
            "http_client_request_duration_seconds_bucket{{{call},http_response_status_code=\"200\",url_scheme=\"http\",\
             server_address=\"_OTHER\",le=\"0.005\"}} 1"
        ),
        format!(
            "http_client_request_duration_seconds_sum{{{call},url_scheme=\"http\",{peer},error_type=\"aborted\"}} 0.000000001"
        ),
        format!("http_server_request_duration_seconds_bucket{{{series},le=\"0.005\"}} 1"),
        format!("http_server_request_duration_seconds_bucket{{{series},le=\"0.5\"}} 1"),
        format!("http_server_request_duration_seconds_bucket{{{series},le=\"0.75\"}} 3"),
        format!("http_server_request_duration_seconds_bucket{{{series},le=\"10\"}} 3"),
        format!("http_server_request_duration_seconds_bucket{{{series},le=\"+Inf\"}} 4"),
        format!("http_server_request_duration_seconds_sum{{{series}}} 61.403"),
        format!("http_server_request_duration_seconds_count{{{series}}} 4"),
        format!("http_server_request_duration_seconds_count{{{aborted}}} 1"),
        "http_server_request_duration_seconds_count{service_name=\"web\",otel_metric_overflow=\"true\"} 1".to_owned(),
        "http_server_request_duration_seconds_count{otel_metric_overflow=\"true\"} 2".to_owned(),
    ] {
        assert!(page.lines().any(|other| other == line), "{line} is missing in:\n{page}");
    }
}
