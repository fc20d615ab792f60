//! Offers syslog over loopback to the real listeners and the real embedded engine, and prints what
//! was sent, what became durable and what was lost.
//!
//! `cargo run --release -p mutt-ingest --example syslog_load -- udp [RATE] [SECONDS] [SOCKETS]`
//! `cargo run --release -p mutt-ingest --example syslog_load -- tcp [CONNECTIONS] [SECONDS]`
//! `cargo run --release -p mutt-ingest --example syslog_load -- relp [CONNECTIONS] [SECONDS] [WINDOW]`
//!
//! RATE is datagrams per second; 0 sends as fast as the kernel takes them. Of RELP only what was
//! acknowledged counts as sent.
#![allow(unsafe_code)] // sendmmsg, so that the sender costs the shared cores as little as it can

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, mem, ptr};

use mutt_engine::EventQueue;
use mutt_engine::embedded::{Embedded, Mode};
use mutt_ingest::metrics::IngestMetrics;
use mutt_ingest::relp::{Relp, RelpOptions};
use mutt_ingest::syslog_stream::{SyslogTcp, SyslogTcpOptions};
use mutt_ingest::syslog_udp::{SyslogUdp, SyslogUdpOptions};
use mutt_ingest::{Admission, Listener};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

/// Datagrams per system call of the sender.
const BURST: usize = 64;

/// About 300 bytes, as devices send them.
fn message(number: usize) -> String {
    format!(
        "<{}>1 2026-10-11T22:14:{:02}.{:06}Z core-sw-{:03}.example.net LINK 4711 ID47 - \
         %LINEPROTO-5-UPDOWN: Line protocol on Interface GigabitEthernet1/0/{} changed state to \
         down; neighbour 192.0.2.{} lost, spanning tree recalculated in 153 ms, {} MAC addresses \
         flushed, sequence {number:08}",
        128 + number % 64,
        number % 60,
        number % 1_000_000,
        number % 400,
        number % 48,
        number % 250,
        number % 5_000,
    )
}

fn send_datagrams(addr: SocketAddr, rate: f64, time: Duration) -> u64 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.connect(addr).expect("loopback");
    let mut texts: Vec<String> = (0..BURST).map(message).collect();
    let mut parts: Vec<libc::iovec> = texts
        .iter_mut()
        // SAFETY: the bytes are only read by the kernel; the strings live as long as the parts.
        .map(|text| unsafe {
            libc::iovec {
                iov_base: text.as_bytes_mut().as_mut_ptr().cast(),
                iov_len: text.len(),
            }
        })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: all zero is a valid header without address, parts and control data.
            let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
            header.msg_hdr.msg_iov = ptr::from_mut(part);
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    let (start, mut sent) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        let due = start.elapsed().as_secs_f64() * rate;
        if rate > 0.0 && sent as f64 > due {
            thread::sleep(Duration::from_micros(200));
            continue;
        }
        // SAFETY: the headers, parts and texts they point to are alive and of the stated lengths.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                libc::c_uint::try_from(BURST).unwrap_or(1),
                0,
            )
        };
        sent += u64::try_from(count).expect("loopback takes datagrams");
    }
    sent
}

fn send_lines(addr: SocketAddr, time: Duration) -> u64 {
    let block: String = (0..256).map(|number| message(number) + "\n").collect();
    let mut stream = TcpStream::connect(addr).expect("the listener runs");
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < time {
        stream
            .write_all(block.as_bytes())
            .expect("the listener reads");
        sent += 256;
    }
    sent
}

/// Keeps as many frames as `window` says under way; returns how many were acknowledged.
fn send_frames(addr: SocketAddr, time: Duration, window: usize) -> u64 {
    let mut stream = TcpStream::connect(addr).expect("the listener runs");
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = vec![0; 64 << 10];
    stream
        .write_all(b"1 open 30 relp_version=0\ncommands=syslog\n")
        .expect("the listener reads");
    assert!(stream.read(&mut buffer).expect("an answer") > 0);
    let texts: Vec<String> = (0..256).map(message).collect();
    let (start, mut sent, mut acknowledged) = (Instant::now(), 0, 0);
    let mut frames = Vec::new();
    loop {
        let going_on = start.elapsed() < time;
        if going_on && sent - acknowledged < window {
            frames.clear();
            for _ in 0..(window - (sent - acknowledged)).min(BURST) {
                let text = &texts[sent % texts.len()];
                writeln!(frames, "{} syslog {} {text}", sent + 2, text.len()).expect("memory");
                sent += 1;
            }
            stream.write_all(&frames).expect("the listener reads");
        }
        if sent == acknowledged && !going_on {
            return acknowledged as u64;
        }
        if !going_on || sent - acknowledged == window {
            let read = stream.read(&mut buffer).expect("answers");
            assert!(read > 0, "the session ended");
            // Each acknowledgement is one line.
            acknowledged += memchr::memchr_iter(b'\n', &buffer[..read]).count();
        }
    }
}

/// Seconds of processor time that this process used, and those of the calling thread.
fn cpu_seconds(of: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{of}/stat")).expect("Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .map(|text| text.parse().unwrap_or(0.0))
        .sum();
    ticks / 100.0
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        arguments
            .get(index)
            .map_or(default, |text| text.parse().expect("a number"))
    };
    let wanted = arguments.first().map_or("udp", String::as_str);
    let (udp, relp) = (wanted == "udp", wanted == "relp");
    let time = Duration::from_secs(number(2, 5) as u64);

    let data = tempfile::tempdir().expect("a temporary directory");
    let engine = Embedded::open(data.path(), Mode::Server).expect("a new engine");
    engine.set_queue_limit(1_000_000_000);
    let metrics = IngestMetrics::register(&mut Registry::default());
    let admission = Admission::new(engine.clone(), metrics.clone());
    let stop = CancellationToken::new();
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));

    let (listener, kind, addr) = if udp {
        let mut options = SyslogUdpOptions::new(local);
        options.sockets = number(3, options.sockets);
        let listener = SyslogUdp::bind(options, admission).expect("a free port");
        let addr = listener.local_addr();
        (
            tokio::spawn(listener.run(stop.clone())),
            Listener::SyslogUdp,
            addr,
        )
    } else if relp {
        let listener = Relp::bind(RelpOptions::new(local), admission).expect("a free port");
        let addr = listener.local_addr();
        (
            tokio::spawn(listener.run(stop.clone())),
            Listener::Relp,
            addr,
        )
    } else {
        let listener =
            SyslogTcp::bind(SyslogTcpOptions::new(local), admission).expect("a free port");
        let addr = listener.local_addr();
        (
            tokio::spawn(listener.run(stop.clone())),
            Listener::SyslogTcp,
            addr,
        )
    };

    let senders = if udp { 1 } else { number(1, 4) };
    let rate = if udp { number(1, 120_000) as f64 } else { 0.0 };
    let window = number(3, 128).max(1);
    let start = Instant::now();
    let threads: Vec<_> = (0..senders)
        .map(|_| {
            thread::spawn(move || {
                let sent = if udp {
                    send_datagrams(addr, rate, time)
                } else if relp {
                    send_frames(addr, time, window)
                } else {
                    send_lines(addr, time)
                };
                (sent, cpu_seconds("thread-self"))
            })
        })
        .collect();
    let (mut sent, mut sender_cpu) = (0, 0.0);
    for thread in threads {
        let (count, cpu) = tokio::task::spawn_blocking(|| thread.join().expect("a sender"))
            .await
            .expect("a sender");
        sent += count;
        sender_cpu += cpu;
    }
    let sending = start.elapsed().as_secs_f64();
    let counts = metrics.listener(kind);
    // The end is reached when everything is durable or known to be lost.
    let patience = Instant::now();
    while counts.accepted.get() + counts.kernel_drops.get() < sent
        && patience.elapsed() < Duration::from_secs(10)
    {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let total = start.elapsed().as_secs_f64();
    let (accepted, dropped) = (counts.accepted.get(), counts.kernel_drops.get());
    let own_cpu = cpu_seconds("self") - sender_cpu;
    println!(
        "{}: sent {sent} in {sending:.2} s = {:.0}/s; durable {accepted} in {total:.2} s = {:.0}/s; \
         dropped by the kernel {dropped}; missing {}",
        kind.name(),
        sent as f64 / sending,
        accepted as f64 / total,
        sent.saturating_sub(accepted + dropped),
    );
    println!(
        "CPU: sender {sender_cpu:.2} s, listener and engine {own_cpu:.2} s = {:.2} µs per event",
        own_cpu * 1e6 / accepted.max(1) as f64
    );
    stop.cancel();
    listener.await.expect("the listener stops");
}
