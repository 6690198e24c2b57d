import OpenAI from "openai";

const openai = new OpenAI(); // takes OPENAI_BASE_URL and OPENAI_API_KEY from the environment
const stream = await openai.chat.completions.create({
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "Hello!" }],
  stream: true,
});
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");
