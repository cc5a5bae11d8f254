//! Shows the confirmation codes and the alarms that the stage `local` sends by email, because no mailbox receives them.

use std::{collections::BTreeMap, time::Duration};

use console::style;
use serde::Deserialize;
use tokio::time::sleep;

use crate::{stage::LocalStage, ui};

/// The emails that the local cloud has recorded. The keys of `messages` are AWS account IDs, and each value lists the
/// emails of that account, the oldest first.
#[derive(Deserialize)]
struct Mailbox {
    messages: BTreeMap<String, Vec<Mail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mail {
    source: String,
    to: Vec<String>,
    subject: String,
    body_text: String,
}

impl Mail {
    /// Returns the line that tells the developer about the email: the subject of an alarm, or else the confirmation
    /// code. `None` if it has none.
    fn line(&self) -> Option<String> {
        let to = self.to.join(", ");
        if self.source == ALARMS_SENDER {
            return Some(format!("✉ {} (to {to})", self.subject));
        }
        let code = find_code(&self.body_text)?;
        Some(format!("✉ code for {to}: {}", style(code).bold()))
    }
}

/// The sender of the emails that SNS sends to subscribers. Only the topic of alarms has subscribers by email.
const ALARMS_SENDER: &str = "no-reply@sns.amazonaws.com";

/// Prints a line about every confirmation code and alarm that the stage sends after this call. Never returns.
pub(crate) async fn show_mails(stage: LocalStage) {
    let mut known = fetch(&stage).await.map_or(0, |mails| mails.len());
    loop {
        sleep(Duration::from_secs(1)).await;
        let Some(mails) = fetch(&stage).await else {
            continue;
        };
        // After a restart, the local cloud lists fewer emails than before.
        for mail in mails.iter().skip(known.min(mails.len())) {
            if let Some(line) = mail.line() {
                ui::say(line);
            }
        }
        known = mails.len();
    }
}

async fn fetch(stage: &LocalStage) -> Option<Vec<Mail>> {
    let url = format!("{}/_ministack/ses/messages", stage.url());
    let mailbox: Mailbox = reqwest::get(url).await.ok()?.json().await.ok()?;
    Some(mailbox.messages.into_values().flatten().collect())
}

/// Returns the first number in the text that has exactly six digits. This is the confirmation code.
fn find_code(text: &str) -> Option<&str> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    numbers.find(|number| number.len() == 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_shown_by_its_subject() {
        let mail = Mail {
            source: ALARMS_SENDER.to_owned(),
            to: vec!["alarms@example.com".to_owned()],
            subject: "ALARM: \"scratchpad-local-notes-latency\" in us-east-1".to_owned(),
            body_text: "at 123456".to_owned(),
        };
        let line =
            "✉ ALARM: \"scratchpad-local-notes-latency\" in us-east-1 (to alarms@example.com)";
        assert_eq!(mail.line().as_deref(), Some(line));
    }

    #[test]
    fn confirmation_code_is_the_first_number_with_six_digits() {
        assert_eq!(find_code("Your code is 123456."), Some("123456"));
        assert_eq!(find_code("Code 123456, not 654321"), Some("123456"));
        assert_eq!(find_code("Call 12345 or 1234567."), None);
    }
}
