/** Random rule sets as text, of all that Tapir and the kernel both have. */
import fc from "fast-check";

const words = (...parts: fc.Arbitrary<string>[]): fc.Arbitrary<string> =>
  fc.tuple(...parts).map((texts) => texts.filter((text) => text !== "").join(" "));
const maybe = (part: fc.Arbitrary<string>): fc.Arbitrary<string> => fc.oneof(fc.constant(""), part);
const word = (text: string): fc.Arbitrary<string> => fc.constant(text);
const not = fc.constantFrom("", "", "! ");
/** `[! ]--option value`. */
const option = (name: string, value: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(not, value).map(([mark, text]) => `${mark}${name} ${text}`);
const plain = (name: string, value: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  value.map((text) => `${name} ${text}`);

/** iptables keeps what stands beyond the mask of these, Tapir does not: there is nothing beyond. */
const network = fc.constantFrom("10.0.0.0/8", "198.51.100.0/24", "10.55.66.2");
const octet = fc.constantFrom(0, 1, 7, 10, 55, 128, 203, 255);
const address = fc.tuple(octet, octet, octet, octet).map((parts) => parts.join("."));
/** None that /etc/networks has a name for. */
const prefix = fc
  .tuple(fc.constantFrom(7, 10, 55, 128, 203), octet, octet, octet, fc.integer({ min: 8, max: 32 }))
  .map(([first, ...parts]) => `${first}.${parts.slice(0, 3).join(".")}/${parts[3]}`);
const port = fc.constantFrom(1, 22, 80, 443, 1023, 1024, 40_000, 65_535).map(String);
const sorted = (left: string, right: string): [number, number] => {
  const [first, last] = [Number(left), Number(right)].sort((a, b) => a - b);
  return [first, last];
};
const ports = fc.oneof(
  port,
  fc.tuple(port, port).map(([left, right]) => (left === right ? left : sorted(left, right).join(":"))),
);
const dashed = fc.oneof(
  port,
  fc.tuple(port, port).map(([left, right]) => sorted(left, right).join("-")),
);
const list = (item: fc.Arbitrary<string>, most = 4): fc.Arbitrary<string> =>
  fc.uniqueArray(item, { minLength: 1, maxLength: most }).map((items) => items.join(","));
const name = fc.constantFrom("lab", "eth0", "hwchiu0", "w+", "docker0");
const mark = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }).map((value) => `0x${value.toString(16)}`),
  fc.constantFrom("1", "0x10/0xf0", "0xffffffff", "0"),
);
const text = fc.string({ unit: fc.constantFrom(..."abc XYZ09_-.:/\"'\\"), minLength: 1, maxLength: 20 });
const quoted = text.map((value) => `"${value.trim().replace(/["\\]/g, "\\$&")}x"`);
const range = fc.tuple(fc.integer({ min: 1, max: 99 }), fc.integer({ min: 100, max: 250 }));
const addresses = range.map(([first, last]) => `10.0.0.${first}-10.0.0.${last}`);
const flags = list(fc.constantFrom("SYN", "ACK", "FIN", "RST", "URG", "PSH"));

const states = list(fc.constantFrom("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"));
const anyMatch = fc.oneof(
  plain("-m conntrack", option("--ctstate", list(fc.constantFrom("NEW", "ESTABLISHED", "DNAT", "SNAT")))),
  plain(
    "-m conntrack",
    words(
      option("--ctorigsrc", network),
      option("--ctstatus", list(fc.constantFrom("ASSURED", "SEEN_REPLY", "CONFIRMED"))),
    ),
  ),
  plain(
    "-m conntrack",
    words(option("--ctproto", fc.constantFrom("6", "udp", "47")), option("--ctorigdstport", ports)),
  ),
  plain("-m state", option("--state", states)),
  plain("-m mark", option("--mark", mark)),
  plain("-m connmark", option("--mark", mark)),
  plain("-m iprange", words(option("--src-range", addresses), maybe(option("--dst-range", addresses)))),
  plain("-m addrtype", option("--dst-type", list(fc.constantFrom("LOCAL", "UNICAST", "BROADCAST", "MULTICAST")))),
  plain("-m comment --comment", quoted),
  plain(
    "-m limit --limit",
    fc
      .tuple(
        fc.integer({ min: 1, max: 200 }),
        fc.constantFrom("sec", "min", "hour", "day"),
        fc.constantFrom("", " --limit-burst 9"),
      )
      .map(([count, unit, burst]) => `${count}/${unit}${burst}`),
  ),
);
const protocol = fc.oneof(
  word(""),
  words(
    word("-p tcp -m tcp"),
    maybe(option("--sport", ports)),
    maybe(option("--dport", ports)),
    maybe(
      option(
        "--tcp-flags",
        fc.tuple(flags, flags).map((both) => both.join(" ")),
      ),
    ),
  ),
  words(word("-p udp -m udp"), option("--dport", ports)),
  words(word("-p tcp -m multiport"), option("--dports", list(ports))),
  words(word("-p icmp -m icmp"), option("--icmp-type", fc.constantFrom("8", "3/1", "any", "echo-reply", "11"))),
  option("-p", fc.constantFrom("tcp", "gre", "200")),
);

const anyTarget = fc.oneof(
  word("-j ACCEPT"),
  word("-j RETURN"),
  word("-j user"),
  word("-g other"),
  words(
    word("-j LOG"),
    maybe(plain("--log-prefix", quoted)),
    maybe(plain("--log-level", fc.integer({ min: 0, max: 7 }).map(String))),
    maybe(word("--log-uid")),
  ),
  plain(
    "-j MARK",
    fc.oneof(plain("--set-xmark", mark), plain("--or-mark", word("0x30")), plain("--and-mark", word("0x30"))),
  ),
  plain(
    "-j CONNMARK",
    fc.oneof(word("--save-mark"), word("--restore-mark --nfmask 0xf --ctmask 0xff"), plain("--set-mark", mark)),
  ),
);
const filterTarget = fc.oneof(
  anyTarget,
  word("-j DROP"),
  plain(
    "-j REJECT --reject-with",
    fc.constantFrom("icmp-host-unreachable", "icmp-admin-prohibited", "icmp-port-unreachable"),
  ),
);
const random = maybe(word("--random"));
const sourceTarget = fc.oneof(
  words(word("-j MASQUERADE"), random),
  words(plain("-j SNAT --to-source", fc.oneof(address, addresses)), random, maybe(word("--persistent"))),
);
const destinationTarget = fc.oneof(
  words(plain("-j DNAT --to-destination", fc.oneof(address, addresses)), random),
  words(
    word("-p tcp -j DNAT --to-destination"),
    fc.tuple(address, dashed).map((parts) => parts.join(":")),
  ),
  words(word("-p udp -j REDIRECT --to-ports"), dashed),
);

const body = (target: fc.Arbitrary<string>, sides: fc.Arbitrary<string>, protocols = protocol): fc.Arbitrary<string> =>
  words(
    maybe(option("-s", prefix)),
    maybe(option("-d", prefix)),
    sides,
    protocols,
    maybe(anyMatch),
    maybe(anyMatch),
    maybe(target),
  );
const both = words(maybe(option("-i", name)), maybe(option("-o", name)));
const counters = fc.tuple(fc.nat(10 ** 7), fc.nat(10 ** 9)).map(([packets, bytes]) => `[${packets}:${bytes}]`);
const rule = (chain: string, rest: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(counters, rest).map(([counted, each]) => `${counted} -A ${chain} ${each}`);

const filterRule = fc.oneof(
  rule("FORWARD", body(filterTarget, both)),
  rule("INPUT", body(filterTarget, maybe(option("-i", name)))),
  rule("user", body(fc.oneof(word("-j RETURN"), word("-j DROP"), word("-j other")), both)),
);
const natRule = fc.oneof(
  rule("POSTROUTING", body(fc.oneof(sourceTarget, anyTarget), maybe(option("-o", name)))),
  rule("PREROUTING", body(destinationTarget, maybe(option("-i", name)), word(""))),
);

/** Text for iptables-restore, with counters. */
export const ruleSetTexts: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom("ACCEPT", "DROP"),
    counters,
    fc.array(filterRule, { maxLength: 40 }),
    fc.array(natRule, { maxLength: 20 }),
  )
  .map(([policy, counted, filter, nat]) =>
    [
      `*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ${policy} ${counted}\n:OUTPUT ACCEPT [0:0]\n:user - [0:0]\n:other - [0:0]`,
      ...filter,
      "COMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [1:2]\n:user - [0:0]\n:other - [0:0]",
      ...nat,
      "COMMIT\n",
    ].join("\n"),
  );
