"""A Streamlit page that takes the token from its URL, as the article's does."""

import requests
import streamlit as st

VESTIBULE = "http://localhost:8000"

if "token" in st.query_params:
    st.session_state.token = st.query_params["token"]
    st.query_params.clear()  # out of the address bar; the browser's history and the server's log still have it

if "token" not in st.session_state:
    st.title("Welcome")
    st.markdown(f'<a href="{VESTIBULE}/auth/google/login" target="_self">Continue with Google</a>', unsafe_allow_html=True)
    st.stop()

answer = requests.get(f"{VESTIBULE}/users/me", headers={"Authorization": f"Bearer {st.session_state.token}"})
if answer.status_code == 401:  # expired, or signed out elsewhere
    del st.session_state.token
    st.rerun()
answer.raise_for_status()
person = answer.json()
st.title(f"Hello {person['name']}")
st.write(person["email"])
