//! A server that plays with descriptors is counted exactly, whatever it plays.

mod game;
mod model;
mod moves;

use std::cell::RefCell;

use proptest::{
    collection::vec,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::{
    books::{difference, requests},
    client::Client,
    harness::{Outcome, turn, wait_for},
    servers::Counts,
    sink::Sink,
    worker::{ConfigFile, Worker},
};
use game::Game;
use model::Model;
use moves::{Move, a_move};

/// Moves of a schedule at most.
const MOVES: usize = 40;

/// A game under a worker's eyes.
struct Table {
    game: Game,
    worker: Worker,
    config: ConfigFile,
    before: Counts,
}

impl Table {
    fn lay(arguments: &[&str]) -> Outcome<Self> {
        let game = Game::start(arguments)?;
        let config = ConfigFile::selecting(&[("web", &format!("argumentContains: {}", game.name))], "1")?;
        let worker = Worker::start_below(WITH_TRACEFS, &config, None::<&Sink>, |_| {})?;
        worker.wait_for_processes(Game::PROCESSES)?;
        Ok(Self {
            game,
            worker,
            config,
            before: Counts::new(),
        })
    }

    /// Plays a schedule to its end, and compares.
    fn play(&mut self, schedule: &[Move]) -> Outcome<()> {
        let mut model = Model::default();
        for next in schedule {
            model.make(*next, &mut self.game)?;
        }
        let expected = model.end(&mut self.game)?;
        self.expect(&expected)
    }

    /// One request on a connection of its own.
    fn play_one(&mut self, how: &str) -> Outcome<()> {
        let mut client = Client::connect(self.game.address)?;
        let [number] = self.game.play("accept")?[..] else {
            return Err("no connection".into());
        };
        let head = "GET /game/one HTTP/1.1\r\n\r\n";
        client.send(head.as_bytes())?;
        self.game.play(&format!("read {number} recv {}", head.len()))?;
        self.game.play(&format!("answer {number} {how} 200"))?;
        assert_eq!(client.answer()?, (200, "game".to_owned()));
        self.game.play(&format!("close {number}"))?;
        self.expect(&Counts::from([(("GET /game/one".to_owned(), 200), 1)]))
    }

    /// So much more is told, and no more than that. Every move is over when it is answered, so there is nothing to wait for but a
    /// look into the ring that began after the last one: the first page may come from one that began before.
    fn expect(&mut self, expected: &Counts) -> Outcome<()> {
        requests(&self.worker)?;
        let told = requests(&self.worker)?;
        let mut more = told.clone();
        more.retain(|request, count| {
            *count -= self.before.get(request).copied().unwrap_or(0);
            *count > 0
        });
        self.before = told;
        let wrong = difference(&more, expected);
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("told and played: {wrong:?}").into())
        }
    }
}

/// The shell lines that give a program the tracing file system, without which forks are followed late.
const WITH_TRACEFS: &[&str] = &[
    "unshare",
    "--mount",
    "--propagation=private",
    "sh",
    "-ec",
    "mount -t tracefs tracefs /sys/kernel/tracing; exec \"$@\"",
    "sh",
];

#[test]
fn any_schedule_of_descriptors_is_counted_exactly() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let cases = std::env::var("SCHEDULES").map_or(60, |value| value.parse().unwrap());
    let table = RefCell::new(Table::lay(&[]).unwrap());
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    });
    let played = runner.run(&vec(a_move(), 1..MOVES), |schedule| {
        table
            .borrow_mut()
            .play(&schedule)
            .map_err(|error| TestCaseError::fail(error.to_string()))
    });
    played.unwrap();
}

#[test]
fn threads_that_outlive_their_leader_are_counted_under_new_policies_too() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&["leaderless"]).unwrap();
    for policy in ["0", "0.5", "1"] {
        table.config.set_probability(policy).unwrap();
        let applied = || {
            table
                .worker
                .metric("shoalwatch_config_updates_total", &["result=\"applied\""])
        };
        let before = applied().unwrap();
        table.config.set_probability(&format!("{policy}, rules: []")).unwrap();
        wait_for("the policy", || Ok((applied()? > before).then_some(()))).unwrap();
        table.play_one("write").unwrap();
    }
}
