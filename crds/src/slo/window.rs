use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;
use crate::values::{DurationString, TimeSpan};

/// The time over which a promise holds. Exactly one member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.rolling) != has(self.calendar)",
    "name exactly one window: rolling, such as 30d, or calendar"
))]
pub struct Window {
    /// Length of a window that ends now, from 1h to 90d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DurationString")]
    #[x_kube(validation = schema::between(TimeSpan::from_hours(1), TimeSpan::from_hours(90 * 24), "30d"))]
    pub rolling: Option<DurationString>,

    /// The current period of a calendar: the error budget is whole again with each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CalendarWindow")]
    pub calendar: Option<CalendarWindow>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            rolling: Some(DurationString::new("30d")),
            calendar: None,
        }
    }
}

/// A period of a calendar.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CalendarWindow {
    /// Day, Week (from Monday), Month, Quarter or Year. The burn rates of alerts take them as 1, 7, 30, 90 and 365 days.
    pub unit: CalendarUnit,

    /// Where a period begins at midnight: a name of the IANA time zone database, such as Europe/Berlin. Default: UTC.
    #[serde(default = "CalendarWindow::default_time_zone")]
    #[schemars(schema_with = "schema::time_zone")]
    pub time_zone: String,
}

impl CalendarWindow {
    fn default_time_zone() -> String {
        "UTC".to_owned()
    }
}

/// Length of a calendar's periods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[schemars(inline)]
pub enum CalendarUnit {
    /// From midnight.
    Day,
    /// From Monday (ISO 8601).
    Week,
    /// From the 1st.
    Month,
    /// From the 1st of January, April, July and October.
    Quarter,
    /// From the 1st of January.
    Year,
}
