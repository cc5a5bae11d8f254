//! Checks of what SNS needs to send an SMS for a paid purchase.

use super::{
    aws::{Aws, Service},
    check::{Check, Finding, Phase},
    failure::Failure,
    subject::Examination,
};
use crate::release::secret::ADMIN_PHONE_NUMBER;

/// The monthly spend limit of a new account, in USD.
const DEFAULT_SPEND_LIMIT: f64 = 1.0;

/// Checks the destination and the sender of SMS, and their limits. Returns no checks if the stage sends no SMS.
pub(super) async fn checks(exam: &Examination<'_>) -> Vec<Check> {
    if !exam.subject.sends_sms {
        return Vec::new();
    }
    let (phone, sandbox, sender, limit) = tokio::join!(
        exam.check(Phase::Deploy, "admin phone number", async {
            phone_number(exam)
        }),
        exam.check(Phase::Deploy, "SMS sandbox", sandbox(exam)),
        exam.check(
            Phase::Deploy,
            "SMS origination number",
            origination_number(exam)
        ),
        exam.check(Phase::Deploy, "SMS spend limit", spend_limit(exam)),
    );
    vec![phone, sandbox, sender, limit]
}

fn phone_number(exam: &Examination<'_>) -> Result<Finding, Failure> {
    const DOCS: &str = "https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html";
    Ok(match exam.secret(ADMIN_PHONE_NUMBER)? {
        Some(number) if ADMIN_PHONE_NUMBER.accepts(number) => {
            Finding::green("the secret admin-phone-number is set")
        }
        Some(_) => Finding::red(
            "the secret admin-phone-number is not + and digits (E.164)",
            exam.set_secret(ADMIN_PHONE_NUMBER),
            DOCS,
        ),
        None => Finding::red(
            "the secret admin-phone-number is not set: SNS sends no SMS for a paid purchase",
            exam.set_secret(ADMIN_PHONE_NUMBER),
            DOCS,
        ),
    })
}

/// Checks that SNS may send to the admin phone number. In the sandbox, SNS sends SMS only to verified numbers.
async fn sandbox(exam: &Examination<'_>) -> Result<Finding, Failure> {
    let aws = exam.aws()?;
    let status = aws
        .query(Service::Sns, "GetSMSSandboxAccountStatus", &[])
        .await?;
    match status.text("IsInSandbox").as_deref() {
        Some("false") => return Ok(Finding::green("the account is not in the SMS sandbox")),
        Some("true") => {}
        _ => {
            return Err(Failure::new(
                "the response of SNS does not say whether the account is in the sandbox",
            ));
        }
    }
    if let Ok(Some(number)) = exam.secret(ADMIN_PHONE_NUMBER)
        && is_verified(aws, number).await?
    {
        return Ok(Finding::green(
            "the account is in the SMS sandbox, but the admin phone number is verified",
        ));
    }
    Ok(Finding::red(
        "the account is in the SMS sandbox, and the admin phone number is not verified: SNS sends nothing to it",
        "AWS console > Amazon SNS > Text messaging (SMS) > Sandbox destination phone numbers > Add phone number, and enter \
         the code; or, to send to every number, choose Exit SMS sandbox in the same place (AWS decides in about a day)",
        "https://docs.aws.amazon.com/sns/latest/dg/sns-sms-sandbox.html",
    ))
}

async fn is_verified(aws: &Aws, number: &str) -> Result<bool, Failure> {
    let mut token = String::new();
    loop {
        let parameters = [("NextToken", token.as_str())];
        let parameters = if token.is_empty() {
            &[]
        } else {
            parameters.as_slice()
        };
        let page = aws
            .query(Service::Sns, "ListSMSSandboxPhoneNumbers", parameters)
            .await?;
        let found = page.records("member").into_iter().any(|member| {
            let is = |field: &str, value: &str| member.get(field).is_some_and(|v| v == value);
            is("PhoneNumber", number) && is("Status", "Verified")
        });
        token = page.text("NextToken").unwrap_or_default();
        if found || token.is_empty() {
            return Ok(found);
        }
    }
}

/// Checks that the account has an origination number. Some countries, among them the United States, accept SMS only
/// from such a number.
async fn origination_number(exam: &Examination<'_>) -> Result<Finding, Failure> {
    const REQUEST: &str = "AWS console > AWS End User Messaging > SMS > Phone numbers > Request originator, with the resource \
                           policy for Amazon SNS; a toll-free number for the United States must also be registered, which \
                           takes about three weeks";
    const DOCS: &str = "https://docs.aws.amazon.com/sns/latest/dg/channels-sms-originating-identities-origination-numbers.html";
    let listed = exam
        .aws()?
        .query(Service::Sns, "ListOriginationNumbers", &[])
        .await?;
    let numbers = listed.records("member");
    let numbers = numbers
        .iter()
        .filter(|number| number.contains_key("PhoneNumber"));
    let states: Vec<&str> = numbers
        .map(|number| number.get("Status").map_or("", String::as_str))
        .collect();
    if let Some(state) = states.first() {
        // SNS documents no list of states. End User Messaging, which owns the numbers, calls usable ones ACTIVE.
        let is_usable = |state: &&str| state.is_empty() || state.eq_ignore_ascii_case("active");
        if states.iter().any(is_usable) {
            return Ok(Finding::green(format!(
                "the account has {}",
                crate::ui::count(states.len(), "origination number")
            )));
        }
        return Ok(Finding::warning(
            format!("the account has an origination number with the status {state}"),
            "AWS console > AWS End User Messaging > SMS > Phone numbers: complete the registration of the number",
            DOCS,
        ));
    }
    Ok(match exam.secret(ADMIN_PHONE_NUMBER) {
        Ok(Some(number)) if !number.starts_with("+1") => Finding::warning(
            "the account has no origination number; some countries need one",
            format!(
                "look up the country of the admin phone number in the documentation; if it needs a number: {REQUEST}"
            ),
            "https://docs.aws.amazon.com/sms-voice/latest/userguide/phone-numbers-sms-by-country.html",
        ),
        _ => Finding::red(
            "the account has no origination number: SNS cannot send SMS to numbers in the United States",
            REQUEST,
            DOCS,
        ),
    })
}

/// Checks the monthly spend limit. SNS stops sending SMS when the limit is reached.
async fn spend_limit(exam: &Examination<'_>) -> Result<Finding, Failure> {
    let attributes = exam
        .aws()?
        .query(
            Service::Sns,
            "GetSMSAttributes",
            &[("attributes.member.1", "MonthlySpendLimit")],
        )
        .await?;
    let entries = attributes.records("entry");
    let entry = entries.iter().find(|entry| {
        entry
            .get("key")
            .is_some_and(|key| key == "MonthlySpendLimit")
    });
    let value = entry.and_then(|entry| entry.get("value"));
    let limit = match value {
        Some(value) => value
            .parse()
            .map_err(|_| Failure::new("SNS returned a spend limit that is not a number"))?,
        None => DEFAULT_SPEND_LIMIT,
    };
    if limit > DEFAULT_SPEND_LIMIT {
        return Ok(Finding::green(format!("{limit} USD a month")));
    }
    let source = if value.is_some() {
        ""
    } else {
        ", because no limit is set"
    };
    Ok(Finding::red(
        format!(
            "{limit} USD a month{source}: when it is used up, SNS sends no more SMS until the next month"
        ),
        format!(
            "open a case: AWS console > Support Center > Create case > Service limit increase > SNS Text Messaging; when it is \
             granted, run aws sns set-sms-attributes --attributes MonthlySpendLimit=20 --region {}",
            exam.subject.region
        ),
        "https://docs.aws.amazon.com/sns/latest/dg/channels-sms-awssupport-spend-threshold.html",
    ))
}
