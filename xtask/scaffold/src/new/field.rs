//! The fields of resources.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::name::Name;
use super::reserved::reserved_by;

/// A field of a resource, such as `title:string:required:max=200`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) kind: Kind,
    /// Whether every item has a value.
    pub(super) is_required: bool,
    /// Whether two items of a user cannot have the same value.
    pub(super) is_unique: bool,
    /// The greatest number of characters of a string, or the greatest number.
    pub(super) max: Option<u64>,
    /// The value of the field in items that were stored before the field was added.
    pub(super) default: Option<Value>,
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Integer,
    Decimal,
    Boolean,
    Date,
    Time,
    Url,
    Email,
}

/// What the generator and the generated code need to know about a type.
struct Row {
    kind: Kind,
    name: &'static str,
    /// The type in the library `values`.
    rust: &'static str,
    typescript: &'static str,
    /// The kind of the field in a form of the app.
    form: &'static str,
    /// What a client learns about a value of another type.
    detail: &'static str,
    /// The greatest value of `max`. `None` if the type has no `max`.
    limit: Option<u64>,
    can_be_unique: bool,
}

const fn row(
    kind: Kind,
    names: [&'static str; 4],
    detail: &'static str,
    limit: Option<u64>,
    can_be_unique: bool,
) -> Row {
    let [name, rust, typescript, form] = names;
    Row {
        kind,
        name,
        rust,
        typescript,
        form,
        detail,
        limit,
        can_be_unique,
    }
}

/// The greatest integer that each JSON parser keeps exact.
const SAFE: u64 = (1 << 53) - 1;

#[rustfmt::skip]
const ROWS: [Row; 8] = [
    row(Kind::String, ["string", "Text", "string", "text"], "must be a string", Some(100_000), true),
    row(Kind::Integer, ["integer", "Integer", "number", "integer"], "must be an integer", Some(SAFE), true),
    row(Kind::Decimal, ["decimal", "Decimal", "number", "decimal"], "must be a number", Some(SAFE), false),
    row(Kind::Boolean, ["boolean", "bool", "boolean", "checkbox"], "must be true or false", None, false),
    row(Kind::Date, ["date", "Date", "string", "date"], "must be a date such as 2026-01-31", None, true),
    row(Kind::Time, ["time", "Time", "number", "time"], "must be a time in milliseconds since 1970", None, false),
    row(Kind::Url, ["url", "Url", "string", "url"], "must be a URL that begins with https:// or http://", None, true),
    row(Kind::Email, ["email", "Email", "string", "email"], "must be an email address", None, true),
];

/// The greatest decimal.
const DECIMAL: i64 = 999_999_999_999_999;

/// The greatest length of a string without `max`.
const DEFAULT_LENGTH: u64 = 1000;

/// The greatest size of an item in DynamoDB, in bytes, minus the attributes that every item has:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const ITEM_SIZE: u64 = 400 * 1024 - 1024;

/// The attributes that every item of a resource has.
const OWN: [&str; 6] = [
    "id",
    "user-id",
    "created-at",
    "updated-at",
    "version",
    "sub",
];

impl Kind {
    fn row(self) -> &'static Row {
        // Each kind has a row.
        let mut rows = ROWS.iter();
        rows.find(|row| row.kind == self).unwrap_or(&ROWS[0])
    }
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A value can contain colons, so it is the last option.
        let (text, default) = match text.split_once(":default=") {
            Some((text, default)) => (text, Some(default)),
            None => (text, None),
        };
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let Some(kind) = parts.next() else {
            return Err(format!(
                "the field `{text}` needs a type, for example `{name}:string`; the types are {}",
                types()
            ));
        };
        let parsed: Name = name.parse()?;
        if let Some(owner) = reserved_by(&parsed.snake()).or(reserved_by(&parsed.camel())) {
            return Err(format!(
                "the field `{name}` has the name of a reserved word of {owner}; choose another name, for example \
                 `{name}_value`"
            ));
        }
        if OWN.contains(&parsed.kebab()) {
            return Err(format!(
                "the field `{name}` has the name of an attribute that every item has; choose another name"
            ));
        }
        if parsed.camel().len() > 255 {
            return Err(format!(
                "the field `{name}` has a name of {} characters; the limit is 255, that of DynamoDB's key attributes",
                parsed.camel().len()
            ));
        }
        let Some(row) = ROWS.iter().find(|row| row.name == kind) else {
            return Err(format!(
                "the field `{name}` has the unknown type `{kind}`; the types are {}",
                types()
            ));
        };
        let mut field = Self {
            name: parsed,
            kind: row.kind,
            is_required: false,
            is_unique: false,
            max: None,
            default: None,
        };
        for option in parts {
            field.set(option)?;
        }
        if field.is_unique && !field.is_required {
            return Err(format!(
                "the field `{name}` is unique, so it must be required, too"
            ));
        }
        if let Some(default) = default {
            field.set_default(default)?;
        }
        Ok(field)
    }
}

impl TryFrom<String> for Field {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Field> for String {
    fn from(field: Field) -> Self {
        field.to_string()
    }
}

fn types() -> String {
    ROWS.map(|row| row.name).join(", ")
}

impl Field {
    /// Applies an option of a field, such as `required`.
    fn set(&mut self, option: &str) -> Result<(), String> {
        let (name, row) = (self.name.snake(), self.kind.row());
        match option {
            "required" => self.is_required = true,
            "unique" if row.can_be_unique => self.is_unique = true,
            "unique" => {
                return Err(format!(
                    "the field `{name}` cannot be unique, because its type is {}",
                    row.name
                ));
            }
            _ => {
                let max = option.strip_prefix("max=").ok_or_else(|| {
                    format!("the field `{name}` has the unknown option `{option}`; the options are required, unique, max=N, default=VALUE")
                })?;
                let Some(limit) = row.limit else {
                    return Err(format!(
                        "the field `{name}` cannot have `max`, because its type is {}",
                        row.name
                    ));
                };
                let number = max
                    .parse()
                    .ok()
                    .filter(|number| (1..=limit).contains(number));
                self.max = Some(number.ok_or_else(|| {
                    format!("the field `{name}` has `max={max}`; it must be an integer from 1 to {limit}")
                })?);
            }
        }
        Ok(())
    }

    /// Sets the value of the field in items that were stored before the field was added.
    fn set_default(&mut self, text: &str) -> Result<(), String> {
        let name = self.name.snake();
        if !self.is_required || self.is_unique {
            return Err(format!(
                "the field `{name}` can have `default` only if it is required and not unique"
            ));
        }
        let number = |number: Option<serde_json::Number>| {
            let limit = self.max.unwrap_or(SAFE) as f64;
            let number = number.filter(|number| number.as_f64().is_some_and(|n| n.abs() <= limit));
            number.map(Value::Number)
        };
        let string = || Value::from(text);
        let length = self.max.unwrap_or(DEFAULT_LENGTH);
        let value = match self.kind {
            Kind::String => {
                let is_valid = (1..=length).contains(&(text.chars().count() as u64));
                is_valid.then(string)
            }
            Kind::Integer => number(text.parse::<i64>().ok().map(Into::into)),
            Kind::Decimal => {
                let value = text.parse::<f64>().ok();
                let value =
                    value.and_then(|value| values::Decimal::<DECIMAL>::try_from(value).ok());
                number(value.and_then(|value| serde_json::Number::from_f64(value.get())))
            }
            Kind::Boolean => text.parse::<bool>().ok().map(Value::from),
            Kind::Date => text.parse::<values::Date>().ok().map(|_| string()),
            Kind::Time => {
                let time = text.parse::<i64>().ok();
                let time = time.filter(|time| values::Time::try_from(*time).is_ok());
                time.map(Value::from)
            }
            Kind::Url => values::Url::try_from(text.to_owned())
                .ok()
                .map(|_| string()),
            Kind::Email => values::Email::try_from(text.to_owned())
                .ok()
                .map(|_| string()),
        };
        self.default = Some(value.ok_or_else(|| {
            format!(
                "the field `{name}` cannot have the default `{text}`: it is no value of the field"
            )
        })?);
        Ok(())
    }

    /// The Rust type of a value.
    pub(super) fn rust(&self) -> String {
        let rust = self.kind.row().rust;
        match (self.kind, self.max) {
            (Kind::String, max) => format!("{rust}<{}>", max.unwrap_or(DEFAULT_LENGTH)),
            (_, Some(max)) => format!("{rust}<{max}>"),
            _ => rust.into(),
        }
    }

    pub(super) fn typescript(&self) -> &'static str {
        self.kind.row().typescript
    }

    /// The kind of the field in a form of the app.
    pub(super) fn form(&self) -> &'static str {
        self.kind.row().form
    }

    /// What a client learns about the value `[]`.
    pub(super) fn detail(&self) -> &'static str {
        self.kind.row().detail
    }

    /// Two different values, for tests and sample events.
    pub(super) fn samples(&self) -> [Value; 2] {
        let words = self.name.words();
        match self.kind {
            Kind::String => {
                let vowels = ['a', 'e', 'i', 'o', 'u'];
                let article = if words.starts_with(vowels) { "An" } else { "A" };
                let texts = [format!("{article} {words}"), format!("Another {words}")];
                let max = self.max.unwrap_or(DEFAULT_LENGTH);
                match texts.iter().all(|text| text.len() as u64 <= max) {
                    true => texts.map(Value::from),
                    false => ["1", "2"].map(Value::from),
                }
            }
            Kind::Integer => match self.max {
                Some(max @ ..8) => [json!(max), json!(max - 1)],
                _ => [json!(7), json!(8)],
            },
            Kind::Decimal => match self.max {
                Some(..4) => [json!(0.5), json!(0.25)],
                _ => [json!(2.5), json!(3.5)],
            },
            Kind::Boolean => [json!(true), json!(false)],
            Kind::Date => [json!("2026-01-31"), json!("2026-02-01")],
            Kind::Time => [json!(1_763_632_800_000_u64), json!(1_763_632_801_000_u64)],
            Kind::Url => ["a", "b"].map(|page| json!(format!("https://example.com/{page}"))),
            Kind::Email => ["ada", "bob"].map(|user| json!(format!("{user}@example.com"))),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name.snake(), self.kind.row().name)?;
        if self.is_required {
            f.write_str(":required")?;
        }
        if self.is_unique {
            f.write_str(":unique")?;
        }
        if let Some(max) = self.max {
            write!(f, ":max={max}")?;
        }
        match &self.default {
            Some(Value::String(text)) => write!(f, ":default={text}"),
            Some(value) => write!(f, ":default={value}"),
            None => Ok(()),
        }
    }
}

/// Checks the fields of a resource, whose items are called `one`.
///
/// # Errors
/// Returns a text that says what to change if two fields have the same name, if there is no required field, or if an item can
/// become too large for DynamoDB.
pub(super) fn check(fields: &[Field], one: &Name) -> Result<(), String> {
    for (number, field) in fields.iter().enumerate() {
        let name = field.name.snake();
        if fields
            .iter()
            .take(number)
            .any(|other| other.name == field.name)
        {
            return Err(format!("the field `{name}` is given twice"));
        }
        if field.name.kebab() == format!("{one}-id") {
            return Err(format!(
                "the field `{name}` has the name of the key of the table; choose another name"
            ));
        }
    }
    if !fields.iter().any(|field| field.is_required) {
        return Err(
            "a resource needs at least one required field, for example `title:string:required`"
                .into(),
        );
    }
    let bytes = fields.iter().map(|field| match field.kind {
        // A character has up to four bytes. The marker of a unique value is an item of its own.
        Kind::String => 4 * field.max.unwrap_or(DEFAULT_LENGTH),
        Kind::Url => 2048,
        _ => 256,
    });
    let bytes: u64 = bytes.sum();
    if bytes > ITEM_SIZE {
        return Err(format!(
            "an item can have {bytes} bytes, and DynamoDB stores at most {ITEM_SIZE}; lower `max` of the strings"
        ));
    }
    let unique = fields.iter().find(|field| {
        field.is_unique
            && field.kind == Kind::String
            && 4 * field.max.unwrap_or(DEFAULT_LENGTH) > 1024
    });
    match unique {
        Some(field) => Err(format!(
            "the unique field `{}` can be too long for a sort key of DynamoDB, which has at most 1024 bytes; add `max=256`",
            field.name.snake()
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&str]) -> Result<(), String> {
        let fields: Result<Vec<Field>, _> = texts.iter().map(|text| text.parse()).collect();
        check(&fields?, &"book".parse()?)
    }

    #[test]
    fn a_field_is_parsed_and_printed() {
        for text in [
            "title:string:required:unique:max=200",
            "pages:integer",
            "price:decimal:max=1000",
            "lent_out:boolean:required",
            "shelf:string:required:max=10:default=A: 1",
            "copies:integer:required:default=1",
            "price:decimal:required:default=2.5",
            "signed:boolean:required:default=false",
            "cover:url:required:default=https://a.example/1",
        ] {
            assert_eq!(text.parse::<Field>().unwrap().to_string(), text);
        }
        let field: Field = "lentOut:boolean".parse().unwrap();
        assert_eq!(field.to_string(), "lent_out:boolean");
    }

    #[test]
    fn an_invalid_field_is_rejected_with_what_to_do() {
        for (text, expected) in [
            ("title", "needs a type, for example `title:string`"),
            (
                "title:text",
                "unknown type `text`; the types are string, integer",
            ),
            ("title:string:max=0", "an integer from 1 to 100000"),
            ("title:string:max=100001", "an integer from 1 to 100000"),
            ("title:string:max=x", "an integer from 1 to 100000"),
            (
                "title:string:long",
                "the options are required, unique, max=N",
            ),
            (
                "cover:date:max=3",
                "cannot have `max`, because its type is date",
            ),
            ("shelf:string:default=A1", "only if it is required"),
            ("isbn:string:required:unique:default=1", "and not unique"),
            (
                "shelf:string:required:max=2:default=A1b",
                "is no value of the field",
            ),
            (
                "copies:integer:required:max=5:default=6",
                "is no value of the field",
            ),
            (
                "copies:integer:required:default=1.5",
                "is no value of the field",
            ),
            (
                "due:date:required:default=2026-02-30",
                "is no value of the field",
            ),
            (
                "home:url:required:default=ftp://a.example",
                "is no value of the field",
            ),
            (
                "lender:email:required:default=ada",
                "is no value of the field",
            ),
            (
                "lent:boolean:required:unique",
                "cannot be unique, because its type is boolean",
            ),
            (
                "isbn:string:unique",
                "is unique, so it must be required, too",
            ),
            ("type:string", "reserved word of Rust"),
            ("year:integer", "reserved word of DynamoDB"),
            ("created_at:time", "an attribute that every item has"),
            ("2nd:string", "must begin with a letter"),
            ("a b:string", "must have only letters"),
        ] {
            let error = text.parse::<Field>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_fields_of_a_resource_must_fit_together() {
        assert_eq!(fields(&["title:string:required"]), Ok(()));
        for (texts, expected) in [
            (&["title:string"][..], "needs at least one required field"),
            (
                &["title:string:required", "title:integer"],
                "`title` is given twice",
            ),
            (
                &["book_id:string:required"],
                "the name of the key of the table",
            ),
            (
                &["a1:string:required:max=100000", "b1:string:max=100000"],
                "DynamoDB stores at most 408576",
            ),
            (&["isbn:string:required:unique"], "add `max=256`"),
        ] {
            let error = fields(texts).unwrap_err();
            assert!(error.contains(expected), "{texts:?}: {error}");
        }
    }

    #[test]
    fn the_samples_of_a_field_differ_and_are_within_its_limit() {
        for text in [
            "a:string:max=1",
            "title:string",
            "n:integer:max=1",
            "n:integer",
            "d:decimal:max=1",
        ] {
            let field: Field = text.parse().unwrap();
            let [one, other] = field.samples();
            assert_ne!(one, other, "{text}");
            let max = field.max.unwrap_or(u64::MAX);
            for sample in [one, other] {
                let size = sample
                    .as_str()
                    .map_or_else(|| sample.as_f64(), |text| Some(text.len() as f64));
                assert!(size.unwrap() <= max as f64, "{text}: {sample}");
            }
        }
    }
}
