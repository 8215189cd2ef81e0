import type { LbFrontend } from '../datapath/services/types.ts';
import type { EndpointSlice, Pod, Service } from '../model/types.ts';
import { FrontendClaims } from './claims.ts';
import { type ServiceNode, type ServiceTranslation, serviceOfSlice, translateService } from './frontends.ts';
import { hostPortFrontends } from './host-ports.ts';

const keyOf = ({ metadata }: { metadata: { name: string; namespace?: string } }): string =>
  `${metadata.namespace ?? 'default'}/${metadata.name}`;
const podKey = (pod: Pod): string => `pod:${keyOf(pod)}`;

/**
 * All Services, slices and Pods with host ports, indexed so that a change costs what the Service costs that it
 * belongs to. Knows which of them changed since they were last taken.
 */
export class ServiceCatalog {
  readonly #node: ServiceNode;
  readonly #services = new Map<string, Service>();
  readonly #slices = new Map<string, Map<string, EndpointSlice>>();
  readonly #pods = new Map<string, Pod>();
  readonly #translations = new Map<string, ServiceTranslation>();
  readonly #claims = new FrontendClaims();
  /** Services that want a health check. */
  readonly #checked = new Set<string>();
  #dirty = new Set<string>();

  constructor(node: ServiceNode) {
    this.#node = node;
  }

  setService(service: Service): void {
    this.#services.set(keyOf(service), service);
    this.#dirty.add(keyOf(service));
  }

  deleteService(service: Service): void {
    if (this.#services.delete(keyOf(service))) this.#dirty.add(keyOf(service));
  }

  setSlice(slice: EndpointSlice): void {
    const owner = serviceOfSlice(slice);
    if (owner === undefined) return;
    const slices = this.#slices.get(owner) ?? new Map<string, EndpointSlice>();
    this.#slices.set(owner, slices.set(slice.metadata.name, slice));
    this.#dirty.add(owner);
  }

  deleteSlice(slice: EndpointSlice): void {
    const owner = serviceOfSlice(slice);
    const slices = owner === undefined ? undefined : this.#slices.get(owner);
    if (owner === undefined || !slices?.delete(slice.metadata.name)) return;
    if (slices.size === 0) this.#slices.delete(owner);
    this.#dirty.add(owner);
  }

  setPod(pod: Pod): void {
    if (hostPortFrontends(pod, this.#node.addresses).length === 0) this.deletePod(pod);
    else {
      this.#pods.set(podKey(pod), pod);
      this.#dirty.add(podKey(pod));
    }
  }

  deletePod(pod: Pod): void {
    if (this.#pods.delete(podKey(pod))) this.#dirty.add(podKey(pod));
  }

  get isDirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** Marks names as changed: what was made of them did not arrive. */
  again(names: Iterable<string>): void {
    for (const name of names) this.#dirty.add(name);
  }

  /** What changed since this was called last, by owner: `NAMESPACE/NAME` of a Service, `pod:…`; none for who is gone. */
  take(): Map<string, readonly LbFrontend[]> {
    const affected = new Set<string>();
    const wanted = this.#dirty;
    this.#dirty = new Set();
    for (const name of wanted) {
      const translation = this.#translate(name);
      const { externalTrafficPolicy, healthCheckNodePort } = this.#services.get(name)?.spec ?? {};
      if (healthCheckNodePort && externalTrafficPolicy === 'Local') this.#checked.add(name);
      else this.#checked.delete(name);
      if (translation) this.#translations.set(name, translation);
      else this.#translations.delete(name);
      const createdAt = (this.#services.get(name) ?? this.#pods.get(name))?.metadata.creationTimestamp ?? '';
      for (const other of this.#claims.claim({ name, createdAt }, translation?.frontends ?? []))
        affected.add(other);
    }
    return new Map(
      [...affected].map(name => [
        name,
        (this.#translations.get(name)?.frontends ?? []).filter(f => this.#claims.holder(f) === name),
      ]),
    );
  }

  service(name: string): Service | undefined {
    return this.#services.get(name);
  }

  /** What is wrong with a Service, for people: its own faults, and frontends that another has. */
  problems(name: string): string[] {
    const translation = this.#translations.get(name);
    if (!translation) return [];
    const taken = translation.frontends
      .filter(f => this.#claims.holder(f) !== name)
      .map(f => `${f.address}:${f.port} is already ${this.#claims.holder(f)}'s`);
    return [...translation.problems, ...new Set(taken)];
  }

  /** Services of policy Local that want a health check, with their ready endpoints here. */
  healthChecks(): { name: string; nodePort: number; localReady: number }[] {
    return [...this.#checked].map(name => ({
      name,
      nodePort: Number(this.#services.get(name)?.spec['healthCheckNodePort']),
      localReady: this.#translations.get(name)?.localReady ?? 0,
    }));
  }

  #translate(name: string): ServiceTranslation | undefined {
    const pod = this.#pods.get(name);
    if (pod) {
      const frontends = hostPortFrontends(pod, this.#node.addresses);
      return { frontends, problems: [], localReady: 0 };
    }
    const service = this.#services.get(name);
    if (!service) return undefined;
    return translateService(service, [...(this.#slices.get(name)?.values() ?? [])], this.#node);
  }
}
