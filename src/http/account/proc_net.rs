//! The owner of a TCP socket by `/proc/self/net/tcp` and `tcp6`, which list all of them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Socket, canonical};

/// The part of a list that is read, about 100,000 sockets: the owner of a later one is unknown.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// The socket at `own` that is connected to `remote`; both addresses are canonical.
///
/// # Errors
/// If the lists cannot be read.
pub(super) fn find(own: SocketAddr, remote: SocketAddr) -> io::Result<Option<Socket>> {
    // An IPv4 connection may belong to an IPv6 socket.
    let lists = match own.is_ipv4() {
        true => &["/proc/self/net/tcp", "/proc/self/net/tcp6"][..],
        false => &["/proc/self/net/tcp6"][..],
    };
    let mut unreadable = None;
    for list in lists {
        match File::open(list) {
            Ok(file) => {
                if let Some(socket) = find_in(BufReader::new(file.take(LIST_BYTES_MAX)), own, remote)? {
                    return Ok(Some(socket));
                }
            }
            Err(error) => unreadable = Some(error),
        }
    }
    unreadable.map_or(Ok(None), Err)
}

fn find_in(list: impl BufRead, own: SocketAddr, remote: SocketAddr) -> io::Result<Option<Socket>> {
    for line in list.lines().skip(1) {
        if let Some((addresses, socket)) = parse(&line?)
            && addresses == (own, remote)
        {
            return Ok(Some(socket));
        }
    }
    Ok(None)
}

/// A line: number, own address, remote address, state, queues, timer, retransmissions, account, timeout, inode, and more.
fn parse(line: &str) -> Option<((SocketAddr, SocketAddr), Socket)> {
    let mut fields = line.split_ascii_whitespace();
    let own = address(fields.nth(1)?)?;
    let remote = address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(((own, remote), Socket { state, uid, inode }))
}

/// `0100007F:1F90`: each four bytes of the address as a number of the machine, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    if !ip.is_ascii() {
        return None;
    }
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut octets = [0; 16];
            for (index, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(index * 8)?);
            }
            Ipv6Addr::from(octets).into()
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn a_list_of_the_kernel_is_read() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41 1 0 100 0 0 10 0
   1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000    33        0 42 1 0 20 4 30 10 -1
   2: 0100007F:9C41 0100007F:1F90 06 00000000:00000000 03:00000123 00000000     0        0 0 3 0
   3: 0000000000000000FFFF00000100007F:9C42 0000000000000000FFFF00000100007F:1F90 01 0:0 00:0 0  1000        0 43 1
   4: 00000000000000000000000001000000:9C43 00000000000000000000000001000000:1F90 01 0:0 00:0 0  1000        0 44 1
";
        let find =
            |own: &str, remote: &str| find_in(list.as_bytes(), own.parse().unwrap(), remote.parse().unwrap()).unwrap();
        let socket = |state, uid, inode| Some(Socket { state, uid, inode });
        assert_eq!(find("127.0.0.1:40000", "127.0.0.1:8080"), socket(1, 33, 42));
        assert_eq!(find("127.0.0.1:40001", "127.0.0.1:8080"), socket(6, 0, 0));
        assert_eq!(find("127.0.0.1:40002", "127.0.0.1:8080"), socket(1, 1000, 43));
        assert_eq!(find("[::1]:40003", "[::1]:8080"), socket(1, 1000, 44));
        assert_eq!(find("127.0.0.1:40009", "127.0.0.1:8080"), None);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "([0-9A-Fü: ]{0,40} ){0,12}") {
            parse(&line);
        }
    }
}
