/**
 * The names that rules refer to: of networks, ports and uplinks together. Each is there once, so that a rule's `in`
 * and `out` are unambiguous.
 */
import { formatPath, type Path, quote, type Report } from "./errors.ts";
import { suggestion } from "./nearest.ts";
import type { Configuration } from "./schema.ts";

export type Named =
  | { kind: "network"; name: string }
  | { kind: "uplink"; name: string }
  | { kind: "port"; name: string; network: string };

export type Names = ReadonlyMap<string, Named>;

/** All names; reports those that are there twice. */
export function collectNames(configuration: Configuration, report: Report): Names {
  const names = new Map<string, Named>();
  const places = new Map<string, Path>();
  const add = (named: Named, path: Path): void => {
    const place = places.get(named.name);
    if (place !== undefined) {
      const message = `the name ${quote(named.name)} is in use already, for ${formatPath(place)}`;
      report(path, `${message}: networks, ports and uplinks share their names`, "key");
      return;
    }
    names.set(named.name, named);
    places.set(named.name, path);
  };
  for (const [network, { ports = {} }] of Object.entries(configuration.networks ?? {})) {
    add({ kind: "network", name: network }, ["networks", network]);
    for (const name of Object.keys(ports)) add({ kind: "port", name, network }, ["networks", network, "ports", name]);
  }
  for (const name of Object.keys(configuration.uplinks ?? {})) add({ kind: "uplink", name }, ["uplinks", name]);
  return names;
}

/** What has the name; reports a name that nothing has. */
export function findNamed(names: Names, name: string, path: Path, report: Report): Named | undefined {
  const found = names.get(name);
  if (found === undefined) {
    report(path, `no network, port or uplink is called ${quote(name)}${suggestion(name, names.keys())}`);
  }
  return found;
}
