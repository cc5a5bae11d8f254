//! The regions of templates that are repeated or left out. Comments of the file's language mark them:
//!
//! ```text
//! // each field {
//! the lines for a required field
//! // each optional field:
//! the lines for an optional field; without this part, the first part is for all fields
//! // the others:
//! the other fields of the template, which the generated code does not have
//! // }
//! ```
//!
//! `each unique field {` is repeated for the unique fields, `each field with a default {` for those with a default value, `each resource {` for the resources of a service, and so on.
//! `if unique {` stays only in resources with a unique field.

use super::field::Field;
use super::words::{Language, Word, replace};

/// The sample fields of the template, whose lines are the patterns: the first is required, the second is optional, and the
/// third is unique.
pub(super) const PATTERNS: [Pattern; 3] = [
    Pattern::of(
        "epithet",
        "Text<200>",
        ["\"An epithet\"", "\"Another epithet\""],
    ),
    Pattern::of(
        "provenance",
        "Text<100>",
        ["\"A provenance\"", "\"Another provenance\""],
    ),
    Pattern::of(
        "accession",
        "Text<40>",
        ["\"An accession\"", "\"Another accession\""],
    ),
];

/// The words in a pattern that are replaced for each field.
pub(super) struct Pattern {
    pub(super) word: &'static str,
    rust: &'static str,
    samples: [&'static str; 2],
}

impl Pattern {
    const fn of(word: &'static str, rust: &'static str, samples: [&'static str; 2]) -> Self {
        Self {
            word,
            rust,
            samples,
        }
    }

    /// Writes the lines of the pattern for a field.
    fn fill(&self, lines: &str, field: &Field, language: Language) -> String {
        let [one, other] = field.samples().map(|sample| sample.to_string());
        let [first, second] = self.samples;
        let mut text = lines.replace(first, &one).replace(second, &other);
        text = text.replace("\"must be a string\"", &format!("\"{}\"", field.detail()));
        match language {
            Language::TypeScript => {
                text = text.replace("\"text\"", &format!("\"{}\"", field.form()));
                text = text.replace(": string", &format!(": {}", field.typescript()));
            }
            _ => text = text.replace(self.rust, &field.rust()),
        }
        let word = Word {
            word: self.word,
            name: field.name.clone(),
            is_field: true,
        };
        // The samples contain the words of the name, not the word of the pattern, so they stay.
        replace(&text, &[word], language)
    }
}

/// Returns the text of a comment that is alone on its line.
fn comment(line: &str) -> Option<&str> {
    let line = line.trim();
    for (start, end) in [
        ("// ", ""),
        ("# ", ""),
        ("<!-- ", " -->"),
        ("{/* ", " */}"),
        ("/* ", " */"),
    ] {
        if let Some(text) = line
            .strip_prefix(start)
            .and_then(|line| line.strip_suffix(end))
        {
            return Some(text.trim());
        }
    }
    None
}

/// The sample default value in the templates, in Rust: a string with JSON.
const DEFAULT: &str = r#""\"An epithet\"""#;

/// Writes a template for the fields of a resource: repeats the regions for fields, and removes the markers.
pub(super) fn with_fields(template: &str, fields: &[Field], language: Language) -> String {
    let has_unique = fields.iter().any(|field| field.is_unique);
    expand(template, &mut |kind, body| {
        let [required, optional, unique] = &PATTERNS;
        Some(match kind {
            "each field" => {
                let (body, _others) = split(body, "the others:");
                let (first, second) = split(&body, "each optional field:");
                let fill = |field: &Field| match &second {
                    Some(second) if !field.is_required => optional.fill(second, field, language),
                    _ => required.fill(&first, field, language),
                };
                fields.iter().map(fill).collect()
            }
            "each unique field" => {
                let (body, _others) = split(body, "the others:");
                let fields = fields.iter().filter(|field| field.is_unique);
                fields
                    .map(|field| unique.fill(&body, field, language))
                    .collect()
            }
            "each field with a default" => {
                let (body, _others) = split(body, "the others:");
                let line = |field: &Field| {
                    let json = field.default.as_ref()?.to_string();
                    let body = body.replace(DEFAULT, &format!("{json:?}"));
                    Some(required.fill(&body, field, language))
                };
                fields.iter().filter_map(line).collect()
            }
            "if unique" if has_unique => with_fields(body, fields, language),
            "if unique" => String::new(),
            _ => return None,
        })
    })
}

/// Replaces each region by the text that `write` returns for the kind of the region, such as `each field`, and its body. Keeps
/// the regions for which `write` returns None.
pub(super) fn expand(
    template: &str,
    write: &mut dyn FnMut(&str, &str) -> Option<String>,
) -> String {
    let mut result = String::new();
    let mut lines = template.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let kind = comment(line).and_then(|text| text.strip_suffix(" {"));
        let Some(kind) = kind.filter(|kind| kind.starts_with("each ") || *kind == "if unique")
        else {
            result.push_str(line);
            continue;
        };
        let (mut body, mut depth, mut end) = (String::new(), 1, "");
        for line in lines.by_ref() {
            let text = comment(line).unwrap_or_default();
            if text == "}" {
                depth -= 1;
            } else if text.ends_with(" {") && (text.starts_with("each ") || text == "if unique {") {
                depth += 1;
            }
            if depth == 0 {
                end = line;
                break;
            }
            body.push_str(line);
        }
        match write(kind, &body) {
            Some(text) => result.push_str(&text),
            None => {
                result.push_str(line);
                result.push_str(&expand(&body, write));
                result.push_str(end);
            }
        }
    }
    result
}

/// Splits lines at the line that is the comment `marker`. The second part is None if there is no such line.
fn split(lines: &str, marker: &str) -> (String, Option<String>) {
    let mut all = lines.split_inclusive('\n');
    let first = all
        .by_ref()
        .take_while(|line| comment(line) != Some(marker))
        .collect();
    let has_marker = lines.lines().any(|line| comment(line) == Some(marker));
    (first, has_marker.then(|| all.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&str]) -> Vec<Field> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    const STRUCT: &str = "struct Draft {
    // each field {
    /// The epithet.
    epithet: Text<200>,
    // each optional field:
    /// The provenance.
    provenance: Option<Text<100>>,
    // the others:
    accession: Text<40>,
    // }
}
// if unique {
// each unique field {
check(\"accession\", \"An accession\");
// }
// }
";

    #[test]
    fn a_region_is_repeated_for_each_field() {
        let fields = fields(&[
            "title:string:required:max=9",
            "lent_out:boolean",
            "pages:integer:required:unique",
        ]);
        let expected = "struct Draft {
    /// The title.
    title: Text<9>,
    /// The lent out.
    lent_out: Option<bool>,
    /// The pages.
    pages: Integer,
}
check(\"pages\", 7);
";
        assert_eq!(with_fields(STRUCT, &fields, Language::Rust), expected);
    }

    #[test]
    fn a_region_for_unique_fields_is_left_out_without_them() {
        let text = with_fields(STRUCT, &fields(&["title:string:required"]), Language::Rust);
        assert!(text.ends_with("    title: Text<1000>,\n}\n"), "{text}");
    }

    #[test]
    fn a_form_has_the_kind_and_the_type_of_each_field() {
        let template = "// each field {\n<Input kind=\"text\" name=\"epithet\" label=\"Epithet\" />\nepithet: string;\n// }\n";
        let text = with_fields(
            template,
            &fields(&["lent_out:boolean"]),
            Language::TypeScript,
        );
        let expected =
            "<Input kind=\"checkbox\" name=\"lentOut\" label=\"Lent out\" />\nlentOut: boolean;\n";
        assert_eq!(text, expected);
    }
}
