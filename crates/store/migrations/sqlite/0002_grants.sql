CREATE TABLE vestibule_codes (
    hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    session BLOB NOT NULL REFERENCES vestibule_sessions (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    code_challenge TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    -- The grant as which it was redeemed. No reference: a code stays used when its grant is gone.
    grant_id BLOB CHECK (length(grant_id) = 16)
) STRICT, WITHOUT ROWID;
CREATE INDEX vestibule_codes_session ON vestibule_codes (session);
CREATE INDEX vestibule_codes_expires ON vestibule_codes (expires_at);

CREATE TABLE vestibule_grants (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    session BLOB NOT NULL REFERENCES vestibule_sessions (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    key BLOB NOT NULL CHECK (length(key) = 32),
    count INTEGER NOT NULL CHECK (count >= 0),
    created_at INTEGER NOT NULL,
    rotated_at INTEGER,
    expires_at INTEGER NOT NULL,
    CHECK ((count = 0) = (rotated_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX vestibule_grants_session ON vestibule_grants (session);
CREATE INDEX vestibule_grants_expires ON vestibule_grants (expires_at);
