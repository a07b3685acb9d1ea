//! The folder of one fleet (`FLEET_HOME`, by default `~/.ai_fleet`), and the short folder of its sockets.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use fleet_core::id::AgentId;
use fleet_core::{Error, Result};

use crate::files;
use crate::lock::Lock;

/// Where one fleet keeps everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// The folder of a fleet's sockets: short enough for the kernel, and ours alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir(PathBuf);

impl Home {
    /// The home at `root`, an absolute path. Nothing is made yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The home that a user with the home folder `user_home` has without `FLEET_HOME`.
    pub fn of_user(user_home: &Path) -> Self {
        Self::at(user_home.join(".ai_fleet"))
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The user's settings.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// The user's own prices.
    pub fn prices(&self) -> PathBuf {
        self.root.join("prices.toml")
    }

    /// The snapshot for scripts.
    pub fn state_json(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// The database.
    pub fn db(&self) -> PathBuf {
        self.root.join("fleet.db")
    }

    /// The folder of all agents' folders.
    pub fn agents(&self) -> PathBuf {
        self.root.join("agents")
    }

    /// The folder of one agent.
    pub fn agent_dir(&self, id: &AgentId) -> PathBuf {
        self.agents().join(id.as_str())
    }

    /// The lock that says whether the agent's supervisor lives.
    pub fn agent_lock(&self, id: &AgentId) -> PathBuf {
        self.agent_dir(id).join("lock")
    }

    /// What the meter keeps: its port, its locks, and what it could say nowhere else.
    pub fn meter(&self) -> PathBuf {
        self.root.join("meter")
    }

    /// The folder of one run of a plan.
    pub fn run_dir(&self, run: &str) -> PathBuf {
        self.root.join("runs").join(run)
    }

    /// The folder of the fleet roots of pipelines.
    pub fn pipelines(&self) -> PathBuf {
        self.root.join("pipelines")
    }

    /// The lock that says whether the run has a driver.
    pub fn run_lock(&self, run: &str) -> PathBuf {
        self.run_dir(run).join("lock")
    }

    /// The agent's journal of facts.
    pub fn journal(&self, id: &AgentId) -> PathBuf {
        self.agent_dir(id).join("journal")
    }

    /// The folder with the segments of the agent's output.
    pub fn output(&self, id: &AgentId) -> PathBuf {
        self.agent_dir(id).join("output")
    }

    /// The agent's first prompt.
    pub fn prompt(&self, id: &AgentId) -> PathBuf {
        self.agent_dir(id).join("prompt")
    }

    /// What git could not hold, kept until it is pruned.
    pub fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// The folder of lock files that belong to no agent.
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Where worktrees go unless the settings say otherwise.
    pub fn worktrees(&self) -> PathBuf {
        self.root.join("worktrees")
    }

    /// The worktrees in which results of merges are tried, while that goes on.
    pub fn merges(&self) -> PathBuf {
        self.root.join("merges")
    }

    /// fleet's tmux configuration.
    pub fn tmux_conf(&self) -> PathBuf {
        self.root.join("tmux.conf")
    }

    /// Processor time at the last listing, for [`crate::process::UsageCache`].
    pub fn usage_cache(&self) -> PathBuf {
        self.root.join("usage.json")
    }

    /// Sizes of what is in the trash, as last measured.
    pub fn trash_sizes(&self) -> PathBuf {
        self.root.join("trash.json")
    }

    /// What concerns the keys that fleet adds to users' own files.
    pub fn trust(&self) -> PathBuf {
        self.root.join("trust")
    }

    /// Which keys these are.
    pub fn trust_record(&self) -> PathBuf {
        self.trust().join("added.json")
    }

    /// The copy of `file` from before the first key was added.
    pub fn trust_backup(&self, file: &Path) -> PathBuf {
        let hash = files::digest(file.as_os_str().as_bytes());
        self.trust().join(format!("{}.before", &hash[..8]))
    }

    /// The versions of agent programs, as they last said.
    pub fn versions(&self) -> PathBuf {
        self.root.join("versions.json")
    }

    /// Makes the folders that are missing, for their owner only. Errors: a network file system, a read-only or
    /// a full one.
    pub fn prepare(&self) -> Result<()> {
        if let Some(kind) = files::network_file_system(&self.root) {
            let message = format!("{} is on {kind}, where locks cannot be trusted", self.root.display());
            return Err(Error::unavailable(message).hint("use a local disk: `export FLEET_HOME=/var/tmp/fleet`"));
        }
        for folder in [self.agents(), self.locks(), self.trash(), self.worktrees()] {
            files::create_private_dir("home.create-folder", &folder)?;
        }
        Ok(())
    }

    /// The folder of this fleet's sockets, made and checked. `runtime` is the caller's `XDG_RUNTIME_DIR`.
    ///
    /// A login shell has that variable and a cron job has not, yet both must find the same sockets. So the
    /// first choice is written to the file `runtime` in the home and holds as long as its folder can be used.
    pub fn runtime_dir(&self, runtime: Option<&Path>) -> Result<RuntimeDir> {
        if let Some(recorded) = self.recorded_runtime()
            && is_private_dir(&recorded)
        {
            return Ok(RuntimeDir(recorded));
        }
        files::create_private_dir("home.create-folder", &self.locks())?;
        let _alone = Lock::take(&self.locks().join("runtime"))?;
        if let Some(recorded) = self.recorded_runtime()
            && make_private_dir(&recorded).is_ok()
        {
            return Ok(RuntimeDir(recorded));
        }
        let chosen = self.choose_runtime(runtime)?;
        make_private_dir(&chosen)?;
        let bytes = chosen.as_os_str().as_bytes();
        files::write_atomic("home.write-runtime", &self.root.join("runtime"), bytes, 0o600)?;
        Ok(RuntimeDir(chosen))
    }

    fn recorded_runtime(&self) -> Option<PathBuf> {
        let bytes = fs::read(self.root.join("runtime")).ok()?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(&bytes));
        // A home that was copied or moved takes the file along, but not the right to its old folder.
        let inside = path.parent() == Some(&self.real_root());
        let hashed = path
            .file_name()
            .is_some_and(|name| name.as_bytes().ends_with(self.hash().as_bytes()));
        (path.is_absolute() && fits(&path) && (inside || hashed)).then_some(path)
    }

    fn choose_runtime(&self, runtime: Option<&Path>) -> Result<PathBuf> {
        let hash = self.hash();
        let of_login = runtime
            .filter(|dir| dir.is_absolute() && dir.is_dir())
            .map(|dir| dir.join(format!("fleet-{hash}")));
        let of_machine = PathBuf::from(format!("/tmp/fleet-{}-{hash}", nix::unistd::getuid()));
        [Some(self.real_root().join("run")), of_login, Some(of_machine)]
            .into_iter()
            .flatten()
            .find(|path| fits(path))
            .ok_or_else(|| {
                Error::unavailable(format!(
                    "no folder for sockets has a short enough path below {}",
                    self.root.display()
                ))
                .hint("choose a shorter home: `export FLEET_HOME=/var/tmp/fleet`")
            })
    }

    /// The home without links in its path: two ways to write it are one home.
    fn real_root(&self) -> PathBuf {
        fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone())
    }

    fn hash(&self) -> String {
        files::digest(self.real_root().as_os_str().as_bytes())[..8].to_owned()
    }
}

impl RuntimeDir {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The socket of an agent's supervisor.
    pub fn socket(&self, id: &AgentId) -> PathBuf {
        self.0.join(format!("{id}.sock"))
    }

    /// The socket by which the driver of a run is woken. A run's id is as long as an agent's.
    pub fn run_socket(&self, run: &str) -> PathBuf {
        self.0.join(format!("{run}.sock"))
    }

    /// The socket at which supervisors hold on to the meter.
    pub fn meter_socket(&self) -> PathBuf {
        self.0.join("meter.sock")
    }

    /// The socket of fleet's tmux server.
    pub fn tmux_socket(&self) -> PathBuf {
        self.0.join("tmux.sock")
    }
}

/// Whether every socket in `dir` has a path that fits into `sun_path` of unix(7); 104 bytes with the final zero
/// is the smallest among the systems fleet runs on.
fn fits(dir: &Path) -> bool {
    const LONGEST_NAME: usize = "/.sock".len() + AgentId::LENGTH;
    dir.as_os_str().len() + LONGEST_NAME < 104
}

fn make_private_dir(dir: &Path) -> Result<()> {
    let made = fleet_core::fault::guard("home.create-runtime", || fs::DirBuilder::new().mode(0o700).create(dir));
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(files::io_error("create", dir, &error)),
        _ if is_private_dir(dir) => Ok(()),
        _ => Err(
            Error::unavailable(format!("{} is not a private folder of yours", dir.display())).hint(format!(
                "see what it is, and remove it if it is nobody's: `ls -ld {}`",
                dir.display()
            )),
        ),
    }
}

/// A real folder (no link), owned by this user, closed to all others.
fn is_private_dir(dir: &Path) -> bool {
    let owner = nix::unistd::geteuid().as_raw();
    fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == owner && meta.mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn long_home(dir: &Path) -> Home {
        let home = Home::at(dir.join("a-long-name".repeat(9)));
        home.prepare().expect("prepared");
        home
    }

    #[test]
    fn prepare_makes_private_folders_and_may_be_repeated() {
        let dir = tempfile::tempdir().expect("dir");
        let home = Home::at(dir.path().join("home"));
        home.prepare().expect("first");
        home.prepare().expect("second");
        for folder in [
            home.root().to_owned(),
            home.agents(),
            home.locks(),
            home.trash(),
            home.worktrees(),
        ] {
            assert_eq!(
                fs::metadata(&folder).expect("made").permissions().mode() & 0o777,
                0o700,
                "{folder:?}"
            );
        }
        let made = fs::read_dir(home.root()).expect("the home").count();
        assert_eq!(made, 4, "and nothing that nobody uses");
    }

    #[test]
    fn a_home_on_a_network_file_system_is_refused_and_nothing_is_made() {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join(".fleet-test-statfs"), "26985").expect("written");
        let error = Home::at(dir.path().join("home")).prepare().expect_err("refused");
        assert!(error.message.contains("NFS"), "{}", error.message);
        assert!(error.hint.expect("a hint").contains("FLEET_HOME"));
        assert!(!dir.path().join("home").exists());
    }

    #[test]
    fn a_short_home_keeps_its_sockets_inside() {
        let dir = tempfile::tempdir().expect("dir");
        let home = Home::at(dir.path());
        let runtime = home.runtime_dir(None).expect("chosen");
        assert_eq!(runtime.path(), dir.path().join("run"));
        assert_eq!(
            fs::metadata(runtime.path()).expect("made").permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn a_long_home_keeps_its_first_choice_whatever_later_callers_have() {
        let dir = tempfile::tempdir().expect("dir");
        let home = long_home(dir.path());
        let login = dir.path().join("login");
        fs::create_dir(&login).expect("made");
        let first = home.runtime_dir(Some(&login)).expect("chosen");
        assert!(first.path().starts_with(&login));
        assert_eq!(home.runtime_dir(None).expect("again"), first);

        fs::remove_dir_all(first.path()).expect("a reboot empties it");
        assert_eq!(home.runtime_dir(None).expect("made again"), first);

        fs::remove_dir_all(&login).expect("the login ended");
        let other = home.runtime_dir(None).expect("another choice");
        assert!(other.path().starts_with("/tmp"));
        fs::remove_dir(other.path()).expect("removed");
    }

    #[test]
    fn two_ways_to_write_a_home_lead_to_the_same_sockets() {
        let dir = tempfile::tempdir().expect("dir");
        for home in [long_home(dir.path()), Home::at(dir.path())] {
            let login = dir.path().join("login");
            fs::create_dir_all(&login).expect("made");
            let alias = tempfile::tempdir().expect("dir");
            symlink(home.root(), alias.path().join("alias")).expect("linked");
            let by_alias = Home::at(alias.path().join("alias"))
                .runtime_dir(Some(&login))
                .expect("chosen");
            assert_eq!(home.runtime_dir(None).expect("found"), by_alias);
        }
    }

    #[test]
    fn every_socket_path_is_short_enough() {
        let id = AgentId::from_random(&[1; 10]);
        for length in 1..120 {
            let root = PathBuf::from(format!("/{}", "x".repeat(length)));
            let runtime = RuntimeDir(Home::at(root).choose_runtime(None).expect("/tmp is short"));
            assert!(runtime.socket(&id).as_os_str().len() < 104);
            assert!(runtime.tmux_socket().as_os_str().len() < 104);
        }
    }

    #[test]
    fn a_socket_folder_that_is_a_link_or_open_to_others_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let home = Home::at(dir.path());
        fs::create_dir(dir.path().join("elsewhere")).expect("made");
        fs::set_permissions(dir.path().join("elsewhere"), fs::Permissions::from_mode(0o700)).expect("closed");
        symlink(dir.path().join("elsewhere"), dir.path().join("run")).expect("linked");
        assert!(home.runtime_dir(None).is_err());

        fs::remove_file(dir.path().join("run")).expect("removed");
        fs::create_dir(dir.path().join("run")).expect("made");
        fs::set_permissions(dir.path().join("run"), fs::Permissions::from_mode(0o750)).expect("opened");
        assert!(home.runtime_dir(None).is_err());
    }

    #[test]
    fn the_record_of_a_copied_home_is_not_believed() {
        let dir = tempfile::tempdir().expect("dir");
        let home = Home::at(dir.path().join("copy"));
        home.prepare().expect("prepared");
        let other = dir.path().join("original-run");
        make_private_dir(&other).expect("made");
        fs::write(home.root().join("runtime"), other.as_os_str().as_bytes()).expect("written");
        assert_eq!(home.runtime_dir(None).expect("its own").path(), home.root().join("run"));
    }
}
