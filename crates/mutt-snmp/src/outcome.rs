//! What a datagram turned out to be, and what is counted about it.

use crate::informs::InformKey;
use crate::trap::Trap;

/// What became of a datagram.
#[derive(Debug)]
pub enum Received<'a> {
    /// A trap. Nobody waits for an answer.
    Trap(Trap<'a>),
    /// An inform. Its answer is to be sent when it is stored, not before.
    Inform {
        /// What it says.
        trap: Trap<'a>,
        /// The Response to its sender.
        answer: Vec<u8>,
        /// What makes it the same as one that its sender repeats.
        key: InformKey,
        /// Whether this very message was received before, which version 3 can tell.
        copied: bool,
    },
    /// Nothing to store; a Report to be sent to the sender at once. `refusal` says why, as far as it
    /// is more than a step that belongs to getting to know one another.
    Reply {
        /// The Report.
        report: Vec<u8>,
        /// Why the message was not taken.
        refusal: Refusal,
    },
    /// Nothing to store and nothing to say.
    Refused(Refusal),
}

/// Why a datagram is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It cannot be read.
    Malformed,
    /// A version, a security model or a combination of flags that does not exist.
    Unsupported,
    /// Neither trap nor inform.
    NoNotification,
    /// The community is not one of those that may send.
    Community,
    /// The sender takes somebody else for its receiver, or asks who this is: so engines get to know
    /// one another.
    UnknownEngine,
    /// No such user.
    UnknownUser,
    /// Less protected than the user must send, or more than the user has keys for.
    SecurityLevel,
    /// The authentication code is wrong: mostly another password, or another protocol.
    WrongDigest,
    /// Not decrypted: mostly another privacy password, or another protocol.
    Decryption,
    /// Too old, or from the future.
    TimeWindow,
    /// A copy of a message that was taken before.
    Replayed,
    /// More engines than can be told apart.
    TooManyEngines,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::Unsupported,
        Self::NoNotification,
        Self::Community,
        Self::UnknownEngine,
        Self::UnknownUser,
        Self::SecurityLevel,
        Self::WrongDigest,
        Self::Decryption,
        Self::TimeWindow,
        Self::Replayed,
        Self::TooManyEngines,
    ];
}

/// The statistics of the user-based security model (RFC 3414, 5), in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsmStat {
    /// usmStatsUnsupportedSecLevels
    UnsupportedSecLevels,
    /// usmStatsNotInTimeWindows
    NotInTimeWindows,
    /// usmStatsUnknownUserNames
    UnknownUserNames,
    /// usmStatsUnknownEngineIDs
    UnknownEngineIds,
    /// usmStatsWrongDigests
    WrongDigests,
    /// usmStatsDecryptionErrors
    DecryptionErrors,
}

impl UsmStat {
    /// Every statistic, by number.
    pub const ALL: [Self; 6] = [
        Self::UnsupportedSecLevels,
        Self::NotInTimeWindows,
        Self::UnknownUserNames,
        Self::UnknownEngineIds,
        Self::WrongDigests,
        Self::DecryptionErrors,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnsupportedSecLevels => "unsupported_sec_levels",
            Self::NotInTimeWindows => "not_in_time_windows",
            Self::UnknownUserNames => "unknown_user_names",
            Self::UnknownEngineIds => "unknown_engine_ids",
            Self::WrongDigests => "wrong_digests",
            Self::DecryptionErrors => "decryption_errors",
        }
    }

    /// The content octets of the counter's OID, 1.3.6.1.6.3.15.1.1.n.0.
    pub(crate) fn oid(self) -> [u8; 10] {
        #[allow(clippy::cast_possible_truncation)] // one of six
        let number = self as u8 + 1;
        [0x2b, 6, 1, 6, 3, 15, 1, 1, number, 0]
    }
}
