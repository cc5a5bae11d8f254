//! Generates the enum `Metric` from `metrics.json`, which the templates of the dashboard and of the alarms read too.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

use serde_json::{Map, Value};

const TABLE: &str = "metrics.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={TABLE}");
    let table: Map<String, Value> = serde_json::from_str(&fs::read_to_string(TABLE)?)?;
    let out = env::var_os("OUT_DIR").ok_or("Cargo sets no OUT_DIR")?;
    fs::write(Path::new(&out).join("metric.rs"), code(&table)?)?;
    Ok(())
}

/// Returns the definition of the enum `Metric`, with a variant per row of the table.
fn code(table: &Map<String, Value>) -> Result<String, Box<dyn Error>> {
    let (mut variants, mut all, mut names, mut units, mut scopes) = Default::default();
    for (name, row) in table {
        let column = |column: &str| {
            let value = row.get(column).and_then(Value::as_str);
            value.ok_or_else(|| format!("{TABLE}: {name} has no {column}"))
        };
        let scope = match column("scope")? {
            "invocation" => "Invocation",
            "stage" => "Stage",
            other => return Err(format!("{TABLE}: {name} has the unknown scope {other}").into()),
        };
        let (unit, description) = (column("unit")?, column("description")?);
        writeln!(&mut variants as &mut String, "/// {description}\n{name},")?;
        write!(&mut all as &mut String, "Self::{name},")?;
        write!(&mut names as &mut String, "Self::{name} => {name:?},")?;
        write!(&mut units as &mut String, "Self::{name} => {unit:?},")?;
        write!(
            &mut scopes as &mut String,
            "Self::{name} => Scope::{scope},"
        )?;
    }
    let count = table.len();
    Ok(format!(
        "/// A metric of CloudWatch: a row of `metrics.json`.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]\n\
         pub enum Metric {{\n{variants}}}\n\n\
         impl Metric {{\n\
             /// All metrics, by name.\n\
             pub const ALL: [Self; {count}] = [{all}];\n\
             /// The name in CloudWatch.\n\
             pub const fn name(self) -> &'static str {{ match self {{ {names} }} }}\n\
             /// The unit in CloudWatch.\n\
             pub const fn unit(self) -> &'static str {{ match self {{ {units} }} }}\n\
             /// The scope, which determines the dimensions in CloudWatch.\n\
             pub const fn scope(self) -> Scope {{ match self {{ {scopes} }} }}\n\
         }}\n"
    ))
}
