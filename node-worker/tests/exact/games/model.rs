//! What should come of a game: which number leads where, and what was asked and answered.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use proptest::sample::Index;

use super::{
    game::{Game, read_long},
    moves::{Move, READS, WRITES},
};
use crate::{harness::Outcome, servers::Counts};

/// It is no request.
const BODY: &str = "GET /body HTTP/1.1\r\n\r\n";
/// Requests of a schedule at most: each has a route and a status of its own.
const REQUESTS: u16 = 30;

/// What a number leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Socket(usize),
    Reads(usize),
    Writes(usize),
    File,
}

/// A request.
#[derive(Clone, Copy)]
struct Asked {
    number: u16,
    method: &'static str,
}

impl Asked {
    /// Head and body.
    fn text(self) -> (String, &'static str) {
        let Self { number, method } = self;
        let body = if method == "POST" { BODY } else { "" };
        let length = body.len();
        let head = format!("{method} /game/r{number} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        (head, body)
    }
}

/// A part of a head: up to where it goes, and how it is read.
struct Cut {
    end: Option<Index>,
    number: Index,
    how: Index,
}

impl Cut {
    /// A number of the socket, and a way to read from it.
    fn call(&self, numbers: &[i32]) -> String {
        let number = numbers[self.number.index(numbers.len())];
        format!("{number} {}", READS[self.how.index(READS.len())])
    }
}

fn pieces(number: [Index; 2], how: [Index; 2], cut: Option<Index>) -> Vec<Cut> {
    let ends = [cut, None];
    let cuts = ends.into_iter().zip(number).zip(how);
    let mut cuts: Vec<Cut> = cuts.map(|((end, number), how)| Cut { end, number, how }).collect();
    if cut.is_none() {
        cuts.truncate(1);
    }
    cuts
}

/// One connection.
struct Socket {
    /// The client's end; absent when it was closed.
    client: Option<TcpStream>,
    /// The request that was read and not answered yet.
    asked: Option<Asked>,
    /// The status of an answer that is being written: the connection lives until it is.
    flying: Option<u16>,
    /// Nothing can be written to it any more.
    shut: bool,
}

impl Socket {
    fn can_fly(&self) -> bool {
        self.asked.is_some() && self.client.is_some() && !self.shut
    }

    fn can_shut(&self) -> bool {
        self.flying.is_none() && self.client.is_some() && !self.shut
    }

    /// Whether the client may ask.
    fn is_free(&self) -> bool {
        self.asked.is_none() && self.can_shut()
    }
}

#[derive(Default)]
pub(crate) struct Model {
    numbers: BTreeMap<i32, Place>,
    sockets: Vec<Socket>,
    pipes: usize,
    requests: u16,
    counts: Counts,
}

impl Model {
    pub(crate) fn make(&mut self, next: Move, game: &mut Game) -> Outcome<()> {
        match next {
            Move::Connect => self.connect(game),
            Move::Request {
                socket,
                number,
                how,
                cut,
                body,
            } => self.request(game, socket, body, &pieces(number, how, cut)),
            Move::Answer { socket, number, how } => self.answer(game, socket, number, how),
            Move::Fly { socket } => self.fly(game, socket),
            Move::Land { socket } => self.land_any(game, socket),
            Move::Leave { socket } => self.leave(game, socket),
            Move::Part { socket } => {
                if let Some(place) = self.pick(socket, |socket| !socket.shut && socket.flying.is_none()) {
                    self.sockets[place].client = None;
                }
                Ok(())
            }
            Move::Shutdown { socket } => self.shut_down(game, socket),
            Move::Idle { socket } => match self.pick(socket, |socket| socket.client.is_some()) {
                Some(place) => tell(game, &format!("idle {}", self.first_number(place)?)),
                None => Ok(()),
            },
            Move::Dup { number, by_fcntl } => self.duplicate(game, number, by_fcntl),
            Move::Over { number, other, by_dup3 } => self.put_over(game, number, other, by_dup3),
            Move::Close { number } => self.close(game, number),
            Move::CloseRange { first, more } => self.close_range(game, first, more),
            Move::Pipe => {
                let pipe = self.pipes;
                self.pipes += 1;
                let numbers = game.play("pipe")?;
                self.numbers
                    .extend(numbers.into_iter().zip([Place::Reads(pipe), Place::Writes(pipe)]));
                Ok(())
            }
            Move::File => {
                let numbers = game.play("file")?;
                self.numbers
                    .extend(numbers.into_iter().map(|number| (number, Place::File)));
                Ok(())
            }
            Move::Chat { place } => self.chat(game, place),
        }
    }

    /// Closes what is open; returns every request by route and status.
    pub(crate) fn end(mut self, game: &mut Game) -> Outcome<Counts> {
        for place in 0..self.sockets.len() {
            self.land(game, place)?;
        }
        while let Some(number) = self.numbers.keys().next().copied() {
            tell(game, &format!("close {number}"))?;
            self.lose(number);
        }
        Ok(self.counts)
    }

    fn count(&mut self, request: Asked, status: u16) {
        let route = format!("{} /game/r{}", request.method, request.number);
        *self.counts.entry((route, status)).or_default() += 1;
    }

    /// One of the sockets that a number leads to and that are fit.
    fn pick(&self, index: Index, fit: impl Fn(&Socket) -> bool) -> Option<usize> {
        let open = (0..self.sockets.len()).filter(|place| !self.numbers_of(*place).is_empty());
        let fit: Vec<usize> = open.filter(|place| fit(&self.sockets[*place])).collect();
        (!fit.is_empty()).then(|| fit[index.index(fit.len())])
    }

    fn numbers_of(&self, socket: usize) -> Vec<i32> {
        let leads = |(_, place): &(&i32, &Place)| **place == Place::Socket(socket);
        self.numbers.iter().filter(leads).map(|(number, _)| *number).collect()
    }

    fn first_number(&self, socket: usize) -> Outcome<i32> {
        Ok(*self.numbers_of(socket).first().ok_or("no number")?)
    }

    fn any_number(&self, index: Index) -> Option<i32> {
        let numbers: Vec<i32> = self.numbers.keys().copied().collect();
        (!numbers.is_empty()).then(|| numbers[index.index(numbers.len())])
    }

    fn connect(&mut self, game: &mut Game) -> Outcome<()> {
        let client = TcpStream::connect(game.address)?;
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(Duration::from_secs(20)))?;
        let numbers = game.play("accept")?;
        self.sockets.push(Socket {
            client: Some(client),
            asked: None,
            flying: None,
            shut: false,
        });
        let socket = Place::Socket(self.sockets.len() - 1);
        self.numbers.extend(numbers.into_iter().map(|number| (number, socket)));
        Ok(())
    }

    fn request(&mut self, game: &mut Game, socket: Index, body: bool, cuts: &[Cut]) -> Outcome<()> {
        let Some(place) = self.pick(socket, Socket::is_free).filter(|_| self.requests < REQUESTS) else {
            return Ok(());
        };
        let asked = Asked {
            number: self.requests,
            method: if body { "POST" } else { "GET" },
        };
        self.requests += 1;
        self.sockets[place].asked = Some(asked);
        let numbers = self.numbers_of(place);
        let client = self.sockets[place].client.as_mut().ok_or("no client")?;
        let (head, body) = asked.text();
        let mut from = 0;
        for cut in cuts {
            let to = cut.end.map_or(head.len(), |end| end.index(head.len()));
            send(game, client, &head.as_bytes()[from..to], &cut.call(&numbers))?;
            from = to;
        }
        send(game, client, body.as_bytes(), &cuts[0].call(&numbers))
    }

    fn answer(&mut self, game: &mut Game, socket: Index, number: Index, how: Index) -> Outcome<()> {
        let Some(place) = self.pick(socket, |socket| socket.asked.is_some()) else {
            return Ok(());
        };
        let numbers = self.numbers_of(place);
        let number = numbers[number.index(numbers.len())];
        let mut how = WRITES[how.index(WRITES.len())];
        if self.sockets[place].client.is_none() && how == "file" {
            // The second call of it would find the connection reset.
            how = "write";
        }
        let status = self.answered(place)?;
        tell(game, &format!("answer {number} {how} {status}"))?;
        self.take_answer(place)
    }

    /// The status that the request under way gets.
    fn answered(&mut self, place: usize) -> Outcome<u16> {
        let request = self.sockets[place].asked.take().ok_or("nothing was asked")?;
        let status = 200 + request.number;
        self.count(request, status);
        Ok(status)
    }

    fn take_answer(&mut self, place: usize) -> Outcome<()> {
        let socket = &mut self.sockets[place];
        match &mut socket.client {
            Some(client) => {
                let mut answer = Vec::new();
                while !answer.ends_with(b"\r\n\r\ngame") {
                    let mut byte = [0];
                    client.read_exact(&mut byte)?;
                    answer.extend(byte);
                }
            }
            // Whoever is gone resets what comes.
            None => socket.shut = true,
        }
        Ok(())
    }

    /// Only where one number leads to the connection: with another one left the kernel does not say whose answer it was.
    fn fly(&mut self, game: &mut Game, socket: Index) -> Outcome<()> {
        let alone = |place: &usize| self.numbers_of(*place).len() == 1 && self.sockets[*place].can_fly();
        let fit: Vec<usize> = (0..self.sockets.len()).filter(alone).collect();
        if fit.is_empty() {
            return Ok(());
        }
        let place = fit[socket.index(fit.len())];
        let (status, number) = (self.answered(place)?, self.first_number(place)?);
        tell(game, &format!("flight {number} {status}"))?;
        let socket = &mut self.sockets[place];
        socket.flying = Some(status);
        // The thread's call has begun.
        socket.client.as_ref().ok_or("no client")?.peek(&mut [0])?;
        Ok(())
    }

    fn land_any(&mut self, game: &mut Game, socket: Index) -> Outcome<()> {
        let flying = |place: &usize| self.sockets[*place].flying.is_some();
        let flying: Vec<usize> = (0..self.sockets.len()).filter(flying).collect();
        if flying.is_empty() {
            return Ok(());
        }
        self.land(game, flying[socket.index(flying.len())])
    }

    fn land(&mut self, game: &mut Game, place: usize) -> Outcome<()> {
        let socket = &mut self.sockets[place];
        if let (Some(status), Some(client)) = (socket.flying.take(), &mut socket.client) {
            read_long(client)?;
            tell(game, &format!("landed {status}"))?;
        }
        Ok(())
    }

    fn leave(&mut self, game: &mut Game, socket: Index) -> Outcome<()> {
        let Some(place) = self.pick(socket, |socket| socket.asked.is_some()) else {
            return Ok(());
        };
        let (status, numbers) = (self.answered(place)?, self.numbers_of(place));
        let listed: Vec<String> = numbers.iter().map(i32::to_string).collect();
        tell(game, &format!("leave {status} {}", listed.join(" ")))?;
        for number in numbers {
            self.lose(number);
        }
        self.take_answer(place)
    }

    fn shut_down(&mut self, game: &mut Game, socket: Index) -> Outcome<()> {
        let Some(place) = self.pick(socket, Socket::can_shut) else {
            return Ok(());
        };
        tell(game, &format!("shutdown {}", self.first_number(place)?))?;
        self.sockets[place].shut = true;
        self.abort(place);
        Ok(())
    }

    /// What was asked will not be answered.
    fn abort(&mut self, place: usize) {
        if let Some(request) = self.sockets[place].asked.take() {
            self.count(request, 0);
        }
    }

    /// A number leads nowhere any more; with the last one of a socket the connection ends.
    fn lose(&mut self, number: i32) {
        if let Some(Place::Socket(place)) = self.numbers.remove(&number)
            && self.numbers_of(place).is_empty()
        {
            self.abort(place);
        }
    }

    /// See [`fly`](Self::fly).
    fn may_dup(&self, number: i32) -> bool {
        !matches!(self.numbers[&number], Place::Socket(place) if self.sockets[place].flying.is_some())
    }

    fn duplicate(&mut self, game: &mut Game, number: Index, by_fcntl: bool) -> Outcome<()> {
        let Some(number) = self.any_number(number).filter(|number| self.may_dup(*number)) else {
            return Ok(());
        };
        let name = if by_fcntl { "fcntl" } else { "dup" };
        let place = self.numbers[&number];
        let new = game.play(&format!("{name} {number}"))?;
        self.numbers.extend(new.into_iter().map(|number| (number, place)));
        Ok(())
    }

    fn put_over(&mut self, game: &mut Game, number: Index, other: Index, by_dup3: bool) -> Outcome<()> {
        let (Some(number), Some(other)) = (self.any_number(number), self.any_number(other)) else {
            return Ok(());
        };
        if number == other || !self.may_dup(number) {
            return Ok(());
        }
        let name = if by_dup3 { "over3" } else { "over" };
        let place = self.numbers[&number];
        game.play(&format!("{name} {number} {other}"))?;
        self.lose(other);
        self.numbers.insert(other, place);
        Ok(())
    }

    fn close(&mut self, game: &mut Game, number: Index) -> Outcome<()> {
        let Some(number) = self.any_number(number) else {
            return Ok(());
        };
        tell(game, &format!("close {number}"))?;
        self.lose(number);
        Ok(())
    }

    fn close_range(&mut self, game: &mut Game, first: Index, more: u8) -> Outcome<()> {
        let Some(first) = self.any_number(first) else {
            return Ok(());
        };
        let last = first + i32::from(more);
        tell(game, &format!("range {first} {last}"))?;
        for number in first..=last {
            self.lose(number);
        }
        Ok(())
    }

    fn chat(&mut self, game: &mut Game, place: Index) -> Outcome<()> {
        let end_of = |wanted: Place| {
            self.numbers
                .iter()
                .find(|(_, place)| **place == wanted)
                .map(|(number, _)| *number)
        };
        let files = self.numbers.iter().filter(|(_, place)| **place == Place::File);
        let mut places: Vec<(i32, i32)> = files.map(|(number, _)| (*number, *number)).collect();
        places.extend(
            (0..self.pipes).filter_map(|pipe| Some((end_of(Place::Reads(pipe))?, end_of(Place::Writes(pipe))?))),
        );
        if places.is_empty() {
            return Ok(());
        }
        let (reader, writer) = places[place.index(places.len())];
        tell(game, &format!("chat {reader} {writer}"))
    }
}

/// A move that gives no descriptors.
fn tell(game: &mut Game, line: &str) -> Outcome<()> {
    let numbers = game.play(line)?;
    if numbers.is_empty() {
        Ok(())
    } else {
        Err(format!("{line} gave {numbers:?}").into())
    }
}

/// The client sends what the player then reads; nothing at all is neither sent nor read.
fn send(game: &mut Game, client: &mut TcpStream, bytes: &[u8], call: &str) -> Outcome<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    client.write_all(bytes)?;
    tell(game, &format!("read {call} {}", bytes.len()))
}
