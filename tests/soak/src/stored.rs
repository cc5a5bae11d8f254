//! Reads what a stage has stored. Functions panic if a request fails, as the helpers of the tests do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use test_support::http::Method;
use test_support::stage::{Person, Stage};

use crate::compare::{Note, Stored};
use crate::payments::{self, Owner}; // part: billing

/// The functions with a dead-letter queue.
pub(crate) const WITH_DEAD_LETTERS: &[&str] = &[
    "billing-purchase-paid", // part: billing
    "billing-webhook",       // part: billing
    "notes-attachment-uploaded",
    "notes-credit", // part: billing
    "notify-send",  // part: notify
];

/// Where the data are.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) stage: &'static Stage,
    // part: billing {
    /// The owner, who sees the payments at Stripe.
    pub(crate) owner: Owner,
    // part: billing }
}

/// Reads everything that is compared with the ledger. `users` are the e-mail addresses of all users.
pub(crate) async fn read(source: &Source, users: &BTreeSet<String>) -> Stored {
    let stage = source.stage;
    let mut stored = Stored {
        notes: stage
            .items(&stage.notes_table)
            .await
            .iter()
            .map(note)
            .collect(),
        sms: stage.sms().await, // part: notify
        ..Stored::default()
    };
    for item in stage.items(&stage.storage_table().await).await {
        if text(&item, "entry") == "total" {
            let storage = stored.storage.entry(text(&item, "userId")).or_default();
            storage.used = number(&item, "used");
        }
    }
    payments::read(&mut stored, stage, &source.owner).await; // part: billing
    for function in WITH_DEAD_LETTERS {
        stored
            .dead_letters
            .extend(stage.dead_letters_of(function).await);
    }
    if stored.notes.iter().any(|note| note.attachment.is_some()) {
        for email in users {
            stored.files.extend(files(stage, email).await);
        }
    }
    stored
}

/// Downloads the files of all notes of a user, with the URLs that the API returns. Returns their checksums.
async fn files(stage: &Stage, email: &str) -> BTreeMap<String, u32> {
    let person = Person::sign_in(stage, email.to_owned()).await;
    let notes = person.pages("/notes").await.concat();
    let mut files = BTreeMap::new();
    for note in notes {
        let field = |name: &str| note[name].as_str();
        if let (Some(key), Some(url)) = (field("attachment"), field("attachmentUrl")) {
            let file = person.unsigned(Method::GET, url).send().await;
            if file.status == 200 {
                files.insert(key.to_owned(), crc32fast::hash(&file.body));
            }
        }
    }
    files
}

/// Returns a text of an item of DynamoDB. Empty if it has no such attribute.
pub(crate) fn text(item: &Value, name: &str) -> String {
    item[name]["S"].as_str().unwrap_or_default().to_owned()
}

/// Returns a number of an item of DynamoDB. 0 if it has no such attribute.
pub(crate) fn number(item: &Value, name: &str) -> u64 {
    let number = item[name]["N"].as_str();
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn note(item: &Value) -> Note {
    Note {
        user: text(item, "userId"),
        id: text(item, "noteId"),
        content: text(item, "content"),
        attachment: item["attachment"]["S"].as_str().map(str::to_owned),
    }
}
