//! Sockets in the file system, for clients on the same machine.
//!
//! The file of a socket outlives a server that was killed, and the file system does not show whether a server
//! still listens on it. Two servers that both consider it stale would replace each other's socket, and both would
//! grant the same locks. So each server locks a second file, `….lock`, which the system unlocks when the process
//! ends, for whatever reason. That file is never removed: otherwise two servers could lock two files of the same
//! name.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    os::unix::{fs::FileTypeExt as _, net},
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

/// A socket that a server listens on. Dropping it removes its file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
    /// Locked.
    _lock: File,
}

impl SocketFile {
    /// Creates the file of a socket and listens on it. A stale file of an earlier server is replaced.
    ///
    /// # Errors
    ///
    /// If the path is empty (Linux would choose a random name), if there is a file of another kind, if another
    /// program listens on it, or if the system refuses.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "the file of the socket has no name",
            ));
        }
        let mut lock_name = OsString::from(path);
        lock_name.push(".lock");
        let lock = File::options().create(true).write(true).truncate(false).open(lock_name)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If this fails, the next server replaces the file.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the file of a socket on which no program listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match net::UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(in_use()),
    }
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, "another program listens on it")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn the_socket_of_a_dead_server_is_replaced_and_that_of_a_living_one_is_not() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("throttle.sock");
        // The standard library leaves the file behind.
        drop(net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());

        let socket = SocketFile::bind(&path).unwrap();
        assert_eq!(SocketFile::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        tokio::net::UnixStream::connect(&path).await.unwrap();
        drop(socket);
        assert!(!path.exists());
        SocketFile::bind(&path).unwrap();
    }

    #[tokio::test]
    async fn a_socket_needs_a_name() {
        assert_eq!(SocketFile::bind(Path::new("")).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn the_socket_of_another_program_and_files_of_other_kinds_are_left_alone() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("other.sock");
        let _other = net::UnixListener::bind(&path).unwrap();
        assert_eq!(SocketFile::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);

        let path = directory.path().join("file");
        fs::write(&path, "text").unwrap();
        assert_eq!(SocketFile::bind(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }
}
