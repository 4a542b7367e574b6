//! Why a form was refused, beside the field that it concerns and in the language of the page.

use actix_web::http::StatusCode;
use waypost_protocol::domain::HostError;
use waypost_protocol::properties::PropertyError;
use waypost_protocol::{CallError, CodeError, CodeFormatError, LinkKey, ServiceError, SpecError, TargetError};

use crate::app::{ChangeError, CreateError, DomainError, DomainUrl, RulesFault};
use crate::http::domains::format_error;
use crate::http::problem::Problem;
use crate::ui::{Context, Form, Reason};

/// Notes in a form why its link was not created.
///
/// # Errors
/// If the form is not to blame, and nothing that can be typed would help.
pub(super) fn creation(
    cx: &Context,
    form: &mut Form,
    error: CreateError,
    short_url: impl FnOnce(&LinkKey) -> String,
) -> Result<(), Problem> {
    match error {
        CreateError::Denied(denied) => return Err(denied.into()),
        CreateError::Url(error) => form.refuse("longUrl", url(cx, &error)),
        CreateError::Slug(error) => form.refuse("customSlug", slug(cx, &error)),
        CreateError::SlugTaken { key, .. } => {
            form.refuse("customSlug", cx.with("refused.slug-taken", &short_url(&key)));
        }
        CreateError::Domain(unknown) => form.refuse("domain", cx.with("refused.domain", &unknown.0)),
        CreateError::Call(error) => form.refuse("", call(cx, &error)),
        other => {
            let problem = Problem::of_creation(other, short_url);
            form.refuse("", Reason::in_english(problem.detail()));
        }
    }
    Ok(())
}

/// Puts the reasons of a refused edit beside the fields of its form.
///
/// # Errors
/// What concerns no form: that somebody may not, or that there is no such link.
pub(super) fn change(cx: &Context, form: &mut Form, error: ChangeError) -> Result<(), Problem> {
    match error {
        ChangeError::Url(error) => form.refuse("longUrl", url(cx, &error)),
        ChangeError::ExpiredUrl(error) => form.refuse("expiredUrl", url(cx, &error)),
        ChangeError::Spec(error) => {
            let (field, key) = spec(error);
            form.refuse(field, cx.t(key));
        }
        ChangeError::Rules(fault) => form.refuse("rules", rules(cx, &fault)),
        ChangeError::NotYet(_) => form.refuse("", cx.t("refused.not-yet")),
        ChangeError::Call(error) => form.refuse("", call(cx, &error)),
        other => return Err(Problem::of_change(other, None)),
    }
    Ok(())
}

/// Puts a problem with a value of a form beside its field.
///
/// # Errors
/// A problem that names no field of the form.
pub(super) fn value(cx: &Context, form: &mut Form, problem: Problem) -> Result<(), Problem> {
    let field = problem.field().unwrap_or_default();
    let key = match field {
        "title" => "refused.title",
        "tags" => "refused.tags",
        "note" => "refused.note",
        "validSince" | "validUntil" => "refused.time",
        "maxVisits" => "refused.limit",
        "redirectStatus" => "refused.status",
        "password" => "refused.password",
        _ => return Err(problem),
    };
    form.refuse(field, cx.t(key));
    Ok(())
}

/// Puts the reason why a domain is not made or changed beside the field of its form.
///
/// # Errors
/// What concerns no form.
pub(super) fn domain(cx: &Context, form: &mut Form, error: DomainError) -> Result<(), Problem> {
    let (field, text) = match &error {
        DomainError::Host(HostError::NoName) => ("host", cx.t("domains.refused.host").to_owned()),
        DomainError::Host(HostError::Address) => ("host", cx.t("domains.refused.address").to_owned()),
        DomainError::Host(HostError::TooLong) => ("host", cx.t("domains.refused.host-long").to_owned()),
        DomainError::Host(HostError::Default) => ("host", cx.t("domains.refused.host-default").to_owned()),
        DomainError::Exists(host) => ("host", cx.with("domains.refused.exists", host.as_str())),
        DomainError::IsDefault(host) => ("host", cx.with("domains.refused.is-default", host.as_str())),
        DomainError::IsOwn(host) => ("host", cx.with("domains.refused.is-own", host.as_str())),
        DomainError::TooMany { max } => ("", cx.with("domains.refused.many", &max.to_string())),
        DomainError::Url(DomainUrl::Base, error) => ("baseUrl", url(cx, error)),
        DomainError::Url(DomainUrl::Unknown, error) => ("unknownUrl", url(cx, error)),
        DomainError::Url(DomainUrl::Expired, error) => ("expiredUrl", url(cx, error)),
        DomainError::PermanentStatus => ("defaultStatus", cx.t("refused.status").to_owned()),
        DomainError::FormatHasCase => ("alphabet", cx.t("domains.refused.format-case").to_owned()),
        DomainError::FormatTooClose => ("length", cx.t("domains.refused.format-close").to_owned()),
        DomainError::TooManyFormats => ("alphabet", cx.t("domains.refused.many-formats").to_owned()),
        DomainError::NotYet(_) => ("", cx.t("refused.not-yet").to_owned()),
        DomainError::Call(error) => ("", call(cx, error)),
        DomainError::Denied(_)
        | DomainError::Unknown(_)
        | DomainError::OnlyDefault
        | DomainError::Nothing
        | DomainError::Fixed
        | DomainError::DefaultStays => return setting(cx, form, error.into()),
    };
    form.refuse(field, text);
    Ok(())
}

/// Puts a problem with a setting of a domain beside its field: a rare one as the API words it.
///
/// # Errors
/// A problem that concerns no form.
pub(super) fn setting(cx: &Context, form: &mut Form, problem: Problem) -> Result<(), Problem> {
    let (field, key) = match (problem.field(), format_error(form)) {
        (Some("codeFormat"), Some(CodeFormatError::PrefixTooLong | CodeFormatError::PrefixCharacter)) => {
            ("prefix", "domains.refused.prefix")
        }
        (Some("codeFormat"), Some(CodeFormatError::CheckAlphabet)) => ("checkCharacter", "domains.refused.check"),
        (Some("codeFormat" | "length"), _) => ("length", "domains.refused.length"),
        (Some("defaultStatus"), _) => ("defaultStatus", "refused.status"),
        _ if is_of_form(&problem) => {
            form.refuse(problem.field().unwrap_or_default(), Reason::in_english(problem.detail()));
            return Ok(());
        }
        _ => return Err(problem),
    };
    form.refuse(field, cx.t(key));
    Ok(())
}

/// Whether another value in a form may help.
fn is_of_form(problem: &Problem) -> bool {
    matches!(problem.status(), StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY)
}

/// The field of an error, and the key of its text.
fn spec(error: SpecError) -> (&'static str, &'static str) {
    match error {
        SpecError::EndPast => ("validUntil", "refused.end-past"),
        SpecError::EndTooLate => ("validUntil", "refused.too-late"),
        SpecError::BeginTooLate => ("validSince", "refused.too-late"),
        SpecError::BeginAfterEnd => ("validSince", "refused.begin-after-end"),
        SpecError::PermanentWithRules => ("redirectStatus", "refused.permanent-rules"),
        SpecError::PermanentLimited => ("maxVisits", "refused.permanent-limited"),
        SpecError::PermanentProtected => ("password", "refused.permanent-protected"),
    }
}

fn rules(cx: &Context, fault: &RulesFault) -> Reason {
    match fault {
        RulesFault::Url { error, .. } => url(cx, error).into(),
        RulesFault::Limits(error) => Reason::in_english(error.to_string()),
    }
}

/// Why a URL cannot be a target.
pub(super) fn url(cx: &Context, error: &TargetError) -> String {
    match error {
        TargetError::Empty => cx.t("refused.url-empty").to_owned(),
        TargetError::TooLong { max, .. } => cx.with("refused.url-long", &max.to_string()),
        TargetError::Scheme { scheme } => cx.with("refused.url-scheme", scheme),
        TargetError::NoScheme => cx.t("refused.url-no-scheme").to_owned(),
        TargetError::Credentials => cx.t("refused.url-credentials").to_owned(),
        TargetError::OwnHost => cx.t("refused.url-own").to_owned(),
        TargetError::ControlCharacter { .. } => cx.t("refused.url-control").to_owned(),
        TargetError::Unparsable { .. }
        | TargetError::SchemeTwice
        | TargetError::EmptyLabel
        | TargetError::LabelTooLong { .. }
        | TargetError::HostTooLong { .. } => cx.t("refused.url-wrong").to_owned(),
    }
}

/// Why a slug cannot be one.
pub(super) fn slug(cx: &Context, error: &CodeError) -> Reason {
    match error {
        CodeError::TooLong { max, .. } => cx.with("refused.slug-long", &max.to_string()).into(),
        CodeError::BadCharacter { character, .. } => cx.with("refused.slug-character", &character.to_string()).into(),
        CodeError::MarkAtEdge => cx.t("refused.slug-edge").into(),
        CodeError::Reserved { .. } => cx.t("refused.slug-reserved").into(),
        // Rare ones, and they need their whole sentence.
        other => Reason::in_english(other.to_string()),
    }
}

/// Why a title, a tag or the like cannot be one.
pub(super) fn property(cx: &Context, error: PropertyError) -> Reason {
    match error {
        PropertyError::TitleTooLong | PropertyError::NoteTooLong => cx.t("refused.text-long").into(),
        PropertyError::TagTooLong => cx.t("refused.tag-long").into(),
        PropertyError::TagCharacter | PropertyError::TagEmpty => cx.t("refused.tag-character").into(),
        PropertyError::TooManyTags => cx.t("refused.tags-many").into(),
        other => Reason::in_english(other.to_string()),
    }
}

/// Why the services did not do it.
pub(super) fn call(cx: &Context, error: &CallError) -> String {
    let key = match error {
        error if error.outcome_unknown() => "failure.unknown-text",
        CallError::Service(ServiceError::ReadOnly(_)) => "failure.read-only-text",
        CallError::Service(ServiceError::TooLarge(_)) => "refused.too-large",
        _ => "failure.busy-text",
    };
    cx.t(key).to_owned()
}

#[cfg(test)]
mod tests {
    use waypost_protocol::{Code, Target};

    use super::*;

    #[test]
    fn each_field_is_told_its_reason_in_the_language_of_the_page() {
        let cx = Context::example("de");
        let refused = |error: CreateError| {
            let mut form = Form::default();
            creation(&cx, &mut form, error, |key| format!("https://go.example/{}", key.code)).unwrap();
            form.errors()[0].clone()
        };
        let no_url = Target::parse("ftp://example.com", &[], 8192).unwrap_err();
        let error = refused(no_url.into());
        assert!(error.field == "longUrl" && error.reason.text.contains("ftp"), "{error:?}");
        let error = refused(Code::parse_slug("a b").unwrap_err().into());
        assert_eq!(error.field, "customSlug");
        let key = LinkKey::new(Code::parse_slug("abc").unwrap());
        let error = refused(CreateError::SlugTaken { key, by: crate::app::Taken::Other });
        assert!(error.reason.text.contains("https://go.example/abc"), "{error:?}");
        let error = refused(CallError::Overloaded { service: "links" }.into());
        assert_eq!((error.field.as_str(), error.reason.text.as_str()), ("", cx.t("failure.busy-text")));
    }

    fn reason(error: ChangeError) -> (String, String) {
        let mut form = Form::default();
        change(&Context::example("de"), &mut form, error).unwrap();
        let error = &form.errors()[0];
        (error.field.clone(), error.reason.text.clone())
    }

    #[test]
    fn what_is_refused_is_told_beside_its_field_in_the_language_of_the_visitor() {
        for (error, field) in [
            (ChangeError::Url(TargetError::NoScheme), "longUrl"),
            (ChangeError::ExpiredUrl(TargetError::OwnHost), "expiredUrl"),
            (ChangeError::Spec(SpecError::EndPast), "validUntil"),
            (ChangeError::Spec(SpecError::BeginAfterEnd), "validSince"),
            (ChangeError::Spec(SpecError::PermanentLimited), "maxVisits"),
            (ChangeError::Spec(SpecError::PermanentProtected), "password"),
            (ChangeError::Call(CallError::Overloaded { service: "links" }), ""),
        ] {
            let (named, text) = reason(error);
            assert_eq!(named, field);
            assert!(!text.starts_with("refused.") && !text.contains("the "), "{text}");
        }
    }

    #[test]
    fn a_domain_that_is_refused_says_why_beside_its_field_in_the_language_of_the_visitor() {
        let cx = Context::example("de");
        let host = waypost_protocol::domain::HostName::parse("go.example").unwrap();
        for (error, field) in [
            (DomainError::Host(HostError::NoName), "host"),
            (DomainError::Exists(host.clone()), "host"),
            (DomainError::IsOwn(host), "host"),
            (DomainError::Url(DomainUrl::Unknown, TargetError::NoScheme), "unknownUrl"),
            (DomainError::FormatTooClose, "length"),
            (DomainError::TooMany { max: 7 }, ""),
        ] {
            let mut form = Form::default();
            domain(&cx, &mut form, error).unwrap();
            let refused = &form.errors()[0];
            assert_eq!(refused.field, field);
            let text = &refused.reason.text;
            assert!(!refused.reason.english && !text.contains("domains.") && !text.contains(" the "), "{text}");
        }
        let mut form = Form::default();
        domain(&cx, &mut form, DomainError::DefaultStays).unwrap();
        assert!(form.errors()[0].reason.english, "a rare one is as the API words it");
    }

    #[test]
    fn a_format_of_codes_that_is_refused_says_which_part_of_it_is_wrong() {
        let cx = Context::example("de");
        for (body, field) in [
            ("alphabet=base62&length=99", "length"),
            ("alphabet=base62&length=7&prefix=-a", "prefix"),
            ("alphabet=base62&length=7&checkCharacter=on", "checkCharacter"),
        ] {
            let mut form = Form::read(body.as_bytes());
            setting(&cx, &mut form, Problem::invalid("codeFormat", "codeFormat: x")).unwrap();
            assert_eq!(form.errors()[0].field, field, "{body}");
        }
        let mut form = Form::default();
        setting(&cx, &mut form, Problem::malformed("x")).unwrap();
        assert!(form.errors()[0].reason.english);
        assert!(setting(&cx, &mut form, Problem::not_found()).is_err());
    }

    #[test]
    fn a_value_that_is_none_says_what_is_possible_and_a_missing_link_is_no_matter_of_the_form() {
        let mut form = Form::default();
        let cx = Context::example("en");
        value(&cx, &mut form, Problem::invalid("maxVisits", "maxVisits: x")).unwrap();
        assert!(form.error("maxVisits").is_some_and(|reason| reason.text.contains("1,000,000,000")));
        assert!(value(&cx, &mut form, Problem::invalid("other", "x")).is_err());
        assert!(change(&cx, &mut form, ChangeError::NotFound).is_err());
    }
}
