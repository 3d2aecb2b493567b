//! The routes below a path of another application.

use axum::{
    Router,
    http::{HeaderValue, Method},
    middleware,
    response::Response,
    routing::get,
};
use serde_json::json;
use throttle_http::Api;
use throttle_runtime::{Handle, Settings};
use throttle_wire::Code;
use tower::{Layer as _, ServiceExt as _, util::MapResponseLayer};

use crate::support::{Server, check_refusal, request, semaphores};

/// Our routes below `prefix` of an application that has routes of its own.
fn nested(prefix: &str) -> Server {
    let mut server = Server::start(&[("A", 1, 0), ("is_acquired", 1, 0)]);
    server.routes = Router::new()
        .route("/own", get(async || "mine"))
        .nest(prefix, server.routes)
        .fallback(async || "theirs");
    server
}

#[tokio::test(start_paused = true)]
async fn below_a_path_everything_works_as_at_the_root() {
    let server = nested("/throttle");
    let peer = server.post("/throttle/new_peer", r#"{"expires_in":"1m"}"#).await.value();
    for semaphore in ["A", "is_acquired"] {
        let lock = format!("/throttle/peers/{peer}/{semaphore}");
        assert_eq!(server.put(&lock, "1").await.value()["semaphore"], json!(semaphore));
        server.delete(&lock).await.is_text(200, "Ok");
    }
    assert_eq!(server.get("/throttle/peers/").await.value()[0]["id"], peer);
    server.get("/throttle").await.is_text(200, "Hello from Throttle!");
    server.get("/own").await.is_text(200, "mine");
    server.get("/elsewhere").await.is_text(200, "theirs");
}

#[tokio::test(start_paused = true)]
async fn below_a_path_errors_are_in_our_words() {
    let server = nested("/throttle");
    let detail = "There is nothing at this path.";
    let nowhere = (Method::GET, "/throttle/nowhere", "");
    check_refusal(&server, nowhere, Code::UnknownRoute, detail).await;
    let answer = server.post("/throttle/peers", "{}").await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET,HEAD"));
}

/// An application may have captures of its own, even with the names of ours.
#[tokio::test(start_paused = true)]
async fn captures_of_the_application_are_not_ours() {
    let server = nested("/of/{id}/{semaphore}");
    let peer = server.post("/of/tenant/x/new_peer", r#"{"expires_in":"1m"}"#).await.value();
    let lock = server.put(&format!("/of/tenant/x/peers/{peer}/A"), "1").await.value();
    assert_eq!((&lock["peer_id"], &lock["semaphore"]), (&peer, &json!("A")));
    server.get("/of/tenant/x/peers/tenant").await.is_text(
        400,
        "The path must have the id of a peer, an integer of 64 bits, behind `/peers/`.",
    );
}

/// An application may serve files at all other paths.
#[tokio::test(start_paused = true)]
async fn a_wildcard_of_the_application_does_not_hide_our_routes() {
    let mut server = Server::start(&[("A", 1, 0)]);
    server.routes = Router::new()
        .route("/{*file}", get(async || "a file"))
        .nest("/throttle", server.routes)
        .route_layer(middleware::map_response(async |response: Response| response));
    server.get("/throttle/health").await.is_text(200, "Ok");
    server.get("/throttle").await.is_text(200, "Hello from Throttle!");
    server.get("/throttle/nowhere").await.is_text(404, "There is nothing at this path.");
    server.get("/elsewhere").await.is_text(200, "a file");
}

/// A layer of tower fits around the endpoint as it is, without a router.
#[tokio::test(start_paused = true)]
async fn the_endpoint_takes_layers() {
    let handle = Handle::start(Settings::default(), &semaphores(&[("A", 1, 0)]));
    let named = MapResponseLayer::new(|mut response: Response| {
        response.headers_mut().insert("x-served-by", HeaderValue::from_static("throttle"));
        response
    });
    let service = named.layer(Api::new(handle).endpoint());
    for (path, status) in [("/health", 200), ("/remainder?semaphore=A", 200), ("/nowhere", 404)] {
        let request = request(Method::GET, path, "");
        let Ok(response) = service.clone().oneshot(request).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["x-served-by"], "throttle", "{path}");
    }
}

/// A layer that an application adds applies to all routes.
#[tokio::test(start_paused = true)]
async fn our_routes_take_layers() {
    let mut server = Server::start(&[]);
    server.routes =
        server.routes.route_layer(middleware::map_response(async |_: Response| "layered"));
    for path in ["/", "/health", "/peers/5"] {
        server.get(path).await.is_text(200, "layered");
    }
}
