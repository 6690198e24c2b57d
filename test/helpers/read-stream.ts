// Reads a response piece by piece, as a browser's reader does.

export interface StreamReader {
  /** The next piece as text; undefined at the end. */
  next(): Promise<string | undefined>;
  /** Everything to the end. */
  rest(): Promise<string>;
}

export function readStream(response: Response): StreamReader {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  const next = async (): Promise<string | undefined> => {
    const { done = true, value } = (await reader?.read()) ?? {};
    return done ? undefined : decoder.decode(value, { stream: true });
  };
  return {
    next,
    async rest() {
      let text = "";
      for (let piece = await next(); piece !== undefined; piece = await next()) text += piece;
      return text;
    },
  };
}

/** A POST with a JSON body. */
export function post(url: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  return fetch(url, {
    method: "POST",
    body: JSON.stringify(body),
    ...init,
    headers: { "content-type": "application/json", ...init.headers },
  });
}
