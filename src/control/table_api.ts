/** The tables over HTTP. */
import { Type } from "typebox";
import type { RulesResult, StatsResult } from "../dataplane/messages.ts";
import { type ApiRoute, text } from "./api_route.ts";
import {
  ChainSchema,
  CountersSchema,
  DropSchema,
  HealthSchema,
  InvariantsSchema,
  LeaseSchema,
  NatRuleSchema,
  NeighbourSchema,
  PortSchema,
  RouteSchema,
  StationSchema,
} from "./api_schemas.ts";
import { withCni } from "./cni.ts";
import { healthOf } from "./health.ts";
import { showFdb, showNat, showNeighbours, showRoutes, showRules } from "./show.ts";

export const TABLE_ROUTES: readonly ApiRoute[] = [
  {
    method: "GET",
    path: "/v1/ports",
    summary: "Ports with their devices and counters.",
    answer: Type.Array(PortSchema),
    handle: async (router) => withCni(router.configuration, await router.services.docker.named(await router.ports())),
  },
  {
    method: "GET",
    path: "/v1/fdb",
    summary: "Stations, and the ports that they are behind.",
    answer: Type.Array(StationSchema),
    handle: showFdb,
  },
  {
    method: "GET",
    path: "/v1/neighbours",
    summary: "Next hops and their hardware addresses.",
    answer: Type.Array(NeighbourSchema),
    handle: showNeighbours,
  },
  {
    method: "GET",
    path: "/v1/leases",
    summary: "Addresses that the networks' DHCP servers have given away.",
    answer: Type.Array(LeaseSchema),
    handle: async (router) => router.services.network.dhcp.view(),
  },
  {
    method: "GET",
    path: "/v1/routes",
    summary: "Routes, the longest prefix first.",
    answer: Type.Array(RouteSchema),
    handle: showRoutes,
  },
  {
    method: "GET",
    path: "/v1/rules",
    summary: "Chains in use, with what each rule has met.",
    answer: Type.Record(Type.String(), ChainSchema),
    handle: async (router) => showRules(router, (await router.show("rules")) as RulesResult),
  },
  {
    method: "GET",
    path: "/v1/nat",
    summary: "Rules of address translation, in the order in which they are asked.",
    answer: Type.Array(NatRuleSchema),
    handle: showNat,
  },
  {
    method: "GET",
    path: "/v1/drops",
    summary: "Reasons why frames stopped, and how many did.",
    answer: Type.Array(DropSchema),
    handle: (router) => router.show("drops"),
  },
  {
    method: "GET",
    path: "/v1/stats",
    summary: "Counters of the dataplane.",
    answer: CountersSchema,
    handle: async (router) => ((await router.show("stats")) as StatsResult).counters,
  },
  {
    method: "GET",
    path: "/v1/invariants",
    summary: "Compares the flow table with the books that are kept beside it; stops the dataplane meanwhile.",
    answer: InvariantsSchema,
    handle: (router) => router.show("invariants"),
  },
  {
    method: "GET",
    path: "/v1/health",
    summary: "Watches the router for a moment.",
    query: { seconds: text("How long: 0 to 10; 1 unless said.") },
    answer: HealthSchema,
    handle: (router, { request }) => healthOf(router, request),
  },
];
