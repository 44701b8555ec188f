//! What the schemas of both kinds share: names, selectors, conditions, and rules that compare durations.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube::core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::values::{Notation, TimeSpan};

/// Longest `DNS` label: names of rules, alerts and containers.
const LABEL_LENGTH: u32 = 63;
const CONDITIONS_MAX: u32 = 8;

/// Schema of a name that is a DNS label (RFC 1123).
pub(crate) fn label_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": LABEL_LENGTH,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$')",
            "message": "write a name of 1 to 63 lower-case letters, digits and hyphens that starts and ends with a letter or digit",
        }],
    })
}

/// Schema of the name of a workload: a DNS subdomain (RFC 1123).
pub(crate) fn workload_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
            "message": "write the name of the workload: lower-case letters, digits, hyphens and dots, starting and ending with a letter or digit",
        }],
    })
}

/// Schema of the name of a Secret: a DNS subdomain (RFC 1123).
pub(crate) fn secret_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
            "message": "write the name of the Secret: lower-case letters, digits, hyphens and dots, starting and ending with a letter or digit",
        }],
    })
}

/// Schema of a key of a Secret.
pub(crate) fn secret_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 253,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[A-Za-z0-9._-]+$')",
            "message": "write a key of the Secret: letters, digits, hyphens, underscores and dots",
        }],
    })
}

/// Schema of the address of a web server: without user and password, which would be shown to everybody who may read the object.
pub(crate) fn url(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 2048,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^https?://([A-Za-z0-9][A-Za-z0-9._-]*|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?(/[!$-~]*)?$')",
            "message": "write an address such as https://hooks.example/slo: http or https, no user, no fragment",
        }],
    })
}

/// Schema of a route or of the beginning of one.
pub(crate) fn route(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 256,
        "x-kubernetes-validations": [{
            "rule": "self.startsWith('/') && !self.contains('?')",
            "message": "write a path that starts with / and has no ?, such as /healthz",
        }],
    })
}

/// Schema of the name of a time zone. Whether there is one of that name the operator knows.
pub(crate) fn time_zone(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 64,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$')",
            "message": "write the name of a time zone, such as Europe/Berlin",
        }],
    })
}

/// Schema of a label selector, bounded: a node holds every selector in memory.
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "description": "Labels that a pod must carry, each with exactly this value. At most 16.",
                "type": "object",
                "maxProperties": 16,
                "additionalProperties": {"type": "string", "maxLength": LABEL_LENGTH},
            },
            "matchExpressions": {
                "description": "Further requirements; a pod must meet every one. At most 16.",
                "type": "array",
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "items": label_requirement(),
            },
        },
    })
}

fn label_requirement() -> Value {
    json!({
        "type": "object",
        "required": ["key", "operator"],
        "properties": {
            "key": {"description": "Label key.", "type": "string", "minLength": 1, "maxLength": 317},
            "operator": {
                "description": "In, NotIn, Exists or DoesNotExist.",
                "type": "string",
                "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
            },
            "values": {
                "description": "Values for In and NotIn; absent for Exists and DoesNotExist. At most 32.",
                "type": "array",
                "maxItems": 32,
                "x-kubernetes-list-type": "atomic",
                "items": {"type": "string", "maxLength": LABEL_LENGTH},
            },
        },
        "x-kubernetes-validations": [{
            "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
            "message": "write values with In and NotIn, and none with Exists and DoesNotExist",
        }],
    })
}

/// Schema of a list of `metav1.Condition`, one of each type.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": CONDITIONS_MAX,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {"description": "What is judged.", "type": "string", "maxLength": 316},
                "status": {
                    "description": "True, False or Unknown.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "observedGeneration": {
                    "description": "Generation of the spec that was judged.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "description": "When the status last changed.",
                    "type": "string",
                    "format": "date-time",
                },
                "reason": {
                    "description": "Why, as one CamelCase word.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                },
                "message": {
                    "description": "Why, in full, and what to do.",
                    "type": "string",
                    "maxLength": crate::conditions::MESSAGE_MAX,
                },
            },
        },
    })
}

/// A field of type duration must be longer than zero.
pub(crate) fn longer_than_zero() -> Rule {
    // A digit other than 0 anywhere: the notation's own rule already says that the rest is well-formed.
    Rule::new("!self.matches('^[0dhms]+$')").message("write a duration longer than 0s")
}

/// Field `smaller` must be shorter than field `larger` (or as long, where `or_equal`); both are durations beside each
/// other. Malformed ones are left to their own rules.
pub(crate) fn ordered(smaller: &str, or_equal: bool, larger: &str, message: &str) -> Rule {
    let well_formed = |field: &str| TimeSpan::RULE.replace("self", &format!("self.{field}"));
    let compare = if or_equal { "<=" } else { "<" };
    let (left, right) = (
        cel_millis(&format!("self.{smaller}")),
        cel_millis(&format!("self.{larger}")),
    );
    Rule::new(format!(
        "!({} && {}) || {left} {compare} {right}",
        well_formed(smaller),
        well_formed(larger)
    ))
    .message(message)
}

/// A duration field must lie between two bounds, both inclusive, in milliseconds.
pub(crate) fn between(least: TimeSpan, most: TimeSpan, example: &str) -> Rule {
    let span = cel_millis("self");
    Rule::new(format!(
        "!({}) || ({span} >= {} && {span} <= {})",
        TimeSpan::RULE,
        least.as_millis(),
        most.as_millis()
    ))
    .message(format!("write a duration from {least} to {most}, such as {example}").as_str())
}

/// A duration field must be one of some.
pub(crate) fn one_of(spans: &[TimeSpan]) -> Rule {
    let list = |write: &dyn Fn(&TimeSpan) -> String| spans.iter().map(write).collect::<Vec<_>>().join(", ");
    Rule::new(format!(
        "!({}) || {} in [{}]",
        TimeSpan::RULE,
        cel_millis("self"),
        list(&|span| span.as_millis().to_string())
    ))
    .message(format!("write one of {}", list(&TimeSpan::to_string)).as_str())
}

/// Milliseconds of a well-formed duration. CEL reads Go's durations, which have no days, so these are cut off and
/// multiplied. `split` would say it plainer, but the API server cannot bound its cost; the added zeros stand in for a part
/// that is missing.
fn cel_millis(text: &str) -> String {
    format!(
        "int(('00' + {text}).substring(0, {text}.indexOf('d') + 2)) * 86400000 \
         + duration(({text} + '0s').substring({text}.indexOf('d') + 1)).getMilliseconds()"
    )
}

/// Makes a derived definition one that a real API server takes without a warning, and whose rules mean what they say.
pub(crate) fn polish(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut();
        if let Some(schema) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            polish_schema(schema);
        }
    }
    definition
}

fn polish_schema(schema: &mut JSONSchemaProps) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrArray as Items;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrBool as Additional;

    // An explicit null would satisfy `has()` in a rule; without `nullable` the API server prunes it.
    schema.nullable = None;
    // Kubernetes knows only the signed formats; minimum and maximum carry the bounds.
    schema.format = match schema.format.as_deref() {
        Some("uint8" | "uint16") => Some("int32".to_owned()),
        Some("uint32" | "uint64") => Some("int64".to_owned()),
        _ => schema.format.take(),
    };
    schema.description = schema.description.take().map(|text| plain_text(&text));
    schema
        .properties
        .iter_mut()
        .flat_map(|map| map.values_mut())
        .for_each(polish_schema);
    match &mut schema.items {
        Some(Items::Schema(items)) => polish_schema(items),
        Some(Items::Schemas(items)) => items.iter_mut().for_each(polish_schema),
        None => {}
    }
    if let Some(Additional::Schema(values)) = &mut schema.additional_properties {
        polish_schema(values);
    }
}

/// What rustdoc wants and `kubectl explain` shows as it is: line breaks inside a paragraph, and backticks.
fn plain_text(markdown: &str) -> String {
    let paragraphs = markdown.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n").replace('`', "")
}
