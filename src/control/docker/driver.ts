/**
 * The network driver itself: what each of Docker's calls does to the state. A call is one step from a state to the next,
 * in force and in the file, or an error and nothing; one call at a time. Docker repeats a call that it has got no answer
 * to, as when the router ends in the middle: what is to be made may be there already, and what is to go may be gone.
 */

import { isDeepStrictEqual } from "node:util";
import type { Configuration } from "../configuration/configuration.ts";
import { derivedMac } from "../configuration/devices.ts";
import { TapirError, UnknownNameError } from "../errors.ts";
import { readNetwork, withoutLength } from "./options.ts";
import { withDocker } from "./overlay.ts";
import {
  type CreateEndpoint,
  type CreateNetwork,
  type EndpointRef,
  type Join,
  Label,
  type NetworkRef,
  type PortBinding,
  type Program,
} from "./protocol.ts";
import { publicationsOf } from "./publishing.ts";
import type { DockerEndpoint, DockerNetwork, DockerState } from "./state.ts";

/** Of an endpoint's id; with what is in front of it a device's name is full. */
const ID_DIGITS = 12;

/** What the driver works on: a router with a place to keep the state. */
export interface DriverHost {
  readonly state: DockerState;
  /** In force, Docker's part with it. */
  readonly configuration: Configuration;
  /** Puts a state in force and keeps it; when it throws, the former one is. */
  change(next: DockerState, detail: string): Promise<void>;
  /** Keeps a state that the router need not know of. */
  note(next: DockerState): void;
  /** Whether the endpoint's container and device are no more. */
  isGone(endpoint: DockerEndpoint): boolean;
}

export class DockerDriver {
  private readonly host: DriverHost;
  private last: Promise<unknown> = Promise.resolve();

  constructor(host: DriverHost) {
    this.host = host;
  }

  createNetwork(request: CreateNetwork): Promise<object> {
    return this.inTurn(async () => {
      const network = readNetwork(request);
      const next = this.copy();
      const there = next.networks[request.NetworkID];
      if (there !== undefined && !isDeepStrictEqual(there, network))
        throw new TapirError(`there is another network ${request.NetworkID}`);
      if (there !== undefined) return {};
      next.networks[request.NetworkID] = network;
      await this.host.change(next, `network create ${network.name}`);
      return {};
    });
  }

  deleteNetwork({ NetworkID }: NetworkRef): Promise<object> {
    return this.inTurn(async () => {
      const next = this.copy();
      const network = next.networks[NetworkID];
      if (network === undefined) return {};
      delete next.networks[NetworkID];
      for (const [id, endpoint] of Object.entries(next.endpoints)) {
        if (endpoint.network === NetworkID) delete next.endpoints[id];
      }
      await this.host.change(next, `network rm ${network.name}`);
      return {};
    });
  }

  /** Makes the device. Docker must not be told the address that it has given itself. */
  createEndpoint(request: CreateEndpoint): Promise<object> {
    return this.inTurn(async () => {
      const { NetworkID, EndpointID, Interface } = request;
      const next = this.copy();
      const network = networkIn(next, NetworkID);
      const address = withoutLength(Interface?.Address ?? "");
      if (address === "") throw new TapirError("an endpoint needs an IPv4 address");
      const given = Interface?.MacAddress ?? "";
      const mac = given === "" ? derivedMac(`${network.name}/${address}`) : given;
      const digits = EndpointID.slice(0, ID_DIGITS);
      const answer = { Interface: given === "" ? { MacAddress: mac } : {} };
      const there = next.endpoints[EndpointID];
      if (there !== undefined && (there.address !== address || there.mac !== mac))
        throw new TapirError(`there is another endpoint ${EndpointID}`);
      if (there !== undefined) return answer;
      this.forgetGone(next, NetworkID, address);
      next.endpoints[EndpointID] = {
        network: NetworkID,
        port: `ep-${digits}`,
        device: `tap${digits}`,
        address,
        mac,
        published: [],
        isGateway: false,
        place: "docker",
      };
      await this.host.change(next, `connect ep-${digits} to ${network.name}`);
      return answer;
    });
  }

  deleteEndpoint({ EndpointID }: EndpointRef): Promise<object> {
    return this.inTurn(async () => {
      const next = this.copy();
      const endpoint = next.endpoints[EndpointID];
      if (endpoint === undefined) return {};
      delete next.endpoints[EndpointID];
      await this.host.change(next, `disconnect ${endpoint.port}`);
      return {};
    });
  }

  /** What `docker inspect` may show. */
  endpointInfo({ EndpointID }: EndpointRef): Promise<object> {
    return this.inTurn(async () => {
      const { port, mac, published, address } = endpointIn(this.host.state, EndpointID);
      const ports = published.map(({ proto, port: hostPort, containerPort, address: hostAddress = "0.0.0.0" }) => ({
        Proto: proto === "tcp" ? 6 : 17,
        IP: address,
        Port: containerPort,
        HostIP: hostAddress,
        HostPort: hostPort,
        HostPortEnd: hostPort,
      }));
      return { Value: { [Label.MAC]: mac, [Label.PORT_MAP]: ports, port } };
    });
  }

  /** Hands the device over: Docker moves it into the container, names it and gives it its address. */
  join({ NetworkID, EndpointID, SandboxKey }: Join): Promise<object> {
    return this.inTurn(async () => {
      const next = this.copy();
      const { gateway, isInternal } = networkIn(next, NetworkID);
      const endpoint = endpointIn(next, EndpointID);
      endpoint.sandbox = SandboxKey;
      this.host.note(next);
      return {
        InterfaceName: { SrcName: endpoint.device, DstPrefix: "eth" },
        ...(isInternal || gateway === undefined ? {} : { Gateway: gateway }),
        // Without it, Docker would give a container without a gateway a bridge of its own.
        DisableGatewayService: true,
      };
    });
  }

  leave({ EndpointID }: EndpointRef): Promise<object> {
    return this.inTurn(async () => {
      const next = this.copy();
      const endpoint = next.endpoints[EndpointID];
      if (endpoint === undefined) return {};
      delete endpoint.sandbox;
      delete endpoint.ifname;
      this.host.note(next);
      return {};
    });
  }

  /** The container's way out is this network: its ports are published here. */
  publish({ NetworkID, EndpointID, Options }: Program): Promise<object> {
    return this.changePublished(EndpointID, (endpoint, next) => {
      const bindings = (Options?.[Label.PORT_MAP] ?? []) as PortBinding[];
      endpoint.isGateway = true;
      endpoint.published = [];
      const others = withDocker(this.host.configuration, next);
      endpoint.published = publicationsOf(bindings, networkIn(next, NetworkID), others);
    });
  }

  unpublish({ EndpointID }: EndpointRef): Promise<object> {
    if (this.host.state.endpoints[EndpointID] === undefined) return Promise.resolve({});
    return this.changePublished(EndpointID, (endpoint) => {
      endpoint.isGateway = false;
      endpoint.published = [];
    });
  }

  private changePublished(id: string, edit: (endpoint: DockerEndpoint, next: DockerState) => void): Promise<object> {
    return this.inTurn(async () => {
      const next = this.copy();
      const endpoint = endpointIn(next, id);
      const before = endpoint.published.length;
      edit(endpoint, next);
      // Most containers publish nothing, and the router has nothing to do.
      if (before + endpoint.published.length === 0) this.host.note(next);
      else
        await this.host.change(next, `${endpoint.published.length === 0 ? "unpublish" : "publish"} ${endpoint.port}`);
      return {};
    });
  }

  /**
   * A dockerd that was killed never says that its containers have ended: takes out those that are gone, and who has had
   * an address that Docker gives to somebody else now.
   */
  private forgetGone({ endpoints }: DockerState, network: string, address: string): void {
    for (const [id, endpoint] of Object.entries(endpoints)) {
      const isReplaced = endpoint.network === network && endpoint.address === address;
      if (isReplaced || this.host.isGone(endpoint)) delete endpoints[id];
    }
  }

  private copy(): DockerState {
    return structuredClone(this.host.state);
  }

  /** What changes the state, one after the other. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.last.then(work);
    this.last = done.catch(() => {});
    return done;
  }
}

function networkIn({ networks }: DockerState, id: string): DockerNetwork {
  const found = networks[id];
  if (found !== undefined) return found;
  throw new UnknownNameError(
    `the router does not know network ${id.slice(0, ID_DIGITS)}: it has lost its state file; remove the network and create it again`,
  );
}

function endpointIn({ endpoints }: DockerState, id: string): DockerEndpoint {
  const found = endpoints[id];
  if (found === undefined) throw new UnknownNameError(`the router does not know endpoint ${id.slice(0, ID_DIGITS)}`);
  return found;
}
