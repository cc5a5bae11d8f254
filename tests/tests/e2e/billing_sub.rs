//! The attribute `sub` of purchases.

use serde_json::json;
use test_support::stage::{Person, Stage, wait_for};
use test_support::stripe::unique_storage;

#[tokio::test]
async fn purchases_contain_the_sub_of_the_buyer() {
    let stage = Stage::shared().await;
    let people = [Person::sign_up(&stage).await, Person::sign_up(&stage).await];
    for person in &people {
        let bought = person.buy(unique_storage(), "tok_visa").await.json(200);
        let stored = async || {
            let items = stage.items_of(&stage.purchases_table, &person.id).await;
            assert_eq!(items.len(), 1);
            assert_eq!(items[0]["sub"], json!({"S": person.sub}));
        };
        stored().await;
        wait_for("the settled purchase", async || {
            let purchase = person.purchase(&bought["purchaseId"]).await;
            (purchase["status"] == "PAID").then_some(())
        })
        .await;
        stored().await;
        let response = person.get("/billing").await;
        assert_eq!(response.status, 200);
        assert!(!response.text().contains(&person.sub));
    }
    for function in [
        "billing-purchase",
        "billing-purchase-paid",
        "billing-webhook",
        "billing-list",
    ] {
        let log = stage.log(function).await;
        for person in &people {
            assert!(!log.contains(&person.sub), "{function}");
        }
    }
}
