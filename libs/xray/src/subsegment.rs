use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use tracing::field::{Field, Visit};

/// The header that the X-Ray daemon expects in each datagram, before the document
/// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon>).
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// The prefix of the span fields that become metadata of the subsegment.
const METADATA: &str = "metadata.";

/// An X-Ray subsegment: the record of one span of a sampled invocation. It exists while the span is open.
pub(crate) struct Subsegment {
    name: &'static str,
    context: TraceContext,
    /// The ID of the parent segment or subsegment.
    parent: u64,
    started: SystemTime,
    fields: SpanFields,
}

/// The trace ID and the ID of a subsegment. The children of the subsegment need both.
#[derive(Clone, Copy)]
pub(crate) struct TraceContext {
    trace: u128,
    id: u64,
}

/// The fields of a span that become part of its subsegment. Most have the prefix `xray.` in the span: `xray.name`
/// becomes `name`.
#[derive(Debug, Default)]
pub(crate) struct SpanFields {
    /// The trace ID of Lambda's segment. Only the span of an invocation has this field.
    trace: Option<u128>,
    /// The ID of Lambda's segment. Only the span of an invocation has this field.
    parent: Option<u64>,
    name: Option<String>,
    operation: Option<String>,
    region: Option<String>,
    request_id: Option<String>,
    /// The names of the DynamoDB tables of an AWS call, separated by commas.
    tables: Option<String>,
    status: Option<u64>,
    failed: bool,
    throttled: bool,
    /// The error code of a failed AWS call.
    code: Option<String>,
    metadata: BTreeMap<&'static str, Value>,
}

impl Subsegment {
    /// Starts a subsegment. Its parent is Lambda's segment if `fields` contains this segment, else the subsegment
    /// `parent`. Returns `None` if there is neither.
    pub(crate) fn begin(
        name: &'static str,
        parent: Option<TraceContext>,
        fields: SpanFields,
    ) -> Option<Self> {
        let own = fields.trace.zip(fields.parent);
        let (trace, parent) = own.or(parent.map(|parent| (parent.trace, parent.id)))?;
        Some(Self {
            name,
            context: TraceContext { trace, id: id() },
            parent,
            started: SystemTime::now(),
            fields,
        })
    }

    pub(crate) fn context(&self) -> TraceContext {
        self.context
    }

    pub(crate) fn fields_mut(&mut self) -> &mut SpanFields {
        &mut self.fields
    }

    /// Ends the subsegment and returns the datagram for the X-Ray daemon. Returns `None` if the subsegment cannot be
    /// serialized.
    pub(crate) fn datagram(self) -> Option<Vec<u8>> {
        let mut datagram = HEADER.as_bytes().to_vec();
        serde_json::to_writer(&mut datagram, &self.document(SystemTime::now())).ok()?;
        Some(datagram)
    }

    fn document(&self, ended: SystemTime) -> Document<'_> {
        let Self {
            context, fields, ..
        } = self;
        let tables: Vec<_> = fields
            .tables
            .iter()
            .flat_map(|names| names.split(','))
            .collect();
        let aws = fields.operation.as_deref().map(|operation| Aws {
            operation,
            region: fields.region.as_deref(),
            request_id: fields.request_id.as_deref(),
            table_name: match tables[..] {
                [only] => Some(only),
                _ => None,
            },
            table_names: tables,
        });
        let throttle = fields.failed && (fields.throttled || fields.status == Some(429));
        let error = throttle || fields.failed && matches!(fields.status, Some(400..500));
        Document {
            name: fields.name.as_deref().unwrap_or(self.name),
            id: hex(context.id),
            parent_id: hex(self.parent),
            trace_id: format!(
                "1-{:08x}-{:024x}",
                context.trace >> 96,
                context.trace << 32 >> 32
            ),
            r#type: "subsegment",
            start_time: seconds(self.started),
            end_time: seconds(ended),
            namespace: aws.is_some().then_some("aws"),
            error,
            throttle,
            fault: fields.failed && !error,
            http: fields.status.map(|status| Http {
                response: Response { status },
            }),
            aws,
            cause: fields.code.as_deref().map(|r#type| Cause {
                exceptions: [Exception {
                    id: hex(id()),
                    r#type,
                }],
            }),
            metadata: &fields.metadata,
        }
    }
}

impl SpanFields {
    fn text(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "xray.name" => Some(&mut self.name),
            "xray.operation" => Some(&mut self.operation),
            "xray.region" => Some(&mut self.region),
            "xray.request_id" => Some(&mut self.request_id),
            "xray.tables" => Some(&mut self.tables),
            "xray.code" => Some(&mut self.code),
            _ => None,
        }
    }

    fn metadata(&mut self, field: &Field, value: impl Into<Value>) {
        if let Some(name) = field.name().strip_prefix(METADATA) {
            self.metadata.insert(name, value.into());
        }
    }
}

/// Records the span fields that belong to the subsegment, and ignores all others.
impl Visit for SpanFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match self.text(field.name()) {
            Some(text) => *text = Some(value.to_owned()),
            None => self.metadata(field, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "xray.parent" => self.parent = Some(value),
            "xray.status" => self.status = Some(value),
            _ => self.metadata(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.metadata(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        if field.name() == "xray.trace" {
            self.trace = Some(value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "xray.failed" => self.failed = value,
            "xray.throttled" => self.throttled = value,
            _ => self.metadata(field, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name().starts_with(METADATA) {
            self.metadata(field, format!("{value:?}"));
        }
    }
}

/// The JSON document of a subsegment
/// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html>).
#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    id: String,
    parent_id: String,
    trace_id: String,
    r#type: &'static str,
    start_time: f64,
    end_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    error: bool,
    #[serde(skip_serializing_if = "is_false")]
    throttle: bool,
    #[serde(skip_serializing_if = "is_false")]
    fault: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<Http>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws: Option<Aws<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<&'static str, Value>,
}

#[derive(Serialize)]
struct Http {
    response: Response,
}

#[derive(Serialize)]
struct Response {
    status: u64,
}

#[derive(Serialize)]
struct Aws<'a> {
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    table_names: Vec<&'a str>,
}

#[derive(Serialize)]
struct Cause<'a> {
    exceptions: [Exception<'a>; 1],
}

#[derive(Serialize)]
struct Exception<'a> {
    id: String,
    r#type: &'a str,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn hex(id: u64) -> String {
    format!("{id:016x}")
}

/// Converts a time to seconds since the Unix epoch, with the precision of X-Ray: microseconds.
fn seconds(moment: SystemTime) -> f64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as f64 / 1e6
}

/// Generates a random ID. The randomness comes from `RandomState`: each new `RandomState` has different hash keys.
fn id() -> u64 {
    RandomState::new().build_hasher().finish()
}
