// What users write with Express and axios to keep a key on the server, done well.
import { Agent } from "node:http";
import { pipeline } from "node:stream";
import axios from "axios";
import express from "express";

const openai = axios.create({
  baseURL: process.env.OPENAI_BASE_URL,
  headers: { authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
  httpAgent: new Agent({ keepAlive: true }),
  responseType: "stream",
  validateStatus: () => true,
});
const app = express();
app.post("/v1/chat/completions", express.json({ limit: "10mb" }), async (req, res) => {
  const reply = await openai.post("/chat/completions", req.body);
  res.status(reply.status).set("content-type", reply.headers["content-type"]);
  pipeline(reply.data, res, () => {});
});
app.listen(process.env.PORT, "127.0.0.1");
