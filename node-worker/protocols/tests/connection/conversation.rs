//! Random conversations: what is said, as bytes, and where in these bytes each message begins and ends.

use proptest::prelude::*;

/// Bytes that a head has at most in [`Style::Lengths`].
pub(crate) const MAX_LENGTHS_HEAD: usize = 300;

/// Which conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// All that is allowed. Bodies may look like messages, lines may end with LF alone.
    Any,
    /// Bodies look like no messages, and lines end with CR and LF.
    Tame,
    /// As `Tame`, with short heads, and bodies told by their length only.
    Lengths,
}

/// One request with its answer.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    /// Blank lines before the request.
    pub(crate) blank: Vec<u8>,
    pub(crate) request: Message,
    /// Interim answers.
    pub(crate) interim: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) answer: Message,
    /// The answer may come as soon as the request's method is known.
    pub(crate) early: bool,
    pub(crate) ending: Ending,
}

/// A head and what follows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) first_line: Vec<u8>,
    pub(crate) headers: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// What follows a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Next,
    /// The next request comes after the answer: this one was a CONNECT.
    Refused,
    /// The answer goes on to the close; more requests may come.
    Close,
    /// Both sides go on in another protocol, the client after the answer.
    Upgrade,
    /// The same; the client need not wait.
    Tunnel,
}

/// What is said on one connection; only the last turn ends it.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) turns: Vec<Turn>,
    pub(crate) style: Style,
}

pub(crate) fn conversation(style: Style) -> impl Strategy<Value = Conversation> {
    let last = prop_oneof![3 => turn(style), 2 => last_turn(style)];
    (prop::collection::vec(turn(style), 0..8), last).prop_map(move |(mut turns, last)| {
        turns.push(last);
        Conversation { turns, style }
    })
}

/// Where a body ends, and whether it has chunks.
#[derive(Debug, Clone)]
enum Body {
    Absent,
    Length(Vec<u8>),
    Chunks(Vec<(Vec<u8>, String)>, String),
}

fn bytes(style: Style) -> BoxedStrategy<Vec<u8>> {
    let tame = prop_oneof![
        3 => "[a-z \r\n]{0,30}".prop_map(String::into_bytes),
        1 => (0_usize..3_000).prop_map(|length| vec![b'x'; length]),
    ];
    if style != Style::Any {
        return tame.boxed();
    }
    let messages = &[
        "GET /no HTTP/1.1\r\n\r\n",
        "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        "0\r\n\r\n",
        "\r\n",
    ][..];
    prop_oneof![
        3 => tame,
        2 => prop::sample::select(messages).prop_map(|text| text.as_bytes().to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..30),
    ]
    .boxed()
}

fn body(style: Style) -> BoxedStrategy<Body> {
    let length = bytes(style).prop_map(Body::Length);
    if style == Style::Lengths {
        return prop_oneof![Just(Body::Absent), length].boxed();
    }
    let chunk = (bytes(style), "(;[a-z]{1,9}(=\"?[a-z]{0,200}\"?)?)?");
    let trailers = "(X-[a-z]{1,9}: [a-z]{0,20}\r\n|Content-Length: 5\r\n){0,2}";
    let chunks =
        (prop::collection::vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| Body::Chunks(chunks, trailers));
    prop_oneof![Just(Body::Absent), length, chunks].boxed()
}

impl Body {
    /// The headers that tell its length, and its bytes.
    fn write(&self, absent: &str, end: &str) -> (String, Vec<u8>) {
        match self {
            Self::Absent => (absent.to_owned(), Vec::new()),
            Self::Length(bytes) => (format!("content-Length: {}{end}", bytes.len()), bytes.clone()),
            Self::Chunks(chunks, trailers) => {
                let mut all = Vec::new();
                for (bytes, extension) in chunks.iter().filter(|(bytes, _)| !bytes.is_empty()) {
                    all.extend(format!("{:x}{extension}{end}", bytes.len()).into_bytes());
                    all.extend(bytes);
                    all.extend(end.as_bytes());
                }
                all.extend(format!("0{end}{}{end}", trailers.replace("\r\n", end)).into_bytes());
                (format!("Transfer-encoding: gzip, chunked{end}"), all)
            }
        }
    }
}

/// Headers that mean nothing here.
fn headers(style: Style) -> BoxedStrategy<Vec<String>> {
    let value = if style == Style::Lengths {
        "[ -~]{0,20}"
    } else {
        "[ -~]{0,200}"
    };
    let name = "(X-[a-z]{1,8}|traceparent|Connection|content-lengths)";
    prop::collection::vec((name, value).prop_map(|(name, value)| format!("{name}: {value}")), 0..4).boxed()
}

fn line_end(style: Style) -> BoxedStrategy<&'static str> {
    let ends = if style == Style::Any {
        &["\r\n", "\r\n", "\n"][..]
    } else {
        &["\r\n"]
    };
    prop::sample::select(ends).boxed()
}

fn message(first_line: &str, headers: &[String], framing: &str, body: Vec<u8>, end: &str) -> Message {
    let lines: String = headers.iter().fold(String::new(), |lines, header| lines + header + end);
    Message {
        first_line: format!("{first_line}{end}").into_bytes(),
        headers: format!("{lines}{framing}{end}").into_bytes(),
        body,
    }
}

prop_compose! {
    fn request(style: Style)(
        method in prop::sample::select(&["GET", "HEAD", "POST", "PUT", "DELETE", "PURGE", "CONNECT"][..]),
        path in if style == Style::Lengths { "/[a-z0-9?=]{0,30}" } else { "/([a-z0-9?=]{0,30}|[a-z]{500,700})" },
        body in body(style),
        headers in headers(style),
        end in line_end(style),
    ) -> (&'static str, Message) {
        let target = if method == "CONNECT" { "host:443".to_owned() } else { path };
        let body = if method == "CONNECT" { Body::Absent } else { body };
        let (framing, body) = body.write("", end);
        (method, message(&format!("{method} {target} HTTP/1.1"), &headers, &framing, body, end))
    }
}

prop_compose! {
    fn turn(style: Style)(
        blank in prop::sample::select(&["", "", "", "\r\n"][..]),
        (method, request) in request(style),
        interim in prop::collection::vec(prop::sample::select(&[100_u16, 102, 103][..]), 0..2),
        status in prop::sample::select(&[200_u16, 201, 204, 302, 304, 404, 500, 999][..]),
        reason in "( [a-zA-Z ]{0,20})?",
        body in body(style),
        headers in headers(style),
        end in line_end(style),
        early in prop::bool::weighted(0.1),
    ) -> Turn {
        let connect = method == "CONNECT";
        let status = if connect && status < 300 { 403 } else { status };
        let (framing, body) = body.write(&format!("Content-Length: 0{end}"), end);
        let bodiless = method == "HEAD" || matches!(status, 204 | 304);
        let body = if bodiless { Vec::new() } else { body };
        let interim = interim.iter().map(|status| format!("HTTP/1.1 {status} Wait{end}Link: x{end}{end}"));
        Turn {
            blank: blank.as_bytes().to_vec(),
            request,
            interim: interim.collect::<String>().into_bytes(),
            status,
            answer: message(&format!("HTTP/1.1 {status}{reason}"), &headers, &framing, body, end),
            early,
            ending: if connect { Ending::Refused } else { Ending::Next },
        }
    }
}

/// A turn after which there is no other.
fn last_turn(style: Style) -> impl Strategy<Value = Turn> {
    let endings = prop::sample::select(&[Ending::Close, Ending::Upgrade, Ending::Tunnel][..]);
    (turn(style), endings, bytes(style), line_end(style)).prop_map(|(turn, ending, rest, end)| {
        let (request_line, status) = match ending {
            Ending::Close => ("POST / HTTP/1.0", 200),
            Ending::Upgrade => ("GET /socket HTTP/1.1", 101),
            _ => ("CONNECT host:443 HTTP/1.1", 200),
        };
        let version = if ending == Ending::Close { "1.0" } else { "1.1" };
        Turn {
            request: message(request_line, &[], "", Vec::new(), end),
            status,
            answer: message(&format!("HTTP/{version} {status} Fine"), &[], "", rest, end),
            ending,
            ..turn
        }
    })
}
