import { randomUUID } from "node:crypto";
import express from "express";
import { mintToken } from "openai-gateway";

const app = express();
app.use(express.static(`${import.meta.dirname}/public`)); // the page

app.post("/chat-token", (req, res) => {
  const { cookie = "" } = req.headers;
  const visitor = /(?:^|; )visitor=([\da-f-]{36})/.exec(cookie)?.[1] ?? randomUUID();
  const maxAge = 30 * 86_400_000;
  res.cookie("visitor", visitor, { httpOnly: true, secure: true, sameSite: "strict", maxAge });
  res.set("cache-control", "no-store");
  res.json(mintToken({ secret: process.env.TOKEN_SECRET, subject: visitor, policy: "visitor" }));
});

app.listen(process.env.PORT ?? 8080);
