/** Expressions that cannot be, and how large they may be. What they select is tested beside tcpdump. */
import { describe, expect, it } from "vitest";
import { compileExpression, ExpressionError, selects } from "../../src/pcap_filter/expression.ts";
import { ethernet, udp } from "../support/frames.ts";

const MAC = "02:00:00:00:00:02";
const DATAGRAM = ethernet(MAC, MAC, 0x0800, udp({ source: "10.55.66.2", destination: "203.0.113.2" }, 4000, 53));

function selectsDatagram(expression: string): boolean {
  return selects(compileExpression(expression), new DataView(DATAGRAM.buffer), 0, DATAGRAM.length);
}

function errorOf(text: string): ExpressionError {
  try {
    compileExpression(text);
  } catch (error) {
    if (error instanceof ExpressionError) return error;
    throw error;
  }
  throw new Error(`no error: ${text}`);
}

describe("an expression that is wrong", () => {
  it.each([
    ["1.2.3.4", 0, "'1.2.3.4' needs a word before it that says what it is (host, port, …)"],
    ["host", 4, "the expression ends where the address of a host (names are not resolved) is expected"],
    ["host c1", 5, "'c1' stands where the address of a host (names are not resolved) is expected"],
    ["host 1.2.3.256", 5, "'1.2.3.256' is no IPv4 address"],
    ["host 10.0.0.0/8", 13, "only a net has a prefix length or mask"],
    ["net 10.1.0.0/8", 4, "'10.1.0.0' has bits beyond its mask"],
    ["net 10.0.0.0/33", 13, "the length of an IPv4 prefix is 0 to 32"],
    ["net 2001:db8::1/32", 4, "'2001:db8::1' has bits beyond its prefix"],
    ["host 1.2.3.4 and tcp or 5.6.7.8", 24, "'5.6.7.8' needs a word before it that says what it is (host, port, …)"],
    ["port 70000", 5, "a port is 0 to 65535"],
    ["port http", 5, "'http' stands where the number of a port (names are not resolved) is expected"],
    ["icmp port 80", 10, "'icmp' does not go with a port"],
    ["tcp host 1.2.3.4", 9, "'tcp' does not go with an address of IPv4"],
    ["ip host ::1", 8, "'ip' does not go with an address of IPv6"],
    ["host 2:0:0:0:0:2", 5, "a hardware address needs 'ether' before it"],
    ["tcp and", 7, "the expression ends where a primitive is expected"],
    ["tcp and and udp", 8, "'and' stands where a primitive (host, net, port, tcp, …) is expected"],
    ["tcp udp", 4, "'udp' stands where 'and' or 'or' is expected"],
    ["(tcp or udp", 11, "the expression ends where ')' at the end of the parenthesis is expected"],
    ["tcp[13", 6, "the expression ends where ']' after the field's index is expected"],
    ["tcp[13:3] = 0", 7, "the size of a field is 1, 2 or 4 bytes"],
    ["tcp[13] & 2", 11, "the expression ends where a comparison (=, !=, <, <=, >, >=) is expected"],
    ["ether[0] = 2-1", 11, "a subtraction needs blanks around its '-'"],
    ["ether[0] = 1 / 0", 16, "division by zero"],
    ["ether[0] = 1 << 32", 18, "shift by more than 31 bits"],
    ["ether[0] = 09", 11, "'09' is no octal number"],
    ["ether[0] = 4294967296", 11, "'4294967296' does not fit 32 bits"],
    ["ether proto 1200", 12, "a type of Ethernet is 1536 to 65535"],
    ["vlan 4096", 5, "the number of a VLAN is 0 to 4095"],
    ["ip broadcast", 3, "only Ethernet has a broadcast address that is known here: write 'ether broadcast'"],
    ["inbound", 0, "'inbound' is not supported: choose a hook point instead"],
    ["gateway 1.2.3.4", 0, "'gateway' is not supported"],
    ["host 1.2.3.4 $", 13, "'$' has no meaning here"],
  ])("%s", (text, position, reason) => {
    const error = errorOf(text);
    expect({ reason: error.reason, position: error.position }).toEqual({ reason, position });
    expect(error.message.split("\n")).toHaveLength(1);
  });

  it("is shown with a caret at the place, in one line", () => {
    expect(errorOf("host 1.2.3.4 and port 70000").message).toBe(
      "a port is 0 to 65535 (character 23: host 1.2.3.4 and port ^70000)",
    );
    expect(errorOf(`tcp${" ".repeat(30)}and\nport 70000 or host 1.2.3.4 or icmp`).message).toBe(
      `a port is 0 to 65535 (character 43: …${" ".repeat(15)}and port ^70000 or host 1.2.3.4 or…)`,
    );
  });

  it("is at most 4096 characters long", () => {
    expect(errorOf("tcp or ".repeat(586)).reason).toMatch(/longer than 4096/);
  });

  it("nests at most 64 deep", () => {
    const nested = (depth: number) => `${"(".repeat(depth)}udp${")".repeat(depth)}`;
    expect(selectsDatagram(nested(64))).toBe(true);
    expect(errorOf(nested(65)).reason).toMatch(/more than 64 deep/);
    expect(errorOf(`${"not ".repeat(65)}udp`).reason).toMatch(/more than 64 deep/);
    expect(errorOf(`${"-".repeat(65)}1 = 1`).reason).toMatch(/more than 64 deep/);
    expect(errorOf(`ether[${"ether[".repeat(64)}0${"]".repeat(65)} = 1`).reason).toMatch(/more than 64 deep/);
  });

  it("has at most sixteen intermediate results", () => {
    const sum = (depth: number) => `${"(1 + ".repeat(depth)}len${")".repeat(depth)} > 0`;
    expect(selectsDatagram(sum(15))).toBe(true);
    expect(errorOf(sum(17)).reason).toMatch(/too many intermediate results/);
  });
});

describe("an expression of the greatest length", () => {
  it("is a program that runs", () => {
    const ports = Array.from({ length: 500 }, (_, index) => 100 + index).join(" or ");
    expect(selectsDatagram(`port ${ports}`)).toBe(false);
    expect(selectsDatagram(`port ${ports} or 53`)).toBe(true);
  });
});
