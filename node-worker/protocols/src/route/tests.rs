use super::*;
use proptest::prelude::*;

/// `path <tab> template <tab> hash`, where `\xNN` in a path is a byte.
const VECTORS: &str = include_str!("../../vectors/route.tsv");

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let first = parts.next().unwrap_or_default().as_bytes().to_vec();
    parts.fold(first, |mut bytes, part| {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
        bytes
    })
}

#[test]
fn the_shared_vectors_hold() {
    let lines: Vec<&str> = VECTORS.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 40, "the vectors are gone");
    for line in lines {
        let [path, expected, hash] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let path = unescape(path);
        assert_eq!(template(&path), expected, "{line}");
        assert_eq!(shape_hash(&path), u64::from_str_radix(hash, 16).unwrap(), "{line}");
    }
}

#[test]
fn the_hash_is_the_published_fnv_1a() {
    // From the reference vectors of FNV's authors, for words that are templates of themselves.
    assert_eq!(shape_hash(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(shape_hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(shape_hash(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn the_buffer_is_reused() {
    let mut out = "before".to_owned();
    template_into(b"/a/1", &mut out);
    assert_eq!(out, "/a/{id}");
}

/// The rule as its documentation says it, the slow way.
fn naive_is_value(segment: &[u8]) -> bool {
    let all = |test: fn(&u8) -> bool| segment.iter().all(test);
    let uuid = || {
        let groups: Vec<&[u8]> = segment.split(|byte| *byte == b'-').collect();
        groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.concat().iter().all(u8::is_ascii_hexdigit)
    };
    let number = !segment.is_empty() && all(u8::is_ascii_digit);
    let hex = segment.len() >= 8 && all(u8::is_ascii_hexdigit) && segment.iter().any(u8::is_ascii_digit);
    number || hex || segment.len() > 64 || uuid() || !all(|byte| byte.is_ascii_graphic() && *byte != b'%')
}

fn segment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z{}*.-]{0,12}".prop_map(String::into_bytes),
        "[0-9]{1,5}".prop_map(String::into_bytes),
        "[0-9a-fA-F]{6,10}".prop_map(String::into_bytes),
        "[0-9a-g]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9A-F]{4}-[0-9a-f]{11,12}".prop_map(String::into_bytes),
        "[0-9a-f-]{36}".prop_map(String::into_bytes),
        "[a-z]{63,66}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
    ]
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(segment(), 0..12).prop_map(|segments| [vec![Vec::new()], segments].concat().join(&b'/'))
}

proptest! {
    #[test]
    fn each_segment_is_replaced_exactly_by_the_written_rule(segment in segment()) {
        prop_assume!(!segment.contains(&b'/'));
        let path = [b"/", segment.as_slice()].concat();
        let kept = format!("/{}", segment.iter().copied().map(char::from).collect::<String>());
        let expected = if naive_is_value(&segment) { "/{id}".to_owned() } else { kept };
        prop_assert_eq!(template(&path), expected);
    }

    #[test]
    fn the_template_of_a_template_is_itself(path in path()) {
        let once = template(&path);
        prop_assert_eq!(template(once.as_bytes()), once);
    }

    #[test]
    fn the_hash_is_that_of_the_template(path in path()) {
        prop_assert_eq!(shape_hash(&path), shape_hash(template(&path).as_bytes()));
    }

    #[test]
    fn a_template_is_short_and_visible_whatever_the_bytes(path in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let template = template(&path);
        prop_assert!(template.len() <= MAX_TEMPLATE && template.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(template.matches('/').count() <= MAX_SEGMENTS + 1);
    }
}
