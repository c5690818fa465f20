import { readlinkSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { native, PortCounter } from "../../src/io/native.ts";
import { exec, ip, namespace, netnsPath, requireSystem, uniqueName, veth } from "../support/netns.ts";
import { closeLater, closeNow, frame, Harness, put } from "./harness.ts";

const here = () => readlinkSync("/proc/thread-self/ns/net");

interface Failure {
  code: string;
  errno: number;
  syscall: string;
  message: string;
}

function failure(body: () => unknown): Failure {
  try {
    body();
  } catch (error) {
    return error as Failure;
  }
  throw new Error("it did not fail");
}

describe.skipIf(!requireSystem([], "devices of the addon"))("devices", () => {
  it("makes a TAP in another namespace and comes back", () => {
    const netns = namespace();
    const home = here();
    const tap = native().openTap({ ifname: "eth0", netns: netnsPath(netns) });
    closeLater(tap.fd);
    expect(here()).toBe(home);
    expect(tap.ifname).toBe("eth0");
    // TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6; USO where the kernel has it.
    expect(tap.offloads & 0x07).toBe(0x07);
    const shown = JSON.parse(ip(netns, "-d -j link show dev eth0"))[0];
    expect(shown.linkinfo.info_kind).toBe("tun");
    expect(shown.flags).not.toContain("UP");
    expect(exec(undefined, "ip", ["link", "show", "dev", "eth0", "type", "tun"]).stdout).toBe("");
  });

  it("makes TAPs of the same name in several namespaces, and one where the caller is", () => {
    const [first, second] = [namespace(), namespace()];
    for (const netns of [first, second]) closeLater(native().openTap({ ifname: "eth0", netns: netnsPath(netns) }).fd);
    native().inNamespace(netnsPath(first), () => {
      const tap = native().openTap({ ifname: "tap%d", offload: false });
      closeLater(tap.fd);
      expect(tap).toMatchObject({ ifname: "tap0", offloads: 0 });
    });
    expect(ip(first, "link show dev tap0")).toContain("tap0");
    expect(ip(second, "link show dev eth0")).toContain("eth0");
  });

  it("lets a namespace go when its TAP is all that is left of it", () => {
    const harness = new Harness();
    const netns = namespace();
    harness.tap(0, netns, "eth0");
    ip(undefined, `netns del ${netns}`);
    expect(harness.untilFailed(0)).toBe(77); // EBADFD
  });

  it("attaches to a TAP that is there, and names what is in the way", () => {
    const netns = namespace();
    ip(netns, "tuntap add dev there mode tap vnet_hdr");
    const tap = native().openTap({ ifname: "there", netns: netnsPath(netns) });
    closeLater(tap.fd);
    const busy = failure(() => native().openTap({ ifname: "there", netns: netnsPath(netns) }));
    expect(busy).toMatchObject({ code: "EBUSY", errno: 16, syscall: "ioctl TUNSETIFF" });
    expect(busy.message).toBe("openTap there: Device or resource busy (EBUSY, ioctl TUNSETIFF)");
    veth({ netns, ifname: "up0" }, { netns, ifname: "up1" });
    expect(failure(() => native().openTap({ ifname: "up0", netns: netnsPath(netns) }))).toMatchObject({
      code: "EINVAL",
    });
  });

  it("refuses names that cannot be", () => {
    const long = failure(() => native().openTap({ ifname: "a-name-of-seventeen" }));
    expect(long.code).toBe("ENAMETOOLONG");
    const gone = failure(() => native().openTap({ ifname: "eth0", netns: "/run/netns/no-such-namespace" }));
    expect(gone).toMatchObject({ code: "ENOENT", syscall: "setns" });
    const noNamespace = failure(() => native().openTap({ ifname: "eth0", netns: "/dev/null" }));
    expect(noNamespace).toMatchObject({ code: "EINVAL", syscall: "setns" });
  });

  it("describes the device of a packet socket", () => {
    const netns = namespace();
    veth({ netns, ifname: "up0", mac: "02:55:66:00:00:07" }, { netns, ifname: "up1" });
    ip(netns, "link set up0 mtu 1400");
    const home = here();
    const socket = native().openPacketSocket({ device: "up0", netns: netnsPath(netns) });
    closeLater(socket.fd);
    expect(here()).toBe(home);
    expect(socket).toMatchObject({ mtu: 1400, mac: "02:55:66:00:00:07" });
    expect(socket.ifindex).toBe(JSON.parse(ip(netns, "-j link show dev up0"))[0].ifindex);
    const absent = failure(() => native().openPacketSocket({ device: "up7", netns: netnsPath(netns) }));
    expect(absent).toMatchObject({ code: "ENODEV", syscall: "ioctl SIOCGIFINDEX" });
    expect(here()).toBe(home);
  });

  it("does not hear what the device sends, unless it is asked to", () => {
    const netns = namespace();
    const harness = new Harness();
    veth({ netns, ifname: "up0" }, { netns, ifname: "up1" });
    const quiet = harness.packet(0, netns, "up0");
    harness.packet(1, netns, "up0", { outgoing: true });
    harness.packet(2, netns, "up1");
    put(quiet, frame(1));
    expect(harness.expectFrames(1, 2)).toHaveLength(1);
    // What went out was copied to the capture before the peer had it.
    harness.burst();
    expect(harness.counter(1, PortCounter.RX_FRAMES)).toBe(1);
    expect(harness.counter(0, PortCounter.RX_FRAMES)).toBe(0);
  });

  it("hears frames for other stations", () => {
    const netns = namespace();
    const harness = new Harness();
    veth({ netns, ifname: "up0" }, { netns, ifname: "up1" });
    harness.packet(0, netns, "up0");
    const peer = harness.packet(1, netns, "up1");
    put(peer, frame(5));
    expect(harness.expectFrames(1, 0)[0].bytes).toEqual(frame(5));
  });

  it("puts back the VLAN tag that the kernel has taken off", () => {
    const netns = namespace();
    const harness = new Harness();
    veth({ netns, ifname: "up0" }, { netns, ifname: "up1" });
    harness.packet(0, netns, "up0");
    const peer = harness.packet(1, netns, "up1");
    const bytes = frame(1, 64);
    bytes.writeUInt16BE(0x8100, 12);
    bytes.writeUInt16BE(0x2007, 14);
    bytes.writeUInt16BE(0x88b5, 16);
    put(peer, bytes);
    expect(harness.expectFrames(1, 0)[0].bytes).toEqual(bytes);
  });

  it("runs a body in a namespace and comes back when it throws", () => {
    const netns = namespace();
    const home = here();
    const there = native().inNamespace(netnsPath(netns), here);
    expect(there).not.toBe(home);
    expect(here()).toBe(home);
    const error = new Error("from the body");
    expect(() =>
      native().inNamespace(netnsPath(netns), () => {
        throw error;
      }),
    ).toThrow(error);
    expect(here()).toBe(home);
    const child = native().inNamespace(
      netnsPath(netns),
      () => exec(undefined, "readlink", ["/proc/self/ns/net"]).stdout,
    );
    expect(child.trim()).toBe(there);
    expect(failure(() => native().inNamespace(`/run/netns/${uniqueName("none")}`, here)).code).toBe("ENOENT");
  });

  it("moves a process for good", () => {
    const netns = namespace();
    const program = `
      const addon = require(${JSON.stringify(new URL("../../native/build/Release/tapir.node", import.meta.url).pathname)});
      addon.enterNamespace(${JSON.stringify(netnsPath(netns))});
      console.log(require("node:fs").readlinkSync("/proc/thread-self/ns/net"));`;
    const { stdout } = exec(undefined, process.execPath, ["-e", program]);
    expect(stdout.trim()).toBe(native().inNamespace(netnsPath(netns), here));
  });

  it("closes descriptors", () => {
    const netns = namespace();
    const { fd } = native().openTap({ ifname: "eth0", netns: netnsPath(netns) });
    closeLater(fd);
    closeNow(fd);
    expect(failure(() => native().closeDescriptor(-1))).toMatchObject({ code: "EBADF", syscall: "close" });
    expect(exec(undefined, "ip", ["-n", netns, "link", "show", "dev", "eth0"]).status).not.toBe(0);
  });
});
