//! From a datagram to a notification that may be believed: message processing as in RFC 3412, 7.2,
//! and the user-based security model as in RFC 3414, 3.2, step by step in their order.
//!
//! Nothing in the state changes before a message's authentication code is verified, counters
//! excepted. What may be wrong is told to the sender only where the RFC has a Report for it and the
//! sender asked for Reports.

use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use async_snmp::DesSaltState;
use async_snmp::v3::auth::verify_message;
use async_snmp::v3::{PersistedDesSaltState, SaltCounter};
use bytes::Bytes;

use crate::answer::{self, Authority, Protection, Salts};
use crate::ber::{Reader, tag};
use crate::identity::{LocalEngine, MAX_BOOTS, TIME_WINDOW};
use crate::informs::InformKey;
use crate::keys::{KeyCache, Keys};
use crate::message::{
    Community, Envelope, NoNotification, Notification, Scoped, UsmParameters, V3,
};
use crate::outcome::{Received, Refusal, UsmStat};
use crate::remote::{Freshness, MAX_SEEN, Remotes, Seen};
use crate::trap::{SecurityLevel, Trap, Version};
use crate::users::Access;

/// The user-based security model among security models.
const USM: i32 = 3;

/// Bits of msgFlags.
const FLAG_AUTH: u8 = 1;
const FLAG_PRIV: u8 = 2;
const FLAG_REPORTABLE: u8 = 4;

/// A message that is not taken, with the statistic that counts it.
#[derive(Clone, Copy)]
struct Failure {
    refusal: Refusal,
    stat: Option<UsmStat>,
}

impl Failure {
    fn silent(refusal: Refusal) -> Self {
        Self {
            refusal,
            stat: None,
        }
    }

    fn counted(refusal: Refusal, stat: UsmStat) -> Self {
        Self {
            refusal,
            stat: Some(stat),
        }
    }
}

/// Takes datagrams in, and remembers what version 3 has to.
pub struct Receiver {
    /// Where encrypted messages are read from once they are decrypted.
    plaintext: Bytes,
    state: State,
}

struct State {
    access: Arc<Access>,
    engine: LocalEngine,
    remotes: Remotes,
    /// Informs lately made for this engine.
    own: Seen,
    keys: KeyCache,
    stats: [u32; UsmStat::ALL.len()],
    salts: Salts,
    hasher: RandomState,
}

/// A version 3 message whose security was checked.
struct Checked<'k> {
    level: SecurityLevel,
    position: usize,
    keys: Option<Arc<Keys>>,
    parameters: UsmParameters<'k>,
    /// Made for this engine, by its clock.
    own: bool,
    /// The first octets of the authentication code; 0 where there is none.
    code: u64,
    copied: bool,
}

impl Receiver {
    /// A receiver for whom `access` names, with this identity.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(access: Arc<Access>, engine: LocalEngine) -> Result<Self, async_snmp::error::Error> {
        let salts = Salts {
            aes: SaltCounter::new().map_err(|error| *error)?,
            des: des_salts(engine.boots()),
        };
        Ok(Self {
            plaintext: Bytes::new(),
            state: State {
                access,
                engine,
                remotes: Remotes::new(),
                own: Seen::default(),
                keys: KeyCache::default(),
                stats: [0; UsmStat::ALL.len()],
                salts,
                hasher: RandomState::new(),
            },
        })
    }

    /// From now on, who `access` names may send. Clocks and what was seen stay.
    pub fn set_access(&mut self, access: Arc<Access>) {
        self.state.access = access;
        self.state.keys.clear();
    }

    /// This receiver's identity.
    pub fn engine(&self) -> &LocalEngine {
        &self.state.engine
    }

    /// How often this was counted; wraps at 2³².
    pub fn stat(&self, stat: UsmStat) -> u32 {
        self.state.stats[stat as usize]
    }

    /// What a datagram is. `now` must not go back.
    pub fn receive<'a>(
        &'a mut self,
        datagram: &'a [u8],
        from: SocketAddr,
        now: Instant,
    ) -> Received<'a> {
        let Self { plaintext, state } = self;
        match Envelope::decode(datagram) {
            Ok(Envelope::Community(envelope)) => state.community(&envelope, from),
            Ok(Envelope::V3(envelope)) => state.v3(&envelope, plaintext, from, now),
            Ok(Envelope::UnknownVersion) => Received::Refused(Refusal::Unsupported),
            Err(_) => Received::Refused(Refusal::Malformed),
        }
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("engine", &self.state.engine)
            .finish_non_exhaustive()
    }
}

/// The numbers that DES must not use twice count on from the engine's boots, which are on disk
/// before they are used.
fn des_salts(boots: u32) -> Option<DesSaltState> {
    let persisted = |_: &PersistedDesSaltState| Ok::<(), std::io::Error>(());
    match boots {
        0 | MAX_BOOTS => None,
        1 => DesSaltState::install(persisted).ok(),
        _ => {
            let previous = PersistedDesSaltState::new(boots - 1).ok()?;
            DesSaltState::restart(previous, persisted).ok()
        }
    }
}

impl State {
    fn community<'a>(&self, envelope: &Community<'a>, from: SocketAddr) -> Received<'a> {
        if !self.access.admits(envelope.name) {
            return Received::Refused(Refusal::Community);
        }
        let notification = match Notification::decode(envelope.pdu.clone(), envelope.version) {
            Ok(notification) => notification,
            Err(error) => return Received::Refused(refusal(error)),
        };
        let Some(request_id) = confirmed(&notification.trap) else {
            return Received::Trap(notification.trap);
        };
        let key = self.inform_key(from, envelope.name, None, envelope.pdu.rest());
        let answer = answer::community_response(envelope.name, request_id, notification.varbinds);
        Received::Inform {
            trap: notification.trap,
            answer,
            key,
            copied: false,
        }
    }

    fn v3<'a>(
        &'a mut self,
        envelope: &V3<'a>,
        plaintext: &'a mut Bytes,
        from: SocketAddr,
        now: Instant,
    ) -> Received<'a> {
        let level = match envelope.flags & (FLAG_AUTH | FLAG_PRIV) {
            0 => SecurityLevel::NoAuthNoPriv,
            FLAG_AUTH => SecurityLevel::AuthNoPriv,
            FLAG_PRIV => return Received::Refused(Refusal::Unsupported),
            _ => SecurityLevel::AuthPriv,
        };
        if envelope.model != USM {
            return Received::Refused(Refusal::Unsupported);
        }
        let Ok(parameters) = UsmParameters::decode(envelope.security.clone()) else {
            return Received::Refused(Refusal::Malformed);
        };
        let foreign = parameters.engine_id != self.engine.id().octets();
        let checked = match self.check(envelope, parameters.clone(), level, now) {
            Ok(checked) => checked,
            Err(failure) => {
                return self.refuse(envelope, &parameters, failure, foreign, now);
            }
        };
        let scoped = match checked.open(envelope, plaintext) {
            Ok(scoped) => scoped,
            Err(failure) => {
                return self.refuse(envelope, &parameters, failure, foreign, now);
            }
        };
        let pdu = scoped.pdu.rest();
        let notification = match Notification::decode(scoped.pdu.clone(), Version::V3) {
            Ok(notification) => notification,
            Err(error) => return Received::Refused(refusal(error)),
        };
        if notification.trap.inform && foreign {
            // Whoever sends an inform must take the receiver's time and engine ID.
            let failure = Failure::counted(Refusal::UnknownEngine, UsmStat::UnknownEngineIds);
            return self.refuse(envelope, &parameters, failure, foreign, now);
        }
        self.remember(&checked, now);
        let mut trap = notification.trap;
        trap.engine_id = checked.parameters.engine_id;
        trap.context_engine_id = scoped.engine_id;
        trap.context_name = scoped.name;
        trap.security_level = Some(level);
        let name = checked.parameters.user;
        let Some(request_id) = confirmed(&trap) else {
            // The name equals that of a configured user, which is text.
            trap.security_name = std::str::from_utf8(name).ok();
            return if checked.copied {
                Received::Refused(Refusal::Replayed)
            } else {
                Received::Trap(trap)
            };
        };
        trap.security_name = std::str::from_utf8(name).ok();
        let protection = Protection {
            level,
            user: name,
            keys: checked.keys.as_deref(),
        };
        let answer = answer::v3_response(
            envelope,
            self.authority(now),
            &protection,
            (scoped.engine_id, scoped.name),
            request_id,
            notification.varbinds,
            &self.salts,
        );
        let Some(answer) = answer else {
            return Received::Refused(Refusal::Decryption);
        };
        Received::Inform {
            trap,
            answer,
            key: self.inform_key(from, name, Some(level), pdu),
            copied: checked.copied,
        }
    }

    /// RFC 3414, 3.2, steps 3 to 7. Changes nothing.
    fn check<'a>(
        &self,
        envelope: &V3<'a>,
        parameters: UsmParameters<'a>,
        level: SecurityLevel,
        now: Instant,
    ) -> Result<Checked<'a>, Failure> {
        // 3: an engine ID that is none asks for ours.
        if parameters.engine_id.len() < 5 {
            return Err(Failure::counted(
                Refusal::UnknownEngine,
                UsmStat::UnknownEngineIds,
            ));
        }
        let own = parameters.engine_id == self.engine.id().octets();
        // 4
        let Some((position, user)) = self.access.user(parameters.user, parameters.engine_id) else {
            return Err(Failure::counted(
                Refusal::UnknownUser,
                UsmStat::UnknownUserNames,
            ));
        };
        // 5
        if level > user.capability() {
            return Err(Failure::counted(
                Refusal::SecurityLevel,
                UsmStat::UnsupportedSecLevels,
            ));
        }
        if level < user.level {
            return Err(Failure::silent(Refusal::SecurityLevel));
        }
        let mut checked = Checked {
            level,
            position,
            keys: None,
            parameters,
            own,
            code: 0,
            copied: false,
        };
        if level == SecurityLevel::NoAuthNoPriv {
            return Ok(checked);
        }
        // 6
        let wrong = || Failure::counted(Refusal::WrongDigest, UsmStat::WrongDigests);
        let parameters = &checked.parameters;
        let keys = match self.keys.get(position, parameters.engine_id) {
            Some(keys) => keys,
            None => Arc::new(Keys::localize(user, parameters.engine_id).ok_or_else(wrong)?),
        };
        let (at, len) = (parameters.mac_at, parameters.mac.len());
        if len != keys.auth.mac_len()
            || !verify_message(&keys.auth, envelope.message, at, len).unwrap_or(false)
        {
            return Err(wrong());
        }
        checked.code = parameters
            .mac
            .first_chunk()
            .copied()
            .map_or(0, u64::from_ne_bytes);
        // 7
        let (boots, time) = (parameters.boots, parameters.time);
        let freshness = if own {
            if self.engine.is_timely(boots, time, now) {
                self.own.check(time, checked.code)
            } else {
                Freshness::Late
            }
        } else {
            let id = parameters.engine_id;
            self.remotes.check(id, boots, time, checked.code, now)
        };
        checked.keys = Some(keys);
        match freshness {
            Freshness::Fresh => Ok(checked),
            // A copy of an inform may be its sender's own: that is for who knows what became of the
            // first to tell.
            Freshness::Replayed if own => {
                checked.copied = true;
                Ok(checked)
            }
            Freshness::Replayed => Err(Failure::silent(Refusal::Replayed)),
            Freshness::Late => Err(Failure::counted(
                Refusal::TimeWindow,
                UsmStat::NotInTimeWindows,
            )),
            Freshness::TooManyEngines => Err(Failure::silent(Refusal::TooManyEngines)),
        }
    }

    /// What an authentic notification leaves behind.
    fn remember(&mut self, checked: &Checked<'_>, now: Instant) {
        let Some(keys) = &checked.keys else {
            return;
        };
        let parameters = &checked.parameters;
        self.keys.keep(checked.position, parameters.engine_id, keys);
        if checked.own {
            let oldest = self.engine.time(now).saturating_sub(TIME_WINDOW);
            self.own.forget_before(oldest);
            self.own.remember(parameters.time, checked.code);
            self.own.shorten(MAX_SEEN);
        } else {
            let (id, boots, time) = (parameters.engine_id, parameters.boots, parameters.time);
            self.remotes.remember(id, boots, time, checked.code, now);
        }
    }

    /// Counts a message that is not taken, and writes the Report where one is due.
    fn refuse<'a>(
        &mut self,
        envelope: &V3<'a>,
        parameters: &UsmParameters<'a>,
        failure: Failure,
        foreign: bool,
        now: Instant,
    ) -> Received<'a> {
        let Some(mut stat) = failure.stat else {
            return Received::Refused(failure.refusal);
        };
        let mut refusal = failure.refusal;
        let reportable = envelope.flags & FLAG_REPORTABLE != 0;
        // Who asks for Reports sends an inform, for which this engine is the authority: that its
        // sender has another in mind comes before all else that may be wrong (step 3).
        if reportable && foreign {
            (refusal, stat) = (Refusal::UnknownEngine, UsmStat::UnknownEngineIds);
        }
        let count = &mut self.stats[stat as usize];
        *count = count.wrapping_add(1);
        let count = *count;
        if !reportable {
            return Received::Refused(refusal);
        }
        // Only a sender that proved who it is can correct its clock, and only by an authenticated
        // Report will it (step 7a).
        let found = self.access.user(parameters.user, parameters.engine_id);
        let keys = match (stat, found) {
            (UsmStat::NotInTimeWindows, Some((_, user))) => {
                Keys::localize(user, parameters.engine_id)
            }
            _ => None,
        };
        let protection = Protection {
            level: match keys {
                Some(_) => SecurityLevel::AuthNoPriv,
                None => SecurityLevel::NoAuthNoPriv,
            },
            user: parameters.user,
            keys: keys.as_ref(),
        };
        let request_id = match envelope.flags & FLAG_PRIV {
            0 => Scoped::decode(&mut envelope.data.clone()).map_or(0, |scoped| scoped.request_id()),
            _ => 0,
        };
        let authority = self.authority(now);
        let counter = (&stat.oid()[..], count);
        let salts = &self.salts;
        match answer::report(
            envelope.id,
            authority,
            &protection,
            request_id,
            counter,
            salts,
        ) {
            Some(report) => Received::Reply { report, refusal },
            None => Received::Refused(refusal),
        }
    }

    fn authority(&self, now: Instant) -> Authority<'_> {
        Authority {
            engine_id: self.engine.id().octets(),
            boots: self.engine.boots(),
            time: self.engine.time(now),
        }
    }

    fn inform_key(
        &self,
        from: SocketAddr,
        name: &[u8],
        level: Option<SecurityLevel>,
        pdu: &[u8],
    ) -> InformKey {
        InformKey(self.hasher.hash_one((from, name, level, pdu)))
    }
}

impl Checked<'_> {
    /// RFC 3414, 3.2, step 8: the scoped PDU, decrypted where it has to be.
    fn open<'a>(&self, envelope: &V3<'a>, plaintext: &'a mut Bytes) -> Result<Scoped<'a>, Failure> {
        let malformed = |_| Failure::silent(Refusal::Malformed);
        let mut data = envelope.data.clone();
        if self.level < SecurityLevel::AuthPriv {
            let scoped = Scoped::decode(&mut data).map_err(malformed)?;
            data.finish().map_err(malformed)?;
            return Ok(scoped);
        }
        let encrypted = data.expect(tag::OCTET_STRING).map_err(malformed)?.rest();
        data.finish().map_err(malformed)?;
        let failed = || Failure::counted(Refusal::Decryption, UsmStat::DecryptionErrors);
        let key = self.keys.as_ref().and_then(|keys| keys.privacy.as_ref());
        let parameters = &self.parameters;
        *plaintext = key
            .ok_or_else(failed)?
            .decrypt(
                encrypted,
                parameters.boots,
                parameters.time,
                parameters.privacy,
            )
            .map_err(|_| failed())?;
        // A wrong key yields noise. The authentication code was right, so noise means that.
        let mut reader = Reader::new(plaintext);
        Scoped::decode(&mut reader).map_err(|_| failed())
    }
}

/// The request-id of a notification that wants an answer.
fn confirmed(trap: &Trap<'_>) -> Option<i32> {
    trap.request_id.filter(|_| trap.inform)
}

fn refusal(error: NoNotification) -> Refusal {
    match error {
        NoNotification::Malformed => Refusal::Malformed,
        NoNotification::OtherPdu => Refusal::NoNotification,
    }
}
