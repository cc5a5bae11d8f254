//! What browsers load: the script that stands in for Stripe.js (<https://docs.stripe.com/js>), and
//! the frames that it makes.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use hyper::{Method, Response, StatusCode};

/// What the frames may do: nothing that is not of the double itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'";

/// Answers a browser: with a file, or with what it may send to the API from any page. None when the
/// request is for another to answer.
pub(crate) fn answer(method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
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
        .header(CONTENT_SECURITY_POLICY, POLICY)
        .header("Cross-Origin-Resource-Policy", "cross-origin")
        .header("X-Content-Type-Options", "nosniff");
    // Its parts are the double's own
    Some(response.body(Full::from(content)).unwrap_or_default())
}

/// What a browser asks before it sends a header of the page's own.
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
