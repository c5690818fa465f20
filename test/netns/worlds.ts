/**
 * Two worlds of the same shape for the traffic tests: one with Tapir, one with the kernel's bridge and iptables.
 *
 *     c1 10.55.66.2 ─┐
 *                    ├─ 10.55.66.1 router 203.0.113.1 ── wan 203.0.113.2
 *     c2 10.55.66.3 ─┘
 */
import { ip, must, namespace, type RunningRouter, startRouter, veth } from "../support/netns.ts";

export const Address = {
  C1: "10.55.66.2",
  C2: "10.55.66.3",
  GATEWAY: "10.55.66.1",
  UPLINK: "203.0.113.1",
  SERVER: "203.0.113.2",
} as const;

export interface World {
  name: "tapir" | "kernel";
  c1: string;
  c2: string;
  wan: string;
  router: string;
  /** FORWARD's policy becomes DROP, and what it lets through nothing. */
  closeForward(): Promise<void>;
  tapir?: RunningRouter;
}

interface Settings {
  masquerade?: boolean;
  merge?: boolean;
}

function configuration(c1: string, c2: string, settings: Settings, forward: "accept" | "drop"): string {
  const masquerade = settings.masquerade === false ? "[]" : "[ { from: 10.55.66.0/24, out: wan } ]";
  return `version: 1
networks:
  lab:
    subnet: 10.55.66.0/24
    ports:
      c1: { netns: ${c1}, ifname: eth0, address: ${Address.C1}, defaultRoute: true }
      c2: { netns: ${c2}, ifname: eth0, address: ${Address.C2}, defaultRoute: true }
uplinks:
  wan: { kind: packet, device: up0, address: ${Address.UPLINK}/24, gateway: ${Address.SERVER} }
nat: { masquerade: ${masquerade} }
filter: { forward: { policy: ${forward} } }
offload: { merge: ${settings.merge ?? true} }
`;
}

function outside(): { wan: string; router: string } {
  const wan = namespace("w");
  const router = namespace("r");
  veth({ netns: wan, ifname: "eth0", address: `${Address.SERVER}/24` }, { netns: router, ifname: "up0" });
  return { wan, router };
}

export async function tapirWorld(settings: Settings = {}): Promise<World> {
  const { wan, router } = outside();
  const [c1, c2] = [namespace("a"), namespace("b")];
  const running = await startRouter(configuration(c1, c2, settings, "accept"), { netns: router });
  return {
    name: "tapir",
    c1,
    c2,
    wan,
    router,
    tapir: running,
    closeForward: async () => {
      running.writeConfig(configuration(c1, c2, settings, "drop"));
      running.child.kill("SIGHUP");
      await running.until(/has been read again/);
    },
  };
}

export async function kernelWorld(): Promise<World> {
  const { wan, router } = outside();
  const [c1, c2] = [namespace("a"), namespace("b")];
  ip(router, "link add br0 type bridge");
  ip(router, `address add ${Address.GATEWAY}/24 dev br0`);
  ip(router, "link set br0 up");
  for (const [netns, port, address] of [
    [c1, "p1", Address.C1],
    [c2, "p2", Address.C2],
  ]) {
    veth({ netns, ifname: "eth0", address: `${address}/24` }, { netns: router, ifname: port });
    ip(router, `link set ${port} master br0`);
    ip(netns, `route add default via ${Address.GATEWAY}`);
  }
  ip(router, `address add ${Address.UPLINK}/24 dev up0`);
  const iptables = (words: string): string => must(router, "iptables", ["-w", ...words.split(" ")]);
  // Bridged frames do not meet iptables here, as they do not meet FORWARD in Tapir.
  const sysctls =
    "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables || true";
  must(router, "sh", ["-c", sysctls]);
  iptables("-t nat -A POSTROUTING -s 10.55.66.0/24 -o up0 -j MASQUERADE");
  return {
    name: "kernel",
    c1,
    c2,
    wan,
    router,
    closeForward: async () => void iptables("-P FORWARD DROP"),
  };
}
