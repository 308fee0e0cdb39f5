//! Thin wrappers of system calls that crate `nix` has no safe form of.
#![expect(unsafe_code, reason = "the system calls take pointers")]
use libc::{AF_PACKET, SOL_PACKET, c_int, sockaddr_ll, socklen_t};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Switches a packet socket's option on (`packet(7)`).
pub(crate) fn enable_packet_option(socket: BorrowedFd<'_>, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: `on` lives across the call, and the length is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            SOL_PACKET,
            option,
            (&raw const on).cast(),
            length(&on),
        )
    };
    check(result)
}

/// Binds a packet socket to one interface; from then on it receives this EtherType (`ETH_P_ALL`: every one).
pub(crate) fn bind_packet_socket(
    socket: BorrowedFd<'_>,
    interface: u32,
    ethertype: u16,
) -> io::Result<()> {
    let address = sockaddr_ll {
        sll_family: constant(AF_PACKET),
        sll_protocol: ethertype.to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: `address` lives across the call, and the length is its own.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            length(&address),
        )
    };
    check(result)
}

fn length<T>(value: &T) -> socklen_t {
    size_of_val(value)
        .try_into()
        .expect("an address or option is small")
}

fn constant(value: c_int) -> u16 {
    value
        .try_into()
        .expect("the kernel's fields for it have 16 bits")
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
