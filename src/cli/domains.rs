//! `waypost domains`: list, show, add, set and remove domains; and how other commands name one.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};
use url::{Host, Url};
use waypost_protocol::Code;
use waypost_protocol::domain::{DEFAULT_NAME, HostName};
use waypost_protocol::typed::{code_in_text, segments_in_text};

use super::client::{Answer, Failed, Server, ServerArgs};
use super::{exit, table};
use crate::say;

#[derive(Debug, Subcommand)]
pub(super) enum DomainsCommand {
    /// List all domains
    List(ListArgs),
    /// Show a domain and its settings
    Show(ShowArgs),
    /// Make a domain, or make one again that was removed, with the links that it had
    Add(AddArgs),
    /// Change settings of a domain
    Set(SetArgs),
    /// Remove a domain; its links are kept until it is added again
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The host of the domain; DEFAULT for the default one
    host: String,
    /// Print the domain as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
struct SettingArgs {
    /// The status of redirects of links that ask for none
    #[arg(long, value_name = "STATUS", value_parser = PossibleValuesParser::new(["302", "307"]).try_map(|text| text.parse::<u16>()))]
    default_status: Option<u16>,
    /// Where visitors of / are sent
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Where visitors of unknown codes are sent, instead of 404
    #[arg(long, value_name = "URL")]
    unknown_url: Option<String>,
    /// Where visitors of links that are over are sent, instead of 410
    #[arg(long, value_name = "URL")]
    expired_url: Option<String>,
    /// The characters of codes that are generated
    #[arg(long, value_name = "ALPHABET", value_parser = ["base62", "lowercase", "unambiguous"])]
    alphabet: Option<String>,
    /// The number of characters of codes that are generated: 6 to 12
    #[arg(long, value_name = "N", requires = "alphabet")]
    code_length: Option<u8>,
    /// What codes that are generated begin with
    #[arg(long, value_name = "TEXT", requires = "alphabet")]
    code_prefix: Option<String>,
    /// End codes that are generated with a check character; needs --alphabet unambiguous
    #[arg(long, requires = "alphabet")]
    check_character: bool,
}

impl SettingArgs {
    fn given(&self) -> Map<String, Value> {
        let mut given = Map::new();
        let mut set = |name: &str, value: Option<Value>| given.extend(value.map(|value| (name.to_owned(), value)));
        set("defaultStatus", self.default_status.map(Value::from));
        set("baseUrl", self.base_url.clone().map(Value::from));
        set("unknownUrl", self.unknown_url.clone().map(Value::from));
        set("expiredUrl", self.expired_url.clone().map(Value::from));
        let format = self.alphabet.as_ref().map(|alphabet| {
            // About as many codes in each alphabet.
            let length = self.code_length.unwrap_or(if alphabet == "base62" { 7 } else { 8 });
            json!({
                "alphabet": alphabet, "length": length, "prefix": self.code_prefix.as_deref().unwrap_or_default(),
                "checkCharacter": self.check_character,
            })
        });
        set("codeFormat", format);
        given
    }
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The host of the domain, such as go.example
    host: String,
    #[command(flatten)]
    settings: SettingArgs,
    /// Compare codes without case. It cannot be changed later
    #[arg(long)]
    case_insensitive: bool,
    /// Let slugs have several segments, such as docs/setup. It cannot be changed later
    #[arg(long)]
    multi_segment: bool,
    /// Print the domain as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// A setting that a domain need not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Clearable {
    DefaultStatus,
    BaseUrl,
    UnknownUrl,
    ExpiredUrl,
    CodeFormat,
}

impl Clearable {
    /// Its name in JSON, and the option that sets it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::DefaultStatus => ("defaultStatus", "--default-status"),
            Self::BaseUrl => ("baseUrl", "--base-url"),
            Self::UnknownUrl => ("unknownUrl", "--unknown-url"),
            Self::ExpiredUrl => ("expiredUrl", "--expired-url"),
            Self::CodeFormat => ("codeFormat", "--alphabet"),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The host of the domain; DEFAULT for the default one
    host: String,
    #[command(flatten)]
    settings: SettingArgs,
    /// What visitors of hosts that are no domain get: the links of the default domain, or 404. Only for DEFAULT
    #[arg(long, value_name = "WHAT", value_parser = ["default", "not-found"])]
    unknown_host: Option<String>,
    /// Remove these settings
    #[arg(long, value_name = "SETTING", value_delimiter = ',')]
    clear: Vec<Clearable>,
    /// Print the changed domain as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The host of the domain
    host: String,
    /// What its visitors get from then on: 404; or, as before it was added, the links of the default domain
    #[arg(long, value_name = "WHAT", value_parser = ["not-found", "default"], default_value = "not-found")]
    visitors: String,
    /// Print the removed domain as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(command: DomainsCommand) -> Result<u8, Failed> {
    match command {
        DomainsCommand::List(args) => list(args).await,
        DomainsCommand::Show(args) => {
            let answer = Server::new(&args.server)?.send(Method::GET, &path_of(&args.host)?, None, None).await?;
            print(&answer, args.json)
        }
        DomainsCommand::Add(args) => {
            let mut body = args.settings.given();
            body.insert("host".to_owned(), args.host.as_str().into());
            if args.case_insensitive {
                body.insert("caseInsensitive".to_owned(), true.into());
            }
            if args.multi_segment {
                body.insert("multiSegment".to_owned(), true.into());
            }
            let server = Server::new(&args.server)?;
            let answer = server.send(Method::POST, "/api/v1/domains", Some(&Value::Object(body)), None).await?;
            print(&answer, args.json)
        }
        DomainsCommand::Set(args) => set(args).await,
        DomainsCommand::Remove(args) => {
            let query = if args.visitors == "default" { "?visitors=default" } else { "" };
            let path = format!("{}{query}", path_of(&args.host)?);
            let answer = Server::new(&args.server)?.send(Method::DELETE, &path, None, None).await?;
            if !answer.status.is_success() {
                return Err(answer.refused());
            }
            match args.json {
                true => say!("{}", json!({ "removed": args.host })),
                false => say!("removed {}", args.host),
            }
            Ok(exit::OK)
        }
    }
}

async fn list(args: ListArgs) -> Result<u8, Failed> {
    let answer = Server::new(&args.server)?.send(Method::GET, "/api/v1/domains", None, None).await?;
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    if args.json {
        say!("{}", answer.body);
        return Ok(exit::OK);
    }
    for domain in answer.body["domains"].as_array().into_iter().flatten() {
        say!("{}", domain["name"].as_str().unwrap_or_default());
    }
    Ok(exit::OK)
}

async fn set(args: SetArgs) -> Result<u8, Failed> {
    let mut body = args.settings.given();
    if let Some(what) = &args.unknown_host {
        body.insert("unknownHost".to_owned(), if what == "not-found" { "notFound" } else { "default" }.into());
    }
    for setting in &args.clear {
        let (name, option) = setting.names();
        if body.insert(name.to_owned(), Value::Null).is_some_and(|given| !given.is_null()) {
            let cleared = setting.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            return Err(Failed::new(exit::USAGE, format!("--clear {cleared} and {option} contradict each other")));
        }
    }
    if body.is_empty() {
        return Err(Failed::new(
            exit::USAGE,
            "nothing to change: give a setting, such as --base-url; or --clear SETTING",
        ));
    }
    let (server, path) = (Server::new(&args.server)?, path_of(&args.host)?);
    print(&server.send(Method::PATCH, &path, Some(&Value::Object(body)), None).await?, args.json)
}

/// The settings in the order in which they are shown, with their names for people.
const SHOWN: &[(&str, &str)] = &[
    ("name", "domain"),
    ("createdAt", "created"),
    ("defaultStatus", "default status"),
    ("baseUrl", "base URL"),
    ("unknownUrl", "unknown URL"),
    ("expiredUrl", "expired URL"),
    ("caseInsensitive", "case-insensitive"),
    ("multiSegment", "several segments"),
    ("codeFormat", "code format"),
    ("unknownHost", "unknown hosts"),
];

fn print(answer: &Answer, json: bool) -> Result<u8, Failed> {
    if !answer.status.is_success() {
        return Err(answer.refused());
    }
    if json {
        say!("{}", answer.body);
        return Ok(exit::OK);
    }
    let rows = SHOWN.iter().filter_map(|(name, shown)| Some(((*shown).to_owned(), told(&answer.body[*name])?)));
    say!("{}", table::pairs(&rows.collect::<Vec<_>>(), table::width()));
    Ok(exit::OK)
}

/// A setting as people read it; `None` if it is not set.
fn told(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("yes".to_owned()),
        Value::String(text) if text == "notFound" => Some("404".to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Object(format) => {
            let text = |name: &str| format.get(name).and_then(Value::as_str).unwrap_or_default();
            let mut told = format!("{} {}", format.get("length")?, text("alphabet"));
            if !text("prefix").is_empty() {
                told.push_str(&format!(" after {:?}", text("prefix")));
            }
            if format.get("checkCharacter") == Some(&Value::Bool(true)) {
                told.push_str(", and a check character");
            }
            Some(told)
        }
        other => Some(other.to_string()),
    }
}

/// The path of a domain in the API.
fn path_of(host: &str) -> Result<String, Failed> {
    Ok(format!("/api/v1/domains/{}", named(host)?.unwrap_or_else(|| DEFAULT_NAME.to_owned())))
}

/// The host that a text names; `None` for the default domain.
pub(super) fn named(text: &str) -> Result<Option<String>, Failed> {
    if text.eq_ignore_ascii_case(DEFAULT_NAME) {
        return Ok(None);
    }
    match HostName::parse(text) {
        Ok(host) => Ok(Some(host.to_string())),
        Err(error) => Err(Failed::new(exit::USAGE, format!("{text:?} is no domain: {error}"))),
    }
}

/// The option for the domain of a link.
#[derive(Debug, Default, Args)]
pub(super) struct DomainArgs {
    /// The host of the link's domain. Default: the default domain, or that of the short URL
    #[arg(long, value_name = "HOST")]
    domain: Option<String>,
}

impl DomainArgs {
    /// The domain that the option names; `None` = the default one.
    pub(super) fn given(&self) -> Result<Option<String>, Failed> {
        self.domain.as_deref().map_or(Ok(None), named)
    }

    /// The link that a text names: a code, or a whole short URL. Its domain is what the option says, else the host of the short URL, if the server
    /// has such a domain.
    ///
    /// # Errors
    /// If there is no code in the text.
    pub(super) async fn link(&self, text: &str, server: &Server) -> Result<LinkArg, Failed> {
        let given = self.given()?;
        let host =
            given.clone().or_else(|| host_in(text).filter(|_| self.domain.is_none()).map(|host| host.to_string()));
        // Only the server knows which hosts are domains, and whether a slash belongs to a slug.
        let asked = host.filter(|_| given.is_none() || text.contains(['/', '\\', '%']));
        let answer = match asked {
            None => None,
            // An earlier version has no domains, and what else goes wrong shows with the link itself.
            Some(host) => server.send(Method::GET, &format!("/api/v1/domains/{host}"), None, None).await.ok(),
        };
        let site = answer.filter(|answer| answer.status.is_success()).map(|answer| answer.body).unwrap_or_default();
        let code = if site["multiSegment"] == true { segments_in_text(text) } else { code_in_text(text) };
        let code = code.ok_or_else(|| {
            Failed::new(exit::NOT_FOUND, format!("there is no code in {text:?}; give one, or a whole short URL"))
        })?;
        Ok(LinkArg { code, host: given.or_else(|| site["host"].as_str().map(str::to_owned)) })
    }
}

/// A link that the arguments of a command name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkArg {
    /// Its code.
    pub(super) code: Code,
    /// The host of its domain; `None` = the default one.
    pub(super) host: Option<String>,
}

impl LinkArg {
    /// The path of the link in the API, or of one of its parts such as its history: `before`, its code, `after`, and the domain as a query.
    pub(super) fn path(&self, before: &str, after: &str) -> String {
        let domain = self.host.as_ref().map_or_else(String::new, |host| format!("?domain={host}"));
        // A slash belongs to the slug.
        format!("{before}/{}{after}{domain}", self.code.as_str().replace('/', "%2F"))
    }
}

/// The option for the domain of many links.
#[derive(Debug, Default, Args)]
pub(super) struct DomainFilter {
    /// Only links of this domain: its host, or DEFAULT for the default one. Default: links of all domains
    #[arg(long, value_name = "HOST")]
    domain: Option<String>,
}

impl DomainFilter {
    /// The name of the domain, if one is given.
    pub(super) fn named(&self) -> Result<Option<String>, Failed> {
        let name = |text: &String| Ok(named(text)?.unwrap_or_else(|| DEFAULT_NAME.to_owned()));
        self.domain.as_ref().map(name).transpose()
    }
}

/// The host of a whole short URL that may be a domain.
fn host_in(text: &str) -> Option<HostName> {
    let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    match url.host()? {
        Host::Domain(name) if name != "localhost" => HostName::parse(name).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_short_url_may_be_a_domain_and_a_code_alone_has_none() {
        let host = |text: &str| host_in(text).map(|host| host.to_string());
        assert_eq!(host(" https://Go.example:8443/abc\n").as_deref(), Some("go.example"));
        for text in
            ["abc", "go.example/abc", "http://127.0.0.1:8080/abc", "http://localhost:8080/abc", "ftp://go.example/a"]
        {
            assert_eq!(host(text), None, "{text}");
        }
    }

    #[test]
    fn a_domain_is_named_by_its_host_in_any_spelling() {
        assert_eq!(path_of("B\u{fc}cher.example.").unwrap(), "/api/v1/domains/xn--bcher-kva.example");
        assert_eq!(path_of("default").unwrap(), "/api/v1/domains/DEFAULT");
        assert_eq!(path_of("https://go.example").unwrap_err().code, exit::USAGE);
    }

    #[test]
    fn a_format_of_codes_is_told_in_a_line() {
        let format = json!({ "alphabet": "unambiguous", "length": 8, "prefix": "p-", "checkCharacter": true });
        assert_eq!(told(&format).as_deref(), Some("8 unambiguous after \"p-\", and a check character"));
        assert_eq!(told(&json!({ "alphabet": "base62", "length": 7, "prefix": "" })).as_deref(), Some("7 base62"));
    }
}
