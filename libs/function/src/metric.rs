//! Metrics in the log, in the embedded metric format:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::time::{SystemTime, UNIX_EPOCH};

/// Adds 1 to the metric `name` of the function in CloudWatch's namespace `Scratchpad`: writes a log
/// line from which CloudWatch extracts the metric.
pub fn count(name: &'static str) {
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    println!(
        "{}",
        line(name, &function, now.unwrap_or_default().as_millis())
    );
}

/// The log line that adds 1 to the metric `name` of `function` at the time `timestamp`, in
/// milliseconds since the Unix epoch.
fn line(name: &'static str, function: &str, timestamp: u128) -> serde_json::Value {
    serde_json::json!({
        "_aws": {
            "Timestamp": timestamp as u64,
            "CloudWatchMetrics": [{
                "Namespace": "Scratchpad",
                "Dimensions": [["FunctionName"]],
                "Metrics": [{"Name": name, "Unit": "Count"}],
            }],
        },
        "level": "WARN",
        "message": "metric",
        "FunctionName": function,
        name: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_defines_the_metric_and_has_its_value_and_its_dimension() {
        let line = line(
            "RejectedEvents",
            "scratchpad-dev-billing-webhook",
            1_700_000_000_000,
        );
        let definition = &line["_aws"]["CloudWatchMetrics"][0];
        let metric = definition["Metrics"][0]["Name"].as_str().unwrap();
        let dimension = definition["Dimensions"][0][0].as_str().unwrap();
        assert_eq!(line[metric], 1);
        assert_eq!(line[dimension], "scratchpad-dev-billing-webhook");
        assert_eq!(line["_aws"]["Timestamp"], 1_700_000_000_000_u64);
    }
}
