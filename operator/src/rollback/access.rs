//! Whether the operator may undo releases in a namespace, asked before it has to.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::Instant;

use crate::retry::jittered;

/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_mins(1);
/// How long nobody is asked who did not answer, at most.
const UNANSWERED: Duration = Duration::from_secs(10);
/// Most namespaces remembered; the oldest answer makes room.
const MAX_NAMESPACES: usize = 4_096;

/// The `ClusterRole` that a `RoleBinding` must name, as the manifests install it.
pub const ROLE: &str = "shoalwatch-rollback";
/// The operator's `ServiceAccount`, as the manifests install it.
pub const SERVICE_ACCOUNT: &str = "shoalwatch-operator";

/// Answers, by namespace.
#[derive(Debug, Default)]
pub struct Answers(BTreeMap<String, Answer>);

#[derive(Debug)]
struct Answer {
    allowed: Option<bool>,
    ask_again: Instant,
}

impl Answers {
    /// Remembers an answer; `None`: nobody answered, and the last answer stays.
    pub fn learn(&mut self, namespace: &str, allowed: Option<bool>, now: Instant) {
        if self.0.len() >= MAX_NAMESPACES && !self.0.contains_key(namespace) {
            let oldest = self.0.iter().min_by_key(|(_, answer)| answer.ask_again);
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| self.0.remove(&name));
        }
        let pause = if allowed.is_some() {
            BELIEVED
        } else {
            jittered(UNANSWERED)
        };
        let allowed = allowed.or(self.get(namespace));
        let ask_again = now + pause;
        self.0.insert(namespace.to_owned(), Answer { allowed, ask_again });
    }

    /// The last answer, however old; `None` before the first.
    #[must_use]
    pub fn get(&self, namespace: &str) -> Option<bool> {
        self.0.get(namespace)?.allowed
    }

    /// Whether it is time to ask.
    #[must_use]
    pub fn is_stale(&self, namespace: &str, now: Instant) -> bool {
        self.0.get(namespace).is_none_or(|answer| now >= answer.ask_again)
    }
}

/// Asks the API server.
pub async fn may_patch(client: Client, namespace: &str) -> Result<bool, kube::Error> {
    let attributes = ResourceAttributes {
        namespace: Some(namespace.to_owned()),
        verb: Some("patch".to_owned()),
        group: Some("apps".to_owned()),
        resource: Some("deployments".to_owned()),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::<SelfSubjectAccessReview>::all(client)
        .create(&PostParams::default(), &review)
        .await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// What to do about a namespace in which the operator may not act. `home`: the operator's own namespace.
#[must_use]
pub fn remedy(namespace: &str, home: &str) -> String {
    format!(
        "the operator may not patch Deployments in namespace {namespace}: kubectl create rolebinding {ROLE} -n {namespace} \
         --clusterrole={ROLE} --serviceaccount={home}:{SERVICE_ACCOUNT}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_believed_for_a_minute() {
        let mut answers = Answers::default();
        assert!(answers.is_stale("shop", Instant::now()));
        answers.learn("shop", Some(true), Instant::now());
        assert!(!answers.is_stale("shop", Instant::now()));
        tokio::time::advance(BELIEVED).await;
        assert!(answers.is_stale("shop", Instant::now()));
        answers.learn("shop", None, Instant::now());
        assert!(
            !answers.is_stale("shop", Instant::now()),
            "a server that is down is not asked all the time"
        );
        assert_eq!(answers.get("shop"), Some(true), "an old answer is better than none");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_answer_makes_room() {
        let mut answers = Answers::default();
        for number in 0..=MAX_NAMESPACES {
            answers.learn(&format!("n{number}"), Some(true), Instant::now());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(answers.get("n0"), None);
        assert_eq!(answers.get("n1"), Some(true));
    }
}
