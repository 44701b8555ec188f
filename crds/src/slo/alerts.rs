use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::values::{DurationString, PercentString};

/// One alert: it fires while the budget burns too fast both over the long and over the short window. The burn rate is
/// budgetPercent × window ÷ long (SRE workbook, "Alerting on SLOs").
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = schema::ordered("short", false, "long", "write a short window that is shorter than the long one"))]
pub struct AlertTier {
    /// Name of the alert, unique in the SLO: a DNS label.
    #[schemars(schema_with = "schema::label_name")]
    pub name: String,

    /// Page: somebody must act now; the SLO is Breached. Ticket: soon; the SLO is Burning.
    pub severity: Severity,

    /// Share of the whole error budget that is spent within the long window when the alert fires: a percentage above "0" and up to
    /// "100", in quotes.
    pub budget_percent: PercentString,

    /// Window over which the burn is significant, such as 1h.
    #[x_kube(validation = schema::longer_than_zero())]
    pub long: DurationString,

    /// Window over which it still burns, shorter than the long one; a twelfth of it is usual.
    #[x_kube(validation = schema::longer_than_zero())]
    pub short: DurationString,
}

impl AlertTier {
    /// Whether it is one of [`default_alerts`], unchanged. The API server writes the defaults into every object, so this
    /// is how a tier that nobody asked for is told from one that somebody wrote.
    #[must_use]
    pub fn is_default(&self) -> bool {
        default_alerts().contains(self)
    }
}

/// How urgent an alert is: Page or Ticket.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum Severity {
    /// Somebody must act now.
    Page,
    /// Somebody must act in the next days.
    Ticket,
}

/// The four tiers of the SRE workbook: over 30 days their burn rates are 14.4, 6, 3 and 1.
#[must_use]
pub fn default_alerts() -> Vec<AlertTier> {
    let tier = |name: &str, severity, percent: &str, long: &str, short: &str| AlertTier {
        name: name.to_owned(),
        severity,
        budget_percent: PercentString::new(percent),
        long: DurationString::new(long),
        short: DurationString::new(short),
    };
    vec![
        tier("fast-page", Severity::Page, "2", "1h", "5m"),
        tier("slow-page", Severity::Page, "5", "6h", "30m"),
        tier("fast-ticket", Severity::Ticket, "10", "24h", "2h"),
        tier("slow-ticket", Severity::Ticket, "10", "3d", "6h"),
    ]
}
