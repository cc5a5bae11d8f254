//! Tests the API with Stripe's client library for Python.

use std::path::Path;
use std::process::Command;

use local_stripe::{Settings, Stripe};

#[tokio::test(flavor = "multi_thread")]
async fn stripes_python_library_pays_refunds_and_disputes() {
    let stripe = Stripe::start(0, Settings::default()).await.unwrap();
    let (url, key) = (stripe.url(), stripe.secret_key().to_owned());
    let status = tokio::task::spawn_blocking(move || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        Command::new(folder.join("../../.venv/bin/python"))
            .args(["-B", "test/stripe_python.py", &url, &key])
            .current_dir(folder)
            .status()
    });
    assert!(status.await.unwrap().unwrap().success());
}
