//! What one hop is told: 64 bytes, of which nothing is free.

use session_core::{Decode, DecodeError, Encode, NodeId, Reader, Span};

use super::geometry::{ROUTING, Size};

/// Longest delay that a hop can be asked for: what two bytes hold.
pub const DELAY_MAX: Span = Span::from_millis(u16::MAX as u64);

/// What an exit does with a payload; which ones exist is not the packet's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service(pub u16);

/// By what the last node of a reply block's path finds the client. It is agreed between the two and
/// tells nobody else anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub [u8; 32]);

/// By what whoever made a reply block or a loop recognises it. Random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReturnId(pub [u8; 16]);

/// What a hop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Forward { next: NodeId },
    Deliver { service: Service, answer: Size },
    Hand { handle: Handle, id: ReturnId },
    Drop,
    Loop { id: ReturnId },
}

/// What a hop does, and after how many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Routing {
    pub(super) command: Command,
    pub(super) delay_ms: u16,
}

impl Encode for Routing {
    fn encode(&self, out: &mut Vec<u8>) {
        let (mut answer, mut service, mut target, mut id) = (0, 0, [0; 32], [0; 16]);
        let code = match self.command {
            Command::Forward { next } => {
                target = *next.as_bytes();
                1
            }
            Command::Deliver { service: asked, answer: size } => {
                (service, answer) = (asked.0, size.code());
                2
            }
            Command::Hand { handle, id: block } => {
                (target, id) = (handle.0, block.0);
                3
            }
            Command::Drop => 4,
            Command::Loop { id: own } => {
                id = own.0;
                5
            }
        };
        [code, answer].encode(out);
        self.delay_ms.encode(out);
        service.encode(out);
        target.encode(out);
        id.encode(out);
        [0; ROUTING - 54].encode(out);
    }
}

impl Decode for Routing {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes: [u8; ROUTING] = reader.array()?;
        let mut fields = Reader::new(&bytes);
        let [code, answer] = fields.array()?;
        let (delay_ms, service) = (u16::decode(&mut fields)?, u16::decode(&mut fields)?);
        let (target, id): ([u8; 32], _) = (fields.array()?, ReturnId(fields.array()?));
        let command = match code {
            1 => Command::Forward { next: target.into() },
            2 => Command::Deliver { service: Service(service), answer: Size::of_code(answer)? },
            3 => Command::Hand { handle: Handle(target), id },
            4 => Command::Drop,
            5 => Command::Loop { id },
            got => {
                return Err(DecodeError::UnknownTag { field: "onion::Command", got: got.into() });
            }
        };
        let routing = Self { command, delay_ms };
        // Fields that a command does not have, and those that nobody has, are zero.
        if routing.to_bytes() != bytes {
            return Err(DecodeError::Invalid { field: "onion::Routing", why: "not zero" });
        }
        Ok(routing)
    }
}
