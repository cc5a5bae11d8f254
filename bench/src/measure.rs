//! Measures one start of a function: starts it as Lambda does, and measures its first (cold) and several warm
//! invocations.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lambda_host::{Function, Host, Outcome};
use local_aws::Cloud;
use serde_json::Value;

use crate::report::Times;
use crate::stats::{median, percentile};

/// The timeout of an invocation. It is much longer than any invocation takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The X-Ray tracing header of an invocation that is sampled
/// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>).
pub(crate) const SAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

/// The X-Ray tracing header of an invocation that is not sampled.
pub(crate) const NOT_SAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

/// A function under test: its process, its event and the expected response.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The configuration of the process to start.
    pub(crate) hosted: Function,
    /// The event that is sent in every invocation.
    pub(crate) event: Value,
    /// The X-Ray tracing header of every invocation.
    pub(crate) trace: &'static str,
    /// A response with the expected status and with the expected field names in its body. The values of the fields are
    /// not compared.
    pub(crate) expected: Value,
    /// Whether the tables and the bucket of the local AWS are reset before each event. A function that only reads does
    /// not need this.
    pub(crate) restores: bool,
}

/// The measurements of one start of a function, its first invocation and its warm invocations. Times are in
/// milliseconds, and the memory is in bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    init: f64,
    first: f64,
    cold_cpu: f64,
    warm: Vec<f64>,
    warm_cpu: f64,
    memory: u64,
}

/// The running process of a function under test.
pub(crate) struct Running<'a> {
    host: Host,
    subject: &'a Subject,
    cloud: &'a Cloud,
}

impl<'a> Running<'a> {
    /// Starts the process of `subject`, and waits until the process requests its first event.
    ///
    /// # Errors
    /// Fails if the process does not request an event. The error contains the log of the process.
    pub(crate) async fn start(subject: &'a Subject, cloud: &'a Cloud) -> Result<Self> {
        let host = match Host::start(subject.hosted.clone()).await {
            Ok(host) => host,
            Err(error) => {
                let log = match &error {
                    lambda_host::StartError::Exited { log, .. }
                    | lambda_host::StartError::TimedOut { log, .. } => log.join("\n"),
                    lambda_host::StartError::Spawn { .. } => String::new(),
                };
                return Err(error).context(log);
            }
        };
        Ok(Self {
            host,
            subject,
            cloud,
        })
    }

    /// Resets the local AWS if [`Subject::restores`] is set, invokes the function once, and waits until the function
    /// requests the next event. Returns the time from the function's receipt of the event until its response.
    ///
    /// # Errors
    /// Fails if the process exits, does not respond in time, returns an error, or returns a response with another
    /// status or with other fields.
    pub(crate) async fn invoke(&mut self) -> Result<Duration> {
        if self.subject.restores {
            let restored = self.cloud.reset();
            restored.map_err(|error| anyhow::anyhow!("cannot reset the local AWS: {error}"))?;
        }
        // Sign the event now, because a signature is valid for only a few minutes.
        let event = local_aws::prepare_event(self.subject.event.clone()).to_string();
        let trace = self.subject.trace;
        let invocation = self.host.invoke(event, DEADLINE, Some(trace)).await;
        if let Err(error) = check(&invocation.outcome, &self.subject.expected) {
            return Err(error.context(self.host.log().join("\n")));
        }
        if !self.host.wait_until_idle(DEADLINE).await {
            bail!("the function responded, but did not request another event");
        }
        Ok(invocation.duration)
    }

    /// Terminates the process and returns all lines that it wrote.
    pub(crate) async fn terminate(self) -> Vec<String> {
        self.host.terminate(DEADLINE).await
    }

    /// The CPU time that the process has used so far, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> Result<f64> {
        let time = self.host.cpu_time();
        time.map(millis)
            .context("cannot read the CPU time of the process on this system")
    }
}

/// Starts a function under test, invokes it once (the cold invocation) and then `warm` more times. Returns the
/// measurements.
///
/// # Errors
/// Fails if the process does not start, exits, or returns a wrong response.
pub(crate) async fn sample(subject: &Subject, cloud: &Cloud, warm: usize) -> Result<Sample> {
    let mut running = Running::start(subject, cloud).await?;
    let init = millis(running.host.init_duration());
    let first = millis(running.invoke().await?);
    let cold_cpu = running.cpu_ms()?;
    let mut latencies = Vec::with_capacity(warm);
    for _ in 0..warm {
        latencies.push(millis(running.invoke().await?));
    }
    let warm_cpu = (running.cpu_ms()? - cold_cpu) / warm.max(1) as f64;
    let memory = running.host.max_memory().unwrap_or_default();
    running.host.stop().await;
    Ok(Sample {
        init,
        first,
        cold_cpu,
        warm: latencies,
        warm_cpu,
        memory,
    })
}

/// Summarizes the measurements of several starts of the same function. Returns the medians over the starts, and the
/// percentiles over the warm latencies of all starts together. `None` if there are no starts or no warm invocations.
pub(crate) fn summary(samples: &[Sample]) -> Option<Times> {
    let median_of = |of: fn(&Sample) -> f64| median(&samples.iter().map(of).collect::<Vec<_>>());
    let warm: Vec<_> = samples
        .iter()
        .flat_map(|sample| sample.warm.clone())
        .collect();
    Some(Times {
        init_ms: median_of(|sample| sample.init)?,
        first_ms: median_of(|sample| sample.first)?,
        cold_ms: median_of(|sample| sample.init + sample.first)?,
        cold_cpu_ms: median_of(|sample| sample.cold_cpu)?,
        warm_p50_ms: percentile(&warm, 50.0)?,
        warm_p99_ms: percentile(&warm, 99.0)?,
        warm_cpu_ms: median_of(|sample| sample.warm_cpu)?,
        memory: median_of(|sample| sample.memory as f64)? as u64,
    })
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Checks that `outcome` is a response with the same status as `expected` and with the same fields in its body.
///
/// # Errors
/// Fails if there is no response or the response differs. The error says what differs.
pub(crate) fn check(outcome: &Outcome, expected: &Value) -> Result<()> {
    let response = match outcome {
        Outcome::Response(response) => response,
        Outcome::Error(error) => bail!("the function returned an error: {error}"),
        Outcome::TimedOut => bail!("the function did not respond within {DEADLINE:?}"),
        Outcome::Exited(status) => bail!("the function exited: {status}"),
    };
    let response: Value =
        serde_json::from_slice(response).context("cannot parse the response as JSON")?;
    let (status, body) = (response.get("statusCode"), response.get("body"));
    let (right_status, right_body) = (expected.get("statusCode"), expected.get("body"));
    if status != right_status {
        bail!("the function returned {response}, but the expected response is {expected}");
    }
    let body = body.and_then(Value::as_str).unwrap_or("null");
    let body: Value =
        serde_json::from_str(body).context("cannot parse the body of the response as JSON")?;
    if !has_same_fields(&body, right_body.unwrap_or(&Value::Null)) {
        bail!(
            "the fields of the returned body {body} differ from those of the expected response {expected}"
        );
    }
    Ok(())
}

/// Whether two JSON values have the same structure: objects have the same field names, and arrays have the same length.
/// Strings, numbers and other values are not compared.
fn has_same_fields(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    other
                        .get(name)
                        .is_some_and(|other| has_same_fields(value, other))
                })
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| has_same_fields(one, other))
        }
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => false,
        // Values may differ in every run, so only the structure is compared.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn response(value: Value) -> Outcome {
        Outcome::Response(value.to_string().into())
    }

    fn shell(script: &str) -> Subject {
        Subject {
            hosted: Function {
                arguments: vec!["-c".into(), script.into()],
                ..Function::new("/bin/sh")
            },
            event: json!({}),
            trace: SAMPLED,
            expected: json!(null),
            restores: true,
        }
    }

    #[tokio::test]
    async fn a_process_that_exits_is_reported_with_its_log() {
        let cloud = Cloud::start().await.unwrap();
        let result = sample(&shell("echo no table; exit 3"), &cloud, 1).await;
        let message = format!("{:#}", result.unwrap_err());
        assert!(
            message.contains("no table") && message.contains("exit status: 3"),
            "{message}"
        );
    }

    #[test]
    fn a_response_passes_if_its_status_and_field_names_match() {
        let expected =
            json!({"statusCode": 200, "body": {"noteId": "<id>", "files": [{"size": 7}]}});
        let body = json!({"noteId": "019a", "files": [{"size": 8}]}).to_string();
        check(
            &response(json!({"statusCode": 200, "body": body})),
            &expected,
        )
        .unwrap();
        for (status, body) in [
            (500, body.as_str()),
            (200, r#"{"noteId":"019a"}"#),
            (200, r#"{"noteId":"019a","files":[]}"#),
            (200, r#"{"noteId":"019a","files":[{"size":8}],"more":1}"#),
            (200, "hello"),
        ] {
            let wrong = response(json!({"statusCode": status, "body": body}));
            assert!(check(&wrong, &expected).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_outcome_without_a_response_fails_the_check() {
        let expected = json!(null);
        check(&response(json!(null)), &expected).unwrap();
        assert!(check(&Outcome::TimedOut, &expected).is_err());
        assert!(check(&Outcome::Exited(Default::default()), &expected).is_err());
        assert!(check(&Outcome::Error(Default::default()), &expected).is_err());
    }

    #[test]
    fn a_summary_ignores_one_slow_start() {
        let sample = |init: f64| Sample {
            init,
            warm: vec![1.0; 10],
            ..Sample::default()
        };
        let times = summary(&[sample(1.0), sample(900.0), sample(2.0)]).unwrap();
        assert_eq!((times.init_ms, times.warm_p99_ms), (2.0, 1.0));
        assert_eq!(summary(&[]), None);
    }
}
