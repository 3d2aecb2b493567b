//! Commands other than `lock`: print answers of the server as tables or JSON, and operate it.

mod available;
mod check;
mod health;
mod pretty_json;
mod status;
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
use throttle_client::{Client, Error, Reloaded, RetryPolicy};

use self::tables::{PeerStatus, SemaphoreOverview, SemaphoreStatus};
use crate::{
    args::{OutputFormat, OutputOptions, Verb},
    escape::escape_for_terminal,
    exit_status::{ExitStatus, Failure},
    output,
    server_args::ServerArgs,
};

/// How long a list may take to arrive. It may have a million peers.
const LISTING_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a command other than `lock`.
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
        Verb::Status { options } => status::run(&client, options).await,
        Verb::Semaphores { options } => {
            let text = semaphores(&client).await?;
            print(options, &text, |it: Vec<SemaphoreStatus>| tables::semaphores(&it))
        }
        Verb::Semaphore { name, options } => {
            let text = semaphore(&client, &name).await?;
            print(options, &text, |it: SemaphoreOverview| tables::semaphore(&it))
        }
        Verb::Peers { options } => {
            let text = client.get(&["peers/"]).await?;
            print(options, &text, |it: Vec<PeerStatus>| tables::peers(&it))
        }
        Verb::Watch { interval } => watch::run(&client, interval).await,
        Verb::Available { semaphores } => available::run(&client, &semaphores).await,
        Verb::Check { name, fencing_token, options } => {
            check::run(&client, &name, fencing_token, options).await
        }
        Verb::Metrics => metrics(&client).await,
        Verb::Health { live } => health::run(&client, live).await,
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
            unreachable!("main runs these commands")
        }
    }
}

/// The names of all semaphores.
pub(crate) async fn names(client: &Client) -> Result<Vec<String>, Failure> {
    let semaphores: Vec<SemaphoreStatus> = parse(&semaphores(client).await?)?;
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

/// Prints the metrics unchanged for other programs, and escaped at a terminal.
async fn metrics(client: &Client) -> Result<ExitStatus, Failure> {
    let text = client.metrics().await?;
    if !io::stdout().is_terminal() {
        return print_text(&text);
    }
    print_text(&text.lines().map(|line| escape_for_terminal(line) + "\n").collect::<String>())
}

/// Prints an answer of the server as JSON or as a table.
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
    output::print_result(text)?;
    Ok(ExitStatus::SUCCESS)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(not_an_answer)
}

fn not_an_answer(error: serde_json::Error) -> Failure {
    let error = anyhow::Error::from(error).context("not an answer of Throttle");
    Failure::new(ExitStatus::UNREACHABLE, error)
}
