//! The examples of `docs/http.md`, run from top to bottom over the routes.
//!
//! Commands work as in a shell: `curl` with the options that the document uses, `echo`, variables, and `jq` at
//! the end of a line. Values that differ in each run, such as ids and times, are not compared.

use std::{collections::BTreeMap, fs};

use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt as _;
use serde_json::Value;
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tower::ServiceExt as _;

#[tokio::test(start_paused = true)]
async fn the_documented_examples_print_what_the_document_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/http.md");
    let document = fs::read_to_string(path).expect("the document exists");
    let examples = examples(&document);
    assert!(examples.len() > 20, "some examples were not found");
    let mut shell = Shell { routes: routes(), variables: BTreeMap::new() };
    for (command, expected) in examples {
        let printed = shell.run(command).await;
        assert_eq!(comparable(&printed), comparable(&expected), "{command}");
    }
}

/// Routes with the semaphores that the document assumes.
fn routes() -> Router {
    let semaphores = [("A", 5, 0), ("B", 1, 1), ("/&", 1, 0)].map(|(name, max, level)| {
        let max = Count::new(max).expect("a positive maximum");
        (name.to_owned(), SemaphoreConfig { max, level: Level(level) })
    });
    throttle_http::routes(Handle::start(Settings::default(), &BTreeMap::from(semaphores)))
}

/// The commands, each with its expected output.
fn examples(document: &str) -> Vec<(&str, String)> {
    let blocks = document.split("```console\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().into_iter().flat_map(str::lines));
    let mut examples = Vec::<(&str, String)>::new();
    for line in lines {
        match (line.strip_prefix("$ "), examples.last_mut()) {
            (Some(command), _) => examples.push((command, String::new())),
            (None, Some((_, printed))) => printed.extend([line, "\n"]),
            (None, None) => panic!("no command before the output {line:?}"),
        }
    }
    examples
}

struct Shell {
    routes: Router,
    variables: BTreeMap<String, String>,
}

impl Shell {
    /// Runs `command` and returns its output.
    async fn run(&mut self, command: &str) -> String {
        if let Some((variable, command)) = command.split_once("=$(") {
            let command = command.strip_suffix(')').expect("a closing parenthesis");
            let printed = self.print(command).await;
            self.variables.insert(variable.to_owned(), printed);
            return String::new();
        }
        if let Some((variable, value)) = command.split_once('=')
            && variable.bytes().all(|byte| byte.is_ascii_uppercase())
        {
            let value = self.words(value).join(" ");
            self.variables.insert(variable.to_owned(), value);
            return String::new();
        }
        self.print(command).await
    }

    /// Runs a command that sets no variable.
    async fn print(&self, command: &str) -> String {
        let (command, filter) = command.split_once(" | jq").unwrap_or((command, ""));
        let words = self.words(command);
        let printed = match words[0].as_str() {
            "echo" => words[1..].join(" "),
            _ => self.curl(&words).await,
        };
        // The document uses two filters: an element of an array, and a member of an object.
        let Some(filter) = filter.trim().trim_matches('\'').strip_prefix('.') else {
            return printed;
        };
        let value: Value = serde_json::from_str(&printed).expect("jq reads JSON");
        match filter.strip_prefix('[') {
            None => value[filter].to_string(),
            Some(index) => {
                let index: usize = index.trim_end_matches(']').parse().expect("an index");
                value[index].to_string()
            }
        }
    }

    /// Splits a command as a shell does.
    fn words(&self, command: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        let mut characters = command.chars().peekable();
        while let Some(character) = characters.next() {
            let word = words.last_mut().expect("there is at least one word");
            match character {
                ' ' if quote.is_none() => words.push(String::new()),
                '\'' | '"' if quote.is_none() => quote = Some(character),
                _ if quote == Some(character) => quote = None,
                '$' if quote != Some('\'') => {
                    let mut variable = String::new();
                    while let Some(letter) = characters.next_if(char::is_ascii_uppercase) {
                        variable.push(letter);
                    }
                    word.push_str(&self.variables[&variable]);
                }
                _ => word.push(character),
            }
        }
        words
    }

    async fn curl(&self, words: &[String]) -> String {
        assert_eq!(words[0], "curl");
        let mut words = words[1..].iter().map(String::as_str);
        let (mut method, mut body, mut write_out) = (None, None, "");
        let mut request = Request::builder();
        while let Some(word) = words.next() {
            let mut argument = || words.next().expect("an argument");
            match word {
                "-s" => {}
                "-X" => method = Some(argument()),
                "-w" => write_out = argument(),
                "-H" => {
                    let (name, value) = argument().split_once(": ").expect("a header");
                    request = request.header(name, value);
                }
                "-d" => body = Some(argument().to_owned()),
                url => request = request.uri(url.strip_prefix("localhost:8000").expect("a URL")),
            }
        }
        let usual = if body.is_some() { "POST" } else { "GET" };
        let request = request.method(method.unwrap_or(usual));
        let request = request.body(Body::from(body.unwrap_or_default())).expect("a request");
        let Ok(response) = self.routes.clone().oneshot(request).await;
        let status = response.status().as_u16().to_string();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let write_out = write_out.replace(r"\n", "\n").replace("%{http_code}", &status);
        String::from_utf8(body.to_vec()).expect("text") + &write_out
    }
}

/// The text without the values that differ in each run. The layout of JSON does not matter, and text may follow.
fn comparable(text: &str) -> String {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => {
            let rest = &text[values.byte_offset()..];
            format!("{}{}", settled(value), rest.trim_end())
        }
        _ => text.trim_end().to_owned(),
    }
}

fn settled(value: Value) -> Value {
    const MEASURED: &[&str] = &["held_for", "longest_pending", "time_left", "waiting_for"];
    match value {
        Value::Number(number) if number.as_u64().is_some_and(|number| number > 1_000_000) => {
            "an id or a token".into()
        }
        Value::Array(values) => values.into_iter().map(settled).collect(),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                let is_measured = MEASURED.contains(&name.trim_end_matches("_seconds"));
                let value = if is_measured { "measured".into() } else { settled(value) };
                (name, value)
            });
            members.collect()
        }
        value => value,
    }
}
