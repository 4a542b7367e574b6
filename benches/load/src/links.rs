//! Codes and URLs read from files, kept in two flat buffers: a million links must not become two million allocations.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use crate::error::LoadError;

/// Longest URL the server takes, and so the longest line worth sending.
const URL_BYTES_MAX: usize = 8 * 1024;
/// Longest code or alias that goes into a request line here.
const CODE_BYTES_MAX: usize = 256;

/// Lines of a file, in order.
///
/// Invariant: `ends` never decreases and its last value is `bytes.len()`.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Lines {
    /// Number of lines.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Line `index`, which is below [`Self::len`].
    #[must_use]
    pub fn get(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }

    fn push(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let end = u32::try_from(self.bytes.len() + line.len()).map_err(|_| "the file is over 4 GiB")?;
        self.bytes.extend_from_slice(line);
        self.ends.push(end);
        Ok(())
    }
}

/// Reads the codes of `path`: the first column of each line that is not blank.
///
/// # Errors
/// When the file cannot be read, is empty, or holds a code that does not fit a request line.
pub fn read_codes(path: &Path) -> Result<Lines, LoadError> {
    read(path, |lines, code, _| {
        if code.len() > CODE_BYTES_MAX || !code.iter().all(u8::is_ascii_graphic) {
            return Err("not a code");
        }
        lines.push(code)
    })
}

/// Reads the URLs of `path`, one a line.
///
/// # Errors
/// When the file cannot be read, is empty, or holds a URL that needs JSON escapes or is too long.
pub fn read_urls(path: &Path) -> Result<Lines, LoadError> {
    read(path, |lines, url, _| {
        if url.len() > URL_BYTES_MAX {
            return Err("longer than 8 KiB");
        }
        if url.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
            return Err("needs JSON escapes");
        }
        lines.push(url)
    })
}

/// Reads the expected target of each of `codes` from `path` (code, tab, URL). A code that the file does not name gets an
/// empty line, which means that it is not checked.
///
/// # Errors
/// When the file cannot be read, is empty, or has a line without a tab.
pub fn read_targets(path: &Path, codes: &Lines) -> Result<Lines, LoadError> {
    let mut wanted: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    read(path, |_, code, url| {
        wanted.insert(code.to_vec(), url.ok_or("no tab")?.to_vec());
        Ok(())
    })?;
    let mut targets = Lines::default();
    for index in 0..codes.len() {
        let target = wanted.get(codes.get(index)).map_or(&[][..], Vec::as_slice);
        targets.push(target).map_err(|why| LoadError::Line { path: PathBuf::from(path), line: 0, why })?;
    }
    Ok(targets)
}

type Take<'a> = dyn FnMut(&mut Lines, &[u8], Option<&[u8]>) -> Result<(), &'static str> + 'a;

fn read<'a>(
    path: &Path,
    mut take: impl FnMut(&mut Lines, &[u8], Option<&[u8]>) -> Result<(), &'static str> + 'a,
) -> Result<Lines, LoadError> {
    let take: &mut Take<'a> = &mut take;
    let text = fs::read(path).map_err(|source| LoadError::File { path: path.to_owned(), source })?;
    let mut lines = Lines::default();
    let mut taken = false;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let mut columns = line.splitn(2, |byte| *byte == b'\t');
        let first = columns.next().unwrap_or_default();
        take(&mut lines, first, columns.next()).map_err(|why| LoadError::Line {
            path: path.to_owned(),
            line: index + 1,
            why,
        })?;
        taken = true;
    }
    if taken { Ok(lines) } else { Err(LoadError::Empty(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn codes_are_the_first_column_and_blank_lines_do_not_count() {
        let (_dir, path) = file("abc\thttps://e.com/1\n\ndefg\n");
        let codes = read_codes(&path).unwrap();
        assert_eq!(codes.len(), 2);
        assert_eq!(codes.get(0), b"abc");
        assert_eq!(codes.get(1), b"defg");
    }

    #[test]
    fn targets_follow_the_order_of_the_codes() {
        let (_a, codes) = file("b\nmissing\na\n");
        let (_b, pairs) = file("a\thttps://e.com/a\nb\thttps://e.com/b\n");
        let codes = read_codes(&codes).unwrap();
        let targets = read_targets(&pairs, &codes).unwrap();
        assert_eq!(targets.get(0), b"https://e.com/b");
        assert_eq!(targets.get(1), b"");
        assert_eq!(targets.get(2), b"https://e.com/a");
    }

    #[test]
    fn a_line_that_would_break_the_request_is_named() {
        let (_a, path) = file("ok\nnot ok\n");
        assert!(matches!(read_codes(&path), Err(LoadError::Line { line: 2, .. })));
        let (_b, path) = file("https://e.com/\"x\n");
        assert!(matches!(read_urls(&path), Err(LoadError::Line { line: 1, .. })));
        let (_c, path) = file("\n\n");
        assert!(matches!(read_urls(&path), Err(LoadError::Empty(_))));
    }
}
