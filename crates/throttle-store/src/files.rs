//! Files that appear as a whole, and that only their owner can read.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// Replaces the file at `path` by a new one, with what `write` writes to it. It is on the disk when this returns. If
/// anything fails, the file is as it was.
///
/// Only its owner can read the new file: the id of a peer is all that it takes to act for it.
///
/// # Errors
///
/// Those of `write` and of the system.
pub fn replace<T>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut File) -> io::Result<T>,
) -> io::Result<T> {
    let path = path.as_ref();
    let unfinished = beside(path, ".tmp");
    let replace = || {
        let options = &mut OpenOptions::new();
        let mut file = private(options).create(true).truncate(true).open(&unfinished)?;
        let written = write(&mut file)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_directory(path)?;
        Ok(written)
    };
    let replaced = replace();
    if replaced.is_err() {
        // The error says more than one of the removal would.
        let _ = fs::remove_file(&unfinished);
    }
    replaced
}

/// The path with something appended to the name of the file.
pub(crate) fn beside(path: &Path, appended: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(appended);
    beside.into()
}

/// Options to make a file that only its owner can read, and to write it.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.write(true)
}

/// A path, and the file to which it led.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    /// Device and number of the file. `None` where the system lets nobody move or delete a file that is open.
    file: Option<(u64, u64)>,
}

impl Place {
    /// The file to which `path` leads now.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: file_at(path)? })
    }

    /// Whether the path still leads to the same file.
    pub(crate) fn is_same(&self) -> bool {
        file_at(&self.path).is_ok_and(|file| file == self.file)
    }
}

fn file_at(path: &Path) -> io::Result<Option<(u64, u64)>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::metadata(path)?;
        Ok(Some((metadata.dev(), metadata.ino())))
    }
    #[cfg(not(unix))]
    fs::metadata(path).map(|_| None)
}

/// Makes the name of a new file durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Other systems keep names without being asked, and cannot open a directory.
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("it");
        assert_eq!(replace(&path, |file| file.write(b"one")).unwrap(), 3);
        let cut_off = replace(&path, |file| {
            file.write_all(b"tw")?;
            Err::<(), _>(io::ErrorKind::UnexpectedEof.into())
        });
        assert!(cut_off.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn others_cannot_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("it");
        replace(&path, |_| Ok(())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
