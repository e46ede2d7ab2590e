//! A decoded datagram: its header, and the body of its kind.

use super::challenge::Challenge;
use super::correction::CorrectionMessage;
use super::datagram::{BODY, BODY_LEN, DATAGRAM_LEN, Datagram};
use super::decision::Decision;
use super::error::DecodeError;
use super::header::{Header, Kind};
use super::heartbeat::{Heartbeat, HeartbeatAck};
use super::label::Label;
use super::leave::Leave;
use super::lineage::Lineage;
use super::manual_adjustment::ManualAdjustment;
use super::probe::Probe;
use super::reference::Reference;
use super::register::Register;
use super::reject::Reject;
use super::relayed_time::RelayedTime;
use super::report::Report;
use super::role::RoleMessage;
use super::welcome::Welcome;

/// One decoded datagram.
///
/// ```
/// use meantime_core::wire::{Body, Header, Heartbeat, Message};
///
/// let body = Body::Heartbeat(Heartbeat { nonce: 7, ..Heartbeat::default() });
/// let message = Message { header: Header::default(), body };
/// assert_eq!(Message::decode(&message.encode()), Ok(message));
/// assert!(Message::decode(b"not a datagram").is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message {
    /// What every datagram carries.
    pub header: Header,
    /// What this kind of datagram carries.
    pub body: Body,
}

/// The kinds of datagram and what they carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// Client to server: a request for a session.
    Register(Register),
    /// Server to client: a cookie that proves the client's address.
    Challenge(Challenge),
    /// Server to client: the session and its terms.
    Welcome(Welcome),
    /// Server to client: a refusal with its reason.
    Reject(Reject),
    /// Server to client: a request for a reading of the client's clock.
    Probe(Probe),
    /// Client to server: the answer to a probe.
    Report(Report),
    /// Server to client: how far off the client's clock was at one of its reports.
    Correction(CorrectionMessage),
    /// Client to server: a sign of life, to be acknowledged.
    Heartbeat(Heartbeat),
    /// Server to client: the answer to a heartbeat.
    HeartbeatAck(HeartbeatAck),
    /// Either way: the end of the session.
    Leave(Leave),
    /// Either way: an operator's adjustment of the cluster's time.
    ManualAdjustment(ManualAdjustment),
    /// Client to server: a reading of the time outside of the cluster.
    Reference(Reference),
    /// Either way: the label of the client's machine.
    Label(Label),
    /// Server to client: what the clients of a relay add to the time of its scale.
    RelayedTime(RelayedTime),
    /// Server to client: the servers above a relay.
    Lineage(Lineage),
    /// Server to client: the role of a server of several.
    Role(RoleMessage),
    /// Server to client: what an operator has decided about clients, for a standby server.
    Decision(Decision),
}

impl Body {
    /// The kind of this body.
    pub fn kind(&self) -> Kind {
        match self {
            Body::Register(_) => Kind::Register,
            Body::Challenge(_) => Kind::Challenge,
            Body::Welcome(_) => Kind::Welcome,
            Body::Reject(_) => Kind::Reject,
            Body::Probe(_) => Kind::Probe,
            Body::Report(_) => Kind::Report,
            Body::Correction(_) => Kind::Correction,
            Body::Heartbeat(_) => Kind::Heartbeat,
            Body::HeartbeatAck(_) => Kind::HeartbeatAck,
            Body::Leave(_) => Kind::Leave,
            Body::ManualAdjustment(_) => Kind::ManualAdjustment,
            Body::Reference(_) => Kind::Reference,
            Body::Label(_) => Kind::Label,
            Body::RelayedTime(_) => Kind::RelayedTime,
            Body::Lineage(_) => Kind::Lineage,
            Body::Role(_) => Kind::Role,
            Body::Decision(_) => Kind::Decision,
        }
    }
}

impl Message {
    /// Encodes this message. The authentication tag is zero until a [`NodeKey`](super::NodeKey) signs it.
    pub fn encode(&self) -> Datagram {
        let mut datagram = [0; DATAGRAM_LEN];
        self.header.encode(self.body.kind(), &mut datagram);
        let mut bytes = [0; BODY_LEN];
        match &self.body {
            Body::Register(body) => body.encode(&mut bytes),
            Body::Challenge(body) => body.encode(&mut bytes),
            Body::Welcome(body) => body.encode(&mut bytes),
            Body::Reject(body) => body.encode(&mut bytes),
            Body::Probe(body) => body.encode(&mut bytes),
            Body::Report(body) => body.encode(&mut bytes),
            Body::Correction(body) => body.encode(&mut bytes),
            Body::Heartbeat(body) => body.encode(&mut bytes),
            Body::HeartbeatAck(body) => body.encode(&mut bytes),
            Body::Leave(body) => body.encode(&mut bytes),
            Body::ManualAdjustment(body) => body.encode(&mut bytes),
            Body::Reference(body) => body.encode(&mut bytes),
            Body::Label(body) => body.encode(&mut bytes),
            Body::RelayedTime(body) => body.encode(&mut bytes),
            Body::Lineage(body) => body.encode(&mut bytes),
            Body::Role(body) => body.encode(&mut bytes),
            Body::Decision(body) => body.encode(&mut bytes),
        }
        datagram[BODY].copy_from_slice(&bytes);
        datagram
    }

    /// Decodes a datagram.
    ///
    /// # Errors
    /// The reason why the bytes are not a message of this version of the protocol.
    pub fn decode(datagram: &[u8]) -> Result<Message, DecodeError> {
        let datagram: &Datagram = datagram.try_into().map_err(|_| DecodeError::Length(datagram.len()))?;
        let (header, kind) = Header::decode(datagram)?;
        let mut bytes = [0; BODY_LEN];
        bytes.copy_from_slice(&datagram[BODY]);
        let body = match kind {
            Kind::Register => Body::Register(Register::decode(&bytes)?),
            Kind::Challenge => Body::Challenge(Challenge::decode(&bytes)),
            Kind::Welcome => Body::Welcome(Welcome::decode(&bytes)?),
            Kind::Reject => Body::Reject(Reject::decode(&bytes)?),
            Kind::Probe => Body::Probe(Probe::decode(&bytes)),
            Kind::Report => Body::Report(Report::decode(header.sequence, &bytes)?),
            Kind::Correction => Body::Correction(CorrectionMessage::decode(&bytes)?),
            Kind::Heartbeat => Body::Heartbeat(Heartbeat::decode(&bytes)?),
            Kind::HeartbeatAck => Body::HeartbeatAck(HeartbeatAck::decode(&bytes)),
            Kind::Leave => Body::Leave(Leave::decode(&bytes)?),
            Kind::ManualAdjustment => Body::ManualAdjustment(ManualAdjustment::decode(&bytes)?),
            Kind::Reference => Body::Reference(Reference::decode(&bytes)?),
            Kind::Label => Body::Label(Label::decode(&bytes)?),
            Kind::RelayedTime => Body::RelayedTime(RelayedTime::decode(&bytes)),
            Kind::Lineage => Body::Lineage(Lineage::decode(&bytes)?),
            Kind::Role => Body::Role(RoleMessage::decode(&bytes)?),
            Kind::Decision => Body::Decision(Decision::decode(&bytes)?),
        };
        Ok(Message { header, body })
    }
}
