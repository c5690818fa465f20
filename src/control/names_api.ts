/** What networks, uplinks and ports are called, over HTTP: from the configuration in force, without the dataplane. */
import { type Static, Type } from "typebox";
import type { ApiRoute } from "./api_route.ts";
import type { RunningRouter } from "./router.ts";

const NamesSchema = Type.Object({
  networks: Type.Array(Type.String()),
  uplinks: Type.Array(Type.String()),
  ports: Type.Array(Type.String(), { description: "Of networks; an uplink's device has the uplink's name." }),
});
export type RouterNames = Static<typeof NamesSchema>;

export const NAMES_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/names",
    summary: "Names of networks, uplinks and ports.",
    answer: NamesSchema,
    handle: async (router) => namesOf(router),
  },
];

function namesOf({ resolved }: RunningRouter): RouterNames {
  const { interfaces, ports } = resolved.plan;
  const uplinks = interfaces.filter(({ kind }) => kind === "uplink");
  const isOfUplink = new Set(uplinks.map(({ index }) => index));
  return {
    networks: interfaces.filter(({ kind }) => kind === "network").map(({ name }) => name),
    uplinks: uplinks.map(({ name }) => name),
    ports: ports.filter((port) => !isOfUplink.has(port.interface)).map(({ name }) => name),
  };
}
