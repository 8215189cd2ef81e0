import { spawn } from 'node:child_process';
import { FimbriaError } from '../base/errors.ts';
import { type LabNode, OUTSIDE_IP, UNDERLAY_PREFIX_LENGTH } from './names.ts';
import { netnsOf, UNDERLAY_BRIDGE } from './namespaces.ts';
import { pauseArguments, pauseProgram } from './pause.ts';

async function batch(lab: string, pid: number, lines: string[]): Promise<void> {
  const child = spawn(
    pauseProgram(),
    pauseArguments({
      lab,
      role: 'exec',
      name: 'ip',
      joinNet: netnsOf(pid),
      exec: true,
      command: ['ip', '-batch', '-'],
    }),
    { stdio: ['pipe', 'ignore', 'pipe'] },
  );
  let said = '';
  child.stderr.on('data', chunk => {
    said += chunk;
  });
  child.stdin.end(`${lines.join('\n')}\n`);
  const code = await new Promise(resolve => child.once('close', resolve));
  if (code !== 0)
    throw new FimbriaError({ code: 'NETWORK', op: 'set up', object: 'underlay', why: said.trim() });
}

/** Joins the nodes and the outside host to the underlay's bridge: `eth0` each, with an address and a default route. */
export async function connectUnderlay(
  lab: string,
  underlayPid: number,
  outsidePid: number,
  nodes: readonly (LabNode & { pid: number })[],
): Promise<void> {
  const hosts = [{ name: 'outside', ip: OUTSIDE_IP, pid: outsidePid }, ...nodes];
  await batch(
    lab,
    underlayPid,
    hosts.flatMap((host, i) => [
      `link add port${i} type veth peer name eth0 netns ${host.pid}`,
      `link set port${i} master ${UNDERLAY_BRIDGE} up`,
    ]),
  );
  for (const host of hosts) {
    const lines = [`addr add ${host.ip}/${UNDERLAY_PREFIX_LENGTH} brd + dev eth0`, 'link set eth0 up'];
    if (host.ip !== OUTSIDE_IP) lines.push(`route add default via ${OUTSIDE_IP}`);
    await batch(lab, host.pid, lines);
  }
}
