/** DHCP servers as the router has them: what is on disk when, and what is left of it. */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { parseConfiguration, resolvePlan } from "../../src/control/configuration/configuration.ts";
import { DhcpService } from "../../src/control/dhcp/dhcp_service.ts";
import type { SentDatagram } from "../../src/dataplane/messages.ts";
import * as dhcp from "../../src/packet/dhcp.ts";
import { bytesOf, DhcpOption, DhcpType } from "../../src/packet/dhcp.ts";
import { formatAddress } from "../../src/packet/ipv4_address.ts";
import { word } from "../support/frames.ts";

function plansOf(dhcpKeys: string, ports = "c1: { netns: c1 }, c2: { netns: c2 }") {
  const text = `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ${dhcpKeys} ports: { ${ports} } } }
`;
  const { configuration, errors } = parseConfiguration(text, "f");
  if (configuration === undefined) throw new Error(JSON.stringify(errors));
  return resolvePlan(configuration).networkServices.dhcp;
}

const PLANS = plansOf("dhcp: { range: 10.55.66.100-10.55.66.199 },");

/** A service with a clock by hand; the wall clock is another one. */
class World {
  now = 5_000;
  wallClock = 1_700_000_000_000;
  readonly sent: SentDatagram[] = [];
  readonly logged: string[] = [];
  readonly service = new DhcpService({
    send: (datagram) => this.sent.push(datagram),
    log: (_, message) => this.logged.push(message),
    now: () => this.now,
    wallClock: () => this.wallClock,
  });

  say(type: number, port: number, options: [number, Uint8Array][] = [], clientAddress = 0): void {
    const message = dhcp.composeMessage({
      operation: dhcp.DhcpOperation.REQUEST,
      transaction: 1,
      seconds: 0,
      clientAddress,
      yourAddress: 0,
      mac: { high: 0x0200, low: port + 1 },
      options: [[DhcpOption.MESSAGE_TYPE, Uint8Array.of(type)], ...options],
    });
    this.service.receive({
      service: "dhcp",
      interface: PLANS[0].interface,
      port: PLANS[0].ports[port].index,
      mac: "02:00:00:00:00:01",
      source: 0,
      destination: -1,
      sourcePort: 68,
      destinationPort: 67,
      payload: Buffer.from(message).toString("base64"),
    });
  }

  request(port: number, address: string): void {
    this.say(DhcpType.DISCOVER, port, [[DhcpOption.REQUESTED_ADDRESS, bytesOf(word(address))]]);
    this.say(DhcpType.REQUEST, port, [
      [DhcpOption.REQUESTED_ADDRESS, bytesOf(word(address))],
      [DhcpOption.SERVER_ID, bytesOf(word("10.55.66.1"))],
    ]);
  }

  /** Types of the messages that were sent. */
  get types(): number[] {
    return this.sent.map(({ payload }) => Buffer.from(payload, "base64")[242]);
  }

  rows(): string[] {
    return this.service.view().map(({ address, port, state }) => `${address} ${port} ${state}`);
  }
}

let folder: string;
let file: string;
beforeEach(() => {
  vi.useFakeTimers();
  folder = mkdtempSync(join(tmpdir(), "tapir-test-"));
  file = join(folder, "deep", "leases.json");
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(folder, { recursive: true, force: true });
});

describe("leases", () => {
  it("are on disk before their client is told, and answers go out of the port that the question came by", () => {
    const world = new World();
    world.service.follow(PLANS, file);
    world.request(1, "10.55.66.150");
    expect(world.types).toEqual([DhcpType.OFFER]);
    expect(existsSync(file)).toBe(false);
    vi.runAllTimers();
    expect(world.types).toEqual([DhcpType.OFFER, DhcpType.ACK]);
    expect(readFileSync(file, "utf8")).toContain('"address":"10.55.66.150","port":"c2"');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(world.sent[1]).toMatchObject({
      interface: PLANS[0].interface,
      port: PLANS[0].ports[1].index,
      source: word("10.55.66.1"),
      destination: word("10.55.66.150"),
      sourcePort: 67,
      destinationPort: 68,
      mac: "02:00:00:00:00:02",
    });
  });

  it("are written together, not once for each message of a client that asks in a loop", () => {
    const world = new World();
    world.service.follow(PLANS, file);
    world.request(0, "10.55.66.150");
    vi.runAllTimers();
    const { ino } = statSync(file);
    for (let turn = 0; turn < 50; turn++) world.request(0, "10.55.66.150");
    vi.advanceTimersByTime(99);
    expect(statSync(file).ino).toBe(ino);
    expect(world.types.filter((type) => type === DhcpType.ACK)).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(statSync(file).ino).not.toBe(ino);
    expect(world.types.filter((type) => type === DhcpType.ACK)).toHaveLength(51);
  });

  it("go on in another process, whose monotonic clock is another", () => {
    const world = new World();
    world.service.follow(PLANS, file);
    world.request(0, "10.55.66.150");
    world.request(1, "10.55.66.151");
    world.say(DhcpType.RELEASE, 1, [], word("10.55.66.151"));
    world.service.stop();
    const next = new World();
    next.now = 77;
    next.wallClock += 1_000_000;
    next.service.follow(PLANS, file);
    expect(next.rows()).toEqual(["10.55.66.150 c1 bound", "10.55.66.151 c2 over"]);
    expect(next.service.view()[0].expiresSeconds).toBe(2600);
    expect(next.service.addressesOf("lab", "c1").map(formatAddress)).toEqual(["10.55.66.150"]);
    expect(next.service.portOf("lab", word("10.55.66.150"))).toBe("c1");
    expect(next.service.portOf("lab", word("10.55.66.151"))).toBeUndefined();
    expect(next.service.isTaken("lab", word("10.55.66.150"))).toBe(true);
    next.now += 2_600_000;
    expect(next.rows()[0]).toBe("10.55.66.150 c1 over");
    expect(next.service.isTaken("lab", word("10.55.66.150"))).toBe(false);
  });

  it("stay through a change, and what has no place any more is said", () => {
    const world = new World();
    world.service.follow(PLANS, file);
    world.request(0, "10.55.66.150");
    world.request(1, "10.55.66.151");
    world.service.follow(plansOf("dhcp: { range: 10.55.66.100-10.55.66.150 },"), file);
    expect(world.rows()).toEqual(["10.55.66.150 c1 bound"]);
    expect(world.logged).toEqual([
      "network lab: 10.55.66.151 is leased to 02:00:00:00:00:02 behind c2, and no longer to give",
    ]);
    world.service.follow([], file);
    expect(world.rows()).toEqual([]);
  });

  it("are given without the file where it cannot be written, which is said once", () => {
    const world = new World();
    writeFileSync(join(folder, "no"), "");
    world.service.follow([], join(folder, "other"));
    world.service.follow(PLANS, file);
    // A file in the place of the folder.
    writeFileSync(join(folder, "deep"), "");
    for (const address of ["10.55.66.150", "10.55.66.150"]) {
      world.request(0, address);
      vi.runAllTimers();
    }
    expect(world.types.filter((type) => type === DhcpType.ACK)).toHaveLength(2);
    expect(world.logged).toHaveLength(1);
    expect(world.logged[0]).toMatch(/^control\.leases: .*: leases are not kept$/);
  });

  it.each([
    ["no JSON", "{"],
    ["another version", '{"version":2,"networks":{}}'],
    ["an address that is none", '{"version":1,"networks":{"lab":[{"address":"x"}]}}'],
  ])("are not taken from a file that is somebody else's: %s", (_, text) => {
    const other = join(folder, "other.json");
    writeFileSync(other, text);
    const world = new World();
    expect(() => world.service.follow(PLANS, other)).toThrow(
      /control\.leases: .* is not what Tapir writes: move it away/,
    );
    expect(readFileSync(other, "utf8")).toBe(text);
  });

  it("of a file that the range has no place for are left out, and none is given twice", () => {
    const lease = (address: string, client: string, port = "c1") => ({
      address,
      port,
      client,
      mac: "02:00:00:00:00:01",
      hostName: "",
      isBound: true,
      ends: 1_700_000_900,
    });
    const leases = [
      lease("10.55.66.100", "a"),
      lease("10.55.66.100", "b"),
      lease("10.55.66.101", "a"),
      lease("10.55.66.99", "c"),
      lease("999.1.1.1", "d"),
      lease("10.55.66.1", "e"),
    ];
    const own = join(folder, "own.json");
    writeFileSync(own, JSON.stringify({ version: 1, networks: { lab: leases, gone: [lease("10.9.9.9", "z")] } }));
    const world = new World();
    world.service.follow(PLANS, own);
    expect(world.rows()).toEqual(["10.55.66.100 c1 bound"]);
  });
});
