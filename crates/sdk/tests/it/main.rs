//! Sessions without a network: what is kept, what is refused, who may come in.

use std::path::Path;
use std::sync::Arc;

use session_core::{SwarmId, Text};
use session_crypto::{Identity, Phrase};
use session_protocol::{NodeRecord, StaticMembership};
use session_sdk::vault::{KeyError, VaultError};
use session_sdk::{Command, Error, Network, NewAccount, OpenError, Options, Peer, Session};

/// A network whose node does not answer.
fn network(name: &str) -> Network {
    let keys = Identity::from_seed(&[1; 32]).public().clone();
    let address = Text::new("127.0.0.1:1").unwrap();
    let record = NodeRecord { keys, address, swarm: SwarmId(0) };
    Network::new(Arc::new(StaticMembership::new(name, [record]).unwrap()))
}

fn phrase() -> NewAccount {
    let phrase = Phrase::from_seed(&[5; 32]);
    NewAccount::Phrase { phrase, device: "desk".to_owned(), restored: false }
}

async fn open(home: &Path, create: Option<NewAccount>) -> Result<Session, OpenError> {
    Session::open(home, network("test"), Options { create, ..Options::default() }).await
}

#[tokio::test]
async fn an_account_is_made_once_and_found_again() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path().join("new");
    assert!(matches!(open(&home, None).await, Err(OpenError::NoAccount(_))));
    assert!(!home.exists(), "looking makes nothing");
    let session = open(&home, Some(phrase())).await.unwrap();
    let account = session.account();
    assert_eq!(session.threads().await.unwrap(), []);

    // One program at a time, and the first one is not disturbed.
    let second = open(&home, None).await;
    assert!(matches!(second, Err(OpenError::Vault(VaultError::InUse(_)))));
    assert!(session.threads().await.is_ok());
    session.clone().stop().await;
    assert_eq!(session.threads().await, Err(Error::Stopped), "every handle has ended");

    let session = open(&home, None).await.unwrap();
    assert_eq!(session.account(), account);
    session.stop().await;
    let elsewhere = Session::open(&home, network("other"), Options::default()).await;
    assert!(matches!(elsewhere, Err(OpenError::OtherNetwork(_))));
}

#[tokio::test]
async fn a_passphrase_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let options = |text: Option<&str>, create| Options {
        passphrase: text.map(|text| text.to_owned().into()),
        create,
        ..Options::default()
    };
    let opened = |options| Session::open(home.path(), network("test"), options);
    opened(options(Some("correct"), Some(phrase()))).await.unwrap().stop().await;
    assert!(Session::needs_passphrase(home.path()).unwrap());
    for text in [None, Some("wrong")] {
        let refused = opened(options(text, None)).await;
        assert!(matches!(refused, Err(OpenError::Key(KeyError::Content { .. }))));
    }
    opened(options(Some("correct"), None)).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_new_device_shows_its_request_and_waits() {
    let home = tempfile::tempdir().unwrap();
    let account = Identity::from_seed(&[9; 32]).public().account_id();
    let new = NewAccount::Device { account, device: "phone".to_owned() };
    let session = open(home.path(), Some(new.clone())).await.unwrap();
    assert_eq!(session.account(), account);
    let request = session.device_request().await.unwrap();
    let said = session.say(Peer::Account { account }, "too early").await;
    assert!(matches!(said, Err(Error::Messenger(_))), "{said:?}");
    session.stop().await;
    // It still waits after a restart, with the same request.
    open(home.path(), None).await.unwrap().stop().await;
    let session = open(home.path(), Some(new)).await.unwrap();
    assert_eq!(session.device_request().await.unwrap(), request);
    session.stop().await;
}

#[tokio::test]
async fn what_a_closure_does_to_the_vault_is_seen_by_the_next_one() {
    let home = tempfile::tempdir().unwrap();
    let session = open(home.path(), Some(phrase())).await.unwrap();
    let devices = session.view(session_messaging::account::devices).await.unwrap();
    assert_eq!(devices.len(), 1);
    assert!(devices[0].here);
    let (first, second) = tokio::join!(session.threads(), session.command(Command::Flush));
    assert!(first.is_ok() && second.is_ok());
    session.stop().await;
}
