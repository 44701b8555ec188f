//! Who is to be told of alerts and rollbacks: what is due, and what became of it.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use shoalwatch_core::Millis;
use shoalwatch_core::notify::{News, Told, Wants};
use shoalwatch_core::rollback::EventReason;
use shoalwatch_crds::SloSpec;
use shoalwatch_crds::conditions::{ConditionStatus, Finding};
use shoalwatch_crds::names;
use shoalwatch_crds::slo::{Budget, Notification, NotifiedEvent, Webhook};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::error;

use super::evaluate::describe;
use super::observe::{Known, Slos};
use super::plan::{burns, phase, severity, timestamp};
use super::text::{cut, percent};
use crate::controllers::invalid::{Invalid, at_most, unique};
use crate::controllers::world::Name;
use crate::http_client::{Address, REFUSED};
use crate::notifications::payload::{Alert, Kind, Object, Payload, Rollback, VERSION};
use crate::notifications::{Failure, Parcel, Place};

/// Longest message, in characters: as much as an Event's note.
const MESSAGE: usize = 1_000;

/// Who is told what, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Receiver {
    name: String,
    wants: Wants,
    place: Place,
}

/// What is known of one receiver.
#[derive(Debug, Default)]
pub(super) struct Line {
    telling: Option<Telling>,
    /// There was no room for the next piece.
    deferred: bool,
    /// What came of the last piece: it arrived, or why it was given up, in a word and in a sentence.
    last: Option<Result<(), (&'static str, String)>>,
}

/// A piece that is under way; dropped, it is withdrawn.
#[derive(Debug)]
struct Telling {
    place: Place,
    _stop: DropGuard,
}

/// A piece that is to be told.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) slo: Name,
    pub(crate) uid: String,
    pub(crate) receiver: String,
    news: News,
    pub(crate) place: Place,
    pub(crate) parcel: Parcel,
    pub(crate) stop: CancellationToken,
}

/// What is to be told now.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) orders: Vec<Order>,
    /// Pieces for which there is no room now, each once.
    pub(crate) deferred: Vec<Kind>,
}

impl Slos {
    /// Pieces that the receivers of the named SLOs do not know, the next one of each; `room`: no more than so many.
    pub(crate) fn due_notifications<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n Name>,
        room: usize,
        now: Millis,
    ) -> Due {
        let mut due = Due::default();
        for name in names {
            if let Some(known) = self.known.get_mut(name) {
                known.due_notifications(name, room, now, &mut due);
            }
        }
        due
    }

    /// Takes in what became of an order; `None`: it was withdrawn.
    pub(crate) fn notified(&mut self, order: &Order, outcome: Option<&Result<(), Failure>>) {
        let term = self.term;
        let known = self.known.get_mut(&order.slo).filter(|known| known.uid == order.uid);
        let (Some(known), Some(outcome)) = (known, outcome) else {
            return;
        };
        let Some(line) = known.lines.get_mut(&order.receiver) else {
            return;
        };
        line.telling = None;
        let why = |failure: &Failure| (failure.reason(), failure.to_string());
        line.last = Some(outcome.as_ref().copied().map_err(why));
        if let Some(told) = known.record.notified.get_mut(&order.receiver) {
            told.tell(&order.news);
            known.decided(term);
        }
    }
}

impl Known {
    /// Begins with receivers that are new, forgets those that are gone, and withdraws what goes to a place that is not meant any
    /// more. Says whether what is remembered of them changed.
    pub(super) fn meet_receivers(&mut self) -> bool {
        let Some((_, valid)) = &self.good else { return false };
        if valid.receivers.is_empty() && self.record.notified.is_empty() {
            return false;
        }
        let timeline = self.record.state.machine.timeline();
        let mut met = BTreeMap::new();
        for Receiver { name, wants, .. } in &valid.receivers {
            let known = self.record.notified.get(name).cloned();
            let mut told = known.unwrap_or_else(|| Told::beginning(timeline));
            told.pass_over(*wants, timeline);
            met.insert(name.clone(), told);
        }
        let meant = |name: &String, line: &Line| {
            let receiver = valid.receivers.iter().find(|receiver| receiver.name == *name);
            let telling = line.telling.as_ref();
            receiver.is_some_and(|receiver| telling.is_none_or(|telling| telling.place == receiver.place))
        };
        self.lines.retain(|name, line| meant(name, line));
        let changed = met != self.record.notified;
        self.record.notified = met;
        changed
    }

    fn due_notifications(&mut self, name: &Name, room: usize, now: Millis, due: &mut Due) {
        let (Some((_, valid)), Some(_)) = (&self.good, &self.evaluation) else {
            return;
        };
        let timeline = self.record.state.machine.timeline();
        let idle = |receiver: &&Receiver| {
            let line = self.lines.get(&receiver.name);
            line.is_none_or(|line| line.telling.is_none())
        };
        let news = valid.receivers.iter().filter(idle).filter_map(|receiver| {
            let told = self.record.notified.get(&receiver.name)?;
            let news = told.next(receiver.wants, &self.firing, timeline)?;
            Some((receiver.clone(), news))
        });
        for (receiver, news) in news.collect::<Vec<_>>() {
            let line = self.lines.entry(receiver.name.clone()).or_default();
            if due.orders.len() >= room {
                if !std::mem::replace(&mut line.deferred, true) {
                    due.deferred.push(kind(&news));
                }
                continue;
            }
            let stop = CancellationToken::new();
            line.deferred = false;
            line.telling = Some(Telling {
                place: receiver.place.clone(),
                _stop: stop.clone().drop_guard(),
            });
            due.orders.extend(self.order(name, receiver, news, stop, now));
        }
    }

    fn order(
        &self,
        name: &Name,
        receiver: Receiver,
        news: News,
        stop: CancellationToken,
        now: Millis,
    ) -> Option<Order> {
        let id = news.id(&self.uid);
        let payload = self.payload(name, &id, &news, now)?;
        let body = serde_json::to_vec(&payload).inspect_err(|error| error!(%error, "notification not written as JSON"));
        Some(Order {
            slo: name.clone(),
            uid: self.uid.clone(),
            receiver: receiver.name,
            place: receiver.place,
            parcel: Parcel {
                kind: kind(&news),
                body: Bytes::from(body.ok()?),
                id,
            },
            news,
            stop,
        })
    }

    fn payload<'a>(&'a self, name: &'a Name, id: &'a str, news: &'a News, now: Millis) -> Option<Payload<'a>> {
        let verdict = &self.evaluation.as_ref()?.verdict;
        let target = self.good.as_ref()?.1.target.as_ref();
        let (time, reason, message) = match news {
            News::Firing { tier, since } => (*since, "AlertFiring", self.describe(tier, true)),
            News::Resolved { tier, .. } => (now, "AlertResolved", self.describe(tier, false)),
            News::Rollback(row) => {
                let told = self.told(EventReason::Step(row.step), &row.message);
                (row.at, row.step.as_str(), told)
            }
        };
        Some(Payload {
            version: VERSION,
            id,
            time: timestamp(time),
            event: kind(news),
            reason,
            message: cut(&message, MESSAGE),
            slo: Object {
                kind: "SLO",
                namespace: &name.namespace,
                name: &name.name,
                uid: Some(&self.uid),
            },
            target: target.map(|target| Object {
                kind: "Deployment",
                namespace: &target.namespace,
                name: &target.name,
                uid: self.target.as_ref().map(|target| target.uid.as_str()),
            }),
            phase: Some(phase(verdict.phase)),
            burn: burns(&verdict.burn),
            budget: verdict.budget_remaining.map(|left| Budget {
                remaining: percent(left),
            }),
            alert: self.alert_told(news),
            rollback: matches!(news, News::Rollback(_)).then(|| {
                let status = self.rollback();
                Rollback {
                    state: status.state,
                    from: status.from,
                    to: status.to,
                }
            }),
        })
    }

    fn alert_told<'a>(&self, news: &'a News) -> Option<Alert<'a>> {
        let (News::Firing { tier, since } | News::Resolved { tier, since }) = news else {
            return None;
        };
        Some(Alert {
            name: tier,
            severity: self.tier(tier).map(|tier| severity(tier.severity)),
            firing: matches!(news, News::Firing { .. }),
            since: timestamp(*since),
        })
    }

    fn tier(&self, name: &str) -> Option<&shoalwatch_core::burn::Tier> {
        let tiers = &self.good.as_ref()?.1.spec.alerts().tiers;
        tiers.iter().find(|tier| tier.name == name)
    }

    fn describe(&self, tier: &str, firing: bool) -> String {
        let known = self.tier(tier).map(|tier| describe(tier, firing));
        known.unwrap_or_else(|| format!("{tier}: it is not in the SLO any more"))
    }

    /// Whether anybody is to be told.
    pub(super) fn minds_notifications(&self) -> bool {
        let receivers = self.good.as_ref().map(|(_, valid)| &valid.receivers);
        receivers.is_some_and(|receivers| !receivers.is_empty())
    }

    /// `NotificationsDelivered`, once there was something to tell.
    pub(super) fn notifications_delivered(&self) -> Option<Finding> {
        let ended = self
            .lines
            .iter()
            .filter_map(|(name, line)| Some((name, line.last.as_ref()?)));
        let ended: Vec<_> = ended.collect();
        let failed = ended
            .iter()
            .filter_map(|(name, last)| Some((name, last.as_ref().err()?)));
        let failed: Vec<_> = failed.collect();
        let why = failed.iter().map(|(name, (_, why))| format!("{name}: {why}"));
        // What does not mend itself is told first.
        let mut reasons = failed.iter().map(|(_, (reason, _))| *reason);
        let reason = reasons
            .clone()
            .find(|reason| *reason == REFUSED)
            .or_else(|| reasons.next());
        let (status, reason, message) = match (ended.is_empty(), reason) {
            (true, _) => return None,
            (false, None) => (
                ConditionStatus::True,
                "Delivered",
                "every receiver took what it was told last".to_owned(),
            ),
            (false, Some(reason)) => (ConditionStatus::False, reason, why.collect::<Vec<_>>().join("; ")),
        };
        Some(Finding {
            kind: names::CONDITION_NOTIFICATIONS_DELIVERED,
            status,
            reason,
            message,
        })
    }
}

fn kind(news: &News) -> Kind {
    match news {
        News::Firing { .. } | News::Resolved { .. } => Kind::Alert,
        News::Rollback(_) => Kind::Rollback,
    }
}

/// The receivers that a spec names.
pub(super) fn receivers(slo: &Name, written: &[Notification]) -> Result<Vec<Receiver>, Invalid> {
    const PATH: &str = "spec.notifications";
    at_most(PATH, written.len(), SloSpec::NOTIFICATIONS_MAX)?;
    unique(PATH, written.iter().map(|each| each.name.as_str()))?;
    let receiver = |each: &Notification| {
        Ok(Receiver {
            name: each.name.clone(),
            wants: Wants {
                alerts: each.events.contains(&NotifiedEvent::Alert),
                rollbacks: each.events.contains(&NotifiedEvent::Rollback),
            },
            place: place(slo, &each.name, &each.webhook)?,
        })
    };
    written.iter().map(receiver).collect()
}

fn place(slo: &Name, receiver: &str, webhook: &Webhook) -> Result<Place, Invalid> {
    let path = |member: &str| format!("spec.notifications[{receiver}].webhook{member}");
    match (&webhook.url, &webhook.url_secret_ref) {
        (Some(url), None) => {
            let address = Address::read(url).map_err(|error| Invalid::Value {
                path: path(".url"),
                problem: error.to_string(),
            });
            Ok(Place::Address(address?))
        }
        (None, Some(secret)) => Ok(Place::Secret {
            namespace: slo.namespace.clone(),
            name: secret.name.clone(),
            key: secret.key.clone(),
        }),
        _ => Err(Invalid::Union {
            path: path(""),
            wanted: "write exactly one of url and urlSecretRef",
        }),
    }
}
