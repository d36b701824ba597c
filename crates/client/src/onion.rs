//! How requests travel: to the nodes themselves, or over hops none of which knows both ends.
//!
//! What it is: [`Mode`] says which; guards, hop keys, paths, circuits and cover are kept here, and
//! everything that is drawn or counted for them. The machine sends and receives.
//!
//! What it does not do: it knows no inbox and no item, and does not choose who is asked.
//!
//! *Provided*, where requests go over hops: a node that is asked learns neither address nor link of
//! who asks; the guard learns who, and not whom or what; a request names one mailbox, and nothing in
//! it is the same as in the one before. In [`Mode::Mix`] the times at which packets leave do not
//! tell whether anything was said. *Not provided*: hiding from the guard that the network is used;
//! hiding sizes where more than a small packet is needed; help against somebody who holds guard and
//! exit of one path, but for delays and cover.
//!
//! | module | holds |
//! |---|---|
//! | `mode` | how requests travel |
//! | `guards` | the nodes that packets are given to |
//! | `directory` | hop keys, and which are asked for next |
//! | `selection` | who may be in one path |
//! | `blame` | hops that packets were lost with |
//! | `circuits` | packets whose answers are waited for |
//! | `kept` | what is kept from one start to the next |
//! | `pace` | exponential waits, and when the next packet leaves |
//! | `report` | what there is to show |

mod blame;
mod circuits;
mod directory;
mod guards;
mod kept;
mod mode;
mod pace;
mod report;
mod routes;
mod selection;

pub use blame::{SUSPECTS_MAX, Suspect};
pub use directory::{HopKeyList, KEYS_KEPT_MAX};
pub use guards::{GUARDS_KEPT_MAX, Guard, GuardList, Missing};
pub use kept::{Health, Kept};
pub use mode::{BadMode, DELAY_MEAN, HOPS, Mode, SEND_EVERY};
pub use report::{GuardReport, Measured, PathReport, PathTaken, RouteStats};

pub(crate) use circuits::{Circuit, Purpose};
pub(crate) use directory::Question;
pub(crate) use routes::{Errand, Packed, Routes, Taken, Unready, answer_size};
