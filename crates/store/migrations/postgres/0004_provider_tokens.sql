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
