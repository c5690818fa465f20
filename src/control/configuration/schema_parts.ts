/** Pieces of the schema that many keys share. */
import { type TSchema, Type } from "typebox";

/** Names of networks, ports and uplinks, which rules refer to. No longer than a device's name may be. */
export const NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$";
export const NAME_WORDS = "1 to 15 letters, digits, _, . and -, beginning with a letter or a digit";

/** For maps whose keys are all known. */
export const CLOSED = { additionalProperties: false };

export function integer(minimum: number, maximum: number, options: object = {}) {
  return Type.Integer({ minimum, maximum, title: `an integer from ${minimum} to ${maximum}`, ...options });
}

export function oneOrMore<T extends TSchema>(item: T, title: string, options: object = {}) {
  const list = Type.Array(item, { minItems: 1, title: `a list of at least one` });
  return Type.Union([item, list], { title: `${title}, or a list of them`, ...options });
}

/** A map from names to values of one kind. */
export function named<T extends TSchema>(item: T, options: object) {
  return Type.Record(Type.String(), item, { propertyNames: { pattern: NAME_PATTERN }, ...options });
}

const LONGEST_RULE_NAME = 256;

export const ruleName = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: LONGEST_RULE_NAME,
    title: `a text of 1 to ${LONGEST_RULE_NAME} characters`,
    description: "Shown with the rule.",
  }),
);

export const address = (options: object) => Type.String({ title: "an IPv4 address", ...options });
export const prefix = (options: object) => Type.String({ title: "an IPv4 prefix", ...options });

/** Bytes. IPv4 needs 68 (RFC 791); a frame with its Ethernet header must fit into 64 KiB. */
const LEAST_MTU = 68;
const LARGEST_MTU = 65_521;

/** Linux refuses slashes, colons and spaces in a device's name, and replaces %d. */
export const deviceName = (options: object) =>
  Type.String({
    pattern: "^(?!\\.{1,2}$)[!-$&-.0-9;-~]{1,15}$",
    title: "a device name of 1 to 15 characters",
    ...options,
  });
export const netns = (options: object) =>
  Type.String({
    pattern: "^((?!\\.{1,2}$)[^/\\s]{1,255}|/[^\\s]{1,4095})$",
    title: "a network namespace's name or path",
    ...options,
  });
export const mtu = (options: object) => integer(LEAST_MTU, LARGEST_MTU, options);
export const pid = (options: object) => integer(1, 4_194_304, { title: "a process id", ...options });
export const hardwareAddress = (options: object) =>
  Type.String({
    pattern: "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$",
    title: "a hardware address like 02:00:00:00:00:02",
    ...options,
  });
