//! One request: whose it is, where it goes, and its answer.

use std::sync::Arc;
use std::time::Duration;

use fleet_core::meter::Format;
use fleet_core::{Error, Result};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{Request, Response, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::task::spawn_blocking;

use super::count::{Count, Received, Sent};
use super::refusal::Why;
use super::{Admission, Ask, Ledger, header};

type AnyBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// The client to the services. It keeps connections for a while, so that a request need not wait for one.
pub(super) type Client = legacy::Client<HttpsConnector<HttpConnector>, AnyBody>;

/// How long a connection to a service may take.
const CONNECT: Duration = Duration::from_secs(30);
/// How long an unused connection is kept.
const KEEP: Duration = Duration::from_secs(60);

/// Whom this machine trusts.
#[derive(Clone, Debug)]
pub struct Trust(rustls::ClientConfig);

impl Trust {
    /// The certificates that this machine trusts: those of the platform, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    ///
    /// # Errors
    /// `Unavailable`: there are none.
    pub fn of_this_machine() -> Result<Trust> {
        let no_roots = |error: rustls::Error| {
            Error::unavailable("this machine's list of trusted certificates cannot be used")
                .hint("install it: `apt-get install ca-certificates`")
                .detail(error.to_string())
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.try_with_platform_verifier())
            .map_err(no_roots)?;
        Ok(Trust(config.with_no_client_auth()))
    }
}

/// A client that trusts whom `trust` says.
pub(super) fn client(Trust(config): Trust) -> Client {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http()
        .enable_http1()
        .wrap_connector(http);
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP)
        .build(connector)
}

/// Refuses what is no address of a service: one with a scheme, a host and nothing behind its path.
pub fn check_upstream(upstream: &str) -> Result<()> {
    let uri: Option<Uri> = upstream.parse().ok();
    let fits = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    });
    match fits {
        true => Ok(()),
        false => Err(Error::usage(
            "the address of the model's service is no http or https address",
        )),
    }
}

/// Answers one request of a program.
pub(super) async fn answer<L: Ledger>(
    request: Request<Incoming>,
    ledger: &Arc<L>,
    client: &Client,
) -> std::result::Result<Response<AnyBody>, hyper::Error> {
    let path = request.uri().path();
    let mut parts = path.splitn(5, '/').skip(1).map(str::to_owned);
    let (agent, token, route) = (parts.next(), parts.next(), parts.next());
    let rest = parts.next().unwrap_or_default();
    let (Some(agent), Some(token), Some(route)) = (agent, token, route) else {
        return refuse(
            request,
            None,
            Why::Stranger,
            "this is the meter of fleet; see docs/metering.md",
        )
        .await;
    };
    let rest = format!("/{rest}");
    let format = Format::of(request.method().as_str(), &rest);
    if request.headers().contains_key(UPGRADE) {
        let text = "fleet's meter hands on plain HTTP alone";
        return refuse(request, format, Why::OtherProtocol, text).await;
    }
    let admission = {
        let (ledger, agent) = (Arc::clone(ledger), agent.clone());
        let asked = move || {
            ledger.admit(&Ask {
                agent: &agent,
                token: &token,
                route: &route,
                costs: format.is_some(),
            })
        };
        spawn_blocking(asked).await
    };
    let (upstream, number) = match admission {
        Ok(Admission::Pass { upstream, number }) => (upstream, number),
        Ok(Admission::Refused(text)) => return refuse(request, format, Why::Refused, &text).await,
        Ok(Admission::Stranger) => {
            let text = "fleet's meter knows no such agent; `fleet resume` starts it again with a new address";
            return refuse(request, format, Why::Stranger, text).await;
        }
        Ok(Admission::Unavailable(text)) => return refuse(request, format, Why::Unavailable, &text).await,
        Err(_) => return refuse(request, format, Why::Unavailable, "fleet's meter has failed").await,
    };
    // From here on the account of the request is settled, whatever becomes of it.
    let count = format.map(|format| Count::new(ledger, &agent, number, format, format.model_in(&rest)));
    let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
    let address = format!("{}{rest}{query}", upstream.trim_end_matches('/'));
    let Ok(address) = address.parse::<Uri>() else {
        return refuse(
            request,
            format,
            Why::NoService,
            "the address of the service is no address",
        )
        .await;
    };
    let (head, body) = request.into_parts();
    let mut onward = Request::builder().method(head.method).uri(address);
    if let Some(headers) = onward.headers_mut() {
        *headers = header::for_service(head.headers);
        if format.is_some() {
            header::make_readable(headers);
        }
    }
    let body = match &count {
        Some(count) => Sent::new(body, Arc::clone(count)).boxed_unsync(),
        None => body.boxed_unsync(),
    };
    let Ok(onward) = onward.body(body) else {
        return Ok(document(Why::NoService, format, "the request cannot be handed on"));
    };
    let answer = match client.request(onward).await {
        Ok(answer) => answer,
        Err(error) => {
            if let Some(count) = count.filter(|_| error.is_connect()) {
                count.not_reached();
            }
            let text = match error.is_connect() {
                true => "fleet's meter cannot reach the model's service",
                false => "the model's service broke off without an answer",
            };
            return Ok(document(Why::NoService, format, text));
        }
    };
    let (mut head, body) = answer.into_parts();
    head.headers = header::end_to_end(head.headers);
    // The version is that of each connection.
    head.version = hyper::Version::HTTP_11;
    let body = match count {
        Some(count) => {
            count.answered(head.status.as_u16(), &head.headers);
            Received::new(body, count).boxed_unsync()
        }
        None => body.boxed_unsync(),
    };
    Ok(Response::from_parts(head, body))
}

/// Answers in place of the service. The request is read to its end before, so that the program hears the answer.
async fn refuse(
    request: Request<Incoming>,
    format: Option<Format>,
    why: Why,
    text: &str,
) -> std::result::Result<Response<AnyBody>, hyper::Error> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        drop(frame?);
    }
    Ok(document(why, format, text))
}

fn document(why: Why, format: Option<Format>, text: &str) -> Response<AnyBody> {
    let body = Full::new(Bytes::from(why.body(format, text).to_string()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = why.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if why == Why::Refused {
        // The clients that their makers generate listen to this.
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}
