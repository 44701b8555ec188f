//! The player: a process that does with its descriptors what it is told.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    harness::{Outcome, Process, find},
    servers::server_file,
};

/// Its process and the one beside it that takes sockets.
pub(crate) struct Game {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Process,
}

impl Game {
    pub(crate) const PROCESSES: u64 = 2;

    pub(crate) fn start(arguments: &[&str]) -> Outcome<Self> {
        let name = format!("game-{:08x}", rand::random::<u32>());
        let mut command = Command::new(find("python3").ok_or("python3")?);
        command.arg(server_file("games.py")).arg(&name).args(arguments);
        let mut process = Process::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let input = process.0.stdin.take().ok_or("no stdin")?;
        let mut output = BufReader::new(process.0.stdout.take().ok_or("no stdout")?);
        let mut port = String::new();
        output.read_line(&mut port)?;
        Ok(Self {
            name,
            address: (Ipv4Addr::LOCALHOST, port.trim().parse()?).into(),
            input,
            output,
            _process: process,
        })
    }

    /// The numbers of descriptors that it got by a move.
    pub(crate) fn play(&mut self, line: &str) -> Outcome<Vec<i32>> {
        writeln!(self.input, "{line}")?;
        let mut numbers = String::new();
        if self.output.read_line(&mut numbers)? == 0 {
            return Err(format!("the player ended at {line:?}").into());
        }
        let numbers: Result<Vec<i32>, _> = numbers.split_whitespace().map(str::parse).collect();
        Ok(numbers?)
    }
}

/// The client of a long answer reads it.
pub(crate) fn read_long(client: &mut impl Read) -> Outcome<()> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"game") {
        let before = answer.len();
        answer.resize(before + (1 << 20), 0);
        let read = client.read(&mut answer[before..])?;
        if read == 0 {
            return Err("the answer was cut".into());
        }
        answer.truncate(before + read);
    }
    Ok(())
}
