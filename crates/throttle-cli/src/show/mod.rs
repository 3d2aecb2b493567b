//! What the server tells, printed for people or as JSON, and the few things that an operator can do.

mod check;
mod pretty_json;
mod tables;
mod text_table;
mod version_0_5;
mod watch;

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use anyhow::anyhow;
use serde::de::DeserializeOwned;
use serde_json::json;
use throttle_client::{Client, Error, Reloaded, RetryPolicy};

use self::{
    tables::{Details, Peer, Summary},
    text_table::TextTable,
};
use crate::{
    args::{OutputFormat, OutputOptions, Verb},
    escape::escape_for_terminal,
    exit_status::{ExitStatus, Failure},
    output,
    server_args::ServerArgs,
};

/// How long a list may take to arrive, which may be one of a million peers.
const LISTING_TIMEOUT: Duration = Duration::from_secs(60);

/// Does what a command other than `lock` asks for.
pub(crate) async fn run(server: &ServerArgs, verb: Verb) -> Result<ExitStatus, Failure> {
    let mut client = server.client()?;
    match verb {
        Verb::Peers { .. } | Verb::Semaphore { .. } | Verb::Semaphores { .. } => {
            client = client.timeout(LISTING_TIMEOUT);
        }
        Verb::Watch { .. } => client = client.retry(RetryPolicy::none()),
        _ => {}
    }
    let client = client.build()?;
    match verb {
        Verb::Status { options } => status(&client, options).await,
        Verb::Semaphores { options } => {
            let text = semaphores(&client).await?;
            print(options, &text, |it: Vec<Summary>| tables::semaphores(&it))
        }
        Verb::Semaphore { name, options } => {
            let text = semaphore(&client, &name).await?;
            print(options, &text, |it: Details| tables::semaphore(&it))
        }
        Verb::Peers { options } => {
            let text = client.get(&["peers/"]).await?;
            print(options, &text, |it: Vec<Peer>| tables::peers(&it))
        }
        Verb::Watch { interval } => watch::run(&client, interval).await,
        Verb::Check { semaphores } => check::run(&client, &semaphores).await,
        Verb::Metrics => metrics(&client).await,
        Verb::Health { live } => health(&client, live).await,
        Verb::Reload { options } => {
            if version_0_5::is_server(&client).await? {
                let error =
                    anyhow!("a server of version 0.5 reads its configuration at its start only");
                return Err(Failure::new(ExitStatus::REFUSED, error));
            }
            let text = client.post_empty(&["admin", "reload"]).await?;
            print(options, &text, |it: Reloaded| tables::reloaded(&it))
        }
        Verb::RemovePeer { id } => {
            if client.remove_peer(id).await? {
                return print_text("removed\n");
            }
            Err(Failure::new(ExitStatus::NO_SUCH_PEER, anyhow!("there is no peer {id}")))
        }
        Verb::DieWithParent(_) | Verb::Completions { .. } | Verb::Lock(_) | Verb::Man => {
            unreachable!("they are done elsewhere")
        }
    }
}

/// The names of all semaphores.
pub(crate) async fn names(client: &Client) -> Result<Vec<String>, Failure> {
    let semaphores: Vec<Summary> = parse(&semaphores(client).await?)?;
    Ok(semaphores.into_iter().map(|it| it.name).collect())
}

/// All semaphores in numbers, as JSON.
async fn semaphores(client: &Client) -> Result<String, Error> {
    if version_0_5::is_server(client).await? {
        return version_0_5::semaphores(client).await;
    }
    client.get(&["semaphores"]).await
}

/// One semaphore, as JSON.
async fn semaphore(client: &Client, name: &str) -> Result<String, Failure> {
    let text = if version_0_5::is_server(client).await? {
        version_0_5::semaphore(client, name).await
    } else {
        client.get(&["semaphores", name]).await
    };
    text.map_err(|error| Failure::from(error).context(format!("{name:?}")))
}

/// A server that is draining takes on nothing new, which is as good as none for who comes now.
async fn status(client: &Client, options: OutputOptions) -> Result<ExitStatus, Failure> {
    let version = client.version().await?;
    let is_ready = version_0_5::is_version(&version) || client.ready().await?;
    let semaphores: Vec<Summary> = parse(&semaphores(client).await?)?;
    let sum =
        |count: fn(&Summary) -> Option<u64>| semaphores.iter().map(count).sum::<Option<u64>>();
    let (holders, waiters) = (sum(|it| it.holders), sum(|it| it.waiters));
    match options.output {
        OutputFormat::Json => {
            let value = json!({
                "version": version, "ready": is_ready, "semaphores": semaphores.len(),
                "locks_held": holders, "locks_pending": waiters,
            });
            output::result(&format!("{value:#}\n"))?;
        }
        OutputFormat::Table => {
            let number = |sum: Option<u64>| sum.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let mut table = TextTable::new(&[]);
            for (name, value) in [
                ("version", version),
                ("ready", if is_ready { "yes" } else { "no, it shuts down" }.to_owned()),
                ("semaphores", semaphores.len().to_string()),
                ("locks held", number(holders)),
                ("locks pending", number(waiters)),
            ] {
                table.row([name.to_owned(), value]);
            }
            output::result(&table.to_string())?;
        }
    }
    Ok(if is_ready { ExitStatus::SUCCESS } else { ExitStatus::UNREACHABLE })
}

/// Whether the server lives, and whether it takes on work. Nothing is repeated: it is about this moment.
async fn health(client: &Client, live: bool) -> Result<ExitStatus, Failure> {
    // A server that is broken says so in an answer of Throttle; it is there and of no use.
    let unavailable =
        |error: Error| Failure { status: ExitStatus::UNREACHABLE, ..Failure::from(error) };
    client.health().await.map_err(unavailable)?;
    if live {
        return print_text("alive\n");
    }
    let is_old = version_0_5::is_server(client).await.map_err(unavailable)?;
    if is_old || client.ready().await.map_err(unavailable)? {
        return print_text("ready\n");
    }
    let error = anyhow!("the server is alive and takes on no work: it shuts down");
    Err(Failure::new(ExitStatus::UNREACHABLE, error))
}

/// The metrics as they are for other programs. At a terminal names of strangers are not obeyed.
async fn metrics(client: &Client) -> Result<ExitStatus, Failure> {
    let text = client.metrics().await?;
    if !io::stdout().is_terminal() {
        return print_text(&text);
    }
    print_text(&text.lines().map(|line| escape_for_terminal(line) + "\n").collect::<String>())
}

/// Prints an answer of the server: as it is, or as a table.
fn print<T: DeserializeOwned>(
    options: OutputOptions,
    text: &str,
    table: impl FnOnce(T) -> String,
) -> Result<ExitStatus, Failure> {
    print_text(&match options.output {
        OutputFormat::Json => pretty_json::pretty(text).map_err(not_an_answer)?,
        OutputFormat::Table => table(parse(text)?),
    })
}

fn print_text(text: &str) -> Result<ExitStatus, Failure> {
    output::result(text)?;
    Ok(ExitStatus::SUCCESS)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(not_an_answer)
}

fn not_an_answer(error: serde_json::Error) -> Failure {
    let error = anyhow::Error::from(error).context("not an answer of Throttle");
    Failure::new(ExitStatus::UNREACHABLE, error)
}
