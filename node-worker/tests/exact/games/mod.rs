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
    worker::{ConfigFile, Worker},
};
use game::{Game, read_long};
use model::Model;
use moves::{Move, a_move};

/// Moves of a schedule at most.
const MOVES: usize = 60;
/// What is asked apart from schedules.
const HEAD: &str = "GET /game/one HTTP/1.1\r\n\r\n";

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
        let worker = Worker::start(&config, None)?;
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
        self.read_on(client, number, how)?;
        Ok(number)
    }

    /// The client asks, and it is read.
    fn read_on(&mut self, client: &mut impl Write, number: i32, how: &str) -> Outcome<()> {
        client.write_all(HEAD.as_bytes())?;
        self.game.play(&format!("read {number} {how} {}", HEAD.len()))?;
        Ok(())
    }

    /// A thread answers with 200; its call has begun when its number is closed.
    fn take_off(&mut self, slow: &mut impl Read, number: i32) -> Outcome<()> {
        self.game.play(&format!("flight {number} 200"))?;
        slow.read_exact(&mut [0])?;
        self.game.play(&format!("close {number}"))?;
        Ok(())
    }

    /// The same, and before its end the number leads to another connection, which is answered with 201.
    fn fly(
        &mut self,
        mut slow: impl Read,
        number: i32,
        another: impl FnOnce(&mut Self) -> Outcome<(Box<dyn Read>, i32)>,
    ) -> Outcome<()> {
        self.take_off(&mut slow, number)?;
        let (_client, again) = another(self)?;
        assert_eq!(again, number);
        read_long(&mut slow)?;
        self.game.play("landed 200")?;
        self.game.play(&format!("answer {number} write 201"))?;
        self.game.play(&format!("close {number}"))?;
        Ok(())
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

fn boxed((client, number): (impl Read + 'static, i32)) -> (Box<dyn Read>, i32) {
    (Box::new(client), number)
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
fn an_answer_in_flight_is_its_own_connection_s_although_its_number_leads_to_another() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&[]).unwrap();
    for _ in 0..10 {
        let (slow, number) = table.ask("recv").unwrap();
        let another = |table: &mut Table| table.ask("recv").map(boxed);
        table.fly(slow, number, another).unwrap();
        let (slow, number) = table.ask_locally("recv").unwrap();
        let another = |table: &mut Table| table.ask_locally("recv").map(boxed);
        table.fly(slow, number, another).unwrap();
    }
    table.expect_ends(&[(200, 20), (201, 20)]).unwrap();
}

#[test]
fn an_answer_in_flight_is_counted_although_its_number_leads_nowhere() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&[]).unwrap();
    let (mut slow, number) = table.ask("recv").unwrap();
    table.take_off(&mut slow, number).unwrap();
    read_long(&mut slow).unwrap();
    table.game.play("landed 200").unwrap();
    table.expect_ends(&[(200, 1)]).unwrap();
}

#[test]
fn a_request_that_is_waited_for_is_its_own_connection_s_although_its_number_leads_to_another() {
    let Some(_turn) = turn(&["python3", "unshare"]) else {
        return;
    };
    let mut table = Table::lay(&[]).unwrap();
    let (mut waiting, number) = table.ask("recv").unwrap();
    table.game.play(&format!("answer {number} write 200")).unwrap();
    table.game.play(&format!("listen {number}")).unwrap();
    table.game.play(&format!("close {number}")).unwrap();
    let mut other = TcpStream::connect(table.game.address).unwrap();
    assert_eq!(table.game.play("accept").unwrap(), [number]);
    waiting.write_all(b"GET /game/waited HTTP/1.1\r\n\r\n").unwrap();
    table.game.play("heard").unwrap();
    table.read_on(&mut other, number, "recv").unwrap();
    table.game.play(&format!("answer {number} write 201")).unwrap();
    table.game.play(&format!("close {number}")).unwrap();
    // Nobody could answer the one that was waited for.
    let ends = [("one", 200), ("one", 201), ("waited", 0)];
    let ends = ends.map(|(what, status)| ((format!("GET /game/{what}"), status), 1));
    table.expect(&ends.into()).unwrap();
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
