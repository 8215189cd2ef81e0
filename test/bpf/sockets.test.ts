import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import { silent } from '../../src/base/log.ts';
import { assetPath } from '../../src/base/paths.ts';
import { ServiceTable } from '../../src/datapath/services/table.ts';
import { serviceMaps } from '../../src/datapath/services/writes.ts';
import { SOCKET_PROGRAMS } from '../../src/datapath/socket-lb.ts';
import { type BpfMap, BpfObject, CgroupLink } from '../../src/kernel/libbpf/index.ts';
import { listenTcp } from '../../src/kernel/netns.ts';
import { findCgroup2 } from '../../src/lab/cgroup.ts';
import { lb4SocketCodec } from '../../src/maps/abi.gen.ts';
import { Namespace } from './harness.ts';

/** What sockets are shown of the services that they asked for, and where that is kept. */

const SERVER = { address: '10.1.1.1', port: 8080 };
const FRONTEND = '10.96.0.1:80';
const SOMEBODY = 1n;

/** Does as it is told on its standard input, in the cgroup of its first argument. Perl, since every Debian has it. */
const CLIENT = `use Socket; $| = 1; open(P, '>', "$ARGV[0]/cgroup.procs") or die; syswrite(P, "0"); close P; print "ready\\n";
my %s; while (<STDIN>) { my ($do, $n, $kind) = split; if ($do eq 'close') { close $s{$n}; delete $s{$n}; print "closed\\n"; next }
socket(my $s, PF_INET, $kind eq 'udp' ? SOCK_DGRAM : SOCK_STREAM, 0); connect($s, sockaddr_in(80, inet_aton('10.96.0.1'))) or die "$!"; $s{$n} = $s;
my ($port, $ip) = sockaddr_in(getpeername($s)); print inet_ntoa($ip) . ":$port\\n" }`;

class Sockets {
  static #count = 0;
  readonly #object = BpfObject.open(assetPath('build/bpf/sock.o'));
  readonly #maps = new Map<string, BpfMap>();
  readonly #links: CgroupLink[] = [];
  readonly #cgroup = join(findCgroup2(), `fimbria-test-sockets-${process.pid}-${Sockets.#count++}`);

  constructor(slots: number) {
    for (const map of this.#object.maps)
      if (map.pinned) this.#object.configureMap(map.name, { pinPath: null });
    this.#object.configureMap('cilium_lb4_sockets', { maxEntries: slots });
    this.#object.load();
    const table = new ServiceTable(serviceMaps({ map: name => this.map(name) }), silent);
    const frontend = {
      address: '10.96.0.1',
      port: 80,
      type: 'ClusterIP' as const,
      external: { local: false, backends: [SERVER] },
      terminating: [],
    };
    const both = [6, 17].map(l4Proto => ({ ...frontend, l4Proto, group: `${l4Proto}` }));
    table.apply(new Map([['test', both]]));
    table.close();
    mkdirSync(this.#cgroup);
    for (const [name, hook] of Object.entries(SOCKET_PROGRAMS)) {
      const program = this.#object.program(name);
      this.#links.push(CgroupLink.create({ cgroup: this.#cgroup, hook, program }));
      program.close();
    }
  }

  map(name: string): BpfMap {
    const map = this.#maps.get(name) ?? this.#object.map(name);
    this.#maps.set(name, map);
    return map;
  }

  /** Cookies of sockets that have a slot. */
  get taken(): bigint[] {
    return [...this.map('cilium_lb4_sockets').entries()]
      .map(([, value]) => lb4SocketCodec.read(value).socketCookie)
      .filter(cookie => cookie !== 0n);
  }

  get spread(): number {
    return [...this.map('cilium_lb4_reverse_sk').keys()].length;
  }

  /** Gives every slot to a socket that is none of the test's. */
  takeAll(): void {
    const map = this.map('cilium_lb4_sockets');
    const value = Buffer.alloc(lb4SocketCodec.size);
    value.writeBigUInt64LE(SOMEBODY);
    map.updateBatch([...map.keys()].map(key => [key, value]));
  }

  /** A process with sockets; each line told to it is answered by one. */
  async client(netns: string) {
    const child = spawn('nsenter', [`--net=${netns}`, '--', 'perl', '-e', CLIENT, this.#cgroup], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const answer = async (): Promise<string> => `${(await lines.next()).value}`;
    await answer();
    return {
      tell: (line: string): Promise<string> => {
        child.stdin.write(`${line}\n`);
        return answer();
      },
      end: async (): Promise<void> => {
        child.stdin.end();
        if (child.exitCode === null) await once(child, 'exit');
      },
    };
  }

  close(): void {
    for (const link of this.#links) {
      link.detach();
      link.close();
    }
    for (const map of this.#maps.values()) map.close();
    this.#object.close();
    rmdirSync(this.#cgroup);
  }
}

let namespace: Namespace;
test.before(async () => {
  namespace = await Namespace.create();
  namespace.ip(['link set lo up', `addr add ${SERVER.address}/32 dev lo`, 'route add default dev lo']);
  const server = createServer(() => {});
  server.listen({ fd: await listenTcp({ ...SERVER, netns: namespace.path }) });
  await once(server, 'listening');
  server.unref();
});
test.after.always(() => namespace?.close());

test.serial('a TCP socket has its slot from connect to close, and sees the frontend', async t => {
  const sockets = new Sockets(65_536);
  t.teardown(() => sockets.close());
  const client = await sockets.client(namespace.path);
  t.is(await client.tell('open a tcp'), FRONTEND);
  t.is(await client.tell('open b tcp'), FRONTEND);
  t.is(sockets.taken.length, 2);
  t.is(await client.tell('close a'), 'closed');
  t.is(sockets.taken.length, 1);
  await client.end();
  t.deepEqual(sockets.taken, []);
  t.is(sockets.spread, 0);
});

test.serial('a TCP socket whose slot is taken, or not there, and a UDP socket see it as well', async t => {
  for (const slots of [65_536, 1]) {
    const sockets = new Sockets(slots);
    t.teardown(() => sockets.close());
    sockets.takeAll();
    const client = await sockets.client(namespace.path);
    t.is(await client.tell('open a tcp'), FRONTEND);
    t.is(await client.tell('open b udp'), FRONTEND);
    t.is(sockets.spread, 2);
    await client.end();
    t.deepEqual(new Set(sockets.taken), new Set([SOMEBODY]), 'nobody frees what is not his');
  }
});
