import type { PodRow } from './pods.ts';
import type { LabStatus } from './status.ts';

/** Rows of `lab pod list` for people, a heading first. */
export function podTable(rows: readonly PodRow[]): string[][] {
  return [
    ['NAMESPACE', 'NAME', 'NODE', 'IP', 'PHASE', 'MESSAGE'],
    ...rows.map(row => [
      row.namespace,
      row.name,
      row.node || '<none>',
      row.ip || '<none>',
      row.phase,
      row.message,
    ]),
  ];
}

/** Rows of `lab status` for people, a heading first. */
export function statusTable(status: LabStatus): string[][] {
  const pid = (value: number | null): string => (value === null ? '-' : String(value));
  return [
    ['PROCESS', 'STATE', 'PID', 'WHERE'],
    ['apiserver', status.apiserver.state, pid(status.apiserver.pid), status.apiserver.url],
    ['operator', status.operator.state, pid(status.operator.pid), ''],
    ...status.nodes.map(({ name, ip, agent }) => [
      `agent ${name}`,
      agent.state,
      pid(agent.pid),
      agent.message ? `${ip}  ${agent.message}` : ip,
    ]),
  ];
}
