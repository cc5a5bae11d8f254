//! Runs one function as Lambda does. The function's process has only the environment variables that
//! Lambda sets and those that the caller adds. It uses an emulated Runtime API
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>).
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use lambda_host::{Function, Host, Outcome};
//! use std::time::Duration;
//!
//! let function =
//!     Function::new("target/debug/notes-get").with_env([("NOTES_TABLE", "notes-local")]);
//! let mut host = Host::start(function).await?;
//! let invocation = host.invoke("{}", Duration::from_secs(10), None).await;
//! if let Outcome::Response(response) = invocation.outcome {
//!     println!("{}", String::from_utf8_lossy(&response));
//! }
//! println!("init {:?}, duration {:?}", host.init_duration(), invocation.duration);
//! let log = host.stop().await;
//! # Ok(())
//! # }
//! ```

mod api;
mod function;
mod host;
mod outcome;
mod process;

pub use hyper::body::Bytes;

pub use crate::function::Function;
pub use crate::host::{Host, StartError};
pub use crate::outcome::{FunctionError, Invocation, Outcome};
