//! What a link does besides leading to its target: a pure decision from its properties and the request.

use std::borrow::Cow;
use std::sync::Arc;

use waypost_protocol::properties::{
    DISABLED, EXPIRED_URL, FORWARD_PATH, FORWARD_QUERY, MAX_VISITS, PASSWORD, REDIRECT_STATUS, RULES, RedirectStatus,
    VALID_SINCE,
};
use waypost_protocol::rules::Rules;
use waypost_protocol::{Fields, LinkState, PasswordHash, Target, UnixMs};

use crate::choose::{Visitor, bytes_of, choose};
use crate::forward::forwarded;

/// How long a browser may keep a permanent redirect, in seconds. For so long an edit does not reach a visitor who was there before, and their
/// further visits are not seen.
const PERMANENT_MAX_AGE_S: u64 = 3600;

/// What a link does besides leading to its target. A plain link has none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behavior {
    since: Option<UnixMs>,
    /// `None` = that of its domain.
    status: Option<RedirectStatus>,
    forward_query: bool,
    forward_path: bool,
    expired_url: Option<Target>,
    disabled: bool,
    limited: bool,
    password: Option<PasswordHash>,
    ruled: Ruled,
}

/// Whether a link leads visitors to different targets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ruled {
    /// All to its own.
    No,
    /// By these rules.
    By(Rules),
    /// By rules of a later version, which this one does not understand; or its password or its limit is of one.
    Unreadable,
}

/// What a visitor has asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The time.
    pub now: UnixMs,
    /// The query, as it came.
    pub query: Option<&'a str>,
    /// The path after the code, as it came, with its first slash; `None` if there is none.
    pub rest: Option<&'a str>,
    /// Whether only a link that forwards the path is meant. Otherwise a plain link ignores the rest, which may be typed by mistake.
    pub needs_rest: bool,
    /// What the leader of the shard has said of the limit of visits; `None` = it was not asked.
    pub limit: Option<Limit>,
    /// The status of links of the domain that ask for none.
    pub default_status: RedirectStatus,
    /// Whether the visitor has given the link's password.
    pub unlocked: bool,
}

/// What is left of a link's limit of visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// This visitor may go on.
    Left,
    /// Nothing.
    Exhausted,
}

/// The answer to a visitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<'a> {
    /// To the target: a visit.
    Redirect {
        /// Where to.
        location: Cow<'a, str>,
        /// With which status.
        status: RedirectStatus,
        /// For how many seconds the browser may keep it; 0 = not at all.
        max_age_s: u64,
    },
    /// To the page that its owner gave for the time after its end.
    Instead(&'a str),
    /// It has not begun.
    NotYet,
    /// It has expired.
    Expired,
    /// All visits of its limit are used.
    Exhausted,
    /// Its owner has disabled it.
    Disabled,
    /// It has a limit of visits: the leader of its shard has to be asked whether one is left.
    AskLimit,
    /// It has a password, which the visitor has to give: this is its hash.
    AskPassword(&'a PasswordHash),
    /// There is nothing at this path below the link.
    NothingBelow,
    /// It has rules, a password or a limit that this version does not understand, so it cannot be told where it leads.
    Unreadable,
}

impl Behavior {
    /// What a link with these optional fields does; `None` for a plain link.
    pub fn of(fields: &Fields) -> Option<Arc<Self>> {
        // Most links have no fields at all.
        if fields.is_empty() {
            return None;
        }
        // What holds visitors back is not ignored because it cannot be read.
        let (password, limit) = (PASSWORD.read(fields), MAX_VISITS.read(fields));
        let is_unreadable = password.is_err() || limit.is_err();
        let behavior = Self {
            since: VALID_SINCE.of(fields),
            status: REDIRECT_STATUS.of(fields),
            forward_query: FORWARD_QUERY.is_in(fields),
            forward_path: FORWARD_PATH.is_in(fields),
            expired_url: EXPIRED_URL.of(fields),
            disabled: DISABLED.is_in(fields),
            limited: MAX_VISITS.is_in(fields),
            password: password.unwrap_or_default(),
            ruled: match RULES.read(fields) {
                _ if is_unreadable => Ruled::Unreadable,
                Ok(None) => Ruled::No,
                Ok(Some(rules)) => Ruled::By(rules),
                Err(_) => Ruled::Unreadable,
            },
        };
        (behavior != Self::PLAIN).then(|| Arc::new(behavior))
    }

    const PLAIN: Self = Self {
        since: None,
        status: None,
        forward_query: false,
        forward_path: false,
        expired_url: None,
        disabled: false,
        limited: false,
        password: None,
        ruled: Ruled::No,
    };

    /// The status of the redirects of a link with these optional fields, if it does nothing else and no browser keeps it; `default` is that of links that ask
    /// for none.
    pub fn plain_status(fields: &Fields, default: RedirectStatus) -> Option<RedirectStatus> {
        match Self::of(fields) {
            None => Some(default).filter(|status| !status.is_permanent()),
            Some(behavior) => behavior.only_a_temporary_status(),
        }
    }

    /// The status of a link that differs from a plain one only by it, if no browser keeps it.
    pub(crate) fn only_a_temporary_status(&self) -> Option<RedirectStatus> {
        let status = self.status.filter(|status| !status.is_permanent())?;
        (*self == Self { status: Some(status), ..Self::PLAIN }).then_some(status)
    }

    /// Its approximate size in the cache, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let rules = if let Ruled::By(rules) = &self.ruled { bytes_of(rules) } else { 0 };
        let url = self.expired_url.as_ref().map_or(0, |url| url.as_str().len());
        let password = self.password.as_ref().map_or(0, |hash| hash.as_str().len());
        (size_of::<Self>() + 16 + url + password) as u64 + rules
    }
}

/// Decides what a visitor of a link gets.
pub fn decide<'a>(
    target: &'a str,
    until: Option<UnixMs>,
    behavior: Option<&'a Behavior>,
    asked: &Asked<'_>,
    visitor: &dyn Visitor,
) -> Decision<'a> {
    let behavior = behavior.unwrap_or(const { &Behavior::PLAIN });
    if asked.needs_rest && !behavior.forward_path {
        return Decision::NothingBelow;
    }
    let instead = |over| behavior.expired_url.as_ref().map_or(over, |url| Decision::Instead(url.as_str()));
    match LinkState::of(behavior.since, until, behavior.disabled, asked.now) {
        LinkState::Active => {}
        LinkState::NotYet => return Decision::NotYet,
        LinkState::Expired => return instead(Decision::Expired),
        LinkState::Exhausted => return instead(Decision::Exhausted),
        LinkState::Disabled => return instead(Decision::Disabled),
    }
    if matches!(behavior.ruled, Ruled::Unreadable) {
        return Decision::Unreadable;
    }
    if let Some(hash) = behavior.password.as_ref().filter(|_| !asked.unlocked) {
        return Decision::AskPassword(hash);
    }
    match asked.limit {
        _ if !behavior.limited => {}
        None => return Decision::AskLimit,
        Some(Limit::Left) => {}
        Some(Limit::Exhausted) => return instead(Decision::Exhausted),
    }
    let status = behavior.status.unwrap_or(asked.default_status);
    // A link with rules has no permanent status: see `LinkSpec::check`.
    let (target, status) = match &behavior.ruled {
        Ruled::No | Ruled::Unreadable => (target, status),
        Ruled::By(rules) => {
            let chosen = choose(rules, asked.now, asked.query, visitor);
            (chosen.map_or(target, Target::as_str), status.temporary())
        }
    };
    let left_s = until.map_or(u64::MAX, |until| (until.0 - asked.now.0) / 1000);
    Decision::Redirect {
        location: forwarded(
            target,
            asked.query.filter(|_| behavior.forward_query),
            asked.rest.filter(|_| behavior.forward_path),
        ),
        status,
        max_age_s: if status.is_permanent() { PERMANENT_MAX_AGE_S.min(left_s) } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use waypost_protocol::FieldChanges;
    use waypost_protocol::properties::{NOTE, Note, Set};
    use waypost_protocol::rules::{Condition, LanguageRange, Leads, Rule};

    use super::*;

    const NOW: UnixMs = UnixMs(1_000_000);

    fn fields(changes: impl FnOnce(&mut FieldChanges)) -> Fields {
        let (mut fields, mut of) = (Fields::default(), FieldChanges::default());
        changes(&mut of);
        fields.change(&of);
        fields
    }

    fn behavior(changes: impl FnOnce(&mut FieldChanges)) -> Option<Arc<Behavior>> {
        Behavior::of(&fields(changes))
    }

    fn asked<'a>(query: Option<&'a str>, rest: Option<&'a str>) -> Asked<'a> {
        Asked { now: NOW, query, rest, needs_rest: rest.is_some(), ..Asked::default() }
    }

    /// For links without rules.
    struct Nobody;

    impl Visitor for Nobody {
        fn browser(&self) -> &str {
            ""
        }

        fn os(&self) -> &str {
            ""
        }

        fn device(&self) -> &str {
            ""
        }

        fn languages(&self) -> Cow<'_, str> {
            "de".into()
        }

        fn address(&self) -> Option<std::net::IpAddr> {
            None
        }

        fn country(&self) -> [u8; 2] {
            [0; 2]
        }

        fn city(&self) -> Arc<str> {
            "".into()
        }

        fn lot(&self) -> u64 {
            0
        }
    }

    fn decide<'a>(
        target: &'a str,
        until: Option<UnixMs>,
        behavior: Option<&'a Behavior>,
        asked: &Asked<'_>,
    ) -> Decision<'a> {
        super::decide(target, until, behavior, asked, &Nobody)
    }

    fn to(location: &str, status: RedirectStatus, max_age_s: u64) -> Decision<'_> {
        Decision::Redirect { location: Cow::Borrowed(location), status, max_age_s }
    }

    #[test]
    fn a_password_or_a_limit_that_cannot_be_read_lets_nobody_pass() {
        for tag in [PASSWORD.tag(), MAX_VISITS.tag()] {
            let mut fields = Fields::default();
            fields.set(tag, Some(vec![0xff; 12]));
            let behavior = Behavior::of(&fields).unwrap();
            let decided = decide("https://a.b/", None, Some(&behavior), &asked(None, None));
            assert_eq!(decided, Decision::Unreadable);
        }
    }

    #[test]
    fn a_link_with_a_note_only_is_plain() {
        let note = Note::parse("for the printer").unwrap();
        assert_eq!(behavior(|of| NOTE.change(of, note.as_ref())), None);
        assert_eq!(behavior(|_| ()), None);
        let decided = decide("https://a.b/", None, None, &asked(Some("x=1"), None));
        assert_eq!(decided, to("https://a.b/", RedirectStatus::Found, 0));
        assert_eq!(decide("https://a.b/", None, None, &asked(None, Some("/x"))), Decision::NothingBelow);
    }

    #[test]
    fn a_link_that_asks_for_no_status_has_that_of_its_domain() {
        let decided = |asks: Option<RedirectStatus>| {
            let behavior = behavior(|of| REDIRECT_STATUS.change(of, asks.as_ref()));
            let asked = Asked { default_status: RedirectStatus::TemporaryRedirect, ..asked(None, None) };
            match decide("https://a.b/", None, behavior.as_deref(), &asked) {
                Decision::Redirect { status, .. } => status,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(decided(None), RedirectStatus::TemporaryRedirect);
        assert_eq!(decided(Some(RedirectStatus::Found)), RedirectStatus::Found);
        assert_eq!(decided(Some(RedirectStatus::PermanentRedirect)), RedirectStatus::PermanentRedirect);
    }

    #[test]
    fn a_link_begins_ends_and_can_be_disabled() {
        let decided = |since: Option<u64>, until: Option<u64>, disabled: bool, instead: bool| {
            let url = Target::parse("https://over.example/", &[], 100).unwrap();
            let behavior = behavior(|of| {
                VALID_SINCE.change(of, since.map(UnixMs).as_ref());
                DISABLED.change(of, disabled.then_some(&Set));
                EXPIRED_URL.change(of, instead.then_some(&url));
            });
            match decide("https://a.b/", until.map(UnixMs), behavior.as_deref(), &asked(None, None)) {
                Decision::Redirect { .. } => "redirect",
                Decision::Instead(url) => {
                    assert_eq!(url, "https://over.example/");
                    "instead"
                }
                Decision::NotYet => "not yet",
                Decision::Expired => "expired",
                Decision::Disabled => "disabled",
                other => panic!("{other:?}"),
            }
        };
        let now = NOW.0;
        assert_eq!(decided(Some(now), Some(now + 1), false, true), "redirect");
        assert_eq!(decided(Some(now + 1), None, false, true), "not yet");
        assert_eq!(decided(None, Some(now), false, false), "expired");
        assert_eq!(decided(None, Some(now), false, true), "instead");
        assert_eq!(decided(None, None, true, false), "disabled");
        assert_eq!(decided(Some(now + 1), None, true, false), "disabled");
        assert_eq!(decided(None, Some(now), true, true), "instead");
    }

    #[test]
    fn a_limited_link_leads_to_its_target_only_as_long_as_its_shard_says_so() {
        let url = Target::parse("https://over.example/", &[], 100).unwrap();
        let limited = |instead: bool, since: Option<u64>| {
            behavior(|of| {
                MAX_VISITS.change(of, Some(&5.try_into().unwrap()));
                EXPIRED_URL.change(of, instead.then_some(&url));
                VALID_SINCE.change(of, since.map(UnixMs).as_ref());
            })
        };
        let (plain, other) = (limited(false, None), limited(true, None));
        let decided = |behavior: &Option<Arc<Behavior>>, limit| {
            let asked = Asked { limit, ..asked(None, None) };
            let decided = decide("https://a.b/", None, behavior.as_deref(), &asked);
            format!("{decided:?}")
        };
        for behavior in [&plain, &other] {
            assert_eq!(decided(behavior, None), "AskLimit");
            assert!(decided(behavior, Some(Limit::Left)).contains("https://a.b/"));
        }
        assert_eq!(decided(&plain, Some(Limit::Exhausted)), "Exhausted");
        assert_eq!(decided(&other, Some(Limit::Exhausted)), "Instead(\"https://over.example/\")");
        assert_eq!(decided(&limited(false, Some(NOW.0 + 1)), None), "NotYet", "nobody is asked");
    }

    #[test]
    fn a_protected_link_leads_to_its_target_only_with_its_password_and_its_limit_is_asked_for_after_that() {
        let hash = PasswordHash::new("$argon2id$");
        let protected = |limited: bool, disabled: bool| {
            behavior(|of| {
                PASSWORD.change(of, Some(&hash));
                MAX_VISITS.change(of, limited.then_some(&5.try_into().unwrap()));
                DISABLED.change(of, disabled.then_some(&Set));
            })
        };
        let decided = |behavior: Option<Arc<Behavior>>, unlocked| {
            let asked = Asked { unlocked, ..asked(None, None) };
            format!("{:?}", decide("https://a.b/", None, behavior.as_deref(), &asked))
        };
        assert_eq!(decided(protected(false, false), false), "AskPassword((hash))");
        assert!(decided(protected(false, false), true).contains("https://a.b/"));
        assert_eq!(decided(protected(true, false), false), "AskPassword((hash))");
        assert_eq!(decided(protected(true, false), true), "AskLimit");
        assert_eq!(decided(protected(false, true), false), "Disabled");
    }

    #[test]
    fn a_permanent_redirect_is_kept_for_an_hour_and_not_beyond_the_end() {
        let decided = |status, until: Option<u64>| {
            let behavior = behavior(|of| REDIRECT_STATUS.change(of, Some(&status)));
            match decide("https://a.b/", until.map(UnixMs), behavior.as_deref(), &asked(None, None)) {
                Decision::Redirect { status: given, max_age_s, .. } if given == status => max_age_s,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(decided(RedirectStatus::MovedPermanently, None), PERMANENT_MAX_AGE_S);
        assert_eq!(decided(RedirectStatus::PermanentRedirect, Some(NOW.0 + 5999)), 5);
        assert_eq!(decided(RedirectStatus::TemporaryRedirect, None), 0);
    }

    #[test]
    fn rules_choose_the_target_to_which_query_and_path_are_added() {
        let german = Condition::Language(LanguageRange::parse("de").unwrap());
        let rule =
            |conditions| Rule { conditions, leads: Leads::To(Target::parse("https://c.d/e", &[], 100).unwrap()) };
        let ruled = |conditions, status| {
            behavior(|of| {
                RULES.change(of, Rules::new(vec![rule(conditions)]).unwrap().as_ref());
                FORWARD_QUERY.change(of, Some(&Set));
                FORWARD_PATH.change(of, Some(&Set));
                REDIRECT_STATUS.change(of, Some(&status));
            })
        };
        let asked = asked(Some("q=1"), Some("/x"));
        let matching = ruled(vec![german], RedirectStatus::TemporaryRedirect);
        let decided = decide("https://a.b/", None, matching.as_deref(), &asked);
        assert_eq!(decided, to("https://c.d/e/x?q=1", RedirectStatus::TemporaryRedirect, 0));
        // No browser keeps it, even if it was given a permanent status by two edits at the same time.
        let other = ruled(vec![Condition::Before(NOW)], RedirectStatus::PermanentRedirect);
        let decided = decide("https://a.b/", None, other.as_deref(), &asked);
        assert_eq!(decided, to("https://a.b/x?q=1", RedirectStatus::TemporaryRedirect, 0));
        assert!(matching.unwrap().bytes() > size_of::<Behavior>() as u64 + 40);
    }

    #[test]
    fn rules_of_a_later_version_are_not_ignored() {
        let mut fields = Fields::default();
        fields.set(28, Some(vec![1, 1, 99, 0]));
        let behavior = Behavior::of(&fields);
        let decided = decide("https://a.b/", None, behavior.as_deref(), &asked(None, None));
        assert_eq!(decided, Decision::Unreadable);
    }
}
