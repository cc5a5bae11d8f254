//! Tests of the credits of purchases, in the table Storage.

use notes::credit::{Credit, PurchaseId};

use super::*;

#[tokio::test]
async fn a_bought_note_is_allowed_in_addition_to_the_free_notes() {
    let database = database().await;
    let services = services(&database.url());
    let credit = Credit {
        purchase: PurchaseId::generate(),
        granted: 1,
        revision: 1,
    };
    services.create(1, None, Plan::generate()).await.unwrap();
    assert_full(&services, &database, 1, 1).await;
    controller::credit(&services.storage, &ada(), &credit)
        .await
        .unwrap();
    services.create(1, None, Plan::generate()).await.unwrap();
    for free in [1, 0] {
        assert_full(&services, &database, free, free + 1).await;
        let expected = Usage { used: 2, bought: 1 };
        assert_eq!(services.usage().await, expected);
    }
}

#[tokio::test]
async fn concurrent_credits_in_any_order_and_three_times_each_count_once() {
    let database = database().await;
    let proxy = LossyProxy::start(database.url(), |number| number.is_multiple_of(7)).await;
    let services = Arc::new(services(&proxy.url));
    services.create(1, None, Plan::generate()).await.unwrap();
    let mut messages = JoinSet::new();
    let mut expected = 0;
    for number in 0..6 {
        let purchase = PurchaseId::generate();
        // Each purchase grants 10 notes, then 5, and then either 0 again or 10.
        let last = if number % 2 == 0 { 0 } else { 10 };
        expected += u64::from(last);
        for (revision, granted) in [(1, 10), (2, 5), (3, last)] {
            for _ in 0..3 {
                let services = Arc::clone(&services);
                let credit = Credit {
                    purchase,
                    granted,
                    revision,
                };
                messages.spawn(async move {
                    // Lambda repeats the function.
                    while controller::credit(&services.storage, &ada(), &credit)
                        .await
                        .is_err()
                    {}
                });
            }
        }
    }
    messages.join_all().await;
    let expected = Usage {
        used: 1,
        bought: expected,
    };
    assert_eq!(services.usage().await, expected);
    let items = database.items("Storage").unwrap();
    let total = items.iter().find(|item| item["entry"]["S"] == "total");
    let balance = 1 - i64::try_from(expected.bought).unwrap();
    assert_eq!(total.unwrap()["balance"]["N"], balance.to_string());
    assert_eq!(items.len(), 7);
}

#[tokio::test]
async fn a_revoked_credit_refuses_new_notes_and_keeps_the_existing_ones() {
    let database = database().await;
    let services = services(&database.url());
    let purchase = PurchaseId::generate();
    let credit = async |revision, granted| {
        let credit = Credit {
            purchase,
            granted,
            revision,
        };
        controller::credit(&services.storage, &ada(), &credit)
            .await
            .unwrap();
    };
    credit(1, 10).await;
    let mut ids = Vec::new();
    for _ in 0..11 {
        ids.push(services.create(1, None, Plan::generate()).await.unwrap());
    }
    credit(2, 0).await;
    for used in (1..=11).rev() {
        assert!(is_full(&services.create(1, None, Plan::generate()).await));
        assert_eq!(existing(&database), used);
        services.delete(ids.remove(0)).await.unwrap();
    }
    services.create(1, None, Plan::generate()).await.unwrap();
}
