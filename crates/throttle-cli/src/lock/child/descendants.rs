//! What a command has started, directly or not, also beyond its process group.
//!
//! An interactive shell gives each of its jobs a group, and so does `throttlectl` within the command.
//! On Linux this program adopts all of them that lose their parent, so that none gets out of sight.

use std::{collections::BTreeMap, fs};

use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, set_child_subreaper,
};

/// The processes below this one.
pub(super) struct Descendants {
    /// Those that were there before the command, as of a shell that became this program.
    strangers: Vec<i32>,
}

impl Descendants {
    /// To be called before the command is started.
    pub(super) fn watch() -> Self {
        // Without it only those are found whose parents are alive.
        let _ = set_child_subreaper(Some(getpid()));
        Self { strangers: below(&parents(), &[]) }
    }

    pub(super) fn are_left(&self) -> bool {
        !below(&parents(), &self.strangers).is_empty()
    }

    pub(super) fn kill(&self) {
        let parents = parents();
        for id in below(&parents, &self.strangers) {
            // The number may be that of somebody else meanwhile; behind the descriptor it is not.
            if let Some(number) = Pid::from_raw(id)
                && let Ok(process) = pidfd_open(number, PidfdFlags::empty())
                && parent(id) == parents.get(&id).copied()
            {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
    }
}

/// All processes below this one, except these and what is below them.
fn below(parents: &BTreeMap<i32, i32>, except: &[i32]) -> Vec<i32> {
    let mut found = vec![getpid().as_raw_pid()];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        let children =
            parents.iter().filter(|&(child, of)| *of == parent && !except.contains(child));
        found.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

/// All processes that are alive, each with its parent.
fn parents() -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|id| Some((id, parent(id)?))).collect()
}

/// The parent of a process that is alive.
fn parent(id: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Behind the name, which may have any characters: the state, and the parent.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_alive = !matches!(fields.next()?, "X" | "Z");
    let parent = fields.next()?.parse().ok();
    parent.filter(|_| is_alive)
}
