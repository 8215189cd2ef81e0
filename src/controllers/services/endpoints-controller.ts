import { isDeepStrictEqual } from 'node:util';
import { codeOf, FimbriaError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ClusterClient, Informer } from '../../cluster/index.ts';
import { SERVICE_NAME_LABEL } from '../../model/labels.ts';
import type { EndpointSlice, Endpoints, KubeObject, NewObject, Pod, Service } from '../../model/types.ts';
import type { Informers } from '../informers.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import { keyOf, splitKey, uidOf } from '../objects.ts';
import { endpointsOf, followsPods, MANAGED_BY, MANAGER } from './endpoints.ts';

/** Keeps EndpointSlices and Endpoints of Services true to their Pods. */
export class EndpointsController {
  readonly #client: ClusterClient;
  readonly #services: Informer<Service>;
  readonly #pods: Informer<Pod>;
  readonly #slices: Informer<EndpointSlice>;
  readonly #endpoints: Informer<Endpoints>;
  readonly #queue: KeyedQueue;

  /** The informers are the caller's. */
  constructor(client: ClusterClient, informers: Informers, log: Logger) {
    this.#client = client;
    this.#services = informers.of<Service>('Service');
    this.#pods = informers.of<Pod>('Pod');
    this.#slices = informers.of<EndpointSlice>('EndpointSlice');
    this.#endpoints = informers.of<Endpoints>('Endpoints');
    this.#queue = new KeyedQueue({ run: key => this.#look(key), log: log.for('endpoints-controller') });
    const own = (object: Service | Endpoints): void => this.#queue.add(keyOf(object));
    const slice = ({ metadata }: EndpointSlice): void =>
      this.#queue.add(`${metadata.namespace}/${metadata.labels?.[SERVICE_NAME_LABEL] ?? ''}`);
    const pod = (object: Pod): void => this.#podChanged(object);
    this.#services.on({ added: own, updated: own });
    this.#endpoints.on({ added: own, updated: own, deleted: own });
    this.#slices.on({ added: slice, updated: slice, deleted: slice });
    this.#pods.on({
      added: pod,
      updated: (object, old) => {
        pod(object);
        if (!isDeepStrictEqual(object.metadata.labels, old.metadata.labels)) pod(old);
      },
      deleted: pod,
    });
  }

  close(): void {
    this.#queue.close();
  }

  #podChanged({ metadata }: Pod): void {
    for (const service of this.#services.list()) {
      if (service.metadata.namespace !== metadata.namespace) continue;
      const selector = Object.entries(service.spec.selector ?? {});
      if (selector.every(([key, value]) => metadata.labels?.[key] === value)) {
        this.#queue.add(keyOf(service));
      }
    }
  }

  async #look(key: string): Promise<undefined> {
    await Promise.all(
      [this.#services, this.#pods, this.#slices, this.#endpoints].map(informer => informer.synced),
    );
    const { namespace, name } = splitKey(key);
    const service = this.#services.get(name, namespace);
    if (!service || !followsPods(service)) return;
    const wanted = endpointsOf(service, this.#pods.list());
    const names = wanted.slices.map(({ metadata }) => metadata.name);
    const surplus = this.#slices.list().filter(({ metadata }) => {
      const { labels = {} } = metadata;
      const ours = labels[SERVICE_NAME_LABEL] === name && labels[MANAGED_BY] === MANAGER;
      return ours && metadata.namespace === namespace && !names.includes(metadata.name);
    });
    await Promise.all([
      ...wanted.slices.map(slice => this.#write(this.#slices, slice)),
      this.#write(this.#endpoints, wanted.endpoints),
    ]);
    // What replaces them is there: nobody sees a Service without.
    for (const slice of surplus) {
      await this.#client.delete('EndpointSlice', slice.metadata.name, { namespace, uid: uidOf(slice) });
    }
  }

  /** Creates or replaces. By an old copy it is refused and looked at again: nobody's newer write is lost. */
  async #write<T extends KubeObject>(informer: Informer<T>, wanted: NewObject<T>): Promise<void> {
    const { name = '', namespace = '', labels = {}, ownerReferences } = wanted.metadata;
    const present = informer.get(name, namespace);
    if (!present) return this.#create(wanted);
    const object = {
      ...present,
      ...wanted,
      metadata: { ...present.metadata, labels, ownerReferences },
    } as T;
    if (!isDeepStrictEqual(object, present)) await this.#client.update<T>(object);
  }

  async #create<T extends KubeObject>(wanted: NewObject<T>): Promise<void> {
    try {
      await this.#client.create<T>(wanted);
    } catch (error) {
      // Its namespace is going, and the Service with it.
      if (codeOf(error) === 'FORBIDDEN') return;
      if (codeOf(error) !== 'ALREADY_EXISTS') throw error;
      throw new FimbriaError({
        code: 'CONFLICT',
        op: 'create',
        object: `${wanted.kind} ${wanted.metadata.name}`,
        why: 'it is there, and the watch has not brought it yet',
        cause: error,
      });
    }
  }
}
