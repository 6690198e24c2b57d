import OpenAI from "openai";

/** Shows an answer as it comes. `getToken` is your login's: it gives the user's current token. */
export async function ask(question, getToken, show) {
  const openai = new OpenAI({
    baseURL: "https://gateway.example.com/v1",
    apiKey: getToken, // called before every request, so that no token is too old
    dangerouslyAllowBrowser: true, // the user's own token, not OpenAI's key
  });
  const stream = await openai.chat.completions.create({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: question }],
    stream: true,
  });
  for await (const chunk of stream) show(chunk.choices[0]?.delta.content ?? "");
}
