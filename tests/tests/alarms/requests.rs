//! Failures of requests: permissions, throttled tables, slow answers; and refused requests.

use serde_json::json;
use test_support::http::Method;
use test_support::stage::{Person, Stage};

use crate::watch::{RemovedGrant, assert_raises, done};

#[tokio::test]
async fn a_removed_permission_raises_the_alarm_on_the_availability_of_its_routes() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let removed = RemovedGrant::new(&stage, "notes-list", "dynamodb:Query").await;
    let alarms = [("notes-availability", "availability")];
    let list = async || assert_eq!(ada.get("/notes").await.status, 500);
    assert_raises(&stage, &alarms, list, async || {
        removed.restore(&stage).await;
        ada.get("/notes").await.json(200);
    })
    .await;
}

#[tokio::test]
async fn a_throttled_table_raises_only_its_own_alarm() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    stage.set_faults(&json!({"throttledTables": [stage.notes_table]}));
    let alarms = [("Notes-throttles", "table-throttles")];
    let note = json!({"content": "throttled"});
    let list_and_create = async || {
        let (list, create) = tokio::join!(ada.get("/notes"), ada.post("/notes", &note));
        assert!(list.status >= 500 && create.status >= 500);
    };
    assert_raises(&stage, &alarms, list_and_create, async || {
        stage.set_faults(&json!({}));
        ada.get("/notes").await.json(200);
    })
    .await;
}

#[tokio::test]
async fn slow_answers_raise_the_alarm_on_latency() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    let delays = json!({(stage.notes_table.as_str()): 2_500});
    stage.set_faults(&json!({"delayMs": delays}));
    let alarms = [("notes-latency", "latency")];
    let list = async || {
        let (a, b) = (ada.get("/notes"), ada.get("/notes"));
        let (a, b) = tokio::join!(a, b);
        assert_eq!((a.status, b.status), (200, 200));
    };
    assert_raises(&stage, &alarms, list, async || {
        stage.set_faults(&json!({}));
    })
    .await;
}

#[tokio::test]
async fn requests_that_the_api_refuses_raise_no_alarm() {
    let stage = Stage::exclusive().await;
    let ada = Person::sign_up(&stage).await;
    assert_raises(&stage, &[], done, async || {
        for _ in 0..20 {
            ada.unsigned(Method::GET, "/notes")
                .send()
                .await
                .problem(403);
            ada.get("/notes/unknown").await.problem(404);
        }
    })
    .await;
}
