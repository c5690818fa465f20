/** The router as a library: what docs/library.md promises beyond its examples. */
import { describe, expect, it } from "vitest";
import { arpRequest, createRouter, type MemoryRouter, type SentFrame, udpFrame } from "../../src/library/index.ts";

const CONFIGURATION = `
version: 1
networks:
  lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: c1 }, c2: { netns: c2 } } }
uplinks:
  wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 }
nat:
  masquerade: [ { from: 10.55.66.0/24, out: wan } ]
filter: { forward: { policy: accept } }
`;
const CLOSED = CONFIGURATION.replace("policy: accept", "policy: drop");
const C1 = "02:00:00:00:00:02";
const SERVER = "02:00:00:00:00:99";

function made(seed = 1): MemoryRouter {
  const router = createRouter({ configuration: CONFIGURATION, seed });
  router.send("wan", arpRequest({ mac: SERVER, address: "203.0.113.2", target: "203.0.113.1" }));
  return router;
}

function query(router: MemoryRouter, sourcePort = 4000): SentFrame[] {
  const macs = { sourceMac: C1, destinationMac: router.macOf("lab") };
  const packet = { source: "10.55.66.2", destination: "203.0.113.2", sourcePort, destinationPort: 53 };
  return router.send("c1", udpFrame({ ...macs, ...packet }));
}

describe("a router in memory", () => {
  it("answers ARP with its own address", () => {
    const sent = made().send("c1", arpRequest({ mac: C1, address: "10.55.66.2", target: "10.55.66.1" }));
    const reply = sent.find(({ port }) => port === "c1") as SentFrame;
    expect([reply.port, reply.bytes.length, reply.bytes[21]]).toEqual(["c1", 42, 2]);
  });

  it("floods inside its network and knows its ports", () => {
    const router = made();
    expect(router.ports).toEqual(["c1", "c2", "wan"]);
    const asked = router.send("c1", arpRequest({ mac: C1, address: "10.55.66.2", target: "10.55.66.9" }));
    expect(asked.map(({ port }) => port)).toEqual(["c2"]);
    expect(() => router.send("c9", new Uint8Array(60))).toThrow("no port is called c9: there are c1, c2, wan");
    expect(() => router.macOf("c1")).toThrow(TypeError);
  });

  it("gives the same output for the same input and seed, byte for byte", () => {
    const played = (seed: number): string => {
      const router = made(seed);
      const sent = [1, 2, 3].flatMap((port) => query(router, 4000 + port));
      sent.push(...router.advance(40_000));
      return sent.map(({ port, bytes }) => `${port} ${Buffer.from(bytes).toString("hex")}`).join("\n");
    };
    expect(played(1)).toBe(played(1));
    expect(played(1).split("\n").length).toBe(3);
  });

  it("takes another configuration; flows that it forbids end, and ports come and go", () => {
    const router = made();
    expect(query(router)).toHaveLength(1);
    router.apply(CLOSED);
    expect([router.flows().length, query(router)]).toEqual([0, []]);
    expect(router.counters().flowsForbidden).toBe(1);
    router.apply(CONFIGURATION.replace("c2: { netns: c2 }", "c3: { netns: c3 }"));
    expect(router.ports).toEqual(["c1", "c3", "wan"]);
    const asked = router.send(
      "c3",
      arpRequest({ mac: "02:00:00:00:00:04", address: "10.55.66.4", target: "10.55.66.9" }),
    );
    expect(asked.map(({ port }) => port)).toEqual(["c1"]);
    expect(query(router)).toHaveLength(1);
  });

  it("says what is wrong with a configuration, and keeps the old one", () => {
    const router = made();
    expect(() => router.apply(CONFIGURATION.replace("subnet", "sudnet"))).toThrow(
      /^configuration:4:10: networks\.lab\.sudnet: unknown key/m,
    );
    expect(() => createRouter({ configuration: "" })).toThrow(TypeError);
    expect(query(router)).toHaveLength(1);
  });

  it("asks a stage about whole packets, and forgets it again", () => {
    const router = made();
    const lengths: number[] = [];
    router.setStage(({ bytes, protocol }) => {
      lengths.push(bytes.length);
      return protocol !== 17;
    });
    expect(query(router)).toEqual([]);
    expect(router.stops()["custom-stage"]).toBe(1);
    router.setStage(undefined);
    expect(query(router)).toHaveLength(1);
    expect(lengths).toEqual([42]);
  });
});
