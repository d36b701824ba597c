//! HTTP as the host passes it on (`http.HTTP`): a request in one message, a response in another.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use session_runtime::failure::chain;
use session_runtime::http::{Body, Request as HttpRequest, Response as HttpResponse};
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status, async_trait};

use super::endpoint;
use super::wire::http::http_server::{self, HttpServer};
use super::wire::http::responsewriter::writer_client::WriterClient;
use super::wire::http::responsewriter::{Header, WriteHeaderRequest, WriteRequest};
use super::wire::http::{
    Element, HandleSimpleHttpRequest, HandleSimpleHttpResponse, HttpRequest as Upgrade,
    HttpResponse as Upgraded,
};
use super::wire::rpc;
use crate::hosted::Hosted;

/// The paths below the chain's own that the host passes on; the last is the chain's own.
pub(super) const PREFIXES: [&str; 4] = ["/rpc", "/health", "/metrics", ""];

/// How much of a streamed response fits into the one message that there is for it.
const STREAM_BYTES_MAX: usize = 16 << 20;

/// How long a streamed response may take to end.
const STREAM_TIME: Duration = Duration::from_secs(30);

/// How long the host may take to let an answer to an upgrade be written.
const WRITER_TIME: Duration = Duration::from_secs(10);

/// The body of an internal error travels in a header of HTTP/2, whose size clients limit.
const ERROR_BYTES_MAX: usize = 4 << 10;

/// The status that the host cannot carry in a response.
const INTERNAL_SERVER_ERROR: i32 = 500;

/// The type of the detail from which the host takes an internal error.
const DETAIL_TYPE: &str = "type.googleapis.com/http.HandleSimpleHTTPResponse";

/// What is answered to upgrades and to HTTP/2.
const NOT_IMPLEMENTED: &str = "plain HTTP/1.1 requests only\n";

/// Makes the server.
pub(super) fn server(vm: Arc<dyn Hosted>) -> HttpServer<impl http_server::Http> {
    HttpServer::new(Passed { vm })
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX)
}

struct Passed {
    vm: Arc<dyn Hosted>,
}

#[async_trait]
impl http_server::Http for Passed {
    async fn handle_simple(
        &self,
        request: Request<HandleSimpleHttpRequest>,
    ) -> Result<Response<HandleSimpleHttpResponse>, Status> {
        let response = self.vm.answer(read(request.into_inner())).await;
        let answer = write(response).await;
        if answer.code == INTERNAL_SERVER_ERROR {
            Err(refusal(&answer))
        } else {
            Ok(Response::new(answer))
        }
    }

    async fn handle(&self, request: Request<Upgrade>) -> Result<Response<Upgraded>, Status> {
        let writer = request
            .into_inner()
            .response_writer
            .ok_or_else(|| Status::invalid_argument("response_writer is missing"))?;
        match timeout(WRITER_TIME, write_not_implemented(&writer.server_addr)).await {
            Ok(outcome) => outcome?,
            Err(_) => {
                return Err(Status::unimplemented(format!(
                    "{NOT_IMPLEMENTED}(and the response writer does not answer)"
                )));
            }
        }
        Ok(Response::new(Upgraded::default()))
    }
}

/// Reads a request of the host. It does not say who asks.
fn read(request: HandleSimpleHttpRequest) -> HttpRequest {
    let (path, query) = target(&request.url);
    let headers = request
        .request_headers
        .into_iter()
        .flat_map(|Element { key, values }| values.into_iter().map(move |v| (key.clone(), v)))
        .collect();
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    HttpRequest::new(&request.method, path, query, remote, headers, request.body)
}

/// Splits a request target, which may be a whole URL, into path and query.
fn target(url: &str) -> (&str, Option<String>) {
    let (path, query) = match url.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (url, None),
    };
    let path = match path.split_once("://") {
        Some((_, rest)) if !path.starts_with('/') => {
            rest.find('/').map_or("/", |start| rest.get(start..).unwrap_or("/"))
        }
        _ => path,
    };
    (path, query)
}

async fn write(response: HttpResponse) -> HandleSimpleHttpResponse {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    headers.insert(canonical("content-type"), vec![response.content_type().to_owned()]);
    for (name, value) in response.headers() {
        headers.entry(canonical(name)).or_default().push(value.to_owned());
    }
    let code = response.status().into();
    match timeout(STREAM_TIME, collect(response.into_body())).await {
        Ok(Some(body)) => HandleSimpleHttpResponse {
            code,
            headers: headers.into_iter().map(|(key, values)| Element { key, values }).collect(),
            body,
        },
        Ok(None) | Err(_) => HandleSimpleHttpResponse {
            code: 501,
            headers: Vec::new(),
            body: b"the host does not pass streams on\n".to_vec(),
        },
    }
}

/// Returns a whole body, or nothing for a stream that is too long.
async fn collect(body: Body) -> Option<Vec<u8>> {
    match body {
        Body::Full(whole) => Some(whole.into()),
        Body::Stream(mut pieces) => {
            let mut whole = Vec::new();
            while let Some(piece) = pieces.recv().await {
                if whole.len() + piece.len() > STREAM_BYTES_MAX {
                    return None;
                }
                whole.extend_from_slice(&piece);
            }
            Some(whole)
        }
    }
}

/// Writes a header's name as the host's own headers are written: it puts the name into its table
/// as it is, beside its own.
fn canonical(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|c| {
            let c = if start { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            start = c == '-';
            c
        })
        .collect()
}

/// Makes the error from which the host takes an internal error. The number in the details must be
/// that of the error itself, or the host ignores them.
fn refusal(answer: &HandleSimpleHttpResponse) -> Status {
    let mut answer = answer.clone();
    answer.body.truncate(ERROR_BYTES_MAX);
    let code = Code::Internal;
    let message = "the chain answers 500";
    let details = rpc::Status {
        code: code.into(),
        message: message.to_owned(),
        details: vec![prost_types::Any {
            type_url: DETAIL_TYPE.to_owned(),
            value: answer.encode_to_vec(),
        }],
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// Answers an upgrade through the host's response writer.
async fn write_not_implemented(address: &str) -> Result<(), Status> {
    let failed = |why| Status::unimplemented(format!("{NOT_IMPLEMENTED}({why})"));
    let endpoint = endpoint(address).map_err(failed)?;
    let channel = endpoint.connect().await.map_err(|error| failed(chain(&error)))?;
    let mut writer = WriterClient::new(channel);
    let headers = vec![Header {
        key: canonical("content-type"),
        values: vec!["text/plain; charset=utf-8".to_owned()],
    }];
    writer.write_header(WriteHeaderRequest { headers: headers.clone(), status_code: 501 }).await?;
    writer.write(WriteRequest { headers, payload: NOT_IMPLEMENTED.into() }).await?;
    Ok(())
}
