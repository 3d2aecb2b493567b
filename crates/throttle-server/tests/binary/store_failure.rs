//! A store whose disk fails.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::support::{Server, throttle};

/// A file system in memory of four megabytes, for root.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` if this user may not mount it.
    fn mount() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(directory.path())
            .output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(directory))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room on it.
    fn fill(&self) {
        let mut ballast = fs::File::create(self.path().join("ballast")).unwrap();
        while std::io::Write::write_all(&mut ballast, &[0; 4_096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[expect(clippy::disallowed_methods, reason = "the test measures real time")]
fn now() -> Instant {
    Instant::now()
}

/// D4
#[test]
fn with_a_full_disk_the_server_ends_soon_with_its_own_status_and_has_lost_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        return; // Only root may mount a file system.
    };
    let home = TempDir::new().unwrap();
    let file = disk.path().join("throttle.redb");
    let config = format!("[store]\npath = '{}'\n[semaphores]\nA = 1\n", file.display());
    fs::write(home.path().join("throttle.toml"), config).unwrap();
    let command = throttle(home.path());
    let mut server = Server::spawn(home, command);
    let holder = server.new_peer();
    let lock = server.lock(&holder, "A");
    let waiting = server.wait_for_lock("A");
    while server.waiters("A") < 1 {}

    disk.fill();
    let labels = format!(r#"{{"expires_in":"1h","labels":{{"it":"{}"}}}}"#, "x".repeat(200));
    let mut acknowledged = vec![holder.clone()];
    let refused = loop {
        let (status, answer) = server.request("POST", "/new_peer", &labels);
        if status != 200 {
            break (status, answer);
        }
        acknowledged.push(answer);
    };
    let failed = now();
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert_eq!(waiting.answer().0, 503);
    assert_eq!(server.wait().code(), Some(74), "{}", server.log);
    assert!(failed.elapsed() < Duration::from_secs(2), "{:?}", failed.elapsed());
    let error = server.log.lines().find(|line| line.contains("ERROR")).expect(&server.log);
    assert!(error.contains(&*file.to_string_lossy()) && error.contains("status=74"), "{error}");

    // There is no room for a new start either, or there is; nothing is lost by it.
    disk.make_room();
    server.start_again();
    assert_eq!(server.lock(&holder, "A"), lock);
    assert_eq!(server.waiters("A"), 1);
    for peer in &acknowledged {
        assert_eq!(server.request("GET", &format!("/peers/{peer}"), "").0, 200, "{peer}");
    }
}
