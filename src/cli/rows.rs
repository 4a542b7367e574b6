//! The rows of an import file: a URL a line, or CSV with a header.

use std::io::{self, BufRead, BufReader, Read};

use csv::{ByteRecord, StringRecord};

use super::columns::{self, Column};
use super::record::{Header, Row};

/// The longest line: a URL of the largest possible size, and other columns. A longer one is cut here and refused
/// by the server.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How many bytes of the file are examined to recognise its format.
const SAMPLE_BYTES: u64 = 64 * 1024;

/// How many lines of the file are examined.
const SAMPLE_LINES: usize = 100;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A row, or the error in the file at this line.
pub(super) type RowResult = Result<Row, String>;

/// An import file with a known format.
pub(super) struct Rows {
    /// Its rows, read one by one, so that a file of any length can be imported.
    pub(super) rows: Box<dyn Iterator<Item = RowResult>>,
    /// Columns that are not imported.
    pub(super) ignored: Vec<String>,
}

/// Recognises the format of a file: a list of URLs, or CSV whose header names a column of URLs.
///
/// # Errors
/// If it is neither; the message says what to change. Nothing was imported then.
pub(super) fn read<R: BufRead + 'static>(input: R) -> Result<Rows, String> {
    let mut input = LineEnds { input, after_return: false };
    let mut sample = Vec::new();
    input.by_ref().take(SAMPLE_BYTES).read_to_end(&mut sample).map_err(|error| error.to_string())?;
    if sample.starts_with(b"\xef\xbb\xbf") {
        sample.drain(..3);
    }
    if sample.starts_with(b"\xff\xfe") || sample.starts_with(b"\xfe\xff") {
        return Err("it is UTF-16; save it as UTF-8 (spreadsheets call that \"CSV UTF-8\")".to_owned());
    }
    let text = String::from_utf8_lossy(&sample).into_owned();
    // Some spreadsheets begin with the delimiter.
    let is_delimiter = |line: &str| line.len() == 5 && line.starts_with("sep=");
    let significant = |line: &&str| !line.trim().is_empty() && !line.starts_with('#') && !is_delimiter(line);
    let skipped = text.lines().take_while(|line| !significant(line)).count();
    let head: Vec<&str> = text.lines().skip(skipped).filter(significant).take(SAMPLE_LINES).collect();
    let whole = BufReader::new(io::Cursor::new(sample).chain(input));
    let Some(first) = head.first() else { return Ok(Rows { rows: Box::new(lines(whole)), ignored: Vec::new() }) };
    let inner = first.trim_start_matches(['[', '{']).trim_start();
    if inner.len() < first.len() && (inner.is_empty() || inner.starts_with('"')) {
        return Err("it looks like JSON; make a list of URLs of it, one a line, or CSV with the columns url and slug"
            .to_owned());
    }
    let header =
        |delimiter: &u8| Some((*delimiter, columns::of_header(cells(first, *delimiter).iter().map(String::as_str))?));
    if let Some((delimiter, columns)) = DELIMITERS.iter().filter_map(header).max_by_key(|(_, columns)| columns.len()) {
        return csv_rows(whole, skipped, delimiter, columns);
    }
    if !is_like_a_url(first)
        && !DELIMITERS.iter().any(|delimiter| cells(first, *delimiter).iter().any(|cell| is_like_a_url(cell)))
    {
        return Err(format!(
            "line {} is neither a URL nor a header that names a column of URLs: give that column the name \"url\", and the one of \
             the codes the name \"slug\"",
            skipped + 1
        ));
    }
    if let Some(delimiter) = DELIMITERS.iter().chain(b" ").find(|delimiter| is_headerless_csv(&head, **delimiter)) {
        return Err(format!(
            "it looks like CSV without a header: every line has a URL and more, with {:?} between. Put a first line above that names \
             the columns, such as url{0}slug",
            char::from(*delimiter)
        ));
    }
    Ok(Rows { rows: Box::new(lines(whole)), ignored: Vec::new() })
}

/// Converts line ends to `\n`, so that lines are counted alike on every platform.
struct LineEnds<R> {
    input: R,
    after_return: bool,
}

impl<R: BufRead> Read for LineEnds<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() || into.is_empty() {
                return Ok(0);
            }
            let (mut taken, mut written) = (0, 0);
            for byte in buffer {
                if written == into.len() {
                    break;
                }
                taken += 1;
                let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
                if *byte == b'\n' && after_return {
                    continue;
                }
                into[written] = if *byte == b'\r' { b'\n' } else { *byte };
                written += 1;
            }
            self.input.consume(taken);
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

/// The cells of one line.
fn cells(line: &str, delimiter: u8) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(line.as_bytes());
    let record = reader.records().next().and_then(Result::ok);
    record.map_or_else(Vec::new, |record| record.iter().map(str::to_owned).collect())
}

fn is_like_a_url(text: &str) -> bool {
    text.contains("://") || text.contains('.') && !text.contains(' ')
}

/// Whether all lines have several cells, with a URL always in the same one.
fn is_headerless_csv(lines: &[&str], delimiter: u8) -> bool {
    let shape = |line: &&str| {
        let cells = cells(line, delimiter);
        let several = cells.iter().filter(|cell| !cell.is_empty()).count() >= 2;
        cells.iter().position(|cell| is_like_a_url(cell)).filter(|_| several)
    };
    let mut shapes = lines.iter().map(shape);
    let first = shapes.next().flatten();
    first.is_some() && shapes.all(|shape| shape == first)
}

/// Whether a line is a URL and another one after a delimiter.
fn has_two_urls(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let mut ends = line.match_indices("://").skip(1).filter_map(|(at, _)| {
        let before = line[..at].strip_suffix("https").or_else(|| line[..at].strip_suffix("http"))?;
        before.trim_end_matches(['"', '\'']).chars().next_back()
    });
    ends.any(|end| end == ' ' || end.is_ascii() && DELIMITERS.contains(&(end as u8)))
}

fn not_utf8(line: u64) -> String {
    format!("line {line} is not UTF-8; save the file as UTF-8, or escape the URL")
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
                let url = String::from_utf8_lossy(&bytes).trim().to_owned();
                return Some(Ok(Row { line, url, refusal: Some(not_utf8(line)), ..Row::default() }));
            };
            let url = text.trim_end_matches('\n').trim_matches(' ');
            if !url.is_empty() && !url.starts_with('#') {
                // A remark, and what stands between the lines of a list in a program.
                let url = url.split_once(" #").map_or(url, |(url, _)| url).trim_end().trim_end_matches(',');
                let refusal = has_two_urls(url).then(|| format!("line {line} has two URLs; write one a line"));
                return Some(Ok(Row { line, url: url.to_owned(), refusal, ..Row::default() }));
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

fn csv_rows<R: BufRead + 'static>(
    mut input: R,
    skipped: usize,
    delimiter: u8,
    columns: Vec<Column>,
) -> Result<Rows, String> {
    for _ in 0..skipped {
        skip_line(&mut input).map_err(|error| error.to_string())?;
    }
    // A line end is added after the last record: lines are counted at the ends of records, because the reader treats blank lines
    // as the beginning of the next record.
    let input = input.chain(&b"\n"[..]);
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).trim(csv::Trim::All).from_reader(input);
    let names = reader.byte_headers().map_err(|error| error.to_string())?;
    let names = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let header = Header { names, columns };
    let ignored = header.ignored();
    let mut record = ByteRecord::new();
    let rows = std::iter::from_fn(move || match reader.read_byte_record(&mut record) {
        Ok(false) => None,
        Ok(true) => {
            let within = record.iter().flatten().filter(|byte| **byte == b'\n').count() as u64;
            let line = reader.position().line() - 1 - within + skipped as u64;
            Some(Ok(match StringRecord::from_byte_record(record.clone()) {
                Ok(record) => header.row(line, &record),
                Err(_) => {
                    let record: StringRecord = record.iter().map(String::from_utf8_lossy).collect();
                    Row { refusal: Some(not_utf8(line)), ..header.row(line, &record) }
                }
            }))
        }
        Err(error) => Some(Err(error.to_string())),
    });
    Ok(Rows { rows: Box::new(rows), ignored })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        file(text).unwrap().rows.map(Result::unwrap).collect()
    }

    fn file(text: &str) -> Result<Rows, String> {
        read(io::Cursor::new(text.as_bytes().to_vec()))
    }

    fn row(line: u64, url: &str, slug: Option<&str>) -> Row {
        let (url, slug) = (url.to_owned(), slug.map(str::to_owned));
        Row { line, url, slug, ..Row::default() }
    }

    #[test]
    fn the_columns_of_other_shorteners_are_read_and_what_is_not_imported_is_named() {
        let text = "keyword,url,ip,clicks\nsale,https://a.example/,::1,7\n,https://b.example/,,\n";
        let file = file(text).unwrap();
        assert_eq!(file.ignored, ["ip", "clicks"]);
        let rows: Vec<Row> = file.rows.map(Result::unwrap).collect();
        let sale = Row { ignored: "ip clicks".to_owned(), ..row(2, "https://a.example/", Some("sale")) };
        assert_eq!(rows, [sale, row(3, "https://b.example/", None)]);
    }

    #[test]
    fn a_header_may_come_after_comments_and_with_any_delimiter() {
        assert_eq!(rows("sep=;\nurl;slug\nhttps://a.example/;one\n"), [row(3, "https://a.example/", Some("one"))]);
        for delimiter in [",", ";", "\t", "|"] {
            let text =
                format!("\u{feff}\n# exported today\n\nslug{delimiter}url\none{delimiter}https://a.example/?q=1\n");
            assert_eq!(rows(&text), [row(5, "https://a.example/?q=1", Some("one"))], "{delimiter:?}");
        }
    }

    #[test]
    fn a_row_is_in_the_line_that_an_editor_shows_whatever_the_ends_of_lines_are() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["url,slug", "https://a.example/,one", "https://b.example/,two", ""].join(end);
            assert_eq!(
                rows(&text),
                [row(2, "https://a.example/", Some("one")), row(3, "https://b.example/", Some("two"))],
                "{end:?}"
            );
            let text = ["slug,url", "", "one,https://a.example/", "", "", "\"two\",https://b.example/"].join(end);
            assert_eq!(
                rows(&text),
                [row(3, "https://a.example/", Some("one")), row(6, "https://b.example/", Some("two"))],
                "{end:?}"
            );
            let text = ["https://a.example/", "", "https://b.example/"].join(end);
            assert_eq!(
                rows(&text),
                [row(1, "https://a.example/", None), row(3, "https://b.example/", None)],
                "{end:?}"
            );
        }
    }

    #[test]
    fn a_file_that_is_not_understood_is_refused_with_what_to_change() {
        for (text, part) in [
            ("https://a.example/,one\nhttps://b.example/,two\n", "without a header"),
            ("one;https://a.example/\n", "without a header"),
            ("https://a.example/\tone\nhttps://b.example/\ttwo\n", "without a header"),
            ("https://a.example/ one\nhttps://b.example/ two\n", "without a header"),
            ("name,clicks\na,1\n", "names a column of URLs"),
            ("links\nhttps://a.example/\n", "line 1 is neither"),
            ("https://a.example/;c1\nhttps://a.example/;c2;x\n", "without a header"),
            ("c1,https://a.example/,Title\nc2,https://a.example/,See https://b.example/\n", "without a header"),
            ("[{\"url\":\"https://a.example/\"}]", "looks like JSON"),
            ("{\"url\":\"https://a.example/\"}\n{}", "looks like JSON"),
            ("# x\n\nfoo|bar\nhttps://a.example/|one\n", "line 3 is neither"),
        ] {
            let refused = file(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    #[test]
    fn a_record_that_is_not_what_the_header_says_is_refused_and_keeps_its_place() {
        let read =
            |bytes: &[u8]| read(io::Cursor::new(bytes.to_vec())).unwrap().rows.map(Result::unwrap).collect::<Vec<_>>();
        let longer = read(b"url,slug\nhttps://a.example/?a=1,2,one\nhttps://a.example/,two,\n");
        assert!(longer[0].refusal.as_ref().unwrap().contains("3 cells, and the header has 2"), "{longer:?}");
        assert_eq!(longer[1], row(3, "https://a.example/", Some("two")));
        let latin = read(b"url,title\nhttps://a.example/,caf\xe9\n");
        assert_eq!((latin[0].line, latin[0].url.as_str()), (2, "https://a.example/"));
        assert!(latin[0].refusal.as_ref().unwrap().contains("line 2 is not UTF-8; save the file as UTF-8"));
    }

    #[test]
    fn a_list_is_read_without_remarks_and_with_one_url_a_line() {
        let text = "https://a.example/,\nhttps://b.example/x,y # the second\n\"https://c.example/\",\n";
        let urls: Vec<String> = rows(text).into_iter().map(|row| row.url).collect();
        assert_eq!(urls, ["https://a.example/", "https://b.example/x,y", "\"https://c.example/\""]);
        let two = rows(
            "https://a.example/\nhttps://b.example/,https://s.example/b\nhttps://a.example/?to=https://b.example/\n",
        );
        assert!(two[1].refusal.as_ref().unwrap().contains("line 2 has two URLs"));
        assert_eq!((&two[0].refusal, &two[2].refusal), (&None, &None));
        let spaced = rows("https://a.example/\nhttps://a.example/ HTTPS://b.example/\n");
        assert!(spaced[1].refusal.as_ref().unwrap().contains("line 2 has two URLs"));
    }

    #[test]
    fn a_file_in_another_encoding_is_named() {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let bytes: Vec<u8> = "\u{feff}url,slug\n".encode_utf16().flat_map(order).collect();
            let refused = read(io::Cursor::new(bytes)).err().unwrap();
            assert!(refused.contains("it is UTF-16; save it as UTF-8"), "{refused}");
        }
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
        let rows: Vec<RowResult> = read(io::Cursor::new(text)).unwrap().rows.collect();
        assert!(rows[0].as_ref().unwrap().refusal.as_ref().unwrap().contains("line 1 is not UTF-8"));
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
