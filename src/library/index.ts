/** What the package `tapir` offers to programs: a router in memory, and a client of one that runs. */
export * from "../client/client.ts";
export type { FlowView, TupleView } from "../conntrack/format.ts";
export type { Configuration } from "../control/configuration/schema.ts";
export { arpRequest, type Ends, type UdpFields, udpFrame } from "./frames.ts";
export { createRouter, MemoryRouter, type RouterOptions, type SentFrame } from "./router.ts";
export type { Stage, StagePacket } from "./stage.ts";
