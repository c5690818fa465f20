/** Steps 4, 5 and 9 of the tutorial: MASQUERADE, the flow behind it, and the packet at each hop. */
import { MASQUERADED, PAIRS_ACCEPTED } from "./configuration.ts";
import { Address, BRIDGE_SIDE, INSIDE_PREFIX, Netns, ROUTER_UPLINK, UPLINK } from "./places.ts";
import { replies, requests, withPrefix } from "./seen.ts";
import { askAndLook, askTapir, configure, instead, PING, type Step } from "./step.ts";

export const masquerade: Step = {
  number: "4",
  claim: "with MASQUERADE the uplink shows the router's address, and the answer comes back",
  async run(lab) {
    await configure(lab, MASQUERADED);
    const { status, at } = await askAndLook(lab, Netns.C1, `${PING} ${Address.OUTSIDE}`, [BRIDGE_SIDE, UPLINK]);
    const { report } = lab;
    const [left] = requests(at(UPLINK));
    report.verdict(
      `the uplink shows ${Address.UPLINK} > ${Address.OUTSIDE}, TTL 63`,
      left?.ip.source === Address.UPLINK && left.ip.destination === Address.OUTSIDE && left.ip.ttl === 63,
      instead(at(UPLINK)),
    );
    const exposed = withPrefix(at(UPLINK), INSIDE_PREFIX);
    report.verdict(`${INSIDE_PREFIX}0/24 is not seen on the uplink`, exposed.length === 0, instead(exposed));
    report.verdict(
      `the answer goes to ${Address.UPLINK} and arrives`,
      status === 0 && replies(at(UPLINK), { source: Address.OUTSIDE, destination: Address.UPLINK }).length === 1,
      instead(at(UPLINK)),
    );
    report.verdict(
      `the bridge side still shows ${Address.C1}, in both directions`,
      requests(at(BRIDGE_SIDE), { source: Address.C1, destination: Address.OUTSIDE }).length === 1 &&
        replies(at(BRIDGE_SIDE), { source: Address.OUTSIDE, destination: Address.C1 }).length === 1,
      instead(at(BRIDGE_SIDE)),
    );
  },
};

export const conntrack: Step = {
  number: "5",
  claim: "conntrack holds the flow and turns the answer round",
  async run(lab) {
    const { status, at } = await askAndLook(lab, Netns.C1, `${PING} ${Address.OUTSIDE}`, [BRIDGE_SIDE, UPLINK]);
    const { stdout } = await askTapir(lab, "conntrack", "-L");
    const { report } = lab;
    const inside = requests(at(BRIDGE_SIDE))[0]?.echo.id;
    const outside = requests(at(UPLINK))[0]?.echo.id;
    const line = stdout.split("\n").find((text) => text.startsWith("icmp") && text.includes(` id=${inside} `)) ?? "";
    report.verdict(
      `original: src=${Address.C1} dst=${Address.OUTSIDE} id=${inside}, the ping as c1 sent it`,
      isTuple(line, 0, Address.C1, Address.OUTSIDE, inside),
      `expected in ${line || "the table"}`,
    );
    report.verdict(
      `reply: src=${Address.OUTSIDE} dst=${Address.UPLINK} id=${outside}, the answer as the uplink shows it`,
      isTuple(line, 1, Address.OUTSIDE, Address.UPLINK, outside),
      `expected in ${line || "the table"}`,
    );
    report.verdict("a reply was seen, and the ping is answered", status === 0 && !line.includes("[UNREPLIED]"), line);
  },
};

/** Whether tuple `index` (0 original, 1 reply) of a line of `conntrack -L` has these ends and this ICMP id. */
function isTuple(line: string, index: number, source: string, destination: string, id: number | undefined): boolean {
  const tuples = [...line.matchAll(/src=(\S+) dst=(\S+) type=\d+ code=\d+ id=(\d+)/g)];
  const [, src, dst, echoId] = tuples[index] ?? [];
  return src === source && dst === destination && echoId === String(id);
}

export const eachHop: Step = {
  number: "9",
  claim: "at each hop a capture shows the packet as it is there",
  async run(lab) {
    await configure(lab, PAIRS_ACCEPTED);
    const hops = [BRIDGE_SIDE, ROUTER_UPLINK, UPLINK];
    const { status, at } = await askAndLook(lab, Netns.C1, `${PING} ${Address.OUTSIDE}`, hops);
    const { report } = lab;
    const seen = hops.map((hop) => ({ request: requests(at(hop))[0], reply: replies(at(hop))[0] }));
    const [inside, ...outside] = seen;
    const id = inside.request?.echo.id;
    report.verdict(
      `one ping at every hop: ICMP id ${id}, IP id ${inside.request?.ip.id}`,
      id !== undefined &&
        outside.every(({ request }) => request?.echo.id === id && request.ip.id === inside.request.ip.id),
      instead(hops.flatMap((hop) => at(hop))),
    );
    report.verdict(
      `the request is ${Address.C1}'s with TTL 64 in c1, ${Address.UPLINK}'s with TTL 63 from up0 on`,
      inside.request?.ip.source === Address.C1 &&
        inside.request.ip.ttl === 64 &&
        outside.every(({ request }) => request?.ip.source === Address.UPLINK && request.ip.ttl === 63),
      instead(hops.flatMap((hop) => at(hop))),
    );
    report.verdict(
      `the answer is for ${Address.UPLINK} with TTL 64 up to up0, for ${Address.C1} with TTL 63 in c1`,
      status === 0 &&
        inside.reply?.ip.destination === Address.C1 &&
        inside.reply.ip.ttl === 63 &&
        outside.every(({ reply }) => reply?.ip.destination === Address.UPLINK && reply.ip.ttl === 64),
      instead(hops.flatMap((hop) => at(hop))),
    );
  },
};
