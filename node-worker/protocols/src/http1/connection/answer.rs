use super::{
    Exchange, Reason, Transfer,
    body::{Body, Skipped},
    framing::Framing,
    line::Line,
    request::{Kind, Requests},
    skip_blank,
};

#[derive(Debug, Clone, Copy)]
enum State {
    StatusLine,
    Headers(Follows),
    Body(Body),
    /// Somewhere in an answer whose end will not be seen.
    Unknown,
    /// The connection no longer speaks HTTP.
    Ended,
}

/// What follows the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// Another answer to the same request.
    FinalAnswer,
    /// The next answer: there is no body, whatever the headers say.
    NextAnswer,
    /// What the headers say.
    Body,
}

/// The answer side of a connection.
#[derive(Debug)]
pub(super) struct Answers {
    state: State,
    line: Line,
    framing: Framing,
}

impl Answers {
    pub(super) const fn new() -> Self {
        Self {
            state: State::StatusLine,
            line: Line::new(),
            framing: Framing::new(false),
        }
    }

    pub(super) const fn resumed() -> Self {
        Self {
            state: State::Unknown,
            ..Self::new()
        }
    }

    pub(super) const fn ended_http(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub(super) fn feed(
        &mut self,
        transfer: Transfer<'_>,
        requests: &mut Requests,
        emit: &mut impl FnMut(Exchange<'_>),
    ) -> Result<(), Reason> {
        let mut input = transfer.bytes;
        if matches!(self.state, State::Unknown) {
            self.find_answer(input, requests)?;
        }
        while !input.is_empty() {
            if self.step(&mut input)? {
                self.end_status_line(transfer.time_ns, requests, emit)?;
            }
        }
        if transfer.gap > 0 {
            self.skip(transfer.gap, requests)
        } else {
            Ok(())
        }
    }

    /// The end of the last answer was not seen: a status line at the first byte is the next answer's, if one is wanted.
    fn find_answer(&mut self, bytes: &[u8], requests: &Requests) -> Result<(), Reason> {
        const NAME: &[u8] = b"HTTP/1.";
        if requests.wants_no_answer() {
            return Ok(());
        }
        let begins = !bytes.is_empty() && bytes.iter().zip(NAME).all(|(byte, name)| byte == name);
        if !begins {
            return Err(Reason::LostAnswer);
        }
        self.next_answer();
        Ok(())
    }

    /// Returns whether a status line is whole.
    fn step(&mut self, input: &mut &[u8]) -> Result<bool, Reason> {
        match &mut self.state {
            State::StatusLine => return self.read_status_line(input),
            State::Headers(follows) => {
                let follows = *follows;
                if self.line.take(input)? {
                    self.header(follows)?;
                }
            }
            State::Body(body) => {
                if body.read(&mut self.line, input)? {
                    self.next_answer();
                }
            }
            State::Unknown | State::Ended => *input = &[],
        }
        Ok(false)
    }

    fn read_status_line(&mut self, input: &mut &[u8]) -> Result<bool, Reason> {
        if self.line.is_fresh() {
            skip_blank(input);
        }
        Ok(!input.is_empty() && self.line.take(input)?)
    }

    fn end_status_line(
        &mut self,
        time_ns: u64,
        requests: &mut Requests,
        emit: &mut impl FnMut(Exchange<'_>),
    ) -> Result<(), Reason> {
        let (status, http10) = status_of(self.line.start()).ok_or(Reason::StatusLine)?;
        self.framing = Framing::new(http10);
        if status < 200 && status != 101 {
            self.state = State::Headers(Follows::FinalAnswer);
            return if requests.wants_no_answer() {
                Err(Reason::Unrequested)
            } else {
                Ok(())
            };
        }
        let kind = requests.answer(status, time_ns, emit)?;
        self.state = match (kind, status) {
            (_, 101) | (Kind::Connect, 200..300) => State::Ended,
            (Kind::Head, _) | (_, 204 | 304) => State::Headers(Follows::NextAnswer),
            _ => State::Headers(Follows::Body),
        };
        match (self.state, kind) {
            (State::Ended, _) => requests.end_http(),
            (_, Kind::Connect) => requests.refuse_connect(),
            _ => Ok(()),
        }
    }

    fn header(&mut self, follows: Follows) -> Result<(), Reason> {
        if !self.line.is_blank() {
            self.framing.header(&self.line);
            return Ok(());
        }
        let body = if follows == Follows::Body {
            self.framing.of_answer()?
        } else {
            None
        };
        self.next_answer();
        if let Some(body) = body {
            self.state = State::Body(body);
        }
        Ok(())
    }

    const fn next_answer(&mut self) {
        self.line.begin_section();
        self.state = State::StatusLine;
    }

    /// Takes bytes that nobody kept.
    fn skip(&mut self, gap: u64, requests: &Requests) -> Result<(), Reason> {
        let skipped = match &mut self.state {
            State::Body(body) => body.skip(&mut self.line, gap),
            State::Unknown | State::Ended => Skipped::Within,
            State::Headers(Follows::NextAnswer | Follows::Body) => Skipped::Lost,
            State::Headers(Follows::FinalAnswer) | State::StatusLine => Skipped::Beyond,
        };
        match skipped {
            Skipped::Within => {}
            Skipped::Ended => self.next_answer(),
            // No other answer can be in the gap: none was asked for.
            Skipped::Lost if requests.wants_no_answer() => self.state = State::Unknown,
            Skipped::Lost | Skipped::Beyond => return Err(Reason::Gap),
        }
        Ok(())
    }
}

/// The status of `HTTP/1.x NNN`, and whether the answer is HTTP/1.0.
fn status_of(line: &[u8]) -> Option<(u16, bool)> {
    let [minor @ b'0'..=b'9', b' ', digits @ ..] = line.strip_prefix(b"HTTP/1.")? else {
        return None;
    };
    let (code, reason) = digits.split_at_checked(3)?;
    let ends = matches!(reason, [] | [b' ', ..]);
    let [hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = *code else {
        return None;
    };
    let status = [hundreds, tens, ones]
        .iter()
        .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    ends.then_some((status, *minor == b'0'))
}
