//! Each fault of the proxy does what it says, seen from both sides.

use std::time::Duration;

use axum::http::StatusCode;
use throttle_client::{Admission, Client, Error, RetryPolicy, http_client_builder};
use throttle_faults::{
    clock,
    proxy::{Fault, Kind, Proxy, Rule},
    server::Server,
};

const LEASE: Duration = Duration::from_secs(60);

/// Longer than anything takes here.
const LONG: Duration = Duration::from_secs(20);

const SHORT: Duration = Duration::from_millis(20);

fn proxy() -> Proxy {
    Proxy::start(Server::start(&[("A", 1, 0)])).unwrap()
}

/// A client that asks once.
fn client(url: &str) -> Client {
    let http = http_client_builder().no_proxy().build().unwrap();
    let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    Client::builder(url).http_client(http).retry(retry).build().unwrap()
}

async fn until_peers(proxy: &Proxy, number: usize) {
    clock::until("so many peers", LONG, || proxy.server().peers() == number).await.unwrap();
}

#[tokio::test]
async fn without_rules_everything_is_passed_on() {
    let proxy = proxy();
    let client = client(&proxy.url());
    let peer = client.new_peer(LEASE).await.unwrap();
    let admission = client.acquire(peer, "A", 1).await.unwrap();
    assert!(matches!(admission, Admission::Granted { .. }), "{admission:?}");
    assert_eq!(proxy.server().holders("A").len(), 1);
    assert!(client.remove_peer(peer).await.unwrap());
    assert_eq!(proxy.faults(), 0);
}

#[tokio::test]
async fn a_request_that_is_cut_does_not_arrive() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::CutRequest));
    client(&proxy.url()).new_peer(LEASE).await.unwrap_err();
    assert_eq!((proxy.server().peers(), proxy.faults()), (0, 1));
}

#[tokio::test]
async fn an_answer_that_is_cut_belongs_to_a_request_that_arrived() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::CutAnswer));
    client(&proxy.url()).new_peer(LEASE).await.unwrap_err();
    assert_eq!(proxy.server().peers(), 1);
}

#[tokio::test]
async fn a_page_takes_the_place_of_the_answer_until_rules_are_removed() {
    let proxy = proxy();
    proxy.inject(Rule::always(Fault::Answer(StatusCode::BAD_GATEWAY)).on(&[Kind::NewPeer]));
    let client = client(&proxy.url());
    let error = client.new_peer(LEASE).await.unwrap_err();
    assert!(matches!(error, Error::UnexpectedAnswer { status: 502, .. }), "{error:?}");
    client.version().await.unwrap();
    proxy.clear();
    client.new_peer(LEASE).await.unwrap();
}

#[tokio::test]
async fn redirects_lead_to_an_address_without_faults() {
    let proxy = proxy();
    proxy.inject(Rule::always(Fault::CutRequest));
    client(&proxy.second_url()).new_peer(LEASE).await.unwrap();
    assert_eq!((proxy.server().peers(), proxy.faults()), (1, 0));
}

#[tokio::test]
async fn silence_lasts_until_rules_are_removed() {
    let proxy = proxy();
    proxy.inject(Rule::always(Fault::Silence));
    let client = client(&proxy.url());
    let asking = tokio::spawn(async move { client.new_peer(LEASE).await });
    clock::until("the request meets silence", LONG, || proxy.faults() == 1).await.unwrap();
    assert!(!asking.is_finished());
    proxy.clear();
    asking.await.unwrap().unwrap_err();
    assert_eq!(proxy.server().peers(), 0);
}

#[tokio::test]
async fn a_late_request_arrives_also_without_its_client() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::DelayRequest(SHORT)));
    let client = client(&proxy.url());
    let asking = tokio::spawn(async move { client.new_peer(LEASE).await });
    clock::until("the request is under way", LONG, || proxy.faults() == 1).await.unwrap();
    asking.abort();
    until_peers(&proxy, 1).await;
}

#[tokio::test]
async fn a_late_answer_is_that_of_a_server_that_is_gone() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::DelayAnswer(SHORT)));
    let client = client(&proxy.url());
    let asking = tokio::spawn(async move { client.new_peer(LEASE).await });
    until_peers(&proxy, 1).await;
    proxy.server().restart();
    asking.await.unwrap().unwrap();
    assert_eq!(proxy.server().peers(), 0);
}

#[tokio::test]
async fn a_request_that_is_doubled_arrives_twice() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::Duplicate(SHORT)));
    client(&proxy.url()).new_peer(LEASE).await.unwrap();
    until_peers(&proxy, 2).await;
}

#[tokio::test]
async fn whoever_is_dead_refuses_connections_until_it_is_revived_at_the_same_port() {
    let mut proxy = proxy();
    let client = client(&proxy.url());
    let peer = client.new_peer(LEASE).await.unwrap();
    proxy.die().await;
    let error = client.heartbeat(peer, LEASE).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    proxy.revive().unwrap();
    client.heartbeat(peer, LEASE).await.unwrap();
}

#[tokio::test]
async fn a_restart_cuts_those_who_wait_and_forgets_everybody() {
    let proxy = proxy();
    let rival = proxy.server().rival("A").await.unwrap();
    let client = client(&proxy.url());
    let peer = client.new_peer(LEASE).await.unwrap();
    let waiting = tokio::spawn(async move { client.acquire(peer, "A", 1).block_for(LEASE).await });
    clock::until("it waits", LONG, || proxy.server().waiters("A") == 1).await.unwrap();
    proxy.server().restart();
    waiting.await.unwrap().unwrap_err();
    assert_eq!(proxy.server().peers(), 0);
    drop(rival);
}
