//! The operator is killed at every single request that it makes, and started again from what is durable: its disk, the
//! annotation on the target, the status of the SLO.

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use tokio::sync::Notify;

use super::cluster::Cluster;
use super::operator::{Around, Death, HALF, Operator, Traffic};
use super::*;
use crate::clock::Clock;

struct Story {
    cluster: Arc<Mutex<Cluster>>,
    clock: Arc<ManualClock>,
    data: TempDir,
    operator: Option<Operator>,
    traffic: Traffic,
    death: Option<Death>,
    died: Arc<Notify>,
}

impl Story {
    async fn begin(death: Option<Death>) -> Self {
        let clock = ManualClock::at("2026-11-22T05:00:00Z");
        let mut story = Self {
            cluster: Arc::new(Mutex::new(Cluster::new(clock.now()))),
            clock,
            data: TempDir::new().unwrap(),
            operator: None,
            traffic: Traffic::default(),
            death: None,
            died: Arc::new(Notify::new()),
        };
        story.start().await;
        story.seconds(10).await;
        story.cluster().asked.clear();
        story.death = death;
        story
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap()
    }

    async fn start(&mut self) {
        let around = Around {
            cluster: Arc::clone(&self.cluster),
            clock: Arc::clone(&self.clock),
            death: self.death,
            died: Arc::clone(&self.died),
            network: Arc::default(),
        };
        let leading = Leadership { leading: true, term: 1 };
        self.operator = Some(Operator::start(around, self.data.path(), leading).await);
        self.list();
    }

    fn desk(&mut self) -> &mut Desk {
        &mut self.operator.as_mut().unwrap().desk
    }

    fn list(&mut self) {
        let cluster = Arc::clone(&self.cluster);
        self.operator.as_mut().unwrap().list(&cluster.lock().unwrap());
    }

    fn watch(&mut self) {
        let cluster = Arc::clone(&self.cluster);
        self.operator.as_mut().unwrap().watch(&cluster.lock().unwrap());
    }

    fn serve_requests(&mut self) {
        let slis = self.operator.as_ref().unwrap().slis();
        let cluster = Arc::clone(&self.cluster);
        let reports = self.traffic.half_a_second(&cluster.lock().unwrap(), &slis);
        for (node, report) in reports {
            self.operator.as_mut().unwrap().hear(node, report);
        }
    }

    async fn seconds(&mut self, seconds: u64) {
        for half in 0..seconds * 2 {
            self.clock.advance(HALF);
            tokio::time::advance(HALF).await;
            let now = self.clock.now();
            self.cluster().pass(now);
            self.watch();
            self.serve_requests();
            self.desk().tick();
            if half % 4 == 3 {
                self.desk().save();
            }
            if !self.settle().await {
                self.die().await;
            }
        }
    }

    async fn settle(&mut self) -> bool {
        self.operator.as_mut().unwrap().settle().await
    }

    async fn die(&mut self) {
        self.operator = None;
        if matches!(self.death, Some(Death::WithItsDisk(_))) {
            self.data = TempDir::new().unwrap();
        }
        self.death = None;
        self.start().await;
    }
}

/// `shop:2` comes, is undone and stays undone.
async fn undone(death: Option<Death>) -> Story {
    let mut story = Story::begin(death).await;
    story.restarted_with(death).await;
    story.cluster().apply("shop:2", "kubectl");
    story.seconds(30).await;
    story
}

/// `shop:2` comes, and somebody applies it again five seconds after every act.
async fn healed(death: Option<Death>) -> Story {
    let mut story = Story::begin(death).await;
    story.restarted_with(death).await;
    story.cluster().heals = Some(("shop:2", "argocd-controller"));
    let mark = json!("shop:apps/Deployment:shop/checkout");
    story.cluster().deployment["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = mark;
    story.cluster().apply("shop:2", "argocd-controller");
    story.seconds(45).await;
    story
}

impl Story {
    /// The server of the first process knows of no death; this one's does.
    async fn restarted_with(&mut self, death: Option<Death>) {
        self.operator = None;
        self.death = death;
        self.start().await;
        self.seconds(1).await;
    }

    /// What the receiver was told, without what has an id that it knows.
    fn told(&self) -> Vec<String> {
        let cluster = self.cluster();
        let told = cluster.told.lock().unwrap();
        let mut known = BTreeSet::new();
        let new = told.iter().filter(|parcel| known.insert(parcel.id.clone()));
        let mut told: Vec<String> = new
            .map(|parcel| serde_json::from_slice::<Value>(&parcel.body).unwrap()["reason"].to_string())
            .collect();
        // Found again by the next one, which cannot know when that was.
        told.dedup_by(|again, before| again == before && again.contains("Contested"));
        told
    }

    /// Everything that must be the same with and without a death.
    fn ending(&self) -> (usize, String, Value, Vec<String>, bool) {
        let cluster = self.cluster();
        let mut timeline = cluster.timeline();
        let mut seen = BTreeSet::new();
        // While the operator is away a release that came back goes on failing: of these rows the first count.
        timeline.retain(|step| match step.as_str() {
            "FirstBadAnswer" | "Breached" => seen.insert(step.clone()),
            "Conflict" => false,
            _ => true,
        });
        let state = cluster.rollback()["state"].clone();
        (
            cluster.acts.len(),
            cluster.image(),
            state,
            timeline,
            cluster.owes_fields(),
        )
    }
}

/// Kills the operator at every request of a story, before it arrives and before its answer does.
async fn everywhere(tell: impl AsyncFn(Option<Death>) -> Story, acts: usize, image: &str, state: &str) {
    let whole = tell(None).await;
    let requests = whole.cluster().asked.len();
    let expected = whole.ending();
    assert_eq!(
        (expected.0, expected.1.as_str(), &expected.2, expected.4),
        (acts, image, &json!(state), false),
        "{:?}",
        whole.cluster().asked
    );
    assert!(requests > 20, "{requests}");
    let told = whole.told();
    assert!(told.len() > acts, "{told:?}");
    for number in 0..requests {
        for death in [Death::BeforeRequest(number), Death::BeforeAnswer(number)] {
            let story = tell(Some(death)).await;
            assert_eq!(story.death, None, "it died at {number} of {requests}");
            assert_eq!(story.ending(), expected, "{death:?} of {:?}", story.cluster().asked);
            assert_eq!(story.told(), told, "{death:?} of {:?}", story.cluster().asked);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_request_the_operator_acts_once_and_tells_the_same_story() {
    everywhere(undone, 1, "shop:1", "Latched").await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_request_a_self_healing_writer_meets_two_acts_and_is_named() {
    everywhere(healed, 2, "shop:2", "Contested").await;
    let story = healed(None).await;
    let cluster = story.cluster();
    assert!(
        cluster.rollback()["reason"]
            .as_str()
            .unwrap()
            .starts_with("argocd-controller ")
    );
    let pages: Vec<_> = cluster
        .events
        .iter()
        .filter(|(reason, _)| reason == "Contested")
        .collect();
    assert_eq!(pages.len(), 1);
    let sticks = "to keep it undone, change in Git: spec.template.spec.containers[app].image: shop:2 -> shop:1";
    assert!(pages[0].1.ends_with(sticks), "{}", pages[0].1);
}

#[tokio::test(start_paused = true)]
async fn killed_with_its_disk_the_operator_never_acts_twice() {
    let requests = undone(None).await.cluster().asked.len();
    for number in 0..requests {
        let story = undone(Some(Death::WithItsDisk(number))).await;
        let ending = story.ending();
        assert!(ending.0 <= 1, "{number}: {ending:?}");
        if ending.0 == 1 {
            assert_eq!(
                (ending.1.as_str(), &ending.2),
                ("shop:1", &json!("Latched")),
                "{number}: {:?}",
                ending.3
            );
            assert!(!ending.4, "{number}: the managers are put back");
        }
    }
}
