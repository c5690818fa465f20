/** All targets, by the order in which they run. */
import type { Target } from "../target.ts";
import { API } from "./api.ts";
import { CAPTURE_FILE, DHCP, NETLINK } from "./bytes.ts";
import { CHANNEL } from "./channel.ts";
import { CONFIGURATION } from "./configuration.ts";
import { IPTABLES, RESTORE } from "./iptables.ts";
import { DHCP_SERVER, DNS } from "./network_services.ts";
import { PIPELINE } from "./pipeline.ts";
import { EXPLAIN, EXPRESSION, FLOW_FILTER, PACKET_TEXT } from "./words.ts";

export const TARGETS: readonly Target[] = [
  PIPELINE,
  CONFIGURATION,
  IPTABLES,
  RESTORE,
  EXPRESSION,
  EXPLAIN,
  PACKET_TEXT,
  FLOW_FILTER,
  CAPTURE_FILE,
  DHCP,
  DHCP_SERVER,
  DNS,
  NETLINK,
  CHANNEL,
  API,
] as unknown as readonly Target[];
