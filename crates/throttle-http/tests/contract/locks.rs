//! Changes of a lock's count, and the order of grants.

use serde_json::json;

use crate::support::Server;

/// S7
#[tokio::test(start_paused = true)]
async fn a_held_lock_shrinks_and_keeps_its_token() {
    let server = Server::start(&[("A", 5, 0)]);
    let path = format!("/peers/{}/A", server.join().await);
    let held = server.put(&path, "5").await.value();
    let shrunk = server.put(&path, "2").await;
    assert_eq!(shrunk.status, 200);
    assert_eq!(shrunk.value()["count"], json!(2));
    assert_eq!(shrunk.value()["fencing_token"], held["fencing_token"]);
    assert_eq!(server.get("/remainder?semaphore=A").await.value(), json!(3));
    assert!(server.put(&path, "3").await.body.starts_with("Lock hierarchy violation."));
}

/// S7
#[tokio::test(start_paused = true)]
async fn a_pending_lock_shrinks_and_does_not_grow() {
    let server = Server::start(&[("A", 5, 0)]);
    server.hold("A", 4).await;
    let path = format!("/peers/{}/A", server.join().await);
    assert_eq!(server.put(&path, "3").await.status, 202);
    assert!(server.put(&path, "4").await.body.starts_with("Already pending."));
    assert_eq!(server.put(&path, "1").await.status, 200, "it fits now");
}

/// S10
#[tokio::test(start_paused = true)]
async fn tokens_grow_from_grant_to_grant_and_survive_javascript() {
    let server = Server::start(&[("A", 1, 0)]);
    let mut last = 0;
    for _ in 0..5 {
        let peer = server.join().await;
        let answer = server.put(&format!("/peers/{peer}/A"), "1").await.value();
        let token = answer["fencing_token"].as_u64().unwrap();
        assert!(last < token && token < 1 << 53);
        last = token;
        server.delete(&format!("/peers/{peer}")).await;
    }
}
