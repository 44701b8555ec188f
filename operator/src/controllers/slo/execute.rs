//! Does what the judge decided: tells Events at once, hands everything that waits to a task.

use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Client;
use kube::core::{DynamicObject, Resource};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family};
use shoalwatch_core::release::Crashing;
use shoalwatch_core::rollback::{self, Effect, EventReason, EventSeverity, Hold, PatchOutcome};
use shoalwatch_crds::Slo;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::evaluate::Todo;
use super::follow_up::Comparison;
use super::notify::Order as Notification;
use super::rules::Order as RulesOrder;
use crate::controllers::world::Name;
use crate::events::{Events, Notice};
use crate::history::StoreError;
use crate::lease::Leadership;
use crate::logging::chain;
use crate::notifications::{Courier, Failure, Slot};
use crate::rollback::{access, deployment, pods};
use crate::rules::{Pen, Refusal};

/// What a task brings back.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Of an act.
    Acted {
        slo: Name,
        uid: String,
        target: Name,
        outcome: PatchOutcome,
        /// The target as the API server stored it, and its managers as they were found.
        after: Option<Box<(DynamicObject, Vec<ManagedFieldsEntry>)>>,
    },
    /// Of a fresh look; `None` inside: the target is gone. `Err`: no answer, the watch has to do.
    Looked {
        slo: Name,
        uid: String,
        target: Name,
        found: Result<Option<Box<DynamicObject>>, ()>,
    },
    /// Whether the operator may act in a namespace.
    Answered { namespace: String, allowed: Option<bool> },
    /// What pods of a `ReplicaSet` do; `None`: nobody answered.
    Pods { set: Name, found: Option<Crashing> },
    /// What would keep a release undone; `None`: nobody answered, or it is another one by now.
    Compared {
        comparison: Box<Comparison>,
        lines: Option<String>,
    },
    /// Rules for Prometheus were written or removed, or not.
    Rules {
        order: Box<RulesOrder>,
        outcome: Result<(), Refusal>,
    },
    /// A receiver was told, or not; `None`: it was not to be told any more.
    Notified {
        order: Box<Notification>,
        outcome: Option<Result<(), Failure>>,
    },
    /// Fields of a target were given back to their managers.
    GaveBack {
        target: Name,
        /// Why not, by category.
        failed: Option<&'static str>,
    },
    /// A snapshot is on the disk, or is not.
    Saved {
        acknowledge: Vec<tokio::sync::oneshot::Sender<()>>,
        failed: Option<StoreError>,
    },
}

/// How acts ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Ended {
    Applied,
    Conflict,
    NotFound,
    Forbidden,
    Rejected,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Labels {
    outcome: Ended,
}

pub(crate) type Rollbacks = Family<Labels, Counter>;

/// Says when a snapshot is on the disk.
pub(crate) type Memory = BoxFuture<'static, Result<(), StoreError>>;

/// What acts need.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) home: Arc<str>,
    pub(crate) rollbacks: Rollbacks,
    pub(crate) courier: Courier,
}

/// Does all of one SLO's list. `memory`: what must be on the disk before a patch is sent.
pub(crate) fn execute(todo: &Todo, hands: &Hands, memory: Option<Memory>, tasks: &mut JoinSet<Outcome>) {
    for change in &todo.alerts {
        let reason = if change.firing { "AlertFiring" } else { "AlertResolved" };
        hands.events.tell(about_slo(
            todo,
            change.firing,
            reason,
            "Evaluate",
            &change.message,
            None,
        ));
    }
    let mut memory = memory;
    for effect in &todo.effects {
        match effect {
            // What changed is saved within seconds anyway; only a patch waits for it.
            Effect::Persist => {}
            Effect::Event {
                severity,
                reason,
                message,
            } => tell(todo, hands, *severity, *reason, message),
            Effect::Patch(patch) => {
                if let Some(target) = todo.target.clone() {
                    tasks.spawn(act(todo.clone(), target, patch.clone(), hands.clone(), memory.take()));
                }
            }
            Effect::Reobserve => {
                if let Some(target) = todo.target.clone() {
                    tasks.spawn(look(todo.clone(), target, hands.client.clone()));
                }
            }
        }
    }
}

fn tell(todo: &Todo, hands: &Hands, severity: EventSeverity, reason: EventReason, message: &str) {
    let warning = severity != EventSeverity::Info;
    let forbidden = reason == EventReason::Held(Hold::Forbidden);
    let (namespace, home) = (&todo.slo.namespace, &hands.home);
    let message = if forbidden {
        format!("{message}; {}", access::remedy(namespace, home))
    } else {
        message.to_owned()
    };
    info!(slo = %todo.slo, reason = reason.as_str(), message, "rollback step");
    let target = todo.target.as_ref().zip(todo.target_uid.as_deref());
    let target = target.map(|(target, uid)| of_target(target, uid));
    hands.events.tell(about_slo(
        todo,
        warning,
        reason.as_str(),
        "Rollback",
        &message,
        target.clone(),
    ));
    if let Some(target) = target {
        hands.events.tell(Notice {
            regarding: target,
            related: Some(of_slo(todo)),
            warning,
            reason: reason.as_str(),
            action: "Rollback",
            note: format!("SLO {}: {message}", todo.slo.name),
        });
    }
}

fn about_slo(
    todo: &Todo,
    warning: bool,
    reason: &'static str,
    action: &'static str,
    note: &str,
    related: Option<ObjectReference>,
) -> Notice {
    Notice {
        regarding: of_slo(todo),
        related,
        warning,
        reason,
        action,
        note: note.to_owned(),
    }
}

fn of_slo(todo: &Todo) -> ObjectReference {
    reference::<Slo>(&todo.slo, &todo.uid)
}

fn of_target(target: &Name, uid: &str) -> ObjectReference {
    reference::<Deployment>(target, uid)
}

fn reference<K: Resource<DynamicType = ()>>(name: &Name, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: Some(name.namespace.clone()),
        name: Some(name.name.clone()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// Waits until what is known is saved, then patches.
async fn act(todo: Todo, target: Name, patch: rollback::Patch, hands: Hands, memory: Option<Memory>) -> Outcome {
    if let Some(saved) = memory
        && let Err(error) = saved.await
    {
        // The annotation in the patch is proof enough.
        error!(?error, slo = %todo.slo, "state not saved before the act");
    }
    let undone = match may_act(&target.namespace, &hands).await {
        Ok(()) => deployment::undo(&hands.client, &target_of(&target), &patch).await,
        Err(outcome) => deployment::Undone { outcome, after: None },
    };
    hands
        .rollbacks
        .get_or_create(&Labels {
            outcome: ended(&undone.outcome),
        })
        .inc();
    info!(slo = %todo.slo, %target, outcome = ?undone.outcome, "act ended");
    Outcome::Acted {
        slo: todo.slo,
        uid: todo.uid,
        target,
        outcome: undone.outcome,
        after: undone.after,
    }
}

/// The last look before the act: still leading, and allowed to.
async fn may_act(namespace: &str, hands: &Hands) -> Result<(), PatchOutcome> {
    if let Ok(false) = access::may_patch(hands.client.clone(), namespace).await {
        return Err(PatchOutcome::Forbidden(access::remedy(namespace, &hands.home)));
    }
    if hands.leadership.borrow().leading {
        Ok(())
    } else {
        Err(PatchOutcome::Conflict)
    }
}

fn ended(outcome: &PatchOutcome) -> Ended {
    match outcome {
        PatchOutcome::Applied => Ended::Applied,
        PatchOutcome::Conflict => Ended::Conflict,
        PatchOutcome::NotFound => Ended::NotFound,
        PatchOutcome::Forbidden(_) => Ended::Forbidden,
        PatchOutcome::Rejected(_) => Ended::Rejected,
        PatchOutcome::Unknown(_) => Ended::Unknown,
    }
}

/// Leaves the managers of a target as they were found; `before`, if that is known.
pub(crate) async fn give_back(client: Client, target: Name, before: Option<Vec<ManagedFieldsEntry>>) -> Outcome {
    let failed = match deployment::give_back(&client, &target_of(&target), before.as_deref()).await {
        Ok(true) => {
            info!(%target, "managed fields are as they were found");
            None
        }
        Ok(false) => {
            warn!(%target, "managed fields not given back yet, others keep writing");
            Some("busy")
        }
        Err(error) => {
            warn!(?error, %target, "managed fields not given back yet");
            Some(error.category())
        }
    };
    Outcome::GaveBack { target, failed }
}

async fn look(todo: Todo, target: Name, client: Client) -> Outcome {
    let found = match deployment::get(&client, &target_of(&target)).await {
        Ok(found) => Ok(Some(Box::new(found))),
        Err(error) if error.category() == "not_found" => Ok(None),
        Err(error) => {
            warn!(?error, %target, "no fresh look at the target");
            Err(())
        }
    };
    Outcome::Looked {
        slo: todo.slo,
        uid: todo.uid,
        target,
        found,
    }
}

/// Asks whether the operator may act in a namespace.
pub(crate) async fn ask(client: Client, namespace: String) -> Outcome {
    let asked = access::may_patch(client, &namespace);
    let answer = tokio::time::timeout(std::time::Duration::from_secs(5), asked).await;
    let allowed = answer.ok().and_then(Result::ok);
    Outcome::Answered { namespace, allowed }
}

/// Looks at the pods of a set.
pub(crate) async fn look_at_pods(client: Client, set: Name, revision: String) -> Outcome {
    let found = pods::crashing(&client, &set.namespace, &set.name, &revision).await;
    let found = found.inspect_err(|error| warn!(?error, %set, "pods not seen: a crash loop is not noticed"));
    Outcome::Pods { set, found: found.ok() }
}

/// Compares a release with the one it would be undone to.
pub(crate) async fn compare(client: Client, comparison: Comparison) -> Outcome {
    let lines = deployment::remedy(&client, &target_of(&comparison.target), &comparison.patch).await;
    let lines = lines.inspect_err(|error| warn!(?error, target = %comparison.target, "releases not compared"));
    Outcome::Compared {
        comparison: Box::new(comparison),
        lines: lines.ok().flatten(),
    }
}

/// Writes the rules that an SLO asks for, and removes those that it does not.
pub(crate) async fn write_rules(hands: Hands, order: RulesOrder) -> Outcome {
    let pen = Pen {
        client: &hands.client,
        home: &hands.home,
    };
    let done = async {
        if let Some(obsolete) = &order.obsolete {
            pen.remove(obsolete, &order.slo.namespace, &order.uid).await?;
        }
        match &order.wanted {
            Some(wanted) => pen.write(wanted).await,
            None => Ok(()),
        }
    };
    let outcome = done.await;
    let order = Box::new(order);
    Outcome::Rules { order, outcome }
}

/// Tells a receiver, for as long as it is to be told. `slot`: its place in the queue.
pub(crate) async fn notify(hands: Hands, order: Notification, slot: Slot) -> Outcome {
    let trouble = |failure: &Failure| fails(&hands, &order, failure, "tried again");
    let telling = hands.courier.deliver(&order.place, &order.parcel, trouble);
    let outcome = order.stop.run_until_cancelled(telling).await;
    if let Some(Err(failure)) = &outcome {
        fails(&hands, &order, failure, "given up");
    }
    drop(slot);
    let order = Box::new(order);
    Outcome::Notified { order, outcome }
}

fn fails(hands: &Hands, order: &Notification, failure: &Failure, next: &str) {
    let (receiver, id) = (&order.receiver, &order.parcel.id);
    warn!(slo = %order.slo, receiver, id, error = chain(failure), next, "notification not delivered");
    hands.events.tell(Notice {
        regarding: reference::<Slo>(&order.slo, &order.uid),
        related: None,
        warning: true,
        reason: "NotificationFailed",
        action: "Notify",
        note: format!("receiver {receiver} was not told, {next}: {failure}"),
    });
}

fn target_of(name: &Name) -> deployment::Target {
    deployment::Target {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
    }
}
