/**
 * `fimbria/libbpf` on its own: counts the packets that a device receives, as run with
 * `example.ts OBJECT.o DEVICE SECONDS`. A program that imports the published package writes
 * `from 'fimbria/libbpf'`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BpfObject, TcFilter } from '../../src/kernel/libbpf/index.ts';
import { Rtnetlink } from '../../src/kernel/rtnetlink.ts';

const [path = '', device = '', seconds = '0'] = process.argv.slice(2);
const rtnetlink = Rtnetlink.open();
const link = await rtnetlink.link(device);
rtnetlink.close();
if (link === undefined) throw new Error(`there is no device ${device}`);

const object = BpfObject.open(path);
object.configureMap('test_counts', { pinPath: null });
object.load();
TcFilter.attach({ ifindex: link.ifindex, direction: 'ingress', program: object.program('test_pass') });
await sleep(Number(seconds) * 1000);
const packets = object.map('test_counts').lookup(new Uint8Array(4))!.readBigUInt64LE();
TcFilter.detach({ ifindex: link.ifindex, direction: 'ingress' });
console.log(`${device} received ${packets} packets`);
