//! Deletion: one interaction, or up to a thousand.

use std::collections::HashSet;

use serde_json::Value;
use uuid::Uuid;

use super::account::Account;
use super::errors;
use super::http::{Answer, Request};
use super::path::parse_guid;

/// The most GUIDs in a batch.
const LARGEST_BATCH: usize = 1000;

/// Deletes one interaction.
pub(super) fn one(guid: Uuid, account: &Account) -> Answer {
    if account.remove(guid) {
        errors::json(200, "{}")
    } else {
        errors::message(404, "The interaction does not exist")
    }
}

/// Deletes a batch. GUIDs that don't exist are no failures; protected ones are (403).
pub(super) fn batch(request: &Request, account: &Account, protected: &HashSet<Uuid>) -> Answer {
    let content_type = request.header("content-type").unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return errors::message(400, "The body must be JSON");
    }
    let guids = match parse(&request.body) {
        Ok(guids) => guids,
        Err(complaint) => return errors::message(400, &complaint),
    };
    let mut failures = Vec::new();
    for guid in guids {
        if protected.contains(&guid) {
            failures.push(serde_json::json!({
                "guid": guid.to_string(), "message": "Access to this interaction is denied", "statusCode": 403,
            }));
        } else {
            account.remove(guid);
        }
    }
    errors::json(200, serde_json::json!({ "failures": failures }).to_string())
}

fn parse(body: &[u8]) -> Result<Vec<Uuid>, String> {
    let value: Value = serde_json::from_slice(body).map_err(|_| "The body is not JSON")?;
    let guids = value
        .get("guids")
        .and_then(Value::as_array)
        .ok_or("'guids' must be an array")?;
    if !(1..=LARGEST_BATCH).contains(&guids.len()) {
        return Err(format!("'guids' must hold 1 to {LARGEST_BATCH} GUIDs"));
    }
    guids
        .iter()
        .map(|guid| parse_guid(guid.as_str().unwrap_or_default()))
        .collect()
}
