//! Nobody dies, but for a while the leader and the API server do not reach each other, or the leader and a worker. Requests are lost, or
//! answers to requests that did their work. A replica that cannot renew its Lease stops leading before another one may start.

use shoalwatch_core::Counts;
use shoalwatch_core::history::History;

use super::*;

/// When a leader that cannot renew gives up, in halves of a second.
const GIVES_UP: u64 = 20;

/// How long a partition lasts, in halves of a second: shorter than the leader's patience, shorter than its Lease, longer than that.
const LASTS: [u64; 3] = [6, 24, 60];

impl Pair {
    /// Half a second at a time, until the partition that comes is mended.
    async fn through_a_partition(&mut self, lasts: u64) {
        let mut broken = 0;
        for _ in 0..240 {
            self.half_a_second().await;
            broken += u64::from(self.network.lock().unwrap().broken);
            if broken == GIVES_UP {
                self.lead_on(false, 1);
            }
            if broken == LEASE {
                self.follower.lease.send_replace(Leadership { leading: true, term: 2 });
                self.follower.desk.follow_leadership();
            }
            if broken == lasts {
                self.network.lock().unwrap().broken = false;
                self.mended(lasts);
                return;
            }
        }
    }

    /// The Lease is there again: the replica takes it back, or learns whose it is.
    fn mended(&mut self, lasted: u64) {
        if lasted >= GIVES_UP {
            self.lead_on(lasted < LEASE, 2);
        }
    }

    fn lead_on(&mut self, leading: bool, term: u64) {
        let leader = self.leader.as_mut().unwrap();
        leader.lease.send_replace(Leadership { leading, term });
        leader.desk.follow_leadership();
    }
}

/// `shop:2` comes; the network breaks off at a request of its undoing and is mended later.
async fn undone(breaks_at: usize, arrives: bool, lasts: u64) -> Pair {
    let network = Network {
        breaks_at: Some(breaks_at),
        arrives,
        broken: false,
    };
    let mut pair = Pair::begin().await.doomed(None, network).await;
    pair.cluster().apply("shop:2", "kubectl");
    pair.through_a_partition(lasts).await;
    pair.seconds(60).await;
    pair
}

#[tokio::test(start_paused = true)]
async fn cut_off_at_any_request_for_any_time_the_leader_or_its_follower_acts_once() {
    let expected = (1, "shop:1".to_owned(), "Latched".to_owned(), false);
    let requests = Box::pin(super::undone(None)).await.cluster().asked.len();
    assert!(requests > 10, "{requests}");
    for number in 0..requests {
        for (arrives, lasts) in [false, true]
            .into_iter()
            .flat_map(|arrives| LASTS.map(|lasts| (arrives, lasts)))
        {
            let pair = Box::pin(undone(number, arrives, lasts)).await;
            assert_eq!(
                pair.network.lock().unwrap().breaks_at,
                None,
                "it broke off at {number} of {requests}"
            );
            assert_eq!(
                pair.ending(),
                expected,
                "at {number} of {requests}, answers only: {arrives}, for {lasts} halves of a second: {:?}",
                pair.cluster().asked
            );
        }
    }
}

impl Pair {
    /// Good and bad requests as each replica counted them.
    fn totals(&mut self) -> [Counts; 2] {
        let now = Millis(self.clock.now().as_millisecond());
        let mut replicas = self.leader.iter_mut().chain([&mut self.follower]);
        std::array::from_fn(|_| {
            let slos = &mut replicas.next().unwrap().desk.slos;
            slos.mark_unsaved();
            let (_, _, bytes) = &slos.unsaved().slos[0];
            History::decode(bytes).unwrap().window(Duration::from_hours(1), now)
        })
    }
}

/// `shop:2` comes; so many halves of a second later the leader hears nothing of a node for a while, and the follower hears all.
async fn undone_with_half_of_the_reports(later: u64, lasts: u64) -> Pair {
    let mut pair = Pair::begin().await;
    pair.cluster().apply("shop:2", "kubectl");
    for half in 0..later + lasts {
        pair.deaf = half >= later;
        pair.half_a_second().await;
    }
    pair.deaf = false;
    pair.seconds(30).await;
    pair
}

#[tokio::test(start_paused = true)]
async fn cut_off_from_a_worker_at_any_moment_the_leader_acts_once_and_both_replicas_count_the_same() {
    let expected = (1, "shop:1".to_owned(), "Latched".to_owned(), false);
    for (later, lasts) in (0..16).flat_map(|later| [1, 8, 30].map(|lasts| (later, lasts))) {
        let mut pair = Box::pin(undone_with_half_of_the_reports(later, lasts)).await;
        assert_eq!(
            pair.ending(),
            expected,
            "{later} and {lasts} halves: {:?}",
            pair.cluster().asked
        );
        let [leader, follower] = pair.totals();
        assert_eq!(leader, follower, "{later} and {lasts} halves");
        assert!(leader.bad > 0);
    }
}
