//! A device that waits to be made part of an account, until it is.

use session_core::{AccountId, Context, Time};
use session_messaging::account;
use session_messaging::messenger::api::{self, Answer, Effect, Error, Event, Warning};
use session_messaging::messenger::{Config, Messenger};
use session_messaging::vault::{MemoryVault, Vault};
use session_protocol::request::Item;

use super::Talks;

/// A device with an account, or one that waits for it.
pub enum Voice {
    /// It waits.
    Joining(Joining),
    /// It has one.
    Member(Box<Messenger>),
}

/// A device that has asked to be made part of an account.
pub struct Joining {
    account: AccountId,
    config: Config,
    watching: bool,
}

impl Voice {
    /// Opens the device of a vault; one that has no account yet waits for `account`, if it has asked.
    #[must_use]
    pub fn open(vault: &dyn Vault, account: Option<AccountId>, config: Config) -> Option<Self> {
        if let Some(messenger) = Messenger::open(vault, config.clone()) {
            return Some(Self::Member(Box::new(messenger)));
        }
        let account = account.filter(|_| account::linking(vault).is_some())?;
        Some(Self::Joining(Joining { account, config, watching: false }))
    }

    /// Returns the account, which may still have to agree.
    #[must_use]
    pub fn account(&self) -> AccountId {
        match self {
            Self::Joining(joining) => joining.account,
            Self::Member(messenger) => messenger.account(),
        }
    }

    /// Tells whether the device is part of its account.
    #[must_use]
    pub const fn is_member(&self) -> bool {
        matches!(self, Self::Member(_))
    }
}

impl Joining {
    /// Takes what may be the answer; tells whether it was.
    fn take(&self, vault: &mut dyn Vault, now: Time, item: &Item) -> Result<bool, String> {
        // Whoever saw the request can answer it: only the account that was meant may. Tried on a copy
        // first, which is small, because there is no account yet.
        let mut copy = MemoryVault::new();
        vault.scan(&[], &[], false, &mut |key, value| {
            copy.put(key, value);
            true
        });
        match account::arrived_link(&mut copy, now, item) {
            Ok(Some(account)) if account != self.account => {
                return Err(format!("{account} wants this device, not {}", self.account));
            }
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        match account::arrived_link(vault, now, item) {
            Ok(joined) => Ok(joined.is_some()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Talks for Voice {
    fn handle<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, Effect>, input: api::Input) {
        let joining = match self {
            Self::Member(messenger) => return messenger.handle(cx, input),
            Self::Joining(joining) => joining,
        };
        match input {
            api::Input::Arrived { items, .. } => {
                for item in &items {
                    match joining.take(&mut *cx.store, cx.now, item) {
                        Ok(false) => {}
                        Ok(true) => {
                            let config = joining.config.clone();
                            if let Some(messenger) = Messenger::open(&*cx.store, config) {
                                *self = Self::Member(Box::new(messenger));
                            }
                            return;
                        }
                        Err(what) => {
                            let warning = Warning::Refused { what };
                            cx.effects.push(Effect::Event(Event::Warning(warning)));
                        }
                    }
                }
            }
            api::Input::Command { id, command } => {
                let result = match command {
                    api::Command::Flush => Ok(Answer::Done),
                    _ => Err(Error::NotFound { what: "account on this device yet" }),
                };
                cx.effects.push(Effect::Answer { id, result });
            }
            _ => {}
        }
    }

    fn deadline(&self, vault: &dyn Vault) -> Option<Time> {
        match self {
            Self::Joining(joining) => (!joining.watching).then_some(Time::ZERO),
            Self::Member(messenger) => messenger.deadline(vault),
        }
    }

    fn tick<'a>(&mut self, cx: &mut Context<'a, dyn Vault + 'a, Effect>) {
        match self {
            Self::Member(messenger) => messenger.tick(cx),
            Self::Joining(joining) if !joining.watching => {
                joining.watching = true;
                let source = account::linking(&*cx.store);
                let sources = source.map(|source| (source.rule.address(), source));
                cx.effects.push(Effect::Watch { sources: sources.into_iter().collect() });
            }
            Self::Joining(_) => {}
        }
    }
}
