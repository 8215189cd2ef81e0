import { isDeepStrictEqual } from 'node:util';
import { crdSchemaOf, transitionFaults } from '../model/crd/index.ts';
import type { Kind } from '../model/kinds.ts';
import type { AnyObject, Deployment, Pod, ReplicaSet, Service } from '../model/types.ts';
import type { FieldFault } from './failure.ts';
import { brokenRule } from './validate.ts';

/** What may not change in an object that exists. Both objects are of the right structure. Pure. */
export function updateFaults(kind: Kind, next: AnyObject, old: AnyObject): FieldFault[] {
  const custom = kind.custom ? transitionFaults(crdSchemaOf(kind), next, old).map(brokenRule) : [];
  return [
    ...finalizerFaults(next, old),
    ...custom,
    ...(RULES[kind.kind]?.(next as never, old as never) ?? []),
  ];
}

const RULES: Record<string, (next: never, old: never) => FieldFault[]> = {
  Pod: (next: Pod, old: Pod) =>
    isDeepStrictEqual(frozenPodSpec(next), frozenPodSpec(old))
      ? []
      : [
          {
            field: 'spec',
            type: 'Forbidden',
            detail:
              'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
          },
        ],
  Deployment: (next: Deployment, old: Deployment) =>
    immutable('spec.selector', next.spec.selector, old.spec.selector),
  ReplicaSet: (next: ReplicaSet, old: ReplicaSet) =>
    immutable('spec.selector', next.spec.selector, old.spec.selector),
  Service: (next: Service, old: Service) =>
    old.spec.clusterIP && old.spec.type !== 'ExternalName' && next.spec.type !== 'ExternalName'
      ? immutable('spec.clusterIP', next.spec.clusterIP, old.spec.clusterIP)
      : [],
  ConfigMap: (next: AnyObject, old: AnyObject) =>
    old['immutable'] === true && !isDeepStrictEqual(dataOf(next), dataOf(old))
      ? [{ field: 'data', type: 'Forbidden', detail: 'field is immutable when `immutable` is set' }]
      : [],
};

function immutable(field: string, next: unknown, old: unknown): FieldFault[] {
  if (isDeepStrictEqual(next, old)) return [];
  return [{ field, type: 'Invalid value', value: next, detail: 'field is immutable' }];
}

function finalizerFaults(next: AnyObject, old: AnyObject): FieldFault[] {
  if (!old.metadata.deletionTimestamp) return [];
  const before = old.metadata.finalizers ?? [];
  const fresh = (next.metadata.finalizers ?? []).filter(name => !before.includes(name));
  if (fresh.length === 0) return [];
  const list = fresh.map(name => JSON.stringify(name)).join(', ');
  return [
    {
      field: 'metadata.finalizers',
      type: 'Forbidden',
      detail: `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`,
    },
  ];
}

function frozenPodSpec(pod: Pod): unknown {
  const {
    activeDeadlineSeconds: _deadline,
    tolerations: _tolerations,
    terminationGracePeriodSeconds: _grace,
    ...spec
  } = pod.spec;
  const withoutImage = (containers: Pod['spec']['containers'] = []): unknown[] =>
    containers.map(({ image: _image, ...container }) => container);
  return {
    ...spec,
    containers: withoutImage(spec.containers),
    initContainers: withoutImage(spec.initContainers),
  };
}

function dataOf(object: AnyObject): unknown {
  return [object['data'], object['binaryData'], object['immutable']];
}
