//! Finding runs: by the fleet root, by what is in it, or by name.
//!
//! A fleet root that was launched has a file [`MARK`] with the run's id, so that a root that was moved is still the same
//! run, and another folder at its old place is not.

pub mod branches;
pub mod view;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::budget::{Cap, Scope};
use fleet_core::name::word;
use fleet_core::pipeline::{self, Pipeline};
use fleet_core::plan::{self, Plan, Shape};
use fleet_core::run::record::Run;
use fleet_core::{Error, Result};
use fleet_host::supervise::driver::{self, Driver};

use crate::app::App;
use crate::caller::Caller;

/// The file in a fleet root that names its run.
pub const MARK: &str = ".fleet-run";

/// The id that the fleet root at `root` names, if it was launched.
pub fn mark(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(MARK)).ok()?;
    Some(text.trim().to_owned()).filter(|id| fleet_core::id::AgentId::parse(id).is_some())
}

/// Whether the fleet root of `run` is where it was.
pub fn is_in_place(run: &Run) -> bool {
    mark(&run.root).as_deref() == Some(run.id.as_str())
}

/// The run of the fleet root at `root`; none where it was never launched, or is a copy of one that was.
pub fn of_root(app: &App, root: &Path) -> Result<Option<Run>> {
    let Some(id) = mark(root) else { return Ok(None) };
    let Some(run) = app.store()?.run(&id)? else {
        return Ok(None);
    };
    let is_copy = run.root != root && is_in_place(&run);
    Ok((!is_copy).then_some(run))
}

/// The run that `target` means: a fleet root, its fleet.json, an id, or a name. Without one, the fleet root that
/// `caller` stands in.
pub fn find(app: &App, caller: &Caller, target: Option<&str>) -> Result<Run> {
    let Some(target) = target else {
        let here = caller.cwd.ancestors().find(|folder| folder.join(MARK).is_file());
        let here = here.ok_or_else(|| {
            Error::usage("no run is named").hint("name its fleet root; to see all runs: `fleet status`")
        })?;
        return of_root(app, &real(here))?.ok_or_else(|| never_launched(here));
    };
    if let Some(run) = try_find(app, caller, target)? {
        return Ok(run);
    }
    let path = caller.cwd.join(target);
    if path.exists() {
        return Err(never_launched(&path));
    }
    let names: Vec<String> = app.store()?.runs()?.into_iter().map(|run| run.name).collect();
    let error = Error::not_found(format!("there is no run `{target}`"));
    Err(
        match fleet_core::nearest::nearest(target, names.iter().map(String::as_str), 1).first() {
            Some(near) => error.hint(format!("did you mean `{near}`? To see all runs: `fleet status`")),
            None => error.hint("name a fleet root; to see all runs: `fleet status`"),
        },
    )
}

/// The same; none where `target` means no run.
pub fn try_find(app: &App, caller: &Caller, target: &str) -> Result<Option<Run>> {
    let path = caller.cwd.join(target);
    let root = match path.file_name().is_some_and(|name| name == crate::plan::FILE) && path.is_file() {
        true => path.parent().map(Path::to_owned).unwrap_or(path),
        false => path,
    };
    if root.is_dir()
        && let Some(run) = of_root(app, &real(&root))?
    {
        return Ok(Some(run));
    }
    let runs = app.store()?.runs()?;
    if let Some(run) = runs.iter().find(|run| run.id == target || run.root == root) {
        return Ok(Some(run.clone()));
    }
    // Newest first; one that goes on is meant before one that is over.
    let mut named: Vec<Run> = runs.into_iter().filter(|run| run.name == target).collect();
    named.sort_by_key(|run| run.finish.is_some());
    let open = named.iter().filter(|run| run.finish.is_none()).count();
    if open > 1 {
        let roots: Vec<String> = named
            .iter()
            .take(open)
            .map(|run| run.root.display().to_string())
            .collect();
        return Err(
            Error::usage(format!("`{target}` names {open} runs: {}", roots.join(", ")))
                .hint("name one of them by its fleet root"),
        );
    }
    Ok(named.into_iter().next())
}

/// The plan of `run`, as it was last launched, with the budgets of its workers as they were raised since.
pub fn plan_of(app: &App, run: &Run) -> Result<Plan> {
    if run.plan_type == pipeline::TYPE {
        return Ok(Pipeline::from_text(&run.text)?.into_plan());
    }
    let mut plan = plan::read(&run.text).plan().ok_or_else(|| {
        Error::internal(format!("the recorded plan of `{}` cannot be read", run.name)).hint(format!(
            "launch it again: `fleet launch {}`",
            word(&run.root.to_string_lossy())
        ))
    })?;
    raise(app, run, &mut plan)?;
    Ok(plan)
}

/// Lets the budgets of workers be as high as somebody has raised them.
pub fn raise(app: &App, run: &Run, plan: &mut Plan) -> Result<()> {
    let before = Scope::Worker(run.id.clone(), String::new()).to_string();
    for (scope, cap) in app.store()?.caps()? {
        let Some(worker) = scope.strip_prefix(&before) else {
            continue;
        };
        match (&mut plan.shape, plan.workers.iter_mut().find(|each| each.id == worker)) {
            (Shape::Autoresearch(research), _) => research.budget = research.budget.max(cap.ceiling),
            (_, Some(worker)) => worker.budget = worker.budget.max(cap.ceiling),
            (_, None) => {}
        }
    }
    Ok(())
}

/// What somebody allows single rounds of the run `id` to spend.
pub fn iterations(app: &App, id: &str) -> Result<BTreeMap<u32, Cap>> {
    let before = format!("iteration:{id}:");
    let caps = app.store()?.caps()?.into_iter();
    let own = caps.filter_map(|(scope, cap)| Some((scope.strip_prefix(&before)?.parse().ok()?, cap)));
    Ok(own.collect())
}

/// The place of the worker that somebody calls `worker`.
pub fn place_of(run: &Run, plan: &Plan, worker: &str) -> Result<usize> {
    plan.place_of(worker).ok_or_else(|| {
        let ids: Vec<&str> = (0..plan.places()).map(|place| plan.worker_id(place)).collect();
        let error = Error::not_found(format!("`{}` has no worker `{worker}`", run.name));
        match fleet_core::nearest::nearest(worker, ids.iter().copied(), 1).first() {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("its workers are {}", ids.join(", "))),
        }
    })
}

/// The command that goes on with a run of this type that is over.
pub fn again(plan_type: &str, name: &str, root: &Path) -> String {
    match plan_type == pipeline::TYPE {
        true => format!("fleet run --job {}", word(name)),
        false => format!("fleet launch {}", word(&root.to_string_lossy())),
    }
}

/// How a driver of `run` is started in the environment of `caller`.
pub fn driver(app: &App, caller: &Caller, run: &str) -> Result<Driver> {
    const OWN: [&str; 10] = [
        "FLEET_AGENT",
        "FLEET_BRANCH",
        "FLEET_SOCKET",
        "FLEET_PORT_BASE",
        "FLEET_ROLE",
        "FLEET_ROOT",
        "WORKER_ID",
        "WORKER_OUTPUT_DIR",
        "WORKER_BRANCH",
        "FLEET_HOME",
    ];
    let mut env: Vec<(String, String)> = caller
        .env
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    env.push(("FLEET_HOME".to_owned(), app.home.root().display().to_string()));
    let folder = app.home.run_dir(run);
    fleet_host::files::create_private_dir("drive.folder", &folder)?;
    Ok(Driver {
        run: run.to_owned(),
        lock: app.home.run_lock(run),
        log: folder.join("driver.log"),
        env,
    })
}

/// Tells the driver of `run` that something has changed, and starts one if there is none.
pub fn wake(app: &App, caller: &Caller, run: &str) -> Result<()> {
    knock(app, run)?;
    driver(app, caller, run)?.start()
}

/// Has the driver of `run`, if there is one, look at it anew.
pub(crate) fn knock(app: &App, run: &str) -> Result<()> {
    let socket = app.runtime()?.run_socket(run);
    let _ = std::os::unix::net::UnixStream::connect(socket);
    Ok(())
}

/// Whether somebody drives `run`.
pub fn is_driven(app: &App, run: &str) -> bool {
    driver::is_held(&app.home.run_lock(run))
}

fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn never_launched(path: &Path) -> Error {
    Error::not_found(format!("{} was never launched", path.display()))
        .hint(format!("launch it: `fleet launch {}`", word(&path.to_string_lossy())))
}
