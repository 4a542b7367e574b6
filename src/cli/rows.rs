//! The rows of an import file: a URL a line, or CSV with a header.

use std::io::{BufRead, Read};

/// One row to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// Its line in the file, from 1.
    pub(super) line: u64,
    pub(super) url: String,
    pub(super) slug: Option<String>,
    pub(super) valid_until: Option<String>,
}

/// The longest line: a URL of the largest possible size, and what may stand beside it. A longer one is cut here and refused
/// by the server.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// A row, or what is wrong with the file there.
pub(super) type RowResult = Result<Row, String>;

/// Reads rows one by one, so that a file of any length can be imported.
pub(super) fn read<R: BufRead + 'static>(mut input: R) -> Result<Box<dyn Iterator<Item = RowResult>>, String> {
    let head = input.fill_buf().map_err(|error| error.to_string())?;
    if head.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    let head = input.fill_buf().map_err(|error| error.to_string())?;
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let header = String::from_utf8_lossy(first).to_lowercase();
    let delimiter = if header.contains(';') { b';' } else { b',' };
    let columns: Vec<&str> =
        header.split(char::from(delimiter)).map(|column| column.trim().trim_matches('"')).collect();
    if columns.iter().any(|column| matches!(*column, "url" | "longurl" | "long url")) {
        csv_rows(input, delimiter)
    } else {
        Ok(Box::new(lines(input)))
    }
}

fn lines<R: BufRead>(mut input: R) -> impl Iterator<Item = RowResult> {
    let mut line = 0;
    std::iter::from_fn(move || {
        loop {
            let mut bytes = Vec::new();
            match input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(error.to_string())),
            }
            line += 1;
            if bytes.len() as u64 == LINE_BYTES_MAX && !bytes.ends_with(b"\n") {
                return Some(match skip_line(&mut input) {
                    Ok(()) => Err(format!("line {line} is longer than {LINE_BYTES_MAX} bytes, which no URL is")),
                    Err(error) => Err(error.to_string()),
                });
            }
            let Ok(text) = std::str::from_utf8(&bytes) else {
                return Some(Err(format!("line {line} is not UTF-8; save the file as UTF-8, or escape the URL")));
            };
            let url = text.trim_end_matches(['\n', '\r']).trim_matches(' ');
            if !url.is_empty() && !url.starts_with('#') {
                return Some(Ok(Row { line, url: url.to_owned(), slug: None, valid_until: None }));
            }
        }
    })
}

/// Reads to the end of a line, in pieces.
fn skip_line(input: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (length, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(length);
        if ended {
            return Ok(());
        }
    }
}

fn csv_rows<R: BufRead + 'static>(input: R, delimiter: u8) -> Result<Box<dyn Iterator<Item = RowResult>>, String> {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).trim(csv::Trim::All).from_reader(input);
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let find = |names: &[&str]| header.iter().position(|column| names.contains(&column.to_lowercase().as_str()));
    let url = find(&["url", "longurl", "long url"]).ok_or("the header names no column url")?;
    let (slug, until) =
        (find(&["slug", "customslug", "short code", "shortcode"]), find(&["validuntil", "valid until"]));
    Ok(Box::new(reader.into_records().map(move |record| {
        let record = record.map_err(|error| error.to_string())?;
        let field = |index: Option<usize>| {
            index.and_then(|index| record.get(index)).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Ok(Row {
            line: record.position().map_or(0, csv::Position::line),
            url: field(Some(url)).unwrap_or_default(),
            slug: field(slug),
            valid_until: field(until),
        })
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        read(std::io::Cursor::new(text.as_bytes().to_vec())).unwrap().map(Result::unwrap).collect()
    }

    fn row(line: u64, url: &str, slug: Option<&str>) -> Row {
        Row { line, url: url.to_owned(), slug: slug.map(str::to_owned), valid_until: None }
    }

    #[test]
    fn a_list_of_urls_is_read_line_by_line() {
        let text = "\u{feff}https://a.example/\r\n\n# note\n  https://b.example/x,y  \nexample.com";
        assert_eq!(
            rows(text),
            [row(1, "https://a.example/", None), row(4, "https://b.example/x,y", None), row(5, "example.com", None)]
        );
    }

    #[test]
    fn csv_is_known_by_its_header() {
        for text in [
            "url,slug\nhttps://a.example/,one\n\"https://b.example/?q=1,2\",\n",
            "Slug;URL\none;https://a.example/\n;\"https://b.example/?q=1,2\"\n",
        ] {
            assert_eq!(
                rows(text),
                [row(2, "https://a.example/", Some("one")), row(3, "https://b.example/?q=1,2", None)],
                "{text}"
            );
        }
    }

    #[test]
    fn bad_bytes_and_endless_lines_are_refused_one_by_one() {
        let mut text = b"https://a.example/caf\xe9\nhttps://b.example/\n".to_vec();
        text.extend(vec![b'x'; 3 * LINE_BYTES_MAX as usize]);
        text.extend(b"\nhttps://c.example/\n");
        let rows: Vec<RowResult> = read(std::io::Cursor::new(text)).unwrap().collect();
        assert!(rows[0].as_ref().unwrap_err().contains("line 1 is not UTF-8"));
        assert_eq!(rows[1].as_ref().unwrap(), &row(2, "https://b.example/", None));
        assert!(rows[2].as_ref().unwrap_err().contains("line 3 is longer"));
        assert_eq!(rows[3].as_ref().unwrap(), &row(4, "https://c.example/", None));
        assert_eq!(rows.len(), 4);
    }

    #[test]
    fn a_row_without_a_url_is_left_to_the_server_to_refuse() {
        assert_eq!(rows("url,slug\n,x\n"), [row(2, "", Some("x"))]);
        assert_eq!(rows(""), []);
    }
}
