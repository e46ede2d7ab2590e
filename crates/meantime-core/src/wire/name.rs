//! A node's name, as Register and Heartbeat carry it.

use core::fmt;

/// A node's name: at most 24 bytes of UTF-8 without control characters. May be empty.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name([u8; Name::LEN]);

impl Name {
    /// The longest name, in bytes.
    pub const LEN: usize = 24;

    /// A name from text: cut after 24 bytes at a character's end, control characters left out.
    pub fn new(text: &str) -> Name {
        let mut bytes = [0; Name::LEN];
        let mut end = 0;
        for c in text.chars().filter(|c| is_printable(*c)) {
            let next = end + c.len_utf8();
            if next > Name::LEN {
                break;
            }
            c.encode_utf8(&mut bytes[end..next]);
            end = next;
        }
        Name(bytes)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(Name::LEN);
        core::str::from_utf8(&self.0[..end]).unwrap_or_default()
    }

    pub(super) fn to_bytes(self) -> [u8; Name::LEN] {
        self.0
    }

    /// Reads a zero-padded name; `None` if it is not UTF-8, holds a control character, or goes on
    /// after its end.
    pub(super) fn from_bytes(bytes: [u8; Name::LEN]) -> Option<Name> {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(Name::LEN);
        let text = core::str::from_utf8(&bytes[..end]).ok()?;
        let clean = text.chars().all(is_printable) && bytes[end..].iter().all(|byte| *byte == 0);
        clean.then_some(Name(bytes))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Names are printed on terminals and in logs: no character in them may move a cursor or start a line.
/// Bidirectional controls can reorder a whole line, so they count as control characters too.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_long_name_is_cut_at_the_end_of_a_character() {
        assert_eq!(Name::new("aé".repeat(20).as_str()).as_str(), "aé".repeat(8));
    }

    #[test]
    fn a_name_of_the_greatest_length_is_kept_whole_and_one_byte_more_is_cut() {
        let longest = "x".repeat(Name::LEN);
        assert_eq!(Name::new(&longest).as_str(), longest);
        assert_eq!(Name::new(&(longest.clone() + "y")).as_str(), longest);
        assert_eq!(Name::from_bytes([b'x'; Name::LEN]), Some(Name::new(&longest)));
    }

    #[test]
    fn a_name_cannot_reorder_the_line_that_it_stands_in() {
        for c in ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}'] {
            let mut bytes = [0; Name::LEN];
            c.encode_utf8(&mut bytes);
            assert_eq!(Name::from_bytes(bytes), None, "U+{:04X}", u32::from(c));
            assert_eq!(Name::new(&format!("a{c}b")).as_str(), "ab");
        }
    }

    #[test]
    fn half_a_character_is_not_a_name() {
        let mut bytes = [b'x'; Name::LEN];
        bytes[Name::LEN - 1] = "é".as_bytes()[0];
        assert_eq!(Name::from_bytes(bytes), None);
    }

    #[test]
    fn a_name_cannot_carry_terminal_escapes() {
        assert_eq!(Name::new("a\u{1b}[2Jb\n").as_str(), "a[2Jb");
        let mut bytes = [0; Name::LEN];
        bytes[..3].copy_from_slice(b"a\x1bb");
        assert_eq!(Name::from_bytes(bytes), None);
        bytes[..3].copy_from_slice(b"a\0b");
        assert_eq!(Name::from_bytes(bytes), None);
    }
}
