//! The owner of a TCP socket by `sock_diag`: one question to the kernel for one connection.
//!
//! The messages are those of `linux/netlink.h`, `sock_diag.h` and `inet_diag.h`. Numbers are in the machine's byte order, ports and addresses in
//! the network's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with};

use super::{Socket, canonical};

/// The kernel answers at once; nothing should ever wait this long.
const ANSWER_MAX: Duration = Duration::from_secs(1);

const HEADER_BYTES: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// `struct inet_diag_msg`.
const MESSAGE_BYTES: usize = 72;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const ENOENT: i32 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

/// The socket at `own` that is connected to `remote`; both addresses are canonical.
///
/// # Errors
/// If the kernel cannot be asked.
pub(super) fn find(own: SocketAddr, remote: SocketAddr) -> io::Result<Option<Socket>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_MAX))?;
    // A socket that is connected to the kernel receives no other messages.
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    send(&socket, &request(own, remote), SendFlags::empty())?;
    let mut buffer = [0; 512];
    let (received, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
    answer(&buffer[..received.min(buffer.len())], own, remote)
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&ip.octets());
            octets
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn request(own: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    bytes.extend_from_slice(&((HEADER_BYTES + REQUEST_BYTES) as u32).to_ne_bytes());
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port: this socket has one question only.
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[if own.is_ipv4() { AF_INET } else { AF_INET6 }, IPPROTO_TCP, 0, 0]);
    // All states, so that the answer tells the state.
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
    bytes.extend_from_slice(&own.port().to_be_bytes());
    bytes.extend_from_slice(&remote.port().to_be_bytes());
    bytes.extend_from_slice(&octets(own.ip()));
    bytes.extend_from_slice(&octets(remote.ip()));
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    // No cookie.
    bytes.extend_from_slice(&[0xff; 8]);
    bytes
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn answer(bytes: &[u8], own: SocketAddr, remote: SocketAddr) -> io::Result<Option<Socket>> {
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is too short");
    let kind = u16::from_ne_bytes(field(bytes, 4).ok_or_else(cut)?);
    let body = bytes.get(HEADER_BYTES..).ok_or_else(cut)?;
    match kind {
        NLMSG_ERROR => match -i32::from_ne_bytes(field(body, 0).ok_or_else(cut)?) {
            ENOENT => Ok(None),
            error => Err(io::Error::from_raw_os_error(error)),
        },
        SOCK_DIAG_BY_FAMILY if body.len() >= MESSAGE_BYTES => {
            // If there is no such connection, the kernel answers with the listener of that port.
            let addresses = addresses(body).ok_or_else(cut)?;
            if addresses != (own, remote) {
                return Ok(None);
            }
            Ok(Some(Socket {
                state: body[1],
                uid: u32::from_ne_bytes(field(body, 64).ok_or_else(cut)?),
                inode: u32::from_ne_bytes(field(body, 68).ok_or_else(cut)?).into(),
            }))
        }
        _ => Err(cut()),
    }
}

/// The own and the remote address of the socket in an answer.
fn addresses(message: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let ip = |at: usize| -> Option<IpAddr> {
        match message[0] {
            AF_INET => Some(Ipv4Addr::from(field::<4>(message, at)?).into()),
            AF_INET6 => Some(Ipv6Addr::from(field::<16>(message, at)?).into()),
            _ => None,
        }
    };
    let port = |at: usize| Some(u16::from_be_bytes(field(message, at)?));
    let own = SocketAddr::new(ip(8)?, port(4)?);
    Some((canonical(own), canonical(SocketAddr::new(ip(24)?, port(6)?))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let address = SocketAddr::from(([127, 0, 0, 1], 80));
            let _ = answer(&bytes, address, address);
        }
    }
}
