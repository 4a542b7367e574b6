//! `waypost links`: list, create, show, edit and delete links, go back to former URLs, and draw QR codes. `waypost shorten` is the short form of `create`.
//!
//! ```text
//! create.rs   create, shorten
//! change.rs   edit, delete
//! list.rs     list
//! show.rs     show, and how a link is printed
//! fields.rs   the options of a link's fields, and the JSON that they make
//! history.rs  history, restore
//! qr.rs       qr
//! ```

mod change;
mod create;
mod fields;
mod history;
mod list;
mod qr;
mod show;

use clap::Subcommand;
pub(super) use create::{ShortenArgs, shorten};

use super::client::Failed;

#[derive(Debug, Subcommand)]
pub(super) enum LinksCommand {
    /// List links: by words, tags, state and time; or write all of them to a file
    List(list::ListArgs),
    /// Create a link, and show it
    Create(create::CreateArgs),
    /// Show a link: its fields, and its version for --if-match
    Show(show::ShowArgs),
    /// Change fields of a link, and show it
    Edit(change::EditArgs),
    /// Delete a link; its code answers 404 at once
    Delete(change::DeleteArgs),
    /// Show where a link has led, and who changed what
    History(history::HistoryArgs),
    /// Let a link lead where it led before; its other fields stay
    Restore(history::RestoreArgs),
    /// Draw the short URL as a QR code, here or into a file
    Qr(qr::QrArgs),
}

pub(super) async fn run(command: LinksCommand) -> Result<u8, Failed> {
    match command {
        LinksCommand::List(args) => list::list(args).await,
        LinksCommand::Create(args) => create::create(args).await,
        LinksCommand::Show(args) => show::show(args).await,
        LinksCommand::Edit(args) => change::edit(args).await,
        LinksCommand::Delete(args) => change::delete(args).await,
        LinksCommand::History(args) => history::history(args).await,
        LinksCommand::Restore(args) => history::restore(args).await,
        LinksCommand::Qr(args) => qr::qr(args).await,
    }
}
