//! `session sim`: the network in the simulator.

use crate::args::Sim;
use crate::exit::Result;
use crate::out::Out;

pub(crate) fn run(_out: Out, _args: &Sim) -> Result<()> {
    Err(crate::exit::Failure::failed("pending"))
}
