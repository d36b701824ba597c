//! What a query sees.

use session_core::{SwarmId, Text};
use session_crypto::Phrase;
use session_protocol::{NodeRecord, StaticMembership};

use super::*;

/// A session whose network does not answer.
async fn session(home: &Path) -> Started {
    let keys = Identity::from_seed(&[1; 32]).public().clone();
    let address = Text::new("127.0.0.1:1").unwrap();
    let record = NodeRecord { keys, address, swarm: SwarmId(0) };
    let network = Network::new(Arc::new(StaticMembership::new("test", [record]).unwrap()));
    let phrase = Phrase::from_seed(&[5; 32]);
    let create = NewAccount::Phrase { phrase, device: "desk".to_owned(), restored: false };
    let options = Options { create: Some(create), ..Options::default() };
    let (notices, _) = broadcast::channel(16);
    start(home.to_owned(), network, options, notices).await.unwrap()
}

#[tokio::test]
async fn a_query_sees_only_what_is_durable() {
    let home = tempfile::tempdir().unwrap();
    let Started { orders, .. } = session(home.path()).await;
    // The owner is held until both orders wait for it, so that they share a transaction.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let holding = Box::new(move |_: &dyn Vault| {
        let _ = held.recv();
    });
    orders.send(Order::View(holding)).await.unwrap();
    let key = Table::Meta.key(&[b"setting/test"]);
    let (done, mut durable) = oneshot::channel();
    let written = key.clone();
    let change = Box::new(move |vault: &mut dyn Vault| vault.put(&written, b"x"));
    orders.send(Order::Change(change, done)).await.unwrap();
    let (tell, told) = oneshot::channel();
    let query = Box::new(move |vault: &dyn Vault| {
        let _ = tell.send((vault.get(&key), durable.try_recv().is_ok()));
    });
    orders.send(Order::View(query)).await.unwrap();
    hold.send(()).unwrap();
    assert_eq!(told.await.unwrap(), (Some(b"x".to_vec()), true));
    let (done, stopped) = oneshot::channel();
    orders.send(Order::Stop(done)).await.unwrap();
    let _ = stopped.await;
}
