//! The participants of an anchored conversation, hidden by salts in a Merkle tree.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use session_core::{AccountId, Decode, Digest, Encode, Entropy, merkle};
use session_crypto::AccountRef;
use session_protocol::chain::transaction::hidden_participant;

use crate::exit::{Failure, Result};

/// Bytes of a salt.
const SALT_BYTES: usize = 32;

/// The hidden participants, and what each of them needs to show that it is one.
pub(super) struct Hidden {
    participants: Vec<(AccountId, [u8; SALT_BYTES])>,
    tree: merkle::Tree,
}

/// What one participant needs: its salt, and the way from its leaf to the root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) proof: merkle::Proof,
}

impl Hidden {
    pub(super) fn new(accounts: Vec<AccountId>, rng: &mut dyn Entropy) -> Result<Self> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = accounts.iter().find(|account| !seen.insert(**account)) {
            let why = format!("{} is named as a participant twice", AccountRef(*twice));
            return Err(Failure::usage(why));
        }
        if u16::try_from(accounts.len()).is_err() {
            return Err(Failure::usage(format!("{} participants are too many", accounts.len())));
        }
        let salted = accounts.into_iter().map(|account| {
            let mut salt = [0; SALT_BYTES];
            rng.fill(&mut salt);
            (account, salt)
        });
        let participants: Vec<_> = salted.collect();
        let tree = merkle::Tree::new(
            participants.iter().map(|(account, salt)| hidden_participant(salt, account)),
        );
        Ok(Self { participants, tree })
    }

    pub(super) fn root(&self) -> Digest {
        self.tree.root()
    }

    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.participants.len()).expect("checked when it was made")
    }

    /// Returns each participant with the text that it closes the conversation with.
    pub(super) fn to_json(&self) -> Value {
        let participants = self.participants.iter().enumerate();
        let participants = participants.map(|(index, (account, salt))| {
            let proof = self.tree.prove(index as u64).expect("the tree has this leaf");
            let ticket = Ticket { salt: *salt, proof };
            json!({ "account": AccountRef(*account).to_string(), "salt": ticket.to_text() })
        });
        participants.collect()
    }
}

impl Ticket {
    fn to_text(&self) -> String {
        hex::encode([&self.salt[..], &self.proof.to_bytes()].concat())
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Failure::usage(format!("--salt: {why}: it is the hex that open-conversation printed"))
        };
        let bytes = hex::decode(text.trim()).map_err(|error| wrong(error.to_string()))?;
        let (salt, proof) = bytes
            .split_first_chunk()
            .ok_or_else(|| wrong(format!("{} bytes are too few", bytes.len())))?;
        let proof = merkle::Proof::decode_exact(proof).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { salt: *salt, proof })
    }
}

#[cfg(test)]
mod tests {
    use session_core::SeededEntropy;

    use super::*;

    fn accounts(count: u8) -> Vec<AccountId> {
        (0..count).map(|number| AccountId::from([number; 32])).collect()
    }

    #[test]
    fn every_participant_can_show_that_it_is_one_and_nobody_else() {
        let hidden = Hidden::new(accounts(5), &mut SeededEntropy::new(1)).unwrap();
        assert_eq!(hidden.count(), 5);
        let printed = hidden.to_json();
        for (index, account) in accounts(5).iter().enumerate() {
            let ticket = Ticket::parse(printed[index]["salt"].as_str().unwrap()).unwrap();
            let own = hidden_participant(&ticket.salt, account);
            assert_eq!(ticket.proof.verify(own.as_bytes(), &hidden.root()), Ok(()));
            let other = hidden_participant(&ticket.salt, &AccountId::from([9; 32]));
            assert!(ticket.proof.verify(other.as_bytes(), &hidden.root()).is_err());
        }
    }

    #[test]
    fn wrong_texts_and_repeated_participants_are_refused() {
        for bad in ["", "zz", "00", &"00".repeat(33)] {
            assert!(Ticket::parse(bad).unwrap_err().why.contains("--salt"), "{bad}");
        }
        let twice = [accounts(2), accounts(1)].concat();
        assert!(Hidden::new(twice, &mut SeededEntropy::new(1)).is_err());
    }
}
