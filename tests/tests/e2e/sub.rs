//! The attribute `sub` of the items that a user writes.

use serde_json::json;
use test_support::stage::{Person, Stage};

use crate::path_of;

#[tokio::test]
async fn items_contain_the_sub_of_the_user_who_wrote_them() {
    let stage = Stage::shared().await;
    let people = [Person::sign_up(&stage).await, Person::sign_up(&stage).await];
    assert_ne!(people[0].sub, people[1].sub);
    let attachments_table = stage.attachments_table().await;
    for person in &people {
        assert!(!person.id.contains(&person.sub));
        let note = person.create_note("hello", Some("cat.png")).await;
        let stored = async || {
            for table in [&stage.notes_table, &attachments_table] {
                let items = stage.items_of(table, &person.id).await;
                assert_eq!(items.len(), 1, "{table}");
                assert_eq!(items[0]["sub"], json!({"S": person.sub}), "{table}");
            }
        };
        stored().await;
        let change = json!({"content": "changed", "attachment": "cat.png"});
        person.put(&path_of(&note), &change).await.json(200);
        stored().await;

        for path in ["/notes", &path_of(&note)] {
            let response = person.get(path).await;
            assert_eq!(response.status, 200, "{path}");
            assert!(!response.text().contains(&person.sub), "{path}");
        }
    }
    for function in ["notes-create", "notes-update", "notes-get", "notes-list"] {
        let log = stage.log(function).await;
        for person in &people {
            assert!(!log.contains(&person.sub), "{function}");
        }
    }
}
