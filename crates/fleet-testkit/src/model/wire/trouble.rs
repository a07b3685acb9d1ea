//! Errors in each vendor's shape.

use serde_json::{Value, json};

use super::Format;
use crate::model::script::{ApiError, Trouble};

/// The status of an answer that reports this.
pub(crate) fn status(format: Format, error: &ApiError) -> u16 {
    error.status.unwrap_or(usual(format, error.is).status)
}

/// The body of an answer that reports this.
pub(crate) fn body(format: Format, error: &ApiError) -> Value {
    let usual = usual(format, error.is);
    let message = error.message.as_deref().unwrap_or(usual.message);
    match format {
        Format::Messages => json!({"type": "error", "error": {"type": usual.name, "message": message}}),
        Format::Responses | Format::Chat => {
            json!({"error": {"message": message, "type": usual.name, "param": null, "code": usual.code}})
        }
        Format::Gemini => {
            json!({"error": {"code": status(format, error), "message": message, "status": usual.name}})
        }
    }
}

/// What a vendor says about one kind of trouble.
struct Usual {
    status: u16,
    name: &'static str,
    /// OpenAI only.
    code: Option<&'static str>,
    message: &'static str,
}

fn usual(format: Format, trouble: Trouble) -> Usual {
    match format {
        Format::Messages => anthropic(trouble),
        Format::Responses | Format::Chat => openai(trouble),
        Format::Gemini => gemini(trouble),
    }
}

fn anthropic(trouble: Trouble) -> Usual {
    let (status, name, message) = match trouble {
        Trouble::BadRequest => (400, "invalid_request_error", "scripted: the request is not valid"),
        Trouble::Unauthorized => (401, "authentication_error", "invalid x-api-key"),
        // The client looks for these very words.
        Trouble::NoCredit => (
            400,
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API.",
        ),
        Trouble::Forbidden => (403, "permission_error", "scripted: the key lacks the permission"),
        Trouble::NotFound => (404, "not_found_error", "scripted: no such model"),
        Trouble::RateLimit => (429, "rate_limit_error", "scripted: the rate limit is exceeded"),
        Trouble::ServerError => (500, "api_error", "Internal server error"),
        Trouble::Overloaded => (529, "overloaded_error", "Overloaded"),
    };
    let code = None;
    Usual {
        status,
        name,
        code,
        message,
    }
}

fn openai(trouble: Trouble) -> Usual {
    let (status, name, code, message) = match trouble {
        Trouble::BadRequest => (
            400,
            "invalid_request_error",
            "invalid_value",
            "scripted: the request is not valid",
        ),
        Trouble::Unauthorized => (
            401,
            "invalid_request_error",
            "invalid_api_key",
            "Incorrect API key provided",
        ),
        Trouble::NoCredit => (
            429,
            "insufficient_quota",
            "insufficient_quota",
            "You exceeded your current quota",
        ),
        Trouble::Forbidden => (
            403,
            "permission_error",
            "permission_denied",
            "scripted: the key lacks the permission",
        ),
        Trouble::NotFound => (
            404,
            "invalid_request_error",
            "model_not_found",
            "scripted: no such model",
        ),
        Trouble::RateLimit => (429, "tokens", "rate_limit_exceeded", "Rate limit reached"),
        Trouble::ServerError => (500, "server_error", "server_error", "scripted: the server had an error"),
        Trouble::Overloaded => (
            503,
            "server_error",
            "server_is_overloaded",
            "scripted: the servers are overloaded",
        ),
    };
    let code = Some(code);
    Usual {
        status,
        name,
        code,
        message,
    }
}

fn gemini(trouble: Trouble) -> Usual {
    let (status, name, message) = match trouble {
        Trouble::BadRequest => (400, "INVALID_ARGUMENT", "scripted: the request is not valid"),
        Trouble::Unauthorized => (401, "UNAUTHENTICATED", "API key not valid"),
        Trouble::NoCredit => (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota"),
        Trouble::Forbidden => (403, "PERMISSION_DENIED", "scripted: the key lacks the permission"),
        Trouble::NotFound => (404, "NOT_FOUND", "scripted: no such model"),
        Trouble::RateLimit => (429, "RESOURCE_EXHAUSTED", "scripted: the rate limit is exceeded"),
        Trouble::ServerError => (500, "INTERNAL", "scripted: an internal error"),
        Trouble::Overloaded => (503, "UNAVAILABLE", "The model is overloaded"),
    };
    let code = None;
    Usual {
        status,
        name,
        code,
        message,
    }
}
