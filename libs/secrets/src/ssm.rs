use std::collections::HashMap;
use std::str::FromStr;

use aws::{Client, SdkError};
use aws_sdk_ssm::operation::get_parameters::{
    GetParameters, GetParametersError, GetParametersInput, GetParametersOutput,
};
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;

use crate::{Error, Secret, Source};

/// The path of a stage's parameters in SSM Parameter Store, such as `/scratchpad/dev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl FromStr for Prefix {
    type Err = &'static str;

    /// Parses a path, according to the rules of SSM Parameter Store. Accepts a trailing slash
    /// (<https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html>).
    fn from_str(prefix: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
        let path = prefix.trim_end_matches('/');
        if path.len() > 1 && path.starts_with('/') && path.chars().all(plain) {
            Ok(Self(path.to_owned()))
        } else {
            Err("it must be a path of SSM parameters, such as /scratchpad/dev")
        }
    }
}

/// Reads secrets from SSM Parameter Store.
#[derive(Debug)]
pub struct Ssm<const N: usize> {
    client: Client,
    names: [String; N],
}

impl<const N: usize> Ssm<N> {
    /// Creates a source of the parameters with the given `names` below the path `prefix`. The compiler checks that
    /// there are 1 to 10 names, because one call can read at most 10 parameters.
    pub fn new(aws: &aws::Stack, prefix: &Prefix, names: [&str; N]) -> Self {
        const { assert!(1 <= N && N <= 10, "GetParameters takes 1 to 10 names") };
        // https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
        let protocol = AwsJsonRpcProtocol::aws_json_1_1().with_target_prefix("AmazonSSM");
        Self {
            client: aws.client("ssm").with_protocol(protocol),
            names: names.map(|name| format!("{}/{name}", prefix.0)),
        }
    }
}

impl<const N: usize> Source<N> for Ssm<N> {
    async fn fetch(&self) -> Result<[Secret; N], Error> {
        let request = GetParametersInput::builder().with_decryption(true);
        let request = request.set_names(Some(self.names.to_vec())).build();
        let request = request.map_err(|error| Error::Unreadable(error.into()))?;
        let call = self.client.call(GetParameters::new(), request);
        let output: Result<GetParametersOutput, SdkError<GetParametersError>> = call.await;
        let output = output.map_err(|error| Error::Unreadable(error.into()))?;
        let mut found: HashMap<String, String> = output
            .parameters
            .unwrap_or_default()
            .into_iter()
            .filter_map(|parameter| Some((parameter.name?, parameter.value?)))
            .collect();

        // SSM returns the parameters in any order
        let mut secrets = Vec::with_capacity(N);
        let mut missing = Vec::new();
        for name in &self.names {
            match found.remove(name) {
                Some(value) => secrets.push(Secret::from(value)),
                None => missing.push(name.clone()),
            }
        }
        secrets.try_into().map_err(|_| Error::Missing(missing))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::Secrets;

    /// Starts a fake SSM that responds to one request. The returned future resolves to the operation and the body of
    /// this request.
    async fn ssm(
        status: &str,
        response: Value,
    ) -> (aws::Stack, impl Future<Output = (String, Value)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let body = response.to_string();
        let response = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let serve = async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let (head, body) = loop {
                connection.read_buf(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str(body)
                {
                    break (head.to_owned(), body);
                }
            };
            connection.write_all(response.as_bytes()).await.unwrap();
            let target = head
                .lines()
                .find_map(|line| line.strip_prefix("x-amz-target: "));
            (target.unwrap().to_owned(), body)
        };
        let aws = aws::Stack::from_vars(|name| match name {
            "AWS_REGION" => Some("eu-central-1".into()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".into()),
            "AWS_ENDPOINT_URL" => Some(OsString::from(format!("http://{address}"))),
            _ => None,
        });
        (aws.unwrap(), serve)
    }

    fn prefix() -> Prefix {
        "/scratchpad/dev/".parse().unwrap()
    }

    #[tokio::test]
    async fn one_call_returns_all_secrets_decrypted_and_in_the_order_of_their_names() {
        let response = json!({
            "InvalidParameters": [],
            "Parameters": [
                {"Name": "/scratchpad/dev/b", "Type": "SecureString", "Value": "second", "Version": 1},
                {"Name": "/scratchpad/dev/a", "Type": "SecureString", "Value": "first", "Version": 7},
            ],
        });
        let (aws, served) = ssm("200 OK", response).await;
        let prefix = prefix();
        let (secrets, (operation, request)) =
            tokio::join!(Secrets::load(&aws, &prefix, ["a", "b"]), served);

        assert_eq!(operation, "AmazonSSM.GetParameters");
        let names = ["/scratchpad/dev/a", "/scratchpad/dev/b"];
        assert_eq!(request, json!({"Names": names, "WithDecryption": true}));
        let [first, second] = secrets.unwrap().current();
        assert_eq!((first.expose(), second.expose()), ("first", "second"));
    }

    #[tokio::test]
    async fn the_error_contains_the_name_of_every_missing_parameter() {
        let response = json!({
            "InvalidParameters": ["/scratchpad/dev/a", "/scratchpad/dev/c"],
            "Parameters": [
                {"Name": "/scratchpad/dev/b", "Type": "SecureString", "Value": "second", "Version": 1},
            ],
        });
        let (aws, served) = ssm("200 OK", response).await;
        let prefix = prefix();
        let (secrets, _) = tokio::join!(Secrets::load(&aws, &prefix, ["a", "b", "c"]), served);
        let message = secrets.unwrap_err().to_string();
        assert_eq!(
            message,
            "these parameters are not in SSM Parameter Store: /scratchpad/dev/a, /scratchpad/dev/c"
        );
    }

    #[tokio::test]
    async fn the_error_of_a_denied_call_contains_the_error_code() {
        let response = json!({"__type": "AccessDeniedException", "message": "not yours"});
        let (aws, served) = ssm("400 Bad Request", response).await;
        let prefix = prefix();
        let (secrets, _) = tokio::join!(Secrets::load(&aws, &prefix, ["a"]), served);
        let Err(Error::Unreadable(error)) = secrets else {
            panic!("{secrets:?}")
        };
        assert!(
            format!("{error:?}").contains("AccessDeniedException"),
            "{error:?}"
        );
    }

    #[test]
    fn a_prefix_is_a_path_with_or_without_a_trailing_slash() {
        assert_eq!(
            "/scratchpad/pr-42".parse(),
            Ok(Prefix("/scratchpad/pr-42".to_owned()))
        );
        assert_eq!(
            "/scratchpad/dev/".parse(),
            Ok(Prefix("/scratchpad/dev".to_owned()))
        );
        for malformed in [
            "",
            "/",
            "scratchpad/dev",
            "/scratch pad",
            "/scratchpad/${env}",
        ] {
            assert!(malformed.parse::<Prefix>().is_err(), "{malformed}");
        }
    }
}
