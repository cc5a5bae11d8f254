//! Reads the traces of a stage: from X-Ray, or from the file in which the local stage records them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::line::Tone;
use crate::release::{Account, Rest};

/// The maximum number of traces that one request returns:
/// <https://docs.aws.amazon.com/xray/latest/api/API_BatchGetTraces.html>
const BATCH: usize = 5;

/// Subsegments whose durations the log line and Lambda's report show already.
const HIDDEN: [&str; 3] = ["Invocation", "Overhead", "handler"];

/// A part of a trace: an AWS call, a call of another service, or a step of the code.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    /// Lambda's ID of the invocation. `None` if the trace does not say it; then the trace has one invocation.
    pub(super) invocation: Option<String>,
    /// In microseconds since the Unix epoch.
    pub(super) at: u64,
    /// In milliseconds. `None` if it has not ended.
    pub(super) duration: Option<f64>,
    /// The number of spans of the invocation that contain this one.
    pub(super) depth: usize,
    pub(super) what: String,
    pub(super) tone: Tone,
}

/// Where the traces of a stage are.
#[derive(Debug)]
pub(super) enum Traces {
    /// In this file, and in the one with the suffix `.1`, which has earlier documents.
    File(PathBuf),
    XRay(Box<Account>),
    /// Nowhere: the local accounts have no X-Ray.
    None,
}

impl Traces {
    /// Reads traces. Returns the spans of each, in the order in which they began.
    ///
    /// # Errors
    /// Fails if the traces cannot be read.
    pub(super) async fn read(&self, ids: &BTreeSet<String>) -> Result<BTreeMap<String, Vec<Span>>> {
        let documents = match self {
            Self::None => Vec::new(),
            Self::File(path) => documents(path)?,
            Self::XRay(account) => segments(account, ids).await?,
        };
        let mut by_trace: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for document in documents {
            let trace = text(&document, "/trace_id").to_owned();
            if ids.contains(&trace) {
                by_trace.entry(trace).or_default().push(document);
            }
        }
        let spans = by_trace.into_iter();
        Ok(spans
            .map(|(id, documents)| (id, spans_of(&documents)))
            .collect())
    }
}

/// Reads the documents that the daemon of the local stage has recorded, one per line.
fn documents(path: &Path) -> Result<Vec<Value>> {
    let mut earlier = path.as_os_str().to_owned();
    earlier.push(".1");
    let mut documents = Vec::new();
    for path in [Path::new(&earlier), path] {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        // The last line may be incomplete.
        documents.extend(
            text.lines()
                .filter_map(|line| serde_json::from_str(line).ok()),
        );
    }
    Ok(documents)
}

/// Reads the segments of traces from X-Ray.
async fn segments(account: &Account, ids: &BTreeSet<String>) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    let ids: Vec<&String> = ids.iter().collect();
    for batch in ids.chunks(BATCH) {
        let mut next = Value::Null;
        loop {
            let input = match next {
                Value::Null => json!({"TraceIds": batch}),
                next => json!({"TraceIds": batch, "NextToken": next}),
            };
            let page = Rest::xray(account)
                .post("/Traces".into(), input.to_string())
                .await?;
            let mut page: Value =
                serde_json::from_str(&page.unwrap_or_default()).context("cannot parse traces")?;
            let traces = page.pointer("/Traces").and_then(Value::as_array);
            for segment in traces
                .into_iter()
                .flatten()
                .flat_map(|trace| array(trace, "Segments"))
            {
                documents.push(
                    serde_json::from_str(text(segment, "/Document"))
                        .context("cannot parse a segment")?,
                );
            }
            next = page
                .pointer_mut("/NextToken")
                .map_or(Value::Null, Value::take);
            if next.is_null() {
                break;
            }
        }
    }
    Ok(documents)
}

fn array<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Returns the spans of the functions in a trace. A document contains its subsegments, or they have documents of their
/// own that name their parent.
fn spans_of(documents: &[Value]) -> Vec<Span> {
    let ids: BTreeSet<&str> = documents.iter().flat_map(ids_in).collect();
    let mut children: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    let mut roots = Vec::new();
    for document in documents {
        let parent = text(document, "/parent_id");
        if ids.contains(parent) && text(document, "/type") == "subsegment" {
            children.entry(parent).or_default().push(document);
        } else {
            roots.push(document);
        }
    }
    let mut spans = Vec::new();
    for root in roots {
        let is_subsegment = text(root, "/type") == "subsegment";
        // The segments of other services, such as the gateway, contain no calls of the function.
        if is_subsegment || text(root, "/origin") == "AWS::Lambda::Function" {
            let id = text(root, "/aws/request_id");
            let invocation = (!is_subsegment)
                .then(|| id.to_owned())
                .filter(|id| !id.is_empty());
            add(
                root,
                &children,
                invocation.as_deref(),
                !is_subsegment,
                0,
                &mut spans,
            );
        }
    }
    spans.sort_by_key(|span| (span.at, span.depth));
    spans
}

fn ids_in(document: &Value) -> Vec<&str> {
    let mut ids = vec![text(document, "/id")];
    ids.extend(array(document, "subsegments").flat_map(ids_in));
    ids
}

/// Adds the spans of a document and of what it contains.
fn add(
    document: &Value,
    children: &BTreeMap<&str, Vec<&Value>>,
    invocation: Option<&str>,
    is_segment: bool,
    depth: usize,
    spans: &mut Vec<Span>,
) {
    let is_hidden = is_segment || HIDDEN.contains(&text(document, "/name"));
    if !is_hidden {
        spans.push(span(document, invocation, depth));
    }
    let depth = depth + usize::from(!is_hidden);
    let separate = children
        .get(text(document, "/id"))
        .into_iter()
        .flatten()
        .copied();
    for child in array(document, "subsegments").chain(separate) {
        add(child, children, invocation, false, depth, spans);
    }
}

fn span(document: &Value, invocation: Option<&str>, depth: usize) -> Span {
    let seconds = |name| document.get(name).and_then(Value::as_f64);
    let start = seconds("start_time").unwrap_or_default();
    let is = |flag| document.get(flag) == Some(&Value::Bool(true));
    let mut what = vec![text(document, "/name").to_owned()];
    what.push(text(document, "/aws/operation").into());
    let tables = document
        .pointer("/aws/table_names")
        .and_then(Value::as_array);
    for table in tables.into_iter().flatten().filter_map(Value::as_str) {
        // A table is named scratchpad-STAGE-TABLE.
        what.push(table.rsplit('-').next().unwrap_or(table).into());
    }
    if let Some(status) = document.pointer("/http/response/status") {
        what.push(status.to_string());
    }
    let cause = text(document, "/cause/exceptions/0/type");
    let has_status = document.pointer("/http/response/status").is_some();
    what.push(match cause {
        "" if is("fault") && !has_status => "no response".into(),
        cause => cause.into(),
    });
    let metadata = document.get("metadata").and_then(Value::as_object);
    for (name, value) in metadata.into_iter().flatten() {
        what.push(format!("{name}={value}"));
    }
    what.retain(|part| !part.is_empty());
    Span {
        invocation: invocation.map(ToOwned::to_owned),
        at: (start * 1e6) as u64,
        duration: seconds("end_time").map(|end| (end - start) * 1000.0),
        depth,
        what: what.join(" "),
        tone: if is("fault") || is("throttle") {
            Tone::Failed
        } else if is("error") {
            Tone::Refused
        } else {
            Tone::Normal
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::fake_aws::FakeAws;

    const TRACE: &str = "1-5759e988-bd862e3fe1be46a994272793";

    fn subsegment(id: &str, parent: &str, name: &str, start: f64) -> Value {
        json!({
            "id": id, "parent_id": parent, "trace_id": TRACE, "type": "subsegment", "name": name,
            "start_time": start, "end_time": start + 0.25,
        })
    }

    fn shown(spans: &[Span]) -> Vec<(usize, &str)> {
        spans
            .iter()
            .map(|span| (span.depth, span.what.as_str()))
            .collect()
    }

    #[tokio::test]
    async fn the_documents_of_the_local_stage_become_a_tree_also_after_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("traces.jsonl");
        let mut call = subsegment("3", "2", "DynamoDB", 10.2);
        call["aws"] =
            json!({"operation": "UpdateItem", "table_names": ["scratchpad-local-Storage"]});
        call["http"] = json!({"response": {"status": 400}});
        call["error"] = true.into();
        call["cause"] = json!({"exceptions": [{"type": "ConditionalCheckFailedException"}]});
        let mut other = subsegment("9", "8", "handler", 1.0);
        other["trace_id"] = "1-5759e988-000000000000000000000000".into();
        // Each subsegment is recorded when it ends, so children come first.
        fs::write(
            folder.path().join("traces.jsonl.1"),
            format!("{call}\n{other}\n"),
        )
        .unwrap();
        let rest = [
            subsegment("2", "1", "create", 10.1),
            subsegment("1", "0", "handler", 10.0),
        ];
        fs::write(&file, format!("{}\n{}\n{{\"half", rest[0], rest[1])).unwrap();
        let found = Traces::File(file)
            .read(&[TRACE.to_owned()].into())
            .await
            .unwrap();
        let spans = &found[TRACE];
        assert_eq!(
            shown(spans),
            [
                (0, "create"),
                (
                    1,
                    "DynamoDB UpdateItem Storage 400 ConditionalCheckFailedException"
                )
            ]
        );
        assert_eq!((spans[1].at, spans[1].tone), (10_200_000, Tone::Refused));
        assert_eq!(spans[1].duration.unwrap().round(), 250.0);
        let missing = Traces::File(folder.path().join("none"));
        assert!(
            missing
                .read(&[TRACE.to_owned()].into())
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[tokio::test]
    async fn segments_of_x_ray_name_the_invocation_and_are_read_page_by_page() {
        let mut function = json!({
            "id": "1", "trace_id": TRACE, "name": "scratchpad-dev-notes-get", "origin": "AWS::Lambda::Function",
            "start_time": 10.0, "end_time": 11.0, "aws": {"request_id": "a1"},
        });
        let mut handler = subsegment("3", "2", "handler", 10.1);
        let mut call = subsegment("4", "3", "DynamoDB PutItem", 10.2);
        call["fault"] = true.into();
        handler["subsegments"] = json!([call]);
        function["subsegments"] = json!([
            subsegment("2", "1", "Invocation", 10.1),
            subsegment("5", "1", "Initialization", 9.0)
        ]);
        function["subsegments"][0]["subsegments"] = json!([handler]);
        let gateway = json!({
            "id": "7", "trace_id": TRACE, "name": "scratchpad-dev/dev", "origin": "AWS::ApiGateway::Stage",
            "start_time": 9.0, "end_time": 11.0,
            "subsegments": [{"id": "8", "name": "Lambda", "start_time": 9.1, "end_time": 11.0}],
        });
        let page = |document: &Value, next: Value| {
            json!({"Traces": [{"Id": TRACE, "Segments": [{"Id": "1", "Document": document.to_string()}]}], "NextToken": next})
                .to_string()
        };
        let pages = [page(&function, json!("more")), page(&gateway, Value::Null)];
        let aws = FakeAws::scripted(pages.iter().map(|page| (200, page.as_str())));
        let traces = Traces::XRay(Box::new(aws.account()));
        let found = traces.read(&[TRACE.to_owned()].into()).await.unwrap();
        let spans = &found[TRACE];
        assert_eq!(
            shown(spans),
            [(0, "Initialization"), (0, "DynamoDB PutItem no response")]
        );
        assert!(
            spans
                .iter()
                .all(|span| span.invocation.as_deref() == Some("a1"))
        );
        assert_eq!(spans[1].tone, Tone::Failed);
        let requests = aws.requests();
        assert!(requests[0].uri.ends_with("/Traces") && requests[0].body.contains(TRACE));
        assert!(requests[1].body.contains("more"));
    }
}
