import type { Command } from 'commander';
import { print } from '../format/output.ts';

/** `node-mounts`: what the DaemonSet's first container does; not for people. */
export function addNodeMounts(program: Command): void {
  program
    .command('node-mounts', { hidden: true })
    .description('make the mounts of this node that outlive its agent')
    .option('--bpf-root <dir>', 'where bpffs is mounted', '/sys/fs/bpf')
    .option('--state-dir <dir>', 'endpoint state', '/run/fimbria/state')
    .action(async (given: { bpfRoot: string; stateDir: string }) => {
      const { makeNodeMounts } = await import('../../agent/node-mounts.ts');
      const made = await makeNodeMounts(given);
      await print(made.length > 0 ? `made ${made.join(', ')}\n` : 'the mounts of this node are there\n');
    });
}
