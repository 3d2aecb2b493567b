//! Helpers that the tests of the runtime share.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use throttle_runtime::{
    Admission, Clock, Count, Error, Event, Handle, Labels, Level, LockRequest, Observer, PeerId,
    SemaphoreConfig, SemaphoreId, Settings,
};
use tokio::{task::JoinHandle, time::advance};

/// A lease that ends only in tests that wait for its end.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// How long [`wait`] waits at most.
pub(crate) const BLOCK_FOR: Duration = Duration::from_secs(30);

/// A jump that is not a stall, even if the last tick was a while ago.
pub(crate) const JUMP: Duration = Duration::from_millis(500);

/// A service with these semaphores at level zero.
pub(crate) fn start(semaphores: &[(&str, u64)]) -> Handle {
    Handle::start(Settings::default(), &configure(semaphores))
}

pub(crate) fn configure(semaphores: &[(&str, u64)]) -> BTreeMap<String, SemaphoreConfig> {
    let semaphores = semaphores.iter().map(|&(name, max)| {
        (name.to_owned(), SemaphoreConfig { max: count(max), level: Level(0) })
    });
    semaphores.collect()
}

pub(crate) fn count(count: u64) -> Count {
    Count::new(count).expect("a positive count")
}

pub(crate) async fn join(handle: &Handle) -> PeerId {
    handle.new_peer(LEASE, Labels::default()).await.expect("there is room")
}

/// Creates a peer that holds `count` of `semaphore`.
pub(crate) async fn hold(handle: &Handle, semaphore: &str, count: u64) -> PeerId {
    let peer = join(handle).await;
    let admission = handle.acquire(peer, semaphore, LockRequest::now(self::count(count))).await;
    assert!(matches!(admission, Ok(Admission::Granted { .. })));
    peer
}

/// Requests one of `semaphore` in a new task, and waits for it there.
pub(crate) fn wait(
    handle: &Handle,
    peer: PeerId,
    semaphore: &str,
) -> JoinHandle<Result<Admission, Error>> {
    let (handle, semaphore) = (handle.clone(), semaphore.to_owned());
    let request = LockRequest { block_for: Some(BLOCK_FOR), ..LockRequest::now(Count::ONE) };
    tokio::spawn(async move { handle.acquire(peer, &semaphore, request).await })
}

/// Lets all tasks run until they wait.
pub(crate) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Advances the clock without running any task, so the timer is late. More than a second is a stall.
pub(crate) fn jump(span: Duration) {
    let mut context = Context::from_waker(Waker::noop());
    let _ = pin!(advance(span)).poll(&mut context);
}

/// Records what an observer receives.
#[derive(Default)]
pub(crate) struct Journal(pub(crate) Arc<Mutex<Vec<String>>>);

impl Observer for Journal {
    fn semaphore_added(&mut self, _: SemaphoreId, name: &str) {
        self.0.lock().unwrap().push(format!("{name} added"));
    }

    fn semaphore_removed(&mut self, id: SemaphoreId) {
        self.0.lock().unwrap().push(format!("{} removed", id.index()));
    }

    fn event(&mut self, event: &Event) {
        self.0.lock().unwrap().push(format!("{event:?}").split(' ').next().unwrap().to_owned());
    }
}

pub(crate) fn levels(levels: &[(&str, i32)]) -> BTreeMap<String, SemaphoreConfig> {
    let semaphores = levels.iter().map(|&(name, level)| {
        (name.to_owned(), SemaphoreConfig { max: Count::ONE, level: Level(level) })
    });
    semaphores.collect()
}

pub(crate) fn elapsed(clock: Clock) -> Duration {
    Duration::from_nanos(clock.now().as_nanos())
}

/// Whether the answer is that a count of one is pending.
pub(crate) fn is_pending(answer: Result<Admission, Error>) -> bool {
    matches!(answer, Ok(Admission::Queued { count: Count::ONE, .. }))
}
