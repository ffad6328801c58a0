//! Every statement, as text. They name the schema `vestibule`; another one takes its place when a store is opened.
//!
//! What a decision rests on is locked by the statement that reads it: `FOR NO KEY UPDATE`, which lets the foreign keys
//! of the application's tables be checked. Everybody locks in one order: user, the session that is required, address,
//! identity and what is kept for it, session, then what hangs on the session.

macro_rules! statements {
    ($($name:ident = $text:expr;)*) => {
        /// The statements, in the schema of one store.
        pub(super) struct Sql {
            $(pub(super) $name: Box<str>,)*
        }

        impl Sql {
            pub(super) fn in_schema(schema: &str) -> Self {
                Self { $($name: in_schema($text, schema).into(),)* }
            }
        }
    };
}

/// A text of ours in another schema. The name was checked: a word in lower case.
pub(super) fn in_schema(text: &str, schema: &str) -> String {
    text.replace("vestibule.", &format!("\"{schema}\"."))
}

// Opening.
pub(super) const LOCK_MIGRATIONS: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
pub(super) const SELECT_SETTINGS: &str = "SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'), current_setting('default_transaction_isolation')";
pub(super) const HAS_MIGRATIONS: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'migrations')";
pub(super) const HAS_SCHEMA: &str =
    "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)";
pub(super) const CREATE_MIGRATIONS: &str = "CREATE TABLE vestibule.migrations (number bigint NOT NULL PRIMARY KEY, checksum bytea NOT NULL)";

pub(super) fn create_schema(schema: &str) -> String {
    format!("CREATE SCHEMA \"{schema}\"")
}

statements! {
    select_migrations = "SELECT number, checksum FROM vestibule.migrations ORDER BY number";
    insert_migration = "INSERT INTO vestibule.migrations (number, checksum) VALUES ($1, $2)";

    // The setting lasts as long as the transaction, which is this statement.
    claim_state = "WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true)) INSERT INTO vestibule.claims (state, claimed_at, claimant) SELECT $1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $2 FROM relaxed ON CONFLICT DO NOTHING";
    select_claimant_of_state = "SELECT claimant FROM vestibule.claims WHERE state = $1";
    // Rows to prune are found by an index and named one by one: as an array, whatever the planner believes of their number.
    prune_claims = "DELETE FROM vestibule.claims WHERE state = ANY (ARRAY(SELECT state FROM vestibule.claims WHERE claimed_at < (extract(epoch FROM statement_timestamp()) * 1000000)::bigint - $1 ORDER BY claimed_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

    select_user = "SELECT id, version, email, claimed_email, password_hash IS NOT NULL, name, picture, is_active, is_superuser, created_at, updated_at FROM vestibule.users WHERE id = $1";
    select_users = "SELECT id, version, email, claimed_email, password_hash IS NOT NULL, name, picture, is_active, is_superuser, created_at, updated_at FROM vestibule.users WHERE ($1::uuid IS NULL OR id > $1) AND ($2::text IS NULL OR email ILIKE $2 ESCAPE '\\' OR claimed_email ILIKE $2 ESCAPE '\\' OR name ILIKE $2 ESCAPE '\\') ORDER BY id LIMIT $3";
    select_user_by_email = "SELECT id, version, email, claimed_email, password_hash IS NOT NULL, name, picture, is_active, is_superuser, created_at, updated_at FROM vestibule.users WHERE email_key = $1";
    // One statement is one snapshot.
    select_known = "SELECT users.id, version, is_active, 'identity' FROM vestibule.identities AS identities JOIN vestibule.users AS users ON users.id = identities.user_id WHERE issuer = $1 AND subject = $2 UNION ALL SELECT id, version, is_active, 'owner' FROM vestibule.users WHERE email_key = $3 UNION ALL (SELECT id, version, is_active, 'claimant' FROM vestibule.users WHERE claimed_email_key = $3 ORDER BY id LIMIT 1) UNION ALL SELECT NULL, NULL, NULL, 'invitation' FROM vestibule.invitations WHERE email_key = $3 AND expires_at > $4 UNION ALL SELECT NULL, NULL, NULL, 'taken away' FROM vestibule.users AS users JOIN vestibule.taken_away AS taken ON taken.user_id = users.id WHERE users.email_key = $3 AND taken.issuer = $1 AND taken.subject = $2";
    lock_account = "SELECT id, version, is_active FROM vestibule.users WHERE id = $1 FOR NO KEY UPDATE";
    lock_address = "INSERT INTO vestibule.address_locks (email_key) VALUES ($1)";
    // Who begins to own an address uses up the invitation for it.
    unlock_address_and_has_claimant = "WITH unlocked AS (DELETE FROM vestibule.address_locks WHERE email_key = $1), invited AS (DELETE FROM vestibule.invitations WHERE email_key = $1 RETURNING expires_at) SELECT EXISTS (SELECT 1 FROM vestibule.users WHERE claimed_email_key = $1), EXISTS (SELECT 1 FROM invited WHERE expires_at > $2)";
    unlock_address_and_is_owned = "WITH unlocked AS (DELETE FROM vestibule.address_locks WHERE email_key = $1) SELECT EXISTS (SELECT 1 FROM vestibule.users WHERE email_key = $1)";
    unlock_address_and_is_taken = "WITH unlocked AS (DELETE FROM vestibule.address_locks WHERE email_key = $1) SELECT EXISTS (SELECT 1 FROM vestibule.users WHERE email_key = $1) OR EXISTS (SELECT 1 FROM vestibule.users WHERE claimed_email_key = $1)";
    insert_user = "INSERT INTO vestibule.users (id, version, email, email_key, name, picture, is_active, is_superuser, created_at, updated_at) VALUES ($1, 1, $2, $3, $4, $5, true, false, $6, $6)";
    insert_password_user = "INSERT INTO vestibule.users (id, version, claimed_email, claimed_email_key, password_hash, is_active, is_superuser, created_at, updated_at) VALUES ($1, 1, $2, $3, $4, true, false, $5, $5)";
    empty_claimant = "UPDATE vestibule.users SET version = version + 1, claimed_email = NULL, claimed_email_key = NULL, password_hash = NULL, updated_at = $2 WHERE id = $1";
    raise_version = "UPDATE vestibule.users SET version = version + 1, updated_at = $2 WHERE id = $1";
    set_active = "UPDATE vestibule.users SET version = version + 1, is_active = $2, updated_at = $3 WHERE id = $1 AND is_active <> $2";
    set_superuser = "UPDATE vestibule.users SET version = version + 1, is_superuser = $2, updated_at = $3 WHERE id = $1 AND is_superuser <> $2";

    upsert_invitation = "INSERT INTO vestibule.invitations (email_key, email, created_at, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT (email_key) DO UPDATE SET email = excluded.email, created_at = excluded.created_at, expires_at = excluded.expires_at";
    has_invitation = "SELECT EXISTS (SELECT 1 FROM vestibule.invitations WHERE email_key = $1)";
    has_invitation_of = "SELECT EXISTS (SELECT 1 FROM vestibule.invitations WHERE email_key = $1 AND email = $2 AND created_at = $3 AND expires_at = $4)";
    select_invitations = "SELECT email, created_at, expires_at FROM vestibule.invitations WHERE (created_at, email_key) > ($1, $2) ORDER BY created_at, email_key LIMIT $3";
    delete_invitation = "DELETE FROM vestibule.invitations WHERE email_key = $1";
    prune_invitations = "DELETE FROM vestibule.invitations WHERE email_key = ANY (ARRAY(SELECT email_key FROM vestibule.invitations WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

    insert_identity = "INSERT INTO vestibule.identities (issuer, subject, user_id, provider, email, email_verified, name, picture, created_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";
    update_identity = "UPDATE vestibule.identities SET provider = $4, email = $5, email_verified = $6, name = $7, picture = $8, last_used_at = $9 WHERE issuer = $1 AND subject = $2 AND user_id = $3";
    select_identities = "SELECT user_id, issuer, subject, provider, email, email_verified, name, picture, created_at, last_used_at FROM vestibule.identities WHERE user_id = $1 ORDER BY created_at, issuer, subject";
    delete_identity = "DELETE FROM vestibule.identities WHERE user_id = $1 AND issuer = $2 AND subject = $3";
    has_identity = "SELECT EXISTS (SELECT 1 FROM vestibule.identities WHERE user_id = $1 AND issuer = $2 AND subject = $3)";
    insert_taken_away = "INSERT INTO vestibule.taken_away (user_id, issuer, subject) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    delete_taken_away = "DELETE FROM vestibule.taken_away WHERE user_id = $1 AND issuer = $2 AND subject = $3";
    upsert_provider_tokens = "INSERT INTO vestibule.provider_tokens AS tokens (issuer, subject, sealed, version) VALUES ($1, $2, $3, $4) ON CONFLICT (issuer, subject) DO UPDATE SET sealed = excluded.sealed, version = greatest(tokens.version + 1, excluded.version), lease_until = NULL, lessee = NULL";
    select_provider_tokens = "SELECT tokens.issuer, tokens.subject, identities.provider, tokens.sealed, tokens.version FROM vestibule.users AS users JOIN vestibule.identities AS identities ON identities.user_id = users.id JOIN vestibule.provider_tokens AS tokens ON tokens.issuer = identities.issuer AND tokens.subject = identities.subject WHERE users.id = $1 AND users.is_active ORDER BY identities.last_used_at DESC, tokens.issuer, tokens.subject";
    lease_provider_tokens = "UPDATE vestibule.provider_tokens SET lease_until = $4, lessee = $5 WHERE issuer = $1 AND subject = $2 AND version = $3 AND (lease_until IS NULL OR lease_until <= $6)";
    has_lease = "SELECT EXISTS (SELECT 1 FROM vestibule.provider_tokens WHERE issuer = $1 AND subject = $2 AND lessee = $3)";
    update_provider_tokens = "UPDATE vestibule.provider_tokens SET sealed = $4, version = greatest(version + 1, $5), lease_until = NULL, lessee = NULL WHERE issuer = $1 AND subject = $2 AND version = $3";
    delete_provider_tokens = "DELETE FROM vestibule.provider_tokens WHERE issuer = $1 AND subject = $2 AND version = $3";
    // The version that it was raised to follows from the one that was replaced.
    has_replaced_provider_tokens = "SELECT EXISTS (SELECT 1 FROM vestibule.provider_tokens WHERE issuer = $1 AND subject = $2 AND version = greatest($3 + 1, $5) AND sealed = $4)";
    has_provider_tokens = "SELECT EXISTS (SELECT 1 FROM vestibule.provider_tokens WHERE issuer = $1 AND subject = $2)";
    take_provider_tokens = "DELETE FROM vestibule.provider_tokens AS tokens USING vestibule.identities AS identities WHERE identities.user_id = $1 AND identities.issuer = $2 AND identities.subject = $3 AND tokens.issuer = $2 AND tokens.subject = $3 RETURNING tokens.sealed";
    has_way_in = "SELECT EXISTS (SELECT 1 FROM vestibule.identities WHERE user_id = $1) OR EXISTS (SELECT 1 FROM vestibule.users WHERE id = $1 AND password_hash IS NOT NULL)";

    // The claim is there since `claim_state`, and this COMMIT makes it durable. Where it is not, it is written now.
    insert_session = "WITH claimed AS (INSERT INTO vestibule.claims (state, claimed_at, claimant) VALUES ($8, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, $2) ON CONFLICT DO NOTHING) INSERT INTO vestibule.sessions (hash, id, user_id, provider, created_at, last_seen_at, expires_at, idle_seconds) VALUES ($1, $2, $3, $4, $5, $5, $6, $7)";
    has_session = "SELECT EXISTS (SELECT 1 FROM vestibule.sessions WHERE hash = $1)";
    select_session = "SELECT users.id, users.version, users.email, users.claimed_email, users.password_hash IS NOT NULL, users.name, users.picture, users.is_active, users.is_superuser, users.created_at, users.updated_at, sessions.id, sessions.provider, sessions.created_at, sessions.last_seen_at, sessions.expires_at, sessions.idle_seconds FROM vestibule.sessions AS sessions JOIN vestibule.users AS users ON users.id = sessions.user_id WHERE sessions.hash = $1 AND sessions.expires_at > $2 AND sessions.last_seen_at + sessions.idle_seconds * 1000000 > $2 AND users.is_active";
    select_session_by_id = "SELECT users.id, users.version, users.email, users.claimed_email, users.password_hash IS NOT NULL, users.name, users.picture, users.is_active, users.is_superuser, users.created_at, users.updated_at, sessions.id, sessions.provider, sessions.created_at, sessions.last_seen_at, sessions.expires_at, sessions.idle_seconds FROM vestibule.sessions AS sessions JOIN vestibule.users AS users ON users.id = sessions.user_id WHERE sessions.id = $1 AND sessions.expires_at > $2 AND sessions.last_seen_at + sessions.idle_seconds * 1000000 > $2 AND users.is_active";
    select_session_by_grant = "SELECT users.id, users.version, users.email, users.claimed_email, users.password_hash IS NOT NULL, users.name, users.picture, users.is_active, users.is_superuser, users.created_at, users.updated_at, sessions.id, sessions.provider, sessions.created_at, sessions.last_seen_at, sessions.expires_at, sessions.idle_seconds FROM vestibule.grants AS grants JOIN vestibule.sessions AS sessions ON sessions.id = grants.session JOIN vestibule.users AS users ON users.id = sessions.user_id WHERE grants.id = $1 AND grants.expires_at > $2 AND sessions.expires_at > $2 AND sessions.last_seen_at + sessions.idle_seconds * 1000000 > $2 AND users.is_active";
    // Who it is, and whether what hangs on it goes over to a session of this user.
    lock_session = "SELECT sessions.id, sessions.user_id = $2 AND sessions.expires_at > $3 AND sessions.last_seen_at + sessions.idle_seconds * 1000000 > $3 FROM vestibule.sessions AS sessions WHERE sessions.hash = $1 FOR UPDATE";
    touch_session = "UPDATE vestibule.sessions SET last_seen_at = greatest(last_seen_at, $2) WHERE id = $1 AND expires_at > $2 AND last_seen_at + idle_seconds * 1000000 > $2";
    delete_session = "DELETE FROM vestibule.sessions WHERE hash = $1 RETURNING id";
    delete_sessions_of = "DELETE FROM vestibule.sessions WHERE user_id = $1";
    delete_other_sessions = "DELETE FROM vestibule.sessions WHERE user_id = $1 AND id IS DISTINCT FROM $2";
    prune_sessions = "DELETE FROM vestibule.sessions WHERE hash = ANY (ARRAY(SELECT hash FROM vestibule.sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

    insert_code = "INSERT INTO vestibule.codes (hash, session, client_id, redirect_uri, code_challenge, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    has_code = "SELECT EXISTS (SELECT 1 FROM vestibule.codes WHERE hash = $1)";
    has_code_used_for = "SELECT EXISTS (SELECT 1 FROM vestibule.codes WHERE hash = $1 AND grant_id = $2)";
    lock_code = "SELECT codes.session, codes.client_id, codes.redirect_uri, codes.code_challenge, codes.expires_at, codes.grant_id FROM vestibule.sessions AS sessions JOIN vestibule.codes AS codes ON codes.session = sessions.id WHERE codes.hash = $1 FOR NO KEY UPDATE OF sessions, codes";
    delete_lapsed_codes = "DELETE FROM vestibule.codes WHERE session = $1 AND grant_id IS NULL AND expires_at <= $2";
    use_code = "UPDATE vestibule.codes SET grant_id = $2 WHERE hash = $1";
    move_codes = "UPDATE vestibule.codes SET session = $2 WHERE session = $1";
    prune_codes = "DELETE FROM vestibule.codes WHERE hash = ANY (ARRAY(SELECT hash FROM vestibule.codes WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

    insert_grant = "INSERT INTO vestibule.grants (id, session, client_id, key, count, created_at, expires_at) VALUES ($1, $2, $3, $4, 0, $5, $6)";
    trim_grants = "DELETE FROM vestibule.grants WHERE session = $1 AND client_id = $2 AND id NOT IN (SELECT id FROM vestibule.grants WHERE session = $1 AND client_id = $2 ORDER BY created_at DESC, id DESC LIMIT $3)";
    has_grant = "SELECT EXISTS (SELECT 1 FROM vestibule.grants WHERE id = $1)";
    has_grant_of_count = "SELECT EXISTS (SELECT 1 FROM vestibule.grants WHERE id = $1 AND count >= $2)";
    select_grant = "SELECT grants.id, grants.client_id, grants.key, grants.count, grants.created_at, grants.rotated_at, grants.expires_at FROM vestibule.grants AS grants JOIN vestibule.sessions AS sessions ON sessions.id = grants.session JOIN vestibule.users AS users ON users.id = sessions.user_id WHERE grants.id = $1 AND grants.expires_at > $2 AND sessions.expires_at > $2 AND sessions.last_seen_at + sessions.idle_seconds * 1000000 > $2 AND users.is_active";
    lock_grant = "SELECT grants.id, grants.client_id, grants.key, grants.count, grants.created_at, grants.rotated_at, grants.expires_at FROM vestibule.sessions AS sessions JOIN vestibule.grants AS grants ON grants.session = sessions.id WHERE grants.id = $1 FOR NO KEY UPDATE OF sessions, grants";
    rotate_grant = "UPDATE vestibule.grants SET count = $2, rotated_at = $3 WHERE id = $1";
    move_grants = "UPDATE vestibule.grants SET session = $2 WHERE session = $1";
    delete_grant = "DELETE FROM vestibule.grants WHERE id = $1";
    delete_grant_of = "DELETE FROM vestibule.grants WHERE id = $1 AND client_id = $2";
    prune_grants = "DELETE FROM vestibule.grants WHERE id = ANY (ARRAY(SELECT id FROM vestibule.grants WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

    lock_keys = "SELECT name FROM vestibule.meta WHERE name = 'signing_keys' FOR UPDATE";
    select_keys = "SELECT kid, algorithm, sealed, public_jwk, created_at, active_from, retired_at FROM vestibule.signing_keys ORDER BY created_at, kid";
    select_newest_key = "SELECT kid FROM vestibule.signing_keys ORDER BY created_at DESC, kid DESC LIMIT 1";
    has_key = "SELECT EXISTS (SELECT 1 FROM vestibule.signing_keys WHERE kid = $1)";
    has_signer = "SELECT EXISTS (SELECT 1 FROM vestibule.signing_keys WHERE active_from <= $1 AND (retired_at IS NULL OR retired_at > $1))";
    delete_waiting_keys = "DELETE FROM vestibule.signing_keys WHERE kid IN (SELECT kid FROM vestibule.signing_keys WHERE active_from > $1 ORDER BY active_from, created_at, kid OFFSET $2)";
    delete_key = "DELETE FROM vestibule.signing_keys WHERE kid = $1";
    retire_keys = "UPDATE vestibule.signing_keys SET retired_at = $1 WHERE retired_at IS NULL";
    insert_key = "INSERT INTO vestibule.signing_keys (kid, algorithm, sealed, public_jwk, created_at, active_from, retired_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    prune_keys = "DELETE FROM vestibule.signing_keys WHERE retired_at <= $1";

    insert_secret_check = "INSERT INTO vestibule.meta (name, value) VALUES ('secret_check', $1) ON CONFLICT DO NOTHING";
    lock_secret_check = "SELECT value FROM vestibule.meta WHERE name = 'secret_check' FOR UPDATE";
    update_secret_check = "UPDATE vestibule.meta SET value = $1 WHERE name = 'secret_check'";

    // It changes nothing, and its COMMIT comes after all that were seen before it.
    settle = "UPDATE vestibule.meta SET value = value WHERE name = 'signing_keys'";

    // A replica answers reads, and is none of ours.
    takes_writes = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'";
}
