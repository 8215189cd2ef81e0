import { FimbriaError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { ServiceNotifier } from '../kernel/notify.ts';
import type { AgentParts } from './agent.ts';
import type { CniWatch } from './cni-watch.ts';
import { probeIcmp } from './health.ts';

/** Ready means that a real packet crossed the datapath: from the node through its programs to the health endpoint. */
export async function becomeReady(
  parts: AgentParts,
  cniWatch: CniWatch,
  notifier: ServiceNotifier,
  log: Logger,
): Promise<void> {
  await parts.controllers
    .add({
      name: 'datapath-probe',
      retry: { baseMs: 50, maxMs: 2_000 },
      run: async () => {
        if (parts.readiness.why === undefined) return;
        const probe = await probeIcmp(parts.healthIpv4);
        if (probe.status) {
          parts.readiness.limited = true;
          parts.readiness.why = `probe of the health endpoint ${parts.healthIpv4}: ${probe.status}`;
          throw new FimbriaError({
            code: 'PROBE',
            op: 'probe',
            object: `health endpoint ${parts.healthIpv4}`,
            why: probe.status,
          });
        }
        parts.readiness.why = undefined;
        parts.readiness.limited = false;
        parts.readiness.bootstrapSeconds ??= performance.now() / 1000;
        await cniWatch.start();
        log.info('ready: a probe packet crossed the datapath', {
          node: parts.node.name,
          rttUs: Math.round((probe.latency ?? 0) / 1000),
          sinceStartMs: Math.round(performance.now()),
        });
        notifier.ready();
      },
    })
    .trigger()
    .catch(() => {});
}
