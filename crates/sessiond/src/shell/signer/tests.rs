use std::sync::Arc;

use session_core::{InboxAddress, MessageId, SwarmId, Time};
use session_crypto::{Identity, RealVerifier};
use session_protocol::membership::network_id;
use session_protocol::receipt::StorageReceipt;

use super::{RECEIPTS_MAX, Signer};

fn receipt(keys: &Identity, number: u64) -> StorageReceipt {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    StorageReceipt {
        node: keys.public().node_id(),
        swarm: SwarmId(0),
        address: InboxAddress::from([1; 32]),
        message: MessageId::from(id),
        expiry: Time::from_millis(2),
        stored_at: Time::from_millis(1),
    }
}

#[tokio::test]
async fn what_waits_is_signed_together_and_each_ticket_gets_its_own_proofs() {
    let network = network_id("test");
    let keys = Arc::new(Identity::from_seed(&[1; 32]));
    let mut signer = Signer::start(network, keys.clone()).unwrap();
    assert!(signer.is_idle());
    signer.submit();
    assert!(signer.is_idle(), "nothing waits");

    let tickets = [vec![0], vec![1, 2, 3], vec![4]];
    let tickets = tickets.map(|numbers| {
        numbers.into_iter().map(|number| receipt(&keys, number)).collect::<Vec<_>>()
    });
    for (number, receipts) in tickets.iter().enumerate() {
        signer.add(number as u64, receipts.clone());
    }
    signer.submit();
    let answers = signer.answer().await;
    assert!(signer.is_idle());
    assert_eq!(answers.iter().map(|answer| answer.number).collect::<Vec<_>>(), [0, 1, 2]);
    for (answer, receipts) in answers.iter().zip(&tickets) {
        assert_eq!(answer.root, answers[0].root, "one signature covers all");
        answer.root.verify(network, keys.public().dsa(), &RealVerifier).unwrap();
        assert_eq!(answer.proofs.len(), receipts.len());
        for (receipt, proof) in receipts.iter().zip(&answer.proofs) {
            answer.root.covers(network, receipt, proof).unwrap();
        }
    }
}

#[tokio::test]
async fn a_job_is_bounded_but_never_empty() {
    let keys = Arc::new(Identity::from_seed(&[1; 32]));
    let mut signer = Signer::start(network_id("test"), keys.clone()).unwrap();
    let over = (0..=RECEIPTS_MAX as u64).map(|number| receipt(&keys, number)).collect::<Vec<_>>();
    signer.add(1, over.clone());
    signer.add(2, vec![receipt(&keys, 0)]);
    signer.submit();
    let answers = signer.answer().await;
    assert_eq!((answers.len(), answers[0].proofs.len()), (1, over.len()));
    assert!(!signer.is_idle());
    signer.submit();
    assert_eq!(signer.answer().await[0].number, 2);
    assert!(signer.is_idle());
}
