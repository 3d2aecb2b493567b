//! Long answers are compressed for clients that ask for it. The decompressed content is the same.

use axum::{body::Body, http::Request};
use http_body_util::BodyExt as _;
use throttle_http::Histograms;
use tokio::task::yield_now;
use tower::ServiceExt as _;
use tower_http::decompression::Decompression;

use crate::support::Server;

fn server() -> Server {
    let names: Vec<String> = (0..200).map(|index| format!("semaphore-{index}")).collect();
    let semaphores: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 0)).collect();
    Server::with_histograms(&semaphores, Histograms::Off)
}

fn get(path: &str, encoding: &str) -> Request<Body> {
    let request = Request::get(path).header("accept", "text/html, */*");
    request.header("accept-encoding", encoding).body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn pages_lists_and_metrics_are_compressed_if_the_client_asks() {
    let server = server();
    // So that the counter of this route exists before the texts are compared.
    server.get("/metrics").await;
    for path in ["/", "/semaphores", "/metrics"] {
        let plain = server.send(get(path, "identity")).await;
        assert_eq!(plain.header("content-encoding"), "", "{path}");
        assert!(plain.headers.get_all("vary").iter().any(|vary| vary == "accept-encoding"));

        let Ok(compressed) = server.routes.clone().oneshot(get(path, "gzip, deflate")).await;
        assert_eq!(compressed.headers()["content-encoding"], "gzip", "{path}");
        assert_eq!(compressed.headers()["content-type"], plain.headers["content-type"], "{path}");
        let length = compressed.into_body().collect().await.unwrap().to_bytes().len();
        assert!(length < plain.body.len() / 4, "{length} of {} bytes", plain.body.len());

        let client = Decompression::new(server.routes.clone());
        let response = client.oneshot(get(path, "gzip")).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let lines = |body: &str| {
            let lines = body.lines().filter(|line| !line.contains("_http_request"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(str::from_utf8(&body).unwrap()), lines(&plain.body), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn short_answers_images_and_answers_to_workers_are_not_compressed() {
    let server = server();
    let peer = server.hold("semaphore-0", 1).await;
    for path in ["/health", "/favicon.ico", "/nowhere", &format!("/peers/{peer}")] {
        let Ok(response) = server.routes.clone().oneshot(get(path, "gzip")).await;
        assert!(!response.headers().contains_key("content-encoding"), "{path}");
    }
}

#[tokio::test]
async fn a_long_answer_yields_to_other_tasks_after_each_piece_even_if_it_is_compressed_to_a_short_one()
 {
    let names: Vec<String> = (0..3_000).map(|index| format!("semaphore-{index}")).collect();
    let semaphores: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 0)).collect();
    let server = Server::with_histograms(&semaphores, Histograms::Off);
    for path in ["/semaphores", "/metrics"] {
        let length = server.send(get(path, "identity")).await.body.len();
        for encoding in ["identity", "gzip"] {
            let Ok(response) = server.routes.clone().oneshot(get(path, encoding)).await;
            let reader = tokio::spawn(response.into_body().collect());
            let mut turns = 0;
            while !reader.is_finished() {
                yield_now().await;
                turns += 1;
            }
            reader.await.unwrap().unwrap();
            let pieces = length / (32 * 1024);
            assert!(turns >= pieces, "{path}, {encoding}: {turns} turns for {pieces} pieces");
        }
    }
}
