import { FimbriaError } from '../base/errors.ts';
import { packageVersion } from '../base/paths.ts';
import type { ClusterClient } from '../cluster/index.ts';
import { checkUpgrade, loadValues, parseFlat, type Values } from '../config/index.ts';
import type { KubeObject } from '../model/meta.ts';
import { reachableApiServer } from './api-server.ts';
import {
  findInstallation,
  type Installation,
  installationObject,
  refuseElsewhere,
  refuseForeign,
  runningConfig,
} from './installation.ts';
import { OURS_SELECTOR } from './manifests/names.ts';
import { type Rendered, render } from './render.ts';
import { type Outcome, REMOVAL_ORDER, Resources } from './resources.ts';
import { COMPONENTS, progressOf, readComponent, type Waiting, waitUntil } from './rollout.ts';

/** Where and how an installation is changed. */
export interface InstallContext {
  client: ClusterClient;
  namespace: string;
  /** A line of progress. */
  say(line: string): void;
  /** How long to wait for agents and operator; 0 does not wait. */
  waitMs: number;
  signal: AbortSignal;
}

export interface ValueSources {
  files: readonly string[];
  sets: readonly string[];
}

/**
 * Installs, or goes on with an installation that was interrupted. Everything is checked before anything is changed.
 * @throws FimbriaError ALREADY_EXISTS when there is one, CONFLICT when the names are somebody else's, BAD_VALUES, TIMEOUT
 */
export async function install(context: InstallContext, sources: ValueSources): Promise<void> {
  const resources = new Resources(context.client);
  const before = await findInstallation(resources, context.namespace);
  if (before?.complete) {
    throw new FimbriaError({
      code: 'ALREADY_EXISTS',
      op: 'install',
      object: `into namespace ${context.namespace}`,
      why: `Fimbria ${before.version} is there`,
      hint: 'to change it: fimbria upgrade',
    });
  }
  await bring(context, resources, loadValues(sources.files, sources.sets), before);
}

/**
 * Changes an installation: merges values over those it has (over nothing with `reset`) and rolls what they concern.
 * @throws FimbriaError NOT_FOUND when there is none, BAD_VALUES for what a running cluster cannot change, TIMEOUT
 */
export async function upgrade(
  context: InstallContext,
  sources: ValueSources & { reset: boolean },
): Promise<void> {
  const resources = new Resources(context.client);
  const before = await findInstallation(resources, context.namespace);
  if (before === undefined) {
    throw new FimbriaError({
      code: 'NOT_FOUND',
      op: 'upgrade',
      object: `namespace ${context.namespace}`,
      why: 'Fimbria is not installed there',
      hint: 'install it first: fimbria install',
    });
  }
  const base = sources.reset ? {} : before.values;
  await bring(context, resources, loadValues(sources.files, sources.sets, base), before);
}

async function bring(
  context: InstallContext,
  resources: Resources,
  values: Values,
  before: Installation | undefined,
): Promise<void> {
  const { client, namespace, say } = context;
  const { gitVersion = '', major, minor } = await client.serverVersion();
  const effective = await reachableApiServer(client, resources, values, say);
  const rendered = render(effective, { namespace, kubernetes: `${major}.${minor}` });
  await refuseElsewhere(resources, namespace, 'install into');
  await refuseForeign(resources, namespace);
  const running = await runningConfig(resources, namespace);
  if (running !== undefined) checkUpgrade(parseFlat(running), parseFlat(rendered.flat));
  for (const warning of rendered.warnings) say(`warning: ${warning}`);

  const from = before?.complete && before.version !== packageVersion() ? ` (from ${before.version})` : '';
  say(
    `Fimbria ${packageVersion()}${from} into ${namespace} of ${client.config.server} (Kubernetes ${gitVersion})`,
  );
  await resources.apply(installationObject(namespace, values, 'installing'));
  await applyAll(context, resources, rendered);
  await prune(context, resources, rendered.objects);
  if (context.waitMs > 0) await waitForComponents(context, resources);
  await resources.apply(installationObject(namespace, values, 'deployed'));
  say(
    context.waitMs > 0
      ? 'done: see `fimbria status --cluster`'
      : 'applied; see `fimbria status --cluster --wait`',
  );
}

async function applyAll(
  { say, signal }: InstallContext,
  resources: Resources,
  rendered: Rendered,
): Promise<void> {
  const groups: [string, KubeObject[]][] = [['CustomResourceDefinitions', rendered.crds]];
  for (const object of rendered.objects) {
    const title =
      object.kind === 'DaemonSet' || object.kind === 'Deployment'
        ? `${object.kind} ${object.metadata.name}`
        : '';
    const named =
      title || (object.kind === 'ConfigMap' ? `ConfigMap ${object.metadata.name}` : 'accounts and roles');
    const group = groups.find(([name]) => name === named);
    if (group) group[1].push(object);
    else groups.push([named, [object]]);
  }
  for (const [name, objects] of groups) {
    const counts = new Map<Outcome, number>();
    for (const object of objects) {
      signal.throwIfAborted();
      const outcome = await resources.apply(object);
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
    const words = [...counts].map(([outcome, count]) =>
      objects.length === 1 ? outcome : `${count} ${outcome}`,
    );
    say(`${name}: ${words.join(', ')}`);
  }
}

/** Removes what an earlier version or other values made and these do not. */
async function prune(
  { namespace, say }: InstallContext,
  resources: Resources,
  wanted: readonly KubeObject[],
): Promise<void> {
  const keep = new Set(wanted.map(({ kind, metadata }) => `${kind}/${metadata.name}`));
  for (const kind of REMOVAL_ORDER) {
    for (const { metadata } of await resources.list(kind, OURS_SELECTOR, namespace)) {
      const isValues = metadata.labels?.['app.kubernetes.io/name'] === 'fimbria-values';
      if (keep.has(`${kind}/${metadata.name}`) || isValues) continue;
      await resources.remove(kind, metadata.name, metadata.namespace);
      say(`${kind} ${metadata.name}: removed, it is not needed any more`);
    }
  }
}

async function waitForComponents(context: InstallContext, resources: Resources): Promise<void> {
  const { client, namespace, say, signal } = context;
  const waiting: Waiting = { say, signal, deadlineMs: performance.now() + context.waitMs };
  await Promise.all(
    COMPONENTS.map(async ({ kind, name }) => {
      const what = `${kind} ${name}`;
      let last = '';
      await waitUntil(what, waiting, async () => {
        const component = await readComponent(client, resources, { kind, name, namespace });
        if (component === undefined) return undefined;
        last = progressOf(component);
        const [problem] = component.errors;
        return problem === undefined ? undefined : `${last}; ${problem}`;
      });
      if (last) say(`${what}: ${last}`);
    }),
  );
}
