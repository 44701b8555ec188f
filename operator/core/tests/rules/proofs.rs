//! What is rendered, golden.

use std::path::{Path, PathBuf};

use serde_json::Value;
use shoalwatch_core::rules::{MIN_WINDOW, Rule, RuleFile, render};

use super::promtool;
use super::slos::{Slo, slos};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules/golden")
}

/// Every file, by its name.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for slo in slos() {
        let rules = slo.rendered().file;
        files.push((
            format!("{}.rules.yaml", slo.name),
            serde_saphyr::to_string(&rules).unwrap(),
        ));
        let tiers = slo.alerts.tiers.iter();
        for tier in tiers.filter(|tier| slo.proved.contains(&tier.name.as_str())) {
            let test = serde_saphyr::to_string(&promtool::tests(&slo, tier)).unwrap();
            files.push((format!("{}.{}.test.yaml", slo.name, tier.name), test));
        }
    }
    files
}

#[test]
fn what_is_rendered_is_what_promtool_proves() {
    let files = files();
    if std::env::var_os("SHOALWATCH_REGENERATE").is_some() {
        for (name, text) in &files {
            std::fs::write(folder().join(name), text).unwrap();
        }
    }
    let known: Vec<&String> = files.iter().map(|(name, _)| name).collect();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&&name), "{name} is of no SLO any more: remove it");
    }
    for (name, text) in &files {
        let found = std::fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert_eq!(&found, text, "{name}: run this test with SHOALWATCH_REGENERATE=1");
    }
}

#[test]
fn yaml_says_what_was_rendered() {
    for slo in slos() {
        let rules = slo.rendered().file;
        let yaml = serde_saphyr::to_string(&rules).unwrap();
        let read: Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read, serde_json::to_value(&rules).unwrap(), "{}", slo.name);
    }
}

#[test]
fn rendering_is_deterministic_and_bounded() {
    for slo in slos() {
        assert_eq!(slo.rendered(), slo.rendered());
        let rules = &slo.rendered().file.groups[0].rules;
        assert!(rules.len() <= 1 + 3 * slo.alerts.tiers.len(), "{}", slo.name);
    }
}

fn alerts(file: &RuleFile) -> Vec<String> {
    let rules = file.groups[0].rules.iter();
    rules
        .filter_map(|rule| match rule {
            Rule::Alerting { labels, .. } => Some(labels["tier"].clone()),
            Rule::Recording { .. } => None,
        })
        .collect()
}

#[test]
fn a_tier_that_prometheus_cannot_see_is_left_out_and_named() {
    let mut slo = slos().remove(0);
    slo.alerts.tiers[0].short = MIN_WINDOW / 2;
    let rendered = slo.rendered();
    assert_eq!(rendered.left_out, ["fast-page"]);
    assert_eq!(alerts(&rendered.file), ["slow-page", "fast-ticket", "slow-ticket"]);
    slo.alerts.tiers.truncate(1);
    assert_eq!(render(&slo.subject(), &slo.promise()), None);
}

#[test]
fn what_an_slo_says_stays_a_text() {
    let mut slo = slos().remove(0);
    slo.routes = ["/a\"}[1m])) or vector(1) #\n{{ .Labels }}".to_owned()].into();
    "a\"b{{x}}".clone_into(&mut slo.workload);
    let Slo { workload, .. } = &slo;
    let file = slo.rendered().file;
    for rule in &file.groups[0].rules {
        match rule {
            Rule::Recording { record, expr, .. } if record.starts_with("slo:bad_requests:") => {
                let route = r#"http_route=~"/a\"\\}\\[1m\\]\\)\\) or vector\\(1\\) #\u000a\\{\\{ \\.Labels \\}\\}"}["#;
                assert!(expr.contains(route), "{expr}");
                assert!(expr.contains(r#"k8s_deployment_name="a\"b{{x}}","#), "{expr}");
                assert!(!expr.contains('\n'), "{expr}");
            }
            Rule::Recording { .. } => {}
            Rule::Alerting { annotations, .. } => {
                let told = annotations["description"].replace("{{ $value | humanizePercentage }}", "");
                assert!(!told.contains(workload.as_str()), "a template of the user's: {told}");
                assert!(told.contains("a\"b{{ `{{` }}x}}"), "{told}");
            }
        }
    }
}
