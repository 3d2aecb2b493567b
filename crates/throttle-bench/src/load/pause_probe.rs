//! Measures how long others have to wait while something large happens, by heartbeats at a steady pace on a few
//! connections.
//!
//! Each connection has a thread of its own, which sleeps between its requests. So the probe takes little
//! processor time, and a request waits only for its own answer.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::{LONG, Latencies};
use crate::{
    clock,
    http::{Answer, Request},
};

/// Sends heartbeats until [`PauseProbe::stop`].
#[derive(Debug)]
pub(crate) struct PauseProbe {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<Latencies>>>,
}

impl PauseProbe {
    /// Starts a connection for each peer, which sends a heartbeat every [`PACE`]. The connections start at
    /// different offsets, so that some request is sent soon after a pause begins.
    pub(crate) fn start(server: SocketAddr, peers: &[u64]) -> anyhow::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let offset = PACE / u32::try_from(peers.len()).context("a probe has a few connections")?;
        let mut threads = Vec::new();
        for (number, &peer) in (0..).zip(peers) {
            let stream = TcpStream::connect(server).context("the probe cannot connect")?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            let is_over = Arc::clone(&is_over);
            let delay = offset * number;
            threads.push(thread::spawn(move || probe(stream, peer, delay, &is_over)));
        }
        Ok(Self { is_over, threads })
    }

    /// Waits for the last answers. Returns all latencies.
    pub(crate) fn stop(self) -> anyhow::Result<Latencies> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Latencies::new();
        for thread in self.threads {
            let latencies = thread.join().map_err(|_| anyhow::anyhow!("a probe panicked"))??;
            all.add(&latencies);
        }
        Ok(all)
    }
}

fn probe(
    mut stream: TcpStream,
    peer: u64,
    delay: Duration,
    is_over: &AtomicBool,
) -> anyhow::Result<Latencies> {
    let (mut latencies, mut request) = (Latencies::new(), Request::default());
    request.heartbeat(peer, LONG);
    let mut next = clock::now() + delay;
    while !is_over.load(Ordering::Relaxed) {
        clock::sleep_until(next);
        let sent = clock::now();
        stream.write_all(request.bytes())?;
        receive(&mut stream)?;
        let answered = clock::now();
        latencies.record_at_pace(answered.duration_since(sent), PACE);
        next = (next + PACE).max(answered);
    }
    Ok(latencies)
}

/// Reads one answer. Fails unless its status is 200.
fn receive(stream: &mut TcpStream) -> anyhow::Result<()> {
    let (mut bytes, mut filled) = ([0; 1_024], 0);
    loop {
        let length = stream.read(&mut bytes[filled..]).context("the probe received no answer")?;
        ensure!(length > 0, "the server hung up on the probe");
        filled += length;
        if let Some((answer, _)) = Answer::parse(&bytes[..filled])? {
            return answer.expect(&[200]).map(drop);
        }
    }
}

/// The interval of each connection's heartbeats, unless one takes longer.
const PACE: Duration = Duration::from_millis(1);
/// Without an answer for this long, the run fails.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// The server delays one answer. The probe must have waited at least as long as the delay.
    #[test]
    fn a_pause_is_measured_in_full() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 1_024];
            for number in 0.. {
                if stream.read(&mut bytes).unwrap() == 0 {
                    break;
                }
                let start = clock::now();
                if number == 3 {
                    clock::sleep(Duration::from_millis(20));
                    sender.send(clock::now().duration_since(start)).unwrap();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOk").unwrap();
            }
        });
        let probe = PauseProbe::start(address, &[42]).unwrap();
        let pause: Duration = receiver.recv().unwrap();
        let latencies = probe.stop().unwrap();
        server.join().unwrap();
        assert!(latencies.longest() * 1.001 > pause.as_secs_f64() * 1e6);
        // The requests that were due meanwhile count too.
        assert!(latencies.count() > 20);
    }
}
