// Bodies that try to slip past a policy: each is refused, or whoever reads it at OpenAI, taking the
// first of two members of a name or the last, sees only what the policy allows.
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { gzipSync } from "node:zlib";
import { createCaller } from "../../src/access/caller.ts";
import { compilePolicy } from "../../src/access/policy.ts";
import type { Limits } from "../../src/gateway.ts";
import { checkAnswer, checkArrival } from "../helpers/attack.ts";
import { fakeOpenAI } from "../helpers/fake-openai.ts";
import {
  assertAllowed,
  chooseLimits,
  createRandom,
  JSON_PATHS,
  readJson,
  writeAttack,
} from "../helpers/json-readers.ts";
import { sendRaw } from "../helpers/raw-client.ts";
import { API_KEY, startGateway } from "../helpers/start-gateway.ts";

const LIMITS: Limits = {
  endpoints: ["*"],
  models: ["gpt-4o-mini", "gpt-image-1", "whisper-1"],
  maxOutputTokens: 100,
  maxChoices: 2,
  tools: ["function", "namespace", "image_generation"],
  serviceTiers: ["auto", "default"],
  storedState: false,
  safetyIdentifier: true,
};

interface Sent {
  readonly path: string;
  readonly body: string | Buffer;
  /** Of the `content-type`, unless it is undefined, and others. */
  readonly fields?: readonly string[];
  /** The sizes of the chunks that it comes in; else it has a length. */
  readonly chunked?: number;
}

function toRequest({
  path,
  body,
  fields = ["content-type: application/json"],
  chunked,
}: Sent): Buffer {
  const bytes = Buffer.from(body);
  const framing =
    chunked === undefined ? `content-length: ${bytes.length}` : "transfer-encoding: chunked";
  const head = [`POST /v1${path} HTTP/1.1`, "host: gateway.test", "connection: close", framing];
  const parts = [Buffer.from(`${[...head, ...fields].join("\r\n")}\r\n\r\n`, "latin1")];
  if (chunked === undefined) return Buffer.concat([...parts, bytes]);
  for (let at = 0; at < bytes.length; at += chunked) {
    const chunk = bytes.subarray(at, at + chunked);
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n"));
  }
  return Buffer.concat([...parts, Buffer.from("0\r\n\r\n")]);
}

const safetyIdentifierOf = (limits: Limits): string | undefined =>
  createCaller(
    "127.0.0.1",
    compilePolicy("default", { endpoints: ["*"], assumedOutputTokens: 4_096, ...limits }),
    API_KEY,
  ).safetyIdentifier;

/** @returns the status, and what arrived whole. */
async function play(t: TestContext, sent: Sent, limits: Limits) {
  const openai = await fakeOpenAI(t);
  const policies = { default: limits };
  const { port } = await startGateway(t, openai.baseUrl, { policies });

  const answer = await sendRaw(port, toRequest(sent));

  checkAnswer(answer);
  openai.arrivals.forEach(checkArrival);
  const bodies = await Promise.all(openai.arrivals.map(({ body }) => body.catch(() => undefined)));
  const [arrived] = bodies.filter((body) => body !== undefined);
  if (answer.status !== 200) assert.equal(arrived, undefined, "a refused body arrived whole");
  return { status: answer.status, answer, arrived };
}

/** In every way that a reader could understand it. */
function checkBody(arrived: Buffer | undefined, path: string, limits: Limits): void {
  assert.ok(arrived, "nothing arrived");
  for (const duplicates of ["first", "last"] as const) {
    const value = readJson(arrived, { duplicates, lenient: true });
    assertAllowed(value, path, limits, safetyIdentifierOf(limits));
  }
}

type Case = readonly [
  name: string,
  body: string | Buffer,
  status: number,
  fields?: readonly string[],
];

/** @param status what the client gets; 0 is 400 or 403; 200 is for what is harmless, and arrives. */
function bypasses(subject: string, path: string, cases: readonly Case[]): void {
  describe(subject, { concurrency: 8 }, () => {
    for (const [name, body, status, fields] of cases) {
      test(`${status || "refused"}: ${name}`, async (t) => {
        const sent = { path, body, ...(fields && { fields }) };
        const { answer, arrived } = await play(t, sent, LIMITS);

        const statuses = status === 0 ? [400, 403] : [status];
        assert.ok(statuses.includes(answer.status), `${answer.status}: ${answer.body}`);
        if (status === 200) checkBody(arrived, path, LIMITS);
      });
    }
  });
}

const M = '"model":"gpt-4o-mini"';
const U = '"messages":[{"role":"user","content":"hi"}]';
/** A chat that is allowed but for what is added to it. */
const chat = (more: string): string => `{${M},${U},${more}}`;
const reply = (more: string): string => `{${M},${more}}`;
const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
const item = (text: string): string => reply(`"input":[{"role":"user","content":"hi"},${text}]`);

bypasses("the name of the model", "/chat/completions", [
  ["a plain one that is allowed", chat('"n":1'), 200],
  ["another one", `{"model":"gpt-4o",${U}}`, 403],
  ["none", `{${U}}`, 403],
  ["null", `{"model":null,${U}}`, 403],
  ["an empty one", `{"model":"",${U}}`, 403],
  ["twice, the good one first", `{${M},"model":"gpt-4o",${U}}`, 400],
  ["twice, the good one last", `{"model":"gpt-4o",${U},${M}}`, 400],
  ["twice the same", `{${M},${U},${M}}`, 400],
  ["twice, null last", `{${M},${U},"model":null}`, 400],
  ["a second one behind an object", `{${M},${U},"x":{"y":[{}]},"model":"gpt-4o"}`, 400],
  ["an escaped second key", `{${M},${U},"\\u006dodel":"gpt-4o"}`, 400],
  ["a wholly escaped key", `{"\\u006d\\u006f\\u0064\\u0065\\u006c":"gpt-4o",${U}}`, 400],
  ["a second key in capitals", `{${M},${U},"Model":"gpt-4o"}`, 400],
  ["a second key all in capitals", `{"MODEL":"gpt-4o",${M},${U}}`, 400],
  ["a key with a trailing space is none", `{"model ":"gpt-4o",${U}}`, 403],
  ["a key with a NUL", `{${M},"model\\u0000":"gpt-4o",${U}}`, 400],
  ["a key with a raw NUL", `{${M},"model\0":"gpt-4o",${U}}`, 400],
  ["a key with a zero-width space", `{${M},"mo\u200bdel":"gpt-4o",${U}}`, 400],
  ["a key with a byte that is no UTF-8", latin1(`{${M},"mo\xffdel":"gpt-4o",${U}}`), 400],
  ["an overlong key", latin1(`{${M},"\xc1\xadodel":"gpt-4o",${U}}`), 400],
  ["an escaped value", `{"model":"gpt\\u002d4o-mini",${U}}`, 400],
  ["an escaped slash in the value", `{"model":"gpt-4o-mini\\/",${U}}`, 400],
  ["a NUL behind the value", `{"model":"gpt-4o-mini\\u0000",${U}}`, 400],
  ["a raw NUL behind the value", `{"model":"gpt-4o-mini\0",${U}}`, 400],
  ["a space behind the value", `{"model":"gpt-4o-mini ",${U}}`, 403],
  ["a space before the value", `{"model":" gpt-4o-mini",${U}}`, 403],
  ["a line end behind the value", `{"model":"gpt-4o-mini\n",${U}}`, 400],
  ["capitals in the value", `{"model":"GPT-4o-mini",${U}}`, 403],
  ["a homoglyph in the value", `{"model":"gpt-4\u043e-mini",${U}}`, 400],
  ["a star, as in a policy", `{"model":"gpt-4o-mini*",${U}}`, 403],
  ["a long one that begins well", `{"model":"gpt-4o-mini${"x".repeat(5_000)}",${U}}`, 400],
  ["a list", `{"model":["gpt-4o-mini"],${U}}`, 400],
  ["a list in a list", `{"model":[["gpt-4o"]],${U}}`, 400],
  ["an object", `{"model":{"id":"gpt-4o-mini"},${U}}`, 400],
  ["a number", `{"model":4,${U}}`, 400],
  ["no quotes", `{"model":gpt-4o-mini,${U}}`, 400],
  ["in metadata and messages it is none", `{"metadata":{${M}},"messages":[{${M}}]}`, 403],
  ["another one in metadata", chat('"metadata":{"model":"gpt-4o","Model":"x"}'), 200],
  ["another one in a message, where OpenAI knows none", chat('"x":[{"model":"gpt-4o"}]'), 403],
  ["another one in a schema", chat('"x":{"schema":{"model":"gpt-4o"}}'), 200],
  ["another one in a text", chat('"user":"\\",\\"model\\":\\"gpt-4o\\""'), 200],
  ["a key with a long s", chat('"\u017ftore":true'), 400],
  ["a key with a Kelvin sign", chat('"max_to\u212Aens":999'), 400],
  ["a key with a full-width letter", chat('"\uff4dodel":"gpt-4o"'), 400],
  ["of the moderator", chat('"moderation":{"model":"gpt-4o"}'), 403],
]);

bypasses("what is not one JSON object in UTF-8", "/chat/completions", [
  ["an empty body", "", 400],
  ["white space", " \n", 400],
  ["a list around it", `[${chat('"n":1')}]`, 400],
  ["a text", '"model"', 400],
  ["null", "null", 400],
  ["a byte-order mark", `\ufeff${chat('"n":1')}`, 400],
  ["UTF-16, little end first", Buffer.from(chat('"n":1'), "utf16le"), 400],
  ["UTF-16 with its mark", Buffer.from(`\ufeff${chat('"n":1')}`, "utf16le"), 400],
  ["UTF-16, big end first", Buffer.from(chat('"n":1'), "utf16le").swap16(), 400],
  ["UTF-32", Buffer.from([...chat('"n":1')].map((c) => `\0\0\0${c}`).join("")), 400],
  ["a second document", `${chat('"n":1')}{"model":"gpt-4o"}`, 400],
  ["a second line", `${chat('"n":1')}\n{"model":"gpt-4o"}`, 400],
  ["a trailing comma", chat('"n":1,'), 400],
  ["a NUL behind it", `${chat('"n":1')}\0`, 400],
  ["a JSON prefix of other readers", `)]}'\n${chat('"n":1')}`, 400],
  ["a comment", `{${M},/*,"model":"gpt-4o",*/${U}}`, 400],
  ["a comment to the end of the line", `{${M},${U}//\n}`, 400],
  ["a comment with a hash", `{${M},${U}#\n}`, 400],
  ["single quotes", `{'model':'gpt-4o',${M},${U}}`, 400],
  ["a key without quotes", `{model:"gpt-4o",${M},${U}}`, 400],
  ["a colon too many", `{"model"::"gpt-4o-mini",${U}}`, 400],
  ["an open text", `{${M},${U},"x":"`, 400],
  ["an open object", `{${M},${U}`, 400],
  ["a bracket too many", `${chat('"n":1')}}`, 400],
  ["brackets that cross", chat('"x":[{]}'), 400],
  ["a vertical tab between", chat('\v"n":1'), 400],
  ["a no-break space between", chat('\u00a0"n":1'), 400],
  ["deep nesting", chat(`"x":${"[".repeat(10_000)}${"]".repeat(10_000)}`), 400],
  ["a closing quote that is overlong", latin1(`{"model":"gpt-4o-mini\xc0\xa2,${U}}`), 400],
  ["a key that is long", chat(`"${"x".repeat(2_000)}":1`), 400],
  ["texts with every escape", chat('"user":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00"'), 200],
  ["a quote behind two backslashes", chat('"user":"\\\\","model":"gpt-4o"'), 400],
]);

const TYPE = "content-type: application/json";
const FORM = "multipart/form-data; boundary=x";
const GOOD = chat('"n":1');
bypasses("what says that it is something else", "/chat/completions", [
  ["gzip", gzipSync(GOOD), 415, [TYPE, "content-encoding: gzip"]],
  ["plain, called gzip", GOOD, 415, [TYPE, "content-encoding: gzip"]],
  ["two codings", GOOD, 415, [TYPE, "content-encoding: identity, gzip"]],
  ["two coding fields", GOOD, 415, [TYPE, "content-encoding: identity", "content-encoding: br"]],
  ["gzip that nobody tells of", gzipSync(GOOD), 400],
  ["no coding, said so", GOOD, 200, [TYPE, "content-encoding: identity"]],
  ["UTF-8, said so", GOOD, 200, [`${TYPE} ; charset="UTF-8"`]],
  ["UTF-16", GOOD, 415, [`${TYPE}; charset=utf-16`]],
  ["UTF-7", GOOD, 415, [`${TYPE}; charset=utf-7`]],
  ["Latin-1", GOOD, 415, [`${TYPE}; charset=iso-8859-1`]],
  ["two charsets", GOOD, 415, [`${TYPE}; charset=utf-8; charset=utf-16`]],
  ["two types", GOOD, 415, [`${TYPE}, text/plain`]],
  ["no type", GOOD, 415, []],
  ["an empty type", GOOD, 415, ["content-type:"]],
  ["plain text", GOOD, 415, ["content-type: text/plain"]],
  ["text/json", GOOD, 415, ["content-type: text/json"]],
  ["another kind of JSON", GOOD, 415, ["content-type: application/merge-patch+json"]],
  ["JSON lines", GOOD, 415, ["content-type: application/json-lines"]],
  [
    "a form of names and values",
    "model=gpt-4o",
    415,
    ["content-type: application/x-www-form-urlencoded"],
  ],
  [
    "a multipart form",
    '--x\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-4o\r\n--x--\r\n',
    415,
    [`content-type: ${FORM}`],
  ],
  ["a multipart type over JSON", GOOD, 415, [`content-type: ${FORM}`]],
]);

bypasses("more output than is allowed", "/chat/completions", [
  ["more than the cap is cut", chat('"max_completion_tokens":101'), 200],
  ["the old name is cut, too", chat('"max_tokens":999999'), 200],
  ["both names are cut", chat('"max_tokens":101,"max_completion_tokens":1000'), 200],
  ["one of them null", chat('"max_tokens":null,"max_completion_tokens":1000'), 200],
  ["null is capped", chat('"max_completion_tokens":null'), 200],
  ["nothing is capped", chat('"n":null'), 200],
  ["a text", chat('"max_tokens":"5"'), 400],
  ["an exponent", chat('"max_tokens":1e3'), 400],
  ["a fraction", chat('"max_tokens":1.0'), 400],
  ["a negative one", chat('"max_tokens":-1'), 400],
  ["a leading zero", chat('"max_tokens":0100'), 400],
  ["a plus", chat('"max_tokens":+1'), 400],
  ["a hexadecimal one", chat('"max_tokens":0xffff'), 400],
  ["an endless one", chat('"max_tokens":1e400'), 400],
  ["Infinity", chat('"max_tokens":Infinity'), 400],
  ["no number", chat('"max_tokens":NaN'), 400],
  ["20 digits", chat('"max_tokens":18446744073709551617'), 400],
  ["true", chat('"max_tokens":true'), 400],
  ["a list", chat('"max_tokens":[5]'), 400],
  ["twice", chat('"max_tokens":5,"max_tokens":500'), 400],
  ["in capitals", chat('"Max_Tokens":500'), 400],
  ["more choices", chat('"n":3'), 403],
  ["choices as a text", chat('"n":"3"'), 400],
  ["choices in a fraction", chat('"n":2.5'), 400],
  ["choices twice", chat('"n":1,"n":128'), 400],
  ["choices in a capital", chat('"N":128'), 400],
  ["no choice in particular", chat('"n":null'), 200],
]);

const NAMESPACE = '{"type":"namespace","name":"a","tools":';
bypasses("other tools", "/responses", [
  ["a function", reply('"tools":[{"type":"function","name":"a"}]'), 200],
  ["none", reply('"tools":[]'), 200],
  ["null", reply('"tools":null'), 200],
  ["a hosted one", reply('"tools":[{"type":"web_search"}]'), 403],
  [
    "a hosted one behind an allowed one",
    reply('"tools":[{"type":"function"},{"type":"mcp"}]'),
    403,
  ],
  [
    "two types, the good one first",
    reply('"tools":[{"type":"function","type":"web_search"}]'),
    403,
  ],
  ["two types, the good one last", reply('"tools":[{"type":"web_search","type":"function"}]'), 403],
  ["an escaped type", reply('"tools":[{"type":"function","t\\u0079pe":"web_search"}]'), 403],
  ["an escaped value", reply('"tools":[{"type":"web_searc\\u0068"}]'), 403],
  ["a value that only looks allowed", reply('"tools":[{"type":"f\\u0075nction"}]'), 403],
  ["a type in capitals", reply('"tools":[{"type":"Function"}]'), 403],
  ["no type", reply('"tools":[{"name":"a"}]'), 400],
  ["no type, then one", reply('"tools":[{},{"type":"function"}]'), 400],
  ["a type further inside is none", reply('"tools":[{"function":{"type":"function"}}]'), 400],
  ["null for a type", reply('"tools":[{"type":null}]'), 403],
  ["a list for a type", reply('"tools":[{"type":["web_search"]}]'), 403],
  ["an object for the list", reply('"tools":{"0":{"type":"web_search"}}'), 400],
  ["a text for the list", reply('"tools":"web_search"'), 400],
  ["a text in the list", reply('"tools":["web_search"]'), 400],
  ["a list in the list", reply('"tools":[[{"type":"web_search"}]]'), 400],
  ["the list twice", reply('"tools":[],"tools":[{"type":"web_search"}]'), 400],
  ["the list in capitals", reply('"TOOLS":[{"type":"web_search"}]'), 400],
  ["a hosted one in a namespace", reply(`"tools":[${NAMESPACE}[{"type":"web_search"}]}]`), 403],
  ["two namespaces deep", reply(`"tools":[${NAMESPACE}[${NAMESPACE}[{"type":"mcp"}]}]}]`), 403],
  [
    "an escaped list in a namespace",
    reply(`"tools":[{"type":"namespace","tool\\u0073":[{"type":"mcp"}]}]`),
    403,
  ],
  ["a function in a namespace", reply(`"tools":[${NAMESPACE}[{"type":"function"}]}]`), 200],
  ["brought by the input", item('{"type":"additional_tools","tools":[{"type":"mcp"}]}'), 403],
  ["found by a search", item('{"type":"tool_search_output","tools":[{"type":"web_search"}]}'), 403],
  [
    "the model of an image tool",
    reply('"tools":[{"type":"image_generation","model":"gpt-image-2"}]'),
    403,
  ],
  [
    "its model twice",
    reply('"tools":[{"type":"image_generation","model":"gpt-image-1","model":"x"}]'),
    403,
  ],
  [
    "its model escaped",
    reply('"tools":[{"type":"image_generation","model":"gpt\\u002dimage-1"}]'),
    403,
  ],
  ["its allowed model", reply('"tools":[{"type":"image_generation","model":"gpt-image-1"}]'), 200],
  [
    "the author of its SVG",
    reply('"tools":[{"type":"image_generation","svg":{"model":"gpt-4o"}}]'),
    403,
  ],
  ["the moderator of the reply", reply('"moderation":{"model":"gpt-4o"}'), 403],
]);

bypasses("tools of chat's earlier days", "/chat/completions", [
  ["functions, as functions are allowed", chat('"functions":[{"name":"a"}]'), 200],
  ["web search", chat('"web_search_options":{}'), 403],
  ["no web search", chat('"web_search_options":null'), 200],
  ["web search twice", chat('"web_search_options":null,"web_search_options":{}'), 400],
  ["web search, escaped", chat('"web_searc\\u0068_options":{}'), 400],
]);

bypasses("what is stored", "/responses", [
  ["nothing said of it", reply('"input":"hi"'), 200],
  ["stored", reply('"store":true'), 403],
  ["null, which is stored", reply('"store":null'), 200],
  ["not stored, in a text", reply('"store":"false"'), 403],
  ["not stored, as a number", reply('"store":0'), 403],
  ["an odd word", reply('"store":False'), 400],
  ["half a word", reply('"store":fals'), 403],
  ["twice", reply('"store":false,"store":true'), 400],
  ["in the background", reply('"background":true'), 403],
  ["in the foreground", reply('"background":false'), 200],
  ["in the background, in a text", reply('"background":"true"'), 403],
  ["an earlier response", reply('"previous_response_id":"resp_1"'), 403],
  ["no earlier response", reply('"previous_response_id":null'), 200],
  [
    "an earlier response, twice",
    reply('"previous_response_id":null,"previous_response_id":"resp_1"'),
    400,
  ],
  ["a conversation", reply('"conversation":"conv_1"'), 403],
  ["a conversation as an object", reply('"conversation":{"id":"conv_1"}'), 403],
  ["a prompt", reply('"prompt":{"id":"pmpt_1"}'), 403],
  ["a reference", item('{"type":"item_reference","id":"msg_1"}'), 403],
  ["a reference without a type", item('{"id":"msg_1"}'), 403],
  ["a reference whose type is null", item('{"id":"msg_1","type":null}'), 403],
  ["a reference with an escaped type", item('{"id":"msg_1","type":"item\\u005freference"}'), 403],
  ["a reference under an escaped name", item('{"id":"msg_1","\\u0074ype":"item_reference"}'), 403],
  ["a reference and a message", item('{"type":"message","id":"msg_1","type":"item_reference"}'), 0],
  ["a reference with a role", item('{"type":"item_reference","id":"msg_1","role":"user"}'), 403],
  ["a reference that is not the last", reply('"input":[{"id":"msg_1"},{"role":"user"}]'), 403],
  ["a reference in the only item", reply('"input":{"type":"item_reference","id":"msg_1"}'), 400],
  ["a reference in a list in the list", item('[{"type":"item_reference","id":"msg_1"}]'), 400],
  ["the input twice", reply('"input":"hi","input":[{"id":"msg_1"}]'), 400],
  ["the input in capitals", reply('"Input":[{"id":"msg_1"}]'), 400],
  ["a stored image", item('{"type":"image_generation_call","id":"ig_1"}'), 403],
  ["a stored image, escaped", item('{"type":"image_generation\\u005fcall","id":"ig_1"}'), 403],
  [
    "a stored image, its own result null",
    item('{"type":"image_generation_call","id":"a","result":null}'),
    403,
  ],
  [
    "a stored image, its own result empty",
    item('{"type":"image_generation_call","id":"a","result":""}'),
    403,
  ],
  [
    "a stored image, its result twice",
    item('{"type":"image_generation_call","id":"a","result":"a","result":null}'),
    0,
  ],
  ["an image that is sent", item('{"type":"image_generation_call","id":"a","result":"aGk="}'), 200],
  [
    "a stored image for one reader, thoughts for the other",
    item('{"type":"image_generation_call","type":"reasoning","id":"a","encrypted_content":"a"}'),
    0,
  ],
  ["stored thoughts", item('{"type":"reasoning","id":"rs_1","summary":[]}'), 403],
  ["thoughts that are sent", item('{"type":"reasoning","id":"rs_1","encrypted_content":"a"}'), 200],
  [
    "a reference for who takes the last type, which is null",
    item('{"type":"message","id":"msg_1","type":null}'),
    0,
  ],
  [
    "a reference for who takes the first type, which is null",
    item('{"type":null,"id":"msg_1","type":"message"}'),
    0,
  ],
  [
    "a reference for who takes the last role, which is null",
    item('{"role":"user","id":"msg_1","role":null}'),
    0,
  ],
  [
    "a message with an id",
    item('{"type":"message","id":"msg_1","role":"user","content":"a"}'),
    200,
  ],
  ["a message with nothing but an id", item('{"type":"message","id":"msg_1"}'), 403],
  ["a role with an id and no content", item('{"role":"user","id":"msg_1"}'), 403],
  ["no type, and no content", item('{"type":null,"role":"user","id":"msg_1"}'), 403],
  [
    "a reference in the eyes of who does not look at case",
    item('{"role":"user","content":"a","TYPE":"item_reference","ID":"msg_1"}'),
    403,
  ],
  [
    "a file in the eyes of who does not look at case",
    item('{"role":"user","content":[{"type":"input_file","FILE_ID":"file-1"}]}'),
    403,
  ],
  ["a file", item('{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}'), 403],
  [
    "a file under an escaped name",
    item('{"role":"user","content":[{"file\\u005fid":"file-1"}]}'),
    403,
  ],
  [
    "a file whose name is escaped",
    item('{"role":"user","content":[{"file_id":"fil\\u0065-1"}]}'),
    403,
  ],
  [
    "a file, then null",
    item('{"role":"user","content":[{"file_id":"file-1","file_id":null}]}'),
    403,
  ],
  ["no file", item('{"role":"user","content":[{"file_id":null,"file_url":"data:"}]}'), 200],
  ["a screenshot", item('{"type":"computer_call_output","output":{"file_id":"file-1"}}'), 403],
  [
    "a mask",
    reply('"tools":[{"type":"image_generation","input_image_mask":{"file_id":"file-1"}}]'),
    403,
  ],
  [
    "files of a container",
    reply('"tools":[{"type":"function","container":{"type":"auto","file_ids":["file-1"]}}]'),
    403,
  ],
  ["a container", reply('"tools":[{"type":"function","container":"cntr_1"}]'), 403],
  [
    "a container in the environment",
    reply('"tools":[{"type":"function","environment":{"container_id":"cntr_1"}}]'),
    403,
  ],
  ["a skill", reply('"tools":[{"type":"function","skills":[{"skill_id":"skill_1"}]}]'), 403],
  ["a store of vectors", reply('"tools":[{"type":"function","vector_store_ids":["vs_1"]}]'), 403],
  ["ids in the client's labels", reply('"metadata":{"file_id":"file-1","container":"x"}'), 200],
  [
    "ids in a schema",
    reply(
      '"tools":[{"type":"function","parameters":{"properties":{"file_id":{"type":"string"}},"required":["file_id"]}}]',
    ),
    200,
  ],
]);

bypasses("what a chat stores", "/chat/completions", [
  ["nothing", chat('"store":false'), 200],
  ["itself", chat('"store":true'), 403],
  ["null", chat('"store":null'), 200],
  ["a text", chat('"store":"true"'), 403],
  [
    "a file",
    `{${M},"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]}`,
    403,
  ],
  ["a spoken answer", `{${M},"messages":[{"role":"assistant","audio":{"id":"audio_1"}}]}`, 403],
  [
    "a spoken answer, escaped",
    `{${M},"messages":[{"role":"assistant","audi\\u006f":{"\\u0069d":"audio_1"}}]}`,
    403,
  ],
]);

bypasses("other tiers, and other people", "/chat/completions", [
  ["the usual tier", chat('"service_tier":"auto"'), 200],
  ["null", chat('"service_tier":null'), 200],
  ["a dearer one", chat('"service_tier":"priority"'), 403],
  ["twice", chat('"service_tier":"auto","service_tier":"priority"'), 400],
  ["escaped", chat('"service_tier":"priorit\\u0079"'), 403],
  ["escaped, and allowed", chat('"service_tier":"aut\\u006f"'), 403],
  ["a list", chat('"service_tier":["priority"]'), 403],
  ["in capitals", chat('"Service_Tier":"priority"'), 400],
  ["somebody else", chat('"safety_identifier":"somebody"'), 200],
  ["nobody", chat('"safety_identifier":null'), 200],
  ["somebody, escaped", chat('"safety_identifier":"\\"\\u0000é"'), 200],
  ["an object", chat('"safety_identifier":{"id":"x"}'), 400],
  ["twice", chat('"safety_identifier":"a","safety_identifier":"b"'), 400],
  ["an escaped name", chat('"safety\\u005fidentifier":"b"'), 400],
]);

const picture = (more: string): string => `{"model":"gpt-image-1","prompt":"a",${more}}`;
bypasses("images", "/images/generations", [
  ["an allowed one", picture('"n":2'), 200],
  ["more of them", picture('"n":3'), 403],
  ["no model", '{"prompt":"a"}', 403],
  ["the author of an SVG", picture('"svg":{"model":"gpt-4o"}'), 403],
  ["an allowed author", picture('"svg":{"model":"gpt-4o-mini"}'), 200],
]);
bypasses("changed images", "/images/edits", [
  ["an allowed one", picture('"images":[{"image_url":"data:"}]'), 200],
  ["a stored one", picture('"images":[{"file_id":"file-1"}]'), 403],
  ["a stored mask", picture('"mask":{"file_id":"file-1"}'), 403],
]);
bypasses("JSON where a form belongs", "/audio/transcriptions", [
  ["as JSON", '{"model":"whisper-1"}', 415],
  ["as a form", '{"model":"whisper-1"}', 400, [`content-type: ${FORM}`]],
  ["as nothing", '{"model":"whisper-1"}', 415, []],
  ["an empty form", "", 400, [`content-type: ${FORM}`]],
]);

const FILE = '; filename="a.mp3"\r\ncontent-type: audio/mpeg';
/** A part named as given, with whatever else belongs to its headers. */
const part = (name: string, value: string, more = ""): string =>
  `--x\r\ncontent-disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
const sound = part("file", "\0\xff\r\n--y", FILE);
const model = part("model", "whisper-1");
const form = (...parts: readonly string[]): Buffer => latin1(`${parts.join("")}--x--\r\n`);
const other = part("model", "gpt-4o-transcribe");

/** A reader that knows no more of forms than where a part begins. */
function readForm(bytes: Buffer): readonly (readonly [name: string, value: string])[] {
  const parts = bytes.toString("latin1").split("--x\r\n").slice(1);
  return parts.map((text) => {
    const [head = "", ...rest] = text.split("\r\n\r\n");
    const [, name = ""] = /name="?([^";]*)/.exec(head) ?? [];
    return [name, rest.join("\r\n\r\n").split("\r\n--x")[0]?.replace(/\r\n$/, "") ?? ""] as const;
  });
}

function formBypasses(subject: string, path: string, cases: readonly Case[]): void {
  describe(subject, { concurrency: 8 }, () => {
    for (const [name, body, status, fields = [`content-type: ${FORM}`]] of cases) {
      test(`${status}: ${name}`, async (t) => {
        const { answer, arrived } = await play(t, { path, body, fields }, LIMITS);
        const chunked = await play(t, { path, body, fields, chunked: 5 }, LIMITS);

        assert.equal(answer.status, status, answer.body);
        assert.equal(chunked.status, status, chunked.answer.body);
        assert.deepEqual(chunked.arrived, arrived);
        if (status !== 200) return;
        assert.ok(arrived, "nothing arrived");
        assert.ok(arrived.toString("latin1").endsWith(body.toString("latin1")), "it was changed");
        for (const [field, value] of readForm(arrived)) {
          if (/^model/i.test(field)) assert.ok(LIMITS.models?.includes(value), value);
          if (field === "n") assert.ok(Number(value) <= 2, value);
          if (field !== "safety_identifier") continue;
          assert.equal(value, safetyIdentifierOf(LIMITS));
        }
      });
    }
  });
}

formBypasses("forms", "/audio/transcriptions", [
  ["the model before the file", form(model, sound), 200],
  ["the model behind the file", form(sound, model), 200],
  ["a model in another field's text", form(model, part("prompt", 'name="model"'), sound), 200],
  ["a model in the file", form(model, part("file", 'name="model"\r\n\r\ngpt-4o', FILE)), 200],
  ["another model", form(other, sound), 403],
  ["another model behind the file", form(sound, other), 403],
  ["no model", form(sound), 403],
  ["nothing at all", form(), 400],
  ["an empty model", form(part("model", ""), sound), 403],
  ["two models, the good one first", form(model, sound, other), 400],
  ["two models, the good one last", form(other, sound, model), 403],
  ["twice the same", form(model, model, sound), 400],
  ["a model that is a file", form(part("model", "gpt-4o", '; filename="m"'), sound), 400],
  [
    "a second model that is a file",
    form(model, part("model", "gpt-4o", '; filename=""'), sound),
    400,
  ],
  [
    "a second model with an encoded file name",
    form(model, part("model", "gpt-4o", "; filename*=UTF-8''m"), sound),
    400,
  ],
  [
    "a model in base64",
    form(part("model", "d2hpc3Blci0x", "\r\ncontent-transfer-encoding: base64"), sound),
    400,
  ],
  [
    "a model in quoted-printable",
    form(part("model", "whisper=2D1", "\r\ncontent-transfer-encoding: quoted-printable"), sound),
    400,
  ],
  [
    "a model in UTF-16",
    form(part("model", "whisper-1", "\r\ncontent-type: text/plain; charset=utf-16"), sound),
    400,
  ],
  [
    "a model in JSON",
    form(part("model", '"whisper-1"', "\r\ncontent-type: application/json"), sound),
    400,
  ],
  ["a second model in capitals", form(model, part("Model", "gpt-4o"), sound), 400],
  ["a second model in a list", form(model, part("model[]", "gpt-4o"), sound), 400],
  ["a second model at a place", form(model, part("model[0]", "gpt-4o"), sound), 400],
  ["a second model with a space", form(model, part("model ", "gpt-4o"), sound), 400],
  ["a second model with a dot", form(model, part(".model", "gpt-4o"), sound), 400],
  ["a second model with a per cent sign", form(model, part("mod%65l", "gpt-4o"), sound), 400],
  ["a second model with a backslash", form(model, part("mod\\el", "gpt-4o"), sound), 400],
  [
    "a second model without quotes",
    form(model, `--x\r\ncontent-disposition: form-data; name=model\r\n\r\ngpt-4o\r\n`, sound),
    400,
  ],
  [
    "a second model in an encoded name",
    form(
      model,
      `--x\r\ncontent-disposition: form-data; name*=UTF-8''model\r\n\r\ngpt-4o\r\n`,
      sound,
    ),
    400,
  ],
  ["a part with two names", form(model, part("x", "gpt-4o", '; name="model"'), sound), 400],
  [
    "a part with two dispositions",
    form(model, part("x", "gpt-4o", '\r\ncontent-disposition: form-data; name="model"'), sound),
    400,
  ],
  [
    "a folded header",
    form(model, `--x\r\ncontent-disposition: form-data;\r\n name="model"\r\n\r\ngpt-4o\r\n`, sound),
    400,
  ],
  [
    "a header with a bare line feed",
    form(model, part("x", "1", '\ncontent-disposition: form-data; name="model"'), sound),
    400,
  ],
  ["white space behind the model", form(part("model", "whisper-1 "), sound), 400],
  ["a line end behind the model", form(part("model", "whisper-1\r\n"), sound), 400],
  ["a NUL behind the model", form(part("model", "whisper-1\0"), sound), 400],
  ["an escaped model", form(part("model", "whisper%2D1"), sound), 403],
  ["a long model", form(part("model", `whisper-1${"x".repeat(600)}`), sound), 400],
  ["another charset for the whole form", form(model, part("_charset_", "utf-7"), sound), 400],
  ["an unfinished last part", latin1(`${model}${sound}`), 400],
  ["an unfinished second model", latin1(`${model}${sound}${other.slice(0, -2)}`), 400],
  ["an unfinished boundary", latin1(`${model}${sound}--x-`), 400],
  [
    "a part behind the end",
    latin1(`${form(model, sound).toString("latin1")}${other}--x--\r\n`),
    400,
  ],
  [
    "a preamble",
    latin1(`${other.replaceAll("--x", "--z")}${form(model, sound).toString("latin1")}`),
    400,
  ],
  ["a preamble of one line end", latin1(`\r\n${form(model, sound).toString("latin1")}`), 400],
  ["bare line feeds", latin1(form(model, sound).toString("latin1").replaceAll("\r\n", "\n")), 400],
  [
    "a boundary after a bare line feed",
    form(
      model,
      part("prompt", 'a\n--x\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-4o'),
      sound,
    ),
    400,
  ],
  ["a boundary that goes on", form(model, part("prompt", "a\r\n--xy\r\nb"), sound), 400],
  ["a boundary with spaces behind it", form(model, part("prompt", "a\r\n--x \r\nb"), sound), 400],
  [
    "a length that is not the part's",
    form(model, part("prompt", "a", "\r\ncontent-length: 100"), sound),
    400,
  ],
  [
    "a multipart within",
    form(model, part("x", "a", "\r\ncontent-type: multipart/mixed; boundary=z"), sound),
    400,
  ],
  ["two boundaries", form(model, sound), 415, [`content-type: ${FORM}; boundary=z`]],
  [
    "a boundary that is encoded",
    form(model, sound),
    415,
    ["content-type: multipart/form-data; boundary*=UTF-8''x"],
  ],
  ["no boundary", form(model, sound), 415, ["content-type: multipart/form-data"]],
  [
    "an empty boundary",
    form(model, sound),
    415,
    ['content-type: multipart/form-data; boundary=""'],
  ],
  [
    "another kind of multipart",
    form(model, sound),
    415,
    ["content-type: multipart/mixed; boundary=x"],
  ],
  ["gzip", gzipSync(form(model, sound)), 415, [`content-type: ${FORM}`, "content-encoding: gzip"]],
]);

const edited = part("model", "gpt-image-1");
const image = part("image", "\x89PNG", '; filename="a.png"\r\ncontent-type: image/png');
formBypasses("forms with more rules", "/images/edits", [
  ["all that is allowed", form(edited, part("n", "2"), image), 200],
  ["more choices", form(edited, part("n", "3"), image), 403],
  ["more choices behind the file", form(edited, image, part("n", "3")), 403],
  ["choices twice", form(edited, part("n", "1"), image, part("n", "8")), 400],
  ["choices in a list", form(edited, part("n[]", "8"), image), 400],
  ["choices in a capital", form(edited, part("N", "8"), image), 400],
  ["choices in a fraction", form(edited, part("n", "1.5"), image), 400],
  ["choices in an exponent", form(edited, part("n", "1e3"), image), 400],
  ["choices with a plus", form(edited, part("n", "+8"), image), 400],
  ["choices with an underscore", form(edited, part("n", "1_0"), image), 400],
  ["choices of none", form(edited, part("n", ""), image), 400],
  ["somebody else", form(edited, part("safety_identifier", "me"), image), 403],
  ["somebody else behind the file", form(edited, image, part("safety_identifier", "me")), 403],
  [
    "the effort of an SVG's author",
    form(edited, part("svg[reasoning][effort]", "low"), image),
    200,
  ],
  [
    "the author of an SVG, twice",
    form(edited, part("svg[model]", "gpt-4o-mini"), part("svg[model]", "gpt-4o")),
    400,
  ],
  ["the author of an SVG in JSON", form(edited, part("svg", '{"model":"gpt-4o"}'), image), 400],
  ["the author of an SVG in capitals", form(edited, part("SVG[Model]", "gpt-4o"), image), 400],
  ["the author of an SVG", form(edited, part("svg[model]", "gpt-4o"), image), 403],
]);

test("a body that comes byte by byte is judged, and sent, as one that comes at once", async (t) => {
  const bodies = [
    [chat('"max_tokens":101,"user":"é\\"}"'), 200],
    [`{${M},${U},"mod\\u0065l":"gpt-4o"}`, 400],
    [chat('"tools":[{"type":"web_search"}]'), 403],
    [chat('"n":1}'), 400],
  ] as const;
  for (const [body, status] of bodies) {
    const whole = await play(t, { path: "/chat/completions", body }, LIMITS);
    for (const chunked of [1, 2, 7]) {
      const split = await play(t, { path: "/chat/completions", body, chunked }, LIMITS);

      assert.equal(split.status, status);
      assert.deepEqual(split.arrived, whole.arrived);
      assert.equal(split.answer.body.includes("error"), whole.answer.body.includes("error"));
    }
  }
});

test("random bodies under random policies are refused, or harmless", async (t) => {
  const openai = await fakeOpenAI(t);
  const tally = { refused: 0, passed: 0 };
  for (let round = 0; round < 120; round++) {
    const random = createRandom(50_000 + round);
    const path = JSON_PATHS[round % JSON_PATHS.length] ?? "";
    const limits: Limits = { endpoints: ["*"], models: ["gpt-4o-mini"], ...chooseLimits(random) };
    const body = writeAttack(random, path);
    const { port, gateway } = await startGateway(t, openai.baseUrl, {
      policies: { default: limits },
    });
    const before = openai.arrivals.length;
    const chunked = random() < 0.5 ? 1 + Math.floor(random() * 9) : undefined;

    const answer = await sendRaw(port, toRequest({ path, body, ...(chunked && { chunked }) }));

    const said = `round ${round}: ${answer.status} ${body.toString("latin1")}`;
    checkAnswer(answer);
    if (answer.status === 200) {
      // What no reader understands, OpenAI refuses.
      const arrived = await openai.arrivals[before]?.body;
      assert.doesNotThrow(() => checkUnlessUnreadable(arrived, path, limits), said);
      tally.passed++;
    } else {
      assert.ok([400, 403, 413, 415].includes(answer.status), said);
      assert.equal(openai.arrivals.length, before, said);
      tally.refused++;
    }
    await gateway.close();
  }
  assert.ok(tally.refused > 20 && tally.passed > 20, JSON.stringify(tally));
});

function checkUnlessUnreadable(arrived: Buffer | undefined, path: string, limits: Limits): void {
  try {
    checkBody(arrived, path, limits);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
}
