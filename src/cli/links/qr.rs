//! `waypost links qr`: the short URL of a link as a QR code, in the terminal or in files.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use reqwest::Method;

use crate::cli::client::{Failed, Server, ServerArgs};
use crate::cli::domains::DomainArgs;
use crate::cli::{exit, table};
use crate::qr::{self, Color, Ink, Level, Look, MARGIN_DEFAULT, Modules, SIZE_DEFAULT};
use crate::say;

/// The background of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Plain {
    /// Light text on a dark background
    Dark,
    /// Dark text on a light background
    Light,
}

#[derive(Debug, Args)]
pub(crate) struct QrArgs {
    /// The code, or the whole short URL
    code: String,
    #[command(flatten)]
    domain: DomainArgs,
    /// Write an SVG to this file; - for standard output
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write a PNG to this file; - for standard output
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Overwrite files that exist
    #[arg(long)]
    force: bool,
    /// How much of the code may be damaged: L 7 %, M 15 %, Q 25 %, H 30 %
    #[arg(long, value_name = "LEVEL", default_value = "M")]
    error_correction: Level,
    /// The least margin on each side, in modules
    #[arg(long, value_name = "N", default_value_t = MARGIN_DEFAULT)]
    margin: u32,
    /// Width and height of the image in pixels, with the margin
    #[arg(long, value_name = "N", default_value_t = SIZE_DEFAULT)]
    size: u32,
    /// The colour of the dark modules in the image, such as 1a2b3c
    #[arg(long, value_name = "HEX", default_value_t = Color::BLACK)]
    color: Color,
    /// The colour of the background in the image
    #[arg(long, value_name = "HEX", default_value_t = Color::WHITE)]
    background: Color,
    /// Draw without colours, for a terminal with this background. Default: black on white; and dark
    /// with NO_COLOR, or if the output is not a terminal
    #[arg(long, value_name = "BACKGROUND")]
    plain: Option<Plain>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn qr(args: QrArgs) -> Result<u8, Failed> {
    let usage = |why: String| Failed::new(exit::USAGE, why);
    let look = Look::new(args.size, args.margin, args.color, args.background).map_err(|why| usage(why.to_string()))?;
    let server = Server::new(&args.server)?;
    let path = args.domain.link(&args.code, &server).await?.path("/api/v1/links", "");
    let answer = server.send(Method::GET, &path, None, None).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    let short_url = answer.text("shortUrl");
    let modules = Modules::of(&short_url, args.error_correction).map_err(|why| usage(why.to_string()))?;
    if let Some(file) = &args.svg {
        write(file, qr::svg(&modules, &look).map_err(|why| usage(why.to_string()))?.as_bytes(), args.force)?;
    }
    if let Some(file) = &args.png {
        write(file, &qr::png(&modules, &look).map_err(|why| usage(why.to_string()))?, args.force)?;
    }
    if args.svg.is_none() && args.png.is_none() {
        let needed = modules.width() + 2 * args.margin;
        if let Some(width) = table::width().filter(|width| (*width as u64) < u64::from(needed)) {
            return Err(Failed::new(
                exit::FAILURE,
                format!(
                    "the code needs {needed} columns, and the terminal has {width}: make it wider, or write a file with --svg or --png"
                ),
            ));
        }
        let drawn = qr::terminal(&modules, args.margin, ink(args.plain));
        say!("{drawn}{short_url}");
    }
    Ok(exit::OK)
}

fn ink(plain: Option<Plain>) -> Ink {
    let colors = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match plain {
        None if colors => Ink::Colors,
        None | Some(Plain::Dark) => Ink::OnDark,
        Some(Plain::Light) => Ink::OnLight,
    }
}

fn write(file: &Path, bytes: &[u8], force: bool) -> Result<(), Failed> {
    let failed = |error: std::io::Error| {
        let why = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "it exists already; choose another name, or pass --force".to_owned(),
            _ => crate::account::told(&error),
        };
        Failed::new(exit::FAILURE, format!("{}: {why}", file.display()))
    };
    if file == Path::new("-") {
        return std::io::stdout().write_all(bytes).map_err(failed);
    }
    let mut options = OpenOptions::new();
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    options.write(true).open(file).and_then(|mut file| file.write_all(bytes)).map_err(failed)
}
