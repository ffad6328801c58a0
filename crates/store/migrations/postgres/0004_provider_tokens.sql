CREATE TABLE vestibule.provider_tokens (
    issuer text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    sealed bytea NOT NULL,
    version bigint NOT NULL,
    lease_until bigint,
    -- Made by the caller, who so knows its own lease again when the answer got lost.
    lessee uuid,
    PRIMARY KEY (issuer, subject),
    FOREIGN KEY (issuer, subject) REFERENCES vestibule.identities (issuer, subject) ON DELETE CASCADE,
    CHECK ((lease_until IS NULL) = (lessee IS NULL))
);

-- Identities that their user took away. None of them comes back by its address alone.
CREATE TABLE vestibule.taken_away (
    user_id uuid NOT NULL REFERENCES vestibule.users (id) ON DELETE CASCADE,
    issuer text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, issuer, subject)
);
