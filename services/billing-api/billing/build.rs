//! Generates the constants of the prices from `prices.json`, which the app reads too.

use std::{env, error::Error, fs, path::Path};

#[path = "src/price_table.rs"]
mod price_table;

const PRICES: &str = "../prices.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PRICES}");
    println!("cargo::rerun-if-changed=../minimums.json");
    println!("cargo::rerun-if-changed=src/price_table.rs");
    let table = price_table::PriceTable::parse(&fs::read_to_string(PRICES)?)?;
    let out = env::var_os("OUT_DIR").ok_or("Cargo sets no OUT_DIR")?;
    fs::write(Path::new(&out).join("prices.rs"), table.constants())?;
    Ok(())
}
