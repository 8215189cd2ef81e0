import type { Controller, ControllerSet } from '../base/controller.ts';
import { codeOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ServiceTable } from '../datapath/services/table.ts';
import type { EndpointSlice, Service } from '../model/types.ts';
import { ServiceCatalog, type ServiceNode, serviceOfSlice } from '../service/index.ts';
import type { ClusterView } from './cluster-view.ts';
import { type ServiceAction, ServiceTimes } from './metrics/service-times.ts';
import { ServiceHealthServers } from './service-health.ts';
import type { StaleSockets } from './stale-sockets.ts';

export interface ServiceSyncDeps {
  view: ClusterView;
  table: ServiceTable;
  /** Told when the table is whole. */
  sockets: Pick<StaleSockets, 'all'>;
  node: ServiceNode;
  controllers: ControllerSet;
  log: Logger;
  /** Told of a Service that has faults, whenever they are others than before. */
  onProblems(service: Service, problems: readonly string[]): void;
}

/**
 * Services of the cluster -> catalog -> the datapath's tables. A change goes through at once, and costs what its
 * Service costs. Until the view is whole nothing is written, so that what an earlier run left goes on serving.
 */
export class ServiceSync {
  readonly catalog: ServiceCatalog;
  /** For metrics. */
  readonly times = new ServiceTimes();
  readonly #deps: ServiceSyncDeps;
  readonly #sync: Controller;
  readonly #health: ServiceHealthServers;
  /** What was told of faults, by Service. */
  readonly #told = new Map<string, string>();
  #whole = false;

  constructor(deps: ServiceSyncDeps) {
    this.#deps = deps;
    this.catalog = new ServiceCatalog(deps.node);
    this.#health = new ServiceHealthServers(deps.log);
    this.#sync = deps.controllers.add({ name: 'sync-services', run: async () => this.#apply() });
    const changed = (): void => {
      if (this.#whole) this.#sync.kick();
    };
    const { catalog } = this;
    const also =
      <T>(act: (object: T) => void) =>
      (object: T): void => {
        act(object);
        changed();
      };
    const { view } = deps;
    const heard =
      (action: ServiceAction) =>
      (service: Service): void => {
        this.times.service(`${service.metadata.namespace}/${service.metadata.name}`, action);
        if (action === 'delete') catalog.deleteService(service);
        else catalog.setService(service);
      };
    view.services?.on({
      added: also(heard('add')),
      updated: also(heard('update')),
      deleted: also(heard('delete')),
    });
    const ofSlice =
      (act: (slice: EndpointSlice) => void) =>
      (slice: EndpointSlice): void => {
        const name = serviceOfSlice(slice);
        if (name) this.times.changed(name);
        act(slice);
      };
    view.slices?.on({
      added: also(ofSlice(slice => catalog.setSlice(slice))),
      updated: also(ofSlice(slice => catalog.setSlice(slice))),
      deleted: also(ofSlice(slice => catalog.deleteSlice(slice))),
    });
    view.pods.on({
      added: also(pod => catalog.setPod(pod)),
      updated: also(pod => catalog.setPod(pod)),
      deleted: also(pod => catalog.deletePod(pod)),
    });
  }

  /** Writes all that is known as soon as that is all there is; from then on what nobody wants goes. */
  first(): void {
    const { view, table, sockets, log } = this.#deps;
    view
      .synced()
      .then(async () => {
        this.#whole = true;
        await this.#sync.trigger();
        table.allowPrune();
        sockets.all();
        log.info('services are in the datapath', { ...table.entries });
      })
      .catch(error => {
        if (codeOf(error) !== 'ABORTED') log.warn('services are not in the datapath yet', { error });
      });
  }

  #apply(): void {
    const { table } = this.#deps;
    if (!this.catalog.isDirty) return;
    const changes = this.catalog.take();
    try {
      table.apply(changes);
      this.times.programmed(changes.keys());
    } catch (error) {
      this.catalog.again(codeOf(error) === 'MAP_FULL' ? table.refused.map(r => r.owner) : changes.keys());
      throw error;
    } finally {
      this.#health.update(this.catalog.healthChecks());
      for (const name of changes.keys()) this.#tell(name);
    }
  }

  /** No longer answers health checks; the datapath goes on. */
  close(): void {
    this.#health.close();
  }

  #tell(name: string): void {
    const service = this.catalog.service(name);
    const problems = service ? this.catalog.problems(name) : [];
    const text = problems.join('\n');
    if (text === (this.#told.get(name) ?? '')) return;
    if (text === '') this.#told.delete(name);
    else this.#told.set(name, text);
    if (service && text !== '') this.#deps.onProblems(service, problems);
  }
}
