//! The blocks of the page, in order.

/// What a comment before a block says: `<!-- test: server; instead waypost serve; reason -->`, its parts separated by `;`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Special {
    /// `skip`: it cannot run in a test, for the reason that follows.
    pub(super) skip: Option<String>,
    /// `server`: it stays until the next one. It is waited for the line that says that the node is ready.
    pub(super) server: bool,
    /// `instead COMMAND`: runs that in its place, for the reason that follows.
    pub(super) instead: Option<String>,
    /// `machine NAME`: on one of the machines `a`, `b`, `c`, or on `all`.
    pub(super) machine: Option<String>,
    /// `exit CODE`: one of its commands fails, with that exit code.
    pub(super) exit: Option<i32>,
    /// `eventually`: what it shows may take a moment, so it is run again until it does.
    pub(super) eventually: bool,
    /// `numbers`: they are others each time.
    pub(super) numbers: bool,
}

/// Something to do, and what the page shows of it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) kind: String,
    pub(super) text: String,
    pub(super) special: Special,
    pub(super) shown: Option<String>,
    line: usize,
}

impl Step {
    pub(super) fn place(&self) -> String {
        format!("README.md:{}", self.line)
    }
}

/// Blocks that are what the one before printed.
const SHOWN: &[&str] = &["text", "json", "http", "csv"];

/// Blocks that are there to be read.
const READ: &[&str] = &["caddyfile", "nginx"];

pub(super) fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut open, mut comment): (Option<Step>, Option<String>) = (None, None);
    for (number, line) in page.lines().enumerate() {
        if let Some(mut step) = open.take() {
            if line != "```" {
                step.text.push_str(line);
                step.text.push('\n');
                open = Some(step);
            } else if SHOWN.contains(&step.kind.as_str()) {
                let before = steps.last_mut().expect("a block of output follows a command");
                assert!(
                    before.shown.is_none() && before.kind == "sh",
                    "{}: what is it that prints this?",
                    step.place()
                );
                before.shown = Some(step.text);
            } else if !READ.contains(&step.kind.as_str()) {
                assert!(
                    matches!(&step.kind[..], "sh" | "toml"),
                    "{}: a block without a kind that is known",
                    step.place()
                );
                assert!(
                    !step.text.lines().any(|line| line.starts_with("$ ")),
                    "{}: no prompt can be pasted",
                    step.place()
                );
                steps.push(step);
            }
        } else if let Some(kind) = line.strip_prefix("```") {
            let special = comment.take().map(|text| special(&text)).unwrap_or_default();
            let kind = kind.trim().to_owned();
            open = Some(Step { kind, text: String::new(), special, shown: None, line: number + 1 });
        } else if let Some(text) = line.strip_prefix("<!-- test: ") {
            comment = Some(text.trim_end_matches("-->").trim().to_owned());
        } else if !line.trim().is_empty() {
            comment = None;
        }
    }
    assert!(open.is_none(), "a block is not closed");
    steps
}

fn special(text: &str) -> Special {
    let mut special = Special::default();
    let mut parts = text.split(';').map(str::trim);
    while let Some(part) = parts.next() {
        let (word, rest) = part.split_once(' ').unwrap_or((part, ""));
        let mut reason = || parts.next().filter(|reason| reason.len() > 10).expect("a reason follows").to_owned();
        match word {
            "skip" => special.skip = Some(reason()),
            "instead" => {
                special.instead = Some(rest.to_owned());
                reason();
            }
            "server" => special.server = true,
            "machine" => special.machine = Some(rest.to_owned()),
            "exit" => special.exit = Some(rest.parse().expect("an exit code")),
            "eventually" => special.eventually = true,
            "numbers" => special.numbers = true,
            _ => panic!("unknown: {part}"),
        }
    }
    special
}
