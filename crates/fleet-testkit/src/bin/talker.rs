//! A stand-in for Pi without a terminal (`--mode rpc`): takes commands as lines of JSON while its standard input is
//! open, and prints responses and events as Pi does.
//!
//! The first word of a prompt says what becomes of it: `hold` lasts until it is aborted or the file `release` is in the
//! current directory, `refuse` is refused, `mute` is never answered, `ask` has an extension ask a person, `retry` fails
//! once; anything else is answered. What it is told is appended to `$REPLAY_LOG`, a word and the rest a line.

use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// How often it looks for what a turn waits for.
const LOOK: Duration = Duration::from_millis(20);

/// What the turn waits for.
#[derive(Clone, Copy, PartialEq)]
enum Turn {
    None,
    Held,
    Asking,
    /// Looks that are left before it is tried again.
    Failed(u32),
}

fn main() -> io::Result<()> {
    let (send, commands) = channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let resumed = std::env::args().any(|arg| arg == "--session");
    log(if resumed { "resumed" } else { "started" }, "")?;
    let mut turn = Turn::None;
    while let Some(command) = next(&commands, turn) {
        match command {
            Some(line) => turn = take(&serde_json::from_str(&line)?, turn)?,
            None => turn = look(turn)?,
        }
    }
    log("end", "")
}

/// The next command, or nothing in a while; none when there will be no more.
fn next(commands: &Receiver<String>, turn: Turn) -> Option<Option<String>> {
    match turn {
        Turn::None | Turn::Asking => commands.recv().ok().map(Some),
        Turn::Held | Turn::Failed(_) => match commands.recv_timeout(LOOK) {
            Ok(line) => Some(Some(line)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        },
    }
}

fn look(turn: Turn) -> io::Result<Turn> {
    match turn {
        Turn::Held if Path::new("release").exists() => end("stop", "released"),
        Turn::Failed(0) => {
            print(&json!({ "type": "agent_start" }))?;
            end("stop", "the second try")
        }
        Turn::Failed(left) => Ok(Turn::Failed(left - 1)),
        other => Ok(other),
    }
}

fn take(command: &Value, turn: Turn) -> io::Result<Turn> {
    let text = |name: &str| command[name].as_str().unwrap_or_default();
    match text("type") {
        "prompt" => prompt(text("id"), text("message"), turn),
        "abort" => {
            log("abort", "")?;
            let turn = match turn {
                Turn::None => Turn::None,
                _ => end("aborted", "")?,
            };
            respond("", "abort", None, &Value::Null)?;
            Ok(turn)
        }
        "get_state" => {
            let state = json!({
                "isStreaming": matches!(turn, Turn::Held | Turn::Asking),
                "isCompacting": false,
                "sessionId": "c-1",
                "pendingMessageCount": 0,
            });
            respond(text("id"), "get_state", None, &state)?;
            Ok(turn)
        }
        "extension_ui_response" => {
            log("answer", &command["cancelled"].to_string())?;
            end("stop", "asked")
        }
        _ => Ok(turn),
    }
}

fn prompt(id: &str, text: &str, turn: Turn) -> io::Result<Turn> {
    log("prompt", text)?;
    if turn != Turn::None {
        respond(id, "prompt", Some("it works already"), &Value::Null)?;
        return Ok(turn);
    }
    match text.split(' ').next() {
        Some("refuse") => {
            respond(
                id,
                "prompt",
                Some("No API key found\nfor \u{1b}[31mscripted."),
                &Value::Null,
            )?;
            return Ok(Turn::None);
        }
        Some("mute") => return Ok(Turn::None),
        _ => {}
    }
    respond(id, "prompt", None, &Value::Null)?;
    print(&json!({ "type": "agent_start" }))?;
    match text.split(' ').next() {
        Some("hold") => Ok(Turn::Held),
        Some("ask") => {
            print(&json!({ "type": "extension_ui_request", "id": "u-1", "method": "confirm", "title": "Really?" }))?;
            Ok(Turn::Asking)
        }
        Some("retry") => {
            let _ = end("error", "")?;
            print(&json!({ "type": "auto_retry_start", "attempt": 1, "maxAttempts": 3, "errorMessage": "503 busy" }))?;
            Ok(Turn::Failed(10))
        }
        _ => end("stop", text),
    }
}

/// The end of the turn.
fn end(reason: &str, text: &str) -> io::Result<Turn> {
    let error = (reason == "error").then_some("503 busy");
    let content = json!([{ "type": "text", "text": text }]);
    let message = json!({ "role": "assistant", "content": content, "stopReason": reason, "errorMessage": error });
    print(&json!({ "type": "message_end", "message": message }))?;
    print(&json!({ "type": "agent_end", "messages": [] }))?;
    Ok(Turn::None)
}

fn respond(id: &str, command: &str, error: Option<&str>, data: &Value) -> io::Result<()> {
    let success = error.is_none();
    print(&json!({
        "id": id, "type": "response", "command": command, "success": success, "error": error, "data": data,
    }))
}

fn print(event: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(format!("{event}\n").as_bytes())?;
    out.flush()
}

fn log(word: &str, rest: &str) -> io::Result<()> {
    let path = std::env::var_os("REPLAY_LOG").ok_or_else(|| io::Error::other("REPLAY_LOG is not set"))?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{word} {rest}").trim_end().as_bytes())?;
    file.write_all(b"\n")
}
