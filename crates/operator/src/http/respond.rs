//! The few shapes of response there are.

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Bytes;

use crate::listen::{Answer, AnswerBody};

/// The content type of text for people.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The content type of an admission review.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A response with a body.
#[must_use]
pub fn with_body(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    with(status, content_type, AnswerBody::from(body.into()))
}

/// A response with a body whose memory is counted.
#[must_use]
pub fn with(status: StatusCode, content_type: HeaderValue, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// One line of text. The line end is added.
#[must_use]
pub fn text(status: StatusCode, line: &str) -> Answer {
    with_body(status, TEXT, format!("{line}\n"))
}

/// 503, and when to try again.
#[must_use]
pub fn try_again(line: &str) -> Answer {
    let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, line);
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// The answer if there is no memory left for a request.
#[must_use]
pub fn no_room() -> Answer {
    try_again("the memory for requests is used up; try again")
}

/// The answer for a path that does not exist.
#[must_use]
pub fn not_found() -> Answer {
    // The body that clients of earlier versions know, to the byte.
    with_body(StatusCode::NOT_FOUND, TEXT, "404 page not found")
}

/// The answer for a path that exists, but not for this method.
#[must_use]
pub fn method_not_allowed(method: &Method, allow: &'static str) -> Answer {
    // Methods are chosen by the client; the name is a token of up to a header's length.
    let shown = if method.as_str().len() <= 16 {
        method.as_str()
    } else {
        "this method"
    };
    let line = format!("{shown} is not allowed here; use {allow}");
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &line);
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// For routes that are read: answers GET and HEAD with `page`, anything else with 405.
#[must_use]
pub fn readable(method: &Method, page: impl FnOnce() -> Answer) -> Answer {
    match *method {
        // The listener sends the headers only if that is all that was asked for.
        Method::GET | Method::HEAD => page(),
        _ => method_not_allowed(method, "GET, HEAD"),
    }
}
