//! The codes that the stage mails: there is no mailbox on a laptop, so they are shown.

use std::time::Duration;

use console::style;
use serde::Deserialize;
use tokio::time::sleep;

use crate::{stage::LocalStage, ui};

/// What the local cloud would have mailed, oldest first, by account.
#[derive(Deserialize)]
struct Mails {
    messages: std::collections::BTreeMap<String, Vec<Mail>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mail {
    to: Vec<String>,
    body_text: String,
}

/// Shows every code that is mailed from now on.
pub(crate) async fn show_codes(stage: LocalStage) {
    let mut known = mails(&stage).await.map_or(0, |mails| mails.len());
    loop {
        sleep(Duration::from_secs(1)).await;
        let Some(mails) = mails(&stage).await else {
            continue;
        };
        // Fewer than before are those of a cloud that was started anew.
        for mail in mails.iter().skip(known.min(mails.len())) {
            if let Some(code) = code(&mail.body_text) {
                let to = mail.to.join(", ");
                ui::say(format!("✉ code for {to}: {}", style(code).bold()));
            }
        }
        known = mails.len();
    }
}

async fn mails(stage: &LocalStage) -> Option<Vec<Mail>> {
    let url = format!("{}/_ministack/ses/messages", stage.url());
    let mails: Mails = reqwest::get(url).await.ok()?.json().await.ok()?;
    Some(mails.messages.into_values().flatten().collect())
}

/// The number of six digits in a text.
fn code(text: &str) -> Option<&str> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    numbers.find(|number| number.len() == 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_number_of_six_digits() {
        assert_eq!(code("Your code is 123456."), Some("123456"));
        assert_eq!(code("Call 12345 or 1234567."), None);
    }
}
