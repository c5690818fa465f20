import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  CLOSED,
  configurationText,
  GATEWAY_CLOSED,
  MASQUERADED,
  OPEN_WITHOUT_NAT,
  PAIRS_ACCEPTED,
  PUBLISHED,
} from "../../src/cli/lab/configuration.ts";
import { checkTun, isPrivileged, missingCommands } from "../../src/cli/lab/needs.ts";
import { UPLINK } from "../../src/cli/lab/places.ts";
import { Report } from "../../src/cli/lab/report.ts";
import { askedFor, replies, requests, seePacket, withPrefix } from "../../src/cli/lab/seen.ts";
import { parseConfiguration } from "../../src/control/configuration/configuration.ts";
import { ExitCode, TapirError } from "../../src/control/errors.ts";
import { arp, echoReply, echoRequest, ethernet, udp } from "../support/frames.ts";

const MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02"] as const;
const between = { source: "10.55.66.2", destination: "203.0.113.2", ttl: 63, id: 9 };
const see = (type: number, packet: Uint8Array) => {
  const seen = seePacket(ethernet(MACS[0], MACS[1], type, packet));
  if (seen === undefined) throw new Error("not seen");
  return seen;
};

describe("what the lab needs", () => {
  it("names each missing program and its package", () => {
    const folder = mkdtempSync(join(tmpdir(), "tapir-needs-"));
    try {
      writeFileSync(join(folder, "ping"), "");
      expect(missingCommands(`/nowhere:${folder}`)).toEqual(["ip is not installed: apt-get install -y iproute2"]);
      writeFileSync(join(folder, "ip"), "");
      expect(missingCommands(`/nowhere:${folder}`)).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("asks for all of its capabilities", () => {
    expect(isPrivileged("Name:\tnode\nCapEff:\t000001ffffffffff\n")).toBe(true);
    expect(isPrivileged("CapEff:\t0000000000203000\n")).toBe(true);
    for (const less of ["203000", "201000", "202000", "003000"]) {
      expect(isPrivileged(`CapEff:\t0000000000${less}\n`)).toBe(less === "203000");
    }
    expect(isPrivileged("CapEff:\t0000000000000000\n")).toBe(false);
  });

  it("tells how to get a missing TUN/TAP driver", () => {
    try {
      checkTun("/nowhere/tun");
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(TapirError);
      expect((error as TapirError).exitCode).toBe(ExitCode.PRIVILEGE);
      expect((error as TapirError).message).toContain("modprobe tun");
    }
  });
});

describe("the lab's configurations", () => {
  it("differ in what their steps are about", () => {
    const read = (settings: typeof CLOSED) => {
      const { configuration, errors } = parseConfiguration(configurationText(settings), "lab.yaml");
      if (configuration === undefined) throw new Error(JSON.stringify(errors));
      const { networks, nat, filter } = configuration;
      const { policy, rules } = filter?.forward ?? {};
      return [
        networks?.lab.ports?.c1.defaultRoute,
        nat?.masquerade?.length,
        policy,
        rules?.length ?? 0,
        filter?.input?.policy,
        nat?.publish?.length ?? 0,
      ];
    };
    expect(read(OPEN_WITHOUT_NAT)).toEqual([false, 0, "accept", 0, "accept", 0]);
    expect(read(MASQUERADED)).toEqual([true, 1, "accept", 0, "accept", 0]);
    expect(read(CLOSED)).toEqual([true, 1, "drop", 0, "accept", 0]);
    expect(read(PAIRS_ACCEPTED)).toEqual([true, 1, "drop", 2, "accept", 0]);
    expect(read(GATEWAY_CLOSED)).toEqual([true, 1, "drop", 2, "drop", 0]);
    expect(read(PUBLISHED)).toEqual([true, 1, "drop", 0, "accept", 1]);
  });
});

describe("what the lab sees in a packet", () => {
  const request = see(0x0800, echoRequest(between, 7, 3));
  const reply = see(0x0800, echoReply({ ...between, source: "203.0.113.2", destination: "203.0.113.1" }, 7, 3));
  const question = see(
    0x0806,
    arp({ operation: 1, senderMac: MACS[1], sender: "10.55.66.2", targetMac: MACS[0], target: "10.55.66.1" }),
  );

  it("is addresses, TTL, ids and hardware addresses", () => {
    expect(request.ip).toEqual({ source: "10.55.66.2", destination: "203.0.113.2", ttl: 63, id: 9, protocol: 1 });
    expect(request.echo).toEqual({ type: 8, id: 7, sequence: 3 });
    expect([request.destinationMac, request.sourceMac]).toEqual(MACS);
    expect(request.line).toContain("10.55.66.2 > 203.0.113.2: ICMP echo request, id 7, seq 3");
  });

  it("can be asked for by kind and ends", () => {
    const all = [request, reply, question, see(0x0800, udp(between, 1, 2))];
    expect(requests(all)).toEqual([request]);
    expect(requests(all, { source: "10.55.66.3" })).toEqual([]);
    expect(replies(all, { source: "203.0.113.2", destination: "203.0.113.1" })).toEqual([reply]);
    expect(replies(all, { destination: "10.55.66.2" })).toEqual([]);
    expect(askedFor(all, "10.55.66.1")).toBe(true);
    expect(askedFor(all, "10.55.66.2")).toBe(false);
    expect(withPrefix(all, "10.55.66.")).toEqual([request, all[3]]);
  });

  it("is nothing for other protocols and for what is cut off", () => {
    expect(seePacket(ethernet(MACS[0], MACS[1], 0x86dd, new Uint8Array(40)))).toBeUndefined();
    expect(seePacket(ethernet(MACS[0], MACS[1], 0x0800, new Uint8Array(19)))).toBeUndefined();
    expect(seePacket(new Uint8Array(13))).toBeUndefined();
  });
});

describe("the lab's report", () => {
  it("counts a step as failed when one of its claims did not hold", () => {
    let text = "";
    const report = new Report({ write: (more) => (text += more) });
    report.step("1", "first");
    report.verdict("holds", true, "never printed");
    report.step("2", "second");
    report.verdict("does not", false, "because");
    report.verdict("holds", true, "never printed");
    report.table();
    expect(report.failedSteps).toBe(1);
    expect(text).not.toContain("never printed");
    expect(text).toMatch(/FAILED {2}does not\n +because\n/);
    expect(text).toMatch(/^1 +first +OK$/m);
    expect(text).toMatch(/^2 +second +FAILED$/m);
    expect(text).not.toContain("\u001b");
  });

  it("folds long lines between words, and only there", () => {
    let text = "";
    const report = new Report({ write: (more) => (text += more) });
    const words = Array.from({ length: 30 }, (_, index) => `word${index}`).join(" ");
    report.block([words, "x".repeat(200), "  short"]);
    const lines = text.split("\n");
    expect(
      lines
        .slice(0, 3)
        .map((line) => line.trim())
        .join(" "),
    ).toBe(words);
    expect(Math.max(...lines.slice(0, 3).map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(lines.slice(3)).toEqual([`    ${"x".repeat(200)}`, "      short", ""]);
  });

  it("puts a packet on two lines, as tcpdump does", () => {
    let text = "";
    const report = new Report({ write: (more) => (text += more) });
    report.seen(UPLINK, [see(0x0800, echoRequest(between, 7))]);
    expect(text.split("\n").slice(1)).toEqual([
      "    IP (tos 0x0, ttl 63, id 9, offset 0, flags [DF], proto ICMP (1), length 36)",
      "        10.55.66.2 > 203.0.113.2: ICMP echo request, id 7, seq 1, length 16",
      "",
    ]);
  });
});
