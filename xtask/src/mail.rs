//! Shows the confirmation codes that the stage `local` sends by email, because no mailbox receives them.

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
    to: Vec<String>,
    body_text: String,
}

/// Prints the confirmation code of every email that the stage sends after this call. Never returns.
pub(crate) async fn show_codes(stage: LocalStage) {
    let mut known = fetch(&stage).await.map_or(0, |mails| mails.len());
    loop {
        sleep(Duration::from_secs(1)).await;
        let Some(mails) = fetch(&stage).await else {
            continue;
        };
        // After a restart, the local cloud lists fewer emails than before.
        for mail in mails.iter().skip(known.min(mails.len())) {
            if let Some(code) = find_code(&mail.body_text) {
                let to = mail.to.join(", ");
                ui::say(format!("✉ code for {to}: {}", style(code).bold()));
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
    fn confirmation_code_is_the_first_number_with_six_digits() {
        assert_eq!(find_code("Your code is 123456."), Some("123456"));
        assert_eq!(find_code("Code 123456, not 654321"), Some("123456"));
        assert_eq!(find_code("Call 12345 or 1234567."), None);
    }
}
