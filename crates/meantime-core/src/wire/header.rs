//! The 32 bytes that start every datagram.

use byteorder::{BigEndian, ByteOrder};

use super::datagram::{BODY, DATAGRAM_LEN, Datagram, HEADER_LEN, MAGIC, VERSION};
use super::error::DecodeError;
use super::id::{NodeId, SessionId};
use super::tag::{Direction, KeyId};
use crate::time::Span;

/// The fields of every datagram, without its magic, version and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The sender's state and abilities.
    pub flags: Flags,
    /// Which pre-shared key made the tag.
    pub key_id: KeyId,
    /// The sending process: a number drawn at random when it starts.
    pub sender: NodeId,
    /// The registration that this datagram belongs to; 0 before there is one.
    pub session: SessionId,
    /// Counts the datagrams of a sender within a session: 1, 2, … and after the largest again 1. A
    /// Report's is its *report number*, so a Report cannot have 0.
    pub sequence: u32,
    /// The server's round; 0 where a datagram belongs to none.
    pub round: u32,
}

/// The state of a client's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientState {
    /// It has never received the cluster's time.
    #[default]
    Unsynchronized,
    /// It follows the cluster's time.
    Synchronized,
    /// It carries the cluster's time without corrections, on the frequency that it has learned.
    Holdover,
}

impl ClientState {
    /// Whether the clock shows the cluster's time, by corrections or in holdover.
    pub fn has_cluster_time(self) -> bool {
        self != ClientState::Unsynchronized
    }
}

/// How long before it begins the nodes below a relay need to be told a manual time adjustment: nothing, or
/// 2¹ to 2¹² s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayLead(u8);

impl RelayLead {
    /// There are no such nodes.
    pub const NONE: RelayLead = RelayLead(0);

    /// The longest.
    pub const LONGEST: RelayLead = RelayLead(LONGEST_LEAD);

    /// The shortest one that is at least so long; `None`: there is none.
    pub fn covering(span: Span) -> Option<RelayLead> {
        let mut leads = (0..=LONGEST_LEAD).map(RelayLead);
        leads.find(|lead| lead.span() >= span)
    }

    /// How long it is.
    pub fn span(self) -> Span {
        if self == RelayLead::NONE { Span::ZERO } else { Span::from_secs(1 << self.0) }
    }
}

/// The header's flags: the state of a client, and the number of the newest manual time adjustment that the
/// sender knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The client's state; `Unsynchronized` in a server's datagrams.
    pub state: ClientState,
    /// The number of the newest manual time adjustment that the sender knows; 0: none.
    pub manual_adjustment: u8,
    /// What the nodes below a client need that is part of a relay; `NONE` in a server's datagrams.
    pub relay_lead: RelayLead,
}

impl Flags {
    fn to_bits(self) -> u16 {
        let state = match self.state {
            ClientState::Unsynchronized => 0,
            ClientState::Synchronized => 1,
            ClientState::Holdover => 2,
        };
        let lead = u16::from(self.relay_lead.0) << LEAD_SHIFT;
        state | lead | u16::from(self.manual_adjustment) << ADJUSTMENT_SHIFT
    }

    fn from_bits(bits: u16) -> Result<Flags, DecodeError> {
        let state = match bits & STATE_BITS {
            0 => ClientState::Unsynchronized,
            1 => ClientState::Synchronized,
            2 => ClientState::Holdover,
            _ => return Err(DecodeError::Field("client state")),
        };
        let relay_lead = RelayLead((bits >> LEAD_SHIFT) as u8 & LEAD_BITS);
        if relay_lead.0 > LONGEST_LEAD {
            return Err(DecodeError::Field("relay lead"));
        }
        Ok(Flags { state, manual_adjustment: (bits >> ADJUSTMENT_SHIFT) as u8, relay_lead })
    }
}

/// The kind of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "described at the variants of Body")]
pub enum Kind {
    Register = 1,
    Challenge = 2,
    Welcome = 3,
    Reject = 4,
    Probe = 5,
    Report = 6,
    Correction = 7,
    Heartbeat = 8,
    HeartbeatAck = 9,
    Leave = 10,
    ManualAdjustment = 11,
    Reference = 13,
    Label = 12,
    RelayedTime = 14,
    Lineage = 15,
    Role = 16,
    Decision = 17,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Register,
            2 => Kind::Challenge,
            3 => Kind::Welcome,
            4 => Kind::Reject,
            5 => Kind::Probe,
            6 => Kind::Report,
            7 => Kind::Correction,
            8 => Kind::Heartbeat,
            9 => Kind::HeartbeatAck,
            10 => Kind::Leave,
            11 => Kind::ManualAdjustment,
            13 => Kind::Reference,
            12 => Kind::Label,
            14 => Kind::RelayedTime,
            15 => Kind::Lineage,
            16 => Kind::Role,
            17 => Kind::Decision,
            _ => return None,
        })
    }

    /// Which way datagrams of this kind travel; `None`: either way.
    pub fn direction(self) -> Option<Direction> {
        match self {
            Kind::Register | Kind::Report | Kind::Heartbeat | Kind::Reference => Some(Direction::ToServer),
            Kind::Challenge | Kind::Welcome | Kind::Reject | Kind::Probe | Kind::Correction => {
                Some(Direction::ToClient)
            }
            Kind::HeartbeatAck | Kind::RelayedTime | Kind::Lineage => Some(Direction::ToClient),
            Kind::Role | Kind::Decision => Some(Direction::ToClient),
            Kind::Leave | Kind::ManualAdjustment | Kind::Label => None,
        }
    }
}

impl Header {
    pub(super) fn encode(&self, kind: Kind, datagram: &mut Datagram) {
        BigEndian::write_u16(&mut datagram[field::MAGIC], MAGIC);
        datagram[field::VERSION] = VERSION;
        datagram[field::KIND] = kind as u8;
        BigEndian::write_u16(&mut datagram[field::FLAGS], self.flags.to_bits());
        BigEndian::write_u16(&mut datagram[field::KEY_ID], self.key_id.0);
        BigEndian::write_u64(&mut datagram[field::SENDER], self.sender.0);
        BigEndian::write_u64(&mut datagram[field::SESSION], self.session.0);
        BigEndian::write_u32(&mut datagram[field::SEQUENCE], self.sequence);
        BigEndian::write_u32(&mut datagram[field::ROUND], self.round);
    }

    pub(super) fn decode(datagram: &Datagram) -> Result<(Header, Kind), DecodeError> {
        if BigEndian::read_u16(&datagram[field::MAGIC]) != MAGIC {
            return Err(DecodeError::Magic);
        }
        let session = SessionId(BigEndian::read_u64(&datagram[field::SESSION]));
        let (version, kind) = (datagram[field::VERSION], datagram[field::KIND]);
        if version != VERSION {
            let nonce = BigEndian::read_u64(&datagram[BODY.start..BODY.start + 8]);
            return Err(DecodeError::Version { version, kind, session, nonce });
        }
        let kind = Kind::from_byte(kind).ok_or(DecodeError::Kind(kind))?;
        let header = Header {
            flags: Flags::from_bits(BigEndian::read_u16(&datagram[field::FLAGS]))?,
            key_id: KeyId(BigEndian::read_u16(&datagram[field::KEY_ID])),
            sender: NodeId(BigEndian::read_u64(&datagram[field::SENDER])),
            session,
            sequence: BigEndian::read_u32(&datagram[field::SEQUENCE]),
            round: BigEndian::read_u32(&datagram[field::ROUND]),
        };
        Ok((header, kind))
    }
}

/// Whether a number is newer than another, of a sequence that wraps around.
pub fn is_newer(number: u32, than: u32) -> bool {
    number.wrapping_sub(than).cast_signed() > 0
}

/// The flag bits that hold the client's state.
const STATE_BITS: u16 = 0b11;
/// Above them are four bits for the lead of a relay: its binary logarithm, in seconds.
const LEAD_SHIFT: u32 = 2;
const LEAD_BITS: u8 = 0b1111;
/// 68 minutes: a client without a key that is no relay can make an operator wait no longer.
const LONGEST_LEAD: u8 = 12;
/// The upper half of the flags is the number of the newest manual time adjustment.
const ADJUSTMENT_SHIFT: u32 = 8;

/// Where the header's fields lie in a datagram.
mod field {
    use core::ops::Range;

    pub(super) const MAGIC: Range<usize> = 0..2;
    pub(super) const VERSION: usize = 2;
    pub(super) const KIND: usize = 3;
    pub(super) const FLAGS: Range<usize> = 4..6;
    pub(super) const KEY_ID: Range<usize> = 6..8;
    pub(super) const SENDER: Range<usize> = 8..16;
    pub(super) const SESSION: Range<usize> = 16..24;
    pub(super) const SEQUENCE: Range<usize> = 24..28;
    pub(super) const ROUND: Range<usize> = 28..32;
}

const _: () = assert!(field::ROUND.end == HEADER_LEN && BODY.end + 16 == DATAGRAM_LEN);
