//! One request: whose it is, where it goes, and its answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fleet_core::meter::{Format, RequestReader};
use fleet_core::{Error, Result};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Request, Response, Uri};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::task::spawn_blocking;

use super::count::{Count, Kind, Received, Sent};
use super::refusal::Why;
use super::{Admission, Ask, Ledger, Shared, header};

type AnyBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// The client to the services. It keeps connections for a while, so that a request need not wait for one.
pub(super) type Client = legacy::Client<HttpsConnector<HttpConnector>, AnyBody>;

/// How long a connection to a service may take.
const CONNECT: Duration = Duration::from_secs(30);
/// How much of a request is read before it is decided on. Programs name the model in the first bytes.
const MOST_AHEAD: usize = 1024 * 1024;
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

/// What has been read of a request before it is decided on.
struct Ahead {
    asked: RequestReader,
    pieces: VecDeque<Bytes>,
    rest: Incoming,
}

impl Ahead {
    /// Reads until the request says which model it is for.
    async fn read(mut body: Incoming) -> std::result::Result<Ahead, hyper::Error> {
        let (mut asked, mut pieces, mut size) = (RequestReader::default(), VecDeque::new(), 0);
        while asked.model().is_none()
            && size < MOST_AHEAD
            && let Some(frame) = body.frame().await
        {
            if let Ok(bytes) = frame?.into_data() {
                size += bytes.len();
                asked.push(&bytes);
                pieces.push_back(bytes);
            }
        }
        Ok(Ahead {
            asked,
            pieces,
            rest: body,
        })
    }
}

/// Answers one request of a program.
pub(super) async fn answer<L: Ledger>(
    request: Request<Incoming>,
    shared: &Shared<L>,
) -> std::result::Result<Response<AnyBody>, hyper::Error> {
    let (head, body) = request.into_parts();
    let mut parts = head.uri.path().splitn(5, '/').skip(1).map(str::to_owned);
    let (agent, token, route) = (parts.next(), parts.next(), parts.next());
    let rest = parts.next().unwrap_or_default();
    let (Some(agent), Some(token), Some(route)) = (agent, token, route) else {
        let text = "this is the meter of fleet; see docs/metering.md";
        return refuse(body, None, Why::Stranger, text).await;
    };
    let rest = format!("/{rest}");
    let format = Format::of(head.method.as_str(), &rest);
    if head.headers.contains_key(UPGRADE) {
        let text = "fleet's meter hands on plain HTTP alone";
        return refuse(body, format, Why::OtherProtocol, text).await;
    }
    let in_path = format.and_then(|format| format.model_in(&rest));
    let ahead = match format {
        Some(_) if in_path.is_none() => Ahead::read(body).await?,
        _ => Ahead {
            asked: RequestReader::default(),
            pieces: VecDeque::new(),
            rest: body,
        },
    };
    let admission = {
        let (ledger, agent) = (Arc::clone(&shared.ledger), agent.clone());
        let model = in_path.clone().or_else(|| ahead.asked.model().map(str::to_owned));
        let asked = move || {
            ledger.admit(&Ask {
                agent: &agent,
                token: &token,
                route: &route,
                costs: format.is_some(),
                model: model.as_deref(),
            })
        };
        spawn_blocking(asked).await
    };
    let (why, text) = match admission {
        Ok(Admission::Pass { upstream, number }) => {
            // From here on the account of the request is settled, whatever becomes of it.
            let count = format.map(|format| {
                let kind = Kind { format, model: in_path };
                Count::new(shared, &agent, number, kind, ahead.asked)
            });
            let onward = Onward {
                head,
                ahead: ahead.pieces,
                body: ahead.rest,
                upstream,
                rest,
            };
            return Ok(hand_on(shared, &agent, onward, format, count).await);
        }
        Ok(Admission::Refused(text)) => (Why::Refused, text),
        Ok(Admission::Stranger) => {
            let text = "fleet's meter knows no such agent; `fleet resume` starts it again with a new address";
            (Why::Stranger, text.to_owned())
        }
        Ok(Admission::Unavailable(text)) => (Why::Unavailable, text),
        Err(_) => (Why::Unavailable, "fleet's meter has failed".to_owned()),
    };
    refuse(ahead.rest, format, why, &text).await
}

/// A request that may go on.
struct Onward {
    head: Parts,
    ahead: VecDeque<Bytes>,
    body: Incoming,
    upstream: String,
    /// The path behind that of the service.
    rest: String,
}

async fn hand_on<L: Ledger>(
    shared: &Shared<L>,
    agent: &str,
    onward: Onward,
    format: Option<Format>,
    count: Option<Arc<Count<L>>>,
) -> Response<AnyBody> {
    let Onward {
        head,
        ahead,
        body,
        upstream,
        rest,
    } = onward;
    let query = head.uri.query().map_or(String::new(), |query| format!("?{query}"));
    let address = format!("{}{rest}{query}", upstream.trim_end_matches('/'));
    let Ok(address) = address.parse::<Uri>() else {
        return document(Why::NoService, format, "the address of the service is no address");
    };
    let host = address.authority().map(ToString::to_string).unwrap_or_default();
    let mut onward = Request::builder().method(head.method).uri(address);
    if let Some(headers) = onward.headers_mut() {
        *headers = header::for_service(head.headers);
        if format.is_some() {
            header::make_readable(headers);
        }
    }
    let body = match &count {
        Some(count) => Sent::new(ahead, body, Arc::clone(count)).boxed_unsync(),
        None => body.boxed_unsync(),
    };
    let Ok(onward) = onward.body(body) else {
        return document(Why::NoService, format, "the request cannot be handed on");
    };
    let answer = match shared.client.request(onward).await {
        Ok(answer) => answer,
        Err(error) => {
            if let Some(count) = count.filter(|_| error.is_connect()) {
                count.not_reached();
            }
            let (why, text) = failure(&error, &host);
            let (ledger, agent, told) = (Arc::clone(&shared.ledger), agent.to_owned(), text.clone());
            // The program hears of it when there is a record of it.
            let _ = spawn_blocking(move || ledger.unanswered(&agent, &told)).await;
            return document(why, format, &text);
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
    Response::from_parts(head, body)
}

/// Why the service at `host` gave no answer.
fn failure(error: &legacy::Error, host: &str) -> (Why, String) {
    if let Some(about) = certificate(error) {
        let text = format!(
            "fleet's meter does not trust the certificate of {host} ({about}): it trusts whom this machine trusts, or \
             `SSL_CERT_FILE` when the meter starts"
        );
        return (Why::Untrusted, text);
    }
    let text = match error.is_connect() {
        true => format!("fleet's meter cannot reach the model's service at {host}"),
        false => format!("the model's service at {host} broke off without an answer"),
    };
    (Why::NoService, text)
}

/// What is wrong with the certificate of a service, if that is it.
fn certificate(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(rustls::Error::InvalidCertificate(about)) = error.downcast_ref() {
        return Some(about.to_string());
    }
    // What is within an `io::Error` is not its source, but what has the same source.
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(inner) => certificate(inner),
        None => certificate(error.source()?),
    }
}

/// Answers in place of the service. The request is read to its end before, so that the program hears the answer.
async fn refuse(
    mut body: Incoming,
    format: Option<Format>,
    why: Why,
    text: &str,
) -> std::result::Result<Response<AnyBody>, hyper::Error> {
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
    if matches!(why, Why::Refused | Why::Untrusted) {
        // The clients that their makers generate listen to this.
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}
