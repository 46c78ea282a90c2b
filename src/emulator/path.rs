//! What a request's path asks for.

use uuid::Uuid;

use super::http::decode_segment;
use super::log::Endpoint;

/// Which of the two origins a request came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// The API and the token endpoint.
    Api,
    /// Where redirects lead to: it knows signed paths only.
    Storage,
}

/// The path of the token endpoint.
pub(super) const TOKEN_PATH: &str = "/Auth/connect/token";

/// What all paths of the API begin with.
pub(super) const API_PATH: &str = "/interaction-content";

/// A path, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Token,
    Search,
    Interaction(Result<Uuid, String>),
    Content(Result<Uuid, String>, String),
    DeleteBatch,
    /// A content file by its ticket, as redirects name it.
    Stored(String),
    Unknown,
}

impl Target {
    /// Reads a path. `any_case` takes GUIDs in upper case for what they are.
    pub(super) fn parse(origin: Origin, path: &str, any_case: bool) -> Self {
        if origin == Origin::Storage {
            return path
                .strip_prefix("/stored/")
                .map_or(Self::Unknown, |ticket| Self::Stored(ticket.to_owned()));
        }
        if path == TOKEN_PATH {
            return Self::Token;
        }
        let Some(rest) = path.strip_prefix(API_PATH) else {
            return Self::Unknown;
        };
        let segments: Option<Vec<String>> = rest.split('/').skip(1).map(decode_segment).collect();
        let segments = segments.unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let guid = |text: &str| {
            let guid = parse_guid(text)?;
            // Whether upper case matches isn't documented. A GUID that does not match names nothing.
            let is_exact = any_case || guid.to_string() == text;
            Ok(if is_exact { guid } else { Uuid::nil() })
        };
        match segments.as_slice() {
            ["interactions"] => Self::Search,
            ["interactions", "delete-batch"] => Self::DeleteBatch,
            ["interactions", text] => Self::Interaction(guid(text)),
            ["interactions", text, "content", key] => Self::Content(guid(text), (*key).to_owned()),
            ["stored", ticket] => Self::Stored((*ticket).to_owned()),
            _ => Self::Unknown,
        }
    }

    /// The endpoint, for the log and for faults.
    pub(super) fn endpoint(&self, method: &str) -> Endpoint {
        match self {
            Self::Token => Endpoint::Token,
            Self::Search => Endpoint::Search,
            Self::Interaction(_) if method == "DELETE" => Endpoint::Delete,
            Self::Interaction(_) => Endpoint::Interaction,
            Self::Content(..) => Endpoint::Content,
            Self::DeleteBatch => Endpoint::Delete,
            Self::Stored(_) => Endpoint::Redirected,
            Self::Unknown => Endpoint::Unknown,
        }
    }

    /// The method that the endpoint takes.
    pub(super) fn allows(&self, method: &str) -> bool {
        match self {
            Self::Token | Self::DeleteBatch => method == "POST",
            Self::Interaction(_) => matches!(method, "GET" | "DELETE"),
            _ => method == "GET",
        }
    }
}

/// Reads a GUID, or tells what is wrong with it in the API's words.
pub(super) fn parse_guid(text: &str) -> Result<Uuid, String> {
    if text.chars().count() != 36 {
        return Err("GUID must be 36 characters in length".to_owned());
    }
    text.parse()
        .map_err(|_| format!("GUID '{text}' is not a valid UUID string"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "018c2f5e-77aa-4d10-9c51-6f0d3b2a9e44";

    #[test]
    fn paths_are_read_segment_by_segment() {
        let parse = |path: &str| Target::parse(Origin::Api, path, false);
        let guid: Uuid = GUID.parse().unwrap();
        assert_eq!(parse("/Auth/connect/token"), Target::Token);
        assert_eq!(parse("/interaction-content/interactions"), Target::Search);
        assert_eq!(
            parse("/interaction-content/interactions/"),
            Target::Interaction(Err("GUID must be 36 characters in length".to_owned()))
        );
        let content = format!("/interaction-content/interactions/{GUID}/content/a%27b(c)*");
        assert_eq!(
            parse(&content),
            Target::Content(Ok(guid), "a'b(c)*".to_owned())
        );
        let dots = format!("/interaction-content/interactions/{GUID}/content/%2E%2E");
        assert_eq!(parse(&dots), Target::Content(Ok(guid), "..".to_owned()));
        assert_eq!(parse("/elsewhere"), Target::Unknown);
        let upper = format!("/interaction-content/interactions/{}", GUID.to_uppercase());
        assert_eq!(parse(&upper), Target::Interaction(Ok(Uuid::nil())));
        let any_case = Target::parse(Origin::Api, &upper, true);
        assert_eq!(any_case, Target::Interaction(Ok(guid)));
    }
}
