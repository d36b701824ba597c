//! `session chat`: conversations in a terminal.
//!
//! [`state`] makes actions of keys and news, and [`view`] draws it: both are pure. [`load`] fills
//! what is shown from the vault, [`deed`] carries actions out, and [`mod@run`] joins everything to a
//! terminal and a session.

mod deed;
mod line;
mod load;
pub(crate) mod model;
mod run;
mod state;
mod typing;
mod view;

pub(crate) use run::run;
