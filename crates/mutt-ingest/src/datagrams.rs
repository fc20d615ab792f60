//! Many datagrams per system call, and what only the kernel knows about a UDP socket.
//!
//! The one module with unsafe code: three system calls that neither tokio nor socket2 offers
//! (`recvmmsg`, `SO_RCVBUFFORCE`, `SO_MEMINFO`). It knows bytes and addresses, not syslog.
#![allow(unsafe_code)] // three system calls, each explained where it is made

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// Datagrams taken by one system call. Beyond about 64 the cost of the call itself no longer shows.
const SLOTS: usize = 64;

/// Room for the sender's address: `sockaddr_in6`, the longer of the two that UDP over IP has.
const NAME_LEN: usize = mem::size_of::<libc::sockaddr_in6>();

/// A reusable set of buffers that `recvmmsg` fills, read one datagram at a time.
pub(crate) struct Datagrams {
    /// `SLOTS` buffers of `slot_len` bytes. Pages that no datagram ever reached stay unmapped, so
    /// room for the largest datagram costs memory only where such datagrams come.
    bytes: Vec<u8>,
    slot_len: usize,
    names: [[u8; NAME_LEN]; SLOTS],
    lengths: [usize; SLOTS],
    received: usize,
    next: usize,
}

impl Datagrams {
    /// Buffers for datagrams of up to `slot_len` bytes; what a longer one has beyond is lost.
    pub(crate) fn new(slot_len: usize) -> Self {
        Self {
            bytes: vec![0; SLOTS * slot_len],
            slot_len,
            names: [[0; NAME_LEN]; SLOTS],
            lengths: [0; SLOTS],
            received: 0,
            next: 0,
        }
    }

    /// The next datagram of the last call, with its sender as the socket names it: what an answer is
    /// sent to. On a socket of both families IPv4 wears IPv6 clothing.
    pub(crate) fn next(&mut self) -> Option<(SocketAddr, &[u8])> {
        if self.next == self.received {
            return None;
        }
        let slot = self.next;
        self.next += 1;
        let start = slot * self.slot_len;
        Some((
            address(&self.names[slot]),
            &self.bytes[start..start + self.lengths[slot]],
        ))
    }

    /// Takes what waits in the socket, up to as many as there are buffers, without waiting. Returns
    /// how many it took; datagrams of the last call that were not read are gone.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits, or what the kernel reports.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.received = 0;
        self.next = 0;
        let mut parts: [libc::iovec; SLOTS] = [libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        }; SLOTS];
        // SAFETY: `mmsghdr` is a C struct of integers and pointers; all zero is a valid value (no
        // address, no parts, no control data).
        let mut headers: [libc::mmsghdr; SLOTS] = unsafe { mem::zeroed() };
        let slots = self.bytes.chunks_exact_mut(self.slot_len);
        for (((header, part), name), slot) in headers
            .iter_mut()
            .zip(&mut parts)
            .zip(&mut self.names)
            .zip(slots)
        {
            part.iov_base = slot.as_mut_ptr().cast();
            part.iov_len = slot.len();
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = libc::socklen_t::try_from(name.len()).unwrap_or(0);
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: `socket` is open for the length of the call. Each of the `SLOTS` headers points to
        // one entry of `parts` and one of `names`, and each part to its own slice of `bytes`, with
        // their true lengths; all of them outlive the call and nothing else touches them during it.
        // The kernel keeps no pointer after it returns. No time-out is passed.
        let taken = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                libc::c_uint::try_from(SLOTS).unwrap_or(1),
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let Ok(taken) = usize::try_from(taken) else {
            return Err(io::Error::last_os_error());
        };
        for (length, header) in self.lengths.iter_mut().zip(&headers[..taken]) {
            *length = (header.msg_len as usize).min(self.slot_len);
        }
        self.received = taken;
        Ok(taken)
    }
}

/// What is in a `sockaddr_in` or `sockaddr_in6`.
fn address(name: &[u8; NAME_LEN]) -> SocketAddr {
    let [family @ .., high, low] = name.first_chunk::<4>().copied().unwrap_or_default();
    let port = u16::from_be_bytes([high, low]);
    if i32::from(u16::from_ne_bytes(family)) == libc::AF_INET6 {
        let octets: [u8; 16] = name[8..24].try_into().unwrap_or_default();
        let flow: [u8; 4] = name[4..8].try_into().unwrap_or_default();
        let scope: [u8; 4] = name[24..28].try_into().unwrap_or_default();
        let (flow, scope) = (u32::from_be_bytes(flow), u32::from_ne_bytes(scope));
        SocketAddrV6::new(Ipv6Addr::from(octets), port, flow, scope).into()
    } else {
        let octets: [u8; 4] = name[4..8].try_into().unwrap_or_default();
        SocketAddrV4::new(Ipv4Addr::from(octets), port).into()
    }
}

/// Sets the receive buffer beyond `net.core.rmem_max`, which takes the capability `CAP_NET_ADMIN`.
///
/// # Errors
/// `PermissionDenied` without the capability.
pub(crate) fn force_receive_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the option takes a C int; the pointer and the length describe `value`, which outlives
    // the call. The kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            ptr::from_ref(&value).cast(),
            libc::socklen_t::try_from(mem::size_of_val(&value)).unwrap_or(0),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How many datagrams the kernel has dropped at this socket since it was made; wraps at 2³².
///
/// This is the counter that `SO_RXQ_OVFL` attaches to datagrams. Asking for it costs less than
/// parsing control data and also shows what was dropped after the last datagram that got through.
///
/// # Errors
/// On kernels before 4.12, which do not tell.
pub(crate) fn kernel_drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut values = [0_u32; DROPS + 1];
    let mut length = libc::socklen_t::try_from(mem::size_of_val(&values)).unwrap_or(0);
    // SAFETY: pointer and length describe `values`; the kernel writes at most `length` bytes and
    // sets `length` to what it wrote. Any bit pattern is a valid `u32`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(values[DROPS])
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    /// All datagrams up to `count`, however many calls the kernel takes to hand them over.
    fn collect(receiver: &UdpSocket, slot_len: usize, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut datagrams = Datagrams::new(slot_len);
        let mut all = Vec::new();
        while all.len() < count {
            // Blocks until something is there, so that no time-out is needed.
            receiver.peek_from(&mut [0]).unwrap();
            assert!(datagrams.receive(receiver.as_fd()).unwrap() <= SLOTS);
            while let Some((peer, text)) = datagrams.next() {
                all.push((peer, text.to_vec()));
            }
        }
        all
    }

    #[test]
    fn datagrams_come_in_order_with_their_sender_and_long_ones_are_cut() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut datagrams = Datagrams::new(8);
        let error = datagrams.receive(receiver.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(datagrams.next().is_none());

        let to = receiver.local_addr().unwrap();
        for text in ["one", "", "longer than eight"] {
            sender.send_to(text.as_bytes(), to).unwrap();
        }
        let peer = sender.local_addr().unwrap();
        let expected = ["one", "", "longer t"].map(|text| (peer, text.as_bytes().to_vec()));
        assert_eq!(collect(&receiver, 8, 3), expected);
    }

    #[test]
    fn more_datagrams_than_buffers_take_several_calls() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let texts: Vec<_> = (0..SLOTS + 3).map(|n| n.to_string().into_bytes()).collect();
        for text in &texts {
            sender
                .send_to(text, receiver.local_addr().unwrap())
                .unwrap();
        }
        let received: Vec<_> = collect(&receiver, 100, texts.len())
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(received, texts);
    }

    #[test]
    fn an_address_of_either_family_is_read() {
        let mut name = [0; NAME_LEN];
        name[..2].copy_from_slice(&u16::try_from(libc::AF_INET6).unwrap().to_ne_bytes());
        name[2..4].copy_from_slice(&1162_u16.to_be_bytes());
        name[24..28].copy_from_slice(&3_u32.to_ne_bytes());
        name[8..24].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(address(&name).to_string(), "[2001:db8::7%3]:1162");
    }

    #[test]
    fn what_the_kernel_drops_is_told() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&receiver)
            .set_recv_buffer_size(4096)
            .unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(kernel_drops(receiver.as_fd()).unwrap(), 0);
        let sent = 200;
        for _ in 0..sent {
            sender
                .send_to(&[b'x'; 300], receiver.local_addr().unwrap())
                .unwrap();
        }
        while kernel_drops(receiver.as_fd()).unwrap() == 0 {
            std::thread::yield_now();
        }
        // The kernel has settled each datagram's fate once both counts add up to what was sent.
        let mut datagrams = Datagrams::new(300);
        let mut received = 0;
        while kernel_drops(receiver.as_fd()).unwrap() + received < sent {
            received += u32::try_from(datagrams.receive(receiver.as_fd()).unwrap_or(0)).unwrap();
        }
        assert_eq!(kernel_drops(receiver.as_fd()).unwrap() + received, sent);
    }
}
