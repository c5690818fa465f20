/**
 * The dataplane gives up what it does not need. It parses what strangers send, so it is the process to be taken over, if
 * any is; what it needs once it runs is little: to read and write descriptors that it has been handed, and memory.
 * Capabilities are gone before it starts (`control/privilege.ts`); the rest goes here, before it has met a packet.
 * docs/security.md says what this keeps an intruder from, and what not.
 */

/** What the addon offers for it (`Native.confine`). */
export interface Confiner {
  confine(options: { mayOpen: boolean }): void;
}

/**
 * Confines this process for good. Returns what could not be done, in words; undefined when all is. `TAPIR_CONFINE=0` leaves
 * it as it is. V8's flags are for profiling: with those of `TAPIR_DATAPLANE_FLAGS` it can go on opening files.
 */
export function confine(confiner: Confiner, environment: NodeJS.ProcessEnv): string | undefined {
  if (environment.TAPIR_CONFINE === "0") return "the dataplane is not confined (TAPIR_CONFINE=0)";
  const mayOpen = (environment.TAPIR_DATAPLANE_FLAGS ?? "") !== "";
  try {
    confiner.confine({ mayOpen });
    return mayOpen ? "the dataplane can open files (TAPIR_DATAPLANE_FLAGS)" : undefined;
  } catch (error) {
    return `the dataplane is not confined: ${(error as Error).message}`;
  }
}
