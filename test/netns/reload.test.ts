/**
 * Reloads while a flow is under load that they do not concern: each datagram has a number, the other end sends it back,
 * and every number comes back. A window of datagrams is under way at all times, as many as no queue between the ends
 * is too short for: what a router stops for only delays them, and what is lost is lost by the router.
 */
import { describe, expect, it } from "vitest";
import { TapirClient } from "../../src/client/client.ts";
import { namespace, type RunningRouter, requireSystem, spawnIn } from "../support/netns.ts";
import { Address, tapirWorld } from "./worlds.ts";

const canRun = requireSystem([], "reloads under load");

/** More on demand: they take a tenth of a second each where the machine has other work. */
const RELOADS = Number(process.env.TAPIR_RELOADS ?? 200);

const ECHO = `
const socket = require("dgram").createSocket({ type: "udp4", recvBufferSize: 1 << 20 });
socket.on("message", (message, { port, address }) => socket.send(message, port, address));
socket.bind(9000, () => console.log("listening"));
`;

/** Sends until it is told to end, then waits for what is under way and says what has come back. */
const SENDER = `
const WINDOW = 128;
const socket = require("dgram").createSocket({ type: "udp4", recvBufferSize: 1 << 20 });
let sent = 0, back = 0, isEnding = false;
const seen = new Set();
const finish = () => { console.log(JSON.stringify({ sent, back, missing: sent - back })); process.exit(0); };
const fill = () => {
  while (!isEnding && sent - back < WINDOW) {
    const message = Buffer.alloc(64);
    message.writeUInt32BE(sent++);
    socket.send(message, 9000, "${Address.SERVER}");
    seen.add(sent - 1);
  }
};
socket.on("message", (message) => {
  if (seen.delete(message.readUInt32BE(0))) back++;
  if (isEnding && back === sent) finish();
  fill();
});
socket.bind(4000, () => { fill(); console.log("sending"); });
process.stdin.once("data", () => {
  isEnding = true;
  if (back === sent) finish();
  setTimeout(finish, 5000);
});
`;

describe.skipIf(!canRun)("a flow under load", () => {
  it(`loses nothing in ${RELOADS} reloads of rules, routes and NAT, and in containers that come and go`, async () => {
    const w = await tapirWorld();
    const router = w.tapir as RunningRouter;
    const client = new TapirClient(router.socket);
    const extra = namespace("x");
    const echo = spawnIn(w.wan, process.execPath, ["-e", ECHO]);
    await echo.until(/listening/);
    const sender = spawnIn(w.c1, process.execPath, ["-e", SENDER]);
    await sender.until(/sending/);
    const base = await client.configuration();
    const nat = base.nat ?? {};
    const variants = [
      {
        ...base,
        filter: {
          forward: {
            policy: "drop",
            rules: [
              { in: "lab", action: "accept" },
              { in: "wan", action: "accept" },
            ],
          },
        },
      },
      {
        ...base,
        filter: { forward: { rules: [{ in: "c2", proto: "tcp", action: "drop" }] }, input: { policy: "drop" } },
      },
      { ...base, routes: [{ to: "198.51.100.0/24", via: "203.0.113.9" }] },
      { ...base, nat: { ...nat, publish: [{ proto: "tcp", on: "wan", port: 8080, to: `${Address.C2}:80` }] } },
      { ...base, nat: { masquerade: [{ from: "10.99.0.0/16", out: "wan" }, ...(nat.masquerade ?? [])] } },
    ];
    for (let reload = 0; reload < RELOADS; reload++) {
      await client.apply({ configuration: variants[reload % variants.length] });
      if (reload % 20 === 10) await client.attach({ network: "lab", netns: extra, name: "c3" });
      if (reload % 20 === 19) await client.detach("c3").catch(() => {});
    }
    sender.child.stdin?.write("end\n");
    const [text] = await sender.until(/\{.*\}/);
    const counted = JSON.parse(text) as { sent: number; back: number; missing: number };
    expect(counted.missing).toBe(0);
    expect(counted.sent).toBeGreaterThan(RELOADS);
    const [flow, ...rest] = await client.flows({ proto: "udp", dport: "9000" });
    expect([rest.length, flow.original.packets, flow.reply.packets]).toEqual([0, counted.sent, counted.sent]);
  }, 300_000);
});
