//! The report of an import, as CSV: what became of each row.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::client::Failed;
use super::exit;
use super::record::Row;
use crate::cells::harmless;

/// What became of a row.
#[derive(Default)]
pub(super) struct Done {
    pub(super) row: Row,
    pub(super) status: &'static str,
    pub(super) code: String,
    pub(super) short_url: String,
    pub(super) error: String,
}

/// Whether a file is the one that is imported, by whatever name; `-` is standard input.
fn is_same_file(path: &Path, input: &Path) -> bool {
    let input = if input == Path::new("-") { Path::new("/dev/stdin") } else { input };
    let of = |path: &Path| path.metadata().ok().filter(Metadata::is_file).map(|found| (found.dev(), found.ino()));
    of(path).is_some() && of(path) == of(input)
}

/// The report of an import: a row for each row of the file.
pub(super) struct Report {
    writer: csv::Writer<File>,
    path: PathBuf,
}

impl Report {
    fn failed(path: &Path, error: impl ToString) -> Failed {
        Failed::new(exit::FAILURE, format!("{}: {}", path.display(), error.to_string()))
    }

    /// Begins a report. One that exists is overwritten only with `force`, and the file that is imported never.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn create(path: &Path, input: &Path, force: bool) -> Result<Self, Failed> {
        let usage = |detail: String| Failed::new(exit::USAGE, format!("{}: {detail}", path.display()));
        if is_same_file(path, input) {
            return Err(usage("the report would overwrite the file that is imported; give it another name".to_owned()));
        }
        let mut options = OpenOptions::new();
        options.write(true);
        let file = if force { options.create(true).truncate(true) } else { options.create_new(true) }.open(path);
        let file = file.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                usage("the report exists already; give it another name, or --force to overwrite it".to_owned())
            }
            _ => usage(crate::account::told(&error)),
        })?;
        let mut writer = csv::Writer::from_writer(file);
        writer
            .write_record(["row", "url", "slug", "status", "shortCode", "shortUrl", "error", "notImported"])
            .map_err(|error| Self::failed(path, error))?;
        Ok(Self { writer, path: path.to_owned() })
    }

    /// Adds what became of a row.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&mut self, done: &Done) -> Result<(), Failed> {
        let (line, slug) = (done.row.line.to_string(), done.row.slug.as_deref().unwrap_or_default());
        let row = &done.row;
        let cells = [&line, &row.url, slug, done.status, &done.code, &done.short_url, &done.error, &row.ignored];
        // Most cells come from somebody else, and people open a report with a spreadsheet.
        self.writer
            .write_record(cells.map(|cell| harmless(cell).into_owned()))
            .map_err(|error| Self::failed(&self.path, error))
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn finish(self) -> Result<(), Failed> {
        let mut file = self.writer.into_inner().map_err(|error| Self::failed(&self.path, error))?;
        file.flush().map_err(|error| Self::failed(&self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_not_written_over_the_file_that_is_imported_by_whatever_name() {
        let dir = tempfile::tempdir().unwrap();
        let [input, hard, soft, other] =
            ["in.csv", "hard.csv", "soft.csv", "other.csv"].map(|name| dir.path().join(name));
        std::fs::write(&input, "url\nhttps://example.com/a\n").unwrap();
        std::fs::hard_link(&input, &hard).unwrap();
        std::os::unix::fs::symlink(&input, &soft).unwrap();
        for report in [&input, &hard, &soft] {
            let refused = Report::create(report, &input, true).err().unwrap();
            assert!(refused.message.contains("would overwrite the file that is imported"), "{}", refused.message);
        }
        assert_eq!(std::fs::read_to_string(&input).unwrap(), "url\nhttps://example.com/a\n");
        assert!(Report::create(&other, &input, false).is_ok());
    }
}
