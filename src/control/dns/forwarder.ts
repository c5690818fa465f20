/**
 * The DNS forwarder of one network as a state machine: it is told the time, the questions of clients and the answers of
 * servers, and has its host send what is to be sent. What the network itself knows is answered at once (`zone.ts`), the
 * rest is asked of the configured servers.
 *
 * Theory of operation. A question that is the same as one that is under way, to the letter, joins it: so nobody can have
 * many alike outstanding, which would help to forge the answer (RFC 5452 5). Each attempt has an id and a source port of
 * its own, drawn at random; an answer counts if it comes to that port from the server that was asked, with the id and the
 * question of the attempt (RFC 5452 9.1), and changes nothing otherwise. A server that is silent, fails or refuses is
 * followed by the next one; a silent one is asked last from then on. When all have been tried the client hears SERVFAIL.
 *
 * Limits. So many questions are under way at once, of one port and in all; more are refused with SERVFAIL. A client that
 * asks again while its question is under way is not asked for twice. Nothing is kept of what has been answered: there is no
 * cache. Times are milliseconds of one monotonic clock.
 */
import type { OwnSocket, ReceivedDatagram } from "../../dataplane/messages.ts";
import { IPV4_HEADER_BYTES } from "../../packet/ipv4.ts";
import { UDP_HEADER_BYTES } from "../../packet/udp.ts";
import type { DnsPlan } from "../configuration/build_network_services.ts";
import * as codec from "./codec.ts";
import { type DnsQuestion, Rcode } from "./codec.ts";
import { DNS_COUNTS, type DnsCount } from "./counts.ts";
import { answerFromZone, type LeaseNames } from "./zone.ts";

/** How long a server may think. */
const ATTEMPT_MS = 1_500;
/** Beyond, a client's resolver has given up. */
const MOST_ATTEMPTS = 4;
const MOST_OF_PORT = 64;
const MOST_OF_ALL = 512;
/** Of the names of ports: they come and go. */
const OWN_TTL_SECONDS = 5;

/** Who has asked: a datagram of a client's. */
export type Asker = Omit<ReceivedDatagram, "service" | "payload">;

export interface ForwarderHost {
  /** Sends a question to a server, from a port that is drawn; rejects where that cannot be. */
  ask(server: number, message: Buffer): Promise<OwnSocket>;
  forget(socket: OwnSocket): void;
  answer(asker: Asker, message: Buffer): void;
  /** From 0 to 65535, not to be foretold. */
  drawId(): number;
  readonly leases: LeaseNames;
}

interface Waiter {
  asker: Asker;
  question: DnsQuestion;
}

interface Pending {
  key: string;
  question: DnsQuestion;
  waiters: Waiter[];
  /** From 1. */
  attempt: number;
  server: number;
  id: number;
  socket: OwnSocket | undefined;
  /** When the attempt is over. */
  until: number;
}

export class Forwarder {
  readonly counts = Object.fromEntries(DNS_COUNTS.map((name) => [name, 0])) as Record<DnsCount, number>;
  private plan: DnsPlan;
  private readonly host: ForwarderHost;
  private readonly pending = new Map<string, Pending>();
  private readonly bySocket = new Map<string, Pending>();
  private readonly ofPort = new Map<number, number>();
  private waiting = 0;
  /** The server that is asked first. */
  private preferred = 0;

  constructor(plan: DnsPlan, host: ForwarderHost) {
    this.plan = plan;
    this.host = host;
  }

  setPlan(plan: DnsPlan): void {
    this.plan = plan;
    this.preferred = 0;
  }

  /** Questions of clients that wait for their answers. */
  get outstanding(): number {
    return this.waiting;
  }

  /** When `wake` wants to be called; Infinity for never. */
  get wakeAt(): number {
    let first = Infinity;
    for (const { until } of this.pending.values()) first = Math.min(first, until);
    return first;
  }

  /** A datagram that a client has sent to the gateway. */
  ask(asker: Asker, bytes: Buffer, now: number): void {
    const read = codec.readQuestion(bytes);
    if (read === undefined) {
      this.counts.malformed++;
      return;
    }
    this.counts.questions++;
    if (read.refusal !== undefined) {
      this.counts.refused++;
      this.host.answer(asker, codec.composeRefusal(read.id, read.refusal));
      return;
    }
    const { question } = read;
    const known = answerFromZone(this.plan, this.host.leases, question);
    if (known !== undefined) {
      this.counts.local++;
      const message = codec.composeAnswer(question, known.rcode, known.records, OWN_TTL_SECONDS);
      this.host.answer(asker, codec.passOn(message, question, this.mostBytes));
      return;
    }
    this.forward({ asker, question }, now);
  }

  /** An answer, perhaps, of a server: false where nobody here has asked it. */
  take(datagram: ReceivedDatagram, bytes: Buffer, now: number): boolean {
    const { source, sourcePort, destination, destinationPort } = datagram;
    const pending = this.bySocket.get(
      socketKey({
        source: destination,
        sourcePort: destinationPort,
        destination: source,
        destinationPort: sourcePort,
      }),
    );
    if (pending === undefined) return false;
    const head = codec.readAnswer(bytes);
    const { question, id } = pending;
    const isMeant =
      head?.id === id && head.type === question.type && head.name.toLowerCase() === question.name.toLowerCase();
    if (!isMeant) {
      this.counts.mismatched++;
      return true;
    }
    const hasFailed = head.rcode === Rcode.SERVFAIL || head.rcode === Rcode.REFUSED || head.rcode === Rcode.NOTIMP;
    if (hasFailed && pending.attempt < this.mostAttempts) {
      this.attemptNext(pending, now);
      return true;
    }
    this.counts.answered++;
    this.settle(pending, (each) => codec.passOn(bytes, each, this.mostBytes));
    return true;
  }

  /** Time has passed. */
  wake(now: number): void {
    for (const pending of [...this.pending.values()]) if (pending.until <= now) this.lose(pending, now);
  }

  /** Nobody is answered any more. */
  close(): void {
    for (const pending of [...this.pending.values()]) this.end(pending);
  }

  private get mostBytes(): number {
    return this.plan.mtu - IPV4_HEADER_BYTES - UDP_HEADER_BYTES;
  }

  private get mostAttempts(): number {
    return Math.min(MOST_ATTEMPTS, this.plan.servers.length + 1);
  }

  private forward(waiter: Waiter, now: number): void {
    const { asker, question } = waiter;
    if (this.plan.servers.length === 0) {
      this.refuse(waiter, Rcode.REFUSED);
      return;
    }
    const key = questionKey(question);
    const alike = this.pending.get(key);
    if (alike?.waiters.some((each) => isSame(each, waiter)) === true) return;
    const held = this.ofPort.get(asker.port) ?? 0;
    if (held >= MOST_OF_PORT || this.waiting >= MOST_OF_ALL) {
      this.refuse(waiter, Rcode.SERVFAIL);
      return;
    }
    this.ofPort.set(asker.port, held + 1);
    this.waiting++;
    if (alike !== undefined) {
      alike.waiters.push(waiter);
      return;
    }
    const server = this.preferred % this.plan.servers.length;
    const pending: Pending = {
      key,
      question,
      waiters: [waiter],
      attempt: 0,
      server,
      id: 0,
      socket: undefined,
      until: now,
    };
    this.pending.set(key, pending);
    this.attempt(pending, now);
  }

  private refuse({ asker, question }: Waiter, rcode: number): void {
    this.counts.refused++;
    this.host.answer(asker, codec.composeFailure(question, rcode));
  }

  /** Asks the server that is its turn. */
  private attempt(pending: Pending, now: number): void {
    const attempt = ++pending.attempt;
    pending.id = this.host.drawId();
    pending.until = now + ATTEMPT_MS;
    this.counts.forwarded++;
    const server = this.plan.servers[pending.server % this.plan.servers.length];
    this.host.ask(server, codec.composeQuestion(pending.question, pending.id)).then(
      (socket) => {
        const isCurrent = this.pending.get(pending.key) === pending && pending.attempt === attempt;
        if (!isCurrent) this.host.forget(socket);
        else {
          pending.socket = socket;
          this.bySocket.set(socketKey(socket), pending);
        }
      },
      // The next server is asked when its time has come: at once would be a loop.
      () => {},
    );
  }

  /** Nobody has answered. */
  private lose(pending: Pending, now: number): void {
    this.counts.timeouts++;
    const { length } = this.plan.servers;
    if (length > 0 && this.preferred % length === pending.server % length)
      this.preferred = (pending.server + 1) % length;
    if (pending.attempt < this.mostAttempts && length > 0) {
      this.attemptNext(pending, now);
      return;
    }
    this.counts.failed++;
    this.settle(pending, (each) => codec.composeFailure(each, Rcode.SERVFAIL));
  }

  private attemptNext(pending: Pending, now: number): void {
    this.forgetSocket(pending);
    pending.server++;
    this.attempt(pending, now);
  }

  private settle(pending: Pending, messageFor: (question: DnsQuestion) => Buffer): void {
    this.end(pending);
    for (const { asker, question } of pending.waiters) this.host.answer(asker, messageFor(question));
  }

  private end(pending: Pending): void {
    this.forgetSocket(pending);
    this.pending.delete(pending.key);
    this.waiting -= pending.waiters.length;
    for (const { asker } of pending.waiters) {
      const left = (this.ofPort.get(asker.port) ?? 0) - 1;
      if (left > 0) this.ofPort.set(asker.port, left);
      else this.ofPort.delete(asker.port);
    }
  }

  private forgetSocket(pending: Pending): void {
    const { socket } = pending;
    if (socket === undefined) return;
    pending.socket = undefined;
    this.bySocket.delete(socketKey(socket));
    this.host.forget(socket);
  }
}

/** A client that asks again. */
function isSame(one: Waiter, other: Waiter): boolean {
  return (
    one.question.id === other.question.id &&
    one.asker.source === other.asker.source &&
    one.asker.sourcePort === other.asker.sourcePort &&
    one.asker.port === other.asker.port
  );
}

/** To the letter: an answer repeats the name as it was asked. */
function questionKey({ flags, name, type, edns }: DnsQuestion): string {
  return `${type} ${flags} ${edns === undefined ? "" : edns.isDnssecOk} ${name}`;
}

function socketKey({ source, sourcePort, destination, destinationPort }: OwnSocket): string {
  return `${source} ${sourcePort} ${destination} ${destinationPort}`;
}
