// Pipelined requests take their turns: no call is made for an answer that nobody may ever read.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import { openSocket } from "../helpers/raw-client.ts";
import { startGateway } from "../helpers/start-gateway.ts";

const GET = "GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n";

test("a pipelined call begins when the answer before it is out, and gets its own", async (t) => {
  const ends: (() => void)[] = [];
  const openai = await fakeOpenAI(t, (res) => {
    const number = openai.arrivals.length;
    ends.push(() => void res.end(`answer ${number}`));
  });
  const { port } = await startGateway(t, openai.baseUrl);
  const socket = await openSocket(port);
  let text = "";
  socket.on("data", (chunk) => (text += String(chunk)));

  socket.write(GET + GET);
  await openai.next();
  for (let count = 0; count < 20; count++) await turn();
  assert.equal(openai.arrivals.length, 1);
  ends[0]?.();
  await openai.next();
  ends[1]?.();
  while (!text.includes("answer 2")) await once(socket, "data");

  assert.ok(text.indexOf("answer 1") < text.indexOf("answer 2"), text);
  socket.destroy();
});

test("calls that wait behind a client who leaves are never made", async (t) => {
  const openai = await fakeOpenAI(t, () => {});
  const { port, reported, log } = await startGateway(t, openai.baseUrl);
  const socket = await openSocket(port);
  socket.write(GET.repeat(20));
  const arrival = await openai.next();

  socket.resetAndDestroy();
  await arrival.closed;
  await reported();
  for (let count = 0; count < 20; count++) await turn();

  assert.equal(openai.arrivals.length, 1);
  assert.equal(log.filter(({ message }) => message === "request").length, 1);
});

test("a connection on which too many calls wait is closed", async (t) => {
  const openai = await fakeOpenAI(t, () => {});
  const { port, url } = await startGateway(t, openai.baseUrl);
  const socket = await openSocket(port);

  socket.write(GET.repeat(100));
  await once(socket.resume(), "close");

  assert.ok(openai.arrivals.length <= 1, `${openai.arrivals.length} calls`);
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
});
