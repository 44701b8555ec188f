//! The one thing that is looked for in HTTP/2: whether a client exports spans over OTLP/gRPC.

/// The path of such a request
/// (<https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>).
const EXPORT: &[u8] = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The same in the code of RFC 7541 appendix B, as most clients write it.
const EXPORT_IN_HUFFMAN: &[u8] = &[
    0x60, 0xf5, 0x96, 0xa4, 0x96, 0x82, 0xd2, 0x54, 0xd9, 0xe9, 0x7a, 0xec, 0x3a, 0x4e, 0xb9, 0x0f, 0x45, 0x05, 0x22,
    0x4f, 0x62, 0xe9, 0xb0, 0x64, 0x2a, 0xfd, 0xc2, 0xbe, 0xfb, 0x06, 0x42, 0xee, 0x2d, 0x9d, 0xcc, 0x42, 0xb1, 0x83,
    0xcd, 0x67, 0xb1, 0x3f,
];

/// Whether these bytes of a conversation name the path of an export of spans. No frame is taken apart: the path is written once for a
/// connection, and is too long to be there by chance.
#[must_use]
pub fn exports_spans(bytes: &[u8]) -> bool {
    [EXPORT, EXPORT_IN_HUFFMAN]
        .into_iter()
        .any(|path| bytes.windows(path.len()).any(|window| window == path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SETTINGS acknowledged, then HEADERS: POST, http, the path.
    fn first_request(path: &[u8], length: u8) -> Vec<u8> {
        let frames: &[u8] = b"\0\0\0\x04\x01\0\0\0\0\0\0\x60\x01\x04\0\0\0\x01\x83\x86\x44";
        [frames, &[length], path, b"\x41\x8aexample"].concat()
    }

    #[test]
    fn an_export_of_spans_is_found_whichever_way_its_path_is_written() {
        assert!(exports_spans(&first_request(EXPORT, 59)));
        assert!(exports_spans(&first_request(EXPORT_IN_HUFFMAN, 0x80 | 0x2a)));
        assert!(exports_spans(EXPORT));
    }

    #[test]
    fn other_calls_and_half_a_path_are_none() {
        let metrics = b"/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
        assert!(!exports_spans(&first_request(metrics, 63)));
        assert!(!exports_spans(&EXPORT[1..]));
        assert!(!exports_spans(&EXPORT_IN_HUFFMAN[..41]));
        assert!(!exports_spans(b""));
    }
}
