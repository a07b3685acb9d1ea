//! Which headers are handed on.

use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, UPGRADE,
};

/// Headers that are about one connection alone (RFC 9110, section 7.6.1).
const OF_ONE_HOP: [&str; 5] = [
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
];

/// The compressions that can be read for the account.
const READABLE: [&str; 4] = ["gzip", "x-gzip", "deflate", "identity"];

/// The headers of a message without those that are about its connection.
pub(super) fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&[CONNECTION, TE, TRAILER, UPGRADE]) {
        headers.remove(name);
    }
    for name in OF_ONE_HOP {
        headers.remove(name);
    }
    headers
}

/// The headers of a request as the service gets them.
pub(super) fn for_service(headers: HeaderMap) -> HeaderMap {
    let mut headers = end_to_end(headers);
    // Whom it is for is in the address; and the wish for a `100 Continue` was answered here.
    headers.remove(HOST);
    headers.remove(EXPECT);
    headers
}

/// Leaves of the compressions that the program takes those that can be read.
pub(super) fn make_readable(headers: &mut HeaderMap) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let wanted: Vec<&str> = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|each| {
            let name = each.split(';').next().unwrap_or_default().trim();
            READABLE.iter().any(|known| known.eq_ignore_ascii_case(name))
        })
        .collect();
    let left = match wanted.is_empty() {
        true => "identity".to_owned(),
        false => wanted.join(", "),
    };
    if let Ok(value) = HeaderValue::from_str(&left) {
        headers.insert(ACCEPT_ENCODING, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let each = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(each).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_is_about_the_connection_stays_here_and_all_else_goes_on() {
        let given = headers(&[
            ("host", "127.0.0.1:9"),
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("authorization", "Bearer k"),
            ("content-length", "3"),
            ("x-api-key", "k"),
        ]);
        assert_eq!(
            names(&for_service(given)),
            ["authorization", "content-length", "x-api-key"]
        );
    }

    #[test]
    fn a_program_is_given_no_compression_that_cannot_be_read() {
        for (given, left) in [
            ("gzip, deflate, br, zstd", "gzip, deflate"),
            ("br;q=1.0, gzip;q=0.8, *;q=0.1", "gzip;q=0.8"),
            ("br", "identity"),
        ] {
            let mut headers = headers(&[("accept-encoding", given)]);
            make_readable(&mut headers);
            assert_eq!(headers[ACCEPT_ENCODING], left);
        }
        let mut none = HeaderMap::new();
        make_readable(&mut none);
        assert!(none.is_empty());
    }
}
