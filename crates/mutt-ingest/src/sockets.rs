//! Sockets to listen on, and errors that say what to do where there is none to be had.
//!
//! Knows addresses, ports and receive buffers; not what comes through them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::datagrams::force_receive_buffer;

/// Connections that the kernel completes before MUTT accepts them; `net.core.somaxconn` cuts it.
const BACKLOG: i32 = 1_024;

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "{protocol} {addr} is in use by another program; find it with \
         `ss -lnp 'sport = :{}'`, or listen elsewhere ({setting})", .addr.port()
    )]
    InUse {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Where MUTT wanted to listen.
        addr: SocketAddr,
        /// The setting that names the address.
        setting: &'static str,
    },
    /// A port below 1024 without the right to it.
    #[error(
        "{protocol} {addr}: a port below 1024 takes the capability CAP_NET_BIND_SERVICE (systemd: \
         AmbientCapabilities=CAP_NET_BIND_SERVICE), or listen on a higher port ({setting})"
    )]
    NotPermitted {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Where MUTT wanted to listen.
        addr: SocketAddr,
        /// The setting that names the address.
        setting: &'static str,
    },
    /// No interface has this address.
    #[error(
        "{protocol} {addr}: this machine does not have the address {}; `ip addr` shows those it \
         has, 0.0.0.0 or [::] means all of them ({setting})", .addr.ip()
    )]
    NoSuchAddress {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Where MUTT wanted to listen.
        addr: SocketAddr,
        /// The setting that names the address.
        setting: &'static str,
    },
    /// Anything else that the kernel says.
    #[error("cannot listen on {protocol} {addr} ({setting}): {source}")]
    Other {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Where MUTT wanted to listen.
        addr: SocketAddr,
        /// The setting that names the address.
        setting: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

impl ListenError {
    fn new(
        protocol: &'static str,
        addr: SocketAddr,
        setting: &'static str,
        source: io::Error,
    ) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse {
                protocol,
                addr,
                setting,
            },
            io::ErrorKind::PermissionDenied => Self::NotPermitted {
                protocol,
                addr,
                setting,
            },
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress {
                protocol,
                addr,
                setting,
            },
            _ => Self::Other {
                protocol,
                addr,
                setting,
                source,
            },
        }
    }
}

/// `count` UDP sockets at one address, among which the kernel divides senders, each with a receive
/// buffer of `receive_buffer` bytes. They do not block.
///
/// # Errors
/// [`ListenError`], naming `setting`.
pub(crate) fn bind_udp(
    addr: SocketAddr,
    count: usize,
    receive_buffer: usize,
    setting: &'static str,
) -> Result<Vec<std::net::UdpSocket>, ListenError> {
    let bind = |addr: SocketAddr, shared: bool| -> io::Result<std::net::UdpSocket> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_port(shared)?;
        accept_both_families(&socket, addr)?;
        socket.bind(&addr.into())?;
        Ok(socket.into())
    };
    let all = || -> io::Result<Vec<std::net::UdpSocket>> {
        let first = bind(addr, false)?;
        if count < 2 {
            return Ok(vec![first]);
        }
        // Sockets that share a port also share it, unasked, with another process of the same user,
        // which would take part of the datagrams away. One that does not share shows it first.
        let addr = first.local_addr()?;
        drop(first);
        (0..count).map(|_| bind(addr, true)).collect()
    };
    let sockets = all().map_err(|error| ListenError::new("UDP", addr, setting, error))?;
    for socket in &sockets {
        raise_receive_buffer(socket, receive_buffer, addr);
    }
    Ok(sockets)
}

/// A TCP socket that listens. It does not block.
///
/// # Errors
/// [`ListenError`], naming `setting`.
pub(crate) fn bind_tcp(
    addr: SocketAddr,
    setting: &'static str,
) -> Result<std::net::TcpListener, ListenError> {
    let listen = || -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Connections of the process before that are still closing must not keep this one out.
        socket.set_reuse_address(true)?;
        accept_both_families(&socket, addr)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().map_err(|error| ListenError::new("TCP", addr, setting, error))
}

/// `[::]` means every address, whatever `net.ipv6.bindv6only` says.
fn accept_both_families(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    match addr.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() => socket.set_only_v6(false),
        _ => Ok(()),
    }
}

/// Asks for a receive buffer, beyond the system's limit where that is allowed, and warns where the
/// kernel gives less: bursts are then lost that the buffer would have absorbed.
fn raise_receive_buffer(socket: &std::net::UdpSocket, wanted: usize, addr: SocketAddr) {
    let options = SockRef::from(socket);
    if force_receive_buffer(socket.as_fd(), wanted).is_err() {
        // What comes of it is looked at below.
        let _ = options.set_recv_buffer_size(wanted);
    }
    // The kernel doubles what it is asked for, to have room for its own bookkeeping.
    let given = options.recv_buffer_size().unwrap_or(0) / 2;
    if given < wanted {
        tracing::warn!(
            %addr,
            wanted_bytes = wanted,
            given_bytes = given,
            "the kernel gives UDP sockets a smaller receive buffer than asked for, bursts may be \
             lost; set `sysctl -w net.core.rmem_max={wanted}` (and in /etc/sysctl.d), or grant \
             CAP_NET_ADMIN"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn several_sockets_share_one_port_and_nobody_else_does() {
        let sockets = bind_udp(LOCAL, 3, 65_536, "SYSLOG_UDP_ADDR").unwrap();
        let addr = sockets[0].local_addr().unwrap();
        assert!(
            sockets
                .iter()
                .all(|socket| socket.local_addr().unwrap() == addr)
        );
        for count in [1, 2] {
            let error = bind_udp(addr, count, 65_536, "SYSLOG_UDP_ADDR").unwrap_err();
            assert!(matches!(error, ListenError::InUse { .. }));
            let text = error.to_string();
            assert!(
                text.contains(&addr.to_string()) && text.contains("SYSLOG_UDP_ADDR"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_taken_tcp_port_and_a_foreign_address_are_named_with_what_to_do() {
        let listener = bind_tcp(LOCAL, "SYSLOG_TCP_ADDR").unwrap();
        let addr = listener.local_addr().unwrap();
        let text = bind_tcp(addr, "SYSLOG_TCP_ADDR").unwrap_err().to_string();
        assert!(text.contains(&format!("TCP {addr} is in use")), "{text}");
        assert!(
            text.contains("SYSLOG_TCP_ADDR") && text.contains("ss -lnp"),
            "{text}"
        );
        // TEST-NET-1 belongs to no machine.
        let text = bind_tcp("192.0.2.1:0".parse().unwrap(), "X")
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("does not have the address 192.0.2.1"),
            "{text}"
        );
    }

    #[test]
    fn the_receive_buffer_is_raised_as_far_as_the_system_allows() {
        let wanted = 100_000;
        let sockets = bind_udp(LOCAL, 1, wanted, "SYSLOG_UDP_ADDR").unwrap();
        assert!(SockRef::from(&sockets[0]).recv_buffer_size().unwrap() >= 2 * wanted);
    }
}
