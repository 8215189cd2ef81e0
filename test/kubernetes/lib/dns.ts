import type { NewObject } from '../../../src/model/types.ts';

/** Where kubelets tell their Pods to ask; see kubelet.ts. */
export const DNS_ADDRESS = '10.96.0.10';

/** Answers every question for an address with the same one, as it came: over UDP. */
function serve(answer: string): string {
  return `
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (query, from) => {
  let end = 12;
  while (query[end]) end += query[end] + 1;
  const question = query.subarray(12, end + 5);
  const isA = query.readUInt16BE(end + 1) === 1;
  const head = Buffer.from([query[0], query[1], 0x85, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, ${answer.replaceAll('.', ', ')}]);
  socket.send(Buffer.concat([head, question, ...(isA ? [record] : [])]), from.port, from.address);
});
socket.bind(53);`;
}

/** A DNS of the cluster, as far as a network can tell: it says that every name is at `answer`. */
export function clusterDns(image: string, answer: string): NewObject[] {
  const labels = { app: 'kube-dns' };
  const metadata = { name: 'kube-dns', namespace: 'kube-system', labels };
  const container = {
    name: 'dns',
    image,
    imagePullPolicy: 'Never',
    command: ['node', '-e', serve(answer)],
    ports: [{ containerPort: 53, protocol: 'UDP' }],
  };
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { terminationGracePeriodSeconds: 0, dnsPolicy: 'Default', containers: [container] },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        clusterIP: DNS_ADDRESS,
        selector: labels,
        ports: [{ name: 'dns', port: 53, targetPort: 53, protocol: 'UDP' }],
      },
    },
  ] as NewObject[];
}
