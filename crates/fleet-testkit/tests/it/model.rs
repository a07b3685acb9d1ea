//! The model endpoint over real HTTP.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use fleet_testkit::model::{
    ApiError, Fault, FaultRule, Format, ModelServer, Options, Outcome, Pace, Rule, Script, ToolCall, Trouble, Turn,
    Usage, When, read_model_log,
};
use fleet_testkit::{Cmd, TestEnv, binary};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);

const ALL: [Format; 4] = [Format::Messages, Format::Responses, Format::Chat, Format::Gemini];

/// What came back.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
    /// Whether the body had its proper end.
    whole: bool,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The data of the events of a stream.
    fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }
}

/// A request on its way.
struct Sent(BufReader<TcpStream>);

fn send(server: SocketAddr, method: &str, path: &str, body: &str) -> Sent {
    let mut stream = TcpStream::connect(server).expect("the endpoint listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a socket takes a timeout");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: secret\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("the endpoint reads");
    stream.write_all(body.as_bytes()).expect("the endpoint reads");
    Sent(BufReader::new(stream))
}

impl Sent {
    /// The answer; none when the connection was closed without one.
    fn answer(mut self) -> Option<Got> {
        let mut line = String::new();
        if self.0.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut rest = Vec::new();
        // A connection that is cut may end with an error; what had come is kept.
        let _ = self.0.read_to_end(&mut rest);
        let (body, whole) = if headers.contains_key("transfer-encoding") {
            dechunked(&rest)
        } else {
            let whole = headers.get("content-length") == Some(&rest.len().to_string());
            (rest, whole)
        };
        Some(Got {
            status,
            headers,
            body: String::from_utf8(body).expect("bodies are text"),
            whole,
        })
    }
}

/// The content of a chunked body, and whether its end is there.
fn dechunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size is a number");
        rest = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        let size = size.min(rest.len());
        body.extend(&rest[..size]);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
    (body, false)
}

/// A request for a reply to these prompts, with a tool or without.
fn request(format: Format, prompts: &[&str], stream: bool, tool: bool) -> (String, String) {
    let shell = json!({"type": "object", "properties": {"command": {"type": "string"}}});
    let messages = |role: &str, reply: &str, wrap: fn(&str) -> Value| -> Vec<Value> {
        let mut messages = Vec::new();
        for (number, prompt) in prompts.iter().enumerate() {
            if number > 0 {
                messages.push(json!({"role": reply, "content": "before", "parts": [{"text": "before"}]}));
            }
            let mut message = wrap(prompt);
            message["role"] = role.into();
            messages.push(message);
        }
        messages
    };
    let content = |text: &str| json!({"content": text});
    let (path, mut body, tools) = match format {
        Format::Messages => (
            "/v1/messages?beta=true".to_owned(),
            json!({"messages": messages("user", "assistant", content)}),
            json!([{"name": "Bash", "input_schema": shell}]),
        ),
        Format::Responses => (
            "/v1/responses".to_owned(),
            json!({"input": messages("user", "assistant", content)}),
            json!([{"type": "function", "name": "shell_command", "parameters": shell}]),
        ),
        Format::Chat => (
            "/v1/chat/completions".to_owned(),
            json!({"messages": messages("user", "assistant", content)}),
            json!([{"type": "function", "function": {"name": "bash", "parameters": shell}}]),
        ),
        Format::Gemini => (
            format!(
                "/v1beta/models/m:{}",
                if stream {
                    "streamGenerateContent?alt=sse"
                } else {
                    "generateContent"
                }
            ),
            json!({"contents": messages("user", "model", |text| json!({"parts": [{"text": text}]}))}),
            json!([{"functionDeclarations": [{"name": "run_shell_command", "parametersJsonSchema": shell}]}]),
        ),
    };
    body["model"] = "m".into();
    body["stream"] = stream.into();
    if tool {
        body["tools"] = tools;
    }
    (path, body.to_string())
}

fn ask(server: &ModelServer, format: Format, prompt: &str, stream: bool) -> Option<Got> {
    let (path, body) = request(format, &[prompt], stream, true);
    send(server.address(), "POST", &path, &body).answer()
}

fn control(server: SocketAddr, method: &str, path: &str, body: &str) -> Got {
    send(server, method, path, body)
        .answer()
        .expect("a control path answers")
}

/// All that a streamed or whole reply says.
fn text(format: Format, got: &Got, stream: bool) -> String {
    let documents = if stream { got.events() } else { vec![got.json()] };
    let said = |document: &Value| {
        let places: &[&str] = match (format, stream) {
            (Format::Messages, true) => &["/delta/text"],
            (Format::Messages, false) => &["/content/0/text"],
            (Format::Responses, true) => &["/delta"],
            (Format::Responses, false) => &["/output/0/content/0/text"],
            (Format::Chat, true) => &["/choices/0/delta/content"],
            (Format::Chat, false) => &["/choices/0/message/content"],
            (Format::Gemini, _) => &["/candidates/0/content/parts/0/text"],
        };
        let text = places.iter().find_map(|place| document.pointer(place)?.as_str());
        text.unwrap_or_default().to_owned()
    };
    documents.iter().map(said).collect()
}

#[test]
fn every_format_says_what_the_script_says() {
    let words = "words and 🦀, more than one chunk of them";
    let server = ModelServer::start(Script::of([Turn::say(words)]));
    for format in ALL {
        for stream in [true, false] {
            let got = ask(&server, format, "go", stream).unwrap();
            assert_eq!((got.status, got.whole), (200, true), "{format:?} {stream}");
            assert_eq!(text(format, &got, stream), words, "{format:?} {stream}");
            let kind = if stream {
                "text/event-stream"
            } else {
                "application/json"
            };
            assert_eq!(got.headers["content-type"], kind);
        }
    }
    let requests = server.conversation();
    assert_eq!(requests.len(), 8);
    assert!(
        requests
            .iter()
            .all(|request| request.end.unwrap().outcome == Outcome::Sent)
    );
    assert!(requests.iter().all(|request| request.answer.text == words));
}

#[test]
fn the_shell_tool_of_each_format_is_called() {
    let server = ModelServer::start(Script::of([Turn::shell("ls")]));
    for (format, tool) in ALL
        .into_iter()
        .zip(["Bash", "shell_command", "bash", "run_shell_command"])
    {
        let got = ask(&server, format, "go", true).unwrap();
        assert!(got.body.contains(tool), "{}", got.body);
        let request = server.conversation().pop().unwrap();
        assert_eq!(request.answer.calls, [(tool.to_owned(), json!({"command": "ls"}))]);
    }
}

#[test]
fn each_vendor_reports_tokens_in_its_own_way() {
    let usage = Usage {
        input: 10,
        cached: 200,
        cache_write: 3000,
        output: 40,
        reasoning: 15,
    };
    let server = ModelServer::start(Script::of([Turn::say("x").with_usage(usage)]));
    let reported = |format: Format, place: &str| {
        let whole = ask(&server, format, "go", false).unwrap().json();
        let streamed = ask(&server, format, "go", true).unwrap().events();
        let at_end = streamed.iter().rev().find_map(|event| {
            let response = event.get("response").unwrap_or(event);
            response.get(place).filter(|usage| usage.is_object()).cloned()
        });
        assert_eq!(at_end.as_ref(), Some(&whole[place]), "{format:?}");
        whole[place].clone()
    };
    assert_eq!(
        reported(Format::Messages, "usage"),
        json!({"input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 3000,
            "output_tokens": 40})
    );
    assert_eq!(reported(Format::Responses, "usage")["input_tokens"], 3210);
    assert_eq!(
        reported(Format::Chat, "usage")["prompt_tokens_details"]["cached_tokens"],
        200
    );
    let gemini = reported(Format::Gemini, "usageMetadata");
    assert_eq!(
        (&gemini["candidatesTokenCount"], &gemini["thoughtsTokenCount"]),
        (&json!(25), &json!(15))
    );
    assert_eq!(gemini["totalTokenCount"], 3250);
}

#[test]
fn a_fault_befalls_the_first_requests_and_then_no_more() {
    let limit = ApiError {
        retry_after_s: Some(7),
        ..ApiError::of(Trouble::RateLimit)
    };
    for format in ALL {
        let rule = FaultRule::first(2, Fault::Error(limit.clone()));
        let server = ModelServer::start(Script::of([Turn::say("x")]).with_fault(rule));
        for _ in 0..2 {
            let got = ask(&server, format, "go", true).unwrap();
            assert_eq!(got.status, 429);
            assert_eq!(got.headers["retry-after"], "7");
            assert!(got.json()["error"].is_object());
        }
        assert_eq!(ask(&server, format, "go", true).unwrap().status, 200);
    }
}

#[test]
fn errors_have_the_status_of_their_vendor() {
    let statuses = |trouble: Trouble| {
        let rule = FaultRule::always(Fault::Error(ApiError::of(trouble)));
        let server = ModelServer::start(Script::default().with_fault(rule));
        ALL.map(|format| ask(&server, format, "go", true).unwrap().status)
    };
    assert_eq!(statuses(Trouble::Overloaded), [529, 503, 503, 503]);
    assert_eq!(statuses(Trouble::NoCredit), [400, 429, 429, 429]);
    assert_eq!(statuses(Trouble::Unauthorized), [401; 4]);
    assert_eq!(statuses(Trouble::Forbidden), [403; 4]);
    assert_eq!(statuses(Trouble::BadRequest), [400; 4]);
    assert_eq!(statuses(Trouble::ServerError), [500; 4]);
}

#[test]
fn a_stream_is_cut_after_its_chunks() {
    let pace = Pace {
        chunk_chars: Some(2),
        ..Pace::default()
    };
    let turn = Turn {
        pace: Some(pace),
        ..Turn::say("aabbccdd").with_fault(Fault::CutAfter(3))
    };
    let server = ModelServer::start(Script::of([turn]));
    for format in ALL {
        let got = ask(&server, format, "go", true).unwrap();
        assert!(!got.whole, "{got:?}");
        assert_eq!(text(format, &got, true), "aabbcc");
        let got = ask(&server, format, "go", false).unwrap();
        assert!(
            !got.whole && serde_json::from_str::<Value>(&got.body).is_err(),
            "{got:?}"
        );
    }
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.end.unwrap().outcome == Outcome::Cut)
    );
}

#[test]
fn a_cut_or_an_error_comes_before_the_end_of_a_short_reply() {
    let server = ModelServer::start(Script::of([Turn::say("short").with_fault(Fault::CutAfter(9))]));
    let got = ask(&server, Format::Messages, "go", true).unwrap();
    assert!(
        !got.whole && got.body.contains("short") && !got.body.contains("message_stop"),
        "{got:?}"
    );
}

#[test]
fn a_stream_can_end_in_an_error() {
    let fault = Fault::ErrorAfter {
        chunks: 1,
        error: ApiError::of(Trouble::Overloaded),
    };
    let server = ModelServer::start(Script::of([Turn::say("word ".repeat(20)).with_fault(fault)]));
    for (format, words) in ALL
        .into_iter()
        .zip(["overloaded_error", "response.failed", "overloaded", "UNAVAILABLE"])
    {
        let got = ask(&server, format, "go", true).unwrap();
        assert_eq!((got.status, got.whole), (200, true));
        assert!(
            got.body.trim_end().lines().last().unwrap().contains(words),
            "{}",
            got.body
        );
    }
}

#[test]
fn a_connection_can_be_closed_without_an_answer() {
    let server = ModelServer::start(Script::default().with_fault(FaultRule::nth(1, Fault::Close)));
    assert!(ask(&server, Format::Chat, "go", true).is_none());
    assert_eq!(ask(&server, Format::Chat, "go", true).unwrap().status, 200);
    assert_eq!(server.requests()[0].answer.status, 0);
}

#[test]
fn what_hangs_goes_on_when_it_is_released() {
    for fault in [Fault::Hang, Fault::HangAfter(1)] {
        let server = ModelServer::start(Script::of([Turn::say("word ".repeat(20)).with_fault(fault)]));
        let (path, body) = request(Format::Messages, &["go"], true, true);
        let sent = send(server.address(), "POST", &path, &body);
        let held = server.wait_for_request(DEADLINE, "the prompt", |request| request.prompt() == "go");
        assert_eq!(held.end, None);
        server.release();
        assert!(sent.answer().unwrap().whole);
        server.wait_for_request(DEADLINE, "its end", |request| {
            request.end.is_some_and(|end| end.outcome == Outcome::Sent)
        });
    }
}

#[test]
fn a_client_that_goes_away_is_noticed() {
    for fault in [Fault::Hang, Fault::HangAfter(1)] {
        let server = ModelServer::start(Script::of([Turn::say("word ".repeat(20)).with_fault(fault)]));
        let (path, body) = request(Format::Messages, &["go"], true, true);
        let sent = send(server.address(), "POST", &path, &body);
        server.wait_for_request(DEADLINE, "the prompt", |request| request.prompt() == "go");
        drop(sent);
        server.wait_for_request(DEADLINE, "its end", |request| {
            request.end.is_some_and(|end| end.outcome == Outcome::ClientGone)
        });
    }
}

#[test]
fn a_demanded_shape_is_given_and_takes_no_turn() {
    let schema = json!({"type": "object", "properties": {"title": {"type": "string"}, "n": {"type": "integer"}}});
    let rule = FaultRule::always(Fault::Error(ApiError::of(Trouble::ServerError)));
    let server = ModelServer::start(Script::default().with_fault(rule));
    for format in ALL {
        let (path, body) = request(format, &["name it"], false, false);
        let mut body: Value = serde_json::from_str(&body).unwrap();
        match format {
            Format::Messages => body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}}),
            Format::Responses => body["text"] = json!({"format": {"type": "json_schema", "schema": schema}}),
            Format::Chat => body["response_format"] = json!({"type": "json_schema", "json_schema": {"schema": schema}}),
            Format::Gemini => body["generationConfig"] = json!({"responseJsonSchema": schema}),
        }
        let got = send(server.address(), "POST", &path, &body.to_string())
            .answer()
            .unwrap();
        let instance: Value = serde_json::from_str(&text(format, &got, false)).unwrap();
        assert_eq!(instance, json!({"title": "scripted", "n": 1}));
        assert_eq!(server.requests().pop().unwrap().side.as_deref(), Some("structured"));
    }
    assert!(server.conversation().is_empty());
}

#[test]
fn all_prompts_are_in_the_log_to_the_byte() {
    let long: String = (1..=100).map(|n| format!("line {n} $(x) \"q\" 漢字 🦀\n")).collect();
    let prompts = ["one", long.as_str(), "  -three  \n"];
    let server = ModelServer::start(Script::default());
    for format in ALL {
        let (path, body) = request(format, &prompts, true, true);
        send(server.address(), "POST", &path, &body).answer().unwrap();
        let request = server.conversation().pop().unwrap();
        assert_eq!(request.prompts, prompts);
        assert_eq!((request.turn, request.format), (0, Some(format)));
        assert_eq!(request.headers["x-api-key"], "given");
    }
}

#[test]
fn rules_come_before_turns_and_turns_before_the_prompt() {
    let rule = Rule {
        when: When {
            contains: Some("special".into()),
            regex: None,
        },
        turns: vec![Turn::say("by rule"), Turn::call(ToolCall::Read("f".into()))],
    };
    let rules = Script {
        rules: vec![rule],
        ..Script::default()
    };
    let server = ModelServer::start(rules.clone());
    let said = |prompt: &str| text(Format::Chat, &ask(&server, Format::Chat, prompt, true).unwrap(), true);
    assert_eq!(said("say something special"), "by rule");
    assert_eq!(said("say hello"), "hello");
    server.set_script(Script {
        turns: vec![Turn::say("by turn")],
        ..rules
    });
    assert_eq!(said("say hello"), "by turn");
}

#[test]
fn questions_beside_replies_are_answered() {
    let server = ModelServer::start(Script::default());
    let ask = |method: &str, path: &str| send(server.address(), method, path, "{}").answer().unwrap();
    assert!(ask("POST", "/v1/messages/count_tokens?beta=true").json()["input_tokens"].is_number());
    assert!(ask("POST", "/v1beta/models/m:countTokens").json()["totalTokens"].is_number());
    assert_eq!(ask("GET", "/v1/models").json()["data"][0]["object"], "model");
    assert_eq!(ask("HEAD", "/").status, 200);
    assert_eq!(ask("GET", "/elsewhere").status, 404);
    assert_eq!(ask("POST", "/v1/messages").status, 200);
    assert_eq!(
        send(server.address(), "POST", "/v1/messages", "{")
            .answer()
            .unwrap()
            .status,
        400
    );
    assert_eq!(server.requests().len(), 7);
}

#[test]
fn the_program_serves_another_process() {
    let env = TestEnv::new();
    let (script, log) = (env.home().join("script.json"), env.home().join("log.jsonl"));
    std::fs::write(&script, r#"{"turns": [{"text": "from the file"}]}"#).unwrap();
    let program = Cmd::new(binary("fleet-model"), env.home());
    let mut running = program.arg("--script").arg(&script).arg("--log").arg(&log).spawn();
    let url = running.first_line(DEADLINE);
    let address: SocketAddr = url.trim().strip_prefix("http://").unwrap().parse().unwrap();
    let (path, body) = request(Format::Messages, &["go"], true, true);
    let got = send(address, "POST", &path, &body).answer().unwrap();
    assert_eq!(text(Format::Messages, &got, true), "from the file");

    assert_eq!(control(address, "POST", "/__script", "{\"turns\": 3}").status, 400);
    assert_eq!(
        control(
            address,
            "POST",
            "/__script",
            r#"{"turns": [{"text": "new", "fault": "hang"}]}"#
        )
        .status,
        200
    );
    let sent = send(address, "POST", &path, &body);
    fleet_testkit::wait_until(DEADLINE, "the second request in the log", || {
        let log = control(address, "GET", "/__log", "").json();
        (log.as_array().unwrap().len() == 2).then_some(())
    });
    control(address, "POST", "/__release", "");
    assert_eq!(text(Format::Messages, &sent.answer().unwrap(), true), "new");

    running.signal(nix::sys::signal::Signal::SIGTERM);
    let _ = running.wait(DEADLINE).success();
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let requests = read_model_log(&log);
    assert_eq!(requests.len(), 2);
    assert!(
        requests
            .iter()
            .all(|request| request.prompt() == "go" && request.end.is_some())
    );
}

#[test]
fn a_script_with_a_mistake_is_refused() {
    let env = TestEnv::new();
    let script = env.home().join("script.json");
    std::fs::write(&script, r#"{"tuns": []}"#).unwrap();
    let done = Cmd::new(binary("fleet-model"), env.home())
        .arg("--script")
        .arg(&script)
        .output()
        .fails(1);
    assert!(done.stderr.contains("tuns"), "{done}");
}

#[test]
fn the_examples_of_the_page_are_scripts() {
    let page = include_str!("../../../../docs/model-endpoint.md");
    let examples: Vec<&str> = page
        .split("```json\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(examples.len() >= 2, "{examples:?}");
    for example in examples {
        Script::from_json(example).unwrap_or_else(|error| panic!("{error}: {example}"));
    }
}

#[test]
fn an_endpoint_can_have_a_file_for_its_log() {
    let env = TestEnv::new();
    let log = env.home().join("log.jsonl");
    let options = Options {
        log: Some(Path::new(&log)),
        ..Options::default()
    };
    let server = ModelServer::open(options).unwrap();
    ask(&server, Format::Gemini, "say a", false).unwrap();
    assert_eq!(read_model_log(&log), server.requests());
}
