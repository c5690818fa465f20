/** The DHCP server as a state machine: a clock by hand, and clients that say what the test wants. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DhcpServerPlan } from "../../src/control/configuration/build_network_services.ts";
import { DhcpServer, type ServerReply } from "../../src/control/dhcp/server.ts";
import * as dhcp from "../../src/packet/dhcp.ts";
import { bytesOf, DhcpOption, DhcpType, wordOf } from "../../src/packet/dhcp.ts";
import { formatAddress } from "../../src/packet/ipv4_address.ts";
import { parseMac } from "../../src/packet/mac_address.ts";
import { word } from "../support/frames.ts";

const GATEWAY = word("10.55.66.1");
const OTHER_SERVER = word("10.55.66.250");
const PORTS = [
  { index: 0, name: "c1", mac: "02:00:00:00:00:01" },
  { index: 1, name: "c2", mac: "02:00:00:00:00:02", address: word("10.55.66.101") },
  { index: 2, name: "c3", mac: "02:00:00:00:00:03" },
];
const [C1, C2, C3] = PORTS;

function planOf(changes: Partial<DhcpServerPlan> = {}, pool: Partial<DhcpServerPlan["pool"]> = {}): DhcpServerPlan {
  return {
    network: "lab",
    interface: 0,
    gateway: GATEWAY,
    subnet: { address: word("10.55.66.0"), length: 24 },
    ports: PORTS,
    mtu: 1400,
    leaseSeconds: 3600,
    dns: [GATEWAY],
    domain: "lab",
    pool: {
      first: word("10.55.66.100"),
      last: word("10.55.66.109"),
      taken: new Set([GATEWAY, word("10.55.66.101")]),
      ports: new Set(PORTS.map(({ name }) => name)),
      leasesPerPort: 4,
      ...pool,
    },
    ...changes,
  };
}

interface Said {
  mac?: string;
  clientAddress?: string;
  requested?: string;
  server?: number;
  identifier?: string;
  parameters?: number[];
  hostName?: string;
  wantsBroadcast?: boolean;
  isUnicast?: boolean;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

function composed(type: number, port: (typeof PORTS)[number], said: Said): Uint8Array {
  const { requested, server, identifier, parameters, hostName } = said;
  return dhcp.composeMessage({
    operation: dhcp.DhcpOperation.REQUEST,
    transaction: 0x12345678,
    seconds: 0,
    clientAddress: said.clientAddress === undefined ? 0 : word(said.clientAddress),
    yourAddress: 0,
    isBroadcast: said.wantsBroadcast ?? false,
    mac: parseMac(said.mac ?? port.mac),
    options: [
      [DhcpOption.MESSAGE_TYPE, Uint8Array.of(type)],
      ...(requested === undefined ? [] : [[DhcpOption.REQUESTED_ADDRESS, bytesOf(word(requested))] as const]),
      ...(server === undefined ? [] : [[DhcpOption.SERVER_ID, bytesOf(server)] as const]),
      ...(identifier === undefined ? [] : [[DhcpOption.CLIENT_ID, text(identifier)] as const]),
      ...(parameters === undefined ? [] : [[DhcpOption.PARAMETERS, Uint8Array.from(parameters)] as const]),
      ...(hostName === undefined ? [] : [[DhcpOption.HOST_NAME, text(hostName)] as const]),
    ],
  });
}

function read(reply: ServerReply | undefined) {
  if (reply === undefined) return undefined;
  const memory = new DataView(reply.message.buffer);
  const options = dhcp.readOptions(memory, 0, reply.message.length) as dhcp.DhcpOptions;
  return {
    type: reply.type,
    address: formatAddress(dhcp.yourAddress(memory, 0)),
    to: formatAddress(reply.destination),
    mac: reply.mac,
    options,
    memory,
  };
}

class World {
  now = 1_000;
  readonly server: DhcpServer;

  constructor(changes: Partial<DhcpServerPlan> = {}, pool: Partial<DhcpServerPlan["pool"]> = {}) {
    this.server = new DhcpServer(planOf(changes, pool));
  }

  say(type: number, port = C1, said: Said = {}) {
    const message = composed(type, port, said);
    const arrival = { port, isBroadcast: said.isUnicast !== true };
    return read(this.server.receive(new DataView(message.buffer), arrival, this.now));
  }

  /** A whole conversation; the address. */
  lease(port = C1, said: Said = {}): string | undefined {
    const offered = this.say(DhcpType.DISCOVER, port, said);
    if (offered === undefined) return undefined;
    const given = this.say(DhcpType.REQUEST, port, { ...said, requested: offered.address, server: GATEWAY });
    expect(given).toMatchObject({ type: DhcpType.ACK, address: offered.address });
    return given?.address;
  }
}

describe("a DHCP server", () => {
  it("offers an address, gives it, and tells what the network has to offer", () => {
    const world = new World();
    const offer = world.say(DhcpType.DISCOVER);
    expect(offer).toMatchObject({ type: DhcpType.OFFER, address: "10.55.66.100", to: "10.55.66.100", mac: C1.mac });
    const given = world.say(DhcpType.REQUEST, C1, { requested: "10.55.66.100", server: GATEWAY });
    expect(given).toMatchObject({ type: DhcpType.ACK, address: "10.55.66.100" });
    expect(dhcp.transaction(given?.memory as DataView, 0)).toBe(0x12345678);
    const option = (code: number) => [...(given?.options.get(code) ?? [])];
    expect(wordOf(given?.options.get(DhcpOption.SERVER_ID))).toBe(GATEWAY);
    expect(wordOf(given?.options.get(DhcpOption.LEASE_SECONDS))).toBe(3600);
    expect(wordOf(given?.options.get(DhcpOption.T1_SECONDS))).toBe(1800);
    expect(wordOf(given?.options.get(DhcpOption.T2_SECONDS))).toBe(3150);
    expect(option(DhcpOption.SUBNET_MASK)).toEqual([255, 255, 255, 0]);
    expect(option(DhcpOption.ROUTER)).toEqual([10, 55, 66, 1]);
    expect(option(DhcpOption.DNS)).toEqual([10, 55, 66, 1]);
    expect(option(DhcpOption.DOMAIN)).toEqual([...text("lab")]);
    expect(option(DhcpOption.INTERFACE_MTU)).toEqual([5, 120]);
    expect(option(DhcpOption.BROADCAST_ADDRESS)).toEqual([10, 55, 66, 255]);
  });

  it("tells a client with a parameter list the mask and what it asks for", () => {
    const offer = new World().say(DhcpType.DISCOVER, C1, { parameters: [DhcpOption.ROUTER, 250] });
    const told = [...(offer?.options.keys() ?? [])].sort((a, b) => a - b);
    expect(told).toEqual([1, 3, 51, 53, 54, 58, 59]);
  });

  it("answers by broadcast where the client cannot take another frame, and echoes its identifier", () => {
    const offer = new World().say(DhcpType.DISCOVER, C1, { wantsBroadcast: true, identifier: "me" });
    expect(offer).toMatchObject({ to: "255.255.255.255", mac: "ff:ff:ff:ff:ff:ff" });
    expect(dhcp.wantsBroadcast(offer?.memory as DataView, 0)).toBe(true);
    expect([...(offer?.options.get(DhcpOption.CLIENT_ID) ?? [])]).toEqual([...text("me")]);
  });

  it("gives the container of a port with an address that one, and nobody else", () => {
    const world = new World();
    expect(world.lease(C2)).toBe("10.55.66.101");
    // Another client behind that port, and one that asks for it elsewhere.
    expect(world.lease(C2, { mac: "02:00:00:00:00:99" })).not.toBe("10.55.66.101");
    expect(world.say(DhcpType.DISCOVER, C1, { requested: "10.55.66.101" })?.address).not.toBe("10.55.66.101");
    expect(world.say(DhcpType.DISCOVER, C1, { mac: C2.mac })?.address).not.toBe("10.55.66.101");
  });

  it("gives a client the address that it asks for, if that is free and of the range", () => {
    const world = new World();
    expect(world.lease(C1, { requested: "10.55.66.107" })).toBe("10.55.66.107");
    for (const requested of ["10.55.66.107", "10.55.66.1", "10.55.66.200", "10.9.9.9"]) {
      expect(world.say(DhcpType.DISCOVER, C3, { requested, identifier: requested })?.address).not.toBe(requested);
    }
  });

  it("gives a client the address again that it had, also when its lease is over", () => {
    const world = new World();
    const had = world.lease(C1, { requested: "10.55.66.105" });
    world.now += 10_000_000;
    expect(world.lease(C3)).not.toBe(had);
    expect(world.lease(C1)).toBe(had);
  });

  it("renews a lease that is asked for by unicast or broadcast, and says no to another address", () => {
    const world = new World();
    const address = world.lease() as string;
    world.now += 1_800_000;
    const renewed = world.say(DhcpType.REQUEST, C1, { clientAddress: address, isUnicast: true });
    expect(renewed).toMatchObject({ type: DhcpType.ACK, address, to: address });
    world.now += 1_801_000;
    // The first hour is over; the lease is not.
    expect(world.say(DhcpType.REQUEST, C1, { clientAddress: address })).toMatchObject({ type: DhcpType.ACK });
    const refused = world.say(DhcpType.REQUEST, C1, { clientAddress: "10.55.66.108" });
    expect(refused).toMatchObject({ type: DhcpType.NAK, address: "0.0.0.0", to: "255.255.255.255" });
  });

  it("acknowledges a client that comes back with its address, and is silent about one that it does not know", () => {
    const world = new World();
    const address = world.lease() as string;
    expect(world.say(DhcpType.REQUEST, C1, { requested: address })).toMatchObject({ type: DhcpType.ACK, address });
    expect(world.say(DhcpType.REQUEST, C3, { requested: "10.55.66.108" })).toBeUndefined();
    expect(world.say(DhcpType.REQUEST, C3, { clientAddress: "10.55.66.108" })).toBeUndefined();
    expect(world.server.counts.ignored).toBe(2);
    // But of another network, somebody else's, or asked of this server alone: no.
    expect(world.say(DhcpType.REQUEST, C3, { requested: "192.168.0.7" })?.type).toBe(DhcpType.NAK);
    expect(world.say(DhcpType.REQUEST, C3, { requested: address })?.type).toBe(DhcpType.NAK);
    const alone = { clientAddress: "10.55.66.108", isUnicast: true };
    expect(world.say(DhcpType.REQUEST, C3, alone)?.type).toBe(DhcpType.NAK);
  });

  it("takes its offer back when the client has chosen another server", () => {
    const world = new World();
    const offered = world.say(DhcpType.DISCOVER)?.address as string;
    expect(world.say(DhcpType.REQUEST, C1, { requested: "10.55.66.9", server: OTHER_SERVER })).toBeUndefined();
    expect(world.lease(C3, { requested: offered })).toBe(offered);
  });

  it("takes an address back that is released, and from nobody but its client", () => {
    const world = new World();
    const address = world.lease() as string;
    const [binding] = [...world.server.bindings.all()];
    world.say(DhcpType.RELEASE, C3, { mac: C1.mac, clientAddress: address });
    world.say(DhcpType.RELEASE, C1, { identifier: "another", clientAddress: address });
    world.say(DhcpType.RELEASE, C1, { clientAddress: "10.55.66.108" });
    expect(binding.state).toBe("bound");
    world.say(DhcpType.RELEASE, C1, { clientAddress: address });
    expect(binding.state).toBe("over");
    expect(world.lease(C3, { requested: address })).toBe(address);
  });

  it("gives a declined address to nobody for ten minutes, and its client another one", () => {
    const world = new World();
    const address = world.lease() as string;
    world.say(DhcpType.DECLINE, C1, { requested: address, server: GATEWAY });
    expect(world.lease()).not.toBe(address);
    expect(world.lease(C3, { requested: address })).not.toBe(address);
    world.now += 600_001;
    expect(world.lease(C3, { requested: address, identifier: "later" })).toBe(address);
  });

  it("tells a client that has an address what else it wants to know, without a lease", () => {
    const world = new World();
    const told = world.say(DhcpType.INFORM, C1, { clientAddress: "10.55.66.77" });
    expect(told).toMatchObject({ type: DhcpType.ACK, address: "0.0.0.0", to: "10.55.66.77" });
    expect(told?.options.has(DhcpOption.LEASE_SECONDS)).toBe(false);
    expect(told?.options.has(DhcpOption.DNS)).toBe(true);
    expect(world.say(DhcpType.INFORM, C1, { clientAddress: "8.8.8.8" })).toBeUndefined();
    expect(world.server.bindings.size).toBe(0);
  });
});

describe("a DHCP server's bounds", () => {
  it("lets one port have no more than its leases, and leaves the rest to others", () => {
    const world = new World();
    const got = Array.from({ length: 20 }, (_, index) => world.lease(C1, { identifier: `client ${index}` }));
    expect(got.filter((address) => address !== undefined)).toHaveLength(4);
    expect(world.server.counts.portLimit).toBe(16);
    expect(world.lease(C3)).toBeDefined();
  });

  it("counts declined addresses as the port's, so that declining takes none from others", () => {
    const world = new World();
    for (let index = 0; index < 20; index++) {
      const offered = world.say(DhcpType.DISCOVER, C1, { identifier: `client ${index}` })?.address;
      if (offered !== undefined) world.say(DhcpType.DECLINE, C1, { identifier: `client ${index}`, requested: offered });
    }
    expect(world.server.bindings.size).toBe(4);
    expect(world.lease(C3)).toBeDefined();
  });

  it("gives an offer that nobody took to another client of the port, but no lease", () => {
    const world = new World({}, { leasesPerPort: 2 });
    const first = world.lease(C1, { identifier: "first" }) as string;
    world.say(DhcpType.DISCOVER, C1, { identifier: "second" });
    expect(world.lease(C1, { identifier: "third" })).toBeDefined();
    expect(world.say(DhcpType.DISCOVER, C1, { identifier: "fourth" })).toBeUndefined();
    expect(world.say(DhcpType.REQUEST, C1, { identifier: "first", clientAddress: first })?.type).toBe(DhcpType.ACK);
  });

  it("drops and counts what finds the range used up, until a lease is over", () => {
    const range = { first: word("10.55.66.100"), last: word("10.55.66.102"), leasesPerPort: 16 };
    const world = new World({}, range);
    const addresses = ["a1", "b2"].map((identifier) => world.lease(C1, { identifier }));
    expect(addresses).toEqual(["10.55.66.100", "10.55.66.102"]);
    expect(world.lease(C3)).toBeUndefined();
    expect(world.server.counts.noAddress).toBe(1);
    world.now += 3_600_000;
    expect(world.lease(C3)).toBe("10.55.66.100");
  });

  it("takes leases of ports that are gone when there is nothing else", () => {
    const range = { first: word("10.55.66.100"), last: word("10.55.66.100") };
    const world = new World({}, range);
    expect(world.lease(C1)).toBe("10.55.66.100");
    expect(world.lease(C3)).toBeUndefined();
    world.server.setPlan(planOf({}, { ...range, ports: new Set(["c3"]) }));
    expect(world.lease(C3)).toBe("10.55.66.100");
  });

  it("keeps leases over a change, but those outside of the new range or of a port's new address", () => {
    const world = new World();
    const kept = world.lease(C1, { identifier: "kept", requested: "10.55.66.103" }) as string;
    world.lease(C1, { identifier: "outside", requested: "10.55.66.109" });
    world.lease(C3, { requested: "10.55.66.104" });
    const taken = new Set([GATEWAY, word("10.55.66.104")]);
    world.server.setPlan(planOf({}, { last: word("10.55.66.108"), taken }));
    expect([...world.server.bindings.all()].map(({ address }) => formatAddress(address))).toEqual([kept]);
  });

  it("answers neither relays, servers, BOOTP nor what is not whole, and counts each", () => {
    const world = new World();
    const arrival = { port: C1, isBroadcast: true };
    const good = composed(DhcpType.DISCOVER, C1, {});
    const harmed = (harm: (memory: DataView) => void): DataView => {
      const memory = new DataView(good.slice().buffer);
      harm(memory);
      return memory;
    };
    const messages = [
      harmed((memory) => memory.setUint8(0, 2)),
      harmed((memory) => memory.setUint8(2, 16)),
      harmed((memory) => memory.setInt32(236, 0)),
      harmed((memory) => memory.setUint8(28, 0x01)),
      harmed((memory) => memory.setUint8(241, 200)),
      harmed((memory) => memory.setUint8(240, 0)),
      harmed((memory) => memory.setUint8(242, 99)),
      new DataView(good.slice(0, 200).buffer),
      new DataView(new ArrayBuffer(0)),
    ];
    for (const message of messages) expect(world.server.receive(message, arrival, 0)).toBeUndefined();
    expect(world.server.counts.malformed).toBe(messages.length);
    const relayed = harmed((memory) => memory.setInt32(24, word("10.9.9.1")));
    expect(world.server.receive(relayed, arrival, 0)).toBeUndefined();
    expect(world.server.counts.ignored).toBe(1);
    expect(world.server.bindings.size).toBe(0);
  });

  it("neither throws nor gives an address twice, whatever it is told", () => {
    const saying = fc.record({
      type: fc.integer({ min: 0, max: 9 }),
      port: fc.constantFrom(...PORTS),
      identifier: fc.constantFrom("a1", "b2", "c3", "d4", "e5", "f6"),
      last: fc.integer({ min: 95, max: 115 }),
      server: fc.constantFrom(undefined, GATEWAY, OTHER_SERVER),
      how: fc.constantFrom("requested", "clientAddress", "neither"),
      passMs: fc.constantFrom(0, 1000, 40_000, 4_000_000),
      harm: fc.option(fc.record({ at: fc.nat(299), value: fc.nat(255) }), { freq: 8, nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(saying, { maxLength: 120 }), (sayings) => {
        const world = new World();
        const holders = new Map<string, { who: string; until: number }>();
        for (const { type, port, identifier, last, server, how, passMs, harm } of sayings) {
          world.now += passMs;
          const address = `10.55.66.${last}`;
          const said = { identifier, ...(how === "neither" ? {} : { [how]: address }) };
          const message = composed(type, port, server === undefined ? said : { ...said, server });
          if (harm !== undefined) message[harm.at] = harm.value;
          const memory = new DataView(message.buffer);
          const own = dhcp.readOptions(memory, 0, message.length)?.get(DhcpOption.CLIENT_ID);
          const asking = `${port.name} ${[...(own ?? [])]}`;
          // Given back, or declined.
          for (const [each, { who }] of holders) if (type >= 4 && who === asking) holders.delete(each);
          const reply = read(world.server.receive(memory, { port, isBroadcast: true }, world.now));
          expect(world.server.bindings.size).toBeLessThanOrEqual(9);
          if (reply === undefined || reply.type === DhcpType.NAK || reply.address === "0.0.0.0") continue;
          const { options } = reply;
          const isFixed = reply.address === "10.55.66.101";
          expect(isFixed).toBe(
            port === C2 && dhcp.clientMac(memory, 0).low === 2 && dhcp.clientMac(memory, 0).high === 0x200,
          );
          const who = `${port.name} ${[...(options.get(DhcpOption.CLIENT_ID) ?? [])]}`;
          const holder = holders.get(reply.address);
          const isFree = holder === undefined || holder.who === who || holder.until <= world.now;
          expect(isFixed || isFree || reply.type === DhcpType.OFFER).toBe(true);
          if (reply.type === DhcpType.ACK && !isFixed)
            holders.set(reply.address, { who, until: world.now + 3_600_000 });
        }
      }),
      { numRuns: 200, seed: 7 },
    );
  });
});
