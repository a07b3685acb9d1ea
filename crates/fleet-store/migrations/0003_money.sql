-- What was used, one row for each reply or request that was counted. It outlives the record of its agent, so it names the
-- agent's repository, branch, batch and harness itself. Amounts are millionths of a US dollar; an unknown one is NULL.
-- `beside`: counted by a meter that is not the agent's own, for comparison; it is in no sum.
CREATE TABLE spend (
    agent       TEXT NOT NULL,
    meter       TEXT NOT NULL CHECK (meter IN ('transcript', 'proxy')),
    seq         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    repo        TEXT NOT NULL,
    branch      TEXT NOT NULL,
    batch       TEXT NOT NULL,
    harness     TEXT NOT NULL,
    run         TEXT,
    worker      TEXT,
    round       INTEGER,
    task        TEXT,
    model       TEXT,
    input       INTEGER NOT NULL,
    cached      INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output      INTEGER NOT NULL,
    reasoning   INTEGER NOT NULL,
    cost        INTEGER,
    certainty   TEXT NOT NULL CHECK (certainty IN ('measured', 'reported', 'estimated', 'unknown')),
    reported    INTEGER,
    beside      INTEGER NOT NULL DEFAULT 0 CHECK (beside IN (0, 1)),
    PRIMARY KEY (agent, meter, seq),
    CHECK ((cost IS NULL) = (certainty = 'unknown'))
) STRICT, WITHOUT ROWID;

CREATE INDEX spend_at ON spend (at) WHERE beside = 0;
CREATE INDEX spend_run ON spend (run) WHERE run IS NOT NULL;
CREATE INDEX spend_task ON spend (task) WHERE task IS NOT NULL;

-- Ceilings: of a day and a week for all agents of this user (`day`, `week`), and those that were raised or set later.
CREATE TABLE caps (
    scope   TEXT PRIMARY KEY NOT NULL,
    ceiling INTEGER NOT NULL CHECK (ceiling >= 0),
    hard    INTEGER NOT NULL CHECK (hard IN (0, 1)),
    set_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is reserved for a launch of an agent before anything is started. `before` is what the agent had spent by then: what
-- is spent beyond that comes out of the amount. `extra` is what stays charged after the end because some of what was used
-- has no known cost.
CREATE TABLE holds (
    agent      TEXT NOT NULL,
    generation INTEGER NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount >= 0),
    before     INTEGER NOT NULL,
    made_at    INTEGER NOT NULL,
    ended_at   INTEGER,
    extra      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (agent, generation),
    CHECK (ended_at IS NOT NULL OR extra = 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX holds_open ON holds (made_at) WHERE ended_at IS NULL;
CREATE INDEX holds_ended ON holds (ended_at) WHERE ended_at IS NOT NULL AND extra > 0;

-- When the service that refused a step answers again.
ALTER TABLE steps ADD COLUMN until INTEGER;
