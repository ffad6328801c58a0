"""The article's Streamlit page: a link to sign in, and the token from the URL."""

import os

import requests
import streamlit as st

LOGIN_URL = "http://localhost:8000/auth/google/login"
BACKEND_URL = os.getenv("BACKEND_URL", "http://localhost:8000")

if "token" in st.query_params:
    st.session_state.token = st.query_params["token"]

if "token" not in st.session_state:
    st.title("Welcome")
    st.markdown(f'<a href="{LOGIN_URL}" target="_self">Continue with Google</a>', unsafe_allow_html=True)
    st.stop()

answer = requests.get(f"{BACKEND_URL}/users/me", headers={"Authorization": f"Bearer {st.session_state.token}"})
if answer.status_code == 401:
    st.error("Please sign in again.")
    st.stop()
st.title("You are signed in")
st.write(answer.json()["email"])
