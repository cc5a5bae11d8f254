//! A function for the tests of this crate. The environment variable `INIT` selects what it does
//! during init, and the event selects what it does in an invocation.

use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    match std::env::var("INIT").as_deref() {
        Ok("exit") => {
            println!("NOTES_TABLE is not set");
            std::process::exit(3);
        }
        Ok("hang") => {
            eprintln!("hanging during init");
            std::future::pending().await
        }
        _ => lambda_runtime::run(service_fn(handle)).await,
    }
}

async fn handle(event: LambdaEvent<String>) -> Result<Vec<String>, Error> {
    let LambdaEvent { payload, context } = event;
    match payload.as_str() {
        "exit" => {
            println!("about to exit");
            std::process::exit(4)
        }
        "fail" => Err("no such thing".into()),
        "hang" => std::future::pending().await,
        "long response" => Ok(vec!["x".repeat(7 * 1024 * 1024)]),
        "environment" => Ok(std::env::vars()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()),
        "context" => Ok(vec![
            context.request_id,
            context.invoked_function_arn,
            context.xray_trace_id.unwrap_or_default(),
            context.deadline.to_string(),
        ]),
        line => {
            println!("{line}");
            eprintln!("{line} again");
            Ok(vec![line.to_owned()])
        }
    }
}
