/** Metrics and flow export of a router that carries traffic: read as Prometheus and a collector read them. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { FlowView } from "../../src/conntrack/format.ts";
import { readExposition } from "../support/exposition.ts";
import {
  exec,
  ip,
  must,
  namespace,
  requireSystem,
  spawnIn,
  startRouter,
  temporaryFolder,
  veth,
} from "../support/netns.ts";

const canRun = requireSystem(
  ["ping", "python3", "curl", "nfcapd", "nfdump", "tcpdump", "tshark"],
  "flow export to a collector",
);

const configuration = (netns: string, more: string): string => `version: 1
networks: { lab: { subnet: 10.55.66.0/24, ports: { c1: { netns: ${netns}, address: 10.55.66.2, defaultRoute: true } } } }
uplinks: { wan: { kind: packet, device: up0, address: 203.0.113.1/24, gateway: 203.0.113.2 } }
nat: { masquerade: [ { from: 10.55.66.0/24, out: wan } ] }
${more}
`;

/** Sends to an address of the server's, and takes the answers: TCP echo to the end, and UDP datagrams. */
const SERVER = `
import socket, threading
def tcp():
    s = socket.create_server(("203.0.113.2", 80))
    print("up", flush=True)
    while True:
        c, _ = s.accept()
        while d := c.recv(65536): c.sendall(d)
        c.close()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("203.0.113.2", 53))
threading.Thread(target=tcp, daemon=True).start()
while True:
    d, a = u.recvfrom(65536); u.sendto(d * 2, a)
`;
const CLIENT = `
import socket
for n in range(3):
    s = socket.create_connection(("203.0.113.2", 80)); s.sendall(b"x" * 100000)
    left = 100000
    while left: left -= len(s.recv(65536))
    s.close()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("203.0.113.2", 53))
for n in range(20): u.send(b"y" * 50); u.recv(65536)
`;

interface Totals {
  packets: number;
  bytes: number;
}

/** Packets and bytes of each direction by its tuple, as \`src:port>dst:port\`. */
function fromConntrack(flows: readonly FlowView[]): Record<string, Totals> {
  const totals: Record<string, Totals> = {};
  for (const flow of flows) {
    for (const { source, destination, sourcePort, destinationPort, packets, bytes } of [flow.original, flow.reply]) {
      totals[`${flow.protocolNumber} ${source}:${sourcePort ?? ""}>${destination}:${destinationPort ?? ""}`] = {
        packets,
        bytes,
      };
    }
  }
  return totals;
}

/** The same from nfdump's lines; several records of a direction are summed. */
function fromCollector(text: string): Record<string, Totals> {
  const totals: Record<string, Totals> = {};
  for (const line of text.trim().split("\n")) {
    const [protocol, source, sourcePort, destination, destinationPort, packets, bytes] = line
      .split(",")
      .map((w) => w.trim());
    const ports = protocol === "1" ? ["", ""] : [sourcePort, destinationPort];
    const key = `${protocol} ${source}:${ports[0]}>${destination}:${ports[1]}`;
    const before = totals[key] ?? { packets: 0, bytes: 0 };
    totals[key] = { packets: before.packets + Number(packets), bytes: before.bytes + Number(bytes) };
  }
  return totals;
}

describe.skipIf(!canRun)("a router that carries traffic", () => {
  it("reports its flows to a collector, packet for packet and byte for byte; tshark finds no fault; metrics agree", async () => {
    const [c1, router, wan] = [namespace("c"), namespace("r"), namespace("w")];
    veth({ netns: wan, ifname: "eth0", address: "203.0.113.2/24" }, { netns: router, ifname: "up0" });
    const folder = temporaryFolder();
    const pcap = join(folder, "ipfix.pcap");
    const dump = spawnIn(router, "tcpdump", ["-i", "lo", "-U", "-w", pcap, "udp port 4739"]);
    const collector = spawnIn(router, "nfcapd", ["-l", folder, "-p", "4739", "-b", "127.0.0.1", "-t", "3600"]);
    await Promise.all([dump.until(/listening on/), collector.until(/Startup nfcapd/)]);
    const running = await startRouter(
      configuration(
        c1,
        "control: { metrics: 127.0.0.1:9100 }\nexport: { ipfix: { collector: 127.0.0.1:4739, activeTimeoutSeconds: 1 } }",
      ),
      { netns: router },
    );
    await spawnIn(wan, "python3", ["-c", SERVER]).until(/up/);
    must(c1, "ping", ["-c3", "-i0.6", "-q", "203.0.113.2"]);
    must(c1, "python3", ["-c", CLIENT]);
    const flows = JSON.parse(running.mustTapir("conntrack", "-L", "-j")) as FlowView[];
    expect(flows.map(({ protocol }) => protocol).sort()).toEqual(["icmp", "tcp", "tcp", "tcp", "udp"]);

    const text = must(router, "curl", ["-sf", "http://127.0.0.1:9100/metrics"]);
    const metrics = readExposition(text);
    const [socketText] = [must(router, "curl", ["-sf", "--unix-socket", running.socket, "http://tapir/metrics"])];
    expect([...readExposition(socketText).keys()]).toEqual([...metrics.keys()]);
    const counted = metrics.get("tapir_flows")?.samples.reduce((sum, { value }) => sum + value, 0);
    expect(counted).toBe(flows.length);
    // Kernels speak IPv6 when they like: the two are read one after the other, and agree when nothing came in between.
    const agrees = (): boolean => {
      const now = readExposition(must(router, "curl", ["-sf", "http://127.0.0.1:9100/metrics"]));
      const frames = now.get("tapir_burst_frames")?.samples.find(({ name }) => name.endsWith("_sum"))?.value;
      const ports = now.get("tapir_port_receive_frames_total")?.samples.reduce((all, { value }) => all + value, 0);
      return frames !== undefined && frames === ports;
    };
    expect(Array.from({ length: 20 }).some(agrees)).toBe(true);
    const sum = metrics.get("tapir_burst_duration_seconds")?.samples.find(({ name }) => name.endsWith("_sum"))?.value;
    expect(sum).toBeGreaterThan(0);
    expect(metrics.get("tapir_process_cpu_seconds_total")?.samples.map(({ labels }) => labels.process)).toEqual([
      "control",
      "dataplane",
    ]);

    expect(await running.stop()).toBe(0);
    await collector.stop();
    await dump.stop();
    const format = "fmt:%pr,%sa,%sp,%da,%dp,%pkt,%byt";
    const records = must(undefined, "nfdump", ["-R", folder, "-q", "-N", "-6", "-o", format]);
    expect(fromCollector(records)).toEqual(fromConntrack(flows));
    const translated = must(undefined, "nfdump", [
      "-R",
      folder,
      "-q",
      "-N",
      "-o",
      "fmt:%pr,%sa,%nsa,%da,%nda",
      "proto udp",
    ]);
    expect(
      new Set(
        translated
          .trim()
          .split("\n")
          .map((line) => line.replaceAll(" ", "")),
      ),
    ).toEqual(
      new Set([
        "17,10.55.66.2,203.0.113.1,203.0.113.2,203.0.113.2",
        "17,203.0.113.2,203.0.113.2,203.0.113.1,10.55.66.2",
      ]),
    );
    expect(collector.stdout() + collector.stderr()).toMatch(/Sequence Errors: 0, Bad Packets: 0/);

    const decode = ["-r", pcap, "-d", "udp.port==4739,cflow"];
    expect(must(undefined, "tshark", [...decode, "-Y", "_ws.malformed || _ws.expert.severity >= 0x600000"])).toBe("");
    const reasons = must(undefined, "tshark", [...decode, "-T", "fields", "-e", "cflow.flow_end_reason"]);
    expect([...new Set(reasons.match(/\d+/g))].filter((reason) => !["2", "4"].includes(reason))).toEqual([]);
    expect(reasons).toMatch(/\d/);
  });

  it("says what it cannot serve, and keeps its former configuration", async () => {
    const [c1, router, wan] = [namespace("c"), namespace("r"), namespace("w")];
    veth({ netns: wan, ifname: "eth0", address: "203.0.113.2/24" }, { netns: router, ifname: "up0" });
    const running = await startRouter(configuration(c1, ""), { netns: router });
    const closed = exec(router, "curl", ["-s", "http://127.0.0.1:9100/metrics"]);
    expect(closed.status).toBe(7);
    const squatter = spawnIn(router, "python3", ["-m", "http.server", "-b", "127.0.0.1", "9100"]);
    await squatter.until(/Serving/);
    const reload = async (text: string, pattern: RegExp): Promise<void> => {
      running.writeConfig(configuration(c1, text));
      running.child.kill("SIGHUP");
      await running.until(pattern);
    };
    await reload(
      "control: { metrics: 127.0.0.1:9100 }",
      /control\.metrics: cannot listen on 127\.0\.0\.1:9100.*stays in force/,
    );
    await squatter.stop();
    await reload("control: { metrics: 127.0.0.1:9100 }", /has been read again/);
    expect(must(router, "curl", ["-sf", "http://127.0.0.1:9100/metrics"])).toContain("tapir_build_info");
    expect(ip(c1, "-br link show dev eth0")).toContain("eth0");
  });
});
