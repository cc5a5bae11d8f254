//! What a page of a list costs a user with few notes and one with very many.

use anyhow::{Context, Result, anyhow};
use e2e::functions::Function;
use serde_json::{Value, json};

use crate::callgrind;
use crate::measure::{self, Subject};
use crate::report::Page;
use crate::variants::{Over, Places, Scene, Variant, program};

/// How many notes there are, and how many are asked for.
const CASES: [(usize, usize); 5] = [
    (1, 1),
    (10_000, 1),
    (1_000_000, 1),
    (10_000, 100),
    (1_000_000, 100),
];

/// Notes that are written at a time.
const BATCH: usize = 10_000;

/// Asks for the first page of users with ever more notes, warm.
///
/// # Errors
/// When the function fails, or a page is not as long as it has to be.
pub(crate) async fn pages(list: &Function, places: &Places, warm: usize) -> Result<Vec<Page>> {
    let mut pages = Vec::new();
    let scene = Scene::start().await?;
    let mut written = Vec::new();
    for (notes, length) in CASES {
        let user = format!("{}-{notes}", local_aws::USER);
        if !written.contains(&notes) {
            write(&scene, &user, notes)?;
            written.push(notes);
        }
        let mut subject = scene.subject(list, Variant::Rust, Over::Http, places)?;
        let limit = length.to_string();
        for (place, value) in [
            ("/requestContext/identity/cognitoIdentityId", json!(user)),
            ("/queryStringParameters", json!({"limit": limit})),
            (
                "/multiValueQueryStringParameters",
                json!({"limit": [limit]}),
            ),
        ] {
            let place = subject.event.pointer_mut(place);
            *place.context("the sample event has a caller and a query")? = value;
        }
        let shown = json!({"userId": "", "noteId": "", "content": "", "attachment": null, "createdAt": 0, "updatedAt": 0});
        subject.expected = json!({"statusCode": 200, "body": vec![shown; length]});
        subject.restores = false;
        let sample = measure::life(&subject, &scene.cloud, warm).await?;
        let times = measure::summary(&[sample]).ok_or_else(|| anyhow!("nothing is measured"))?;
        pages.push(Page {
            notes,
            length,
            p50_ms: times.warm_p50_ms,
            p99_ms: times.warm_p99_ms,
            cpu_ms: times.warm_cpu_ms,
            memory: times.memory,
            instructions: Some(counted(&subject, &scene, places).await?),
        });
    }
    Ok(pages)
}

async fn counted(subject: &Subject, scene: &Scene, places: &Places) -> Result<u64> {
    let valgrind = program("valgrind")?;
    let counts = callgrind::count(subject, &scene.cloud, &valgrind, &places.scratch, false).await?;
    Ok(counts.warm)
}

/// Gives a user so many notes, without files.
fn write(scene: &Scene, user: &str, notes: usize) -> Result<()> {
    let note = |number: usize| -> Value {
        json!({
            "userId": {"S": user},
            // As those of version 7 do, later ones sort after earlier ones
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
        scene
            .cloud
            .dynamodb
            .put_all("Notes", batch)
            .map_err(|error| anyhow!("notes cannot be written: {error}"))?;
    }
    Ok(())
}
