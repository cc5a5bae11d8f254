//! Where a page of a list ended.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::note::{NoteId, UserId};

/// The last note of a page, for the caller to hand back when asking for the next one.
///
/// It carries a digest over the caller and the note, so that a cursor that was changed, or is of
/// somebody else's list, is known for one. It gives no access: a list is always the caller's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(NoteId);

const DIGEST: usize = 8;

impl Cursor {
    /// The cursor of a page that ended with `note`.
    pub fn after(note: NoteId) -> Self {
        Self(note)
    }

    /// The last note of the page.
    pub fn note(self) -> NoteId {
        self.0
    }

    /// The text that `user` gets.
    pub fn encode(self, user: &UserId) -> String {
        let mut bytes = self.0.as_bytes().to_vec();
        bytes.extend(digest(user, self.0));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what `user` handed back. None when it is not what they got.
    pub fn decode(user: &UserId, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let note = NoteId::from_bytes(*id);
        (rest == digest(user, note)).then_some(Self(note))
    }
}

fn digest(user: &UserId, note: NoteId) -> [u8; DIGEST] {
    let whole = Sha256::new()
        .chain_update("scratchpad notes cursor ")
        .chain_update(user.as_str())
        .chain_update(note.as_bytes())
        .finalize();
    let mut digest = [0; DIGEST];
    digest
        .iter_mut()
        .zip(whole)
        .for_each(|(to, from)| *to = from);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        format!("us-east-1:{name}").parse().unwrap()
    }

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor = Cursor::after(NoteId::generate());
        let text = cursor.encode(&user("ada"));
        assert_eq!(Cursor::decode(&user("ada"), &text), Some(cursor));
    }

    #[test]
    fn a_cursor_with_any_character_changed_is_refused() {
        let text = Cursor::after(NoteId::generate()).encode(&user("ada"));
        for place in 0..text.len() {
            for other in ["A", "B", "_", "%", ""] {
                let mut changed = text.clone();
                changed.replace_range(place..=place, other);
                if changed != text {
                    assert_eq!(Cursor::decode(&user("ada"), &changed), None, "{changed}");
                }
            }
        }
        assert_eq!(Cursor::decode(&user("ada"), ""), None);
    }

    #[test]
    fn a_cursor_of_somebody_else_is_refused() {
        let text = Cursor::after(NoteId::generate()).encode(&user("bob"));
        assert_eq!(Cursor::decode(&user("ada"), &text), None);
    }
}
