/**
 * IPFIX messages (RFC 7011 3): records are gathered until the next would not fit, or somebody flushes. Records of one
 * template that follow one another share a set. Templates go in front of the first message, and again whenever they are
 * asked for. A message's sequence number is how many data records were sent before it (modulo 2^32).
 */
import type { Template } from "./templates.ts";

const VERSION = 10;
const HEADER_BYTES = 16;
const SET_HEADER_BYTES = 4;
const TEMPLATE_SET = 2;

export interface MessageOptions {
  /** Bytes that a message has at most. */
  limitBytes: number;
  /** Observation domain, 32 bits. */
  domain: number;
  templates: readonly Template[];
  /** Takes a message, which is the taker's to keep, and how many data records are in it. */
  send(message: Uint8Array, records: number): void;
  /** Milliseconds since 1970. */
  clock(): number;
}

export class MessageBuilder {
  private readonly options: MessageOptions;
  private bytes: Uint8Array<ArrayBuffer>;
  private view: DataView;
  private end = HEADER_BYTES;
  /** Where the set that is open begins, and of which template it is; 0: none is. */
  private setAt = 0;
  private setId = 0;
  private records = 0;
  private sequence = 0;
  private areTemplatesDue = true;

  constructor(options: MessageOptions) {
    this.options = options;
    this.bytes = new Uint8Array(options.limitBytes);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Data records in the message that is being made. */
  get waiting(): number {
    return this.records;
  }

  /** The next message begins with the templates. */
  repeatTemplates(): void {
    this.areTemplatesDue = true;
  }

  /** Makes room for a record: where its fields are to be written, in `view`. */
  add({ id, bytes }: Template): RecordWriter {
    if (this.areTemplatesDue) this.writeTemplates();
    const needed = bytes + (this.setId === id ? 0 : SET_HEADER_BYTES);
    if (this.end + needed > this.options.limitBytes) this.flush();
    if (this.setId !== id) this.openSet(id);
    const at = this.end;
    this.end += bytes;
    this.records++;
    return new RecordWriter(this.view, at);
  }

  /** Sends what waits: records, or templates that are due. */
  flush(): void {
    if (this.areTemplatesDue) this.writeTemplates();
    if (this.end === HEADER_BYTES) return;
    this.closeSet();
    const { view, options, records } = this;
    view.setUint16(0, VERSION);
    view.setUint16(2, this.end);
    view.setUint32(4, Math.floor(options.clock() / 1000));
    view.setUint32(8, this.sequence);
    view.setUint32(12, options.domain);
    const message = this.bytes.subarray(0, this.end);
    this.sequence = (this.sequence + records) % 2 ** 32;
    this.bytes = new Uint8Array(options.limitBytes);
    this.view = new DataView(this.bytes.buffer);
    this.end = HEADER_BYTES;
    this.records = 0;
    options.send(message, records);
  }

  private openSet(id: number): void {
    this.closeSet();
    this.setAt = this.end;
    this.setId = id;
    this.end += SET_HEADER_BYTES;
  }

  private closeSet(): void {
    if (this.setAt === 0) return;
    this.view.setUint16(this.setAt, this.setId);
    this.view.setUint16(this.setAt + 2, this.end - this.setAt);
    this.setAt = 0;
    this.setId = 0;
  }

  /** A set of all templates, in a message that has nothing else yet. */
  private writeTemplates(): void {
    this.areTemplatesDue = false;
    if (this.end > HEADER_BYTES) this.flush();
    this.openSet(TEMPLATE_SET);
    const writer = new RecordWriter(this.view, this.end);
    for (const { id, fields } of this.options.templates) {
      writer.u16(id).u16(fields.length);
      for (const { id: element, bytes } of fields) writer.u16(element).u16(bytes);
    }
    this.end = writer.at;
    this.closeSet();
  }
}

/** Writes fields one behind the other, in network order. */
export class RecordWriter {
  private readonly view: DataView;
  at: number;

  constructor(view: DataView, at: number) {
    this.view = view;
    this.at = at;
  }

  u8(value: number): this {
    this.view.setUint8(this.at, value);
    this.at += 1;
    return this;
  }

  u16(value: number): this {
    this.view.setUint16(this.at, value);
    this.at += 2;
    return this;
  }

  u32(value: number): this {
    this.view.setUint32(this.at, value);
    this.at += 4;
    return this;
  }

  /** A whole number below 2^53. */
  u64(value: number): this {
    return this.u32(Math.floor(value / 2 ** 32)).u32(value % 2 ** 32);
  }
}
