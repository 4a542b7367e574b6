//! Redirects with some creates and lists among them, as a server in use has them.

use crate::{
    http::Response,
    workload::{Creates, Next, Redirects, Verdict, Workload},
};

/// How many requests of each kind make one round of a mix.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// Redirects.
    pub redirects: u32,
    /// Creates.
    pub creates: u32,
    /// Lists.
    pub lists: u32,
}

impl Shares {
    /// Requests in one round; at least one.
    fn round(self) -> u64 {
        (u64::from(self.redirects) + u64::from(self.creates) + u64::from(self.lists)).max(1)
    }
}

/// What a request is; two bits of its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Redirect = 0,
    Create = 1,
    List = 2,
}

const KIND_BITS: u32 = 2;

/// The mix. Redirects are spread evenly among the others.
pub struct Mix {
    redirects: Redirects,
    creates: Creates,
    list: Vec<u8>,
    shares: Shares,
    /// Connections below this number send nothing but creates and lists, and the others nothing but redirects. With 0 each connection sends all.
    api_connections: u32,
    /// How many of each kind were asked for.
    redirects_sent: u64,
    api_sent: u64,
}

impl Mix {
    /// A mix of `redirects`, `creates`, and lists (`list` is the whole request).
    #[must_use]
    pub fn new(redirects: Redirects, creates: Creates, list: Vec<u8>, shares: Shares, api_connections: u32) -> Self {
        Self { redirects, creates, list, shares, api_connections, redirects_sent: 0, api_sent: 0 }
    }

    /// The kind of the request that the shares ask for next, on a connection that sends all kinds.
    fn kind_of_all(&self) -> Kind {
        if self.api_due() { self.api_kind() } else { Kind::Redirect }
    }

    /// Whether creates and lists are behind their share.
    fn api_due(&self) -> bool {
        let api = self.shares.round() - u64::from(self.shares.redirects);
        api > 0 && self.api_sent * self.shares.round() <= (self.redirects_sent + self.api_sent) * api
    }

    /// Whether redirects may go on while creates and lists are on their way on connections of their own: no more than a round ahead for each of these.
    fn redirects_due(&self) -> bool {
        let redirects = u64::from(self.shares.redirects);
        let api = self.shares.round() - redirects;
        self.redirects_sent * api < (self.api_sent + api * u64::from(self.api_connections)) * redirects
    }

    /// Creates and lists in turn, as their shares are.
    fn api_kind(&self) -> Kind {
        let (creates, lists) = (u64::from(self.shares.creates), u64::from(self.shares.lists));
        if self.api_sent % (creates + lists).max(1) < creates { Kind::Create } else { Kind::List }
    }
}

impl Workload for Mix {
    fn next(&mut self, connection: u32, out: &mut Vec<u8>) -> Next {
        let kind = match self.api_connections {
            0 => self.kind_of_all(),
            own if connection >= own && self.redirects_due() => Kind::Redirect,
            own if connection >= own => return Next::Later,
            _ if self.api_due() => self.api_kind(),
            _ => return Next::Later,
        };
        let token = match kind {
            Kind::Redirect => self.redirects.next(connection, out),
            Kind::Create => self.creates.next(connection, out),
            Kind::List => {
                out.extend_from_slice(&self.list);
                Next::Request(0)
            }
        };
        let Next::Request(token) = token else { return token };
        match kind {
            Kind::Redirect => self.redirects_sent += 1,
            Kind::Create | Kind::List => self.api_sent += 1,
        }
        Next::Request(token << KIND_BITS | kind as u64)
    }

    fn judge(&mut self, token: u64, response: &Response, buf: &[u8]) -> Verdict {
        let kind = token & ((1 << KIND_BITS) - 1);
        let token = token >> KIND_BITS;
        if kind == Kind::Redirect as u64 {
            self.redirects.judge(token, response, buf)
        } else if kind == Kind::Create as u64 {
            self.creates.judge(token, response, buf)
        } else if response.status == 200 {
            Verdict::Right
        } else {
            Verdict::OtherStatus
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::{links, pick::Pick, workload::Urls};

    fn mix(shares: Shares, api_connections: u32) -> Mix {
        let mut codes = tempfile::NamedTempFile::new().unwrap();
        codes.write_all(b"abc\n").unwrap();
        let codes = links::read_codes(codes.path()).unwrap();
        let redirects = Redirects::new("h:1", &[], codes, None, Pick::uniform(1, 1), 302);
        let urls = Urls::Pattern(b"https://e.com/".to_vec(), Vec::new());
        let creates = Creates::new("h:1", &[], urls, 0..u64::MAX, 201, None);
        Mix::new(redirects, creates, b"GET /api/v1/links HTTP/1.1\r\n\r\n".to_vec(), shares, api_connections)
    }

    fn kind(out: &[u8]) -> &'static str {
        match out {
            [b'P', ..] => "create",
            [b'G', b'E', b'T', b' ', b'/', b'a', b'p', ..] => "list",
            _ => "redirect",
        }
    }

    /// The kinds of the requests that connections get, asked in turn.
    fn asked(mix: &mut Mix, connections: u32, times: u32) -> Vec<(u32, &'static str)> {
        let mut kinds = Vec::new();
        for number in 0..times {
            let mut out = Vec::new();
            let connection = number % connections;
            if let Next::Request(_) = mix.next(connection, &mut out) {
                kinds.push((connection, kind(&out)));
            }
        }
        kinds
    }

    #[test]
    fn kinds_come_in_the_shares_that_were_asked_for() {
        let mut mix = mix(Shares { redirects: 100, creates: 1, lists: 1 }, 0);
        let kinds = asked(&mut mix, 1, 102 * 50);
        let count = |wanted| kinds.iter().filter(|(_, kind)| *kind == wanted).count();
        assert_eq!((count("redirect"), count("create"), count("list")), (5_000, 50, 50));
        // Not one after the other: never more than 51 redirects without a request of another kind.
        let longest = kinds.split(|(_, kind)| *kind != "redirect").map(<[_]>::len).max().unwrap();
        assert!(longest <= 51, "{longest}");
    }

    #[test]
    fn connections_of_their_own_send_creates_and_lists_only_and_no_more_than_their_share() {
        let mut mix = mix(Shares { redirects: 10, creates: 1, lists: 1 }, 2);
        let kinds = asked(&mut mix, 8, 8 * 120);
        assert!(kinds.iter().all(|(connection, kind)| (*connection < 2) == (*kind != "redirect")), "{kinds:?}");
        let api = kinds.iter().filter(|(connection, _)| *connection < 2).count();
        let redirects = kinds.len() - api;
        assert!(redirects == 6 * 120 && (redirects / 5).abs_diff(api) <= 2, "{redirects} and {api}");
    }

    #[test]
    fn redirects_wait_for_creates_and_lists_that_are_slower_than_their_share() {
        let mut mix = mix(Shares { redirects: 100, creates: 1, lists: 1 }, 2);
        let redirects = |mix: &mut Mix| (0..1_000).filter(|_| mix.next(5, &mut Vec::new()) != Next::Later).count();
        assert_eq!(redirects(&mut mix), 200, "the others were never asked");
        assert_ne!(mix.next(0, &mut Vec::new()), Next::Later);
        assert_ne!(mix.next(1, &mut Vec::new()), Next::Later);
        assert_eq!(redirects(&mut mix), 100);
    }

    #[test]
    fn answers_are_judged_by_their_kind() {
        let mut only_redirects = mix(Shares { redirects: 5, creates: 0, lists: 0 }, 0);
        assert!(asked(&mut only_redirects, 1, 20).iter().all(|(_, kind)| *kind == "redirect"));
        let mut mix = mix(Shares { redirects: 0, creates: 0, lists: 1 }, 0);
        let Next::Request(token) = mix.next(0, &mut Vec::new()) else { panic!("no request") };
        let answer = |status| Response { status, location: None, body: 0..0, close: false };
        assert_eq!(mix.judge(token, &answer(200), b""), Verdict::Right);
        assert_eq!(mix.judge(token, &answer(302), b""), Verdict::OtherStatus);
        assert_eq!(mix.judge(Kind::Redirect as u64, &answer(302), b""), Verdict::Right);
    }
}
