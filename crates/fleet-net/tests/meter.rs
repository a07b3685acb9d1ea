//! The meter between a real client and real servers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use fleet_core::Time;
use fleet_core::meter::Limited;
use fleet_core::usage::Tokens;
use fleet_net::meter::{Admission, Ask, Ledger, Meter, Trust, Used};
use fleet_testkit::model::{ApiError, Fault, FaultRule, ModelServer, Script, Trouble, Turn, Usage, When, WithoutTools};
use fleet_testkit::wait_until;

/// How long anything may take on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

/// A ledger that remembers, and refuses where it is told so.
#[derive(Default)]
struct Notes {
    upstream: String,
    refuses: Option<String>,
    admitted: Mutex<u64>,
    ended: Mutex<Vec<(u64, Option<Used>)>>,
    limited: Mutex<Vec<Limited>>,
    unanswered: Mutex<Vec<String>>,
    asked: Mutex<Vec<Option<String>>>,
}

impl Ledger for Notes {
    fn admit(&self, ask: &Ask<'_>) -> Admission {
        if (ask.agent, ask.token, ask.route) != ("a1", "secret", "main") {
            return Admission::Stranger;
        }
        if let Some(why) = &self.refuses {
            return Admission::Refused(why.clone());
        }
        self.asked.lock().expect("no panic").push(ask.model.map(str::to_owned));
        let mut admitted = self.admitted.lock().expect("no panic");
        *admitted += u64::from(ask.costs);
        Admission::Pass {
            upstream: self.upstream.clone(),
            number: *admitted,
        }
    }

    fn sent(&self, _: &str, _: u64, _: Option<&str>, expected: Tokens) {
        assert!(expected.input > 0);
    }

    fn unanswered(&self, _: &str, why: &str) {
        self.unanswered.lock().expect("no panic").push(why.to_owned());
    }

    fn ended(&self, agent: &str, number: u64, used: Option<Used>) {
        assert_eq!(agent, "a1");
        self.ended.lock().expect("no panic").push((number, used));
    }

    fn limited(&self, _: &str, limited: Limited) {
        self.limited.lock().expect("no panic").push(limited);
    }

    fn now(&self) -> Time {
        Time(1_795_000_000_000)
    }
}

impl Notes {
    fn ended(&self) -> Vec<(u64, Option<Used>)> {
        self.ended.lock().expect("no panic").clone()
    }
}

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// Whether the body came to its end.
    whole: bool,
}

fn serve(upstream: &str, refuses: Option<&str>) -> (Arc<Notes>, String) {
    let notes = Arc::new(Notes {
        upstream: upstream.to_owned(),
        refuses: refuses.map(str::to_owned),
        ..Notes::default()
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let trust = Trust::of_this_machine().expect("certificates");
    let meter = Meter::start(listener, trust, Arc::clone(&notes)).expect("a meter");
    let base = format!("http://127.0.0.1:{}/a1/secret/main", meter.port());
    (notes, base)
}

/// Posts `body` to `url` and reads the answer to its end.
fn post(url: &str, body: &str) -> Answer {
    let mut stream = connect(url, body);
    let mut bytes = Vec::new();
    // A body that was cut may end with a reset.
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

fn connect(url: &str, body: &str) -> TcpStream {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("somebody listens");
    stream.set_read_timeout(Some(LONG)).expect("a time-out");
    let length = body.len();
    write!(
        stream,
        "POST /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\nx-api-key: k\r\n\
         accept-encoding: gzip, br\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    stream
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let rest = &bytes[end + 4..];
    let (body, whole) = match head.contains("transfer-encoding: chunked") {
        true => unchunked(rest),
        false => (rest.to_vec(), true),
    };
    Answer {
        status: status.expect("a status"),
        head,
        body,
        whole,
    }
}

fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(at) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let size = std::str::from_utf8(&rest[..at])
            .ok()
            .and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("the size of a chunk");
        rest = &rest[at + 2..];
        if size == 0 {
            return (body, true);
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..size.min(rest.len())]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

const USAGE: Usage = Usage {
    input: 900,
    cached: 200,
    cache_write: 50,
    output: 70,
    reasoning: 20,
};

/// The four ways of talking, streamed and not: a path and a body each.
fn requests() -> Vec<(&'static str, String)> {
    let messages = |stream| {
        format!(r#"{{"model":"m-1","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#)
    };
    let responses = |stream| format!(r#"{{"model":"m-1","stream":{stream},"input":"hi"}}"#);
    let chat = |stream| {
        format!(
            r#"{{"model":"m-1","stream":{stream},"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"hi"}}]}}"#
        )
    };
    let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#.to_owned();
    let mut all = Vec::new();
    for stream in [true, false] {
        all.push(("/v1/messages?beta=true", messages(stream)));
        all.push(("/v1/responses", responses(stream)));
        all.push(("/v1/chat/completions", chat(stream)));
    }
    all.push(("/v1beta/models/m-1:streamGenerateContent?alt=sse", gemini.clone()));
    all.push(("/v1beta/models/m-1:generateContent", gemini));
    all
}

fn script() -> Script {
    Script {
        without_tools: WithoutTools::Conversation,
        ..Script::of([Turn::say("a few words of an answer").with_usage(USAGE)])
    }
}

fn failing(fault: Fault) -> Script {
    script().with_fault(FaultRule {
        when: When::default(),
        nth: None,
        times: None,
        side: true,
        fault,
    })
}

/// The answer with what differs from one to the next taken out.
fn comparable(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

#[test]
fn every_format_is_handed_on_as_it_is_and_counted_exactly() {
    let endpoint = ModelServer::start(script());
    let (notes, base) = serve(&endpoint.url(), None);
    for (index, (path, body)) in requests().into_iter().enumerate() {
        let direct = post(&format!("{}{path}", endpoint.url()), &body);
        let through = post(&format!("{base}{path}"), &body);
        assert_eq!((through.status, through.whole), (200, true), "{path} {through:?}");
        assert_eq!(comparable(&through.body), comparable(&direct.body), "{path}");
        // It is settled before the last byte is handed on: nothing is waited for.
        let ended = notes.ended();
        assert_eq!(ended.len(), index + 1, "{path}");
        let (number, used) = ended.last().expect("an account");
        let used = used.as_ref().expect("it cost something");
        assert_eq!(
            (*number, used.asked.as_deref()),
            (index as u64 + 1, Some("m-1")),
            "{path}"
        );
        assert!(used.reading.whole, "{path} {used:?}");
        let asked = endpoint.requests();
        let told = asked
            .last()
            .and_then(|request| request.answer.usage)
            .expect("its own account");
        let wanted = Tokens {
            input: told.input,
            cached: told.cached,
            cache_write: told.cache_write,
            output: told.output,
            reasoning: told.reasoning,
        };
        let read = used.reading.tokens;
        let sum = |tokens: Tokens| tokens.input + tokens.cached + tokens.cache_write;
        assert_eq!(
            (sum(read), read.cached, read.output),
            (sum(wanted), wanted.cached, wanted.output),
            "{path}"
        );
    }
    let keys = endpoint
        .requests()
        .into_iter()
        .filter(|request| request.headers.contains_key("x-api-key"));
    assert_eq!(keys.count(), 2 * requests().len(), "the key goes along");
}

#[test]
fn a_stream_that_is_cut_is_cut_for_the_program_too_and_an_estimate() {
    let endpoint = ModelServer::start(failing(Fault::CutAfter(3)));
    let (notes, base) = serve(&endpoint.url(), None);
    let (path, body) = &requests()[0];
    let answer = post(&format!("{base}{path}"), body);
    assert_eq!((answer.status, answer.whole), (200, false), "{answer:?}");
    let used = wait_until(LONG, "its account", || notes.ended().pop());
    let used = used.1.expect("it cost something");
    assert!(!used.reading.whole);
    let told = endpoint.requests().pop().and_then(|request| request.answer.usage);
    let told = told.expect("the account that it did not come to");
    assert_eq!(used.reading.tokens.input, told.input, "what came before the cut counts");
}

#[test]
fn the_model_is_known_before_a_request_goes_on_and_wherever_it_stands_the_request_arrives_whole() {
    let endpoint = ModelServer::start(script());
    let (notes, base) = serve(&endpoint.url(), None);
    for (path, body) in requests() {
        assert_eq!(post(&format!("{base}{path}"), &body).status, 200, "{path}");
    }
    let long = "word ".repeat(200_000);
    let last = format!(r#"{{"messages":[{{"role":"user","content":"{long}"}}],"max_tokens":9,"model":"m-1"}}"#);
    assert_eq!(post(&format!("{base}/v1/messages"), &last).status, 200);
    let asked = notes.asked.lock().expect("no panic").clone();
    let (before, behind) = asked.split_at(requests().len());
    assert!(before.iter().all(|model| model.as_deref() == Some("m-1")), "{before:?}");
    assert_eq!(behind, [Some("m-1".to_owned())]);
    let arrived = endpoint.requests().pop().expect("a request");
    assert_eq!(arrived.body["messages"][0]["content"], long);
}

#[test]
fn a_cut_reply_is_taken_to_have_read_what_the_request_before_it_read_and_what_was_added() {
    let rule = FaultRule {
        when: When::default(),
        nth: Some(2),
        times: Some(1),
        side: true,
        fault: Fault::CutAfter(3),
    };
    let endpoint = ModelServer::start(script().with_fault(rule));
    let (notes, base) = serve(&endpoint.url(), None);
    let chat = |text: &str| {
        let body = format!(r#"{{"model":"m-1","stream":true,"messages":[{{"role":"user","content":"{text}"}}]}}"#);
        post(&format!("{base}/v1/chat/completions"), &body)
    };
    let _ = chat("hi");
    let _ = chat(&format!("hi{}", "x".repeat(30)));
    let ended = wait_until(LONG, "both accounts", || {
        let ended = notes.ended();
        (ended.len() == 2).then_some(ended)
    });
    let read = |place: usize| ended[place].1.as_ref().expect("it cost something").reading.clone();
    let (first, second) = (read(0), read(1));
    assert!(first.whole && !second.whole);
    assert_eq!(second.tokens.input, first.tokens.input + 10);
    assert_eq!(second.tokens.cached, first.tokens.cached + first.tokens.cache_write);
}

#[test]
fn a_service_that_cannot_be_reached_is_named_to_the_program_and_to_the_ledger() {
    let (notes, base) = serve("http://127.0.0.1:1", None);
    let (path, body) = &requests()[0];
    let answer = post(&format!("{base}{path}"), body);
    assert_eq!(answer.status, 502);
    let wanted = "fleet's meter cannot reach the model's service at 127.0.0.1:1";
    assert!(String::from_utf8_lossy(&answer.body).contains(wanted), "{answer:?}");
    assert_eq!(*notes.unanswered.lock().expect("no panic"), [wanted]);
    assert_eq!(wait_until(LONG, "its account", || notes.ended().pop()), (1, None));
}

#[test]
fn a_program_that_goes_away_has_an_account_of_what_it_got() {
    let endpoint = ModelServer::start(failing(Fault::HangAfter(3)));
    let (notes, base) = serve(&endpoint.url(), None);
    let (path, body) = &requests()[0];
    let mut stream = connect(&format!("{base}{path}"), body);
    let mut some = [0; 200];
    assert!(stream.read(&mut some).expect("a beginning") > 0);
    assert!(notes.ended().is_empty());
    drop(stream);
    let used = wait_until(LONG, "its account", || notes.ended().pop()).1;
    assert!(!used.expect("it cost something").reading.whole);
}

#[test]
fn an_error_of_the_service_arrives_as_it_is_and_costs_nothing() {
    let error = |is, retry_after_s| {
        Fault::Error(ApiError {
            is,
            status: None,
            message: None,
            retry_after_s,
        })
    };
    for (path, body) in requests() {
        let endpoint = ModelServer::start(failing(error(Trouble::RateLimit, Some(7))));
        let (notes, base) = serve(&endpoint.url(), None);
        let direct = post(&format!("{}{path}", endpoint.url()), &body);
        let through = post(&format!("{base}{path}"), &body);
        assert_eq!((through.status, direct.status), (429, 429), "{path}");
        assert_eq!(comparable(&through.body), comparable(&direct.body), "{path}");
        assert!(through.head.contains("retry-after: 7"), "{}", through.head);
        assert_eq!(notes.ended(), [(1, None)], "{path}");
        let limited = wait_until(LONG, "the limit", || {
            notes.limited.lock().expect("no panic").first().copied()
        });
        assert_eq!(limited.until, Some(Time(1_795_000_000_000 + 7000)), "{path}");
    }
}

#[test]
fn a_refusal_is_an_error_in_the_words_of_the_service_and_the_service_hears_nothing() {
    let endpoint = ModelServer::start(script());
    let (notes, base) = serve(&endpoint.url(), Some("2.10 of 2.00 USD are spent"));
    for (path, body) in requests() {
        let answer = post(&format!("{base}{path}"), &body);
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.head.contains("x-should-retry: false"), "{}", answer.head);
        let value: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(value["error"]["message"], "2.10 of 2.00 USD are spent", "{path}");
    }
    assert!(endpoint.requests().is_empty() && notes.ended().is_empty());
}

#[test]
fn another_ones_address_is_refused() {
    let endpoint = ModelServer::start(script());
    let (_, base) = serve(&endpoint.url(), None);
    for wrong in ["/a1/wrong/main", "/a2/secret/main", "/a1/secret/other", "", "/a1"] {
        let url = base.replace("/a1/secret/main", wrong);
        let answer = post(&format!("{url}/v1/messages"), "{}");
        assert_eq!(answer.status, 403, "{wrong}");
    }
    assert!(endpoint.requests().is_empty());
}

#[test]
fn a_service_that_is_not_there_is_a_502_that_cost_nothing() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let (notes, base) = serve(&format!("http://{address}"), None);
    let (path, body) = &requests()[0];
    assert_eq!(post(&format!("{base}{path}"), body).status, 502);
    let ended = wait_until(LONG, "its account", || notes.ended().pop());
    assert_eq!(ended, (1, None));
}

#[test]
fn what_is_compressed_arrives_compressed_and_is_counted() {
    let plain = "data: {\"type\":\"message_start\",\"message\":{\"model\":\"m-1\",\"usage\":{\"input_tokens\":9}}}\n\n\
                 data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n\
                 data: {\"type\":\"message_stop\"}\n\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain.as_bytes()).expect("compressed");
    let compressed = gzip.finish().expect("compressed");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (body, asked) = (compressed.clone(), Arc::new(Mutex::new(String::new())));
    let heard = Arc::clone(&asked);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut text = Vec::new();
        let mut some = [0; 4096];
        while !text.ends_with(b"}") {
            let count = stream.read(&mut some).expect("a request");
            text.extend_from_slice(&some[..count]);
        }
        *heard.lock().expect("no panic") = String::from_utf8_lossy(&text).to_lowercase();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n\
                    x-of-the-service: kept\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        for piece in body.chunks(7) {
            write!(stream, "{:x}\r\n", piece.len()).expect("sent");
            stream.write_all(piece).expect("sent");
            stream.write_all(b"\r\n").expect("sent");
        }
        stream.write_all(b"0\r\n\r\n").expect("sent");
    });
    let (notes, base) = serve(&format!("http://{address}/prefix/"), None);
    let answer = post(&format!("{base}/v1/messages?beta=true"), r#"{"model": "m-1"}"#);
    server.join().expect("served");
    assert_eq!((answer.body, answer.whole), (compressed, true));
    assert!(answer.head.contains("content-encoding: gzip") && answer.head.contains("x-of-the-service: kept"));
    let asked = asked.lock().expect("no panic").clone();
    assert!(
        asked.starts_with("post /prefix/v1/messages?beta=true http/1.1"),
        "{asked}"
    );
    assert!(asked.contains(&format!("host: {address}")), "{asked}");
    assert!(asked.contains("accept-encoding: gzip\r\n"), "{asked}");
    let (_, used) = notes.ended().pop().expect("an account");
    let reading = used.expect("it cost something").reading;
    assert_eq!(
        (reading.tokens.input, reading.tokens.output, reading.whole),
        (9, 4, true)
    );
}
