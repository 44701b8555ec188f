//! The pairing of requests with answers against a reference that never parses: it wrote the messages and knows where each begins.

mod conversation;
mod schedule;

use conversation::{Conversation, Style, conversation};
use proptest::prelude::*;
use schedule::{Piece, Seen, capture, feed, schedule};

fn any_style() -> impl Strategy<Value = Conversation> {
    conversation(Style::Any)
}

/// Decisions that a schedule is made of: side, length, pause.
fn dice() -> impl Strategy<Value = Vec<(bool, u16, u8)>> {
    let length = prop_oneof![4 => 1_u16..40, 3 => 1_u16..400, 1 => 1_u16..9_000];
    prop::collection::vec((any::<bool>(), length, any::<u8>()), 1..120)
}

/// Changes some bytes of some pieces.
fn damage(pieces: &mut [Piece], hits: &[(prop::sample::Index, prop::sample::Index, u8)]) {
    for (piece, at, byte) in hits {
        let bytes = &mut pieces[piece.index(pieces.len())].bytes;
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_exchange_is_emitted_once_and_in_order_whatever_the_cuts(conversation in any_style(), dice in dice(), end: prop::sample::Index) {
        let (pieces, expected) = schedule(&conversation, &dice, end);
        let (seen, gave_up) = feed(&pieces);
        prop_assert_eq!(gave_up, None);
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn with_bytes_missing_what_is_emitted_is_true_and_the_rest_is_given_up(
        conversation in conversation(Style::Tame),
        dice in dice(),
        end: prop::sample::Index,
        kept in prop_oneof![20_usize..200, 200_usize..2_000],
    ) {
        let (pieces, expected) = schedule(&conversation, &dice, end);
        let (seen, gave_up) = feed(&capture(&pieces, kept));
        if gave_up.is_none() {
            prop_assert_eq!(seen, expected);
        } else {
            let answered: Vec<&Seen> = expected.iter().filter(|seen| seen.status.is_some()).collect();
            prop_assert!(seen.len() <= answered.len());
            prop_assert_eq!(seen.iter().collect::<Vec<_>>(), answered[..seen.len()].to_vec());
        }
    }

    #[test]
    fn bodies_of_known_length_need_not_be_kept(conversation in conversation(Style::Lengths), dice in dice(), end: prop::sample::Index) {
        let (pieces, expected) = schedule(&conversation, &dice, end);
        let (seen, gave_up) = feed(&capture(&pieces, conversation::MAX_LENGTHS_HEAD));
        prop_assert_eq!(gave_up, None);
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn damaged_messages_mean_the_same_in_one_piece_and_byte_by_byte(
        conversation in any_style(),
        dice in dice(),
        end: prop::sample::Index,
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), byte()), 0..4),
    ) {
        let (mut pieces, _) = schedule(&conversation, &dice, end);
        if !pieces.is_empty() {
            damage(&mut pieces, &hits);
        }
        let bytes: Vec<Piece> = pieces.iter().flat_map(Piece::bytes).collect();
        prop_assert_eq!(feed(&pieces), feed(&bytes));
    }

    #[test]
    fn any_bytes_are_bounded_and_never_a_panic(
        pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60), 0_u64..9, any::<u64>()), 0..30),
    ) {
        let pieces: Vec<Piece> = pieces.into_iter().map(Piece::from_parts).collect();
        let lines: usize = pieces.iter().flat_map(|piece| &piece.bytes).filter(|byte| **byte == b'\n').count();
        let (seen, _) = feed(&pieces);
        prop_assert!(seen.len() <= lines);
    }
}

/// Bytes that mean something, and any others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(&b"\r\n :;0123456789aHT/\t,"[..]), any::<u8>()]
}
