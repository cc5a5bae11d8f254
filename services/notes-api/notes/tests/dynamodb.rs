//! Tests the clients of the tables Notes and Attachments with an in-memory DynamoDB.

// Clippy allows panics in tests, but not in their helper functions.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    ops::Deref,
    sync::Arc,
};

use dynamodb::Table;
use local_dynamodb::{Dynamodb, client_variable};
use notes::{
    file::{AttachmentName, File, FileKey},
    note::{AttachmentRef, Content, Note, NoteId, Precondition, Sub, Timestamp, UserId, Version},
    service::{
        AttachmentRecords, AttachmentsTable, CountedNotes, CountedTables, Error, NoteStore,
        NotesTable,
        notes::{Change, Replaced},
        storage::Inserted,
    },
};
use serde_json::json;
use test_support::proxy::LossyProxy;
use tokio::{net::TcpListener, task::JoinSet};

async fn database() -> Dynamodb {
    let tables = [
        ("Notes", "noteId"),
        ("Attachments", "attachment"),
        ("Storage", "entry"),
    ];
    Dynamodb::start(&tables).await.unwrap()
}

fn table(endpoint: &str, name: &str) -> Table {
    let variable = |name| client_variable(endpoint, name);
    dynamodb::Dynamodb::new(&aws::Stack::from_vars(variable).unwrap()).table(name.parse().unwrap())
}

/// The clients of the table Notes. The tests use it for a user whose storage is never full.
struct Notes {
    notes: NotesTable,
    counted: CountedTables,
}

impl Notes {
    async fn insert(&self, note: &Note, sub: Option<Sub>) -> Result<(), Error> {
        let inserted = self.counted.insert(note, sub, u64::MAX).await?;
        assert_eq!(inserted, Inserted::Done);
        Ok(())
    }

    async fn remove(&self, user: &UserId, id: NoteId, version: Version) -> Result<bool, Error> {
        self.counted.remove(user, id, version, true).await
    }
}

impl Deref for Notes {
    type Target = NotesTable;

    fn deref(&self) -> &NotesTable {
        &self.notes
    }
}

fn notes_at(endpoint: &str) -> Notes {
    let notes = table(endpoint, "Notes");
    Notes {
        notes: NotesTable::new(notes.clone()),
        counted: CountedTables::new(notes, table(endpoint, "Storage")),
    }
}

fn attachments_at(endpoint: &str) -> AttachmentsTable {
    AttachmentsTable::new(table(endpoint, "Attachments"))
}

fn ada() -> UserId {
    "us-east-1:ada".parse().unwrap()
}

fn bob() -> UserId {
    "us-east-1:bob".parse().unwrap()
}

/// A `sub` for tests. Each `number` gives another `sub`.
fn sub(number: u8) -> Sub {
    let sub = format!("2f6b1c9e-0d47-4a85-b3e9-8c7d5a1f4e{number:02x}");
    sub.parse().unwrap()
}

/// The attribute `sub` of the only item in a table. `null` if the item does not have the attribute.
fn stored_sub(database: &Dynamodb, table: &str) -> serde_json::Value {
    let [item] = database.items(table).unwrap().try_into().unwrap();
    item.get("sub").cloned().unwrap_or_default()
}

fn name(name: &str) -> AttachmentName {
    AttachmentName::try_from(name.to_owned()).unwrap()
}

fn note(user: &UserId, content: &str) -> Note {
    let now = Timestamp::now();
    Note {
        user_id: user.clone(),
        note_id: NoteId::generate(),
        content: Content::try_from(content.to_owned()).unwrap(),
        attachment: None,
        uploaded: None,
        created_at: now,
        updated_at: now,
        version: Version::generate(),
        counted: true,
    }
}

fn change(content: &str) -> Change {
    Change {
        content: Content::try_from(content.to_owned()).unwrap(),
        attachment: None,
        uploaded: None,
        updated_at: Timestamp::now(),
        version: Version::generate(),
        sub: None,
    }
}

/// Inserts `count` notes of `user`, each with the text `content`. Returns the ids of the notes,
/// newest first.
async fn fill(notes: &Notes, user: &UserId, count: usize, content: &str) -> Vec<NoteId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let note = note(user, content);
        notes.insert(&note, None).await.unwrap();
        ids.push(note.note_id);
    }
    ids.reverse();
    ids
}

/// Reads the notes of `user` page by page, and returns the ids on each page. After each page except
/// the last one, calls `between` with the ids on this page.
async fn pages(
    notes: &NotesTable,
    user: &UserId,
    limit: usize,
    mut between: impl AsyncFnMut(&[NoteId]),
) -> Vec<Vec<NoteId>> {
    let mut pages: Vec<Vec<NoteId>> = Vec::new();
    loop {
        let last = pages.last().and_then(|page| page.last()).copied();
        let page = notes.page(user, last, limit).await.unwrap();
        assert!(page.items.len() <= limit);
        pages.push(page.items.iter().map(|note| note.note_id).collect());
        if !page.more {
            return pages;
        }
        between(pages.last().unwrap()).await;
    }
}

#[tokio::test]
async fn a_note_is_read_as_it_was_written_whatever_its_content() {
    let database = database().await;
    let notes = notes_at(&database.url());
    for content in [
        "hello",
        " ",
        "\u{0}",
        "a\u{0}b\r\n\t\u{1f}\u{7f}",
        r#""quotes" 'and' \backslashes\ \u0041 {"json":[1]}"#,
        "👩‍👩‍👧‍👦 🏳️‍🌈 😀",
        "Z\u{324}\u{310}a\u{307}\u{301}l\u{33a}g\u{306}o e\u{301} is not \u{e9}",
        "שלום \u{202e}olleh\u{202c} مرحبا",
        "\u{feff}\u{fffd}\u{ffff}\u{10ffff}",
        &"😀".repeat(100_000),
        &"\u{0}".repeat(100_000),
        &"\"".repeat(100_000),
    ] {
        let written = Note {
            attachment: Some(name("größe 📎.png")),
            ..note(&ada(), content)
        };
        notes.insert(&written, None).await.unwrap();
        let found = notes.find(&ada(), written.note_id).await.unwrap();
        assert!(
            found == Some(written),
            "{:?}",
            content.chars().take(20).collect::<String>()
        );
    }
}

#[tokio::test]
async fn two_inserts_of_one_note_create_one_note() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let note = note(&ada(), "hello");
    for _ in 0..2 {
        notes.insert(&note, None).await.unwrap();
    }
    assert_eq!(notes.page(&ada(), None, 10).await.unwrap().items, [note]);
}

#[tokio::test]
async fn a_note_stores_the_sub_of_its_last_writer_and_is_read_without_it() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let note = note(&ada(), "hello");
    notes.insert(&note, Some(sub(1))).await.unwrap();
    assert_eq!(
        stored_sub(&database, "Notes"),
        json!({"S": sub(1).to_string()})
    );
    let found = notes.find(&ada(), note.note_id).await.unwrap();
    let page = notes.page(&ada(), None, 10).await.unwrap();
    let id = note.note_id;
    assert_eq!(found, Some(note.clone()));
    assert_eq!(page.items, [note]);

    for (by, expected) in [(None, 1), (Some(sub(2)), 2), (None, 2)] {
        let change = Change {
            sub: by,
            ..change("changed")
        };
        let replaced = notes
            .replace(&ada(), id, &change, &Precondition::Exists)
            .await
            .unwrap();
        assert_eq!(replaced, Replaced::Done { before: None });
        let expected = json!({"S": sub(expected).to_string()});
        assert_eq!(stored_sub(&database, "Notes"), expected);
    }
}

#[tokio::test]
async fn an_item_that_is_written_without_a_sub_does_not_have_the_attribute() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let note = note(&ada(), "hello");
    notes.insert(&note, None).await.unwrap();
    notes
        .replace(&ada(), note.note_id, &change("x"), &Precondition::Exists)
        .await
        .unwrap();
    assert_eq!(stored_sub(&database, "Notes"), json!(null));
    let attachments = attachments_at(&database.url());
    attachments
        .add_reference(&cat(), reference(), None)
        .await
        .unwrap();
    assert_eq!(stored_sub(&database, "Attachments"), json!(null));
}

#[tokio::test]
async fn a_late_insert_does_not_overwrite_a_change() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let first = note(&ada(), "first");
    notes.insert(&first, None).await.unwrap();
    let changed = change("changed");
    notes
        .replace(&ada(), first.note_id, &changed, &Precondition::Exists)
        .await
        .unwrap();
    notes.insert(&first, None).await.unwrap();
    let found = notes.find(&ada(), first.note_id).await.unwrap().unwrap();
    assert_eq!(found.content, changed.content);
}

#[tokio::test]
async fn a_missing_note_is_not_found() {
    let database = database().await;
    let notes = notes_at(&database.url());
    assert_eq!(notes.find(&ada(), NoteId::generate()).await.unwrap(), None);
}

#[tokio::test]
async fn a_user_cannot_read_or_change_notes_of_another_user() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let hers = note(&ada(), "hers");
    notes.insert(&hers, None).await.unwrap();
    fill(&notes, &bob(), 3, "his").await;

    assert_eq!(notes.find(&bob(), hers.note_id).await.unwrap(), None);
    for before in [None, Some(NoteId::generate())] {
        let page = notes.page(&bob(), before, 100).await.unwrap();
        assert_eq!(page.items.len(), 3);
        assert!(page.items.iter().all(|note| note.user_id == bob()));
    }
    for expected in [
        Precondition::Exists,
        Precondition::OneOf(vec![hers.version]),
    ] {
        let replaced = notes
            .replace(&bob(), hers.note_id, &change("his"), &expected)
            .await
            .unwrap();
        assert_eq!(replaced, Replaced::Missing);
    }
    // Bob has no such note, so the removal succeeds.
    assert!(
        notes
            .remove(&bob(), hers.note_id, hers.version)
            .await
            .unwrap()
    );
    let found = notes.find(&ada(), hers.note_id).await.unwrap();
    assert_eq!(found, Some(hers));
}

#[tokio::test]
async fn the_pages_have_each_note_exactly_once_newest_first() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let created = fill(&notes, &ada(), 25, "hello").await;
    for (limit, expected) in [(10, vec![10, 10, 5]), (25, vec![25]), (1, vec![1; 25])] {
        let pages = pages(&notes, &ada(), limit, async |_| ()).await;
        let lengths: Vec<_> = pages.iter().map(Vec::len).collect();
        assert_eq!(lengths, expected, "no page is empty");
        assert_eq!(pages.concat(), created);
    }
}

#[tokio::test]
async fn a_list_without_notes_is_one_empty_page() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let page = notes.page(&ada(), None, 10).await.unwrap();
    assert!(page.items.is_empty());
    assert!(!page.more);
}

#[tokio::test]
async fn pages_have_each_remaining_note_once_while_others_are_added_and_removed() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let created = fill(&notes, &ada(), 40, "hello").await;
    // After each page, two notes are removed: the last note of this page, and a note of
    // `to_remove` that has not been listed yet. The next page starts after the removed last note.
    let to_remove: Vec<_> = created.iter().skip(12).step_by(3).copied().collect();
    let mut remaining = to_remove.clone();
    let seen = pages(&notes, &ada(), 5, async |page| {
        fill(&notes, &ada(), 2, "newer than the others").await;
        let last = page.last().copied();
        for id in last.into_iter().chain(remaining.pop()) {
            let note = notes.find(&ada(), id).await.unwrap();
            if let Some(note) = note {
                assert!(notes.remove(&ada(), id, note.version).await.unwrap());
            }
        }
    })
    .await
    .concat();

    assert!(remaining.len() < to_remove.len(), "some were removed");
    let removed: HashSet<_> = to_remove[remaining.len()..].iter().copied().collect();
    let unique: HashSet<_> = seen.iter().copied().collect();
    assert_eq!(unique.len(), seen.len(), "no duplicates");
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
    let kept: Vec<_> = created.iter().filter(|id| !removed.contains(id)).collect();
    assert!(kept.iter().all(|id| unique.contains(id)), "none is missing");
    assert!(seen.iter().all(|id| created.contains(id)), "no newer notes");
}

#[tokio::test]
async fn pages_that_dynamodb_cuts_at_1_mb_have_each_note_exactly_once() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let long = "😀".repeat(100_000);
    let mut created = Vec::new();
    for content in ["short", &long, &long, "short", &long, &long, &long, &long] {
        created.splice(0..0, fill(&notes, &ada(), 1, content).await);
    }
    for limit in [1, 2, 3, 100] {
        let pages = pages(&notes, &ada(), limit, async |_| ()).await;
        assert!(pages.len() > 1);
        assert_eq!(pages.concat(), created, "{limit} per page");
    }
}

#[tokio::test]
async fn a_replacement_returns_the_previous_attachment() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let old = Note {
        attachment: Some(name("old.png")),
        ..note(&ada(), "old")
    };
    notes.insert(&old, None).await.unwrap();

    let new = Change {
        attachment: Some(name("new.png")),
        ..change("new")
    };
    let expected = Precondition::OneOf(vec![Version::generate(), old.version]);
    let replaced = notes
        .replace(&ada(), old.note_id, &new, &expected)
        .await
        .unwrap();
    let before = Some((name("old.png"), old.version));
    assert_eq!(replaced, Replaced::Done { before });
    let found = notes.find(&ada(), old.note_id).await.unwrap();
    let Change {
        content,
        attachment,
        uploaded,
        updated_at,
        version,
        sub: _,
    } = new.clone();
    let expected = Note {
        content,
        attachment,
        uploaded,
        updated_at,
        version,
        ..old.clone()
    };
    assert_eq!(found, Some(expected));

    let without = change("no file");
    notes
        .replace(&ada(), old.note_id, &without, &Precondition::Exists)
        .await
        .unwrap();
    let replaced = notes
        .replace(&ada(), old.note_id, &change("x"), &Precondition::Exists)
        .await
        .unwrap();
    assert_eq!(replaced, Replaced::Done { before: None });
}

#[tokio::test]
async fn a_note_with_an_unexpected_version_is_not_replaced() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let old = note(&ada(), "old");
    notes.insert(&old, None).await.unwrap();
    for versions in [
        vec![],
        vec![Version::generate()],
        vec![Version::generate(); 50],
    ] {
        let replaced = notes
            .replace(
                &ada(),
                old.note_id,
                &change("new"),
                &Precondition::OneOf(versions),
            )
            .await
            .unwrap();
        assert_eq!(replaced, Replaced::Changed);
    }
    assert_eq!(notes.find(&ada(), old.note_id).await.unwrap(), Some(old));
}

#[tokio::test]
async fn a_replacement_does_not_create_a_note() {
    let database = database().await;
    let notes = notes_at(&database.url());
    for expected in [
        Precondition::Exists,
        Precondition::OneOf(vec![]),
        Precondition::OneOf(vec![Version::generate()]),
    ] {
        let replaced = notes
            .replace(&ada(), NoteId::generate(), &change("new"), &expected)
            .await
            .unwrap();
        assert_eq!(replaced, Replaced::Missing);
    }
    assert!(database.items("Notes").unwrap().is_empty());
}

#[tokio::test]
async fn a_repeated_write_returns_no_previous_attachment() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let old = Note {
        attachment: Some(name("old.png")),
        ..note(&ada(), "old")
    };
    notes.insert(&old, None).await.unwrap();
    for expected in [Precondition::OneOf(vec![old.version]), Precondition::Exists] {
        let write = Change {
            attachment: Some(name("new.png")),
            ..change("new")
        };
        let first = Note {
            note_id: NoteId::generate(),
            ..old.clone()
        };
        notes.insert(&first, None).await.unwrap();
        let replace = async || {
            notes
                .replace(&ada(), first.note_id, &write, &expected)
                .await
        };
        let before = Some((name("old.png"), old.version));
        assert_eq!(replace().await.unwrap(), Replaced::Done { before });
        assert_eq!(
            replace().await.unwrap(),
            Replaced::Done { before: None },
            "not its own file, which would then be deleted"
        );
    }
}

#[tokio::test]
async fn only_one_of_50_concurrent_writes_over_one_version_succeeds() {
    let database = database().await;
    let notes = Arc::new(notes_at(&database.url()));
    let old = note(&ada(), "old");
    notes.insert(&old, None).await.unwrap();
    let mut writes = JoinSet::new();
    for number in 0..50 {
        let notes = Arc::clone(&notes);
        let (id, version) = (old.note_id, old.version);
        writes.spawn(async move {
            let change = change(&number.to_string());
            let expected = Precondition::OneOf(vec![version]);
            let replaced = notes.replace(&ada(), id, &change, &expected).await;
            (change, replaced.unwrap())
        });
    }
    let results = writes.join_all().await;
    let (done, changed): (Vec<_>, Vec<_>) = results
        .into_iter()
        .partition(|(_, replaced)| matches!(replaced, Replaced::Done { .. }));
    assert_eq!(done.len(), 1);
    assert!(
        changed
            .iter()
            .all(|(_, replaced)| *replaced == Replaced::Changed)
    );
    let found = notes.find(&ada(), old.note_id).await.unwrap().unwrap();
    assert_eq!(found.content, done[0].0.content);
}

#[tokio::test]
async fn a_note_is_removed_only_if_the_given_version_is_current() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let old = note(&ada(), "old");
    notes.insert(&old, None).await.unwrap();
    let remove = async |version| notes.remove(&ada(), old.note_id, version).await;
    assert!(!remove(Version::generate()).await.unwrap());
    assert!(notes.find(&ada(), old.note_id).await.unwrap().is_some());
    assert!(remove(old.version).await.unwrap());
    assert_eq!(notes.find(&ada(), old.note_id).await.unwrap(), None);
    assert!(
        remove(old.version).await.unwrap(),
        "the note no longer exists"
    );
}

fn cat() -> FileKey {
    FileKey::parse("private/us-east-1:ada/cat.png").unwrap()
}

fn reference() -> AttachmentRef {
    AttachmentRef {
        note: NoteId::generate(),
        write: Version::generate(),
    }
}

fn file(size: u64) -> File {
    File {
        content_type: "image/png".into(),
        size,
    }
}

async fn read_file(attachments: &AttachmentsTable, key: FileKey) -> Option<File> {
    attachments
        .batch_get(&HashSet::from([key.clone()]))
        .await
        .unwrap()
        .remove(&key)
}

#[tokio::test]
async fn the_record_of_a_file_is_deleted_with_its_last_reference() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let [one, two] = [reference(), reference()];
    attachments.record_upload(&cat(), &file(7)).await.unwrap();
    for reference in [one, two, two] {
        attachments
            .add_reference(&cat(), reference, None)
            .await
            .unwrap();
    }
    for _ in 0..2 {
        // The second removal of `one` does not remove the other reference.
        assert!(
            !attachments
                .remove_last_reference(&cat(), one)
                .await
                .unwrap()
        );
    }
    assert_eq!(read_file(&attachments, cat()).await, Some(file(7)));
    for _ in 0..2 {
        // The second removal of `two` has the same result as the first.
        assert!(
            attachments
                .remove_last_reference(&cat(), two)
                .await
                .unwrap()
        );
    }
    assert!(database.items("Attachments").unwrap().is_empty());
}

#[tokio::test]
async fn a_record_keeps_its_sub_while_its_references_and_its_upload_change() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let stored = |number| {
        let expected = json!({"S": sub(number).to_string()});
        assert_eq!(stored_sub(&database, "Attachments"), expected);
    };
    let [one, two] = [reference(), reference()];
    attachments.record_upload(&cat(), &file(7)).await.unwrap();
    assert_eq!(stored_sub(&database, "Attachments"), json!(null));
    let added = attachments.add_reference(&cat(), one, Some(sub(1))).await;
    assert_eq!(added.unwrap(), Some(file(7)));
    stored(1);
    attachments.add_reference(&cat(), two, None).await.unwrap();
    stored(1);
    attachments.record_upload(&cat(), &file(8)).await.unwrap();
    stored(1);
    assert!(!attachments.remove_reference(&cat(), one).await.unwrap());
    stored(1);
    attachments
        .add_reference(&cat(), one, Some(sub(2)))
        .await
        .unwrap();
    stored(2);
    assert_eq!(read_file(&attachments, cat()).await, Some(file(8)));
}

#[tokio::test]
async fn removing_a_reference_keeps_the_other_references_and_the_record_of_the_file() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let [one, two] = [reference(), reference()];
    attachments.record_upload(&cat(), &file(7)).await.unwrap();
    for reference in [one, two] {
        attachments
            .add_reference(&cat(), reference, None)
            .await
            .unwrap();
    }
    assert!(!attachments.remove_reference(&cat(), one).await.unwrap());
    let references = attachments.record_upload(&cat(), &file(7)).await.unwrap();
    assert_eq!(references, HashSet::from([two]));
    assert!(attachments.remove_reference(&cat(), two).await.unwrap());
    assert!(database.items("Attachments").unwrap().is_empty());
}

#[tokio::test]
async fn the_record_of_a_file_is_deleted_if_its_50_references_are_removed_concurrently() {
    let database = database().await;
    let attachments = Arc::new(attachments_at(&database.url()));
    let references: Vec<_> = (0..50).map(|_| reference()).collect();
    for &reference in &references {
        attachments
            .add_reference(&cat(), reference, None)
            .await
            .unwrap();
    }
    let mut removals = JoinSet::new();
    for reference in references {
        let attachments = Arc::clone(&attachments);
        removals.spawn(async move {
            attachments
                .remove_last_reference(&cat(), reference)
                .await
                .unwrap()
        });
    }
    let deleted = removals.join_all().await;
    // More than one removal can find the record deleted. Then the file is deleted more than once.
    assert!(deleted.iter().any(|&deleted| deleted));
    assert!(database.items("Attachments").unwrap().is_empty());
}

#[tokio::test]
async fn the_record_of_a_file_has_the_properties_of_its_last_upload() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    attachments
        .add_reference(&cat(), reference(), None)
        .await
        .unwrap();
    assert_eq!(read_file(&attachments, cat()).await, None);
    for size in [7, 8] {
        attachments
            .record_upload(&cat(), &file(size))
            .await
            .unwrap();
        assert_eq!(read_file(&attachments, cat()).await, Some(file(size)));
    }
}

#[tokio::test]
async fn record_upload_returns_the_references_without_removing_them() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let references = HashSet::from([reference(), reference()]);
    for &reference in &references {
        assert_eq!(
            attachments
                .add_reference(&cat(), reference, None)
                .await
                .unwrap(),
            None
        );
    }
    for _ in 0..2 {
        let returned = attachments.record_upload(&cat(), &file(7)).await.unwrap();
        assert_eq!(returned, references);
    }
    let [one, other] = references.into_iter().collect::<Vec<_>>()[..] else {
        panic!("expected two references")
    };
    assert!(
        !attachments
            .remove_last_reference(&cat(), one)
            .await
            .unwrap()
    );
    assert!(
        attachments
            .remove_last_reference(&cat(), other)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn adding_a_reference_after_the_upload_returns_the_file_properties() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    assert!(
        attachments
            .record_upload(&cat(), &file(7))
            .await
            .unwrap()
            .is_empty()
    );
    let uploaded = attachments
        .add_reference(&cat(), reference(), None)
        .await
        .unwrap();
    assert_eq!(uploaded, Some(file(7)));
}

#[tokio::test]
async fn an_upload_is_recorded_only_in_the_note_version_that_added_the_reference() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let written = Note {
        attachment: Some(name("cat.png")),
        ..note(&ada(), "hello")
    };
    notes.insert(&written, None).await.unwrap();
    let first = written.attachment_ref();
    for size in [7, 8] {
        notes.set_upload(&ada(), first, &file(size)).await.unwrap();
        let found = notes.find(&ada(), written.note_id).await.unwrap();
        let uploaded = Some(file(size));
        assert_eq!(
            found,
            Some(Note {
                uploaded,
                ..written.clone()
            })
        );
    }
    let change = Change {
        uploaded: Some(file(9)),
        ..change("with another file")
    };
    notes
        .replace(&ada(), written.note_id, &change, &Precondition::Exists)
        .await
        .unwrap();
    notes.set_upload(&ada(), first, &file(10)).await.unwrap();
    let found = notes.find(&ada(), written.note_id).await.unwrap().unwrap();
    assert_eq!(found.uploaded, Some(file(9)));

    assert!(
        notes
            .remove(&ada(), found.note_id, found.version)
            .await
            .unwrap()
    );
    notes.set_upload(&ada(), first, &file(10)).await.unwrap();
    assert_eq!(notes.find(&ada(), written.note_id).await.unwrap(), None);
}

#[tokio::test]
async fn fifty_references_that_are_added_concurrently_are_all_kept() {
    let database = database().await;
    let attachments = Arc::new(attachments_at(&database.url()));
    let references: Vec<_> = (0..50).map(|_| reference()).collect();
    let mut additions = JoinSet::new();
    for reference in references.clone() {
        let attachments = Arc::clone(&attachments);
        additions.spawn(async move {
            attachments
                .add_reference(&cat(), reference, None)
                .await
                .unwrap()
        });
    }
    additions.join_all().await;
    let mut deleted = Vec::new();
    for reference in references {
        deleted.push(
            attachments
                .remove_reference(&cat(), reference)
                .await
                .unwrap(),
        );
    }
    assert_eq!(deleted.pop(), Some(true));
    assert!(deleted.iter().all(|deleted| !deleted));
}

#[tokio::test]
async fn one_call_reads_the_properties_of_a_hundred_files() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let key = |number| FileKey::parse(&format!("private/us-east-1:ada/{number}.png")).unwrap();
    let all: HashSet<_> = (0..100).map(key).collect();
    let mut uploaded = HashMap::new();
    for number in (0..100).step_by(2) {
        attachments
            .record_upload(&key(number), &file(number))
            .await
            .unwrap();
        uploaded.insert(key(number), file(number));
    }
    attachments
        .add_reference(&key(1), reference(), None)
        .await
        .unwrap();
    assert_eq!(attachments.batch_get(&all).await.unwrap(), uploaded);
    assert!(
        attachments
            .batch_get(&HashSet::new())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn files_with_the_same_name_of_two_users_are_different_files() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let his = FileKey::parse("private/us-east-1:bob/cat.png").unwrap();
    attachments.record_upload(&cat(), &file(7)).await.unwrap();
    assert_eq!(read_file(&attachments, his.clone()).await, None);
    let reference = reference();
    attachments
        .add_reference(&his, reference, None)
        .await
        .unwrap();
    assert!(
        attachments
            .remove_last_reference(&his, reference)
            .await
            .unwrap()
    );
    assert_eq!(read_file(&attachments, cat()).await, Some(file(7)));
}

#[tokio::test]
async fn a_write_whose_response_is_lost_is_done_once_and_succeeds() {
    let database = database().await;
    let direct = notes_at(&database.url());
    let old = note(&ada(), "old");

    let proxy = LossyProxy::start(database.url(), |number| number == 1).await;
    notes_at(&proxy.url).insert(&old, None).await.unwrap();
    assert_eq!(proxy.lost(), 1);
    let page = direct.page(&ada(), None, 10).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&old));

    let proxy = LossyProxy::start(database.url(), |number| number == 1).await;
    let write = change("new");
    let expected = Precondition::OneOf(vec![old.version]);
    let replaced = notes_at(&proxy.url)
        .replace(&ada(), old.note_id, &write, &expected)
        .await
        .unwrap();
    assert_eq!(proxy.lost(), 1);
    assert_eq!(replaced, Replaced::Done { before: None });

    let proxy = LossyProxy::start(database.url(), |number| number == 1).await;
    let removed = notes_at(&proxy.url)
        .remove(&ada(), old.note_id, write.version)
        .await
        .unwrap();
    assert_eq!(proxy.lost(), 1);
    assert!(removed);
}

#[tokio::test]
async fn the_error_for_a_database_that_never_responds_is_unavailable() {
    let database = database().await;
    let proxy = LossyProxy::start(database.url(), |_| true).await;
    let failed = notes_at(&proxy.url)
        .find(&ada(), NoteId::generate())
        .await
        .unwrap_err();
    assert!(matches!(failed, Error::Unavailable(_)), "{failed:?}");
}

#[tokio::test]
async fn the_error_for_an_unreachable_database_is_unavailable() {
    // Nothing listens on this port, because the listener is closed.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (notes, attachments) = (notes_at(&url), attachments_at(&url));
    let (user, keys) = (ada(), HashSet::from([cat()]));
    let found = notes.find(&user, NoteId::generate());
    let files = attachments.batch_get(&keys);
    let (found, files) = tokio::join!(found, files);
    let failures = [found.unwrap_err(), files.unwrap_err()];
    for failed in failures {
        assert!(matches!(failed, Error::Unavailable(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn the_error_for_a_missing_table_is_failed() {
    let empty = Dynamodb::start(&[]).await.unwrap();
    let (notes, attachments) = (notes_at(&empty.url()), attachments_at(&empty.url()));
    let id = NoteId::generate();
    for failed in [
        notes.insert(&note(&ada(), "x"), None).await.unwrap_err(),
        notes.find(&ada(), id).await.unwrap_err(),
        notes.page(&ada(), None, 1).await.unwrap_err(),
        notes
            .replace(&ada(), id, &change("x"), &Precondition::Exists)
            .await
            .unwrap_err(),
        notes
            .remove(&ada(), id, Version::generate())
            .await
            .unwrap_err(),
        attachments
            .add_reference(&cat(), reference(), None)
            .await
            .unwrap_err(),
        attachments
            .remove_last_reference(&cat(), reference())
            .await
            .unwrap_err(),
    ] {
        assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn the_error_for_an_item_that_is_not_a_note_is_failed() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let id = NoteId::generate();
    let item = serde_json::json!({
        "userId": {"S": ada().as_str()}, "noteId": {"S": id.to_string()}, "content": {"N": "1"},
    });
    database.put("Notes", &item).unwrap();
    let found = notes.find(&ada(), id).await.unwrap_err();
    let listed = notes.page(&ada(), None, 1).await.unwrap_err();
    for failed in [found, listed] {
        assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    }
}
