/** Step 8 of the tutorial: an external host reaches a container, and so does a container of the same network. */
import { PUBLISHED } from "./configuration.ts";
import { Address, Netns, SECOND_CONTAINER, UPLINK } from "./places.ts";
import { untilListening } from "./processes.ts";
import { packetsIn, withPrefix } from "./seen.ts";
import { askTapir, configure, instead, type Lab, look, type Step } from "./step.ts";

/** Tells each client the address that it comes from. */
const SERVER = [
  'const server = require("node:net").createServer((client) => client.end(client.remoteAddress));',
  'server.listen(80, "0.0.0.0", () => console.log("listening"));',
].join("\n");

/** Of a connection, its first packets tell how it is translated. */
const SHOWN = 4;

/** Prints what the server says. */
const CLIENT = `require("node:net").connect(8080, "${Address.UPLINK}").setTimeout(2000, () => process.exit(1)).pipe(process.stdout)`;

export const publish: Step = {
  number: "8",
  claim: "external hosts reach a container through a published port, and so do its neighbours",
  async run(lab) {
    await configure(lab, PUBLISHED);
    const server = lab.processes.start(Netns.C2, process.execPath, ["-e", SERVER]);
    try {
      await untilListening(server, "the server in c2");
      await fromOutside(lab);
      await fromInside(lab);
    } finally {
      await lab.processes.stop(server);
    }
  },
};

/** Asks the published port from a namespace; what the server says is whom it saw. */
async function connect(lab: Lab, netns: string): Promise<string> {
  const { stdout } = await lab.processes.run(netns, process.execPath, "-e", CLIENT);
  lab.report.note(
    `${netns} connects to ${Address.UPLINK}:8080, and is told: ${stdout === "" ? "nothing" : `you are ${stdout}`}`,
  );
  return stdout;
}

async function fromOutside(lab: Lab): Promise<void> {
  const { result: seen, at } = await look(lab, [SECOND_CONTAINER, UPLINK], () => connect(lab, Netns.WAN), SHOWN);
  const { report } = lab;
  report.verdict("the outside host is served", seen !== "", "there was no answer");
  report.verdict(
    `c2 sees the outside host's own address, ${Address.OUTSIDE}`,
    seen === Address.OUTSIDE,
    `it saw ${seen}`,
  );
  const arrived = packetsIn(at(SECOND_CONTAINER)).filter(({ ip }) => ip?.destination === Address.C2);
  report.verdict(
    `on the uplink it is for ${Address.UPLINK}, in c2 for ${Address.C2}`,
    arrived.some(({ ip }) => ip?.source === Address.OUTSIDE) && withPrefix(at(UPLINK), "10.55.66.").length === 0,
    instead(at(SECOND_CONTAINER)),
  );
}

async function fromInside(lab: Lab): Promise<void> {
  const { result: seen, at } = await look(lab, [SECOND_CONTAINER, UPLINK], () => connect(lab, Netns.C1), SHOWN);
  const { stdout } = await askTapir(lab, "conntrack", "-L", "-p", "tcp");
  const { report } = lab;
  report.verdict("c1 is served by its neighbour over the published port", seen !== "", "there was no answer");
  report.verdict(
    `c2 sees the router's address, ${Address.UPLINK}: a hairpin`,
    seen === Address.UPLINK,
    `it saw ${seen}`,
  );
  const left = packetsIn(at(UPLINK));
  report.verdict("no packet of it is on the uplink", left.length === 0, instead(left));
  const flow = `src=${Address.C1} dst=${Address.UPLINK}`;
  report.verdict("conntrack holds both translations in one flow", stdout.includes(flow), `expected ${flow}`);
}
