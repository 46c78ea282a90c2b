//! Who gets a token, and what it is good for.

use std::time::Duration;

use super::super::{Endpoint, Switches};
use super::client::{api, ask_token, bare, basic, token};
use super::running;

const GOOD: &str = "grant_type=client_credentials&scope=interaction-content:read";

#[tokio::test]
async fn both_forms_of_credentials_work_but_not_together() {
    let running = running(1, |_| {}).await;
    let (id, secret) = (running.client_id(), running.client_secret());
    let reply = ask_token(&running, &basic(id, secret), GOOD).await;
    assert_eq!(reply.status, 200);
    let answer = reply.json();
    assert_eq!(answer["expires_in"], 7200);
    assert_eq!(answer["token_type"], "Bearer");
    let encoded = "emulator%2Bsecret%2Fwith%3D%2541%26more";
    let reply = ask_token(&running, &basic(id, encoded), GOOD).await;
    assert_eq!(reply.status, 200, "as OAuth encodes it");
    let form = format!("{GOOD}&client_id={id}&client_secret={encoded}");
    assert_eq!(ask_token(&running, "", &form).await.status, 200);
    let both = ask_token(&running, &basic(id, secret), &form).await;
    assert_eq!(
        (both.status, both.json()["error"].clone()),
        (400, "invalid_request".into())
    );
    assert_eq!(running.log().count(Endpoint::Token), 4);
}

#[tokio::test]
async fn bad_requests_for_a_token_are_refused_by_their_name() {
    let running = running(1, |_| {}).await;
    let good = basic(running.client_id(), running.client_secret());
    let wrong = basic(running.client_id(), "no");
    let form = format!("{GOOD}&client_id=a&client_secret=b");
    for (headers, body, status, error) in [
        (
            &*good,
            "scope=interaction-content:read",
            400,
            "unsupported_grant_type",
        ),
        (
            &*good,
            "grant_type=password&scope=a",
            400,
            "unsupported_grant_type",
        ),
        (
            &*good,
            "grant_type=client_credentials",
            400,
            "invalid_scope",
        ),
        (
            &*good,
            "grant_type=client_credentials&scope=",
            400,
            "invalid_scope",
        ),
        (
            &*good,
            "grant_type=client_credentials&scope=users:read",
            400,
            "invalid_scope",
        ),
        (
            &*good,
            "grant_type=client_credentials&scope=a&scope=b",
            400,
            "invalid_request",
        ),
        (&*good, "no form", 400, "invalid_request"),
        (&*wrong, GOOD, 401, "invalid_client"),
        ("authorization: Bearer x\r\n", GOOD, 401, "invalid_client"),
        ("", GOOD, 400, "invalid_client"),
        ("", &*form, 400, "invalid_client"),
    ] {
        let reply = ask_token(&running, headers, body).await;
        assert_eq!(reply.status, status, "{body}");
        assert_eq!(reply.json()["error"], error, "{body}");
    }
}

#[tokio::test]
async fn a_token_is_good_until_it_expires_or_is_revoked() {
    let running = running(1, |_| {}).await;
    let guid = running.account().guids()[0];
    let path = format!("/interactions/{guid}");
    let first = token(&running).await;
    let second = token(&running).await;
    assert_ne!(first, second);
    assert_eq!(api(&running, &first, "GET", &path, "").await.status, 200);
    running.tokens().revoke(&first);
    assert_eq!(api(&running, &first, "GET", &path, "").await.status, 401);
    assert_eq!(api(&running, &second, "GET", &path, "").await.status, 200);
    running.tokens().revoke_all();
    assert_eq!(api(&running, &second, "GET", &path, "").await.status, 401);
    running.change_switches(|switches| switches.token_life = Duration::from_millis(900));
    let expired = token(&running).await;
    assert_eq!(
        api(&running, &expired, "GET", &path, "").await.status,
        401,
        "whole seconds"
    );
    assert_eq!(bare(&running, "GET", &path, "").await.status, 401);
}

#[tokio::test]
async fn a_new_token_can_end_the_old_one_and_be_long() {
    let running = running(1, |switches| {
        switches.one_token_at_a_time = true;
        switches.token_length = 6_000;
    })
    .await;
    let guid = running.account().guids()[0];
    let path = format!("/interactions/{guid}");
    let old = token(&running).await;
    let new = token(&running).await;
    assert_eq!(new.len(), 6_000);
    assert_eq!(api(&running, &old, "GET", &path, "").await.status, 401);
    assert_eq!(api(&running, &new, "GET", &path, "").await.status, 200);
    running.set_switches(Switches::default());
}

#[tokio::test]
async fn reading_does_not_allow_deleting() {
    let running = running(1, |_| {}).await;
    let guid = running.account().guids()[0];
    let headers = basic(running.client_id(), running.client_secret());
    let reply = ask_token(&running, &headers, GOOD).await.json();
    let reader = reply["access_token"].as_str().unwrap();
    let path = format!("/interactions/{guid}");
    assert_eq!(api(&running, reader, "DELETE", &path, "").await.status, 403);
    assert_eq!(api(&running, reader, "GET", &path, "").await.status, 200);
}
