use session_core::record;
use session_protocol::chain::Amount;

record! {
    /// What an account owns, and how many transactions it made.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Account {
        /// What it can spend; stakes are not in it.
        pub balance: Amount,
        /// Transactions made: the nonce of the next one.
        pub nonce: u64,
    }
}
