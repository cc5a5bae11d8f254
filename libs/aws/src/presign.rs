use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningError,
    SigningParams, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The characters that are percent-encoded in an object key: all except unreserved characters and the slash. S3 expects
/// the path of a URL to be encoded once, not twice as other services do
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>).
pub(crate) const KEY_ENCODE_SET: &AsciiSet = &QUERY_ENCODE_SET.remove(b'/');

/// The characters that are percent-encoded in a query parameter: all except unreserved characters.
const QUERY_ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The HTTP method that a presigned URL allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Downloads the object.
    Get,
    /// Uploads the object.
    Put,
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
        }
    }
}

/// A URL cannot be presigned, because a header that the signature must cover is invalid.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the presigned URL")]
pub struct PresignError(#[from] SigningError);

/// Creates presigned URLs for the objects of one bucket
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>).
///
/// A presigner needs no S3 client, so functions that only create URLs stay small. A URL stops working when the
/// credentials that signed it expire, even if the expiry of the URL is later.
#[derive(Clone, Debug)]
pub struct Presigner {
    base: String,
    region: String,
    identity: Identity,
}

impl Presigner {
    /// Creates a presigner. `base` is the URL of the bucket without a trailing slash.
    pub(crate) fn new(base: String, region: String, credentials: Credentials) -> Self {
        Self {
            base,
            region,
            identity: credentials.into(),
        }
    }

    /// Returns a URL that allows `method` on the object `key`. The URL is valid from `now` for the duration
    /// `expires_in`. S3 allows at most seven days.
    ///
    /// `signed_headers` are pairs of a name in lower case and a value. S3 responds with 403 to a request that does not
    /// have these headers with exactly these values. The body is not part of the signature.
    ///
    /// # Errors
    /// Returns [`PresignError`] if a header is invalid.
    pub fn presign(
        &self,
        method: Method,
        key: &str,
        signed_headers: &[(&str, &str)],
        expires_in: Duration,
        now: SystemTime,
    ) -> Result<String, PresignError> {
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(expires_in);
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.signature_location = SignatureLocation::QueryParams;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;

        let params: SigningParams<'_> = match v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("s3")
            .time(now)
            .settings(settings)
            .build()
        {
            Ok(params) => params.into(),
            Err(never) => unreachable!("every parameter is set: {never}"),
        };

        let mut url = format!("{}/{}", self.base, utf8_percent_encode(key, KEY_ENCODE_SET));
        let request = SignableRequest::new(
            method.as_str(),
            url.as_str(),
            signed_headers.iter().copied(),
            SignableBody::UnsignedPayload,
        )?;
        let (signed, _) = sign(request, &params)?.into_parts();
        for (at, (name, value)) in signed.params().iter().enumerate() {
            url.push(if at == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(value, QUERY_ENCODE_SET));
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2013-05-24T00:00:00Z, the time of the example in the AWS documentation.
    const NOW: Duration = Duration::from_secs(1_369_353_600);

    fn presigner(base: &str, session_token: Option<&str>) -> Presigner {
        let credentials = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            session_token.map(str::to_owned),
            None,
            "test",
        );
        Presigner::new(base.to_owned(), "us-east-1".to_owned(), credentials)
    }

    fn get(key: &str) -> String {
        presigner("http://127.0.0.1:4566/notes", None)
            .presign(
                Method::Get,
                key,
                &[],
                Duration::from_secs(60),
                SystemTime::UNIX_EPOCH + NOW,
            )
            .unwrap()
    }

    /// The example is in <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.
    #[test]
    fn the_signature_equals_the_example_in_the_aws_documentation() {
        let url = presigner("https://examplebucket.s3.amazonaws.com", None)
            .presign(
                Method::Get,
                "test.txt",
                &[],
                Duration::from_secs(86_400),
                SystemTime::UNIX_EPOCH + NOW,
            )
            .unwrap();
        let (address, query) = url.split_once('?').unwrap();
        assert_eq!(address, "https://examplebucket.s3.amazonaws.com/test.txt");
        let mut parameters: Vec<_> = query.split('&').collect();
        parameters.sort_unstable();
        assert_eq!(
            parameters,
            [
                "X-Amz-Algorithm=AWS4-HMAC-SHA256",
                "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request",
                "X-Amz-Date=20130524T000000Z",
                "X-Amz-Expires=86400",
                "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
                "X-Amz-SignedHeaders=host",
            ]
        );
    }

    #[test]
    fn an_object_key_is_encoded_once_and_not_normalized() {
        for (key, path) in [
            (
                "private/eu-central-1:8f2e/a b.txt",
                "private/eu-central-1%3A8f2e/a%20b.txt",
            ),
            ("naïve 📎.pdf", "na%C3%AFve%20%F0%9F%93%8E.pdf"),
            (
                "1+1=2 & 'so' \"on\"?#",
                "1%2B1%3D2%20%26%20%27so%27%20%22on%22%3F%23",
            ),
            ("100%25", "100%2525"),
            ("a//b/./c/../d~", "a//b/./c/../d~"),
        ] {
            let url = get(key);
            let (address, _) = url.split_once('?').unwrap();
            assert_eq!(address, format!("http://127.0.0.1:4566/notes/{path}"));
        }
    }

    #[test]
    fn the_signature_of_a_put_covers_its_headers() {
        let presigner = presigner("https://notes.s3.us-east-1.amazonaws.com", None);
        let put = |content_type, length| {
            presigner
                .presign(
                    Method::Put,
                    "key",
                    &[("content-type", content_type), ("content-length", length)],
                    Duration::from_secs(60),
                    SystemTime::UNIX_EPOCH + NOW,
                )
                .unwrap()
        };
        let url = put("text/plain", "10");
        assert!(
            url.contains("X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost"),
            "{url}"
        );
        assert_eq!(url, put("text/plain", "10"));
        assert_ne!(url, put("text/html", "10"));
        assert_ne!(url, put("text/plain", "11"));
    }

    #[test]
    fn the_url_contains_the_session_token() {
        let url = presigner("https://notes.s3.us-east-1.amazonaws.com", Some("a/b+c=="))
            .presign(
                Method::Get,
                "key",
                &[],
                Duration::from_secs(60),
                SystemTime::UNIX_EPOCH + NOW,
            )
            .unwrap();
        assert!(
            url.contains("X-Amz-Security-Token=a%2Fb%2Bc%3D%3D"),
            "{url}"
        );
    }

    #[test]
    fn an_invalid_header_is_an_error() {
        let presigned = presigner("https://notes.s3.us-east-1.amazonaws.com", None).presign(
            Method::Put,
            "key",
            &[("content-type", "text/plain\r\nx: y")],
            Duration::from_secs(60),
            SystemTime::UNIX_EPOCH + NOW,
        );
        assert!(presigned.is_err());
    }
}
