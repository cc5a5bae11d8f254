//! What happened to a request or a note, in causal order across all functions.
//!
//! The timeline consists of invocations. An invocation is printed as a whole, and only after the one that caused it. Two
//! machines may have different clocks, so times alone do not order causes before effects. [`CAUSES`] says which functions
//! cause which; invocations that do not depend on each other are in the order of their times.

use std::collections::{BTreeMap, BTreeSet};

use metrics::{Metric, Subject};

use super::purchase; // part: billing
use super::{
    line::{GATEWAY, Line, Tone, row},
    read::SKEW,
    traces::Span,
};

/// The functions that cause invocations of other functions. Each function is below those that cause it, so the order of the
/// rows is that of cause and effect.
const CAUSES: &[&[Row]] = &[
    NOTES,
    purchase::CAUSES, // part: billing
];

/// A function, and those that cause its invocations.
pub(super) type Row = (&'static str, &'static [&'static str]);

const NOTES: &[Row] = &[
    ("notes-upload", &[]),
    ("notes-create", &["notes-upload"]),
    ("notes-update", &["notes-upload", "notes-create"]),
    // S3's event of the upload.
    (
        "notes-attachment-uploaded",
        &["notes-upload", "notes-create", "notes-update"],
    ),
];

/// The functions that handle events. The others handle requests, which people send.
pub(super) const EVENTS: &[&[&str]] = &[
    &["notes-attachment-uploaded"],
    purchase::EVENTS, // part: billing
];

/// The metrics that a function counts when it changes something that is then announced.
const CHANGES: &[&[Metric]] = &[
    purchase::CHANGES, // part: billing
];

/// The maximum number of calls of an invocation that are shown. A scheduled function may make hundreds.
const SHOWN_CALLS: usize = 40;

/// One run of a function for one request or event.
#[derive(Debug, Clone, Default)]
pub(super) struct Invocation {
    pub(super) function: String,
    /// Lambda's ID of the invocation.
    pub(super) id: String,
    /// The lines of the access log about the same request.
    pub(super) access: Vec<Line>,
    pub(super) lines: Vec<Line>,
    pub(super) spans: Vec<Span>,
}

impl Invocation {
    /// The values of a field in all lines.
    pub(super) fn values(&self, name: &str) -> BTreeSet<String> {
        let lines = self.lines.iter();
        lines
            .flat_map(|line| line.texts(name))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// What the invocation is about.
    pub(super) fn subjects(&self) -> BTreeSet<String> {
        Subject::ALL
            .iter()
            .flat_map(|subject| self.values(subject.name()))
            .collect()
    }

    /// When the invocation began, in microseconds since the Unix epoch. For a request, when the gateway received it.
    pub(super) fn start(&self) -> u64 {
        let lines = self.lines.iter().map(|line| match line.duration() {
            Some(duration) => line.at.saturating_sub((duration * 1000.0) as u64),
            None => line.at,
        });
        let others = self.spans.iter().map(|span| span.at);
        let received = self.access.iter().map(|line| line.at);
        lines
            .chain(others)
            .chain(received)
            .min()
            .unwrap_or_default()
    }

    /// When the first line was written, in microseconds since the Unix epoch.
    fn first_line(&self) -> u64 {
        let lines = self.lines.iter().map(|line| line.at);
        lines.min().unwrap_or_default()
    }

    /// The position of the function in the order of cause and effect. Functions without effects come first.
    fn rank(&self) -> usize {
        causes()
            .position(|(name, _)| name == self.function)
            .map_or(0, |at| at + 1)
    }

    fn changes(&self) -> bool {
        let mut changes = CHANGES.iter().copied().flatten();
        changes.any(|metric| self.lines.iter().any(|line| line.counts(metric.name())))
    }

    /// Whether this is an effect of a request or event that one of `causes` handles.
    pub(super) fn may_be_effect_of(&self, cause: &Self) -> bool {
        self.causes().contains(&cause.function.as_str())
            && self.start() + SKEW * 1000 >= cause.start()
            && !self.subjects().is_disjoint(&cause.subjects())
    }

    fn causes(&self) -> &'static [&'static str] {
        let row = causes().find(|(name, _)| *name == self.function);
        row.map_or(&[], |(_, causes)| causes)
    }
}

fn causes() -> impl Iterator<Item = Row> {
    CAUSES.iter().copied().flatten().copied()
}

/// Sorts invocations: each after the one that caused it, and otherwise by time.
pub(super) fn sort(invocations: &mut Vec<Invocation>) {
    invocations.sort_by_key(|invocation| (invocation.rank(), invocation.start()));
    // When the invocation began, by a clock that is never behind the clock of its cause.
    let mut starts: Vec<u64> = Vec::new();
    for (at, invocation) in invocations.iter().enumerate() {
        let earlier = invocations.get(..at).unwrap_or_default();
        let caused = cause(invocation, earlier)
            .and_then(|cause| starts.get(cause))
            .copied();
        starts.push(invocation.start().max(caused.unwrap_or_default()));
    }
    let mut sorted: Vec<_> = starts.into_iter().zip(invocations.drain(..)).collect();
    sorted.sort_by_key(|(start, invocation)| (*start, invocation.rank()));
    invocations.extend(sorted.into_iter().map(|(_, invocation)| invocation));
}

/// Returns the position of the invocation that caused `effect`: the latest one before it that changed what `effect` is
/// about, or else the latest that is about the same.
fn cause(effect: &Invocation, others: &[Invocation]) -> Option<usize> {
    let possible: Vec<usize> = others
        .iter()
        .enumerate()
        .filter_map(|(at, other)| effect.may_be_effect_of(other).then_some(at))
        .collect();
    let changes = |at: &&usize| others.get(**at).is_some_and(Invocation::changes);
    let start = |at: &&usize| others.get(**at).map_or(0, Invocation::start);
    let changing = possible.iter().filter(changes).max_by_key(start);
    changing
        .or_else(|| possible.iter().max_by_key(start))
        .copied()
}

/// Returns the rows that show sorted invocations.
pub(super) fn rows(invocations: &[Invocation]) -> Vec<String> {
    let sources = invocations
        .iter()
        .map(|invocation| invocation.function.len());
    let width = sources.max().unwrap_or_default().max(GATEWAY.len());
    let mut rows = Vec::new();
    for invocation in invocations {
        for line in &invocation.access {
            rows.push(row(
                line.at,
                line.duration(),
                GATEWAY,
                width,
                &line.what(),
                line.tone(),
            ));
        }
        let has_last = invocation.lines.iter().any(Line::is_last);
        // Spans are sorted by their beginnings, so each is before what it contains; lines are sorted by the times of their writes.
        let mut entries: Vec<(u64, usize, String)> = Vec::new();
        for (count, span) in invocation.spans.iter().enumerate() {
            let what = format!("{}{}", "  ".repeat(span.depth + 1), span.what);
            if count < SHOWN_CALLS || span.tone == Tone::Failed {
                let text = row(
                    span.at,
                    span.duration,
                    &invocation.function,
                    width,
                    &what,
                    span.tone,
                );
                entries.push((span.at, entries.len(), text));
            } else if count == SHOWN_CALLS {
                let more = format!(
                    "  … {} more calls and steps",
                    invocation.spans.len() - count
                );
                let text = row(
                    span.at,
                    None,
                    &invocation.function,
                    width,
                    &more,
                    Tone::Normal,
                );
                entries.push((span.at, entries.len(), text));
            }
        }
        for line in &invocation.lines {
            // Lambda's report says why an invocation has no last line.
            if line.is_platform() && (has_last || !line.is_report()) {
                continue;
            }
            let duration = line.is_last().then(|| line.duration()).flatten();
            let what = if line.is_report() {
                format!("the function wrote no last line: {}", line.what())
            } else {
                line.what()
            };
            let text = row(
                line.at,
                duration,
                &invocation.function,
                width,
                &what,
                line.tone(),
            );
            // The last line is written after all calls of the invocation.
            let at = if line.is_last() { u64::MAX } else { line.at };
            entries.push((at, entries.len(), text));
        }
        entries.sort();
        rows.extend(entries.into_iter().map(|(_, _, text)| text));
    }
    rows
}

/// What identifies an invocation of a function: Lambda's ID, and the time of its first line in milliseconds since the Unix
/// epoch. Lambda repeats a failed event with the same ID:
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
pub(super) type Attempt = (String, u64);

/// Groups lines and spans into invocations. Lines of the access log belong to the invocation that they
/// name, or to the one with the same `request_id`.
pub(super) fn group(
    lines: impl IntoIterator<Item = (Attempt, Line)>,
    access: &[Line],
    traces: &BTreeMap<String, Vec<Span>>,
) -> Vec<Invocation> {
    let mut by_id: BTreeMap<(String, Attempt), Invocation> = BTreeMap::new();
    for (attempt, line) in lines {
        let id = attempt.0.clone();
        let key = (line.source.clone(), attempt);
        let invocation = by_id.entry(key).or_insert_with(|| Invocation {
            function: line.source.clone(),
            id,
            ..Invocation::default()
        });
        invocation.lines.push(line);
    }
    let mut shown: BTreeSet<String> = BTreeSet::new();
    let mut invocations: Vec<_> = by_id.into_values().collect();
    for invocation in &mut invocations {
        let requests = invocation.values("request_id");
        invocation.access = access
            .iter()
            .filter(|line| {
                requests.contains(line.text("request_id"))
                    || line.invocation() == Some(&invocation.id)
            })
            .cloned()
            .collect();
        let of_access = invocation.access.iter();
        shown.extend(of_access.map(|line| line.text("request_id").to_owned()));
        shown.extend(requests);
    }
    add_spans(&mut invocations, traces);
    // A request that the gateway refused, or for which no function wrote a line.
    for line in access {
        if shown.insert(line.text("request_id").to_owned()) {
            invocations.push(Invocation {
                function: GATEWAY.into(),
                access: vec![line.clone()],
                ..Invocation::default()
            });
        }
    }
    invocations
}

/// Adds the spans of traces to the invocations that they belong to.
fn add_spans(invocations: &mut [Invocation], traces: &BTreeMap<String, Vec<Span>>) {
    for (trace, spans) in traces {
        let of_trace = |invocation: &Invocation| {
            let mut ids = invocation.lines.iter().filter_map(Line::trace);
            ids.any(|id| id == trace)
        };
        for span in spans {
            let is_own = |invocation: &&mut Invocation| {
                let names = span.invocation.as_ref();
                of_trace(invocation) && names.is_none_or(|id| *id == invocation.id)
            };
            // Attempts have the same ID. The span belongs to the last one that began before it.
            let own = invocations.iter_mut().filter(is_own);
            let owner = own.max_by_key(|invocation| {
                let began = invocation.first_line();
                let is_before = began <= span.at + SKEW * 1000;
                (is_before, if is_before { began } else { u64::MAX - began })
            });
            if let Some(owner) = owner {
                owner.spans.push(span.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::logs::line::Record;

    fn line(source: &str, at: u64, fields: &Value) -> Line {
        let mut all = json!({"message": "event handled", "duration_ms": 10});
        let fields = fields.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(fields);
        Line::parse(&Record {
            at,
            source: source.into(),
            stream: "s".into(),
            message: all.to_string(),
        })
    }

    fn invocation(function: &str, at: u64, fields: &Value) -> Invocation {
        Invocation {
            function: function.into(),
            id: format!("{function}-{at}"),
            lines: vec![line(function, at, fields)],
            ..Invocation::default()
        }
    }

    fn order(mut invocations: Vec<Invocation>) -> Vec<String> {
        sort(&mut invocations);
        invocations
            .into_iter()
            .map(|invocation| invocation.id)
            .collect()
    }

    const NOW: u64 = 1_763_632_800_000;

    mod purchases; // part: billing

    #[test]
    fn an_event_comes_after_its_upload_although_its_clock_is_a_second_behind() {
        let about = json!({"file_id": "f1"});
        for behind in [0, 1_000] {
            let upload = invocation("notes-upload", NOW + 500, &about);
            let event = invocation("notes-attachment-uploaded", NOW + 600 - behind, &about);
            let expected = [upload.id.clone(), event.id.clone()];
            assert_eq!(order(vec![upload.clone(), event.clone()]), expected);
            assert_eq!(order(vec![event, upload]), expected);
        }
    }

    #[test]
    fn every_function_in_the_table_exists_and_is_after_its_causes() {
        let workspace = crate::workspace::Workspace::read().unwrap();
        let mut known = BTreeSet::new();
        for (name, causes) in causes() {
            for cause in causes {
                assert!(known.contains(cause), "{cause}");
            }
            workspace.function(name).unwrap();
            known.insert(name);
        }
        let mut events = EVENTS.iter().copied().flatten();
        assert!(events.all(|name| known.contains(name)));
    }

    #[test]
    fn the_rows_of_an_invocation_are_its_access_line_its_calls_and_its_last_line() {
        let trace = "1-5759e988-bd862e3fe1be46a994272793";
        let span = |what: &str, at: u64, invocation: Option<&str>| Span {
            invocation: invocation.map(Into::into),
            at: at * 1000,
            duration: Some(2.0),
            depth: 0,
            what: what.into(),
            tone: Tone::Normal,
        };
        let traces = BTreeMap::from([(
            trace.to_owned(),
            vec![
                span("DynamoDB GetItem", NOW + 5, Some("a1")),
                // Written at the same time as the last line.
                span("DynamoDB PutItem", NOW + 10, Some("a1")),
                span("of another invocation", NOW + 6, Some("a2")),
            ],
        )]);
        let last = json!({"request_id": "r1", "trace_id": trace, "message": "request", "method": "POST", "route": "/notes"});
        let warning = json!({"message": "key refreshed", "duration_ms": null, "level": "WARN"});
        let lines = [
            (
                ("a1".to_owned(), NOW),
                line("notes-create", NOW + 10, &last),
            ),
            (
                ("a1".to_owned(), NOW),
                line("notes-create", NOW + 7, &warning),
            ),
        ];
        let access = json!({"request_id": "r1", "message": "", "method": "POST", "route": "/notes", "status": "200"});
        let refused = json!({"request_id": "r2", "message": "", "method": "GET", "route": "/notes", "status": "403"});
        let access = [
            line(GATEWAY, NOW + 12, &access),
            line(GATEWAY, NOW + 13, &refused),
        ];
        let mut invocations = group(lines, &access, &traces);
        sort(&mut invocations);
        let rows = rows(&invocations);
        let rows: Vec<_> = rows
            .iter()
            .map(|row| console::strip_ansi_codes(row))
            .collect();
        let expected = [
            ("gateway", "POST /notes 200"),
            ("notes-create", "DynamoDB GetItem"),
            ("notes-create", "key refreshed"),
            ("notes-create", "DynamoDB PutItem"),
            ("notes-create", "POST /notes"),
            ("gateway", "GET /notes 403"),
        ];
        assert_eq!(rows.len(), expected.len(), "{rows:#?}");
        for (row, (source, what)) in rows.iter().zip(expected) {
            assert!(row.contains(source) && row.contains(what), "{rows:#?}");
        }
    }

    #[test]
    fn each_attempt_at_an_event_has_its_own_lines_and_calls() {
        let trace = "1-5759e988-bd862e3fe1be46a994272793";
        let retry = NOW + 60_000;
        let span = |at: u64| Span {
            invocation: Some("a1".into()),
            at: at * 1000,
            duration: Some(2.0),
            depth: 0,
            what: "DynamoDB UpdateItem".into(),
            tone: Tone::Normal,
        };
        let traces = BTreeMap::from([(trace.to_owned(), vec![span(NOW + 5), span(retry + 5)])]);
        let lines = [NOW, retry].map(|at| {
            let last = line(
                "notes-attachment-uploaded",
                at + 10,
                &json!({"trace_id": trace}),
            );
            (("a1".to_owned(), at), last)
        });
        let invocations = group(lines, &[], &traces);
        let starts: Vec<_> = invocations
            .iter()
            .map(|invocation| invocation.spans[0].at)
            .collect();
        assert_eq!(starts, [(NOW + 5) * 1000, (retry + 5) * 1000]);
        assert!(
            invocations
                .iter()
                .all(|invocation| invocation.spans.len() == 1)
        );
    }

    #[test]
    fn an_invocation_without_a_last_line_shows_the_report_of_lambda() {
        let platform = |message: &str| {
            Line::parse(&Record {
                at: NOW,
                source: "notes-get".into(),
                stream: "s".into(),
                message: message.into(),
            })
        };
        let lines = [
            platform("START RequestId: a1 Version: 1"),
            platform("END RequestId: a1"),
            platform("REPORT RequestId: a1\tDuration: 10000 ms\tStatus: timeout"),
        ];
        let invocations = group(
            lines.map(|line| (("a1".to_owned(), NOW), line)),
            &[],
            &BTreeMap::new(),
        );
        let rows = rows(&invocations);
        assert_eq!(rows.len(), 1);
        assert!(
            rows[0].contains("wrote no last line") && rows[0].contains("Status: timeout"),
            "{rows:?}"
        );
    }
}
