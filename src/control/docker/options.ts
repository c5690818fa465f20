/** From what Docker says of a network to the network in the configuration: `-o` options, address pools, `--internal`. */
import { suggestion } from "../configuration/nearest.ts";
import { TapirError } from "../errors.ts";
import { type CreateNetwork, Label } from "./protocol.ts";
import type { DockerNetwork } from "./state.ts";

/** Hexadecimal digits of a network's id that its name has where no name is given: as many as fit. */
const ID_DIGITS = 12;

interface Wish {
  name?: string;
  mtu?: number;
  uplinks?: string[];
  masquerades: boolean;
  isolatesNetwork: boolean;
  isolatesPorts: boolean;
  antiSpoofing: boolean;
}

type Reader = (wish: Wish, value: string, key: string) => void;

const name: Reader = (wish, value) => {
  wish.name = value;
};
const mtu: Reader = (wish, value, key) => {
  if (!/^\d{1,5}$/.test(value)) throw new TapirError(`${key}: "${value}" is not a number of bytes`);
  wish.mtu = Number(value);
};
const masquerade: Reader = (wish, value, key) => {
  wish.masquerades = truth(value, key);
};
const icc: Reader = (wish, value, key) => {
  wish.isolatesPorts = !truth(value, key);
};

/** Options by name: Tapir's own, and those of Docker's bridge driver that mean the same. */
const OPTIONS: Readonly<Record<string, Reader>> = {
  name,
  mtu,
  masquerade,
  icc,
  uplink: (wish, value) => {
    wish.uplinks = value.split(",").map((each) => each.trim());
  },
  isolated: (wish, value, key) => {
    wish.isolatesNetwork = truth(value, key);
  },
  "anti-spoofing": (wish, value, key) => {
    wish.antiSpoofing = truth(value, key);
  },
  "com.docker.network.bridge.name": name,
  "com.docker.network.driver.mtu": mtu,
  "com.docker.network.bridge.enable_ip_masquerade": masquerade,
  "com.docker.network.bridge.enable_icc": icc,
};

/** @throws TapirError for what Tapir does not know or cannot do. */
export function readNetwork(request: CreateNetwork): DockerNetwork {
  const options = request.Options ?? {};
  if (options[Label.IPV6] === true || (request.IPv6Data ?? []).length > 0) {
    throw new TapirError("IPv6 is not routed: create the network without --ipv6 and IPv6 subnets");
  }
  const { IPv4Data } = request;
  const [pool] = IPv4Data ?? [];
  if (pool === undefined || IPv4Data?.length !== 1) throw new TapirError("a network has one IPv4 subnet (--subnet)");
  const wish = readOptions(options[Label.GENERIC]);
  return {
    name: wish.name ?? `dn-${request.NetworkID.slice(0, ID_DIGITS)}`,
    subnet: pool.Pool,
    ...(pool.Gateway === undefined || pool.Gateway === "" ? {} : { gateway: withoutLength(pool.Gateway) }),
    ...(wish.mtu === undefined ? {} : { mtu: wish.mtu }),
    ...(wish.uplinks === undefined ? {} : { uplinks: wish.uplinks }),
    masquerades: wish.masquerades,
    isInternal: options[Label.INTERNAL] === true,
    isolation: [
      ...(wish.isolatesPorts ? (["ports"] as const) : []),
      ...(wish.isolatesNetwork ? (["network"] as const) : []),
    ],
    antiSpoofing: wish.antiSpoofing,
  };
}

/** An address without the prefix length that Docker writes behind it. */
export function withoutLength(address: string): string {
  return address.split("/", 1)[0];
}

function readOptions(given: unknown): Wish {
  const wish = { masquerades: true, isolatesNetwork: true, isolatesPorts: false, antiSpoofing: false };
  for (const [key, value] of Object.entries((given ?? {}) as Record<string, unknown>)) {
    if (!Object.hasOwn(OPTIONS, key)) {
      throw new TapirError(`unknown option "${key}"${suggestion(key, Object.keys(OPTIONS))}`);
    }
    OPTIONS[key](wish, String(value), key);
  }
  return wish;
}

/** As Go reads a boolean. */
function truth(value: string, key: string): boolean {
  if (/^(1|t|true)$/i.test(value)) return true;
  if (/^(0|f|false)$/i.test(value)) return false;
  throw new TapirError(`${key}: expected true or false, not "${value}"`);
}
