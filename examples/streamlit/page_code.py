"""A Streamlit page that signs people in by a one-time code: no token is ever in a URL.

Authorization code (RFC 6749 section 4.1) with PKCE (RFC 7636): the page sends the person to Vestibule with a `state` and
the hash of a `code_verifier`, and redeems the code that comes back with the verifier itself.
"""

import base64
import hashlib
import html
import secrets
import time
from pathlib import Path
from urllib.parse import urlencode

import requests
import streamlit as st

VESTIBULE = "http://localhost:8000"
PAGE = "http://localhost:8501/"
CLIENT_ID = "streamlit"
CLIENT_SECRET = Path("client.secret").read_text().strip()


@st.cache_resource
def under_way() -> dict[str, tuple[str, bytes, float]]:
    """The sign-ins that have begun, by `state`: verifier, browser, time. Streamlit's own session ends when the person leaves."""
    return {}


def browser() -> bytes:
    """What Streamlit's own cookie says of this browser. Each answer masks it anew; what lies under the mask stays."""
    _, mask, masked, _ = st.context.cookies["_streamlit_xsrf"].split("|")
    mask = bytes.fromhex(mask)
    return bytes(byte ^ mask[at % len(mask)] for at, byte in enumerate(bytes.fromhex(masked)))


def begin() -> None:
    """Sends the person to Vestibule."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    for old in [old for old, (*_, began) in under_way().items() if time.monotonic() - began > 600]:
        under_way().pop(old, None)
    under_way()[state] = (verifier, browser(), time.monotonic())
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    request = urlencode(
        {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": PAGE,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "provider": "google",
        }
    )
    target = html.escape(f"{VESTIBULE}/oauth/authorize?{request}")
    st.markdown(f'<meta http-equiv="refresh" content="0;url={target}">', unsafe_allow_html=True)
    st.stop()


def finish(answer: dict[str, str]) -> None:
    """Redeems the code, if this browser began the sign-in that it ends. A `state` counts once."""
    verifier, began_by, _ = under_way().pop(answer.get("state", ""), (None, None, None))
    if verifier is None or began_by != browser() or answer.get("iss") != VESTIBULE:
        st.error("This sign-in did not begin here. Please try again.")
    elif "code" not in answer:
        st.error(answer.get("error_description", "The sign-in did not work. Please try again."))
    else:
        tokens = requests.post(
            f"{VESTIBULE}/oauth/token",
            data={
                "grant_type": "authorization_code",
                "code": answer["code"],
                "redirect_uri": PAGE,
                "code_verifier": verifier,
            },
            auth=(CLIENT_ID, CLIENT_SECRET),
        )
        tokens.raise_for_status()
        st.session_state.token = tokens.json()["access_token"]


answer = st.query_params.to_dict()
st.query_params.clear()
if "code" in answer or "error" in answer:
    finish(answer)
elif "iss" in answer:  # a sign-in that began at Vestibule itself: the person is signed in there, and a code comes at once
    begin()

if "token" not in st.session_state:
    st.title("Welcome")
    if st.button("Continue with Google"):
        begin()
    st.stop()

me = requests.get(f"{VESTIBULE}/users/me", headers={"Authorization": f"Bearer {st.session_state.token}"})
if me.status_code == 401:  # expired, or signed out elsewhere
    del st.session_state.token
    st.rerun()
me.raise_for_status()
person = me.json()
st.title(f"Hello {person['name']}")
st.write(person["email"])
