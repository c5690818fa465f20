import { describe, expect, it } from "vitest";
import { LongestPrefixMatch, MAX_ROUTE_VALUE } from "../../src/routing/lpm.ts";

const CAPACITY = 1_024;

/** 10.55.66.2 as the table wants it. */
function address(text: string): number {
  return text.split(".").reduce((word, part) => (word << 8) | Number(part), 0);
}

function tableOf(...routes: [prefix: string, value: number][]): LongestPrefixMatch {
  const table = new LongestPrefixMatch({ capacity: CAPACITY });
  for (const [prefix, value] of routes) {
    const [base, length] = prefix.split("/");
    table.insert(address(base), Number(length), value);
  }
  return table;
}

function lookup(table: LongestPrefixMatch, text: string): number {
  return table.lookup(address(text));
}

describe("longest-prefix match", () => {
  it("finds nothing in an empty table", () => {
    const table = tableOf();
    for (const text of ["0.0.0.0", "10.55.66.2", "127.255.255.255", "128.0.0.0", "255.255.255.255"]) {
      expect(lookup(table, text)).toBe(-1);
    }
    expect(table.size).toBe(0);
    expect([...table.entries()]).toEqual([]);
  });

  it("takes the default route for what nothing else covers", () => {
    const table = tableOf(["0.0.0.0/0", 0], ["10.55.66.0/24", 1], ["198.51.100.0/24", 2]);
    expect(lookup(table, "10.55.66.255")).toBe(1);
    expect(lookup(table, "198.51.100.7")).toBe(2);
    for (const text of ["0.0.0.0", "10.55.65.255", "10.55.67.0", "255.255.255.255"]) {
      expect(lookup(table, text)).toBe(0);
    }
    expect(table.remove(0, 0)).toBe(true);
    expect(lookup(table, "10.55.67.0")).toBe(-1);
    expect(lookup(table, "10.55.66.1")).toBe(1);
  });

  it("knows host routes, at both ends of the address space too", () => {
    const table = tableOf(["0.0.0.0/32", 1], ["255.255.255.255/32", 2], ["10.55.66.1/32", 3], ["10.55.66.0/24", 4]);
    expect(lookup(table, "0.0.0.0")).toBe(1);
    expect(lookup(table, "0.0.0.1")).toBe(-1);
    expect(lookup(table, "255.255.255.254")).toBe(-1);
    expect(lookup(table, "255.255.255.255")).toBe(2);
    expect(lookup(table, "10.55.66.0")).toBe(4);
    expect(lookup(table, "10.55.66.1")).toBe(3);
    expect(lookup(table, "10.55.66.2")).toBe(4);
  });

  it("uncovers the next shorter route, one by one, for every length", () => {
    const table = tableOf();
    const target = address("203.0.113.170");
    for (let length = 0; length <= 32; length++) table.insert(target, length, length);
    for (let length = 32; length >= 0; length--) {
      expect(table.lookup(target)).toBe(length);
      expect(table.lookup(target ^ 1)).toBe(Math.min(length, 31));
      expect(table.remove(target, length)).toBe(true);
      expect(table.remove(target, length)).toBe(false);
    }
    expect(table.lookup(target)).toBe(-1);
  });

  it("keeps what lies inside when the cover goes first, for every length", () => {
    const target = address("203.0.113.170");
    for (let length = 0; length < 32; length++) {
      const table = tableOf(["203.0.113.170/32", 7]);
      table.insert(target, length, 8);
      expect(table.lookup(target ^ 1)).toBe(8);
      table.remove(target, length);
      expect(table.lookup(target)).toBe(7);
      expect(table.lookup(target ^ 1)).toBe(-1);
    }
  });

  it("lets a /17 pass around the /18 inside it", () => {
    const table = tableOf(["10.1.64.0/18", 1], ["10.1.0.0/17", 2]);
    expect(lookup(table, "10.1.63.255")).toBe(2);
    expect(lookup(table, "10.1.64.0")).toBe(1);
    expect(lookup(table, "10.1.127.255")).toBe(1);
    expect(lookup(table, "10.1.128.0")).toBe(-1);
    table.remove(address("10.1.0.0"), 17);
    expect(lookup(table, "10.1.64.0")).toBe(1);
    expect(lookup(table, "10.1.0.0")).toBe(-1);
  });

  it("replaces a value, also by one that needs more room", () => {
    const table = tableOf(["10.1.2.0/24", 1], ["10.1.3.0/24", 254], ["10.1.4.4/32", 3]);
    for (const value of [255, 256, MAX_ROUTE_VALUE, 0]) {
      table.insert(address("10.1.2.0"), 24, value);
      table.insert(address("10.1.4.4"), 32, value);
      expect(lookup(table, "10.1.2.9")).toBe(value);
      expect(lookup(table, "10.1.3.9")).toBe(254);
      expect(lookup(table, "10.1.4.4")).toBe(value);
      expect(lookup(table, "10.1.4.5")).toBe(-1);
    }
    expect(table.size).toBe(3);
  });

  it("does not care for bits beyond the prefix", () => {
    const table = tableOf(["10.55.66.1/24", 5]);
    expect(lookup(table, "10.55.66.200")).toBe(5);
    expect(table.get(address("10.55.66.99"), 24)).toBe(5);
    expect([...table.entries()]).toEqual([{ address: address("10.55.66.0"), length: 24, value: 5 }]);
    expect(table.remove(address("10.55.66.7"), 24)).toBe(true);
    expect(table.size).toBe(0);
  });

  it("tells a prefix from the routes above and below it", () => {
    const table = tableOf(["10.0.0.0/8", 1], ["10.0.0.0/16", 2]);
    expect(table.get(address("10.0.0.0"), 8)).toBe(1);
    expect(table.get(address("10.0.0.0"), 16)).toBe(2);
    expect(table.get(address("10.0.0.0"), 12)).toBe(-1);
    expect(table.remove(address("10.0.0.0"), 12)).toBe(false);
  });
});

describe("dumps", () => {
  it("are in order of addresses as unsigned numbers, shorter prefixes first", () => {
    const table = tableOf(["203.0.113.0/24", 4], ["10.0.0.0/24", 3], ["0.0.0.0/0", 1], ["10.0.0.0/8", 2]);
    expect([...table.entries()].map(({ value }) => value)).toEqual([1, 2, 3, 4]);
    const seen: string[] = [];
    table.forEach((base, length, value) => void seen.push(`${base >>> 24}/${length} ${value}`));
    expect(seen).toEqual(["0/0 1", "10/8 2", "10/24 3", "203/24 4"]);
  });
});

describe("limits", () => {
  it("refuses one route too many, and nothing has changed", () => {
    const table = new LongestPrefixMatch({ capacity: 3 });
    for (let route = 0; route < 3; route++) table.insert(route << 24, 8, route);
    expect(() => table.insert(address("10.55.66.0"), 24, 9)).toThrow(/full: 3 routes/);
    expect(lookup(table, "10.55.66.2")).toBe(-1);
    expect(table.get(address("10.55.66.0"), 24)).toBe(-1);
    table.insert(0, 8, 7);
    expect(table.lookup(1)).toBe(7);
    table.remove(0, 8);
    table.insert(address("10.55.66.0"), 24, 9);
    expect(lookup(table, "10.55.66.2")).toBe(9);
  });

  it("has room for as many host routes as it promises, wherever they are", () => {
    const table = new LongestPrefixMatch({ capacity: 20_000 });
    const step = 214_748;
    for (let host = 0; host < 20_000; host++) table.insert((host * step) | 0, 32, host);
    for (let host = 0; host < 20_000; host++) {
      if (table.lookup((host * step) | 0) !== host) expect.fail(`host ${host} is lost`);
      if (table.lookup((host * step + 1) | 0) !== -1) expect.fail(`host ${host} is not alone`);
    }
    expect(() => table.insert(1, 32, 0)).toThrow(RangeError);
  });

  it("can be emptied and filled again", () => {
    const table = tableOf(["0.0.0.0/0", 1], ["10.1.0.0/17", 2], ["10.55.66.0/24", 3], ["10.55.66.1/32", 4]);
    table.clear();
    expect(table.size).toBe(0);
    for (const text of ["0.0.0.0", "10.1.0.0", "10.55.66.1", "10.55.66.2"]) expect(lookup(table, text)).toBe(-1);
    table.insert(address("10.55.66.0"), 24, 5);
    expect(lookup(table, "10.55.66.1")).toBe(5);
    expect(lookup(table, "10.55.67.1")).toBe(-1);
  });

  it.each([
    { name: "length 33", length: 33, value: 0 },
    { name: "length -1", length: -1, value: 0 },
    { name: "length 1.5", length: 1.5, value: 0 },
    { name: "value -1", length: 8, value: -1 },
    { name: "value 65535", length: 8, value: MAX_ROUTE_VALUE + 1 },
    { name: "value NaN", length: 8, value: Number.NaN },
  ])("refuses $name", ({ length, value }) => {
    const table = tableOf();
    expect(() => table.insert(0, length, value)).toThrow(RangeError);
    expect(table.size).toBe(0);
  });

  it.each([0, -1, 2.5, Number.NaN, 3_000_000])("refuses a capacity of %d", (capacity) => {
    expect(() => new LongestPrefixMatch({ capacity })).toThrow(RangeError);
  });
});
