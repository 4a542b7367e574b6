//! Which of several languages a visitor reads best.

/// The language of `known` that an `Accept-Language` (RFC 9110) prefers; `None` if it names none of them.
///
/// A range with more parts, such as `de-AT`, stands for its language if the whole is not known.
pub fn preferred<'a>(accept: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let mut best: Option<(&str, f32)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let quality = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1.0, |value| value.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0));
        let found = |tag: &str| known.clone().find(|known| known.eq_ignore_ascii_case(tag));
        let language = found(tag).or_else(|| found(tag.split('-').next().unwrap_or_default()));
        // Of two with the same quality, the first one counts.
        if let Some(language) = language.filter(|_| quality > 0.0 && best.is_none_or(|(_, than)| quality > than)) {
            best = Some((language, quality));
        }
    }
    best.map(|(language, _)| language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_known_one_that_the_visitor_wants_most() {
        let known = ["de", "en", "fr", "pt", "pt-br"];
        for (accept, language) in [
            ("de", Some("de")),
            ("de-AT,de;q=0.9,en;q=0.8", Some("de")),
            ("nl,en;q=0.7,fr;q=0.8", Some("fr")),
            ("fr;q=0.5,DE;q=0.5", Some("fr")),
            ("pt-PT", Some("pt")),
            ("pt-BR", Some("pt-br")),
            ("en;q=0, fr;q=0.1", Some("fr")),
            ("de;q=high, en;q=0.1", Some("en")),
            ("en ; q=0.3 , de ; q=0.4", Some("de")),
            ("", None),
            ("*", None),
            ("nl", None),
            ("de;q=0", None),
            (",;,=,--", None),
        ] {
            assert_eq!(preferred(accept, known.into_iter()), language, "{accept}");
        }
    }
}
