CREATE TABLE vestibule.codes (
    hash bytea NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    session uuid NOT NULL REFERENCES vestibule.sessions (id) ON DELETE CASCADE,
    client_id text NOT NULL,
    redirect_uri text NOT NULL,
    code_challenge text NOT NULL,
    expires_at bigint NOT NULL,
    -- The grant as which it was redeemed. No reference: a code stays used when its grant is gone.
    grant_id uuid
);
CREATE INDEX codes_session ON vestibule.codes (session);
CREATE INDEX codes_expires ON vestibule.codes (expires_at);

CREATE TABLE vestibule.grants (
    id uuid NOT NULL PRIMARY KEY,
    session uuid NOT NULL REFERENCES vestibule.sessions (id) ON DELETE CASCADE,
    client_id text NOT NULL,
    key bytea NOT NULL CHECK (length(key) = 32),
    count bigint NOT NULL CHECK (count >= 0),
    created_at bigint NOT NULL,
    rotated_at bigint,
    expires_at bigint NOT NULL,
    CHECK ((count = 0) = (rotated_at IS NULL))
);
CREATE INDEX grants_session ON vestibule.grants (session);
CREATE INDEX grants_expires ON vestibule.grants (expires_at);
