/**
 * Tries what the devices can do: a TAP and a packet socket in a network namespace that a child holds, so that nothing
 * is made where anybody else could see it. All of it is gone with the child.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { native } from "../../io/native.ts";
import type { Probe } from "./machine.ts";

export async function probeDevices(): Promise<Probe> {
  const holder = spawn("unshare", ["--net", "sh", "-c", "echo held; exec cat"], { stdio: ["pipe", "pipe", "pipe"] });
  try {
    await held(holder);
    return tryDevices(`/proc/${holder.pid}/ns/net`);
  } catch (error) {
    return { error: (error as Error).message };
  } finally {
    holder.stdin.end();
    holder.kill();
  }
}

/** Resolves once the child is in its namespace; rejects with what it said when it does not come so far. */
function held(holder: ChildProcess): Promise<void> {
  let said = "";
  return new Promise((resolve, reject) => {
    holder.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    holder.stdout?.once("data", () => resolve());
    holder.once("error", reject);
    holder.once("close", () => reject(new Error(said.trim().replace(/^unshare: /, "") || "no namespace")));
  });
}

function tryDevices(netns: string): Probe {
  const tap = native().openTap({ ifname: "doctor0", netns });
  try {
    const packetError = tryPacketSocket(netns, tap.ifname);
    return { offloads: tap.offloads, ...(packetError === undefined ? {} : { packetError }) };
  } finally {
    native().closeDescriptor(tap.fd);
  }
}

function tryPacketSocket(netns: string, device: string): string | undefined {
  try {
    native().closeDescriptor(native().openPacketSocket({ device, netns, vnetHeader: true }).fd);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
