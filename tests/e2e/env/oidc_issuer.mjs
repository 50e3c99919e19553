// A certified OpenID Connect issuer (npm oidc-provider) on loopback, over https, with one client that may ask for tokens
// by client_credentials. Usage: node oidc_issuer.mjs FOLDER CERTIFICATE KEY; FOLDER has node_modules. Prints its URL.
// SIGUSR2: new signing keys, published beside none of the old.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, certificate, key] = process.argv.slice(2);
const found = createRequire(folder + '/').resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(found));

let generation = 0;
function signingKey(kind, options, alg) {
  const { privateKey } = generateKeyPairSync(kind, options);
  return { ...privateKey.export({ format: 'jwk' }), kid: `${alg}-${generation}`, alg, use: 'sig' };
}

let serve;
function renew(issuer) {
  generation += 1;
  const provider = new Provider(issuer, {
    clients: [{ client_id: 'robot', client_secret: 'robot-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] }],
    scopes: ['openid', 'books.read', 'books.write'],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'books.read books.write',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: resource.endsWith(':brief') ? 1 : 600,
          jwt: { sign: { alg: resource.includes(':rs256') ? 'RS256' : resource.includes(':eddsa') ? 'EdDSA' : 'ES256' } },
        }),
      },
    },
    jwks: { keys: [signingKey('ec', { namedCurve: 'P-256' }, 'ES256'), signingKey('rsa', { modulusLength: 2048 }, 'RS256'),
                   signingKey('ed25519', {}, 'EdDSA')] },
    enabledJWA: { idTokenSigningAlgValues: ['ES256', 'RS256', 'EdDSA'] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    extraTokenClaims: () => ({ plan: 'gold' }),
  });
  serve = provider.callback();
}

const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (req, res) => serve(req, res));
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://127.0.0.1:${server.address().port}`;
  renew(issuer);
  process.on('SIGUSR2', () => { renew(issuer); console.log('renewed'); });
  console.log(issuer);
});
