"""A FastAPI application whose people sign in at Vestibule. It checks their tokens by Vestibule's published keys."""

import secrets
from typing import Annotated

import jwt
from authlib.integrations.starlette_client import OAuth, OAuthError
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse
from starlette.middleware.sessions import SessionMiddleware

VESTIBULE = "http://localhost:8000"
CALLBACK = "http://localhost:9000/callback"

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=secrets.token_hex(32))  # a new key at each start: people sign in again

# Vestibule is to this application what Google is to Vestibule.
oauth = OAuth()
oauth.register(
    name="vestibule",
    client_id="fastapi",
    server_metadata_url=f"{VESTIBULE}/.well-known/oauth-authorization-server",
    client_kwargs={"code_challenge_method": "S256", "token_endpoint_auth_method": "none"},
)
keys = jwt.PyJWKClient(f"{VESTIBULE}/.well-known/jwks.json")


def person(request: Request) -> dict:
    """Who asks: the claims of the bearer token, or of the token that `callback` keeps in the browser's session."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.session.get("token", "")
    try:
        key = keys.get_signing_key_from_jwt(token)
        checked = jwt.decode_complete(token, key, algorithms=["ES256"], audience="fastapi", issuer=VESTIBULE)
        if checked["header"].get("typ") != "at+jwt":  # RFC 9068 section 4: an access token, and nothing else
            raise jwt.InvalidTokenError("not an access token")
        return checked["payload"]
    except jwt.PyJWKClientConnectionError:
        raise HTTPException(503, "Vestibule does not answer") from None
    except jwt.PyJWTError:
        raise HTTPException(401, "sign in at /login", {"WWW-Authenticate": "Bearer"}) from None


@app.get("/me")
def me(person: Annotated[dict, Depends(person)]) -> dict:
    """The protected route."""
    return person


@app.get("/login")
async def login(request: Request) -> RedirectResponse:
    return await oauth.vestibule.authorize_redirect(request, CALLBACK)


@app.get("/callback")
async def callback(request: Request) -> RedirectResponse:
    try:
        tokens = await oauth.vestibule.authorize_access_token(request)
    except OAuthError as error:
        raise HTTPException(400, error.description or error.error) from None
    request.session["token"] = tokens["access_token"]
    return RedirectResponse("/me")
