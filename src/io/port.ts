/**
 * The port interface: all that the dataplane knows of devices. Frames move in bursts between the devices and the
 * slots of the arena; arrays say which slot goes with which port.
 */
export interface FrameIo {
  /** Slots and ports of the frames that the last `receive` brought. */
  readonly receivedSlot: Int32Array;
  readonly receivedPort: Int32Array;
  /** Slots and ports that `transmit` sends, in order. A slot may occur several times. */
  readonly transmitSlot: Int32Array;
  readonly transmitPort: Int32Array;
  /**
   * 0 for an entry that begins a frame; one with an offset appends what its slot holds from that byte of its frame on to
   * the frame before it, of the same port.
   */
  readonly transmitOffset: Int32Array;
  /** Brings at most `max` frames, waiting at most `timeoutMs` when there is none; returns how many. */
  receive(max: number, timeoutMs: number): number;
  /** Sends the first `count` entries of the transmit arrays; returns how many the devices took. Frees no slot. */
  transmit(count: number): number;
}
