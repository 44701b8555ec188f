use serde_json::json;

use super::*;

fn key(name: &str) -> Key {
    Key {
        kind: Kind::Slo,
        namespace: "shop".into(),
        name: name.into(),
        uid: format!("uid-of-{name}"),
    }
}

fn document(name: &str, number: u32) -> Document {
    Document {
        key: key(name),
        status: json!({"number": number}),
        found: None,
    }
}

struct Desk {
    outbox: Outbox,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            outbox: Outbox::new(Budget::default(), now),
            now,
        }
    }

    fn offer(&mut self, document: Document, urgency: Urgency) {
        self.outbox.offer(document, urgency, self.now);
    }

    fn write(&mut self) -> Option<Value> {
        let document = self.outbox.take(self.now)?;
        let status = document.status.clone();
        self.outbox.finish(document, Outcome::Written, self.now);
        Some(status)
    }

    fn pass(&mut self, seconds: f64) {
        self.now += Duration::from_secs_f64(seconds);
    }
}

#[test]
fn an_equal_status_is_not_written_again() {
    let mut desk = Desk::new();
    desk.offer(document("a", 1), Urgency::Now);
    assert!(desk.write().is_some());
    desk.offer(document("a", 1), Urgency::Now);
    assert_eq!(desk.write(), None);
    assert_eq!(desk.outbox.wake(desk.now), None);
}

#[test]
fn numbers_wait_for_half_a_minute_and_the_newest_is_written() {
    let mut desk = Desk::new();
    desk.offer(document("a", 1), Urgency::Now);
    desk.write().unwrap();
    for number in 2..30 {
        desk.pass(1.0);
        desk.offer(document("a", number), Urgency::Numbers);
        assert_eq!(desk.write(), None);
    }
    desk.pass(6.0);
    assert_eq!(desk.write(), Some(json!({"number": 29})));
}

#[test]
fn a_change_in_kind_takes_waiting_numbers_with_it_at_once() {
    let mut desk = Desk::new();
    desk.offer(document("a", 1), Urgency::Now);
    desk.write().unwrap();
    desk.offer(document("a", 2), Urgency::Numbers);
    desk.offer(document("a", 3), Urgency::Now);
    desk.offer(document("a", 4), Urgency::Numbers);
    assert_eq!(desk.write(), Some(json!({"number": 4})));
}

#[test]
fn what_went_back_to_what_is_written_is_not_written() {
    let mut desk = Desk::new();
    desk.offer(document("a", 1), Urgency::Now);
    desk.write().unwrap();
    desk.offer(document("a", 2), Urgency::Numbers);
    desk.offer(document("a", 1), Urgency::Numbers);
    desk.pass(60.0);
    assert_eq!(desk.write(), None);
}

#[test]
fn all_objects_together_keep_to_the_budget() {
    let mut desk = Desk::new();
    for number in 0..200 {
        desk.offer(document(&format!("slo-{number}"), 0), Urgency::Now);
    }
    let mut written = 0;
    while desk.write().is_some() {
        written += 1;
    }
    assert_eq!(written, 50);
    desk.pass(1.0);
    while desk.write().is_some() {
        written += 1;
    }
    assert_eq!(written, 100);
    let wake = desk.outbox.wake(desk.now).unwrap();
    assert_eq!(wake - desk.now, Duration::from_millis(20));
}

#[test]
fn a_failed_write_is_tried_again_after_a_pause_with_the_newest_status() {
    let mut desk = Desk::new();
    desk.offer(document("a", 1), Urgency::Now);
    let taken = desk.outbox.take(desk.now).unwrap();
    desk.offer(document("a", 2), Urgency::Now);
    assert_eq!(desk.outbox.take(desk.now), None, "one write of an object at a time");
    desk.outbox.finish(taken, Outcome::Failed("server"), desk.now);
    assert_eq!(desk.write(), None);
    desk.pass(1.0);
    assert_eq!(desk.write(), Some(json!({"number": 2})));
}

#[test]
fn a_status_that_is_refused_waits_for_another_one() {
    let mut desk = Desk::new();
    desk.offer(document("a", 1), Urgency::Now);
    let taken = desk.outbox.take(desk.now).unwrap();
    desk.outbox.finish(taken, Outcome::Failed("invalid"), desk.now);
    desk.pass(3_600.0);
    desk.offer(document("a", 1), Urgency::Now);
    assert_eq!(desk.write(), None);
    desk.offer(document("a", 2), Urgency::Now);
    assert_eq!(desk.write(), Some(json!({"number": 2})));
}

#[test]
fn a_deleted_object_and_its_successor_share_nothing() {
    let mut desk = Desk::new();
    desk.offer(document("a", 1), Urgency::Now);
    desk.write().unwrap();
    let successor = Document {
        key: Key {
            uid: "another".into(),
            ..key("a")
        },
        status: json!({"number": 1}),
        found: None,
    };
    desk.offer(successor.clone(), Urgency::Numbers);
    desk.outbox.retain(|key| key.uid == "another");
    assert_eq!(desk.outbox.take(desk.now), Some(successor));
    assert_eq!(desk.outbox.waiting(), 0);
}

#[test]
fn after_a_restart_an_object_that_says_it_already_is_left_alone() {
    let mut desk = Desk::new();
    desk.offer(
        Document {
            found: Some(json!({"number": 1})),
            ..document("a", 1)
        },
        Urgency::Now,
    );
    assert_eq!(desk.write(), None);
    desk.offer(
        Document {
            found: Some(json!({"number": 1})),
            ..document("a", 2)
        },
        Urgency::Now,
    );
    assert!(desk.write().is_some());
}
