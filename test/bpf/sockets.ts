import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { silent } from '../../src/base/log.ts';
import { assetPath } from '../../src/base/paths.ts';
import { ServiceTable } from '../../src/datapath/services/table.ts';
import { serviceMaps } from '../../src/datapath/services/writes.ts';
import { SOCKET_PROGRAMS } from '../../src/datapath/socket-lb.ts';
import { type BpfMap, BpfObject, CgroupLink } from '../../src/kernel/libbpf/index.ts';
import { findCgroup2 } from '../../src/lab/cgroup.ts';
import { lb4SocketCodec } from '../../src/maps/abi.gen.ts';

export const SERVER = { address: '10.1.1.1', port: 8080 };
export const SOMEBODY = 1n;

/** Into the cgroup of its first argument. Perl, since every Debian has it. */
const ENTER = `use Socket qw(:all); $| = 1; open(P, '>', "$ARGV[0]/cgroup.procs") or die; syswrite(P, "0"); close P; print "ready\\n";`;

/** The programs at the sockets of a cgroup of the test's own, with services and maps of their own. Close it. */
export class Sockets {
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

  /** A process in the cgroup that runs `program`; each line told to it is answered by one. */
  async client(netns: string, program: string) {
    const child = spawn('nsenter', [`--net=${netns}`, '--', 'perl', '-e', ENTER + program, this.#cgroup], {
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
