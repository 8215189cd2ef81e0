import test, { type ExecutionContext } from 'ava';
import type { Pod } from '../../src/model/types.ts';
import { KUBECTLS, type Kubectl, withKubectl } from './kubectl.ts';

/** What people do with kubectl, with the oldest and with a current one, against the embedded server. */
function each(
  title: string,
  body: (t: ExecutionContext, kubectl: Kubectl, version: string) => Promise<void>,
): void {
  for (const release of KUBECTLS) {
    test(`kubectl ${release.version}: ${title}`, async t =>
      body(t, await withKubectl(t, release), release.version));
  }
}

/** Manifests as guides to Cilium have them. */
const GUIDES = `
apiVersion: cilium.io/v2alpha1
kind: CiliumPodIPPool
metadata:
  name: vac
spec:
  ipv4:
    cidrs:
      - 10.100.0.0/16
    maskSize: 29
---
apiVersion: cilium.io/v2alpha1
kind: CiliumPodIPPool
metadata:
  name: mars
spec:
  ipv4:
    cidrs:
    - 10.20.0.0/16
    maskSize: 27
---
apiVersion: cilium.io/v2
kind: CiliumNodeConfig
metadata:
  name: ip-pool-dc1
  namespace: kube-system
spec:
  defaults:
    ipam-default-ip-pool: dc1-pool
  nodeSelector:
    matchLabels:
      topology.kubernetes.io/zone: dc1
---
apiVersion: "cilium.io/v2alpha1"
kind: CiliumLoadBalancerIPPool
metadata:
  name: lb-ip-pool
spec:
  cidrs:
    - cidr: "10.0.250.0/24"
---
apiVersion: "cilium.io/v2alpha1"
kind: CiliumL2AnnouncementPolicy
metadata:
  name: cilium-l2-announcement-policy
spec:
  externalIPs: true
  loadBalancerIPs: true
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx-vac
spec:
  selector:
    matchLabels:
      app: nginx-vac
  replicas: 2
  template:
    metadata:
      labels:
        app: nginx-vac
      annotations:
        ipam.cilium.io/ip-pool: vac # the name of the pool
    spec:
      containers:
        - name: nginx
          image: nginx
          ports:
            - containerPort: 80
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: nginx-vac}, ports: [{port: 80, nodePort: 31181, name: http}]}
`;

const NODE = `
apiVersion: v1
kind: Node
metadata: {name: w1, labels: {zone: a}}
status:
  addresses: [{type: InternalIP, address: 192.168.10.101}]
  capacity: {cpu: "2", memory: 4Gi, pods: "110"}
  allocatable: {cpu: "2", memory: 4Gi, pods: "110"}
  conditions: [{type: Ready, status: "True"}]
`;

const pod = (name: string, node = 'w1'): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, labels: {app: ${name}}}
spec:
  nodeName: ${node}
  containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]
---`;

/** Columns of the first line of a table. */
const heads = (output: string): string[] => output.split('\n')[0]!.trim().split(/ {2,}/);

each('applies what guides show, and again without a change', async (t, kubectl) => {
  const first = await kubectl.run('apply -f -', GUIDES);
  t.is(first.match(/ created$/gm)?.length, 7, first);
  const again = await kubectl.run('apply -f -', GUIDES);
  t.is(again.match(/ unchanged$/gm)?.length, 7, again);
  const changed = await kubectl.run('apply -f -', GUIDES.replace('image: nginx\n', 'image: nginx:1.25\n'));
  t.regex(changed, /deployment\.apps\/nginx-vac configured/);
  t.is(
    await kubectl.run("get deploy nginx-vac -o 'jsonpath={.spec.template.spec.containers[*].image}'"),
    'nginx:1.25',
  );
  const fewer = GUIDES.replace(
    '      annotations:\n        ipam.cilium.io/ip-pool: vac # the name of the pool\n',
    '',
  );
  await kubectl.run('apply -f -', fewer);
  const template = await kubectl.run("get deploy nginx-vac -o 'jsonpath={.spec.template.metadata}'");
  t.false(template.includes('ip-pool'), template);
  const gone = await kubectl.run('delete -f -', GUIDES);
  t.is(gone.match(/ deleted/g)?.length, 7, gone);
});

each('prints the columns of Kubernetes', async (t, kubectl) => {
  await kubectl.run('apply -f -', `${NODE}---${pod('a')}${GUIDES}`);
  const event = { namespace: 'default', name: 'a.1' };
  const { local } = kubectl.cluster;
  await local().create({
    apiVersion: 'v1',
    kind: 'Event',
    metadata: event,
    involvedObject: { kind: 'Pod', name: 'a', namespace: 'default' },
    reason: 'Scheduled',
    message: 'assigned',
    type: 'Normal',
    lastTimestamp: '2026-01-01T00:00:00Z',
  } as never);
  const cases: [string, string[]][] = [
    ['get po', ['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE']],
    [
      'get po -o wide',
      ['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE', 'IP', 'NODE', 'NOMINATED NODE', 'READINESS GATES'],
    ],
    ['get po -A', ['NAMESPACE', 'NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE']],
    ['get no', ['NAME', 'STATUS', 'ROLES', 'AGE', 'VERSION']],
    ['get deploy', ['NAME', 'READY', 'UP-TO-DATE', 'AVAILABLE', 'AGE']],
    ['get svc', ['NAME', 'TYPE', 'CLUSTER-IP', 'EXTERNAL-IP', 'PORT(S)', 'AGE']],
    ['get events', ['LAST SEEN', 'TYPE', 'REASON', 'OBJECT', 'MESSAGE']],
    ['get ns', ['NAME', 'STATUS', 'AGE']],
    ['get crd', ['NAME', 'CREATED AT']],
    ['get ciliumpodippools', ['NAME', 'AGE']],
    ['get ippools', ['NAME', 'DISABLED', 'CONFLICTING', 'IPS AVAILABLE', 'AGE']],
  ];
  for (const [command, expected] of cases) t.deepEqual(heads(await kubectl.run(command)), expected, command);
  t.regex(await kubectl.run('get po -o wide'), /^a +0\/1 +Pending +0 +\d+s +<none> +w1 +<none> +<none>$/m);
  t.regex(await kubectl.run('get svc web'), /^web +LoadBalancer +\S+ +<pending> +80:31181\/TCP +\d+s$/m);
  t.regex(await kubectl.run('get no'), /^w1 +Ready +<none>/m);
});

each('prints nodes of Cilium as guides do', async (t, kubectl) => {
  const addresses = [
    { type: 'InternalIP', ip: '192.168.10.100' },
    { type: 'CiliumInternalIP', ip: '172.20.2.225' },
  ];
  const spec = { addresses, ipam: { podCIDRs: ['172.20.2.0/24', '172.20.3.0/24'] } };
  const node = { apiVersion: 'cilium.io/v2', kind: 'CiliumNode', metadata: { name: 'cilium-ctr' }, spec };
  await kubectl.run('create -f -', JSON.stringify(node));
  const table = await kubectl.run('get ciliumnodes');
  t.deepEqual(heads(table), ['NAME', 'CILIUMINTERNALIP', 'INTERNALIP', 'AGE']);
  t.regex(table, /^cilium-ctr +172\.20\.2\.225 +192\.168\.10\.100 +\d+s$/m);
  const path = '{range .items[*]}{.metadata.name}{" "}{.spec.ipam.podCIDRs[*]}{"\\n"}{end}';
  t.is(await kubectl.run(`get ciliumnode -o 'jsonpath=${path}'`), 'cilium-ctr 172.20.2.0/24 172.20.3.0/24\n');
  t.regex(await kubectl.run('get ciliumnodes cilium-ctr -o yaml'), /podCIDRs:\n\s+- 172\.20\.2\.0\/24/);
  t.regex(await kubectl.run('describe ciliumnodes.cilium.io cilium-ctr'), /Pod CID Rs:\n +172\.20\.2\.0\/24/);
});

each('creates, labels, annotates, patches, scales, selects and deletes', async (t, kubectl) => {
  t.is(
    await kubectl.run('create deployment netshoot --image nginx --replicas 2'),
    'deployment.apps/netshoot created\n',
  );
  t.is(await kubectl.run('scale deployment netshoot --replicas=20'), 'deployment.apps/netshoot scaled\n');
  t.is(await kubectl.run("get deploy netshoot -o 'jsonpath={.spec.replicas}'"), '20');
  await kubectl.run('create namespace cilium-test');
  await kubectl.run('annotate namespace cilium-test ipam.cilium.io/ip-pool=mars');
  const annotation = "'jsonpath={.metadata.annotations.ipam\\.cilium\\.io/ip-pool}'";
  t.is(await kubectl.run(`get ns cilium-test -o ${annotation}`), 'mars');
  await kubectl.run('create configmap one --from-literal a=b');
  await kubectl.run('create configmap two --from-literal a=b');
  await kubectl.run('create service clusterip web --tcp=80:8080');
  await kubectl.run('create serviceaccount robot');
  t.is(await kubectl.run("get svc web -o 'jsonpath={.spec.ports[0].targetPort}'"), '8080');
  await kubectl.run('label cm one tier=front');
  t.is(await kubectl.run('get cm -l tier=front -o name'), 'configmap/one\n');
  t.is(await kubectl.run("get cm -l 'tier notin (front)' -o name"), 'configmap/two\n');
  t.is(await kubectl.run('get cm --field-selector metadata.name=two -o name'), 'configmap/two\n');
  t.regex(await kubectl.run('get cm --show-labels'), /^one .* tier=front$/m);
  await kubectl.run('label cm one tier-');
  await kubectl.run(`patch cm one --type merge -p '{"data":{"a":null,"c":"d"}}'`);
  await kubectl.run(`patch cm one -p '{"data":{"e":"f"}}'`);
  await kubectl.run(`patch cm one --type json -p '[{"op":"remove","path":"/data/e"}]'`);
  t.deepEqual(JSON.parse(await kubectl.run('get cm one -o json')).data, { c: 'd' });
  await kubectl.run('delete cm one two');
  await kubectl.run('delete ns cilium-test');
  t.is((await kubectl.attempt('get ns cilium-test')).status, 1);
  t.regex((await kubectl.attempt('get po nobody')).stderr, /pods "nobody" not found/);
});

each('tells what is wrong, and stores nothing of it', async (t, kubectl, version) => {
  await kubectl.run('apply -f -', GUIDES);
  const patch = (spec: object) =>
    kubectl.attempt(`patch cpip vac --type merge -p '${JSON.stringify({ spec: { ipv4: spec } })}'`);
  const cases: [object, RegExp][] = [
    [{ maskSize: 28 }, /spec\.ipv4\.maskSize: Invalid value: 28: maskSize is immutable/],
    [
      { cidrs: ['10.101.0.0/16'] },
      /spec\.ipv4\.cidrs: Invalid value: ranges can be appended, but not removed/,
    ],
    [
      { cidrs: ['10.100.0.0/16', '10.100.4.0/24'] },
      /spec\.ipv4\.cidrs: Invalid value: ranges must not overlap/,
    ],
    [
      { cidrs: ['10.100.0.0/16', '10.1.0.0/33'] },
      /spec\.ipv4\.cidrs\[1\] in body must be of type cidr: "10\.1\.0\.0\/33"/,
    ],
    [
      { cidrs: ['10.100.0.0/16', '10.1.0.1/16'] },
      /spec\.ipv4\.cidrs\[1\]: Invalid value: "10\.1\.0\.1\/16": must not have bits set behind the prefix/,
    ],
    [
      { cidrs: ['10.100.0.0/16', 'fd00::/64'] },
      /spec\.ipv4\.cidrs\[1\]: Invalid value: "fd00::\/64": must be an IPv4 range/,
    ],
  ];
  for (const [spec, message] of cases) {
    const { status, stderr } = await patch(spec);
    t.is(status, 1, JSON.stringify(spec));
    t.regex(stderr, message);
    t.regex(stderr, /The CiliumPodIPPool "vac" is invalid:/);
  }
  t.is(
    await kubectl.run("get cpip vac -o 'jsonpath={.spec.ipv4}'").then(text => JSON.parse(text).maskSize),
    29,
  );
  const grown = await patch({ cidrs: ['10.100.0.0/16', '10.101.0.0/16'] });
  t.is(grown.status, 0, grown.stderr);
  // Old clients compare with OpenAPI by themselves, new ones ask the server to.
  const misspelt = await kubectl.attempt(
    'apply -f -',
    pod('typo').replace('image: nginx', 'imagee: x, image: nginx'),
  );
  t.is(misspelt.status, 1);
  t.regex(
    misspelt.stderr,
    version === '1.20'
      ? /unknown field "imagee" in io\.k8s\.api\.core\.v1\.Container/
      : /unknown field "spec\.containers\[0\]\.imagee"/,
  );
  const serverSide = await kubectl.attempt('apply --server-side -f -', pod('p'));
  t.is(serverSide.status, 1);
  t.regex(serverSide.stderr, /server-side apply is not supported here: apply without --server-side/);
  const definition = await kubectl.attempt('delete crd ciliumnodes.cilium.io');
  t.regex(definition.stderr, /does not allow this method/);
  const stale = JSON.parse(await kubectl.run('get cpip mars -o json'));
  await kubectl.run('label cpip mars a=b');
  const conflict = await kubectl.attempt('replace -f -', JSON.stringify(stale));
  t.regex(conflict.stderr, /\(Conflict\).*the object has been modified/);
});

each('watches', async (t, kubectl) => {
  await kubectl.run('apply -f -', pod('a'));
  const watch = kubectl.start('get pods --watch');
  t.regex(await watch.line(), /^NAME +READY +STATUS +RESTARTS +AGE/);
  t.regex(await watch.line(), /^a +0\/1 +Pending/);
  const client = kubectl.cluster.local();
  await client.patch<Pod>(
    'pod',
    'a',
    { status: { phase: 'Running' } },
    { namespace: 'default', subresource: 'status' },
  );
  t.regex(await watch.line(), /^a +0\/1 +Running/);
  await kubectl.run('apply -f -', pod('b'));
  t.regex(await watch.line(), /^b +0\/1 +Pending/);
  const objects = kubectl.start(
    'get pods --watch-only -o \'jsonpath={.metadata.name} {.status.phase}{"\\n"}\' -l app=b',
  );
  // Whether the watch has begun, only its first event tells.
  let seen = false;
  const line = objects.line().then(text => {
    seen = true;
    return text;
  });
  for (let i = 0; !seen; i++) await kubectl.run(`annotate pod b --overwrite n=${i}`);
  t.is(await line, 'b Pending');
});

each('describes, with events', async (t, kubectl) => {
  await kubectl.run('apply -f -', `${NODE}---${pod('a')}${GUIDES}`);
  const client = kubectl.cluster.local();
  for (const [kind, name, namespace] of [
    ['Pod', 'a', 'default'],
    ['Node', 'w1', undefined],
    ['CiliumPodIPPool', 'vac', undefined],
  ] as const) {
    const { metadata, apiVersion } = await client.get(kind, name, namespace);
    // The kubelet's events of a node bear its name as uid.
    const uid = kind === 'Node' ? name : metadata.uid;
    await client.create({
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name}.1`, namespace: 'default' },
      involvedObject: { apiVersion, kind, name, uid, ...(namespace && { namespace }) },
      reason: 'Told',
      message: `about ${kind}`,
      type: 'Normal',
      source: { component: 'test' },
      firstTimestamp: '2026-01-01T00:00:00Z',
      lastTimestamp: '2026-01-01T00:00:00Z',
      count: 1,
    } as never);
    const text = await kubectl.run(`describe ${kind} ${name}`);
    t.regex(text, new RegExp(`^Name: +${name}$`, 'm'));
    t.regex(text, new RegExp(`Normal +Told +\\S+ +test +about ${kind}`), text);
  }
  t.regex(await kubectl.run('describe node w1'), /default +a +0 \(0%\)/);
  for (const subject of [
    'deploy nginx-vac',
    'svc web',
    'ns default',
    'ippool lb-ip-pool',
    'crd ciliumnodes.cilium.io',
  ]) {
    t.regex(await kubectl.run(`describe ${subject}`), /^Name: /, subject);
  }
});

each('cordons, drains and uncordons', async (t, kubectl) => {
  await kubectl.run('apply -f -', `${NODE}---${pod('a')}${pod('b')}${pod('c', 'other')}`);
  t.is(await kubectl.run('cordon w1'), 'node/w1 cordoned\n');
  t.regex(await kubectl.run('get no w1'), /Ready,SchedulingDisabled/);
  // In place of a kubelet: what is to go, goes.
  const client = kubectl.cluster.local();
  const informer = client.informer<Pod>('pod', { namespace: 'default' });
  const letGo = ({ metadata }: Pod): void => {
    if (metadata.deletionTimestamp)
      void client.delete('pod', metadata.name, { namespace: 'default', gracePeriodSeconds: 0 });
  };
  informer.on({ added: letGo, updated: letGo, deleted: () => {} });
  await informer.synced;
  const drained = await kubectl.run('drain w1 --force --ignore-daemonsets --timeout=60s');
  t.regex(drained, /evicted|drained/);
  informer.close();
  t.is(await kubectl.run('get po -o name'), 'pod/c\n');
  t.is(await kubectl.run('uncordon w1'), 'node/w1 uncordoned\n');
  t.false((await kubectl.run('get no w1')).includes('SchedulingDisabled'));
});

each('finds kinds and their fields', async (t, kubectl) => {
  const kinds = await kubectl.run('api-resources');
  for (const line of [
    /^ciliumpodippools +cpip +cilium\.io\/v2alpha1 +false +CiliumPodIPPool$/m,
    /^ciliumnodes +cn,ciliumn +cilium\.io\/v2 +false +CiliumNode$/m,
    /^pods +po +v1 +true +Pod$/m,
  ]) {
    t.regex(kinds, line);
  }
  t.regex(await kubectl.run('explain ciliumpodippool.spec.ipv4'), /maskSize\s+<integer> -required-/);
  t.regex(await kubectl.run('explain pod.spec.containers.ports'), /containerPort\s+<integer>/);
  t.regex(
    await kubectl.run('wait --for=condition=Established crd/ciliumnodes.cilium.io --timeout=60s'),
    /condition met/,
  );
  await kubectl.run('apply -f -', GUIDES);
  t.regex(await kubectl.run('get cilium -A -o name'), /^ciliumpodippool\.cilium\.io\/mars$/m);
});
