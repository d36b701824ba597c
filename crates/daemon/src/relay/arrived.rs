//! What is done with a frame before the machine sees it: all that is costly and changes nothing.

use session_core::{Blob, Decode as _, InboxAddress, Namespace, Span, Time};
use session_network::onion::{Opened, Opener, Packet, Service, Size};
use session_protocol::inbound::{CheckedOperation, CheckedRequest, Fault};
use session_protocol::onion::{Onion, WAIT_MAX, Wait, service};
use session_protocol::owner::OwnerAction;
use session_protocol::request::{Operation, Request};
use session_protocol::{Checker, Inbound};

/// A frame as it goes to the machine.
#[derive(Debug)]
pub struct Heard {
    /// The message, or what is wrong with it. That of a packet which was opened has none of its
    /// bytes any more.
    pub frame: Result<Inbound, Fault>,
    /// The packet, if it is one on its way out.
    pub packet: Option<Box<Arrived>>,
}

/// A packet that was worked at, and what it asks of this node if it ends here.
#[derive(Debug)]
pub struct Arrived {
    pub(super) circuit: u64,
    pub(super) size: Size,
    pub(super) opened: Opened,
    pub(super) errand: Option<Errand>,
}

/// What a payload asks for.
#[derive(Debug)]
pub(super) enum Errand {
    Request(CheckedRequest),
    Wait {
        wait: Span,
        request: CheckedRequest,
        /// Of each operation that reads: what.
        reads: Vec<Option<(InboxAddress, Namespace)>>,
    },
    Echo,
    NoService,
    Malformed,
}

/// Parses and checks a frame, and opens the packet in it, if there is one and this node is a hop.
/// Called on as many threads as there are.
#[must_use]
pub fn read(checker: &Checker, opener: Option<&Opener>, now: Time, body: &[u8]) -> Heard {
    read_within(checker, opener, now, body, || true)
}

/// The same, where a link has a share: `pays` is asked once for each onion frame, and what is not
/// paid for is not opened. The machine, which counts as well, drops it.
#[must_use]
pub fn read_within(
    checker: &Checker,
    opener: Option<&Opener>,
    now: Time,
    body: &[u8],
    pays: impl FnOnce() -> bool,
) -> Heard {
    match (checker.check(body), opener) {
        (Ok(Inbound::Onion(onion)), Some(opener)) => {
            let opener = Some(opener).filter(|_| pays());
            open(checker, opener, now, onion)
        }
        (frame, _) => Heard { frame, packet: None },
    }
}

fn open(checker: &Checker, opener: Option<&Opener>, now: Time, onion: Onion) -> Heard {
    use session_network::onion::Kind;
    let Onion { circuit, packet } = onion;
    let bytes = packet.into_vec();
    let is_answer = bytes.get(1).is_some_and(|kind| ![1, 2].contains(kind));
    if is_answer {
        let packet = Blob::new(bytes).expect("as long as before");
        return Heard { frame: Ok(Inbound::Onion(Onion { circuit, packet })), packet: None };
    }
    let frame = Ok(Inbound::Onion(Onion { circuit, packet: Blob::default() }));
    let Some(opener) = opener else { return Heard { frame, packet: None } };
    let packet = Packet::try_from(bytes).ok();
    let packet = packet.filter(|packet| matches!(packet.kind(), Kind::Request | Kind::Return));
    let packet = packet.map(|packet| {
        let opened = opener.open(now, &packet);
        let errand = opened.delivered().map(|(service, payload)| errand(checker, service, payload));
        Box::new(Arrived { circuit, size: packet.size(), opened, errand })
    });
    Heard { frame, packet }
}

/// Reads a payload as a client's frame would be.
fn errand(checker: &Checker, Service(number): Service, payload: &[u8]) -> Errand {
    match number {
        service::REQUEST => match Request::decode_exact(payload) {
            Ok(request) => Errand::Request(checker.check_request(request)),
            Err(_) => Errand::Malformed,
        },
        service::WAIT => match Wait::decode_exact(payload) {
            Ok(Wait { wait, request }) => {
                let request = checker.check_request(request);
                let reads = request.operations.iter().map(read_of).collect();
                Errand::Wait { wait: wait.min(WAIT_MAX), request, reads }
            }
            Err(_) => Errand::Malformed,
        },
        service::ECHO => Errand::Echo,
        _ => Errand::NoService,
    }
}

fn read_of<E>(operation: &Result<CheckedOperation, E>) -> Option<(InboxAddress, Namespace)> {
    match operation.as_ref().ok()? {
        CheckedOperation::Open(Operation::RetrievePublic { address, namespace, .. }) => {
            Some((*address, *namespace))
        }
        CheckedOperation::Owner(owner) => match &owner.action {
            OwnerAction::Retrieve { namespace, .. } => Some((owner.rule.address(), *namespace)),
            _ => None,
        },
        _ => None,
    }
}
