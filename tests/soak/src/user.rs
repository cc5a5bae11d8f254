//! A user: a loop of weighted random operations, each of which is in the ledger.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use test_support::http::Method;
use test_support::stage::Person;
use uuid::Uuid;

use crate::client::{Answer, Client, Shared};
use crate::ledger::{Action, Attachment, Ledger, Outcome};
use crate::payments::{Orders, Owner}; // part: billing

/// The kinds of operations, with the number of times in 100 operations that a user chooses each.
const WEIGHTS: &[(Kind, u32)] = &[
    (Kind::Create, 28),
    (Kind::CreateWithFile, 8),
    (Kind::Read, 14),
    (Kind::Pages, 8),
    (Kind::Update, 16),
    (Kind::Delete, 10),
    (Kind::Buy, 10),   // part: billing
    (Kind::Refund, 3), // part: billing
    (Kind::Storage, 3),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Create,
    CreateWithFile,
    Read,
    Pages,
    Update,
    Delete,
    Buy,    // part: billing
    Refund, // part: billing
    Storage,
}

/// The number of operations after which a user leaves, and another one signs up.
const STAY: std::ops::Range<u32> = 200..800;

/// The pause between two operations of a user, in milliseconds.
const THINKING: std::ops::Range<u64> = 20..400;

/// A note that the user knows to exist.
#[derive(Debug)]
struct Note {
    id: String,
    /// The operation that created the note. The content begins with it.
    by: u64,
    etag: String,
    file: Option<String>,
}

/// A user of the stage.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) client: Client,
    pub(crate) ledger: Ledger,
    notes: Vec<Note>,
    pub(crate) orders: Orders, // part: billing
}

/// Signs up one user after another until the load ends. Each one uses the stage for a while.
pub(crate) async fn run(
    shared: Arc<Shared>,
    ledger: Ledger,
    owner: Owner, // part: billing
    mut random: Rng,
) -> Result<()> {
    while let Some(client) = Client::sign_up(&shared, random.fork()).await {
        let mut user = User {
            client,
            ledger: ledger.clone(),
            notes: Vec::new(),
            orders: Orders::of(&owner), // part: billing
        };
        for _ in 0..random.u32(STAY) {
            if shared.has_ended() {
                break;
            }
            // part: billing {
            // A user with too many declined orders cannot order for an hour.
            if !user.orders.may_order {
                break;
            }
            // part: billing }
            let kind = choose(&mut user.client.random, WEIGHTS);
            user.act(kind).await?;
            let thinking = user.client.random.u64(THINKING);
            shared.pause(Duration::from_millis(thinking)).await;
        }
    }
    Ok(())
}

/// Returns a random element of `weights`, which has a probability in proportion to its weight.
pub(crate) fn choose<T: Copy>(random: &mut Rng, weights: &[(T, u32)]) -> T {
    let total = weights.iter().map(|(_, weight)| weight).sum();
    let mut number = random.u32(0..total);
    let mut chosen = weights[0].0;
    for (kind, weight) in weights {
        chosen = *kind;
        match number.checked_sub(*weight) {
            Some(rest) => number = rest,
            None => break,
        }
    }
    chosen
}

/// Returns the path of a note.
fn path(note: &str) -> String {
    format!("/notes/{}", utf8_percent_encode(note, NON_ALPHANUMERIC))
}

impl User {
    async fn act(&mut self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Create => self.create(None).await,
            Kind::CreateWithFile => match self.upload().await {
                Some(file) => self.create(Some(file)).await,
                None => Ok(()),
            },
            Kind::Read => self.read().await,
            Kind::Pages => self.read_pages().await,
            Kind::Update => self.update().await,
            Kind::Delete => self.delete().await,
            Kind::Buy => self.buy().await,       // part: billing
            Kind::Refund => self.refund().await, // part: billing
            Kind::Storage => {
                let get = self.client.send("GET /storage", |person| {
                    person.request(Method::GET, "/storage")
                });
                get.await;
                Ok(())
            }
        }
    }

    /// Writes the intent of an operation. Returns the number of the operation.
    pub(crate) async fn intend(&self, action: Action) -> Result<u64> {
        let operation = self.ledger.next();
        let user = &self.client.person.id;
        self.ledger.intend(operation, user, action).await?;
        Ok(operation)
    }

    /// Returns the content of a note: `by`, the number of the operation that creates the note, and random text.
    fn content(&mut self, by: u64) -> String {
        let length = 1 << self.client.random.u32(4..12);
        let letters = std::iter::repeat_with(|| self.client.random.alphanumeric());
        format!("{by} {}", letters.take(length).collect::<String>())
    }

    /// Returns the position of a random note in `notes`. `None` if the user has none.
    fn any_note(&mut self) -> Option<usize> {
        match self.notes.len() {
            0 => None,
            number => Some(self.client.random.usize(..number)),
        }
    }

    async fn create(&mut self, file: Option<Attachment>) -> Result<()> {
        let by = self.ledger.next();
        let content = self.content(by);
        let body = json!({
            "content": content, "attachment": file.as_ref().map(|file| &file.key),
        });
        let key = file.as_ref().map(|file| file.key.clone());
        let action = Action::CreateNote { content, file };
        let user = &self.client.person.id;
        self.ledger.intend(by, user, action).await?;
        let idempotency = Uuid::now_v7().to_string();
        let post = |person: &Person<'_>| {
            let post = person.request(Method::POST, "/notes").json(&body);
            post.header("idempotency-key", &idempotency)
        };
        let Some(answer) = self.client.send("POST /notes", post).await else {
            return Ok(());
        };
        let outcome = match answer.status() {
            201 => {
                let id = answer.text("noteId");
                self.notes.push(Note {
                    id: id.clone(),
                    by,
                    etag: etag(&answer),
                    file: key,
                });
                Outcome::Done { id }
            }
            _ => Outcome::Refused,
        };
        self.ledger.acknowledge(by, outcome).await?;
        Ok(())
    }

    /// Uploads a random file. `None` if the upload was not acknowledged.
    async fn upload(&mut self) -> Option<Attachment> {
        let size = self.client.random.usize(1..40_000);
        let bytes = std::iter::repeat_with(|| self.client.random.u8(..));
        let bytes: Vec<_> = bytes.take(size).collect();
        let file = json!({
            "filename": "a file.bin", "contentType": "application/octet-stream", "size": size,
        });
        let post = |person: &Person<'_>| {
            person
                .request(Method::POST, "/notes/attachments")
                .json(&file)
        };
        let issued = self.client.send("POST /notes/attachments", post).await;
        let issued = issued.filter(|answer| answer.status() == 201)?;
        let url = issued.text("uploadUrl");
        let put = |person: &Person<'_>| {
            let put = person.unsigned(Method::PUT, &url).body(bytes.clone());
            put.header("content-type", "application/octet-stream")
        };
        let uploaded = self.client.send("PUT file", put).await;
        uploaded.filter(|answer| answer.status() == 200)?;
        Some(Attachment {
            key: issued.text("attachment"),
            checksum: crc32fast::hash(&bytes),
        })
    }

    async fn read(&mut self) -> Result<()> {
        if let Some(index) = self.any_note() {
            self.reread(index).await;
        }
        Ok(())
    }

    /// Reads the note at `index`. Returns its content. `None` if it cannot be read.
    async fn reread(&mut self, index: usize) -> Option<String> {
        let path = path(&self.notes.get(index)?.id);
        let get = |person: &Person<'_>| person.request(Method::GET, &path);
        let answer = self.client.send("GET /notes/{id}", get).await;
        let answer = answer.filter(|answer| answer.status() == 200)?;
        self.notes.get_mut(index)?.etag = etag(&answer);
        Some(answer.text("content"))
    }

    async fn read_pages(&mut self) -> Result<()> {
        let limit = self.client.random.u32(5..=100);
        let mut next = Some(format!("/notes?limit={limit}"));
        while let Some(path) = next.take() {
            let get = |person: &Person<'_>| person.request(Method::GET, &path);
            let answer = self.client.send("GET /notes", get).await;
            let answer = answer.filter(|answer| answer.status() == 200);
            next = answer.and_then(|answer| answer.response.next_page());
        }
        Ok(())
    }

    async fn update(&mut self) -> Result<()> {
        let Some(index) = self.any_note() else {
            return Ok(());
        };
        let Some(note) = self.notes.get(index) else {
            return Ok(());
        };
        let (id, by, file) = (note.id.clone(), note.by, note.file.clone());
        // Some updates have an old version, which must be refused.
        let etag_sent = match self.client.random.u32(..10) {
            0 => format!("\"{}\"", Uuid::now_v7()),
            _ => note.etag.clone(),
        };
        let content = self.content(by);
        let (path, note, new) = (path(&id), id.clone(), content.clone());
        let operation = self.intend(Action::UpdateNote { note, content }).await?;
        let body = json!({"content": new, "attachment": file});
        let put = |person: &Person<'_>| {
            let put = person.request(Method::PUT, &path).json(&body);
            put.header("if-match", &etag_sent)
        };
        let answer = self.client.send("PUT /notes/{id}", put).await;
        let outcome = match answer {
            Some(answer) if answer.status() == 200 => {
                if let Some(note) = self.notes.get_mut(index) {
                    note.etag = etag(&answer);
                }
                Some(Outcome::Done { id })
            }
            // Either another version, or an earlier attempt has changed the note.
            Some(answer) if answer.status() == 412 && answer.is_repeated => {
                match self.reread(index).await {
                    Some(content) if content == new => Some(Outcome::Done { id }),
                    Some(_) => Some(Outcome::Refused),
                    None => None,
                }
            }
            Some(_) => {
                self.reread(index).await;
                Some(Outcome::Refused)
            }
            None => None,
        };
        match outcome {
            Some(outcome) => self.ledger.acknowledge(operation, outcome).await?,
            // The user does not know the note's version and content any more.
            None => drop(self.notes.swap_remove(index)),
        }
        Ok(())
    }

    async fn delete(&mut self) -> Result<()> {
        let Some(index) = self.any_note() else {
            return Ok(());
        };
        let id = self.notes.swap_remove(index).id;
        let path = path(&id);
        let operation = self.intend(Action::DeleteNote { note: id.clone() }).await?;
        let delete = |person: &Person<'_>| person.request(Method::DELETE, &path);
        let answer = self.client.send("DELETE /notes/{id}", delete).await;
        if let Some(answer) = answer {
            let outcome = match answer.status() {
                200 => Outcome::Done { id },
                _ => Outcome::Refused,
            };
            self.ledger.acknowledge(operation, outcome).await?;
        }
        Ok(())
    }
}

fn etag(answer: &Answer) -> String {
    answer
        .response
        .header("etag")
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_depends_only_on_the_seed_and_has_the_given_weights() {
        let numbers = |seed| {
            let mut random = Rng::with_seed(seed);
            let choices =
                std::iter::repeat_with(move || choose(&mut random, &[('a', 9), ('b', 1)]));
            choices.take(1000).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
        let rare = numbers(1).iter().filter(|choice| **choice == 'b').count();
        assert!((50..200).contains(&rare), "{rare}");
    }
}
