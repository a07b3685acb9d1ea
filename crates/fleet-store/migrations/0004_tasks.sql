-- The task that an agent works for: what it uses belongs to that, unless a sub-agent of it works for another.
ALTER TABLE agents ADD COLUMN task TEXT;

-- Units of paid work. What one cost is no column: it is the sum of its rows in `spend`. `reported` is what a model said.
-- `promoted_key` is the title of the follow-up that it was made of, so that each becomes one task; `external` is how another
-- program calls it.
CREATE TABLE tasks (
    id            TEXT PRIMARY KEY NOT NULL,
    day           INTEGER NOT NULL,
    number        INTEGER NOT NULL CHECK (number > 0),
    repo          TEXT NOT NULL,
    title         TEXT NOT NULL,
    kind          TEXT NOT NULL,
    crew          TEXT,
    status        TEXT NOT NULL
                  CHECK (status IN ('open', 'running', 'completed', 'partial', 'failed', 'over_budget', 'cancelled')),
    parent        TEXT REFERENCES tasks (id),
    promoted_from TEXT,
    promoted_key  TEXT,
    external      TEXT,
    dispatched_by TEXT NOT NULL,
    agent         TEXT,
    batch         TEXT,
    run           TEXT,
    harness       TEXT,
    model         TEXT,
    intensity     TEXT,
    ceiling       INTEGER CHECK (ceiling >= 0),
    reported      INTEGER CHECK (reported >= 0),
    report        TEXT,
    created_at    INTEGER NOT NULL,
    started_at    INTEGER,
    ended_at      INTEGER,
    UNIQUE (day, number),
    CHECK ((status IN ('open', 'running')) = (ended_at IS NULL))
) STRICT;

CREATE INDEX tasks_repo ON tasks (repo);
CREATE INDEX tasks_parent ON tasks (parent) WHERE parent IS NOT NULL;
CREATE UNIQUE INDEX tasks_external ON tasks (repo, external) WHERE external IS NOT NULL;
CREATE UNIQUE INDEX tasks_promoted ON tasks (repo, promoted_key) WHERE promoted_key IS NOT NULL;

-- Commits that the crew of a task names and that the repository has.
CREATE TABLE task_commits (
    task      TEXT NOT NULL REFERENCES tasks (id),
    seq       INTEGER NOT NULL,
    commit_id TEXT NOT NULL,
    PRIMARY KEY (task, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_commits_commit ON task_commits (commit_id);

-- What is left to do after a task. `key` is the title as it is compared.
CREATE TABLE follow_ups (
    task     TEXT NOT NULL REFERENCES tasks (id),
    seq      INTEGER NOT NULL,
    title    TEXT NOT NULL,
    key      TEXT NOT NULL,
    priority TEXT NOT NULL CHECK (priority IN ('low', 'medium', 'high', 'critical')),
    PRIMARY KEY (task, seq)
) STRICT, WITHOUT ROWID;

-- What happened to tasks, and what was refused; `task` is none where a report named none that is known.
CREATE TABLE task_events (
    seq   INTEGER PRIMARY KEY NOT NULL,
    repo  TEXT NOT NULL,
    task  TEXT,
    at    INTEGER NOT NULL,
    event TEXT NOT NULL,
    about TEXT NOT NULL
) STRICT;

CREATE INDEX task_events_task ON task_events (task) WHERE task IS NOT NULL;
CREATE INDEX task_events_repo ON task_events (repo);
