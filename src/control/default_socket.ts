/** Where a router answers unless told otherwise; by itself, so that a command need not load the whole configuration. */
export const DEFAULT_SOCKET = "/run/tapir/tapir.sock";
