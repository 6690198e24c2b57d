// A gateway on a free port, closed when its test ends. A test says only what it is about.
import type { TestContext } from "node:test";
import {
  createGateway,
  type ConfigInput,
  type Gateway,
  type LogFields,
  type Parts,
} from "../../src/gateway.ts";

export const API_KEY = "sk-test-0123456789abcdef";

/** The behaviour of the gateway is the same by both transports: its tests are run with each. */
export const TRANSPORT = process.env["UPSTREAM_TRANSPORT"] === "direct" ? "direct" : "fetch";

export interface LogLine extends LogFields {
  readonly level: string;
  readonly message: string;
}

export interface RunningGateway {
  readonly gateway: Gateway;
  readonly url: string;
  readonly port: number;
  readonly log: LogLine[];
  /** Resolves with the log line of the next request that was reported and not taken yet. */
  reported(): Promise<LogLine>;
}

export async function startGateway(
  t: TestContext,
  baseUrl: string,
  settings: ConfigInput = {},
  parts: Parts = {},
): Promise<RunningGateway> {
  const log: LogLine[] = [];
  const reports: LogLine[] = [];
  const waiting: ((line: LogLine) => void)[] = [];
  const write =
    (level: string) =>
    (message: string, fields: LogFields = {}) => {
      const line = { ...fields, level, message };
      log.push(line);
      if (message !== "request") return;
      const waiter = waiting.shift();
      if (waiter === undefined) reports.push(line);
      else waiter(line);
    };
  const upstreams = settings.upstreams ?? [{ baseUrl, apiKey: API_KEY }];
  const gateway = createGateway(
    {
      ...settings,
      upstreams: upstreams.map((upstream) => ({ transport: TRANSPORT, ...upstream })),
      server: { host: "127.0.0.1", port: 0, drainSeconds: 0, ...settings.server },
    },
    {
      log: {
        debug: write("debug"),
        info: write("info"),
        warn: write("warn"),
        error: write("error"),
      },
      ...parts,
    },
  );
  const { url, port } = await gateway.listen();
  t.after(() => gateway.close());
  return {
    gateway,
    url,
    port,
    log,
    reported() {
      const line = reports.shift();
      if (line !== undefined) return Promise.resolve(line);
      return new Promise((resolve) => waiting.push(resolve));
    },
  };
}
