/** The DHCP client as a state machine: a clock by hand, and a server that says what the test wants. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Configuration, parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { DhcpClient, type Sending } from "../../src/control/dhcp/client.ts";
import { composeDatagram, findMessage } from "../../src/control/dhcp/datagram.ts";
import { readLease } from "../../src/control/dhcp/lease.ts";
import * as dhcp from "../../src/packet/dhcp.ts";
import { bytesOf, DhcpOption, DhcpType } from "../../src/packet/dhcp.ts";
import { formatAddress } from "../../src/packet/ipv4_address.ts";

const MAC = { high: 0x0200, low: 0x00000001 };
const ADDRESS = 0xcb007132 | 0;
const SERVER = 0xcb007102 | 0;
const BROADCAST = -1;

type Options = [number, Uint8Array][];

const LEASE: Options = [
  [DhcpOption.SERVER_ID, bytesOf(SERVER)],
  [DhcpOption.LEASE_SECONDS, bytesOf(3600)],
  [DhcpOption.SUBNET_MASK, bytesOf(0xffffff00)],
  [DhcpOption.ROUTER, bytesOf(SERVER)],
];

function read({ message }: Sending) {
  const memory = new DataView(message.buffer);
  const options = dhcp.readOptions(memory, 0, message.length) as dhcp.DhcpOptions;
  return { memory, options, type: options.get(DhcpOption.MESSAGE_TYPE)?.[0], transaction: dhcp.transaction(memory, 0) };
}

/** Far more than from one lease to the next. */
const MOST_WAKES = 1000;

class Conversation {
  private wakes = 0;
  now = 1000;
  readonly client: DhcpClient;
  last: Sending | undefined;

  constructor(random: () => number = () => 0.5) {
    this.client = new DhcpClient(MAC, random);
    this.wake();
  }

  get asked() {
    if (this.last === undefined) throw new Error("nothing was sent");
    return read(this.last);
  }

  /** Goes to when the client wants to be woken, and wakes it; never for ever. */
  wake(): void {
    if (this.wakes++ === MOST_WAKES) throw new Error("the client does not come to an end");
    this.now = Math.max(this.now, this.client.wakeAt);
    this.last = this.client.wake(this.now);
  }

  answer(type: number, options: Options = LEASE, changes: Partial<dhcp.DhcpFields> = {}): void {
    const message = dhcp.composeMessage({
      operation: dhcp.DhcpOperation.REPLY,
      transaction: this.transaction,
      seconds: 0,
      clientAddress: 0,
      yourAddress: ADDRESS,
      mac: MAC,
      options: [[DhcpOption.MESSAGE_TYPE, Uint8Array.of(type)], ...options],
      ...changes,
    });
    const sending = this.client.receive(new DataView(message.buffer), 0, message.length, this.now);
    if (sending !== undefined) this.last = sending;
  }

  /** As far as BOUND. */
  bind(options: Options = LEASE): this {
    this.answer(DhcpType.OFFER, options);
    this.answer(DhcpType.ACK, options);
    expect(this.client.state).toBe("bound");
    return this;
  }

  private get transaction(): number {
    return this.last === undefined ? 0 : read(this.last).transaction;
  }
}

describe("a DHCP client", () => {
  it("discovers, requests what it is offered, and is bound", () => {
    const c = new Conversation();
    expect(c.asked.type).toBe(DhcpType.DISCOVER);
    expect([...(c.asked.options.get(DhcpOption.PARAMETERS) ?? [])]).toEqual([1, 3, 6, 15, 51, 58, 59, 121]);
    expect(c.last).toMatchObject({ source: 0, destination: BROADCAST });
    c.answer(DhcpType.OFFER);
    expect(c.client.state).toBe("requesting");
    expect(c.asked.type).toBe(DhcpType.REQUEST);
    expect(dhcp.wordOf(c.asked.options.get(DhcpOption.REQUESTED_ADDRESS))).toBe(ADDRESS);
    expect(dhcp.wordOf(c.asked.options.get(DhcpOption.SERVER_ID))).toBe(SERVER);
    c.answer(DhcpType.ACK);
    expect(c.client).toMatchObject({ state: "bound", isListening: false, wakeAt: 1000 + 1_800_000 });
    expect(c.client.expiresAt).toBe(1000 + 3_600_000);
    const everywhere = { to: { address: 0, length: 0 }, via: SERVER };
    expect(c.client.lease).toMatchObject({ address: ADDRESS, prefixLength: 24, server: SERVER, routes: [everywhere] });
  });

  it("sends DISCOVER again after 4, 8, 16, 32, 64, 64 seconds, a second more or less", () => {
    for (const [random, off] of [
      [0, -1000],
      [0.5, 0],
      [0.9999, 999.8],
    ]) {
      const c = new Conversation(() => random);
      const waits = [4, 8, 16, 32, 64, 64].map(() => {
        const wait = c.client.wakeAt - c.now;
        c.wake();
        return wait;
      });
      waits.forEach((wait, index) => {
        expect(wait).toBeCloseTo(Math.min(4000 * 2 ** index, 64_000) + off, 0);
      });
      expect(c.client.state).toBe("selecting");
    }
  });

  it("begins anew where a request is not answered four times", () => {
    const c = new Conversation();
    c.answer(DhcpType.OFFER);
    const types = Array.from({ length: 4 }, () => {
      c.wake();
      return c.asked.type;
    });
    expect(types).toEqual([DhcpType.REQUEST, DhcpType.REQUEST, DhcpType.REQUEST, DhcpType.DISCOVER]);
    c.bind();
  });

  it("renews at T1 from its server, asks any from T2, and has no address from the end on", () => {
    const c = new Conversation().bind();
    c.wake();
    expect(c.client.state).toBe("renewing");
    expect(c.last).toMatchObject({ source: ADDRESS, destination: SERVER });
    expect(dhcp.clientAddress(c.asked.memory, 0)).toBe(ADDRESS);
    expect(c.asked.options.has(DhcpOption.SERVER_ID) || c.asked.options.has(DhcpOption.REQUESTED_ADDRESS)).toBe(false);
    while (c.client.state === "renewing") c.wake();
    expect(c.client.state).toBe("rebinding");
    expect(c.now).toBe(1000 + 3_150_000);
    expect(c.last).toMatchObject({ source: ADDRESS, destination: BROADCAST });
    while (c.client.state === "rebinding") {
      expect(c.client.lease).toBeDefined();
      c.wake();
    }
    expect(c.now).toBe(1000 + 3_600_000);
    expect(c.client).toMatchObject({ state: "selecting", lease: undefined });
    expect(c.asked.type).toBe(DhcpType.DISCOVER);
  });

  it.each(["renewing", "rebinding"])("is bound again by an ACK while %s", (state) => {
    const c = new Conversation().bind();
    while (c.client.state !== state) c.wake();
    const { now } = c;
    c.answer(DhcpType.ACK);
    expect(c.client).toMatchObject({ state: "bound", expiresAt: now + 3_600_000, wakeAt: now + 1_800_000 });
  });

  it("gives up its address at once when it is refused, and pauses where its own server refuses what it offers", () => {
    const bound = new Conversation().bind();
    bound.wake();
    bound.answer(DhcpType.NAK, [[DhcpOption.SERVER_ID, bytesOf(SERVER)]]);
    expect(bound.client).toMatchObject({ state: "init", lease: undefined, wakeAt: bound.now });
    const asking = new Conversation();
    asking.answer(DhcpType.OFFER);
    asking.answer(DhcpType.NAK, [[DhcpOption.SERVER_ID, bytesOf(SERVER + 1)]]);
    expect(asking.client.state).toBe("requesting");
    asking.answer(DhcpType.NAK, [[DhcpOption.SERVER_ID, bytesOf(SERVER)]]);
    expect(asking.client).toMatchObject({ state: "init", wakeAt: asking.now + 5000 });
  });

  it.each<[string, number, Options, Partial<dhcp.DhcpFields>]>([
    ["another transaction", DhcpType.OFFER, LEASE, { transaction: 7 }],
    ["another hardware address", DhcpType.OFFER, LEASE, { mac: { high: 0x0200, low: 2 } }],
    ["a request", DhcpType.OFFER, LEASE, { operation: dhcp.DhcpOperation.REQUEST }],
    ["an ACK that was not asked for", DhcpType.ACK, LEASE, {}],
    ["a NAK", DhcpType.NAK, LEASE, {}],
    ["no mask", DhcpType.OFFER, LEASE.filter(([code]) => code !== DhcpOption.SUBNET_MASK), {}],
    ["a mask with holes", DhcpType.OFFER, [...LEASE.slice(0, 2), [DhcpOption.SUBNET_MASK, bytesOf(0xff00ff00)]], {}],
    ["no server", DhcpType.OFFER, LEASE.slice(1), {}],
    ["a lease of no time", DhcpType.OFFER, [...LEASE.slice(2), LEASE[0], [DhcpOption.LEASE_SECONDS, bytesOf(0)]], {}],
    ["a broadcast address", DhcpType.OFFER, LEASE, { yourAddress: ADDRESS | 0xff }],
  ])("takes no notice of %s", (_, type, options, changes) => {
    const c = new Conversation();
    c.answer(type, options, changes);
    expect(c.client).toMatchObject({ state: "selecting", lease: undefined });
    c.bind();
  });

  it("does not take an address that it has not asked for", () => {
    const c = new Conversation();
    c.answer(DhcpType.OFFER);
    c.answer(DhcpType.ACK, LEASE, { yourAddress: ADDRESS + 1 });
    expect(c.client).toMatchObject({ state: "requesting", lease: undefined });
  });

  it("keeps T1 and T2 of the server that are in order, and a lease without end", () => {
    const times = (t1: number, t2: number): Options => [
      ...LEASE,
      [DhcpOption.T1_SECONDS, bytesOf(t1)],
      [DhcpOption.T2_SECONDS, bytesOf(t2)],
    ];
    expect(new Conversation().bind(times(100, 200)).client.lease).toMatchObject({ t1Seconds: 100, t2Seconds: 200 });
    expect(new Conversation().bind(times(200, 100)).client.lease).toMatchObject({ t1Seconds: 1800, t2Seconds: 3150 });
    const forever: Options = [LEASE[0], LEASE[2], [DhcpOption.LEASE_SECONDS, bytesOf(-1)]];
    expect(new Conversation().bind(forever).client).toMatchObject({ wakeAt: Infinity, expiresAt: Infinity });
  });

  it("asks any server when its link is back, and gives its address back in the end", () => {
    const c = new Conversation().bind();
    c.last = c.client.linkIsBack(c.now);
    expect(c.client.state).toBe("rebinding");
    expect(c.last).toMatchObject({ source: ADDRESS, destination: BROADCAST });
    c.last = c.client.release(c.now);
    expect(c.asked.type).toBe(DhcpType.RELEASE);
    expect(c.last).toMatchObject({ source: ADDRESS, destination: SERVER });
    expect(c.client.release(c.now)).toBeUndefined();
  });

  it("never throws, and has a lease in the right states only, whatever comes", () => {
    const option = fc.tuple(fc.constantFrom(1, 3, 51, 52, 53, 54, 58, 59, 121), fc.uint8Array({ maxLength: 12 }));
    const step = fc.record({ type: fc.integer({ min: 1, max: 8 }), options: fc.array(option), isGood: fc.boolean() });
    let bound = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), fc.uint8Array({ maxLength: 400 }), (steps, noise) => {
        const c = new Conversation();
        for (const { type, options, isGood } of steps) {
          c.answer(type, isGood ? LEASE : options);
          const message = dhcp.composeMessage({
            operation: 2,
            transaction: c.asked.transaction,
            seconds: 0,
            clientAddress: 0,
            yourAddress: ADDRESS,
            mac: MAC,
            options: [],
          });
          message.set(noise.subarray(0, message.length - 240), 240);
          c.client.receive(new DataView(message.buffer), 0, message.length, c.now);
          const hasLease = ["bound", "renewing", "rebinding"].includes(c.client.state);
          expect(c.client.lease !== undefined).toBe(hasLease);
          if (hasLease) bound++;
          if (type > 6) {
            const before = c.last;
            c.wake();
            c.last ??= before;
          }
        }
      }),
    );
    expect(bound).toBeGreaterThan(0);
  });
});

describe("a lease", () => {
  const lease = (...octets: number[]) =>
    readLease(ADDRESS, new Map([...LEASE, [DhcpOption.CLASSLESS_ROUTES, Uint8Array.from(octets)]]));
  const routes = (...octets: number[]) =>
    lease(...octets)?.routes.map(({ to, via }) => `${formatAddress(to.address)}/${to.length} ${formatAddress(via)}`);

  it("has classless routes in place of the router, where they are well-formed", () => {
    expect(routes(12, 10, 16, 203, 0, 113, 9, 0, 203, 0, 113, 2)).toEqual([
      "10.16.0.0/12 203.0.113.9",
      "0.0.0.0/0 203.0.113.2",
    ]);
    // By a neighbour that is none.
    expect(routes(8, 10, 192, 0, 2, 1)).toEqual([]);
    expect(routes(33, 10, 0, 0, 0, 0, 203, 0, 113, 2)).toEqual(["0.0.0.0/0 203.0.113.2"]);
    expect(routes(8, 10, 203)).toEqual(["0.0.0.0/0 203.0.113.2"]);
  });

  const parse = (text: string) => parseConfiguration(text, "t").configuration as Configuration;
  const text = (more = "") => `version: 1
networks: { lab: { subnet: 10.55.66.0/24 } }
uplinks: { wan: { kind: packet, device: up0, address: dhcp${more} } }
nat: { publish: [ { proto: tcp, on: wan, port: 80, to: 10.55.66.3 } ] }
routes: [ { to: 192.0.2.0/24, via: 203.0.113.9 } ]
`;

  it("gives an uplink its address, routes and published ports, and its device stays the same", () => {
    const without = resolvePlan(parse(text()));
    expect(without.plan.interfaces[1]).toMatchObject({ address: 0, prefixLength: 32, isLeased: true });
    expect(without.plan.routes).toEqual([]);
    const leases = new Map([["wan", lease(0, 203, 0, 113, 2) as NonNullable<ReturnType<typeof lease>>]]);
    const leased = resolvePlan(parse(text()), without, leases);
    expect(leased.plan.interfaces[1]).toMatchObject({ address: ADDRESS, prefixLength: 24 });
    expect(leased.devices).toEqual(without.devices);
    const ways = leased.plan.routes.map(({ to, nextHops }) => [to.length, formatAddress(nextHops[0]?.via ?? 0)]);
    expect(ways).toEqual([
      [24, "203.0.113.9"],
      [0, "203.0.113.2"],
    ]);
    const chain = leased.plan.rules.nat.chains.find(({ name }) => name === "PREROUTING");
    expect(chain?.rules[0]?.destination?.is).toEqual([{ first: ADDRESS, last: ADDRESS }]);
    const given = resolvePlan(parse(text(", gateway: 203.0.113.7")), without, leases).plan.routes[1];
    expect(formatAddress(given?.nextHops[0]?.via ?? 0)).toBe("203.0.113.7");
  });

  it("whose subnet is another network's is refused", () => {
    const leases = new Map([["wan", { address: 0x0a374205, prefixLength: 24, routes: [] }]]);
    expect(() => resolvePlan(parse(text()), undefined, leases)).toThrow(/10\.55\.66\.0\/24 overlaps|overlaps 10\.55/);
  });
});

describe("a DHCP message in a frame", () => {
  it("is found by the one that it is for, if it is whole", () => {
    const message = Uint8Array.from({ length: 301 }, (_, index) => index);
    const frame = composeDatagram({ message, source: SERVER, destination: ADDRESS }, { high: 0x0200, low: 9 }, MAC);
    const turned = new DataView(frame.buffer);
    const udpAt = 10 + 14 + 20;
    turned.setUint16(udpAt, 67);
    turned.setUint16(udpAt + 2, 68);
    const found = findMessage(turned, MAC);
    expect(found).toEqual({ at: udpAt + 8, length: 301, sender: { high: 0x0200, low: 9 } });
    expect(findMessage(turned, { high: 0x0200, low: 3 })).toBeUndefined();
    frame[udpAt + 30] ^= 1;
    expect(findMessage(turned, MAC)).toBeUndefined();
    for (let length = 0; length < frame.length; length++) {
      expect(findMessage(new DataView(frame.buffer, 0, length), MAC)).toBeUndefined();
    }
  });
});
