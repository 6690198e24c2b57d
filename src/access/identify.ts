// Who is calling. In open mode, which is all there is so far, the caller is the address.
import type { BlockList } from "node:net";
import type { IncomingMessage } from "node:http";
import { clientAddress } from "../http/address.ts";
import type { Policy } from "./authorize.ts";

export interface Caller {
  /** Names the caller in the log. */
  readonly id: string;
  readonly policy: Policy;
}

export type Identify = (req: IncomingMessage) => Caller;

export function createIdentify(trustedProxies: BlockList, policy: Policy): Identify {
  return (req) => ({ id: clientAddress(req, trustedProxies), policy });
}
