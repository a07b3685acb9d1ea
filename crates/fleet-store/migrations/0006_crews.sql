-- How much a task matters; none where nobody has said so.
ALTER TABLE tasks ADD COLUMN priority TEXT CHECK (priority IN ('low', 'medium', 'high', 'critical'));

-- The sub-agents that an agent's program has sent out, each with the task that it works for. `made` says that the record of
-- the task was made for it; otherwise its prompt has named the task.
CREATE TABLE crews (
    agent   TEXT NOT NULL,
    id      TEXT NOT NULL,
    task    TEXT NOT NULL REFERENCES tasks (id),
    made    INTEGER NOT NULL CHECK (made IN (0, 1)),
    sent_at INTEGER NOT NULL,
    PRIMARY KEY (agent, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX crews_task ON crews (task);

-- The commits that an agent was seen to make for a task.
CREATE TABLE task_made (
    task      TEXT NOT NULL REFERENCES tasks (id),
    commit_id TEXT NOT NULL,
    agent     TEXT NOT NULL,
    made_at   INTEGER NOT NULL,
    PRIMARY KEY (task, commit_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_made_commit ON task_made (commit_id);

-- What these commits change, each by itself and an agent's all together, as `git patch-id` has it: a commit that was rebased
-- or squashed is found by it.
CREATE TABLE task_patches (
    task  TEXT NOT NULL REFERENCES tasks (id),
    patch TEXT NOT NULL,
    PRIMARY KEY (patch, task)
) STRICT, WITHOUT ROWID;

-- What was started by requests under a contract, each with its share of it. `contract` tells the contract from others: the
-- launch of the agent that is under it, or a job and stage of another program. `agents` is how many were started at once; a
-- run has its own.
CREATE TABLE grants (
    kind       TEXT NOT NULL CHECK (kind IN ('batch', 'run')),
    id         TEXT NOT NULL,
    contract   TEXT NOT NULL,
    agents     INTEGER NOT NULL,
    usd        INTEGER CHECK (usd >= 0),
    tool_calls INTEGER,
    turns      INTEGER,
    dispatches INTEGER,
    given_at   INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX grants_contract ON grants (contract);
