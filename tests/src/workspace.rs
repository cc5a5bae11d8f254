//! The path of the checkout that the tests run in.

use std::path::Path;

/// The root folder of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
