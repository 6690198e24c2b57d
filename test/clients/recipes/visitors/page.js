import OpenAI from "openai";

let token;
let fetchedAt = -Infinity;

/** A token is valid for ten minutes; after five the next request fetches another one. */
function getToken() {
  if (Date.now() - fetchedAt > 300_000) {
    fetchedAt = Date.now();
    token = fetchToken();
    token.catch(() => (fetchedAt = -Infinity)); // the next request tries again
  }
  return token;
}

async function fetchToken() {
  const answer = await fetch("/chat-token", { method: "POST" });
  if (!answer.ok) throw new Error(`No chat for now: ${answer.status}`);
  return (await answer.json()).token;
}

const openai = new OpenAI({
  baseURL: "https://gateway.example.com/v1",
  apiKey: getToken,
  dangerouslyAllowBrowser: true, // a short-lived token, not OpenAI's key
});

/** Shows an answer as it comes. */
export async function ask(question, show) {
  const stream = await openai.chat.completions.create({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: question }],
    stream: true,
  });
  for await (const chunk of stream) show(chunk.choices[0]?.delta.content ?? "");
}
