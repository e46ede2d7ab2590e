//! Label: which machines fail together.

use super::datagram::BodyBytes;
use super::error::DecodeError;
use super::name::Name;

/// Client to server: the label of the client's machine. Server to client: the label has arrived.
///
/// The machines of one label, such as the virtual machines of one host, share one vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The label; not empty.
    pub label: Name,
}

impl Label {
    pub(super) fn encode(&self, body: &mut BodyBytes) {
        body[field::LABEL].copy_from_slice(&self.label.to_bytes());
    }

    pub(super) fn decode(body: &BodyBytes) -> Result<Label, DecodeError> {
        let mut label = [0; Name::LEN];
        label.copy_from_slice(&body[field::LABEL]);
        let label = Name::from_bytes(label).filter(|label| *label != Name::default());
        Ok(Label { label: label.ok_or(DecodeError::Field("label"))? })
    }
}

mod field {
    use core::ops::Range;

    /// The same place as a Register's name.
    pub(super) const LABEL: Range<usize> = 24..48;
}
