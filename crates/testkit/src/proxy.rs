//! A network that can be broken: a TCP proxy in front of each node's peer port.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the bytes from one node to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// They pass.
    Pass,
    /// They wait until they may pass again, as on an unplugged wire.
    Cut,
    /// They pass after this delay.
    Delay(Duration),
    /// This many bytes pass in a second.
    Throttle(u64),
}

#[derive(Clone, Default)]
struct State {
    rules: HashMap<(usize, usize), Rule>,
    /// Increases when all connections are to be reset.
    resets: u64,
}

/// The proxies of a cluster. Node `i` has the address 127.a.b.`i + 1`, and its proxy 127.a.b.`i + 101`.
#[derive(Clone)]
pub struct Proxies {
    net: [u8; 2],
    state: Arc<watch::Sender<State>>,
}

impl Proxies {
    pub(crate) fn new(net: [u8; 2]) -> Self {
        Self { net, state: Arc::new(watch::Sender::default()) }
    }

    pub(crate) fn host(&self, node: usize) -> Ipv4Addr {
        let [a, b] = self.net;
        Ipv4Addr::new(127, a, b, node as u8 + 101)
    }

    /// Listens for connections to a node.
    pub(crate) fn start(&self, node: usize, port: u16) -> Result<()> {
        let [a, b] = self.net;
        let listener = std::net::TcpListener::bind((self.host(node), port))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let target = SocketAddr::from(([127, a, b, node as u8 + 1], port));
        let state = self.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let IpAddr::V4(from) = from.ip() else { continue };
                let from = usize::from(from.octets()[3]).saturating_sub(1);
                let state = state.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let _ = (stream.set_nodelay(true), far.set_nodelay(true));
                    let ((near_in, near_out), (far_in, far_out)) = (stream.into_split(), far.into_split());
                    let mut resets = state.subscribe();
                    let at = resets.borrow().resets;
                    tokio::select! {
                        () = pump(near_in, far_out, (from, node), state.subscribe()) => {}
                        () = pump(far_in, near_out, (node, from), state.subscribe()) => {}
                        _ = resets.wait_for(|state| state.resets != at) => {}
                    }
                });
            }
        });
        Ok(())
    }

    /// Sets the rule for bytes from `from` to `to`; the other direction has a rule of its own.
    pub fn set(&self, from: usize, to: usize, rule: Rule) {
        self.state.send_modify(|state| {
            state.rules.insert((from, to), rule);
        });
    }

    /// Sets a rule between two sets of nodes, in both directions.
    pub fn part(&self, some: &[usize], others: &[usize], rule: Rule) {
        for one in some {
            for other in others {
                self.set(*one, *other, rule);
                self.set(*other, *one, rule);
            }
        }
    }

    /// Lets everything pass again.
    pub fn heal(&self) {
        self.state.send_modify(|state| state.rules.clear());
    }

    /// Resets all connections; new ones can be made.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }
}

/// Copies bytes in one direction until a side closes.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: (usize, usize), mut state: watch::Receiver<State>) {
    let rule_of = |state: &State| state.rules.get(&way).copied().unwrap_or(Rule::Pass);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let rule = rule_of(&state.borrow_and_update());
        match rule {
            Rule::Pass => {}
            Rule::Cut => {
                if state.wait_for(|state| rule_of(state) != Rule::Cut).await.is_err() {
                    return;
                }
            }
            Rule::Delay(delay) => tokio::time::sleep(delay).await,
            Rule::Throttle(rate) => tokio::time::sleep(Duration::from_secs_f64(read as f64 / rate as f64)).await,
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
