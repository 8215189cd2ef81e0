#!/usr/bin/env node
/**
 * The main job, shown: a cluster of three nodes on this machine, first with native routing, then with VXLAN. Pods talk
 * to pods and nodes, and the packets between the nodes are caught and shown.
 *
 *   npm run demo [-- --keep]        --keep leaves the second lab running
 *
 * Exit status 0 only if every packet that must arrive arrived.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { $, chalk } from 'zx';
import { root, say, scriptArguments } from './lib/project.mjs';

const { values: options } = parseArgs({
  args: scriptArguments(import.meta.url),
  options: { keep: { type: 'boolean', default: false } },
});

$.verbose = false;
$.quiet = true;

const LAB = 'demo';
const NODES = ['node-0', 'node-1', 'node-2'];
const NODE_IPS = ['192.168.10.100', '192.168.10.101', '192.168.10.102'];
const PODS = [
  { name: 'alpha', node: 'node-0' },
  { name: 'beta', node: 'node-0' },
  { name: 'gamma', node: 'node-1' },
  { name: 'delta', node: 'node-2' },
];
const HTTP_PORT = 8080;
const CAPTURE_TIMEOUT_MS = 20_000;
const fimbria = [process.execPath, join(root, 'dist/fimbria.js')];

/** A server that says where it runs, for pods and nodes alike: no program but Node's own is needed. */
const server = name => [
  process.execPath,
  '-e',
  `require('node:http').createServer((_, answer) => answer.end('hello from ${name}\\n')).listen(${HTTP_PORT})`,
];

/** What was looked at and how it ended, for the table at the end. */
const results = [];
const children = new Set();

let interrupted = false;
/** The `lab up` that is under way: it takes back what it did when it is told to end. */
let starting;

/** Once interrupted, the demo's own course stops here for ever; only the way down goes on. */
const unlessInterrupted = () => (interrupted ? new Promise(() => {}) : undefined);

/** Runs a command of the lab. A failure is an answer here, not an exception. */
async function lab(...args) {
  if (args[0] !== 'down') await unlessInterrupted();
  const { exitCode, stdout, stderr } = await $({
    nothrow: true,
    cwd: root,
  })`${fimbria} lab --lab ${LAB} ${args}`;
  if (args[0] !== 'down') await unlessInterrupted();
  return { ok: exitCode === 0, stdout, stderr };
}

const inside = (target, ...command) => lab('exec', target, '--', ...command);

/** Notes one check and says how it went. */
function note(mode, what, ok, detail = '') {
  results.push({ mode, what, ok });
  const mark = ok ? chalk.green('ok    ') : chalk.red('FAILED');
  process.stdout.write(`    ${mark} ${what}${detail ? chalk.dim(`  ${detail}`) : ''}\n`);
}

/** Shows what a command prints, under the command. */
function show(title, text) {
  process.stdout.write(`\n  ${chalk.bold(title)}\n`);
  for (const line of text.trimEnd().split('\n')) process.stdout.write(`    ${line.trimEnd()}\n`);
}

const lastLine = text => text.trim().split('\n').at(-1) ?? '';

async function ping(mode, what, from, ip) {
  const { ok, stdout, stderr } = await inside(from, 'ping', '-n', '-c', '3', '-i', '0.2', '-W', '2', ip);
  const [, rtt] = /= [\d.]+\/([\d.]+)\//.exec(stdout) ?? [];
  const arrived = ok && / 0% packet loss/.test(stdout);
  note(mode, `ping  ${what}`, arrived, rtt ? `${ip}, ${rtt} ms` : lastLine(stderr || stdout));
}

async function get(mode, what, from, ip, expected) {
  const url = `http://${ip}:${HTTP_PORT}/`;
  const { ok, stdout, stderr } = await inside(from, 'curl', '-sS', '--max-time', '5', url);
  note(mode, `HTTP  ${what}`, ok && stdout === `hello from ${expected}\n`, lastLine(stdout || stderr));
}

/** Starts something that runs until the demo ends; resolves when `isReady` finds what it waits for in its output. */
async function background(target, command, isReady) {
  const [program, script] = fimbria;
  const child = spawn(program, [script, 'lab', '--lab', LAB, 'exec', target, '--', ...command], {
    cwd: root,
  });
  children.add(child);
  child.output = '';
  const ready = new Promise(resolve => {
    const read = chunk => {
      child.output += chunk;
      if (isReady(child.output)) resolve();
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('close', resolve);
  });
  child.once('close', () => children.delete(child));
  await ready;
  return child;
}

/** Catches two packets on a node's wire while `traffic` runs; the lines that tcpdump prints. */
async function capture(node, args, traffic) {
  const command = ['tcpdump', '-n', '-l', '-c', '2', '-i', 'eth0', ...args];
  const tcpdump = await background(node, command, output => output.includes('listening on'));
  const ended = once(tcpdump, 'close');
  await traffic();
  const timer = setTimeout(() => tcpdump.kill('SIGINT'), CAPTURE_TIMEOUT_MS);
  if (children.has(tcpdump)) await ended;
  clearTimeout(timer);
  return tcpdump.output
    .split('\n')
    .filter(line => /IP/.test(line))
    .join('\n');
}

async function addPods(mode) {
  await Promise.all(
    PODS.map(async ({ name, node }) => {
      const { ok, stderr } = await lab(
        'pod',
        'add',
        name,
        '--node',
        node,
        '--label',
        `app=${name}`,
        '--',
        ...server(name),
      );
      note(mode, `pod ${name} runs on ${node}`, ok, lastLine(stderr));
    }),
  );
  const rows = JSON.parse((await lab('pod', 'list', '-o', 'json')).stdout);
  return Object.fromEntries(rows.map(({ name, ip }) => [name, ip]));
}

async function showNode(mode, ips) {
  const devices = (await inside('node-0', 'ip', '-br', 'link')).stdout;
  show('node-0: ip -br link', devices);
  const wanted = ['cilium_net', 'cilium_host', 'lxc_health', ...(mode === 'vxlan' ? ['cilium_vxlan'] : [])];
  const missing = wanted.filter(name => !devices.includes(name));
  note(
    mode,
    `devices ${wanted.join(' ')}`,
    missing.length === 0,
    missing.length ? `missing: ${missing}` : '',
  );

  const podRoutes = (await inside('alpha', 'ip', 'route')).stdout;
  show('pod alpha: ip route', podRoutes);
  note(mode, 'pod has one way out, by its router', /^default via \S+ dev eth0 mtu \d+/m.test(podRoutes));

  const nodeRoutes = (await inside('node-0', 'ip', 'route')).stdout;
  show('node-0: ip route', nodeRoutes);
  if (mode === 'native') {
    const peers = NODE_IPS.slice(1).every(ip => nodeRoutes.includes(`via ${ip} dev eth0 proto kernel`));
    note(mode, "a route to each peer's PodCIDR by its node address", peers);
    const local = ['alpha', 'beta'].every(name => nodeRoutes.includes(`${ips[name]} dev lxc`));
    note(mode, 'a route to each local pod', local);
  } else {
    const tunnelled = nodeRoutes.split('\n').filter(line => /dev cilium_host .*mtu 1450/.test(line));
    note(mode, "each peer's PodCIDR goes through cilium_host", tunnelled.length === NODES.length - 1);
  }

  const endpoints = (await inside('node-0', 'cilium', 'endpoint', 'list')).stdout;
  show('node-0: cilium endpoint list', endpoints);
  const listed = ['alpha', 'beta'].every(name => ips[name] && endpoints.includes(ips[name]));
  note(mode, 'endpoints of the node are listed', listed);
}

async function tryTraffic(mode, ips) {
  process.stdout.write(`\n  ${chalk.bold('packets')}\n`);
  for (const [what, to] of [
    ['pod to pod on one node', 'beta'],
    ['pod to pod across nodes', 'gamma'],
    ['pod to pod across nodes', 'delta'],
  ]) {
    await ping(mode, `${what}: alpha to ${to}`, 'alpha', ips[to]);
    await get(mode, `${what}: alpha to ${to}`, 'alpha', ips[to], to);
  }
  await get(mode, 'and back: delta to alpha', 'delta', ips.alpha, 'alpha');
  for (const [what, node] of [
    ['pod to its own node', 0],
    ['pod to another node', 1],
  ]) {
    await ping(mode, `${what}: alpha to ${NODES[node]}`, 'alpha', NODE_IPS[node]);
    await get(mode, `${what}: alpha to ${NODES[node]}`, 'alpha', NODE_IPS[node], NODES[node]);
  }
  for (const to of ['alpha', 'gamma']) {
    await ping(mode, `node to pod: node-0 to ${to}`, 'node-0', ips[to]);
    await get(mode, `node to pod: node-0 to ${to}`, 'node-0', ips[to], to);
  }
}

async function catchPacket(mode, ips) {
  const { alpha, gamma } = ips;
  const traffic = () => inside('alpha', 'ping', '-n', '-c', '1', '-W', '2', gamma);
  if (mode === 'native') {
    const packets = await capture('node-0', ['icmp', 'and', 'host', gamma], traffic);
    show('node-0 eth0: tcpdump icmp', packets);
    const bare =
      packets.includes(`IP ${alpha} > ${gamma}: ICMP echo request`) &&
      packets.includes(`IP ${gamma} > ${alpha}: ICMP echo reply`);
    note(mode, 'between the nodes packets carry pod addresses', bare);
    return;
  }
  const packets = await capture('node-0', ['-T', 'vxlan', 'udp', 'port', '8472'], traffic);
  show('node-0 eth0: tcpdump -T vxlan udp port 8472', packets);
  const outer = packets.includes(`IP ${NODE_IPS[0]}.`) && packets.includes(`> ${NODE_IPS[1]}.8472: VXLAN`);
  const inner = packets.includes(`IP ${alpha} > ${gamma}: ICMP echo request`);
  note(mode, 'between the nodes packets carry node addresses, pod addresses within', outer && inner);
  const [, vni] = /VXLAN, flags \[I\] \(0x08\), vni (\d+)/.exec(packets) ?? [];
  const endpoints = JSON.parse((await inside('node-0', 'cilium', 'endpoint', 'list', '-o', 'json')).stdout);
  const sender = endpoints.find(e =>
    e.status?.networking?.addressing?.some(address => address.ipv4 === alpha),
  );
  const identity = sender?.status?.identity?.id;
  note(mode, "the VNI is the sender's identity", vni !== undefined && Number(vni) === identity, `vni ${vni}`);
}

async function part(mode, title, sets) {
  process.stdout.write('\n');
  say(chalk.bold(title));
  say(`fimbria lab up --nodes ${NODES.length} --set ${sets}`);
  const [program, script] = fimbria;
  const args = [script, 'lab', '--lab', LAB, 'up', '--nodes', `${NODES.length}`, '--set', sets];
  starting = spawn(program, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  const [exitCode] = await once(starting, 'close');
  starting = undefined;
  await unlessInterrupted();
  note(mode, 'the lab is up and its agents are ready', exitCode === 0);
  if (exitCode !== 0) return;
  const ips = await addPods(mode);
  for (const name of NODES) {
    const answers = output => output.includes('listening');
    const command = server(name);
    command[2] = command[2].replace(/\)$/, ", () => console.log('listening'))");
    await background(name, command, answers);
  }
  await showNode(mode, ips);
  await tryTraffic(mode, ips);
  await catchPacket(mode, ips);
}

function printTable() {
  process.stdout.write('\n');
  say(chalk.bold('what arrived'));
  const whats = [...new Set(results.map(r => r.what))];
  const width = Math.max(...whats.map(what => what.length));
  const cell = (mode, what) => {
    const found = results.filter(r => r.mode === mode && r.what === what);
    if (found.length === 0) return '-';
    return found.every(r => r.ok) ? 'ok' : 'FAILED';
  };
  process.stdout.write(`    ${''.padEnd(width)}  native  vxlan\n`);
  for (const what of whats) {
    process.stdout.write(
      `    ${what.padEnd(width)}  ${cell('native', what).padEnd(6)}  ${cell('vxlan', what)}\n`,
    );
  }
}

async function takeDown() {
  for (const child of children) child.kill('SIGKILL');
  const { ok, stderr } = await lab('down');
  if (!ok) process.stderr.write(stderr);
  return ok;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, async () => {
    if (interrupted) return;
    interrupted = true;
    say('interrupted: taking the lab down');
    if (starting) {
      const ended = once(starting, 'close');
      starting.kill('SIGINT');
      await ended;
    }
    await takeDown();
    process.exit(130);
  });
}

async function main() {
  if ((await lab('status')).ok) say('taking down the lab that an earlier demo left running');
  await takeDown();
  const native =
    'routingMode=native,autoDirectNodeRoutes=true,endpointRoutes.enabled=true,ipv4NativeRoutingCIDR=10.244.0.0/16';
  await part('native', 'native routing: packets travel as they are', native);
  say('taking the lab down');
  note('native', 'lab down', await takeDown());
  await part(
    'vxlan',
    'VXLAN: packets travel inside packets between the nodes',
    'routingMode=tunnel,tunnelProtocol=vxlan',
  );
  if (options.keep) {
    for (const child of children) child.kill('SIGKILL');
    say(
      `the lab stays: export FIMBRIA_LAB=${LAB}; npx fimbria lab status; npx fimbria lab exec node-0 -- cilium status`,
    );
    say('and goes with: npx fimbria lab down');
  } else {
    say('taking the lab down');
    note('vxlan', 'lab down', await takeDown());
  }
  printTable();
  const failed = results.filter(r => !r.ok).length;
  say(
    failed === 0
      ? chalk.green(`all ${results.length} checks passed`)
      : chalk.red(`${failed} of ${results.length} checks failed`),
  );
  return failed === 0 ? 0 : 1;
}

try {
  const status = await main();
  if (!interrupted) process.exit(status);
} catch (error) {
  if (!interrupted) {
    process.stderr.write(`demo: ${error.message}\n`);
    await takeDown();
    process.exit(1);
  }
}
