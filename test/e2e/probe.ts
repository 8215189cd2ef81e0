import type { TestLab } from './lab.ts';

/** One question to a server of `serve`, asked from a socket of its own. */
export interface Probe {
  proto: 'tcp' | 'udp';
  address: string;
  port: number;
  /** Of UDP: the socket is connected first. */
  connected?: boolean;
}

/** Asks everything side by side and prints a line for each: `NAME CLIENT`, of UDP also from whom, or what went wrong. */
const PROGRAM = `
const probes = JSON.parse(process.argv[1]), timeoutMs = Number(process.argv[2]);
const plain = text => text.replaceAll('::ffff:', '');
const ask = {
  tcp: ({ address, port }) => new Promise(done => require('http').get({ host: address, port, agent: false, timeout: timeoutMs }, a => {
    let text = ''; a.on('data', d => (text += d)); a.on('end', () => done(plain(text)));
  }).on('error', e => done(e.code ?? e.message)).on('timeout', function () { done('nothing'); this.destroy(); })),
  udp: ({ address, port, connected }) => new Promise(done => {
    const v6 = address.includes(':'), socket = require('dgram').createSocket(v6 ? 'udp6' : 'udp4');
    const end = text => { clearTimeout(timer); done(text); socket.close(); };
    const timer = setTimeout(end, timeoutMs, 'nothing');
    socket.on('error', e => end(e.code));
    socket.on('message', (m, from) => end(m + ' from ' + plain(from.address) + ':' + from.port));
    if (connected) socket.connect(port, address, e => e ? end(e.code) : socket.send('x'));
    else socket.send('x', port, address, e => e && end(e.code));
  }),
};
Promise.all(probes.map(probe => ask[probe.proto](probe))).then(all => console.log(JSON.stringify(all)));
`;

/** Asks from a node, a pod or outside; one answer for each probe, or the error's code, or `nothing` after so long. */
export async function probe(
  lab: TestLab,
  place: string,
  probes: readonly Probe[],
  timeoutMs = 20_000,
): Promise<string[]> {
  const asked = probes.map(({ proto, address, port, connected }) => ({ proto, address, port, connected }));
  const args = [JSON.stringify(asked), `${timeoutMs}`];
  return JSON.parse(await lab.execMust(place, process.execPath, '-e', PROGRAM, ...args));
}
