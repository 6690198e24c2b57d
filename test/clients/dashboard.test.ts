// The dashboard as an operator has it: the gateway's own process, under load, in a real browser.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { createGateway } from "../../src/gateway.ts";
import { portOf } from "../helpers/fake-openai.ts";
import { post } from "../helpers/read-stream.ts";
import { reasonToSkip, runInPage, startBrowser } from "./browser.ts";
import { runGateway } from "./gateway-process.ts";

const ADMIN_KEY = "admin-key-0123456789abcdef";
const CALLER_KEY = "caller-key-0123456789abcdef";
const PHONE = { width: 360, height: 760, deviceScaleFactor: 1, mobile: false };
/** As a client may call its model, and an app its user: markup, a text turned around, and long. */
const HOSTILE = `<img src=x onerror="window.pwned=1">\u202e${"x".repeat(150)}`;
// A model is shown with its first 100 characters.
const HOSTILE_TEXT = /<img src=x onerror="window\.pwned=1">\\u\{202e\}x{60,150}…?$/;

const options = { skip: reasonToSkip(), timeout: 55_000 };

/** Opens every script: waits for something, and notes what goes wrong meanwhile. */
const IN_PAGE = `
  const until = async (what, limitMs = 15000) => {
    const startedAt = performance.now();
    for (;;) {
      const found = what();
      if (found) return found;
      if (performance.now() - startedAt > limitMs) throw new Error("never: " + what);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const $ = (id) => document.getElementById(id);
  const rows = (id) => [...$(id).querySelectorAll("tbody tr")];
  window.wrong ??= [];
  addEventListener("error", ({ message }) => wrong.push(message));
  addEventListener("unhandledrejection", ({ reason }) => wrong.push(String(reason)));
  const broken = new ReportingObserver(() => {}, { buffered: true });
  broken.observe();
  const wronged = () => [
    ...wrong,
    ...broken.takeRecords().map(({ type, body }) => type + JSON.stringify(body)),
  ];
`;

/** What the page has come to, when it has drawn some calls. */
interface Drawn {
  readonly address: string;
  readonly state: string;
  readonly bars: string;
  readonly requests: string;
  readonly callers: readonly string[];
  readonly models: readonly string[];
  readonly limits: string;
  readonly settings: string;
  readonly origins: readonly string[];
  readonly stored: number;
  readonly wrong: readonly string[];
}

const DRAW = `async () => {${IN_PAGE}
  const names = (id) => rows(id).map((row) => row.querySelector(".name").textContent);
  await until(() => $("state").textContent === "Live" && rows("calls").length >= 5);
  // The page may come between the first calls of the two, and hear of limits after that.
  await until(() => names("callers").length >= 2 && names("model-table").length >= 2);
  await until(() => $("callers").textContent.includes("requests/min"));
  await until(() => /[1-9]/.test(document.querySelector(".tile .note").textContent));
  await until(() => $("chart").querySelector(".fill"));
  $("settings-box").open = true;
  await until(() => rows("settings").length > 5);
  const asked = performance.getEntriesByType("resource").map(({ name }) => new URL(name).origin);
  return {
    address: location.href,
    state: $("state").textContent,
    bars: $("chart").querySelector(".fill").getAttribute("d"),
    requests: document.querySelector(".tile .note").textContent,
    callers: names("callers"),
    models: names("model-table"),
    limits: $("callers").textContent,
    settings: $("settings").textContent,
    origins: [...new Set(asked)],
    stored: localStorage.length + sessionStorage.length + document.cookie.length,
    wrong: wronged(),
  };
}`;

/** How long a call took to be among the latest, from when it was answered. */
const SEE_CALL = `async (model, key) => {${IN_PAGE}
  await until(() => $("state").textContent === "Live");
  const headers = { authorization: "Bearer " + key, "content-type": "application/json" };
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }] });
  await (await fetch("/v1/chat/completions", { method: "POST", headers, body })).text();
  const answeredAt = performance.now();
  await until(() => rows("calls").some((row) => row.textContent.includes(model)));
  return performance.now() - answeredAt;
}`;

interface Shown {
  readonly names: readonly string[];
  readonly titles: readonly string[];
  readonly images: number;
  readonly pwned: boolean;
  readonly widths: readonly number[];
  readonly wrong: readonly string[];
}

const SHOW_HOSTILE = `async () => {${IN_PAGE}
  const names = [];
  for (const id of ["callers", "model-table", "calls", "legend"]) {
    const isHostile = ({ textContent }) => textContent.includes("<");
    const find = () => [...$(id).querySelectorAll(".name")].find(isHostile);
    const { textContent, title } = await until(find);
    names.push({ textContent, title });
  }
  for (const tile of document.querySelectorAll(".tile")) {
    tile.click();
    await new Promise(requestAnimationFrame);
  }
  $("open-play").click();
  await new Promise(requestAnimationFrame);
  return {
    names: names.map(({ textContent }) => textContent),
    titles: names.map(({ title }) => title),
    images: document.images.length,
    pwned: "pwned" in window,
    widths: [innerWidth, document.body.scrollWidth - document.body.clientWidth],
    wrong: wronged(),
  };
}`;

interface Played {
  readonly answer: string;
  readonly stats: string;
  readonly refused: string;
  readonly ownKey: string;
}

/** Without a key, with the admin key, and with a token made for it. */
const PLAY = `async (adminKey) => {${IN_PAGE}
  await until(() => $("state").textContent === "Live");
  $("open-play").click();
  const send = async () => {
    $("send").click();
    await until(() => $("answer").getAttribute("aria-busy") === "true");
    await until(() => $("answer").getAttribute("aria-busy") === "false");
    return $("answer").textContent;
  };
  const refused = await send();
  $("caller-key").value = adminKey;
  const ownKey = await send();
  $("caller-key").value = "";
  $("mint").click();
  await until(() => $("caller-key").value.startsWith("ey"));
  $("message").value = "Say hé";
  const answer = await send();
  return { refused, ownKey, answer, stats: $("stats").textContent };
}`;

/** What the gateway answers to the caller: before, while it is revoked, and after. */
const REVOKE = `async (key) => {${IN_PAGE}
  const headers = { authorization: "Bearer " + key };
  const call = async () => (await fetch("/v1/models", { headers })).status;
  const find = (text) => () => [...$("callers").querySelectorAll("button.slim")].find((each) => {
    return each.textContent === text && /key:app$/.test(each.getAttribute("aria-label"));
  });
  const before = await call();
  (await until(find("Revoke…"))).click();
  const asks = $("revoke").open && $("revoke-who").textContent;
  $("revoke-yes").click();
  const lift = await until(find("Lift"));
  const during = await call();
  lift.click();
  await until(find("Revoke…"));
  return [before, asks, during, await call(), wronged().length];
}`;

const OPEN_WRONG = `async () => {${IN_PAGE}
  await until(() => $("door-problem").textContent !== "");
  return [$("door-problem").textContent, location.href, String($("board").hidden)];
}`;

const FORGET = `async () => {${IN_PAGE}
  await until(() => rows("calls").length > 0);
  $("forget").click();
  return [String($("board").hidden), String($("door").hidden), $("calls").closest("[hidden]").id];
}`;

const ASKED = `async () => {${IN_PAGE}
  const entries = () => performance.getEntriesByType("resource");
  const asked = () => entries().map(({ name }) => new URL(name).pathname);
  await until(() => $("state").textContent === "Live" && $("base").textContent !== "");
  await until(() => asked().some((path) => path.endsWith("/admin/callers")));
  return [$("base").textContent, ...new Set(asked())];
}`;

/** Calls now and then, until it is aborted. */
async function load(origin: string, key: string, signal: AbortSignal): Promise<void> {
  const headers = { authorization: `Bearer ${key}` };
  const messages = [{ role: "user", content: "Hello" }];
  for (let n = 0; !signal.aborted; n++) {
    const body = { model: n % 3 === 0 ? HOSTILE : "gpt-4o-mini", messages };
    const sent = post(`${origin}/v1/chat/completions`, body, { headers, signal });
    await sent.then((answer) => answer.text()).catch(() => {});
    await pause(50);
  }
}

async function mint(origin: string): Promise<string> {
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const answer = await post(`${origin}/admin/tokens`, { subject: HOSTILE }, { headers });
  return Object(await answer.json()).token;
}

test("the dashboard shows an operator what happens", options, async (t) => {
  const ending = new AbortController();
  t.after(() => ending.abort());
  const { origin } = await runGateway(t, {
    args: ["--mock"],
    env: {
      ADMIN_KEY,
      GATEWAY_KEYS: `app:${CALLER_KEY}`,
      TOKEN_SECRET: "the-secret-that-signs-tokens-0123456789",
      REQUESTS_PER_MINUTE: "60000",
      HOST: "127.0.0.1",
    },
  });
  const browser = await startBrowser(t);
  void load(origin, CALLER_KEY, ending.signal);
  void load(origin, await mint(origin), ending.signal);
  // A fragment alone would not load the page anew.
  let visits = 0;
  const pageOf = (key: string): string => `${origin}/dashboard?${visits++}#key=${key}`;
  const see = <Seen>(script: string, ...args: readonly unknown[]): Promise<Seen> =>
    runInPage<Seen>(browser, pageOf(ADMIN_KEY), script, ...args);

  await t.test("it draws, keeps the key to itself, and asks nobody else", async () => {
    const drawn = await see<Drawn>(DRAW);

    assert.deepEqual(drawn.wrong, []);
    assert.doesNotMatch(drawn.address, /#|key/);
    assert.equal(drawn.state, "Live");
    assert.match(drawn.bars, /^M[\d.]+ [\d.]+V/);
    assert.match(drawn.requests, /^\d+ in 5 min$/);
    assert.ok(drawn.callers.includes("key:app"), drawn.callers.join(", "));
    assert.match(drawn.limits, /\d+ of 60K requests\/min/);
    assert.ok(drawn.models.includes("gpt-4o-mini"), drawn.models.join(", "));
    assert.match(drawn.settings, /\[secret\]/);
    assert.deepEqual(drawn.origins, [origin]);
    assert.equal(drawn.stored, 0);
  });

  await t.test("a new call is there within 2 seconds", async () => {
    const tookMs = await see<number>(SEE_CALL, "gpt-4.1-nano", CALLER_KEY);

    assert.ok(tookMs < 2_000, `${tookMs} ms`);
  });

  await t.test("on a phone nothing is wider than it, and hostile names are text", async () => {
    const emulate = { cmd: "Emulation.setDeviceMetricsOverride", params: PHONE };
    const command = `${browser.url}/goog/cdp/execute`;
    await fetch(command, { method: "POST", body: JSON.stringify(emulate) });

    const shown = await see<Shown>(SHOW_HOSTILE);

    assert.deepEqual(shown.widths, [PHONE.width, 0]);
    for (const name of shown.names) assert.match(name, HOSTILE_TEXT);
    assert.deepEqual(shown.titles, shown.names);
    assert.deepEqual([shown.images, shown.pwned, shown.wrong], [0, false, []]);
  });

  await t.test("the playground streams for a caller, and never with the admin key", async () => {
    const { refused, ownKey, answer, stats } = await see<Played>(PLAY, ADMIN_KEY);

    assert.match(refused, /^401 invalid_api_key: /);
    assert.match(ownKey, /^That is the admin key/);
    assert.match(answer, /You said “Say hé”, and this is the mock/);
    assert.match(stats, /First token\d+ ms.*Gateway's part[\d.]+ ms.*Requestgw_/);
  });

  await t.test("a caller is revoked, once it is confirmed, and let in again", async () => {
    const answers = await see<unknown[]>(REVOKE, CALLER_KEY);

    assert.deepEqual(answers, [200, "key:app", 401, 200, 0]);
  });

  await t.test("a wrong key is told so, and a right one can be forgotten", async () => {
    const wrong = await runInPage<string[]>(browser, pageOf("wrong-key"), OPEN_WRONG);
    const forgotten = await see<string[]>(FORGET);

    const [problem = "", address = "", hidden] = wrong;
    assert.match(problem, /^No such key here, or the gateway has none: set ADMIN_KEY/);
    assert.doesNotMatch(address, /#/);
    assert.equal(hidden, "true");
    assert.deepEqual(forgotten, ["true", "false", "board"]);
  });
});

test("below a path of somebody else's server it sends the key nowhere else", options, async (t) => {
  const upstreams = [{ baseUrl: "http://127.0.0.1:9/v1", apiKey: "sk-test-0123456789abcdef" }];
  const admin = { key: ADMIN_KEY };
  const gateway = createGateway({ upstreams, admin, log: { level: "silent" } });
  const strangers: string[] = [];
  const server = createServer((req, res) => {
    const { url = "" } = req;
    if (url.startsWith("/ai/")) {
      req.url = url.slice("/ai".length);
      return gateway.handle(req, res);
    }
    strangers.push(`${url} ${req.headers.authorization ?? ""}`);
    res.writeHead(404).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(async () => {
    await gateway.close();
    server.closeAllConnections();
    server.close();
  });
  const browser = await startBrowser(t);
  const origin = `http://127.0.0.1:${portOf(server)}`;

  const link = `${origin}/ai/dashboard#key=${ADMIN_KEY}`;
  const [base, ...asked] = await runInPage<string[]>(browser, link, ASKED);

  assert.equal(base, `${origin}/ai/v1`);
  assert.ok(asked.includes("/ai/admin/callers"), asked.join(", "));
  assert.deepEqual(
    asked.filter((path) => !path.startsWith("/ai/")),
    [],
  );
  assert.deepEqual(strangers, []);
});
