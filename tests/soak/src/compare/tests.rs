//! Each kind of loss and duplication is detected.

use super::*;

pub(crate) fn intent(operation: Number, action: Action) -> Entry {
    let what = What::Intent {
        user: "ada".into(),
        action,
    };
    Entry {
        operation,
        at: 0,
        what,
    }
}

pub(crate) fn outcome(operation: Number, outcome: Outcome) -> Entry {
    Entry {
        operation,
        at: 0,
        what: What::Outcome(outcome),
    }
}

pub(crate) fn done(operation: Number, id: &str) -> Entry {
    outcome(operation, Outcome::Done { id: id.into() })
}

fn create(operation: Number, file: bool) -> Entry {
    let file = file.then(|| Attachment {
        key: "file".into(),
        checksum: 7,
    });
    let content = format!("{operation} first");
    intent(operation, Action::CreateNote { content, file })
}

fn update(operation: Number, note: &str, content: &str) -> Entry {
    let (note, content) = (note.into(), content.into());
    intent(operation, Action::UpdateNote { note, content })
}

fn delete(operation: Number, note: &str) -> Entry {
    intent(operation, Action::DeleteNote { note: note.into() })
}

pub(crate) fn note(id: &str, content: &str) -> Note {
    Note {
        user: "ada".into(),
        id: id.into(),
        content: content.into(),
        attachment: None,
    }
}

/// A stage on which everything that [`entries`] contains happened once.
pub(crate) fn stored() -> Stored {
    let with_file = Note {
        attachment: Some("file".into()),
        ..note("n2", "2 first")
    };
    let mut storage = Storage::default();
    storage.used += 2;
    Stored {
        notes: vec![note("n1", "1 second"), with_file],
        storage: BTreeMap::from([("ada".into(), storage)]),
        files: BTreeMap::from([("file".into(), 7)]),
        ..Stored::default()
    }
}

pub(crate) fn entries() -> Vec<Entry> {
    vec![
        create(1, false),
        done(1, "n1"),
        create(2, true),
        done(2, "n2"),
        update(3, "n1", "1 second"),
        done(3, "n1"),
        create(4, false),
        done(4, "n4"),
        delete(5, "n4"),
        done(5, "n4"),
        create(6, false),
        outcome(6, Outcome::Refused),
    ]
}

/// Compares without interruptions.
pub(crate) fn compared(entries: &[Entry], stored: &Stored) -> Comparison {
    compare(
        entries,
        stored,
        &[], // part: notify
    )
}

/// The invariants that do not hold after `change` has changed what is stored.
fn broken(change: impl FnOnce(&mut Stored)) -> Vec<&'static str> {
    let mut stored = stored();
    change(&mut stored);
    invariants(&compared(&entries(), &stored))
}

pub(crate) fn invariants(comparison: &Comparison) -> Vec<&'static str> {
    let mut broken: Vec<_> = comparison
        .differences
        .iter()
        .map(|difference| difference.invariant)
        .collect();
    broken.dedup();
    broken
}

#[test]
fn a_stage_that_did_everything_once_has_no_difference() {
    let comparison = compared(&entries(), &stored());
    assert_eq!(comparison.differences, []);
    assert_eq!((comparison.acknowledged, comparison.unknown), (6, 0));
}

#[test]
fn a_lost_note_is_detected() {
    assert_eq!(
        broken(|stored| drop(stored.notes.remove(0))),
        [NOTE_KEPT, USED]
    );
}

#[test]
fn a_lost_update_is_detected() {
    let change = |stored: &mut Stored| stored.notes[0].content = "1 first".into();
    assert_eq!(broken(change), [NOTE_KEPT]);
}

#[test]
fn a_lost_deletion_is_detected() {
    let change = |stored: &mut Stored| stored.notes.push(note("n4", "4 first"));
    assert_eq!(broken(change), [NOTE_GONE, USED]);
}

#[test]
fn a_note_that_was_refused_but_exists_is_detected() {
    let change = |stored: &mut Stored| stored.notes.push(note("n6", "6 first"));
    assert_eq!(broken(change), [NOTE_GONE, USED]);
}

#[test]
fn a_duplicate_note_is_detected() {
    let change = |stored: &mut Stored| {
        stored.notes.push(note("n7", "1 second"));
        stored.storage.get_mut("ada").unwrap().used += 1;
    };
    assert_eq!(broken(change), [ONE_NOTE, NOTE_KEPT]);
}

#[test]
fn a_note_of_nobody_or_of_another_user_is_detected() {
    for (user, content) in [("ada", "99 first"), ("bob", "1 second"), ("ada", "first")] {
        let change = |stored: &mut Stored| {
            let user = user.into();
            stored.notes.push(Note {
                user,
                ..note("n9", content)
            });
        };
        assert_eq!(broken(change), [OWN_NOTE, USED]);
    }
}

#[test]
fn a_wrong_count_of_notes_is_detected() {
    let change = |stored: &mut Stored| stored.storage.get_mut("ada").unwrap().used = 3;
    assert_eq!(broken(change), [USED]);
}

#[test]
fn a_lost_a_changed_and_a_forgotten_file_are_detected() {
    assert_eq!(broken(|stored| stored.files.clear()), [FILE_KEPT]);
    let change = |stored: &mut Stored| *stored.files.get_mut("file").unwrap() = 8;
    assert_eq!(broken(change), [FILE_KEPT]);
    assert_eq!(
        broken(|stored| stored.notes[1].attachment = None),
        [FILE_KEPT]
    );
}

#[test]
fn a_message_in_a_dead_letter_queue_is_detected() {
    let change = |stored: &mut Stored| stored.dead_letters.push("{}".into());
    assert_eq!(broken(change), [NO_DEAD_LETTERS]);
}

#[test]
fn an_operation_without_an_acknowledgement_may_have_happened_or_not_but_not_half() {
    let mut entries = entries();
    entries.retain(|entry| !matches!(entry.what, What::Outcome(_)) || entry.operation < 3);
    // Operations 1 and 2 created notes. The update and the deletion are unknown.
    let happened = compared(&entries, &stored());
    assert_eq!(happened.differences, []);
    assert_eq!((happened.acknowledged, happened.unknown), (2, 4));
    let mut before = stored();
    before.notes[0].content = "1 first".into();
    assert_eq!(compared(&entries, &before).differences, []);
    let mut half = stored();
    half.notes[0].content = "1 third".into();
    let half = compared(&entries, &half);
    assert_eq!(invariants(&half), [NOTE_KEPT]);
}
