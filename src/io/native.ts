/**
 * The types of the addon in `native/`. The addon moves frames and owns descriptors; it holds no protocol logic.
 *
 * Every function throws an `Error` whose `code` is the errno's name (`ENOENT`, `EPERM`, `EBUSY` …) and whose
 * `syscall` names the call that failed. `EngineMemory` and the engine's calls are the exception: they never throw
 * for what one port does, they report it in `portErrors`.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import { packageRoot } from "./package_root.ts";

/** Bytes of the virtio-net header (legacy layout, no `num_buffers`) at the start of each slot. */
export const VNET_HEADER_BYTES = 10;

/** Where in `EngineMemory.state` the words live that both sides read and write. */
export const EngineState = {
  /** Number of free slots on top of `freeSlots`; both sides pop and push. */
  FREE_COUNT: 0,
  /** Milliseconds of CLOCK_MONOTONIC, wrapped to a signed 32-bit word; written once per `receive`. */
  NOW_MS: 1,
  /** 1 when a watched control descriptor was readable during the last `receive`. */
  CONTROL_READY: 2,
  /** Number of words in `portErrors` that were set since the last `receive` began, and of RING_ERROR. */
  PORT_ERRORS: 3,
  /** How often a port was left unread because no slot was free (the ports stay ready, and `receive` returns at once). */
  OUT_OF_SLOTS: 4,
  /** Microseconds of the millisecond in NOW_MS, 0 to 999. */
  NOW_MICROSECONDS: 5,
  /**
   * Nanoseconds from the end of the last `receive` that brought frames to the beginning of the one after it: how long the
   * router had the burst, its sending included. At most 2^31 - 1.
   */
  BUSY_NS: 6,
  /** The errno for which the engine has given up its ring (`useRing`); 0 while it has none to tell. */
  RING_ERROR: 7,
  WORDS: 16,
} as const;

/** Per-port counters in `EngineMemory.portCounters`, `COUNT` doubles for each port. */
export const PortCounter = {
  RX_FRAMES: 0,
  RX_BYTES: 1,
  TX_FRAMES: 2,
  TX_BYTES: 3,
  /** Frames that the device would not take (EAGAIN, ENOBUFS): dropped. */
  TX_FULL: 4,
  /** Frames that the device refused (EIO, EINVAL, EMSGSIZE, ENETDOWN …): dropped. */
  TX_ERRORS: 5,
  /** Frames that did not fit a slot or had a malformed vnet header: dropped on receive. */
  RX_ERRORS: 6,
  COUNT: 8,
} as const;

/** Ports of a dataplane, by their indexes. */
export const PORT_LIMIT = 4096;
/** Bytes of `portCounters` for all of them. */
export const PORT_COUNTER_BYTES = PORT_LIMIT * PortCounter.COUNT * 8;

export interface EngineMemory {
  /**
   * `slotCount * slotBytes` bytes; each slot: 10-byte vnet header, then the Ethernet frame. A slot must be larger than
   * the largest frame of a TAP (65 535 bytes) and its vnet header: a slot that was filled to the end may hold a part only.
   */
  arena: ArrayBuffer;
  slotBytes: number;
  slotCount: number;
  /** Bytes in each slot, vnet header not counted. Written by `receive`, read by `transmit`. */
  slotLength: Int32Array;
  /** Last-in-first-out list of free slots, `slotCount` words; the number in use is `state[FREE_COUNT]`. */
  freeSlots: Int32Array;
  /** Slots and ports filled by `receive`, one entry a frame. */
  receivedSlot: Int32Array;
  receivedPort: Int32Array;
  /** Slots and ports that `transmit(n)` sends, in order. A slot may occur several times (flooding). */
  transmitSlot: Int32Array;
  transmitPort: Int32Array;
  /**
   * 0 for an entry that begins a frame; an entry with an offset appends what its slot holds from that byte of its
   * frame on to the frame before it (gathered writes, at most 64 entries a frame). Without the array every entry is a
   * frame. A frame with an invalid entry is not sent at all and counts as one TX_ERRORS.
   */
  transmitOffset?: Int32Array;
  state: Int32Array;
  /** The errno that took each port out of service, 0 while it works. */
  portErrors: Int32Array;
  portCounters: Float64Array;
}

export const PortKind = {
  /** TUN/TAP descriptor with IFF_NO_PI|IFF_VNET_HDR: one frame per read and write. */
  TAP: 0,
  /**
   * AF_PACKET socket: bursts by recvmmsg and sendmmsg. Without PACKET_VNET_HDR the vnet headers of what it receives are
   * zero, those of what it sends are ignored. VLAN tags that the kernel took off are put back (PACKET_AUXDATA).
   */
  PACKET: 1,
} as const;
export type PortKind = (typeof PortKind)[keyof typeof PortKind];

export interface Engine {
  /** Takes `fd` into the loop as port `port` (an index below the length of `portErrors`). The engine does not close it. */
  addPort(port: number, fd: number, kind: PortKind): void;
  /** Forgets the port. The caller closes the descriptor. */
  removePort(port: number): void;
  /** Adds a descriptor that ends a wait and sets CONTROL_READY when it is readable (level-triggered). */
  watchControl(fd: number): void;
  /**
   * Fills `receivedSlot`/`receivedPort` with at most `max` frames from all ports, fairly, and returns their number. A
   * burst also ends after 512 KiB. Waits at most `timeoutMs` when nothing is there (0: does not wait, -1: for
   * ever; fractions count, to the kernel's accuracy of about 0.05 ms); spins for `setSpin` microseconds of that first. Throws EBADF, like `transmit`, once the engine is closed.
   */
  receive(max: number, timeoutMs: number): number;
  /** Sends entries 0 to `count`-1 of `transmitSlot`/`transmitPort`; returns how many the devices took. Frees nothing. */
  transmit(count: number): number;
  /**
   * Lets reads and writes of TAPs share system calls (io_uring), or not; returns whether they do: a kernel may have no
   * io_uring, or forbid it (`kernel.io_uring_disabled`). Without a call they do not.
   */
  useRing(wanted: boolean): boolean;
  /** How long `receive` polls before it sleeps, in microseconds. 0 never spins. */
  setSpin(microseconds: number): void;
  close(): void;
}

export interface TapDevice {
  fd: number;
  ifname: string;
  /** TUN_F_* bits that the kernel took. */
  offloads: number;
}

export interface PacketSocket {
  fd: number;
  ifindex: number;
  /** MTU of the device in bytes. */
  mtu: number;
  /** Hardware address of the device, `aa:bb:cc:dd:ee:ff`. */
  mac: string;
}

export interface ReceivedMessage {
  bytes: Uint8Array;
  descriptors: number[];
  /** Descriptors came along and this process may have no more of them (EMFILE): there are none here. */
  isCut: boolean;
}

export interface Native {
  /** A memfd of `lengthBytes`, mapped shared and zeroed; of 2 MiB and more on huge pages, where this process may have them. */
  createMemory(name: string, lengthBytes: number): { fd: number; memory: ArrayBuffer };
  /** Maps the whole of what `createMemory` has made, shared. */
  mapMemory(fd: number): ArrayBuffer;
  /** Anonymous zeroed pages, advised to be huge where the kernel allows it. */
  allocateMemory(lengthBytes: number): ArrayBuffer;

  /**
   * Creates a TAP or attaches to the one of that name; it is down. `netns` is a path (`/run/netns/c1`,
   * `/proc/1234/ns/net`); without it the TAP is made in the caller's namespace. A TAP made in another namespace does not
   * keep that alive: when the namespace goes, so does the device, and its port fails with EBADFD. `offload: false` turns
   * all offloads off (a switch for tests).
   */
  openTap(options: { ifname: string; netns?: string; offload?: boolean }): TapDevice;
  /**
   * AF_PACKET socket bound to a device: promiscuous, outgoing frames ignored, vnet headers on. `outgoing: true` (for a
   * capture) also receives what the device sends. A device that goes down is no error of its port; one that is deleted
   * is (ENODEV).
   */
  openPacketSocket(options: {
    device: string;
    netns?: string;
    vnetHeader?: boolean;
    outgoing?: boolean;
    promiscuous?: boolean;
  }): PacketSocket;
  /** Runs `body` with the calling thread in another network namespace (children it spawns inherit it), then returns. */
  inNamespace<T>(netns: string, body: () => T): T;
  /** Moves the calling thread for good (before any other thread exists). */
  enterNamespace(netns: string): void;
  /** Throws EBADF for what is none. Whatever else Linux says, the descriptor is closed. */
  closeDescriptor(fd: number): void;

  /** An AF_UNIX SOCK_SEQPACKET pair, close-on-exec, non-blocking. */
  socketPair(): [number, number];
  /**
   * Sends one message; false when it cannot be sent now (nothing was sent): the peer has to read first, or the kernel lacks
   * memory. At most 64 KiB and 64 descriptors.
   */
  sendMessage(fd: number, bytes: Uint8Array, descriptors: number[]): boolean;
  /**
   * One message, null when there is none now, "closed" when the peer is gone. Descriptors are close-on-exec. Throws
   * EMSGSIZE for a message that is longer than `sendMessage` allows; its descriptors are closed.
   */
  receiveMessage(fd: number): ReceivedMessage | null | "closed";
  /** Calls back from the event loop whenever `fd` is readable, until the returned function is called. */
  watchReadable(fd: number, callback: () => void): () => void;

  /** Listens at a path for sequenced-packet connections (mode 0600, close-on-exec). The caller removes the file. */
  listenAt(path: string): number;
  /** Connects to such a place; throws EPERM where another user has made it. For `sendMessage` and `receiveMessage`. */
  connectTo(path: string): number;
  /** The next connection of a user (by number) that waits, null when there is none; those of other users are closed. */
  acceptFrom(fd: number, user: number): number | null;
  /**
   * Becomes another program, in the same process (execve(2)): descriptors that are close-on-exec are closed. Returns only by
   * throwing; then nothing has changed. `environment` is a list of `NAME=value`.
   */
  replaceProgram(file: string, args: readonly string[], environment: readonly string[]): never;
  /** Lets go of a child that an earlier program of this process has started; false while it still runs. */
  buryChild(pid: number): boolean;

  /**
   * A socket on which the kernel tells of changes in a namespace (rtnetlink(7)): `groups` are the bits of `RTMGRP_*`.
   * Messages come by `receiveMessage`, which throws ENOBUFS where some were lost, and go by `sendMessage`.
   */
  openRouteNetlink(options: { groups: number; netns?: string }): number;

  createEngine(memory: EngineMemory): Engine;
  /** CLOCK_MONOTONIC in milliseconds, as a double. */
  monotonicMilliseconds(): number;
  /** Whether this kernel has io_uring and lets this process use it. */
  hasRing(): boolean;
  /** Tries whether a ring refuses all but reading and writing; false also where there is no ring. */
  ringIsRestricted(): boolean;

  /**
   * Takes all capabilities but those of `bits` (1n << number, capabilities(7)) from the calling thread and from what it
   * starts, and sets no_new_privs. The bounding set stays as it is where CAP_SETPCAP is not held.
   */
  keepCapabilities(bits: bigint): void;
  /**
   * For a dataplane, once it has what it needs: no capabilities (of the calling thread), no core file, no_new_privs, and for
   * all threads a filter (seccomp(2)) under which every system call fails with EPERM that moving frames does not need. With
   * `mayOpen` files can be opened still. Throws EOPNOTSUPP on architectures other than x86-64 and arm64, where there is
   * no filter, after all the rest.
   */
  confine(options: { mayOpen: boolean }): void;
  /** Sends a service manager what sd_notify(3) describes; `path` is that of NOTIFY_SOCKET. */
  notifyService(path: string, text: string): void;
}

let loaded: Native | undefined;

/** The addon, loaded on first use; `TAPIR_ADDON` names another build of it (that of the sanitizers). */
export function native(): Native {
  loaded ??= createRequire(import.meta.url)(
    process.env.TAPIR_ADDON ?? join(packageRoot(), "native/build/Release/tapir.node"),
  ) as Native;
  return loaded;
}
