//! Requests: each is recorded before it is carried out, and carried out once.

use std::path::PathBuf;

use fleet_core::{Error, Result};
use fleet_host::process;
use fleet_store::{Begun, Outcome, Owner};
use serde_json::Value;

use crate::app::App;
use crate::caller::Caller;
use crate::repair;

/// Records the intent of a request. Gives the recorded answer when it was carried out before.
pub(crate) fn begin(app: &App, request: &str, verb: &str, args: &Value) -> Result<Option<Value>> {
    let store = app.store()?;
    let own = owner();
    let intent = match store.begin("dispatch.begin", request, verb, args, app.now(), &own)? {
        Begun::New => return Ok(None),
        Begun::Done(outcome) => return outcome.map(Some),
        Begun::Open(intent) => intent,
    };
    let before = process::Identity {
        boot: intent.owner.boot.clone(),
        pid: intent.owner.pid,
        start: intent.owner.start,
    };
    let cut_off = !process::is_running(&before);
    if cut_off && store.take_over("dispatch.take-over", request, &intent.owner, &own)? {
        // What the one that was cut off has left half done is completed or undone first.
        repair::repair(app, &Caller::new(PathBuf::from("/"), Default::default()))?;
        return Ok(None);
    }
    Err(Error::conflict(format!("request `{request}` is being carried out"))
        .hint("wait for it, or use another request id"))
}

/// Records how a request ended. That this fails does not undo what was done. `named`: its id was the caller's choice.
pub(crate) fn finish(app: &App, request: &str, outcome: &Outcome, named: bool) {
    if let Ok(store) = app.store() {
        let _ = store.finish("dispatch.finish", request, outcome, named);
    }
}

/// This process, as the owner of a request.
fn owner() -> Owner {
    let own = process::Identity::own();
    Owner {
        pid: own.pid,
        start: own.start,
        boot: own.boot,
    }
}
