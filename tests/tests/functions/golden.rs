//! What each function makes of its sample event: its answer, and what has changed in
//! the cloud, as the files in `tests/golden/` say.
//!
//! After a change that is meant, `UPDATE_GOLDEN=1 cargo xtask test --integration` writes them
//! anew; the change is then read in the diff.

use e2e::functions;
use local_aws::Cloud;
use serde_json::{Value, json};

use crate::{DEADLINE, answer, event, start};

#[tokio::test]
async fn each_function_makes_of_its_sample_event_what_its_golden_file_says() {
    let mut wrong = Vec::new();
    for function in functions::all() {
        let cloud = Cloud::start().await.unwrap();
        let before = cloud.snapshot().unwrap();
        let mut host = start(&function, &cloud.url(), &[]).await;
        let event = event(&function).to_string();
        let invocation = host.invoke(event.clone(), DEADLINE, None).await;
        let known = format!("{before}{event}");
        let mut answer = answer(&function, invocation);
        // A body is JSON within JSON.
        if let Some(Ok(body)) = answer["body"].as_str().map(serde_json::from_str) {
            answer["body"] = body;
        }
        let after = changed(&before, cloud.snapshot().unwrap());
        let mut made = json!({"answer": answer, "cloud": after});
        mask(&mut made, &known, &cloud.url());
        let made = format!("{made:#}\n");

        let file = e2e::root().join(format!("tests/golden/{}.json", function.name));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &made).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        if made != golden {
            wrong.push(format!("{}:\n{made}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is not as it was.
fn changed(before: &Value, mut after: Value) -> Value {
    let fields = after.as_object_mut().unwrap();
    fields.retain(|name, content| before[name] != *content);
    if fields.is_empty() {
        return json!("as before");
    }
    after
}

/// Replaces what is another in every run: ids and times that were not in the cloud before, and
/// signatures.
fn mask(value: &mut Value, known: &str, cloud: &str) {
    match value {
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| mask(value, known, cloud)),
        Value::Array(items) => items.iter_mut().for_each(|value| mask(value, known, cloud)),
        Value::Number(number) => {
            let number = number.to_string();
            if is_time(&number) && !known.contains(&number) {
                *value = "<time>".into();
            }
        }
        Value::String(text) => {
            *text = match text.replace(cloud, "<cloud>").split_once('?') {
                Some((address, query)) if query.contains("X-Amz-Signature") => {
                    format!(
                        "{}?{}",
                        without_ids(address, known),
                        without_signature(query)
                    )
                }
                _ if is_time(text) && !known.contains(text.as_str()) => "<time>".into(),
                _ => without_ids(text, known),
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Milliseconds of this century.
fn is_time(text: &str) -> bool {
    text.len() == 13 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// With `<id>` in place of every UUID that was not known before, with dashes and without.
fn without_ids(text: &str, known: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let id = [36, 32].into_iter().find_map(|length| {
            let id = rest.get(..length)?;
            uuid::Uuid::try_parse(id).ok()?;
            Some(id)
        });
        let (part, masked) = match id {
            Some(id) if known.contains(id) => (id.len(), id),
            Some(id) => (id.len(), "<id>"),
            None => (first.len_utf8(), &rest[..first.len_utf8()]),
        };
        out += masked;
        rest = &rest[part..];
    }
    out
}

/// The query of a presigned URL, without what the time decides.
fn without_signature(query: &str) -> String {
    let parameters = query.split('&').map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap();
        match name {
            "X-Amz-Signature" | "X-Amz-Date" | "X-Amz-Credential" => format!("{name}=<masked>"),
            _ => format!("{name}={value}"),
        }
    });
    parameters.collect::<Vec<_>>().join("&")
}
