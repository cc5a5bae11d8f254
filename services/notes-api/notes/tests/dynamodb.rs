//! The tables Notes and Attachments behind a real DynamoDB API: what the services promise of them.

// Clippy takes helpers outside of a test for code that must not panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use dynamodb::Table;
use local_dynamodb::Dynamodb;
use notes::{
    file::{AttachmentName, File, FileKey},
    note::{AttachmentRef, Content, Note, NoteId, Precondition, Timestamp, UserId, Version},
    service::{
        AttachmentRecords, AttachmentsTable, Error, NoteStore, NotesTable,
        notes::{Change, Replaced},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

async fn database() -> Dynamodb {
    let tables = [("Notes", "noteId"), ("Attachments", "attachment")];
    Dynamodb::start(&tables).await.unwrap()
}

fn table(endpoint: &str, name: &str) -> Table {
    let vars = |variable| {
        let value = match variable {
            "AWS_REGION" => "us-east-1",
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY" => "secret",
            "AWS_ENDPOINT_URL" => endpoint,
            _ => return None,
        };
        Some(OsString::from(value))
    };
    dynamodb::Dynamodb::new(&aws::Stack::from_vars(vars).unwrap()).table(name.parse().unwrap())
}

fn notes_at(endpoint: &str) -> NotesTable {
    NotesTable::new(table(endpoint, "Notes"))
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
    }
}

fn change(content: &str) -> Change {
    Change {
        content: Content::try_from(content.to_owned()).unwrap(),
        attachment: None,
        uploaded: None,
        updated_at: Timestamp::now(),
        version: Version::generate(),
    }
}

/// Inserts that many notes and returns their ids, newest first.
async fn fill(notes: &NotesTable, user: &UserId, count: usize, content: &str) -> Vec<NoteId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let note = note(user, content);
        notes.insert(&note).await.unwrap();
        ids.push(note.note_id);
    }
    ids.reverse();
    ids
}

/// The ids of all notes of `user`, page by page, with `between` called after each page.
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
        assert!(page.notes.len() <= limit);
        pages.push(page.notes.iter().map(|note| note.note_id).collect());
        if !page.more {
            return pages;
        }
        between(pages.last().unwrap()).await;
    }
}

#[tokio::test]
async fn a_note_is_found_whole_whatever_it_says() {
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
        notes.insert(&written).await.unwrap();
        let found = notes.find(&ada(), written.note_id).await.unwrap();
        assert!(
            found == Some(written),
            "{:?}",
            content.chars().take(20).collect::<String>()
        );
    }
}

#[tokio::test]
async fn a_note_inserted_twice_is_one_note() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let note = note(&ada(), "hello");
    for _ in 0..2 {
        notes.insert(&note).await.unwrap();
    }
    assert_eq!(notes.page(&ada(), None, 10).await.unwrap().notes, [note]);
}

#[tokio::test]
async fn an_insert_that_comes_late_writes_over_nothing() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let first = note(&ada(), "first");
    notes.insert(&first).await.unwrap();
    let changed = change("changed");
    notes
        .replace(&ada(), first.note_id, &changed, &Precondition::Exists)
        .await
        .unwrap();
    notes.insert(&first).await.unwrap();
    let found = notes.find(&ada(), first.note_id).await.unwrap().unwrap();
    assert_eq!(found.content, changed.content);
}

#[tokio::test]
async fn a_note_that_is_not_there_is_not_found() {
    let database = database().await;
    let notes = notes_at(&database.url());
    assert_eq!(notes.find(&ada(), NoteId::generate()).await.unwrap(), None);
}

#[tokio::test]
async fn nobody_sees_or_touches_the_notes_of_another() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let hers = note(&ada(), "hers");
    notes.insert(&hers).await.unwrap();
    fill(&notes, &bob(), 3, "his").await;

    assert_eq!(notes.find(&bob(), hers.note_id).await.unwrap(), None);
    for before in [None, Some(NoteId::generate())] {
        let page = notes.page(&bob(), before, 100).await.unwrap();
        assert_eq!(page.notes.len(), 3);
        assert!(page.notes.iter().all(|note| note.user_id == bob()));
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
    // Gone for him, as it never was his.
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
async fn all_notes_come_back_by_pages_exactly_once_newest_first() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let made = fill(&notes, &ada(), 25, "hello").await;
    for (limit, expected) in [(10, vec![10, 10, 5]), (25, vec![25]), (1, vec![1; 25])] {
        let pages = pages(&notes, &ada(), limit, async |_| ()).await;
        let lengths: Vec<_> = pages.iter().map(Vec::len).collect();
        assert_eq!(
            lengths, expected,
            "no page is empty, none is asked for in vain"
        );
        assert_eq!(pages.concat(), made);
    }
}

#[tokio::test]
async fn a_list_of_nothing_is_one_empty_page() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let page = notes.page(&ada(), None, 10).await.unwrap();
    assert!(page.notes.is_empty());
    assert!(!page.more);
}

#[tokio::test]
async fn notes_that_stay_come_back_exactly_once_while_others_come_and_go() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let made = fill(&notes, &ada(), 40, "hello").await;
    // Of what is not yet listed, every third note goes, one page after the other; so does the note
    // that each page ended with, which the next one starts after.
    let doomed: Vec<_> = made.iter().skip(12).step_by(3).copied().collect();
    let mut to_go = doomed.clone();
    let seen = pages(&notes, &ada(), 5, async |page| {
        fill(&notes, &ada(), 2, "newer than all").await;
        let last = page.last().copied();
        for id in last.into_iter().chain(to_go.pop()) {
            let note = notes.find(&ada(), id).await.unwrap();
            if let Some(note) = note {
                assert!(notes.remove(&ada(), id, note.version).await.unwrap());
            }
        }
    })
    .await
    .concat();

    assert!(to_go.len() < doomed.len(), "some went");
    let gone: HashSet<_> = doomed[to_go.len()..].iter().copied().collect();
    let unique: HashSet<_> = seen.iter().copied().collect();
    assert_eq!(unique.len(), seen.len(), "none came twice");
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
    let stayed: Vec<_> = made.iter().filter(|id| !gone.contains(id)).collect();
    assert!(stayed.iter().all(|id| unique.contains(id)), "none was lost");
    assert!(seen.iter().all(|id| made.contains(id)), "no newer one came");
}

#[tokio::test]
async fn pages_that_dynamodb_cuts_at_a_megabyte_lose_and_repeat_nothing() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let long = "😀".repeat(100_000);
    let mut made = Vec::new();
    for content in ["short", &long, &long, "short", &long, &long, &long, &long] {
        made.splice(0..0, fill(&notes, &ada(), 1, content).await);
    }
    for limit in [1, 2, 3, 100] {
        let pages = pages(&notes, &ada(), limit, async |_| ()).await;
        assert!(pages.len() > 1);
        assert_eq!(pages.concat(), made, "{limit} to a page");
    }
}

#[tokio::test]
async fn a_note_written_over_says_what_it_was_before() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let old = Note {
        attachment: Some(name("old.png")),
        ..note(&ada(), "old")
    };
    notes.insert(&old).await.unwrap();

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
async fn a_note_that_is_not_what_was_expected_is_not_written_over() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let old = note(&ada(), "old");
    notes.insert(&old).await.unwrap();
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
async fn a_note_that_is_not_there_is_not_made_by_writing_over_it() {
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
async fn a_write_sent_twice_is_one_write() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let old = Note {
        attachment: Some(name("old.png")),
        ..note(&ada(), "old")
    };
    notes.insert(&old).await.unwrap();
    for expected in [Precondition::OneOf(vec![old.version]), Precondition::Exists] {
        let write = Change {
            attachment: Some(name("new.png")),
            ..change("new")
        };
        let first = Note {
            note_id: NoteId::generate(),
            ..old.clone()
        };
        notes.insert(&first).await.unwrap();
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
            "not its own file, which would be taken away"
        );
    }
}

#[tokio::test]
async fn of_fifty_writes_over_one_version_one_is_done() {
    let database = database().await;
    let notes = Arc::new(notes_at(&database.url()));
    let old = note(&ada(), "old");
    notes.insert(&old).await.unwrap();
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
async fn a_note_is_removed_only_as_the_write_that_was_read() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let old = note(&ada(), "old");
    notes.insert(&old).await.unwrap();
    let remove = async |version| notes.remove(&ada(), old.note_id, version).await;
    assert!(!remove(Version::generate()).await.unwrap());
    assert!(notes.find(&ada(), old.note_id).await.unwrap().is_some());
    assert!(remove(old.version).await.unwrap());
    assert_eq!(notes.find(&ada(), old.note_id).await.unwrap(), None);
    assert!(
        remove(old.version).await.unwrap(),
        "what is gone is removed"
    );
}

fn cat() -> FileKey {
    FileKey::parse("private/us-east-1:ada/cat.png").unwrap()
}

fn claim() -> AttachmentRef {
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

async fn described(attachments: &AttachmentsTable, key: FileKey) -> Option<File> {
    attachments
        .batch_get(&HashSet::from([key.clone()]))
        .await
        .unwrap()
        .remove(&key)
}

#[tokio::test]
async fn a_record_is_forgotten_with_the_last_claim() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let [one, two] = [claim(), claim()];
    attachments.record(&cat(), &file(7)).await.unwrap();
    for claim in [one, two, two] {
        attachments.claim(&cat(), claim).await.unwrap();
    }
    for _ in 0..2 {
        // Sent twice, it takes no other claim away.
        assert!(!attachments.release_last(&cat(), one).await.unwrap());
    }
    assert_eq!(described(&attachments, cat()).await, Some(file(7)));
    for _ in 0..2 {
        // Sent twice, it says the same.
        assert!(attachments.release_last(&cat(), two).await.unwrap());
    }
    assert!(database.items("Attachments").unwrap().is_empty());
}

#[tokio::test]
async fn a_released_claim_leaves_the_others_and_the_record() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let [one, two] = [claim(), claim()];
    attachments.record(&cat(), &file(7)).await.unwrap();
    for claim in [one, two] {
        attachments.claim(&cat(), claim).await.unwrap();
    }
    assert!(!attachments.release(&cat(), one).await.unwrap());
    let claims = attachments.record(&cat(), &file(7)).await.unwrap();
    assert_eq!(claims, HashSet::from([two]));
    assert!(attachments.release(&cat(), two).await.unwrap());
    assert!(database.items("Attachments").unwrap().is_empty());
}

#[tokio::test]
async fn of_fifty_that_forget_a_file_at_once_one_is_the_last() {
    let database = database().await;
    let attachments = Arc::new(attachments_at(&database.url()));
    let claims: Vec<_> = (0..50).map(|_| claim()).collect();
    for &claim in &claims {
        attachments.claim(&cat(), claim).await.unwrap();
    }
    let mut forgetting = JoinSet::new();
    for claim in claims {
        let attachments = Arc::clone(&attachments);
        forgetting.spawn(async move { attachments.release_last(&cat(), claim).await.unwrap() });
    }
    let gone = forgetting.join_all().await;
    // Two that see the record gone are no harm: the file is deleted twice.
    assert!(gone.iter().any(|&gone| gone));
    assert!(database.items("Attachments").unwrap().is_empty());
}

#[tokio::test]
async fn a_file_is_described_once_it_is_uploaded_and_as_it_was_last() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    attachments.claim(&cat(), claim()).await.unwrap();
    assert_eq!(described(&attachments, cat()).await, None);
    for size in [7, 8] {
        attachments.record(&cat(), &file(size)).await.unwrap();
        assert_eq!(described(&attachments, cat()).await, Some(file(size)));
    }
}

#[tokio::test]
async fn an_upload_recorded_after_the_claims_says_who_they_are_and_leaves_them_as_they_are() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let claims = HashSet::from([claim(), claim()]);
    for &claim in &claims {
        assert_eq!(attachments.claim(&cat(), claim).await.unwrap(), None);
    }
    for _ in 0..2 {
        let claimed = attachments.record(&cat(), &file(7)).await.unwrap();
        assert_eq!(claimed, claims);
    }
    let [one, other] = claims.into_iter().collect::<Vec<_>>()[..] else {
        panic!("there are two")
    };
    assert!(!attachments.release_last(&cat(), one).await.unwrap());
    assert!(attachments.release_last(&cat(), other).await.unwrap());
}

#[tokio::test]
async fn a_claim_after_the_upload_says_what_the_file_is() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    assert!(
        attachments
            .record(&cat(), &file(7))
            .await
            .unwrap()
            .is_empty()
    );
    let claimed = attachments.claim(&cat(), claim()).await.unwrap();
    assert_eq!(claimed, Some(file(7)));
}

#[tokio::test]
async fn a_note_is_told_of_its_file_until_it_is_written_over() {
    let database = database().await;
    let notes = notes_at(&database.url());
    let written = Note {
        attachment: Some(name("cat.png")),
        ..note(&ada(), "hello")
    };
    notes.insert(&written).await.unwrap();
    let first = written.claim();
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
async fn of_fifty_claims_at_once_none_is_lost() {
    let database = database().await;
    let attachments = Arc::new(attachments_at(&database.url()));
    let writes: Vec<_> = (0..50).map(|_| claim()).collect();
    let mut claims = JoinSet::new();
    for write in writes.clone() {
        let attachments = Arc::clone(&attachments);
        claims.spawn(async move { attachments.claim(&cat(), write).await.unwrap() });
    }
    claims.join_all().await;
    let mut unclaimed = Vec::new();
    for write in writes {
        unclaimed.push(attachments.release(&cat(), write).await.unwrap());
    }
    assert_eq!(unclaimed.pop(), Some(true));
    assert!(unclaimed.iter().all(|unclaimed| !unclaimed));
}

#[tokio::test]
async fn a_hundred_files_are_described_at_once_each_as_it_is() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let key = |number| FileKey::parse(&format!("private/us-east-1:ada/{number}.png")).unwrap();
    let all: HashSet<_> = (0..100).map(key).collect();
    let mut uploaded = HashMap::new();
    for number in (0..100).step_by(2) {
        attachments
            .record(&key(number), &file(number))
            .await
            .unwrap();
        uploaded.insert(key(number), file(number));
    }
    attachments.claim(&key(1), claim()).await.unwrap();
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
async fn files_of_two_people_with_one_name_are_two_files() {
    let database = database().await;
    let attachments = attachments_at(&database.url());
    let his = FileKey::parse("private/us-east-1:bob/cat.png").unwrap();
    attachments.record(&cat(), &file(7)).await.unwrap();
    assert_eq!(described(&attachments, his.clone()).await, None);
    let write = claim();
    attachments.claim(&his, write).await.unwrap();
    assert!(attachments.release_last(&his, write).await.unwrap());
    assert_eq!(described(&attachments, cat()).await, Some(file(7)));
}

/// Stands before a database and loses its first answers: what was asked is done, and nobody hears.
struct Lossy {
    address: SocketAddr,
    lost: Arc<AtomicUsize>,
    proxy: JoinHandle<()>,
}

impl Lossy {
    async fn before(database: SocketAddr, answers: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let lost = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&lost);
        let proxy = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(database).await.unwrap();
                    let (mut from_client, mut to_client) = client.split();
                    let (mut from_server, mut to_server) = server.split();
                    let requests = tokio::io::copy(&mut from_client, &mut to_server);
                    let answers = async {
                        let mut answer = vec![0; 65_536];
                        loop {
                            let length = from_server.read(&mut answer).await?;
                            let lose = |lost| (lost < answers).then_some(lost + 1);
                            if length == 0 || count.fetch_update(SeqCst, SeqCst, lose).is_ok() {
                                return std::io::Result::Ok(());
                            }
                            to_client.write_all(&answer[..length]).await?;
                        }
                    };
                    tokio::select! { _ = requests => (), _ = answers => () }
                });
            }
        });
        Self {
            address,
            lost,
            proxy,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_once_and_said_to_be_done() {
    let database = database().await;
    let straight = notes_at(&database.url());
    let old = note(&ada(), "old");

    let lossy = Lossy::before(database.address(), 1).await;
    notes_at(&lossy.url()).insert(&old).await.unwrap();
    assert_eq!(lossy.lost.load(SeqCst), 1);
    let page = straight.page(&ada(), None, 10).await.unwrap();
    assert_eq!(page.notes, std::slice::from_ref(&old));

    let lossy = Lossy::before(database.address(), 1).await;
    let write = change("new");
    let expected = Precondition::OneOf(vec![old.version]);
    let replaced = notes_at(&lossy.url())
        .replace(&ada(), old.note_id, &write, &expected)
        .await
        .unwrap();
    assert_eq!(lossy.lost.load(SeqCst), 1);
    assert_eq!(replaced, Replaced::Done { before: None });

    let lossy = Lossy::before(database.address(), 1).await;
    let removed = notes_at(&lossy.url())
        .remove(&ada(), old.note_id, write.version)
        .await
        .unwrap();
    assert_eq!(lossy.lost.load(SeqCst), 1);
    assert!(removed);
}

#[tokio::test]
async fn a_database_whose_every_answer_is_lost_is_busy() {
    let database = database().await;
    let lossy = Lossy::before(database.address(), usize::MAX).await;
    let failed = notes_at(&lossy.url())
        .find(&ada(), NoteId::generate())
        .await
        .unwrap_err();
    assert!(matches!(failed, Error::Unavailable(_)), "{failed:?}");
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_busy() {
    // A port that was free a moment ago: nobody listens there.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (notes, attachments) = (notes_at(&url), attachments_at(&url));
    let (user, keys) = (ada(), HashSet::from([cat()]));
    let found = notes.find(&user, NoteId::generate());
    let described = attachments.batch_get(&keys);
    let (found, described) = tokio::join!(found, described);
    let failures = [found.unwrap_err(), described.unwrap_err()];
    for failed in failures {
        assert!(matches!(failed, Error::Unavailable(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn a_table_that_is_not_there_is_a_failure() {
    let empty = Dynamodb::start(&[]).await.unwrap();
    let (notes, attachments) = (notes_at(&empty.url()), attachments_at(&empty.url()));
    let id = NoteId::generate();
    for failed in [
        notes.insert(&note(&ada(), "x")).await.unwrap_err(),
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
        attachments.claim(&cat(), claim()).await.unwrap_err(),
        attachments.release_last(&cat(), claim()).await.unwrap_err(),
    ] {
        assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    }
}

#[tokio::test]
async fn an_item_that_is_no_note_is_a_failure_and_no_panic() {
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
