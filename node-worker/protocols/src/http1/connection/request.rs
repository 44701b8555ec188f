use super::{
    Exchange, MAX_OUTSTANDING, MAX_REQUEST_HEAD, Reason, Transfer,
    body::{Body, Skipped},
    framing::Framing,
    line::Line,
    skip_blank,
};
use crate::http1::{Method, NotHttp, method, parse_head};
use std::collections::VecDeque;

/// What a method means for the end of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The answer has no body.
    Head,
    /// A good answer ends HTTP.
    Connect,
    Other,
}

impl Kind {
    const fn of(method: Method) -> Self {
        match method {
            Method::Head => Self::Head,
            Method::Connect => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// A request's head, as much of it as is kept.
#[derive(Debug, Clone, Copy)]
struct Request {
    start_ns: u64,
    head: [u8; MAX_REQUEST_HEAD],
    len: usize,
    kind: Kind,
}

impl Request {
    const EMPTY: Self = Self {
        start_ns: 0,
        head: [0; MAX_REQUEST_HEAD],
        len: 0,
        kind: Kind::Other,
    };

    fn push(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(MAX_REQUEST_HEAD - self.len);
        self.head[self.len..self.len + kept].copy_from_slice(&bytes[..kept]);
        self.len += kept;
    }

    fn head(&self) -> &[u8] {
        &self.head[..self.len]
    }

    fn exchange(&self, end_ns: u64, status: Option<u16>, whole: bool) -> Exchange<'_> {
        Exchange {
            start_ns: self.start_ns,
            end_ns: end_ns.max(self.start_ns),
            head: self.head(),
            whole,
            status,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Between,
    RequestLine,
    Headers,
    Body(Body),
    /// Behind a CONNECT whose answer says what follows; `held` once something did.
    Connect {
        held: bool,
    },
}

/// The request side of a connection.
#[derive(Debug)]
pub(super) struct Requests {
    state: State,
    line: Line,
    framing: Framing,
    /// The request whose head is being read.
    current: Request,
    /// The current request was answered before the end of its head.
    answered_early: bool,
    waiting: VecDeque<Request>,
}

impl Requests {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Between,
            line: Line::new(),
            framing: Framing::new(false),
            current: Request::EMPTY,
            answered_early: false,
            waiting: VecDeque::new(),
        }
    }

    /// As new, with its memory kept.
    pub(super) fn reset(&mut self) {
        self.state = State::Between;
        self.waiting.clear();
    }

    pub(super) fn feed(&mut self, transfer: Transfer<'_>) -> Result<(), Reason> {
        let mut input = transfer.bytes;
        while !input.is_empty() {
            self.step(&mut input, transfer.time_ns)?;
        }
        if transfer.gap > 0 {
            self.skip(transfer.gap)
        } else {
            Ok(())
        }
    }

    fn step(&mut self, input: &mut &[u8], time_ns: u64) -> Result<(), Reason> {
        match &mut self.state {
            State::Between => self.begin(input, time_ns),
            State::RequestLine | State::Headers => self.read_head(input)?,
            State::Body(body) => {
                if body.read(&mut self.line, input)? {
                    self.state = State::Between;
                }
            }
            State::Connect { held } => {
                *held = true;
                *input = &[];
            }
        }
        Ok(())
    }

    fn skip(&mut self, gap: u64) -> Result<(), Reason> {
        match &mut self.state {
            State::Body(body) => match body.skip(&mut self.line, gap) {
                Skipped::Within => {}
                Skipped::Ended => self.state = State::Between,
                Skipped::Lost | Skipped::Beyond => return Err(Reason::Gap),
            },
            State::Connect { held } => *held = true,
            State::Between | State::RequestLine | State::Headers => return Err(Reason::Gap),
        }
        Ok(())
    }

    fn begin(&mut self, input: &mut &[u8], time_ns: u64) {
        skip_blank(input);
        if !input.is_empty() {
            self.current.start_ns = time_ns;
            self.current.len = 0;
            self.answered_early = false;
            self.line.begin_section();
            self.state = State::RequestLine;
        }
    }

    fn read_head(&mut self, input: &mut &[u8]) -> Result<(), Reason> {
        let before = *input;
        let whole = self.line.take(input)?;
        let was_full = self.current.len == MAX_REQUEST_HEAD;
        self.current.push(&before[..before.len() - input.len()]);
        let in_first_line = matches!(self.state, State::RequestLine);
        match (in_first_line, whole) {
            (true, true) => self.end_request_line(),
            (false, true) if self.line.is_blank() => self.end_head(),
            (false, true) => {
                self.framing.header(&self.line);
                Ok(())
            }
            // What is no request line need not be read to its end.
            (true, false) if !was_full && self.current.len == MAX_REQUEST_HEAD => self.parse().map(drop),
            _ => Ok(()),
        }
    }

    fn parse(&self) -> Result<Method, Reason> {
        parse_head(self.current.head())
            .map(|head| head.method)
            .map_err(Reason::RequestLine)
    }

    fn end_request_line(&mut self) -> Result<(), Reason> {
        self.current.kind = Kind::of(self.parse()?);
        // The window of the parser may end before the version does.
        let http10 = match self.line.end() {
            [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'0'..=b'9'] => *minor == b'0',
            _ => return Err(Reason::RequestLine(NotHttp::Version)),
        };
        self.framing = Framing::new(http10);
        self.state = State::Headers;
        Ok(())
    }

    fn end_head(&mut self) -> Result<(), Reason> {
        if !self.answered_early {
            if self.waiting.len() == MAX_OUTSTANDING {
                return Err(Reason::TooManyOutstanding);
            }
            self.waiting.push_back(self.current);
        }
        self.line.begin_section();
        let body = self.framing.of_request()?;
        self.state = match (self.current.kind, body) {
            (Kind::Connect, Some(_)) => return Err(Reason::Ambiguous),
            (Kind::Connect, None) if !self.answered_early => State::Connect { held: false },
            (_, Some(body)) => State::Body(body),
            (_, None) => State::Between,
        };
        Ok(())
    }

    pub(super) fn outstanding(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a request has begun, and no more, that no answer belongs to.
    pub(super) const fn has_begun_another(&self) -> bool {
        matches!(self.state, State::RequestLine | State::Headers) && !self.answered_early
    }

    /// Whether an answer that comes now would belong to no request.
    pub(super) fn wants_no_answer(&self) -> bool {
        self.waiting.is_empty() && !self.has_begun_another()
    }

    /// A final status line is whole: emits the exchange that it ends. Returns what the answer's end depends on.
    pub(super) fn answer(
        &mut self,
        status: u16,
        end_ns: u64,
        emit: &mut impl FnMut(Exchange<'_>),
    ) -> Result<Kind, Reason> {
        let whole = self.is_whole(0);
        if let Some(request) = self.waiting.front() {
            let kind = request.kind;
            emit(request.exchange(end_ns, Some(status), whole));
            self.waiting.pop_front();
            return Ok(kind);
        }
        if !self.has_begun_another() {
            return Err(Reason::Unrequested);
        }
        let kind = self.begun_kind()?;
        self.answered_early = true;
        emit(self.current.exchange(end_ns, Some(status), false));
        Ok(kind)
    }

    /// Somebody else paired the oldest request with its answer, of which the status is not known.
    pub(super) fn forget_first(&mut self) -> Result<(), Reason> {
        let kind = match self.waiting.pop_front() {
            Some(request) => request.kind,
            None if self.has_begun_another() => {
                self.answered_early = true;
                self.begun_kind()?
            }
            None => return Ok(()),
        };
        if kind == Kind::Connect {
            Err(Reason::Tunnel)
        } else {
            Ok(())
        }
    }

    /// What the request means whose head is being read.
    fn begun_kind(&self) -> Result<Kind, Reason> {
        let (name, _) = method::split(self.current.head()).map_err(|_cut_or_none| Reason::BeforeMethod)?;
        Ok(Kind::of(Method::from_name(name)))
    }

    /// A body that is being read is that of the request whose head came last.
    fn is_whole(&self, index: usize) -> bool {
        index + 1 < self.waiting.len() || !matches!(self.state, State::Body(_))
    }

    /// A CONNECT was refused: the next bytes are HTTP, if none came before.
    pub(super) const fn refuse_connect(&mut self) -> Result<(), Reason> {
        match self.state {
            State::Connect { held: true } => Err(Reason::Tunnel),
            State::Connect { held: false } => {
                self.state = State::Between;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The last answer ended HTTP. What was read as further requests may have been something else.
    pub(super) fn end_http(&self) -> Result<(), Reason> {
        if self.wants_no_answer() {
            Ok(())
        } else {
            Err(Reason::Tunnel)
        }
    }

    /// Emits all that wait, without a status.
    pub(super) fn abort(&self, end_ns: u64, emit: &mut impl FnMut(Exchange<'_>)) {
        for (index, request) in self.waiting.iter().enumerate() {
            emit(request.exchange(end_ns, None, self.is_whole(index)));
        }
    }
}
