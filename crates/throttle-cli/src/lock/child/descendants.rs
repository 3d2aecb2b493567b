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
    preexisting: Vec<i32>,
}

impl Descendants {
    /// To be called before the command is started.
    pub(super) fn track() -> Self {
        // Without it only those are found whose parents are alive.
        let _ = set_child_subreaper(Some(getpid()));
        Self { preexisting: descendants(&parents_by_process(), &[]) }
    }

    pub(super) fn any_alive(&self) -> bool {
        !descendants(&parents_by_process(), &self.preexisting).is_empty()
    }

    pub(super) fn kill(&self) {
        let parents = parents_by_process();
        for id in descendants(&parents, &self.preexisting) {
            // The number may be that of somebody else meanwhile; behind the descriptor it is not.
            if let Some(number) = Pid::from_raw(id)
                && let Ok(process) = pidfd_open(number, PidfdFlags::empty())
                && parent_of(id) == parents.get(&id).copied()
            {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
    }
}

/// All processes below this one, except these and what is below them.
fn descendants(parents: &BTreeMap<i32, i32>, except: &[i32]) -> Vec<i32> {
    let this = getpid().as_raw_pid();
    let mut children = BTreeMap::<i32, Vec<i32>>::new();
    for (&child, &parent) in parents {
        if child != this && !except.contains(&child) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut found = vec![this];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        // Each is taken once, also if the table was read while processes changed their parents.
        found.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    found.split_off(1)
}

/// All processes that are alive, each with its parent.
fn parents_by_process() -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|id| Some((id, parent_of(id)?))).collect()
}

/// The parent of a process that is alive.
fn parent_of(id: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Behind the name, which may have any characters: the state, and the parent.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_alive = !matches!(fields.next()?, "X" | "Z");
    let parent = fields.next()?.parse().ok();
    parent.filter(|_| is_alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is not of one moment: a number may be given to another process while it is read.
    #[test]
    fn a_table_in_which_processes_are_below_each_other_has_an_end_and_never_this_process() {
        let this = getpid().as_raw_pid();
        let parents = BTreeMap::from([(this, -3), (-1, this), (-2, this), (-3, -2), (-4, -5)]);
        assert_eq!(descendants(&parents, &[]), [-2, -1, -3]);
        assert_eq!(descendants(&parents, &[-2]), [-1]);
    }
}
