/**
 * Keeps the estate up to date in the dataplane: after each change of the configuration, before that counts as done; after
 * what changes by itself (leases, failed devices, routes) soon, and not for each of many.
 */
import { native } from "../../io/native.ts";
import { type Estate, writeEstate } from "./estate.ts";

/** Between two estates that nobody waits for, at least. */
const PAUSE_MS = 200;

export interface EstateHost {
  /** What there is to be written now; undefined while there is no dataplane to keep it. */
  estate(): Estate | undefined;
  request(request: { type: "keep-estate" }, descriptors: readonly number[]): Promise<unknown>;
}

export class EstateKeeper {
  private readonly host: EstateHost;
  private timer: NodeJS.Timeout | undefined;
  private writtenAt = Number.NEGATIVE_INFINITY;

  constructor(host: EstateHost) {
    this.host = host;
  }

  /** Something has changed. */
  note(): void {
    const waitMs = Math.max(0, this.writtenAt + PAUSE_MS - performance.now());
    this.timer ??= setTimeout(() => {
      // A dataplane that cannot take it has ended, which others report.
      this.write().catch(() => {});
    }, waitMs);
  }

  /** Returns once the dataplane has it. */
  async write(): Promise<void> {
    this.close();
    const estate = this.host.estate();
    if (estate === undefined) return;
    this.writtenAt = performance.now();
    const fd = writeEstate(estate);
    try {
      await this.host.request({ type: "keep-estate" }, [fd]);
    } finally {
      native().closeDescriptor(fd);
    }
  }

  close(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
