use shoalwatch_core::reports::{Difference, Placement};
use shoalwatch_core::{Counts, Revision, SliId, WorkerId};
use std::time::Duration;
use tempfile::TempDir;

use super::*;

const NOW: Millis = Millis(1_800_000_000_000);

fn history(bad: u64) -> History {
    let mut history = History::default();
    history.record(
        &Difference {
            sli: SliId::from("shop/checkout"),
            revision: Revision::from("6c9f7"),
            worker: WorkerId::from("node-1"),
            counts: Counts::new(90, bad),
            bad_pods: 1,
            placement: Placement::At(NOW),
        },
        NOW,
    );
    history
}

fn snapshot(uids: &[&str]) -> Snapshot {
    let record = Record {
        lost: Some(NOW),
        ..Record::default()
    };
    let json = serde_json::to_vec(&record).unwrap();
    Snapshot {
        reports: Some(serde_json::to_vec(&CumulativeReports::default()).unwrap()),
        slos: uids
            .iter()
            .map(|uid| ((*uid).to_owned(), json.clone(), history(10).encode()))
            .collect(),
        specs: uids.iter().map(|uid| ((*uid).to_owned(), b"{}".to_vec())).collect(),
        ..Snapshot::default()
    }
}

/// What is new in `uid`'s windows since [`snapshot`].
fn tail(uid: &str) -> Snapshot {
    let record = serde_json::to_vec(&Record::default()).unwrap();
    Snapshot {
        tails: vec![(uid.to_owned(), record, history(30).tail(NOW))],
        ..Snapshot::default()
    }
}

async fn opened(directory: &TempDir) -> Opened {
    open(directory.path()).await
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let first = opened(&directory).await;
    assert!(first.lost.is_none() && first.saved.slos.is_empty());
    first.store.unwrap().save(snapshot(&["a", "b"])).await.unwrap();

    let second = opened(&directory).await;
    assert!(second.lost.is_none());
    let (record, windows) = &second.saved.slos["b"];
    assert_eq!(record.lost, Some(NOW));
    assert_eq!(windows.window(Duration::from_mins(1), NOW), Counts::new(90, 10));
    assert_eq!(second.saved.specs["a"], b"{}");
}

#[tokio::test]
async fn what_is_new_in_windows_is_read_with_them_and_ends_when_they_are_written_whole() {
    let directory = TempDir::new().unwrap();
    let first = opened(&directory).await.store.unwrap();
    first.save(snapshot(&["a", "b"])).await.unwrap();
    first.save(tail("a")).await.unwrap();
    first.save(tail("b")).await.unwrap();
    first.save(snapshot(&["b"])).await.unwrap();
    let mut copy = first.copy();
    let mut copied = Raw::default();
    while let Some(page) = copy.pages.recv().await {
        page.unwrap().into_iter().for_each(|entry| copied.take(entry));
    }
    drop((first, copy));
    for saved in [opened(&directory).await.saved, copied.read()] {
        assert_eq!(saved.slos["a"], (Record::default(), history(30)));
        assert_eq!(saved.slos["b"].1, history(10));
    }
}

#[tokio::test]
async fn windows_without_what_is_new_in_them_are_not_taken_for_whole() {
    let directory = TempDir::new().unwrap();
    let first = opened(&directory).await.store.unwrap();
    first.save(snapshot(&["a"])).await.unwrap();
    let mut broken = tail("a");
    broken.tails[0].2.truncate(20);
    first.save(broken).await.unwrap();
    drop(first);
    assert!(opened(&directory).await.saved.unreadable.contains("a"));
}

#[tokio::test]
async fn what_belongs_to_no_object_is_removed() {
    let directory = TempDir::new().unwrap();
    let first = opened(&directory).await.store.unwrap();
    first.save(snapshot(&["a", "b"])).await.unwrap();
    first
        .save(Snapshot {
            existing: Some(vec!["b".to_owned()]),
            ..Snapshot::default()
        })
        .await
        .unwrap();
    drop(first);
    let saved = opened(&directory).await.saved;
    assert_eq!(saved.slos.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(saved.specs.keys().collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside_and_a_new_one_is_begun() {
    for garbage in [b"this is no database".to_vec(), vec![0; 100_000]] {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join(FILE), &garbage).unwrap();
        let opened = opened(&directory).await;
        assert!(opened.lost.is_some());
        assert_eq!(fs::read(directory.path().join(DAMAGED)).unwrap(), garbage);
        opened.store.unwrap().save(snapshot(&["a"])).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_torn_in_the_middle_is_no_panic() {
    let directory = TempDir::new().unwrap();
    opened(&directory)
        .await
        .store
        .unwrap()
        .save(snapshot(&["a"]))
        .await
        .unwrap();
    let mut bytes = fs::read(directory.path().join(FILE)).unwrap();
    let middle = bytes.len() / 2;
    bytes.truncate(middle);
    bytes[100..600].fill(0xa5);
    let torn = TempDir::new().unwrap();
    fs::write(torn.path().join(FILE), bytes).unwrap();
    let opened = opened(&torn).await;
    assert!(opened.lost.is_some() && opened.store.is_some());
}

#[tokio::test]
async fn without_a_usable_directory_everything_stays_in_memory() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let opened = open(&file.join("below")).await;
    assert!(opened.store.is_none());
    assert_eq!(opened.lost.map(|error| error.category()), Some("file"));
}

#[tokio::test]
async fn one_unreadable_slo_does_not_take_the_others_with_it() {
    let directory = TempDir::new().unwrap();
    let first = opened(&directory).await.store.unwrap();
    let mut broken = snapshot(&["a", "b"]);
    broken.slos[0].2 = b"garbage".to_vec();
    first.save(broken).await.unwrap();
    drop(first);
    let saved = opened(&directory).await.saved;
    assert!(saved.unreadable.contains("a"));
    assert!(!saved.unreadable.contains("b"));
    assert_eq!(saved.slos["b"].1, history(10));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_another_process_has_open_is_not_moved_aside() {
    let directory = TempDir::new().unwrap();
    let _other = Database::create(directory.path().join(FILE)).unwrap();
    let opened = opened(&directory).await;
    assert_eq!(opened.lost.map(|error| error.category()), Some("locked"));
    assert!(opened.store.is_none());
    assert!(!fs::exists(directory.path().join(DAMAGED)).unwrap());
}
