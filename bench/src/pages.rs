//! Measures how the response time of `notes-list` depends on the page length and on the number of notes that the user
//! has.

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use test_support::functions::Function;

use crate::callgrind::{self, Repetition};
use crate::fixture::{Fixture, program};
use crate::measure::{self, Subject};
use crate::report::Page;
use crate::variants::{Case, Paths, Transport, Variant};

/// The cases to measure: the number of notes that the user has, and the requested page length.
const CASES: [(usize, usize); 5] = [
    (1, 1),
    (10_000, 1),
    (1_000_000, 1),
    (10_000, 100),
    (1_000_000, 100),
];

/// The number of notes that one call writes to the local DynamoDB.
const BATCH: usize = 10_000;

/// Measures `warm` warm requests for the first page, in each of [`CASES`]. `list` is the function `notes-list`.
///
/// # Errors
/// Fails if an invocation fails or a page has the wrong length.
pub(crate) async fn measure(list: &Function, paths: &Paths, warm: usize) -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    let fixture = Fixture::start().await?;
    let case = Case {
        function: list.clone(),
        variant: Variant::Rust,
        transport: Transport::Http,
    };
    let mut written = Vec::new();
    for (notes, length) in CASES {
        let user = format!("{}-{notes}", local_aws::USER);
        if !written.contains(&notes) {
            write_notes(&fixture, &user, notes)?;
            written.push(notes);
        }
        let mut subject = fixture.subject(&case, paths)?;
        let limit = length.to_string();
        for (pointer, value) in [
            ("/requestContext/identity/cognitoIdentityId", json!(user)),
            ("/queryStringParameters", json!({"limit": limit})),
            (
                "/multiValueQueryStringParameters",
                json!({"limit": [limit]}),
            ),
        ] {
            let field = subject.event.pointer_mut(pointer);
            *field.with_context(|| format!("cannot find {pointer} in the sample event"))? = value;
        }
        let shown = json!({"userId": "", "noteId": "", "content": "", "attachment": null, "createdAt": 0, "updatedAt": 0});
        subject.expected = json!({"statusCode": 200, "body": vec![shown; length]});
        subject.restores = false;
        let sample = measure::sample(&subject, &fixture.cloud, warm).await?;
        let times = measure::summary(&[sample])
            .ok_or_else(|| anyhow!("no start of notes-list was measured"))?;
        pages.push(Page {
            notes,
            length,
            p50_ms: times.warm_p50_ms,
            p99_ms: times.warm_p99_ms,
            cpu_ms: times.warm_cpu_ms,
            memory: times.memory,
            instructions: Some(warm_instructions(&subject, &fixture, paths).await?),
        });
    }
    Ok(pages)
}

async fn warm_instructions(subject: &Subject, fixture: &Fixture, paths: &Paths) -> Result<u64> {
    let valgrind = program("valgrind")?;
    let counts = callgrind::count(
        subject,
        &fixture.cloud,
        &valgrind,
        &paths.scratch,
        Repetition::Once,
    )
    .await?;
    Ok(counts.warm)
}

/// Writes `notes` notes of the user `user`, without attachments, to the local DynamoDB.
fn write_notes(fixture: &Fixture, user: &str, notes: usize) -> Result<()> {
    let note = |number: usize| -> Value {
        json!({
            "userId": {"S": user},
            // The IDs are in ascending order, like UUIDs of version 7 that are created one after another.
            "noteId": {"S": format!("019aa0b4-{:04x}-7{:03x}-8000-{number:012x}", number >> 12, number & 0xfff)},
            "version": {"S": format!("019aa0b4-0000-7000-9000-{number:012x}")},
            "content": {"S": format!("note {number:07} ").repeat(20)},
            "attachment": {"NULL": true},
            "createdAt": {"N": "1763632800000"},
            "updatedAt": {"N": "1763632800000"},
        })
    };
    for from in (0..notes).step_by(BATCH) {
        let batch = (from..notes.min(from + BATCH)).map(note);
        fixture
            .cloud
            .dynamodb
            .put_all("Notes", batch)
            .map_err(|error| anyhow!("cannot write the notes: {error}"))?;
    }
    Ok(())
}
