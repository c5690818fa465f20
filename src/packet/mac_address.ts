/**
 * Hardware addresses (EUI-48) as two integers: `high` holds the first two octets (0 to 65535), `low` the last four as
 * a signed word.
 */

export interface MacAddress {
  high: number;
  low: number;
}

const MAC_TEXT = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** `aa:bb:cc:dd:ee:ff`, in lower case. Allocates: not for the walk of a packet. */
export function formatMac(high: number, low: number): string {
  const digits = (high & 0xffff).toString(16).padStart(4, "0") + (low >>> 0).toString(16).padStart(8, "0");
  return digits.replace(/..(?!$)/g, "$&:");
}

/** The address written as six octets of two hexadecimal digits with colons. Throws a `TypeError` for other texts. */
export function parseMac(text: string): MacAddress {
  if (!MAC_TEXT.test(text)) throw new TypeError(`not a hardware address: ${JSON.stringify(text)}`);
  const digits = text.replaceAll(":", "");
  return { high: Number.parseInt(digits.slice(0, 4), 16), low: Number.parseInt(digits.slice(4), 16) | 0 };
}
