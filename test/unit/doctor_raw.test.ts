/** What the doctor says of uplinks that share the host's address. */
import { describe, expect, it } from "vitest";
import {
  checkRaw,
  collides,
  type RawFacts,
  type RawMachine,
  readPortList,
} from "../../src/control/doctor/raw_checks.ts";

const RAW: RawFacts = {
  name: "wan",
  device: "eth0",
  isThere: true,
  isUp: true,
  address: "203.0.113.1",
  isCarried: true,
  ports: { first: 40_000, last: 49_999 },
};
const MACHINE: RawMachine = {
  raws: [RAW],
  localPorts: { first: 32_768, last: 60_999 },
  reservedPorts: [{ first: 40_000, last: 49_999 }],
  leftTables: [],
};

const statuses = (machine: Partial<RawMachine>) => checkRaw({ ...MACHINE, ...machine }).map(({ status }) => status);
const troubles = (machine: Partial<RawMachine>) =>
  checkRaw({ ...MACHINE, ...machine })
    .filter(({ status }) => status !== "ok")
    .map(({ check, finding, missing }) => `${check}: ${finding}${missing === true ? " (missing)" : ""}`);

describe("raw uplinks", () => {
  it("are not spoken of where there are none", () => {
    expect(checkRaw({ ...MACHINE, raws: [] })).toEqual([]);
  });

  it("are fine where everything is there", () => {
    expect(statuses({})).toEqual(["ok", "ok", "ok"]);
  });

  it.each<[Partial<RawMachine>, string[]]>([
    [{ packageError: "no such module" }, ["raw-socket: does not load (no such module) (missing)"]],
    [{ nftError: "nft is not there" }, ["nft: nft is not there (missing)"]],
    [{ raws: [{ ...RAW, isThere: false }] }, ["uplink wan: there is no device called eth0 here"]],
    [{ raws: [{ ...RAW, isUp: false }] }, ["uplink wan: eth0 is down"]],
    [{ raws: [{ ...RAW, isCarried: false }] }, ["uplink wan: eth0 does not carry 203.0.113.1, which it is to share"]],
    [{ reservedPorts: [] }, ["uplink wan: the host gives ports of 40000-49999 to its own connections as well"]],
    [
      { raws: [], leftTables: ["tapir_203_0_113_9"] },
      ["nftables: the nftables table tapir_203_0_113_9 is left from a router that runs no more"],
    ],
  ])("%o", (machine, expected) => {
    expect(troubles(machine)).toEqual(expected);
  });

  it("share ports with the host unless all of them are reserved", () => {
    const localPorts = { first: 1000, last: 2000 };
    const share = (text: string, first: number, last: number) =>
      collides({ first, last }, { localPorts, reservedPorts: readPortList(text) });
    expect(share("", 2001, 3000)).toBe(false);
    expect(share("", 2000, 3000)).toBe(true);
    expect(share("1500-1700", 1500, 1700)).toBe(false);
    expect(share("1500-1599,1600,1602-1700", 1500, 1700)).toBe(true);
    expect(share("1500-1599,1600,1601-1700", 1500, 1700)).toBe(false);
  });
});
