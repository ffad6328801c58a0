CREATE TABLE vestibule_invitations (
    email_key TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX vestibule_invitations_created ON vestibule_invitations (created_at, email_key);
CREATE INDEX vestibule_invitations_expires ON vestibule_invitations (expires_at);
