//! What a program is told that gets no answer of its service: in the words of that service, so that it understands.
//!
//! A refusal is a 400, the one status at which none of the five programs tries again.

use fleet_core::meter::Format;
use hyper::StatusCode;
use serde_json::{Value, json};

/// Why there is no answer of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// There is to be no other request.
    Refused,
    /// It is nobody's address.
    Stranger,
    /// It may be tried again.
    Unavailable,
    /// The service gave none.
    NoService,
    /// Nobody vouches for the service, and trying again helps nothing.
    Untrusted,
    /// It asks for another protocol.
    OtherProtocol,
}

impl Why {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Why::Refused | Why::Untrusted => StatusCode::BAD_REQUEST,
            Why::Stranger => StatusCode::FORBIDDEN,
            Why::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Why::NoService => StatusCode::BAD_GATEWAY,
            Why::OtherProtocol => StatusCode::UPGRADE_REQUIRED,
        }
    }

    /// The body, as this format has errors.
    pub(super) fn body(self, format: Option<Format>, text: &str) -> Value {
        let code = self.status().as_u16();
        match format {
            Some(Format::Messages) => {
                json!({"type": "error", "error": {"type": self.anthropic(), "message": text}})
            }
            Some(Format::Gemini) => json!({"error": {"code": code, "message": text, "status": self.google()}}),
            _ => {
                let name = if self == Why::Refused {
                    "budget_exceeded"
                } else {
                    "fleet_meter"
                };
                json!({"error": {"message": text, "type": "invalid_request_error", "param": null, "code": name}})
            }
        }
    }

    fn anthropic(self) -> &'static str {
        match self {
            Why::Refused | Why::Untrusted | Why::OtherProtocol => "invalid_request_error",
            Why::Stranger => "permission_error",
            Why::Unavailable | Why::NoService => "api_error",
        }
    }

    fn google(self) -> &'static str {
        match self {
            Why::Refused | Why::Untrusted | Why::OtherProtocol => "INVALID_ARGUMENT",
            Why::Stranger => "PERMISSION_DENIED",
            Why::Unavailable | Why::NoService => "UNAVAILABLE",
        }
    }
}
