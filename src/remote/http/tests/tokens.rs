//! Tokens: fetched once, renewed, refused.

use super::*;

#[tokio::test]
async fn fifty_callers_cost_one_token() {
    let server = Scripted::start(|_, _| Reply::json(interaction_json())).await;
    let remote = server.remote();
    let calls = (0..50).map(|_| remote.interaction(guid(), terms()));
    for result in futures::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(server.tokens().len(), 1);
    assert_eq!(server.asked().len(), 50);
}

#[tokio::test]
async fn a_caller_who_leaves_takes_no_token_along() {
    let server = Scripted::start(|_, _| Reply::json(interaction_json())).await;
    let remote = server.remote();
    let leaving = remote.interaction(guid(), terms());
    assert!(leaving.now_or_never().is_none());
    remote.interaction(guid(), terms()).await.unwrap();
    assert_eq!(server.tokens().len(), 1);
}

#[tokio::test]
async fn credentials_are_sent_in_one_of_two_forms() {
    let server = Scripted::start(|_, _| Reply::nothing()).await;
    let mut settings = server.settings();
    settings.client_id = "id:1".to_owned();
    settings.secret = SecretSlot::new("a+b/c=&".into());
    let basic = HttpRemote::new(settings.clone()).unwrap();
    basic.check_credentials(terms()).await.unwrap();
    settings.auth_method = AuthMethod::Form;
    let form = HttpRemote::new(settings).unwrap();
    form.check_credentials(terms()).await.unwrap();

    let tokens = server.tokens();
    assert_eq!(tokens[0].target, "/Auth/connect/token");
    // base64 of `id%3A1:a%2Bb%2Fc%3D%26`
    assert_eq!(
        tokens[0].header("authorization"),
        Some("Basic aWQlM0ExOmElMkJiJTJGYyUzRCUyNg==")
    );
    assert_eq!(
        tokens[0].body,
        "grant_type=client_credentials&scope=interaction-content%3Aread"
    );
    assert_eq!(tokens[1].header("authorization"), None);
    assert!(
        tokens[1]
            .body
            .ends_with("&client_id=id%3A1&client_secret=a%2Bb%2Fc%3D%26")
    );
    assert_eq!(
        tokens[1].header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
}

#[tokio::test]
async fn an_expired_token_is_replaced_before_it_is_used() {
    let server = Scripted::with_tokens(
        |_, _| Reply::json(interaction_json()),
        |_, n| {
            let life = if n == 0 { 0 } else { 7200 };
            Reply::json(format!(
                r#"{{"access_token":"token-{}","expires_in":{life}}}"#,
                n + 1
            ))
        },
    )
    .await;
    let remote = server.remote();
    for _ in 0..3 {
        remote.interaction(guid(), terms()).await.unwrap();
    }
    assert_eq!(server.tokens().len(), 2);
    assert_eq!(bearer(&server.asked()[2]), "Bearer token-2");
}

#[tokio::test]
async fn a_401_costs_one_renewal_and_the_call_succeeds() {
    let server = Scripted::start(|asked, _| {
        if bearer(asked) == "Bearer token-1" {
            Reply::new(401, &[], "")
        } else {
            Reply::json(interaction_json())
        }
    })
    .await;
    let remote = server.remote();
    let calls = (0..20).map(|_| remote.interaction(guid(), terms()));
    for result in futures::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(server.tokens().len(), 2, "one renewal for all");
}

#[tokio::test]
async fn a_401_with_a_fresh_token_is_final() {
    let server = Scripted::start(|_, _| Reply::new(401, &[], "")).await;
    let remote = server.remote();
    let error = remote.interaction(guid(), terms()).await.unwrap_err();
    assert_eq!(
        error,
        RemoteError::Unauthorized {
            reason: "status 401"
        }
    );
    assert_eq!((server.asked().len(), server.tokens().len()), (2, 2));
    remote.interaction(guid(), terms()).await.unwrap_err();
    assert_eq!((server.asked().len(), server.tokens().len()), (3, 2));
}

#[tokio::test]
async fn a_403_is_tried_once_with_another_token_and_no_storm_follows() {
    let server = Scripted::start(|_, _| Reply::new(403, &[], "{}")).await;
    let remote = server.remote();
    let error = remote
        .content(content_of(0, None), terms())
        .await
        .unwrap_err();
    assert_eq!(error, RemoteError::Forbidden);
    assert_eq!((server.asked().len(), server.tokens().len()), (2, 2));
    for _ in 0..5 {
        remote
            .content(content_of(0, None), terms())
            .await
            .unwrap_err();
    }
    assert_eq!((server.asked().len(), server.tokens().len()), (7, 2));
}

#[tokio::test]
async fn refused_credentials_are_remembered_until_the_secret_is_replaced() {
    let server = Scripted::with_tokens(
        |_, _| Reply::json(interaction_json()),
        |_, n| match n {
            0 => Reply::new(
                400,
                &[],
                r#"{"error":"invalid_client","error_description":"client"}"#,
            ),
            _ => Reply::json(r#"{"access_token":"t","expires_in":7200}"#),
        },
    )
    .await;
    let settings = server.settings();
    let secret = settings.secret.clone();
    let remote = HttpRemote::new(settings).unwrap();
    for _ in 0..3 {
        let error = remote.interaction(guid(), terms()).await.unwrap_err();
        let refused = RemoteError::Unauthorized {
            reason: "invalid_client",
        };
        assert_eq!(error, refused);
    }
    assert_eq!((server.tokens().len(), server.asked().len()), (1, 0));
    secret.replace(SecretString::from("better"));
    remote.interaction(guid(), terms()).await.unwrap();
    assert_eq!(server.tokens().len(), 2);
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_is_asked_again() {
    let server = Scripted::with_tokens(
        |_, _| Reply::json(interaction_json()),
        |_, n| match n {
            0 => Reply::new(503, &[], "<html>"),
            1 => Reply::nothing(),
            _ => Reply::json(r#"{"access_token":"t","expires_in":7200}"#),
        },
    )
    .await;
    server.remote().interaction(guid(), terms()).await.unwrap();
    assert_eq!(server.tokens().len(), 3);
}

#[tokio::test]
async fn a_429_of_the_token_endpoint_pauses_everyone_too() {
    let server = Scripted::with_tokens(
        |_, _| Reply::json(interaction_json()),
        |_, _| Reply::new(429, &["retry-after: 300"], ""),
    )
    .await;
    let remote = server.remote();
    let error = remote.interaction(guid(), terms()).await.unwrap_err();
    assert_eq!(error, RemoteError::NoBudget);
    assert_eq!(server.tokens().len(), 1);
}

#[tokio::test]
async fn who_can_wait_for_the_end_of_a_long_pause_waits_for_a_token_too() {
    let server = Scripted::start(|_, _| Reply::json(interaction_json())).await;
    let remote = server.remote();
    let deadline = terms().deadline;
    let permit = remote.pacer.acquire(Class::Reader, deadline).await.unwrap();
    remote
        .pacer
        .throttled(permit, Some(Duration::from_secs(300)));
    let hasty = remote.tokens.get(deadline).await.map(drop);
    assert_eq!(hasty.unwrap_err(), RemoteError::NoBudget);
    let later = terms_of(Duration::from_secs(600), 5).deadline;
    let mut patient = std::pin::pin!(remote.tokens.get(later));
    for _ in 0..100 {
        assert!(futures::poll!(&mut patient).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(server.tokens().len(), 0);
}

#[tokio::test]
async fn that_an_object_is_forbidden_makes_no_later_401_final() {
    let server = Scripted::start(|asked, _| {
        if asked.target.contains("/content/") {
            Reply::new(403, &[], "")
        } else if bearer(asked) == "Bearer token-2" {
            Reply::new(401, &[], "")
        } else {
            Reply::json(interaction_json())
        }
    })
    .await;
    let remote = server.remote();
    let forbidden = remote.content(content_of(0, None), terms()).await;
    assert_eq!(forbidden.unwrap_err(), RemoteError::Forbidden);
    remote.interaction(guid(), terms()).await.unwrap();
    assert_eq!(server.tokens().len(), 3);
}

#[tokio::test]
async fn who_waited_for_a_turn_takes_the_token_of_then() {
    let server = Scripted::start(|_, _| Reply::json(interaction_json())).await;
    let remote = server.remote();
    let deadline = terms().deadline;
    let old = remote.tokens.get(deadline).await.unwrap();
    let permit = remote.pacer.acquire(Class::Reader, deadline).await.unwrap();
    remote.pacer.throttled(permit, Some(Duration::ZERO));
    let mut waiting = remote.interaction(guid(), terms());
    assert!(futures::poll!(&mut waiting).is_pending());
    let refused = RemoteError::Unauthorized {
        reason: "status 401",
    };
    assert!(remote.tokens.reject(&old, &refused));
    remote.tokens.get(deadline).await.unwrap();
    waiting.await.unwrap();
    assert_eq!(bearer(&server.asked()[0]), "Bearer token-2");
}

/// The clock is stopped and put forward between requests, never while one is under way.
#[tokio::test]
async fn an_old_token_serves_while_its_renewal_is_under_way() {
    let server = Scripted::start(|_, _| Reply::json(interaction_json())).await;
    let remote = server.remote();
    remote.interaction(guid(), terms()).await.unwrap();
    put_clock_forward(Duration::from_secs(6600)).await;
    remote.interaction(guid(), terms()).await.unwrap();
    assert_eq!(bearer(&server.asked()[1]), "Bearer token-1");
    while remote.tokens.get(terms().deadline).await.unwrap().serial < 2 {
        tokio::task::yield_now().await;
    }
    put_clock_forward(Duration::from_secs(700)).await;
    remote.interaction(guid(), terms()).await.unwrap();
    assert_eq!(bearer(&server.asked()[2]), "Bearer token-2");
    assert_eq!(server.tokens().len(), 2);
}

async fn put_clock_forward(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}
