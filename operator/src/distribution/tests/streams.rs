//! Who may open a stream, and how streams end.

use super::*;

#[tokio::test]
async fn nobody_gets_in_without_a_good_token() {
    let operator = operator(leading(3)).await;
    for token in [None, Some("expired")] {
        let status = operator.open(token).await.err().unwrap();
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
}

#[tokio::test]
async fn a_token_of_another_node_is_refused() {
    let operator = operator(leading(3)).await;
    let mut worker = operator.open(Some("a")).await.unwrap();
    worker.hello("b", None).await;
    assert_eq!(worker.end().await.code(), Code::PermissionDenied);
    assert!(operator.distribution.fleet().borrow().workers.is_empty());
}

#[tokio::test]
async fn whoever_does_not_begin_with_hello_or_says_it_twice_is_refused() {
    let operator = operator(leading(3)).await;
    let mut rude = operator.open(Some("a")).await.unwrap();
    rude.report(1, 1).await;
    assert_eq!(rude.end().await.code(), Code::InvalidArgument);
    let mut twice = operator.worker("a", None).await;
    twice.hello("a", None).await;
    assert_eq!(twice.end().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_new_stream_of_a_node_ends_the_old_one() {
    let operator = operator(leading(3)).await;
    let mut older = operator.worker("a", None).await;
    let newer = operator.worker("a", None).await;
    assert_eq!(older.end().await.code(), Code::Aborted);
    assert!(operator.until("a", |_| true).await.connected);
    drop(newer);
    operator.until("a", |worker| !worker.connected).await;
}

#[tokio::test]
async fn a_graceful_stop_tells_every_worker_to_come_back() {
    let operator = operator(leading(3)).await;
    let mut worker = operator.worker("a", None).await;
    operator.stop.cancel();
    assert_eq!(worker.end().await.code(), Code::Unavailable);
    drop(worker);
    operator.serving.await.unwrap().unwrap();
}
