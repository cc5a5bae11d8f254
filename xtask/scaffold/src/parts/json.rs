//! Removes members and elements from JSON files, and keeps the format of the rest.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstNode, CstObject, CstRootNode},
};

use super::marker::{Condition, Fate};

fn parse(text: &str) -> Result<CstRootNode> {
    Ok(CstRootNode::parse(text, &ParseOptions::default())?)
}

/// Returns the text of a string. `None` for other values.
fn string(node: &CstNode) -> Option<String> {
    node.as_string_lit()?.decoded_value().ok()
}

/// Removes members, whose paths have `.` between names. The last name can also be an element of an array of strings.
pub(super) fn remove_members(text: &str, keys: &[String]) -> Result<String> {
    let root = parse(text)?;
    for key in keys {
        let mut at = root.value();
        for name in key.split('.') {
            at = at.and_then(|node| child(&node, name));
        }
        let found = at.with_context(|| format!("there is no member {key:?}"))?;
        match found.parent().and_then(|parent| parent.as_object_prop()) {
            Some(member) => member.remove(),
            None => found.remove(),
        }
    }
    Ok(root.to_string())
}

fn child(node: &CstNode, name: &str) -> Option<CstNode> {
    match node.as_object() {
        Some(object) => object.get(name)?.value(),
        None => {
            let elements = node.as_array()?.elements();
            elements
                .into_iter()
                .find(|element| string(element).as_deref() == Some(name))
        }
    }
}

/// Removes the elements of arrays that are strings for which `is_removed` returns true, or objects with such a member.
pub(super) fn remove_elements(text: &str, is_removed: &dyn Fn(&str) -> bool) -> Result<String> {
    let root = parse(text)?;
    let is_removed = |node: &CstNode| string(node).is_some_and(|text| is_removed(&text));
    let mut open: Vec<_> = root.value().into_iter().collect();
    while let Some(node) = open.pop() {
        if let Some(array) = node.as_array() {
            for element in array.elements() {
                let members = element.as_object().map(members).unwrap_or_default();
                if is_removed(&element) || members.iter().any(is_removed) {
                    element.remove();
                } else {
                    open.push(element);
                }
            }
        }
        open.extend(node.as_object().map(members).unwrap_or_default());
    }
    Ok(root.to_string())
}

/// Returns the values of an object's members.
#[expect(clippy::needless_pass_by_value, reason = "for Option::map")]
fn members(object: CstObject) -> Vec<CstNode> {
    let members = object.properties();
    members.iter().filter_map(|member| member.value()).collect()
}

/// Removes the objects whose member `part` names a removed part, like a marker.
pub(super) fn remove_marked(
    path: &str,
    text: &str,
    known: &BTreeSet<String>,
    removed: &BTreeSet<String>,
) -> Result<String> {
    if !text.contains("\"part\":") {
        return Ok(text.into());
    }
    let root = parse(text).with_context(|| path.to_owned())?;
    let mut open: Vec<_> = root.value().into_iter().collect();
    while let Some(node) = open.pop() {
        let mark = node.as_object().and_then(|object| object.get("part"));
        if let Some(mark) = mark {
            let names = mark.value().and_then(|value| string(&value));
            let names = names.with_context(|| format!("{path}: `part` must be a string"))?;
            let condition = Condition::parse(&names);
            condition.check(known).with_context(|| path.to_owned())?;
            match condition.fate(removed) {
                Fate::Keep => {}
                Fate::Remark(rest) => mark.set_value(CstInputValue::String(rest.to_string())),
                Fate::Uncomment => {
                    bail!("{path}: JSON has no comments, so `without` is not possible")
                }
                Fate::Drop => {
                    match node.parent().and_then(|parent| parent.as_object_prop()) {
                        Some(member) => member.remove(),
                        None => node.remove(),
                    }
                    continue;
                }
            }
        }
        open.extend(node.as_object().map(members).unwrap_or_default());
        open.extend(
            node.as_array()
                .map(|array| array.elements())
                .unwrap_or_default(),
        );
    }
    Ok(root.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn members_and_elements_are_removed_and_the_rest_keeps_its_format() {
        let text = "{\n  \"a\": [\"x\", \"blue\"],\n\n  \"b\": { \"@c/d\": 1, \"e\": 2 },\n  \"f\": 3\n}\n";
        let keys = ["a.blue", "b.@c/d", "f"].map(String::from);
        let rest = remove_members(text, &keys).unwrap();
        assert_eq!(rest, "{\n  \"a\": [\"x\"],\n\n  \"b\": { \"e\": 2 }\n}\n");
        let error = remove_members(text, &["b.z".into()]).unwrap_err();
        assert_eq!(error.to_string(), "there is no member \"b.z\"");
    }

    #[test]
    fn elements_with_a_word_are_removed_at_any_depth() {
        let text = "[\n  {\n    \"calls\": [\n      \"a blue-1\",\n      \"b\"\n    ]\n  },\n  { \"f\": \"blue-2\" }\n]\n";
        let rest = remove_elements(text, &|text| text.contains("blue-")).unwrap();
        assert_eq!(
            rest,
            "[\n  {\n    \"calls\": [\n      \"b\"\n    ]\n  }\n]\n"
        );
    }

    #[test]
    fn objects_with_a_removed_part_are_removed() {
        let text = "{\n  \"A\": { \"x\": 1 },\n  \"B\": { \"part\": \"blue or green\" },\n  \"C\": [{ \"part\": \"blue\" }]\n}\n";
        let known = names(&["green", "blue"]);
        let marked = |text: &str, removed| remove_marked("a.json", text, &known, &names(removed));
        let rest = marked(text, &["blue"]).unwrap();
        assert_eq!(
            rest,
            "{\n  \"A\": { \"x\": 1 },\n  \"B\": { \"part\": \"green\" },\n  \"C\": []\n}\n"
        );
        let rest = marked(&rest, &["green"]).unwrap();
        assert_eq!(rest, "{\n  \"A\": { \"x\": 1 },\n  \"C\": []\n}\n");
        let error = marked("{ \"part\": \"bleu\" }", &[]).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "a.json: there is no part \"bleu\"; the parts are: blue, green"
        );
    }
}
