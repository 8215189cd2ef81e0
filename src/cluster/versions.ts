import { codeOf } from '../base/errors.ts';
import { apiVersionOf, type Kind } from '../model/kinds.ts';

/** An object in whatever version. */
type Fields = Record<string, unknown>;

/** A version of a kind that a server may have where it does not have those that we speak. */
interface OlderVersion {
  readonly version: string;
  /** An object of that version as one of ours. May change its argument. */
  fromServer(object: Fields): Fields;
  /** One of ours as one of that version. */
  toServer(object: Fields): Fields;
}

/** How one kind is spoken of with one server. */
export interface SpokenVersion {
  readonly apiVersion: string;
  readonly older?: OlderVersion;
}

const HOSTNAME = 'kubernetes.io/hostname';
const ZONE = 'topology.kubernetes.io/zone';

/** discovery.k8s.io/v1beta1, all that Kubernetes has before 1.21: where an endpoint is, is in its `topology`. */
const SLICE_V1BETA1: OlderVersion = {
  version: 'v1beta1',
  fromServer: slice => ({
    ...slice,
    apiVersion: 'discovery.k8s.io/v1',
    ...(Array.isArray(slice['endpoints']) && { endpoints: slice['endpoints'].map(endpointFromTopology) }),
  }),
  toServer: slice => ({
    ...slice,
    apiVersion: 'discovery.k8s.io/v1beta1',
    ...(Array.isArray(slice['endpoints']) && { endpoints: slice['endpoints'].map(endpointToTopology) }),
  }),
};

function endpointFromTopology({ topology, ...endpoint }: Fields): Fields {
  const { [HOSTNAME]: nodeName, [ZONE]: zone, ...rest } = (topology ?? {}) as Record<string, string>;
  return {
    // Newer servers have both, and the field goes before.
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    ...endpoint,
    ...(Object.keys(rest).length > 0 && { deprecatedTopology: rest }),
  };
}

function endpointToTopology({ nodeName, zone, deprecatedTopology, hints: _, ...endpoint }: Fields): Fields {
  const topology = {
    ...(deprecatedTopology as object | undefined),
    ...(nodeName === undefined ? {} : { [HOSTNAME]: nodeName }),
    ...(zone === undefined ? {} : { [ZONE]: zone }),
  };
  return Object.keys(topology).length > 0 ? { ...endpoint, topology } : endpoint;
}

/** By kind. The newest first. */
const OLDER: Record<string, readonly OlderVersion[]> = { EndpointSlice: [SLICE_V1BETA1] };

interface ApiGroup {
  versions?: { version?: string }[];
}

/**
 * Which version of a kind a server is spoken to in: ours wherever it has that. Of kinds that have no other nothing is
 * asked; of the rest once, by the group's discovery, until {@link SpokenVersions.forget}.
 */
export class SpokenVersions {
  readonly #ask: (path: string) => Promise<unknown>;
  readonly #known = new Map<Kind, Promise<SpokenVersion>>();

  /** `ask` gets a path of the server. */
  constructor(ask: (path: string) => Promise<unknown>) {
    this.#ask = ask;
  }

  /** @throws FimbriaError as the request for it, and then the next call asks again */
  of(kind: Kind): Promise<SpokenVersion> {
    const older = OLDER[kind.kind];
    if (older === undefined) return Promise.resolve({ apiVersion: kind.apiVersion });
    const known = this.#known.get(kind);
    if (known) return known;
    const asked = this.#discover(kind, older);
    this.#known.set(kind, asked);
    asked.catch(() => this.forget(kind));
    return asked;
  }

  /** What the server has may be another now, such as after its upgrade. */
  forget(kind: Kind): void {
    this.#known.delete(kind);
  }

  async #discover(kind: Kind, older: readonly OlderVersion[]): Promise<SpokenVersion> {
    const served = await this.#servedVersions(kind);
    const ours = { apiVersion: kind.apiVersion };
    if (kind.versions.some(version => served.includes(version))) return ours;
    const found = older.find(({ version }) => served.includes(version));
    return found ? { apiVersion: apiVersionOf(kind, found.version), older: found } : ours;
  }

  async #servedVersions({ group }: Kind): Promise<(string | undefined)[]> {
    try {
      const { versions = [] } = (await this.#ask(`/apis/${group}`)) as ApiGroup;
      return versions.map(({ version }) => version);
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return [];
      throw error;
    }
  }
}
