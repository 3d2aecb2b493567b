//! Messages as a Graylog server receives them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
};

use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::config::{Number, Protocol};

fn config(protocol: Protocol, port: u16) -> Gelf {
    Gelf {
        name: "throttle.example.com".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: Number::new(port.into()),
        protocol,
        ..Gelf::default()
    }
}

/// Logs the events of `emit`. When it returns, all of them were sent.
fn log(config: &Gelf, emit: impl FnOnce()) {
    let (layer, writer) = start(config).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), emit);
    drop(writer);
}

struct Udp(UdpSocket);

impl Udp {
    fn listen() -> (Self, Gelf) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // Room for a whole message, however late this thread is.
        socket2::SockRef::from(&socket).set_recv_buffer_size(1 << 20).unwrap();
        let config = config(Protocol::Udp, socket.local_addr().unwrap().port());
        (Self(socket), config)
    }

    fn datagram(&self) -> Vec<u8> {
        let mut datagram = [0; 65_536];
        let length = self.0.recv(&mut datagram).unwrap();
        datagram[..length].to_vec()
    }

    /// The next message, reassembled from its chunks.
    fn message(&self) -> Value {
        let first = self.datagram();
        if !first.starts_with(&[0x1e, 0x0f]) {
            return serde_json::from_slice(&first).unwrap();
        }
        let (id, count) = (first[2..10].to_vec(), usize::from(first[11]));
        let mut chunks = BTreeMap::from([(first[10], first[12..].to_vec())]);
        while chunks.len() < count {
            let next = self.datagram();
            assert!(next.len() <= 1_420 && next[2..10] == id && next[11] == first[11]);
            chunks.insert(next[10], next[12..].to_vec());
        }
        let message = chunks.into_values().flatten().collect::<Vec<_>>();
        serde_json::from_slice(&message).unwrap()
    }
}

#[test]
fn an_event_arrives_with_all_its_fields() {
    let (graylog, config) = Udp::listen();
    let before = since_1970().as_millis();
    log(&config, || {
        let reason = std::fmt::Error;
        warn!(target: "throttle::test", peers = 3, ratio = 0.5, id = "x", ok = true, %reason, "gone");
    });
    let mut message = graylog.message();
    let timestamp = message.as_object_mut().unwrap().remove("timestamp").unwrap();
    let host = message.as_object_mut().unwrap().remove("host").unwrap();
    assert_eq!(host, hostname::get().unwrap().to_str().unwrap());
    let milliseconds = (timestamp.as_f64().unwrap() * 1_000.0).round();
    assert!((before as f64..=since_1970().as_millis() as f64).contains(&milliseconds));
    expect_test::expect![[r#"
        {
          "_id_": "x",
          "_logger": "throttle.example.com",
          "_ok": "true",
          "_peers": 3,
          "_ratio": 0.5,
          "_reason": "an error occurred when formatting an argument",
          "_target": "throttle::test",
          "level": 4,
          "short_message": "gone",
          "version": "1.1"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&message).unwrap());
}

#[test]
fn levels_are_those_of_syslog() {
    let (graylog, config) = Udp::listen();
    log(&config, || {
        tracing::error!("e");
        tracing::warn!("w");
        tracing::info!("i");
        tracing::debug!("d");
        tracing::trace!("t");
    });
    let levels = [(); 5].map(|()| graylog.message()["level"].as_i64().unwrap());
    assert_eq!(levels, [3, 4, 6, 7, 7]);
}

#[test]
fn of_several_lines_the_first_is_the_short_message() {
    let (graylog, config) = Udp::listen();
    log(&config, || {
        info!("\nfirst\r\nsecond\n");
        info!(only = "fields");
    });
    let message = graylog.message();
    assert_eq!(message["short_message"], "first");
    assert_eq!(message["full_message"], "first\r\nsecond");
    let message = graylog.message();
    assert!(message["short_message"].as_str().unwrap().starts_with("event "));
    assert_eq!(message["_only"], "fields");
    assert_eq!(message.get("full_message"), None);
}

#[test]
fn a_long_message_arrives_in_chunks_and_a_longer_one_truncated() {
    let (graylog, config) = Udp::listen();
    let fits = "ä\"".repeat(30_000);
    log(&config, || info!(data = fits, "fits"));
    assert_eq!(graylog.message()["_data"], fits.as_str());

    let too_long = "ä\"".repeat(300_000);
    log(&config, || info!(data = too_long, "too long"));
    let message = graylog.message();
    assert_eq!(message["short_message"], "too long");
    let data = message["_data"].as_str().unwrap().strip_suffix('…').unwrap();
    assert!(too_long.starts_with(data) && data.len() > 50_000);
}

/// The next message from a connection.
fn next(connection: &mut BufReader<TcpStream>) -> Value {
    let mut message = Vec::new();
    connection.read_until(0, &mut message).unwrap();
    assert_eq!(message.pop(), Some(0));
    serde_json::from_slice(&message).unwrap()
}

#[test]
fn over_tcp_each_message_ends_with_a_zero() {
    let graylog = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config(Protocol::Tcp, graylog.local_addr().unwrap().port());
    log(&config, || {
        info!("one\0");
        info!("two");
    });
    let mut connection = BufReader::new(graylog.accept().unwrap().0);
    assert_eq!(next(&mut connection)["short_message"], "one\0");
    assert_eq!(next(&mut connection)["short_message"], "two");
}

#[test]
fn a_broken_connection_is_opened_again_and_loses_no_message() {
    let graylog = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config(Protocol::Tcp, graylog.local_addr().unwrap().port());
    log(&config, || {
        for text in ["one", "two", "three"] {
            info!(text);
            let mut connection = BufReader::new(graylog.accept().unwrap().0);
            assert_eq!(next(&mut connection)["_text"], text);
        }
    });
}

#[test]
fn a_server_that_is_gone_does_not_delay_logging() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    log(&config(Protocol::Tcp, nobody), || {
        for _ in 0..30_000 {
            info!("lost");
        }
    });
}
