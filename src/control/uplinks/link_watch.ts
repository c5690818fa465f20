/**
 * Follows the devices of namespaces: whether they are there, up, with a carrier, and their MTU.
 *
 * Theory of operation. In the router's own namespace a netlink socket subscribes first and asks for all devices then, so
 * that nothing is missed in between; where the kernel has lost messages (ENOBUFS) it asks for all again, and what was
 * known and is not in the answer is gone. A socket keeps its namespace alive, though, and other namespaces have to be
 * free to go: those are asked once a second, by a socket that is closed again. What is told twice is passed on once.
 */
import { native } from "../../io/native.ts";
import type { SystemError } from "../errors.ts";
import { isNamespace } from "../network_namespace.ts";
import { type LinkNews, linkDumpRequest, RTMGRP_LINK, readLinkNews } from "./netlink.ts";

/** The router's own namespace, which has no path. */
const OWN = "";
const POLL_MS = 1000;
/** Messages read before the event loop gets its turn. */
const READ_AT_ONCE = 1024;

export interface Link {
  isThere: boolean;
  /** It has been set up; `isUp`: it has a carrier as well. */
  isEnabled: boolean;
  isUp: boolean;
  /** Bytes; 0 where it is not there. */
  mtu: number;
  /** Changes when a device is made again under its old name. */
  ifindex: number;
}

export const NO_LINK: Link = { isThere: false, isEnabled: false, isUp: false, mtu: 0, ifindex: 0 };

/** A device of `netns` (a path; undefined: the router's own) is not as it was. */
export type LinkChange = (netns: string | undefined, ifname: string) => void;

/** What is known of the devices of one namespace. */
class Links {
  readonly known = new Map<string, Link>();
  /** All have been told of once. */
  isComplete = false;
  /** Devices that the running dump has not named yet. */
  private unnamed: Set<string> | undefined;
  private readonly changed: (ifname: string) => void;

  constructor(changed: (ifname: string) => void) {
    this.changed = changed;
  }

  beginDump(): void {
    this.unnamed = new Set(this.known.keys());
  }

  /** What the dump has not named is gone. */
  endDump(): void {
    const gone = this.unnamed ?? [];
    this.unnamed = undefined;
    this.isComplete = true;
    for (const ifname of gone) this.note(ifname, NO_LINK);
  }

  take({ ifname, isGone, isEnabled, isUp, mtu, ifindex }: LinkNews): void {
    this.unnamed?.delete(ifname);
    // A message about the old device may come after the new one of the same name is there.
    if (isGone && this.known.get(ifname)?.ifindex !== ifindex) return;
    // It may have had another name before.
    for (const [other, link] of this.known) {
      if (other !== ifname && link.ifindex === ifindex) this.note(other, NO_LINK);
    }
    this.note(ifname, isGone ? NO_LINK : { isThere: true, isEnabled, isUp, mtu, ifindex });
  }

  private note(ifname: string, link: Link): void {
    if (isSame(this.known.get(ifname) ?? NO_LINK, link)) return;
    if (link.isThere) this.known.set(ifname, link);
    else this.known.delete(ifname);
    this.changed(ifname);
  }
}

export class LinkWatch {
  private readonly links = new Map<string, Links>();
  private readonly changed: LinkChange;
  private readonly failed: (why: string) => void;
  private readonly polled: () => void;
  private own: { fd: number; stopWatching: () => void } | undefined;
  private timer: NodeJS.Timeout | undefined;

  /** `polled`: namespaces other than the router's own have been asked again. */
  constructor(changed: LinkChange, failed: (why: string) => void, polled: () => void) {
    this.changed = changed;
    this.failed = failed;
    this.polled = polled;
  }

  /** Watches exactly these namespaces from now on; what is there already is told at once. */
  setNamespaces(wanted: readonly (string | undefined)[]): void {
    const names = new Set(wanted.map((netns) => netns ?? OWN));
    for (const name of this.links.keys()) if (!names.has(name)) this.links.delete(name);
    if (!names.has(OWN)) this.closeOwn();
    for (const name of names) {
      if (this.links.has(name)) continue;
      this.links.set(name, new Links((ifname) => this.changed(name === OWN ? undefined : name, ifname)));
      if (name === OWN) this.openOwn();
      else this.poll(name);
    }
    if ([...names].some((name) => name !== OWN)) this.keepPolling();
    else if (this.own !== undefined || !names.has(OWN)) this.stopPolling();
  }

  private keepPolling(): void {
    this.timer ??= setInterval(() => this.pollAgain(), POLL_MS);
  }

  private stopPolling(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** Takes in what has happened up to now. */
  refresh(): void {
    this.readOwn();
    this.pollAll();
  }

  /** The device as it was last heard of; undefined where nothing is known of its namespace. */
  get(netns: string | undefined, ifname: string): Link | undefined {
    const links = this.links.get(netns ?? OWN);
    return links?.isComplete === true ? (links.known.get(ifname) ?? NO_LINK) : undefined;
  }

  close(): void {
    this.setNamespaces([]);
  }

  private openOwn(): void {
    try {
      const fd = native().openRouteNetlink({ groups: RTMGRP_LINK });
      this.own = { fd, stopWatching: native().watchReadable(fd, () => this.readOwn()) };
      this.ask(fd, OWN);
      this.readOwn();
    } catch (error) {
      this.loseOwn(error as Error);
    }
  }

  /** What is known of the devices stays; they are followed again as soon as that can be. */
  private loseOwn({ message }: Error): void {
    this.closeOwn();
    this.failed(`cannot follow the devices of this namespace: ${message}`);
    this.keepPolling();
  }

  private closeOwn(): void {
    if (this.own === undefined) return;
    this.own.stopWatching();
    native().closeDescriptor(this.own.fd);
    this.own = undefined;
  }

  private ask(fd: number, name: string): void {
    this.links.get(name)?.beginDump();
    if (!native().sendMessage(fd, linkDumpRequest(), [])) throw new Error("the kernel takes no question now");
  }

  private readOwn(): void {
    const { own } = this;
    try {
      // What is told may make the listener close the socket.
      for (let left = READ_AT_ONCE; left > 0 && own !== undefined && this.own === own; left--) {
        if (!this.readOrAsk(own.fd)) return;
      }
    } catch (error) {
      this.loseOwn(error as Error);
    }
  }

  /** Where the kernel has lost messages, it is asked for all again. */
  private readOrAsk(fd: number): boolean {
    try {
      return this.readOne(fd, OWN);
    } catch (error) {
      if ((error as SystemError).code !== "ENOBUFS") throw error;
      this.ask(fd, OWN);
      return true;
    }
  }

  /** Takes one message; false when there is none. */
  private readOne(fd: number, name: string): boolean {
    const received = native().receiveMessage(fd);
    if (received === null || received === "closed") return false;
    const { news, isEnd } = readLinkNews(received.bytes);
    const links = this.links.get(name);
    for (const each of news) links?.take(each);
    if (isEnd) links?.endDump();
    return true;
  }

  private pollAgain(): void {
    if (this.own === undefined && this.links.has(OWN)) this.openOwn();
    this.pollAll();
    this.polled();
  }

  private pollAll(): void {
    for (const name of [...this.links.keys()]) if (name !== OWN) this.poll(name);
  }

  /**
   * Asks a namespace that is not to be kept alive; one that is gone has no devices. Where only the asking fails, for want
   * of descriptors or memory, what was known holds.
   */
  private poll(name: string): void {
    let fd: number | undefined;
    try {
      fd = native().openRouteNetlink({ groups: 0, netns: name });
      this.ask(fd, name);
      while (this.readOne(fd, name));
    } catch {
      if (isNamespace(name)) return;
      this.links.get(name)?.beginDump();
      this.links.get(name)?.endDump();
    } finally {
      if (fd !== undefined) native().closeDescriptor(fd);
    }
  }
}

function isSame(one: Link, other: Link): boolean {
  return (
    one.isThere === other.isThere &&
    one.isEnabled === other.isEnabled &&
    one.isUp === other.isUp &&
    one.mtu === other.mtu &&
    one.ifindex === other.ifindex
  );
}
