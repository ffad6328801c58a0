"""A FastAPI application that reads the Google calendar of whoever is signed in. Vestibule keeps and renews Google's tokens."""

import os
import secrets

import httpx2
from authlib.integrations.starlette_client import OAuth, OAuthError
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import RedirectResponse
from starlette.middleware.sessions import SessionMiddleware

VESTIBULE = "http://localhost:8000"
CALLBACK = "http://localhost:9000/callback"
EVENTS = os.environ.get("EVENTS_URL", "https://www.googleapis.com/calendar/v3/calendars/primary/events")

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=secrets.token_hex(32))  # a new key at each start: people sign in again
oauth = OAuth()
oauth.register(
    name="vestibule",
    client_id="google-api",
    server_metadata_url=f"{VESTIBULE}/.well-known/oauth-authorization-server",
    client_kwargs={"code_challenge_method": "S256", "token_endpoint_auth_method": "none"},
)


async def ask(url: str, token: str) -> httpx2.Response:
    try:
        async with httpx2.AsyncClient(timeout=20) as http:
            return await http.get(url, headers={"Authorization": f"Bearer {token}"})
    except httpx2.HTTPError:
        raise HTTPException(503, f"{url} does not answer") from None


async def google_token(ours: str) -> str:
    """Google's access token of whoever has this token of Vestibule. A live one each time, so that none is kept here."""
    answer = await ask(f"{VESTIBULE}/users/me/providers/google/token", ours)
    if answer.status_code == 200:
        return answer.json()["access_token"]
    raise {
        401: HTTPException(401, "sign in at /login"),
        403: HTTPException(403, "Google has ended the access: sign in at /login again"),
        404: HTTPException(404, "no Google token is kept: set keep_tokens = true for [providers.google] and sign in again"),
    }.get(answer.status_code, HTTPException(503, "Vestibule has no Google token now; try again"))


@app.get("/events")
async def events(request: Request) -> list[str]:
    """What stands in the calendar."""
    if "token" not in request.session:
        raise HTTPException(401, "sign in at /login")
    answer = await ask(EVENTS, await google_token(request.session["token"]))
    if answer.status_code != 200:
        raise HTTPException(502, f"Google's calendar answers with {answer.status_code}")
    return [event.get("summary", "") for event in answer.json()["items"]]


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
    return RedirectResponse("/events")
