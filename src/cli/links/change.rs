//! `waypost links edit` and `delete`.

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::fields::FieldArgs;
use super::show::print;
use crate::cli::client::{Failed, Server, ServerArgs};
use crate::cli::domains::DomainArgs;
use crate::cli::exit;
use crate::say;

/// A field that a link need not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Clearable {
    Title,
    Tags,
    Note,
    ValidSince,
    ValidUntil,
    MaxVisits,
    Password,
    ExpiredUrl,
    RedirectStatus,
    ForwardQuery,
    ForwardPath,
    Crawlable,
    Rules,
}

impl Clearable {
    /// Its name in JSON, and the option that sets it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Title => ("title", "--title"),
            Self::Tags => ("tags", "--tag"),
            Self::Note => ("note", "--note"),
            Self::ValidSince => ("validSince", "--valid-since"),
            Self::ValidUntil => ("validUntil", "--valid-until"),
            Self::Password => ("password", "--password-file"),
            Self::MaxVisits => ("maxVisits", "--max-visits"),
            Self::ExpiredUrl => ("expiredUrl", "--expired-url"),
            Self::RedirectStatus => ("redirectStatus", "--redirect-status"),
            Self::ForwardQuery => ("forwardQuery", "--forward-query"),
            Self::ForwardPath => ("forwardPath", "--forward-path"),
            Self::Crawlable => ("crawlable", "--crawlable"),
            Self::Rules => ("rules", "--rules"),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// The code, or the whole short URL
    code: String,
    #[command(flatten)]
    domain: DomainArgs,
    /// The new URL
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    fields: FieldArgs,
    /// End --disable
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Remove these fields; what forwards the visitor's query or path ends, and the status is 302 again
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    clear: Vec<Clearable>,
    #[command(flatten)]
    guard: GuardArgs,
    /// Print the changed link as JSON, with its version in "etag"
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The code, or the whole short URL
    code: String,
    #[command(flatten)]
    domain: DomainArgs,
    #[command(flatten)]
    guard: GuardArgs,
    /// Print the deleted code as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct GuardArgs {
    /// Only if the link is still at this version, as `links show` prints it; otherwise the exit code is 6
    #[arg(long, value_name = "VERSION")]
    if_match: Option<String>,
}

impl GuardArgs {
    /// The header, if a version is given; shells drop the quotes that are part of it.
    pub(super) fn header(&self) -> Vec<(&'static str, String)> {
        let tag = |text: &str| match text {
            "*" => text.to_owned(),
            text if text.contains('"') => text.to_owned(),
            text => format!("\"{text}\""),
        };
        self.if_match.as_deref().map(|text| ("if-match", tag(text.trim()))).into_iter().collect()
    }
}

pub(super) async fn edit(args: EditArgs) -> Result<u8, Failed> {
    let mut body = args.fields.given()?;
    if let Some(url) = &args.url {
        body.insert("longUrl".to_owned(), url.as_str().into());
    }
    if args.enable {
        body.insert("disabled".to_owned(), false.into());
    }
    for field in &args.clear {
        let (name, option) = field.names();
        if body.insert(name.to_owned(), Value::Null).is_some_and(|given| !given.is_null()) {
            let cleared = field.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            return Err(Failed::new(exit::USAGE, format!("--clear {cleared} and {option} contradict each other")));
        }
    }
    if body.is_empty() {
        return Err(Failed::new(exit::USAGE, "nothing to change: give a field, such as --url; or --clear FIELD"));
    }
    let server = Server::new(&args.server)?;
    let path = args.domain.link(&args.code, &server).await?.path("/api/v1/links", "");
    let answer = server.send_with(Method::PATCH, &path, Some(&Value::Object(body)), &args.guard.header()).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    print(&answer, args.json);
    Ok(exit::OK)
}

pub(super) async fn delete(args: DeleteArgs) -> Result<u8, Failed> {
    let server = Server::new(&args.server)?;
    let link = args.domain.link(&args.code, &server).await?;
    let path = link.path("/api/v1/links", "");
    let answer = server.send_with(Method::DELETE, &path, None, &args.guard.header()).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    let code = link.code;
    if args.json {
        say!("{}", json!({ "deleted": code.as_str() }));
    } else {
        say!("deleted {code}");
    }
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_with_and_without_its_quotes() {
        let header = |text: &str| GuardArgs { if_match: Some(text.to_owned()) }.header();
        for (text, sent) in [("2-b", "\"2-b\""), ("\"2-b\"", "\"2-b\""), ("*", "*"), (" 2-b ", "\"2-b\"")] {
            assert_eq!(header(text), [("if-match", sent.to_owned())], "{text}");
        }
        assert_eq!(GuardArgs { if_match: None }.header(), []);
    }
}
