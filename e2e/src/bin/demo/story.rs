//! What the demo does, in order.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use shoalwatch_crds::{SamplingPolicy, Slo};
use shoalwatch_e2e::{cluster::Cluster, collector, install, load::Load, requests, wait};

use crate::{screen::Screen, table};

const SHOP: &str = "shop";

struct Story {
    cluster: Cluster,
    screen: Screen,
}

/// Tells all of it.
pub(crate) async fn tell() -> Result<()> {
    let mut story = Story {
        cluster: Cluster::connect().await?,
        screen: Screen::new()?,
    };
    story.install().await?;
    story.measure().await?;
    story.sample_live().await?;
    story.undo_a_bad_release().await?;
    story.farewell()
}

impl Story {
    async fn install(&mut self) -> Result<()> {
        self.screen.section("Shoalwatch")?;
        self.reset().await?;
        install::shoalwatch(&self.cluster).await?;
        self.screen.step("operator and node worker are ready")?;
        install::collector(&self.cluster).await?;
        install::shop(&self.cluster).await?;
        self.screen.step(
            "a shop is open: nginx before a Go and a Python service, 100 requests/s; none of them knows of Shoalwatch",
        )?;
        self.cluster.apply_folder(&install::manifests("demo/policies")).await?;
        self.programmed().await?;
        self.screen
            .step("a SamplingPolicy (1 %) and an SLO (99.9 %, rollback enforced) are in force")?;
        Ok(())
    }

    /// A demo that was told before leaves a policy and a release behind; they would spoil this one.
    async fn reset(&self) -> Result<()> {
        self.cluster
            .kubectl(&["delete", "namespace", SHOP, "--ignore-not-found", "--timeout=60s"])
            .await
            .map(drop)
    }

    /// Waits until every node has acknowledged the policy as it is written now.
    async fn programmed(&self) -> Result<()> {
        let policies: Api<SamplingPolicy> = Api::namespaced(self.cluster.client.clone(), SHOP);
        wait::until("the policy is programmed", Duration::from_secs(30), || async {
            let policy = policies.get("shop").await?;
            let conditions = policy.status.iter().flat_map(|status| &status.conditions);
            let now = |generation| generation == policy.metadata.generation;
            let programmed = |one: &&_| is_true(one, "Programmed") && now(one.observed_generation);
            Ok(conditions.filter(programmed).count().checked_sub(1).map(drop))
        })
        .await
    }

    async fn measure(&mut self) -> Result<()> {
        self.screen
            .section("Requests as eBPF sees them, per route and revision")?;
        let rows = self.watch_requests(Duration::from_secs(8)).await?;
        self.screen.settle(&rows)?;
        Ok(())
    }

    /// Draws the table for a while and gives its last state.
    async fn watch_requests(&self, during: Duration) -> Result<Vec<String>> {
        let (start, then) = (Instant::now(), requests::seen(&self.cluster).await?);
        let mut rows = Vec::new();
        while start.elapsed() < during {
            tokio::time::sleep(Duration::from_secs(1)).await;
            rows = table::requests(&requests::seen(&self.cluster).await?, &then, start.elapsed());
            self.screen.draw(&rows)?;
        }
        Ok(rows)
    }

    async fn sample_live(&mut self) -> Result<()> {
        self.screen.section("Sampling, changed live")?;
        let before = self.span_rate(Duration::from_secs(5)).await?;
        self.screen
            .settle(&[format!("at   1 %: {before:>6.1} spans/s at the Collector")])?;
        let (load, restarts) = (self.failed_requests().await?, self.restarts().await?);
        let spans = collector::accepted_spans(&self.cluster).await?;
        let edited = Instant::now();
        self.set_probability("1").await?;
        self.programmed().await?;
        let programmed = edited.elapsed();
        self.first_spans(spans).await?;
        let arrived = edited.elapsed();
        let after = self.span_rate(Duration::from_secs(5)).await?;
        let (load, restarts) = (self.failed_requests().await? - load, self.restarts().await? - restarts);
        self.screen.settle(&[
            format!("at 100 %: {after:>6.1} spans/s at the Collector"),
            format!(
                "acknowledged by every node after {:.2} s, at the Collector after {:.2} s; {load} requests failed, {restarts} pods restarted",
                programmed.as_secs_f64(),
                arrived.as_secs_f64()
            ),
        ])?;
        self.set_probability("0.01").await
    }

    async fn set_probability(&self, probability: &str) -> Result<()> {
        let policies: Api<SamplingPolicy> = Api::namespaced(self.cluster.client.clone(), SHOP);
        let patch = Patch::Merge(json!({"spec": {"probability": probability}}));
        policies.patch("shop", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Waits until more spans have arrived than one per cent of the shop's requests would bring in that time.
    async fn first_spans(&self, before: f64) -> Result<()> {
        wait::until("spans at the Collector", Duration::from_secs(30), || async {
            let arrived = collector::accepted_spans(&self.cluster).await? - before;
            Ok((arrived >= 50.0).then_some(()))
        })
        .await
    }

    async fn span_rate(&self, during: Duration) -> Result<f64> {
        let (start, before) = (Instant::now(), collector::accepted_spans(&self.cluster).await?);
        tokio::time::sleep(during).await;
        Ok((collector::accepted_spans(&self.cluster).await? - before) / start.elapsed().as_secs_f64())
    }

    async fn failed_requests(&self) -> Result<u64> {
        Ok(Load::of_deployment(&self.cluster, SHOP, "load")
            .await?
            .report(&self.cluster)
            .await?
            .failed)
    }

    async fn restarts(&self) -> Result<i32> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), SHOP);
        let all = pods.list(&ListParams::default()).await?;
        let statuses = all.items.into_iter().filter_map(|pod| pod.status?.container_statuses);
        Ok(statuses.flatten().map(|status| status.restart_count).sum())
    }

    async fn undo_a_bad_release(&mut self) -> Result<()> {
        self.screen.section("A bad release, undone")?;
        let answers = Load::of_deployment(&self.cluster, SHOP, "load")
            .await?
            .report(&self.cluster)
            .await?;
        let deployments: Api<Deployment> = Api::namespaced(self.cluster.client.clone(), SHOP);
        let env = json!([{"name": "LATENCY", "value": "2ms"}, {"name": "FAIL_RATIO", "value": "0.2"}]);
        let v2 = json!({"spec": {"template": {"spec": {"containers": [{"name": "checkout", "env": env}]}}}});
        deployments
            .patch("checkout", &PatchParams::default(), &Patch::Strategic(v2))
            .await?;
        let released = Instant::now();
        self.screen
            .settle(&["  +0.0 s  v2 of checkout is released: every fifth answer is 500".to_owned()])?;
        let slo = self.undone(released).await?;
        self.timeline(&slo)?;
        let recovered = self.watch_requests(Duration::from_secs(5)).await?;
        self.screen.settle(&[String::new(), "Afterwards:".to_owned()])?;
        self.screen.settle(&recovered)?;
        self.cost(answers.of_class('5'), &slo).await
    }

    /// Waits until the SLO says that its target was put back and is well.
    async fn undone(&self, released: Instant) -> Result<Slo> {
        let slos: Api<Slo> = Api::namespaced(self.cluster.client.clone(), SHOP);
        wait::until("the release is undone", Duration::from_mins(2), || async {
            let slo = slos.get("checkout").await?;
            let verified = timeline(&slo).iter().any(|(_, step, _)| step == "Verified");
            let waiting = format!(
                "{:>6.1} s  waiting for the SLO's judgement",
                released.elapsed().as_secs_f64()
            );
            self.screen.draw(&[waiting])?;
            Ok(Some(slo).filter(|_| verified))
        })
        .await
    }

    fn timeline(&mut self, slo: &Slo) -> Result<()> {
        let steps = timeline(slo);
        let start = steps.first().context("an empty timeline")?.0;
        let line = |(at, step, detail): &(Timestamp, String, String)| {
            // The numbers are told once, with the breach.
            let detail = if step == "Patched" {
                detail.split(": ").next().unwrap_or_default()
            } else {
                detail
            };
            format!(
                "{:>+6.1} s  {step:<16} {detail}",
                at.duration_since(start).as_secs_f64()
            )
        };
        self.screen.settle(&steps.iter().map(line).collect::<Vec<_>>())?;
        Ok(())
    }

    async fn cost(&mut self, bad_before: u64, slo: &Slo) -> Result<()> {
        let answers = Load::of_deployment(&self.cluster, SHOP, "load")
            .await?
            .report(&self.cluster)
            .await?;
        let budget = slo.status.as_ref().and_then(|status| status.budget.as_ref());
        let remaining = budget.map(|budget| budget.remaining.clone()).unwrap_or_default();
        let steps = timeline(slo);
        let when = |wanted: &str| steps.iter().find(|(_, step, _)| step == wanted).map(|(at, ..)| *at);
        let (bad, patched) = (
            when("FirstBadAnswer").context("no bad answer")?,
            when("Patched").context("no patch")?,
        );
        let line = format!(
            "From the first bad answer to the patch: {:.1} s. It cost {} bad answers; error budget left: {remaining}.",
            patched.duration_since(bad).as_secs_f64(),
            answers.of_class('5') - bad_before,
        );
        self.screen.settle(&[String::new(), line])?;
        Ok(())
    }

    fn farewell(&mut self) -> Result<()> {
        self.screen.section("To try now (make demo-down removes everything)")?;
        let reach = std::env::var("SHOALWATCH_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        self.screen.settle(&[
            format!("{reach} -n shop describe slo checkout"),
            format!("{reach} -n shop get samplingpolicies,slos,events"),
            format!(
                "{reach} -n shop patch samplingpolicy shop --type merge -p '{{\"spec\":{{\"probability\":\"0.5\"}}}}'"
            ),
        ])?;
        self.screen.finish()?;
        if let Some(file) = std::env::var_os("SHOALWATCH_PICTURE") {
            self.screen.save_picture(file.as_ref())?;
        }
        Ok(())
    }
}

fn is_true(condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition, name: &str) -> bool {
    condition.type_ == name && condition.status == "True"
}

/// When, what, and more about it.
fn timeline(slo: &Slo) -> Vec<(Timestamp, String, String)> {
    let entries = slo.status.iter().flat_map(|status| &status.timeline);
    entries
        .map(|entry| {
            (
                entry.at.0,
                format!("{:?}", entry.step),
                entry.detail.clone().unwrap_or_default(),
            )
        })
        .collect()
}
