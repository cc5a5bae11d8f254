//! The order in which stacks can be deployed, by what their templates export and import.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::Value;

/// The stacks in an order in which each comes after those that export what it imports. What none of
/// them exports is there already.
///
/// # Errors
/// Names the stacks that import from each other in a circle.
pub(crate) fn order(templates: &BTreeMap<String, Value>) -> Result<Vec<String>> {
    let exporters: BTreeMap<&str, &str> = templates
        .iter()
        .flat_map(|(stack, template)| exports(template).map(move |name| (name, stack.as_str())))
        .collect();
    let mut needs: BTreeMap<&str, BTreeSet<&str>> = templates
        .iter()
        .map(|(stack, template)| {
            let imported = imports(template).into_iter();
            let from = imported.filter_map(|name| exporters.get(name).copied());
            (
                stack.as_str(),
                from.filter(|other| other != stack).collect(),
            )
        })
        .collect();
    let mut ordered = Vec::new();
    while !needs.is_empty() {
        let next = needs.iter().find(|(_, needs)| needs.is_empty());
        let Some((&next, _)) = next else {
            let circle: Vec<_> = needs.into_keys().collect();
            bail!("these stacks import from each other: {}", circle.join(", "));
        };
        needs.remove(next);
        for needs in needs.values_mut() {
            needs.remove(next);
        }
        ordered.push(next.to_owned());
    }
    Ok(ordered)
}

fn exports(template: &Value) -> impl Iterator<Item = &str> {
    let outputs = template.get("Outputs").and_then(Value::as_object);
    let names = outputs.into_iter().flat_map(|outputs| outputs.values());
    names.filter_map(|output| output.pointer("/Export/Name")?.as_str())
}

fn imports(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value.as_str()) {
                ("Fn::ImportValue", Some(imported)) => vec![imported],
                _ => imports(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(imports).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(exports: &[&str], imports: &[&str]) -> Value {
        let outputs = exports
            .iter()
            .map(|name| (name.to_string(), json!({"Export": {"Name": name}})));
        let resources = imports
            .iter()
            .map(|name| json!([{"Fn::ImportValue": name}]));
        json!({
            "Outputs": outputs.collect::<serde_json::Map<_, _>>(),
            "Resources": resources.collect::<Value>(),
        })
    }

    #[test]
    fn what_is_imported_is_deployed_before() {
        let stacks = BTreeMap::from([
            ("a".to_owned(), template(&[], &["Topic", "Table"])),
            ("b".to_owned(), template(&["Topic"], &["Api"])),
            ("c".to_owned(), template(&["Api"], &["Table"])),
        ]);
        assert_eq!(order(&stacks).unwrap(), ["c", "b", "a"]);
    }

    #[test]
    fn a_circle_is_named() {
        let stacks = BTreeMap::from([
            ("a".to_owned(), template(&["A"], &["B"])),
            ("b".to_owned(), template(&["B"], &["A"])),
            ("c".to_owned(), template(&[], &[])),
        ]);
        let error = order(&stacks).unwrap_err().to_string();
        assert!(error.ends_with("a, b"), "{error}");
    }
}
