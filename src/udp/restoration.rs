//! What becomes of the settings of a network card when they are to be restored.

/// The result of restoring the settings of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restoration {
    /// They are restored.
    Done,
    /// They are what they were before the change.
    AsBefore,
    /// They are left as they are: another program has changed them since.
    ChangedSince,
    /// They are left as they are: another node uses the card.
    InUse,
    /// The card is gone.
    Gone,
}
