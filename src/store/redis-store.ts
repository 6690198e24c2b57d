// The store that several gateways share: a Redis or Valkey, each verb one script there, in which
// the server's clock is the only one. What a gateway has set aside and never settles, because it
// died, is given back when the lease is over.
import type { Clock } from "../clock.ts";
import type { RedisAddress } from "../config/redis-url.ts";
import { DAY_MS, toDay } from "./period.ts";
import { toAdmission } from "./redis-admission.ts";
import {
  createRedisConnection,
  type RedisConnection,
  type RedisState,
  type Script,
} from "./redis-connection.ts";
import { RedisError } from "./redis-error.ts";
import { toScopeKeys, toUsageKey } from "./redis-keys.ts";
import { Leases } from "./redis-leases.ts";
import { toQuotaArgument } from "./redis-quota.ts";
import { RetryQueue } from "./redis-retry.ts";
import { RedisRevocations } from "./redis-revocations.ts";
import {
  ADMIT,
  EXTEND,
  RELEASE,
  RENEW,
  SETTLE,
  type ClaimArgument,
  type ExtendArgument,
  type RenewArgument,
  type SettleArgument,
} from "./redis-scripts.ts";
import { readStandings } from "./redis-standing.ts";
import { readUsage, toAmounts, toRowLimits, toRowNames } from "./redis-usage.ts";
import type { Reply } from "./resp.ts";
import {
  StoreError,
  type Admission,
  type CallRecord,
  type Claim,
  type Quota,
  type Revocation,
  type Standing,
  type Store,
  type UsageRow,
  type Used,
} from "./store.ts";
import { PAIR_LIMIT } from "./usage-table.ts";

export interface RedisStoreOptions {
  readonly clock: Clock;
  /** How long the usage of a day is kept. */
  readonly keepDays: number;
  /** For one command or script, all waiting included; 250 by default. */
  readonly timeoutMs?: number;
  /** After how long what is set aside is given back, unless its gateway says that it lives. */
  readonly leaseMs?: number;
  /** Calls that wait to be settled while Redis is away; the oldest beyond are lost. */
  readonly waitingLimit?: number;
  /** Pairs of a caller and a model in a day; those beyond are counted together. */
  readonly rowLimit?: number;
  /** PEM certificates that are trusted instead of the public authorities. */
  readonly ca?: string;
  /** Is told of every change of the connection, with the reason when it is down. */
  readonly onState?: (state: RedisState, problem?: string) => void;
}

const LEASE_MS = 120_000;
/** Beyond the lease: how long a call that is over may wait for Redis. */
const PATIENCE_MS = 180_000;
/** Calls known that were let through although Redis did not answer. */
const UNADMITTED_LIMIT = 100_000;

/**
 * Its keys are `openai-gateway:{limits}:…`. Accounts are kept for 32 days after their last use, and
 * those with a total budget for ever. Days of usage are those of the gateway's clock.
 */
export class RedisStore implements Store {
  readonly #redis: RedisConnection;
  readonly #options: RedisStoreOptions;
  readonly #leaseMs: number;
  readonly #leases: Leases;
  readonly #revocations: RedisRevocations;
  readonly #retries: RetryQueue;
  /** Whose admission failed, as far as one can know. They may be made all the same. */
  readonly #unadmitted = new Set<string>();
  #down: string | undefined = "Redis is not connected yet.";

  constructor(address: RedisAddress, options: RedisStoreOptions) {
    const { clock, leaseMs = LEASE_MS, waitingLimit: limit, timeoutMs, ca, onState } = options;
    this.#options = options;
    this.#leaseMs = leaseMs;
    this.#redis = createRedisConnection(address, {
      clock,
      ...(timeoutMs !== undefined && { timeoutMs }),
      ...(ca !== undefined && { ca }),
      onState: (state, problem) => {
        this.#down = state === "ready" ? undefined : (problem ?? "Redis is not connected.");
        if (state === "ready") this.#revocations.watch();
        else this.#revocations.rest();
        onState?.(state, ...(problem === undefined ? [] : [problem]));
      },
    });
    this.#revocations = new RedisRevocations(clock, this.#redis);
    this.#leases = new Leases(clock, { leaseMs, renew: (claims) => this.#renew(claims) });
    const patienceMs = leaseMs + PATIENCE_MS;
    this.#retries = new RetryQueue(clock, { patienceMs, ...(limit !== undefined && { limit }) });
  }

  get problem(): string | undefined {
    const { size, lost } = this.#retries;
    const problems = [
      this.#down ?? this.#revocations.problem,
      size > 0 ? `Calls that are over and wait for Redis to be counted: ${size}.` : undefined,
      lost > 0 ? `Calls never counted, because Redis was away for too long: ${lost}.` : undefined,
    ].filter((problem) => problem !== undefined);
    return problems.length > 0 ? problems.join(" ") : undefined;
  }

  async admit(claim: Claim): Promise<Admission> {
    const nobody = {
      kind: "admitted",
      levels: { requests: undefined, tokens: undefined },
    } as const;
    if (claim.quotas.length === 0) return nobody;
    try {
      const admission = toAdmission(await this.#ask(ADMIT, this.#toArgument(claim), claim), claim);
      if (admission.kind === "admitted") this.#leases.add(claim);
      return admission;
    } catch (error) {
      this.#giveUp(claim, error);
      throw toStoreError(error);
    }
  }

  async extend(claim: Claim, costMicroUsd: number): Promise<boolean> {
    const call = this.#leases.find(claim.id);
    if (call === undefined) return claim.quotas.length === 0;
    const { heldMicroUsd: microUsd } = call;
    const asked: ExtendArgument = { ...this.#toArgument(claim), microUsd, more: costMicroUsd };
    try {
      const fits = (await this.#ask(EXTEND, asked, claim)) === 1;
      if (fits) call.heldMicroUsd += costMicroUsd;
      return fits;
    } catch (error) {
      call.unsure ||= isUnsure(error);
      throw toStoreError(error);
    }
  }

  async settle(claim: Claim, used: Used, record: CallRecord): Promise<void> {
    const { clock, keepDays, rowLimit = PAIR_LIMIT } = this.#options;
    const open = this.#leases.remove(claim.id);
    const unadmitted = this.#unadmitted.delete(claim.id);
    if (claim.quotas.length > 0 && open === undefined && !unadmitted) return;
    // Nothing on the server shows that it is open: that it is over has to show.
    const marked = unadmitted || open?.unsure === true;
    const over = {
      id: claim.id,
      quotas: claim.quotas.map(toQuotaArgument),
      tokens: used.tokens,
      microUsd: used.costMicroUsd,
      amounts: toAmounts(record),
      usageKeepMs: (keepDays + 1) * DAY_MS,
      rowLimits: toRowLimits(rowLimit),
    };
    const keys = [...toKeys(claim.quotas), toUsageKey(toDay(clock.now()))];
    const names = toRowNames(record);
    await this.#retries.run((again) => {
      const mark = marked || again;
      const asked: SettleArgument = { ...over, again: again && !marked, mark };
      return this.#redis.evaluate(SETTLE, keys, [JSON.stringify(asked), ...names]);
    });
  }

  async usage(fromDay: string, lastDay: string): Promise<readonly UsageRow[]> {
    return readUsage(this.#redis, fromDay, lastDay).catch(fail);
  }

  async peek(quotas: readonly Quota[]): Promise<readonly Standing[]> {
    return readStandings(this.#redis, quotas).catch(fail);
  }

  async revoke(revocation: Revocation): Promise<void> {
    return this.#revocations.put(revocation).catch(fail);
  }

  revoked(caller: string): boolean {
    return this.#revocations.has(caller);
  }

  async revocations(): Promise<readonly Revocation[]> {
    return this.#revocations.list().catch(fail);
  }

  /** What waits to be settled has one more chance. */
  async close(): Promise<void> {
    this.#revocations.rest();
    this.#leases.close();
    await this.#retries.close();
    this.#redis.close();
  }

  #ask(script: Script, argument: ClaimArgument, { quotas }: Claim): Promise<Reply> {
    return this.#redis.evaluate(script, toKeys(quotas), [JSON.stringify(argument)]);
  }

  #toArgument({ id, quotas, tokens, costMicroUsd: microUsd }: Claim): ClaimArgument {
    const leaseMs = this.#leaseMs;
    return { id, quotas: quotas.map(toQuotaArgument), tokens, microUsd, leaseMs };
  }

  #renew(claims: readonly Claim[]): Promise<Reply> {
    const calls = claims.map(({ id, quotas }) => ({ id, quotas: quotas.map(toQuotaArgument) }));
    const batch: RenewArgument = { leaseMs: this.#leaseMs, calls };
    const keys = claims.flatMap(({ quotas }) => toKeys(quotas));
    return this.#redis.evaluate(RENEW, keys, [JSON.stringify(batch)]);
  }

  /** The call may be made all the same, where limits stay open, and is charged then. */
  #giveUp(claim: Claim, error: unknown): void {
    this.#unadmitted.add(claim.id);
    const [oldest] = this.#unadmitted;
    if (this.#unadmitted.size > UNADMITTED_LIMIT && oldest !== undefined) {
      this.#unadmitted.delete(oldest);
    }
    if (!isUnsure(error)) return;
    const argument = this.#toArgument(claim);
    this.#retries.add(() => this.#ask(RELEASE, argument, claim));
  }
}

function toKeys(quotas: readonly Quota[]): string[] {
  return quotas.flatMap(({ scope }) => toScopeKeys(scope));
}

/** Whether what failed may have been done. */
function isUnsure(error: unknown): boolean {
  return !(error instanceof RedisError) || error.kind !== "unavailable";
}

function fail(error: unknown): never {
  throw toStoreError(error);
}

function toStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const message = error instanceof Error ? error.message : "Redis answers nonsense.";
  return new StoreError(message, { cause: error });
}
