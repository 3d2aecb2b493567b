//! The service itself: greeting, page, health, version, icon, reload.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request},
};
use http_body_util::BodyExt as _;
use serde_json::json;
use throttle_http::RequestLimits;
use throttle_runtime::{Handle, Settings};
use throttle_wire::{Code, Problem, Readiness, Reloaded};
use tokio::time::sleep;
use tower::ServiceExt as _;

use crate::support::{Answer, Server, check_refusal, request, semaphores};

/// The header `Accept` of browsers.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn browse(server: &Server, path: &str) -> Answer {
    let request = Request::get(path).header("accept", BROWSER).body(Body::empty()).unwrap();
    server.send(request).await
}

#[tokio::test(start_paused = true)]
async fn greeting_health_readiness_and_version_are_plain_text() {
    let server = Server::start(&[]);
    server.get("/").await.is_text(200, "Hello from Throttle!");
    server.get("/health").await.is_text(200, "Ok");
    server.get("/ready").await.is_text(200, "Ready");
    server.get("/version").await.is_text(200, env!("CARGO_PKG_VERSION"));
}

/// Demand D3: holders come back before anybody else is let in, and people and programs see that it is so.
#[tokio::test(start_paused = true)]
async fn a_running_grace_period_is_shown() {
    let nothing = BTreeMap::new();
    let builder = Handle::builder(Settings::default(), &nothing);
    let server = Server::of(builder.grace_period(Duration::from_secs(30)).start().unwrap());
    let ask = async |accept: &'static str| {
        let request = Request::get("/ready").header("accept", accept).body(Body::empty());
        server.send(request.unwrap()).await
    };
    sleep(Duration::from_millis(17_500)).await;
    let text = "Nothing new is granted for another 13s.";
    ask("*/*").await.is_text(200, &format!("Ready. {text}"));
    assert!(browse(&server, "/").await.body.contains(text));
    let left = Some(Duration::from_millis(12_500));
    let readiness: Readiness = ask("application/json").await.json();
    assert_eq!(readiness.grace_left, left);
    assert_eq!(readiness.grace_left_seconds, left.map(Into::into));
    sleep(Duration::from_millis(12_500)).await;
    ask("*/*").await.is_text(200, "Ready");
    assert!(!browse(&server, "/").await.body.contains("Nothing new"));
    let readiness: Readiness = ask("application/json").await.json();
    assert_eq!((readiness.ready, readiness.grace_left), (true, None));
}

#[tokio::test(start_paused = true)]
async fn readiness_is_json_for_programs_that_ask_for_it() {
    let server = Server::start(&[]);
    let ask = async |accept: &'static str| {
        let request = Request::get("/ready").header("accept", accept).body(Body::empty());
        server.send(request.unwrap()).await
    };
    let accept = "application/json, application/problem+json";
    let ready =
        Readiness { ready: true, grace_left: None, grace_left_seconds: None, durable: false };
    let answer = ask(accept).await;
    assert_eq!(answer.json::<Readiness>(), ready);
    assert_eq!(answer.header("vary"), "accept");
    ask("*/*").await.is_text(200, "Ready");
    server.handle.drain();
    let answer = ask(accept).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    let problem: Problem = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem.code, Code::NotReady);
    ask("application/json").await.is_text(503, "The server is shutting down.");
}

/// D9
#[tokio::test(start_paused = true)]
async fn lists_and_the_page_show_semaphores_that_do_not_match_the_configuration() {
    let server = Server::start(&[("A", 1, 0), ("B", 1, 0), ("C", 1, 0)]);
    let holders = [server.hold("A", 1).await, server.hold("B", 1).await];
    let configured = semaphores(&[("B", 1, -1), ("C", 1, 0)]);
    server.handle.reconfigure(Settings::default(), &configured).await.unwrap();
    let page = browse(&server, "/").await.body;
    assert!(page.contains("A</a> <i>retired</i><td>0<td>1<td>1 <i>by 1</i>"), "{page}");
    assert!(page.contains("B</a><td>0 <i>then -1</i><td>1<td>1 <i>by 1</i>"), "{page}");
    assert!(page.contains("C</a><td>0<td>1<td>0"), "{page}");
    let list = server.get("/semaphores").await.value();
    let shown = list.as_array().unwrap().iter();
    let shown =
        shown.map(|it| [it["name"].clone(), it["retired"].clone(), it["next_level"].clone()]);
    let expected = [
        [json!("A"), json!(true), json!(null)],
        [json!("B"), json!(null), json!(-1)],
        [json!("C"), json!(null), json!(null)],
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    assert_eq!(server.get("/semaphores/A").await.value()["retired"], json!(true));
    for (holder, name) in holders.iter().zip(["A", "B"]) {
        server.delete(&format!("/peers/{holder}/{name}")).await.is_text(200, "Ok");
    }
    server.get("/semaphores/A").await.is_text(400, "Unknown semaphore");
    let changed = server.get("/semaphores/B").await.value();
    assert_eq!([&changed["level"], &changed["next_level"]], [&json!(-1), &json!(null)]);
}

#[tokio::test(start_paused = true)]
async fn a_browser_gets_a_page_with_the_semaphores() {
    let server = Server::start(&[("<b>&\"it\"", 7, 0), ("plain", 42, 3)]);
    server.hold("plain", 40).await;
    let page = browse(&server, "/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("vary"), "accept");
    assert!(page.body.contains("&lt;b&gt;&amp;&quot;it&quot;"));
    assert!(page.body.contains("href=\"./semaphores/%3Cb%3E%26%22it%22\""));
    assert!(!page.body.contains("<b>"));
    let row = "plain</a><td>3<td>42<td>40 <i>by 1</i><td>0";
    assert!(page.body.contains(row), "{}", page.body);
}

#[tokio::test(start_paused = true)]
async fn the_page_says_if_there_are_no_semaphores() {
    let page = browse(&Server::start(&[]), "/").await;
    assert!(page.body.contains("No semaphores are configured."));
}

#[tokio::test(start_paused = true)]
async fn the_links_of_the_page_lead_to_where_the_routes_are() {
    let mut server = Server::start(&[("A", 1, 0)]);
    server.routes = axum::Router::new().nest("/tools/throttle", server.routes);
    let page = browse(&server, "/tools/throttle").await;
    // The path has no slash at its end, so links are relative to `/tools/`.
    assert!(page.body.contains("href=\"./throttle/semaphores/A\""), "{}", page.body);
    assert!(page.body.contains("href=\"./throttle/favicon.ico\""));
}

#[tokio::test(start_paused = true)]
async fn there_is_an_icon() {
    let server = Server::start(&[]);
    let request = request(Method::GET, "/favicon.ico", "");
    let Ok(answer) = server.routes.oneshot(request).await;
    assert_eq!(answer.headers()["content-type"], "image/x-icon");
    let icon = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(icon[..4], [0, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn reload_answers_with_the_outcome_of_the_hook() {
    let changes = Reloaded { added: vec!["new".to_owned()], ..Reloaded::default() };
    let answer = changes.clone();
    let server = Server::build(&[], Settings::default(), |api| {
        api.reload(move || std::future::ready(Ok(answer.clone())))
    });
    assert_eq!(server.post("/admin/reload", "").await.json::<Reloaded>(), changes);
    assert_eq!(server.get("/admin/reload").await.header("allow"), "POST");

    let reason = "throttle.toml, line 3: `max` must be positive";
    let server = Server::build(&[], Settings::default(), |api| {
        api.reload(move || async move { Err(reason.to_owned()) })
    });
    let request = (Method::POST, "/admin/reload", "");
    check_refusal(&server, request, Code::ReloadRefused, reason).await;
}

#[tokio::test(start_paused = true)]
async fn the_export_of_the_store_is_the_body_of_the_hook() {
    let lines = "{\"format\":1}\n{\"peer\":5}\n";
    let server = Server::build(&[], Settings::default(), |api| {
        api.store_export(move || std::future::ready(Ok(Body::from(lines))))
    });
    let answer = server.get(EXPORT).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, lines));
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert_eq!(server.post(EXPORT, "").await.header("allow"), "GET,HEAD");

    let foreign = Request::get(EXPORT).header("sec-fetch-site", "cross-site");
    let answer = server.send(foreign.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 403, "{}", answer.body);

    let reason = "the store it.redb cannot be read";
    let server = Server::build(&[], Settings::default(), |api| {
        api.store_export(move || async move { Err(reason.to_owned()) })
    });
    check_refusal(&server, (Method::GET, EXPORT, ""), Code::StoreFailed, reason).await;
}

/// Otherwise clients that read slowly could keep any number of snapshots.
#[tokio::test(start_paused = true)]
async fn an_export_counts_as_a_long_list_until_it_is_read() {
    let server = Server::build(&[], Settings::default(), |api| {
        let limits = RequestLimits { listings: 1, ..RequestLimits::default() };
        api.limits(limits).store_export(|| async { Ok(Body::from("{}\n")) })
    });
    let Ok(unread) = server.routes.clone().oneshot(request(Method::GET, EXPORT, "")).await;
    assert_eq!(unread.status(), 200);
    let refused = (Method::GET, EXPORT, "");
    let detail = "There are 1 long lists being read. Try again later.";
    check_refusal(&server, refused, Code::TooManyListings, detail).await;
    drop(unread);
    assert_eq!(server.get(EXPORT).await.status, 200);
}

const EXPORT: &str = "/admin/store/export";

/// A page of another origin can make a browser send forms. No route accepts one that changes something.
#[tokio::test(start_paused = true)]
async fn pages_of_other_origins_cannot_change_anything() {
    let server = Server::build(&[], Settings::default(), |api| {
        api.reload(|| async { Ok(Reloaded::default()) })
    });
    let changing = ["/admin/reload", "/new_peer", "/restore"];
    for (path, form) in changing.into_iter().flat_map(|path| FORMS.map(|form| (path, form))) {
        let request = Request::post(path)
            .header("host", "localhost:8000")
            .header("origin", "https://evil.example")
            .header("content-type", form);
        let body = r#"{"expires_in":"1m","peer_id":5,"acquired":{}}"#;
        let answer = server.send(request.body(Body::from(body)).unwrap()).await;
        let status = if path == "/admin/reload" { 403 } else { 415 };
        assert_eq!(answer.status, status, "{path} as {form}: {}", answer.body);
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    assert_eq!(server.handle.peer_count().await.unwrap(), 0);
}

/// The content types of forms.
const FORMS: [&str; 3] = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];
