//! All calls of `vm.VM`.

use tonic::Code;

use super::wire::vm::*;
use super::*;
use crate::hosted::Phase;

#[tokio::test(flavor = "multi_thread")]
async fn version_and_shutdown_work_before_initialize() {
    let mut served = Served::start(Store::default()).await;
    let version = served.plugin.vm.version(()).await.expect("a version").into_inner();
    assert_eq!(version.version, "toy");
    let refused = served.plugin.vm.build_block(BuildBlockRequest::default()).await;
    assert_eq!(refused.expect_err("not initialized").code(), Code::FailedPrecondition);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_lives_and_comes_back_where_it_was() {
    let store = Store::default();
    let mut served = Served::start(store.clone()).await;
    let request = served.initialize_request();
    let vm = &mut served.plugin.vm;
    let genesis = vm.initialize(request).await.expect("started").into_inner();
    assert_eq!((genesis.height, genesis.last_accepted_id.len()), (0, 32));
    assert_eq!(genesis.last_accepted_parent_id, [0; 32]);
    let time = genesis.timestamp.expect("always set");
    assert_eq!((time.seconds, time.nanos), (1_700_000_000, 123_000_000));

    for state in [State::StateSyncing, State::Bootstrapping, State::NormalOp] {
        let now = vm.set_state(SetStateRequest { state: state.into() }).await.expect("entered");
        assert_eq!(now.into_inner().last_accepted_id, genesis.last_accepted_id);
    }
    let phases = [Phase::Other(1), Phase::Bootstrapping, Phase::Ready];
    assert_eq!(served.toy.phases(), phases);

    let nothing = vm.build_block(BuildBlockRequest::default()).await;
    assert_eq!(nothing.expect_err("nothing is pending").code(), Code::NotFound);
    served.toy.submit(b"first");
    let event = vm.wait_for_event(()).await.expect("an event").into_inner();
    assert_eq!(event.message(), Message::BuildBlock);
    let built = vm.build_block(BuildBlockRequest { p_chain_height: Some(9) }).await;
    let built = built.expect("built").into_inner();
    assert_eq!((built.height, built.timestamp.is_some()), (1, true));
    assert_eq!(built.parent_id, genesis.last_accepted_id);
    assert!(!built.verify_with_context);

    let parsed = vm.parse_block(ParseBlockRequest { bytes: built.bytes.clone() }).await;
    let parsed = parsed.expect("a block").into_inner();
    assert_eq!((&parsed.id, &parsed.parent_id), (&built.id, &built.parent_id));
    assert_eq!((parsed.height, parsed.timestamp), (1, built.timestamp));
    let garbage = vm.parse_block(ParseBlockRequest { bytes: vec![1, 2, 3] }).await;
    assert_eq!(garbage.expect_err("no block").code(), Code::InvalidArgument);
    let batch = vec![genesis.bytes.clone(), built.bytes.clone()];
    let batch = vm.batched_parse_block(BatchedParseBlockRequest { request: batch }).await;
    let batch = batch.expect("two blocks").into_inner().response;
    assert_eq!(batch.iter().map(|b| b.height).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(batch[1], parsed);

    let unknown = vm.get_block(GetBlockRequest { id: built.id.clone() }).await;
    let unknown = unknown.expect("not found is no error").into_inner();
    assert_eq!((unknown.err(), unknown.timestamp.is_some()), (Error::NotFound, true));
    let short = vm.get_block(GetBlockRequest { id: vec![1; 31] }).await;
    assert_eq!(short.expect_err("no id").code(), Code::InvalidArgument);
    let verify = BlockVerifyRequest { bytes: built.bytes.clone(), p_chain_height: None };
    let verified = vm.block_verify(verify.clone()).await.expect("valid").into_inner();
    assert_eq!(verified.timestamp, built.timestamp);
    vm.block_reject(BlockRejectRequest { id: built.id.clone() }).await.expect("rejected");
    vm.block_accept(BlockAcceptRequest { id: built.id.clone() }).await.expect_err("not verified");
    vm.block_verify(verify).await.expect("valid again");
    vm.set_preference(SetPreferenceRequest { id: built.id.clone() }).await.expect("preferred");
    vm.block_accept(BlockAcceptRequest { id: built.id.clone() }).await.expect("accepted");
    let block = vm.get_block(GetBlockRequest { id: built.id.clone() }).await;
    let block = block.expect("found").into_inner();
    assert_eq!((block.err(), block.height), (Error::Unspecified, 1));
    assert_eq!((block.bytes, block.parent_id), (built.bytes.clone(), built.parent_id.clone()));

    let at = vm.get_block_id_at_height(GetBlockIdAtHeightRequest { height: 1 }).await;
    let at = at.expect("an answer").into_inner();
    assert_eq!((at.err(), &at.blk_id), (Error::Unspecified, &built.id));
    let above = vm.get_block_id_at_height(GetBlockIdAtHeightRequest { height: 2 }).await;
    assert_eq!(above.expect("not found is no error").into_inner().err(), Error::NotFound);
    served.end().await;

    let mut served = Served::start(store).await;
    let request = served.initialize_request();
    let back = served.plugin.vm.initialize(request).await.expect("restarted").into_inner();
    assert_eq!((back.height, back.last_accepted_id), (1, built.id));
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ancestors_of_unknown_blocks_are_none() {
    let mut served = Served::start(Store::default()).await;
    let request = served.initialize_request();
    let vm = &mut served.plugin.vm;
    let genesis = vm.initialize(request).await.expect("started").into_inner();
    let mut ask = async |blk_id: &[u8], max_blocks_num| {
        let request = GetAncestorsRequest {
            blk_id: blk_id.to_vec(),
            max_blocks_num,
            max_blocks_size: 1 << 20,
            max_blocks_retrival_time: 1_000_000_000,
        };
        vm.get_ancestors(request).await.expect("always an answer").into_inner().blks_bytes
    };
    assert_eq!(ask(&genesis.last_accepted_id, 10).await, [genesis.bytes]);
    assert_eq!(ask(&genesis.last_accepted_id, -1).await, [b""; 0]);
    assert_eq!(ask(&[3; 32], 10).await, [b""; 0]);
    assert_eq!(ask(&[3; 5], 10).await, [b""; 0]);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_validators_send_is_never_an_error() {
    let mut served = Served::start(Store::default()).await;
    let request = served.initialize_request();
    let toy = served.toy.clone();
    let vm = &mut served.plugin.vm;
    let gossip = |msg: &[u8]| AppGossipMsg { node_id: vec![1; 20], msg: msg.to_vec() };
    vm.connected(ConnectedRequest::default()).await.expect("before initialize");
    vm.initialize(request).await.expect("started");
    vm.connected(ConnectedRequest::default()).await.expect("nobody");
    vm.disconnected(DisconnectedRequest { node_id: vec![1; 3] }).await.expect("not a node");
    vm.app_request(AppRequestMsg::default()).await.expect("a request");
    vm.app_response(AppResponseMsg::default()).await.expect("a response");
    vm.app_request_failed(AppRequestFailedMsg { error_code: -1, ..Default::default() })
        .await
        .expect("a failure");
    vm.app_gossip(gossip(b"")).await.expect("nothing");
    vm.app_gossip(gossip(b"panic")).await.expect("our own bug");
    vm.app_gossip(gossip(b"text")).await.expect("a text");
    assert_eq!(toy.pending(), [b"".to_vec(), b"text".to_vec()]);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_sync_is_declined_and_metrics_are_empty() {
    let mut served = Served::start(Store::default()).await;
    let vm = &mut served.plugin.vm;
    let declined = Error::StateSyncNotImplemented;
    assert!(!vm.state_sync_enabled(()).await.expect("an answer").into_inner().enabled);
    let ongoing = vm.get_ongoing_sync_state_summary(()).await.expect("an answer").into_inner();
    assert_eq!(ongoing.err(), declined);
    let last = vm.get_last_state_summary(()).await.expect("an answer").into_inner();
    assert_eq!(last.err(), declined);
    let parse = ParseStateSummaryRequest { bytes: vec![1] };
    assert_eq!(
        vm.parse_state_summary(parse).await.expect("an answer").into_inner().err(),
        declined
    );
    let at = GetStateSummaryRequest { height: 1 };
    assert_eq!(vm.get_state_summary(at).await.expect("an answer").into_inner().err(), declined);
    let accept = StateSummaryAcceptRequest { bytes: vec![1] };
    let accept = vm.state_summary_accept(accept).await.expect("an answer").into_inner();
    assert_eq!(accept.err(), declined);
    let gathered = vm.gather(()).await.expect("an answer").into_inner();
    assert_eq!(gathered.metric_families, [b""; 0]);
    let own_handler = vm.new_http_handler(()).await.expect("an answer").into_inner();
    assert_eq!(own_handler.server_addr, "");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_health_is_an_error_because_the_host_reads_nothing_else() {
    let mut served = Served::start(Store::default()).await;
    let well = served.plugin.vm.health(()).await.expect("healthy").into_inner().details;
    assert_eq!(well, br#"{"details":{"mood":"\"fine\""},"healthy":true}"#);
    *served.toy.sick.lock().expect("no panic") = true;
    let ill = served.plugin.vm.health(()).await.expect_err("ill");
    assert_eq!(ill.message(), r#"{"details":{"mood":"\"fine\""},"healthy":false}"#);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_an_event_can_be_given_up_and_hinders_nobody() {
    let mut served = Served::start(Store::default()).await;
    let toy = served.toy.clone();
    let waiting = &toy.waiting;
    for _ in 0..3 {
        let mut vm = served.plugin.vm.clone();
        let call = tokio::spawn(async move { vm.wait_for_event(()).await });
        reaches(waiting, 1).await;
        served.plugin.vm.version(()).await.expect("meanwhile");
        call.abort();
        reaches(waiting, 0).await;
    }
    let mut vm = served.plugin.vm.clone();
    let call = tokio::spawn(async move { vm.wait_for_event(()).await });
    reaches(waiting, 1).await;
    toy.submit(b"text");
    let event = timeout(PATIENCE, call).await.expect("an event").expect("no panic");
    assert_eq!(event.expect("no error").into_inner().message(), Message::BuildBlock);
    let again = timeout(PATIENCE, served.plugin.vm.wait_for_event(())).await.expect("at once");
    assert_eq!(again.expect("no error").into_inner().message(), Message::BuildBlock);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_the_plugin_though_the_host_waits_for_an_event() {
    let served = Served::start(Store::default()).await;
    let mut vm = served.plugin.vm.clone();
    let toy = served.toy.clone();
    let call = tokio::spawn(async move { vm.wait_for_event(()).await });
    reaches(&toy.waiting, 1).await;
    let mut vm = served.plugin.vm.clone();
    vm.shutdown(()).await.expect("shut down");
    call.abort();
    drop((vm, served.plugin));
    let ended = timeout(PATIENCE, served.ended).await.expect("an end").expect("no panic");
    ended.expect("a good end");
    reaches(&toy.waiting, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blocks_pass_both_ways() {
    let mut served = Served::start(Store::default()).await;
    let request = served.initialize_request();
    let vm = &mut served.plugin.vm;
    vm.initialize(request).await.expect("started");
    served.toy.submit(&vec![0x55; 9 << 20]);
    let built = vm.build_block(BuildBlockRequest::default()).await.expect("built").into_inner();
    let verify = BlockVerifyRequest { bytes: built.bytes.clone(), p_chain_height: None };
    vm.block_verify(verify).await.expect("valid");
    // Into the host's database and back again.
    vm.block_accept(BlockAcceptRequest { id: built.id.clone() }).await.expect("accepted");
    let block = vm.get_block(GetBlockRequest { id: built.id }).await.expect("found").into_inner();
    assert_eq!(block.bytes, built.bytes);
    served.end().await;
}
