//! Converts Amazon's root certificates from PEM to DER at build time. If a function parsed the PEM at init, the parsing
//! would be a sixth of all its work at init.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use rustls_pki_types::{CertificateDer, pem::PemObject};

fn main() -> Result<(), Box<dyn Error>> {
    const PEM: &str = "amazon-roots.pem";
    println!("cargo::rerun-if-changed={PEM}");
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run this with Cargo")?;
    let mut list = String::new();
    for (number, root) in CertificateDer::pem_file_iter(PEM)?.enumerate() {
        let name = format!("amazon-root-{number}.der");
        fs::write(Path::new(&out).join(&name), root?)?;
        list += &format!("include_bytes!({name:?}), ");
    }
    fs::write(Path::new(&out).join("amazon-roots.rs"), format!("[{list}]"))?;
    Ok(())
}
