/** Steps 1 to 3 of the tutorial: bridge, default route, and why routing alone is not enough. */
import { OPEN_WITHOUT_NAT } from "./configuration.ts";
import { Address, BRIDGE_SIDE, INSIDE_PREFIX, Netns, SECOND_CONTAINER, UPLINK } from "./places.ts";
import { askedFor, packetsIn, replies, requests, withPrefix } from "./seen.ts";
import { ask, askAndLook, askTable, configure, instead, type Lab, look, PING, type Step } from "./step.ts";

export const bridge: Step = {
  number: "1",
  claim: "containers of one network reach each other through a learning bridge",
  async run(lab) {
    await configure(lab, OPEN_WITHOUT_NAT);
    const places = [BRIDGE_SIDE, SECOND_CONTAINER, UPLINK];
    const { status, at } = await askAndLook(lab, Netns.C1, `${PING} ${Address.C2}`, places);
    const table = await askTable(lab, "fdb");
    const [sent] = requests(at(BRIDGE_SIDE), { destination: Address.C2 });
    const [arrived] = requests(at(SECOND_CONTAINER), { source: Address.C1 });
    const { report } = lab;
    report.verdict("c2 answers c1", status === 0, "the ping was not answered");
    report.verdict(
      "the frame arrives as it left: TTL 64, c1's own hardware address as its source",
      arrived?.ip.ttl === 64 && arrived.sourceMac === sent?.sourceMac,
      instead(at(SECOND_CONTAINER)),
    );
    const stations = [sent?.sourceMac, sent?.destinationMac];
    report.verdict(
      "the bridge has learned both stations",
      stations.every((mac) => mac !== undefined && table.includes(mac)),
      `expected ${stations.join(" and ")} in the table`,
    );
    const left = packetsIn(at(UPLINK));
    report.verdict("no packet is on the uplink", left.length === 0, instead(left));
  },
};

export const defaultRoute: Step = {
  number: "2",
  claim: "a container leaves through a default route, and the router takes the longest prefix",
  async run(lab) {
    await withoutRoute(lab);
    await withRoute(lab);
  },
};

async function withoutRoute(lab: Lab): Promise<void> {
  await ask(lab, Netns.C1, "ip route");
  const { status, at } = await askAndLook(lab, Netns.C1, `${PING} ${Address.OUTSIDE}`, [BRIDGE_SIDE, UPLINK]);
  lab.report.verdict(
    "without a default route nothing leaves c1",
    status !== 0 && requests(at(BRIDGE_SIDE)).length === 0 && requests(at(UPLINK)).length === 0,
    instead([...at(BRIDGE_SIDE), ...at(UPLINK)]),
  );
}

async function withRoute(lab: Lab): Promise<void> {
  const { report } = lab;
  await ask(lab, Netns.C1, `ip route add default via ${Address.GATEWAY}`);
  const table = await askTable(lab, "routes");
  const { at } = await look(lab, [BRIDGE_SIDE, UPLINK], async () => {
    await Promise.all([
      ask(lab, Netns.C1, `${PING} ${Address.OUTSIDE}`),
      ask(lab, Netns.C1, `${PING} ${Address.FURTHER}`),
    ]);
  });
  const left = [Address.OUTSIDE, Address.FURTHER].map((destination) => requests(at(UPLINK), { destination })[0]);
  report.verdict(
    `with one, c1 asks who has ${Address.GATEWAY}, and the router takes its packets to the uplink`,
    askedFor(at(BRIDGE_SIDE), Address.GATEWAY) && left.every((packet) => packet !== undefined),
    instead(at(UPLINK)),
  );
  report.verdict(
    `${Address.FURTHER} leaves by 198.51.100.0/24 via ${Address.SECOND_ROUTER}, not by the default route`,
    askedFor(at(UPLINK), Address.SECOND_ROUTER) && table.includes("198.51.100.0/24"),
    instead(at(UPLINK)),
  );
}

export const withoutNat: Step = {
  number: "3",
  claim: "without NAT the uplink shows the container's own address, and no answer comes back",
  async run(lab) {
    const { status, at } = await askAndLook(lab, Netns.C1, `${PING} ${Address.OUTSIDE}`, [BRIDGE_SIDE, UPLINK]);
    await ask(lab, Netns.WAN, `ip route get ${Address.C1}`);
    const [sent] = requests(at(BRIDGE_SIDE));
    const [left] = requests(at(UPLINK));
    const { report } = lab;
    report.verdict(
      `the uplink shows ${Address.C1} > ${Address.OUTSIDE}, the same packet (id ${sent?.ip.id})`,
      left?.ip.source === Address.C1 && left.ip.destination === Address.OUTSIDE && left.ip.id === sent?.ip.id,
      instead(at(UPLINK)),
    );
    report.verdict(
      "its TTL is 63, one less than in c1",
      sent?.ip.ttl === 64 && left?.ip.ttl === 63,
      instead(at(UPLINK)),
    );
    report.verdict(
      `no answer comes back: the outside host has no route to ${INSIDE_PREFIX}0/24`,
      status !== 0 && replies(at(UPLINK)).length === 0 && withPrefix(at(UPLINK), INSIDE_PREFIX).length > 0,
      instead(replies(at(UPLINK))),
    );
  },
};
