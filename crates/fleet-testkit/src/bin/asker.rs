//! A stand-in for Claude Code without a terminal that asks its service, for tests of what stands between the two.
//!
//! It is started under the name `claude`, finds its service in `ANTHROPIC_BASE_URL`, and does what the lines of its prompt
//! say: `ask TEXT` is one streamed request with TEXT as its prompt, and anything else is passed over. Like the real
//! one it tries again where nobody answers or a stream is cut, gives up at a refusal, and ends with an account of what it
//! was told. What a refusal said is the result.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// How often a request is tried at the most.
const TRIES: u32 = 300;
/// What lies between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// What it asks for without `--model`.
const MODEL: &str = "claude-opus-4-8";

/// The answer of a service.
struct Answer {
    status: u16,
    body: String,
}

/// What the service told that was used.
#[derive(Default)]
struct Told {
    input: u64,
    cached: u64,
    cache_write: u64,
    output: u64,
}

fn main() -> ExitCode {
    match ask_all() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(99)
        }
    }
}

fn ask_all() -> io::Result<u8> {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1).cloned()
    };
    let model = option("--model").unwrap_or_else(|| MODEL.to_owned());
    let session = option("--session-id")
        .or_else(|| option("--resume"))
        .unwrap_or_default();
    let prompt = io::read_to_string(io::stdin())?;
    say(&json!({"type": "system", "subtype": "init", "session_id": session, "model": model}))?;
    let base = std::env::var_os("ANTHROPIC_BASE_URL").and_then(|base| base.into_string().ok());
    let base = base.ok_or_else(|| io::Error::other("ANTHROPIC_BASE_URL is not set"))?;
    let mut told = Told::default();
    for text in prompt.lines().filter_map(|line| line.strip_prefix("ask ")) {
        let body = json!({
            "model": model, "max_tokens": 100, "stream": true,
            "messages": [{"role": "user", "content": text}],
            "tools": [{"name": "Bash", "input_schema": {"properties": {"command": {}}}}],
        });
        let answer = ask(&base, &body.to_string())?;
        if answer.status != 200 {
            let error: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let said = error["error"]["message"].as_str().unwrap_or(&answer.body);
            say(&result(&model, &session, &told, said, Some(answer.status)))?;
            return Ok(1);
        }
        for event in answer.body.lines().filter_map(|line| line.strip_prefix("data: ")) {
            told.take(&serde_json::from_str(event).unwrap_or_default());
        }
    }
    say(&result(&model, &session, &told, "done", None))?;
    Ok(0)
}

/// Asks until there is a whole answer.
fn ask(base: &str, body: &str) -> io::Result<Answer> {
    let mut last = io::Error::other("never asked");
    for _ in 0..TRIES {
        match post(base, body) {
            Ok(answer) if answer.status < 500 && answer.status != 429 => return Ok(answer),
            Ok(answer) => last = io::Error::other(format!("status {}", answer.status)),
            Err(error) => last = error,
        }
        thread::sleep(PAUSE);
    }
    Err(last)
}

/// One request; an error where its answer does not come to its end.
fn post(base: &str, body: &str) -> io::Result<Answer> {
    let rest = base
        .strip_prefix("http://")
        .ok_or_else(|| io::Error::other("no plain HTTP"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    let mut stream = TcpStream::connect(host)?;
    write!(
        stream,
        "POST {slash}{path}/v1/messages HTTP/1.1\r\nhost: {host}\r\nx-api-key: made-up\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no head"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    if chunked && !body.ends_with("0\r\n\r\n") {
        return Err(io::Error::other("the answer was cut"));
    }
    Ok(Answer {
        status: status.ok_or_else(|| io::Error::other("no status"))?,
        body: if chunked { unchunked(body) } else { body.to_owned() },
    })
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, behind)) = rest.split_once("\r\n")
        && let Ok(size) = usize::from_str_radix(size.trim(), 16)
        && let Some(chunk) = behind.get(..size)
    {
        body.push_str(chunk);
        rest = behind[size..].trim_start_matches("\r\n");
    }
    body
}

impl Told {
    fn take(&mut self, event: &Value) {
        let start = &event["message"]["usage"];
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        self.input += number(&start["input_tokens"]);
        self.cached += number(&start["cache_read_input_tokens"]);
        self.cache_write += number(&start["cache_creation_input_tokens"]);
        self.output += number(&event["usage"]["output_tokens"]);
    }
}

fn result(model: &str, session: &str, told: &Told, said: &str, status: Option<u16>) -> Value {
    json!({
        "type": "result", "subtype": "success", "is_error": status.is_some(), "api_error_status": status, "result": said,
        "session_id": session, "num_turns": 1, "total_cost_usd": 0.5,
        "usage": {"input_tokens": told.input, "output_tokens": told.output},
        "modelUsage": {model: {
            "inputTokens": told.input, "outputTokens": told.output, "cacheReadInputTokens": told.cached,
            "cacheCreationInputTokens": told.cache_write, "costUSD": 0.5,
        }},
    })
}

fn say(event: &Value) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{event}")?;
    out.flush()
}
