import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import { EngineState, native, PortCounter, PortKind } from "../../src/io/native.ts";
import { ip, namespace, netnsPath, requireSystem, veth } from "../support/netns.ts";
import { bytesOf, closing, frame, Ports, packet, tap } from "./ports.ts";

const { ENODEV } = constants.errno;

/** Both ends of a cable, each with a packet socket: port 0 in `near`, port 1 in `far`. */
function cable() {
  const [near, far] = [namespace(), namespace()];
  veth({ netns: near, ifname: "wan0", mac: "02:00:00:00:01:01" }, { netns: far, ifname: "peer0" });
  const ports = new Ports();
  ports.engine.addPort(0, packet(near, "wan0"), PortKind.PACKET);
  ports.engine.addPort(1, packet(far, "peer0"), PortKind.PACKET);
  return { near, far, ports };
}

describe.skipIf(!requireSystem([], "packet sockets of the addon"))("openPacketSocket", () => {
  it("tells index, MTU and address of the device, and makes it promiscuous while it is open", () => {
    const [near, far] = [namespace(), namespace()];
    veth({ netns: near, ifname: "wan0", mac: "02:00:00:00:01:01" }, { netns: far, ifname: "peer0" });
    ip(near, "link set wan0 mtu 1400");
    expect(ip(near, "-d link show wan0")).toMatch(/promiscuity 0 /);
    const opened = native().openPacketSocket({ device: "wan0", netns: netnsPath(near) });
    const described = ip(near, "-d link show wan0");
    native().closeDescriptor(opened.fd);
    expect(opened).toMatchObject({ mtu: 1400, mac: "02:00:00:00:01:01" });
    expect(described).toMatch(new RegExp(`^${opened.ifindex}: wan0`));
    expect(described).toMatch(/promiscuity 1 /);
    expect(ip(near, "-d link show wan0")).toMatch(/promiscuity 0 /);
  });

  it("names what is wrong: no such device, no such namespace, a name too long", () => {
    const netns = netnsPath(namespace());
    const open = (device: string, path = netns) => closing(native().openPacketSocket({ device, netns: path }));
    expect(() => open("none0")).toThrow(expect.objectContaining({ code: "ENODEV", syscall: "ioctl SIOCGIFINDEX" }));
    expect(() => open("lo", "/run/netns/no-such-one")).toThrow(expect.objectContaining({ code: "ENOENT" }));
    expect(() => open("a234567890123456")).toThrow(expect.objectContaining({ code: "ENAMETOOLONG" }));
  });
});

describe.skipIf(!requireSystem([], "packet ports of the addon"))("a packet port", () => {
  it("moves frames to and from addresses that are not the device's", () => {
    const { ports } = cable();
    const frames = [frame(1), frame(2, 1514)];
    expect(ports.send(1, frames)).toBe(2);
    const received = ports.receive(2);
    expect(received.map(({ port }) => port)).toEqual([0, 0]);
    expect(bytesOf(received)).toEqual(frames);
    expect(ports.counter(0, PortCounter.RX_BYTES)).toBe(60 + 1514);
  });

  it("sends more than one batch, in order", () => {
    const { ports } = cable();
    const frames = Array.from({ length: 150 }, (_, index) => frame(index));
    expect(ports.send(0, frames)).toBe(150);
    expect(bytesOf(ports.receive(150))).toEqual(frames);
    expect(ports.counter(0, PortCounter.TX_FRAMES)).toBe(150);
  });

  it("loses only the frame that the device refuses", () => {
    const { ports } = cable();
    expect(ports.send(0, [frame(1), frame(2, 1900), frame(3)])).toBe(2);
    expect(bytesOf(ports.receive(2))).toEqual([frame(1), frame(3)]);
    expect(ports.counter(0, PortCounter.TX_ERRORS)).toBe(1);
  });

  it("does not hear what its device sends, unless asked to", () => {
    const netns = namespace();
    const ports = new Ports();
    const device = tap(netns);
    ports.engine.addPort(0, packet(netns), PortKind.PACKET);
    ports.engine.addPort(1, packet(netns, "t0", true), PortKind.PACKET);
    const kernel = new Ports();
    kernel.engine.addPort(0, packet(netns), PortKind.PACKET);
    kernel.engine.addPort(1, device, PortKind.TAP);
    expect(kernel.send(0, [frame(1)])).toBe(1);
    expect(kernel.send(1, [frame(2)])).toBe(1);
    const received = ports.receive(3);
    const heard = (port: number) => bytesOf(received.filter((one) => one.port === port));
    expect(heard(0)).toEqual([frame(2)]);
    expect(heard(1)).toEqual([frame(1), frame(2)]);
  }, 20_000);

  it("survives that its device goes down and up again", () => {
    const { near, ports } = cable();
    ip(near, "link set wan0 down");
    expect(ports.burst()).toEqual([]);
    expect(ports.send(0, [frame(1)])).toBe(0);
    expect(ports.counter(0, PortCounter.TX_ERRORS)).toBe(1);
    expect([...ports.memory.portErrors]).toEqual([0, 0, 0, 0]);
    ip(near, "link set wan0 up");
    expect(ports.send(1, [frame(2)])).toBe(1);
    expect(bytesOf(ports.receive(1))).toEqual([frame(2)]);
    expect(ports.send(0, [frame(3)])).toBe(1);
    expect(bytesOf(ports.receive(1))).toEqual([frame(3)]);
  });

  it("fails once when its device is deleted, and the others go on", () => {
    const { near, ports } = cable();
    const left = namespace();
    ports.engine.addPort(2, tap(left), PortKind.TAP);
    ports.engine.addPort(3, packet(left), PortKind.PACKET);
    ip(near, "link del wan0");
    let told = ports.receiveUntilFailed(0);
    // The other end of the cable went with it, maybe in the same burst.
    told += ports.receiveUntilFailed(1);
    expect(told).toBe(2);
    expect([...ports.memory.portErrors]).toEqual([ENODEV, ENODEV, 0, 0]);
    ports.send(3, [frame(1)]);
    expect(bytesOf(ports.receive(1))).toEqual([frame(1)]);
    ports.send(2, [frame(2)]);
    expect(bytesOf(ports.receive(1))).toEqual([frame(2)]);
    expect(ports.state(EngineState.PORT_ERRORS)).toBe(0);
  });

  it("fails on sending when its device was down before it was deleted", () => {
    const { near, ports } = cable();
    ip(near, "link set wan0 down");
    ports.burst();
    ip(near, "link del wan0");
    ports.burst();
    expect(ports.send(0, [frame(1), frame(2)])).toBe(0);
    expect(ports.memory.portErrors[0]).toBe(ENODEV);
  });
});
