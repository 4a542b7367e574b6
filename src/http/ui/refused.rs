//! Why a form was refused, beside the field that it concerns and in the language of the page.

use waypost_protocol::properties::PropertyError;
use waypost_protocol::{CallError, CodeError, LinkKey, ServiceError, TargetError};

use crate::app::CreateError;
use crate::http::problem::Problem;
use crate::ui::{Context, Form};

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
            form.refuse("", problem.detail());
        }
    }
    Ok(())
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
        | TargetError::EmptyLabel
        | TargetError::LabelTooLong { .. }
        | TargetError::HostTooLong { .. } => cx.t("refused.url-wrong").to_owned(),
    }
}

/// Why a slug cannot be one.
pub(super) fn slug(cx: &Context, error: &CodeError) -> String {
    match error {
        CodeError::TooLong { max, .. } => cx.with("refused.slug-long", &max.to_string()),
        CodeError::BadCharacter { character, .. } => cx.with("refused.slug-character", &character.to_string()),
        CodeError::MarkAtEdge => cx.t("refused.slug-edge").to_owned(),
        CodeError::Reserved { .. } => cx.t("refused.slug-reserved").to_owned(),
        // Rare ones, and they need their whole sentence.
        other => other.to_string(),
    }
}

/// Why a title, a tag or the like cannot be one.
pub(super) fn property(cx: &Context, error: PropertyError) -> String {
    match error {
        PropertyError::TitleTooLong | PropertyError::NoteTooLong => cx.t("refused.text-long").to_owned(),
        PropertyError::TagTooLong => cx.t("refused.tag-long").to_owned(),
        PropertyError::TagCharacter | PropertyError::TagEmpty => cx.t("refused.tag-character").to_owned(),
        PropertyError::TooManyTags => cx.t("refused.tags-many").to_owned(),
        other => other.to_string(),
    }
}

/// Why the services did not do it.
pub(super) fn call(cx: &Context, error: &CallError) -> String {
    let key = match error {
        error if error.outcome_unknown() => "failure.unknown-text",
        CallError::Service(ServiceError::ReadOnly(_)) => "failure.read-only-text",
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
        assert!(error.field == "longUrl" && error.text.contains("ftp"), "{error:?}");
        let error = refused(Code::parse_slug("a b").unwrap_err().into());
        assert_eq!(error.field, "customSlug");
        let key = LinkKey::new(Code::parse_slug("abc").unwrap());
        let error = refused(CreateError::SlugTaken { key, by: crate::app::Taken::Other });
        assert!(error.text.contains("https://go.example/abc"), "{error:?}");
        let error = refused(CallError::Overloaded { service: "links" }.into());
        assert_eq!((error.field.as_str(), error.text.as_str()), ("", cx.t("failure.busy-text")));
    }
}
