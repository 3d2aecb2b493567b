//! An event as a GELF message in JSON.

use std::{fmt, time::Duration};

use serde_json::{Map, Value, json};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

use super::chunk;

/// The sender of the messages.
#[derive(Debug)]
pub(super) struct Origin {
    host: String,
    logger: String,
}

impl Origin {
    /// A logger of this name on this machine.
    pub(super) fn new(logger: &str) -> Self {
        let host = hostname::get().unwrap_or_default().to_string_lossy().into_owned();
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        let logger = logger.to_owned();
        Self { host, logger }
    }

    /// The message for an event at a time since 1970.
    pub(super) fn message(&self, event: &Event<'_>, at: Duration) -> String {
        let mut content = Content::default();
        event.record(&mut content);
        if content.text.trim().is_empty() {
            event.metadata().name().clone_into(&mut content.text);
        }
        let Content { text, mut fields } = content;
        fields.insert("_target".to_owned(), event.metadata().target().into());
        self.encode(*event.metadata().level(), &text, fields, at)
    }

    /// The message that reports lost messages.
    pub(super) fn loss(&self, count: u64, at: Duration) -> String {
        let fields = Map::from_iter([("_lost".to_owned(), count.into())]);
        self.encode(Level::WARN, "log messages were lost", fields, at)
    }

    fn encode(
        &self,
        level: Level,
        text: &str,
        mut fields: Map<String, Value>,
        at: Duration,
    ) -> String {
        let text = text.trim();
        let (first_line, more) = text.split_once('\n').map_or((text, false), |(it, _)| (it, true));
        fields.insert("version".to_owned(), "1.1".into());
        fields.insert("host".to_owned(), self.host.as_str().into());
        fields.insert("short_message".to_owned(), first_line.trim_end().into());
        if more {
            fields.insert("full_message".to_owned(), text.into());
        }
        fields.insert("timestamp".to_owned(), json!(seconds(at)));
        fields.insert("level".to_owned(), severity(level).into());
        fields.insert("_logger".to_owned(), self.logger.as_str().into());
        fitting(fields)
    }
}

/// The JSON of a message. If it is too long to be sent, its longest texts are truncated.
fn fitting(mut fields: Map<String, Value>) -> String {
    loop {
        let message = Value::from(fields);
        let json = message.to_string();
        if json.len() <= chunk::MAX_MESSAGE {
            return json;
        }
        let Value::Object(object) = message else {
            unreachable!("a map becomes an object");
        };
        fields = object;
        let texts = fields.values_mut().filter_map(|value| match value {
            Value::String(text) => Some(text),
            _ => None,
        });
        let longest = texts.max_by_key(|text| text.len()).expect("the host is a text");
        longest.truncate(longest.floor_char_boundary(longest.len() / 2));
        longest.push('…');
    }
}

/// Seconds since 1970 with milliseconds.
fn seconds(at: Duration) -> f64 {
    Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}

/// The severity as syslog numbers it.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// The content of an event: its message, and its fields under the names they have in Graylog.
#[derive(Debug, Default)]
struct Content {
    text: String,
    fields: Map<String, Value>,
}

impl Content {
    fn add(&mut self, field: &Field, value: Value) {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        let name = field.name().chars().map(|c| if is_allowed(c) { c } else { '_' });
        let mut name = ['_'].into_iter().chain(name).collect::<String>();
        if name == "_id" {
            name.push('_'); // Graylog reserves that name.
        }
        self.fields.insert(name, value);
    }
}

/// Values are numbers and texts; GELF has no other types.
impl Visit for Content {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let number = serde_json::Number::from_f64(value).map(Value::from);
        self.add(field, number.unwrap_or_else(|| value.to_string().into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.text);
        } else {
            self.add(field, value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
