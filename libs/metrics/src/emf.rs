use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    metric::{Metric, NAMESPACE, Scope},
    name::Name,
    record::{Subject, take},
    user_hash::UserHashKey,
};

/// The values of the dimensions of a function's metrics.
#[derive(Debug, Clone)]
pub struct Dimensions {
    /// The stage, such as `dev`.
    pub stage: Name,
    /// The route group, whose service level objectives the metrics count for. None if the function has no route.
    pub route_group: Option<Name>,
    /// The name of the Lambda function, such as `scratchpad-dev-notes-get`.
    pub function: String,
    /// The version of the Lambda function, or `$LATEST`.
    pub version: String,
}

/// The result of an invocation, as the metrics count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request or event was handled.
    Success,
    /// The response has a status of 4xx.
    Rejected,
    /// The response has a status of 5xx, or the event was not handled.
    Fault,
}

/// Writes the metrics of invocations in the embedded metric format. Everything that is the same in each log line is formatted
/// once.
#[derive(Debug)]
pub struct Emf {
    /// The definition of the metrics of invocations, after the timestamp.
    definition: String,
    /// The start of the definition of the stage's metrics.
    stage_definition: String,
    /// The members of the log line that contain the values of the dimensions.
    dimensions: String,
    user_hash_key: UserHashKey,
    is_cold: AtomicBool,
}

impl Emf {
    /// Prepares the metrics of a function.
    pub fn new(dimensions: &Dimensions, user_hash_key: UserHashKey) -> Self {
        let Dimensions {
            stage,
            route_group,
            function,
            version,
        } = dimensions;
        let with_route = if route_group.is_some() {
            r#"["Stage","RouteGroup"],"#
        } else {
            ""
        };
        // Without numbered versions, the metrics of the only version are those of the function.
        let with_version = match version.as_str() {
            "$LATEST" => "",
            _ => r#",["FunctionName","Version"]"#,
        };
        // The faults of all routes, which an alarm subtracts from the 5xx responses of API Gateway.
        let faults = match route_group {
            Some(_) => format!(
                r#",{{"Namespace":"{NAMESPACE}","Dimensions":[["Stage"]],"Metrics":[{}]}}"#,
                Metric::Faults.definition()
            ),
            None => String::new(),
        };
        let own = Metric::ALL
            .iter()
            .filter(|metric| metric.scope() == Scope::Invocation);
        let metrics = own
            .map(|metric| metric.definition())
            .collect::<Vec<_>>()
            .join(",");
        let members = [
            ("Stage", Some(stage.as_str())),
            ("RouteGroup", route_group.as_ref().map(Name::as_str)),
            ("FunctionName", Some(function.as_str())),
            ("Version", Some(version.as_str())),
        ];
        let members = members
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        Self {
            definition: format!(
                r#","CloudWatchMetrics":[{{"Namespace":"{NAMESPACE}","Dimensions":[{with_route}["FunctionName"]{with_version}],"Metrics":[{metrics}]}}{faults}"#
            ),
            stage_definition: format!(
                r#",{{"Namespace":"{NAMESPACE}","Dimensions":[["Stage"]],"Metrics":["#
            ),
            dimensions: members
                .map(|(name, value)| format!(r#","{name}":{}"#, serde_json::Value::from(value)))
                .collect(),
            user_hash_key,
            is_cold: AtomicBool::new(true),
        }
    }

    /// Ends the record of an invocation, and appends its metrics and fields to `line`. `line` is a JSON object without its
    /// closing brace, and has at least one member.
    pub fn finish(&self, line: &mut Vec<u8>, outcome: Outcome, latency: Duration) {
        let record = take().unwrap_or_default();
        if let Some(user) = record.user_id() {
            text(line, r#","user":""#);
            text(line, &self.user_hash_key.hash(user));
            line.push(b'"');
        }
        for &subject in Subject::ALL {
            ids(line, subject.name(), record.ids(subject));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        text(line, r#","_aws":{"Timestamp":"#);
        number(line, now.unwrap_or_default().as_millis() as u64);
        text(line, &self.definition);
        let mut separator = &*self.stage_definition;
        for (metric, _) in record.values() {
            text(line, separator);
            text(line, metric.definition());
            separator = ",";
        }
        text(line, if separator == "," { "]}]}" } else { "]}" });
        text(line, &self.dimensions);
        member(line, Metric::Requests, 1);
        member(line, Metric::Faults, u64::from(outcome == Outcome::Fault));
        member(
            line,
            Metric::Rejected,
            u64::from(outcome == Outcome::Rejected),
        );
        member(line, Metric::Latency, latency.as_millis() as u64);
        let micros = latency.subsec_micros() % 1000;
        line.push(b'.');
        line.extend([100, 10, 1].map(|place| b'0' + (micros / place % 10) as u8));
        let is_cold = self.is_cold.swap(false, Relaxed);
        member(line, Metric::ColdStarts, u64::from(is_cold));
        for (metric, value) in record.values() {
            member(line, *metric, *value);
        }
    }
}

fn text(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(text.as_bytes());
}

fn number(line: &mut Vec<u8>, number: u64) {
    // Writing a number to a Vec cannot fail.
    let _ = serde_json::to_writer(line, &number);
}

fn member(line: &mut Vec<u8>, metric: Metric, value: u64) {
    text(line, metric.member());
    number(line, value);
}

/// Writes one ID as a string, and several IDs as an array.
fn ids<'a>(line: &mut Vec<u8>, name: &str, mut ids: impl Iterator<Item = &'a str>) {
    let Some(first) = ids.next() else {
        return;
    };
    text(line, ",\"");
    text(line, name);
    text(line, "\":");
    let start = line.len();
    quoted(line, first);
    let mut others = ids.peekable();
    if others.peek().is_none() {
        return;
    }
    line.insert(start, b'[');
    for id in others {
        line.push(b',');
        quoted(line, id);
    }
    line.push(b']');
}

fn quoted(line: &mut Vec<u8>, id: &str) {
    line.push(b'"');
    text(line, id);
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{NOTES_CREATED, NOTES_DELETED, begin, log_user};

    fn emf(route_group: Option<&str>) -> Emf {
        of_version(route_group, "7")
    }

    fn of_version(route_group: Option<&str>, version: &str) -> Emf {
        let dimensions = Dimensions {
            stage: "dev".parse().unwrap(),
            route_group: route_group.map(|group| group.parse().unwrap()),
            function: "scratchpad-dev-notes-upload".into(),
            version: version.into(),
        };
        Emf::new(
            &dimensions,
            "00010203-0405-0607-0809-0a0b0c0d0e0f".parse().unwrap(),
        )
    }

    fn line(emf: &Emf, outcome: Outcome) -> Value {
        let mut line = Vec::from(r#"{"message":"request""#);
        emf.finish(&mut line, outcome, Duration::from_micros(12_345));
        line.push(b'}');
        serde_json::from_slice(&line).unwrap()
    }

    /// Reads the metrics of a log line as CloudWatch does: the value and the unit by namespace, dimensions and name.
    fn extract(line: &Value) -> Vec<(String, Value, String)> {
        let mut metrics = Vec::new();
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            for set in directive["Dimensions"].as_array().unwrap() {
                let set = set.as_array().unwrap().iter().map(|name| {
                    let name = name.as_str().unwrap();
                    format!("{name}={}", line[name].as_str().unwrap())
                });
                let set = Vec::from_iter(set).join(",");
                for metric in directive["Metrics"].as_array().unwrap() {
                    let name = metric["Name"].as_str().unwrap();
                    let unit = metric["Unit"].as_str().unwrap().to_owned();
                    metrics.push((format!("{set}/{name}"), line[name].clone(), unit));
                }
            }
        }
        metrics
    }

    #[test]
    fn cloudwatch_extracts_the_metrics_of_an_invocation_by_group_function_and_version() {
        let emf = emf(Some("uploads"));
        begin();
        let line = line(&emf, Outcome::Fault);
        let metrics = extract(&line);
        for set in [
            "Stage=dev,RouteGroup=uploads",
            "FunctionName=scratchpad-dev-notes-upload",
            "FunctionName=scratchpad-dev-notes-upload,Version=7",
        ] {
            for (name, value, unit) in [
                ("Requests", json!(1), "Count"),
                ("Faults", json!(1), "Count"),
                ("Rejected", json!(0), "Count"),
                ("Latency", json!(12.345), "Milliseconds"),
                ("ColdStarts", json!(1), "Count"),
            ] {
                let expected = (format!("{set}/{name}"), value, unit.to_owned());
                assert!(metrics.contains(&expected), "{expected:?} {line}");
            }
        }
        let faults = ("Stage=dev/Faults".to_owned(), json!(1), "Count".to_owned());
        assert!(metrics.contains(&faults), "{line}");
        assert_eq!(metrics.len(), 16, "{line}");
    }

    #[test]
    fn the_metrics_of_the_only_version_are_those_of_the_function() {
        let line = line(&of_version(None, "$LATEST"), Outcome::Success);
        let metrics = extract(&line);
        assert_eq!(metrics.len(), 5, "{line}");
        let of_function = |name: &String| name.starts_with("FunctionName=") && !name.contains(',');
        assert!(metrics.iter().all(|(name, ..)| of_function(name)), "{line}");
    }

    #[test]
    fn only_the_first_invocation_of_an_instance_is_a_cold_start() {
        let emf = emf(Some("uploads"));
        let starts = [(); 3].map(|()| line(&emf, Outcome::Success)["ColdStarts"].clone());
        assert_eq!(starts, [1, 0, 0]);
    }

    #[test]
    fn a_rejected_request_is_no_fault() {
        let line = line(&emf(Some("uploads")), Outcome::Rejected);
        assert_eq!((&line["Faults"], &line["Rejected"]), (&json!(0), &json!(1)));
    }

    #[test]
    fn a_function_without_a_route_counts_for_no_route_group() {
        let line = line(&emf(None), Outcome::Success);
        let metrics = extract(&line);
        assert_eq!(metrics.len(), 10, "{line}");
        assert!(
            metrics
                .iter()
                .all(|(name, ..)| !name.contains("RouteGroup"))
        );
    }

    #[test]
    fn recorded_metrics_of_the_stage_have_its_name_as_their_only_dimension() {
        begin();
        NOTES_CREATED.add(1);
        NOTES_DELETED.add(4000);
        let emf = emf(Some("uploads"));
        let first = line(&emf, Outcome::Success);
        let metrics = extract(&first);
        assert!(metrics.contains(&("Stage=dev/NotesCreated".into(), json!(1), "Count".into())));
        assert!(metrics.contains(&("Stage=dev/NotesDeleted".into(), json!(4000), "Count".into())));
        begin();
        assert_eq!(extract(&line(&emf, Outcome::Success)).len(), 16);
    }

    #[test]
    fn the_line_has_the_ids_and_the_hash_of_the_user() {
        begin();
        log_user("us-east-1:user");
        Subject::Note.log("n1");
        for id in ["f1", "f2", "f3"] {
            Subject::File.log(id);
        }
        let line = line(&emf(None), Outcome::Success);
        assert_eq!(line["note_id"], "n1");
        assert_eq!(line["file_id"], json!(["f1", "f2", "f3"]));
        let user = line["user"].as_str().unwrap();
        assert_eq!(user.len(), 16);
        assert!(!line.to_string().contains("us-east-1:user"));
    }
}
