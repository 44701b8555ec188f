//! Whether the operator may undo releases in a namespace, asked before it has to.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::Instant;

use crate::retry::jittered;

/// How long a yes is believed, at most: nothing rests on it but a condition, for before an act the right is asked for anew.
const ALLOWED: Duration = Duration::from_mins(10);
/// How long a no is believed: somebody may be about to change it.
const DENIED: Duration = Duration::from_mins(1);
/// How long nobody is asked who did not answer, at most.
const UNANSWERED: Duration = Duration::from_secs(10);
/// Most namespaces remembered; the answer that would be asked for next makes room.
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
            let next = self.0.iter().min_by_key(|(_, answer)| answer.ask_again);
            let next = next.map(|(name, _)| name.clone());
            next.and_then(|name| self.0.remove(&name));
        }
        let pause = match allowed {
            Some(true) => jittered(ALLOWED),
            Some(false) => DENIED,
            None => jittered(UNANSWERED),
        };
        let allowed = allowed.or(self.get(namespace));
        let ask_again = now + pause;
        self.0.insert(namespace.to_owned(), Answer { allowed, ask_again });
    }

    /// The API server refused what it allowed before: it is asked at once.
    pub fn doubt(&mut self, namespace: &str, now: Instant) {
        if let Some(answer) = self.0.get_mut(namespace) {
            answer.ask_again = now;
        }
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
    async fn a_yes_is_believed_for_minutes_unless_it_is_doubted() {
        let (mut answers, began) = (Answers::default(), Instant::now());
        assert!(answers.is_stale("shop", began));
        answers.learn("shop", Some(true), began);
        assert!(!answers.is_stale("shop", began + ALLOWED / 2 - UNANSWERED));
        assert!(answers.is_stale("shop", began + ALLOWED));
        answers.doubt("shop", began);
        answers.doubt("elsewhere", began);
        assert!(answers.is_stale("shop", began));
        assert_eq!(answers.get("shop"), Some(true), "until there is another answer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_no_is_believed_for_a_minute() {
        let (mut answers, began) = (Answers::default(), Instant::now());
        answers.learn("shop", Some(false), began);
        assert!(!answers.is_stale("shop", began + DENIED / 2));
        assert!(answers.is_stale("shop", began + DENIED));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_down_is_not_asked_all_the_time() {
        let (mut answers, began) = (Answers::default(), Instant::now());
        answers.learn("shop", Some(true), began);
        answers.learn("shop", None, began + ALLOWED);
        assert!(!answers.is_stale("shop", began + ALLOWED));
        assert!(answers.is_stale("shop", began + ALLOWED + UNANSWERED));
        assert_eq!(answers.get("shop"), Some(true), "an old answer is better than none");
    }

    /// How often an hour 500 namespaces are asked about, which are looked at twice a second.
    #[tokio::test(start_paused = true)]
    async fn many_namespaces_are_asked_about_seldom_and_not_together() {
        let (mut answers, began) = (Answers::default(), Instant::now());
        let names: Vec<String> = (0..500).map(|number| format!("n{number}")).collect();
        let (mut asked, mut most) = (0, 0);
        for half_second in 0..7_200 {
            let now = began + Duration::from_millis(500) * half_second;
            let stale: Vec<&String> = names.iter().filter(|name| answers.is_stale(name, now)).collect();
            asked += stale.len();
            most = if half_second == 0 { 0 } else { most.max(stale.len()) };
            for name in stale {
                answers.learn(name, Some(true), now);
            }
        }
        assert!(asked < 7_200 && most < 50, "{asked} asked, {most} together");
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_answer_makes_room() {
        let mut answers = Answers::default();
        for number in 0..=MAX_NAMESPACES {
            answers.learn(&format!("n{number}"), Some(false), Instant::now());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(answers.get("n0"), None);
        assert_eq!(answers.get("n1"), Some(false));
    }
}
