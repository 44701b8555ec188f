//! The parser of request heads against `httparse`, and against itself with less to see.

use proptest::prelude::*;
use shoalwatch_protocols::http1::{MAX_WINDOW, Method, NotHttp, RequestHead, Version, parse_head};

fn method() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(&["GET", "POST", "OPTIONS", "CONNECT", "QUERY", "PROPFIND"][..]).prop_map(str::to_owned),
        1 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,34}",
    ]
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "/[!-~]{0,40}",
        2 => "/[a-z/0-9]{0,600}",
        2 => "https?://[a-z.:0-9]{0,12}(/[!-~]{0,20})?(\\?[!-~]{0,9})?",
        1 => Just("*".to_owned()),
        1 => "[!-~é]{1,20}",
    ]
}

fn header() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[Tt][Rr][Aa][Cc][Ee][Pp][Aa][Rr][Ee][Nn][Tt]",
        "[Tt][Rr][Aa][Cc][Ee][Ss][Tt][Aa][Tt][Ee]",
        "[Uu][Ss][Ee][Rr]-[Aa][Gg][Ee][Nn][Tt]",
        "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}",
    ];
    (name, "[ \t]{0,2}", "[ -~]{0,60}", "[ \t]{0,2}")
        .prop_map(|(name, before, value, after)| format!("{name}:{before}{value}{after}"))
}

/// Mostly well-formed heads, with a body that must not be read as one.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let line_end = prop::sample::select(&["\r\n", "\r\n", "\r\n", "\n"][..]);
    let version = prop::sample::select(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 "][..]);
    (
        method(),
        target(),
        version,
        prop::collection::vec(header(), 0..6),
        line_end,
        "[ -~\r\n]{0,20}",
    )
        .prop_map(|(method, target, version, headers, end, body)| {
            let lines: String = headers.iter().fold(String::new(), |lines, line| lines + line + end);
            format!("{method} {target} {version}{end}{lines}{end}{body}").into_bytes()
        })
}

/// The same with one byte changed, and plain noise.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (request(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut bytes, at, byte)| {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![4 => request(), 3 => damaged, 1 => prop::collection::vec(any::<u8>(), 0..700)]
}

/// What the target means, the slow way.
fn naive_path(method: &str, target: &str) -> Option<String> {
    let before_query = |text: &str| text.split('?').next().unwrap_or_default().to_owned();
    if method == "CONNECT" {
        return Some(String::new());
    }
    if target.starts_with('/') || target == "*" {
        return Some(before_query(target));
    }
    let (_, rest) = target.split_once("://")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let path = before_query(&rest[authority.len()..]);
    let root = if method == "OPTIONS" { "*" } else { "/" };
    Some(if path.is_empty() { root.to_owned() } else { path })
}

fn values<'a>(headers: &'a [httparse::Header<'a>], name: &str) -> Vec<&'a [u8]> {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
        .collect()
}

fn same_as_httparse(ours: &RequestHead<'_>, theirs: &httparse::Request<'_, '_>) -> Result<(), TestCaseError> {
    prop_assert_eq!(Some(ours.method_name), theirs.method);
    let known = Method::ALL.iter().find(|method| method.as_str() == ours.method_name);
    prop_assert_eq!(ours.method, known.copied().unwrap_or(Method::Other));
    let path = naive_path(ours.method_name, theirs.path.unwrap_or_default());
    prop_assert_eq!(Some(ours.path), path.as_ref().map(String::as_bytes));
    prop_assert!(!ours.path_cut && ours.complete);
    prop_assert_eq!(
        ours.version,
        theirs
            .version
            .map(|minor| if minor == 0 { Version::Http10 } else { Version::Http11 })
    );
    let parents = values(theirs.headers, "traceparent");
    prop_assert_eq!(ours.traceparent, (parents.len() == 1).then(|| parents[0].trim_ascii()));
    let states = values(theirs.headers, "tracestate");
    prop_assert_eq!(
        ours.tracestate.iter().collect::<Vec<_>>(),
        states[..states.len().min(4)].to_vec()
    );
    prop_assert_eq!(ours.user_agent, values(theirs.headers, "user-agent").first().copied());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_parsed_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _either = parse_head(&bytes);
    }

    #[test]
    fn what_both_accept_is_read_as_httparse_reads_it(bytes in bytes()) {
        let window = &bytes[..bytes.len().min(MAX_WINDOW)];
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut theirs = httparse::Request::new(&mut headers);
        let whole = theirs.parse(window).is_ok_and(|status| status.is_complete());
        if let (true, Ok(ours)) = (whole, parse_head(&bytes)) {
            same_as_httparse(&ours, &theirs)?;
        }
    }

    #[test]
    fn a_well_formed_request_is_never_refused(
        method in method().prop_filter("bounded", |method| method.len() <= 32),
        path in "/[!-~]{0,40}",
        headers in prop::collection::vec(header(), 0..4),
    ) {
        let lines: String = headers.iter().fold(String::new(), |lines, line| lines + line + "\r\n");
        let text = format!("{method} {path} HTTP/1.1\r\n{lines}\r\n");
        prop_assume!(text.len() <= MAX_WINDOW);
        prop_assert!(parse_head(text.as_bytes()).is_ok_and(|head| head.complete));
    }

    #[test]
    fn a_shorter_window_never_tells_another_story(bytes in bytes(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(bytes.len() + 1);
        let (Ok(part), Ok(whole)) = (parse_head(&bytes[..cut]), parse_head(&bytes)) else { return Ok(()) };
        prop_assert_eq!((part.method, part.method_name), (whole.method, whole.method_name));
        if part.path_cut {
            prop_assert!(whole.path.starts_with(part.path));
        } else {
            prop_assert_eq!((part.path, part.form), (whole.path, whole.form));
            prop_assert!(!whole.path_cut);
        }
        prop_assert!(part.version.is_none() || part.version == whole.version);
        prop_assert!(part.user_agent.is_none() || part.user_agent == whole.user_agent);
        prop_assert!(part.tracestate.iter().zip(whole.tracestate.iter()).all(|(part, whole)| part == whole));
        prop_assert!(!part.complete || whole.complete);
    }

    #[test]
    fn a_window_without_its_end_is_cut_not_refused(bytes in bytes(), cut in any::<prop::sample::Index>()) {
        let part = parse_head(&bytes[..cut.index(bytes.len() + 1)]);
        prop_assert!(parse_head(&bytes).is_err() || part.is_ok() || part == Err(NotHttp::Incomplete));
    }
}
