//! Lists the libraries of the services, whose log lines and spans the log contains.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let manifest = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../Cargo.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    let manifest = fs::read_to_string(manifest)?;
    // Lines such as `notes = { path = "services/notes-api/notes" }`.
    let services = manifest.lines().filter_map(|line| {
        let (name, path) = line.split_once(" = { path = \"")?;
        path.contains("services/").then_some(name)
    });
    let services: Vec<_> = services.collect();
    println!("cargo::rustc-env=SERVICES={}", services.join(" "));
    Ok(())
}
