//! How a node lies in a demonstration.

use session_runtime::failure::Result;
use session_runtime::program::bad_flag;
use session_swarm::coordinator::Lie;

/// What `--help-hidden` prints.
pub(super) const HELP: &str = "\
For demonstrations only: a node that lies loses its stake.

      --lie <KIND>  what the node does wrong:
          drop-items=PERCENT  loses that share of what it committed to keep
          false-receipt       keeps half of what it signed receipts for
          equivocate          attests two roots for one beacon
          commit-else         commits to half of what it keeps
          false-fail          says of everybody that they failed
          silent-dealer       deals for the beacon and never reveals
          bad-dealer          deals shares of another secret than it reveals
          late-reveal         reveals when the time for it is over
          copy-dealer         posts another dealer's dealing as its own
      --help-hidden           this text";

pub(super) fn parse(kind: &str) -> Result<Lie> {
    let (name, number) = match kind.split_once('=') {
        Some((name, number)) => (name, Some(number)),
        None => (kind, None),
    };
    Ok(match (name, number) {
        ("drop-items", Some(percent)) => {
            let percent = percent.parse().ok().filter(|percent| (1..=100).contains(percent));
            let percent = percent.ok_or_else(|| bad_flag("lie", &"PERCENT is from 1 to 100"))?;
            Lie::DropItems { percent }
        }
        ("false-receipt", None) => Lie::FalseReceipt,
        ("equivocate", None) => Lie::Equivocate,
        ("commit-else", None) => Lie::CommitElse,
        ("false-fail", None) => Lie::FalseFail,
        ("silent-dealer", None) => Lie::SilentDealer,
        ("bad-dealer", None) => Lie::BadDealer,
        ("late-reveal", None) => Lie::LateReveal,
        ("copy-dealer", None) => Lie::CopyDealer,
        _ => {
            let why = format!("{kind:?} is no way of lying (see --help-hidden)");
            return Err(bad_flag("lie", &why));
        }
    })
}
