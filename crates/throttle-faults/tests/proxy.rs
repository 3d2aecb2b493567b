//! Each fault of the proxy has its effect on the client and on the server.

use std::time::Duration;

use axum::http::StatusCode;
use throttle_client::{Admission, Client, Error, RetryPolicy, http_client_builder};
use throttle_faults::{
    clock,
    proxy::{Fault, Proxy, RequestKind, Rule},
    server::Server,
};

const LEASE: Duration = Duration::from_secs(60);

/// Longer than any step takes here.
const LONG: Duration = Duration::from_secs(20);

const SHORT: Duration = Duration::from_millis(20);

fn proxy() -> Proxy {
    Proxy::start(Server::start(&[("A", 1, 0)])).unwrap()
}

/// A client that does not repeat requests.
fn client(url: &str) -> Client {
    let http = http_client_builder().no_proxy().build().unwrap();
    let retry = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
    Client::builder(url).http_client(http).retry(retry).build().unwrap()
}

async fn until_peers(proxy: &Proxy, number: usize) {
    clock::until("so many peers", LONG, || async { proxy.server().peers().await == number })
        .await
        .unwrap();
}

#[tokio::test]
async fn without_rules_all_requests_are_forwarded() {
    let proxy = proxy();
    let client = client(&proxy.url());
    let peer = client.new_peer(LEASE).await.unwrap();
    let admission = client.acquire(peer, "A", 1).await.unwrap();
    assert!(matches!(admission, Admission::Granted { .. }), "{admission:?}");
    assert_eq!(proxy.server().holders("A").await.len(), 1);
    assert!(client.remove_peer(peer).await.unwrap());
    assert_eq!(proxy.faults(), 0);
}

#[tokio::test]
async fn a_cut_request_does_not_arrive() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::CutRequest));
    client(&proxy.url()).new_peer(LEASE).await.unwrap_err();
    assert_eq!((proxy.server().peers().await, proxy.faults()), (0, 1));
}

#[tokio::test]
async fn the_request_of_a_cut_answer_arrives() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::CutAnswer));
    client(&proxy.url()).new_peer(LEASE).await.unwrap_err();
    assert_eq!(proxy.server().peers().await, 1);
}

#[tokio::test]
async fn a_page_replaces_answers_until_the_rules_are_removed() {
    let proxy = proxy();
    proxy.inject(Rule::always(Fault::Answer(StatusCode::BAD_GATEWAY)).on(&[RequestKind::NewPeer]));
    let client = client(&proxy.url());
    let error = client.new_peer(LEASE).await.unwrap_err();
    assert!(matches!(error, Error::UnexpectedAnswer { status: 502, .. }), "{error:?}");
    client.version().await.unwrap();
    proxy.clear();
    client.new_peer(LEASE).await.unwrap();
}

#[tokio::test]
async fn the_faultless_url_ignores_the_rules() {
    let proxy = proxy();
    proxy.inject(Rule::always(Fault::CutRequest));
    client(&proxy.faultless_url()).new_peer(LEASE).await.unwrap();
    assert_eq!((proxy.server().peers().await, proxy.faults()), (1, 0));
}

#[tokio::test]
async fn silence_lasts_until_the_rules_are_removed() {
    let proxy = proxy();
    proxy.inject(Rule::always(Fault::Silence));
    let client = client(&proxy.url());
    let asking = tokio::spawn(async move { client.new_peer(LEASE).await });
    clock::until("the request meets silence", LONG, || async { proxy.faults() == 1 })
        .await
        .unwrap();
    assert!(!asking.is_finished());
    proxy.clear();
    asking.await.unwrap().unwrap_err();
    assert_eq!(proxy.server().peers().await, 0);
}

#[tokio::test]
async fn a_delayed_request_arrives_even_if_its_client_is_gone() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::DelayRequest(SHORT)));
    let client = client(&proxy.url());
    let asking = tokio::spawn(async move { client.new_peer(LEASE).await });
    clock::until("the request is under way", LONG, || async { proxy.faults() == 1 }).await.unwrap();
    asking.abort();
    until_peers(&proxy, 1).await;
}

#[tokio::test]
async fn a_delayed_answer_arrives_even_after_a_restart_of_the_server() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::DelayAnswer(SHORT)));
    let client = client(&proxy.url());
    let asking = tokio::spawn(async move { client.new_peer(LEASE).await });
    until_peers(&proxy, 1).await;
    proxy.server().restart();
    asking.await.unwrap().unwrap();
    assert_eq!(proxy.server().peers().await, 0);
}

#[tokio::test]
async fn a_duplicated_request_arrives_twice() {
    let proxy = proxy();
    proxy.inject(Rule::once(Fault::Duplicate(SHORT)));
    client(&proxy.url()).new_peer(LEASE).await.unwrap();
    until_peers(&proxy, 2).await;
}

#[tokio::test]
async fn a_closed_port_refuses_connections_until_it_is_opened_again() {
    let mut proxy = proxy();
    let client = client(&proxy.url());
    let peer = client.new_peer(LEASE).await.unwrap();
    proxy.refuse_connections().await;
    let error = client.heartbeat(peer, LEASE).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    proxy.accept_connections().unwrap();
    client.heartbeat(peer, LEASE).await.unwrap();
}

#[tokio::test]
async fn a_restart_breaks_blocked_requests_and_loses_all_peers() {
    let proxy = proxy();
    let rival = proxy.server().start_rival("A").await.unwrap();
    let client = client(&proxy.url());
    let peer = client.new_peer(LEASE).await.unwrap();
    let waiting = tokio::spawn(async move { client.acquire(peer, "A", 1).block_for(LEASE).await });
    clock::until("it waits", LONG, || async { proxy.server().waiters("A").await == 1 })
        .await
        .unwrap();
    proxy.server().restart();
    waiting.await.unwrap().unwrap_err();
    assert_eq!(proxy.server().peers().await, 0);
    drop(rival);
}
