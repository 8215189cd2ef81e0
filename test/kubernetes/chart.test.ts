import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parseAllDocuments, parse as parseYaml } from 'yaml';
import { helmTemplateProgram } from '../../scripts/kubernetes/helm-template.mjs';
import { packageRoot, packageVersion } from '../../src/base/paths.ts';
import { loadValues, mergeValues, type Values } from '../../src/config/index.ts';
import { render } from '../../src/install/render.ts';
import type { KubeObject } from '../../src/model/meta.ts';

const program = helmTemplateProgram();
const chart = join(packageRoot(), 'deploy/chart');

/** What Helm makes of the chart, by the committed files. */
function helm(values: Values, kubernetes: string): KubeObject[] {
  const defaults = parseYaml(readFileSync(join(chart, 'values.yaml'), 'utf8')) as Values;
  const folder = join(chart, 'templates');
  const files = Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name))
      .map(path => [path.slice(chart.length + 1), readFileSync(path, 'utf8')]),
  );
  // Named as Helm names them for a chart: the checksum includes the ConfigMap's file by it.
  const input = {
    chart: files,
    values: mergeValues(defaults, values),
    namespace: 'kube-system',
    version: packageVersion(),
    kubernetes: `v${kubernetes}.0`,
  };
  const { status, stdout, stderr } = spawnSync(program, { input: JSON.stringify(input), encoding: 'utf8' });
  if (status !== 0) throw new Error(`helm-template: ${stderr}`);
  return parseAllDocuments(stdout).flatMap(document => {
    if (document.errors.length > 0) throw new Error(`${document.errors[0]!.message}\n${stdout}`);
    const object = document.toJS() as KubeObject | null;
    return object === null ? [] : [object];
  });
}

const OF_THE_INSTALLER = new Set([
  'app.kubernetes.io/managed-by',
  'cilium.io/cilium-configmap-checksum',
  'helm.sh/resource-policy',
]);

/** Without what must differ: who installs, and the checksum, which is over other bytes. Nothing is as good as empty. */
function comparable(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(comparable);
  if (typeof part !== 'object' || part === null) return part;
  return Object.fromEntries(
    Object.entries(part)
      .filter(([key]) => !OF_THE_INSTALLER.has(key))
      .map(([key, below]) => [key, comparable(below)] as const)
      .filter(([, below]) => below !== null && JSON.stringify(below) !== '{}')
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

const CASES: Record<string, string[]> = {
  defaults: [],
  'the first document, cluster-pool': [
    'ipam.mode=cluster-pool,ipam.operator.clusterPoolIPv4MaskSize=29',
    'ipam.operator.clusterPoolIPv4PodCIDRList={172.20.42.0/28,172.20.84.0/28,10.0.0.0/28}',
    'ipam.operator.clusterPoolGrowFullNodes=false',
  ],
  'the second document, multi-pool': [
    'ipam.mode=multi-pool,routingMode=native,autoDirectNodeRoutes=true,ipv4NativeRoutingCIDR=10.0.0.0/8',
    'endpointRoutes.enabled=true,ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.maskSize=27',
    'ipam.operator.autoCreateCiliumPodIPPools.default.ipv4.cidrs={10.10.0.0/16}',
    'ipam.operator.autoCreateCiliumPodIPPools.mars.ipv4.cidrs={10.20.0.0/16,10.30.0.0/16}',
    'ipam.operator.autoCreateCiliumPodIPPools.mars.ipv4.maskSize=27',
    'ipam.multiPoolPreAllocation=mars=4\\,default=8,ipam.defaultIPPool=mars',
  ],
  'host-scope, metrics, devices': [
    'ipam.mode=kubernetes,prometheus.enabled=true,prometheus.port=9000,devices={eth0,eth1},MTU=1400',
    'bpf.hostLegacyRouting=false,bpf.tcx=always,cni.exclusive=false',
  ],
  'a metrics address, scalars for lists': [
    'prometheus.serveAddr=127.0.0.1:9962,devices=eth0,ipam.operator.clusterPoolIPv4PodCIDRList=10.0.0.0/12',
  ],
  'another deployment': [
    'image.repository=registry.example/fimbria,image.tag=v1,image.digest=sha256:abc,imagePullSecrets[0].name=pull',
    'k8sServiceHost=10.0.0.1,k8sServicePort=443,debug.enabled=true,rollOutCiliumPods=false',
    'securityContext.privileged=true,cni.install=false,extraArgs={--a=1,--b=2},extraEnv[0].name=A,extraEnv[0].value=b',
    'podAnnotations.note=x,podLabels.team=net,resources.limits.memory=1Gi,healthPort=9878',
    'operator.replicas=1,operator.extraArgs={--c},operator.podLabels.team=ops,operator.removeNodeTaints=false',
    'updateStrategy.type=OnDelete',
  ],
  'a list for masquerade': [
    'ipMasqAgent.enabled=true,ipMasqAgent.config.nonMasqueradeCIDRs={10.0.0.0/8,192.0.2.0/24}',
    'ipMasqAgent.config.masqLinkLocal=true',
  ],
  'no operator': ['operator.enabled=false', 'affinity.nodeAffinity.x=1'],
};

for (const [name, sets] of Object.entries(CASES)) {
  for (const kubernetes of ['1.20', '1.32']) {
    test(`Helm renders what install applies: ${name}, Kubernetes ${kubernetes}`, t => {
      const values = loadValues([], sets);
      const { crds, objects } = render(values, { namespace: 'kube-system', kubernetes });
      const ours = [...crds, ...objects];
      const theirs = helm(values, kubernetes);
      const named = (objects: KubeObject[]) =>
        Object.fromEntries(objects.map(o => [`${o.kind} ${o.metadata.name}`, comparable(o)]));
      t.deepEqual(named(theirs), named(ours));
    });
  }
}

test('a change of the configuration changes the checksum that restarts agents', t => {
  const checksum = (sets: string[]): unknown => {
    const set = helm(loadValues([], sets), '1.32').find(({ kind }) => kind === 'DaemonSet') as KubeObject & {
      spec: { template: { metadata: { annotations: Record<string, string> } } };
    };
    return set.spec.template.metadata.annotations['cilium.io/cilium-configmap-checksum'];
  };
  t.regex(String(checksum([])), /^[0-9a-f]{64}$/);
  t.is(checksum([]), checksum(['operator.replicas=3']));
  t.not(checksum([]), checksum(['MTU=1400']));
});
