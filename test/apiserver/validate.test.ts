import test from 'ava';
import { parseAllDocuments } from 'yaml';
import { validate } from '../../src/apiserver/validate.ts';
import { kindOf } from '../../src/model/kinds.ts';
import type { AnyObject } from '../../src/model/types.ts';

/** Manifests as they stand in guides to Cilium. */
const MANIFESTS = `
apiVersion: cilium.io/v2alpha1
kind: CiliumPodIPPool
metadata: {name: vac}
spec: {ipv4: {cidrs: [10.100.0.0/16], maskSize: 29}}
---
apiVersion: "cilium.io/v2alpha1"
kind: CiliumLoadBalancerIPPool
metadata: {name: lb-ip-pool}
spec: {cidrs: [{cidr: "10.0.250.0/24"}]}
---
apiVersion: "cilium.io/v2alpha1"
kind: CiliumL2AnnouncementPolicy
metadata: {name: cilium-l2-announcement-policy}
spec: {externalIPs: true, loadBalancerIPs: true}
---
apiVersion: cilium.io/v2
kind: CiliumNodeConfig
metadata: {name: ip-pool-dc1, namespace: kube-system}
spec:
  defaults: {ipam-default-ip-pool: dc1-pool}
  nodeSelector: {matchLabels: {topology.kubernetes.io/zone: dc1}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx-vac}
spec:
  selector: {matchLabels: {app: nginx-vac}}
  replicas: 2
  template:
    metadata:
      labels: {app: nginx-vac}
      annotations: {ipam.cilium.io/ip-pool: vac}
    spec: {containers: [{name: nginx, image: nginx, ports: [{containerPort: 80}]}]}
`;

function check(object: AnyObject): { faults: string[]; unknown: string[] } {
  const { faults, unknown } = validate(kindOf(object)!, object);
  return { faults: faults.map(fault => `${fault.field}: ${fault.type}`), unknown };
}

test('manifests of the guides are accepted as they are', t => {
  for (const document of parseAllDocuments(MANIFESTS)) {
    const object = document.toJS() as AnyObject;
    t.deepEqual(check(object), { faults: [], unknown: [] }, object.kind);
  }
});

const pod = (spec: object): AnyObject => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec });
const service = (spec: object): AnyObject => ({ ...pod(spec), kind: 'Service' });
const cilium = (kind: string, spec: object, version = 'v2'): AnyObject => ({
  apiVersion: `cilium.io/${version}`,
  kind,
  metadata: { name: 'x' },
  spec,
});

test('each fault is named with its path and kind', t => {
  const cases: [AnyObject, string[]][] = [
    [pod({}), ['spec.containers: Required value']],
    [pod({ containers: [{ image: 'x' }] }), ['spec.containers[0].name: Required value']],
    [
      pod({
        containers: [
          { name: 'a', image: 'x' },
          { name: 'a', image: 'x' },
        ],
      }),
      ['spec.containers[1].name: Duplicate value'],
    ],
    [
      pod({ containers: [{ name: 'a', image: 'x', ports: [{ containerPort: 70000 }] }] }),
      ['spec.containers[0].ports[0].containerPort: Invalid value'],
    ],
    [
      pod({ containers: [{ name: 'a', image: 'x' }], restartPolicy: 'Sometimes' }),
      ['spec.restartPolicy: Unsupported value'],
    ],
    [service({}), ['spec.ports: Required value']],
    [
      service({ ports: [{ port: 1 }, { port: 2 }] }),
      [0, 1].map(at => `spec.ports[${at}].name: Required value`),
    ],
    [service({ clusterIP: 'None' }), []],
    [cilium('CiliumNode', { ipam: { podCIDRs: ['10.0.0.0/33'] } }), ['spec.ipam.podCIDRs[0]: Invalid value']],
    [
      cilium('CiliumNode', { addresses: [{ type: 'HomeIP', ip: '10.0.0.1' }] }),
      ['spec.addresses[0].type: Unsupported value'],
    ],
    [
      cilium('CiliumPodIPPool', { ipv4: { cidrs: [], maskSize: 24 } }, 'v2alpha1'),
      ['spec.ipv4.cidrs: Required value'],
    ],
    [{ ...cilium('CiliumIdentity', {}), spec: undefined }, ['security-labels: Required value']],
    [
      { ...pod({ containers: [{ name: 'a', image: 'x' }] }), metadata: { name: '' } },
      ['metadata.name: Required value'],
    ],
  ];
  for (const [object, faults] of cases) t.deepEqual(check(object).faults, faults);
});
