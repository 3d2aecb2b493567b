//! The options that say where the server is, and the client that they configure.

use std::{
    ffi::{OsStr, OsString},
    fmt, fs,
};

use anyhow::anyhow;
use clap::{Args, ValueHint};
use throttle_client::{Client, ClientBuilder};

use crate::exit_status::{ExitStatus, Failure};

/// Where the server is.
#[derive(Args, Debug)]
pub(crate) struct ServerArgs {
    /// URL of the server, or `unix:` and the path of its socket; several with commas between them, if
    /// the server has several addresses
    #[arg(
        long,
        global = true,
        help_heading = SERVER,
        env = "THROTTLE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8000",
        value_delimiter = ','
    )]
    url: Vec<String>,
    /// Header for every request, as 'Name: value'; may be given several times
    #[arg(long, global = true, help_heading = SERVER, value_name = "HEADER")]
    header: Vec<String>,
    /// Bearer token for a proxy that wants one; better in the environment than on the command line
    #[arg(long, global = true, help_heading = SERVER, env = "THROTTLE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// File with certificates (PEM) of authorities to trust besides those of the system
    #[arg(long, global = true, help_heading = SERVER, env = "THROTTLE_CA", value_name = "FILE", value_hint = ValueHint::FilePath)]
    ca: Option<OsString>,
    /// File with a certificate and its private key (PEM), for a server or proxy that asks for one
    #[arg(
        long,
        global = true,
        help_heading = SERVER,
        env = "THROTTLE_CLIENT_CERT",
        value_name = "FILE",
        value_hint = ValueHint::FilePath
    )]
    client_cert: Option<OsString>,
}

impl ServerArgs {
    /// A builder of a client for this server.
    ///
    /// # Errors
    ///
    /// [`ExitStatus::USAGE`] if an option makes no sense or a file cannot be read.
    pub(crate) fn client(&self) -> Result<ClientBuilder, Failure> {
        let (first, others) = self.url.split_first().ok_or_else(|| usage("there is no URL"))?;
        let mut client = Client::builder(first);
        for url in others {
            client = client.or_url(url);
        }
        // An empty environment variable counts as unset, here and below.
        if let Some(token) = self.token.as_ref().filter(|it| !it.is_empty()) {
            client = client.bearer_token(token);
        }
        for header in &self.header {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| usage(format!("{header:?} is no header: it is 'Name: value'")))?;
            client = client.header(name.trim(), value.trim());
        }
        if let Some(file) = self.ca.as_ref().filter(|it| !it.is_empty()) {
            client = client.ca_certificates(read(file)?);
        }
        if let Some(file) = self.client_cert.as_ref().filter(|it| !it.is_empty()) {
            client = client.client_certificate(read(file)?);
        }
        Ok(client)
    }
}

fn usage(message: impl fmt::Display) -> Failure {
    Failure::new(ExitStatus::USAGE, anyhow!("{message}"))
}

fn read(file: &OsStr) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| usage(format!("cannot read {}: {error}", file.display())))
}

/// The heading in `--help` of the options that all commands have in common.
const SERVER: &str = "Options for the server";
