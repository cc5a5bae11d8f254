//! One function's life: started as Lambda starts it, asked once, then again and again.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use lambda_host::{Function, Host, Outcome};
use local_aws::Cloud;
use serde_json::Value;

use crate::report::Times;
use crate::stats::{median, percentile};

/// How long any answer may take. Far more than it does.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The header that a traced invocation comes with, and one that X-Ray did not sample
/// (<https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>).
pub(crate) const SAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
pub(crate) const NOT_SAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// What is run.
    pub(crate) hosted: Function,
    /// What it is asked.
    pub(crate) event: Value,
    /// The trace that each event comes with.
    pub(crate) trace: &'static str,
    /// An answer of the kind that it has to give.
    pub(crate) expected: Value,
    /// Whether all that it calls is put back to what it was before each event. What only reads needs
    /// none of it.
    pub(crate) restores: bool,
}

/// What one start showed. Times in milliseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    init: f64,
    first: f64,
    cold_cpu: f64,
    warm: Vec<f64>,
    warm_cpu: f64,
    memory: u64,
}

/// A running subject.
pub(crate) struct Running<'a> {
    host: Host,
    subject: &'a Subject,
    cloud: &'a Cloud,
}

impl<'a> Running<'a> {
    /// Starts the subject.
    ///
    /// # Errors
    /// With what it wrote when it does not come so far as to ask for an event.
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

    /// Asks it once, with all that it calls as it was, and waits until it is idle. Returns how long the
    /// answer took.
    ///
    /// # Errors
    /// When it dies, says that it failed, or answers otherwise than it has to.
    pub(crate) async fn ask(&mut self) -> Result<Duration> {
        if self.subject.restores {
            let restored = self.cloud.reset();
            restored.map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        // Signed anew: a signature is good for minutes
        let event = local_aws::sign_event(self.subject.event.clone()).to_string();
        let trace = self.subject.trace;
        let invocation = self.host.invoke(event, DEADLINE, Some(trace)).await;
        if let Err(error) = check(&invocation.outcome, &self.subject.expected) {
            return Err(error.context(self.host.log().join("\n")));
        }
        if !self.host.wait_until_idle(DEADLINE).await {
            bail!("it answered, and never asked for another event");
        }
        Ok(invocation.duration)
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn terminate(self) -> Vec<String> {
        self.host.terminate(DEADLINE).await
    }

    /// The time that it has been on a CPU until now, in milliseconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let time = self.host.cpu_time();
        time.map(millis)
            .context("this system does not tell how long another process was on a CPU")
    }
}

/// Starts a subject, and asks it once and then `warm` times.
///
/// # Errors
/// When it does not start, dies or answers wrong: then nothing of it counts.
pub(crate) async fn life(subject: &Subject, cloud: &Cloud, warm: usize) -> Result<Sample> {
    let mut running = Running::start(subject, cloud).await?;
    let init = millis(running.host.init_duration());
    let first = millis(running.ask().await?);
    let cold_cpu = running.cpu()?;
    let mut answers = Vec::with_capacity(warm);
    for _ in 0..warm {
        answers.push(millis(running.ask().await?));
    }
    let warm_cpu = (running.cpu()? - cold_cpu) / warm.max(1) as f64;
    let memory = running.host.max_memory().unwrap_or_default();
    running.host.stop().await;
    Ok(Sample {
        init,
        first,
        cold_cpu,
        warm: answers,
        warm_cpu,
        memory,
    })
}

/// The medians of all starts; of warm answers, all that there were. None of no starts.
pub(crate) fn summary(samples: &[Sample]) -> Option<Times> {
    let middle = |of: fn(&Sample) -> f64| median(&samples.iter().map(of).collect::<Vec<_>>());
    let warm: Vec<_> = samples
        .iter()
        .flat_map(|sample| sample.warm.clone())
        .collect();
    Some(Times {
        init_ms: middle(|sample| sample.init)?,
        first_ms: middle(|sample| sample.first)?,
        cold_ms: middle(|sample| sample.init + sample.first)?,
        cold_cpu_ms: middle(|sample| sample.cold_cpu)?,
        warm_p50_ms: percentile(&warm, 50.0)?,
        warm_p99_ms: percentile(&warm, 99.0)?,
        warm_cpu_ms: middle(|sample| sample.warm_cpu)?,
        memory: middle(|sample| sample.memory as f64)? as u64,
    })
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Whether the outcome is an answer of the kind that is expected: the same status, and a body with the
/// same fields.
///
/// # Errors
/// Says what it is instead.
pub(crate) fn check(outcome: &Outcome, expected: &Value) -> Result<()> {
    let answer = match outcome {
        Outcome::Response(answer) => answer,
        Outcome::Error(error) => bail!("it said that it failed: {error}"),
        Outcome::TimedOut => bail!("it did not answer within {DEADLINE:?}"),
        Outcome::Exited(status) => bail!("it died: {status}"),
    };
    let answer: Value = serde_json::from_slice(answer).context("its answer is not JSON")?;
    let (status, body) = (answer.get("statusCode"), answer.get("body"));
    let (right_status, right_body) = (expected.get("statusCode"), expected.get("body"));
    if status != right_status {
        bail!("it answered {answer}, where the status of {expected} is right");
    }
    let body = body.and_then(Value::as_str).unwrap_or("null");
    let body: Value = serde_json::from_str(body).context("its answer's body is not JSON")?;
    if !alike(&body, right_body.unwrap_or(&Value::Null)) {
        bail!("it answered {body}, which is not like that of {expected}");
    }
    Ok(())
}

/// Whether two values have the same fields, as far as there are any.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|other| alike(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => false,
        // Texts and numbers are others in every run
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(value: Value) -> Outcome {
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
    async fn a_function_that_dies_is_reported_with_what_it_wrote() {
        let cloud = Cloud::start().await.unwrap();
        let died = life(&shell("echo no table; exit 3"), &cloud, 1).await;
        let said = format!("{:#}", died.unwrap_err());
        assert!(
            said.contains("no table") && said.contains("exit status: 3"),
            "{said}"
        );
    }

    #[test]
    fn an_answer_counts_when_status_and_fields_are_right_whatever_their_values() {
        let expected =
            json!({"statusCode": 200, "body": {"noteId": "<id>", "files": [{"size": 7}]}});
        let body = json!({"noteId": "019a", "files": [{"size": 8}]}).to_string();
        check(&answer(json!({"statusCode": 200, "body": body})), &expected).unwrap();
        for (status, body) in [
            (500, body.as_str()),
            (200, r#"{"noteId":"019a"}"#),
            (200, r#"{"noteId":"019a","files":[]}"#),
            (200, r#"{"noteId":"019a","files":[{"size":8}],"more":1}"#),
            (200, "hello"),
        ] {
            let wrong = answer(json!({"statusCode": status, "body": body}));
            assert!(check(&wrong, &expected).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_answer_does_not_count() {
        let expected = json!(null);
        check(&answer(json!(null)), &expected).unwrap();
        assert!(check(&Outcome::TimedOut, &expected).is_err());
        assert!(check(&Outcome::Exited(Default::default()), &expected).is_err());
        assert!(check(&Outcome::Error(Default::default()), &expected).is_err());
    }

    #[test]
    fn a_summary_is_of_medians_and_one_slow_start_does_not_show() {
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
