//! `session workload`: programs that a committee runs.
//!
//! | module | holds |
//! |---|---|
//! | [`template`] | `new`: the folder of a new workload |
//! | [`project`] | that folder, read; all that a session is made of |
//! | [`build`], [`wasm`] | `build`: from source to module |
//! | [`world`] | the scripted outside world |
//! | [`dev`], [`connectors`], [`people`] | `dev`: a network of its own for one run |
//! | [`mod@run`], [`follow`] | `run`: a session, and how it goes |
//! | [`show`] | `status`, `logs`, `result`, `bundle` |
//! | [`anchored`] | a bundle, tied to the chain |
//! | [`place`], [`node`] | whose network, and a node that is asked |

mod anchored;
mod build;
mod connectors;
mod dev;
mod follow;
mod node;
mod people;
mod place;
mod project;
mod run;
mod show;
mod template;
mod wasm;
mod world;

use crate::args::{Common, Workload, WorkloadCommand};
use crate::exit::Result;
use crate::out::Out;

use place::Place;

pub(crate) async fn run(common: &Common, out: Out, args: &Workload) -> Result<()> {
    let place = || Place::find(common, args.node.as_ref());
    match &args.command {
        WorkloadCommand::New { dir, lang } => template::run(out, dir, *lang),
        WorkloadCommand::Build { dir } => build::run(out, dir),
        WorkloadCommand::Dev(args) => dev::run(out, args).await,
        WorkloadCommand::Run(args) => run::run(&place()?, out, args).await,
        WorkloadCommand::Status { session } => show::status(&place()?, out, session).await,
        WorkloadCommand::Logs { session, from } => show::logs(&place()?, out, session, *from).await,
        WorkloadCommand::Result { session } => show::result(&place()?, out, session).await,
        WorkloadCommand::Bundle { session, out: file } => {
            show::bundle(&place()?, out, session, file).await
        }
    }
}
