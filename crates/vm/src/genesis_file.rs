//! From the genesis file that people write to the genesis of the rules.

use session_core::{Text, Time};
use session_crypto::{DsaPublicKey, InvalidKey, KemPublicKey, PublicIdentity};
use session_protocol::chain::Amount;
use session_protocol::chain::view::DutyParams;
use session_rpc::vm::Genesis as GenesisFile;
use session_rpc::vm::genesis as file;

use crate::genesis::{Genesis, GenesisAccount, GenesisNode};
use crate::records::Params;

/// What the one account of an own chain gets: enough for thousands of nodes.
const OWN_SUPPLY: Amount = Amount::lux(1_000_000);

/// Why a genesis file is no genesis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadGenesisFile {
    /// Keys are no keys.
    #[error("{at}: {why}")]
    Key {
        /// Which.
        at: String,
        /// What is wrong with them.
        why: InvalidKey,
    },
    /// A text is longer than the chain keeps.
    #[error("{at}: it is too long")]
    TooLong {
        /// Which.
        at: String,
    },
}

/// Makes the genesis of a file.
///
/// # Errors
/// When keys are malformed, or a text is too long for the chain.
pub fn from_file(file: &GenesisFile) -> Result<Genesis, BadGenesisFile> {
    let at = |list: &'static str| move |index: usize| format!("{list}[{index}]");
    let params = Params {
        epoch: file.epoch,
        stake_min: Amount(file.stake_min),
        fee_base: Amount(file.fee.base),
        fee_per_kib: Amount(file.fee.per_kib),
        unbonding: file.unbonding,
        swarm_size: file.swarm_size,
        session_time_max: file.workload_max,
        duties: DutyParams {
            settle: file.duties.settle,
            examiners: file.duties.examiners,
            min_peers: file.duties.min_peers,
            free_bytes_min: file.duties.free_bytes_min,
        },
        activation_epochs: file.duties.activation_epochs,
        penalty_bps: file.duties.penalty_bps,
        penalty_max_bps: file.duties.penalty_bps_max,
        misses_free: file.duties.misses_free,
        slash_bps: file.duties.slash_bps,
        veto_window: file.duties.veto_window,
        drain_epochs_max: file.duties.drain_epochs_max,
    };
    let name = Text::new(file.network.clone())
        .map_err(|_| BadGenesisFile::TooLong { at: "network".to_owned() })?;
    let sequencer = match &file.sequencer {
        None => None,
        Some(keys) => Some(identity(keys, || "sequencer".to_owned())?),
    };
    let accounts = file.accounts.iter().enumerate();
    let accounts = accounts.map(|(index, entry)| account(entry, || at("accounts")(index)));
    let nodes = file.nodes.iter().enumerate();
    let nodes = nodes.map(|(index, entry)| node(entry, || at("nodes")(index)));
    Ok(Genesis {
        name,
        time: file.time,
        params,
        sequencer,
        accounts: accounts.collect::<Result<_, _>>()?,
        nodes: nodes.collect::<Result<_, _>>()?,
        authority: file.authority,
        supply: Some(Amount(file.supply)),
    })
}

fn account(
    entry: &file::GenesisAccount,
    at: impl Fn() -> String,
) -> Result<GenesisAccount, BadGenesisFile> {
    let keys = match &entry.keys {
        None => None,
        Some(keys) => Some(identity(keys, || format!("{}.keys", at()))?),
    };
    Ok(GenesisAccount { account: entry.account, balance: Amount(entry.balance), keys })
}

fn node(entry: &file::GenesisNode, at: impl Fn() -> String) -> Result<GenesisNode, BadGenesisFile> {
    let mut keys = entry.kem_public_key.clone();
    keys.extend_from_slice(&entry.dsa_public_key);
    let keys = identity(&keys, &at)?;
    let endpoint = Text::new(entry.endpoint.to_string())
        .map_err(|_| BadGenesisFile::TooLong { at: format!("{}.endpoint", at()) })?;
    let (operator, stake, swarm) = (entry.operator, Amount(entry.stake), entry.swarm);
    Ok(GenesisNode { operator, keys, endpoint, stake, swarm })
}

/// Joins an ML-KEM-768 and an ML-DSA-65 public key, in this order.
fn identity(keys: &[u8], at: impl Fn() -> String) -> Result<PublicIdentity, BadGenesisFile> {
    let bad = |why| BadGenesisFile::Key { at: at(), why };
    let (kem, dsa) = keys.split_at(keys.len().min(KemPublicKey::SIZE));
    let kem = KemPublicKey::try_from(kem).map_err(bad)?;
    let dsa = DsaPublicKey::try_from(dsa).map_err(bad)?;
    Ok(PublicIdentity::new(kem, dsa))
}

/// Makes the genesis of a chain that one sequencer begins for itself: everything is its own.
#[must_use]
pub fn of_one(name: &str, now: Time, keys: &PublicIdentity) -> GenesisFile {
    let mut file = GenesisFile::new(name, now);
    let mut both = keys.kem().as_ref().to_vec();
    both.extend_from_slice(keys.dsa().as_ref());
    file.sequencer = Some(both.clone());
    file.accounts = vec![file::GenesisAccount {
        account: keys.account_id(),
        balance: OWN_SUPPLY.0,
        keys: Some(both),
    }];
    file.supply = OWN_SUPPLY.0;
    file
}

#[cfg(test)]
mod tests {
    use session_core::{AccountId, SeededEntropy, Span};
    use session_crypto::Identity;

    use super::*;

    #[test]
    fn every_parameter_of_the_file_reaches_the_rules() {
        let keys = Identity::generate(&mut SeededEntropy::new(1));
        let mut file = of_one("test", Time::ZERO, keys.public());
        file.epoch = Span::from_secs(7);
        file.stake_min = 8;
        file.fee = file::Fee { base: 9, per_kib: 10 };
        file.unbonding = Span::from_secs(11);
        file.swarm_size = 12;
        file.workload_max = Span::from_secs(13);
        file.duties = file::Duties {
            settle: Span::from_secs(14),
            examiners: 15,
            min_peers: 14,
            free_bytes_min: 17,
            activation_epochs: 18,
            penalty_bps: 19,
            penalty_bps_max: 20,
            misses_free: 21,
            slash_bps: 22,
            veto_window: Span::from_secs(23),
            drain_epochs_max: 24,
        };
        file.authority = Some(AccountId::from([25; 32]));
        let genesis = from_file(&file).unwrap();
        let expected = Params {
            epoch: Span::from_secs(7),
            stake_min: Amount(8),
            fee_base: Amount(9),
            fee_per_kib: Amount(10),
            unbonding: Span::from_secs(11),
            swarm_size: 12,
            session_time_max: Span::from_secs(13),
            duties: DutyParams {
                settle: Span::from_secs(14),
                examiners: 15,
                min_peers: 14,
                free_bytes_min: 17,
            },
            activation_epochs: 18,
            penalty_bps: 19,
            penalty_max_bps: 20,
            misses_free: 21,
            slash_bps: 22,
            veto_window: Span::from_secs(23),
            drain_epochs_max: 24,
        };
        assert_eq!(genesis.params, expected);
        assert_eq!(genesis.authority, file.authority);
        // Whoever writes nothing about them gets the rules' defaults.
        let usual = of_one("test", Time::ZERO, keys.public());
        assert_eq!(from_file(&usual).unwrap().params, Params::default());
    }

    #[test]
    fn bad_keys_are_named() {
        let keys = Identity::generate(&mut SeededEntropy::new(1));
        let mut file = of_one("test", Time::ZERO, keys.public());
        file.accounts[0].keys = Some(vec![0xff; PublicIdentity::SIZE]);
        let error = from_file(&file).unwrap_err();
        assert!(error.to_string().starts_with("accounts[0].keys: "), "{error}");
        file.sequencer = Some(vec![0; 5]);
        let error = from_file(&file).unwrap_err();
        assert!(error.to_string().starts_with("sequencer: "), "{error}");
    }
}
