//! The settings of fleet's tmux server.

use std::path::Path;

const SETTINGS: &str = "\
# Written by fleet; changes are overwritten.
set -s escape-time 0
set -s exit-empty on
set -s focus-events on
set -s extended-keys on
set -as terminal-features ',xterm*:RGB,alacritty*:RGB,foot*:RGB,wezterm*:RGB,tmux*:RGB,*-direct*:RGB'
set -g history-limit 20000
set -g mouse off
set -g set-titles on
set -g set-titles-string '#{session_name}'
set -g detach-on-destroy on
set -g update-environment ''
set -g status on
set -g status-left '#{session_name} '
set -g status-left-length 60
set -g status-right ' detach: C-b d '
set -gw window-size latest
set -gw aggressive-resize on
set -gw remain-on-exit off
set -gw automatic-rename off
set -gqw allow-passthrough off
set-environment -gu FLEET_ROLE
";

/// The settings file for a machine whose best terminal description is `terminal`.
pub(super) fn text(terminal: &str) -> String {
    format!("{SETTINGS}set -s default-terminal '{terminal}'\n")
}

/// What programs inside are told their terminal is: tmux's own description if this machine has it. Without it
/// many programs refuse to start.
pub(super) fn terminal(home: Option<&Path>) -> &'static str {
    let own = home.map(|home| home.join(".terminfo"));
    let system = [
        "/etc/terminfo",
        "/lib/terminfo",
        "/usr/lib/terminfo",
        "/usr/share/terminfo",
        "/usr/local/share/terminfo",
    ];
    // Folders are named by the first letter or, where case is not told apart, by its hexadecimal number.
    let has = |folder: &Path| {
        ["t", "74"]
            .iter()
            .any(|letter| folder.join(letter).join("tmux-256color").exists())
    };
    let known = own.as_deref().is_some_and(has) || system.iter().any(|folder| has(Path::new(folder)));
    if known { "tmux-256color" } else { "screen-256color" }
}
