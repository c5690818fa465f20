/** The attacks, each with what a well-behaved container does meanwhile. */
import { arpRequest } from "../../src/library/index.ts";
import { cry, datagram, fragments, icmpError, syn } from "./frames.ts";
import { ADDRESS, isFor, MAC, type World } from "./world.ts";

export interface Scenario {
  name: string;
  /** Frame `index` of the attack, and the port that it comes by. */
  attack: (world: World, index: number) => [port: string, frame: Uint8Array];
  /** What is done well is done in two halves, with attacks before and between them; whether it has succeeded. */
  begin: (world: World, index: number) => number;
  end: (world: World, index: number, begun: number) => boolean;
  /** Frames of the attack between the halves. 64 unless said. */
  between?: number;
}

const forgedMac = (index: number): string => `06:00:00:${hex(index >> 16)}:${hex(index >> 8)}:${hex(index)}`;
const hex = (value: number): string => (value & 0xff).toString(16).padStart(2, "0");
const port = (index: number): number => 1024 + (index % 60_000);

/** A flow of c2's own, and the server's answer. */
const exchange: Pick<Scenario, "begin" | "end"> = {
  begin: (world, index) => world.ask("c2", port(index)),
  end: (world, _, begun) => world.answer("c2", begun),
};

/** What a container does that is heard of for the first time. */
const newcomer: Pick<Scenario, "begin" | "end"> = {
  begin: (world, index) => {
    if (index === 0) world.announce("c3");
    return world.ask("c3", port(index));
  },
  end: (world, _, begun) => world.answer("c3", begun),
};

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "SYN flood, the flow table fills",
    attack: (world, index) => ["c1", syn(world.outward("c1"), [port(index), 80 + (index >> 15)], index)],
    ...exchange,
  },
  {
    name: "flood of new UDP flows",
    attack: (world, index) => ["c1", datagram(world.outward("c1"), [port(index), 1 + (index >> 15)])],
    ...exchange,
  },
  {
    name: "forged hardware addresses",
    attack: (_, index) => ["c1", cry(forgedMac(index))],
    ...newcomer,
  },
  {
    name: "ARP in the name of many addresses",
    attack: (_, index) => {
      const address = `10.55.${100 + ((index >> 8) & 127)}.${index & 255}`;
      return ["c1", arpRequest({ mac: MAC.c1, address, target: "10.55.66.1" })];
    },
    ...newcomer,
  },
  {
    name: "scan of addresses that nobody has",
    attack: (world, index) => {
      const destination = (0x0a376400 + (index % 20_000)) | 0;
      return ["c1", datagram(world.outward("c1", { destination }), [7, 9])];
    },
    ...newcomer,
  },
  {
    name: "fragments that are never whole, by the same uplink",
    // The fragments of an honest datagram come one behind the other.
    between: 8,
    attack: (world, index) => {
      const source = (0xc6336401 + (index % 250)) | 0;
      return ["wan", fragments(world.inward({ source }), index & 0xffff)[0]];
    },
    begin: (world, index) => {
      if (index === 0) world.ask("c2", 53);
      world.router.send("wan", fragments(world.inward(), index)[0]);
      return 0;
    },
    end: (world, index) =>
      world.router.send("wan", fragments(world.inward(), index)[1]).filter(isFor("c2")).length === 2,
  },
  {
    name: "fragments that overlap",
    attack: (world, index) => ["c1", fragments(world.outward("c1"), index >> 1, 2)[index & 1]],
    begin: (world, index) => {
      world.router.send("c2", fragments(world.outward("c2"), index)[0]);
      return 0;
    },
    end: (world, index) =>
      world.router.send("c2", fragments(world.outward("c2"), index)[1]).filter(isFor("wan")).length === 2,
  },
  {
    name: "all NAT ports of a class towards one server",
    attack: (world, index) => ["c1", datagram(world.outward("c1"), [1 + (index % 511), 53])],
    begin: (world, index) => world.ask("c2", 1 + (index % 100)),
    end: exchange.end,
  },
  {
    name: "forged errors about a flow of another",
    attack: (world, index) => {
      const quoted = datagram(world.inward({ destination: ADDRESS.c2 }), [53, 5000]);
      const outside = datagram(world.outward("c2", { source: ADDRESS.uplink }), [5000, 53]);
      const inward = { source: ADDRESS.server, destination: ADDRESS.uplink };
      if (index % 2 === 0) return ["c1", icmpError(world.outward("c1"), 3, 3, 0, quoted)];
      return ["c1", icmpError(world.outward("c1", inward), 3, 4, 68, outside)];
    },
    begin: (world) => world.ask("c2", 5000),
    end: exchange.end,
  },
  {
    name: "land, martians and spoofed inside sources",
    attack: (world, index) => {
      const source = [ADDRESS.uplink, 0x7f000001, 0xe0000001 | 0, -1, ADDRESS.c2][index % 5];
      if (index % 5 === 4) return ["wan", syn(world.inward({ source }), [80, 80], index)];
      return ["c1", syn(world.outward("c1", { source, destination: ADDRESS.uplink }), [80, 80], index)];
    },
    ...exchange,
  },
  {
    name: "errors of the router's turned on another",
    attack: (world, index) => ["c1", datagram(world.outward("c1", { source: ADDRESS.c2, ttl: 1 }), [port(index), 9])],
    ...exchange,
  },
];
