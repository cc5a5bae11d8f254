use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use tracing::field::{Field, Visit};

/// What comes before every document that the daemon takes
/// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-daemon>).
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// The prefix of the fields that a span's owner may show to who reads the trace.
const METADATA: &str = "metadata.";

/// A step of a traced invocation, from the opening of its span to the close.
pub(crate) struct Subsegment {
    name: &'static str,
    place: TraceContext,
    /// The segment or subsegment that this one is below.
    parent: u64,
    started: SystemTime,
    said: SpanFields,
}

/// Where in which trace a subsegment is: what those below it need to know.
#[derive(Clone, Copy)]
pub(crate) struct TraceContext {
    trace: u128,
    id: u64,
}

/// What its span's fields say of a subsegment, by the names that follow `xray.`.
#[derive(Debug, Default)]
pub(crate) struct SpanFields {
    /// These two of an invocation alone: Lambda's own segment.
    trace: Option<u128>,
    parent: Option<u64>,
    name: Option<String>,
    operation: Option<String>,
    region: Option<String>,
    request_id: Option<String>,
    /// Their names, with commas between.
    tables: Option<String>,
    status: Option<u64>,
    failed: bool,
    throttled: bool,
    /// What the error is called.
    code: Option<String>,
    metadata: BTreeMap<&'static str, Value>,
}

impl Subsegment {
    /// A subsegment that begins now: below the segment that its own fields name, or below `parent`.
    /// None where there is neither.
    pub(crate) fn begin(
        name: &'static str,
        parent: Option<TraceContext>,
        said: SpanFields,
    ) -> Option<Self> {
        let own = said.trace.zip(said.parent);
        let (trace, parent) = own.or(parent.map(|parent| (parent.trace, parent.id)))?;
        Some(Self {
            name,
            place: TraceContext { trace, id: id() },
            parent,
            started: SystemTime::now(),
            said,
        })
    }

    pub(crate) fn place(&self) -> TraceContext {
        self.place
    }

    pub(crate) fn said(&mut self) -> &mut SpanFields {
        &mut self.said
    }

    /// The datagram of a subsegment that ends now.
    pub(crate) fn datagram(self) -> Option<Vec<u8>> {
        let mut datagram = HEADER.as_bytes().to_vec();
        serde_json::to_writer(&mut datagram, &self.document(SystemTime::now())).ok()?;
        Some(datagram)
    }

    fn document(&self, ended: SystemTime) -> Document<'_> {
        let Self { place, said, .. } = self;
        let tables: Vec<_> = said
            .tables
            .iter()
            .flat_map(|names| names.split(','))
            .collect();
        let aws = said.operation.as_deref().map(|operation| Aws {
            operation,
            region: said.region.as_deref(),
            request_id: said.request_id.as_deref(),
            table_name: match tables[..] {
                [only] => Some(only),
                _ => None,
            },
            table_names: tables,
        });
        let throttle = said.failed && (said.throttled || said.status == Some(429));
        let error = throttle || said.failed && matches!(said.status, Some(400..500));
        Document {
            name: said.name.as_deref().unwrap_or(self.name),
            id: hexadecimal(place.id),
            parent_id: hexadecimal(self.parent),
            trace_id: format!(
                "1-{:08x}-{:024x}",
                place.trace >> 96,
                place.trace << 32 >> 32
            ),
            r#type: "subsegment",
            start_time: seconds(self.started),
            end_time: seconds(ended),
            namespace: aws.is_some().then_some("aws"),
            error,
            throttle,
            fault: said.failed && !error,
            http: said.status.map(|status| Http {
                response: Response { status },
            }),
            aws,
            cause: said.code.as_deref().map(|r#type| Cause {
                exceptions: [Exception {
                    id: hexadecimal(id()),
                    r#type,
                }],
            }),
            metadata: &said.metadata,
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

/// Takes what is meant for the trace, and leaves all other fields.
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

/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html>
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

fn hexadecimal(id: u64) -> String {
    format!("{id:016x}")
}

/// Since the epoch, exact to the microsecond, which is as much as X-Ray keeps.
fn seconds(moment: SystemTime) -> f64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros() as f64 / 1e6
}

/// An id that no other subsegment of the trace has: the standard library's keys are random, and
/// each hasher has others.
fn id() -> u64 {
    RandomState::new().build_hasher().finish()
}
