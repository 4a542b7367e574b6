//! What people search for is found, and hostile texts are texts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on can only panic")]

mod common;

use common::{found, link, open, request, texts, write};
use waypost_catalog::{Catalog, CatalogError, Options, RequestError};
use waypost_protocol::listing::{LinkFilter, SortKey, SortValue, TEXT_BYTES_MAX, WORDS_MAX};

/// Each test runs on rows that are sealed, on the newest ones, and on some of both.
fn each(links: &[waypost_protocol::Link], test: impl Fn(&Catalog)) {
    for chunk_links in [1, 2, 1_000] {
        let dir = tempfile::tempdir().unwrap();
        let catalog = open(dir.path(), chunk_links).catalog;
        write(&catalog, links.iter().cloned());
        test(&catalog);
        while catalog.maintain().unwrap() {}
        test(&catalog);
    }
}

#[test]
fn parts_of_words_are_found_whatever_the_case_the_accents_and_the_scheme() {
    let links = [
        texts(link(0, "Spring", "https://www.Example.com/Sale?Color=Red"), "Été à la plage", "Zürich\nLöwe", &[]),
        texts(link(0, "autumn", "http://example.org/b%C3%BCcher"), "日本語", "", &[]),
    ];
    each(&links, |catalog| {
        for (text, slugs) in [
            ("SPRI", &["Spring"][..]),
            ("g", &["Spring", "autumn"]),
            ("z", &["Spring"]),
            ("zu", &["Spring"]),
            ("WE", &["Spring"]),
            ("a l", &["Spring", "autumn"]),
            ("ring l", &["Spring"]),
            ("zurichlowe", &[]),
            ("ete PLAGE", &["Spring"]),
            ("été plage", &["Spring"]),
            ("https://www.example.com/sale", &["Spring"]),
            ("http://www.example.com", &["Spring"]),
            ("www.example", &["Spring"]),
            ("example.", &["Spring", "autumn"]),
            ("https://", &["Spring"]),
            ("bücher", &["autumn"]),
            ("b%c3%bc", &["autumn"]),
            ("本", &["autumn"]),
            ("日本", &["autumn"]),
            ("日本語", &["autumn"]),
            ("日本語の", &[]),
            ("spring autumn", &[]),
            ("red color", &["Spring"]),
            ("", &["Spring", "autumn"]),
        ] {
            assert_eq!(found(catalog, text), slugs, "{text:?}");
        }
    });
}

#[test]
fn hostile_texts_are_found_as_they_are_and_find_nothing_else() {
    let notes = [
        "' OR 1=1 --",
        "\"quoted\" AND NOT NEAR(a b)",
        "100% _under_ * [a-z] (x) {y} ^z \\",
        "🎉🏳️‍🌈 e\u{301}",
        "\u{202e}שלום עולם\u{202c}",
        "مرحبا بالعالم",
        "ﷺ ﬁﬂ Ⅷ",
    ];
    let links: Vec<_> = notes
        .iter()
        .enumerate()
        .map(|(at, note)| texts(link(0, &format!("n{at}"), "https://example.com/"), "", note, &[]))
        .collect();
    each(&links, |catalog| {
        for (at, note) in notes.iter().enumerate() {
            for word in note.split_whitespace().filter(|word| word.chars().count() > 1) {
                let slugs = found(catalog, word);
                assert!(slugs.contains(&format!("n{at}")), "{word:?} {slugs:?}");
            }
            assert_eq!(found(catalog, note), [format!("n{at}")]);
        }
        for text in ["'", "\"", "1=1", "*", "%", "_", "[", "\\", "^z", "8", "viii", "fifl"] {
            assert!(found(catalog, text).len() <= 3, "{text:?}");
        }
        assert_eq!(found(catalog, "%%"), [""; 0]);
        assert_eq!(found(catalog, "a*"), [""; 0]);
        assert_eq!(found(catalog, "near(a\0b)"), ["n1"], "a NUL is white space");
        let accent = catalog.page(&request(LinkFilter { text: "\u{301}".to_owned(), ..LinkFilter::default() }));
        let refused = matches!(accent, Err(CatalogError::Request(RequestError::NoWord)));
        assert!(refused, "an accent alone is no word, and does not mean all links");
    });
}

#[test]
fn the_longest_url_is_found_by_all_of_it_and_by_any_part() {
    let url =
        format!("https://example.com/{}", (0..).map(|number| format!("{number:x}.")).take(2_200).collect::<String>());
    let url = &url[..TEXT_BYTES_MAX];
    let links = [link(0, "long", url), link(0, "other", &url[..4_000])];
    each(&links, |catalog| {
        assert_eq!(found(catalog, url), ["long"]);
        assert_eq!(found(catalog, &url[20..3_000]), ["long", "other"]);
        assert_eq!(found(catalog, &url[5_000..5_020]), ["long"]);
        assert_eq!(found(catalog, &format!("{}x", &url[1_000..5_000])), [""; 0]);
    });
}

#[test]
fn a_title_of_letters_that_stand_for_words_is_found_by_all_of_it_and_ordered_by_its_beginning() {
    // One character that is folded to eighteen.
    let links = [texts(link(0, "a", "https://example.com/"), &format!("{}z", "\u{fdfa}".repeat(511)), "", &[])];
    each(&links, |catalog| {
        assert_eq!(found(catalog, "\u{fdfa}"), ["a"]);
        assert_eq!(found(catalog, "z"), ["a"]);
        let mut by_title = request(LinkFilter::default());
        by_title.sort.key = SortKey::Title;
        let rows = catalog.page(&by_title).unwrap().rows;
        let SortValue::Text(value) = &rows[0].position.value else { panic!("{rows:?}") };
        assert!(value.len() > 252 && value.len() <= 256, "{}", value.len());
        by_title.after = Some(rows[0].position.clone());
        assert_eq!(catalog.page(&by_title).unwrap().rows, []);
    });
}

#[test]
fn a_text_that_is_too_long_or_has_too_many_words_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(dir.path(), 8).catalog;
    let search = |text: String| catalog.page(&request(LinkFilter { text, ..LinkFilter::default() }));
    assert!(search("x".repeat(TEXT_BYTES_MAX)).is_ok());
    let error = search("x".repeat(TEXT_BYTES_MAX + 1)).unwrap_err();
    assert!(matches!(error, CatalogError::Request(RequestError::TextTooLong)));
    let words = |count: usize| (0..count).map(|number| format!("w{number} ")).collect::<String>();
    assert!(search(words(WORDS_MAX)).is_ok());
    let error = search(words(WORDS_MAX + 1)).unwrap_err();
    assert!(matches!(error, CatalogError::Request(RequestError::TooManyWords)));
}

/// The letters of a word may be in many links and the word in none of them: they are not all read for a number.
#[test]
fn a_count_that_would_read_too_many_links_is_a_minimum() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { chunk_links: 50, count_rows: 60, ..Options::default() };
    let catalog = Catalog::open(dir.path(), options).unwrap().catalog;
    write(
        &catalog,
        (0..200).map(|at| texts(link(0, &format!("c{at}"), "https://example.com/"), "the elephant", "", &[])),
    );
    while catalog.maintain().unwrap() {}
    let mut request = request(LinkFilter { text: "elephant".to_owned(), ..LinkFilter::default() });
    request.limit = 1;
    let page = catalog.page(&request).unwrap();
    let matches = page.matches.unwrap();
    assert!(page.more && page.rows.len() == 1);
    assert!(matches.is_minimum && (60..200).contains(&matches.total), "{matches:?}");
}
