//! Tests the count of notes with an in-memory DynamoDB: it is exact whatever happens to the requests and
//! responses, and in whatever order they arrive.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod credits; // part: billing

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use domain::Author;
use local_dynamodb::{Dynamodb, client_variable};
use notes::{
    controller::{self, Draft, Plan},
    file::{File, FileKey},
    note::{Content, NoteId, Precondition, UserId, Version},
    service::{
        AttachmentRecords, AttachmentsTable, CountedNotes, CountedTables, Error, FileStore,
        NoteStore, NotesTable, Storage, StorageTable,
        notes::{Change, Replaced},
    },
    storage::Usage,
};
use serde_json::json;
use test_support::proxy::LossyProxy;
use tokio::task::JoinSet;

async fn database() -> Dynamodb {
    let tables = [
        ("Notes", "noteId"),
        ("Attachments", "attachment"),
        ("Storage", "entry"),
    ];
    Dynamodb::start(&tables).await.unwrap()
}

/// The services of all functions that change or read the count of notes.
struct Services {
    notes: NotesTable,
    counted: CountedTables,
    records: AttachmentsTable,
    storage: StorageTable,
}

fn services(endpoint: &str) -> Services {
    let variable = |name| client_variable(endpoint, name);
    let dynamodb = dynamodb::Dynamodb::new(&aws::Stack::from_vars(variable).unwrap());
    let table = |name: &str| dynamodb.table(name.parse().unwrap());
    Services {
        notes: NotesTable::new(table("Notes")),
        counted: CountedTables::new(table("Notes"), table("Storage")),
        records: AttachmentsTable::new(table("Attachments")),
        storage: StorageTable::new(table("Storage")),
    }
}

fn ada() -> UserId {
    "us-east-1:ada".parse().unwrap()
}

/// A bucket that must not be used, because the notes of these tests have no files.
struct NoFiles;

impl FileStore for NoFiles {
    async fn head(&self, _: &FileKey) -> Result<Option<File>, Error> {
        panic!("no note has a file")
    }

    async fn delete(&self, _: &FileKey) -> Result<(), Error> {
        panic!("no note has a file")
    }
}

impl Services {
    async fn create(
        &self,
        free: u64,
        attachment: Option<&str>,
        plan: Plan,
    ) -> Result<NoteId, controller::Error> {
        let author = Author {
            id: ada(),
            sub: None,
        };
        let draft = Draft {
            content: Content::try_from("hello".to_owned()).unwrap(),
            attachment: attachment.map(|name| name.to_owned().try_into().unwrap()),
        };
        let draft = draft.resolve(&ada()).unwrap();
        let create =
            controller::create(&self.counted, &self.records, free, &author, &draft, plan).await?;
        Ok(create.into_note(&ada(), &draft).note_id)
    }

    async fn delete(&self, id: NoteId) -> Result<(), controller::Error> {
        let Self {
            notes,
            counted,
            records,
            ..
        } = self;
        controller::delete(notes, counted, records, &NoFiles, &ada(), id).await
    }

    async fn usage(&self) -> Usage {
        self.storage.usage(&ada()).await.unwrap()
    }
}

/// The number of items in the table Notes.
fn existing(database: &Dynamodb) -> u64 {
    database.items("Notes").unwrap().len() as u64
}

/// Asserts that a new note is refused, that the error states the number of existing notes and `allowed`, and that it changes
/// neither the notes nor their count. Every user may have `free` notes.
async fn assert_full(services: &Services, database: &Dynamodb, free: u64, allowed: u64) {
    let used = existing(database);
    let refused = services.create(free, None, Plan::generate()).await;
    let full = controller::Error::StorageFull { used, allowed };
    assert_eq!(
        format!("{:?}", refused.unwrap_err()),
        format!("{full:?}"),
        "{free}"
    );
    assert_eq!(existing(database), used);
    assert_eq!(services.usage().await.used, used);
}

fn is_full(result: &Result<NoteId, controller::Error>) -> bool {
    matches!(result, Err(controller::Error::StorageFull { .. }))
}

#[tokio::test]
async fn one_of_64_concurrent_notes_is_created_if_there_is_room_for_one() {
    let database = database().await;
    let services = Arc::new(services(&database.url()));
    services.create(2, None, Plan::generate()).await.unwrap();
    let mut creations = JoinSet::new();
    for _ in 0..64 {
        let services = Arc::clone(&services);
        creations.spawn(async move { services.create(2, None, Plan::generate()).await });
    }
    let results = creations.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|result| is_full(result)).count(), 63);
    assert_eq!((services.usage().await.used, existing(&database)), (2, 2));
}

#[tokio::test]
async fn used_is_the_number_of_notes_after_1000_changes_by_16_clients_with_lost_responses() {
    let database = database().await;
    let proxy = LossyProxy::start(database.url(), |number| number.is_multiple_of(29)).await;
    let services = Arc::new(services(&proxy.url));
    let changes = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let (services, changes) = (Arc::clone(&services), Arc::clone(&changes));
        clients.spawn(async move {
            let mut own = Vec::new();
            loop {
                let number = changes.fetch_add(1, SeqCst);
                if number >= 1000 {
                    break;
                }
                // Each third change deletes a note. A client repeats a request that failed.
                if number % 3 == 2 && !own.is_empty() {
                    let id = own.remove(0);
                    while services.delete(id).await.is_err() {}
                } else {
                    let plan = Plan::generate();
                    let created = loop {
                        if let Ok(id) = services.create(1000, None, plan).await {
                            break id;
                        }
                    };
                    own.push(created);
                }
            }
            own.len() as u64
        });
    }
    let kept: u64 = clients.join_all().await.into_iter().sum();
    assert!(proxy.responses() > 1000);
    assert_eq!(existing(&database), kept);
    assert_eq!(services.usage().await.used, kept);
    assert!((300..500).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_refused_note_and_its_error_state_the_numbers_of_notes() {
    let database = database().await;
    let services = services(&database.url());
    for (free, room) in [(0, 0), (1, 1), (2, 1), (1, 0)] {
        for _ in 0..room {
            services.create(free, None, Plan::generate()).await.unwrap();
        }
        assert_full(&services, &database, free, free).await;
    }
}

#[tokio::test]
async fn a_repetition_of_the_request_that_created_the_last_note_succeeds_and_counts_nothing() {
    let database = database().await;
    let services = services(&database.url());
    let plan = Plan::generate();
    for _ in 0..3 {
        services.create(1, None, plan).await.unwrap();
    }
    assert!(is_full(&services.create(1, None, Plan::generate()).await));
    assert_eq!(services.usage().await.used, 1);
}

#[tokio::test]
async fn a_note_is_created_with_at_most_two_calls_to_dynamodb() {
    for (attachment, calls) in [(None, 1), (Some("cat.png"), 2)] {
        let database = database().await;
        let proxy = LossyProxy::start(database.url(), |_| false).await;
        let services = services(&proxy.url);
        services
            .create(1, attachment, Plan::generate())
            .await
            .unwrap();
        assert_eq!(proxy.responses(), calls);
    }
}

#[tokio::test]
async fn a_refused_note_keeps_the_record_of_its_file_without_a_reference() {
    let database = database().await;
    let services = services(&database.url());
    let name = "cat.png".to_owned().try_into().unwrap();
    let key = FileKey::of(&ada(), &name).unwrap();
    let file = File {
        content_type: "image/png".into(),
        size: 7,
    };
    services.records.record_upload(&key, &file).await.unwrap();
    let plan = Plan::generate();
    assert!(is_full(&services.create(0, Some("cat.png"), plan).await));
    let [record] = database.items("Attachments").unwrap().try_into().unwrap();
    assert_eq!(record["contentType"], json!({"S": "image/png"}));
    assert!(record.get("claims").is_none());
    // The request is repeated when there is room.
    let id = services.create(1, Some("cat.png"), plan).await.unwrap();
    let note = services.notes.find(&ada(), id).await.unwrap().unwrap();
    assert_eq!(note.uploaded, Some(file));
}

/// Replaces a note with one of a release that did not count notes.
async fn uncount(database: &Dynamodb, services: &Services, id: NoteId) {
    let note = database.items("Notes").unwrap().into_iter();
    let mut note = note
        .into_iter()
        .find(|note| note["noteId"]["S"] == id.to_string())
        .unwrap();
    services.delete(id).await.unwrap();
    note.as_object_mut().unwrap().remove("counted");
    database.put("Notes", &note).unwrap();
}

#[tokio::test]
async fn a_note_that_was_not_counted_is_deleted_without_a_change_of_the_count() {
    let database = database().await;
    let services = services(&database.url());
    let create = async || services.create(9, None, Plan::generate()).await.unwrap();
    let (counted, uncounted) = (create().await, create().await);
    uncount(&database, &services, uncounted).await;
    assert_eq!((services.usage().await.used, existing(&database)), (1, 2));
    for (id, used, left) in [(uncounted, 1, 1), (counted, 0, 0), (counted, 0, 0)] {
        services.delete(id).await.unwrap();
        assert_eq!(
            (services.usage().await.used, existing(&database)),
            (used, left)
        );
    }
}

#[tokio::test]
async fn a_note_that_is_counted_between_its_read_and_its_removal_is_not_removed() {
    let database = database().await;
    let services = services(&database.url());
    let id = services.create(9, None, Plan::generate()).await.unwrap();
    let note = services.notes.find(&ada(), id).await.unwrap().unwrap();
    let user = ada();
    let removed = services.counted.remove(&user, id, note.version, false);
    assert!(!removed.await.unwrap());
    assert_eq!((services.usage().await.used, existing(&database)), (1, 1));
}

#[tokio::test]
async fn a_changed_note_stays_counted() {
    let database = database().await;
    let services = services(&database.url());
    let id = services.create(9, None, Plan::generate()).await.unwrap();
    let note = services.notes.find(&ada(), id).await.unwrap().unwrap();
    let change = Change {
        content: note.content,
        attachment: None,
        uploaded: None,
        updated_at: note.updated_at,
        version: Version::generate(),
        sub: None,
    };
    let expected = Precondition::OneOf(vec![note.version]);
    let replaced = services.notes.replace(&ada(), id, &change, &expected).await;
    assert_eq!(replaced.unwrap(), Replaced::Done { before: None });
    services.delete(id).await.unwrap();
    assert_eq!((services.usage().await.used, existing(&database)), (0, 0));
}
