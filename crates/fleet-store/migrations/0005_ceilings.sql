-- What happens when a task has used its ceiling: 1 ends its agents at once, 0 lets them pause.
ALTER TABLE tasks ADD COLUMN hard INTEGER NOT NULL DEFAULT 0 CHECK (hard IN (0, 1));

-- What of a step's cost is in no account: what its program spent after its supervisor was killed, partly by an estimate.
ALTER TABLE steps ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0 CHECK (estimated >= 0);

CREATE INDEX agents_task ON agents (task) WHERE task IS NOT NULL;

-- Agents of a task that were given no budget of their own. Each may spend an even share of what the task has left, which is
-- dealt anew when another one begins or ends.
CREATE TABLE shares (
    agent TEXT PRIMARY KEY NOT NULL
) STRICT, WITHOUT ROWID;
