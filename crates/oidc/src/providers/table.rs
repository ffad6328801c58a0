//! Providers without a file of their own: one row each.
//!
//! Their facts are written down from general knowledge and compared with no documentation. So no address of theirs
//! counts as verified, until `email_verified_claim` of the configuration says which member does.

use super::{
    Authoritative, ClaimPaths, ClientAuthMethod, EmailTrust, Endpoints, Facts, OAuth2, Preset,
    Profile, Protocol, Quirks, Setting, Verified,
};

/// Amazon.
pub static AMAZON: Preset = row(
    "amazon",
    "Amazon",
    OAuth2 {
        issuer: "https://www.amazon.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://www.amazon.com/ap/oa",
            token: "https://api.amazon.com/auth/o2/token",
            revocation: None,
            profile: Profile::Get("https://api.amazon.com/user/profile"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "user_id",
            email: "email",
            name: &["name"],
            picture: "",
        },
    },
    &["profile"],
    Quirks {
        client_auth: Some(ClientAuthMethod::Post),

        ..Quirks::NONE
    },
);

/// Bitbucket.
pub static BITBUCKET: Preset = row(
    "bitbucket",
    "Bitbucket",
    OAuth2 {
        issuer: "https://bitbucket.org",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://bitbucket.org/site/oauth2/authorize",
            token: "https://bitbucket.org/site/oauth2/access_token",
            revocation: None,
            profile: Profile::Get("https://api.bitbucket.org/2.0/user"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "uuid",
            email: "",
            name: &["display_name", "nickname"],
            picture: "links.avatar.href",
        },
    },
    &["account"],
    Quirks {
        client_auth: Some(ClientAuthMethod::Basic),

        ..Quirks::NONE
    },
);

/// Dropbox.
pub static DROPBOX: Preset = row(
    "dropbox",
    "Dropbox",
    OAuth2 {
        issuer: "https://www.dropbox.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://www.dropbox.com/oauth2/authorize",
            token: "https://api.dropboxapi.com/oauth2/token",
            revocation: None,
            profile: Profile::Post("https://api.dropboxapi.com/2/users/get_current_account"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "account_id",
            email: "email",
            name: &["name.display_name"],
            picture: "profile_photo_url",
        },
    },
    &["account_info.read"],
    Quirks {
        client_auth: Some(ClientAuthMethod::Basic),
        offline_params: &[("token_access_type", "offline")],
        ..Quirks::NONE
    },
);

/// Figma.
pub static FIGMA: Preset = row(
    "figma",
    "Figma",
    OAuth2 {
        issuer: "https://www.figma.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://www.figma.com/oauth",
            token: "https://api.figma.com/v1/oauth/token",
            revocation: None,
            profile: Profile::Get("https://api.figma.com/v1/me"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "id",
            email: "email",
            name: &["handle"],
            picture: "img_url",
        },
    },
    &["current_user:read"],
    Quirks {
        client_auth: Some(ClientAuthMethod::Basic),

        ..Quirks::NONE
    },
);

/// Notion.
pub static NOTION: Preset = row(
    "notion",
    "Notion",
    OAuth2 {
        issuer: "https://api.notion.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://api.notion.com/v1/oauth/authorize",
            token: "https://api.notion.com/v1/oauth/token",
            revocation: None,
            profile: Profile::TokenResponse,
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "owner.user.id",
            email: "owner.user.person.email",
            name: &["owner.user.name"],
            picture: "owner.user.avatar_url",
        },
    },
    &[],
    Quirks {
        client_auth: Some(ClientAuthMethod::Basic),
        authorization_params: &[("owner", "user")],
        ..Quirks::NONE
    },
);

/// Reddit.
pub static REDDIT: Preset = row(
    "reddit",
    "Reddit",
    OAuth2 {
        issuer: "https://www.reddit.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://www.reddit.com/api/v1/authorize",
            token: "https://www.reddit.com/api/v1/access_token",
            revocation: None,
            profile: Profile::Get("https://oauth.reddit.com/api/v1/me"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "id",
            email: "",
            name: &["name"],
            picture: "",
        },
    },
    &["identity"],
    Quirks {
        client_auth: Some(ClientAuthMethod::Basic),
        offline_params: &[("duration", "permanent")],
        ..Quirks::NONE
    },
);

/// Zoom.
pub static ZOOM: Preset = row(
    "zoom",
    "Zoom",
    OAuth2 {
        issuer: "https://zoom.us",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://zoom.us/oauth/authorize",
            token: "https://zoom.us/oauth/token",
            revocation: None,
            profile: Profile::Get("https://api.zoom.us/v2/users/me"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "id",
            email: "email",
            name: &["display_name", "first_name"],
            picture: "pic_url",
        },
    },
    &["user:read:user"],
    Quirks {
        client_auth: Some(ClientAuthMethod::Basic),

        ..Quirks::NONE
    },
);

/// Kakao.
pub static KAKAO: Preset = row(
    "kakao",
    "Kakao",
    OAuth2 {
        issuer: "https://kauth.kakao.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://kauth.kakao.com/oauth/authorize",
            token: "https://kauth.kakao.com/oauth/token",
            revocation: None,
            profile: Profile::Get("https://kapi.kakao.com/v2/user/me"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "id",
            email: "kakao_account.email",
            name: &["kakao_account.profile.nickname"],
            picture: "kakao_account.profile.profile_image_url",
        },
    },
    &["profile_nickname", "account_email"],
    Quirks {
        subject_of_client: true,
        client_auth: Some(ClientAuthMethod::Post),
        numeric_subject: true,
        ..Quirks::NONE
    },
);

/// LINE.
pub static LINE: Preset = row(
    "line",
    "LINE",
    OAuth2 {
        issuer: "https://access.line.me",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://access.line.me/oauth2/v2.1/authorize",
            token: "https://api.line.me/oauth2/v2.1/token",
            revocation: None,
            profile: Profile::Get("https://api.line.me/v2/profile"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "userId",
            email: "",
            name: &["displayName"],
            picture: "pictureUrl",
        },
    },
    &["profile"],
    Quirks {
        subject_of_client: true,
        client_auth: Some(ClientAuthMethod::Post),

        ..Quirks::NONE
    },
);

/// Naver.
pub static NAVER: Preset = row(
    "naver",
    "Naver",
    OAuth2 {
        issuer: "https://nid.naver.com",
        issuer_aliases: &[],
        endpoints: Endpoints {
            authorization: "https://nid.naver.com/oauth2.0/authorize",
            token: "https://nid.naver.com/oauth2.0/token",
            revocation: None,
            profile: Profile::Get("https://openapi.naver.com/v1/nid/me"),
            emails: None,
        },
        installed: None,
        claims: ClaimPaths {
            subject: "response.id",
            email: "response.email",
            name: &["response.name", "response.nickname"],
            picture: "response.profile_image",
        },
    },
    &[],
    Quirks {
        subject_of_client: true,
        client_auth: Some(ClientAuthMethod::Post),

        ..Quirks::NONE
    },
);

const fn row(
    id: &'static str,
    name: &'static str,
    protocol: OAuth2,
    scopes: &'static [&'static str],
    quirks: Quirks,
) -> Preset {
    Preset {
        id,
        name,
        mark: None,
        protocol: Protocol::OAuth2(protocol),
        scopes,
        email: EmailTrust {
            verified: Verified::Never,
            authoritative: Authoritative::AsConfigured,
            because: "Nobody has compared what it says of addresses with its documentation.",
        },
        needs: &[Setting::ClientSecret],
        quirks,
        facts: Facts {
            checked: None,
            sources: &[],
        },
    }
}
