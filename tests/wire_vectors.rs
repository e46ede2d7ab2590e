//! `docs/PROTOCOL.md` against the code: the byte vectors both ways, the field tables, the worked example.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use meantime_core::roles::rank::Rank;
use meantime_core::roles::statement::{MemberStatement, Role, ServerStatement, Service};
use meantime_core::roles::term::Term;
use meantime_core::time::{self, Frequency, Offset, Span, Timestamp};
use meantime_core::wire::{
    Body, Challenge, ClientState, ClusterId, CorrectionMessage, DATAGRAM_LEN, Datagram, DecidedClients,
    Decision, DecisionProgress, Direction, Flags, Header, Heartbeat, HeartbeatAck, KeyBytes, KeyId, Label,
    Leave, LeaveReason, Lineage, ManualAdjustment, Master, Message, Name, NodeId, NodeKey, Probe, Reference,
    Register, Reject, RejectReason, RelayedTime, Report, RoleMessage, Ruling, SessionId, Stamps,
    StatedReference, Verdict, Welcome,
};

const PROTOCOL: &str = include_str!("../docs/PROTOCOL.md");

#[test]
fn every_vector_is_what_the_code_writes_and_reads() {
    for (name, vector) in vectors() {
        let message = vector.message();
        assert_eq!(hex(&written(&message)), hex(&vector.datagram()), "{name}: written");
        assert_eq!(Message::decode(&vector.datagram()), Ok(message), "{name}: read");
    }
}

/// The datagram of a message, tagged if it has a key.
fn written(message: &Message) -> Datagram {
    let mut datagram = message.encode();
    let key = key();
    if message.header.key_id == key.id {
        let direction = match message.body {
            Body::Register(_) | Body::Report(_) | Body::Heartbeat(_) => Direction::ToServer,
            // The vector is the client's.
            Body::Leave(_) => Direction::ToServer,
            _ => Direction::ToClient,
        };
        Master::new(&key.secret).node(&key.name).sign(direction, &mut datagram);
        assert!(NodeKey::new(&key.node).verify(direction, &datagram));
    }
    datagram
}

#[test]
fn the_node_key_follows_from_the_secret_and_the_name() {
    let key = key();
    assert_eq!(hex(&Master::new(&key.secret).derive(&key.name)), hex(&key.node));
    let tagged = vectors().values().filter(|vector| vector.message().header.key_id == key.id).count();
    assert_eq!(tagged, 6);
}

/// The key of the document.
struct Key {
    id: KeyId,
    secret: KeyBytes,
    name: Name,
    node: KeyBytes,
}

fn key() -> Key {
    let (_, rest) = PROTOCOL.split_once("```key\n").expect("a key");
    let (block, _) = rest.split_once("```").expect("an end of the block");
    let field = |name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}")).trim()
    };
    let bytes = |name: &str| unhex(field(name)).try_into().expect("32 bytes");
    Key {
        id: KeyId(field("key_id").parse().expect("a number")),
        secret: bytes("secret"),
        name: Name::new(field("name").trim_matches('"')),
        node: bytes("node"),
    }
}

#[test]
fn every_kind_has_a_vector() {
    let mut kinds: Vec<u8> = vectors().values().map(|vector| vector.message().body.kind() as u8).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, (1..=17).collect::<Vec<u8>>());
}

#[test]
fn the_values_of_a_vector_are_its_bytes_and_its_fields_are_those_of_the_tables() {
    let tables = field_tables();
    for (name, vector) in vectors() {
        let kind = format!("{:?}", vector.message().body.kind());
        let expected: Vec<_> =
            ["Header", &kind, "Authentication tag"].iter().flat_map(|table| tables[*table].clone()).collect();
        let found: Vec<_> =
            vector.0.iter().map(|row| (row.offset, row.bytes.len(), row.field.clone())).collect();
        assert_eq!(found, expected, "{name}");
        for row in &vector.0 {
            assert_eq!(hex(&row.value.to_bytes(row.bytes.len())), hex(&row.bytes), "{name}: {}", row.field);
        }
    }
}

#[test]
fn the_tables_cover_every_byte_of_every_kind_once() {
    let tables = field_tables();
    assert_eq!(tables.len(), 19);
    for (name, fields) in &tables {
        let (start, end) = match name.as_str() {
            "Header" => (0, 32),
            "Authentication tag" => (80, 96),
            _ => (32, 80),
        };
        let mut at = start;
        for (offset, size, field) in fields {
            assert_eq!(*offset, at, "{name}: {field}");
            at += size;
        }
        assert_eq!(at, end, "{name}");
    }
}

#[test]
fn the_worked_example_adds_up() {
    let vectors = vectors();
    let (report, probe) = (vectors["report-3"].report(), vectors["probe-4"].probe());
    let stamps = probe.before.unwrap();
    assert_eq!(stamps.report, vectors["report-3"].message().header.sequence);
    let (offset, delay) = exchange(stamps.t1, report.t2, report.t3(), stamps.t4);
    let correction = vectors["correction-3"].correction();
    assert_eq!(correction.about, stamps.report);
    assert_eq!(correction.correction, offset.correction_towards(Offset::ZERO));
    let text = PROTOCOL.split_whitespace().collect::<Vec<_>>().join(" ");
    let spoken = |ns: i64, before: &str| {
        let spaced = grouped(ns);
        assert!(text.contains(&format!("{before}{spaced} ns")), "{before}{spaced} ns is not in the text");
    };
    spoken(offset.span().as_nanos(), "θ = ");
    spoken(delay.as_nanos(), "**");
    assert_eq!(vectors["correction-14"].correction().about, vectors["report-14"].message().header.sequence);
    assert_eq!(vectors["correction-14"].correction().correction.span().as_nanos(), -2_150);
}

#[test]
fn the_exchanges_of_the_worked_example_have_the_offsets_and_delays_that_it_says() {
    let rows: Vec<Vec<i64>> = PROTOCOL
        .lines()
        .filter_map(|line| {
            let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
            cells.map(|cell| cell.replace(' ', "").parse().ok()).collect::<Option<Vec<i64>>>()
        })
        .filter(|cells| cells.len() == 7)
        .collect();
    assert_eq!(rows.len(), 5);
    let day = Timestamp::from_nanos(1_772_438_400_000_000_000);
    let vectors = vectors();
    for row in rows {
        let at = |ns| day + Span::from_nanos(ns);
        let (offset, delay) = exchange(at(row[1]), at(row[2]), at(row[3]), at(row[4]));
        assert_eq!((offset.span().as_nanos(), delay.as_nanos()), (row[5], row[6]), "report {}", row[0]);
        if let Some(vector) = vectors.get(&format!("report-{}", row[0])) {
            assert_eq!((vector.report().t2, vector.report().t3()), (at(row[2]), at(row[3])));
        }
    }
}

/// Offset and delay of an exchange, as section 1 defines them.
fn exchange(t1: Timestamp, t2: Timestamp, t3: Timestamp, t4: Timestamp) -> (Offset, Span) {
    (Offset::ahead_by(((t2 - t1) + (t3 - t4)).half()), (t4 - t1) - (t3 - t2))
}

/// A vector of the document: its fields in order.
struct Vector(Vec<Row>);

/// A field of a vector.
struct Row {
    offset: usize,
    bytes: Vec<u8>,
    field: String,
    value: Value,
}

/// A value, as the document writes it.
enum Value {
    Number(i128),
    Text(String),
}

impl Value {
    fn parse(text: &str) -> Value {
        if let Some(text) = text.strip_prefix('"') {
            return Value::Text(text.strip_suffix('"').expect("a closing quote").into());
        }
        let number = match text.strip_prefix("0x") {
            Some(digits) => u128::from_str_radix(digits, 16).map(u128::cast_signed),
            None => text.parse(),
        };
        Value::Number(number.unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    /// The value as big-endian bytes, or as text padded with zeros.
    fn to_bytes(&self, len: usize) -> Vec<u8> {
        let mut bytes = match self {
            Value::Number(number) => number.to_be_bytes()[16 - len.min(16)..].to_vec(),
            Value::Text(text) => text.as_bytes().to_vec(),
        };
        bytes.resize(len, 0);
        bytes
    }
}

impl Vector {
    fn parse(block: &str) -> Vector {
        let mut rows: Vec<Row> = Vec::new();
        for line in block.lines() {
            let mut words = line.split_whitespace();
            let offset = words.next().and_then(|word| word.parse().ok()).expect("an offset");
            let bytes = unhex(words.next().expect("bytes"));
            match (words.next(), rows.last_mut()) {
                (Some(field), _) => {
                    let value = Value::parse(words.next().expect("a value"));
                    rows.push(Row { offset, bytes, field: field.into(), value });
                }
                (None, Some(row)) => {
                    assert_eq!(offset, row.offset + row.bytes.len());
                    row.bytes.extend(bytes);
                }
                (None, None) => panic!("a vector begins in the middle of a field"),
            }
        }
        Vector(rows)
    }

    fn datagram(&self) -> Datagram {
        let bytes: Vec<u8> = self.0.iter().flat_map(|row| row.bytes.clone()).collect();
        bytes.try_into().unwrap_or_else(|bytes: Vec<u8>| panic!("{} bytes, not {DATAGRAM_LEN}", bytes.len()))
    }

    fn value(&self, field: &str) -> &Value {
        &self.0.iter().find(|row| row.field == field).unwrap_or_else(|| panic!("no field {field}")).value
    }

    fn number<N: TryFrom<i128>>(&self, field: &str) -> N {
        match self.value(field) {
            Value::Number(number) => {
                N::try_from(*number).ok().unwrap_or_else(|| panic!("{field} out of range"))
            }
            Value::Text(_) => panic!("{field} is not a number"),
        }
    }

    fn span(&self, field: &str) -> Span {
        Span::from_nanos(self.number(field))
    }

    fn known_span(&self, field: &str) -> Option<Span> {
        Some(self.span(field)).filter(|span| span.as_nanos() != i64::from(u32::MAX))
    }

    fn rate(&self, field: &str) -> Frequency {
        Frequency::from_ppt(self.number(field))
    }

    fn stamps(&self) -> Option<Stamps> {
        let at = |field| Timestamp::from_nanos(self.number(field));
        Some(Stamps { report: self.number("stamps_of"), t1: at("t1"), t4: at("t4") })
            .filter(|it| it.report != 0)
    }

    fn header(&self) -> Header {
        let flags: u16 = self.number("flags");
        let state = match flags & 0xff {
            0 => ClientState::Unsynchronized,
            1 => ClientState::Synchronized,
            2 => ClientState::Holdover,
            other => panic!("flags {other}"),
        };
        Header {
            flags: Flags { state, manual_adjustment: (flags >> 8) as u8, ..Flags::default() },
            key_id: KeyId(self.number("key_id")),
            sender: NodeId(self.number("sender")),
            session: SessionId(self.number("session")),
            sequence: self.number("sequence"),
            round: self.number("round"),
        }
    }

    /// The message that the values describe.
    fn message(&self) -> Message {
        let kind: u8 = self.number("kind");
        let body = match kind {
            1 => Body::Register(self.register()),
            2 => Body::Challenge(Challenge { nonce: self.number("nonce"), cookie: self.number("cookie") }),
            3 => Body::Welcome(self.welcome()),
            4 => Body::Reject(self.reject()),
            5 => Body::Probe(self.probe()),
            6 => Body::Report(self.report()),
            7 => Body::Correction(self.correction()),
            8 => Body::Heartbeat(self.heartbeat()),
            9 => Body::HeartbeatAck(HeartbeatAck { nonce: self.number("nonce") }),
            10 => {
                assert_eq!(self.number::<u8>("reason"), LeaveReason::Shutdown as u8);
                Body::Leave(Leave { reason: LeaveReason::Shutdown })
            }
            12 => Body::Label(Label { label: self.name("label") }),
            11 => Body::ManualAdjustment(ManualAdjustment {
                cluster: ClusterId(self.number("cluster")),
                number: self.number("number"),
                before: self.span("before"),
                amount: self.span("amount"),
                start: Timestamp::from_nanos(self.number("start")),
                step: self.number::<u8>("step") == 1,
            }),
            13 => Body::Reference(self.reference()),
            14 => Body::RelayedTime(self.relayed_time()),
            15 => Body::Lineage(self.lineage()),
            16 => Body::Role(self.role()),
            17 => Body::Decision(self.decision()),
            other => panic!("kind {other}"),
        };
        assert_eq!(body.kind() as u8, kind);
        Message { header: self.header(), body }
    }

    fn register(&self) -> Register {
        Register {
            nonce: self.number("nonce"),
            cookie: self.number("cookie"),
            cluster: ClusterId(self.number("cluster")),
            name: self.name("name"),
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let stated = (self.number::<u8>("service") != 0)
            .then(|| MemberStatement { follows: self.term("follows"), service: self.service() });
        let progress = (self.number::<u8>("wants_decisions") == 1).then(|| DecisionProgress {
            generation: self.number("generation"),
            entries: self.number("entries"),
        });
        let (nonce, name) = (self.number("nonce"), self.name("name"));
        Heartbeat { nonce, name, statement: stated, decisions: progress }
    }

    fn decision(&self) -> Decision {
        let ruling = match self.number("ruling") {
            0u8 => None,
            1 => Some(Ruling::Removed),
            2 => Some(Ruling::Banned),
            other => panic!("ruling {other}"),
        };
        let address = Ipv6Addr::from_bits(self.number("address")).to_canonical();
        let network = match self.number("prefix") {
            u8::MAX => None,
            prefix => {
                let prefix = if address.is_ipv4() { prefix - 96 } else { prefix };
                Some(format!("{address}/{prefix}").parse().expect("a network"))
            }
        };
        let (port, name) = (self.number("port"), self.name("name"));
        let index: u16 = self.number("index");
        Decision {
            generation: self.number("generation"),
            index: index % 0x8000,
            last: index >= 0x8000,
            decided: ruling.map(|ruling| DecidedClients { ruling, network, port, name }),
        }
    }

    fn role(&self) -> RoleMessage {
        let role = match self.number("role") {
            0u8 => Role::Standby,
            1 => Role::Active,
            other => panic!("role {other}"),
        };
        let successor = match self.number("successor") {
            u8::MAX => None,
            place => Some(Rank::new(place).expect("a rank")),
        };
        RoleMessage {
            rank: Rank::new(self.number("rank")).expect("a rank"),
            servers: self.number("servers"),
            statement: ServerStatement { role, term: self.term("term"), service: self.service(), successor },
            bound: self.known_span("bound"),
        }
    }

    /// A term, as the document defines it: 256 × counter + rank.
    fn term(&self, field: &str) -> Term {
        let number: u64 = self.number(field);
        let (counter, place) = (number / 256, (number % 256) as u8);
        let rank = Rank::new(place).expect("a rank");
        if number == 0 { Term::NONE } else { Term::new(counter, rank).expect("a term") }
    }

    fn service(&self) -> Service {
        match self.number("service") {
            1u8 => Service::Served,
            2 => Service::Lost,
            3 => Service::Distrusted,
            other => panic!("service {other}"),
        }
    }

    fn name(&self, field: &str) -> Name {
        let Value::Text(name) = self.value(field) else { panic!("{field} is not a text") };
        Name::new(name)
    }

    fn welcome(&self) -> Welcome {
        Welcome {
            nonce: self.number("nonce"),
            cluster: ClusterId(self.number("cluster")),
            interval: self.span("interval"),
            heartbeat: self.span("heartbeat"),
            lifetime: self.span("lifetime"),
            rate: self.rate("rate"),
            relay: self.number::<u8>("relay") == 1,
        }
    }

    fn reject(&self) -> Reject {
        let reason = match self.number("reason") {
            1u8 => RejectReason::Version,
            2 => RejectReason::UnknownSession,
            3 => RejectReason::Full,
            4 => RejectReason::Replaced,
            5 => RejectReason::Banned,
            other => panic!("reason {other}"),
        };
        Reject { nonce: self.number("nonce"), reason, version: self.number("server_version") }
    }

    fn probe(&self) -> Probe {
        Probe {
            nonce: self.number("nonce"),
            before: self.stamps(),
            index: self.number("index"),
            burst: self.number("burst"),
            rate: self.rate("rate"),
            cluster: ClusterId(self.number("cluster")),
        }
    }

    fn reference(&self) -> Reference {
        let stated = StatedReference {
            at: Timestamp::from_nanos(self.number("at")),
            offset: self.span("offset"),
            max_error: self.span("max_error"),
        };
        Reference { stated: (self.number::<u8>("available") == 1).then_some(stated) }
    }

    fn relayed_time(&self) -> RelayedTime {
        let ppt = |field| Frequency::from_ratio(f64::from(self.number::<u32>(field)) * 1e-12);
        let known = |field| {
            let ns: u32 = self.number(field);
            (ns != u32::MAX).then_some(Span::from_nanos(ns.into()))
        };
        RelayedTime {
            cluster: ClusterId(self.number("cluster")),
            at: Timestamp::from_nanos(self.number("at")),
            difference: self.span("difference"),
            rate: self.rate("rate"),
            bound: known("bound"),
            growth: ppt("growth"),
            acceleration: ppt("acceleration"),
            error: known("error"),
            frequency_error: ppt("frequency_error"),
        }
    }

    fn lineage(&self) -> Lineage {
        let level: usize = self.number("level");
        let servers = (1..=level).map(|place| NodeId(self.number(&format!("server_{place}"))));
        servers.fold(Lineage::NONE, |above, server| above.below(server).expect("at most five servers"))
    }

    fn report(&self) -> Report {
        Report {
            nonce: self.number("nonce"),
            t2: Timestamp::from_nanos(self.number("t2")),
            processing: self.span("processing"),
            transmit_latency: self.span("transmit_latency"),
            frequency: self.rate("frequency"),
            frequency_error: self.rate("frequency_error"),
            rate: self.rate("rate"),
            applied: self.number("applied"),
            bound: self.known_span("bound"),
            error: self.known_span("error"),
        }
    }

    fn correction(&self) -> CorrectionMessage {
        let verdict = match self.number("verdict") {
            0u8 => Verdict::Unjudged,
            1 => Verdict::Agrees,
            2 => Verdict::Minority,
            other => panic!("verdict {other}"),
        };
        CorrectionMessage {
            about: self.number("about"),
            correction: time::Correction::adding(self.span("correction")),
            last: self.stamps(),
            rate: self.rate("rate"),
            window: self.span("window"),
            verdict,
            learning: self.number::<u8>("learning") == 1,
            brisk: self.number::<u8>("brisk") == 1,
            heard: self.number("heard"),
            members: self.number("members"),
        }
    }
}

/// The fenced blocks of the document that are marked as vectors, by name.
fn vectors() -> BTreeMap<String, Vector> {
    let mut vectors = BTreeMap::new();
    for block in PROTOCOL.split("```vector ").skip(1) {
        let (name, rest) = block.split_once('\n').expect("a name, then rows");
        let (rows, _) = rest.split_once("```").expect("an end of the block");
        assert!(vectors.insert(name.into(), Vector::parse(rows)).is_none(), "two vectors named {name}");
    }
    assert!(!vectors.is_empty());
    vectors
}

/// Offset, size and name of every field, by the heading that the table stands under.
fn field_tables() -> BTreeMap<String, Vec<(usize, usize, String)>> {
    let mut tables: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut heading = "";
    for line in PROTOCOL.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            heading =
                title.split_once(' ').filter(|(number, _)| number.contains('.')).map_or(title, |it| it.1);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let [_, offset, size, field, ..] = cells[..]
            && let (Ok(offset), Ok(size)) = (offset.parse(), size.parse())
            && let Some(field) = field.strip_prefix('`').and_then(|field| field.strip_suffix('`'))
        {
            tables.entry(heading.to_owned()).or_default().push((offset, size, field.to_owned()));
        }
    }
    tables
}

/// A number as the document's text writes it: in groups of three.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect(text)).collect()
}
