//! Something to keep: who lies about messages is only caught if there are some.

use std::time::Duration;

use session_client::NewItem;
use session_core::{Blob, Entropy as _, Span};
use session_crypto::Identity;
use session_protocol::inbox::MESSAGES;

use crate::cluster::Cluster;
use crate::exit::Result;
use crate::person::{self, Person, inbox_of};

/// Items in each round: as many as an audit looks at.
const ITEMS: usize = 32;

const ITEM_BYTES: usize = 512;

const TTL: Span = Span::from_days(1);

/// How long to wait for nodes that are not there.
const RETRY: Duration = Duration::from_secs(1);

/// Stores items in an inbox of nobody, again and again; ends with the program.
pub(super) fn start(cluster: &Cluster, every: Duration) -> Result<()> {
    let identity = Identity::generate(&mut person::entropy()?);
    let person = Person::start(identity, cluster.members()?)?;
    tokio::spawn(async move {
        loop {
            let pause = match round(&person).await {
                Ok(()) => every,
                Err(failure) => {
                    tracing::debug!("messages for the nodes: {failure}");
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    });
    Ok(())
}

async fn round(person: &Person) -> Result<()> {
    let mut rng = person::entropy()?;
    let items = (0..ITEMS).map(|_| {
        let mut data = vec![0; ITEM_BYTES];
        rng.fill(&mut data);
        NewItem {
            namespace: MESSAGES,
            ttl: TTL,
            data: Blob::new(data).expect("512 bytes are within it"),
        }
    });
    person.store_many(inbox_of(person.account()), items.collect()).await.map(drop)
}
