//! An input, read piece by piece. So that a change of one byte changes one thing, everything has a fixed
//! size.

/// What is left of an input.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next byte; `None`: that was all.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next two bytes as a number.
    pub fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// The next so many bytes, or as many as there are.
    pub fn some(&mut self, most: usize) -> &'a [u8] {
        let (some, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        some
    }

    /// A whole number of any order of magnitude, either sign: three bytes of input.
    pub fn number(&mut self) -> Option<i64> {
        let (power, factor) = (self.byte()?, self.short()?);
        let value = i64::from(factor).wrapping_shl(u32::from(power & 63));
        Some(if power & 64 == 0 { value } else { value.wrapping_neg() })
    }
}
