-- Times are milliseconds since 1970 UTC, paths are absolute and UTF-8, lists and records are JSON.

-- `folded` is the sequence of the last journal entry that is in `events`; `ports` is the width of the port block,
-- kept because a later config may deal blocks of another width.
CREATE TABLE agents (
    id           TEXT PRIMARY KEY NOT NULL,
    repo         TEXT NOT NULL,
    repo_name    TEXT NOT NULL,
    branch       TEXT NOT NULL,
    workspace    TEXT NOT NULL CHECK (workspace IN ('worktree', 'here')),
    worktree     TEXT NOT NULL,
    session      TEXT NOT NULL,
    batch_id     TEXT NOT NULL,
    harness      TEXT NOT NULL,
    model        TEXT,
    base         TEXT,
    made_branch  INTEGER NOT NULL CHECK (made_branch IN (0, 1)),
    headless     INTEGER NOT NULL CHECK (headless IN (0, 1)),
    pid          INTEGER,
    port_base    INTEGER NOT NULL CHECK (port_base BETWEEN 1 AND 65535),
    ports        INTEGER NOT NULL CHECK (ports > 0),
    env_names    TEXT NOT NULL,
    conversation TEXT,
    phase        TEXT NOT NULL CHECK (phase IN ('reserved', 'started', 'ending', 'ended')),
    generation   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    folded       INTEGER NOT NULL DEFAULT 0,
    CHECK ((phase = 'ended') = (ended_at IS NOT NULL))
) STRICT;

-- An ended agent gives its names back: every index covers the live ones only.
CREATE UNIQUE INDEX agents_branch ON agents (repo, branch) WHERE phase <> 'ended';
CREATE UNIQUE INDEX agents_session ON agents (session) WHERE phase <> 'ended';
-- One agent per directory, whether fleet made it or the user named it with --here.
CREATE UNIQUE INDEX agents_worktree ON agents (worktree) WHERE phase <> 'ended';
CREATE UNIQUE INDEX agents_ports ON agents (port_base) WHERE phase <> 'ended';

-- The journals, folded. The key makes folding the same entry twice the same as once.
CREATE TABLE events (
    agent TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    seq   INTEGER NOT NULL CHECK (seq > 0),
    at    INTEGER NOT NULL,
    fact  TEXT NOT NULL,
    PRIMARY KEY (agent, seq)
) STRICT, WITHOUT ROWID;

-- What was asked for and with which chosen names, written before the world is touched. `args` holds no secrets.
CREATE TABLE intents (
    request     TEXT PRIMARY KEY NOT NULL,
    verb        TEXT NOT NULL,
    args        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed')),
    result      TEXT,
    created_at  INTEGER NOT NULL,
    owner_pid   INTEGER NOT NULL,
    owner_start INTEGER NOT NULL,
    owner_boot  TEXT NOT NULL,
    CHECK ((state = 'open') = (result IS NULL))
) STRICT;

CREATE INDEX intents_open ON intents (created_at) WHERE state = 'open';

-- Saved work. It outlives the record of its agent, hence no reference.
CREATE TABLE salvage (
    id         TEXT PRIMARY KEY NOT NULL,
    agent      TEXT NOT NULL,
    repo       TEXT NOT NULL,
    branch     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    ref_name   TEXT,
    commit_id  TEXT,
    head       TEXT,
    trash      TEXT,
    note       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    pruned_at  INTEGER
) STRICT;
