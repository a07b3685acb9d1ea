-- Workers of a run may share a directory, the fleet root. Agents that share none are one per directory, as before.
ALTER TABLE agents ADD COLUMN shared INTEGER NOT NULL DEFAULT 0 CHECK (shared IN (0, 1));
DROP INDEX agents_worktree;
CREATE UNIQUE INDEX agents_worktree ON agents (worktree) WHERE phase <> 'ended' AND shared = 0;

-- One execution of a plan. `text` is the plan's file as it was last launched; `generation` counts its drivers.
CREATE TABLE runs (
    id         TEXT PRIMARY KEY NOT NULL,
    root       TEXT NOT NULL,
    name       TEXT NOT NULL,
    type       TEXT NOT NULL,
    repo       TEXT,
    base       TEXT,
    text       TEXT NOT NULL,
    control    TEXT NOT NULL CHECK (control IN ('going', 'paused', 'stopping')),
    pause      TEXT,
    finish     TEXT,
    generation INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    CHECK ((finish IS NULL) = (ended_at IS NULL))
) STRICT;

CREATE INDEX runs_root ON runs (root);

-- One try at a piece of work. It is recorded together with the names of its agent, before anything is started.
-- `began` and `ended` are milliseconds of the clock of the boot `boot`, which nobody can set.
CREATE TABLE steps (
    run        TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    worker     TEXT NOT NULL,
    round      INTEGER NOT NULL,
    part       TEXT NOT NULL,
    attempt    INTEGER NOT NULL,
    agent      TEXT NOT NULL,
    generation INTEGER NOT NULL,
    hold       INTEGER NOT NULL,
    boot       TEXT NOT NULL,
    began      INTEGER NOT NULL,
    began_at   INTEGER NOT NULL,
    ending     TEXT,
    how        TEXT,
    text       TEXT,
    cost       INTEGER,
    metric     REAL,
    resumable  INTEGER NOT NULL DEFAULT 0 CHECK (resumable IN (0, 1)),
    ended      INTEGER,
    ended_at   INTEGER,
    forgiven   INTEGER NOT NULL DEFAULT 0 CHECK (forgiven IN (0, 1)),
    forgotten  INTEGER NOT NULL DEFAULT 0 CHECK (forgotten IN (0, 1)),
    PRIMARY KEY (run, worker, round, part, attempt),
    CHECK ((how IS NULL) = (ended IS NULL) AND (how IS NULL) = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX steps_agent ON steps (agent);

-- `base` is the commit before the round, `kept` whether its change was kept, `commit_id` the change.
CREATE TABLE rounds (
    run       TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    round     INTEGER NOT NULL,
    base      TEXT,
    verdict   TEXT,
    asked     TEXT,
    answered  INTEGER NOT NULL DEFAULT 0 CHECK (answered IN (0, 1)),
    kept      INTEGER CHECK (kept IN (0, 1)),
    commit_id TEXT,
    PRIMARY KEY (run, round)
) STRICT, WITHOUT ROWID;

-- What happened, for people: a JSON object each.
CREATE TABLE run_events (
    run   TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    seq   INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;
