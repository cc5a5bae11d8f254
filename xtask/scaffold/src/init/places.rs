//! Reads and changes single values in YAML and JSON files, without any other change of the text.

use std::ops::Range;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Returns where a block mapping in YAML has the scalar with the keys `path`. `None` if there is none.
///
/// It reads the lines of block mappings (`key: value # comment`), as the tables in serverless.yml have them.
pub(crate) fn in_yaml(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let mut keys: Vec<(usize, &str)> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let content = line[indent..].trim_end();
        if let Some((key, value)) = content.split_once(':')
            && !content.starts_with(['#', '-'])
        {
            keys.retain(|(outer, _)| *outer < indent);
            keys.push((indent, key));
            if keys.iter().map(|(_, key)| *key).eq(path.iter().copied()) {
                let at = start + indent + key.len() + 1;
                return scalar(value).map(|place| at + place.start..at + place.end);
            }
        }
        start += line.len();
    }
    None
}

/// Returns where the text after a key has its scalar: without quotes, and without a comment.
fn scalar(value: &str) -> Option<Range<usize>> {
    let start = value.len() - value.trim_start().len();
    let rest = &value[start..];
    if let Some(quoted) = rest.strip_prefix('"') {
        return quoted.find('"').map(|end| start + 1..start + 1 + end);
    }
    let end = match rest.starts_with('#') {
        true => 0,
        false => rest.find(" #").unwrap_or(rest.len()),
    };
    let length = rest[..end].trim_end().len();
    (length > 0).then_some(start..start + length)
}

/// Returns where a JSON file has the value of a key of the top level, with the text of the value.
///
/// # Errors
/// Fails if the text is not a JSON object, or has no such key.
pub(crate) fn in_json(text: &str, key: &str) -> Result<Range<usize>> {
    let value: Value = serde_json::from_str(text)?;
    let value = value.get(key).with_context(|| format!("no key {key}"))?;
    let quoted = format!("\"{key}\":");
    let Some(at) = text.find(&quoted) else {
        bail!("no text {quoted}");
    };
    let rest = &text[at + quoted.len()..];
    let start = at + quoted.len() + rest.len() - rest.trim_start().len();
    let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
    if values.next().transpose()?.as_ref() != Some(value) {
        bail!("{key} is not unique");
    }
    Ok(start..start + values.byte_offset())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_found_in_block_mappings() {
        let yaml = "# a: { x: 1 }\na:\n  x: { y: 0 }\n  pr-*: # row\n    y: \"12\" # why\n    z: b@c.d # who\nb:\n  y: 3\n";
        let found = |path: &[&str]| in_yaml(yaml, path).map(|place| &yaml[place]);
        assert_eq!(found(&["a", "pr-*", "y"]), Some("12"));
        assert_eq!(found(&["a", "pr-*", "z"]), Some("b@c.d"));
        assert_eq!(found(&["b", "y"]), Some("3"));
        assert_eq!(found(&["a", "y"]), None);
        assert_eq!(found(&["a", "pr-*"]), None);
    }

    #[test]
    fn values_are_found_in_json() {
        let json = "{\n  \"a\": \"x\",\n  \"b\": [{ \"c\": 1 },\n 2],\n  \"d\": 3\n}\n";
        let found = |key| &json[in_json(json, key).unwrap()];
        assert_eq!(found("a"), "\"x\"");
        assert_eq!(found("b"), "[{ \"c\": 1 },\n 2]");
        assert_eq!(found("d"), "3");
        in_json(json, "e").unwrap_err();
    }
}
