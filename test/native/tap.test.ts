import { readlinkSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { EngineState, native, PortCounter, PortKind } from "../../src/io/native.ts";
import { exec, ip, namespace, netnsPath, requireSystem } from "../support/netns.ts";
import { bytesOf, closing, frame, Ports, packet, tap } from "./ports.ts";
import { WAYS, type Way } from "./ways.ts";

const TAP = 0;
const KERNEL = 1;
/** "File descriptor in bad state": what a TAP says once its device is gone. Node has no name for it. */
const EBADFD = 77;

/** A TAP as port 0 and a packet socket on the same device, which speaks for the container's kernel, as port 1. */
function tapAndKernel(way: Way): { netns: string; ports: Ports } {
  const netns = namespace();
  const ports = new Ports({ way });
  ports.engine.addPort(TAP, tap(netns), PortKind.TAP);
  ports.engine.addPort(KERNEL, packet(netns), PortKind.PACKET);
  return { netns, ports };
}

describe.skipIf(!requireSystem([], "TAP devices of the addon"))("openTap", () => {
  it("makes the device in the namespace of the path, and nowhere else", () => {
    const [netns, other] = [namespace(), namespace()];
    const made = closing(native().openTap({ ifname: "only-there", netns: netnsPath(netns) }));
    expect(made.ifname).toBe("only-there");
    expect(made.offloads).toBeGreaterThan(0);
    expect(ip(netns, "-d link show only-there")).toMatch(/tun type tap/);
    expect(exec(other, "ip", ["link", "show", "only-there"]).status).not.toBe(0);
    expect(exec(undefined, "ip", ["link", "show", "only-there"]).status).not.toBe(0);
  });

  it("takes no offloads when told so", () => {
    const netns = netnsPath(namespace());
    expect(closing(native().openTap({ ifname: "t0", netns, offload: false })).offloads).toBe(0);
  });

  it("names what is wrong: taken, of another kind, too long, no such namespace, no namespace", () => {
    const name = namespace();
    const netns = netnsPath(name);
    const open = (ifname: string, path = netns) => closing(native().openTap({ ifname, netns: path }));
    open("t0");
    ip(name, "link add other type veth peer name other-peer");
    expect(() => open("t0")).toThrow(expect.objectContaining({ code: "EBUSY", syscall: "ioctl TUNSETIFF" }));
    expect(() => open("other")).toThrow(expect.objectContaining({ code: "EINVAL" }));
    expect(() => open("a234567890123456")).toThrow(expect.objectContaining({ code: "ENAMETOOLONG" }));
    expect(() => open("t1", "/run/netns/no-such-one")).toThrow(expect.objectContaining({ code: "ENOENT" }));
    expect(() => open("t1", "/dev/null")).toThrow(expect.objectContaining({ code: "EINVAL" }));
    expect(open("a23456789012345").ifname).toBe("a23456789012345");
  });

  it("stays in the namespace where it was, also after an error", () => {
    const home = readlinkSync("/proc/thread-self/ns/net");
    const netns = netnsPath(namespace());
    closing(native().openTap({ ifname: "t0", netns }));
    expect(() => native().openTap({ ifname: "t0", netns })).toThrow();
    expect(readlinkSync("/proc/thread-self/ns/net")).toBe(home);
  });
});

describe.skipIf(!requireSystem([], "TAP ports of the addon")).each(WAYS)("a TAP port, $name", (way) => {
  it("receives what the namespace sends, byte for byte, and the namespace receives what it sends", () => {
    const { ports } = tapAndKernel(way);
    const up = [frame(1), frame(2, 1514), frame(3, 61)];
    expect(ports.send(KERNEL, up)).toBe(3);
    const received = ports.receive(3);
    expect(received.map(({ port }) => port)).toEqual([TAP, TAP, TAP]);
    expect(bytesOf(received)).toEqual(up);
    expect(ports.counter(TAP, PortCounter.RX_FRAMES)).toBe(3);
    expect(ports.counter(TAP, PortCounter.RX_BYTES)).toBe(60 + 1514 + 61);

    const down = [frame(4, 1514), frame(5)];
    expect(ports.send(TAP, down)).toBe(2);
    const arrived = ports.receive(2);
    expect(arrived.map(({ port }) => port)).toEqual([KERNEL, KERNEL]);
    expect(bytesOf(arrived)).toEqual(down);
    expect(ports.counter(TAP, PortCounter.TX_FRAMES)).toBe(2);
    expect(ports.counter(TAP, PortCounter.TX_BYTES)).toBe(1514 + 60);
  });

  it("loses frames while its device is down, and works again once it is up", () => {
    const { netns, ports } = tapAndKernel(way);
    ip(netns, "link set t0 down");
    expect(ports.send(TAP, [frame(1)])).toBe(0);
    expect(ports.counter(TAP, PortCounter.TX_ERRORS)).toBe(1);
    expect(ports.burst()).toEqual([]);
    ip(netns, "link set t0 up");
    expect(ports.memory.portErrors[TAP]).toBe(0);
    expect(ports.send(TAP, [frame(2)])).toBe(1);
    expect(bytesOf(ports.receive(1))).toEqual([frame(2)]);
    expect(ports.send(KERNEL, [frame(3)])).toBe(1);
    expect(bytesOf(ports.receive(1))).toEqual([frame(3)]);
  });

  it.each([
    ["its device", (netns: string) => ip(netns, "link del t0")],
    ["its namespace", (netns: string) => ip(undefined, `netns del ${netns}`)],
  ])("fails once when %s is deleted, and the others go on", (_, remove) => {
    const [gone, left] = [namespace(), namespace()];
    const ports = new Ports({ way });
    ports.engine.addPort(0, tap(gone), PortKind.TAP);
    ports.engine.addPort(1, tap(left), PortKind.TAP);
    ports.engine.addPort(2, packet(left), PortKind.PACKET);
    remove(gone);
    expect(ports.receiveUntilFailed(0)).toBe(1);
    expect([...ports.memory.portErrors]).toEqual([EBADFD, 0, 0, 0]);
    expect(ports.send(0, [frame(9)])).toBe(0);
    expect(ports.send(2, [frame(1)])).toBe(1);
    expect(bytesOf(ports.receive(1))).toEqual([frame(1)]);
    expect(ports.send(1, [frame(2)])).toBe(1);
    expect(bytesOf(ports.receive(1))).toEqual([frame(2)]);
    expect(ports.burst()).toEqual([]);
    expect(ports.state(EngineState.PORT_ERRORS)).toBe(0);
  });

  it("may be used for another device after a failure that a transmission found", () => {
    const { netns, ports } = tapAndKernel(way);
    ports.engine.removePort(KERNEL);
    const filler = new Ports({ way });
    filler.engine.addPort(KERNEL, packet(netns), PortKind.PACKET);
    filler.send(KERNEL, [frame(1), frame(2)]);
    // The port has more to read, so that it is still on the list of those when it fails.
    expect(ports.burst(1)).toHaveLength(1);
    ip(netns, "link del t0");
    expect(ports.send(TAP, [frame(3)])).toBe(0);
    expect(ports.memory.portErrors[TAP]).toBe(EBADFD);
    ports.burst();
    const next = namespace();
    ports.engine.addPort(TAP, tap(next), PortKind.TAP);
    ports.engine.addPort(KERNEL, packet(next), PortKind.PACKET);
    expect(ports.memory.portErrors[TAP]).toBe(0);
    ports.send(KERNEL, [frame(4)]);
    expect(bytesOf(ports.receive(1))).toEqual([frame(4)]);
  });
});
