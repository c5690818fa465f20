/** A TCP transfer from c1 to the outside host and one back, with their rates and the hashes of both ends. */
import { fileURLToPath } from "node:url";
import { Address, Netns } from "./places.ts";
import { untilListening } from "./processes.ts";
import type { Lab, Step } from "./step.ts";

const PEER = fileURLToPath(new URL("./transfer_peer.js", import.meta.url));
const PORT = "5001";

/** One line of JSON that `transfer_peer.ts` prints for each transfer. */
export interface TransferResult {
  bytes: number;
  seconds: number;
  /** What the sender hashed is what the receiver hashed. */
  isIntact: boolean;
}

export const transfer: Step = {
  number: "",
  claim: "a TCP transfer through NAT arrives whole, both ways",
  async run(lab) {
    const server = lab.processes.start(Netns.WAN, process.execPath, [PEER, "serve", Address.OUTSIDE, PORT]);
    try {
      await untilListening(server, "the transfer's server");
      lab.report.line();
      for (const [direction, words] of DIRECTIONS) await transferOnce(lab, direction, words);
    } finally {
      await lab.processes.stop(server);
    }
  },
};

const DIRECTIONS = [
  ["send", "c1 to the outside host"],
  ["receive", "the outside host to c1"],
] as const;

async function transferOnce(lab: Lab, direction: "send" | "receive", words: string): Promise<void> {
  const args = [PEER, direction, Address.OUTSIDE, PORT];
  const { status, stdout, stderr } = await lab.processes.run(Netns.C1, process.execPath, ...args);
  if (status !== 0) {
    lab.report.verdict(words, false, /^Error: .*$/m.exec(stderr)?.[0] ?? `it ended with ${status}`);
    return;
  }
  const { bytes, seconds, isIntact } = JSON.parse(stdout) as TransferResult;
  const amount = `${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(2)} s`;
  const rate = ((bytes * 8) / seconds / 1e9).toFixed(2);
  lab.report.verdict(`${words}: ${amount}, ${rate} Gbit/s, same SHA-256`, isIntact, "the hashes differ");
}
