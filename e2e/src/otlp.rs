//! What OpenTelemetry's libraries send, as far as the tests look at it
//! (<https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>).

use anyhow::{Context, Result};
use prost::Message;
use serde_json::{Map, Value, json};

/// The spans of a request for `/v1/traces`, with the attributes of the program that they are of.
pub fn spans(body: &[u8]) -> Result<Vec<Value>> {
    let request = Request::decode(body).context("no spans in protobuf")?;
    let mut found = Vec::new();
    for of_program in request.programs {
        let program = texts(of_program.resource.unwrap_or_default().attributes);
        for scope in of_program.scopes {
            let spans = scope.spans.into_iter();
            found.extend(spans.map(|span| json!({"name": span.name, "program": program})));
        }
    }
    Ok(found)
}

/// Those attributes that are texts.
fn texts(attributes: Vec<Attribute>) -> Map<String, Value> {
    let texts = attributes.into_iter().filter_map(|attribute| {
        let text = attribute.value?.text?;
        Some((attribute.key, text.into()))
    });
    texts.collect()
}

/// `ExportTraceServiceRequest`
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    programs: Vec<OfProgram>,
}

/// `ResourceSpans`
#[derive(Clone, PartialEq, Message)]
struct OfProgram {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

/// `Resource`
#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

/// `ScopeSpans`
#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

/// `Span`
#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(string, tag = "5")]
    name: String,
}

/// `KeyValue`
#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

/// `AnyValue`, of which there are other kinds.
#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
}
