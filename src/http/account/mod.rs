//! The account at the other end of a local connection: the owner of the peer's socket.
//!
//! The kernel is asked for the socket whose own address is the peer's and whose remote address is the server's: by `sock_diag`, or by reading
//! `/proc/self/net/tcp` and `tcp6` without it. Both know IPv4, IPv6 and IPv4-mapped addresses.

use std::cell::OnceCell;
use std::net::SocketAddr;

use crate::app::PeerAccount;

mod proc_net;
mod sock_diag;

/// The kernel's number for a connected TCP socket.
const ESTABLISHED: u8 = 1;

/// A socket as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    state: u8,
    uid: u32,
    /// 0 = no process has it open any more.
    inode: u64,
}

/// The account that the server runs under.
#[derive(Debug, Clone, Copy)]
struct Account {
    uid: u32,
    /// Whether accounts that this user namespace does not have are shown with the same number.
    ambiguous: bool,
}

/// The remembered owner of one connection: it is looked up once.
#[derive(Debug)]
pub(super) struct Connection {
    /// This server's address of the connection; `None` if the connection ended before that was read.
    local: Option<SocketAddr>,
    owner: OnceCell<PeerAccount>,
}

impl Connection {
    /// A connection whose address on this side is `local`.
    pub(super) fn new(local: Option<SocketAddr>) -> Self {
        Self { local, owner: OnceCell::new() }
    }

    /// The owner of the socket at `peer`, the other end.
    pub(super) fn owner(&self, peer: SocketAddr) -> PeerAccount {
        *self.owner.get_or_init(|| self.local.map_or(PeerAccount::Unknown, |local| owner(peer, local)))
    }
}

/// Looks up the owner of the socket at `peer` that is connected to `local`.
fn owner(peer: SocketAddr, local: SocketAddr) -> PeerAccount {
    let (peer, local) = (canonical(peer), canonical(local));
    if !peer.ip().is_loopback() {
        return PeerAccount::Unknown;
    }
    let found = match sock_diag::find(peer, local) {
        Ok(Some(socket)) => Ok(Some(socket)),
        // Not found, or the kernel has no such module.
        Ok(None) | Err(_) => proc_net::find(peer, local),
    };
    match found {
        Ok(socket) => judge(socket, Account::own()),
        Err(error) => {
            tracing::debug!(%error, "the owner of a connection cannot be looked up");
            PeerAccount::Unknown
        }
    }
}

/// Sockets that no process has open, and those whose connection has ended, are listed as root's.
fn judge(socket: Option<Socket>, own: Account) -> PeerAccount {
    match socket {
        Some(Socket { state: ESTABLISHED, uid, inode }) if inode != 0 => match uid == own.uid {
            true if own.ambiguous => PeerAccount::Unknown,
            true => PeerAccount::Own,
            false if uid == 0 => PeerAccount::Root,
            false => PeerAccount::Other,
        },
        _ => PeerAccount::Unknown,
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Account {
    fn own() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        Self { uid, ambiguous: uid == overflow_uid() && !sees_all_accounts() }
    }
}

/// The number that stands for all accounts that a user namespace does not have.
fn overflow_uid() -> u32 {
    const DEFAULT: u32 = 65_534;
    let text = std::fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap_or_default();
    text.trim().parse().unwrap_or(DEFAULT)
}

/// Whether this user namespace has every account of the machine.
fn sees_all_accounts() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn own(uid: u32) -> Account {
        Account { uid, ambiguous: false }
    }

    #[test]
    fn only_an_open_established_socket_of_the_own_account_is_the_own_accounts() {
        let socket = |state, uid, inode| Some(Socket { state, uid, inode });
        for (found, account, expected) in [
            (socket(1, 1000, 7), own(1000), PeerAccount::Own),
            (socket(1, 33, 7), own(1000), PeerAccount::Other),
            (socket(1, 0, 7), own(1000), PeerAccount::Root),
            (socket(1, 0, 7), own(0), PeerAccount::Own),
            // No process has it open any more, so it is listed as root's.
            (socket(1, 0, 0), own(0), PeerAccount::Unknown),
            (socket(1, 0, 0), own(1000), PeerAccount::Unknown),
            (socket(1, 1000, 0), own(1000), PeerAccount::Unknown),
            // TIME_WAIT, FIN_WAIT_2, LISTEN.
            (socket(6, 0, 0), own(0), PeerAccount::Unknown),
            (socket(5, 1000, 7), own(1000), PeerAccount::Unknown),
            (socket(10, 1000, 7), own(1000), PeerAccount::Unknown),
            (None, own(0), PeerAccount::Unknown),
            // Every account that the user namespace does not have has this number.
            (socket(1, 65_534, 7), Account { uid: 65_534, ambiguous: true }, PeerAccount::Unknown),
        ] {
            assert_eq!(judge(found, account), expected, "{found:?} {account:?}");
        }
    }

    /// Connects to a listener at the first address by the second one. Returns the client's and the server's address of the connection.
    fn connected(listen: &str, connect: &str) -> (TcpListener, TcpStream, TcpStream, [SocketAddr; 2]) {
        let listener = TcpListener::bind((listen, 0)).unwrap();
        let client = TcpStream::connect((connect, listener.local_addr().unwrap().port())).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let local = server.local_addr().unwrap();
        (listener, client, server, [peer, local])
    }

    #[test]
    fn both_sources_know_the_owner_of_a_socket_whatever_way_its_address_is_written() {
        let uid = rustix::process::geteuid().as_raw();
        for (listen, connect) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("::1", "::1"),
            ("::", "127.0.0.1"),
            ("::", "::ffff:127.0.0.1"),
        ] {
            let (_listener, client, _server, [peer, local]) = connected(listen, connect);
            let (peer, local) = (canonical(peer), canonical(local));
            for found in [sock_diag::find(peer, local), proc_net::find(peer, local)] {
                let found = found.unwrap().unwrap_or_else(|| panic!("{connect} to {listen} is not found"));
                assert_eq!((found.state, found.uid), (ESTABLISHED, uid), "{connect} to {listen}");
                assert_ne!(found.inode, 0);
            }
            let remembered = Connection::new(Some(local));
            assert_eq!(remembered.owner(peer), PeerAccount::Own);
            // A closed socket has no owner. A connection that was looked up is not looked up again.
            drop(client);
            assert_eq!(owner(peer, local), PeerAccount::Unknown, "{connect} to {listen}");
            assert_eq!(remembered.owner(peer), PeerAccount::Own);
        }
    }

    #[test]
    fn a_listener_is_not_taken_for_the_connection_that_is_looked_for() {
        let (_listener, _client, _server, [_, local]) = connected("127.0.0.1", "127.0.0.1");
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        for found in [sock_diag::find(local, nobody), proc_net::find(local, nobody)] {
            assert!(!matches!(found, Ok(Some(_))), "{found:?}");
        }
    }
}
