//! Peers and locks in a program without an async runtime.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use throttle_client::{Client, LockError, Lost, Peer, blocking, http_client_builder};
use throttle_runtime::{Count, Handle, Level, SemaphoreConfig, Settings};
use tokio::net::TcpListener;

/// Longer than any test.
const WAIT: Option<Duration> = Some(Duration::from_secs(20));

fn client() -> Client {
    let url = blocking::wait(async {
        let mutex = SemaphoreConfig { max: Count::new(3).unwrap(), level: Level(0) };
        let semaphores = BTreeMap::from([("A".to_owned(), mutex)]);
        let routes = throttle_http::routes(Handle::start(Settings::default(), &semaphores));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, routes).await });
        url
    });
    let http = http_client_builder().no_proxy().build().unwrap();
    Client::builder(url).http_client(http).build().unwrap()
}

#[test]
fn a_lock_is_kept_alive_in_the_background_and_released() {
    let throttle = client();
    let lease = Duration::from_millis(600);
    let ann = blocking::Peer::build(Peer::builder(&throttle).lease(lease));
    let bob = blocking::Peer::new(&throttle);
    let mut lock = ann.lock("A", 3, WAIT).unwrap();
    let in_vain = bob.lock("A", 1, Some(3 * lease));
    assert!(matches!(in_vain, Err(LockError::NotInTime { .. })), "{in_vain:?}");
    assert_eq!(lock.check(), Ok(()));
    assert!(lock.is_held());
    assert_eq!((lock.semaphore(), lock.count()), ("A", 3));
    assert_eq!(Some(lock.peer_id()), ann.id());
    assert!(lock.time_left() <= lease);
    assert_eq!(ann.renew(), Ok(()));
    assert_eq!(lock.lost_within(Duration::from_millis(1)), None);

    lock.shrink(2).unwrap();
    let other = bob.try_lock("A", 1).unwrap().expect("a part of it is free");
    assert!(other.fencing_token() > lock.fencing_token());
    assert!(bob.try_lock("A", 1).is_err(), "the peer already holds it");
    lock.release().unwrap();
    assert_eq!(blocking::wait(throttle.remainder("A")).unwrap(), 2);
}

/// D13, T12.
#[test]
#[expect(clippy::disallowed_methods, reason = "leases are real time")]
fn a_thread_that_does_nothing_but_its_work_keeps_its_lock() {
    let throttle = client();
    let lease = Duration::from_millis(600);
    let ann = blocking::Peer::build(Peer::builder(&throttle).lease(lease));
    let lock = ann.lock("A", 3, WAIT).unwrap();
    let start = Instant::now();
    while start.elapsed() < 3 * lease {
        std::hint::spin_loop();
    }
    assert_eq!(lock.check(), Ok(()));
    let bob = blocking::Peer::new(&throttle);
    assert!(bob.try_lock("A", 1).unwrap().is_none());
}

#[test]
fn every_method_of_a_lost_lock_reports_the_loss() {
    let throttle = client();
    let ann = blocking::Peer::new(&throttle);
    let lock = ann.lock("A", 1, WAIT).unwrap();
    ann.clone().close();
    assert_eq!(lock.check(), Err(Lost::Closed));
    assert!(!lock.is_held());
    assert_eq!(lock.lost_within(Duration::from_secs(20)), Some(Lost::Closed));
    assert_eq!(lock.release(), Err(Lost::Closed));
    assert_eq!(ann.id(), None);
}

#[test]
fn a_drop_returns_after_the_release_or_removal() {
    let throttle = client();
    let peers = || blocking::wait(throttle.peers()).unwrap();
    let ann = blocking::Peer::new(&throttle);
    let lock = ann.lock("A", 3, WAIT).unwrap();
    drop(lock);
    assert_eq!(blocking::wait(throttle.remainder("A")).unwrap(), 3);
    let clone = ann.clone();
    drop(ann);
    assert_eq!(peers().len(), 1);
    drop(clone);
    assert_eq!(peers(), []);
}

#[test]
fn a_lock_can_be_requested_without_a_peer() {
    let throttle = client();
    let peers = || blocking::wait(throttle.peers()).unwrap();
    let request = || throttle.lock("A").count(3).wait_at_most(Duration::from_millis(300));
    let lock = blocking::lock(request()).unwrap();
    assert!(blocking::try_lock(throttle.lock("A")).unwrap().is_none());
    let in_vain = blocking::lock(request());
    assert!(matches!(in_vain, Err(LockError::NotInTime { .. })), "{in_vain:?}");
    assert_eq!(peers().len(), 1);
    lock.release().unwrap();
    assert_eq!(peers(), []);
    drop(blocking::lock(request()).unwrap());
    assert_eq!(peers(), []);
}

#[test]
fn a_lock_that_is_dropped_within_a_task_does_not_block_it() {
    let throttle = client();
    let lock = blocking::lock(throttle.lock("A").count(3)).unwrap();
    blocking::wait(async move { drop(lock) });
    // The lock is released in the background.
    drop(blocking::lock(throttle.lock("A").count(3)).unwrap());
}
