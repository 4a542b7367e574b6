//! A failing disk, a wrong clock, and power cuts: the library `faults.c`, loaded into a node, follows the files of a
//! directory.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use rand::RngExt;

use crate::NodeBuilder;

const SOURCE: &str = include_str!("faults.c");

/// The faults of one node's machine. None at first.
pub struct Faults {
    dir: PathBuf,
    library: &'static Path,
}

/// The library, built once for each run of tests; needs a C compiler, as the product's own build does.
fn library() -> Result<&'static Path> {
    static BUILT: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir().ok()?;
        let (source, library) = (dir.path().join("faults.c"), dir.path().join("faults.so"));
        std::fs::write(&source, SOURCE).ok()?;
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let done =
            Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).status().ok()?;
        done.success().then_some((dir, library))
    });
    let (_, library) = built.as_ref().context("the faults could not be compiled")?;
    Ok(library)
}

impl Faults {
    /// The faults of one machine, which reads them from the directory `dir`.
    ///
    /// # Errors
    /// If there is no C compiler.
    pub fn new(dir: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, library: library()? })
    }

    /// Starts a node on that machine.
    #[must_use]
    pub fn load_into(&self, builder: NodeBuilder) -> NodeBuilder {
        let data = builder.data_dir().display().to_string();
        builder
            .env("LD_PRELOAD", &self.library.display().to_string())
            .env("FAULT_DIR", &self.dir.display().to_string())
            .env("FAULT_DATA", &data)
    }

    fn set(&self, name: &str, on: bool) -> Result<()> {
        let path = self.dir.join(name);
        if on {
            std::fs::write(path, "")?;
        } else if path.exists() {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    /// From now on every sync fails with EIO.
    ///
    /// # Errors
    /// If the fault file cannot be written.
    pub fn sync_fails(&self, on: bool) -> Result<()> {
        self.set("sync-fails", on)
    }

    /// From now on every write at an offset of a file fails with ENOSPC.
    ///
    /// # Errors
    /// If the fault file cannot be written.
    pub fn disk_full(&self, on: bool) -> Result<()> {
        self.set("full", on)
    }

    /// From now on the wall clock is off by this many milliseconds.
    ///
    /// # Errors
    /// If the fault file cannot be written.
    pub fn clock_off_by_ms(&self, offset: i64) -> Result<()> {
        self.clocks_off_by_ms(offset, 0)
    }

    /// From now on the wall clock is off by `wall` milliseconds, and the time since boot by `boot`. After a suspension both
    /// are ahead by the same; if the clock was set, only the first is.
    ///
    /// # Errors
    /// If the fault file cannot be written.
    pub fn clocks_off_by_ms(&self, wall: i64, boot: i64) -> Result<()> {
        let path = self.dir.join("clock.new");
        std::fs::write(&path, format!("{wall} {boot}"))?;
        Ok(std::fs::rename(path, self.dir.join("clock"))?)
    }

    /// From now on, records the content of files before each write; for [`Faults::cut_power`].
    ///
    /// # Errors
    /// If the fault file cannot be written.
    pub fn watch_writes(&self) -> Result<()> {
        self.set("power", true)
    }

    /// Reverts memory-mapped files to their last synced content.
    fn cut_mapped(&self, data: &Path) -> Result<()> {
        let Ok(entries) = std::fs::read_dir(data.join("journal")) else { return Ok(()) };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
            let length = std::fs::metadata(&path)?.len();
            let kept = self.dir.join(format!("mapped-{name}"));
            if kept.exists() {
                std::fs::copy(&kept, &path)?;
            } else {
                File::create(&path)?;
            }
            File::options().write(true).open(&path)?.set_len(length)?;
        }
        Ok(())
    }

    /// Simulates a power cut after the process, whose data is in `data`, was killed: reverts what it had written and not synced. As disks may
    /// keep unsynced writes, each such write is kept with the probability `kept`. Returns the number of reverted writes.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn cut_power(&self, data: &Path, kept: f64) -> Result<usize> {
        self.cut_mapped(data)?;
        let undo = self.dir.join("undo");
        if !undo.exists() {
            return Ok(0);
        }
        let mut text = Vec::new();
        File::open(&undo)?.read_to_end(&mut text)?;
        let (mut writes, mut synced) = (Vec::new(), HashMap::new());
        let mut rest = &text[..];
        while let Some((head, after)) = rest.split_first_chunk::<48>() {
            let number =
                |i: usize| u64::from_ne_bytes(head[8 * i..8 * i + 8].try_into().expect("invariant: eight bytes"));
            let (path_length, old_length) = (number(5) as usize, number(4) as usize);
            ensure!(after.len() >= path_length + old_length, "the list of writes is cut short");
            let path = PathBuf::from(std::str::from_utf8(&after[..path_length])?);
            match head[0] {
                b'W' => {
                    let old = &after[path_length..path_length + old_length];
                    writes.push((number(1), path, number(2), number(3), old));
                }
                _ => {
                    synced.insert(path, number(1));
                }
            }
            rest = &after[path_length + old_length..];
        }
        let mut taken = 0;
        for (sequence, path, old_size, offset, old) in writes.into_iter().rev() {
            let durable = synced.get(&path).is_some_and(|upto| sequence < *upto);
            if durable || !path.exists() || crate::chance(|rng| rng.random_bool(kept)) {
                continue;
            }
            let file = File::options().write(true).open(&path)?;
            file.write_all_at(old, offset)?;
            // Remove what was beyond the former end, except what later writes that were kept have put there.
            if kept == 0.0 && file.metadata()?.len() > old_size {
                file.set_len(old_size)?;
            }
            taken += 1;
        }
        std::fs::remove_file(undo)?;
        Ok(taken)
    }
}
