/**
 * The two worlds of the differential suite, of the same shape and with equivalent rules: the kernel's bridge, routing,
 * iptables and conntrack; and `tapir run`. The hosts' devices carry no addresses: the harness plays the hosts.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ask, askEach } from "../../../src/cli/client.ts";
import { type FlowView, formatFlow } from "../../../src/conntrack/format.ts";
import type { Invariants } from "../../../src/dataplane/invariants.ts";
import { exec, ip, must, namespace, startRouter, tapir, temporaryFolder, veth } from "../netns.ts";
import { GATEWAY, NEXT_HOP, UPLINK } from "./hosts.ts";
import type { Device } from "./wire.ts";

export interface Publication {
  proto: "tcp" | "udp";
  port: number;
  /** `10.55.66.10:80` */
  to: string;
}

/** One rule in the words of both worlds; it stands behind the one that drops what is invalid. */
export interface RulePair {
  chain: "forward" | "input" | "bridge";
  /** `-i br0 -p tcp --dport 25 -j DROP`; of `bridge` it stands in FORWARD, for bridged frames alone. */
  iptables: string;
  /** `in: lab, proto: tcp, dport: 25, action: drop` */
  tapir: string;
}

export interface WorldOptions {
  /** Largest packet on the uplink and on the network, in bytes. */
  uplinkMtu?: number;
  networkMtu?: number;
  publish?: readonly Publication[];
  rules?: readonly RulePair[];
  /** The only port or range that TCP and UDP flows take: "2000", "3000-3001". */
  masqueradePorts?: string;
}

export interface World {
  name: "kernel" | "tapir";
  /** In the order of `SIDES`. */
  devices: readonly Device[];
  /** The flow table in conntrack(8)'s format. */
  flows(): Promise<string[]>;
  /** What does not hold in Tapir's books: ports in use are live mappings. The kernel is not asked. */
  violations(): Promise<string[]>;
}

const OFFLOADS = ["tx", "rx", "sg", "tso", "gso", "gro"];

/** Frames as they are on a wire: whole checksums, nothing merged or left to be cut. */
function withoutOffloads(netns: string, device: string): void {
  for (const offload of OFFLOADS) exec(netns, "ethtool", ["-K", device, offload, "off"]);
}

function outside(router: string, options: WorldOptions): string {
  const wan = namespace("w");
  veth({ netns: wan, ifname: "eth0" }, { netns: router, ifname: "up0" });
  ip(router, `link set up0 mtu ${options.uplinkMtu ?? 1500}`);
  withoutOffloads(wan, "eth0");
  withoutOffloads(router, "up0");
  return wan;
}

const SYSCTLS = `
  echo 1 > /proc/sys/net/ipv4/ip_forward
  echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables
  echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct
  echo 0 > /proc/sys/net/ipv4/icmp_ratemask
  for device in all br0 up0; do
    echo 0 > /proc/sys/net/ipv4/conf/$device/rp_filter
    echo 0 > /proc/sys/net/ipv4/conf/$device/accept_source_route
  done`;

/** Whether frames inside the network meet rules: where there is one, what none accepts is dropped. */
function isBridgeFiltered({ rules = [] }: WorldOptions): boolean {
  return rules.some(({ chain }) => chain === "bridge");
}

/** The rules of the kernel's world, as `configuration` says them to Tapir. */
function kernelRules({ publish = [], rules: pairs = [], masqueradePorts }: WorldOptions): string[] {
  const masquerade = "-t nat -A POSTROUTING -s 10.55.66.0/24 -o up0";
  const onPorts = masqueradePorts === undefined ? [] : ["tcp", "udp"];
  const rules = [
    "-P FORWARD DROP",
    "-A INPUT -m conntrack --ctstate INVALID -j DROP",
    "-A FORWARD -m conntrack --ctstate INVALID -j DROP",
    ...pairs.map(({ chain, iptables }) =>
      chain === "bridge"
        ? `-A FORWARD -m physdev --physdev-is-bridged ${iptables}`
        : `-A ${chain.toUpperCase()} ${iptables}`,
    ),
    "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "-A FORWARD -i br0 -o up0 -j ACCEPT",
    ...onPorts.map((protocol) => `${masquerade} -p ${protocol} -j MASQUERADE --to-ports ${masqueradePorts}`),
    `${masquerade} -j MASQUERADE`,
  ];
  for (const { proto, port, to } of publish) {
    const [address, inside] = to.split(":");
    const published = `-m conntrack --ctorigdst ${UPLINK} --ctorigdstport ${port}`;
    rules.push(
      `-t nat -A PREROUTING -d ${UPLINK} -p ${proto} --dport ${port} -j DNAT --to-destination ${to}`,
      // A hairpin carries the uplink's address.
      `-t nat -A POSTROUTING -s 10.55.66.0/24 -o br0 -d ${address} -p ${proto} --dport ${inside} ${published} -j SNAT --to-source ${UPLINK}`,
    );
  }
  if (publish.length > 0) rules.push("-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT");
  return rules;
}

export async function kernelWorld(options: WorldOptions): Promise<World> {
  const router = namespace("r");
  const wan = outside(router, options);
  const containers = [namespace("a"), namespace("b")];
  ip(router, "link add br0 address 02:00:00:00:01:01 type bridge forward_delay 0 mcast_snooping 0");
  containers.forEach((netns, index) => {
    const port = `p${index + 1}`;
    veth({ netns, ifname: "eth0" }, { netns: router, ifname: port });
    for (const [place, device] of [
      [netns, "eth0"],
      [router, port],
    ]) {
      ip(place, `link set ${device} mtu ${options.networkMtu ?? 1500}`);
      withoutOffloads(place, device);
    }
    ip(router, `link set ${port} master br0`);
  });
  ip(router, `link set br0 mtu ${options.networkMtu ?? 1500} up`);
  must(router, "sh", ["-c", SYSCTLS]);
  if (isBridgeFiltered(options)) {
    must(router, "sh", ["-c", "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables"]);
  }
  // A hairpin leaves where it came in; that there is a shorter way is not the client's business then.
  const redirects = options.publish === undefined ? 1 : 0;
  must(router, "sh", [
    "-c",
    `for d in all br0; do echo ${redirects} > /proc/sys/net/ipv4/conf/$d/send_redirects; done`,
  ]);
  ip(router, `address add ${GATEWAY}/24 dev br0`);
  ip(router, `address add ${UPLINK}/24 dev up0`);
  ip(router, `route add default via ${NEXT_HOP}`);
  for (const rule of kernelRules(options)) must(router, "iptables", ["-w", ...rule.split(" ")]);
  return {
    name: "kernel",
    devices: [...containers, wan].map((netns) => ({ netns, device: "eth0" })),
    flows: async () => must(router, "conntrack", ["-L"]).trim().split("\n"),
    violations: async () => [],
  };
}

function configuration(containers: readonly string[], options: WorldOptions): string {
  const ports = options.masqueradePorts;
  const containerPorts = containers
    .map((netns, index) => `      c${index + 1}: { netns: ${netns}, ifname: eth0 }`)
    .join("\n");
  const publish = (options.publish ?? []).map(
    ({ proto, port, to }) => `    - { proto: ${proto}, on: wan, port: ${port}, to: "${to}" }\n`,
  );
  const rules = (chain: string) =>
    (options.rules ?? [])
      .filter((pair) => pair.chain === chain)
      .map(({ tapir: words }) => `      - { ${words} }\n`)
      .join("");
  return `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    mtu: ${options.networkMtu ?? 1500}
    ports:
${containerPorts}
uplinks:
  wan: { kind: packet, device: up0, address: ${UPLINK}/24, gateway: ${NEXT_HOP} }
nat:
  masquerade: [ { from: 10.55.66.0/24, out: wan${ports === undefined ? "" : `, ports: ${ports}`} } ]
${publish.length === 0 ? "" : `  publish:\n${publish.join("")}`}
filter:
  forward:
    policy: drop
    rules:
      - { state: invalid, action: drop }
${rules("forward")}      - { state: [established, related], action: accept }
      - { in: lab, out: wan, action: accept }
  input:
    policy: accept
    rules:
      - { state: invalid, action: drop }
${rules("input")}${isBridgeFiltered(options) ? bridgeChain(rules("bridge")) : ""}`;
}

function bridgeChain(rules: string): string {
  return `  bridge:
    policy: drop
    rules:
      - { state: invalid, action: drop }
${rules}      - { state: [established, related], action: accept }
`;
}

/** Whether this Tapir publishes ports: what `tapir check` says of a configuration that does. */
export function canPublish(): boolean {
  const file = join(temporaryFolder(), "publish.yaml");
  writeFileSync(file, configuration(["c1", "c2"], { publish: [{ proto: "tcp", port: 8080, to: "10.55.66.2:80" }] }));
  return tapir(["check", "-f", file]).status === 0;
}

export async function tapirWorld(options: WorldOptions): Promise<World> {
  const router = namespace("r");
  const wan = outside(router, options);
  const containers = [namespace("a"), namespace("b")];
  const { socket } = await startRouter(configuration(containers, options), { netns: router });
  return {
    name: "tapir",
    devices: [...containers, wan].map((netns) => ({ netns, device: "eth0" })),
    flows: async () => {
      const lines: string[] = [];
      for await (const flow of askEach<FlowView>(socket, "/v1/conntrack")) lines.push(formatFlow(flow));
      return lines;
    },
    violations: async () => (await ask<Invariants>(socket, "GET", "/v1/invariants")).violations,
  };
}
