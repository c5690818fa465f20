/** A strict reader of IPFIX messages (RFC 7011) as Tapir sends them; it knows templates from the messages alone. */
const ELEMENTS: Record<number, string> = {
  1: "octetDeltaCount",
  2: "packetDeltaCount",
  4: "protocolIdentifier",
  7: "sourceTransportPort",
  8: "sourceIPv4Address",
  11: "destinationTransportPort",
  12: "destinationIPv4Address",
  32: "icmpTypeCodeIPv4",
  136: "flowEndReason",
  148: "flowId",
  152: "flowStartMilliseconds",
  153: "flowEndMilliseconds",
  225: "postNATSourceIPv4Address",
  226: "postNATDestinationIPv4Address",
  227: "postNAPTSourceTransportPort",
  228: "postNAPTDestinationTransportPort",
  230: "natEvent",
  323: "observationTimeMilliseconds",
};

export type IpfixRecord = Record<string, number | string>;

export interface IpfixMessage {
  bytes: number;
  seconds: number;
  sequence: number;
  domain: number;
  templates: number[];
  records: IpfixRecord[];
}

type Templates = Map<number, { name: string; bytes: number }[]>;

export class IpfixReader {
  private readonly templates: Templates = new Map();

  read(message: Uint8Array): IpfixMessage {
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
    if (view.getUint16(0) !== 10) throw new Error("not version 10");
    if (view.getUint16(2) !== message.length) throw new Error("another length");
    const read: IpfixMessage = {
      bytes: message.length,
      seconds: view.getUint32(4),
      sequence: view.getUint32(8),
      domain: view.getUint32(12),
      templates: [],
      records: [],
    };
    for (let at = 16; at < message.length; ) {
      const id = view.getUint16(at);
      const end = at + view.getUint16(at + 2);
      if (end <= at + 4 || end > message.length) throw new Error("a set of a wrong length");
      if (id === 2) this.readTemplates(view, at + 4, end, read);
      else this.readRecords(view, id, at + 4, end, read);
      at = end;
    }
    return read;
  }

  private readTemplates(view: DataView, from: number, end: number, read: IpfixMessage): void {
    for (let at = from; at < end; ) {
      const id = view.getUint16(at);
      const count = view.getUint16(at + 2);
      if (id < 256) throw new Error("a template id below 256");
      const fields = Array.from({ length: count }, (_, index) => {
        const name = ELEMENTS[view.getUint16(at + 4 + index * 4)];
        if (name === undefined) throw new Error("an unknown element");
        return { name, bytes: view.getUint16(at + 6 + index * 4) };
      });
      this.templates.set(id, fields);
      read.templates.push(id);
      at += 4 + count * 4;
    }
  }

  private readRecords(view: DataView, id: number, from: number, end: number, read: IpfixMessage): void {
    const fields = this.templates.get(id);
    if (fields === undefined) throw new Error(`no template ${id}`);
    for (let at = from; at < end; ) {
      const record: IpfixRecord = {};
      for (const { name, bytes } of fields) {
        record[name] = name.endsWith("Address") ? addressAt(view, at) : numberAt(view, at, bytes);
        at += bytes;
      }
      if (at > end) throw new Error("a record beyond its set");
      read.records.push(record);
    }
  }
}

function addressAt(view: DataView, at: number): string {
  return [0, 1, 2, 3].map((index) => view.getUint8(at + index)).join(".");
}

function numberAt(view: DataView, at: number, bytes: number): number {
  let value = 0;
  for (let index = 0; index < bytes; index++) value = value * 256 + view.getUint8(at + index);
  return value;
}
