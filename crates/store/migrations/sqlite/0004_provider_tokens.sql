-- The rows are long, and so stand beside the key and not in it.
CREATE TABLE vestibule_provider_tokens (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    sealed BLOB NOT NULL,
    version INTEGER NOT NULL,
    lease_until INTEGER,
    PRIMARY KEY (issuer, subject),
    FOREIGN KEY (issuer, subject) REFERENCES vestibule_identities (issuer, subject) ON DELETE CASCADE
) STRICT;

-- Identities that their user took away. None of them comes back by its address alone.
CREATE TABLE vestibule_taken_away (
    user BLOB NOT NULL REFERENCES vestibule_users (id) ON DELETE CASCADE,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (user, issuer, subject)
) STRICT, WITHOUT ROWID;
