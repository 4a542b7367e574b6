//! `waypost dashboard`: a one-time link to the dashboard of the node on this machine.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::client::{Failed, Server, ServerArgs};
use super::exit;
use crate::{complain, say};

#[derive(Debug, Args)]
pub(super) struct DashboardArgs {
    /// Do not open the browser
    #[arg(long)]
    no_open: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// What is known of the person at the terminal.
#[derive(Debug, Clone, Copy, Default)]
struct Desk {
    /// Standard output is a terminal.
    terminal: bool,
    /// There is a desktop, which a browser can be opened in.
    desktop: bool,
    /// The person comes from another machine by ssh.
    remote: bool,
    /// The command runs as root: the browser of the person runs under another account.
    root: bool,
}

impl Desk {
    fn look() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            terminal: std::io::stdout().is_terminal(),
            desktop: is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"),
            remote: is_set("SSH_CONNECTION"),
            root: rustix::process::geteuid().is_root(),
        }
    }

    /// Whether the browser is opened.
    fn opens(self, no_open: bool) -> bool {
        self.terminal && self.desktop && !self.root && !no_open
    }
}

pub(super) async fn dashboard(args: DashboardArgs) -> Result<u8, Failed> {
    let desk = Desk::look();
    let wishes = desk.opens(args.no_open);
    // The browser gets the link on its command line, which other accounts of this machine can read.
    let body = json!({ "ownAccountOnly": wishes });
    let server = Server::new(&args.server)?;
    let answer = server.send(Method::POST, "/api/v1/dashboard-links", Some(&body), None).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    let url = answer.text("url");
    say!("{url}");
    let opens = wishes && answer.body["ownAccountOnly"] == true;
    let minutes = answer.body["expiresInS"].as_u64().unwrap_or_default() / 60;
    complain!("The link signs in one browser on this machine, within {minutes} minutes.");
    if opens && !open(&url) {
        complain!("The browser cannot be opened (xdg-open); open the link yourself.");
    }
    if let Some(forward) = Some(&url).filter(|_| desk.remote && !opens).and_then(|url| forward(url)) {
        complain!("{forward}");
    }
    Ok(exit::OK)
}

fn open(url: &str) -> bool {
    let mut command = Command::new("xdg-open");
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What somebody does who has come by ssh, and whose browser is on another machine.
fn forward(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    Some(format!(
        "You are here by ssh: run `ssh -L {port}:{host}:{port} THIS-MACHINE` on your own machine, and open the link there."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_is_opened_for_a_person_at_a_desktop_only() {
        let person = Desk { terminal: true, desktop: true, ..Desk::default() };
        assert!(person.opens(false) && !person.opens(true));
        for other in [
            Desk { terminal: false, ..person },
            Desk { desktop: false, ..person },
            Desk { root: true, ..person },
            Desk::default(),
        ] {
            assert!(!other.opens(false), "{other:?}");
        }
    }

    #[test]
    fn who_comes_by_ssh_is_told_how_to_forward_the_port_of_the_link() {
        let told = forward("http://127.0.0.1:8081/ui/sign-in/x").unwrap();
        assert!(told.contains("ssh -L 8081:127.0.0.1:8081 "), "{told}");
        assert!(forward("http://[::1]:80/ui").unwrap().contains("ssh -L 80:[::1]:80 "));
        assert_eq!(forward(""), None);
    }
}
