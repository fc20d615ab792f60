//! The senders: as cheap as they can be, since they share the machine with what is measured.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::receivers::Receiver;
use crate::{Case, traps};

/// Messages that are written at once.
const BLOCK: usize = 64;

/// Frames that a RELP sender has under way at most; librelp's default.
const RELP_WINDOW: u64 = 128;

/// Highest transaction number of RELP.
const RELP_LAST: u64 = 999_999_999;

/// A load.
#[derive(Clone, Debug)]
pub struct Offer {
    pub case: Case,
    pub duration: Duration,
    pub connections: usize,
    /// Datagrams per second.
    pub rate: u32,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub messages: u64,
}

/// About 250 bytes, as devices send them.
pub fn message(number: usize) -> String {
    format!(
        "<{}>Nov 21 22:14:{:02} core-sw-{:03}.example.net LINK[4711]: %LINEPROTO-5-UPDOWN: Line \
         protocol on Interface GigabitEthernet1/0/{} changed state to down; neighbour 192.0.2.{} \
         lost, spanning tree recalculated in 153 ms, {} MAC addresses flushed",
        128 + number % 64,
        number % 60,
        number % 400,
        number % 48,
        number % 250,
        number % 5_000,
    )
}

/// The datagrams of a load, made before the clock runs; none for streams.
pub fn prepare(offer: &Offer) -> Result<Vec<Vec<u8>>> {
    match offer.case {
        Case::Tcp | Case::Tls | Case::Relp => Ok(Vec::new()),
        Case::Udp => Ok((0..BLOCK).map(|number| message(number).into()).collect()),
        Case::TrapV2c => traps::v2c(BLOCK),
        Case::TrapV3 => {
            // A receiver takes none of them twice.
            let seconds = usize::try_from(offer.duration.as_secs() + 1)?;
            traps::v3(usize::try_from(offer.rate)? * seconds)
        }
    }
}

/// Offers the load and says how much of it left.
pub fn send(offer: &Offer, load: &[Vec<u8>], to: &Receiver) -> Result<Sent> {
    let counts = thread::scope(|scope| {
        let connections = match offer.case {
            Case::Udp | Case::TrapV2c | Case::TrapV3 => 1,
            Case::Tcp | Case::Tls | Case::Relp => offer.connections,
        };
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| match offer.case {
                    Case::Tcp => lines(TcpStream::connect(to.addr)?, offer.duration),
                    Case::Tls => {
                        let ca = to.ca.as_deref().context("no authority")?;
                        counted(tls(TcpStream::connect(to.addr)?, ca)?, offer.duration)
                    }
                    Case::Relp => relp(TcpStream::connect(to.addr)?, offer.duration),
                    Case::Udp | Case::TrapV2c | Case::TrapV3 => {
                        datagrams(load, to.addr, offer.rate, offer.duration)
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a sender does not panic"))
            .collect::<Result<Vec<u64>>>()
    })?;
    Ok(Sent {
        messages: counts.iter().sum(),
    })
}

/// Writes the same block again and again for as long as asked; how many messages that were.
fn repeat(stream: &mut impl Write, block: &[u8], duration: Duration) -> Result<u64> {
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < duration {
        stream.write_all(block)?;
        sent += BLOCK as u64;
    }
    stream.flush()?;
    Ok(sent)
}

fn lines(mut stream: TcpStream, duration: Duration) -> Result<u64> {
    let block: String = (0..BLOCK).map(|number| message(number) + "\n").collect();
    repeat(&mut stream, block.as_bytes(), duration)
}

fn counted(
    mut stream: StreamOwned<ClientConnection, TcpStream>,
    duration: Duration,
) -> Result<u64> {
    let mut block = String::new();
    for text in (0..BLOCK).map(message) {
        write!(block, "{} {text}", text.len())?;
    }
    let sent = repeat(&mut stream, block.as_bytes(), duration)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    // Session tickets that nobody read would make the kernel reset the connection, and the receiver
    // lose what it has not read yet.
    stream.sock.shutdown(Shutdown::Write)?;
    let mut unread = [0; 4096];
    while stream.sock.read(&mut unread)? > 0 {}
    Ok(sent)
}

fn tls(stream: TcpStream, ca: &Path) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost")?;
    let connection = ClientConnection::new(Arc::new(config), name)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Sends frames and counts those that are acknowledged; every one of them is, or this fails.
fn relp(mut stream: TcpStream, duration: Duration) -> Result<u64> {
    let offers = "relp_version=0\nrelp_software=mutt-bench\ncommands=syslog";
    writeln!(stream, "1 open {} {offers}", offers.len())?;
    let mut answers = Answers::default();
    answers.expect(&mut stream, 1)?;
    let messages: Vec<String> = (0..BLOCK).map(message).collect();
    let (began, mut sent, mut block) = (Instant::now(), 1_u64, Vec::new());
    while began.elapsed() < duration && sent + (BLOCK as u64) < RELP_LAST {
        block.clear();
        for text in &messages {
            sent += 1;
            writeln!(block, "{sent} syslog {} {text}", text.len())?;
        }
        answers.expect(&mut stream, (sent).saturating_sub(RELP_WINDOW))?;
        stream.write_all(&block)?;
    }
    answers.expect(&mut stream, sent)?;
    Ok(sent - 1)
}

/// Counts `rsp` frames: each ends its head with `rsp` and begins its data with `200`.
#[derive(Default)]
struct Answers {
    buffer: Vec<u8>,
    count: u64,
}

impl Answers {
    /// Reads until so many answers came.
    fn expect(&mut self, stream: &mut TcpStream, count: u64) -> Result<()> {
        let mut part = [0; 16 << 10];
        while self.count < count {
            let length = stream.read(&mut part)?;
            if length == 0 {
                bail!("the connection was closed after {} answers", self.count);
            }
            self.buffer.extend_from_slice(&part[..length]);
            self.take()?;
        }
        Ok(())
    }

    /// Takes the whole frames out of the buffer.
    fn take(&mut self) -> Result<()> {
        let mut done = 0;
        while let Some(end) = frame(&self.buffer[done..])? {
            done += end;
            self.count += 1;
        }
        self.buffer.drain(..done);
        Ok(())
    }
}

/// Where the frame at the start of the buffer ends; `None` where it is not whole.
fn frame(buffer: &[u8]) -> Result<Option<usize>> {
    let mut parts = buffer.splitn(4, |&byte| byte == b' ');
    let (Some(number), Some(command), Some(length)) = (parts.next(), parts.next(), parts.next())
    else {
        return Ok(None);
    };
    if parts.next().is_none() {
        // An answer without data ends behind its length; ours have data.
        return Ok(None);
    }
    let head = number.len() + command.len() + length.len() + 3;
    let length: usize = std::str::from_utf8(length)?.parse()?;
    if buffer.len() < head + length + 1 {
        return Ok(None);
    }
    if command != b"rsp" || !buffer[head..].starts_with(b"200") {
        bail!("not acknowledged: {:?}", String::from_utf8_lossy(buffer));
    }
    Ok(Some(head + length + 1))
}

/// Sends datagrams at a steady rate, a few at a time.
fn datagrams(load: &[Vec<u8>], addr: SocketAddr, rate: u32, duration: Duration) -> Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(addr)?;
    let (began, mut sent) = (Instant::now(), 0_u64);
    while began.elapsed() < duration {
        let due = u64::try_from(began.elapsed().as_micros())? * u64::from(rate) / 1_000_000;
        while sent < due {
            socket.send(&load[usize::try_from(sent)? % load.len()])?;
            sent += 1;
        }
        thread::sleep(Duration::from_micros(300));
    }
    Ok(sent)
}
