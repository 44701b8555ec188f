//! A server that plays with descriptors is counted exactly, whatever it plays.

mod game;
mod model;
mod moves;

use std::{
    cell::{Cell, RefCell},
    io::{Read, Write},
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixStream},
    },
    time::Duration,
};

use proptest::{
    collection::vec,
    test_runner::{Config, TestCaseError, TestRunner},
};

use crate::{
    books::{difference, requests},
    harness::{Outcome, turn, wait_for},
    servers::Counts,
    sink::Sink,
    tracefs::WITH_TRACEFS,
    worker::{ConfigFile, Worker},
};
use game::Game;
use model::Model;
use moves::{Move, a_move};

/// Moves of a schedule at most.
const MOVES: usize = 60;

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

    /// Plays a schedule to its end, and compares. Returns how many requests it had.
    fn play(&mut self, schedule: &[Move]) -> Outcome<u64> {
        let mut model = Model::default();
        for next in schedule {
            model.make(*next, &mut self.game)?;
        }
        let expected = model.end(&mut self.game)?;
        self.expect(&expected)?;
        Ok(expected.values().sum())
    }

    /// A new connection, its number, and a request on it that is read.
    fn ask(&mut self, how: &str) -> Outcome<(TcpStream, i32)> {
        let mut client = TcpStream::connect(self.game.address)?;
        let number = self.ask_on(&mut client, "accept", how)?;
        Ok((client, number))
    }

    /// The same over a Unix socket.
    fn ask_locally(&mut self, how: &str) -> Outcome<(UnixStream, i32)> {
        let address = SocketAddr::from_abstract_name(&self.game.name)?;
        let mut client = UnixStream::connect_addr(&address)?;
        let number = self.ask_on(&mut client, "local", how)?;
        Ok((client, number))
    }

    fn ask_on(&mut self, client: &mut impl Write, accept: &str, how: &str) -> Outcome<i32> {
        let [number] = self.game.play(accept)?[..] else {
            return Err("no connection".into());
        };
        let head = "GET /game/one HTTP/1.1\r\n\r\n";
        client.write_all(head.as_bytes())?;
        self.game.play(&format!("read {number} {how} {}", head.len()))?;
        Ok(number)
    }

    /// So many requests got these answers since the last time; 0: none.
    fn expect_ends(&mut self, ends: &[(u16, u64)]) -> Outcome<()> {
        let counts = ends
            .iter()
            .map(|(status, count)| (("GET /game/one".to_owned(), *status), *count));
        self.expect(&counts.collect())
    }

    /// So much more is told, and no more than that. Every move is over when it is answered, and the page knows all that happened before
    /// it was asked for: there is nothing to wait for.
    fn expect(&mut self, expected: &Counts) -> Outcome<()> {
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
            let losses = self.worker.page("/metrics")?.1;
            let losses: Vec<_> = losses
                .lines()
                .filter(|line| line.contains("_total") && line.contains("reason") && !line.ends_with(" 0"))
                .collect();
            Err(format!("told and played: {wrong:?}, lost so far {losses:?}").into())
        }
    }
}

#[test]
fn any_schedule_of_descriptors_is_counted_exactly() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let cases = std::env::var("SCHEDULES").map_or(100, |value| value.parse().unwrap());
    let table = RefCell::new(Table::lay(&[]).unwrap());
    let requests = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    });
    let played = runner.run(&vec(a_move(), 1..MOVES), |schedule| {
        let played = table.borrow_mut().play(&schedule);
        let played = played.map_err(|error| TestCaseError::fail(error.to_string()))?;
        requests.set(requests.get() + played);
        Ok(())
    });
    played.unwrap();
    eprintln!("{cases} schedules, {} requests", requests.get());
    assert!(requests.get() > u64::from(cases));
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
        let (_client, number) = table.ask("recv").unwrap();
        table.game.play(&format!("answer {number} write 200")).unwrap();
        table.game.play(&format!("close {number}")).unwrap();
        table.expect_ends(&[(200, 1)]).unwrap();
    }
}

#[test]
fn a_request_that_a_child_read_is_aborted_when_its_parent_closes() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&[]).unwrap();
    let (_client, number) = table.ask("fork").unwrap();
    table.game.play(&format!("close {number}")).unwrap();
    table.expect_ends(&[(0, 1)]).unwrap();
}

#[test]
fn a_head_that_is_read_into_two_pieces_is_one_request() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&[]).unwrap();
    let (_client, number) = table.ask("scatter").unwrap();
    table.game.play(&format!("answer {number} write 200")).unwrap();
    table.game.play(&format!("close {number}")).unwrap();
    table.expect_ends(&[(200, 1)]).unwrap();
}

#[test]
fn requests_whose_clients_reset_their_connections_are_aborted() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&[]).unwrap();
    let asked: Vec<_> = (0..20).map(|_| table.ask("recv").unwrap()).collect();
    for (client, number) in asked {
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        drop(client);
        table.game.play(&format!("close {number}")).unwrap();
    }
    // An answer that was written before the reset may be told for a while.
    let told = || Ok::<u64, Box<dyn std::error::Error>>(requests(&table.worker)?.values().sum());
    wait_for("the last of them", || Ok((told()? >= 20).then_some(()))).unwrap();
    table.expect_ends(&[(0, 20)]).unwrap();
}

#[test]
#[ignore = "when a call returns its number leads to another connection"]
fn an_answer_in_flight_is_its_own_connection_s_although_its_number_leads_to_another() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&[]).unwrap();
    let (mut slow, number) = table.ask("recv").unwrap();
    table.game.play(&format!("flight {number} 200")).unwrap();
    // The thread's call has begun.
    slow.peek(&mut [0]).unwrap();
    table.game.play(&format!("close {number}")).unwrap();
    let (_other, again) = table.ask("recv").unwrap();
    assert_eq!(again, number);
    let mut answer = Vec::new();
    while !answer.ends_with(b"game") {
        let before = answer.len();
        answer.resize(before + (1 << 20), 0);
        let read = slow.read(&mut answer[before..]).unwrap();
        answer.truncate(before + read);
    }
    table.game.play("landed").unwrap();
    table.game.play(&format!("answer {number} write 201")).unwrap();
    table.game.play(&format!("close {number}")).unwrap();
    table.expect_ends(&[(200, 1), (201, 1)]).unwrap();
}

#[test]
fn requests_over_unix_sockets_are_counted() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&[]).unwrap();
    for how in ["write", "send", "writev", "sendmsg", "pass"] {
        let (_client, number) = table.ask_locally("recv").unwrap();
        table.game.play(&format!("answer {number} {how} 200")).unwrap();
        table.game.play(&format!("close {number}")).unwrap();
    }
    table.expect_ends(&[(200, 5)]).unwrap();
}

#[test]
fn requests_over_unix_sockets_that_are_closed_are_aborted_and_do_not_hide_others() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&[]).unwrap();
    for _ in 0..20 {
        let (_client, number) = table.ask_locally("recv").unwrap();
        table.game.play(&format!("close {number}")).unwrap();
    }
    table.expect_ends(&[(0, 20)]).unwrap();
    for _ in 0..20 {
        let (_client, number) = table.ask_locally("recv").unwrap();
        table.game.play(&format!("answer {number} write 200")).unwrap();
        table.game.play(&format!("close {number}")).unwrap();
    }
    table.expect_ends(&[(200, 20)]).unwrap();
}
