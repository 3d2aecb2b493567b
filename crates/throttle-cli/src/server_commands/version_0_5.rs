//! Servers of version 0.5, which report their semaphores only in the metrics.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use throttle_client::{Client, Error};

/// Whether the server is of version 0.5 or older.
pub(super) async fn is_server(client: &Client) -> Result<bool, Error> {
    Ok(is_version(&client.version().await?))
}

/// Whether a version is 0.5 or older.
pub(super) fn is_version(version: &str) -> bool {
    let mut numbers = version.trim().split('.').map(str::parse::<u64>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(0)), Some(Ok(..6))))
}

/// All semaphores, as JSON in the form of newer servers.
pub(super) async fn semaphores(client: &Client) -> Result<String, Error> {
    Ok(Value::from_iter(semaphores_from_metrics(&client.metrics().await?).into_values())
        .to_string())
}

/// One semaphore, as JSON in the form of newer servers.
pub(super) async fn semaphore(client: &Client, name: &str) -> Result<String, Error> {
    // The server refuses unknown names here, with the text that the client understands.
    client.remainder(name).await?;
    let semaphore = semaphores_from_metrics(&client.metrics().await?).remove(name);
    Ok(semaphore.unwrap_or_default().to_string())
}

fn semaphores_from_metrics(text: &str) -> BTreeMap<String, Value> {
    #[derive(Default)]
    struct Numbers {
        max: i64,
        held: i64,
        pending: i64,
        longest_pending: i64,
    }
    let mut semaphores = BTreeMap::<String, Numbers>::new();
    for line in text.lines() {
        let Some((metric, name, number)) = parse_sample(line) else { continue };
        let numbers = semaphores.entry(name).or_default();
        match metric {
            "throttle_max" => numbers.max = number,
            "throttle_acquired" => numbers.held = number,
            "throttle_pending" => numbers.pending = number,
            "throttle_longest_pending_sec" => numbers.longest_pending = number,
            _ => {}
        }
    }
    let semaphores = semaphores.into_iter().map(|(name, it)| {
        let longest_pending = Duration::from_secs(it.longest_pending.unsigned_abs());
        let value = json!({
            "name": name, "max": it.max, "held": it.held, "pending": it.pending,
            "remainder": it.max.saturating_sub(it.held),
            "longest_pending": humantime::format_duration(longest_pending).to_string(),
            "longest_pending_seconds": longest_pending.as_secs_f64(),
        });
        (name, value)
    });
    semaphores.collect()
}

/// Parses a line such as `throttle_max{semaphore="A"} 5` into metric, semaphore and number.
fn parse_sample(line: &str) -> Option<(&str, String, i64)> {
    let (metric, rest) = line.split_once("{semaphore=\"")?;
    let mut name = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => name.push(match characters.next()? {
                'n' => '\n',
                other => other,
            }),
            other => name.push(other),
        }
    }
    let number = characters.as_str().strip_prefix('}')?.trim().parse().ok()?;
    Some((metric, name, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_recognized_by_its_version() {
        for (version, expected) in
            [("0.5.13", true), ("0.4.0", true), ("0.6.0", false), ("1.0.0", false), ("x", false)]
        {
            assert_eq!(is_version(version), expected, "{version}");
        }
    }

    #[test]
    fn semaphores_are_read_from_metrics() {
        let metrics = "# HELP throttle_max Maximum\n# TYPE throttle_max gauge\n\
            throttle_max{semaphore=\"A\"} 5\n\
            throttle_acquired{semaphore=\"A\"} 7\n\
            throttle_pending{semaphore=\"A\"} 1\n\
            throttle_longest_pending_sec{semaphore=\"A\"} 61\n\
            throttle_max{semaphore=\"a\\\"\\n} 1\"} 2\n\
            throttle_num_404 3\n";
        let semaphores = semaphores_from_metrics(metrics);
        assert_eq!(
            semaphores["A"].to_string(),
            r#"{"held":7,"longest_pending":"1m 1s","longest_pending_seconds":61.0,"max":5,"name":"A","pending":1,"remainder":-2}"#
        );
        assert_eq!(semaphores["a\"\n} 1"]["max"], 2);
        assert_eq!(semaphores.len(), 2);
    }
}
