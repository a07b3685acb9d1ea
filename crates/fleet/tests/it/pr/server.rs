//! A forge for tests: it keeps what is opened and commented, and answers as GitHub, Gitea and GitLab do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// A running server on a port of its own.
pub(super) struct Server {
    port: u16,
    kept: Arc<Mutex<Kept>>,
    stopped: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Kept {
    opened: Vec<Value>,
    comments: Vec<String>,
    /// The heads of all requests.
    heads: Vec<String>,
    refusal: Option<(u16, String)>,
}

impl Server {
    pub(super) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (inner, stop) = (kept.clone(), stopped.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // A client that went away is its own affair.
                let _ = stream.map(|stream| serve(stream, &inner));
            }
        });
        Server {
            port,
            kept,
            stopped,
            thread: Mutex::new(Some(thread)),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn opened(&self) -> Vec<Value> {
        self.kept.lock().expect("kept").opened.clone()
    }

    pub(super) fn comments(&self) -> Vec<String> {
        self.kept.lock().expect("kept").comments.clone()
    }

    /// Whether there were requests, and each had `text` in a header and not in its address.
    pub(super) fn all_had(&self, text: &str) -> bool {
        let heads = &self.kept.lock().expect("kept").heads;
        let good = |head: &String| {
            let (address, headers) = head.split_once('\n').unwrap_or((head, ""));
            headers.contains(text) && !address.contains(text)
        };
        !heads.is_empty() && heads.iter().all(good)
    }

    /// Answers everything with `status` and `message`; 0 for nothing of the kind.
    pub(super) fn refuse(&self, status: u16, message: &str) {
        self.kept.lock().expect("kept").refusal = (status != 0).then(|| (status, message.to_owned()));
    }

    /// Closes the port.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.lock().expect("the thread").take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Kept>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (status, answer) = {
        let mut kept = kept.lock().expect("kept");
        kept.heads.push(head.clone());
        answer(&mut kept, head.lines().next().unwrap_or_default(), &body)
    };
    let text = answer.to_string();
    let reply = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(reply.as_bytes())
}

fn answer(kept: &mut Kept, line: &str, body: &Value) -> (u16, Value) {
    if let Some((status, message)) = &kept.refusal {
        return (*status, json!({ "message": message }));
    }
    let mut words = line.split(' ');
    let (method, address) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    match (method, path) {
        ("GET", "/api/v3/repos/o/r/pulls") if query.contains("head=o:fix&") => (200, list(kept, github)),
        ("GET", "/api/v1/repos/o/r/pulls") if query.contains("state=open&") => (200, list(kept, github)),
        ("GET", "/api/v4/projects/o%2Fr/merge_requests") if query.contains("source_branch=fix&") => {
            (200, list(kept, gitlab))
        }
        ("POST", "/api/v3/repos/o/r/pulls" | "/api/v1/repos/o/r/pulls") => {
            kept.opened.push(body.clone());
            (201, github(body))
        }
        ("POST", "/api/v4/projects/o%2Fr/merge_requests") => {
            kept.opened.push(body.clone());
            (201, gitlab(body))
        }
        (_, "/api/v3/repos/o/r/issues/1/comments")
        | (_, "/api/v1/repos/o/r/issues/1/comments")
        | (_, "/api/v4/projects/o%2Fr/merge_requests/1/notes") => {
            if method == "POST" {
                kept.comments.push(body["body"].as_str().unwrap_or_default().to_owned());
                return (201, body.clone());
            }
            let shown = kept
                .comments
                .iter()
                .map(|text| json!({ "body": text.replace('\n', "\r\n") }));
            (200, Value::Array(shown.collect()))
        }
        _ => (404, json!({ "message": format!("no such call: {line}") })),
    }
}

/// One of another branch comes before, as lists have them.
fn list(kept: &Kept, each: fn(&Value) -> Value) -> Value {
    let other = json!({ "head": "other", "source_branch": "other" });
    Value::Array(std::iter::once(&other).chain(&kept.opened).map(each).collect())
}

fn github(opened: &Value) -> Value {
    let head = opened["head"].as_str().unwrap_or_default();
    let number = if head == "fix" { 1 } else { 99 };
    json!({
        "number": number,
        "html_url": format!("http://127.0.0.1/o/r/pull/{number}"),
        "head": { "ref": head, "repo": { "full_name": "O/r" } },
    })
}

fn gitlab(opened: &Value) -> Value {
    let branch = opened["source_branch"].as_str().unwrap_or_default();
    let number = if branch == "fix" { 1 } else { 99 };
    json!({
        "iid": number,
        "web_url": format!("http://127.0.0.1/o/r/-/merge_requests/{number}"),
        "source_branch": branch,
        "source_project_id": 5,
        "target_project_id": 5,
    })
}
