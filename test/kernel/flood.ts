import { execFileSync } from 'node:child_process';
import type { NewRoute } from '../../src/kernel/rtnetlink.ts';

/** Sets routes with iproute2, blocking this process's event loop all the while. */
export function blockingReplace(netns: string, routes: NewRoute[]): void {
  const input = routes.map(route => `route replace ${route.dst} dev lo table ${route.table}\n`).join('');
  execFileSync('nsenter', [`--net=${netns}`, 'ip', '-batch', '-'], { input });
}
