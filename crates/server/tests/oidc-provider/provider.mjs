// A certified OpenID provider on a free port of 127.0.0.1. Prints its issuer, and ends with its standard input.
//
// Arguments: the method of client authentication, and the redirect URI of each client as `algorithm=uri`.
// Whoever `login_hint` names signs in and consents, so that a test needs no browser; every other step is the provider's own.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const [authMethod, ...redirects] = process.argv.slice(2);

const jwk = (type, options, extra) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  use: 'sig',
  ...extra,
});

const server = createServer().listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: redirects.map((redirect) => {
      const [algorithm, uri] = redirect.split(/=(.*)/s);
      return {
        client_id: `client: ${algorithm}`,
        client_secret: 'a secret:with/what+must%be&encoded=~',
        redirect_uris: [uri],
        id_token_signed_response_alg: algorithm,
        token_endpoint_auth_method: authMethod,
      };
    }),
    clientAuthMethods: [authMethod],
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
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: id, email_verified: true, name: 'Somebody Else' }),
    }),
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
