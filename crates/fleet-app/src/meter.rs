//! The meter: which agents reach their services through it, and the process that is it.
//!
//! The process knows nothing of its own. Whether a request may go on, where to, and what it comes to, the agent's
//! supervisor says; the account goes into its journal, and into the store at once, so that a ceiling of the day counts it.
//! Where the supervisor has gone meanwhile, the account goes into the store alone.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet_core::agent::Agent;
use fleet_core::budget::Scope;
use fleet_core::id::{AgentId, hex};
use fleet_core::meter::Limited;
use fleet_core::spend::{self, Meter as Counter, Spend};
use fleet_core::usage::Tokens;
use fleet_core::{Error, Kind, Result, Time, fault};
use fleet_host::files;
use fleet_host::harness::redirect::Redirect;
use fleet_host::harness::{BUILTIN, Harness};
use fleet_host::lock::Lock;
use fleet_host::supervise::client::Client;
use fleet_host::supervise::meter::{Answer, Ceiling, Meter, Metered, Reply, Report, Request, leave};
use fleet_net::meter::{Admission, Ask, Ledger, Meter as Proxy, Trust, Used};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::app::App;
use crate::caller::Caller;
use crate::config::{Config, MeterChoice};
use crate::reporting;

/// What to do where a program cannot be pointed at the meter.
pub(crate) const WITHOUT: &str = "count what it uses from what it tells: `export FLEET_METER=transcript`";

/// So long it waits for the first supervisor.
const FIRST: Duration = Duration::from_secs(10);
/// So long requests that are open when the last supervisor has gone may take to be settled.
const LAST: Duration = Duration::from_secs(5);
/// The lock of who begins or ends.
const TURN: &str = "turn";
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What a launch through the meter adds.
pub(crate) struct Prepared {
    /// For the supervisor.
    pub(crate) metered: Metered,
    /// For the program.
    pub(crate) redirect: Redirect,
}

/// What counts what an agent uses.
pub(crate) enum Counting {
    /// What its program tells.
    Transcript,
    /// The same, because the meter that should count could not be started: why.
    Missed(String),
    /// The proxy.
    Proxy(Prepared),
}

/// What counts what the program of `harness` will use, which is about to be started with `argv` and `env`. Where it is the
/// proxy, the meter runs then.
///
/// # Errors
/// Only where the settings want the proxy. `Unavailable`: the program cannot be pointed at it. `Conflict`: its port is
/// taken.
pub(crate) fn prepare(
    app: &App,
    config: &Config,
    agent: &Agent,
    harness: &Harness,
    argv: &[String],
    env: &[(String, String)],
) -> Result<Counting> {
    let is_ours = BUILTIN.contains(&harness.name.as_str()) && !config.harness.contains_key(&harness.name);
    let is_wanted = match config.meter {
        MeterChoice::Transcript => false,
        MeterChoice::Auto => agent.headless,
        MeterChoice::Proxy => true,
    };
    if !is_wanted || !is_ours {
        return Ok(Counting::Transcript);
    }
    let try_at = |base: &str| reporting::redirect(app, config, agent, harness, argv, env, base);
    // Before anything is started.
    let pointed = try_at("http://127.0.0.1:1");
    let is_auto = config.meter == MeterChoice::Auto;
    match (pointed.redirect, pointed.unasked) {
        (Err(_), _) | (Ok(_), Some(_)) if is_auto => return Ok(Counting::Transcript),
        (Err(why), _) => return Err(cannot(&harness.name, &why)),
        (Ok(_), _) => {}
    }
    let meter = meter(app, env)?;
    let port = match meter.start() {
        // The work is worth more than an exact account of it.
        Err(error) if is_auto => return Ok(Counting::Missed(error.message)),
        other => other?,
    };
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(|error| Error::internal(format!("no random numbers: {error}")))?;
    let token = hex(&secret);
    let base = format!("http://127.0.0.1:{port}/{}/{token}", agent.id);
    let redirect = try_at(&base).redirect.map_err(|why| cannot(&harness.name, &why))?;
    for upstream in redirect.routes.values() {
        fleet_net::meter::check_upstream(upstream)?;
    }
    for (path, text) in &redirect.files {
        files::write_cache("meter.redirect", path, text.as_bytes(), 0o600)?;
    }
    Ok(Counting::Proxy(Prepared {
        metered: Metered {
            token,
            routes: redirect.routes.clone(),
            meter,
        },
        redirect,
    }))
}

/// What would count for a program without a terminal.
pub(crate) struct Expected {
    /// Whether the proxy does.
    pub(crate) proxy: bool,
    /// Why it does not; with `proxy` wanted, why such an agent is not started.
    pub(crate) why: Option<String>,
}

/// What would count what the program of `harness` uses, started by `caller` where it stands and without a terminal.
pub(crate) fn expected(app: &App, caller: &Caller, config: &Config, harness: &Harness) -> Expected {
    let transcript = |why: Option<String>| Expected { proxy: false, why };
    if config.meter == MeterChoice::Transcript {
        return transcript(None);
    }
    let pointed = reporting::redirect_of_caller(app, caller, config, harness);
    let unasked = pointed.unasked.filter(|_| config.meter == MeterChoice::Auto);
    match pointed.redirect.err().or(unasked) {
        Some(why) => transcript(Some(why)),
        None => Expected { proxy: true, why: None },
    }
}

/// Why the meter could not be started now; none where it can, or runs.
pub(crate) fn trouble(app: &App) -> Option<Error> {
    let folder = app.home.meter();
    let port = known_port(&folder).ok().flatten()?;
    if Lock::is_held(&folder.join("lock")) {
        return None;
    }
    let taken_by_other = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err();
    taken_by_other.then(|| taken(&folder, port))
}

fn cannot(name: &str, why: &str) -> Error {
    Error::unavailable(format!("`{name}` cannot be pointed at the meter: {why}")).hint(WITHOUT)
}

/// How the meter of this fleet is started in the environment `env`.
fn meter(app: &App, env: &[(String, String)]) -> Result<Meter> {
    const WANTED: [&str; 6] = [
        "PATH",
        "HOME",
        "XDG_RUNTIME_DIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "TMPDIR",
    ];
    let folder = app.home.meter();
    files::create_private_dir("meter.folder", &folder)?;
    let mut own: Vec<(String, String)> = env
        .iter()
        .filter(|(name, _)| WANTED.contains(&name.as_str()))
        .cloned()
        .collect();
    own.push(("FLEET_HOME".to_owned(), app.home.root().display().to_string()));
    Ok(Meter {
        socket: app.runtime()?.meter_socket(),
        log: folder.join("log"),
        env: own,
    })
}

/// Is the meter of this fleet, until no supervisor holds on to it. Returns at once in the process that was started: what
/// serves is its child.
///
/// # Errors
/// What can only be said to the log: whoever started it was answered before.
pub fn serve(app: App) -> Result<()> {
    let begun = begin(&app);
    let report = match &begun {
        Ok((port, _)) => Report::Serves(*port),
        Err(error) => Report::Failed(error.clone()),
    };
    if !leave(&report) {
        return Ok(());
    }
    let Ok((_, Some(begun))) = begun else { return Ok(()) };
    let app = Arc::new(app);
    let books = Arc::new(Books {
        app: Arc::clone(&app),
        clients: Mutex::default(),
    });
    let proxy = Proxy::start(begun.proxy, begun.trust, books)?;
    let mut links = Vec::new();
    loop {
        wait(&begun.supervisors, &proxy, &mut links)?;
        // Nobody finds a meter that is about to end: who comes now is still heard, or starts the next one.
        let _turn = Lock::take(&app.home.meter().join(TURN))?;
        match begun.supervisors.accept() {
            Ok((link, _)) => links.push(link),
            Err(_) => {
                let _ = files::remove_file("meter.socket", &app.runtime()?.meter_socket());
                drop(begun.lock);
                return Ok(());
            }
        }
    }
}

/// What the meter has when it begins.
struct Begun {
    lock: Lock,
    trust: Trust,
    proxy: TcpListener,
    supervisors: UnixListener,
}

/// The port, and what it takes to serve it; none where another process does.
fn begin(app: &App) -> Result<(u16, Option<Begun>)> {
    let folder = app.home.meter();
    files::create_private_dir("meter.folder", &folder)?;
    // Who comes second finds all in place.
    let _turn = Lock::take(&folder.join(TURN))?;
    let known = known_port(&folder)?;
    let Some(lock) = Lock::try_take(&folder.join("lock"))? else {
        let port = known.ok_or_else(|| Error::internal("the meter runs and has no port"))?;
        return Ok((port, None));
    };
    // Who starts it hears of it: without them no service can be reached.
    let trust = Trust::of_this_machine()?;
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, known.unwrap_or(0))).map_err(|error| match known {
        Some(port) if error.kind() == std::io::ErrorKind::AddrInUse => taken(&folder, port),
        _ => Error::unavailable(format!("the meter gets no port: {error}")),
    })?;
    let port = proxy
        .local_addr()
        .map_err(|error| Error::unavailable(format!("the meter gets no port: {error}")))?
        .port();
    if known.is_none() {
        files::write_atomic("meter.port", &folder.join("port"), port.to_string().as_bytes(), 0o600)?;
    }
    let socket = app.runtime()?.meter_socket();
    files::remove_file("meter.old-socket", &socket)?;
    let supervisors = fault::guard("meter.listen", || UnixListener::bind(&socket))
        .map_err(|error| files::io_error("listen on", &socket, &error))?;
    supervisors
        .set_nonblocking(true)
        .map_err(|error| Error::internal(format!("socket: {error}")))?;
    Ok((
        port,
        Some(Begun {
            lock,
            trust,
            proxy,
            supervisors,
        }),
    ))
}

/// The port that programs were told of.
fn known_port(folder: &Path) -> Result<Option<u16>> {
    let path = folder.join("port");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok().filter(|port| *port > 0)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(files::io_error("read", &path, &error)),
    }
}

fn taken(folder: &Path, port: u16) -> Error {
    let file: PathBuf = folder.join("port");
    let word = fleet_core::name::word(&file.to_string_lossy());
    Error::conflict(format!("port {port} of the meter is taken by another process")).hint(format!(
        "end the process that listens there; or, when no agent uses the meter, let it choose another: `rm {word}`"
    ))
}

/// Waits until no supervisor holds on to the meter, and the last requests are settled.
fn wait(listener: &UnixListener, proxy: &Proxy, links: &mut Vec<UnixStream>) -> Result<()> {
    let mut served = !links.is_empty();
    let mut until = (!served).then(|| Instant::now() + FIRST);
    loop {
        let now = Instant::now();
        if until.is_some_and(|until| now >= until || served && proxy.connections() == 0) {
            return Ok(());
        }
        let step = if served { LOOK } else { FIRST };
        let left = until.map(|until| until.saturating_duration_since(now).min(step));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        });
        let mut fds = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        fds.extend(links.iter().map(|link| PollFd::new(link.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(Error::internal(format!("poll: {error}"))),
        }
        let mut came = fds
            .iter()
            .map(|fd| fd.any().unwrap_or(false))
            .collect::<Vec<_>>()
            .into_iter();
        drop(fds);
        let called = came.next().unwrap_or(false);
        // Supervisors say nothing: what can be read is the end.
        links.retain(|_| !came.next().unwrap_or(false));
        while called && let Ok((link, _)) = listener.accept() {
            links.push(link);
        }
        served |= !links.is_empty();
        until = match links.is_empty() {
            true if served => Some(until.unwrap_or_else(|| Instant::now() + LAST)),
            true => until,
            false => None,
        };
    }
}

/// What supervisors and the store know.
struct Books {
    app: Arc<App>,
    /// Connections to supervisors that nobody uses just now.
    clients: Mutex<HashMap<AgentId, Vec<Client>>>,
}

impl Books {
    /// Asks or tells the supervisor of `agent`.
    fn say(&self, agent: &AgentId, request: &Request) -> Result<Answer> {
        let idle = self.clients().get_mut(agent).and_then(Vec::pop);
        if let Some(mut client) = idle
            && let Ok(answer) = client.meter(request)
        {
            self.clients().entry(agent.clone()).or_default().push(client);
            return Ok(answer);
        }
        let made = Client::connect(&self.app.runtime()?.socket(agent));
        let mut client = match made {
            Ok(client) => client,
            Err(error) => {
                self.clients().remove(agent);
                return Err(error);
            }
        };
        let answer = client.meter(request)?;
        self.clients().entry(agent.clone()).or_default().push(client);
        Ok(answer)
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<AgentId, Vec<Client>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the account in the store, before the program can ask again.
    fn add(&self, agent: &AgentId, spend: Spend) {
        let store = self.app.store();
        let added = store.and_then(|store| store.spend_add("meter.spend", agent, &[spend], false));
        if let Err(error) = added {
            // It is in the agent's journal too, unless its supervisor has gone.
            let _ = writeln!(std::io::stderr(), "{error}");
        }
    }

    /// How the hard ceilings of all agents stand.
    fn ceiling(&self) -> Result<Ceiling> {
        let store = self.app.store()?;
        let mut ceiling = Ceiling::None;
        for scope in [Scope::Day, Scope::Week] {
            let Some(room) = store.room(&scope, self.app.now())?.filter(|room| room.cap.hard) else {
                continue;
            };
            if room.spent >= room.cap.ceiling {
                return Ok(Ceiling::UsedUp(format!(
                    "fleet refuses another request: {} of the {scope}'s {} are spent; \
                     `fleet budget raise {scope} USD` allows more",
                    room.spent, room.cap.ceiling
                )));
            }
            ceiling = Ceiling::Room;
        }
        Ok(ceiling)
    }

    /// The account of a request whose supervisor has gone.
    fn priced(&self, number: u64, reply: Reply) -> Result<Spend> {
        let at = self.app.now();
        let names = (reply.model.as_deref(), reply.asked.as_deref());
        let (cost, certainty) = spend::priced_request(&self.app.prices()?, names, at, reply.tokens, reply.whole);
        Ok(Spend {
            meter: Counter::Proxy,
            seq: number,
            at,
            model: reply.model.or(reply.asked),
            tokens: reply.tokens,
            cost,
            certainty,
            reported: None,
            task: None,
        })
    }
}

impl Ledger for Books {
    fn admit(&self, ask: &Ask<'_>) -> Admission {
        let Some(agent) = AgentId::parse(ask.agent) else {
            return Admission::Stranger;
        };
        let ceiling = match ask.costs.then(|| self.ceiling()).transpose() {
            Ok(ceiling) => ceiling.unwrap_or_default(),
            Err(error) => return Admission::Unavailable(error.message),
        };
        let request = Request::Admit {
            token: ask.token.to_owned(),
            route: ask.route.to_owned(),
            costs: ask.costs,
            model: ask.model.map(str::to_owned),
            ceiling,
        };
        match self.say(&agent, &request) {
            Ok(Answer::Pass { upstream, number }) => Admission::Pass { upstream, number },
            Ok(Answer::Refused(text)) => Admission::Refused(text),
            Ok(Answer::Stranger | Answer::Noted { .. }) => Admission::Stranger,
            // Nobody owns the program any more.
            Err(error) if error.kind == Kind::Unavailable => Admission::Stranger,
            Err(error) => Admission::Unavailable(error.message),
        }
    }

    fn sent(&self, agent: &str, number: u64, model: Option<&str>, expected: Tokens) {
        if let Some(agent) = AgentId::parse(agent) {
            let sent = Request::Sent {
                number,
                model: model.map(str::to_owned),
                expected,
            };
            let _ = self.say(&agent, &sent);
        }
    }

    fn unanswered(&self, agent: &str, why: &str) {
        if let Some(agent) = AgentId::parse(agent) {
            let about = why.to_owned();
            let _ = self.say(&agent, &Request::Unanswered { about });
        }
    }

    fn ended(&self, agent: &str, number: u64, used: Option<Used>) {
        let Some(agent) = AgentId::parse(agent) else { return };
        let reply = used.map(|used| Reply {
            asked: used.asked,
            model: used.reading.model,
            tokens: used.reading.tokens,
            whole: used.reading.whole,
        });
        let told = Request::Ended {
            number,
            reply: reply.clone(),
        };
        match (self.say(&agent, &told), reply) {
            (Ok(Answer::Noted { spend: Some(spend) }), _) => self.add(&agent, spend),
            (Ok(_), _) | (Err(_), None) => {}
            (Err(_), Some(reply)) => {
                if let Ok(spend) = self.priced(number, reply) {
                    self.add(&agent, spend);
                }
            }
        }
    }

    fn limited(&self, agent: &str, limited: Limited) {
        if let Some(agent) = AgentId::parse(agent) {
            let _ = self.say(&agent, &Request::Limited { until: limited.until });
        }
    }

    fn now(&self) -> Time {
        self.app.now()
    }
}
