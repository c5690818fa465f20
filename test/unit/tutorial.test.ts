/** How the tutorial's page is read, and what of its outputs may differ from run to run: no more than it says. */
import { describe, expect, it } from "vitest";
import { Normaliser } from "../support/tutorial/normalise.ts";
import { parsePage, withOutputs } from "../support/tutorial/page.ts";

const PAGE = [
  "# Title",
  "",
  "```",
  "no commands",
  "```",
  "",
  "## One",
  "",
  "```console second terminal",
  "# watch",
  "listening",
  "^C",
  "```",
  "",
  "```console",
  "# cat > file <<'END'",
  "# a comment, not a command",
  "END",
  "# first \\",
  "  more",
  "# second",
  "output",
  "",
  "rest",
  "```",
].join("\n");

describe("the tutorial's page", () => {
  it("is blocks of commands, each with what it printed", () => {
    const [section, ...others] = parsePage(PAGE);
    expect(others).toEqual([]);
    expect(section.title).toBe("One");
    expect(section.blocks.map(({ terminal }) => terminal)).toEqual([2, 1]);
    expect(section.blocks.map(({ steps }) => steps.map(({ command, output }) => [command, output]))).toEqual([
      [["watch", "listening\n^C"]],
      [
        ["cat > file <<'END'\n# a comment, not a command\nEND", ""],
        ["first \\\n  more", ""],
        ["second", "output\n\nrest"],
      ],
    ]);
  });

  it("is refused where it cannot be typed", () => {
    expect(() => parsePage("## a\n```console\noutput\n```")).toThrow("without a command");
    expect(() => parsePage("## a\n```console ninth terminal\n# x\n```")).toThrow("no such terminal");
    expect(() => parsePage("## a\n```console\n# x")).toThrow("no end");
    expect(() => parsePage("## a\n```console\n# x <<'E'\n```")).toThrow("no end");
  });

  it("can be given other outputs", () => {
    const [{ blocks }] = parsePage(PAGE);
    const [[watch], [cat, , second]] = blocks.map(({ steps }) => steps);
    const outputs = new Map([
      [second, ""],
      [cat, "new\nlines"],
      [watch, "^C"],
    ]);
    const [{ blocks: changed }] = parsePage(withOutputs(PAGE, outputs));
    expect(changed.flatMap(({ steps }) => steps.map(({ output }) => output))).toEqual(["^C", "new\nlines", "", ""]);
    expect(withOutputs(PAGE, new Map())).toBe(PAGE);
  });
});

/** Whether two texts are the same, but for what may differ. */
const same = (left: string, right: string): boolean =>
  new Normaliser().normalise(left) === new Normaliser().normalise(right);

describe("what may differ from run to run", () => {
  it.each([
    [
      "64 bytes from 10.55.66.1: icmp_seq=1 ttl=64 time=0.8 ms",
      "64 bytes from 10.55.66.1: icmp_seq=1 ttl=64 time=1 ms",
    ],
    [
      "1 packets transmitted, 1 received, 0% packet loss, time 0ms",
      "1 packets transmitted, 1 received, 0% packet loss, time 3ms",
    ],
    ["rtt min/avg/max/mdev = 1/1/1/0 ms", "rtt min/avg/max/mdev = 2/2/2/0 ms"],
    ["[1] 45", "[1] 4711"],
    ["lab  02:00:00:00:00:01  c1    1", "lab  02:00:00:00:00:07  c1   12"],
    ["icmp     1 29 src=a id=5 x", "icmp     1 7 src=a id=6 x"],
    ["ttl 63, id 7, offset 0", "ttl 63, id 8, offset 0"],
    ["tcp      6 1 X sport=40000 dport=80 packets=4 bytes=2", "tcp      6 2 X sport=60999 dport=80 packets=5 bytes=3"],
  ])("%s", (left, right) => {
    expect(same(left, right)).toBe(true);
  });

  it.each([
    ["64 bytes from 10.55.66.1: icmp_seq=1 ttl=64 time=1 ms", "64 bytes from 10.55.66.1: icmp_seq=1 ttl=63 time=1 ms"],
    ["1 packets transmitted, 1 received", "1 packets transmitted, 0 received"],
    ["[1] 45", "[2] 45"],
    ["lab  02:00:00:00:00:01  c1    1", "lab  02:00:00:00:00:01  c2    1"],
    ["icmp     1 29 src=a id=5 packets=1 bytes=84", "icmp     1 29 src=a id=5 packets=2 bytes=84"],
    ["0 packets captured", "1 packet captured"],
    ["tcp      6 1 X sport=40000 dport=80", "tcp      6 1 X sport=40000 dport=8080"],
    ["tcp      6 1 X sport=40000", "tcp      6 1 Y sport=40000"],
    ["forward-drop  dropped      1  text", "forward-drop  dropped      2  text"],
    ["length 84", "length 85"],
  ])("not %s", (left, right) => {
    expect(same(left, right)).toBe(false);
  });

  it("is the value of an id, not where it occurs again", () => {
    const twice = (first: number, second: number) => `ttl 64, id ${first}, offset 0\nttl 63, id ${second}, offset 0`;
    expect(same(twice(7, 7), twice(8, 8))).toBe(true);
    expect(same(twice(7, 7), twice(8, 9))).toBe(false);
    const echo = (first: number, second: number) => `ICMP echo request, id ${first}, seq 1\nicmp     1 9 id=${second}`;
    expect(same(echo(7, 7), echo(8, 8))).toBe(true);
    expect(same(echo(7, 7), echo(8, 9))).toBe(false);
    const macs = (first: string, second: string) => `02:00:00:00:00:0${first} > 02:00:00:00:00:0${second}`;
    expect(same(macs("1", "1"), macs("2", "2"))).toBe(true);
    expect(same(macs("1", "1"), macs("2", "3"))).toBe(false);
    expect(same("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:01")).toBe(false);
  });

  it("begins anew with each section where the page does not name it again", () => {
    const normaliser = new Normaliser();
    const [ip, echo] = ["id 7, offset 0", "id 7, seq 1"];
    expect(normaliser.normalise(`id 6, offset 0\nid 6, seq 1\n${ip}\n${echo}`)).toMatch(/ip-2.*\n.*echo-2/);
    normaliser.beginSection();
    expect(normaliser.normalise(ip)).toContain("ip-1");
    expect(normaliser.normalise(echo)).toContain("echo-2");
  });
});
