CREATE TABLE vestibule.invitations (
    email_key text COLLATE "C" NOT NULL PRIMARY KEY,
    email text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX invitations_created ON vestibule.invitations (created_at, email_key);
CREATE INDEX invitations_expires ON vestibule.invitations (expires_at);
