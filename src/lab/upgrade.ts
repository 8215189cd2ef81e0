import { createClient } from '../cluster/index.ts';
import { checkUpgrade, parseFlat, type Values } from '../config/index.ts';
import type { LabContext } from './context.ts';
import { launchAgent, startOperator, stopDaemon, waitAgent } from './daemons.ts';
import { labPaths } from './names.ts';
import { requireLab, withLock, writeState } from './state.ts';
import { publishConfig, resolveValues, writeConfig } from './values.ts';

/**
 * `fimbria lab upgrade`: merges values over the running ones (over `base` where it is given, over nothing with `reset`), and restarts operator and
 * agents with them. A bad value is refused before anything is changed.
 */
export async function labUpgrade(
  name: string,
  change: { files: readonly string[]; sets: readonly string[]; reset: boolean; base?: Values },
  context: LabContext,
): Promise<void> {
  await withLock(name, async () => {
    const lab = requireLab(name);
    const before = resolveValues([], [], lab.values);
    const after = resolveValues(change.files, change.sets, change.base ?? (change.reset ? {} : lab.values));
    checkUpgrade(parseFlat(before.flat), parseFlat(after.flat));
    for (const warning of after.warnings) context.progress(`warning: ${warning}`);
    writeState({ ...lab, values: after.values });
    writeConfig(name, after);
    const client = createClient(labPaths(name).localKubeconfig);
    try {
      await publishConfig(client, after.flat);
    } finally {
      client.close();
    }
    context.progress('restarting operator');
    await stopDaemon(name, { role: 'operator' }, 'SIGTERM');
    await startOperator(name, context);
    context.progress(`restarting agents: ${lab.nodes.length}`);
    await Promise.all(
      lab.nodes.map(async node => {
        await stopDaemon(name, { role: 'agent', node: node.name }, 'SIGTERM');
        await launchAgent(name, node);
      }),
    );
    await Promise.all(lab.nodes.map(node => waitAgent(name, node, lab.nodes.length, context)));
  });
}
