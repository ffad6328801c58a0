// A certified OpenID provider on a free port of 127.0.0.1. Prints its issuer, then a line for each request that a client
// sends it directly: the endpoint and what came. Ends with its standard input.
//
// Argument: a JSON object. `clients` in the words of RFC 7591, where a key of `jwks` is a `pem` and maybe a
// `kid`; `requires_par`.
// Whoever `login_hint` names signs in and consents, so that a test needs no browser; every other step is the provider's own.

import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

// Standard output is ours.
console.info = console.error;

const asked = JSON.parse(process.argv[2]);

const clients = asked.clients.map((client) => ({
  ...client,
  jwks: client.jwks && {
    keys: client.jwks.map(({ pem, ...name }) => ({ ...createPublicKey(pem).export({ format: 'jwk' }), ...name })),
  },
}));

const jwk = (type, options, extra) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  use: 'sig',
  ...extra,
});

const server = createServer().listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients,
    clientAuthMethods: [...new Set(clients.map((client) => client.token_endpoint_auth_method))],
    jwks: {
      keys: [
        jwk('rsa', { modulusLength: 2048 }, { kid: 'rsa' }),
        jwk('ec', { namedCurve: 'P-256' }, { kid: 'p256' }),
        jwk('ec', { namedCurve: 'P-384' }, { kid: 'p384' }),
        jwk('ed25519', {}, { kid: 'ed' }),
      ],
    },
    enabledJWA: {
      idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'],
    },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    cookies: { keys: ['a key of a test'] },
    features: {
      devInteractions: { enabled: false },
      pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: asked.requires_par },
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: id, email_verified: true, name: 'Somebody Else' }),
    }),
  });

  // What came directly from a client: the names alone.
  provider.use(async (ctx, next) => {
    await next();
    const route = ctx.oidc?.route;
    if (route === 'token' || route === 'pushed_authorization_request') {
      const header = ctx.headers.authorization ? ['Authorization'] : [];
      console.log([route, ...header, ...Object.keys(ctx.oidc.body).sort()].join(' '));
    }
  });

  // Who signs in, and that they consent.
  provider.use(async (ctx, next) => {
    if (!ctx.path.startsWith('/interaction/')) {
      return next();
    }
    const { params, prompt, session } = await provider.interactionDetails(ctx.req, ctx.res);
    if (prompt.name === 'login') {
      await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: params.login_hint } });
    } else {
      const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
      grant.addOIDCScope(params.scope);
      await provider.interactionFinished(ctx.req, ctx.res, { consent: { grantId: await grant.save() } });
    }
    ctx.respond = false;
  });

  server.on('request', provider.callback());
  console.log(issuer);
});

process.stdin.resume();
process.stdin.on('end', () => process.exit());
