//! Named points at which a test may kill the process.
//!
//! Every store write, spawn, rename, git and tmux call passes one before and one after it. In a debug build a
//! binary may install a hook; in a release build [`point`] is empty and nothing of this is left.

#[cfg(debug_assertions)]
static HOOK: std::sync::OnceLock<fn(&str, Edge)> = std::sync::OnceLock::new();

/// Which side of the guarded act the process is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The act has not happened yet.
    Before,
    /// The act has happened.
    After,
}

/// Passes the named point. `site` is `<verb>.<act>`, such as `create.worktree-add`.
#[inline]
pub fn point(site: &str, edge: Edge) {
    #[cfg(debug_assertions)]
    if let Some(hook) = HOOK.get() {
        hook(site, edge);
    }
    #[cfg(not(debug_assertions))]
    let _ = (site, edge);
}

/// Runs `act` between the two points of `site`.
pub fn guard<T>(site: &str, act: impl FnOnce() -> T) -> T {
    point(site, Edge::Before);
    let out = act();
    point(site, Edge::After);
    out
}

/// Installs the hook of this process. Only the first call counts.
#[cfg(debug_assertions)]
pub fn install(hook: fn(&str, Edge)) {
    let _ = HOOK.set(hook);
}
