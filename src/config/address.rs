//! Addresses as people write them: listen addresses, and the addresses at which other nodes reach a node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Parses a listen address. Besides `127.0.0.1:8080` and `[::1]:8080` it accepts `localhost:8080`, and `:8080` or `*:8080` for
/// all IPv4 addresses of this machine. A port alone is refused, because it does not say who may connect.
///
/// # Errors
/// The error, and what to write instead; `port` is the port of the examples.
pub fn parse_listen(text: &str, port: u16) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let no_port = |port: &str| format!("\"{port}\" is not a port; ports are numbers up to 65535");
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or_default();
        let example = if parse_listen(rest, port).is_ok() { rest.to_owned() } else { format!("127.0.0.1:{port}") };
        return Err(format!("\"{text}\" is a URL; write the address alone: {example}"));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match text.parse::<u16>() {
            Ok(_) => Err(format!(
                "\"{text}\" is a port without an address; write 127.0.0.1:{text} for this machine only, or :{text} for all its addresses"
            )),
            Err(_) => Err(no_port(text)),
        };
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<Ipv6Addr>() {
        // `::1:8080` is a valid IPv6 address, but nobody means it.
        let (ip, port) = match bare.rsplit_once(':') {
            Some((ip, meant)) if bare == text && meant.len() >= 4 && meant.parse::<u16>().is_ok() => {
                (ip.parse().unwrap_or(Ipv6Addr::LOCALHOST), meant.parse().unwrap_or(port))
            }
            _ => (ip, port),
        };
        return Err(format!("\"{text}\" has no port, or no brackets around the address; write it like [{ip}]:{port}"));
    }
    match text.rsplit_once(':') {
        Some((host, number)) => {
            let ip: IpAddr = match host {
                "" | "*" => Ipv4Addr::UNSPECIFIED.into(),
                name if name.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST.into(),
                address => match address.parse::<Ipv4Addr>() {
                    // The address is valid, so the port is not.
                    Ok(_) => return Err(no_port(number)),
                    Err(_) => return Err(no_address(text, port)),
                },
            };
            number.parse().map(|port| SocketAddr::new(ip, port)).map_err(|_| no_port(number))
        }
        None if text.eq_ignore_ascii_case("localhost") || text.parse::<Ipv4Addr>().is_ok() => {
            Err(format!("\"{text}\" has no port; write {text}:{port}"))
        }
        None => Err(no_address(text, port)),
    }
}

fn no_address(text: &str, port: u16) -> String {
    format!(
        "\"{text}\" is not an address of this machine; write one like 127.0.0.1:{port}, [::1]:{port} or localhost:{port}, or :{port} for all \
         its addresses"
    )
}

/// A host and a port, written `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// A name, or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl PeerAddress {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self { host: address.ip().to_string(), port: address.port() });
        }
        let (host, port) = text.rsplit_once(':')?;
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let plain = !host.is_empty() && host.len() <= 253 && host.bytes().all(fits);
        Some(Self { host: host.to_owned(), port: port.parse().ok()? }).filter(|_| plain)
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether it can be the address of a node.
    pub(super) fn can_be_reached(&self) -> bool {
        self.port != 0 && self.ip().is_none_or(|ip| !ip.is_unspecified())
    }

    /// Whether it cannot be reached from another machine.
    pub fn is_loopback(&self) -> bool {
        self.ip().map_or(self.host == "localhost", |ip| ip.is_loopback())
    }

    /// The address at which a node listens that is reached here.
    pub(super) fn listen(&self) -> SocketAddr {
        let everywhere = || if self.is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        (self.ip().unwrap_or_else(|| everywhere().into()), self.port).into()
    }
}

impl std::fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ip() {
            Some(ip) => SocketAddr::from((ip, self.port)).fmt(f),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_listener_is_read_as_people_write_it() {
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::]:0", "[::]:0"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("LocalHost:80", "127.0.0.1:80"),
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "0.0.0.0:8080"),
            (" 10.0.0.7:80\n", "10.0.0.7:80"),
        ] {
            assert_eq!(parse_listen(text, 8080).map(|address| address.to_string()).as_deref(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_listener_is_refused_with_what_to_write() {
        for (text, part) in [
            ("8080", "127.0.0.1:8080 for this machine only, or :8080 for all"),
            ("99999", "\"99999\" is not a port"),
            ("127.0.0.1", "write 127.0.0.1:9090"),
            ("localhost", "write localhost:9090"),
            ("::1", "[::1]:9090"),
            ("[::1]", "[::1]:9090"),
            ("::1:8080", "[::1]:8080"),
            ("::", "[::]:9090"),
            ("http://127.0.0.1:8080/", "write the address alone: 127.0.0.1:8080"),
            ("https://go.example", "127.0.0.1:9090"),
            ("127.0.0.1:80800", "\"80800\" is not a port"),
            ("127.0.0.1:", "\"\" is not a port"),
            (":http", "\"http\" is not a port"),
            ("go.example:8080", "127.0.0.1:9090"),
            ("256.0.0.1:80", "127.0.0.1:9090"),
            ("unix:/run/waypost.sock", "127.0.0.1:9090"),
            ("", "127.0.0.1:9090"),
            ("127.0.0.1 8080", "127.0.0.1:9090"),
        ] {
            let refused = parse_listen(text, 9090).unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
