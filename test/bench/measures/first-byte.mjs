// What a proxy adds to the time to the first byte: calls through it and past it by turns.
import { quantile } from "../stats.mjs";
import { chatRequest, Connection } from "../wire.mjs";

const CALLS = 250;
const WARM_UP_CALLS = 30;

/** One turn. */
export async function measureFirstByte({ port, headers }, { upstreamPort }) {
  const request = chatRequest(headers);
  const past = await Connection.open(upstreamPort);
  const through = await Connection.open(port);
  const pastMs = [];
  const throughMs = [];
  for (let call = -WARM_UP_CALLS; call < CALLS; call++) {
    const pastOneMs = await past.call(request);
    const throughOneMs = await through.call(request);
    if (call < 0) continue;
    pastMs.push(pastOneMs);
    throughMs.push(throughOneMs);
  }
  past.close();
  through.close();
  const added = (share) => quantile(throughMs, share) - quantile(pastMs, share);
  return { addedP50Ms: added(0.5), addedP99Ms: added(0.99) };
}
