//! What makes no sense is refused with words that help, and changes nothing.

use anyhow::Result;

use crate::bench::bench;

/// (what is written, what the refusal must name)
const REFUSED: [(&str, &str); 6] = [
    ("kind: SamplingPolicy, spec: {probability: '1.5'}", "probability"),
    ("kind: SamplingPolicy, spec: {probability: half}", "probability"),
    (
        "kind: SamplingPolicy, spec: {probability: '1', rules: [{name: r, match: {route: {}}, probability: '1'}]}",
        "route",
    ),
    (
        "kind: SLO, spec: {targetRef: {group: apps, kind: Deployment, name: x}, objective: '100', indicator: {http: {}}}",
        "objective",
    ),
    (
        "kind: SLO, spec: {targetRef: {group: apps, kind: StatefulSet, name: x}, objective: '99', indicator: {http: {}}}",
        "kind",
    ),
    (
        "kind: SLO, spec: {targetRef: {group: apps, kind: Deployment, name: x}, objective: '99', indicator: {}}",
        "indicator",
    ),
];

#[tokio::test]
async fn the_api_server_refuses_what_the_schema_can_tell_is_wrong() -> Result<()> {
    let Some(bench) = bench("invalid").await? else {
        return Ok(());
    };
    bench
        .run(|| async {
            for (body, field) in REFUSED {
                let manifest = format!(
                    "{{apiVersion: shoalwatch.dev/v1alpha1, metadata: {{name: wrong, namespace: {}}}, {body}}}",
                    bench.namespace
                );
                let refusal = bench
                    .cluster
                    .apply(&manifest)
                    .await
                    .map_err(|error| format!("{error:#}"));
                assert!(
                    refusal.as_ref().is_err_and(|message| message.contains(field)),
                    "{body}: {refusal:?}"
                );
            }
            Ok(())
        })
        .await
}
