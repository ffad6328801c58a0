"""What PyJWT and joserfc, as they are, say of an access token (stdin) and of what was made from it. Arguments: issuer, audience."""

import hmac
import json
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.request import urlopen

import jwt
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

issuer, audience = sys.argv[1:]
token = sys.stdin.read()
jwks_uri = f"{issuer}/.well-known/jwks.json"
key_set = KeySet.import_key_set(json.load(urlopen(jwks_uri)))


def base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def encoded(value: dict) -> str:
    return base64url(json.dumps(value).encode())


def decoded(part: str) -> dict:
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


header, claims, signature = token.split(".")
hs256 = f"{encoded(decoded(header) | {'alg': 'HS256'})}.{claims}"
public_key = key_set.keys[0].as_pem(private=False)
turned = ("B" if signature[0] == "A" else "A") + signature[1:]
cases = {
    "ours": token,
    "another person": f"{header}.{encoded(decoded(claims) | {'email': 'bob@example.com'})}.{signature}",
    "another signature": f"{header}.{claims}.{turned}",
    "no signature": f"{header}.{claims}.",
    "no algorithm": f"{encoded(decoded(header) | {'alg': 'none'})}.{claims}.",
    "the public key as a secret": f"{hs256}.{base64url(hmac.digest(public_key, hs256.encode(), 'sha256'))}",
}


def pyjwt(token: str, audience: str) -> dict:
    key = jwt.PyJWKClient(jwks_uri).get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=issuer)


def joserfc(token: str, audience: str) -> dict:
    claims = joserfc_jwt.decode(token, key_set).claims
    registry = joserfc_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer}, aud={"essential": True, "value": audience}, exp={"essential": True}
    )
    registry.validate(claims)
    return claims


def outcome(library, token: str, audience: str) -> str:
    try:
        return library(token, audience)["email"]
    except (jwt.PyJWTError, JoseError):
        return "refused"


print(
    json.dumps(
        {
            library.__name__: {name: outcome(library, case, audience) for name, case in cases.items()}
            | {"another audience": outcome(library, token, "somebody-else")}
            for library in (pyjwt, joserfc)
        }
    )
)
