// Operators: a Prometheus that scrapes, and a dashboard that looks, loses its connection, comes back.
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { ADMIN, scrape } from "./gateway.mjs";

const SCRAPE_MS = 5_000;
const LOOK_MS = 15_000;

/** @returns what they have seen so far. */
export function startOnlookers({ port }) {
  const leaving = new AbortController();
  const seen = { scrapes: 0, looks: 0, ticks: 0, failures: [] };
  const repeat = async (look) => {
    while (!leaving.signal.aborted) {
      await look().catch((error) => seen.failures.push(error.message));
    }
  };
  const wait = (ms) => sleep(ms, undefined, { signal: leaving.signal }).catch(() => {});

  const scraping = repeat(async () => {
    await wait(SCRAPE_MS);
    await scrape(port);
    seen.scrapes++;
  });
  const looking = repeat(async () => {
    const res = await openEvents(port);
    seen.looks++;
    res.on("data", (piece) => (seen.ticks += String(piece).split("event: tick").length - 1));
    res.on("error", () => {});
    await wait(LOOK_MS);
    res.destroy();
  });
  return {
    seen,
    async leave() {
      leaving.abort();
      await Promise.all([scraping, looking]);
    },
  };
}

function openEvents(port) {
  const options = { port, host: "127.0.0.1", path: "/admin/events", headers: ADMIN, agent: false };
  return new Promise((resolve, reject) => {
    const call = get(options, (res) => {
      if (res.statusCode === 200) resolve(res);
      else reject(new Error(`/admin/events answers ${res.statusCode}`));
    });
    call.on("error", reject);
  });
}
