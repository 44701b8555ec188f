use super::*;

fn head(window: &str) -> RequestHead<'_> {
    parse_head(window.as_bytes()).unwrap()
}

fn path(window: &str) -> (&str, bool) {
    let head = head(window);
    (str::from_utf8(head.path).unwrap(), head.path_cut)
}

#[test]
fn a_whole_head_gives_all_its_values() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let text = format!(
        "POST /cart/7?x=1 HTTP/1.1\r\nHost: shop\r\nUSER-AGENT:  curl/8 \r\nTraceParent: {parent}\r\n\
         tracestate: a=1\r\nTraceState: ot=th:c\r\n\r\nbody"
    );
    let head = head(&text);
    assert_eq!(
        (head.method, head.method_name, head.path),
        (Method::Post, "POST", &b"/cart/7"[..])
    );
    assert_eq!(
        (head.path_cut, head.form, head.version),
        (false, TargetForm::Origin, Some(Version::Http11))
    );
    assert_eq!(head.traceparent, Some(parent.as_bytes()));
    assert_eq!(head.tracestate.iter().collect::<Vec<_>>(), [&b"a=1"[..], b"ot=th:c"]);
    assert_eq!((head.user_agent, head.complete), (Some(&b"curl/8"[..]), true));
}

#[test]
fn each_form_of_target_gives_its_path() {
    assert_eq!(path("GET / HTTP/1.0\n\n"), ("/", false));
    assert_eq!(path("GET /a/b?/c HTTP/1.1\r\n\r\n"), ("/a/b", false));
    assert_eq!(path("GET http://h:80/a?b HTTP/1.1\r\n\r\n"), ("/a", false));
    assert_eq!(path("GET http://h HTTP/1.1\r\n\r\n"), ("/", false));
    assert_eq!(path("GET http://h?q=/a HTTP/1.1\r\n\r\n"), ("/", false));
    assert_eq!(path("OPTIONS http://h HTTP/1.1\r\n\r\n"), ("*", false));
    assert_eq!(path("OPTIONS * HTTP/1.1\r\n\r\n"), ("*", false));
    assert_eq!(path("CONNECT h:443 HTTP/1.1\r\n\r\n"), ("", false));
    assert_eq!(head("CONNECT h:443 HTTP/1.1\r\n\r\n").form, TargetForm::Authority);
    assert_eq!(head("OPTIONS * HTTP/1.1\r\n\r\n").form, TargetForm::Asterisk);
}

#[test]
fn a_path_that_may_go_on_is_flagged() {
    assert_eq!(path("GET /users/12"), ("/users/12", true));
    assert_eq!(path("GET /users/12?q"), ("/users/12", false));
    assert_eq!(path("GET /users/12 "), ("/users/12", false));
    for cut in ["GET ", "GET ht", "GET http:/", "GET http://", "GET http://host"] {
        assert_eq!(path(cut), ("", true), "{cut}");
    }
    assert_eq!(path("OPTIONS *"), ("*", true));
}

#[test]
fn bytes_behind_the_window_are_not_read() {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_WINDOW));
    let head = head(&long);
    assert_eq!(
        (head.path.len(), head.path_cut, head.complete),
        (MAX_WINDOW - 4, true, false)
    );
}

#[test]
fn a_header_line_that_is_cut_gives_no_value() {
    let text = "GET / HTTP/1.1\r\nuser-agent: a\r\ntraceparent: 00-0af7";
    assert_eq!((head(text).user_agent, head(text).traceparent), (Some(&b"a"[..]), None));
    assert_eq!(head("GET / HTTP/1.1\r\nuser-agent: a\r").user_agent, None);
}

#[test]
fn a_repeated_traceparent_is_none_and_a_repeated_user_agent_the_first() {
    let text = "GET / HTTP/1.1\r\ntraceparent: a\r\ntraceparent: b\r\ntraceparent: c\r\nuser-agent: a\r\nuser-agent: b\r\n\r\n";
    assert_eq!((head(text).traceparent, head(text).user_agent), (None, Some(&b"a"[..])));
}

#[test]
fn a_bad_header_line_hides_itself_only() {
    let text = "GET / HTTP/1.1\r\nno colon\r\n: no name\r\nbad name: x\r\nuser-agent : x\r\nuser-agent: a\r\n\r\n";
    assert_eq!((head(text).user_agent, head(text).complete), (Some(&b"a"[..]), true));
}

#[test]
fn versions_are_read_as_far_as_they_are_seen() {
    for cut in ["GET / ", "GET / H", "GET / HTTP/1."] {
        assert_eq!((head(cut).version, head(cut).complete), (None, false), "{cut}");
    }
    assert_eq!(head("GET / HTTP/1.0\r").version.map(Version::as_str), Some("1.0"));
    assert_eq!(head("GET / HTTP/1.7\r\n").version.map(Version::as_str), Some("1.1"));
}

#[test]
fn empty_lines_before_the_request_are_skipped() {
    assert_eq!(path("\r\n\n\r\nGET /a HTTP/1.1\r\n"), ("/a", false));
    assert_eq!(parse_head(b"\r\n\r"), Err(NotHttp::Incomplete));
}

#[test]
fn an_unknown_method_is_other_and_keeps_its_name() {
    for name in ["get", "PURGE", "M-SEARCH", "GETT"] {
        let text = format!("{name} / HTTP/1.1\r\n\r\n");
        assert_eq!((head(&text).method, head(&text).method_name), (Method::Other, name));
    }
    for method in Method::ALL {
        assert_eq!(Method::from_name(method.as_str()), method);
    }
}

#[test]
fn other_protocols_are_refused_with_their_category() {
    let long_word = "A".repeat(33);
    for (window, expected) in [
        (&b""[..], NotHttp::Incomplete),
        (b"GE", NotHttp::Incomplete),
        (b"HTTP/1.1 200 OK\r\n", NotHttp::Method),
        (b" GET / HTTP/1.1", NotHttp::Method),
        (b"\x16\x03\x01\x02\x00", NotHttp::Method),
        (b"*1\r\n$4\r\nPING\r\n", NotHttp::Method),
        (b"\x10\x0c\x00\x04MQTT", NotHttp::Method),
        (long_word.as_bytes(), NotHttp::Method),
        (b"GET  / HTTP/1.1\r\n", NotHttp::Target),
        (b"GET /\r\n", NotHttp::Target),
        (b"get key\r\n", NotHttp::Target),
        (b"set key 0 900 5\r\n", NotHttp::Version),
        (b"EHLO example.org\r\n", NotHttp::Target),
        (b"INVITE sip:bob@example.org SIP/2.0\r\n", NotHttp::Version),
        (b"GET sip:bob@example.org HTTP/1.1\r\n", NotHttp::Target),
        (b"GET 1http://h/a HTTP/1.1\r\n", NotHttp::Target),
        (b"GET example.org HTTP/1.1\r\n", NotHttp::Target),
        (b"OPTIONS *x HTTP/1.1\r\n", NotHttp::Target),
        (b"GET /a\x01 HTTP/1.1\r\n", NotHttp::Target),
        (b"PLAY rtsp://h/a RTSP/1.0\r\n", NotHttp::Version),
        (b"GET / HTTP/1.11\r\n", NotHttp::Version),
        (b"GET / HTTP/1.x\r\n", NotHttp::Version),
        (b"GET / HTTP/1.1 \r\n", NotHttp::Version),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NotHttp::Http2),
    ] {
        assert_eq!(parse_head(window), Err(expected), "{}", window.escape_ascii());
    }
}
