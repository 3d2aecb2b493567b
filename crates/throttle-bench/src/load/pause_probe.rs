//! A probe: signs of life at a steady pace on a few connections, to see how long others have to wait
//! while something large happens.
//!
//! Each connection has a thread of its own that sleeps between its requests, so the probe neither
//! fills a processor nor waits for anything but its answer.

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

/// Signs of life that go on until [`PauseProbe::stop`].
#[derive(Debug)]
pub(crate) struct PauseProbe {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<Latencies>>>,
}

impl PauseProbe {
    /// Sends signs of life of each peer on a connection of its own, every [`PACE`]. They begin one
    /// after the other, so that together they meet a pause wherever it begins.
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

    /// Ends when all answers are there. Returns how long each of them took.
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

/// Reads one answer, which has to be 200.
fn receive(stream: &mut TcpStream) -> anyhow::Result<()> {
    let (mut bytes, mut filled) = ([0; 1_024], 0);
    loop {
        let length = stream.read(&mut bytes[filled..]).context("the probe heard no answer")?;
        ensure!(length > 0, "the server hung up on the probe");
        filled += length;
        if let Some((answer, _)) = Answer::parse(&bytes[..filled])? {
            return answer.expect(&[200]).map(drop);
        }
    }
}

/// How often each connection of the probe sends a sign of life, unless one takes longer.
const PACE: Duration = Duration::from_millis(1);
/// A server that is silent for so long does not answer any more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that lets one request wait. The probe has to have waited for at least as long as the
    /// server held it back.
    #[test]
    fn a_pause_is_seen_in_its_length() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
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
                    tell.send(clock::now().duration_since(start)).unwrap();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOk").unwrap();
            }
        });
        let probe = PauseProbe::start(address, &[42]).unwrap();
        let pause: Duration = told.recv().unwrap();
        let latencies = probe.stop().unwrap();
        server.join().unwrap();
        assert!(latencies.longest() * 1.001 > pause.as_secs_f64() * 1e6);
        // Whoever would have come in the meantime is counted too.
        assert!(latencies.count() > 20);
    }
}
