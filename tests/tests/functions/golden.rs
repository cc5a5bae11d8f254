//! Golden tests: each function's response to its sample event, and the changes that the function makes in the
//! local AWS, equal the function's golden file: the file in `tests/golden/` with its name.
//!
//! After an intended change, run `UPDATE_GOLDEN=1 cargo xtask test --integration` to rewrite the files,
//! and check the diff.

use local_aws::Cloud;
use serde_json::{Value, json};
use test_support::functions;
use test_support::functions::Function; // part: billing
use test_support::prices::{currency, price}; // part: billing

use crate::{DEADLINE, event, response, start};

#[tokio::test]
async fn sample_events_give_the_golden_responses_and_changes() {
    let mut wrong = Vec::new();
    for function in functions::with_template() {
        let cloud = Cloud::start().await.unwrap();
        let before = cloud.snapshot().unwrap();
        let mut host = start(&function, &cloud.url(), &[]).await;
        let event = event(&function).to_string();
        let invocation = host.invoke(event.clone(), DEADLINE, None).await;
        let known = format!("{before}{event}");
        let mut response = response(&function, invocation);
        // The body is a string with JSON.
        if let Some(Ok(body)) = response["body"].as_str().map(serde_json::from_str) {
            response["body"] = body;
        }
        let after = changed(&before, cloud.snapshot().unwrap());
        let mut actual = json!({"response": response, "cloud": after});
        mask(&mut actual, &known, &cloud.url());
        let actual = format!("{actual:#}\n");
        let actual = without_prices(&function, &actual); // part: billing

        let file = function.golden();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &actual).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        if actual != golden {
            wrong.push(format!("{}:\n{actual}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// part: billing {
/// Masks the price of the sample's order and the currency, so that the golden file holds for all prices. Also masks those of
/// the stored sample purchase, which equal them if the prices are the original ones.
fn without_prices(function: &Function, text: &str) -> String {
    // The sample purchases have no currency, so that of the prices applies.
    let masked = "\"currency\": \"<currency>\"";
    let text = text.replace(&format!("\"currency\": \"{}\"", currency()), masked);
    if function.name != "billing-purchase" {
        return text;
    }
    let prices = [(4_000, "usd"), (price(10), currency())];
    prices.iter().fold(text, |text, (price, currency)| {
        text.replace(&format!("\"{price}\""), "\"<price>\"")
            .replace(&format!("\"amount\": {price}"), "\"amount\": \"<price>\"")
            .replace(&format!("\"{currency}\""), "\"<currency>\"")
    })
}
// part: billing }

/// Returns the fields of `after` whose values differ from those in `before`. Returns the text "unchanged" if there are
/// none.
fn changed(before: &Value, mut after: Value) -> Value {
    let fields = after.as_object_mut().unwrap();
    fields.retain(|name, content| before[name] != *content);
    if fields.is_empty() {
        return json!("unchanged");
    }
    after
}

/// Masks the values that differ in every run of the test: signatures, and IDs and times that are not in `known`.
/// `known` is the text of the event and of the initial content of the local AWS.
fn mask(value: &mut Value, known: &str, cloud: &str) {
    match value {
        Value::Object(fields) => {
            // part: billing {
            // The shard of a new purchase depends on its generated ID.
            let id = fields.get("purchaseId").and_then(|id| id["S"].as_str());
            let is_new = id.is_some_and(|id| !known.contains(id));
            if let Some(shard) = fields.get_mut("unsettledShard").filter(|_| is_new) {
                *shard = "<shard>".into();
            }
            // part: billing }
            fields
                .values_mut()
                .for_each(|value| mask(value, known, cloud));
        }
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

/// Whether a text looks like a time in milliseconds since the Unix epoch: it has exactly 13 digits.
fn is_time(text: &str) -> bool {
    text.len() == 13 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Replaces each UUID that is not in `known` by `<id>`. UUIDs without hyphens are replaced too.
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

/// Masks the parameters in the query of a presigned URL that depend on the current time.
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
