/** What replaces what among routes, as Linux has it, and what the dataplane is told of it. */
import { describe, expect, it } from "vitest";
import { RouteList, type RouteVerb } from "../../src/control/routing/route_list.ts";
import { word } from "../support/frames.ts";

const PLACE = { table: 254, address: word("192.0.2.0"), length: 24 };
const held = (via: string, metric = 0, protocol = 3) => ({
  option: { ...(metric === 0 ? {} : { metric }), nextHops: [{ interface: 1, via: word(via) }] },
  protocol,
  owner: "command",
});
const [ONE, TWO, SLOW] = [held("203.0.113.2"), held("203.0.113.9"), held("203.0.113.9", 20)];

const listAfter = (...steps: [RouteVerb, ReturnType<typeof held>][]) => {
  const list = new RouteList(10);
  for (const [verb, route] of steps) list.put(verb, PLACE, route);
  return list.routesAt(PLACE);
};

describe("routes of one prefix", () => {
  it("are in the order of their metrics; of equal ones, appended last and prepended first", () => {
    expect(listAfter(["add", SLOW], ["add", ONE])).toEqual([ONE, SLOW]);
    expect(listAfter(["add", ONE], ["append", TWO])).toEqual([ONE, TWO]);
    expect(listAfter(["add", ONE], ["prepend", TWO])).toEqual([TWO, ONE]);
  });

  it("are replaced where prefix and metric are the same", () => {
    expect(listAfter(["add", ONE], ["add", SLOW], ["replace", TWO])).toEqual([TWO, SLOW]);
    expect(listAfter(["replace", ONE])).toEqual([ONE]);
  });

  it.each<[string, [RouteVerb, ReturnType<typeof held>][], string]>([
    [
      "add what is there",
      [
        ["add", ONE],
        ["add", TWO],
      ],
      "File exists",
    ],
    [
      "append the same",
      [
        ["add", ONE],
        ["append", ONE],
      ],
      "File exists",
    ],
    ["change what is not there", [["change", ONE]], "No such file or directory"],
  ])("cannot be had: %s", (_, steps, error) => {
    expect(() => listAfter(...steps)).toThrow(error);
  });

  it("are removed, the first that fits", () => {
    const list = new RouteList(10);
    for (const route of [ONE, SLOW]) list.put("add", PLACE, route);
    list.remove(PLACE, ({ option }) => option.metric === 20);
    expect(list.routesAt(PLACE)).toEqual([ONE]);
    list.remove(PLACE);
    expect(() => list.remove(PLACE)).toThrow("No such process");
    expect(list.sizeOf(254)).toBe(0);
  });
});

describe("changes", () => {
  const put = (list: RouteList, count: number): void => {
    for (let each = 0; each < count; each++) list.put("add", { ...PLACE, address: PLACE.address + each * 256 }, ONE);
  };

  it("come in pieces, and what has not changed in the end is not said", () => {
    const list = new RouteList(10);
    put(list, 3);
    list.put("add", { ...PLACE, address: word("198.51.100.0") }, TWO);
    list.remove({ ...PLACE, address: word("198.51.100.0") });
    expect(list.takeChange(2)?.change).toEqual({
      table: 254,
      sets: [[ONE.option]],
      prefixes: [PLACE.address, 24, 0, PLACE.address + 256, 24, 0],
    });
    expect(list.takeChange(9)?.change.prefixes).toEqual([PLACE.address + 512, 24, 0]);
    expect(list.takeChange(9)).toBeUndefined();
  });

  it("can be undone, those that were taken and those that were not", () => {
    const list = new RouteList(10);
    put(list, 3);
    list.takeChange(1);
    list.takeChange(1)?.undo();
    list.undoChanges();
    expect(list.sizeOf(254)).toBe(1);
  });

  it("stop at the limit of a table", () => {
    const list = new RouteList(2);
    expect(() => put(list, 3)).toThrow("full");
    expect(list.sizeOf(254)).toBe(2);
  });
});

it("are listed by address, the longer prefix first", () => {
  const list = new RouteList(10);
  for (const [address, length] of [
    ["198.51.100.0", 24],
    ["0.0.0.0", 0],
    ["198.51.100.0", 25],
    ["10.0.0.0", 8],
  ] as const) {
    list.put("add", { table: 254, address: word(address), length }, ONE);
  }
  const listed = [...list.entries(254)].map(({ place }) => [place.address, place.length]);
  expect(listed).toEqual([
    [0, 0],
    [word("10.0.0.0"), 8],
    [word("198.51.100.0"), 25],
    [word("198.51.100.0"), 24],
  ]);
});
