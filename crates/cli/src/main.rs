//! `session`: the tool of people.

mod account;
mod anchored;
mod args;
mod backup;
mod bot;
mod chain;
mod chat;
mod cluster;
mod contact;
mod demo;
mod desk;
mod device;
mod exit;
mod group;
mod home;
mod id;
mod link;
mod load;
mod local_chain;
mod mail;
mod members;
mod node;
mod out;
mod paths;
mod person;
mod process;
mod profile;
mod receipt;
mod sim;
mod span;
mod transfer;
mod tui;
mod up;
mod verify;
mod workload;

use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use crate::args::{Cli, Command};
use crate::exit::{Doing, Failure, Result};
use crate::home::Home;
use crate::out::Out;
use session_runtime::logging::LOG_VARIABLE;

fn main() -> ExitCode {
    // First of all: code built for another CPU must not run far enough to crash without a word.
    if let Err(missing) = session_crypto::cpu_supported() {
        eprintln!("session: {missing}");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    let json = cli.common.json;
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, json);
            ExitCode::from(failure.code as u8)
        }
    }
}

fn report(failure: &Failure, json: bool) {
    if json {
        eprintln!("{}", json!({ "error": failure.why, "code": failure.code as u8 }));
    } else {
        // Nodes and strangers have a say in some of them.
        eprintln!("session: {}", out::indented(&failure.to_string()));
    }
}

fn run(cli: &Cli) -> Result<()> {
    let out = Out::new(cli.common.json);
    session_runtime::logging::init(std::env::var_os(LOG_VARIABLE).is_none().then_some("error"))
        .doing(|| "cannot start logging".to_owned())?;
    let home = || Home::find(&cli.common);
    match &cli.command {
        Command::Account(command) => wait(account::run(&home()?, out, command)),
        Command::Device(command) => wait(device::run(&home()?, out, command)),
        Command::Contact(command) => wait(contact::run(&home()?, out, command)),
        Command::Chat(args) => wait(chat::run(&home()?, out, args)),
        Command::Group(command) => wait(group::run(&home()?, out, command)),
        Command::Receipt(command) => wait(receipt::run(&home()?, out, command)),
        Command::Backup(command) => backup::run(&home()?, out, command),
        Command::Profile(command) => profile::run(&home()?, out, command),
        Command::Path(command) => wait(paths::run(&home()?, out, command)),
        Command::Bot(args) => wait(bot::run(&home()?, out, args)),
        Command::Id(command) => id::run(&home()?, out, command),
        Command::Sim(args) => sim::run(out, args),
        Command::Send(args) => wait(mail::send(&home()?, out, args)),
        Command::Inbox(args) => wait(mail::inbox(&home()?, out, args)),
        Command::Node(command) => wait(node::run(&home, out, command)),
        Command::Load(args) => wait(load::run(&home()?, out, args)),
        Command::Chain(args) => wait(chain::run(&home, out, args)),
        Command::Verify(command) => wait(verify::run(out, command)),
        Command::Up(args) => wait(up::run(out, args)),
        Command::Workload(args) => wait(workload::run(&cli.common, out, args)),
    }
}

fn wait(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .doing(|| "cannot start".to_owned())?
        .block_on(work)
}
