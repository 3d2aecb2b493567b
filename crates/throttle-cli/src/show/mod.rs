//! What the server tells, printed for people or as JSON.

mod table;
mod watch;

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};
use throttle_client::{Client, Labels, PeerStatus, Semaphore, SemaphoreSummary};

use self::table::Table;
use crate::{
    args::{Form, Output, Verb},
    exit::{Code, Failure},
};

pub(crate) async fn run(client: &Client, verb: Verb) -> Result<Code, Failure> {
    match verb {
        Verb::Status { form } => return status(client, form).await,
        Verb::Semaphores { form } => {
            let semaphores = client.semaphores().await?;
            print(form, &semaphores, || semaphores_table(&semaphores))?;
        }
        Verb::Semaphore { name, form } => {
            let semaphore = client.semaphore(&name).await;
            let semaphore =
                semaphore.map_err(|error| Failure::from(error).context(format!("{name:?}")))?;
            print(form, &semaphore, || semaphore_tables(&semaphore))?;
        }
        Verb::Peers { form } => {
            let peers = client.peers().await?;
            print(form, &peers, || peers_table(&peers))?;
        }
        Verb::RemovePeer { id } => {
            let existed = client.remove_peer(id).await?;
            println!("{}", if existed { "removed" } else { "there is no such peer" });
        }
        Verb::Watch { interval } => return watch::run(client, interval).await,
        Verb::Bond(_) | Verb::Completions { .. } | Verb::Lock(_) | Verb::Man => {
            unreachable!("these show nothing of a server")
        }
    }
    Ok(Code::SUCCESS)
}

/// A server that is draining takes on nothing new, which is as good as none for who comes now.
async fn status(client: &Client, form: Form) -> Result<Code, Failure> {
    let version = client.version().await?;
    let is_ready = client.ready().await?;
    let semaphores = client.semaphores().await?;
    let sum = |count: fn(&SemaphoreSummary) -> u64| semaphores.iter().map(count).sum::<u64>();
    let (holders, waiters) = (sum(|it| it.holders), sum(|it| it.waiters));
    let value = json!({
        "version": version, "ready": is_ready, "semaphores": semaphores.len(),
        "locks_held": holders, "locks_pending": waiters,
    });
    print(form, &value, || {
        let mut table = Table::new(&[]);
        let rows = [
            ("version", version.clone()),
            ("ready", if is_ready { "yes" } else { "no, it shuts down" }.to_owned()),
            ("semaphores", semaphores.len().to_string()),
            ("locks held", holders.to_string()),
            ("locks pending", waiters.to_string()),
        ];
        for (name, value) in rows {
            table.row([name.to_owned(), value]);
        }
        table.to_string()
    })?;
    Ok(if is_ready { Code::SUCCESS } else { Code::UNREACHABLE })
}

fn print(
    form: Form,
    value: &impl Serialize,
    table: impl FnOnce() -> String,
) -> Result<(), Failure> {
    match form.output {
        Output::Json => {
            let value: Value = serde_json::to_value(value).map_err(std::io::Error::from)?;
            println!("{value:#}");
        }
        Output::Table => print!("{}", table()),
    }
    Ok(())
}

fn semaphores_table(semaphores: &[SemaphoreSummary]) -> String {
    let mut table =
        Table::new(&["SEMAPHORE", "LEVEL", "MAX", "HELD", "FREE", "HOLDERS", "WAITERS", "LONGEST"]);
    for it in semaphores {
        let numbers = [
            it.level.to_string(),
            it.max.to_string(),
            it.held.to_string(),
            it.remainder.to_string(),
            it.holders.to_string(),
            it.waiters.to_string(),
            if it.waiters > 0 { age(it.longest_pending) } else { "-".to_owned() },
        ];
        table.row([it.name.clone()].into_iter().chain(numbers));
    }
    table.to_string()
}

fn semaphore_tables(semaphore: &Semaphore) -> String {
    let mut text = semaphores_table(std::slice::from_ref(&semaphore.summary));
    let mut holders = Table::new(&["HOLDER", "COUNT", "SINCE", "LEASE ENDS", "TOKEN", "LABELS"]);
    for it in &semaphore.held_by {
        holders.row([
            it.peer_id.to_string(),
            it.count.to_string(),
            age(it.held_for),
            age(it.time_left),
            it.fencing_token.to_string(),
            labels(&it.labels),
        ]);
    }
    let mut waiters = Table::new(&["WAITER", "COUNT", "SINCE", "LEASE ENDS", "PLACE", "LABELS"]);
    for (place, it) in semaphore.queue.iter().enumerate() {
        let place = if it.parked { "gone".to_owned() } else { (place + 1).to_string() };
        waiters.row([
            it.peer_id.to_string(),
            it.count.to_string(),
            age(it.waiting_for),
            age(it.time_left),
            place,
            labels(&it.labels),
        ]);
    }
    // Writing to a string does not fail.
    let _ = write!(text, "\n{holders}\n{waiters}");
    text
}

fn peers_table(peers: &[PeerStatus]) -> String {
    let mut table = Table::new(&["PEER", "LEASE", "ENDS", "HOLDS", "WAITS FOR", "LABELS"]);
    for it in peers {
        let held = it.held.iter().map(|lock| format!("{} x{}", lock.semaphore, lock.count));
        let pending = it.pending.as_ref();
        table.row([
            it.id.to_string(),
            age(it.expires_in),
            age(it.time_left),
            or_dash(held.collect::<Vec<_>>().join(", ")),
            or_dash(
                pending.map_or_else(String::new, |it| format!("{} x{}", it.semaphore, it.count)),
            ),
            labels(&it.labels),
        ]);
    }
    table.to_string()
}

fn labels(labels: &Labels) -> String {
    let labels = labels.iter().map(|(name, value)| format!("{name}={value}"));
    or_dash(labels.collect::<Vec<_>>().join(" "))
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A span as people say it: to the second, and to the millisecond below one.
fn age(span: Duration) -> String {
    let span = match span.as_secs() {
        0 => Duration::from_millis(u64::from(span.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(span).to_string()
}
