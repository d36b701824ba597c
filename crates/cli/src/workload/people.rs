//! People of the scripted world: accounts to which workloads write, and what they got.

use serde_json::json;
use session_client::InboxReader;
use session_crypto::{AccountRef, Identity};
use session_messaging::content::Content;

use super::world::Somebody;
use crate::cluster::Cluster;
use crate::exit::Result;
use crate::out::{Out, harmless};
use crate::person::Person;

/// Those of one run.
pub(super) struct People {
    all: Vec<(String, Person)>,
}

impl People {
    /// Makes them, and publishes their keys where nodes look for them.
    pub(super) async fn start(named: &[Somebody], cluster: &Cluster) -> Result<Self> {
        let mut all = Vec::with_capacity(named.len());
        for Somebody { name } in named {
            let identity = Identity::generate(&mut crate::person::entropy()?);
            let person = Person::start(identity, cluster.members()?)?;
            person.publish().await?;
            all.push((name.clone(), person));
        }
        Ok(Self { all })
    }

    /// Returns an input in which `${name}` is somebody's account.
    pub(super) fn fill(&self, input: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(input) else { return input.to_vec() };
        let fill = |text: String, (name, person): &(String, Person)| {
            text.replace(&format!("${{{name}}}"), &person.text_id())
        };
        self.all.iter().fold(text.to_owned(), fill).into_bytes()
    }

    /// Shows what they got, and lets them go.
    pub(super) async fn tell(self, out: Out) -> Result<()> {
        for (name, person) in self.all {
            let received = person.read(&mut InboxReader::new()).await;
            person.agent.stop().await;
            for message in received?.into_iter().filter_map(|received| received.message.ok()) {
                let from = AccountRef(message.sender.account_id()).to_string();
                let Content::Text { body, .. } = &message.content else { continue };
                out.result(
                    || format!("world: {name} got a message: {}", harmless(body)),
                    || json!({ "to": name, "from": from, "text": &**body }),
                );
            }
        }
        Ok(())
    }
}
