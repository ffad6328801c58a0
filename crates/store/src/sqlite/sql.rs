//! Every statement, as text. Parameters are `?1`: SQLite takes `$1` for a name and numbers it by where it first stands.

pub(super) const HAS_MIGRATIONS: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'vestibule_migrations'";
pub(super) const CREATE_MIGRATIONS: &str = "CREATE TABLE IF NOT EXISTS vestibule_migrations (number INTEGER NOT NULL PRIMARY KEY, checksum BLOB NOT NULL) STRICT";
pub(super) const SELECT_MIGRATIONS: &str =
    "SELECT number, checksum FROM vestibule_migrations ORDER BY number";
pub(super) const INSERT_MIGRATION: &str =
    "INSERT INTO vestibule_migrations (number, checksum) VALUES (?1, ?2)";

/// A first read, with which a snapshot begins.
pub(super) const SELECT_ANYTHING: &str = "SELECT 1 FROM sqlite_schema LIMIT 1";
pub(super) const CHECK_PAGES: &str = "PRAGMA integrity_check(3)";
pub(super) const CHECK_REFERENCES: &str = "SELECT 'a row of ' || tables.name || ' refers to one of ' || missing.parent || ' that is not there' FROM sqlite_schema AS tables JOIN pragma_foreign_key_check(tables.name) AS missing WHERE tables.type = 'table' AND tables.name LIKE 'vestibule\\_%' ESCAPE '\\' LIMIT 1";
pub(super) const SELECT_CONTENTS: &str = "SELECT (SELECT count(*) FROM vestibule_users), (SELECT count(*) FROM vestibule_identities), (SELECT count(*) FROM vestibule_sessions), (SELECT max(last_used_at) FROM vestibule_identities)";

pub(super) const SELECT_CLAIMS: &str =
    "SELECT claimed_at, state FROM vestibule_claims ORDER BY claimed_at";
pub(super) const INSERT_CLAIM: &str =
    "INSERT INTO vestibule_claims (claimed_at, state) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(super) const PRUNE_CLAIMS: &str = "DELETE FROM vestibule_claims WHERE (claimed_at, state) IN (SELECT claimed_at, state FROM vestibule_claims WHERE claimed_at < ?1 ORDER BY claimed_at LIMIT ?2)";

pub(super) const SELECT_USER: &str = "SELECT id, version, email, claimed_email, password_hash IS NOT NULL, name, picture, is_active, is_superuser, created_at, updated_at FROM vestibule_users WHERE id = ?1";
pub(super) const SELECT_USERS: &str = "SELECT id, version, email, claimed_email, password_hash IS NOT NULL, name, picture, is_active, is_superuser, created_at, updated_at FROM vestibule_users WHERE (?1 IS NULL OR id > ?1) AND (?2 IS NULL OR email LIKE ?2 ESCAPE '\\' OR claimed_email LIKE ?2 ESCAPE '\\' OR name LIKE ?2 ESCAPE '\\') ORDER BY id LIMIT ?3";
pub(super) const SELECT_USER_BY_EMAIL: &str = "SELECT id, version, email, claimed_email, password_hash IS NOT NULL, name, picture, is_active, is_superuser, created_at, updated_at FROM vestibule_users WHERE email_key = ?1";
pub(super) const SELECT_ACCOUNT: &str =
    "SELECT id, version, is_active FROM vestibule_users WHERE id = ?1";
pub(super) const SELECT_CLAIMANT: &str = "SELECT id, version, is_active FROM vestibule_users WHERE claimed_email_key = ?1 ORDER BY id LIMIT 1";
/// One statement, so that one snapshot answers all five: whose identity it is (0), who owns the address (1), who claims
/// it (2), whether it is invited (3), whether its owner took the identity away (4). Rows come in this order, and what is
/// not asked for is not read.
pub(super) const SELECT_KNOWN: &str = "SELECT users.id, users.version, users.is_active, 0 FROM vestibule_identities JOIN vestibule_users AS users ON users.id = user WHERE issuer = ?1 AND subject = ?2 UNION ALL SELECT id, version, is_active, 1 FROM vestibule_users WHERE email_key = ?3 UNION ALL SELECT * FROM (SELECT id, version, is_active, 2 FROM vestibule_users WHERE claimed_email_key = ?3 ORDER BY id LIMIT 1) UNION ALL SELECT NULL, NULL, NULL, 3 FROM vestibule_invitations WHERE email_key = ?3 AND expires_at > ?4 UNION ALL SELECT NULL, NULL, NULL, 4 FROM vestibule_users AS users JOIN vestibule_taken_away AS taken ON taken.user = users.id WHERE users.email_key = ?3 AND taken.issuer = ?1 AND taken.subject = ?2";
pub(super) const INSERT_USER: &str = "INSERT INTO vestibule_users (id, version, email, email_key, name, picture, is_active, is_superuser, created_at, updated_at) VALUES (?1, 1, ?2, ?3, ?4, ?5, 1, 0, ?6, ?6)";
pub(super) const INSERT_PASSWORD_USER: &str = "INSERT INTO vestibule_users (id, version, claimed_email, claimed_email_key, password_hash, is_active, is_superuser, created_at, updated_at) VALUES (?1, 1, ?2, ?3, ?4, 1, 0, ?5, ?5)";
pub(super) const SELECT_HAS_ADDRESS: &str = "SELECT EXISTS (SELECT 1 FROM vestibule_users WHERE email_key = ?1) OR EXISTS (SELECT 1 FROM vestibule_users WHERE claimed_email_key = ?1)";
pub(super) const EMPTY_CLAIMANT: &str = "UPDATE vestibule_users SET version = version + 1, claimed_email = NULL, claimed_email_key = NULL, password_hash = NULL, updated_at = ?2 WHERE id = ?1";
pub(super) const RAISE_VERSION: &str =
    "UPDATE vestibule_users SET version = version + 1, updated_at = ?2 WHERE id = ?1";
pub(super) const SET_ACTIVE: &str = "UPDATE vestibule_users SET version = version + 1, is_active = ?2, updated_at = ?3 WHERE id = ?1 AND is_active <> ?2";
pub(super) const SET_SUPERUSER: &str = "UPDATE vestibule_users SET version = version + 1, is_superuser = ?2, updated_at = ?3 WHERE id = ?1 AND is_superuser <> ?2";

pub(super) const INSERT_IDENTITY: &str = "INSERT INTO vestibule_identities (issuer, subject, user, provider, email, email_verified, name, picture, created_at, last_used_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)";
pub(super) const UPDATE_IDENTITY: &str = "UPDATE vestibule_identities SET provider = ?4, email = ?5, email_verified = ?6, name = ?7, picture = ?8, last_used_at = ?9 WHERE issuer = ?1 AND subject = ?2 AND user = ?3";
pub(super) const SELECT_IDENTITIES: &str = "SELECT user, issuer, subject, provider, email, email_verified, name, picture, created_at, last_used_at FROM vestibule_identities WHERE user = ?1 ORDER BY created_at, issuer, subject";
pub(super) const DELETE_IDENTITY: &str =
    "DELETE FROM vestibule_identities WHERE user = ?1 AND issuer = ?2 AND subject = ?3";
pub(super) const INSERT_TAKEN_AWAY: &str = "INSERT INTO vestibule_taken_away (user, issuer, subject) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
pub(super) const DELETE_TAKEN_AWAY: &str =
    "DELETE FROM vestibule_taken_away WHERE user = ?1 AND issuer = ?2 AND subject = ?3";
pub(super) const COUNT_WAYS_IN: &str = "SELECT (SELECT count(*) FROM vestibule_identities WHERE user = ?1) + (SELECT password_hash IS NOT NULL FROM vestibule_users WHERE id = ?1)";

pub(super) const UPSERT_PROVIDER_TOKENS: &str = "INSERT INTO vestibule_provider_tokens (issuer, subject, sealed, version) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (issuer, subject) DO UPDATE SET sealed = excluded.sealed, version = max(version + 1, excluded.version), lease_until = NULL";
pub(super) const SELECT_PROVIDER_TOKENS: &str = "SELECT tokens.issuer, tokens.subject, identities.provider, tokens.sealed, tokens.version FROM vestibule_users AS users JOIN vestibule_identities AS identities ON identities.user = users.id JOIN vestibule_provider_tokens AS tokens ON tokens.issuer = identities.issuer AND tokens.subject = identities.subject WHERE users.id = ?1 AND users.is_active = 1 ORDER BY identities.last_used_at DESC, tokens.issuer, tokens.subject";
pub(super) const SELECT_SEALED: &str =
    "SELECT sealed FROM vestibule_provider_tokens WHERE issuer = ?1 AND subject = ?2";
pub(super) const LEASE_PROVIDER_TOKENS: &str = "UPDATE vestibule_provider_tokens SET lease_until = ?4 WHERE issuer = ?1 AND subject = ?2 AND version = ?3 AND (lease_until IS NULL OR lease_until <= ?5)";
pub(super) const UPDATE_PROVIDER_TOKENS: &str = "UPDATE vestibule_provider_tokens SET sealed = ?4, version = max(version + 1, ?5), lease_until = NULL WHERE issuer = ?1 AND subject = ?2 AND version = ?3";
pub(super) const DELETE_PROVIDER_TOKENS: &str =
    "DELETE FROM vestibule_provider_tokens WHERE issuer = ?1 AND subject = ?2 AND version = ?3";

pub(super) const SELECT_HAS_OWNER: &str =
    "SELECT EXISTS (SELECT 1 FROM vestibule_users WHERE email_key = ?1)";
pub(super) const UPSERT_INVITATION: &str = "INSERT INTO vestibule_invitations (email_key, email, created_at, expires_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (email_key) DO UPDATE SET email = excluded.email, created_at = excluded.created_at, expires_at = excluded.expires_at";
pub(super) const SELECT_INVITATIONS: &str = "SELECT email, created_at, expires_at FROM vestibule_invitations WHERE (created_at, email_key) > (?1, ?2) ORDER BY created_at, email_key LIMIT ?3";
pub(super) const DELETE_INVITATION: &str = "DELETE FROM vestibule_invitations WHERE email_key = ?1 RETURNING email, created_at, expires_at";
pub(super) const PRUNE_INVITATIONS: &str = "DELETE FROM vestibule_invitations WHERE email_key IN (SELECT email_key FROM vestibule_invitations WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

pub(super) const INSERT_SESSION: &str = "INSERT INTO vestibule_sessions (hash, id, user, provider, created_at, last_seen_at, expires_at, idle_seconds) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)";
pub(super) const SELECT_SESSION: &str = "SELECT users.id, users.version, users.email, users.claimed_email, users.password_hash IS NOT NULL, users.name, users.picture, users.is_active, users.is_superuser, users.created_at, users.updated_at, sessions.id, sessions.provider, sessions.created_at, sessions.last_seen_at, sessions.expires_at, sessions.idle_seconds FROM vestibule_sessions AS sessions JOIN vestibule_users AS users ON users.id = sessions.user WHERE sessions.hash = ?1 AND sessions.expires_at > ?2 AND sessions.last_seen_at + sessions.idle_seconds * 1000000 > ?2 AND users.is_active = 1";
pub(super) const SELECT_SESSION_BY_ID: &str = "SELECT users.id, users.version, users.email, users.claimed_email, users.password_hash IS NOT NULL, users.name, users.picture, users.is_active, users.is_superuser, users.created_at, users.updated_at, sessions.id, sessions.provider, sessions.created_at, sessions.last_seen_at, sessions.expires_at, sessions.idle_seconds FROM vestibule_sessions AS sessions JOIN vestibule_users AS users ON users.id = sessions.user WHERE sessions.id = ?1 AND sessions.expires_at > ?2 AND sessions.last_seen_at + sessions.idle_seconds * 1000000 > ?2 AND users.is_active = 1";
pub(super) const SELECT_SESSION_BY_GRANT: &str = "SELECT users.id, users.version, users.email, users.claimed_email, users.password_hash IS NOT NULL, users.name, users.picture, users.is_active, users.is_superuser, users.created_at, users.updated_at, sessions.id, sessions.provider, sessions.created_at, sessions.last_seen_at, sessions.expires_at, sessions.idle_seconds FROM vestibule_grants AS grants JOIN vestibule_sessions AS sessions ON sessions.id = grants.session JOIN vestibule_users AS users ON users.id = sessions.user WHERE grants.id = ?1 AND grants.expires_at > ?2 AND sessions.expires_at > ?2 AND sessions.last_seen_at + sessions.idle_seconds * 1000000 > ?2 AND users.is_active = 1";
pub(super) const TOUCH_SESSION: &str = "UPDATE vestibule_sessions SET last_seen_at = max(last_seen_at, ?2) WHERE id = ?1 AND expires_at > ?2 AND last_seen_at + idle_seconds * 1000000 > ?2";
pub(super) const DELETE_SESSION: &str =
    "DELETE FROM vestibule_sessions WHERE hash = ?1 RETURNING id";
pub(super) const DELETE_SESSIONS_OF: &str = "DELETE FROM vestibule_sessions WHERE user = ?1";
pub(super) const DELETE_OTHER_SESSIONS: &str =
    "DELETE FROM vestibule_sessions WHERE user = ?1 AND id IS NOT ?2";
pub(super) const PRUNE_SESSIONS: &str = "DELETE FROM vestibule_sessions WHERE hash IN (SELECT hash FROM vestibule_sessions WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

pub(super) const INSERT_CODE: &str = "INSERT INTO vestibule_codes (hash, session, client_id, redirect_uri, code_challenge, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(super) const DELETE_LAPSED_CODES: &str =
    "DELETE FROM vestibule_codes WHERE session = ?1 AND grant_id IS NULL AND expires_at <= ?2";
pub(super) const SELECT_CODE: &str = "SELECT codes.session, codes.client_id, codes.redirect_uri, codes.code_challenge, codes.expires_at, codes.grant_id IS NOT NULL, grants.id FROM vestibule_codes AS codes LEFT JOIN vestibule_grants AS grants ON grants.id = codes.grant_id WHERE codes.hash = ?1";
pub(super) const USE_CODE: &str = "UPDATE vestibule_codes SET grant_id = ?2 WHERE hash = ?1";
pub(super) const MOVE_CODES: &str = "UPDATE vestibule_codes SET session = ?2 WHERE session = ?1";
pub(super) const PRUNE_CODES: &str = "DELETE FROM vestibule_codes WHERE hash IN (SELECT hash FROM vestibule_codes WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

pub(super) const INSERT_GRANT: &str = "INSERT INTO vestibule_grants (id, session, client_id, key, count, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6)";
pub(super) const TRIM_GRANTS: &str = "DELETE FROM vestibule_grants WHERE session = ?1 AND client_id = ?2 AND id NOT IN (SELECT id FROM vestibule_grants WHERE session = ?1 AND client_id = ?2 ORDER BY created_at DESC, id DESC LIMIT ?3)";
pub(super) const SELECT_GRANT: &str = "SELECT grants.id, grants.client_id, grants.key, grants.count, grants.created_at, grants.rotated_at, grants.expires_at FROM vestibule_grants AS grants JOIN vestibule_sessions AS sessions ON sessions.id = grants.session JOIN vestibule_users AS users ON users.id = sessions.user WHERE grants.id = ?1 AND grants.expires_at > ?2 AND sessions.expires_at > ?2 AND sessions.last_seen_at + sessions.idle_seconds * 1000000 > ?2 AND users.is_active = 1";
pub(super) const ROTATE_GRANT: &str =
    "UPDATE vestibule_grants SET count = ?2, rotated_at = ?3 WHERE id = ?1";
pub(super) const MOVE_GRANTS: &str = "UPDATE vestibule_grants SET session = ?2 WHERE session = ?1";
pub(super) const DELETE_GRANT: &str = "DELETE FROM vestibule_grants WHERE id = ?1";
pub(super) const DELETE_GRANT_OF: &str =
    "DELETE FROM vestibule_grants WHERE id = ?1 AND client_id = ?2";
pub(super) const PRUNE_GRANTS: &str = "DELETE FROM vestibule_grants WHERE id IN (SELECT id FROM vestibule_grants WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

pub(super) const SELECT_KEYS: &str = "SELECT kid, algorithm, sealed, public_jwk, created_at, active_from, retired_at FROM vestibule_signing_keys ORDER BY created_at, kid";
pub(super) const SELECT_NEWEST_KEY: &str =
    "SELECT kid FROM vestibule_signing_keys ORDER BY created_at DESC, kid DESC LIMIT 1";
pub(super) const HAS_SIGNER: &str = "SELECT EXISTS (SELECT 1 FROM vestibule_signing_keys WHERE active_from <= ?1 AND (retired_at IS NULL OR retired_at > ?1))";
pub(super) const DELETE_WAITING_KEYS: &str = "DELETE FROM vestibule_signing_keys WHERE kid IN (SELECT kid FROM vestibule_signing_keys WHERE active_from > ?1 ORDER BY active_from, created_at, kid LIMIT -1 OFFSET ?2)";
pub(super) const DELETE_KEY: &str = "DELETE FROM vestibule_signing_keys WHERE kid = ?1";
pub(super) const RETIRE_KEYS: &str =
    "UPDATE vestibule_signing_keys SET retired_at = ?1 WHERE retired_at IS NULL";
pub(super) const INSERT_KEY: &str = "INSERT INTO vestibule_signing_keys (kid, algorithm, sealed, public_jwk, created_at, active_from, retired_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
pub(super) const PRUNE_KEYS: &str = "DELETE FROM vestibule_signing_keys WHERE retired_at <= ?1";

pub(super) const SELECT_SECRET_CHECK: &str =
    "SELECT value FROM vestibule_meta WHERE name = 'secret_check'";
pub(super) const UPSERT_SECRET_CHECK: &str = "INSERT INTO vestibule_meta (name, value) VALUES ('secret_check', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
