//! Copies of purchases.

use billing::purchase::Purchase;
use serde_json::json;

use super::*;

#[test]
fn a_purchase_of_another_stage_is_inert_and_can_still_be_read() {
    for status in ["PENDING", "PAID"] {
        let purchase = json!({
            "userId": "us-east-1:ada", "purchaseId": "019aa0b4-e100-7d21-a6e4-3c8f1b52d90a", "storage": 10,
            "amount": 4000, "description": "storage for 10 notes", "createdAt": 1, "updatedAt": 2, "status": status,
            "source": "tok_visa", "paymentIntentId": "pi_1", "revision": 1, "outbox": [{"type": "paid"}],
            "unsettledShard": 2, "dueAt": 3,
        });
        let item: Item = serde_dynamo::to_item(&purchase).unwrap();
        let inert = Rules {
            omitted: active(Table::Purchases),
            ..rules()
        };
        let copied = inert.copied(item.clone());
        assert_eq!(copied.len(), item.len() - 3);
        let read: Purchase = serde_dynamo::from_item(copied).unwrap();
        assert!(read.outbox.is_none() && read.due_at.is_none());
        let own = Rules {
            omitted: &[],
            ..rules()
        };
        assert_eq!(own.copied(item.clone()), item);
    }
}
