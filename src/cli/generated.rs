//! `waypost completions` and `waypost man`: what is generated from the definition of the commands.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::client::Failed;
use super::exit;
use crate::say;

#[derive(Debug, Args)]
#[command(after_help = "bash:  waypost completions bash > ~/.local/share/bash-completion/completions/waypost
zsh:   waypost completions zsh > DIR/_waypost, where DIR is in $fpath
fish:  waypost completions fish > ~/.config/fish/completions/waypost.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this directory, which is created; default: print the page of `waypost`
    dir: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<u8, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "waypost", &mut script);
    print(&script)
}

/// Prints to standard output. It is not an error if somebody has read enough, such as `head`.
fn print(text: &[u8]) -> Result<u8, Failed> {
    match std::io::stdout().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failed::new(exit::FAILURE, format!("standard output: {}", crate::account::told(&error))))
        }
        _ => Ok(exit::OK),
    }
}

/// Prints the manual page, or writes all pages.
pub(super) fn man(args: &ManArgs, command: Command) -> Result<u8, Failed> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else {
        let page = page(&command).map_err(|error| Failed::new(exit::FAILURE, error.to_string()))?;
        return print(&page);
    };
    let failed = |error| Failed::new(exit::FAILURE, format!("{}: {}", dir.display(), crate::account::told(&error)));
    std::fs::create_dir_all(dir).map_err(failed)?;
    let pages = write(&command, dir).map_err(failed)?;
    say!("{pages} pages in {}", dir.display());
    Ok(exit::OK)
}

/// Writes the page of a command, and those of the commands below it; returns their number.
fn write(command: &Command, dir: &Path) -> std::io::Result<usize> {
    let mut pages = 1;
    for below in command.get_subcommands() {
        pages += write(below, dir)?;
    }
    std::fs::write(dir.join(Man::new(command.clone()).get_filename()), page(command)?)?;
    Ok(pages)
}

/// The page of a command. Lists and examples at its end keep their lines.
fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let end = command.get_after_help().map(ToString::to_string);
    let man = Man::new(command.clone().after_help(None::<&'static str>)).manual("Waypost");
    let mut page = Vec::new();
    man.render(&mut page)?;
    if let Some(end) = end {
        page.extend(b".SH NOTES\n.nf\n");
        for line in end.lines() {
            // The characters that begin a request, and those that roff would replace.
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            writeln!(page, "\\&{line}")?;
        }
        page.extend(b".fi\n");
    }
    Ok(page)
}
