// Servers and clients of the tests with real programs; each prints "listening" when it can be asked, and a client prints
// what it found as JSON.
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer as createHttp, get } from "node:http";
import { createServer } from "node:net";

/** Bytes that say where they belong: a part that is lost, doubled or moved changes the hash. */
function content(length) {
  const words = new Uint32Array(length / 4);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 0x9e3779b1);
  return Buffer.from(words.buffer);
}

const hashOf = (bytes) => createHash("sha256").update(bytes).digest("hex");

const programs = {
  /** An HTTP server of one file, that names whom it sees. */
  "http-server": (port, length) => {
    const body = content(Number(length));
    createHttp((request, response) => {
      response.setHeader("x-client", request.socket.remoteAddress);
      response.end(body);
    }).listen({ host: "0.0.0.0", port: Number(port) }, () => console.log("listening"));
  },

  "http-client": (address, port, length) => {
    get({ host: address, port: Number(port), agent: false }, async (response) => {
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      const same = hashOf(Buffer.concat(chunks)) === hashOf(content(Number(length)));
      console.log(JSON.stringify({ same, client: response.headers["x-client"] }));
    }).on("error", (error) => {
      console.log(JSON.stringify({ error: error.code }));
    });
  },

  /** As much of an FTP server (RFC 959) as a passive download needs. */
  "ftp-server": (address, length) => {
    const file = content(Number(length));
    createServer((control) => {
      let data;
      const say = (line) => control.write(`${line}\r\n`);
      say("220 ready");
      control.setEncoding("ascii").on("data", (text) => {
        for (const line of text.split("\r\n").filter((each) => each !== "")) {
          const [command] = line.split(" ");
          if (command === "USER") say("331 password");
          else if (command === "PASS") say("230 in");
          else if (command === "TYPE") say("200 binary");
          else if (command === "QUIT") control.end("221 bye\r\n");
          else if (command === "PASV") {
            data = createServer((socket) => {
              socket.end(file, () => say("226 done"));
              data.close();
            }).listen({ host: address, port: 0 }, () => {
              const { port } = data.address();
              say(`227 Entering Passive Mode (${address.replaceAll(".", ",")},${port >> 8},${port & 255})`);
            });
          } else if (command === "RETR") say("150 here it comes");
          else say("502 no such command");
        }
      });
    }).listen({ host: address, port: 2121 }, () => console.log("listening"));
  },

  /** Answers from the end that is asked for, with the source that it has seen (as STUN servers do, RFC 5780). */
  "stun-server": (...addresses) => {
    const ends = addresses.flatMap((address) =>
      [3478, 3479].map((port) => ({ address, port, socket: createSocket("udp4") })),
    );
    let left = ends.length;
    for (const { address, port, socket } of ends) {
      socket.on("message", (text, from) => {
        const { replyFrom, number } = JSON.parse(text.toString());
        const other = replyFrom === undefined ? socket : ends[replyFrom].socket;
        other.send(JSON.stringify({ number, seen: `${from.address}:${from.port}` }), from.port, from.address);
      });
      socket.bind(port, address, () => {
        if (--left === 0) console.log("listening");
      });
    }
  },

  /** The tests of RFC 5780 4.3 and 4.4: what the NAT's mapping and filtering depend on. */
  "stun-client": async (own, port, ...addresses) => {
    const ends = addresses.flatMap((address) => [3478, 3479].map((each) => [each, address]));
    const mapping = createSocket("udp4");
    const filtering = createSocket("udp4");
    await new Promise((done) => mapping.bind(Number(port), own, done));
    await new Promise((done) => filtering.bind(Number(port) + 1, own, done));
    const answersOf = (socket, requests, last) =>
      new Promise((done) => {
        const answers = [];
        socket.on("message", (text) => {
          answers.push(JSON.parse(text.toString()));
          if (answers.at(-1).number === last) done(answers);
        });
        for (const [request, end] of requests) socket.send(JSON.stringify(request), ...ends[end]);
      });
    const seen = [];
    // One after the other, to both ports of both addresses.
    for (const end of ends.keys()) {
      const [{ seen: source }] = await answersOf(mapping, [[{ number: end }, end]], end);
      mapping.removeAllListeners("message");
      seen.push(source);
    }
    // The last answer comes from the end that was asked: what comes before it from others has been let in.
    const requests = [
      [{ number: 1, replyFrom: 1 }, 0],
      [{ number: 2, replyFrom: 3 }, 0],
      [{ number: 3 }, 0],
    ];
    const answers = await answersOf(filtering, requests, 3);
    const let_in = answers.map(({ number }) => number);
    const verdict = (from) =>
      let_in.includes(2) ? "endpoint-independent" : let_in.includes(1) ? "address-dependent" : from;
    console.log(
      JSON.stringify({
        mapping: new Set(seen).size === 1 ? "endpoint-independent" : "endpoint-dependent",
        filtering: verdict("address-and-port-dependent"),
      }),
    );
    mapping.close();
    filtering.close();
  },

  /** Takes a source port towards one end, so that another inside host cannot have it there. */
  "stun-occupy": async (own, port, address) => {
    const socket = createSocket("udp4");
    await new Promise((done) => socket.bind(Number(port), own, done));
    socket.on("message", () => {
      console.log(JSON.stringify({ occupied: true }));
      socket.close();
    });
    socket.send(JSON.stringify({ number: 0 }), 3478, address);
  },
};

const [program, ...words] = process.argv.slice(2);
await programs[program](...words);
