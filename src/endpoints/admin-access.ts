// What an operator does about callers: lets them in with a token, shuts them out.
import { CredentialError } from "../access/jwt.ts";
import { mint, parseGrant, toSecretKey } from "../access/tokens.ts";
import { toMoment } from "../config/parse-access.ts";
import { ConfigError, Reader, type Notes } from "../config/reader.ts";
import { GatewayError } from "../errors.ts";
import type { Revocation } from "../store/store.ts";
import { askStore, checkQuery, type AdminCall } from "./admin-call.ts";

const CALLER_LENGTH = 1_000;
const CANNOT = "Revocations cannot be kept now";

export async function mintToken({ readJson, config, clock }: AdminCall): Promise<object> {
  const { tokens } = config.access ?? {};
  if (tokens === undefined) {
    throw new GatewayError("unknown_url", "No tokens are minted here: TOKEN_SECRET is not set.");
  }
  const raw = await readJson();
  try {
    return mint(parseGrant(raw, config), toSecretKey(tokens.secret.reveal()), clock);
  } catch (error) {
    if (error instanceof CredentialError) throw new GatewayError("invalid_request", error.message);
    throw error instanceof ConfigError ? toInvalid(error) : error;
  }
}

export async function listRevocations({ store, query }: AdminCall): Promise<object> {
  checkQuery(query, []);
  const revocations = await askStore(CANNOT, store.revocations());
  return { revocations: revocations.map(show) };
}

/** Shuts a caller out, whatever credential it has, and ends what it has open here. */
export async function revoke(call: AdminCall): Promise<object> {
  const { store, endCallsOf } = call;
  const revocation = parseRevocation(await call.readJson(), call);
  await askStore(CANNOT, store.revoke(revocation));
  endCallsOf(revocation.caller);
  return listRevocations(call);
}

export async function liftRevocation(call: AdminCall): Promise<object> {
  const { query, store } = call;
  checkQuery(query, ["caller"]);
  const caller = query.get("caller") ?? "";
  if (caller === "") throw new GatewayError("invalid_request", "Say whose, by ?caller=….");
  await askStore(CANNOT, store.revoke({ caller, untilMs: 0 }));
  return listRevocations({ ...call, query: new URLSearchParams() });
}

/** @throws GatewayError 400 naming all that is wrong. */
function parseRevocation(raw: unknown, { config, clock }: AdminCall): Revocation {
  const notes: Notes = { problems: [], origins: new Map() };
  const given = new Reader(raw, "", notes);
  const caller = given.text("caller") ?? "";
  if (!given.has("caller")) given.problem("caller", "is missing: expected one, as key:backend");
  else if (caller === "" || caller.length > CALLER_LENGTH || /\p{Cc}/u.test(caller)) {
    given.expected("caller", "1 to 1000 characters, none a control");
  }
  const until = given.text("until");
  const untilMs = until === undefined ? undefined : toMoment(until);
  if (until !== undefined && (untilMs ?? 0) <= clock.now()) {
    given.expected("until", "a moment to come, as 2027-01-01T12:00:00Z");
  }
  given.finish();
  if (notes.problems.length > 0) throw toInvalid(new ConfigError(notes.problems));
  return { caller, untilMs: untilMs ?? lastCredentialMs(caller, config, clock.now()) };
}

/** Until the last credential that a caller can have now has expired. */
function lastCredentialMs(caller: string, { access }: AdminCall["config"], nowMs: number): number {
  const key = /^key:(.*)$/s.exec(caller)?.[1];
  const seconds = access?.tokens?.maxLifetimeSeconds;
  if (caller.startsWith("token:") && seconds !== undefined) return nowMs + seconds * 1_000 + 60_000;
  const ends = (access?.keys ?? [])
    .filter(({ name }) => name === key)
    .map(({ expires }) => (expires === undefined ? Infinity : (toMoment(expires) ?? Infinity)));
  return ends.length > 0 ? Math.max(nowMs + 60_000, ...ends) : Infinity;
}

function show({ caller, untilMs }: Revocation): object {
  return { caller, until: untilMs === Infinity ? null : new Date(untilMs).toISOString() };
}

function toInvalid(error: ConfigError): GatewayError {
  const [first] = error.problems;
  const message = error.message.replaceAll("\n", "; ");
  return new GatewayError("invalid_request", message, { param: first?.where ?? "" });
}
