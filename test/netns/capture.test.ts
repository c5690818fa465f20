/**
 * `tapir capture` on real devices: tshark and tcpdump read what it writes, live and from a file, and find the packets with
 * their comments; it ends when it should, and nobody who captures harms the router or another.
 */
import { readFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { PcapngStream } from "../../src/io/pcapng_stream.ts";
import {
  exec,
  must,
  ping,
  type RunningRouter,
  requireSystem,
  spawnIn,
  TAPIR,
  temporaryFolder,
} from "../support/netns.ts";
import { Address, tapirWorld, type World } from "./worlds.ts";

const canRun = requireSystem(["ping", "tcpdump", "tshark"], "tapir capture beside tshark and tcpdump");

type TapirWorld = World & { tapir: RunningRouter };

async function world(): Promise<TapirWorld> {
  return (await tapirWorld()) as TapirWorld;
}

/** A capture that runs in the background, once it is there. */
async function capture({ tapir }: TapirWorld, ...args: string[]) {
  const running = spawnIn(undefined, process.execPath, [TAPIR, "capture", "--socket", tapir.socket, ...args]);
  await running.until(/Ctrl-C ends it/);
  return running;
}

/** Fields of each packet of a file, as tshark reads them. */
function fields(file: string, ...names: string[]): string[][] {
  const args = ["-n", "-r", file, "-T", "fields", "-E", "separator=\t", ...names.flatMap((name) => ["-e", name])];
  return must(undefined, "tshark", args)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t"));
}

/** One datagram from c1 to the outside; nobody answers but with an error. */
function datagram(netns: string, port: number, count = 1, bytes = 1): void {
  const script = `const s = require("dgram").createSocket("udp4"); let left = ${count};
    const payload = Buffer.alloc(${bytes});
    const next = () => left-- > 0 ? s.send(payload, ${port}, "${Address.SERVER}", next) : s.close();
    s.bind(4000, next)`;
  must(netns, process.execPath, ["-e", script]);
}

describe.skipIf(!canRun)("tapir capture", () => {
  // Nothing that a test leaves behind in it matters to another.
  let w: TapirWorld;

  beforeAll(async () => {
    w = await world();
    expect(ping(w.c1, Address.SERVER)).toBe(true);
  });

  it("writes what tshark and tcpdump read, with interfaces, comments and statistics", async () => {
    const file = join(temporaryFolder(), "all.pcapng");
    const all = "ingress,bridge,prerouting,postrouting,egress,drop";
    const running = await capture(w, "--at", all, "-w", file, "icmp");
    expect(ping(w.c1, Address.SERVER)).toBe(true);
    expect(ping(w.c1, Address.C2)).toBe(true);
    expect(await running.stop("SIGINT")).toBe(0);
    const [, captured] = /^(\d+) packets captured, 0 lost$/m.exec(running.stderr()) ?? [];

    const seen = fields(file, "frame.interface_name", "ip.src", "ip.dst", "ip.ttl", "frame.comment");
    expect(seen).toHaveLength(Number(captured));
    const places = seen.map(([place, source, destination, ttl]) => `${place} ${source}>${destination} ${ttl}`);
    expect(places).toEqual([
      `c1:ingress ${Address.C1}>${Address.SERVER} 64`,
      `c1:prerouting ${Address.C1}>${Address.SERVER} 64`,
      `wan:postrouting ${Address.UPLINK}>${Address.SERVER} 63`,
      `wan:egress ${Address.UPLINK}>${Address.SERVER} 63`,
      `wan:ingress ${Address.SERVER}>${Address.UPLINK} 64`,
      `wan:prerouting ${Address.SERVER}>${Address.UPLINK} 64`,
      `c1:postrouting ${Address.SERVER}>${Address.C1} 63`,
      `c1:egress ${Address.SERVER}>${Address.C1} 63`,
      `c1:ingress ${Address.C1}>${Address.C2} 64`,
      `c1:bridge ${Address.C1}>${Address.C2} 64`,
      `c2:egress ${Address.C1}>${Address.C2} 64`,
      `c2:ingress ${Address.C2}>${Address.C1} 64`,
      `c2:bridge ${Address.C2}>${Address.C1} 64`,
      `c1:egress ${Address.C2}>${Address.C1} 64`,
    ]);
    expect(seen[0][4]).toMatch(/^verdict=routed rule=FORWARD:policy flow=icmp:.* direction=original$/);
    expect(seen[9][4]).toBe("verdict=switched to=c2");
    // Nothing is malformed, and no checksum is wrong.
    const wrong = [
      "-r",
      file,
      "-o",
      "ip.check_checksum:TRUE",
      "-Y",
      "_ws.malformed || _ws.expert.severity >= 0x600000",
    ];
    expect(must(undefined, "tshark", wrong)).toBe("");
    const lines = must(undefined, "tcpdump", ["-n", "-r", file, "icmp"])
      .split("\n")
      .filter((line) => line !== "");
    expect(lines).toHaveLength(seen.length);
    // Stamped with the wall clock, in order.
    const times = fields(file, "frame.time_epoch").map(([time]) => Number(time));
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(Math.abs(times[0] - Date.now() / 1000)).toBeLessThan(60);
  });

  it("shows a dropped packet with its reason and rule", async () => {
    const w = await world();
    await w.closeForward();
    const running = await capture(w, "--at", "drop", "-c", "1", "udp port 53");
    const json = await capture(w, "--at", "drop", "-c", "1", "-j", "udp port 53");
    datagram(w.c1, 53);
    expect(await json.ended).toBe(0);
    expect(JSON.parse(json.stdout())).toMatchObject({
      interface: "c1:drop",
      length: 43,
      verdict: "dropped",
      reason: "forward-drop",
      rule: "FORWARD:policy",
      packet: expect.stringContaining("10.55.66.2.4000 > 203.0.113.2.53: UDP, length 1"),
    });
    expect(await running.ended).toBe(0);
    const drop = "verdict=dropped reason=forward-drop rule=FORWARD:policy";
    expect(running.stdout()).toMatch(
      new RegExp(
        `^\\d\\d:\\d\\d:\\d\\d\\.\\d{6} c1:drop IP .*10\\.55\\.66\\.2\\.4000 > 203\\.0\\.113\\.2\\.53: .*\\[${drop}\\]\n$`,
      ),
    );
    expect(running.stderr()).toMatch(/^1 packets captured, 0 lost$/m);
    expect(w.tapir.mustTapir("capture", "--help")).toContain("tapir capture --at drop");
  });

  it("flows live into tshark and tcpdump, and ends when they have seen enough", async () => {
    const pipe = (reader: string) =>
      spawnIn(undefined, "sh", [
        "-c",
        `exec 3>&2; '${process.execPath}' '${TAPIR}' capture --socket '${w.tapir.socket}' -w - udp 2>&3 | ${reader}`,
      ]);
    const [shark, dump] = [pipe("tshark -l -n -r - -c 2"), pipe("tcpdump -l -n -r - -c 2")];
    await Promise.all([shark.until(/Ctrl-C ends it/), dump.until(/Ctrl-C ends it/)]);
    datagram(w.c1, 9);
    await Promise.all([shark.until(/10\.55\.66\.2/), dump.until(/10\.55\.66\.2/)]);
    // The readers have gone; the next packets tell the captures so.
    datagram(w.c1, 9, 10);
    expect(await Promise.all([shark.ended, dump.ended])).toEqual([0, 0]);
  });

  it("is counted: what was captured and what was lost is all that there was", async () => {
    datagram(w.c1, 9);
    const file = join(temporaryFolder(), "load.pcapng");
    const running = await capture(w, "-i", "c1", "--at", "ingress", "-w", file, "udp dst port 9");
    // The file's reader sleeps: the ring has to overflow.
    running.child.kill("SIGSTOP");
    const before = datagrams(w);
    // A busy machine may lose some before the router sees them: as many as it takes.
    let sent = 0;
    for (let rounds = 0; rounds < 10 && sent < 20_000; rounds++) {
      datagram(w.c1, 9, 20_000, 1400);
      sent = datagrams(w) - before;
    }
    running.child.kill("SIGCONT");
    expect(await running.stop("SIGINT")).toBe(0);
    const [, captured, lost] = (/^(\d+) packets captured, (\d+) lost$/m.exec(running.stderr()) ?? []).map(Number);
    expect(captured + lost).toBe(sent);
    expect(lost).toBeGreaterThan(0);
    expect(fields(file, "frame.number")).toHaveLength(captured);
    // Who reads the file finds the same in it.
    expect(lossesIn(file)).toBe(lost);
  });

  it("says what is wrong with an expression in one line, with the place, and ends with 2", async () => {
    const wrong = exec(undefined, process.execPath, [TAPIR, "capture", "tcp", "port", "70000"]);
    expect(wrong).toEqual({
      status: 2,
      stdout: "",
      stderr: "tapir: capture: a port is 0 to 65535 (character 10: tcp port ^70000)\n",
    });
    const said = (...args: string[]) => {
      const { status, stderr } = w.tapir.tapir("capture", ...args);
      return [status, stderr.split("\n").length, stderr];
    };
    expect(said("--at", "ingres")).toEqual([2, 2, expect.stringMatching(/"ingres" is no hook point/)]);
    expect(said("-i", "c9")).toEqual([2, 2, expect.stringMatching(/no network, port or uplink is called "c9"/)]);
    expect(said("-c", "0")).toEqual([2, 2, expect.stringMatching(/a number from 1/)]);
    expect(said("-w", "/nowhere/x")).toEqual([1, 2, expect.stringMatching(/\/nowhere\/x: ENOENT/)]);
    expect(exec(undefined, process.execPath, [TAPIR, "capture", "--socket", "/nowhere"]).status).toBe(4);
  });

  it("runs eight times at once, refuses the ninth, and is free again when a client is killed", async () => {
    const open = await Promise.all(Array.from({ length: 8 }, () => openCapture(w, "count=1&filter=udp+dst+port+7")));
    const ninth = w.tapir.tapir("capture");
    expect([ninth.status, ninth.stderr]).toEqual([
      1,
      "tapir: 8 captures are running, which is as many as there may be\n",
    ]);
    open[0].destroy();
    const next = await begun(w);
    datagram(w.c1, 7);
    const seen = await Promise.all(open.slice(1).map(placesIn));
    expect(seen).toEqual(new Array(7).fill(["c1:ingress"]));
    expect(await next.ended).toBe(0);
    // One who is killed is no other than one who goes.
    const killed = await capture(w, "icmp");
    killed.child.kill("SIGKILL");
    await killed.ended;
  });

  it("does not stop the router when its client does not read", async () => {
    // Nobody reads the answer.
    const response = await openCapture(w, "filter=icmp");
    response.pause();
    const before = stats(w);
    const sent = must(w.c1, "ping", ["-n", "-q", "-f", "-c", "5000", "-s", "1400", Address.SERVER], {
      timeoutMs: 60_000,
    });
    expect(sent).toMatch(/ 0% packet loss/);
    const after = stats(w);
    expect(after.framesCaptured + after.capturesLost - before.framesCaptured - before.capturesLost).toBe(20_000);
    expect(after.capturesLost).toBeGreaterThan(before.capturesLost);
    response.destroy();
    const next = await capture(w, "-c", "1", "icmp");
    expect(ping(w.c1, Address.SERVER)).toBe(true);
    expect(await next.ended).toBe(0);
  });

  it("ends with the router, in a file that is whole", async () => {
    const w = await world();
    const file = join(temporaryFolder(), "end.pcapng");
    const running = await capture(w, "-w", file, "icmp");
    expect(ping(w.c1, Address.SERVER)).toBe(true);
    await w.tapir.stop();
    expect(await running.ended).toBe(0);
    expect(running.stderr()).toMatch(/^4 packets captured, 0 lost$/m);
    expect(fields(file, "ip.src")).toHaveLength(4);
  });
});

function openCapture({ tapir }: TapirWorld, query: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: tapir.socket, path: `/v1/capture?${query}` }, resolve);
    call.once("error", reject);
    call.end();
  });
}

/** Where the packets of a capture were seen, once it has ended. */
async function placesIn(response: IncomingMessage): Promise<string[]> {
  const places: string[] = [];
  const stream = new PcapngStream({ packet: ({ interfaceName }) => places.push(interfaceName), lost: () => {} });
  for await (const piece of response) stream.push(piece as Buffer);
  return places;
}

/** What the file's own statistics say was lost. */
function lossesIn(file: string): number {
  let lost = 0;
  new PcapngStream({ packet: () => {}, lost: (count) => (lost += count) }).push(readFileSync(file));
  return lost;
}

function stats({ tapir }: TapirWorld): { framesCaptured: number; capturesLost: number } {
  return JSON.parse(tapir.mustTapir("show", "stats", "-j"));
}

/** Datagrams of the flow to port 9 that conntrack has counted. */
function datagrams({ tapir }: TapirWorld): number {
  const words = ["conntrack", "-L", "-p", "udp", "--dport", "9", "-j"];
  const [flow] = JSON.parse(tapir.mustTapir(...words)) as { original: { packets: number } }[];
  return flow.original.packets;
}

/** A capture, as soon as there is room for one: the router needs a moment to see that a client has gone. */
async function begun(w: TapirWorld) {
  for (let tries = 0; ; tries++) {
    try {
      return await capture(w, "-c", "1", "udp dst port 7");
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}
