//! The SLOs whose rules are proved.

use std::collections::BTreeSet;
use std::time::Duration;

use shoalwatch_core::burn::{Alerts, Objective, Severity, TierSpec};
use shoalwatch_core::policy::HttpStatus;
use shoalwatch_core::rules::{Measure, Promise, Rendered, Subject, render};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

pub(super) struct Slo {
    pub(super) name: &'static str,
    pub(super) workload: String,
    pub(super) container: &'static str,
    pub(super) routes: BTreeSet<String>,
    pub(super) bad: BTreeSet<HttpStatus>,
    pub(super) slower_than: Option<Duration>,
    pub(super) objective: Objective,
    pub(super) window: Duration,
    pub(super) alerts: Alerts,
    /// Tiers that are proved; `promtool` takes seconds for each.
    pub(super) proved: &'static [&'static str],
}

impl Slo {
    fn new(name: &'static str, objective: &str, window: Duration, bad: &[&str]) -> Self {
        let objective = objective.parse().unwrap();
        Self {
            name,
            workload: name.to_owned(),
            container: "",
            routes: BTreeSet::new(),
            bad: bad.iter().map(|status| status.parse().unwrap()).collect(),
            slower_than: None,
            objective,
            window,
            alerts: Alerts::defaults(objective, window),
            proved: &["fast-page"],
        }
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            namespace: "shop",
            slo: self.name,
            workload: &self.workload,
            container: self.container,
            routes: &self.routes,
            measure: self.slower_than.map_or(Measure::Bad(&self.bad), Measure::SlowerThan),
        }
    }

    pub(super) fn promise(&self) -> Promise<'_> {
        Promise {
            objective: self.objective,
            window: self.window,
            tiers: &self.alerts.tiers,
        }
    }

    pub(super) fn rendered(&self) -> Rendered {
        render(&self.subject(), &self.promise()).unwrap()
    }
}

/// The defaults; other windows and objectives; routes, a container and single codes; latency; a tier of one's own.
pub(super) fn slos() -> Vec<Slo> {
    let mut search = Slo::new("search", "95", 7 * DAY, &["429", "5xx"]);
    search.container = "app";
    search.routes = ["/find".to_owned(), "/v1.0/items/{id}".to_owned()].into();
    let mut pay = Slo::new("pay", "99", 28 * DAY, &[]);
    pay.slower_than = Some(Duration::from_secs(1));
    let mut cart = Slo::new("cart", "99.5", 30 * DAY, &["Aborted"]);
    cart.alerts = Alerts::explicit(
        &[TierSpec {
            name: "own".to_owned(),
            severity: Severity::Page,
            budget_percent: 12.5,
            long: 12 * HOUR,
            short: HOUR,
        }],
        cart.objective,
        cart.window,
    )
    .unwrap();
    cart.proved = &["own"];
    let mut checkout = Slo::new("checkout", "99.9", 30 * DAY, &["5xx", "Aborted"]);
    checkout.proved = &["fast-page", "slow-page", "fast-ticket", "slow-ticket"];
    vec![checkout, search, pay, cart]
}
