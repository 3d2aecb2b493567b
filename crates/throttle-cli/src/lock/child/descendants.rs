//! Finds all processes that the command started, also outside of its process group.
//!
//! An interactive shell gives each job a group of its own, and so does `throttlectl` within the command. On
//! Linux, this program adopts all descendants that lose their parent, so that they can still be found.

use std::{collections::BTreeMap, fs};

use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, set_child_subreaper,
};

/// The processes below this one.
pub(super) struct Descendants {
    /// Processes from before the command: children of a shell that became this program by `exec`.
    preexisting: Vec<i32>,
}

impl Descendants {
    /// Has this program adopt its descendants. To be called before the command is started.
    pub(super) fn track() -> Self {
        // If this fails, only descendants whose parents are alive are found.
        let _ = set_child_subreaper(Some(getpid()));
        Self { preexisting: descendants(&parents_by_process(), &[]) }
    }

    pub(super) fn any_alive(&self) -> bool {
        !descendants(&parents_by_process(), &self.preexisting).is_empty()
    }

    pub(super) fn kill(&self) {
        let parents = parents_by_process();
        for id in descendants(&parents, &self.preexisting) {
            // The id may belong to another process by now. The descriptor does not change, so check the
            // parent after it is open.
            if let Some(number) = Pid::from_raw(id)
                && let Ok(process) = pidfd_open(number, PidfdFlags::empty())
                && parent_of(id) == parents.get(&id).copied()
            {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
    }
}

/// All descendants of this process, except `except` and their descendants.
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
        // `remove` takes each parent once. The table may have cycles, because it is not read at one instant.
        found.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    found.split_off(1)
}

/// The parent of each process that is alive, by process id.
fn parents_by_process() -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|id| Some((id, parent_of(id)?))).collect()
}

/// The parent of a process that is alive.
fn parent_of(id: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name may contain any characters. After it come the state and the parent.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_alive = !matches!(fields.next()?, "X" | "Z");
    let parent = fields.next()?.parse().ok();
    parent.filter(|_| is_alive)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is not read at one instant: the system may reuse an id meanwhile.
    #[test]
    fn a_table_with_a_cycle_is_searched_to_an_end_and_never_yields_this_process() {
        let this = getpid().as_raw_pid();
        let parents = BTreeMap::from([(this, -3), (-1, this), (-2, this), (-3, -2), (-4, -5)]);
        assert_eq!(descendants(&parents, &[]), [-2, -1, -3]);
        assert_eq!(descendants(&parents, &[-2]), [-1]);
    }
}
