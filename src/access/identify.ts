// Who is calling: a key's holder, a user of the app, a minted token's subject, an address.
import type { IncomingMessage } from "node:http";
import type { Clock } from "../clock.ts";
import type { AccessConfig } from "../config/access.ts";
import type { Config, Limits } from "../config/config.ts";
import { TOKEN_ISSUER } from "../config/parse-access.ts";
import { ConfigError } from "../config/reader.ts";
import { clientAddress, toAddressSet, toNetwork } from "../http/address.ts";
import { createCaller, type Caller } from "./caller.ts";
import { demand, readCredential, refuse } from "./credential.ts";
import { createIssuer } from "./issuer.ts";
import type { Fetch } from "./jwks.ts";
import { CredentialError, isJwt, parseJwt } from "./jwt.ts";
import { createKeyRing } from "./keys.ts";
import { compilePolicy } from "./policy.ts";
import { createTokenVerifier } from "./tokens.ts";

/** @throws GatewayError 401, or 503 where the issuer's keys cannot be had. */
export type Identify = (req: IncomingMessage) => Promise<Caller>;

/** Makes a caller of a proved id. @throws CredentialError for a policy that we do not have. */
type Introduce = (req: IncomingMessage, id: string, policy: string, limits?: Limits) => Caller;

/** @param revoked whether a caller is shut out, whatever its credential. */
export function createIdentify(
  config: Config,
  clock: Clock,
  fetch: Fetch,
  revoked: (caller: string) => boolean,
): Identify {
  const { access, server } = config;
  const trusted = toAddressSet(server.trustedProxies);
  const policies = new Map(
    Object.entries(config.policies).map(([name, policy]) => [name, compilePolicy(name, policy)]),
  );
  const secret = config.upstreams[0].apiKey.reveal();
  const networkOf = (req: IncomingMessage): string => toNetwork(clientAddress(req, trusted));
  const introduce: Introduce = (req, id, name, limits = {}) => {
    const policy = policies.get(name);
    if (policy === undefined) throw new CredentialError("The token names a policy we do not have.");
    if (revoked(id)) throw refuse("The caller is revoked.");
    const address = policy.perAddress && networkOf(req);
    return createCaller(id, policy.narrow(limits), secret, address);
  };
  const byAddress = (req: IncomingMessage, policy: string): Caller => {
    return introduce(req, networkOf(req), policy);
  };
  if (access === undefined) return async (req) => byAddress(req, "default");

  const { anonymous } = access;
  const knowsNobody = access.keys.length + access.jwt.length === 0 && access.tokens === undefined;
  const check = createCheck(access, introduce, clock, fetch);
  return async (req) => {
    // SDKs insist on sending a key, also where none is asked for.
    const credential = knowsNobody ? undefined : readCredential(req.headers);
    if (credential !== undefined) return await check(req, credential);
    if (anonymous === undefined) throw demand();
    return byAddress(req, anonymous);
  };
}

function createCheck(
  access: AccessConfig,
  introduce: Introduce,
  clock: Clock,
  fetch: Fetch,
): (req: IncomingMessage, credential: string) => Promise<Caller> {
  const findKey = createKeyRing(access.keys);
  const verifyToken = access.tokens && createTokenVerifier(access.tokens);
  const issuers = access.jwt.map(({ issuer, ...config }) => {
    return { issuer, verify: createIssuer({ issuer, ...config }, clock, fetch) };
  });

  const identifyJwt = async (req: IncomingMessage, text: string): Promise<Caller> => {
    const jwt = parseJwt(text);
    const { iss } = jwt.claims;
    if (iss === TOKEN_ISSUER && verifyToken !== undefined) {
      const { subject, policy, limits } = verifyToken(jwt, clock.now());
      return introduce(req, `token:${subject}`, policy, limits);
    }
    let failure = new CredentialError("The token is of an unknown issuer.");
    for (const { issuer, verify } of issuers) {
      if (issuer !== iss) continue;
      try {
        const { subject, policy } = await verify(jwt, clock.now());
        return introduce(req, `${issuer}#${subject}`, policy);
      } catch (error) {
        if (!(error instanceof CredentialError)) throw error;
        failure = error; // Another entry may be for another audience of the same issuer.
      }
    }
    throw failure;
  };

  return async (req, credential) => {
    const key = findKey(credential, clock.now());
    if (key !== undefined) return introduce(req, `key:${key.name}`, key.policy);
    if (!isJwt(credential)) throw refuse("No such key, or one that has expired.");
    try {
      return await identifyJwt(req, credential);
    } catch (error) {
      if (error instanceof CredentialError || error instanceof ConfigError) throw refuse(error);
      throw error;
    }
  };
}
