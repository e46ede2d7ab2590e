//! Network cards that stamp datagrams: which ones this machine's addresses use, what they offer, and their
//! settings.
//!
//! The settings belong to the machine, and other programs (a PTP daemon) may rely on them. So they are
//! changed only if they do not do already, only by adding to what is stamped, only for the cards that carry
//! the node's own datagrams, and only after the process that restores them has been told. They are restored
//! unless another program has changed them since; while another node uses the card, they are not.
//!
//! | module | what it owns |
//! |---|---|
//! | `layers` | the cards below an address: [`cards_below`] |
//! | `settings` | what a card offers to stamp, and what it is set to stamp |
//! | `driver` | the requests to the kernel (`ETHTOOL_GET_TS_INFO`, `SIOCGHWTSTAMP`, `SIOCSHWTSTAMP`) |
//! | `request` | changes the settings of a card: [`request_stamps`] |
//! | `saved` | restores them: [`SavedSettings`] |
//! | `lock` | marks a card as in use: [`CardLock`] |

mod driver;
mod layers;
mod lock;
mod request;
mod saved;
mod settings;

pub use layers::cards_below;
pub use lock::CardLock;
pub use request::{GrantedCard, request_stamps};
pub use saved::SavedSettings;

#[cfg(test)]
mod tests;
