//! An interface above a network card.

/// A VLAN, a bridge, a bond or the like above a network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperInterface {
    /// The index of the interface.
    pub index: u32,
    /// Whether all its datagrams pass the card, as those of a VLAN do. Those of a bridge or a bond may pass
    /// another port.
    pub all_pass: bool,
}
