//! Users who create and delete notes during a migration, with the writes of the functions notes-create and notes-delete.

use std::collections::BTreeSet;

use domain::{Timestamp, UserId};
use dynamodb::Dynamodb;
use notes::{
    note::{Content, Note, NoteId, Version},
    service::{CountedNotes as _, CountedTables, NoteStore as _, NotesTable},
};
use serde_json::{Value, json};

use crate::random::Random;

/// The number of users who have notes.
pub(crate) const USERS: usize = 40;

/// More notes than any user has.
const FREE: u64 = 1_000_000;

/// Returns the id of a user.
pub(crate) fn user_id(number: usize) -> String {
    format!("us-east-1:00000000-0000-4000-8000-{number:012}")
}

/// Returns the id of an item that existed before the migration.
pub(crate) fn id(number: usize) -> String {
    format!("019a0000-0000-7000-8000-{number:012}")
}

/// Returns a note that was created before notes were counted.
pub(crate) fn old_note(number: usize, random: &mut Random) -> Value {
    // Some users have many notes, some few.
    let user = random.below(USERS).min(random.below(USERS));
    json!({
        "userId": {"S": user_id(user)}, "noteId": {"S": id(number)}, "version": {"S": id(number)},
        "content": {"S": "old"}, "createdAt": {"N": "1"}, "updatedAt": {"N": "1"},
    })
}

/// A client that creates and deletes notes of all users.
#[derive(Debug)]
pub(crate) struct Client {
    notes: NotesTable,
    counted: CountedTables,
    random: Random,
    /// How many notes exist before the migration.
    existing: usize,
    /// The ids of the notes that the client has created.
    pub(crate) created: BTreeSet<String>,
    /// The users and the ids of the notes that the client has deleted.
    pub(crate) deleted: BTreeSet<(String, String)>,
}

impl Client {
    /// Creates a client whose DynamoDB has the URL `url`. `existing` is the number of notes before the migration.
    pub(crate) fn new(url: &str, random: Random, existing: usize) -> Self {
        let aws = aws::Stack::from_vars(|name| {
            Some(match name {
                "AWS_ENDPOINT_URL" => url.into(),
                "AWS_REGION" => "us-east-1".into(),
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "local".into(),
                _ => return None,
            })
        });
        let dynamodb = Dynamodb::new(&aws.unwrap());
        let table = |name: &str| dynamodb.table(name.parse().unwrap());
        Self {
            notes: NotesTable::new(table("Notes")),
            counted: CountedTables::new(table("Notes"), table("Storage")),
            random,
            existing,
            created: BTreeSet::new(),
            deleted: BTreeSet::new(),
        }
    }

    /// Creates a note, or deletes one.
    pub(crate) async fn write(&mut self) {
        let user: UserId = user_id(self.random.below(USERS)).parse().unwrap();
        if self.random.below(2) == 0 {
            self.create(user).await;
        } else {
            self.delete(&user).await;
        }
    }

    async fn create(&mut self, user_id: UserId) {
        let now = Timestamp::now();
        let note = Note {
            user_id,
            note_id: NoteId::generate(),
            content: Content::try_from("new".to_owned()).unwrap(),
            attachment: None,
            uploaded: None,
            created_at: now,
            updated_at: now,
            version: Version::generate(),
            counted: true,
        };
        self.counted.insert(&note, None, FREE).await.unwrap();
        self.created.insert(note.note_id.to_string());
    }

    /// Deletes a random note of `user`, if there is one and it is not counted meanwhile.
    async fn delete(&mut self, user: &UserId) {
        // New notes are newer than all old ones.
        let before = match self.random.below(4) {
            0 => None,
            _ => Some(id(self.random.below(self.existing)).parse().unwrap()),
        };
        let page = self.notes.page(user, before, 1).await.unwrap();
        let Some(note) = page.items.into_iter().next() else {
            return;
        };
        let removed = self
            .counted
            .remove(user, note.note_id, note.version, note.counted);
        let is_removed = removed.await.unwrap();
        if is_removed {
            let user = user.as_str().to_owned();
            self.deleted.insert((user, note.note_id.to_string()));
        }
    }
}
