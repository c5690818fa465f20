import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { contains, formatAddress, prefixMask } from "../../src/packet/ipv4_address.ts";
import { formatMac, parseMac } from "../../src/packet/mac_address.ts";

describe("IPv4 addresses", () => {
  it.each([
    [0, "0.0.0.0"],
    [0x0a374202, "10.55.66.2"],
    [0xcb007101 | 0, "203.0.113.1"],
    [-1, "255.255.255.255"],
  ])("prints %i as %s", (word, text) => {
    expect(formatAddress(word)).toBe(text);
  });

  it.each([
    [0, 0],
    [1, 0x80000000 | 0],
    [24, 0xffffff00 | 0],
    [31, 0xfffffffe | 0],
    [32, -1],
  ])("makes the mask of /%i a signed word", (length, mask) => {
    expect(prefixMask(length)).toBe(mask);
  });

  it("holds the addresses from the first to the last of a prefix, and no others", () => {
    const prefix = { address: 0x0a374200, length: 24 };
    expect(contains(prefix, 0x0a374200)).toBe(true);
    expect(contains(prefix, 0x0a3742ff)).toBe(true);
    expect(contains(prefix, 0x0a374300)).toBe(false);
    expect(contains(prefix, 0x0a3741ff)).toBe(false);
    expect(contains({ address: 0, length: 0 }, -1)).toBe(true);
    expect(contains({ address: -1, length: 32 }, -2)).toBe(false);
  });
});

describe("hardware addresses", () => {
  it("are two words", () => {
    expect(parseMac("02:00:ff:00:00:01")).toEqual({ high: 0x0200, low: 0xff000001 | 0 });
    expect(parseMac("AA:BB:CC:DD:EE:FF")).toEqual({ high: 0xaabb, low: 0xccddeeff | 0 });
    expect(formatMac(0x0200, 0xff000001 | 0)).toBe("02:00:ff:00:00:01");
    expect(formatMac(0, 0)).toBe("00:00:00:00:00:00");
  });

  it("are the same after printing and parsing", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffff }),
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        (high, low) => {
          expect(parseMac(formatMac(high, low))).toEqual({ high, low });
        },
      ),
    );
  });

  it.each(["", "02:00:00:00:00", "02:00:00:00:00:0g", "02-00-00-00-00-01", "02:00:00:00:00:01\n", "0200.0000.0001"])(
    "refuses %j",
    (text) => {
      expect(() => parseMac(text)).toThrow(TypeError);
    },
  );
});
