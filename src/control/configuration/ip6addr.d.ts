/** The part of `ip6addr` that is used here; the package has no types of its own. */
declare module "ip6addr" {
  interface Addr {
    kind(): "ipv4" | "ipv6";
    /** The value of an IPv4 address, 0 to 2^32 - 1. */
    toLong(): number;
    toString(options?: { format: "v4" | "v6" | "v4-mapped" | "auto" }): string;
  }

  const ip6addr: {
    /** @throws an `Error` for a text that is no address. */
    parse(text: string): Addr;
  };
  export default ip6addr;
}
