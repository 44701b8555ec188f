//! What is asked: a mix that is drawn anew for each connection.

use std::fmt::Write as _;

use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};

const METHODS: [&str; 6] = ["GET", "GET", "HEAD", "POST", "PUT", "DELETE"];
const STATUSES: [u16; 6] = [200, 204, 304, 404, 500, 503];
/// What every server answers in chunks.
const CHUNKED_STATUSES: [u16; 2] = [200, 404];
/// Ends of paths, and the routes that they are of.
const PATHS: [(&str, &str); 6] = [
    ("cart", "cart"),
    ("cart?id=7&x=/a/1", "cart"),
    ("orders/NUMBER", "orders/{id}"),
    (
        "orders/NUMBER/lines/3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "orders/{id}/lines/{id}",
    ),
    ("catalogue/shoes/red", "catalogue/shoes/red"),
    ("trailing/", "trailing/"),
];

/// How a request's body travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    /// In the same call as the head.
    Joined,
    /// In calls of its own.
    Apart,
    /// In chunks, in the same call as the head.
    Chunked,
    /// In chunks, each in a call of its own.
    ChunksApart,
    /// After `100 Continue`.
    Continued,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Answered, and the connection lives on.
    Kept,
    /// Answered, and the server closes as it was asked to.
    Closed,
    /// The same as HTTP/1.0 has it.
    Http10,
    /// Answered, and the client closes without having read it.
    Unread,
    /// The client closes, the server does not answer.
    Hold,
    /// The server closes instead of an answer.
    Drop,
}

impl End {
    pub(crate) const fn is_answered(self) -> bool {
        !matches!(self, Self::Hold | Self::Drop)
    }
}

/// One request, and what should come of it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) route: String,
    /// 0: none.
    pub(crate) status: u16,
    pub(crate) body: Body,
    pub(crate) end: End,
    path: String,
}

/// Which share of the requests ends how, in hundredths; the others keep the connection.
const ENDS: [(u32, End); 5] = [
    (2, End::Closed),
    (1, End::Http10),
    (2, End::Unread),
    (2, End::Hold),
    (2, End::Drop),
];

impl Ask {
    pub(crate) fn draw(random: &mut SmallRng, keeps_alive: bool) -> Self {
        let mut roll = random.random_range(0..100);
        let drawn = ENDS.into_iter().find(|(share, _)| {
            let found = roll < *share;
            roll = roll.saturating_sub(*share);
            found
        });
        let end = match drawn {
            Some((_, end)) => end,
            None if keeps_alive => End::Kept,
            None => End::Closed,
        };
        Self::ending(end, random)
    }

    /// Without a body, and the connection lives on: one of several that are sent together.
    pub(crate) fn simple(random: &mut SmallRng) -> Self {
        loop {
            let ask = Self::ending(End::Kept, random);
            // nginx closes after it.
            if ask.status != 500 && ask.body == Body::None {
                return ask;
            }
        }
    }

    fn ending(end: End, random: &mut SmallRng) -> Self {
        let method = METHODS.choose(random).copied().unwrap_or("GET");
        let chunked = end.is_answered() && random.random_ratio(1, 5);
        let statuses = if chunked { &CHUNKED_STATUSES[..] } else { &STATUSES };
        let status = statuses.choose(random).copied().unwrap_or(200);
        let (path, route) = PATHS.choose(random).copied().unwrap_or_default();
        let path = path.replace("NUMBER", &random.random_range(1..1_000_000).to_string());
        let (kind, status) = match end {
            End::Hold => ("hold", 0),
            End::Drop => ("drop", 0),
            _ if chunked => ("chunked", status),
            _ => ("status", status),
        };
        let (path, route) = if status == 0 {
            (format!("/{kind}/{path}"), format!("/{kind}/{route}"))
        } else {
            (format!("/{kind}/{status}/{path}"), format!("/{kind}/{{id}}/{route}"))
        };
        Self {
            method,
            route,
            status,
            body: Self::body(method, end, random),
            end,
            path,
        }
    }

    fn body(method: &str, end: End, random: &mut SmallRng) -> Body {
        const BODIES: [Body; 5] = [
            Body::Joined,
            Body::Apart,
            Body::Chunked,
            Body::ChunksApart,
            Body::Continued,
        ];
        match end {
            _ if !matches!(method, "POST" | "PUT") => Body::None,
            // The others may never be read whole: then there was no request.
            End::Hold | End::Drop | End::Http10 => Body::Joined,
            // The answer could come together with the permission to go on.
            End::Unread => Body::Apart,
            _ => BODIES.choose(random).copied().unwrap_or(Body::None),
        }
    }

    /// Pieces that are sent in calls of their own. What follows `100 Continue` is not among them.
    pub(crate) fn pieces(&self) -> Result<Vec<Vec<u8>>, std::fmt::Error> {
        let version = if self.end == End::Http10 { "1.0" } else { "1.1" };
        let mut head = String::new();
        write!(
            head,
            "{} {} HTTP/{version}\r\nHost: localhost\r\n",
            self.method, self.path
        )?;
        if self.route.starts_with("/chunked") {
            head.push_str("Accept-Encoding: gzip\r\n");
        }
        if self.end == End::Closed {
            head.push_str("Connection: close\r\n");
        }
        let length = BODY.len();
        match self.body {
            Body::None => {}
            Body::Joined | Body::Apart => write!(head, "Content-Length: {length}\r\n")?,
            Body::Continued => write!(head, "Content-Length: {length}\r\nExpect: 100-continue\r\n")?,
            Body::Chunked | Body::ChunksApart => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        let head = head.into_bytes();
        Ok(match self.body {
            Body::None | Body::Continued => vec![head],
            Body::Joined => vec![[&head, BODY].concat()],
            Body::Apart => vec![head, BODY.to_vec()],
            Body::Chunked => vec![[&head, CHUNKS[0], CHUNKS[1]].concat()],
            Body::ChunksApart => vec![head, CHUNKS[0].to_vec(), CHUNKS[1].to_vec()],
        })
    }
}

const CHUNKS: [&[u8]; 2] = [b"5\r\nfirst\r\n", b"6\r\nsecond\r\n0\r\n\r\n"];
pub(crate) const BODY: &[u8] = b"a body of a few words";
