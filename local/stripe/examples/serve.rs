//! Runs the Stripe test double for clients in other languages. Prints the URL of the double, and
//! stops when stdin is closed.

use std::io::{self, Write};

use local_stripe::{Settings, Stripe};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let stripe = Stripe::start(0, Settings::default()).await?;
    writeln!(io::stdout(), "{}", stripe.url())?;
    let end = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    end.await.map_err(io::Error::other)??;
    Ok(())
}
