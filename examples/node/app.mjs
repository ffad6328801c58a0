// A Node.js application whose people sign in at Vestibule. openid-client learns all it needs from Vestibule's metadata.

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import * as client from 'openid-client'

const VESTIBULE = 'http://localhost:8000'
const SELF = 'http://localhost:3000'
const secret = readFileSync('client.secret', 'utf8').trim()

// Asked at the first sign-in, so that either of the two may start first.
let vestibule
const discover = () => client.discovery(new URL(VESTIBULE), 'node', secret, undefined, {
  algorithm: 'oauth2',
  execute: [client.allowInsecureRequests], // http, on this machine alone
})

// What this application knows of each browser, by the random id in its cookie.
const sessions = new Map()

const routes = {
  '/': () => page('<a href="/login">Continue with Google</a>'),

  '/login': async () => {
    vestibule ??= await discover()
    const id = randomBytes(32).toString('base64url')
    const session = { verifier: client.randomPKCECodeVerifier(), state: client.randomState() }
    sessions.set(id, session)
    const url = client.buildAuthorizationUrl(vestibule, {
      redirect_uri: `${SELF}/callback`,
      state: session.state,
      code_challenge: await client.calculatePKCECodeChallenge(session.verifier),
      code_challenge_method: 'S256',
    })
    return redirect(url.href, { 'set-cookie': `node_session=${id}; Path=/; HttpOnly; SameSite=Lax` })
  },

  '/callback': async (session, url) => {
    const { verifier, state } = session
    delete session.verifier
    delete session.state
    session.tokens = await client.authorizationCodeGrant(vestibule, url, { pkceCodeVerifier: verifier, expectedState: state })
    return redirect('/me')
  },

  '/me': async (session) => {
    if (!session.tokens) return redirect('/')
    if (session.tokens.expiresIn() < 60) {
      session.tokens = await client.refreshTokenGrant(vestibule, session.tokens.refresh_token)
      console.log('refreshed the access token')
    }
    const url = new URL(`${VESTIBULE}/users/me`)
    const answer = await client.fetchProtectedResource(vestibule, session.tokens.access_token, url, 'GET')
    return { status: 200, headers: { 'content-type': 'application/json' }, body: await answer.text() }
  },
}

function page(body) {
  return { status: 200, headers: { 'content-type': 'text/html; charset=utf-8' }, body: `<!doctype html>${body}` }
}

function redirect(location, headers = {}) {
  return { status: 303, headers: { location, ...headers } }
}

createServer(async (request, response) => {
  const url = new URL(request.url, SELF)
  const id = /(?:^|; )node_session=([^;]*)/.exec(request.headers.cookie)?.[1]
  const route = routes[url.pathname] ?? (() => ({ status: 404 }))
  let answer
  try {
    answer = await route(sessions.get(id) ?? {}, url)
  } catch (error) {
    console.error(error)
    answer = { ...page('This did not work. <a href="/login">Sign in again</a>'), status: 400 }
  }
  response.writeHead(answer.status, answer.headers).end(answer.body)
}).listen(3000, '127.0.0.1', () => console.log(`open ${SELF}`))
