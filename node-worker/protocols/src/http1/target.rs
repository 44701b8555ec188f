use super::{Method, NotHttp};

/// How a request target was written (RFC 9112 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`, as proxies are asked.
    Absolute,
    /// `host:port` of CONNECT.
    Authority,
    /// `*`: the server as a whole.
    Asterisk,
}

#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    bytes: &'a [u8],
    complete: bool,
}

pub(super) struct Target<'a> {
    pub(super) path: &'a [u8],
    pub(super) path_cut: bool,
    pub(super) form: TargetForm,
}

/// Splits the target from the front; the rest is absent when the window ends before the space that ends the target.
pub(super) fn split(line: &[u8]) -> Result<(Written<'_>, Option<&[u8]>), NotHttp> {
    match line.iter().position(|byte| !is_target(*byte)) {
        None => Ok((
            Written {
                bytes: line,
                complete: false,
            },
            None,
        )),
        Some(end) if line[end] == b' ' && end > 0 => Ok((
            Written {
                bytes: &line[..end],
                complete: true,
            },
            Some(&line[end + 1..]),
        )),
        Some(_) => Err(NotHttp::Target),
    }
}

/// Visible characters, and bytes from 0x80 that RFC 3986 forbids and servers accept.
const fn is_target(byte: u8) -> bool {
    !matches!(byte, 0..=b' ' | 0x7f)
}

pub(super) fn parse(method: Method, target: Written<'_>) -> Result<Target<'_>, NotHttp> {
    if method == Method::Connect {
        return Ok(Target {
            path: b"",
            path_cut: !target.complete,
            form: TargetForm::Authority,
        });
    }
    match target.bytes {
        [] => Ok(Target {
            path: b"",
            path_cut: true,
            form: TargetForm::Origin,
        }),
        [b'/', ..] => Ok(before_query(target, TargetForm::Origin)),
        b"*" => Ok(Target {
            path: b"*",
            path_cut: !target.complete,
            form: TargetForm::Asterisk,
        }),
        _ => absolute(method, target),
    }
}

fn before_query(target: Written<'_>, form: TargetForm) -> Target<'_> {
    match target.bytes.iter().position(|byte| *byte == b'?') {
        Some(query) => Target {
            path: &target.bytes[..query],
            path_cut: false,
            form,
        },
        None => Target {
            path: target.bytes,
            path_cut: !target.complete,
            form,
        },
    }
}

fn absolute(method: Method, target: Written<'_>) -> Result<Target<'_>, NotHttp> {
    let unknown = Target {
        path: b"",
        path_cut: true,
        form: TargetForm::Absolute,
    };
    let scheme = scheme_length(target.bytes).ok_or(NotHttp::Target)?;
    let after_scheme = &target.bytes[scheme..];
    let Some(after_slashes) = after_scheme.strip_prefix(b"://") else {
        let cut = !target.complete && b"://".starts_with(after_scheme);
        return if cut { Ok(unknown) } else { Err(NotHttp::Target) };
    };
    let authority_end = after_slashes.iter().position(|byte| matches!(byte, b'/' | b'?'));
    match authority_end.map(|end| &after_slashes[end..]) {
        Some(bytes @ [b'/', ..]) => Ok(before_query(Written { bytes, ..target }, TargetForm::Absolute)),
        None if !target.complete => Ok(unknown),
        _ => Ok(Target {
            path: empty_path(method),
            path_cut: false,
            form: TargetForm::Absolute,
        }),
    }
}

/// RFC 9112 section 3.2.4 for OPTIONS, RFC 9110 section 4.2.3 for the others.
const fn empty_path(method: Method) -> &'static [u8] {
    if matches!(method, Method::Options) { b"*" } else { b"/" }
}

/// `scheme` of RFC 3986 section 3.1.
fn scheme_length(bytes: &[u8]) -> Option<usize> {
    let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    bytes.first().filter(|first| first.is_ascii_alphabetic())?;
    Some(bytes.iter().position(|byte| !in_scheme(byte)).unwrap_or(bytes.len()))
}
