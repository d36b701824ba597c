//! One machine, and the other side of its connections written out from `docs/wire/handshake.md`.

use std::net::IpAddr;
use std::sync::Arc;

use session_core::{
    Context, Decode as _, Domain, Encode, Entropy as _, Machine as _, NodeId, SeededEntropy, Span,
    Text, Time, digest,
};
use session_crypto::fake::FakeVerifier;
use session_crypto::{DsaPublicKey, SharedSecret, Signer, kdf, mac};
use session_network::{Class, Config, ConnId, Effect, Input, Limits, Network, Role};
use session_protocol::peer::{DeclineReason, Handshake};
use session_protocol::{Checker, Frame, Kind, Membership, NetworkId};

use crate::world::{START, fake, members, ordered};

pub(crate) const EXPORTER: [u8; 32] = [0xe1; 32];

/// A node among three; the test is everybody else. Its id is between those of the other two.
pub(crate) struct Solo {
    pub(crate) now: Time,
    pub(crate) network: Network,
    pub(crate) keys: Vec<Arc<dyn Signer>>,
    pub(crate) id: NetworkId,
    checker: Checker,
    rng: SeededEntropy,
}

/// The number of the machine under test.
pub(crate) const ME: usize = 1;

impl Solo {
    pub(crate) fn node() -> Self {
        Self::with(Role::Node { listen: Text::default() }, Limits::default(), fake)
    }

    pub(crate) fn client() -> Self {
        Self::with(Role::Client, Limits::default(), fake)
    }

    pub(crate) fn limited(limits: Limits) -> Self {
        Self::with(Role::Node { listen: Text::default() }, limits, fake)
    }

    pub(crate) fn with(role: Role, limits: Limits, make: fn(usize) -> Arc<dyn Signer>) -> Self {
        let keys = ordered(3, make);
        let members = members("test", &keys);
        let view: Arc<dyn Membership> = members.clone();
        let mut config = Config::new(role, Arc::clone(&keys[ME]), view);
        config.limits = limits;
        Self {
            now: START,
            network: Network::new(config),
            keys,
            id: members.network(),
            checker: Checker::new(members, Arc::new(FakeVerifier)),
            rng: SeededEntropy::new(7),
        }
    }

    /// Lets the machine be one of a chain, without any workload session that is open.
    pub(crate) fn follow_a_chain(&self) {
        self.checker.set_sessions([0xc1; 32].into(), Arc::default());
    }

    pub(crate) fn node_id(&self, number: usize) -> NodeId {
        self.keys[number].public().node_id()
    }

    pub(crate) fn key(&self, number: usize) -> Option<DsaPublicKey> {
        Some(self.keys[number].public().dsa().clone())
    }

    pub(crate) fn input(&mut self, input: Input) -> Vec<Effect> {
        self.call(|network, cx| network.handle(cx, input))
    }

    /// Lets time pass without a word from anybody.
    pub(crate) fn pass(&mut self, span: Span) -> Vec<Effect> {
        let end = self.now + span;
        let mut all = Vec::new();
        while let Some(at) = self.network.deadline().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            all.extend(self.call(|network, cx| network.tick(cx)));
        }
        self.now = end;
        all
    }

    pub(crate) fn call(
        &mut self,
        act: impl FnOnce(&mut Network, &mut Context<'_, (), Effect>),
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut cx =
            Context { now: self.now, store: &mut (), rng: &mut self.rng, effects: &mut effects };
        act(&mut self.network, &mut cx);
        effects
    }

    pub(crate) fn inbound(
        &mut self,
        conn: u64,
        remote: &str,
        key: Option<DsaPublicKey>,
    ) -> Vec<Effect> {
        self.input(Input::Connected {
            conn: ConnId(conn),
            inbound: true,
            remote: remote.parse::<IpAddr>().unwrap(),
            peer_key: key,
            exporter: EXPORTER,
            dial: None,
        })
    }

    pub(crate) fn outbound(
        &mut self,
        conn: u64,
        dial: u64,
        key: Option<DsaPublicKey>,
    ) -> Vec<Effect> {
        self.input(Input::Connected {
            conn: ConnId(conn),
            inbound: false,
            remote: "192.0.2.9".parse().unwrap(),
            peer_key: key,
            exporter: EXPORTER,
            dial: Some(dial),
        })
    }

    pub(crate) fn frame(&mut self, conn: u64, kind: Kind, message: &impl Encode) -> Vec<Effect> {
        self.body(conn, Class::Interactive, &Frame::encode(kind, message))
    }

    pub(crate) fn body(&mut self, conn: u64, class: Class, body: &[u8]) -> Vec<Effect> {
        let frame = self.checker.check(body);
        self.input(Input::Frame { conn: ConnId(conn), class, size: body.len(), frame })
    }

    pub(crate) fn shake(&mut self, conn: u64, message: &Handshake) -> Vec<Effect> {
        self.frame(conn, Kind::Handshake, message)
    }

    /// A correct hello from a node, or from a client, and the secret in its challenge.
    pub(crate) fn hello(&mut self, from: Option<usize>) -> (Handshake, SharedSecret) {
        let signer = Arc::clone(&self.keys[from.unwrap_or(0)]);
        let to = self.keys[ME].public().kem().clone();
        let (challenge, secret) = signer.encapsulate(&to, &mut self.rng);
        let hello = Handshake::Hello {
            network: self.id,
            node: from.map(|number| self.node_id(number)),
            features: 0,
            nonce: self.rng.bytes32(),
            challenge,
            listen: Text::default(),
            height: 3,
        };
        (hello, secret)
    }

    /// A correct welcome from a node that we dialled, and the finish that we should answer.
    pub(crate) fn welcome(
        &mut self,
        hello: &Handshake,
        from: usize,
        exporter: &[u8; 32],
    ) -> (Handshake, Handshake) {
        let Handshake::Hello { challenge, node, .. } = hello else { panic!("{hello:?}") };
        let secret = self.keys[from].decapsulate(challenge);
        let to = self.keys[ME].public().kem().clone();
        let (ours, our_secret) = self.keys[from].encapsulate(&to, &mut self.rng);
        let mut welcome = Handshake::Welcome {
            node: self.node_id(from),
            features: 0,
            nonce: self.rng.bytes32(),
            challenge: node.map(|_| ours),
            proof: [0; 32],
            height: 5,
            time: self.now + Span::from_millis(250),
        };
        let ours = proof(&secret, exporter, b"acceptor", hello, &welcome);
        set_proof(&mut welcome, ours);
        let finish =
            Handshake::Finish { proof: proof(&our_secret, exporter, b"dialer", hello, &welcome) };
        (welcome, finish)
    }

    /// The finish with which node `from` answers a welcome.
    pub(crate) fn finish(&self, hello: &Handshake, welcome: &Handshake, from: usize) -> Handshake {
        let Handshake::Welcome { challenge: Some(challenge), .. } = welcome else {
            panic!("{welcome:?}")
        };
        let secret = self.keys[from].decapsulate(challenge);
        Handshake::Finish { proof: proof(&secret, &EXPORTER, b"dialer", hello, welcome) }
    }

    /// Node `from` connects and proves itself.
    pub(crate) fn node_up(&mut self, conn: u64, from: usize) -> Vec<Effect> {
        let key = self.key(from);
        assert_eq!(self.inbound(conn, "192.0.2.77", key), []);
        let (hello, _) = self.hello(Some(from));
        let welcome = sent(&self.shake(conn, &hello));
        let finish = self.finish(&hello, &welcome, from);
        self.shake(conn, &finish)
    }

    /// A client connects.
    pub(crate) fn client_up(&mut self, conn: u64, remote: &str) -> Vec<Effect> {
        assert_eq!(self.inbound(conn, remote, None), []);
        let (hello, _) = self.hello(None);
        self.shake(conn, &hello)
    }

    /// We dial node `to` and are let in.
    pub(crate) fn dial_up(&mut self, conn: u64, to: usize) -> Vec<Effect> {
        let node = self.node_id(to);
        let effects = self.input(Input::Connect { node });
        let [Effect::Dial { dial, .. }] = effects[..] else { panic!("{effects:?}") };
        let key = self.key(to);
        let hello = sent(&self.outbound(conn, dial, key));
        let (welcome, finish) = self.welcome(&hello, to, &EXPORTER);
        let effects = self.shake(conn, &welcome);
        if self.network.id().is_none() {
            return effects;
        }
        assert_eq!(sent(&effects), finish);
        self.frame(conn, Kind::Ping, &session_protocol::peer::Ping { nonce: 1 })
    }
}

/// The proof as the wire document has it.
pub(crate) fn proof(
    secret: &SharedSecret,
    exporter: &[u8; 32],
    side: &[u8],
    hello: &Handshake,
    welcome: &Handshake,
) -> [u8; 32] {
    let hello = digest(Domain::Handshake, &[&hello.to_bytes()]);
    let transcript = digest(Domain::Handshake, &[hello.as_bytes(), &welcome.to_bytes()]);
    let key = kdf(Domain::HandshakeProof, secret.expose(), &[exporter]);
    mac(Domain::HandshakeProof, &key, &[side, transcript.as_bytes()])
}

pub(crate) fn set_proof(message: &mut Handshake, new: [u8; 32]) {
    match message {
        Handshake::Welcome { proof, .. } | Handshake::Finish { proof } => *proof = new,
        other => panic!("{other:?} has no proof"),
    }
}

/// The only handshake message among the effects.
pub(crate) fn sent(effects: &[Effect]) -> Handshake {
    let mut found = effects.iter().filter_map(|effect| match effect {
        Effect::Send { frame, .. } if frame[1] == Kind::Handshake.code() => {
            Some(Handshake::decode_exact(&frame[2..]).unwrap())
        }
        _ => None,
    });
    let first = found.next().unwrap_or_else(|| panic!("no handshake message in {effects:?}"));
    assert_eq!(found.next(), None);
    first
}

/// Asserts that the connection is declined for this reason and closed, and that nobody came up.
#[track_caller]
pub(crate) fn assert_declined(effects: &[Effect], reason: DeclineReason) {
    assert_eq!(sent(effects), Handshake::Declined { reason: reason.clone() });
    assert_closed(effects, &reason.to_string());
}

/// Asserts that the only other effects are one close for this reason.
#[track_caller]
pub(crate) fn assert_closed(effects: &[Effect], reason: &str) {
    let rest: Vec<_> =
        effects.iter().filter(|effect| !matches!(effect, Effect::Send { .. })).collect();
    match &rest[..] {
        [Effect::Close { why, .. }, ..] if why.contains(reason) => {}
        _ => panic!("not closed for {reason:?}: {effects:?}"),
    }
    assert!(
        !rest.iter().any(|e| matches!(e, Effect::PeerUp { .. } | Effect::ClientUp { .. })),
        "{effects:?}"
    );
}
