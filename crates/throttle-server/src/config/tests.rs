//! Valid configurations, and the errors of invalid ones.

use expect_test::{Expect, expect};

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("throttle.toml"))
}

/// Each of these texts is refused with these errors, one in a line.
fn check(texts: &[&str], expect: Expect) {
    let refuse = |text: &&str| format!("{}\n", parse(text).expect_err("a refusal"));
    expect.assert_eq(&texts.iter().map(refuse).collect::<String>());
}

fn semaphores(text: &str) -> Vec<String> {
    let config = parse(text).unwrap();
    let show = |(name, config): (&String, &SemaphoreConfig)| {
        format!("{name:?}: max {}, level {}", config.max, config.level)
    };
    config.semaphores.iter().map(show).collect()
}

#[test]
fn a_semaphore_is_a_number_or_a_table() {
    let text = r#"
        [semaphores]
        A = 42
        B = { max = 1, level = -1 }
        "/&" = { max = 9007199254740991 }
        [semaphores."name with spaces"]
        max = 2
        level = 2147483647
    "#;
    expect![[r#"
        [
            "\"/&\": max 9007199254740991, level 0",
            "\"A\": max 42, level 0",
            "\"B\": max 1, level -1",
            "\"name with spaces\": max 2, level 2147483647",
        ]
    "#]]
    .assert_debug_eq(&semaphores(text));
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse("[limits]\n[logging.stderr]\n").unwrap(), Config::default());
    assert!(Config::default().semaphores.is_empty());
    assert_eq!(Config::default().settings(), Settings::default());
    assert_eq!(Config::default().limits.http(), throttle_http::RequestLimits::default());
}

#[test]
fn a_file_of_the_old_server_is_read() {
    let text = r#"
        litter_collection_interval = "5min"
        [semaphores]
        A = 42
        [logging.stderr]
        level = "info,tower=warn"
        [logging.gelf]
        name = "throttle.example.com"
        host = "graylog.example.com"
        port = 12201
        level = "Debug"
    "#;
    let config = parse(text).unwrap();
    assert_eq!(config.logging.stderr.level, "INFO,tower=WARN".parse().unwrap());
    expect![[r#"
        Some(
            Gelf {
                name: "throttle.example.com",
                host: "graylog.example.com",
                port: Number(
                    12201,
                ),
                level: Filter {
                    level: Some(
                        Debug,
                    ),
                    targets: [],
                },
                protocol: Udp,
            },
        )
    "#]]
    .assert_debug_eq(&config.logging.gelf);
}

#[test]
fn a_maximum_is_positive_and_fits_in_53_bits() {
    check(
        &[
            "[semaphores]\nA = 0",
            "[semaphores]\nA = -3",
            "[semaphores]\nA = { max = 9007199254740992 }",
            "[semaphores]\nA = 99999999999999999999999999",
            "[semaphores]\nA = 1.5",
            "[semaphores]\n\"a b\".max = \"1\"",
        ],
        expect![[r#"
            throttle.toml:2:5: semaphores.A: invalid value: integer `0`, expected a whole number from 1 to 9007199254740991
            throttle.toml:2:5: semaphores.A: invalid value: integer `-3`, expected a whole number from 1 to 9007199254740991
            throttle.toml:2:13: semaphores.A.max: invalid value: integer `9007199254740992`, expected a whole number from 1 to 9007199254740991
            throttle.toml:2:5: semaphores.A: invalid type: integer `99999999999999999999999999` as i128, expected a maximum such as 42, or a table such as { max = 1, level = 1 }
            throttle.toml:2:5: semaphores.A: invalid type: floating point `1.5`, expected a maximum such as 42, or a table such as { max = 1, level = 1 }
            throttle.toml:2:13: semaphores."a b".max: invalid type: string "1", expected a whole number from 1 to 9007199254740991
        "#]],
    );
}

#[test]
fn a_file_that_is_written_while_it_is_read_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("throttle.toml");
    std::fs::write(&path, "[semaphores]").unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let before = file.metadata().unwrap();
    assert!(!has_changed(&before, &file.metadata().unwrap(), 12));
    // Shorter or longer than what was read, at the beginning or at the end.
    assert!(has_changed(&before, &before, 5));
    assert!(has_changed(&before, &before, 13));
    file.set_len(5).unwrap();
    assert!(has_changed(&before, &file.metadata().unwrap(), 12));
    // Another text of the same length.
    file.set_len(12).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert!(has_changed(&before, &file.metadata().unwrap(), 12));
    assert_eq!(read_unchanged(&path).unwrap().len(), 12);
}

#[test]
fn a_file_cannot_have_semaphores_and_say_that_it_has_none() {
    assert!(parse("no_semaphores = true\n[semaphores]").unwrap().no_semaphores);
    check(
        &["no_semaphores = true\n[semaphores]\nA = 1"],
        expect![[r#"
            throttle.toml:3:1: semaphores.A: a semaphore, although the file says no_semaphores = true
        "#]],
    );
}

#[test]
fn the_state_is_in_memory_or_in_a_file_or_in_a_store() {
    let persistence = |text: &str| parse(text).unwrap().persistence().to_string();
    assert_eq!(persistence(""), "in memory");
    assert_eq!(persistence("[restart]\nstate_file = ''\ngrace_period = '30s'"), "in memory");
    let file = persistence("[restart]\nstate_file = 'here/throttle.state'");
    assert_eq!(file, "in memory, and in here/throttle.state from a stop to the next start");
    assert_eq!(persistence("[store]"), "durable in throttle.redb");
    let store = persistence("[restart]\ngrace_period = '1m'\n[store]\npath = '/var/it.redb'");
    assert_eq!(store, "durable in /var/it.redb");
}

#[test]
fn a_store_has_a_file_and_no_state_file_beside_it() {
    check(
        &[
            "[store]\npath = ''",
            "[store]\npath = 3",
            "[store]\nfile = 'throttle.redb'",
            "store = 'throttle.redb'",
            "[restart]\nstate_file = false",
            "[restart]\ngrace_period = -1",
            "[restart]\nstate_file = 'it'\n[store]",
        ],
        expect![[r#"
            throttle.toml:2:8: store.path: invalid value: string "", expected the name of a file
            throttle.toml:2:8: store.path: invalid type: integer `3`, expected a string
            throttle.toml:2:1: store.file: unknown field `file`, expected `path`
            throttle.toml:1:9: store: invalid type: string "throttle.redb", expected a table
            throttle.toml:2:14: restart.state_file: invalid type: boolean `false`, expected a string
            throttle.toml:2:16: restart.grace_period: invalid type: integer `-1`, expected a duration such as "5m", "1h 30m" or "100ms", from 0s to 100years
            throttle.toml:2:14: restart.state_file: a state file, although there is a section `store`, which keeps the state over every restart
        "#]],
    );
}

#[test]
fn a_level_has_32_bits() {
    check(
        &["[semaphores]\nA = { max = 1, level = 2147483648 }"],
        expect![[r#"
        throttle.toml:2:24: semaphores.A.level: invalid value: integer `2147483648`, expected a whole number from -2147483648 to 2147483647
    "#]],
    );
}

#[test]
fn a_semaphore_has_a_maximum_and_a_name_of_bounded_length() {
    check(
        &[
            "[semaphores]\nA = { level = 1 }",
            "[semaphores]\nA = true",
            "[semaphores]\n\"\" = 1",
            "[semaphores]\n\".\" = 1\n\"..\" = 0",
            "[semaphores]\nä = 1",
            "[limits]\nname_length = 3\n[semaphores]\nABCD = 1",
            // Bytes are counted, not characters.
            "[limits]\nname_length = 3\n[semaphores]\nAB = 1\n\"ää\" = 1",
        ],
        expect![[r#"
            throttle.toml:2:5: semaphores.A: missing field `max`
            throttle.toml:2:5: semaphores.A: invalid type: boolean `true`, expected a maximum such as 42, or a table such as { max = 1, level = 1 }
            throttle.toml:2:1: semaphores."": a semaphore needs a name
            throttle.toml:2:1: semaphores.".": no client can ask for the name ".": in a URL it means a directory, however it is encoded
            throttle.toml:3:1: semaphores."..": no client can ask for the name "..": in a URL it means a directory, however it is encoded
            throttle.toml:3:8: semaphores."..": invalid value: integer `0`, expected a whole number from 1 to 9007199254740991
            throttle.toml:2:1: semaphores."ä": invalid unquoted key, expected letters, numbers, `-`, `_`
            throttle.toml:4:1: semaphores.ABCD: the name has 4 bytes, more than the 3 of limits.name_length
            throttle.toml:5:1: semaphores."ää": the name has 4 bytes, more than the 3 of limits.name_length
        "#]],
    );
}

#[test]
fn an_unknown_key_is_an_error_wherever_it_is() {
    check(
        &[
            "adress = 1",
            "[loging.stderr]",
            "[logging.stdout]\nlevel = \"WARN\"",
            "[logging.stderr]\nlvl = \"WARN\"",
            "[logging.gelf]\nhots = \"graylog\"",
            "[limits]\n# How many.\npeer = 3",
            "[semaphores]\nA = 1\nB = { max = 1, lvl = 1 }",
            "[semaphores.A]\nmax = 1\nlvl = 1",
        ],
        expect![[r#"
            throttle.toml:1:1: adress: unknown field `adress`, expected one of `litter_collection_interval`, `abandoned_after`, `no_semaphores`, `semaphores`, `store`, `restart`, `limits`, `logging`, `metrics`
            throttle.toml:1:2: loging: unknown field `loging`, expected one of `litter_collection_interval`, `abandoned_after`, `no_semaphores`, `semaphores`, `store`, `restart`, `limits`, `logging`, `metrics`
            throttle.toml:1:10: logging.stdout: unknown field `stdout`, expected `stderr` or `gelf`
            throttle.toml:2:1: logging.stderr.lvl: unknown field `lvl`, expected `level` or `format`
            throttle.toml:2:1: logging.gelf.hots: unknown field `hots`, expected one of `name`, `host`, `port`, `level`, `protocol`
            throttle.toml:3:1: limits.peer: unknown field `peer`, expected one of `peers`, `waiters`, `connections`, `open_waits`, `request_timeout`, `head`, `body`, `name_length`, `expires_in`, `block_for`, `labels`, `label_length`, `listings`, `label_bytes`
            throttle.toml:3:16: semaphores.B.lvl: unknown field `lvl`, expected `max` or `level`
            throttle.toml:3:1: semaphores.A.lvl: unknown field `lvl`, expected `max` or `level`
        "#]],
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_an_error() {
    check(
        &[
            "limits = 3",
            "semaphores = 3",
            "abandoned_after = 10",
            "abandoned_after = \"10 parsecs\"",
            "abandoned_after = \"500000000000y\"",
            "litter_collection_interval = \"\"",
            "[logging]\nstderr.level = \"LOUD\"",
            "[logging]\nstderr = { format = \"xml\" }",
            "[logging.gelf]\nport = 65536",
            "[logging.gelf]\nprotocol = \"http\"",
            "[metrics]\nhistograms = \"fine\"",
            "[limits]\npeers = 0",
            "[limits]\nconnections = 4294967296",
            "[limits]\nrequest_timeout = \"0s\"",
        ],
        expect![[r#"
            throttle.toml:1:10: limits: invalid type: integer `3`, expected a table
            throttle.toml:1:14: semaphores: invalid type: integer `3`, expected a table
            throttle.toml:1:19: abandoned_after: invalid type: integer `10`, expected a duration such as "5m", "1h 30m" or "100ms", from 0s to 100years
            throttle.toml:1:19: abandoned_after: invalid value: string "10 parsecs", expected a duration such as "5m", "1h 30m" or "100ms", from 0s to 100years
            throttle.toml:1:19: abandoned_after: invalid value: string "500000000000y", expected a duration such as "5m", "1h 30m" or "100ms", from 0s to 100years
            throttle.toml:1:30: litter_collection_interval: invalid value: string "", expected a duration such as "5m", "1h 30m" or "100ms", from 0s to 100years
            throttle.toml:2:16: logging.stderr.level: unknown level "LOUD", expected one of ERROR, WARN, INFO, DEBUG, TRACE, OFF
            throttle.toml:2:21: logging.stderr.format: unknown variant `xml`, expected `human` or `json`
            throttle.toml:2:8: logging.gelf.port: invalid value: integer `65536`, expected a whole number from 1 to 65535
            throttle.toml:2:12: logging.gelf.protocol: unknown variant `http`, expected `udp` or `tcp`
            throttle.toml:2:14: metrics.histograms: unknown variant `fine`, expected one of `full`, `coarse`, `off`
            throttle.toml:2:9: limits.peers: invalid value: integer `0`, expected a whole number from 1 to 4294967295
            throttle.toml:2:15: limits.connections: invalid value: integer `4294967296`, expected a whole number from 1 to 4294967295, or "auto"
            throttle.toml:2:19: limits.request_timeout: invalid value: string "0s", expected a duration such as "5m", "1h 30m" or "100ms", from 1ms to 1day
        "#]],
    );
}

#[test]
fn a_syntax_error_is_reported_with_its_place() {
    check(
        &[
            "[semaphores]\nA = 1\nA = 2",
            "[semaphores]\n'A B' = 1\n\"A B\" = 2",
            "[semaphores]\nA = { max = 1, max = 2 }",
            "[semaphores]\nA.max = 1\nA.max = 2",
            "[logging.stderr]\n[logging.stderr]",
            "[semaphores\nA = 1",
            "[semaphores]\nA = ",
            "[semaphores]\nB = { max = 1",
            "{\"semaphores\": {\"A\": 1}}",
        ],
        expect![[r#"
            throttle.toml:3:1: semaphores.A: duplicate key
            throttle.toml:3:1: semaphores."A B": duplicate key
            throttle.toml:2:16: semaphores.A.max: duplicate key
            throttle.toml:3:3: semaphores.A.max: duplicate key
            throttle.toml:2:10: logging.stderr: duplicate key
            throttle.toml:1:12: unclosed table, expected `]`
            throttle.toml:2:5: semaphores.A: string values must be quoted, expected literal string
            throttle.toml:2:14: semaphores.B.max: unclosed inline table, expected `}`
            throttle.toml:1:1: invalid key-value pair, expected key
        "#]],
    );
}

#[test]
fn all_mistakes_are_reported_in_the_order_of_the_file() {
    check(
        &["
            abandoned_after = 10
            adress = 1
            [semaphores]
            B = -3
            A = { max = 0, lvl = 1, level = 'x' }
            '.' = true
            C = { level = 1.5 }
            D = 1
            [logging]
            stderr = { level = 'LOUD', format = 'xml' }
            gelf = 'graylog'
            [limits]
            peers = 0
            peer = 3"],
        expect![[r#"
            throttle.toml:2:31: abandoned_after: invalid type: integer `10`, expected a duration such as "5m", "1h 30m" or "100ms", from 0s to 100years
            throttle.toml:3:13: adress: unknown field `adress`, expected one of `litter_collection_interval`, `abandoned_after`, `no_semaphores`, `semaphores`, `store`, `restart`, `limits`, `logging`, `metrics`
            throttle.toml:5:17: semaphores.B: invalid value: integer `-3`, expected a whole number from 1 to 9007199254740991
            throttle.toml:6:25: semaphores.A.max: invalid value: integer `0`, expected a whole number from 1 to 9007199254740991
            throttle.toml:6:28: semaphores.A.lvl: unknown field `lvl`, expected `max` or `level`
            throttle.toml:6:45: semaphores.A.level: invalid type: string "x", expected a whole number from -2147483648 to 2147483647
            throttle.toml:7:13: semaphores.".": no client can ask for the name ".": in a URL it means a directory, however it is encoded
            throttle.toml:7:19: semaphores.".": invalid type: boolean `true`, expected a maximum such as 42, or a table such as { max = 1, level = 1 }
            throttle.toml:8:17: semaphores.C: missing field `max`
            throttle.toml:8:27: semaphores.C.level: invalid type: floating point `1.5`, expected a whole number from -2147483648 to 2147483647
            throttle.toml:11:32: logging.stderr.level: unknown level "LOUD", expected one of ERROR, WARN, INFO, DEBUG, TRACE, OFF
            throttle.toml:11:49: logging.stderr.format: unknown variant `xml`, expected `human` or `json`
            throttle.toml:12:20: logging.gelf: invalid type: string "graylog", expected a table
            throttle.toml:14:21: limits.peers: invalid value: integer `0`, expected a whole number from 1 to 4294967295
            throttle.toml:15:13: limits.peer: unknown field `peer`, expected one of `peers`, `waiters`, `connections`, `open_waits`, `request_timeout`, `head`, `body`, `name_length`, `expires_in`, `block_for`, `labels`, `label_length`, `listings`, `label_bytes`
        "#]],
    );
}

#[test]
fn a_syntax_error_hides_only_the_mistakes_that_follow_from_it() {
    check(
        &[
            "[semaphores]\nA = 1\nA = 2\nB = 0\n\"B\" = 1\n[limits]\npeers = \nbody = 0",
            // It is unknown which table the keys below belong to.
            "[semaphores\nA = 1\nB = 0\n[limits]\npeers = 0",
            "abandoned_after = 10\n[semaphores]\nA = { max = 1\nB = 0",
            "abandoned_after = '10s\nfoo = 3",
        ],
        expect![[r#"
            throttle.toml:3:1: semaphores.A: duplicate key
            throttle.toml:4:5: semaphores.B: invalid value: integer `0`, expected a whole number from 1 to 9007199254740991
            throttle.toml:5:1: semaphores.B: duplicate key
            throttle.toml:7:9: limits.peers: string values must be quoted, expected literal string
            throttle.toml:8:8: limits.body: invalid value: integer `0`, expected a whole number from 1 to 4294967295
            throttle.toml:1:12: limits: unclosed table, expected `]`
            throttle.toml:1:19: abandoned_after: invalid type: integer `10`, expected a duration such as "5m", "1h 30m" or "100ms", from 0s to 100years
            throttle.toml:4:1: semaphores.A.B: missing comma between key-value pairs, expected `,`
            throttle.toml:1:23: abandoned_after: invalid literal string, expected `'`
            throttle.toml:2:1: foo: unknown field `foo`, expected one of `litter_collection_interval`, `abandoned_after`, `no_semaphores`, `semaphores`, `store`, `restart`, `limits`, `logging`, `metrics`
        "#]],
    );
}

#[test]
fn of_very_many_mistakes_the_first_are_reported_and_the_rest_counted() {
    let text =
        "[semaphores]\n".to_owned() + &(0..60).map(|n| format!("A{n} = 0\n")).collect::<String>();
    let refusal = parse(&text).unwrap_err().to_string();
    assert_eq!(refusal.lines().count(), 51);
    assert!(refusal.starts_with("throttle.toml:2:6: semaphores.A0: "), "{refusal}");
    assert!(refusal.ends_with("throttle.toml: and 10 more mistakes"), "{refusal}");
}

#[test]
fn a_mistake_of_any_length_is_reported_in_a_readable_line() {
    let text = format!("abandoned_after = \"{}\"", "ä".repeat(100_000));
    let refusal = parse(&text).unwrap_err().to_string();
    assert!(refusal.len() < 1_200 && refusal.ends_with("ää…"), "{refusal}");
}

#[test]
fn a_file_may_come_from_windows() {
    let text = "\u{feff}[semaphores]\r\nA = 1\r\nB = 2\r\n";
    assert_eq!(semaphores(text).len(), 2);
    check(
        &["[semaphores]\r\nA = 1\r\nB = 0\r\n"],
        expect![[r#"
        throttle.toml:3:5: semaphores.B: invalid value: integer `0`, expected a whole number from 1 to 9007199254740991
    "#]],
    );
}

#[test]
fn the_sample_is_a_configuration_with_semaphores() {
    let config = parse(&Config::sample()).unwrap();
    assert_eq!(config.semaphores.keys().collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn the_sample_shows_every_option_with_its_default() {
    let is_option = |line: &&str| line.starts_with("# [") || line.contains(" = ");
    let sample = Config::sample();
    let lines = sample.lines().filter(|line| !line.starts_with("# ") || is_option(line));
    let uncommented = lines.map(|line| line.strip_prefix("# ").unwrap_or(line));
    let uncommented = uncommented.collect::<Vec<_>>().join("\n");
    let mut config = parse(&uncommented).unwrap();
    assert_eq!(config.logging.gelf.take(), Some(Gelf::default()));
    assert_eq!(config.store.take(), Some(Store::default()));
    config.semaphores.clear();
    assert_eq!(config, Config::default());
    for option in config.fixed_options().keys() {
        let (_, name) = option.rsplit_once('.').unwrap();
        assert!(sample.contains(&format!("\n# {name} = ")), "{option}");
    }
}

#[test]
fn options_that_a_reload_cannot_change_are_named() {
    let old = parse("[limits]\npeers = 1\nbody = 2\n[logging.gelf]\nport = 1").unwrap();
    let new = parse("[limits]\npeers = 3\nbody = 4\n[logging.gelf]\nport = 2").unwrap();
    assert_eq!(old.keys_that_take_a_restart(&new), ["limits.body", "logging.gelf.port"]);
    let silent = parse("[limits]\nbody = 2").unwrap();
    assert_eq!(old.keys_that_take_a_restart(&silent).len(), 5);
    let durable = parse("[store]\n[restart]\ngrace_period = '1s'").unwrap();
    let keys = Config::default().keys_that_take_a_restart(&durable);
    assert_eq!(keys, ["restart.grace_period", "store.path"]);
    let live =
        "abandoned_after = \"1s\"\n[semaphores]\nA = 1\n[limits]\nwaiters = 1\nopen_waits = 1";
    let live = parse(live).unwrap();
    assert!(Config::default().keys_that_take_a_restart(&live).is_empty());
}

#[test]
fn requests_that_wait_leave_a_connection_to_others() {
    let automatic = Config::default().limits;
    let pairs = [(1, 0), (2, 1), (3, 2), (7, 6), (8, 7), (16, 14), (10_000, 8_750)];
    for (connections, open_waits) in pairs {
        assert_eq!(automatic.open_waits(connections), open_waits, "of {connections}");
    }
    let given = parse("[limits]\nopen_waits = 100").unwrap().limits;
    let pairs = [(10_000, 100), (101, 100), (100, 99), (1, 0)];
    for (connections, open_waits) in pairs {
        assert_eq!(given.open_waits(connections), open_waits, "of {connections}");
    }
    assert_eq!(parse("[limits]\nopen_waits = 0").unwrap().limits.open_waits(10), 0);
}
