use super::{Reason, line::Line};

/// Where a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes are left, never none.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    /// In the line that begins with a chunk's size.
    Size,
    /// So many bytes of a chunk are left, never none.
    Data(u64),
    /// In the line end behind a chunk.
    DataEnd,
    Trailers,
}

/// What is known of a body behind a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipped {
    Within,
    /// The gap ends where the body does.
    Ended,
    /// The gap is longer than what is left of a chunk: how the body goes on is not known.
    Lost,
    /// The gap is longer than what is left of the body.
    Beyond,
}

impl Body {
    pub(super) const CHUNKED: Self = Self::Chunked(Chunked::Size);

    pub(super) fn of_length(length: u64) -> Option<Self> {
        (length > 0).then_some(Self::Length(length))
    }

    /// Takes bytes of the body. Returns whether it ended; what is then left of `input` is another message's.
    pub(super) fn read(&mut self, line: &mut Line, input: &mut &[u8]) -> Result<bool, Reason> {
        match self {
            Self::Length(left) => {
                take(left, input);
                Ok(*left == 0)
            }
            Self::Chunked(chunked) => chunked.read(line, input),
            Self::UntilClose => {
                *input = &[];
                Ok(false)
            }
        }
    }

    /// Takes bytes that nobody kept.
    pub(super) fn skip(&mut self, line: &mut Line, gap: u64) -> Skipped {
        match self {
            Self::Length(left) => {
                let beyond = gap > *left;
                *left = left.saturating_sub(gap);
                match (*left, beyond) {
                    (1.., _) => Skipped::Within,
                    (0, false) => Skipped::Ended,
                    (0, true) => Skipped::Beyond,
                }
            }
            Self::Chunked(chunked) => chunked.skip(line, gap),
            Self::UntilClose => Skipped::Within,
        }
    }
}

impl Chunked {
    fn read(&mut self, line: &mut Line, input: &mut &[u8]) -> Result<bool, Reason> {
        if let Self::Data(left) = self {
            take(left, input);
            if *left == 0 {
                self.begin_line(line, Self::DataEnd);
            }
            return Ok(false);
        }
        if !line.take(input)? {
            return Ok(false);
        }
        match self {
            Self::Size => match chunk_size(line.start()).ok_or(Reason::Chunk)? {
                0 => self.begin_line(line, Self::Trailers),
                size => *self = Self::Data(size),
            },
            Self::Trailers => return Ok(line.is_blank()),
            _ if line.is_blank() => self.begin_line(line, Self::Size),
            _ => return Err(Reason::Chunk),
        }
        Ok(false)
    }

    fn begin_line(&mut self, line: &mut Line, state: Self) {
        line.begin_section();
        *self = state;
    }

    /// Behind a chunk's data stand a CR and an LF, whatever they are told by.
    fn skip(&mut self, line: &mut Line, gap: u64) -> Skipped {
        let Self::Data(left) = *self else { return Skipped::Lost };
        match gap.checked_sub(left) {
            None => *self = Self::Data(left - gap),
            Some(0) => self.begin_line(line, Self::DataEnd),
            Some(2) => self.begin_line(line, Self::Size),
            Some(_) => return Skipped::Lost,
        }
        Skipped::Within
    }
}

fn take(left: &mut u64, input: &mut &[u8]) {
    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *input = &input[here..];
    *left -= here as u64;
}

/// Hexadecimal digits, then nothing, space, or an extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let ends = matches!(line.get(digits), None | Some(b';' | b' ' | b'\t'));
    let text = str::from_utf8(&line[..digits]).ok()?;
    ends.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}
