//! Handshakes, and ends that nobody announced.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::*;
use crate::life::FAREWELL_TIME;

async fn refusal(engine: &str, protocol: u32) -> ServeError {
    let serving = serve_for(Life::undisturbed(), engine, protocol, Arc::new(Toy::default()));
    let ended = timeout(Duration::from_secs(5), serving).await.expect("before the host kills");
    ended.expect_err("no handshake")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_protocol_number_is_explained() {
    let mut host = Host::start(46, Store::default()).await;
    let error = refusal(&host.engine.address.to_string(), PROTOCOL).await;
    let text = error.to_string();
    assert!(matches!(error, ServeError::Refused { protocol: 45, .. }), "{text}");
    for part in ["45", "expected protocol version 46", "--rpcchainvm N", "GRPC_SESSIONVM_PROTOCOL"]
    {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    let introduction = host.introductions.recv().await.expect("it was tried");
    assert_eq!(introduction.protocol_version, 45);
    assert!(introduction.addr.starts_with("127.0.0.1:"), "{}", introduction.addr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_is_explained() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = free.local_addr().expect("bound").to_string();
    drop(free);
    for address in [address.as_str(), "nonsense", "", "localhost"] {
        let text = refusal(address, PROTOCOL).await.to_string();
        assert!(text.contains(&format!("the engine at {address:?}")), "{text}");
        assert!(text.contains("AVALANCHE_VM_RUNTIME_ENGINE_ADDR"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_never_answers_is_given_up_in_time() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let error = refusal(&silent.local_addr().expect("bound").to_string(), PROTOCOL).await;
    assert!(matches!(error, ServeError::NoAnswer { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_vanished_ends_the_plugin_and_shuts_the_chain_down() {
    let mut host = Host::start(PROTOCOL, Store::default()).await;
    let (toy, life) = (Arc::new(Toy::default()), Life::undisturbed());
    let (engine, vm, its_life) = (host.engine.address.to_string(), toy.clone(), life.clone());
    let serving = tokio::spawn(async move { serve_for(its_life, &engine, PROTOCOL, vm).await });
    let plugin = host.plugin().await;
    // As when the parent process is gone: while connections are open, and with calls on them.
    let mut vm = plugin.vm.clone();
    let call = tokio::spawn(async move { vm.wait_for_event(()).await });
    reaches(&toy.waiting, 1).await;
    assert!(!toy.is_shut_down());
    life.host_gone();
    let ended = timeout(FAREWELL_TIME, serving).await.expect("in time").expect("no panic");
    ended.expect("a good end");
    assert!(toy.is_shut_down());
    let cut = timeout(PATIENCE, call).await.expect("an end").expect("no panic");
    assert_eq!(cut.expect_err("no event").code(), tonic::Code::Cancelled);
}
