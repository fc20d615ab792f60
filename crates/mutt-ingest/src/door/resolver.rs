//! The system's resolver, asked for the name of an address.
#![allow(unsafe_code)] // one call of the C library, which no crate in use offers

use std::ffi::CStr;
use std::mem;
use std::net::{IpAddr, SocketAddr};

use socket2::SockAddr;

/// The longest name that DNS has, with its end; what `NI_MAXHOST` leaves room for beyond is no name.
const NAME_LEN: usize = 1_025;

/// The name of an address, by whatever the system looks it up with (`nsswitch.conf`). May take as
/// long as that does, usually seconds where a name server does not answer.
pub(crate) fn name_of(address: IpAddr) -> Option<String> {
    let socket = SockAddr::from(SocketAddr::new(address, 0));
    let mut name: [libc::c_char; NAME_LEN] = [0; NAME_LEN];
    // SAFETY: the address and its length come from `SockAddr`, which outlives the call. `name` is
    // written within the length given, and ends with NUL where the call succeeds. No service is asked
    // for: its pointer is null and its length 0.
    let result = unsafe {
        libc::getnameinfo(
            socket.as_ptr().cast(),
            socket.len(),
            name.as_mut_ptr(),
            libc::socklen_t::try_from(mem::size_of_val(&name)).unwrap_or(0),
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if result != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so that `name` holds a text that ends with NUL.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Some(name.to_str().ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_own_machine_has_a_name_or_none() {
        // Whether there is one is the machine's affair; it is no address in any case.
        if let Some(name) = name_of(Ipv4Addr::LOCALHOST.into()) {
            assert!(
                !name.is_empty() && name.parse::<IpAddr>().is_err(),
                "{name}"
            );
        }
    }
}
