//! The status of a stage: what is known, the verdict, and how it is shown.

use std::fmt::Write as _;

use console::style;
use serde::Serialize;

use super::purchases::Purchases; // part: billing

/// The status of a stage. A part that is not known is `None`, and `unknown` says why.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) stage: String,
    /// When the report was made, in milliseconds since the Unix epoch, as all times.
    pub(super) at: u64,
    /// The release that the stage runs. `None` also if it has none.
    pub(super) release: Option<Release>,
    pub(super) objectives: Option<Vec<Objective>>,
    pub(super) alarms: Option<Alarms>,
    pub(super) queues: Option<Vec<Queue>>,
    pub(super) streams: Option<Vec<Stream>>,
    // part: billing {
    /// `None` also if the stage does not reconcile purchases.
    pub(super) purchases: Option<Purchases>,
    // part: billing }
    /// Why parts of the report are missing.
    pub(super) unknown: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Release {
    pub(super) number: u32,
    pub(super) deployed_at: u64,
    pub(super) actor: String,
    pub(super) commit: Option<String>,
}

/// An objective of a route group over 30 days.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Objective {
    pub(super) group: String,
    /// `availability` or `latency`.
    pub(super) kind: &'static str,
    /// The percentage of requests that must be good.
    pub(super) objective: f64,
    /// The time in milliseconds within which a request must be answered. `None` for the availability.
    pub(super) within: Option<u32>,
    pub(super) requests: f64,
    pub(super) bad: f64,
}

/// The smallest part of a budget that is not rounded to an exhausted one.
const ROUNDING: f64 = 1e-9;

impl Objective {
    /// The percentage of requests that were good. `None` without requests.
    fn actual(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| 100.0 - 100.0 * self.bad / self.requests)
    }

    /// The part of the error budget that is left, in percent: the number of requests that may still be bad, of those that
    /// may be bad in all. Negative if more were bad. `None` without requests.
    fn budget_left(&self) -> Option<f64> {
        let allowed = 100.0 - self.objective;
        self.actual()
            .map(|actual| 100.0 - 100.0 * (100.0 - actual) / allowed)
    }

    fn is_exhausted(&self) -> bool {
        self.budget_left().is_some_and(|left| left < ROUNDING)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alarms {
    /// The number of alarms that notify somebody.
    pub(super) count: usize,
    pub(super) raised: Vec<Alarm>,
    /// Alarms that do not notify, because another one reports the cause.
    pub(super) suppressed: Vec<Alarm>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alarm {
    pub(super) name: String,
    pub(super) meaning: String,
    pub(super) since: Option<u64>,
    pub(super) runbook: Option<String>,
    /// The alarm that reports the cause.
    pub(super) suppressed_by: Option<String>,
}

/// A dead-letter queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queue {
    pub(super) function: String,
    pub(super) messages: u64,
    /// The age of the oldest message in seconds. `None` if CloudWatch has no value yet.
    pub(super) oldest_age: Option<u64>,
}

/// A function that reads a stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stream {
    pub(super) function: String,
    /// How far the function is behind the stream, in seconds. `None` if it has not read records recently.
    pub(super) lag: Option<u64>,
}

/// What the status means for a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Well,
    /// An alarm is raised, a budget is exhausted, or a queue has messages.
    Trouble,
    /// Nothing is known to be wrong, but not everything is known.
    Unknown,
}

impl Verdict {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Trouble => 1,
            Self::Unknown => 2,
        }
    }
}

impl Report {
    pub(super) fn verdict(&self) -> Verdict {
        if !self.troubles().is_empty() {
            Verdict::Trouble
        } else if self.unknown.is_empty() {
            Verdict::Well
        } else {
            Verdict::Unknown
        }
    }

    /// What is wrong, a few words each.
    fn troubles(&self) -> Vec<String> {
        let raised = self.alarms.as_ref().map_or(0, |alarms| alarms.raised.len());
        let objectives = self.objectives.iter().flatten();
        let exhausted = objectives
            .filter(|objective| objective.is_exhausted())
            .count();
        let queues = self.queues.iter().flatten();
        let filled = queues.filter(|queue| queue.messages > 0).count();
        let counts = [
            (raised, "alarm is raised", "alarms are raised"),
            (
                exhausted,
                "error budget is exhausted",
                "error budgets are exhausted",
            ),
            (
                filled,
                "dead-letter queue has messages",
                "dead-letter queues have messages",
            ),
        ];
        let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
        let text = |(count, one, more)| format!("{count} {}", if count == 1 { one } else { more });
        counts.map(text).collect()
    }

    /// The report as text, on one screen.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        match &self.release {
            Some(release) => {
                let commit = release.commit.as_deref().unwrap_or("no commit");
                writeln!(
                    text,
                    "{}: release {}, deployed {} ago by {}, {}",
                    style(&self.stage).bold(),
                    release.number,
                    duration(self.seconds_since(release.deployed_at)),
                    release.actor,
                    commit.get(..10).unwrap_or(commit)
                )?;
            }
            None if self.unknown.is_empty() => {
                writeln!(text, "{}: no release", style(&self.stage).bold())?;
            }
            None => writeln!(text, "{}", style(&self.stage).bold())?,
        }
        if let Some(objectives) = &self.objectives {
            writeln!(text, "\n{}", style("objectives over 30 days").bold())?;
            objectives
                .iter()
                .try_for_each(|objective| write_objective(text, objective))?;
            if objectives.is_empty() {
                writeln!(text, "  the row of the stage has none")?;
            }
        }
        if let Some(alarms) = &self.alarms {
            writeln!(text, "\n{}", style("alarms").bold())?;
            for alarm in &alarms.raised {
                self.write_alarm(text, alarm)?;
            }
            for alarm in &alarms.suppressed {
                let by = alarm.suppressed_by.as_deref().unwrap_or("another alarm");
                writeln!(
                    text,
                    "  {} {} is suppressed by {by}",
                    style("·").dim(),
                    alarm.name
                )?;
            }
            let rest = alarms.count - alarms.raised.len() - alarms.suppressed.len();
            match alarms.count {
                0 => writeln!(text, "  the stage has none")?,
                count => writeln!(text, "  {rest} of {count} are not raised")?,
            }
        }
        if let Some(queues) = &self.queues {
            writeln!(text, "\n{}", style("dead-letter queues").bold())?;
            for queue in queues.iter().filter(|queue| queue.messages > 0) {
                let age = queue.oldest_age.map_or_else(String::new, |age| {
                    format!(", the oldest {} old", duration(age))
                });
                writeln!(
                    text,
                    "  {} {}: {}{age}; run cargo xtask redrive {} --stage {} --dry-run",
                    style("✗").red(),
                    queue.function,
                    crate::ui::count(
                        usize::try_from(queue.messages).unwrap_or(usize::MAX),
                        "message"
                    ),
                    queue.function,
                    self.stage
                )?;
            }
            let empty = queues.iter().filter(|queue| queue.messages == 0).count();
            writeln!(text, "  {empty} of {} are empty", queues.len())?;
        }
        writeln!(text)?;
        for stream in self.streams.iter().flatten() {
            let lag = stream.lag.map_or_else(
                || "no records recently".into(),
                |lag| format!("{} behind", duration(lag)),
            );
            writeln!(text, "stream of {}: {lag}", stream.function)?;
        }
        self.write_purchases(text)?; // part: billing
        for why in &self.unknown {
            writeln!(text, "{} {why}", style("?").yellow())?;
        }
        Ok(())
    }

    fn write_alarm(&self, text: &mut String, alarm: &Alarm) -> std::fmt::Result {
        let since = alarm.since.map_or_else(String::new, |at| {
            format!(" for {}", duration(self.seconds_since(at)))
        });
        let runbook = alarm
            .runbook
            .as_deref()
            .unwrap_or("no section of the runbook");
        writeln!(
            text,
            "  {} {}{since}: {}",
            style("✗").red(),
            style(&alarm.name).red(),
            alarm.meaning
        )?;
        writeln!(text, "    → {runbook}")
    }

    pub(super) fn seconds_since(&self, at: u64) -> u64 {
        self.at.saturating_sub(at) / 1000
    }

    /// The verdict, as the last line.
    pub(super) fn summary(&self) -> String {
        match self.verdict() {
            Verdict::Well => format!("{} {} is well", style("✓").green(), self.stage),
            Verdict::Trouble => format!(
                "{} {}: {}",
                style("✗").red(),
                self.stage,
                self.troubles().join(", ")
            ),
            Verdict::Unknown => format!(
                "{} cannot tell whether {} is well",
                style("?").yellow(),
                self.stage
            ),
        }
    }
}

fn write_objective(text: &mut String, objective: &Objective) -> std::fmt::Result {
    let goal = match objective.within {
        Some(within) => format!("{} % within {within} ms", objective.objective),
        None => format!("{} % available", objective.objective),
    };
    let state = match (objective.actual(), objective.budget_left()) {
        (Some(actual), Some(left)) => {
            let state = format!("{actual:>8.3} % of {} requests", objective.requests);
            if objective.is_exhausted() {
                format!(
                    "{state}, {}",
                    style(format!("the error budget is exhausted ({left:.0} %)")).red()
                )
            } else {
                format!("{state}, {left:.0} % of the error budget is left")
            }
        }
        _ => "no requests".into(),
    };
    writeln!(text, "  {:<10}{goal:<24}{state}", objective.group)
}

/// Formats a duration in seconds.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective(requests: f64, bad: f64) -> Objective {
        Objective {
            group: "notes".into(),
            kind: "availability",
            objective: 99.9,
            within: None,
            requests,
            bad,
        }
    }

    fn report(objectives: Vec<Objective>) -> Report {
        Report {
            stage: "dev".into(),
            objectives: Some(objectives),
            alarms: Some(Alarms {
                count: 3,
                ..Alarms::default()
            }),
            queues: Some(vec![Queue {
                function: "notes-attachment-uploaded".into(),
                messages: 0,
                oldest_age: None,
            }]),
            ..Report::default()
        }
    }

    fn text(report: &Report) -> String {
        console::strip_ansi_codes(&report.text()).into_owned()
    }

    #[test]
    fn a_stage_without_requests_has_no_percentage_and_is_well() {
        let report = report(vec![objective(0.0, 0.0)]);
        assert_eq!(report.verdict(), Verdict::Well);
        let text = text(&report);
        assert!(
            text.contains("no requests") && !text.contains("100"),
            "{text}"
        );
    }

    #[test]
    fn a_budget_is_exhausted_when_as_many_requests_were_bad_as_the_objective_allows() {
        for (bad, left, is_exhausted) in [
            (0.0, 100.0, false),
            (5.0, 50.0, false),
            (10.0, 0.0, true),
            (15.0, -50.0, true),
        ] {
            let objective = objective(10_000.0, bad);
            assert!(
                (objective.budget_left().unwrap() - left).abs() < 1e-6,
                "{bad}"
            );
            let report = report(vec![objective]);
            let expected = if is_exhausted {
                Verdict::Trouble
            } else {
                Verdict::Well
            };
            assert_eq!(report.verdict(), expected, "{bad}");
            assert_eq!(text(&report).contains("exhausted"), is_exhausted);
        }
    }

    #[test]
    fn a_raised_alarm_shows_its_section_of_the_runbook_and_a_suppressed_one_is_no_trouble() {
        let mut report = report(Vec::new());
        let alarm = Alarm {
            name: "scratchpad-dev-notes-availability".into(),
            meaning: "notes burns its error budget too fast.".into(),
            since: Some(0),
            runbook: Some("docs/runbook.md#availability".into()),
            suppressed_by: Some("scratchpad-dev-causes".into()),
        };
        let alarms = report.alarms.as_mut().unwrap();
        alarms.suppressed.push(alarm.clone());
        assert_eq!(report.verdict(), Verdict::Well);
        assert!(text(&report).contains("is suppressed by scratchpad-dev-causes"));
        let alarms = report.alarms.as_mut().unwrap();
        alarms.raised.append(&mut alarms.suppressed);
        assert_eq!(report.verdict(), Verdict::Trouble);
        let text = text(&report);
        assert!(
            text.contains("→ docs/runbook.md#availability")
                && text.contains("2 of 3 are not raised"),
            "{text}"
        );
    }

    #[test]
    fn messages_in_a_queue_are_trouble_and_name_the_command() {
        let mut report = report(Vec::new());
        let queue = &mut report.queues.as_mut().unwrap()[0];
        (queue.messages, queue.oldest_age) = (2, Some(7_300));
        assert_eq!(report.verdict().exit_code(), 1);
        let text = text(&report);
        assert!(
            text.contains(
                "notes-attachment-uploaded: 2 messages, the oldest 2 h old; run cargo xtask redrive notes-attachment-uploaded"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_unknown_is_no_success_and_hides_no_trouble() {
        let mut report = report(Vec::new());
        report.unknown.push("no credentials".into());
        assert_eq!(report.verdict().exit_code(), 2);
        report.queues.as_mut().unwrap()[0].messages = 1;
        assert_eq!(report.verdict().exit_code(), 1);
    }
}
