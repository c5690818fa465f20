/**
 * Sends messages to a collector over UDP, and counts what could not be sent. A collector that is not there is told of
 * by the kernel (an ICMP error comes back as ECONNREFUSED); a message that leaves may still be lost on its way, which
 * the collector sees by the sequence numbers.
 */
import { createSocket, type Socket } from "node:dgram";
import type { Endpoint } from "../configuration/configuration.ts";

/** Messages that the kernel has not taken yet; what comes then is dropped, and counted. */
const MOST_WAITING = 4096;

export class UdpSender {
  messages = 0;
  messagesFailed = 0;
  /** Data records of messages that failed. */
  recordsLost = 0;
  /** Called for each failure: the collector may have missed something that it needs. */
  onFailure: () => void = () => {};
  private readonly socket: Socket;
  private readonly say: (message: string) => void;
  private readonly name: string;
  private waiting = 0;
  private lastRecords = 0;
  private isFailing = false;
  private whenIdle: (() => void) | undefined;

  private constructor(socket: Socket, name: string, say: (message: string) => void) {
    this.socket = socket;
    this.name = name;
    this.say = say;
    // An ICMP error comes later, and is about a message that counts as sent: most likely the last one.
    socket.on("error", (error) => {
      this.failed(this.lastRecords, error);
      this.lastRecords = 0;
    });
  }

  /** `say` is told once when sending begins to fail, and once when it works again. */
  static open({ address, port }: Endpoint, say: (message: string) => void): Promise<UdpSender> {
    const socket = createSocket("udp4");
    return new Promise((resolve, reject) => {
      socket.once("error", reject);
      socket.connect(port, address, () => {
        socket.off("error", reject);
        resolve(new UdpSender(socket, `${address}:${port}`, say));
      });
    });
  }

  send(message: Uint8Array, records: number): void {
    if (this.waiting >= MOST_WAITING) {
      this.failed(records, new Error("messages come faster than they can be sent"));
      return;
    }
    this.waiting++;
    this.socket.send(message, (error) => {
      this.waiting--;
      if (error !== null) this.failed(records, error);
      else this.succeeded(records);
      if (this.waiting === 0) this.whenIdle?.();
    });
  }

  /** Resolves once the kernel has taken, or refused, everything. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.waiting === 0) resolve();
      else this.whenIdle = resolve;
    });
  }

  close(): void {
    this.socket.close();
  }

  private succeeded(records: number): void {
    this.messages++;
    this.lastRecords = records;
    if (this.isFailing) this.say(`flow export: messages reach ${this.name} again`);
    this.isFailing = false;
  }

  private failed(records: number, error: Error): void {
    this.messagesFailed++;
    this.recordsLost += records;
    this.onFailure();
    if (!this.isFailing) this.say(`flow export: messages do not reach ${this.name}: ${error.message}`);
    this.isFailing = true;
  }
}
