//! Serves files to browsers: a test double of Stripe.js (<https://docs.stripe.com/js>) and the
//! frames that Stripe.js creates.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use hyper::{Method, Response, StatusCode};

/// The content security policy of the frames. It allows only resources from the test double itself.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'";

/// Returns the response to a request for a browser file or to a CORS preflight request of the API.
/// None for all other requests.
pub(crate) fn handle(method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
    match *method {
        Method::GET => file(path),
        Method::OPTIONS if path.starts_with("/v1/") => Some(preflight()),
        _ => None,
    }
}

fn file(path: &str) -> Option<Response<Full<Bytes>>> {
    let (kind, content) = match path {
        "/v3" | "/v3/" => ("text/javascript", include_str!("browser/stripe.js")),
        "/v3/card.html" => ("text/html", include_str!("browser/card.html")),
        "/v3/card.js" => ("text/javascript", include_str!("browser/card.js")),
        "/v3/challenge.html" => ("text/html", include_str!("browser/challenge.html")),
        "/v3/challenge.js" => ("text/javascript", include_str!("browser/challenge.js")),
        "/v3/frame.css" => ("text/css", include_str!("browser/frame.css")),
        _ => return None,
    };
    let response = Response::builder()
        .header(CONTENT_TYPE, format!("{kind}; charset=utf-8"))
        .header(CACHE_CONTROL, "no-cache")
        .header(CONTENT_SECURITY_POLICY, CONTENT_POLICY)
        .header("Cross-Origin-Resource-Policy", "cross-origin")
        .header("X-Content-Type-Options", "nosniff");
    // Cannot fail, because all headers are valid constants.
    Some(response.body(Full::from(content)).unwrap_or_default())
}

/// Returns the response to a CORS preflight request. It allows pages of any origin to call the API.
fn preflight() -> Response<Full<Bytes>> {
    Response::builder()
        .status(StatusCode::NO_CONTENT)
        .header("Access-Control-Allow-Origin", "*")
        .header("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE")
        .header(
            "Access-Control-Allow-Headers",
            "Authorization, Content-Type, Stripe-Version",
        )
        .header("Access-Control-Max-Age", "300")
        .body(Full::default())
        .unwrap_or_default()
}
