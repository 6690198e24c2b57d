// With Expo, import { fetch } from "expo/fetch": React Native's own fetch does not stream.

/** Shows an answer as it comes. `signal`, of an AbortController, ends it early. */
export async function ask(question, getToken, show, signal) {
  const answer = await fetch("https://gateway.example.com/v1/responses", {
    method: "POST",
    headers: {
      authorization: `Bearer ${await getToken()}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ model: "gpt-4o-mini", input: question, stream: true }),
    signal,
  });
  if (!answer.ok) throw new Error((await answer.json()).error.message);

  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("The answer broke off.");
    const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, data = "{}"] = /^data: (.*)$/m.exec(event) ?? [];
      const { type, delta, message, response } = JSON.parse(data);
      if (type === "response.output_text.delta") show(delta);
      if (type === "error") throw new Error(message);
      if (type === "response.failed") throw new Error(response.error.message);
      if (type === "response.completed" || type === "response.incomplete") return;
    }
  }
}
