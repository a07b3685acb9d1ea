//! One request, one answer, both JSON.

use std::sync::Arc;
use std::time::Duration;

use fleet_core::{Error, Result, fault};
use serde_json::Value;
use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::Request;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// How long one request may take, from the name of the server to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest answer that is read.
const LONGEST: u64 = 16 * 1024 * 1024;

/// A client. It follows no redirect of a request that changes something, and sends no token to another server.
#[derive(Clone, Debug)]
pub struct Client(Agent);

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status, such as 200 or 404.
    pub status: u16,
    /// The body; null when it is no JSON.
    pub body: Value,
}

/// A value that must show nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value, for a header of a request.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Client {
    /// A client that trusts whom this machine trusts. `proxy` is an address such as `http://proxy:3128`.
    pub fn new(proxy: Option<&str>) -> Result<Client> {
        let proxy = proxy.map(ureq::Proxy::new).transpose().map_err(|_| {
            Error::usage("the proxy of the environment is no address").hint("correct `HTTPS_PROXY`, or unset it")
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy)
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_redirects(3)
            .max_redirects_will_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("fleet/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Client(config.new_agent()))
    }

    /// Asks for `url`.
    ///
    /// # Errors
    /// `Unavailable` when no answer came.
    pub fn get(&self, site: &'static str, url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        let request = with_headers(Request::get(url), headers)
            .body(())
            .map_err(|_| no_request(url))?;
        fault::guard(site, || self.0.run(request))
            .map_err(|error| unreachable(url, &error))
            .and_then(|response| read(url, response))
    }

    /// Posts `body` to `url`.
    ///
    /// # Errors
    /// `Unavailable` when no answer came; it may have arrived all the same.
    pub fn post(&self, site: &'static str, url: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer> {
        let request = with_headers(Request::post(url), headers)
            .header("content-type", "application/json")
            .body(body.to_string())
            .map_err(|_| no_request(url))?;
        let request = self.0.configure_request(request).max_redirects(0).build();
        fault::guard(site, || self.0.run(request))
            .map_err(|error| unreachable(url, &error))
            .and_then(|response| read(url, response))
    }
}

fn with_headers(request: ureq::http::request::Builder, headers: &[(&str, &str)]) -> ureq::http::request::Builder {
    let request = request.header("accept", "application/json");
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
}

fn read(url: &str, mut response: ureq::http::Response<ureq::Body>) -> Result<Answer> {
    let status = response.status().as_u16();
    let text = response
        .body_mut()
        .with_config()
        .limit(LONGEST)
        .read_to_vec()
        .map_err(|error| unreachable(url, &error))?;
    Ok(Answer {
        status,
        body: serde_json::from_slice(&text).unwrap_or(Value::Null),
    })
}

fn unreachable(url: &str, error: &ureq::Error) -> Error {
    Error::unavailable(format!("{} cannot be reached", server_of(url)))
        .hint("see whether the network is up, then try again")
        .detail(error.to_string())
}

fn no_request(url: &str) -> Error {
    Error::usage(format!(
        "{} cannot be asked: the address or the token has odd characters",
        server_of(url)
    ))
    .hint("look at the remote's address and at the token's variable")
}

/// Scheme, name and port, without what may be private.
fn server_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    &url[..end]
}
