// The store that the settings describe. What they do not ask for is not loaded: the client of Redis
// and the journal take a fifth of the time of a start.
import type { Clock } from "../clock.ts";
import type { Config, PolicyConfig, StoreConfig } from "../config/config.ts";
import type { History } from "./history.ts";
import { LateStore } from "./late-store.ts";
import { MemoryHistory } from "./memory-history.ts";
import { MemoryStore } from "./memory-store.ts";
import type { Store } from "./store.ts";

/** @param tell is told what the operator should know: sentences without secrets. */
export function openStore(
  { store: config, policies }: Pick<Config, "store" | "policies">,
  clock: Clock,
  tell: (message: string) => void,
): Store {
  // An embedder's log may throw; that must not end its process.
  const warn = (message: string): void => {
    try {
      tell(message);
    } catch {
      // Nobody is there to be told.
    }
  };
  const { redis, dataDir } = config;
  const forever = Object.values(policies).some(hasTotal);
  if (redis !== undefined) return new LateStore(openRedis(redis, config, clock, warn));
  if (dataDir === undefined) return new MemoryStore(clock, new MemoryHistory(), forever);
  return new LateStore(openDirectory(dataDir, config, clock, warn, forever));
}

/** A budget that is never whole again. */
function hasTotal(policy: PolicyConfig): boolean {
  const budgets = [policy, policy.shared, policy.perAddress].flatMap(
    (quota) => quota?.budget ?? [],
  );
  return budgets.some(({ per }) => per === "total");
}

async function openDirectory(
  directory: string,
  config: StoreConfig,
  clock: Clock,
  warn: (message: string) => void,
  forever: boolean,
): Promise<Store> {
  const history = await openJournal(directory, config, clock, warn);
  try {
    const { openRevocations } = await import("./revocations-file.ts");
    return new MemoryStore(clock, history, forever, openRevocations(directory, clock));
  } catch (error) {
    await history.close();
    throw error;
  }
}

/** @throws Error when the directory cannot be written. */
async function openJournal(
  directory: string,
  { keepDays, sync }: StoreConfig,
  clock: Clock,
  warn: (message: string) => void,
): Promise<History> {
  const { openJournal } = await import("./journal.ts");
  return openJournal(directory, { clock, keepDays, sync, onProblem: warn });
}

async function openRedis(
  address: NonNullable<StoreConfig["redis"]>,
  config: StoreConfig,
  clock: Clock,
  warn: (message: string) => void,
): Promise<Store> {
  const { dataDir, keepDays } = config;
  const journal = dataDir && (await openJournal(dataDir, config, clock, warn));
  const { RedisStore } = await import("./redis-store.ts");
  const store = new RedisStore(address, {
    clock,
    keepDays,
    onState: (state, problem) => {
      if (state === "down") warn(problem ?? "Redis is not connected.");
    },
  });
  return journal ? withRecord(store, journal, clock) : store;
}

/** Redis counts, and the record is written here, too. */
function withRecord(store: Store, record: History, clock: Clock): Store {
  record.restore(() => {}); // For its own totals: Redis knows what was spent.
  return {
    admit: (claim) => store.admit(claim),
    extend: (claim, costMicroUsd) => store.extend(claim, costMicroUsd),
    usage: (fromDay, toDay) => store.usage(fromDay, toDay),
    peek: (quotas) => store.peek(quotas),
    revoke: (revocation) => store.revoke(revocation),
    revoked: (caller) => store.revoked(caller),
    revocations: () => store.revocations(),
    async settle(claim, used, call) {
      const scopes = claim.quotas.map(({ scope }) => scope);
      const entry = { ...call, atMs: Math.round(clock.now()), scopes };
      await Promise.all([store.settle(claim, used, call), record.add(entry)]);
    },
    get problem() {
      return store.problem ?? record.problem;
    },
    async close() {
      await Promise.all([store.close(), record.close()]);
    },
  };
}
