//! The records of a DNS zone. Route 53 deletes a zone only if the zone has no records but its own NS and SOA records.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use super::{
    account::Account,
    rest::{Rest, between},
};

/// The maximum number of records that one request deletes. Route 53 allows 1,000 records and 32,000 characters:
/// <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html>
const BATCH: usize = 50;

/// Deletes the records of the hosted zone with the ID `zone`, except the zone's own NS and SOA records and the records
/// whose names are in `kept`. CloudFormation deletes the records in `kept`, because they are resources of a stack. A
/// missing zone is not an error.
///
/// For example, ACM does not delete the record that validates a certificate when the certificate is deleted.
///
/// # Errors
/// Fails if a request to Route 53 fails.
pub(crate) async fn delete_records(
    account: &Account,
    zone: &str,
    kept: &BTreeSet<String>,
) -> Result<()> {
    let zone = zone.trim_start_matches("/hostedzone/");
    let route53 = Rest::route53(account);
    let records = records(&route53, zone).await?;
    let unneeded = unneeded(&records, kept);
    for batch in unneeded.chunks(BATCH) {
        let changes: String = batch
            .iter()
            .map(|record| format!("<Change><Action>DELETE</Action>{record}</Change>"))
            .collect();
        let request = format!(
            r#"<ChangeResourceRecordSetsRequest xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ChangeBatch><Changes>{changes}</Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"#
        );
        let path = format!("/2013-04-01/hostedzone/{zone}/rrset");
        route53
            .post(path, request)
            .await
            .with_context(|| format!("cannot delete the records of the hosted zone {zone}"))?;
    }
    Ok(())
}

/// Returns all records of a zone: the unchanged `ResourceRecordSet` elements of Route 53's responses.
async fn records(route53: &Rest<'_>, zone: &str) -> Result<Vec<String>> {
    let mut records = Vec::new();
    let mut start = String::new();
    loop {
        let path = format!("/2013-04-01/hostedzone/{zone}/rrset{start}");
        let page = route53.get(path).await;
        let page =
            page.with_context(|| format!("cannot list the records of the hosted zone {zone}"))?;
        let Some(page) = page else {
            return Ok(records);
        };
        let elements = page.split("<ResourceRecordSet>").skip(1);
        records.extend(elements.filter_map(|element| {
            let content = element.split_once("</ResourceRecordSet>")?.0;
            Some(format!("<ResourceRecordSet>{content}</ResourceRecordSet>"))
        }));
        let next = |field: &str| between(&page, &format!("<{field}>"), &format!("</{field}>"));
        if next("IsTruncated") != Some("true") {
            return Ok(records);
        }
        let name = next("NextRecordName").context("Route 53 does not name the next record")?;
        let kind = next("NextRecordType").unwrap_or_default();
        start = format!("?name={}&type={kind}", name.replace('\\', "%5C"));
        if let Some(identifier) = next("NextRecordIdentifier") {
            start += &format!("&identifier={identifier}");
        }
    }
}

/// Returns the records that neither the zone itself nor the stack needs.
fn unneeded<'a>(records: &'a [String], kept: &BTreeSet<String>) -> Vec<&'a str> {
    let kept: BTreeSet<String> = kept.iter().map(|name| normalized(name)).collect();
    let name = |record: &str| between(record, "<Name>", "</Name>").map(normalized);
    let kind = |record: &'a str| between(record, "<Type>", "</Type>").unwrap_or_default();
    let own = records.iter().find(|record| kind(record) == "SOA");
    let own = own.and_then(|record| name(record));
    let unneeded = records.iter().map(String::as_str).filter(|record| {
        let name = name(record);
        let is_own = name == own && ["NS", "SOA"].contains(&kind(record));
        !is_own && !name.is_some_and(|name| kept.contains(&name))
    });
    unneeded.collect()
}

/// Returns the name of a record in one form: with lower-case letters, an unescaped asterisk and no dot at the end.
fn normalized(name: &str) -> String {
    let name = name.replace("\\052", "*").to_lowercase();
    name.trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::fake_aws::{Answer, FakeAws};

    fn record(name: &str, kind: &str) -> String {
        format!(
            "<ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type><TTL>300</TTL></ResourceRecordSet>"
        )
    }

    #[tokio::test]
    async fn only_unneeded_records_are_deleted_from_a_zone() {
        let cname = record("_1.example.com.", "CNAME");
        let pages = [
            format!(
                "<R>{}{}{}<IsTruncated>true</IsTruncated><NextRecordName>\\052.example.com.</NextRecordName><NextRecordType>A</NextRecordType></R>",
                record("example.com.", "NS"),
                record("example.com.", "SOA"),
                cname
            ),
            format!(
                "<R>{}{}<IsTruncated>false</IsTruncated></R>",
                record("\\052.example.com.", "A"),
                record("Dev.example.com.", "NS")
            ),
        ];
        let aws = FakeAws::new(move |request| {
            let second = request.uri.contains("?name=%5C052.example.com.&type=A");
            match request.method.as_str() {
                "GET" => Answer::new(200, &pages[usize::from(second)]),
                _ => Answer::new(200, "<ChangeResourceRecordSetsResponse/>"),
            }
        });
        let kept = BTreeSet::from(["*.example.com".to_owned(), "dev.example.com".to_owned()]);
        delete_records(&aws.account(), "Z1", &kept).await.unwrap();
        let requests = aws.requests();
        assert_eq!(requests.len(), 3, "{requests:?}");
        let deleted = &requests[2].body;
        assert!(deleted.contains(&format!("<Action>DELETE</Action>{cname}")));
        assert_eq!(deleted.matches("<Change>").count(), 1, "{deleted}");
    }

    #[tokio::test]
    async fn a_missing_zone_has_no_records() {
        let aws = FakeAws::new(|_| Answer::new(404, "<Error/>"));
        let deleted = delete_records(&aws.account(), "Z1", &BTreeSet::new()).await;
        deleted.unwrap();
    }
}
