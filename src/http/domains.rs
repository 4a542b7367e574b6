//! `/api/v1/domains`: the domains of the cluster, and their settings.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use waypost_protocol::domain::DEFAULT_NAME;
use waypost_protocol::properties::RedirectStatus;
use waypost_protocol::{Alphabet, CodeFormat, CodeFormatError, OwnHost, Site, Target};

use super::authorized::{Authorized, ReadLinks, WriteDomains};
use super::body::parse_json_only;
use super::link_json::{host_text, present};
use super::openapi::OfHost;
use super::problem::Problem;
use super::state::NodeState;
use super::stats::no_parameters;
use crate::app::DomainEdit;
use crate::times::format_time;
use crate::ui::Form;

/// What visitors of hosts that are no domain get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum UnknownHost {
    /// The links of the default domain.
    Default,
    /// `404`.
    NotFound,
}

/// The characters of generated codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum AlphabetJson {
    /// Digits, capital and small letters.
    Base62,
    /// Digits and small letters.
    Lowercase,
    /// Digits and small letters that are not taken for each other.
    Unambiguous,
}

/// The format of generated codes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CodeFormat)]
struct CodeFormatJson {
    /// The characters.
    alphabet: AlphabetJson,
    /// How many of them, not counting the prefix and the check character.
    #[schema(minimum = 6, maximum = 12)]
    length: u8,
    /// What each code begins with.
    #[serde(default)]
    #[schema(max_length = 16)]
    prefix: String,
    /// Whether each code ends with a check character, by which a mistyped code is recognised: with `unambiguous` only.
    #[serde(default)]
    check_character: bool,
}

impl From<&CodeFormat> for CodeFormatJson {
    fn from(format: &CodeFormat) -> Self {
        let alphabet = match format.alphabet() {
            Alphabet::Base62 => AlphabetJson::Base62,
            Alphabet::Lowercase => AlphabetJson::Lowercase,
            Alphabet::Unambiguous => AlphabetJson::Unambiguous,
        };
        let (length, prefix) = (format.length(), format.prefix().to_owned());
        Self { alphabet, length, prefix, check_character: format.has_check() }
    }
}

impl CodeFormatJson {
    fn checked(&self) -> Result<CodeFormat, CodeFormatError> {
        let alphabet = match self.alphabet {
            AlphabetJson::Base62 => Alphabet::Base62,
            AlphabetJson::Lowercase => Alphabet::Lowercase,
            AlphabetJson::Unambiguous => Alphabet::Unambiguous,
        };
        CodeFormat::new(alphabet, self.length, &self.prefix, self.check_character)
    }

    fn format(&self) -> Result<CodeFormat, Problem> {
        self.checked().map_err(|error| Problem::invalid("codeFormat", format!("codeFormat: {error}")))
    }
}

/// A domain.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Domain)]
pub(super) struct DomainJson {
    /// What it is called in paths and parameters: its host, or `DEFAULT`.
    #[schema(example = "go.example")]
    name: String,
    /// Its host, in lower case and in ASCII; `null` for the default domain.
    host: Option<String>,
    /// Whether it is the domain of links for which none is given.
    is_default: bool,
    /// When it was made; `null` for the default domain without settings.
    #[schema(format = DateTime)]
    created_at: Option<String>,
    /// The status of redirects of links that ask for none: 302 or 307.
    default_status: u16,
    /// Where visitors of `/` are sent.
    #[schema(format = "uri")]
    base_url: Option<String>,
    /// Where visitors of unknown codes are sent.
    #[schema(format = "uri")]
    unknown_url: Option<String>,
    /// Where visitors of links that are over are sent, if the link has no `expiredUrl`.
    #[schema(format = "uri")]
    expired_url: Option<String>,
    /// Whether codes are compared without case.
    case_insensitive: bool,
    /// Whether slugs may have several segments, such as `docs/setup`.
    multi_segment: bool,
    /// The format of generated codes.
    code_format: CodeFormatJson,
    /// What visitors of hosts that are no domain get; `null` except for the default domain.
    unknown_host: Option<UnknownHost>,
}

impl From<&Site> for DomainJson {
    fn from(site: &Site) -> Self {
        let text = |url: &Option<Target>| url.as_ref().map(|url| url.as_str().to_owned());
        let is_default = site.host.is_none();
        let unknown_host = if site.unknown_host_refused { UnknownHost::NotFound } else { UnknownHost::Default };
        Self {
            name: site.host.as_ref().map_or(DEFAULT_NAME.to_owned(), ToString::to_string),
            host: host_text(site.host.as_ref()),
            is_default,
            created_at: site.created_at.map(format_time),
            default_status: site.default_status.into(),
            base_url: text(&site.base_url),
            unknown_url: text(&site.unknown_url),
            expired_url: text(&site.expired_url),
            case_insensitive: site.case_insensitive,
            multi_segment: site.multi_segment,
            code_format: (&site.code_formats.current()).into(),
            unknown_host: is_default.then_some(unknown_host),
        }
    }
}

/// All domains, the default one first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DomainList)]
pub(super) struct DomainsJson {
    /// The domains.
    domains: Vec<DomainJson>,
}

/// A domain to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewDomain)]
pub(super) struct GivenDomain {
    /// Its host: a name without a scheme, a port or a path.
    #[schema(min_length = 1, max_length = 253, example = "go.example")]
    host: String,
    /// The status of redirects of links that ask for none: 302 or 307.
    #[schema(default = 302)]
    default_status: Option<u16>,
    /// Where visitors of `/` are sent.
    #[schema(format = "uri", max_length = 8192)]
    base_url: Option<String>,
    /// Where visitors of unknown codes are sent.
    #[schema(format = "uri", max_length = 8192)]
    unknown_url: Option<String>,
    /// Where visitors of links that are over are sent, if the link has no `expiredUrl`.
    #[schema(format = "uri", max_length = 8192)]
    expired_url: Option<String>,
    /// Whether codes are compared without case. It cannot be changed later.
    #[serde(default)]
    case_insensitive: bool,
    /// Whether slugs may have several segments (at most 6), such as `docs/setup`. It cannot be changed later.
    #[serde(default)]
    multi_segment: bool,
    /// The format of generated codes; without it seven characters of `base62`, or eight of `lowercase` in a domain that compares without case.
    code_format: Option<CodeFormatJson>,
}

/// What to change of a domain. Absent = as it is; `null` = removed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DomainEdit)]
pub(super) struct GivenDomainEdit {
    /// The status of redirects of links that ask for none: 302 or 307; `null` means 302.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u16>)]
    default_status: Option<Option<u16>>,
    /// Where visitors of `/` are sent.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 8192)]
    base_url: Option<Option<String>>,
    /// Where visitors of unknown codes are sent.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 8192)]
    unknown_url: Option<Option<String>>,
    /// Where visitors of links that are over are sent, if the link has no `expiredUrl`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = "uri", max_length = 8192)]
    expired_url: Option<Option<String>>,
    /// What visitors of hosts that are no domain get: only for the default domain; `null` means `default`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<UnknownHost>)]
    unknown_host: Option<Option<UnknownHost>>,
    /// Fixed when the domain was made: another value is refused.
    case_insensitive: Option<bool>,
    /// Fixed when the domain was made: another value is refused.
    multi_segment: Option<bool>,
    /// The format of codes that are generated from now on; `null` means the usual one. It can be changed 16 times.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<CodeFormatJson>)]
    code_format: Option<Option<CodeFormatJson>>,
}

fn status_of(number: u16) -> Result<RedirectStatus, Problem> {
    RedirectStatus::try_from(number).map_err(|_| Problem::invalid("defaultStatus", "defaultStatus can be 302 or 307"))
}

impl GivenDomain {
    /// Its host, as it was given.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn edit<'a>(&'a self, own_hosts: &'a [OwnHost]) -> Result<DomainEdit<'a>, Problem> {
        Ok(DomainEdit {
            default_status: Some(self.default_status.map(status_of).transpose()?),
            base_url: Some(self.base_url.as_deref()),
            unknown_url: Some(self.unknown_url.as_deref()),
            expired_url: Some(self.expired_url.as_deref()),
            case_insensitive: Some(self.case_insensitive),
            multi_segment: Some(self.multi_segment),
            code_format: Some(self.code_format.as_ref().map(CodeFormatJson::format).transpose()?),
            unknown_host_refused: None,
            own_hosts,
        })
    }
}

impl GivenDomainEdit {
    pub(super) fn edit<'a>(&'a self, own_hosts: &'a [OwnHost]) -> Result<DomainEdit<'a>, Problem> {
        Ok(DomainEdit {
            default_status: self.default_status.map(|status| status.map(status_of).transpose()).transpose()?,
            base_url: self.base_url.as_ref().map(Option::as_deref),
            unknown_url: self.unknown_url.as_ref().map(Option::as_deref),
            expired_url: self.expired_url.as_ref().map(Option::as_deref),
            case_insensitive: self.case_insensitive,
            multi_segment: self.multi_segment,
            code_format: self
                .code_format
                .as_ref()
                .map(|format| format.as_ref().map(CodeFormatJson::format).transpose())
                .transpose()?,
            unknown_host_refused: self.unknown_host.map(|host| host == Some(UnknownHost::NotFound)),
            own_hosts,
        })
    }
}

/// A domain as the form of a page has it, to be made.
pub(super) fn given(form: &Form) -> Result<GivenDomain, Problem> {
    let mut json = settings(form)?;
    json.insert("host".to_owned(), form.value("host").trim().into());
    json.insert("caseInsensitive".to_owned(), form.is_on("caseInsensitive").into());
    json.insert("multiSegment".to_owned(), form.is_on("multiSegment").into());
    json.retain(|_, value| !value.is_null());
    read(json)
}

/// The settings of a domain as the form of a page has them: all that can be changed.
pub(super) fn given_edit(form: &Form, is_default: bool) -> Result<GivenDomainEdit, Problem> {
    let mut json = settings(form)?;
    if is_default {
        let unknown = if form.value("unknownHost") == "notFound" { "notFound" } else { "default" };
        json.insert("unknownHost".to_owned(), unknown.into());
    }
    read(json)
}

/// What is wrong with the format of codes of a form.
pub(super) fn format_error(form: &Form) -> Option<CodeFormatError> {
    let format = settings(form).ok()?.remove("codeFormat")?;
    serde_json::from_value::<CodeFormatJson>(format).ok()?.checked().err()
}

fn read<T: serde::de::DeserializeOwned>(json: Map<String, Value>) -> Result<T, Problem> {
    serde_json::from_value(Value::Object(json)).map_err(|error| Problem::malformed(error.to_string()))
}

/// What a form has of the settings that can be changed; what is empty is removed.
fn settings(form: &Form) -> Result<Map<String, Value>, Problem> {
    let mut json = Map::new();
    let text = |name: &str| form.given(name).map_or(Value::Null, Value::from);
    for name in ["baseUrl", "unknownUrl", "expiredUrl"] {
        json.insert(name.to_owned(), text(name));
    }
    let number = |name: &'static str| {
        let number = form.given(name).map(|text| text.parse::<u16>()).transpose();
        number.map_err(|_| Problem::invalid(name, "give a number"))
    };
    json.insert("defaultStatus".to_owned(), number("defaultStatus")?.map_or(Value::Null, Value::from));
    if let Some(alphabet) = form.given("alphabet") {
        let length = number("length")?.ok_or_else(|| Problem::invalid("length", "give a number from 6 to 12"))?;
        let format = json!({
            "alphabet": alphabet,
            "length": u8::try_from(length).unwrap_or(u8::MAX),
            "prefix": form.value("prefix").trim(),
            "checkCharacter": form.is_on("checkCharacter"),
        });
        json.insert("codeFormat".to_owned(), format);
    }
    Ok(json)
}

/// The settings of a domain as the form of a page shows them.
pub(super) fn form_of(site: &Site) -> Form {
    let domain = DomainJson::from(site);
    let alphabet = serde_json::to_value(domain.code_format.alphabet).unwrap_or_default();
    let on = |on: bool| if on { "on" } else { "" }.to_owned();
    let unknown = if domain.unknown_host == Some(UnknownHost::NotFound) { "notFound" } else { "default" };
    let values = [
        ("host", domain.host.unwrap_or_default()),
        ("defaultStatus", domain.default_status.to_string()),
        ("baseUrl", domain.base_url.unwrap_or_default()),
        ("unknownUrl", domain.unknown_url.unwrap_or_default()),
        ("expiredUrl", domain.expired_url.unwrap_or_default()),
        ("caseInsensitive", on(domain.case_insensitive)),
        ("multiSegment", on(domain.multi_segment)),
        ("alphabet", alphabet.as_str().unwrap_or_default().to_owned()),
        ("length", domain.code_format.length.to_string()),
        ("prefix", domain.code_format.prefix),
        ("checkCharacter", on(domain.code_format.check_character)),
        ("unknownHost", unknown.to_owned()),
    ];
    Form::of(values.map(|(name, value)| (name.to_owned(), value)))
}

/// Answers all domains.
#[utoipa::path(get, path = "/api/v1/domains", operation_id = "getDomains", tag = "Domains",
    responses((status = 200, description = "The domains, the default one first", body = DomainsJson)))]
pub(super) async fn list(
    caller: Authorized<ReadLinks>,
    request: HttpRequest,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    no_parameters(&request, "all domains are answered")?;
    let domains = node.app.domains(&caller.principal)?;
    Ok(HttpResponse::Ok().json(DomainsJson { domains: domains.iter().map(|site| DomainJson::from(&**site)).collect() }))
}

/// Makes a domain, or makes one again that was removed, with the links that it had.
#[utoipa::path(post, path = "/api/v1/domains", operation_id = "createDomain", tag = "Domains", request_body = GivenDomain,
    responses((status = 201, description = "The domain exists now, like this", body = DomainJson,
        headers(("Location" = String, description = "The domain in the API")))))]
pub(super) async fn post(
    caller: Authorized<WriteDomains>,
    request: HttpRequest,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let body: GivenDomain = parse_json_only(&request, &body)?;
    let own_hosts = node.own_hosts(&request);
    let site = node.app.add_domain(&caller.principal, &body.host, &body.edit(&own_hosts)?).await?;
    let json = DomainJson::from(&*site);
    let location = format!("{}/domains/{}", node.address.api_url(&request), json.name);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(json))
}

/// Answers a domain.
#[utoipa::path(get, path = "/api/v1/domains/{host}", operation_id = "getDomain", tag = "Domains", params(OfHost),
    responses((status = 200, description = "The domain", body = DomainJson)))]
pub(super) async fn get(
    caller: Authorized<ReadLinks>,
    path: web::Path<String>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let site = node.app.domain(&caller.principal, &path)?;
    Ok(HttpResponse::Ok().json(DomainJson::from(&*site)))
}

/// Changes settings of a domain.
#[utoipa::path(patch, path = "/api/v1/domains/{host}", operation_id = "editDomain", tag = "Domains", params(OfHost),
    request_body = GivenDomainEdit,
    responses((status = 200, description = "The changed domain", body = DomainJson)))]
pub(super) async fn patch(
    caller: Authorized<WriteDomains>,
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Bytes,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let body: GivenDomainEdit = parse_json_only(&request, &body)?;
    let own_hosts = node.own_hosts(&request);
    let site = node.app.edit_domain(&caller.principal, &path, &body.edit(&own_hosts)?).await?;
    Ok(HttpResponse::Ok().json(DomainJson::from(&*site)))
}

/// What visitors of the host of a domain that is removed get.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Removal {
    /// `notFound` for `404`, so that no short URL of the domain leads to another link; `default` for the links of the default domain, as before the domain was made.
    #[param(inline, default = "notFound")]
    visitors: Option<UnknownHost>,
}

/// Removes a domain.
///
/// It answers `404` from then on, or the links of the default domain if `visitors` says so. Its links stay, and are there again when a domain with this host is made again.
#[utoipa::path(delete, path = "/api/v1/domains/{host}", operation_id = "deleteDomain", tag = "Domains", params(OfHost, Removal),
    responses((status = 204, description = "The domain is removed")))]
pub(super) async fn delete(
    caller: Authorized<WriteDomains>,
    path: web::Path<String>,
    query: web::Query<Removal>,
    node: web::Data<NodeState>,
) -> Result<HttpResponse, Problem> {
    let left_to_default = query.visitors == Some(UnknownHost::Default);
    node.app.remove_domain(&caller.principal, &path, left_to_default).await?;
    Ok(HttpResponse::NoContent().finish())
}
