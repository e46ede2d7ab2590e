//! The enumerations that programs read as words in snake case.
//!
//! A newer node may write a word that this program does not know. That is no error: the word is kept as it
//! was read, in the variant `Unknown`.

use meantime_core::coverage::Coverage;
use meantime_core::event::{
    Adjustment, Exclusion, HoldoverReason, Outcome, Refusal, UndecidedReason, UpstreamFault,
};
use meantime_core::roles::server_role::Quorum;
use meantime_core::roles::statement::{Role, Service};
use meantime_core::wire::ClientState;

use crate::udp::TimestampSource;

/// Defines an enumeration of words: each variant with the word that stands for it.
macro_rules! word {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A word that this program does not know: a newer node may use it.
            Unknown(String),
        }

        impl $name {
            /// The word.
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $word,)+
                    $name::Unknown(word) => word,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> $name {
                match word.as_str() {
                    $($word => $name::$variant,)+
                    _ => $name::Unknown(word),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                String::deserialize(deserializer).map($name::from)
            }
        }
    };
}

pub(crate) use word;

word! {
    /// The state of a clock.
    ClockState {
        /// It has no cluster time.
        Unsynchronized = "unsynchronized",
        /// It follows corrections.
        Synchronized = "synchronized",
        /// It carries cluster time on without corrections.
        Holdover = "holdover",
    }
}

word! {
    /// How a round ended.
    RoundOutcome {
        /// The cluster has no time yet.
        Listening = "listening",
        /// The majority agrees.
        Agreed = "agreed",
        /// No majority agrees.
        Unsure = "unsure",
        /// The server's own clock disagrees with the majority.
        ServerInDoubt = "server_in_doubt",
        /// The server learns the time that its members carry.
        Following = "following",
    }
}

word! {
    /// Why the vote leaves a clock out.
    ExclusionReason {
        /// It lies outside the agreement window around the median.
        OutsideWindow = "outside_window",
        /// It shows a time before the earliest plausible one.
        BeforePlausible = "before_plausible",
        /// It shows a time after the latest plausible one.
        AfterPlausible = "after_plausible",
        /// An operator has removed its vote.
        Removed = "removed",
    }
}

word! {
    /// Whether the guarantee of a round covers a clock, or why it does not.
    ClockCoverage {
        /// It does.
        Covered = "covered",
        /// No round has ended since the client was registered.
        New = "new",
        /// The clock has no cluster time.
        Unsynchronized = "unsynchronized",
        /// The client was not heard in the round.
        NotHeard = "not_heard",
        /// The round has judged no clock.
        Unjudged = "unjudged",
        /// The vote has found the clock to disagree.
        Falseticker = "falseticker",
        /// The client states no bound.
        NoBound = "no_bound",
        /// The clock was measured farther off than the bound that the client states.
        ContradictedBound = "contradicted_bound",
    }
}

word! {
    /// Why the cluster has no time.
    UndecidedCause {
        /// No client with a vote is registered.
        NoClients = "no_clients",
        /// The server waits for clients that were not heard yet.
        Waiting = "waiting",
        /// The server waits for a majority that has, or consents to, the time that clients carry.
        WaitingForCarriers = "waiting_for_carriers",
        /// No more than half of all members were heard.
        Unheard = "unheard",
        /// Too few clocks show a plausible time; most others show an earlier one.
        BeforePlausible = "before_plausible",
        /// Too few clocks show a plausible time; most others show a later one.
        AfterPlausible = "after_plausible",
        /// There are two clocks, and they are too far apart.
        TwoDiffer = "two_differ",
        /// No majority of the clocks is near the median.
        TooFarApart = "too_far_apart",
        /// Most clients carry a cluster time, and no majority of all clocks has, or consents to, one of
        /// these.
        Carried = "carried",
    }
}

word! {
    /// How an adjustment reaches the clock.
    AdjustmentMethod {
        /// At once.
        Step = "step",
        /// By running faster or slower until it is complete.
        Slew = "slew",
    }
}

word! {
    /// Why a client is in holdover.
    HoldoverCause {
        /// No datagram has arrived from the server.
        ServerSilent = "server_silent",
        /// The server has said goodbye.
        ServerLeft = "server_left",
        /// The server does not know the session any more.
        ServerForgot = "server_forgot",
        /// The server's operator has banned the client.
        Banned = "banned",
        /// The server answers, but sends no corrections.
        NoCorrections = "no_corrections",
        /// The client has refused the server's correction.
        CorrectionRefused = "correction_refused",
        /// The server's time contradicts what the client's clock has proved.
        ServerDoubted = "server_doubted",
        /// Two other servers contradict the server's time, and agree with each other.
        ServerDistrusted = "server_distrusted",
        /// This server of several was active and is not any more, and hears no other one that is.
        NoActiveServer = "no_active_server",
        /// Another client has registered with this node's name and key.
        Replaced = "replaced",
    }
}

word! {
    /// Why a relay takes no time from the server above.
    UpstreamFaultCause {
        /// The server is a client of this relay, or of one below it.
        Loop = "loop",
        /// There are as many servers above it as a relay can have.
        TooManyLevels = "too_many_levels",
    }
}

word! {
    /// What a server of several is.
    RoleWord {
        /// It measures and corrects.
        Active = "active",
        /// It follows the active one, and can take over.
        Standby = "standby",
    }
}

word! {
    /// How a node is served by the server that it follows.
    ServiceWord {
        /// It hears that as the active one.
        Served = "served",
        /// It does not hear it so, or follows none.
        Lost = "lost",
        /// It refuses it: other servers agree that its time is wrong.
        Distrusted = "distrusted",
    }
}

word! {
    /// How many of the members that it knew a server of several must hear to be active.
    QuorumWord {
        /// Any number.
        Any = "any",
        /// More than half.
        Majority = "majority",
    }
}

word! {
    /// Why a client has refused a correction.
    RefusalCause {
        /// The first step is larger than `--panic`.
        FirstStepTooLarge = "first_step_too_large",
        /// The step is larger than `--max-step`.
        StepTooLarge = "step_too_large",
        /// The slew of a manual time adjustment would take more than a day.
        SlewTooLong = "slew_too_long",
        /// The frequency exceeds `--max-frequency`.
        ImplausibleFrequency = "implausible_frequency",
        /// The clock would show an implausible time.
        ImplausibleTime = "implausible_time",
    }
}

word! {
    /// What records when a datagram is sent or received.
    Timestamping {
        /// The kernel.
        Kernel = "kernel",
        /// The network card what is received, the kernel what is sent.
        HardwareReceive = "hardware_receive",
        /// The network card what is sent, the kernel what is received.
        HardwareTransmit = "hardware_transmit",
        /// The network card.
        Hardware = "hardware",
        /// The program.
        User = "user",
    }
}

impl From<ClientState> for ClockState {
    fn from(state: ClientState) -> ClockState {
        match state {
            ClientState::Unsynchronized => ClockState::Unsynchronized,
            ClientState::Synchronized => ClockState::Synchronized,
            ClientState::Holdover => ClockState::Holdover,
        }
    }
}

impl From<Outcome> for RoundOutcome {
    fn from(outcome: Outcome) -> RoundOutcome {
        match outcome {
            Outcome::Listening => RoundOutcome::Listening,
            Outcome::Agreed => RoundOutcome::Agreed,
            Outcome::Unsure => RoundOutcome::Unsure,
            Outcome::ServerInDoubt => RoundOutcome::ServerInDoubt,
            Outcome::Following => RoundOutcome::Following,
        }
    }
}

impl From<Exclusion> for ExclusionReason {
    fn from(exclusion: Exclusion) -> ExclusionReason {
        match exclusion {
            Exclusion::OutsideWindow => ExclusionReason::OutsideWindow,
            Exclusion::BeforePlausible => ExclusionReason::BeforePlausible,
            Exclusion::AfterPlausible => ExclusionReason::AfterPlausible,
            Exclusion::Removed => ExclusionReason::Removed,
        }
    }
}

impl From<Coverage> for ClockCoverage {
    fn from(coverage: Coverage) -> ClockCoverage {
        match coverage {
            Coverage::Covered => ClockCoverage::Covered,
            Coverage::New => ClockCoverage::New,
            Coverage::Unsynchronized => ClockCoverage::Unsynchronized,
            Coverage::NotHeard => ClockCoverage::NotHeard,
            Coverage::Unjudged => ClockCoverage::Unjudged,
            Coverage::Falseticker => ClockCoverage::Falseticker,
            Coverage::NoBound => ClockCoverage::NoBound,
            Coverage::ContradictedBound => ClockCoverage::ContradictedBound,
        }
    }
}

impl From<UndecidedReason> for UndecidedCause {
    fn from(reason: UndecidedReason) -> UndecidedCause {
        match reason {
            UndecidedReason::NoClients => UndecidedCause::NoClients,
            UndecidedReason::Waiting => UndecidedCause::Waiting,
            UndecidedReason::WaitingForCarriers => UndecidedCause::WaitingForCarriers,
            UndecidedReason::Unheard => UndecidedCause::Unheard,
            UndecidedReason::BeforePlausible => UndecidedCause::BeforePlausible,
            UndecidedReason::AfterPlausible => UndecidedCause::AfterPlausible,
            UndecidedReason::TwoDiffer => UndecidedCause::TwoDiffer,
            UndecidedReason::TooFarApart => UndecidedCause::TooFarApart,
            UndecidedReason::Carried => UndecidedCause::Carried,
        }
    }
}

impl From<Adjustment> for AdjustmentMethod {
    fn from(adjustment: Adjustment) -> AdjustmentMethod {
        match adjustment {
            Adjustment::Step => AdjustmentMethod::Step,
            Adjustment::Slew => AdjustmentMethod::Slew,
        }
    }
}

impl From<HoldoverReason> for HoldoverCause {
    fn from(reason: HoldoverReason) -> HoldoverCause {
        match reason {
            HoldoverReason::ServerSilent => HoldoverCause::ServerSilent,
            HoldoverReason::ServerLeft => HoldoverCause::ServerLeft,
            HoldoverReason::ServerForgot => HoldoverCause::ServerForgot,
            HoldoverReason::Banned => HoldoverCause::Banned,
            HoldoverReason::NoCorrections => HoldoverCause::NoCorrections,
            HoldoverReason::CorrectionRefused => HoldoverCause::CorrectionRefused,
            HoldoverReason::ServerDoubted => HoldoverCause::ServerDoubted,
            HoldoverReason::ServerDistrusted => HoldoverCause::ServerDistrusted,
            HoldoverReason::NoActiveServer => HoldoverCause::NoActiveServer,
            HoldoverReason::Replaced => HoldoverCause::Replaced,
        }
    }
}

impl From<UpstreamFault> for UpstreamFaultCause {
    fn from(fault: UpstreamFault) -> UpstreamFaultCause {
        match fault {
            UpstreamFault::Loop => UpstreamFaultCause::Loop,
            UpstreamFault::TooManyLevels => UpstreamFaultCause::TooManyLevels,
        }
    }
}

impl From<Role> for RoleWord {
    fn from(role: Role) -> RoleWord {
        match role {
            Role::Active => RoleWord::Active,
            Role::Standby => RoleWord::Standby,
        }
    }
}

impl From<Service> for ServiceWord {
    fn from(service: Service) -> ServiceWord {
        match service {
            Service::Served => ServiceWord::Served,
            Service::Lost => ServiceWord::Lost,
            Service::Distrusted => ServiceWord::Distrusted,
        }
    }
}

impl From<Quorum> for QuorumWord {
    fn from(quorum: Quorum) -> QuorumWord {
        match quorum {
            Quorum::Any => QuorumWord::Any,
            Quorum::Majority => QuorumWord::Majority,
        }
    }
}

impl From<Refusal> for RefusalCause {
    fn from(reason: Refusal) -> RefusalCause {
        match reason {
            Refusal::FirstStepTooLarge => RefusalCause::FirstStepTooLarge,
            Refusal::StepTooLarge => RefusalCause::StepTooLarge,
            Refusal::SlewTooLong => RefusalCause::SlewTooLong,
            Refusal::ImplausibleFrequency => RefusalCause::ImplausibleFrequency,
            Refusal::ImplausibleTime => RefusalCause::ImplausibleTime,
        }
    }
}

impl From<TimestampSource> for Timestamping {
    fn from(timestamps: TimestampSource) -> Timestamping {
        match timestamps {
            TimestampSource::Kernel => Timestamping::Kernel,
            TimestampSource::HardwareReceive => Timestamping::HardwareReceive,
            TimestampSource::HardwareTransmit => Timestamping::HardwareTransmit,
            TimestampSource::Hardware => Timestamping::Hardware,
            TimestampSource::User => Timestamping::User,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::snake_case;

    #[test]
    fn a_word_is_the_variants_name_in_snake_case() {
        for state in [ClientState::Unsynchronized, ClientState::Synchronized, ClientState::Holdover] {
            assert_eq!(ClockState::from(state).as_str(), snake_case(state));
        }
        for outcome in
            [Outcome::Listening, Outcome::Agreed, Outcome::Unsure, Outcome::ServerInDoubt, Outcome::Following]
        {
            assert_eq!(RoundOutcome::from(outcome).as_str(), snake_case(outcome));
        }
        for coverage in Coverage::ALL {
            assert_eq!(ClockCoverage::from(coverage).as_str(), snake_case(coverage));
        }
        for reason in [
            UndecidedReason::NoClients,
            UndecidedReason::Waiting,
            UndecidedReason::WaitingForCarriers,
            UndecidedReason::Unheard,
            UndecidedReason::BeforePlausible,
            UndecidedReason::AfterPlausible,
            UndecidedReason::TwoDiffer,
            UndecidedReason::TooFarApart,
            UndecidedReason::Carried,
        ] {
            assert_eq!(UndecidedCause::from(reason).as_str(), snake_case(reason));
        }
        for reason in [
            Refusal::FirstStepTooLarge,
            Refusal::StepTooLarge,
            Refusal::SlewTooLong,
            Refusal::ImplausibleFrequency,
            Refusal::ImplausibleTime,
        ] {
            assert_eq!(RefusalCause::from(reason).as_str(), snake_case(reason));
        }
        for fault in [UpstreamFault::Loop, UpstreamFault::TooManyLevels] {
            assert_eq!(UpstreamFaultCause::from(fault).as_str(), snake_case(fault));
        }
        for role in [Role::Active, Role::Standby] {
            assert_eq!(RoleWord::from(role).as_str(), snake_case(role));
        }
        for service in [Service::Served, Service::Lost, Service::Distrusted] {
            assert_eq!(ServiceWord::from(service).as_str(), snake_case(service));
        }
        for quorum in [Quorum::Any, Quorum::Majority] {
            assert_eq!(QuorumWord::from(quorum).as_str(), snake_case(quorum));
        }
        for adjustment in [Adjustment::Step, Adjustment::Slew] {
            assert_eq!(AdjustmentMethod::from(adjustment).as_str(), snake_case(adjustment));
        }
    }

    #[test]
    fn the_words_of_exclusions_and_holdover_are_those_of_the_control_page() {
        let exclusions = [
            (Exclusion::OutsideWindow, "outside_window"),
            (Exclusion::BeforePlausible, "before_plausible"),
            (Exclusion::AfterPlausible, "after_plausible"),
            (Exclusion::Removed, "removed"),
        ];
        for (exclusion, word) in exclusions {
            assert_eq!(ExclusionReason::from(exclusion).as_str(), word);
        }
        let reasons = [
            (HoldoverReason::ServerSilent, "server_silent"),
            (HoldoverReason::ServerLeft, "server_left"),
            (HoldoverReason::ServerForgot, "server_forgot"),
            (HoldoverReason::Banned, "banned"),
            (HoldoverReason::NoCorrections, "no_corrections"),
            (HoldoverReason::CorrectionRefused, "correction_refused"),
            (HoldoverReason::ServerDoubted, "server_doubted"),
            (HoldoverReason::ServerDistrusted, "server_distrusted"),
            (HoldoverReason::NoActiveServer, "no_active_server"),
            (HoldoverReason::Replaced, "replaced"),
        ];
        for (reason, word) in reasons {
            assert_eq!(HoldoverCause::from(reason).as_str(), word);
        }
    }

    #[test]
    fn an_unknown_word_of_a_newer_node_is_kept() {
        let state: ClockState = serde_json::from_str("\"holdover\"").unwrap();
        assert_eq!(state, ClockState::Holdover);
        let newer: ClockState = serde_json::from_str("\"free_running\"").unwrap();
        assert_eq!(newer, ClockState::Unknown("free_running".into()));
        assert_eq!(serde_json::to_string(&newer).unwrap(), "\"free_running\"");
    }
}
