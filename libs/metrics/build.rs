//! Generates the enum `Metric` and a constant per metric from `metrics.json`, which the templates of the dashboard and of
//! the alarms read too.

use std::{env, error::Error, fs, path::Path};

use serde_json::{Map, Value};

const TABLE: &str = "metrics.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={TABLE}");
    let table: Map<String, Value> = serde_json::from_str(&fs::read_to_string(TABLE)?)?;
    let out = env::var_os("OUT_DIR").ok_or("Cargo sets no OUT_DIR")?;
    let [definition, constants] = code(&table)?;
    fs::write(Path::new(&out).join("metric.rs"), definition)?;
    fs::write(Path::new(&out).join("constants.rs"), constants)?;
    Ok(())
}

/// Returns the definition of the enum, with a variant per row of the table, and the constants of the metrics that the
/// functions record.
fn code(table: &Map<String, Value>) -> Result<[String; 2], Box<dyn Error>> {
    let mut code = [const { String::new() }; 7];
    let [
        variants,
        all,
        names,
        definitions,
        members,
        scopes,
        constants,
    ] = &mut code;
    for (name, row) in table {
        let column = |column: &str| {
            let value = row.get(column).and_then(Value::as_str);
            value.ok_or_else(|| format!("{TABLE}: {name} has no {column}"))
        };
        let (scope, unit) = (column("scope")?, column("unit")?);
        let description = column("description")?;
        let (scope, value) = match (scope, unit) {
            ("invocation", _) => ("Invocation", None),
            ("stage", "Count" | "None") => ("Stage", Some("Sum")),
            ("stage", "Seconds") => ("Stage", Some("Age")),
            _ => {
                return Err(
                    format!("{TABLE}: {name} has the scope {scope} and the unit {unit}").into(),
                );
            }
        };
        variants.push_str(&format!("/// {description}\n{name},"));
        all.push_str(&format!("Self::{name},"));
        names.push_str(&format!("Self::{name} => {name:?},"));
        let definition = format!(r#"{{"Name":"{name}","Unit":"{unit}"}}"#);
        definitions.push_str(&format!("Self::{name} => {definition:?},"));
        members.push_str(&format!("Self::{name} => {:?},", format!(",\"{name}\":")));
        scopes.push_str(&format!("Self::{name} => Scope::{scope},"));
        if let Some(value) = value {
            let constant = screaming_snake_case(name);
            constants.push_str(&format!(
                "/// {description}\npub const {constant}: {value} = {value}(Metric::{name});\n"
            ));
        }
    }
    let count = table.len();
    let definition = format!(
        "/// A metric of CloudWatch: a row of `metrics.json`.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]\n\
         pub enum Metric {{\n{variants}}}\n\n\
         impl Metric {{\n\
             /// All metrics, by name.\n\
             pub const ALL: [Self; {count}] = [{all}];\n\
             /// The name in CloudWatch.\n\
             pub const fn name(self) -> &'static str {{ match self {{ {names} }} }}\n\
             /// The definition in the embedded metric format: the name and the unit.\n\
             pub(crate) const fn definition(self) -> &'static str {{ match self {{ {definitions} }} }}\n\
             /// The start of the member of a log line that has the value.\n\
             pub(crate) const fn member(self) -> &'static str {{ match self {{ {members} }} }}\n\
             /// The scope, which determines the dimensions in CloudWatch.\n\
             pub const fn scope(self) -> Scope {{ match self {{ {scopes} }} }}\n\
         }}\n"
    );
    Ok([definition, std::mem::take(constants)])
}

fn screaming_snake_case(name: &str) -> String {
    let mut constant = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_uppercase() && index > 0 {
            constant.push('_');
        }
        constant.extend(letter.to_uppercase());
    }
    constant
}
