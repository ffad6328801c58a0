CREATE TABLE vestibule_users (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    version INTEGER NOT NULL,
    email TEXT,
    email_key TEXT UNIQUE,
    claimed_email TEXT,
    claimed_email_key TEXT,
    password_hash TEXT CHECK (password_hash <> ''),
    name TEXT,
    picture TEXT,
    is_active INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    is_superuser INTEGER NOT NULL CHECK (is_superuser IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK ((email IS NULL) = (email_key IS NULL)),
    CHECK ((claimed_email IS NULL) = (claimed_email_key IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX vestibule_users_claimed ON vestibule_users (claimed_email_key) WHERE claimed_email_key IS NOT NULL;

CREATE TABLE vestibule_identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user BLOB NOT NULL REFERENCES vestibule_users (id) ON DELETE CASCADE,
    provider TEXT NOT NULL,
    email TEXT,
    email_verified INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
    name TEXT,
    picture TEXT,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX vestibule_identities_user ON vestibule_identities (user);

CREATE TABLE vestibule_sessions (
    hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    user BLOB NOT NULL REFERENCES vestibule_users (id) ON DELETE CASCADE,
    provider TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    idle_seconds INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX vestibule_sessions_user ON vestibule_sessions (user);
CREATE INDEX vestibule_sessions_expires ON vestibule_sessions (expires_at);

-- Read at start alone, so that the key can be the order of writing.
CREATE TABLE vestibule_claims (
    claimed_at INTEGER NOT NULL,
    state BLOB NOT NULL CHECK (length(state) = 32),
    PRIMARY KEY (claimed_at, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE vestibule_signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    algorithm TEXT NOT NULL,
    sealed BLOB NOT NULL,
    public_jwk TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    active_from INTEGER NOT NULL,
    retired_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE vestibule_meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
