//! Checks of the account's quotas.

use super::{
    check::{Check, Finding, Phase},
    failure::Failure,
    subject::Examination,
};

/// The number of concurrent executions that the account needs. Functions cannot reserve the last 100 of an account:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>
const CONCURRENCY: i32 = 100;

/// Checks the quotas that a stage may reach.
pub(super) async fn checks(exam: &Examination<'_>) -> Vec<Check> {
    let concurrency = exam.check(Phase::Deploy, "Lambda concurrency", concurrency(exam));
    vec![concurrency.await]
}

async fn concurrency(exam: &Examination<'_>) -> Result<Finding, Failure> {
    const DOCS: &str = "https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html";
    exam.aws()?;
    let settings = aws_sdk_lambda::Client::new(&exam.subject.config)
        .get_account_settings()
        .send()
        .await
        .map_err(|error| Failure::of_aws(&error))?;
    let limit = settings.account_limit();
    let limit = limit.ok_or_else(|| Failure::new("Lambda returned no limits"))?;
    let total = limit.concurrent_executions();
    let unreserved = limit.unreserved_concurrent_executions().unwrap_or(total);
    let found = format!("{unreserved} unreserved of {total} concurrent executions");
    if unreserved >= CONCURRENCY {
        return Ok(Finding::green(found));
    }
    let found = format!("{found}; the stage needs {CONCURRENCY}");
    if total >= CONCURRENCY {
        return Ok(Finding::red(
            found,
            "reduce the reserved concurrency of other functions: AWS console > Lambda > Functions > NAME > Configuration > \
             Concurrency",
            "https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html",
        ));
    }
    Ok(Finding::red(
        found,
        format!(
            "AWS console > Service Quotas > AWS Lambda > Concurrent executions > Request increase at account level, or aws \
             service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 --desired-value 1000 \
             --region {}; AWS may take some days",
            exam.subject.region
        ),
        DOCS,
    ))
}
