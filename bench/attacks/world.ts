/** The world of the attacks: c1 attacks, c2 and c3 behave, the server is outside; all in memory, on one router. */
import { arpRequest, createRouter, type MemoryRouter, type SentFrame } from "../../src/library/index.ts";
import { datagram, type Packet } from "./frames.ts";

const CONFIGURATION = `
version: 1
networks:
  lab:
    subnet: 10.55.0.0/16
    gateway: 10.55.66.1
    ports: { c1: { netns: c1 }, c2: { netns: c2 }, c3: { netns: c3 } }
uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 }
nat:
  masquerade: [ { from: 10.55.0.0/16, out: wan } ]
`;

export const MAC = {
  c1: "02:00:00:00:00:02",
  c2: "02:00:00:00:00:03",
  c3: "02:00:00:00:00:04",
  server: "02:00:00:00:00:99",
};
export const ADDRESS = {
  c1: 0x0a374202,
  c2: 0x0a374203,
  c3: 0x0a374204,
  server: 0xcb007102 | 0,
  uplink: 0xcb007101 | 0,
};
const TEXT = { c1: "10.55.66.2", c2: "10.55.66.3", c3: "10.55.66.4" };

export class World {
  readonly router: MemoryRouter = createRouter({ configuration: CONFIGURATION });
  readonly gateway = this.router.macOf("lab");
  readonly uplinkMac = this.router.macOf("wan");

  constructor() {
    this.router.send("wan", arpRequest({ mac: MAC.server, address: "203.0.113.2", target: "203.0.113.1" }));
    for (const name of ["c1", "c2"] as const) this.announce(name);
  }

  announce(name: "c1" | "c2" | "c3"): void {
    this.router.send(name, arpRequest({ mac: MAC[name], address: TEXT[name], target: "10.55.66.1" }));
  }

  /** From a container to the server, by the gateway. */
  outward(name: "c1" | "c2" | "c3", changes: Partial<Packet> = {}): Packet {
    return { from: MAC[name], to: this.gateway, source: ADDRESS[name], destination: ADDRESS.server, ...changes };
  }

  /** From outside to the router's address. */
  inward(changes: Partial<Packet> = {}): Packet {
    return { from: MAC.server, to: this.uplinkMac, source: ADDRESS.server, destination: ADDRESS.uplink, ...changes };
  }

  /** A container asks the server from a port; the port that its datagram left with, or -1. */
  ask(name: "c1" | "c2" | "c3", port: number): number {
    const [sent] = this.router.send(name, datagram(this.outward(name), [port, 53])).filter(isFor("wan"));
    return sent === undefined ? -1 : (sent.bytes[34] << 8) | sent.bytes[35];
  }

  /** Whether the server's answer to a port reaches a container, and it alone. */
  answer(name: "c1" | "c2" | "c3", port: number): boolean {
    if (port < 0) return false;
    const out = this.router.send("wan", datagram(this.inward(), [53, port]));
    return out.length === 1 && out[0].port === name;
  }
}

export const isFor =
  (name: string) =>
  (frame: SentFrame): boolean =>
    frame.port === name;
