use serde_json::{Value, json};

use super::*;
use crate::testing::{ApiServer, api_server};

const STATUS: &str = "PATCH /apis/shoalwatch.dev/v1alpha1/namespaces/shop/slos/checkout/status";

struct Room {
    statuses: Statuses,
    server: ApiServer,
    lease: watch::Sender<Leadership>,
    stop: CancellationToken,
    writes: Writes,
}

fn room(leading: bool) -> Room {
    let (client, server) = api_server();
    let (lease, leadership) = watch::channel(Leadership { leading, term: 1 });
    let (statuses, task) = channel(client, leadership, Budget::default(), &mut Registry::default());
    let (stop, writes) = (CancellationToken::new(), task.writes.clone());
    tokio::spawn(task.run(stop.clone()));
    Room {
        statuses,
        server,
        lease,
        stop,
        writes,
    }
}

fn document(number: u32) -> Document {
    Document {
        key: Key {
            kind: Kind::Slo,
            namespace: "shop".into(),
            name: "checkout".into(),
            uid: "uid-1".into(),
        },
        status: json!({"phase": "Healthy", "observedGeneration": number}),
        found: None,
    }
}

impl Room {
    fn offer(&self, number: u32) {
        self.statuses.offer(document(number), Urgency::Now);
    }

    fn count(&self, outcome: Label) -> u64 {
        self.writes.get_or_create(&Labels { outcome }).get()
    }
}

fn stored(number: u32) -> Value {
    json!({"apiVersion": "shoalwatch.dev/v1alpha1", "kind": "SLO", "metadata": {"name": "checkout"},
        "status": document(number).status})
}

#[tokio::test(start_paused = true)]
async fn a_status_is_applied_by_the_operator_alone_and_only_to_the_object_that_was_judged() {
    let mut room = room(true);
    room.offer(1);
    let asked = room.server.answer(|_| (200, stored(1))).await;
    assert_eq!(asked.what, STATUS);
    assert_eq!(asked.content_type, "application/apply-patch+yaml");
    assert_eq!(
        asked.query,
        format!("&force=true&fieldManager={}", names::FIELD_MANAGER)
    );
    assert_eq!(
        asked.body,
        json!({
            "apiVersion": "shoalwatch.dev/v1alpha1",
            "kind": "SLO",
            "metadata": {"namespace": "shop", "name": "checkout", "uid": "uid-1"},
            "status": {"phase": "Healthy", "observedGeneration": 1},
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_tried_again_soon_and_a_refusal_waits_for_another_status() {
    let mut room = room(true);
    room.offer(1);
    room.server.refuse(409, "Conflict").await;
    assert_eq!(room.server.refuse(422, "Invalid").await.what, STATUS);
    room.server
        .silent_during(tokio::time::sleep(Duration::from_mins(10)))
        .await;
    room.offer(2);
    assert_eq!(
        room.server.answer(|_| (200, stored(2))).await.body["status"]["observedGeneration"],
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_costs_five_seconds_and_is_counted_apart() {
    let mut room = room(true);
    room.offer(1);
    let begun = Instant::now();
    let (_never, respond) = std::pin::pin!(room.server.0.next_request()).await.unwrap();
    room.server.answer(|_| (200, stored(1))).await;
    drop(respond);
    assert!(begun.elapsed() >= REQUEST);
    assert_eq!(room.count(Label::Timeout), 1);
}

#[tokio::test(start_paused = true)]
async fn a_follower_writes_nothing_and_a_lost_lease_ends_what_was_waiting() {
    let mut room = room(false);
    room.offer(1);
    room.server
        .silent_during(tokio::time::sleep(Duration::from_mins(1)))
        .await;
    room.lease.send(Leadership { leading: true, term: 2 }).unwrap();
    room.server.answer(|_| (200, stored(1))).await;
    room.offer(2);
    room.server.refuse(500, "Broken").await;
    room.lease
        .send(Leadership {
            leading: false,
            term: 2,
        })
        .unwrap();
    room.server
        .silent_during(tokio::time::sleep(Duration::from_mins(10)))
        .await;
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_the_writer_ends() {
    let room = room(true);
    room.stop.cancel();
    let mut server = room.server.0;
    let asked = std::pin::pin!(server.next_request()).await;
    assert!(
        asked.is_none(),
        "the writer let go of the client without asking anything"
    );
}
