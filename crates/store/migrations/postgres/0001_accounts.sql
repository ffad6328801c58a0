CREATE TABLE vestibule.users (
    id uuid NOT NULL PRIMARY KEY,
    version bigint NOT NULL,
    email text,
    email_key text COLLATE "C" UNIQUE,
    claimed_email text,
    claimed_email_key text COLLATE "C",
    password_hash text CHECK (password_hash <> ''),
    name text,
    picture text,
    is_active boolean NOT NULL,
    is_superuser boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CHECK ((email IS NULL) = (email_key IS NULL)),
    CHECK ((claimed_email IS NULL) = (claimed_email_key IS NULL))
);
CREATE INDEX users_claimed ON vestibule.users (claimed_email_key) WHERE claimed_email_key IS NOT NULL;

-- Who owns or claims an address is decided under its row here, which is deleted in the transaction that inserts it: the
-- unique key makes others wait for that transaction. No row is ever seen.
CREATE TABLE vestibule.address_locks (
    email_key text COLLATE "C" NOT NULL PRIMARY KEY
);

CREATE TABLE vestibule.identities (
    issuer text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    user_id uuid NOT NULL REFERENCES vestibule.users (id) ON DELETE CASCADE,
    provider text NOT NULL,
    email text,
    email_verified boolean NOT NULL,
    name text,
    picture text,
    created_at bigint NOT NULL,
    last_used_at bigint NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user ON vestibule.identities (user_id);

CREATE TABLE vestibule.sessions (
    hash bytea NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    id uuid NOT NULL UNIQUE,
    user_id uuid NOT NULL REFERENCES vestibule.users (id) ON DELETE CASCADE,
    provider text NOT NULL,
    created_at bigint NOT NULL,
    last_seen_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    idle_seconds bigint NOT NULL
);
CREATE INDEX sessions_user ON vestibule.sessions (user_id);
CREATE INDEX sessions_expires ON vestibule.sessions (expires_at);

CREATE TABLE vestibule.claims (
    state bytea NOT NULL PRIMARY KEY CHECK (length(state) = 32),
    -- By the clock of the database, in microseconds.
    claimed_at bigint NOT NULL,
    -- Made by the caller, who so knows its own claim again when the answer got lost.
    claimant uuid NOT NULL
);
CREATE INDEX claims_claimed ON vestibule.claims (claimed_at);

CREATE TABLE vestibule.signing_keys (
    kid text COLLATE "C" NOT NULL PRIMARY KEY,
    algorithm text NOT NULL,
    sealed bytea NOT NULL,
    public_jwk text NOT NULL,
    created_at bigint NOT NULL,
    active_from bigint NOT NULL,
    retired_at bigint
);

CREATE TABLE vestibule.meta (
    name text NOT NULL PRIMARY KEY,
    value bytea NOT NULL
);
-- Whoever adds or revokes a signing key locks this row first.
INSERT INTO vestibule.meta (name, value) VALUES ('signing_keys', '');
