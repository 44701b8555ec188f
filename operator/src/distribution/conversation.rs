//! What one stream says next: pure, so that every order of events can be tried.

use shoalwatch_node_api::{
    config::Version,
    wire::{self, operator_message::Message, welcome::Role},
};

use super::plans::NodeTarget;
use crate::lease::Leadership;

/// What this stream has told its worker, and what it knows of it.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    welcomed: Option<Leadership>,
    applied: Option<String>,
    refused: Option<Version>,
    unanswered: Option<(String, Version)>,
    pushed: u64,
}

/// What an ACK or a NACK was about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The newest push.
    Newest(Version),
    /// An older one.
    Superseded(Version),
    /// No version, or the newest push by its nonce but another version: the worker is confused.
    WrongVersion,
}

impl Conversation {
    /// Begins with the configuration that the worker says it runs.
    pub(super) fn new(applied: Option<wire::Version>) -> Self {
        Self {
            applied: applied.map(|version| version.hash),
            ..Self::default()
        }
    }

    /// The Welcome that is due, if any: the first, or after a change of the role or the term.
    pub(super) fn welcome(&mut self, leadership: Leadership) -> Option<Message> {
        if self.welcomed == Some(leadership) {
            return None;
        }
        self.welcomed = Some(leadership);
        let role = if leadership.leading {
            Role::Leader
        } else {
            Role::Follower
        };
        Some(Message::Welcome(wire::Welcome {
            role: role.into(),
            term: leadership.term,
        }))
    }

    /// The push that is due, if any: only while leading, only under the term that the worker was welcomed to, and only
    /// where the worker would otherwise end up with something else.
    pub(super) fn push(&mut self, target: Option<&NodeTarget>) -> Option<Message> {
        let target = target?;
        let welcomed = self.welcomed?;
        if !welcomed.leading || welcomed.term != target.version.term || self.will_have(&target.version) {
            return None;
        }
        self.pushed += 1;
        let nonce = self.pushed.to_string();
        self.unanswered = Some((nonce.clone(), target.version.clone()));
        self.refused = None;
        Some(Message::Push(wire::Push {
            version: Some(target.version.clone().into()),
            nonce,
            config: Some(target.config.clone()),
        }))
    }

    /// Whether nothing more is needed: the worker runs it, has been sent it, or refused it under this very term.
    fn will_have(&self, target: &Version) -> bool {
        match (&self.unanswered, &self.applied) {
            (Some((_, sent)), _) => sent.hash == target.hash,
            (None, _) if self.refused.as_ref() == Some(target) => true,
            (None, applied) => applied.as_ref() == Some(&target.hash),
        }
    }

    /// The worker put a push in force. Of an older push that is worth knowing too: should the newest be refused, this is
    /// what the worker runs.
    pub(super) fn ack(&mut self, nonce: &str, version: Option<wire::Version>) -> Answer {
        let answer = self.answer(nonce, version);
        if let Answer::Newest(version) | Answer::Superseded(version) = &answer {
            self.applied = Some(version.hash.clone());
        }
        answer
    }

    /// The worker refused a push; what it ran before stays.
    pub(super) fn nack(&mut self, nonce: &str, version: Option<wire::Version>) -> Answer {
        let answer = self.answer(nonce, version);
        if let Answer::Newest(version) = &answer {
            self.refused = Some(version.clone());
        }
        answer
    }

    fn answer(&mut self, nonce: &str, version: Option<wire::Version>) -> Answer {
        let Some(version) = version.map(Version::from) else {
            return Answer::WrongVersion;
        };
        match &self.unanswered {
            Some((sent, pushed)) if sent == nonce => {
                if *pushed != version {
                    return Answer::WrongVersion;
                }
                self.unanswered = None;
                Answer::Newest(version)
            }
            _ => Answer::Superseded(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const LEADER: Leadership = Leadership { leading: true, term: 3 };
    const FOLLOWER: Leadership = Leadership {
        leading: false,
        term: 3,
    };

    fn target(term: u64, hash: &str) -> NodeTarget {
        let version = Version {
            term,
            hash: hash.to_owned(),
        };
        NodeTarget {
            version,
            config: Bytes::new(),
        }
    }

    fn wire_version(hash: &str) -> wire::Version {
        wire::Version {
            term: 3,
            hash: hash.to_owned(),
        }
    }

    fn welcomed(leadership: Leadership, applied: Option<&str>) -> Conversation {
        let mut conversation = Conversation::new(applied.map(wire_version));
        assert!(conversation.welcome(leadership).is_some());
        conversation
    }

    fn nonce(message: Option<Message>) -> String {
        match message {
            Some(Message::Push(push)) => push.nonce,
            other => panic!("a push was due, not {other:?}"),
        }
    }

    #[test]
    fn a_worker_is_welcomed_first_and_again_when_role_or_term_changes() {
        let mut conversation = welcomed(FOLLOWER, None);
        assert_eq!(conversation.welcome(FOLLOWER), None);
        assert!(conversation.welcome(LEADER).is_some());
        assert!(conversation.welcome(Leadership { term: 4, ..LEADER }).is_some());
    }

    #[test]
    fn a_worker_that_runs_the_target_is_sent_nothing_even_under_a_new_term() {
        let mut conversation = welcomed(LEADER, Some("a"));
        assert_eq!(conversation.push(Some(&target(3, "a"))), None);
    }

    #[test]
    fn a_follower_pushes_nothing() {
        assert_eq!(welcomed(FOLLOWER, None).push(Some(&target(3, "a"))), None);
    }

    #[test]
    fn a_target_of_an_older_term_is_never_pushed() {
        assert_eq!(welcomed(LEADER, None).push(Some(&target(2, "a"))), None);
    }

    #[test]
    fn the_same_target_is_pushed_once_while_it_is_unanswered_and_after_it_was_applied() {
        let mut conversation = welcomed(LEADER, None);
        let nonce = nonce(conversation.push(Some(&target(3, "a"))));
        assert_eq!(conversation.push(Some(&target(3, "a"))), None);
        let answer = conversation.ack(&nonce, Some(wire_version("a")));
        assert_eq!(answer, Answer::Newest(target(3, "a").version));
        assert_eq!(conversation.push(Some(&target(3, "a"))), None);
    }

    #[test]
    fn a_refused_target_is_not_pushed_again_under_its_term_but_under_the_next() {
        let mut conversation = welcomed(LEADER, Some("a"));
        let nonce = nonce(conversation.push(Some(&target(3, "b"))));
        conversation.nack(&nonce, Some(wire_version("b")));
        assert_eq!(conversation.push(Some(&target(3, "b"))), None);
        conversation.welcome(Leadership { term: 4, ..LEADER });
        assert!(conversation.push(Some(&target(4, "b"))).is_some());
    }

    #[test]
    fn going_back_to_what_runs_is_pushed_while_something_else_is_under_way() {
        let mut conversation = welcomed(LEADER, Some("a"));
        let away = nonce(conversation.push(Some(&target(3, "b"))));
        let back = nonce(conversation.push(Some(&target(3, "a"))));
        assert_eq!(
            conversation.ack(&away, Some(wire_version("b"))),
            Answer::Superseded(target(3, "b").version)
        );
        assert_eq!(
            conversation.ack(&back, Some(wire_version("a"))),
            Answer::Newest(target(3, "a").version)
        );
    }

    #[test]
    fn what_a_superseded_push_left_behind_is_known_when_the_newest_is_refused() {
        let mut conversation = welcomed(LEADER, Some("a"));
        let older = nonce(conversation.push(Some(&target(3, "b"))));
        let newest = nonce(conversation.push(Some(&target(3, "c"))));
        conversation.ack(&older, Some(wire_version("b")));
        conversation.nack(&newest, Some(wire_version("c")));
        assert!(conversation.push(Some(&target(3, "a"))).is_some(), "the worker runs b");
    }

    #[test]
    fn an_answer_for_another_version_than_was_pushed_is_noticed() {
        let mut conversation = welcomed(LEADER, None);
        let nonce = nonce(conversation.push(Some(&target(3, "a"))));
        assert_eq!(conversation.ack(&nonce, Some(wire_version("b"))), Answer::WrongVersion);
        assert_eq!(conversation.ack(&nonce, None), Answer::WrongVersion);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Target(u8),
        Accept,
        Refuse,
    }

    proptest! {
        /// A worker that answers everything, in order, ends with the last target or has refused it.
        #[test]
        fn a_worker_that_answers_ends_where_it_should(events in prop::collection::vec(prop_oneof![
            (0_u8..4).prop_map(Event::Target), Just(Event::Accept), Just(Event::Refuse),
        ], 1..60)) {
            let mut conversation = welcomed(LEADER, None);
            let mut wanted = target(3, "0");
            let mut inbox = std::collections::VecDeque::new();
            let mut runs = None;
            let mut refused = None;
            let drain = std::iter::repeat_n(Event::Accept, 60);
            for event in events.into_iter().chain(drain) {
                if let Event::Target(hash) = event {
                    wanted = target(3, &hash.to_string());
                }
                if let Some(Message::Push(push)) = conversation.push(Some(&wanted)) {
                    inbox.push_back(push);
                }
                if matches!(event, Event::Target(_)) {
                    continue;
                }
                let Some(push) = inbox.pop_front() else { continue };
                let version = push.version.unwrap();
                if matches!(event, Event::Accept) {
                    runs = Some(version.hash.clone());
                    conversation.ack(&push.nonce, Some(version));
                } else {
                    refused = Some(version.hash.clone());
                    conversation.nack(&push.nonce, Some(version));
                }
            }
            let wanted = Some(wanted.version.hash);
            prop_assert!(runs == wanted || refused == wanted, "{runs:?} {refused:?} {wanted:?}");
        }
    }
}
