//! Reads the purchases of a stage, and what its Stripe account has stored.

use serde_json::Value;
use test_support::stage::Stage;

use super::Owner;
use super::compare::{Charge, Intent, Purchase};
use crate::compare::Stored;
use crate::stored::{number, text};

/// Reads everything that is compared with the ledger.
pub(crate) async fn read(stored: &mut Stored, stage: &Stage, owner: &Owner) {
    for item in stage.items(&stage.storage_table().await).await {
        let storage = stored.storage.entry(text(&item, "userId")).or_default();
        match text(&item, "entry").as_str() {
            "total" => storage.bought = number(&item, "bought"),
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
    use std::collections::BTreeSet;

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
