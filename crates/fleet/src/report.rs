//! Hands on what an agent program tells of itself, to the supervisor of the agent that it runs as.
//!
//! This is run by hooks and notifiers of other programs, which wait for it and read what it prints. So it prints nothing,
//! is over in two seconds, and never fails: whoever tells must not be disturbed by nobody's listening.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use fleet_host::harness::heard::MAX_EVENT;
use fleet_host::supervise::client::Client;
use serde_json::Value;

/// All that it may take.
const PATIENCE: Duration = Duration::from_millis(1800);

/// Enters the program: the harness's name, then the event as the last argument, else on standard input.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let (done, over) = mpsc::channel();
    // Standard input may never end and the socket may never answer; when this process ends, so does the thread.
    std::thread::spawn(move || {
        hand_on(&args);
        let _ = done.send(());
    });
    let _ = over.recv_timeout(PATIENCE);
    ExitCode::SUCCESS
}

fn hand_on(args: &[OsString]) -> Option<()> {
    let (name, rest) = args.split_first()?;
    let event = match rest.last() {
        Some(event) => event.to_str()?.as_bytes().to_vec(),
        None => {
            let mut event = Vec::new();
            let limit = MAX_EVENT as u64 + 1;
            std::io::stdin().take(limit).read_to_end(&mut event).ok()?;
            event
        }
    };
    if event.len() > MAX_EVENT {
        return None;
    }
    let event: Value = serde_json::from_slice(&event).ok()?;
    #[expect(clippy::disallowed_methods, reason = "entered before there is a surface")]
    let socket = std::env::var("FLEET_SOCKET").ok()?;
    let mut client = Client::connect(Path::new(&socket)).ok()?;
    client.report(name.to_str()?, event, PATIENCE).ok()
}
