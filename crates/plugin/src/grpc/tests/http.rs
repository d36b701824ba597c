//! HTTP through the host.

use prost::Message as _;
use tokio::sync::mpsc;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, async_trait};

use super::wire::http::responsewriter::writer_server::{Writer, WriterServer};
use super::wire::http::responsewriter::{WriteHeaderRequest, WriteRequest, WriteResponse};
use super::wire::http::{
    Element, HandleSimpleHttpRequest, HandleSimpleHttpResponse, HttpRequest, ResponseWriter,
};
use super::wire::rpc;
use super::*;

fn post(url: &str, body: &[u8]) -> HandleSimpleHttpRequest {
    HandleSimpleHttpRequest {
        method: "POST".to_owned(),
        url: url.to_owned(),
        request_headers: vec![Element { key: "Host".to_owned(), values: vec!["here".to_owned()] }],
        body: body.to_vec(),
        response_headers: Vec::new(),
    }
}

async fn handlers(served: &mut Served) -> Vec<(String, String)> {
    let handlers = served.plugin.vm.create_handlers(()).await.expect("handlers").into_inner();
    handlers.handlers.into_iter().map(|h| (h.prefix, h.server_addr)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_at_every_prefix() {
    let mut served = Served::start(Store::default()).await;
    let handlers = handlers(&mut served).await;
    let prefixes: Vec<_> = handlers.iter().map(|(prefix, _)| prefix.as_str()).collect();
    assert_eq!(prefixes, ["/rpc", "/health", "/metrics", ""]);
    for (prefix, address) in &handlers {
        let mut http = Plugin::http(address).await;
        let url = format!("/ext/bc/abc{prefix}?a=b");
        let answer = http.handle_simple(post(&url, b"")).await.expect("answered").into_inner();
        assert_eq!(answer.code, 200);
        let body = String::from_utf8(answer.body).expect("text");
        assert_eq!(body, format!("POST /ext/bc/abc{prefix} Some(\"a=b\") here"));
        let element = |key: &str, values: &[&str]| Element {
            key: key.to_owned(),
            values: values.iter().map(|&v| v.to_owned()).collect(),
        };
        let headers = [
            element("Content-Type", &["text/plain; charset=utf-8"]),
            element("X-Two", &["1", "2"]),
        ];
        assert_eq!(answer.headers, headers);
    }
    let mut http = Plugin::http(&handlers[0].1).await;
    let whole = post("http://elsewhere:9650/ext/bc/abc", b"");
    let answer = http.handle_simple(whole).await.expect("answered").into_inner();
    assert_eq!(answer.body, b"POST /ext/bc/abc None here");
    drop(http);
    served.end().await;
}

/// The host takes the response from the error's details, if their number is the error's.
#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_keeps_its_body() {
    let mut served = Served::start(Store::default()).await;
    let address = handlers(&mut served).await[0].1.clone();
    let mut http = Plugin::http(&address).await;
    let error = http.handle_simple(post("/broken", b"")).await.expect_err("an error of gRPC");
    let status = rpc::Status::decode(error.details()).expect("details");
    assert_eq!(Code::from(status.code), error.code());
    assert_eq!(status.details.len(), 1);
    assert_eq!(status.details[0].type_url, "type.googleapis.com/http.HandleSimpleHTTPResponse");
    let answer = HandleSimpleHttpResponse::decode(status.details[0].value.as_slice());
    let answer = answer.expect("a response");
    assert_eq!((answer.code, answer.body.as_slice()), (500, &b"POST /broken None here"[..]));
    // A path as long as a body that would not fit into a header.
    let long = format!("/{}/broken", "x".repeat(100_000));
    let error = http.handle_simple(post(&long, b"")).await.expect_err("an error of gRPC");
    let status = rpc::Status::decode(error.details()).expect("details");
    let answer = HandleSimpleHttpResponse::decode(status.details[0].value.as_slice());
    assert_eq!(answer.expect("a response").body.len(), 4096);
    drop(http);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_by_http_is_gossiped_without_a_wait() {
    let mut served = Served::start(Store::default()).await;
    let request = served.initialize_request();
    served.plugin.vm.initialize(request).await.expect("started");
    let address = handlers(&mut served).await[0].1.clone();
    let mut http = Plugin::http(&address).await;
    http.handle_simple(post("/rpc", b"text")).await.expect("answered");
    let message = timeout(PATIENCE, served.host.gossip.recv()).await.expect("gossip");
    let message = message.expect("the network runs");
    assert_eq!((message.msg.as_slice(), message.validators), (&b"text"[..], 100));
    assert_eq!((message.non_validators, message.peers, message.node_ids.len()), (0, 0, 0));
    drop(http);
    served.end().await;
}

enum Written {
    Head(WriteHeaderRequest),
    Piece(WriteRequest),
}

struct Recorder(mpsc::Sender<Written>);

#[async_trait]
impl Writer for Recorder {
    async fn write(
        &self,
        request: Request<WriteRequest>,
    ) -> Result<Response<WriteResponse>, Status> {
        let piece = request.into_inner();
        let written = i32::try_from(piece.payload.len()).expect("short");
        self.0.send(Written::Piece(piece)).await.expect("the test listens");
        Ok(Response::new(WriteResponse { written }))
    }

    async fn write_header(
        &self,
        request: Request<WriteHeaderRequest>,
    ) -> Result<Response<()>, Status> {
        self.0.send(Written::Head(request.into_inner())).await.expect("the test listens");
        Ok(Response::new(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_are_answered_501() {
    let mut served = Served::start(Store::default()).await;
    let address = handlers(&mut served).await[0].1.clone();
    let mut http = Plugin::http(&address).await;
    let (written, mut recorded) = mpsc::channel(4);
    let writer = WriterServer::new(Recorder(written));
    let writer = host::listen(Server::builder().add_service(writer)).await;
    let upgrade = |server_addr: String| HttpRequest {
        response_writer: Some(ResponseWriter { header: Vec::new(), server_addr }),
    };
    http.handle(upgrade(writer.address.to_string())).await.expect("answered");
    let Some(Written::Head(head)) = recorded.recv().await else { panic!("no header") };
    assert_eq!(head.status_code, 501);
    assert_eq!(head.headers[0].key, "Content-Type");
    let Some(Written::Piece(piece)) = recorded.recv().await else { panic!("no body") };
    assert_eq!(piece.payload, b"plain HTTP/1.1 requests only\n");
    drop(writer);
    for request in [upgrade("nowhere".to_owned()), HttpRequest::default()] {
        http.handle(request).await.expect_err("no writer");
    }
    drop(http);
    served.end().await;
}
