/** Frames for expressions to meet: of few addresses and ports, of all kinds, and as odd as the wire may bring them. */
import { arp, concat, ethernet, icmp, ipv4, tcp, u16, udp } from "../frames.ts";
import type { CapturedFrame } from "./tcpdump.ts";

export type Below = (limit: number) => number;

export const ADDRESSES = ["10.55.66.2", "10.55.66.3", "10.55.67.9", "203.0.113.2", "224.0.0.251", "255.255.255.255"];
export const ADDRESSES6 = ["2001:db8::1", "2001:db8:0:1::7", "ff02::1", "::1"];
export const MACS = ["02:00:00:00:00:02", "02:00:00:00:00:03", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb"];
export const PORTS = [0, 22, 53, 80, 443, 1023, 8080, 40_000, 65_535];
export const VLANS = [0, 7, 100, 4095];

export function pick<T>(values: readonly T[], below: Below): T {
  return values[below(values.length)];
}

function bytes(below: Below, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => below(256));
}

function fieldsOf(below: Below) {
  const options = below(4) === 0 ? Uint8Array.of(1, 1, 1, 0, ...new Uint8Array(4 * below(3))) : new Uint8Array(0);
  const fragments = [0x2000, 0x2005, 0x0010, 0x4000];
  return {
    source: pick(ADDRESSES, below),
    destination: pick(ADDRESSES, below),
    ttl: 1 + below(255),
    options,
    ...(below(4) === 0 ? { fragment: pick(fragments, below) } : {}),
  };
}

function packet4(below: Below): Uint8Array {
  const fields = fieldsOf(below);
  const payload = bytes(below, below(40));
  const [from, to] = [pick(PORTS, below), pick(PORTS, below)];
  switch (below(6)) {
    case 0:
    case 1: {
      const flags = pick(["S", "SA", "A", "FA", "R", "PA", "SF", ""], below);
      const options = new Uint8Array(4 * below(3)).fill(1);
      return tcp(fields, from, to, { flags, payload, options, window: below(65_536) });
    }
    case 2:
      return udp(fields, from, to, payload);
    case 3:
      return icmp(fields, pick([0, 3, 8, 11], below), below(4), below(65_536), payload);
    case 4:
      return ipv4(fields, 132, concat(u16(from), u16(to), payload));
    default:
      return ipv4(fields, pick([2, 4, 47, 50], below), payload);
  }
}

function address6(text: string): Uint8Array {
  const [head, tail] = text.split("::").map((part) => (part === "" ? [] : part.split(":")));
  const groups = [...head, ...new Array(8 - head.length - tail.length).fill("0"), ...tail];
  return concat(...groups.map((group) => u16(Number.parseInt(group, 16))));
}

function packet6(below: Below): Uint8Array {
  const next = pick([6, 17, 58, 132, 44, 59], below);
  const payload = concat(u16(pick(PORTS, below)), u16(pick(PORTS, below)), bytes(below, below(40)));
  if (next === 44) payload[0] = pick([6, 17, 58], below);
  const ends = [pick(ADDRESSES6, below), pick(ADDRESSES6, below)].map(address6);
  return concat(Uint8Array.of(0x60, 0, 0, 0), u16(payload.length), Uint8Array.of(next, 64), ...ends, payload);
}

function packet(below: Below): [etherType: number, payload: Uint8Array] {
  switch (below(10)) {
    case 0:
    case 1:
      return [0x86dd, packet6(below)];
    case 2: {
      const ends = { senderMac: pick(MACS, below), targetMac: pick(MACS, below) };
      const addresses = { sender: pick(ADDRESSES, below), target: pick(ADDRESSES, below) };
      return [pick([0x0806, 0x0806, 0x8035], below), arp({ operation: below(2) === 0 ? 1 : 2, ...ends, ...addresses })];
    }
    case 3:
      return [pick([0x88cc, 0x0600, 0x002e], below), bytes(below, below(60))];
    default:
      return [0x0800, packet4(below)];
  }
}

/** A frame: untagged, tagged once or twice; sometimes with bytes changed; sometimes cut. */
export function randomFrame(below: Below): CapturedFrame {
  let [etherType, payload] = packet(below);
  for (let tags = Math.max(0, below(5) - 2); tags > 0; tags--) {
    payload = concat(u16((below(8) << 13) | pick(VLANS, below)), u16(etherType), payload);
    etherType = pick([0x8100, 0x8100, 0x88a8, 0x9100], below);
  }
  const frame = ethernet(pick(MACS, below), pick(MACS, below), etherType, payload);
  if (below(8) === 0) frame[below(frame.length)] = below(256);
  const length = below(5) === 0 ? 1 + below(frame.length) : frame.length;
  return { bytes: frame.slice(0, length), wireLength: frame.length };
}
