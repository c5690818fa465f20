import { describe, expect, it } from "vitest";
import { exec, ip, namespace, ping, requireSystem, spawnIn, veth } from "../support/netns.ts";

describe.skipIf(!requireSystem(["ping"], "namespaces for tests"))("namespaces for tests", () => {
  let made: string[] = [];

  it("joins two namespaces that reach each other", async () => {
    const [left, right] = [namespace(), namespace()];
    made = [left, right];
    veth(
      { netns: left, ifname: "eth0", address: "203.0.113.1/24" },
      { netns: right, ifname: "eth0", address: "203.0.113.2/24" },
    );
    expect(ping(left, "203.0.113.2")).toBe(true);
    const child = spawnIn(right, "sh", ["-c", "echo here; cat"]);
    await child.until(/^here$/m);
    await expect(child.until(/never/, 50)).rejects.toThrow("was silent");
    expect(await child.stop()).toBe("SIGTERM");
    await expect(child.until(/never/)).rejects.toThrow("ended");
  });

  it("has removed what the test before it made", () => {
    const names = ip(undefined, "netns list");
    for (const name of made) expect(names).not.toContain(name);
    expect(exec("no-such-namespace", "true", []).status).not.toBe(0);
  });
});
