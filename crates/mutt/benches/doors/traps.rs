//! Traps as a library that is not ours makes them.

use anyhow::Context as _;
use anyhow::Result;
use async_snmp::message::{
    CommunityMessage, MsgFlags, MsgGlobalData, ScopedPdu, SecurityLevel, V3Message,
};
use async_snmp::message_size::MAX_UDP_PAYLOAD;
use async_snmp::pdu::NotificationPdu;
use async_snmp::v3::auth::authenticate_message;
use async_snmp::v3::{AuthProtocol, PrivProtocol, SaltCounter, UsmConfig, UsmSecurityParams};
use async_snmp::{MessageSize, Oid, Value, VarBind, Version, oid};

/// The engine that sends the traps.
pub const ENGINE_ID: [u8; 11] = [0x80, 0, 0, 9, 4, b'b', b'e', b'n', b'c', b'h', b'1'];
/// Its user, with SHA-256 and AES-128.
pub const USER: &str = "bench";
/// The user's passwords.
pub const PASSWORDS: (&str, &str) = ("authentic-bench", "private-bench");

/// A linkDown with the objects that switches send along.
fn link_down(number: usize) -> Result<NotificationPdu> {
    let index = u32::try_from(number % 480 + 1)?;
    let interface = |column: u32| oid!(1, 3, 6, 1, 2, 1, 2, 2, 1, column, index);
    let objects = vec![
        VarBind::new(interface(1), Value::Integer(i32::try_from(index)?)),
        VarBind::new(
            interface(2),
            Value::OctetString(format!("GigabitEthernet1/0/{index}").into_bytes().into()),
        ),
        VarBind::new(interface(7), Value::Integer(1)),
        VarBind::new(interface(8), Value::Integer(2)),
    ];
    let name: Oid = oid!(1, 3, 6, 1, 6, 3, 1, 1, 5, 3);
    let uptime = u32::try_from(number)?;
    Ok(NotificationPdu::trap_v2(
        Version::V2c,
        i32::try_from(number)?,
        uptime,
        &name,
        objects,
    )?)
}

/// SNMPv2c traps of one community.
pub fn v2c(count: usize) -> Result<Vec<Vec<u8>>> {
    (0..count)
        .map(|number| {
            let message = CommunityMessage::v2c("public", link_down(number)?.into_raw())?;
            Ok(message.encode()?.to_vec())
        })
        .collect()
}

/// SNMPv3 traps with authentication and privacy, all different, as a sender makes them that started
/// five minutes ago.
pub fn v3(count: usize) -> Result<Vec<Vec<u8>>> {
    let (boots, time) = (1, 300);
    let user = UsmConfig::new(USER).auth_priv(
        AuthProtocol::Sha256,
        PASSWORDS.0,
        PrivProtocol::Aes128,
        PASSWORDS.1,
    )?;
    let keys = user.derive_keys(&ENGINE_ID)?;
    let authentication = keys.auth_key.as_ref().context("no key to sign with")?;
    let privacy = keys.priv_key.as_ref().context("no key to encrypt with")?;
    let salt = SaltCounter::new()?;
    (0..count)
        .map(|number| {
            let pdu = link_down(number)?.into_raw();
            let scoped = ScopedPdu::new(ENGINE_ID.to_vec(), Vec::new(), pdu).encode_to_bytes()?;
            let (encrypted, parameters) = privacy.encrypt_aes(&scoped, boots, time, &salt)?;
            let security = UsmSecurityParams::new(ENGINE_ID.to_vec(), boots, time, USER)?
                .with_auth_placeholder(authentication.mac_len())?
                .with_priv_params(parameters)?;
            let head = MsgGlobalData::new(
                i32::try_from(number)?,
                MessageSize::new(MAX_UDP_PAYLOAD)?,
                MsgFlags::new(SecurityLevel::AuthPriv, false),
            )?;
            let message = V3Message::new_with_opaque_encrypted_scoped_pdu(
                head,
                security.encode()?,
                encrypted,
            )?;
            let mut bytes = message.encode()?.to_vec();
            let (offset, length) =
                UsmSecurityParams::find_auth_params_offset(&bytes).context("nowhere to sign")?;
            authenticate_message(authentication, &mut bytes, offset, length)?;
            Ok(bytes)
        })
        .collect()
}
