#!/bin/sh
# Written by fleet: names the task of an agent in its commits, and runs the repository's own hook of the same name.
hook=${0##*/}
own=${0%/*}
# Where the hooks would be without us.
theirs=$(
    i=0
    while [ "$i" -lt "${GIT_CONFIG_COUNT:-0}" ]; do
        if [ "$(printenv "GIT_CONFIG_KEY_$i")" = core.hooksPath ] && [ "$(printenv "GIT_CONFIG_VALUE_$i")" = "$own" ]; then
            export "GIT_CONFIG_KEY_$i=fleet.hooks"
        fi
        i=$((i + 1))
    done
    git rev-parse --git-path hooks 2>/dev/null
)/$hook
has_theirs() {
    [ -f "$theirs" ] && [ -x "$theirs" ] && [ "$theirs" != "$0" ]
}
# An empty message stays empty: it is how a commit is called off.
name_task() {
    if [ -n "$FLEET_TASK" ] && [ -n "$(git stripspace --strip-comments <"$1")" ]; then
        git interpret-trailers --in-place --no-divider --where end --if-exists doNothing --if-missing add \
            --trailer "Fleet-Task: $FLEET_TASK" "$1" || :
    fi
}
case $hook in
prepare-commit-msg)
    if has_theirs; then
        "$theirs" "$@" || exit
    fi
    # Without a message yet an editor is opened, and `commit-msg` comes after it.
    if [ -n "$2" ]; then
        name_task "$1"
    fi
    exit 0
    ;;
commit-msg)
    name_task "$1"
    ;;
esac
if has_theirs; then
    exec "$theirs" "$@"
fi
exit 0
