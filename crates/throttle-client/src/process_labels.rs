//! Labels that describe this process.

use std::{env, process};

use throttle_wire::Labels;

/// Labels by which people recognise the process of a peer: `host`, `user`, `pid` and `program`, as far as the
/// system reports them.
///
/// For [`PeerBuilder::default_labels`](crate::PeerBuilder::default_labels).
pub fn process_labels() -> Labels {
    let host = hostname::get().ok().and_then(|name| name.into_string().ok());
    let user = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| env::var(name).ok());
    let program = env::args_os().next().and_then(|path| {
        let name = std::path::Path::new(&path).file_name()?;
        Some(name.to_string_lossy().into_owned())
    });
    let labels = [
        ("host", host),
        ("user", user),
        ("pid", Some(process::id().to_string())),
        ("program", program),
    ];
    let known = labels.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    known.filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_a_process_have_its_id_and_its_program() {
        let labels = process_labels();
        assert_eq!(labels["pid"], process::id().to_string());
        assert!(labels["program"].contains("throttle"), "{labels:?}");
        assert!(!labels["host"].is_empty());
    }
}
