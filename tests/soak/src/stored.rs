//! Reads what a stage and its Stripe account have stored. Functions panic if a request fails, as the helpers of the tests do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use test_support::http::Method;
use test_support::stage::{Person, Stage};

use crate::compare::{Charge, Intent, Note, Purchase, Stored};
use crate::owner::Owner;

/// The functions with a dead-letter queue.
pub(crate) const WITH_DEAD_LETTERS: &[&str] = &[
    "billing-purchase-paid",
    "billing-webhook",
    "notes-attachment-uploaded",
    "notes-credit",
    "notify-send", // part: notify
];

/// Reads everything that is compared with the ledger. `users` are the e-mail addresses of all users.
pub(crate) async fn read(stage: &Stage, owner: &Owner, users: &BTreeSet<String>) -> Stored {
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
        let storage = stored.storage.entry(text(&item, "userId")).or_default();
        match text(&item, "entry").as_str() {
            "total" => {
                storage.used = number(&item, "used");
                storage.bought = number(&item, "bought");
            }
            purchase => {
                let granted = number(&item, "granted");
                storage.granted.insert(purchase.to_owned(), granted);
            }
        }
    }
    let purchases = stage.items(&stage.purchases_table).await;
    stored.purchases = purchases.iter().map(purchase).collect();
    for intent in owner.list("payment_intents").await {
        let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        stored.intents.push(Intent {
            id: field(&intent["id"]),
            purchase: field(&intent["metadata"]["purchaseId"]),
            status: field(&intent["status"]),
        });
    }
    let mut charges = owner.list("charges").await;
    charges.retain(|charge| charge["paid"] == true);
    stored.charges = charges.iter().map(charge).collect();
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
fn text(item: &Value, name: &str) -> String {
    item[name]["S"].as_str().unwrap_or_default().to_owned()
}

/// Returns a number of an item of DynamoDB. 0 if it has no such attribute.
fn number(item: &Value, name: &str) -> u64 {
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

fn purchase(item: &Value) -> Purchase {
    let surplus = item["surplus"]["L"].as_array();
    let surplus = surplus.into_iter().flatten();
    Purchase {
        user: text(item, "userId"),
        id: text(item, "purchaseId"),
        storage: number(item, "storage"),
        amount: number(item, "amount"),
        status: text(item, "status"),
        intent: item["paymentIntentId"]["S"].as_str().map(str::to_owned),
        surplus: surplus
            .map(|surplus| text(&surplus["M"], "paymentIntentId"))
            .collect(),
        refunded: number(&item["refunded"]["M"], "amount"),
        has_work: item.get("outbox").is_some() || item.get("unsettledShard").is_some(),
        changed: (number(item, "createdAt"), number(item, "updatedAt")), // part: notify
    }
}

fn charge(charge: &Value) -> Charge {
    Charge {
        intent: charge["payment_intent"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        amount: charge["amount"].as_u64().unwrap_or(0),
        refunded: charge["amount_refunded"].as_u64().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_purchase_is_read_from_its_item() {
        let item = json!({
            "userId": {"S": "ada"}, "purchaseId": {"S": "p1"}, "storage": {"N": "4"},
            "amount": {"N": "1600"}, "status": {"S": "PAID"}, "paymentIntentId": {"S": "pi_1"},
            "refunded": {"M": {"amount": {"N": "400"}, "asOf": {"N": "1"}}},
            "surplus": {"L": [{"M": {"paymentIntentId": {"S": "pi_2"}, "amount": {"N": "1600"}}}]},
            "createdAt": {"N": "5"}, "updatedAt": {"N": "6"}, "unsettledShard": {"S": "0"},
        });
        let purchase = purchase(&item);
        assert_eq!((purchase.amount, purchase.refunded), (1_600, 400));
        assert_eq!(purchase.surplus, BTreeSet::from(["pi_2".into()]));
        assert_eq!(purchase.changed, (5, 6)); // part: notify
        assert!(purchase.has_work);
    }
}
