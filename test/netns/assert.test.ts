/** Assertions about a router that runs: it is asked, as it is now, and nothing of it changes. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ping, requireSystem, temporaryFolder } from "../support/netns.ts";
import { Address, tapirWorld } from "./worlds.ts";

const canRun = requireSystem(["ping"], "tapir assert about a router that runs");

describe.skipIf(!canRun)("tapir assert --socket", () => {
  it("asks the router as it is: its neighbours, its rules, its changes", async () => {
    const { c1, tapir, closeForward } = await tapirWorld();
    if (tapir === undefined) throw new Error("no router");
    const file = join(temporaryFolder(), "a.yaml");
    writeFileSync(
      file,
      `version: 1
assertions:
  - c1 -> wan:${Address.SERVER} icmp: allow
`,
    );
    // What is wrong with the file is said in the file's own words.
    expect(tapir.tapir("assert", file)).toMatchObject({ status: 3 });
    writeFileSync(
      file,
      `version: 1
assertions:
  - c1 -> ${Address.SERVER} icmp: { allow: true, via: wan, source: ${Address.UPLINK} }
  - c1 -> c2 tcp/80: { allow: true, via: lab }
  - c1 -> gateway icmp: allow
`,
    );
    expect(ping(c1, Address.SERVER)).toBe(true);
    expect(ping(c1, Address.C2)).toBe(true);
    const before = tapir.mustTapir("conntrack", "-C");
    expect(tapir.mustTapir("assert", file)).toBe(
      `ok    c1 -> ${Address.SERVER} icmp: allowed: leaves by wan as ${Address.UPLINK} > ${Address.SERVER}
ok    c1 -> c2 tcp/80: allowed: leaves by c2 as ${Address.C1}:40000 > ${Address.C2}:80
ok    c1 -> gateway icmp: allowed: the router itself takes it
all 3 hold
`,
    );
    expect(tapir.mustTapir("conntrack", "-C")).toBe(before);
    await closeForward();
    const { status, stdout } = tapir.tapir("assert", file);
    expect(status).toBe(6);
    expect(stdout).toContain(
      `FAIL  ${file}:3:5: c1 -> ${Address.SERVER} icmp: expected allow, via wan, source ${Address.UPLINK}; denied: forward-drop (dropped by the forward chain)\n`,
    );
  });
});
