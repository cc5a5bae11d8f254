//! Checks of the account's quotas of CloudFront.

use serde_json::{Value, json};

use super::{
    aws::{Aws, Service},
    check::{Check, Finding, Phase},
    failure::Failure,
    subject::Examination,
};

/// A quota of CloudFront: how many resources of one kind an account may have.
struct CloudFrontQuota {
    /// The name of the counted resources in the plural.
    noun: &'static str,
    /// The path and the query of the request that lists the resources.
    path: &'static str,
    /// The XML element of one resource in the list.
    element: &'static str,
    /// The possible names of the quota in Service Quotas, in lower case.
    names: &'static [&'static str],
    /// The limit of an account without an increase:
    /// <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html>
    default: usize,
}

const DISTRIBUTIONS: CloudFrontQuota = CloudFrontQuota {
    noun: "distributions",
    path: "/2020-05-31/distribution?MaxItems=100",
    element: "DistributionSummary",
    names: &[
        "distributions per aws account",
        "web distributions per aws account",
    ],
    default: 200,
};

const POLICIES: CloudFrontQuota = CloudFrontQuota {
    noun: "response headers policies",
    path: "/2020-05-31/response-headers-policy?MaxItems=100&Type=custom",
    element: "ResponseHeadersPolicySummary",
    names: &["response headers policies per aws account"],
    default: 20,
};

/// Checks the quotas that a stage may reach.
pub(super) async fn checks(exam: &Examination<'_>) -> Vec<Check> {
    let (distributions, policies) = tokio::join!(
        exam.check(
            Phase::Deploy,
            "CloudFront distributions",
            compare(exam, &DISTRIBUTIONS)
        ),
        exam.check(
            Phase::Deploy,
            "CloudFront response headers policies",
            compare(exam, &POLICIES)
        ),
    );
    vec![distributions, policies]
}

async fn compare(exam: &Examination<'_>, quota: &CloudFrontQuota) -> Result<Finding, Failure> {
    let aws = exam.aws()?;
    let stacks = exam.stacks.as_ref().map_err(Clone::clone)?;
    let used = count(aws, quota).await?;
    let granted = granted(aws, quota.names).await;
    let limit = granted.unwrap_or(quota.default);
    let kind = if granted.is_some() {
        "quota"
    } else {
        "default quota"
    };
    let found = format!("{used} of {limit} {} exist ({kind})", quota.noun);
    let is_deployed = stacks.contains_key(&format!("scratchpad-web-{}", exam.subject.stage));
    if is_deployed || used < limit {
        return Ok(Finding::green(found));
    }
    Ok(Finding::red(
        format!("{found}; the stage needs one"),
        format!(
            "delete stages that nobody uses: cargo xtask stages --older-than 7d; or AWS console > Service Quotas > Amazon \
             CloudFront (in us-east-1) > {} per AWS account > Request increase at account level",
            quota.noun
        ),
        "https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html",
    ))
}

/// Counts the resources of an account to which the quota applies.
async fn count(aws: &Aws, quota: &CloudFrontQuota) -> Result<usize, Failure> {
    let mut used = 0;
    let mut path = quota.path.to_owned();
    loop {
        let page = aws.get_xml(Service::CloudFront, &path).await?;
        used += page.records(quota.element).len();
        match page.text("NextMarker") {
            Some(marker) if !marker.is_empty() => {
                let marker: String = form_urlencoded::byte_serialize(marker.as_bytes()).collect();
                path = format!("{}&Marker={marker}", quota.path);
            }
            _ => return Ok(used),
        }
    }
}

/// The account's own value of a quota. `None` if Service Quotas has none, or cannot be read: then the default applies.
async fn granted(aws: &Aws, names: &[&str]) -> Option<usize> {
    let target = "ServiceQuotasV20190624.ListServiceQuotas";
    let mut token = Value::Null;
    loop {
        let mut body = json!({ "ServiceCode": "cloudfront", "MaxResults": 100 });
        if let (Value::String(_), Some(body)) = (&token, body.as_object_mut()) {
            body.insert("NextToken".into(), token);
        }
        let page = aws.post_json(Service::GlobalQuotas, target, &body).await;
        let mut page = page.ok()?;
        let quotas = page.get("Quotas")?.as_array()?;
        let is_named = |quota: &&Value| {
            let found = quota.get("QuotaName").and_then(Value::as_str);
            found.is_some_and(|found| names.contains(&found.to_ascii_lowercase().as_str()))
        };
        if let Some(quota) = quotas.iter().find(is_named) {
            return Some(quota.get("Value")?.as_f64()? as usize);
        }
        let next = page.get_mut("NextToken").map(Value::take);
        token = next.filter(Value::is_string)?;
    }
}
