-- What was told of ceilings: that one is near its end, or at it, or that a run has paused or ended because of one. The same is
-- told once, by whichever process sees it first: again when the ceiling was changed, and in the next day or week. `since` is
-- the beginning of the one that it was told in, or of a pause; 0 where a ceiling is for a whole life. `notified` says that the
-- user's hook was run.
CREATE TABLE told (
    number   INTEGER PRIMARY KEY NOT NULL,
    scope    TEXT NOT NULL,
    since    INTEGER NOT NULL,
    ceiling  INTEGER NOT NULL,
    level    TEXT NOT NULL CHECK (level IN ('near', 'reached', 'paused', 'ended')),
    spent    INTEGER NOT NULL,
    about    TEXT NOT NULL,
    at       INTEGER NOT NULL,
    notified INTEGER NOT NULL DEFAULT 0 CHECK (notified IN (0, 1)),
    UNIQUE (scope, since, ceiling, level)
) STRICT;

CREATE INDEX told_new ON told (number) WHERE notified = 0;

-- The task that a run works for: what its workers reserve and spend counts there.
ALTER TABLE runs ADD COLUMN task TEXT;
