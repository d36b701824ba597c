use std::collections::BTreeSet;

use super::{
    Attempt, AttestationDomain, Attested, Delivery, beacon_id, receipt_id, request_id, session_id,
};
use crate::{Digest, Epoch, ServiceId, SessionId, TxId};

#[test]
fn attestation_names_are_parsed_and_nothing_else() {
    for domain in AttestationDomain::ALL {
        assert_eq!(domain.name().parse(), Ok(domain));
        assert_eq!(domain.to_string(), domain.name());
        assert_eq!(domain.separator(), format!("LUX:QuantumAttest:{domain}:v1"));
    }
    for name in
        ["", "unknown", "oracle", "oracle/", "Oracle/read", "oracle/read ", "oracle/read:v1"]
    {
        assert!(name.parse::<AttestationDomain>().is_err(), "{name:?}");
    }
}

#[test]
fn every_field_of_an_attestation_changes_its_id() {
    let attested = Attested {
        domain: AttestationDomain::OracleRead,
        subject: [1; 32],
        commit_root: Digest::from([2; 32]),
        epoch: Epoch(3),
    };
    let others = [
        Attested { domain: AttestationDomain::OracleWrite, ..attested },
        Attested { subject: [9; 32], ..attested },
        Attested { commit_root: Digest::from([9; 32]), ..attested },
        Attested { epoch: Epoch(9), ..attested },
    ];
    let ids: BTreeSet<_> = others.iter().chain([&attested]).map(Attested::id).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn every_field_of_a_delivery_changes_its_id() {
    let delivery = Delivery {
        session: SessionId::from([1; 32]),
        step: 2,
        message_hash: Digest::from([3; 32]),
        sender: [4; 32],
        receiver: [5; 32],
    };
    let others = [
        delivery,
        Delivery { session: SessionId::from([9; 32]), ..delivery },
        Delivery { step: 9, ..delivery },
        Delivery { message_hash: Digest::from([9; 32]), ..delivery },
        Delivery { sender: [9; 32], ..delivery },
        Delivery { receiver: [9; 32], ..delivery },
        Delivery { sender: [5; 32], receiver: [4; 32], ..delivery },
    ];
    let ids: BTreeSet<_> = others.iter().map(receipt_id).collect();
    assert_eq!(ids.len(), others.len());
}

#[test]
fn step_and_retry_are_not_interchangeable() {
    let (service, session, tx) = (ServiceId::default(), SessionId::default(), TxId::default());
    let request = |step, retry| request_id(&service, &session, Attempt { step, retry }, &tx);
    assert_ne!(request(1, 0), request(0, 1));
    assert_ne!(request(1, 0), request(1, 1));
}

#[test]
fn ids_of_one_epoch_are_not_those_of_another() {
    let (service, tx, digest) = (ServiceId::default(), TxId::default(), Digest::default());
    assert_ne!(session_id(&service, Epoch(1), &tx), session_id(&service, Epoch(2), &tx));
    assert_ne!(beacon_id(Epoch(1), &digest, &digest), beacon_id(Epoch(2), &digest, &digest));
}
