//! Records the metrics of requests that each create a note. The argument is the number of requests. The benchmark harness
//! counts the instructions.

use std::{hint::black_box, time::Duration};

use metrics::{Dimensions, Emf, NOTES_CREATED, Outcome, Subject};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let requests = std::env::args()
        .nth(1)
        .ok_or("the number of requests is missing")?;
    let dimensions = Dimensions {
        stage: "dev".parse()?,
        route_group: Some("notes".parse()?),
        function: "scratchpad-dev-notes-create".into(),
        version: "7".into(),
    };
    let emf = Emf::new(&dimensions, "00010203-0405-0607-0809-0a0b0c0d0e0f".parse()?);
    for _ in 0..requests.parse()? {
        let mut line = Vec::with_capacity(2048);
        metrics::begin();
        metrics::log_user("us-east-1:7d5e0c3a-94b1-4c6f-8e2d-5a1b3f709c48");
        Subject::Note.log("019aa0b4-e100-7d21-a6e4-3c8f1b52d90b");
        NOTES_CREATED.add(1);
        emf.finish(&mut line, Outcome::Success, Duration::from_micros(2_345));
        black_box(line);
    }
    Ok(())
}
